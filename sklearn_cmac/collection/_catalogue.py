"""A row for each photo that was looked at: where it is, what it holds, and what became of it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sklearn_cmac.collection._database import DamageError, Database, checksum
from sklearn_cmac.collection._engine import Ids

DESCRIBED, FAILED = "described", "failed"

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS photos (
        number INTEGER PRIMARY KEY, name NOT NULL UNIQUE, path, id TEXT, size INTEGER,
        mtime INTEGER, state TEXT, reason TEXT, noted INTEGER, checksum INTEGER
    );
    CREATE INDEX IF NOT EXISTS photos_by_id ON photos (id);
    CREATE INDEX IF NOT EXISTS photos_by_path ON photos (path);
    CREATE TABLE IF NOT EXISTS unused (id TEXT PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS about (content TEXT, checksum INTEGER);
    CREATE TABLE IF NOT EXISTS spent (seconds REAL);
"""


class CatalogueEntry(NamedTuple):
    """What is known of one photo.

    Parameters
    ----------
    name : str
        What messages and rankings call it: its path, unless it was given another name.
    path : str
        Of its file; "" if it is in none.
    id : str
        Fingerprint of its content; "" if it could not be read.
    size, mtime : int or None
        Of its file: bytes, and nanoseconds; None if it is in none.
    state : {"described", "failed"}
    reason : str
        Why it failed.
    noted : int
        When that was found out, in nanoseconds since 1970.
    number : int
        The entry's own; later entries have higher ones.
    """

    name: str
    path: str
    id: str
    size: int | None
    mtime: int | None
    state: str
    reason: str
    noted: int = 0
    number: int = 0


class Catalogue:
    """Entries by name, in a database.

    Parameters
    ----------
    database : Database
    root : path, optional
        Paths below it are kept relative to it, so that it may be moved. Default: all are kept as
        they are.
    """

    def __init__(self, database: Database, root: str | os.PathLike[str] | None = None):
        self.database = database
        self.root = None if root is None else os.fspath(root)
        if not database.all("SELECT 1 FROM sqlite_master WHERE name = 'photos'"):
            database.make(_SCHEMA)

    def __len__(self) -> int:
        return self.count(DESCRIBED)

    def note(self, entries: Sequence[CatalogueEntry], seconds: float = 0.0) -> None:
        """Add or replace entries, and what describing them took."""
        now = time.time_ns()
        values = [self._kept(entry._replace(noted=entry.noted or now)) for entry in entries]
        with self._losing([row[0] for row in values]):
            self.database.many(
                "INSERT OR REPLACE INTO photos (name, path, id, size, mtime, state, reason, noted, "
                "checksum) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(*row, checksum(row)) for row in values],
            )
            if seconds:
                self.database.all("INSERT INTO spent VALUES (?)", (seconds,))

    def remove(self, names: Iterable[str]) -> None:
        """Take entries out."""
        keys = [self._key(name) for name in names]
        with self._losing(keys):
            self.database.many("DELETE FROM photos WHERE name = ?", [(key,) for key in keys])

    @contextmanager
    def _losing(self, keys: Sequence[str | bytes]) -> Iterator[None]:
        """A change of these entries, after which ids that no entry has any more are `unused`."""
        with self.database.transaction():
            found = self.database.of_keys("SELECT id FROM photos WHERE name IN ({})", keys)
            before = {id_ for (id_,) in found if id_}
            yield
            lost = [(id_,) for id_ in self._without_entry(before)]
            self.database.many("INSERT OR IGNORE INTO unused VALUES (?)", lost)

    def unused(self) -> list[str]:
        """Ids that no entry has any more, and that were not settled."""
        return self._without_entry({id_ for (id_,) in self.database.all("SELECT id FROM unused")})

    def settle(self) -> None:
        """Forget unused ids: whoever kept something of them has let go of it."""
        if self.database.all("SELECT 1 FROM unused LIMIT 1"):
            with self.database.transaction():
                self.database.all("DELETE FROM unused")

    def distrust(self, ids: Ids) -> None:
        """Look at the photos of these ids again the next time, as if they had changed."""
        entries = [entry for found in self.of_ids(ids).values() for entry in found]
        self.note([entry._replace(size=None, mtime=None) for entry in entries])

    def entries(self, state: str | None = None) -> Iterator[CatalogueEntry]:
        """All entries, or those of a state, in the order in which they were noted.

        One that is damaged is an error.
        """
        yield from map(self._read, self._rows(state))

    def _rows(self, state: str | None = None) -> Iterator[tuple[Any, ...]]:
        """Rows as they are kept, of which few are in memory at a time."""
        last = 0
        while rows := self.database.all(
            "SELECT * FROM photos WHERE number > ? AND state IS coalesce(?, state) "
            "ORDER BY number LIMIT 1000",
            (last, state),
        ):
            if rows[-1][0] <= last:
                raise DamageError(f"{self.database.path}: is damaged (its rows have no end)")
            last = rows[-1][0]
            yield from rows

    def page(
        self, state: str, start: int, n: int, containing: str = "", newest: bool = False
    ) -> tuple[list[CatalogueEntry], int]:
        """n entries of a state from the start-th on, and how many there are.

        Parameters
        ----------
        state : {"described", "failed"}
        start, n : int
        containing : str, default=""
            Only those whose name has this in it, in whichever case.
        newest : bool, default=False
            Whether those that were noted last come first.
        """
        where = "FROM photos WHERE state = ? AND instr(lower(name), lower(?))"
        order = "DESC" if newest else "ASC"
        rows = self.database.all(
            f"SELECT * {where} ORDER BY number {order} LIMIT ? OFFSET ?",
            (state, containing, n, start),
        )
        ((total,),) = self.database.all(f"SELECT COUNT(*) {where}", (state, containing))
        return [self._read(row) for row in rows], total

    def ends_of_paths(self) -> tuple[str, str]:
        """The first and the last path, by the alphabet; "" where there is none."""
        command = "SELECT MIN(path), MAX(path) FROM photos WHERE path != '' AND state = 'described'"
        first, last = self.database.all(command)[0]
        return self._absolute(_text(first or "")), self._absolute(_text(last or ""))

    def of_paths(self, paths: Iterable[str]) -> list[CatalogueEntry]:
        """Entries of files, of those that there are."""
        keys = [_storable(self._relative(path)) for path in paths]
        rows = self.database.of_keys("SELECT * FROM photos WHERE path IN ({})", keys)
        return [self._read(row) for row in rows]

    def find(self, names: Iterable[str]) -> list[CatalogueEntry]:
        """Entries of names, of those that there are."""
        keys = [self._key(name) for name in names]
        rows = self.database.of_keys("SELECT * FROM photos WHERE name IN ({})", keys)
        return [self._read(row) for row in rows]

    def ids(self, names: Sequence[str]) -> list[str]:
        """The id of each name; a `KeyError` if there is none."""
        id_of = {entry.name: entry.id for entry in self.find(names)}
        missing = [name for name in names if name not in id_of]
        if missing:
            raise KeyError(f"there is no photo {missing[0]!r} in the index")
        return [id_of[name] for name in names]

    def of_ids(self, ids: Ids) -> dict[str, list[CatalogueEntry]]:
        """Of each id the photos that have it: copies, in the order in which they were noted."""
        wanted = list(dict.fromkeys(ids))
        found: dict[str, list[CatalogueEntry]] = {}
        command = "SELECT * FROM photos WHERE id IN ({}) AND state = 'described'"
        for row in self.database.of_keys(command, wanted):
            entry = self._read(row)
            found.setdefault(entry.id, []).append(entry)
        for entries in found.values():
            entries.sort(key=lambda entry: entry.number)
        return found

    def numbered(self, number: int) -> CatalogueEntry | None:
        """The entry of a number."""
        rows = self.database.all("SELECT * FROM photos WHERE number = ?", (number,))
        return self._read(rows[0]) if rows else None

    def count(self, state: str | None = None) -> int:
        """How many entries there are, or how many of a state."""
        command = "SELECT COUNT(*) FROM photos WHERE state = coalesce(?, state)"
        return self.database.all(command, (state,))[0][0]

    def check(self) -> list[str]:
        """A sentence for each entry that is damaged."""
        wrong = []
        for row in self._rows():
            try:
                self._read(row)
            except DamageError as error:
                wrong.append(str(error))
        return wrong

    @property
    def about(self) -> dict[str, Any]:
        """What is known of the whole."""
        rows = self.database.all("SELECT content, checksum FROM about")
        if not rows:
            return {}
        text, sum_ = rows[0]
        try:
            content = json.loads(text)
        except (TypeError, ValueError, RecursionError):
            content = None
        if checksum((text,)) != sum_ or not _says(content):
            raise DamageError(f"{self.database.path}: what it says about itself is damaged")
        return content

    @about.setter
    def about(self, content: dict[str, Any]) -> None:
        text = json.dumps(content)
        with self.database.transaction():
            self.database.all("DELETE FROM about")
            self.database.all("INSERT INTO about VALUES (?, ?)", (text, checksum((text,))))

    @property
    def seconds(self) -> float:
        """What describing took in all runs."""
        return self.database.all("SELECT TOTAL(seconds) FROM spent")[0][0]

    def close(self) -> None:
        """Let go of the database."""
        self.database.close()

    # -- names and paths ----------------------------------------------------------------------

    def _kept(self, entry: CatalogueEntry) -> tuple[Any, ...]:
        path = self._relative(entry.path) if entry.path else ""
        name = path if entry.name == entry.path else entry.name
        reason = _printable(entry.reason.removeprefix(f"{entry.name}: "))
        return (_storable(name), _storable(path), *entry[2:6], reason, entry.noted)

    def _read(self, row: Sequence[Any]) -> CatalogueEntry:
        number, *values, sum_ = row
        if checksum(values) != sum_ or len(values) != 8 or not _is_entry(*values):
            raise DamageError(
                f"{self.database.path}: what it has of photo {values[0]!r} is damaged; make the "
                "index again"
            )
        name, path, *rest = values
        path = self._absolute(_text(path))
        name = path if name == values[1] else _text(name)
        *facts, reason, noted = rest
        reason = f"{name}: {reason}" if reason else ""
        return CatalogueEntry._make((name, path, *facts, reason, noted, number))

    def _key(self, name: str) -> str | bytes:
        """By what the entry of a name is kept: a path that is below the root, relative to it."""
        own = _storable(name)
        if self.root is None or self.database.all("SELECT 1 FROM photos WHERE name = ?", (own,)):
            return own
        return _storable(self._relative(name))

    def _relative(self, path: str) -> str:
        if self.root is None:
            return path
        found = os.path.relpath(os.path.abspath(path), os.path.abspath(self.root))
        outside = found.split(os.sep)[0] == os.pardir or os.path.isabs(found)
        return os.path.abspath(path) if outside else Path(found).as_posix()

    def _absolute(self, path: str) -> str:
        if self.root is None or not path:
            return path
        return os.path.normpath(os.path.join(self.root, path))

    def _without_entry(self, ids: set[str]) -> list[str]:
        used = self.database.of_keys("SELECT id FROM photos WHERE id IN ({})", sorted(ids))
        return sorted(ids - {id_ for (id_,) in used})


def _is_entry(
    name: Any, path: Any, id_: Any, size: Any, mtime: Any, state: Any, reason: Any, noted: Any
) -> bool:
    """Whether values are of the types that are kept; a checksum is anybody's who can compute."""
    texts = all(isinstance(text, str) for text in (id_, state, reason))
    names = all(isinstance(text, (str, bytes)) for text in (name, path))
    facts = all(fact is None or isinstance(fact, int) for fact in (size, mtime))
    return texts and names and facts and isinstance(noted, int)


def _says(about: Any) -> bool:
    """Whether this can be what a whole index says about itself."""
    if not isinstance(about, dict) or not isinstance(about.get("store", ""), (str, type(None))):
        return False
    features = about.get("features", [])
    if not isinstance(features, list) or not all(map(_is_kind, features)):
        return False
    return all(isinstance(about.get(name, ""), str) for name in ("root", "pipeline", "made"))


def _is_kind(name: object) -> bool:
    """Files are called by it, and so it is no path."""
    return isinstance(name, str) and name.isidentifier()


def _storable(name: str) -> str | bytes:
    """A name as the database takes it: names from old disks may be no UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name)
    return name


def _text(name: str | bytes) -> str:
    return os.fsdecode(name) if isinstance(name, bytes) else name


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def file_facts(path: Any) -> tuple[int | None, int | None]:
    """Size and modification time of a file, None of what is none."""
    if not isinstance(path, (str, os.PathLike)):
        return None, None
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None, None
    return found.st_size, found.st_mtime_ns
