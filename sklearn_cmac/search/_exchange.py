"""An index as plain arrays and a table, for whoever else reads them."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import dtype_to_descr, open_memmap, write_array_header_1_0

from sklearn_cmac._files import check_regular, open_regular, read_whole, reason_of
from sklearn_cmac.collection import Engine, RegionTable, Stamp
from sklearn_cmac.collection._catalogue import DESCRIBED, CatalogueEntry
from sklearn_cmac.datasets._tables import split_rows
from sklearn_cmac.persistence import read_manifest
from sklearn_cmac.photos import PhotoError
from sklearn_cmac.search._folder import PIPELINE, damage_named, or_removed, pipeline_in
from sklearn_cmac.search._index import RetrievalIndex
from sklearn_cmac.store import filling

_FORMAT = 1
_COLUMNS = ("row", "name", "path", "id", "size", "mtime")
_BATCH = 1024
_LONGEST = 1_000_000  # bytes of what is said of an export


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
        copies of a photo have one row; the pipeline; and ``export.json``. Local features are left
        out: `RetrievalIndex.keep_features` finds them again.
    table : {"csv", "parquet"}, default="csv"
        Where a name is no UTF-8, "csv" has its bytes, and in "parquet" all names are bytes.
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
        If the index is in memory, holds no photos, or is damaged.
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
    with or_removed(folder), filling(folder), damage_named(index.path):
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
        _check_regions(folder, len(descriptors), vectors, weights, starts)
        regions = RegionTable(vectors, weights, starts)
    rows = list(_read_table(folder, about["table"]))
    pipeline = pipeline_in(folder / PIPELINE, trust)
    try:
        index = RetrievalIndex.create(path, pipeline, regions=stamp["regions"], store=store)
        with or_removed(path, index.close):
            index.fill(rows, descriptors, regions, stamp["pipeline"], verbose=verbose)
    except ValueError as error:
        raise ValueError(f"{folder}: its files do not fit each other ({error})") from error
    return index


def _check_regions(
    folder: Path, n: int, vectors: np.ndarray, weights: np.ndarray, starts: np.ndarray
) -> None:
    shapes = vectors.ndim == 2 and weights.shape == (len(vectors),) and starts.shape == (n + 1,)
    if (
        not shapes
        or starts.dtype.kind not in "iu"
        or (starts[0], starts[-1]) != (0, len(vectors))
        or (starts[1:] < starts[:-1]).any()
    ):
        raise ValueError(f"{folder}: its regions do not fit its {n} descriptors")


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
        if not all(_is_text(name + path) for _, name, path, *_ in rows):
            rows = [[i, *map(os.fsencode, (name, path)), *rest] for i, name, path, *rest in rows]
        frame = _pandas().DataFrame(rows, columns=_COLUMNS)
        frame.astype({"size": "Int64", "mtime": "Int64"}).to_parquet(folder / "photos.parquet")
        return
    # Names that are no UTF-8 keep their bytes.
    with open(
        folder / "photos.csv", "w", newline="", encoding="utf-8", errors="surrogateescape"
    ) as file:
        csv.writer(file).writerows([_COLUMNS, *rows])


def _is_text(name: str) -> bool:
    """Whether a table of text can hold a name."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_table(folder: Path, table: str) -> Iterator[tuple[int, CatalogueEntry]]:
    """Row and entry of each photo."""
    file = folder / f"photos.{table}"
    try:
        for place, (row, name, path, id_, size, mtime) in _raw_rows(file):
            facts = (_whole(size), _whole(mtime)) if size not in ("", None) else (None, None)
            found = CatalogueEntry(name, path, id_, facts[0], facts[1], DESCRIBED, "")
            if not all(type(text) is str for text in (name, path, id_)) or not (name and id_):
                raise ValueError(f"{place} has a photo without a name or content")
            yield _whole(row), found
    except PhotoError:
        raise
    except Exception as error:  # a damaged file raises whatever the damage leads to
        raise ValueError(f"{file}: is missing or damaged ({reason_of(error)})") from error


def _whole(number: Any) -> int:
    """A whole number that a catalogue can hold."""
    found = int(number)
    if not -(2**63) <= found < 2**63:
        raise ValueError(f"{found:.3g} is too large")
    return found


def _raw_rows(file: Path) -> Iterator[tuple[str, Any]]:
    """Rows as they are kept, and where."""
    if file.suffix == ".parquet":
        check_regular(file)
        frame = _pandas().read_parquet(file)[list(_COLUMNS)].astype(object)
        rows = frame.where(frame.notna(), None).itertuples(index=False)
        for number, (row, name, path, *rest) in enumerate(rows, 1):
            yield f"row {number}", (row, *map(os.fsdecode, (name, path)), *rest)
        return
    with io.TextIOWrapper(open_regular(file), "utf-8", "surrogateescape", newline="") as text:
        numbered = split_rows(text, file)
        _, header = next(numbered, (1, []))
        if tuple(header) != _COLUMNS:
            raise ValueError(f"its columns are {header[:20]}, not {list(_COLUMNS)}")
        for line, row in numbered:
            if len(row) != len(_COLUMNS):
                raise ValueError(f"line {line} has {len(row)} cells, not {len(_COLUMNS)}")
            yield f"line {line}", row


def _read_about(folder: Path) -> dict[str, Any]:
    file = folder / "export.json"
    try:
        about = json.loads(read_whole(file, _LONGEST))
        known = about["format"] == _FORMAT and {"stamp", "table"} <= set(about)
        stamp = Stamp(**about["stamp"])
        known = known and isinstance(stamp.regions, bool) and isinstance(stamp.pipeline, str)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{file}: is missing or damaged ({reason_of(error)})") from error
    if not known or about["table"] not in ("csv", "parquet"):
        raise ValueError(f"{file}: is of another version, or no export")
    return about


def _load(file: Path, n_dimensions: int | None = None) -> np.ndarray:
    try:
        check_regular(file)
        found = open_memmap(file, "r")
    except Exception as error:  # a damaged header raises whatever the damage leads to
        raise ValueError(f"{file}: is missing or damaged ({reason_of(error)})") from error
    if n_dimensions not in (None, found.ndim) or found.dtype.kind not in "fiu":
        raise ValueError(f"{file}: has shape {found.shape} of {found.dtype}")
    return found


def _pandas() -> Any:
    try:
        import pandas
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ImportError("parquet files need: pip install sklearn-cmac[parquet]") from error
    return pandas
