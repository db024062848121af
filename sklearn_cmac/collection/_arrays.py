"""Files of rows of one shape and number format, which grow at their end and are memory-mapped."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from sklearn_cmac.store import filling


class ArrayFile:
    """Rows in a file of nothing but their numbers, in the machine's little-endian order.

    Rows are written, not assigned to a memory map: on a full disk that is an error, where a map
    ends the process. What lies behind the rows that a catalogue knows of does not count.

    Parameters
    ----------
    path : Path
        Made when the first row is written.
    shape : tuple of int
        Of one row.
    dtype : str
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: Any):
        self.path, self.shape = path, shape
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self._map = np.empty((0, *shape), self.dtype)

    @property
    def row_bytes(self) -> int:
        """What one row takes."""
        return self.dtype.itemsize * int(np.prod(self.shape))

    @property
    def room(self) -> int:
        """How many rows the file has room for."""
        try:
            return os.path.getsize(self.path) // self.row_bytes
        except FileNotFoundError:
            return 0

    def write(self, start: int, rows: np.ndarray) -> None:
        """Put rows at `start`, and wait until they are on the disk."""
        new = not self.path.exists()
        content = np.ascontiguousarray(rows, self.dtype)
        with (
            filling(self.path, content.nbytes),
            open(self.path, "wb" if new else "r+b") as file,
        ):
            file.seek(start * self.row_bytes)
            file.write(content.data)
            file.flush()
            os.fsync(file.fileno())
        if new:
            sync_folder(self.path.parent)

    def rows(self, end: int) -> np.ndarray:
        """The first rows, memory-mapped and read-only: `end`, or as many as the file has."""
        if len(self._map) != end:
            n = min(end, self.room)
            if n == 0:
                return np.empty((0, *self.shape), self.dtype)
            self._map = np.memmap(self.path, self.dtype, "r", 0, (n, *self.shape))
        return self._map.view(np.ndarray)


def sync_folder(folder: Path) -> None:
    """Wait until names of files in a folder are on the disk; not all systems can be asked."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
