"""The exact engine on disk: arrays that are memory-mapped, beside a catalogue of their rows."""

from __future__ import annotations

import json
import os
import re
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from sklearn_cmac._progress import show_progress
from sklearn_cmac.collection._arrays import ArrayFile
from sklearn_cmac.collection._database import DamageError, Database, checksum
from sklearn_cmac.collection._engine import Hits, Ids, InUseError, Stamp
from sklearn_cmac.collection._lock import WriterLock
from sklearn_cmac.collection._regions import RegionTable, take_ranges
from sklearn_cmac.collection._row_engine import RowEngine, check_new_rows
from sklearn_cmac.maps import RegionVectors

CATALOGUE = "catalogue.sqlite"

_ROWS = """
    (row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, start INTEGER, n_regions INTEGER,
    descriptor_checksum INTEGER, region_checksum INTEGER, checksum INTEGER)
"""
_SCHEMA = f"""
    CREATE TABLE IF NOT EXISTS state (content TEXT, checksum INTEGER);
    CREATE TABLE IF NOT EXISTS rows {_ROWS};
    CREATE TABLE IF NOT EXISTS dead (row INTEGER PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS blocks (block INTEGER PRIMARY KEY, rows INTEGER, checksum INTEGER);
"""
_BLOCK = 4096  # rows that have a checksum together, besides one each
_MANY = 1000  # rows whose ids are looked up one by one, or an eighth; of more, all are read
_MOST_DIMENSIONS = 10_000_000
_MOST_REGIONS = 100_000  # of a photo
_TRIES = 3  # answers that others may disturb, before they are kept from writing

_BY_ROW = "SELECT * FROM rows WHERE row IN ({})"
_ARRAY = re.compile(r"(descriptors|vectors|weights)-\d+\.f\d\d")
_NUMBERS = {"f32": "f4", "f16": "f2"}

_Answer = TypeVar("_Answer")
_Blocks = dict[int, tuple[int, int]]  # rows and checksum of each block


def is_kept(folder: str | os.PathLike[str]) -> bool:
    """Whether something is kept in a folder: an index rather than photos."""
    return os.path.exists(os.path.join(folder, CATALOGUE))


@dataclass
class _State:
    """What is committed, as far as every search needs it."""

    generation: int = 1  # of the files; a new one begins when room is reclaimed
    end: int = 0  # rows in use, dead ones too
    region_end: int = 0
    hidden: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    blocks: _Blocks = field(default_factory=dict)


class _Row(NamedTuple):
    """A row of the catalogue."""

    row: int
    id: str
    start: int
    n_regions: int
    descriptor_checksum: int
    region_checksum: int


class _Moved(Exception):
    """Somebody else wrote in the midst of an answer, which is begun again."""


class FlatEngine(RowEngine):
    """All dot products of queries with all descriptors, which stay in files until they are read.

    Rows are added at the end of files; one that is deleted or replaced stays where it is until
    `compact`. What the catalogue does not know of does not count, so whatever ends the process,
    what was acknowledged is there. One process writes at a time; any number read, and each answer
    is of one moment.

    Parameters
    ----------
    folder : path
    stamp : Stamp, optional
        What its vectors are of. Needed where nothing is kept yet.
    read_only : bool, default=False
        Whether to refuse to write.
    timeout : float, default=5.0
        Seconds to wait for another writer.
    writer : WriterLock, optional
        The right to write here, of somebody who writes beside the engine.

    Attributes
    ----------
    database : Database
        The catalogue, where others may have tables of their own.

    Raises
    ------
    FileNotFoundError
        If nothing is kept there, and there is no `stamp`.
    ValueError
        If the folder holds vectors of another stamp, or its catalogue is damaged.

    Warns
    -----
    UserWarning
        If a row is found to be damaged when it is first read. Its id counts as absent.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sklearn_cmac.collection import FlatEngine, Stamp
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     engine = FlatEngine(folder, Stamp("a pipeline", dimension=2))
    ...     engine.upsert(["church", "tower"], np.array([[1, 0], [0.6, 0.8]], np.float32))
    ...     ids, scores = FlatEngine(folder).kneighbors(np.array([[0.0, 1.0]]), k=1)
    ...     engine.close()
    >>> ids, scores
    (array([['tower']], dtype=object), array([[0.8]], dtype=float32))
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        stamp: Stamp | None = None,
        *,
        read_only: bool = False,
        timeout: float = 5.0,
        writer: WriterLock | None = None,
    ):
        self.folder = Path(folder)
        self.read_only = read_only
        # How warnings call an id.
        self.name_of: Callable[[str], str] = repr
        self._damaged: set[str] = set()
        self._state = _State()
        self._files: dict[str, ArrayFile] = {}
        self._checked: dict[int, int] = {}  # of each block, how many rows are known to be whole
        self._checked_regions = bytearray()  # of each row, whether they are
        self._all_ids: np.ndarray | None = None
        if stamp is None and not (self.folder / CATALOGUE).exists():
            raise FileNotFoundError(f"{folder}: no vectors are kept here")
        if not read_only:
            self.folder.mkdir(parents=True, exist_ok=True)
        self._writer = WriterLock(self.folder, timeout) if writer is None else writer
        self._tidied = False
        self._stale = False  # between a commit and taking note of it
        self.database = Database(self.folder / CATALOGUE, read_only)
        try:
            self.stamp = self._open(stamp)
            self._load()
        except BaseException:
            self.close()
            raise

    def _open(self, asked: Stamp | None) -> Stamp:
        """The stamp that is kept; the first that is asked for will be."""
        if asked is not None and not self._has_state():
            self._writer.acquire()
            self.database.make(_SCHEMA)
            with self.database.transaction():
                if not self._has_state():
                    self._write_state(asked, _State())
        if not self._has_state():
            raise FileNotFoundError(f"{self.folder}: no vectors are kept here")
        kept, _ = self._read_state()
        if asked is not None:
            kept.check(asked, str(self.folder))
        return kept

    # -- what others ask ----------------------------------------------------------------------

    def __len__(self) -> int:
        self._sync()
        return self._state.end - int(np.count_nonzero(self._state.hidden))

    def __contains__(self, id_: str) -> bool:
        found = self.database.all("SELECT 1 FROM rows WHERE id = ?", (id_,))
        return bool(found) and id_ not in self._damaged

    def kneighbors(self, descriptors: np.ndarray, k: int, among: Ids | None = None) -> Hits:
        """As for every engine."""
        return self._at_once(lambda: RowEngine.kneighbors(self, descriptors, k, among))

    def match(
        self, queries: Sequence[RegionVectors], k: int, candidates: Sequence[Ids] | None = None
    ) -> list[Hits]:
        """As for every engine."""
        return self._at_once(lambda: RowEngine.match(self, queries, k, candidates))

    def get(self, ids: Ids) -> np.ndarray:
        """As for every engine."""
        return self._at_once(lambda: RowEngine.get(self, ids))

    def get_regions(self, ids: Ids) -> RegionTable:
        """As for every engine."""
        return self._at_once(lambda: RowEngine.get_regions(self, ids))

    def scan(self, batch_size: int = 1024) -> Iterator[tuple[list[str], np.ndarray]]:
        """As for every engine."""
        self._sync()
        for rows in self._batches(batch_size):
            at = np.array([row.row for row in rows], int)
            self._look(at)
            kept = np.flatnonzero(~self._hidden()[at])
            yield [rows[i].id for i in kept], np.asarray(self._descriptors()[at[kept]])

    def upsert(self, ids: Ids, descriptors: np.ndarray, regions: RegionTable | None = None) -> None:
        """As for every engine."""
        descriptors = check_new_rows(self.stamp, ids, descriptors, regions)
        if not len(ids):
            return
        self._begin_to_write()
        before = self._state
        rows, after = _append(self._files, before, ids, descriptors, regions)
        self._stale = True
        with self.database.transaction():
            dead = self._bury(ids)
            self._insert("rows", rows)
            self._write_state(self.stamp, after, before.end // _BLOCK)
        # What was just written is as it was written.
        for block in range(before.end // _BLOCK, len(after.blocks)):
            if self._checked.get(block, 0) == before.blocks.get(block, (0, 0))[0]:
                self._checked[block] = after.blocks[block][0]
        self._state = after
        self._forget(dead, ids)

    def delete(self, ids: Ids) -> None:
        """As for every engine."""
        gone = [id_ for id_ in ids if id_ in self or id_ in self._damaged]
        if gone:
            self._begin_to_write()
            self._stale = True
            with self.database.transaction():
                dead = self._bury(gone)
            self._forget(dead, gone)

    def release(self) -> None:
        """Let another process write; who writes here next waits for it."""
        self._writer.release()

    def close(self) -> None:
        """As for every engine."""
        self.database.close()
        self.release()

    def __reduce__(self) -> tuple[Any, ...]:
        return FlatEngine, (self.folder.resolve(),)

    # -- care ---------------------------------------------------------------------------------

    def compact(self, verbose: bool = False) -> int:
        """Give the room of dead rows back. Killed midway, it has not been.

        Parameters
        ----------
        verbose : bool, default=False
            Whether to show progress.

        Returns
        -------
        int
            Bytes by which the arrays are shorter.
        """
        self._begin_to_write()
        self.check(verbose)
        before = self._size()
        after = _State(self._state.generation + 1)
        files = self._open_files(after.generation)
        self._tidy()
        self.database.all(f"CREATE TABLE kept {_ROWS}")
        for rows in self._all_rows("writing photos anew", verbose):
            at = np.array([row.row for row in rows if not self._hidden()[row.row]], int)
            ids = self._ids_of(at)
            regions = self._table(at) if self.stamp.regions else None
            kept, after = _append(files, after, ids, self._descriptors()[at], regions)
            with self.database.transaction():
                self._insert("kept", kept)
        with self.database.transaction():
            for command in ("DROP TABLE rows", "ALTER TABLE kept RENAME TO rows"):
                self.database.all(command)
            self.database.all("DELETE FROM dead")
            self.database.all("DELETE FROM blocks")
            self._write_state(self.stamp, after)
        self.database.all("VACUUM")
        self._damaged.clear()
        self._load()
        self._tidy()
        return before - self._size()

    def check(self, verbose: bool = False) -> list[str]:
        """Read everything, and say what is damaged.

        Parameters
        ----------
        verbose : bool, default=False
            Whether to show progress.

        Returns
        -------
        list of str
            A sentence for each file or photo. Such photos count as absent from now on.
        """
        found = self.database.damage()
        self._checked, self._checked_regions = {}, bytearray()
        self._damaged.clear()
        try:
            self._load()
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                for rows in self._all_rows("checking photos", verbose):
                    at = np.array([row.row for row in rows], int)
                    self._look(at)
                    if self.stamp.regions:
                        self._table(at)
        except DamageError as error:
            return [*found, *([] if str(error) in found else [str(error)])]
        return [*found, *(str(warning.message) for warning in said)]

    def forget_damaged(self) -> list[str]:
        """Take ids that are known to be damaged out, so that they can be added again."""
        gone = sorted(self._damaged)
        self.delete(gone)
        return gone

    def _all_rows(self, doing: str, verbose: bool) -> Iterator[list[_Row]]:
        """All rows, block by block, with progress."""
        with show_progress(None, len(self), doing, verbose) as bar:
            for rows in self._batches(_BLOCK):
                yield rows
                bar.update(len(rows))

    def _size(self) -> int:
        return sum(file.room * file.row_bytes for file in self._files.values())

    def _tidy(self) -> None:
        """Remove files that a writer left which was killed."""
        self.database.all("DROP TABLE IF EXISTS kept")
        own = {file.path.name for file in self._files.values()}
        for path in self.folder.iterdir():
            if path.name not in own and _ARRAY.fullmatch(path.name):
                path.unlink(missing_ok=True)

    # -- one moment ---------------------------------------------------------------------------

    def _at_once(self, work: Callable[[], _Answer]) -> _Answer:
        """What work answers, all of it from one state of the catalogue."""
        for attempt in range(2 * _TRIES):
            with self.database.snapshot() if attempt >= _TRIES else nullcontext():
                self._load() if attempt else self._sync()
                with suppress(_Moved):
                    return work()
        raise DamageError(f"{self.folder / CATALOGUE}: is damaged (rows have no ids)")

    def _sync(self) -> None:
        """Take note of what others have written, or this process when it was interrupted."""
        if self.database.others_wrote() or self._stale:
            self._load()

    def _load(self) -> None:
        """Read what is committed."""
        with self.database.snapshot():
            _, state = self._read_state()
            dead = [row for (row,) in self.database.all("SELECT row FROM dead")]
            blocks = self.database.all("SELECT block, rows, checksum FROM blocks")
        if not _are_whole(dead) or not _are_whole(number for block in blocks for number in block):
            raise DamageError(f"{self.folder / CATALOGUE}: is damaged (a number is none)")
        state.blocks = {block: (rows, sum_) for block, rows, sum_ in blocks}
        state.hidden = np.zeros(state.end, bool)
        state.hidden[[row for row in dead if row < state.end]] = True
        if not self._files or self._state.generation != state.generation:
            self._files = self._open_files(state.generation)
            self._checked = {}
            self._checked_regions = bytearray()
        self._state = state
        self._all_ids = None
        self._stale = False
        for (row,) in self.database.of_keys(
            "SELECT row FROM rows WHERE id IN ({})", sorted(self._damaged)
        ):
            state.hidden[row] = True

    def _open_files(self, generation: int) -> dict[str, ArrayFile]:
        dimension = self.stamp.dimension
        forms: dict[str, tuple[tuple[int, ...], str]] = {"descriptors": ((dimension,), "f32")}
        if self.stamp.regions:
            forms.update(vectors=((dimension,), "f16"), weights=((), "f32"))
        return {
            name: ArrayFile(self.folder / f"{name}-{generation}.{form}", shape, _NUMBERS[form])
            for name, (shape, form) in forms.items()
        }

    # -- the catalogue ------------------------------------------------------------------------

    def _begin_to_write(self) -> None:
        if self.read_only:
            raise InUseError(f"{self.folder}: was opened to be read only")
        self._writer.acquire()
        self._sync()
        if not self._tidied:
            self._tidy()
            self._tidied = True

    def _read_state(self) -> tuple[Stamp, _State]:
        rows = self.database.all("SELECT content, checksum FROM state")
        try:
            ((text, sum_),) = rows
            if zlib.crc32(text.encode()) != sum_:
                raise ValueError
            content = json.loads(text)
            stamp, state = Stamp(**content.pop("stamp")), _State(**content)
            if not (_is_stamp(stamp) and self._has_room_for(state)):
                raise ValueError
            return stamp, state
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
            raise DamageError(f"{self.folder / CATALOGUE}: its state is damaged") from error

    def _has_room_for(self, state: _State) -> bool:
        """Whether there can be as many rows; each takes a byte of the catalogue at least."""
        numbers = state.generation, state.end, state.region_end
        if not all(type(number) is int and number >= 0 for number in numbers):
            return False
        return state.end <= self.database.size and state.region_end <= _MOST_REGIONS * state.end

    def _write_state(self, stamp: Stamp, state: _State, first_block: int = 0) -> None:
        numbers = {name: getattr(state, name) for name in ("generation", "end", "region_end")}
        text = json.dumps({"stamp": asdict(stamp), **numbers})
        self.database.all("DELETE FROM state")
        self.database.all("INSERT INTO state VALUES (?, ?)", (text, zlib.crc32(text.encode())))
        blocks = [(i, *state.blocks[i]) for i in range(first_block, len(state.blocks))]
        self.database.many("INSERT OR REPLACE INTO blocks VALUES (?, ?, ?)", blocks)

    def _insert(self, table: str, rows: Sequence[_Row]) -> None:
        values = [(*row, checksum(row)) for row in rows]
        self.database.many(f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?, ?)", values)

    def _bury(self, ids: Ids) -> list[int]:
        """Mark the rows of ids as dead, and say which they are."""
        command = "SELECT row FROM rows WHERE id IN ({})"
        dead = [row for (row,) in self.database.of_keys(command, list(ids))]
        self.database.many("INSERT INTO dead VALUES (?)", [(row,) for row in dead])
        self.database.many("DELETE FROM rows WHERE row = ?", [(row,) for row in dead])
        return dead

    def _forget(self, dead: Sequence[int], ids: Ids) -> None:
        self._state.hidden[list(dead)] = True
        self._damaged.difference_update(ids)
        self._all_ids = None
        self._stale = False

    def _has_state(self) -> bool:
        made = self.database.all("SELECT 1 FROM sqlite_master WHERE name = 'state'")
        return bool(made and self.database.all("SELECT 1 FROM state"))

    def _whole(self, found: Iterable[tuple[Any, ...]]) -> list[_Row]:
        """Rows as the catalogue has them, without those that are damaged, which are hidden."""
        rows = []
        for *values, sum_ in found:
            if len(values) != len(_Row._fields):
                raise DamageError(
                    f"{self.folder / CATALOGUE}: is damaged (a row has other columns)"
                )
            row = _Row(*values)
            numbers = row.row, *row[2:]
            if checksum(row) == sum_ and _are_whole(numbers) and isinstance(row.id, str):
                rows.append(row)
                continue
            known = isinstance(row.row, int) and 0 <= row.row < self._state.end
            if known and not self._state.hidden[row.row]:
                self._hide(row.row, str(row.id), self.folder / CATALOGUE)
        return rows

    def _batches(self, size: int) -> Iterator[list[_Row]]:
        """All rows, in their order."""
        generation, last = self._state.generation, -1
        while True:
            self._sync()
            if self._state.generation != generation:
                raise InUseError(f"{self.folder}: was compacted while it was read; read it again")
            command = "SELECT * FROM rows WHERE row > ? AND row < ? ORDER BY row LIMIT ?"
            found = self.database.all(command, (last, self._state.end, size))
            if not found:
                return
            if found[-1][0] <= last:
                raise DamageError(f"{self.folder / CATALOGUE}: is damaged (its rows have no end)")
            last = found[-1][0]
            yield [row for row in self._whole(found) if not self._state.hidden[row.row]]

    def _find(self, ids: Ids, absent: int | None = None) -> np.ndarray:
        command = "SELECT * FROM rows WHERE id IN ({})"
        found = self._whole(self.database.of_keys(command, list(dict.fromkeys(ids))))
        row_of = {row.id: row.row for row in found if row.id not in self._damaged}
        if any(row >= self._state.end for row in row_of.values()):
            raise _Moved
        if absent is None and (missing := [id_ for id_ in ids if id_ not in row_of]):
            raise KeyError(f"there is no photo {missing[0]!r}")
        return np.fromiter((row_of.get(id_, absent) for id_ in ids), np.int64, len(ids))

    def _ids_of(self, rows: np.ndarray) -> np.ndarray:
        if len(rows) > max(_MANY, self._state.end // 8):
            return self._every_id()[rows]
        found = self._whole(self.database.of_keys(_BY_ROW, rows.tolist()))
        id_of = {row.row: row.id for row in found}
        if len(id_of) < len(set(rows.tolist())) or self._is_stale():
            raise _Moved
        ids = np.empty(len(rows), object)
        ids[:] = [id_of[row] for row in rows.tolist()]
        return ids

    def _every_id(self) -> np.ndarray:
        if self._all_ids is None:
            ids = np.empty(self._state.end, object)
            n = 0
            for row, id_ in self.database.all("SELECT row, id FROM rows"):
                if row < len(ids):
                    ids[row], n = id_, n + 1
            if n < len(self) or self._is_stale():
                raise _Moved
            self._all_ids = ids
        return self._all_ids

    def _is_stale(self) -> bool:
        """Whether rows have other numbers by now than in the state that is answered from."""
        return self._read_state()[1].generation != self._state.generation

    # -- the arrays ---------------------------------------------------------------------------

    def _live(self) -> np.ndarray:
        return np.flatnonzero(~self._state.hidden)

    def _hidden(self) -> np.ndarray:
        return self._state.hidden

    def _descriptors(self) -> np.ndarray:
        found = self._rows_in("descriptors", self._state.end)
        if len(found) < self._state.end:  # the file was cut: what is missing is noticed by `_look`
            missing = np.zeros((self._state.end - len(found), self.stamp.dimension), np.float32)
            return np.concatenate([found, missing])
        return found

    def _rows_in(self, name: str, end: int) -> np.ndarray:
        """Rows of a file, `end` or as many as there are."""
        found = self._files[name].rows(end)
        if len(found) < end and self._is_stale():  # by now there are new files
            raise _Moved
        return found

    def _look(self, rows: slice | np.ndarray) -> None:
        """Check rows that are read for the first time, by blocks."""
        if isinstance(rows, slice):
            blocks = range(rows.start // _BLOCK, (rows.stop + _BLOCK - 1) // _BLOCK)
        else:
            blocks = np.unique(rows // _BLOCK).tolist()
        for block in blocks:
            n, sum_ = self._state.blocks.get(block, (0, 0))
            if self._checked.get(block, 0) != n:
                start = block * _BLOCK
                here = self._rows_in("descriptors", self._state.end)[start : start + n]
                if len(here) < n or _checksum(here) != sum_:
                    self._look_singly(start, n)
                self._checked[block] = n

    def _look_singly(self, start: int, n: int) -> None:
        file = self._files["descriptors"]
        command = "SELECT * FROM rows WHERE row >= ? AND row < ?"
        for row in self._whole(self.database.all(command, (start, start + n))):
            here = self._rows_in("descriptors", self._state.end)[row.row : row.row + 1]
            if len(here) < 1 or _checksum(here) != row.descriptor_checksum:
                self._hide(row.row, row.id, file.path)

    def _table(self, rows: np.ndarray) -> RegionTable:
        """Region vectors of rows; of those that are damaged, none."""
        if not self.stamp.regions:
            raise ValueError("no region vectors are kept here")
        vectors, weights = (
            self._rows_in(name, self._state.region_end) for name in ("vectors", "weights")
        )
        self._checked_regions.extend(bytes(self._state.end - len(self._checked_regions)))
        places = {row.row: row for row in self._catalogued(rows)}
        for row in places.values():
            if not self._checked_regions[row.row]:
                self._check_regions(row, vectors, weights)
        spans = [
            (places[row].start, places[row].n_regions)
            if row in places and not self._state.hidden[row]
            else (0, 0)
            for row in rows.tolist()
        ]
        starts, counts = np.array(spans, np.int64).reshape(-1, 2).T
        return take_ranges(vectors, weights, starts, counts)

    def _catalogued(self, rows: np.ndarray) -> list[_Row]:
        """What the catalogue has of rows, in any order."""
        if not len(rows):
            return []
        low, high = int(rows.min()), int(rows.max())
        if high - low < 4 * len(rows):
            command = "SELECT * FROM rows WHERE row >= ? AND row <= ?"
            return self._whole(self.database.all(command, (low, high)))
        return self._whole(self.database.of_keys(_BY_ROW, rows.tolist()))

    def _check_regions(self, row: _Row, vectors: np.ndarray, weights: np.ndarray) -> None:
        span = slice(row.start, row.start + row.n_regions)
        names = {"vectors": vectors, "weights": weights}
        short = [name for name, found in names.items() if len(found) < span.stop]
        if short or _region_checksum(vectors[span], weights[span]) != row.region_checksum:
            self._hide(row.row, row.id, *(self._files[name].path for name in short or names))
        self._checked_regions[row.row] = True

    def _hide(self, row: int, id_: str, *files: Path) -> None:
        """Count a damaged row as absent, and say so."""
        self._state.hidden[row] = True
        self._damaged.add(id_)
        where = " or ".join(map(str, files))
        warnings.warn(
            f"{where}: what is kept of {self.name_of(id_)} is damaged; it counts as absent until "
            "it is added again",
            stacklevel=2,
        )


def _is_stamp(stamp: Stamp) -> bool:
    dimension = stamp.dimension
    return (
        isinstance(stamp.pipeline, str)
        and type(dimension) is int
        and 0 < dimension <= _MOST_DIMENSIONS
        and isinstance(stamp.regions, bool)
        and isinstance(stamp.dtype, str)
        and isinstance(stamp.layout, int)
    )


def _are_whole(numbers: Iterable[Any]) -> bool:
    """Whether all are whole numbers from 0 on, as the catalogue of another may say they are not."""
    return all(type(number) is int and number >= 0 for number in numbers)


def _append(
    files: Mapping[str, ArrayFile],
    before: _State,
    ids: Ids,
    descriptors: np.ndarray,
    regions: RegionTable | None,
) -> tuple[list[_Row], _State]:
    """Write vectors behind those that are there; the catalogue does not know of them yet.

    Returns
    -------
    rows : list of _Row
    after : _State
        With the new rows.
    """
    files["descriptors"].write(before.end, descriptors)
    counts = [0] * len(ids)
    if regions is not None:
        vectors, weights = regions.vectors.astype("<f2"), regions.weights.astype("<f4")
        files["vectors"].write(before.region_end, vectors)
        files["weights"].write(before.region_end, weights)
        counts = regions.counts.tolist()
    rows, start = [], before.region_end
    for i, (id_, descriptor, n) in enumerate(zip(ids, descriptors, counts)):
        sums = [_checksum(descriptor), 0]
        if regions is not None:
            span = slice(regions.indptr[i], regions.indptr[i] + n)
            sums[1] = _region_checksum(vectors[span], weights[span])
        rows.append(_Row(before.end + i, str(id_), start, n, *sums))
        start += n
    after = replace(
        before,
        end=before.end + len(ids),
        region_end=start,
        hidden=np.concatenate([before.hidden, np.zeros(len(ids), bool)]),
        blocks=_with_rows(before.blocks, before.end, descriptors),
    )
    return rows, after


def _with_rows(blocks: _Blocks, start: int, descriptors: np.ndarray) -> _Blocks:
    """Checksums of blocks with rows behind those that they cover."""
    blocks, done = dict(blocks), 0
    while done < len(descriptors):
        block, offset = divmod(start + done, _BLOCK)
        part = descriptors[done : done + _BLOCK - offset]
        _, sum_ = blocks.get(block, (0, 0))
        blocks[block] = offset + len(part), _checksum(part, sum_)
        done += len(part)
    return blocks


def _region_checksum(vectors: np.ndarray, weights: np.ndarray) -> int:
    return _checksum(weights, _checksum(vectors))


def _checksum(rows: np.ndarray, before: int = 0) -> int:
    """Of the bytes of rows, behind those of others."""
    return zlib.crc32(np.ascontiguousarray(rows).data, before)
