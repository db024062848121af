"""An index as plain arrays and a table, for whoever else reads them."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import dtype_to_descr, write_array_header_1_0

from sklearn_cmac.collection import Engine, RegionTable, Stamp
from sklearn_cmac.collection._catalogue import DESCRIBED, CatalogueEntry
from sklearn_cmac.persistence import load_pipeline, read_manifest
from sklearn_cmac.search._index import PIPELINE, RetrievalIndex, or_removed
from sklearn_cmac.store import filling

_FORMAT = 1
_COLUMNS = ("row", "name", "path", "id", "size", "mtime")
_BATCH = 1024


def write_arrays(index: RetrievalIndex, folder: str | os.PathLike[str], table: str = "csv") -> int:
    """Write what an index keeps as ``.npy`` files, beside a table of its photos.

    Parameters
    ----------
    index : RetrievalIndex
        In a folder.
    folder : path
        Empty or not there yet. It gets ``descriptors.npy`` (n, D); of an index with regions
        ``regions.npy`` (R, D), ``region_weights.npy`` (R,) and ``region_starts.npy`` (n + 1,), so
        that row i has the regions from ``region_starts[i]`` on; the table ``photos``, in which
        copies of a photo have one row; the pipeline; and ``export.json``.
    table : {"csv", "parquet"}, default="csv"
        "parquet" needs pandas and pyarrow: ``pip install sklearn-cmac[parquet]``.

    Returns
    -------
    int
        How many photos there are.

    Raises
    ------
    FileExistsError
        If the folder is not empty.
    ValueError
        If the index is in memory, or holds no photos.
    """
    folder = Path(folder)
    engine = index.engine
    if index.path is None or engine is None:
        raise ValueError("only an index in a folder that holds photos can be exported")
    if table == "parquet":
        _pandas()
    read_manifest(index.path / PIPELINE)  # an error if it is damaged
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder}: is not empty; choose another folder")
    entries = list(index.entries(DESCRIBED))
    row_of = {id_: row for row, id_ in enumerate(dict.fromkeys(e.id for e in entries))}
    ids = list(row_of)
    with or_removed(folder), filling(folder):
        folder.mkdir(parents=True, exist_ok=True)
        shape = (len(ids), engine.stamp.dimension)
        with _array(folder / "descriptors.npy", np.float32, shape) as write:
            for batch in _batches(ids):
                write(engine.get(batch))
        if engine.stamp.regions:
            _write_regions(engine, ids, folder)
        _write_table(folder, table, [_row(entry, row_of) for entry in entries])
        shutil.copyfile(index.path / PIPELINE, folder / PIPELINE)
        about = {"format": _FORMAT, "stamp": vars(engine.stamp), "table": table}
        (folder / "export.json").write_text(json.dumps(about, indent=1) + "\n")
    return len(entries)


def read_arrays(
    folder: str | os.PathLike[str],
    path: str | os.PathLike[str],
    store: str | None = None,
    trust: Sequence[str] = (),
    verbose: bool = False,
) -> RetrievalIndex:
    """Make an index of what `write_arrays` wrote.

    Parameters
    ----------
    folder : path
    path, store
        As for `RetrievalIndex.create`.
    trust : sequence of str, default=()
        As for `RetrievalIndex.open`.
    verbose : bool, default=False
        Whether to show progress.

    Returns
    -------
    RetrievalIndex

    Raises
    ------
    ValueError
        If a file of the export is missing, damaged, or does not fit the others; it is named.
    """
    folder = Path(folder)
    about = _read_about(folder)
    stamp = about["stamp"]
    descriptors = _load(folder / "descriptors.npy", 2)
    regions = None
    if stamp["regions"]:
        names = ("regions", "region_weights", "region_starts")
        vectors, weights, starts = (_load(folder / f"{name}.npy") for name in names)
        if starts.shape != (len(descriptors) + 1,) or starts[-1] != len(vectors) != len(weights):
            raise ValueError(f"{folder}: its regions do not fit its {len(descriptors)} descriptors")
        regions = RegionTable(vectors, weights, starts)
    rows = list(_read_table(folder, about["table"]))
    pipeline = load_pipeline(folder / PIPELINE, trust)
    index = RetrievalIndex.create(path, pipeline, regions=stamp["regions"], store=store)
    with or_removed(path, index.close):
        index.fill(rows, descriptors, regions, stamp["pipeline"], verbose=verbose)
    return index


def _write_regions(engine: Engine, ids: list[str], folder: Path) -> None:
    """Region vectors in files, a batch in memory at a time."""
    counts = [n for batch in _batches(ids) for n in engine.get_regions(batch).counts.tolist()]
    starts = np.cumsum([0, *counts], dtype=np.int64)
    np.save(folder / "region_starts.npy", starts)
    n, dimension = int(starts[-1]), engine.stamp.dimension
    with (
        _array(folder / "regions.npy", np.float16, (n, dimension)) as write_vectors,
        _array(folder / "region_weights.npy", np.float32, (n,)) as write_weights,
    ):
        for batch in _batches(ids):
            table = engine.get_regions(batch)
            write_vectors(table.vectors)
            write_weights(table.weights)


@contextmanager
def _array(
    path: Path, dtype: Any, shape: tuple[int, ...]
) -> Iterator[Callable[[np.ndarray], object]]:
    """A `.npy` file that is written batch by batch.

    It is not mapped into memory, since on a full disk that would end the process.
    """
    header = {"descr": dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    n_bytes = np.dtype(dtype).itemsize * math.prod(shape)
    with filling(path, n_bytes), open(path, "wb") as file:
        write_array_header_1_0(file, header)
        yield lambda rows: file.write(np.ascontiguousarray(rows, dtype).data)


def _batches(ids: list[str]) -> Iterator[list[str]]:
    return (ids[start : start + _BATCH] for start in range(0, len(ids), _BATCH))


def _row(entry: CatalogueEntry, row_of: dict[str, int]) -> list[Any]:
    return [row_of[entry.id], entry.name, entry.path, entry.id, entry.size, entry.mtime]


def _write_table(folder: Path, table: str, rows: list[list[Any]]) -> None:
    if table == "parquet":
        frame = _pandas().DataFrame(rows, columns=_COLUMNS)
        frame.astype({"size": "Int64", "mtime": "Int64"}).to_parquet(folder / "photos.parquet")
        return
    # Names that are no UTF-8 keep their bytes.
    with open(
        folder / "photos.csv", "w", newline="", encoding="utf-8", errors="surrogateescape"
    ) as file:
        csv.writer(file).writerows([_COLUMNS, *rows])


def _read_table(folder: Path, table: str) -> Iterator[tuple[int, CatalogueEntry]]:
    """Row and entry of each photo."""
    file = folder / f"photos.{table}"
    try:
        for row, name, path, id_, size, mtime in _raw_rows(file):
            facts = (int(size), int(mtime)) if size not in ("", None) else (None, None)
            yield int(row), CatalogueEntry(name, path, id_, facts[0], facts[1], DESCRIBED, "")
    except (OSError, ValueError, csv.Error) as error:
        raise ValueError(f"{file}: is missing or damaged ({error})") from error


def _raw_rows(file: Path) -> Iterator[Any]:
    if file.suffix == ".parquet":
        frame = _pandas().read_parquet(file)[list(_COLUMNS)].astype(object)
        yield from frame.where(frame.notna(), None).itertuples(index=False)
        return
    with open(file, newline="", encoding="utf-8", errors="surrogateescape") as text:
        header, *rows = csv.reader(text)
        if tuple(header) != _COLUMNS:
            raise ValueError(f"its columns are {header}, not {list(_COLUMNS)}")
        yield from rows


def _read_about(folder: Path) -> dict[str, Any]:
    file = folder / "export.json"
    try:
        about = json.loads(file.read_text())
        known = about["format"] == _FORMAT and {"stamp", "table"} <= set(about)
        Stamp(**about["stamp"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: is missing or damaged ({error})") from error
    if not known or about["table"] not in ("csv", "parquet"):
        raise ValueError(f"{file}: is of another version, or no export")
    return about


def _load(file: Path, n_dimensions: int | None = None) -> np.ndarray:
    try:
        found = np.load(file, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a damaged header raises whatever the damage leads to
        raise ValueError(f"{file}: is missing or damaged ({error})") from error
    if n_dimensions not in (None, found.ndim):
        raise ValueError(f"{file}: has shape {found.shape}")
    return found


def _pandas() -> Any:
    try:
        import pandas
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ImportError("parquet files need: pip install sklearn-cmac[parquet]") from error
    return pandas
