"""A row for each photo that was looked at: where it is, what it holds, and what became of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sklearn_cmac.collection._database import Database


class CatalogueEntry(NamedTuple):
    """What is known of one photo.

    Parameters
    ----------
    name : str
        Its path, or what messages call it.
    id : str
        Fingerprint of its content; "" if it could not be read.
    size, mtime : int or None
        Of its file: bytes, and nanoseconds; None if it is no file.
    state : {"described", "failed"}
    reason : str
        Why it failed.
    """

    name: str
    id: str
    size: int | None
    mtime: int | None
    state: str
    reason: str


class Catalogue:
    """Entries by name, in a database.

    Parameters
    ----------
    folder : Path
    """

    _SCHEMA = """
        CREATE TABLE IF NOT EXISTS photos (
            name TEXT PRIMARY KEY, id TEXT, size INTEGER, mtime INTEGER, state TEXT, reason TEXT
        );
        CREATE TABLE IF NOT EXISTS spent (seconds REAL);
    """

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self._database = Database(folder / "photos.sqlite")
        self._database.make(self._SCHEMA)

    def note(self, entries: Sequence[CatalogueEntry], seconds: float) -> None:
        """Add or replace entries, and what describing them took."""
        with self._database:
            command = "INSERT OR REPLACE INTO photos VALUES (?, ?, ?, ?, ?, ?)"
            self._database.executemany(command, map(_storable, entries))
            self._database.execute("INSERT INTO spent VALUES (?)", (seconds,))

    def entries(self) -> list[CatalogueEntry]:
        """All entries, by name."""
        rows = self._database.execute("SELECT * FROM photos ORDER BY name")
        return [CatalogueEntry(*row) for row in rows]

    @property
    def seconds(self) -> float:
        """What describing took in all runs."""
        return self._database.execute("SELECT TOTAL(seconds) FROM spent").fetchone()[0]

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()


def _storable(entry: CatalogueEntry) -> CatalogueEntry:
    """The entry with texts that can be written: names from old disks may be no UTF-8."""
    name, reason = (
        text.encode("utf-8", "backslashreplace").decode() for text in (entry.name, entry.reason)
    )
    return entry._replace(name=name, reason=reason)


def file_facts(path: Any) -> tuple[int | None, int | None]:
    """Size and modification time of a file, None of what is none."""
    if not isinstance(path, (str, os.PathLike)):
        return None, None
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None, None
    return found.st_size, found.st_mtime_ns
