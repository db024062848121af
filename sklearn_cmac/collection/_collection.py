"""What is kept of photos that are ranked: descriptors, and region vectors beside them.

In memory, or in a folder of flat files that grow as photos are described. Such a folder is read
through memory maps, and continued where it was left.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from sklearn.utils.validation import check_is_fitted
from tqdm.auto import tqdm

from sklearn_cmac.maps import RegionVectors
from sklearn_cmac.photos import PhotoError, name_of


@dataclass(frozen=True, eq=False)
class RegionTable:
    """Region vectors of many photos, one photo after the other.

    Parameters
    ----------
    vectors : ndarray of float16 of shape (R, D)
        Of unit length; perhaps memory-mapped.
    weights : ndarray of float32 of shape (R,)
    indptr : ndarray of int of shape (n + 1,)
        Where each photo starts.
    """

    vectors: np.ndarray
    weights: np.ndarray
    indptr: np.ndarray

    def __getitem__(self, i: int) -> RegionVectors:
        rows = slice(self.indptr[i], self.indptr[i + 1])
        return RegionVectors(self.vectors[rows].astype(np.float32), self.weights[rows])

    def take(self, photos: Sequence[int] | np.ndarray) -> RegionTable:
        """The table of these photos, in this order, in memory."""
        counts = np.diff(self.indptr)[photos]
        indptr = np.concatenate([[0], np.cumsum(counts)])
        within = np.arange(indptr[-1]) - np.repeat(indptr[:-1], counts)
        rows = np.repeat(self.indptr[:-1][photos], counts) + within
        return RegionTable(self.vectors[rows], self.weights[rows], indptr)

    def followed_by(self, other: RegionTable) -> RegionTable:
        """The table of these photos and then the other's."""
        return RegionTable(
            np.concatenate([self.vectors, other.vectors]),
            np.concatenate([self.weights, other.weights]),
            np.concatenate([self.indptr, self.indptr[-1] + other.indptr[1:]]),
        )


@dataclass(frozen=True, eq=False)
class Collection:
    """Photos that are ranked, as far as rankings need to know them.

    Parameters
    ----------
    photos : sequence of photos
        As they were given, to be looked at again.
    names : list of str
    descriptors : ndarray of float32 of shape (n, D)
        Of unit length; rows of photos that failed are 0.
    regions : RegionTable, optional
    failed : dict from int to str
        Why a photo, by its position, could not be described. Such photos are in no ranking.
    seconds : float
        That describing took.
    graph : dict
        What reranking steps have worked out about neighbours, by their names.
    """

    photos: Sequence[Any]
    names: list[str]
    descriptors: np.ndarray
    regions: RegionTable | None = None
    failed: dict[int, str] = field(default_factory=dict)
    seconds: float = 0.0
    graph: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def usable(self) -> np.ndarray:
        """Positions of the photos that did not fail."""
        return np.setdiff1d(np.arange(len(self)), list(self.failed))

    def take(self, photos: Sequence[int]) -> Collection:
        """The collection of these photos, in this order."""
        rows = list(photos)
        return Collection(
            [self.photos[i] for i in rows],
            [self.names[i] for i in rows],
            self.descriptors[rows],
            None if self.regions is None else self.regions.take(np.array(rows, int)),
            {new: self.failed[i] for new, i in enumerate(rows) if i in self.failed},
        )

    def followed_by(self, other: Collection) -> Collection:
        """The collection of these photos and then the other's."""
        regions = None
        if self.regions is not None and other.regions is not None:
            regions = self.regions.followed_by(other.regions)
        return Collection(
            [*self.photos, *other.photos],
            self.names + other.names,
            np.concatenate([self.descriptors, other.descriptors]),
            regions,
            {**self.failed, **{len(self) + i: reason for i, reason in other.failed.items()}},
        )

    def bytes_per_photo(self, regions: bool = True) -> float:
        """What descriptors take, and region vectors if they are counted."""
        total = self.descriptors.nbytes
        if regions and self.regions is not None:
            total += self.regions.vectors.nbytes + self.regions.weights.nbytes
        return total / max(1, len(self))

    def raise_failures(self) -> None:
        """A `PhotoError` that names all photos that failed, if any did."""
        if self.failed:
            reasons = [f"  photo {i}: {reason}" for i, reason in sorted(self.failed.items())]
            raise PhotoError(
                "\n".join([f"{len(reasons)} of {len(self)} photos cannot be used:", *reasons]),
                [(i, self.names[i], reason) for i, reason in sorted(self.failed.items())],
            )


def describe_collection(
    pipeline: Any,
    photos: Sequence[Any],
    *,
    regions: bool = False,
    folder: str | os.PathLike[str] | None = None,
    batch_size: int = 32,
    verbose: bool | int = False,
) -> Collection:
    """Describe photos for ranking. One that cannot be used stops no other.

    Parameters
    ----------
    pipeline : fitted Pipeline, or any transformer with one descriptor per photo
    photos : sequence of photos
    regions : bool, default=False
        Whether region vectors are kept too, as the last step but one returns them.
    folder : path, optional
        Where to write. A folder with some of these photos described is continued; one with
        other photos is an error.
    batch_size : int, default=32
        Photos described at a time; this many activation maps are held in memory.
    verbose : bool or int, default=False
        Whether to show a progress bar.

    Returns
    -------
    Collection

    Raises
    ------
    ValueError
        If the folder holds descriptions of other photos.
    """
    check_is_fitted(pipeline)
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
    # Another process that describes into this folder is waited for, and what it did is used.
    with nullcontext() if folder is None else FileLock(Path(folder) / "lock"):
        return _describe_all(pipeline, photos, regions, folder, batch_size, verbose)


def _describe_all(
    pipeline: Any,
    photos: Sequence[Any],
    regions: bool,
    folder: str | os.PathLike[str] | None,
    batch_size: int,
    verbose: bool | int,
) -> Collection:
    names = [name_of(photo) for photo in photos]
    content = _MemoryFiles() if folder is None else _DiskFiles(Path(folder), names, regions)
    with tqdm(
        total=len(photos),
        initial=content.n_done,
        desc="describing",
        unit="photo",
        disable=not verbose,
        delay=1,
    ) as bar:
        for start in range(content.n_done, len(photos), batch_size):
            started = time.perf_counter()
            batch = list(photos[start : start + batch_size])
            rows = list(_describe_batch(pipeline, batch, regions))
            content.append(rows, time.perf_counter() - started)
            bar.update(len(batch))
    descriptors, table, failed = content.close(regions)
    return Collection(photos, names, descriptors, table, failed, content.seconds)


# A photo's descriptor and region vectors, or why it has none.
_Row = tuple[np.ndarray, "RegionVectors | None"]


def _describe_batch(pipeline: Any, batch: list[Any], regions: bool) -> Iterator[_Row | str]:
    try:
        if regions:
            vectors = pipeline[:-1].transform(batch)
            check_kind(vectors, RegionVectors, pipeline)
            rows = list(zip(np.asarray(pipeline[-1].transform(vectors)), vectors))
        else:
            rows = [(row, None) for row in np.asarray(pipeline.transform(batch))]
    except PhotoError as error:
        # The extractor names all that fail; an error of a later step may be any photo's.
        bad = {i: reason for i, _, reason in error.failures}
        if not bad and len(batch) == 1:
            yield str(error)
            return
        good = [[photo for i, photo in enumerate(batch) if i not in bad]]
        parts = good if bad else [[photo] for photo in batch]
        rest = (row for part in parts if part for row in _describe_batch(pipeline, part, regions))
        for i in range(len(batch)):
            yield bad[i] if i in bad else next(rest)
    else:
        yield from rows


def check_kind(records: Sequence[Any], kind: type, pipeline: Any) -> None:
    """An error unless all records in the middle of a pipeline are of the kind that is read."""
    if not all(isinstance(record, kind) for record in records):
        raise ValueError(
            f"a step behind the first ranking reads {kind.__name__}, and this pipeline of "
            f"{', '.join(pipeline.named_steps)} makes {type(records[0]).__name__}; take that step "
            "out, or use a pipeline of activation maps"
        )


def _as_arrays(rows: list[_Row | str], dimension: int) -> dict[str, np.ndarray]:
    """What is kept of a batch. A photo that failed counts -1 regions."""
    good = [row for row in rows if not isinstance(row, str)]
    counts, vectors = [], [np.empty((0, dimension), np.float16)]
    weights = [np.empty(0, np.float32)]
    for row in rows:
        found = None if isinstance(row, str) else row[1]
        counts.append(-1 if isinstance(row, str) else 0 if found is None else len(found))
        if found is not None:
            vectors.append(found.vectors.astype(np.float16))
            weights.append(np.asarray(found.weights, np.float32))
    descriptors = np.zeros((len(rows), dimension), np.float32)
    descriptors[np.array(counts) >= 0] = [row[0] for row in good] if good else 0
    return {
        "vectors": np.concatenate(vectors),
        "weights": np.concatenate(weights),
        "descriptors": descriptors,
        "counts": np.array(counts, np.int32),
    }


def _dimension(rows: list[_Row | str]) -> int:
    return next((len(row[0]) for row in rows if not isinstance(row, str)), 0)


def _table(vectors: np.ndarray, weights: np.ndarray, counts: np.ndarray) -> RegionTable:
    indptr = np.concatenate([[0], np.cumsum(np.maximum(counts, 0))])
    return RegionTable(vectors, weights, indptr)


class _MemoryFiles:
    """Rows as they come, in memory."""

    n_done = 0
    seconds = 0.0

    def __init__(self) -> None:
        self.rows: list[_Row | str] = []

    def append(self, rows: list[_Row | str], seconds: float) -> None:
        self.seconds += seconds
        # Region vectors are kept in their final, smaller form.
        for row in rows:
            if not isinstance(row, str) and row[1] is not None:
                found = row[1]
                row = row[0], RegionVectors(found.vectors.astype(np.float16), found.weights)
            self.rows.append(row)

    def close(self, regions: bool) -> tuple[np.ndarray, RegionTable | None, dict[int, str]]:
        arrays = _as_arrays(self.rows, _dimension(self.rows))
        counts = arrays["counts"]
        table = _table(arrays["vectors"], arrays["weights"], counts) if regions else None
        failed = {i: row for i, row in enumerate(self.rows) if isinstance(row, str)}
        return arrays["descriptors"], table, failed


class _DiskFiles:
    """Flat files that only grow. What a stopped run left half-written at their ends is cut off."""

    _ITEMS = {"vectors": np.float16, "weights": np.float32, "descriptors": np.float32}

    def __init__(self, folder: Path, names: list[str], regions: bool):
        self.folder = folder
        digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
        self.about = {"photos": len(names), "names_sha256": digest, "regions": regions}
        file = folder / "collection.json"
        if file.exists():
            found = json.loads(file.read_text())
            self.dimension = found.pop("dimension")
            if found != self.about:
                raise ValueError(
                    f"{folder}: holds {found['photos']} photos that were described for another "
                    "run; choose another folder, or delete this one"
                )
            self.failed = self._read_failed()
            self._cut_off()
        else:
            self.dimension = 0
            self.failed = {}
            self.n_done = 0
        self.waiting: list[_Row | str] = []

    def append(self, rows: list[_Row | str], seconds: float) -> None:
        with open(self._file("seconds"), "ab") as file:
            np.array([seconds]).tofile(file)
        if not self.dimension:
            # Photos that failed before the first that did not wait for its length.
            rows = self.waiting + rows
            self.dimension = _dimension(rows)
            if not self.dimension:
                self.waiting = rows
                return
            about = {**self.about, "dimension": self.dimension}
            (self.folder / "collection.json").write_text(json.dumps(about))
        reasons = {self.n_done + i: row for i, row in enumerate(rows) if isinstance(row, str)}
        if reasons:
            self.failed.update(reasons)
            with open(self.folder / "failed.jsonl", "a") as file:
                file.writelines(json.dumps(item) + "\n" for item in reasons.items())
        # The counts last: a photo is done when they have it.
        for name, array in _as_arrays(rows, self.dimension).items():
            with open(self._file(name), "ab") as file:
                array.tofile(file)
        self.n_done += len(rows)

    def close(self, regions: bool) -> tuple[np.ndarray, RegionTable | None, dict[int, str]]:
        if not self.dimension:
            reasons = {i: str(row) for i, row in enumerate(self.waiting)}
            return np.zeros((len(reasons), 0), np.float32), None, reasons
        counts = np.fromfile(self._file("counts"), np.int32)
        descriptors = self._map("descriptors", (self.n_done, self.dimension))
        if not regions:
            return descriptors, None, self.failed
        n_regions = int(np.maximum(counts, 0).sum())
        vectors = self._map("vectors", (n_regions, self.dimension))
        return descriptors, _table(vectors, self._map("weights", (n_regions,)), counts), self.failed

    @property
    def seconds(self) -> float:
        return float(np.fromfile(self._file("seconds")).sum()) if self._size("seconds") else 0.0

    def _map(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        dtype = self._ITEMS[name]
        if not np.prod(shape):
            return np.empty(shape, dtype)
        return np.memmap(self._file(name), dtype, "r", shape=shape)

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.bin"

    def _cut_off(self) -> None:
        self._truncate("counts", self._size("counts") // 4 * 4)
        counts = np.fromfile(self._file("counts"), np.int32)
        self.n_done = len(counts)
        n_regions = int(np.maximum(counts, 0).sum())
        self._truncate("descriptors", self.n_done * self.dimension * 4)
        self._truncate("vectors", n_regions * self.dimension * 2)
        self._truncate("weights", n_regions * 4)
        self.failed = {i: reason for i, reason in self.failed.items() if i < self.n_done}

    def _size(self, name: str) -> int:
        return self._file(name).stat().st_size if self._file(name).exists() else 0

    def _truncate(self, name: str, size: int) -> None:
        self._file(name).touch()
        os.truncate(self._file(name), size)

    def _read_failed(self) -> dict[int, str]:
        file = self.folder / "failed.jsonl"
        if not file.exists():
            return {}
        failed = {}
        for line in file.read_text().splitlines():
            try:
                i, reason = json.loads(line)
            except ValueError:  # the end of a stopped run
                continue
            failed[int(i)] = reason
        return failed
