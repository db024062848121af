"""Rows in one SQLite file: transactions that survive a kill, errors that name the file."""

from __future__ import annotations

import math
import re
import sqlite3
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sklearn_cmac._files import check_regular, read_whole
from sklearn_cmac.collection._engine import InUseError
from sklearn_cmac.store import free_bytes, full_disk

VERSION = 1  # of the meaning of tables and arrays; files of another are refused

_LONGEST = 1_000_000  # bytes of a value; names and reasons have a few thousand
_LIMIT_LENGTH = 0  # as SQLite numbers it
# What a command may find and do, for no more than a file can hold: rows of a damaged file may lead
# back to themselves.
_LEAST_ROWS, _BYTES_OF_ROW = 1000, 2
_LEAST_STEPS, _STEPS_PER_BYTE, _STEPS_AT_A_TIME = 20_000_000, 20, 1_000_000
_PLAIN = re.compile(
    r'CREATE TABLE [\w"]+\s*\([\w\s,]*(\([\w\s,]+\)\s*)?\)|CREATE INDEX \w+ ON \w+ \([\w\s,]+\)'
)
_COMPUTING = {"AS", "CHECK", "DEFAULT", "GENERATED", "COLLATE", "REFERENCES", "WHERE"}

_PATIENCE = 30  # seconds; transactions are short, so whoever is waited for is soon done
_CHUNK = 2**20
_SCARCE = 2**20  # bytes; with fewer, a disk counts as full


class DamageError(ValueError):
    """A file that is not as it was written. The message names it."""


class Database:
    """A connection that several threads may use, one at a time.

    Parameters
    ----------
    path : Path or None
        The file; None is in memory.
    read_only : bool, default=False
    """

    def __init__(self, path: Path | None, read_only: bool = False):
        self.path = path
        self.read_only = read_only
        self._lock = threading.RLock()
        self._changed = False
        self._steps = 0.0  # of the command that runs, as far as they were counted
        with self._errors():
            self._connection = self._connect()
        try:
            found = self.all("PRAGMA user_version")[0][0]
            if found not in (0, VERSION):
                raise ValueError(
                    f"{path}: has format {found}, and this version of sklearn_cmac reads format "
                    f"{VERSION}; make the index again, or use the version that made it"
                )
            # What a file from somebody else says is not run.
            self.all("PRAGMA trusted_schema = OFF")
            for kind, text in self.all("SELECT type, sql FROM sqlite_master"):
                _check_schema(path, kind, text)
            # The end of a transaction is on the disk when it is reported.
            self.all("PRAGMA synchronous = FULL")
            self._seen = self.version()
        except BaseException:
            self._connection.close()
            raise

    def _connect(self) -> sqlite3.Connection:
        if self.path is None:
            return self._connected(":memory:")
        with suppress(FileNotFoundError):
            check_regular(self.path)
        place = self.path.resolve().as_uri()
        if not self.read_only:
            return self._connected(f"{place}?mode=rwc")
        try:
            found = self._connected(f"{place}?mode=ro")
            found.execute("PRAGMA user_version").fetchone()
            return found
        except sqlite3.OperationalError as error:
            # Readers, too, leave a note beside the file, which in a folder that nobody can write
            # to is neither possible nor needed.
            if "open" not in str(error) and "readonly" not in str(error):
                raise
            return self._connected(f"{place}?mode=ro&immutable=1")

    def _connected(self, name: str) -> sqlite3.Connection:
        found = sqlite3.connect(
            name, _PATIENCE, isolation_level=None, check_same_thread=False, uri=True
        )
        if hasattr(found, "setlimit"):  # from Python 3.11 on
            found.setlimit(_LIMIT_LENGTH, _LONGEST)
        found.set_progress_handler(self._is_endless, _STEPS_AT_A_TIME)
        return found

    def _is_endless(self) -> bool:
        """Whether a command has taken more steps than one through all of the file can."""
        self._steps += _STEPS_AT_A_TIME
        return self._steps > _LEAST_STEPS + _STEPS_PER_BYTE * self.size

    @property
    def size(self) -> int:
        """Bytes that are kept, with those that are written ahead."""
        if self.path is None:
            return 2**31  # to memory nobody else has written
        size = 0
        for path in (self.path, Path(f"{self.path}-wal")):
            with suppress(OSError):
                size += path.stat().st_size
        return size

    def make(self, schema: str) -> None:
        """Make tables that are not there."""
        if self.read_only:
            return
        # With a log that is written ahead, nobody waits for readers, nor they for anybody.
        self.all("PRAGMA journal_mode = WAL")
        self._break_seal()
        with self._lock, self._errors():
            self._connection.executescript(f"{schema}; PRAGMA user_version = {VERSION}")

    def all(self, command: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows that a command finds."""
        with self._lock, self._errors():
            found = self._connection.execute(command, values)
            most = min(_LEAST_ROWS + self.size // _BYTES_OF_ROW, 2**31 - 1)
            rows = found.fetchmany(most)
            if len(rows) == most and found.fetchone() is not None:
                raise DamageError(f"{self.path}: is damaged (it has more rows than room for them)")
            return rows

    def many(self, command: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a command for each row, inside a transaction."""
        with self._lock, self._errors():
            self._steps = -math.inf  # it takes as many as there are rows
            self._connection.executemany(command, rows)

    def of_keys(self, command: str, keys: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        """Rows of many keys; the command has ``IN ({})``."""
        for start in range(0, len(keys), 500):
            part = keys[start : start + 500]
            yield from self.all(command.format(", ".join("?" * len(part))), part)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What is done inside is there as a whole, on the disk, or not at all."""
        with self._lock:
            self._break_seal()
            self.all("BEGIN IMMEDIATE")
            try:
                yield
                self.all("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # a full disk has rolled it back already
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """What is read inside is of one moment."""
        with self._lock:
            if self._connection.in_transaction:
                yield
                return
            self.all("BEGIN")
            try:
                yield
            finally:
                self.all("COMMIT")

    def others_wrote(self) -> bool:
        """Whether another connection has changed the file since this was asked last."""
        before, self._seen = self._seen, self.version()
        return before != self._seen

    def version(self) -> int:
        """A number that another connection changes whenever it changes the file."""
        return self.all("PRAGMA data_version")[0][0]

    def damage(self) -> list[str]:
        """What is wrong with the file itself, if anything is."""
        try:
            found = [row[0] for row in self.all("PRAGMA integrity_check")]
        except DamageError as error:
            return [str(error)]
        wrong = [f"{self.path}: is damaged ({text})" for text in found if text != "ok"]
        return wrong or self._broken_seal()

    def close(self) -> None:
        """Let go of the file; of one that was changed, note what it holds."""
        with self._lock:
            # Without a seal, `damage` finds less, and nothing is lost.
            with suppress(OSError, ValueError, sqlite3.Error):
                self._seal()
            self._connection.close()

    def _seal(self) -> None:
        """Note the checksum of the whole file, so that a change of any byte is found."""
        if self._changed and self.path is not None:
            self._changed = False
            ((busy, _, _),) = self.all("PRAGMA wal_checkpoint(TRUNCATE)")
            if not busy:  # nobody else has it open who would write to it later
                self._seal_path.write_text(f"{self._sum():08x}\n")

    def _break_seal(self) -> None:
        self._changed = True
        if self.path is not None:
            self._seal_path.unlink(missing_ok=True)

    def _broken_seal(self) -> list[str]:
        if self.path is None or not self._seal_path.exists():
            return []
        with suppress(OSError):
            if read_whole(self._seal_path, 100) == f"{self._sum():08x}\n".encode():
                return []
        return [f"{self.path}: is damaged (it, or {self._seal_path.name}, is not as written)"]

    @property
    def _seal_path(self) -> Path:
        assert self.path is not None
        return self.path.with_suffix(".checksum")

    def _sum(self) -> int:
        assert self.path is not None
        total = 0
        with open(self.path, "rb") as file:
            while chunk := file.read(_CHUNK):
                total = zlib.crc32(chunk, total)
        return total

    @contextmanager
    def _errors(self) -> Iterator[None]:
        self._steps = 0.0
        try:
            yield
        except sqlite3.OperationalError as error:
            text = str(error)
            if "locked" in text:
                raise InUseError(f"{self.path}: is written to by another process") from error
            if self.path is not None and ("full" in text or "disk I/O" in text):
                # On a full disk SQLite says either.
                if "full" in text or free_bytes(self.path) < _SCARCE:
                    raise full_disk(self.path) from error
                raise OSError(f"{self.path}: cannot be read or written ({text})") from error
            if "interrupted" in text:
                raise DamageError(f"{self.path}: is damaged (its rows have no end)") from error
            if "readonly" in text or "unable to open" in text:
                raise OSError(f"{self.path}: cannot be opened or written ({text})") from error
            raise DamageError(f"{self.path}: is damaged ({text})") from error
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise DamageError(f"{self.path}: is damaged ({error})") from error


def _check_schema(path: Path | None, kind: str, text: str | None) -> None:
    """That a part of the schema is a plain table or index, of which nothing computes anything."""
    # SQLite makes indexes of its own, which have no text.
    words = set(re.findall(r"\w+", (text or "").upper()))
    plain = _PLAIN.fullmatch(text) if isinstance(text, str) else text is None and kind == "index"
    if kind not in ("table", "index") or not plain or words & _COMPUTING:
        raise DamageError(
            f"{path}: is no catalogue (it has {kind}s other than plain tables, such as triggers, "
            "views or computed columns)"
        )


def checksum(row: Sequence[Any]) -> int:
    """Of the values of a row."""
    return zlib.crc32(repr(tuple(row)).encode("utf-8", "surrogatepass"))
