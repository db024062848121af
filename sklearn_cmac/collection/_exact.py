"""The exact engine: all dot products, with NumPy, in memory or in a folder of arrays."""

from __future__ import annotations

import json
import os
import sqlite3
import warnings
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sklearn_cmac.collection._columns import Column, FileColumn, MemoryColumn, set_aside
from sklearn_cmac.collection._engine import Hits, Ids, Stamp
from sklearn_cmac.collection._regions import RegionTable, take_ranges
from sklearn_cmac.maps import RegionVectors

_BLOCK = 1024  # photos whose region vectors are in memory in single precision
# Id, row, first region and number of regions, and checksum.
Entry = tuple[str, int, int, int, int]

_SCORES = 2**25  # similarities that are held at once: 128 MB


def top_rows(scores: np.ndarray, k: int) -> np.ndarray:
    """The rows of the k highest scores (n,), best first; of equal ones, the first rows."""
    if k >= len(scores):
        return np.argsort(-scores, kind="stable")
    if k < 1:
        return np.empty(0, int)
    limit = scores[np.argpartition(scores, len(scores) - k)[len(scores) - k]]
    above = np.flatnonzero(scores > limit)
    level = np.flatnonzero(scores == limit)[: k - len(above)]
    rows = np.sort(np.concatenate([above, level]))
    return rows[np.argsort(-scores[rows], kind="stable")]


def row_blocks(n: int, size: int) -> Iterator[slice]:
    """Slices that together cover n rows."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def shares_of(query: RegionVectors) -> np.ndarray:
    """What each region of a query counts for; they sum up to 1."""
    if query.weights is None:
        return np.full(len(query), 1 / len(query))
    return query.weights / query.weights.sum()


def match_scores(query: RegionVectors, table: RegionTable) -> np.ndarray:
    """Scores of region matching of one query with the photos of a table.

    Parameters
    ----------
    query : RegionVectors
    table : RegionTable
        In memory.

    Returns
    -------
    ndarray of float32 of shape (n,)
        nan for photos without regions.
    """
    scores = np.full(len(table), np.nan, np.float32)
    full = np.flatnonzero(table.counts)
    if len(full):
        found = query.vectors @ table.vectors.astype(np.float32, copy=False).T
        best = np.maximum.reduceat(found, table.indptr[:-1][full], axis=1)
        scores[full] = shares_of(query) @ best
    return scores


class ExactEngine:
    """All dot products of queries with all descriptors: the default engine, and the oracle.

    Parameters
    ----------
    stamp : Stamp
    folder : path, optional
        Where vectors are kept, as `.npy` files beside a database of rows. A folder that holds
        vectors is opened. Default: in memory.
    n_photos : int, optional
        For how many a new folder has room before its files are made larger.

    Raises
    ------
    ValueError
        If the folder holds vectors of another stamp.

    Warns
    -----
    UserWarning
        If vectors in the folder are damaged: their ids are not there any more.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac.collection import ExactEngine, Stamp
    >>> engine = ExactEngine(Stamp("a pipeline", dimension=2))
    >>> engine.upsert(["church", "tower"], np.array([[1, 0], [0.6, 0.8]], np.float32))
    >>> engine.kneighbors(np.array([[0.0, 1.0]]), k=1)
    (array([['tower']], dtype=object), array([[0.8]], dtype=float32))
    """

    def __init__(
        self,
        stamp: Stamp,
        folder: str | os.PathLike[str] | None = None,
        n_photos: int | None = None,
    ):
        self.stamp = stamp
        self._n_photos = n_photos or 0
        self._rows = _Rows(None if folder is None else Path(folder), stamp)
        rows = (stamp.dimension,)
        self._columns = {"descriptors": self._column("descriptors", rows, "float32", folder)}
        if stamp.regions:
            self._columns["vectors"] = self._column("vectors", rows, "float16", folder)
            self._columns["weights"] = self._column("weights", (), "float32", folder)
        if folder is not None:
            self._note_whole(Path(folder))

    def _column(
        self, name: str, shape: tuple[int, ...], dtype: str, folder: str | os.PathLike[str] | None
    ) -> Column:
        if folder is None:
            return MemoryColumn(shape, dtype)
        return FileColumn(Path(folder) / f"{name}.npy", shape, dtype, self._n_photos)

    def __len__(self) -> int:
        return len(self._rows.row_of)

    def __contains__(self, id_: str) -> bool:
        return id_ in self._rows.row_of

    def upsert(self, ids: Ids, descriptors: np.ndarray, regions: RegionTable | None = None) -> None:
        """As for every engine."""
        descriptors = np.ascontiguousarray(descriptors, np.float32)
        if descriptors.shape != (len(ids), self.stamp.dimension) or len(set(ids)) < len(ids):
            raise ValueError(
                f"{len(ids)} ids, each once, need descriptors of shape ({len(ids)}, "
                f"{self.stamp.dimension}); got shape {descriptors.shape} for {len(set(ids))} ids"
            )
        if self.stamp.regions != (regions is not None):
            raise ValueError(f"regions are {'' if self.stamp.regions else 'not '}kept here")
        if not len(ids):
            return
        start, region_start = self._rows.end, self._rows.region_end
        self._columns["descriptors"].write(start, descriptors)
        counts = np.zeros(len(ids), np.int64)
        if regions is not None:
            counts = regions.counts
            self._reserve(counts)
            self._columns["vectors"].write(region_start, regions.vectors.astype(np.float16))
            self._columns["weights"].write(region_start, regions.weights.astype(np.float32))
        starts = region_start + np.cumsum([0, *counts[:-1]])
        entries = [(id_, start + i, int(starts[i]), int(counts[i])) for i, id_ in enumerate(ids)]
        self._rows.add([(*entry, self._checksum(*entry)) for entry in entries])

    def _reserve(self, counts: np.ndarray) -> None:
        """Room for the regions of all photos to come, if they have as many as the first."""
        if not self._rows.region_end:
            for name in ("vectors", "weights"):
                self._columns[name].reserve(int(1.05 * counts.mean() * self._n_photos))

    def delete(self, ids: Ids) -> None:
        """As for every engine. The rows stay where they are, and are not looked at any more."""
        self._rows.remove([id_ for id_ in ids if id_ in self])

    def kneighbors(self, descriptors: np.ndarray, k: int) -> Hits:
        """As for every engine."""
        queries = np.asarray(descriptors, np.float32)
        database, dead = self._descriptors, self._rows.dead
        k = min(k, len(self))
        rows = np.empty((len(queries), k), np.int64)
        values = np.empty((len(queries), k), np.float32)
        for block in row_blocks(len(queries), max(1, _SCORES // max(1, len(database)))):
            for i, scores in enumerate(queries[block] @ database.T, block.start):
                scores[dead] = -np.inf
                rows[i] = top_rows(scores, k)[:k]
                values[i] = scores[rows[i]]
        return self._rows.ids[rows], values

    def match(
        self,
        queries: Sequence[RegionVectors],
        k: int,
        candidates: Sequence[Ids] | None = None,
    ) -> list[Hits]:
        """As for every engine."""
        if candidates is None:
            candidates = [self._rows.ids[self._rows.live]] * len(queries)
        asked = [self._rows.find(ids) for ids in candidates]
        found = []
        for ids, scores in zip(candidates, self._match_rows(queries, asked)):
            full = np.flatnonzero(~np.isnan(scores))
            best = full[top_rows(scores[full], k)][:k]
            found.append((np.asarray(ids, object)[best], scores[best]))
        return found

    def _match_rows(
        self, queries: Sequence[RegionVectors], asked: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """Scores of rows, aligned with `asked`; each photo is read once for all queries."""
        wanted = np.unique(np.concatenate([np.empty(0, np.int64), *asked]))
        scores = [np.empty(len(rows), np.float32) for rows in asked]
        places = [np.argsort(rows, kind="stable") for rows in asked]
        for block in row_blocks(len(wanted), _BLOCK):
            here = wanted[block]
            table = self._table(here)
            table = RegionTable(table.vectors.astype(np.float32), table.weights, table.indptr)
            for query, rows, place, out in zip(queries, asked, places, scores):
                low, high = np.searchsorted(rows, here[[0, -1]] + [0, 1], sorter=place)
                mine = place[low:high]
                if len(mine):
                    at = np.searchsorted(here, rows[mine])
                    part = table if len(mine) == len(here) else table.take(at)
                    out[mine] = match_scores(query, part)[at if part is table else slice(None)]
        return scores

    def get(self, ids: Ids) -> np.ndarray:
        """As for every engine."""
        return np.asarray(self._descriptors[self._rows.find(ids)])

    def get_regions(self, ids: Ids) -> RegionTable:
        """As for every engine."""
        return self._table(self._rows.find(ids))

    def scan(self, batch_size: int = 1024) -> Iterator[tuple[list[str], np.ndarray]]:
        """As for every engine."""
        live = self._rows.live
        for block in row_blocks(len(live), batch_size):
            rows = live[block]
            yield self._rows.ids[rows].tolist(), np.asarray(self._descriptors[rows])

    def close(self) -> None:
        """As for every engine."""
        self._rows.close()

    def __getstate__(self) -> dict[str, Any]:
        """An engine in memory, without the room that it has left."""
        used = dict.fromkeys(("vectors", "weights"), self._rows.region_end)
        columns = {
            name: column.trimmed(used.get(name, self._rows.end))
            for name, column in self._columns.items()
        }
        return {**self.__dict__, "_columns": columns}

    @property
    def _descriptors(self) -> np.ndarray:
        return np.asarray(self._columns["descriptors"].capacity)[: self._rows.end]

    def _table(self, rows: np.ndarray) -> RegionTable:
        if not self.stamp.regions:
            raise ValueError("no region vectors are kept here")
        vectors, weights = (self._columns[name].capacity for name in ("vectors", "weights"))
        return take_ranges(vectors, weights, self._rows.starts[rows], self._rows.counts[rows])

    def _checksum(self, id_: str, row: int, start: int, count: int) -> int:
        """Of an id and all its numbers."""
        total = zlib.crc32(self._columns["descriptors"].capacity[row].tobytes())
        total = zlib.crc32(f"{id_} {row} {start} {count}".encode(), total)
        for name in ("vectors", "weights") if self.stamp.regions else ():
            rows = self._columns[name].capacity[start : start + count]
            total = zlib.crc32(rows.tobytes(), total)
        return total

    def _note_whole(self, folder: Path) -> None:
        """Take note of the ids whose numbers are those that were written; forget the others."""
        entries = self._rows.saved
        whole = {entry[0]: entry for entry in entries if self._is_whole(*entry)}
        self._rows.note(list(whole.values()))
        damaged = [entry[0] for entry in entries if entry[0] not in whole]
        if damaged:
            self._rows.forget(damaged)
            warnings.warn(
                f"{folder}: the vectors of {len(damaged)} photos are damaged, those of "
                f"{damaged[0]!r} for one; these photos count as not described",
                stacklevel=4,
            )

    def _is_whole(self, id_: Any, row: Any, start: Any, count: Any, checksum: Any) -> bool:
        numbers = (row, start, count)
        if not all(isinstance(number, int) and number >= 0 for number in numbers):
            return False
        rooms = {name: len(column.capacity) for name, column in self._columns.items()}
        room = rooms.get("vectors", start + count)
        if row >= rooms["descriptors"] or start + count > room:
            return False
        return self._checksum(id_, row, start, count) == checksum


class _Rows:
    """Which row of the columns is whose: in memory, and in a database if there is a folder.

    A photo counts when its entry is committed, and entries are committed after their numbers
    are on the disk, so a run that is killed at any moment leaves whole photos only.
    """

    _SCHEMA = """
        CREATE TABLE IF NOT EXISTS stamp (content TEXT, checksum INTEGER);
        CREATE TABLE IF NOT EXISTS rows (
            id TEXT PRIMARY KEY, row INTEGER, start INTEGER, count INTEGER, checksum INTEGER
        );
    """

    def __init__(self, folder: Path | None, stamp: Stamp):
        self.row_of: dict[str, int] = {}
        self.ids = np.empty(0, object)
        self.starts = self.counts = np.empty(0, np.int64)
        self.end = self.region_end = 0
        self._database: sqlite3.Connection | None = None
        self.saved: list[Entry] = []
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            kept = self._open(folder / "rows.sqlite")
            if kept is None:
                self._write("DELETE FROM rows", [()])
                self._write("INSERT INTO stamp VALUES (?, ?)", [_signed(stamp)])
                self.saved = []
            else:
                kept.check(stamp, str(folder))

    def _open(self, path: Path) -> Stamp | None:
        """Read what is committed, in the order of its rows, and the stamp, if there is one."""
        try:
            self._database = open_database(path, self._SCHEMA)
            command = "SELECT id, row, start, count, checksum FROM rows ORDER BY row"
            self.saved = self._database.execute(command).fetchall()
            return _read_stamp(self._database.execute("SELECT * FROM stamp").fetchall())
        except (sqlite3.DatabaseError, TypeError, ValueError) as error:
            self.close()
            set_aside(path, error)
            self._database = open_database(path, self._SCHEMA)
            self.saved = []
            return None

    def add(self, entries: Sequence[Entry]) -> None:
        """Commit entries, and take note of them."""
        self._write("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?)", entries)
        self.note(entries)

    def remove(self, ids: Sequence[str]) -> None:
        """Take ids out."""
        self.forget(ids)
        for id_ in ids:
            del self.row_of[id_]

    def forget(self, ids: Sequence[str]) -> None:
        """Take entries out of the database."""
        self._write("DELETE FROM rows WHERE id = ?", [(id_,) for id_ in ids])

    def find(self, ids: Ids) -> np.ndarray:
        """Rows of ids."""
        try:
            return np.fromiter((self.row_of[id_] for id_ in ids), np.int64, len(ids))
        except KeyError as error:
            raise KeyError(f"there is no photo {error.args[0]!r}") from None

    @property
    def live(self) -> np.ndarray:
        """Rows of all ids, in the order in which they were added."""
        return np.fromiter(sorted(self.row_of.values()), np.int64, len(self.row_of))

    @property
    def dead(self) -> np.ndarray:
        """Rows that were replaced or deleted."""
        if len(self.row_of) == self.end:
            return np.empty(0, np.int64)
        return np.setdiff1d(np.arange(self.end), self.live)

    def note(self, entries: Sequence[Entry]) -> None:
        """Take note of entries."""
        for id_, row, start, count, _ in entries:
            self._make_room(row + 1)
            self.row_of[id_] = row
            self.ids[row], self.starts[row], self.counts[row] = id_, start, count
            self.region_end = max(self.region_end, start + count)
            self.end = max(self.end, row + 1)

    def _make_room(self, rows: int) -> None:
        if rows > len(self.ids):
            more = max(rows, 2 * len(self.ids)) - len(self.ids)
            self.ids = np.concatenate([self.ids, np.empty(more, object)])
            self.starts = np.concatenate([self.starts, np.zeros(more, np.int64)])
            self.counts = np.concatenate([self.counts, np.zeros(more, np.int64)])

    def _write(self, command: str, rows: Sequence[tuple[Any, ...]]) -> None:
        if self._database is not None:
            with self._database:
                self._database.executemany(command, rows)

    def close(self) -> None:
        """Let go of the database."""
        if self._database is not None:
            self._database.close()


def _signed(stamp: Stamp) -> tuple[str, int]:
    """The stamp as text, and its checksum."""
    text = json.dumps(vars(stamp))
    return text, zlib.crc32(text.encode())


def _read_stamp(rows: list[Any]) -> Stamp | None:
    if not rows:
        return None
    stamp = Stamp(**json.loads(rows[0][0]))
    if rows != [_signed(stamp)]:
        raise ValueError("its stamp does not fit its checksum")
    return stamp


def open_database(path: Path, schema: str) -> sqlite3.Connection:
    """A database with these tables; one that is damaged is set aside, and a new one made."""
    try:
        return _connected(path, schema)
    except sqlite3.DatabaseError as error:
        set_aside(path, error)
        return _connected(path, schema)


def _connected(path: Path, schema: str) -> sqlite3.Connection:
    database = sqlite3.connect(path)
    try:
        database.executescript(schema)
        if database.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("its check fails")
    except sqlite3.DatabaseError:
        database.close()
        raise
    return database
