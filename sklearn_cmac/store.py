"""Arrays of photos on disk: computed once, written whole or not at all, read as memory maps.

One `.npy` file a photo and setting: a single record with named fields and a checksum of them, so
it opens with NumPy alone and holds no pickle. The file's name is the fingerprint of all that the
arrays depend on. A damaged file counts as absent, and is written again.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from filelock import FileLock

from sklearn_cmac._files import check_regular, reason_of

_CHECKSUM = "crc32"

_FULL = {
    errno.ENOSPC: "its disk is full",
    errno.EDQUOT: "the quota of its disk is used up",
    errno.EFBIG: "no file may grow so large there (ulimit -f)",
}
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


class StoreError(OSError):
    """A stored file that has gone, or is damaged, since it was found whole."""


class NotWritableError(OSError):
    """A store that can be read only."""


class FullDiskError(OSError):
    """A disk without room for a file. The message says which, what is free and what is needed."""

    n_bytes: int | None = None  # what the file takes, if that is known


class ArrayStore:
    """A folder of files that hold named arrays.

    Parameters
    ----------
    folder : path
        Created when the first file is written.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = Path(folder)

    def path(self, key: str) -> Path:
        """Where the arrays of this key (hexadecimal digits) are, or would be."""
        return self.folder / key[:2] / f"{key}.npy"

    def get(self, key: str) -> dict[str, np.ndarray] | None:
        """The arrays, memory-mapped; None if there are none, or if their file is damaged."""
        try:
            stored = _open(self.path(key))
        except StoreError:
            return None
        return _fields(stored) if _is_whole(stored) else None

    def get_or_compute(
        self, key: str, compute: Callable[[], Mapping[str, np.ndarray]]
    ) -> dict[str, np.ndarray]:
        """The arrays; computed and stored first if they are not there.

        Processes that want the same ones wait for the one that computes them.

        Raises
        ------
        NotWritableError
            Before anything is computed, if nothing can be stored.
        FullDiskError
        """
        found = self.get(key)
        if found is None:
            path = self.path(key)
            with self._locked(path):
                found = self.get(key)
                if found is None:
                    _write(path, compute())
                    found = _fields(_open(path))
        return found

    @contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        lock = FileLock(path.with_suffix(".lock"))
        try:
            with filling(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                lock.acquire()
        except OSError as error:
            if error.errno not in _READ_ONLY:
                raise
            reason = os.strerror(error.errno)
            raise NotWritableError(f"{self.folder}: cannot be written ({reason})") from error
        try:
            yield
        finally:
            lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)


@dataclass(frozen=True)
class StoredMap:
    """A handle on a stored activation map or a part of it. It pickles as a path and two ranges.

    Parameters
    ----------
    path : str
        The map's file.
    rows, cols : (start, stop)
        The cells that this handle shows.
    """

    path: str
    rows: tuple[int, int]
    cols: tuple[int, int]

    @property
    def activations(self) -> np.ndarray:
        """Activations (H, W, D), memory-mapped and read-only."""
        return self._field("activations")

    @property
    def colors(self) -> np.ndarray:
        """Colours (H, W, 3)."""
        return self._field("colors")

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, known without opening the file."""
        return self.rows[1] - self.rows[0], self.cols[1] - self.cols[0]

    def crop(self, rows: slice, cols: slice) -> StoredMap:
        """A handle on the cells `rows`, `cols` of this one."""
        first_row, first_col = self.rows[0], self.cols[0]
        return StoredMap(
            self.path,
            (first_row + rows.start, first_row + rows.stop),
            (first_col + cols.start, first_col + cols.stop),
        )

    def __fingerprint__(self) -> tuple[np.ndarray, np.ndarray]:
        return self.activations, self.colors

    def _field(self, name: str) -> np.ndarray:
        # Opened anew each time: a memory map that is kept holds a file descriptor, and a
        # collection has more photos than a process may have open files.
        fields = _fields(_open(self.path))
        if name not in fields:
            raise StoreError(f"the stored file {self.path} is damaged (it holds no {name})")
        return fields[name][slice(*self.rows), slice(*self.cols)]


def _open(path: str | os.PathLike[str]) -> np.ndarray:
    """The file's one record, memory-mapped."""
    try:
        check_regular(path)
        stored = _mapped(path)
    except FileNotFoundError:
        raise StoreError(f"the stored file {path} is gone") from None
    except Exception as error:  # a damaged header raises whatever the damage leads to
        raise StoreError(f"the stored file {path} is damaged ({reason_of(error)})") from error
    if (
        not isinstance(stored, np.ndarray)
        or stored.shape != (1,)
        or _CHECKSUM not in (stored.dtype.names or ())
    ):
        raise StoreError(f"the stored file {path} is damaged (it holds no record)")
    return stored


def _mapped(path: str | os.PathLike[str]) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except SystemError:
        # Python before 3.11.8 and 3.12.2 may stumble where two threads parse at once, as NumPy does
        # with headers (CPython, gh-106905). The file is as it was.
        return np.load(path, mmap_mode="r", allow_pickle=False)


def _fields(stored: np.ndarray) -> dict[str, np.ndarray]:
    return {name: stored[name][0] for name in stored.dtype.names or () if name != _CHECKSUM}


def _checksum(stored: np.ndarray) -> int:
    """Of all bytes before the checksum itself, which is the last field, and of their layout."""
    content = stored.view(np.uint8)[: -stored.dtype[_CHECKSUM].itemsize]
    return zlib.crc32(content.tobytes(), zlib.crc32(repr(stored.dtype.descr).encode()))


def _is_whole(stored: np.ndarray) -> bool:
    return int(stored[_CHECKSUM][0]) == _checksum(stored)


def _write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    form = [(name, array.dtype, array.shape) for name, array in arrays.items()]
    stored = np.zeros(1, dtype=[*form, (_CHECKSUM, np.uint32)])
    for name, array in arrays.items():
        stored[name][0] = array
    stored[_CHECKSUM] = _checksum(stored)
    with written_whole(path, stored.nbytes) as file:
        np.save(file, stored, allow_pickle=False)


@contextmanager
def written_whole(path: Path, n_bytes: int | None = None) -> Iterator[BinaryIO]:
    """A file to write to that takes the place of `path` once it is on the disk, or not at all.

    `n_bytes` is what it takes, to be told if the disk is full.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        with filling(path, n_bytes):
            with open(part, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def filling(path: Path, n_bytes: int | None = None) -> Iterator[None]:
    """While `path` is written: of a disk that is full, say which and how much is needed.

    Raises
    ------
    FullDiskError
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, FullDiskError) or not _is_full(error):
            raise
        raise full_disk(path, n_bytes, error.errno) from error


def _is_full(error: OSError) -> bool:
    # NumPy counts what it wrote, and does not say why it was less.
    return error.errno in _FULL or (error.errno is None and str(error).endswith(" written"))


def full_disk(path: Path, n_bytes: int | None = None, reason: int | None = None) -> FullDiskError:
    """The error to raise where there is no room for a file.

    Parameters
    ----------
    path : Path
    n_bytes : int, optional
        What it takes.
    reason : int, optional
        The system's number of the error.
    """
    needed = "" if n_bytes is None else f", and it takes {in_words(n_bytes)}"
    error = FullDiskError(
        f"{path}: {_FULL[reason or errno.ENOSPC]}: {in_words(free_bytes(path))} are free there"
        f"{needed}; make room, or choose another disk"
    )
    error.n_bytes = n_bytes
    return error


def with_rest(error: Exception, n_left: int) -> Exception:
    """The error; of a full disk, with what the rest of so many such files takes."""
    if not isinstance(error, FullDiskError) or error.n_bytes is None or n_left < 2:
        return error
    needed = in_words(n_left * error.n_bytes)
    return FullDiskError(f"{error}. The {n_left} that are left take about {needed}")


def free_bytes(path: Path) -> int:
    """What can still be written where a file or folder is, or would be."""
    return shutil.disk_usage(nearest_place(path)).free


def nearest_place(path: Path) -> Path:
    """A file or folder, or the nearest of its folders that is there."""
    place = path.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    return place


def in_words(n_bytes: float) -> str:
    """A number of bytes for people.

    Examples
    --------
    >>> from sklearn_cmac.store import in_words
    >>> in_words(512), in_words(3_940_000), in_words(20e9)
    ('512 bytes', '3.9 MB', '20 GB')
    """
    if n_bytes < 1000:
        return f"{n_bytes:.0f} bytes"
    for unit in ("kB", "MB", "GB", "TB"):
        n_bytes /= 1000
        if n_bytes < 999.5 or unit == "TB":
            break
    return f"{n_bytes:.1f} {unit}" if n_bytes < 9.95 else f"{n_bytes:.0f} {unit}"
