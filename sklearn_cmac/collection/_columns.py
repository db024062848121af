"""Arrays that rows are appended to: in memory, or in `.npy` files that are read as memory maps."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.lib.format import open_memmap


class Column(Protocol):
    """Rows of one shape and number format."""

    @property
    def capacity(self) -> np.ndarray:
        """The array with its unused rows, of shape (capacity, ...)."""

    def reserve(self, rows: int) -> None:
        """Make room for so many rows at least."""

    def write(self, start: int, rows: np.ndarray) -> None:
        """Put rows at `start`; room is made for them. Durable when it returns."""

    def trimmed(self, rows: int) -> Column:
        """A copy of the first rows, without further room."""


def set_aside(path: Path, reason: Exception) -> None:
    """Move a damaged file out of the way, and say so: what it held is computed again."""
    aside = path.with_name(f"{path.name}.damaged")
    os.replace(path, aside)
    for more in ("-journal", "-wal", "-shm"):
        path.with_name(path.name + more).unlink(missing_ok=True)
    warnings.warn(
        f"{path}: is damaged ({reason}); it is now {aside.name}, and what it held is described "
        "again",
        stacklevel=5,
    )


def _room_for(needed: int, now: int) -> int:
    """A capacity that doubles, so that adding a row costs a row."""
    return max(needed, 2 * now, 64)


class MemoryColumn:
    """Rows in memory.

    Parameters
    ----------
    shape : tuple of int
        Of one row.
    dtype : str
    """

    def __init__(self, shape: tuple[int, ...], dtype: str):
        self.capacity = np.empty((0, *shape), dtype)

    def reserve(self, rows: int) -> None:
        """Make room for so many rows at least."""
        used = len(self.capacity)
        # What was loaded as a memory map cannot be written to.
        if rows > used or not self.capacity.flags.writeable:
            grown = np.empty((max(rows, used), *self.capacity.shape[1:]), self.capacity.dtype)
            grown[:used] = self.capacity
            self.capacity = grown

    def write(self, start: int, rows: np.ndarray) -> None:
        """Put rows at `start`."""
        stop = start + len(rows)
        if stop > len(self.capacity) or not self.capacity.flags.writeable:
            self.reserve(_room_for(stop, start))
        self.capacity[start:stop] = rows

    def trimmed(self, rows: int) -> MemoryColumn:
        """A copy of the first rows, without further room."""
        column = MemoryColumn(self.capacity.shape[1:], self.capacity.dtype.str)
        column.capacity = np.array(self.capacity[:rows])
        return column


class FileColumn:
    """Rows in a `.npy` file of known size, which is made larger by a copy.

    Rows are written, not assigned to a memory map: on a full disk that is an error, where a map
    ends the process.

    Parameters
    ----------
    path : Path
    shape, dtype
        As for `MemoryColumn`.
    rows : int, default=64
        For how many a new file has room.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: str, rows: int = 64):
        self.path, self.shape, self.dtype = path, shape, np.dtype(dtype)
        if not path.exists():
            self._make(path, max(1, rows))
        try:
            self.capacity = self._open()
        except Exception as error:  # a damaged header raises whatever the damage leads to
            set_aside(path, error)
            self._make(path, max(1, rows))
            self.capacity = self._open()

    def write(self, start: int, rows: np.ndarray) -> None:
        """Put rows at `start`, and wait until they are on the disk."""
        if start + len(rows) > len(self.capacity):
            self.reserve(_room_for(start + len(rows), start))
        content = np.ascontiguousarray(rows, self.dtype)
        with open(self.path, "r+b") as file:
            file.seek(self.capacity.offset + start * self._row_bytes)
            file.write(content.tobytes())
            file.flush()
            os.fsync(file.fileno())

    def trimmed(self, rows: int) -> Column:
        """Files are no part of a pickle."""
        raise TypeError(f"{self.path}: an engine in a folder is opened there, not pickled")

    @property
    def _row_bytes(self) -> int:
        return self.dtype.itemsize * int(np.prod(self.shape))

    def _make(self, path: Path, rows: int) -> None:
        open_memmap(path, "w+", self.dtype, (rows, *self.shape)).flush()

    def _open(self) -> np.memmap:
        found = open_memmap(self.path, "r")
        if found.dtype != self.dtype or found.shape[1:] != self.shape:
            raise ValueError(f"it holds rows of {found.dtype} {found.shape[1:]}")
        return found

    def reserve(self, rows: int) -> None:
        """Make room for so many rows at least: in a new file, which takes the old one's place."""
        used = len(self.capacity)
        if rows <= used:
            return
        part = self.path.with_suffix(f".{os.getpid()}.part")
        try:
            self._make(part, rows)
            larger = FileColumn(part, self.shape, self.dtype.str)
            for start in range(0, used, 4096):
                larger.write(start, self.capacity[start : start + 4096])
            os.replace(part, self.path)
        finally:
            part.unlink(missing_ok=True)
        self.capacity = self._open()
