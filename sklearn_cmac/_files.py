"""The door for files that others name: only regular files, at once, and never more than a limit.

A named pipe is waited for when it is opened, a device may never end, and the size of a file is a
claim. Whoever opens what a user, a table or a folder names does it here.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO

_KINDS = {
    stat.S_IFIFO: "named pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
    stat.S_IFDIR: "folder",
}
_PIECE = 1 << 20


class FileError(OSError):
    """Something that is no regular file, or one that is too large; `strerror` is the reason.

    Parameters
    ----------
    number : int
        As of `OSError`.
    reason : str
    path : path
    """

    def __init__(self, number: int, reason: str, path: str | os.PathLike[str]):
        super().__init__(number, reason, os.fspath(path))

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


def kind_of(about: os.stat_result) -> str:
    """What something that is no regular file is."""
    return _KINDS.get(stat.S_IFMT(about.st_mode), "special file")


def check_regular(path: str | os.PathLike[str]) -> os.stat_result:
    """What the file system says of a regular file, which is not opened.

    For files that a library opens by their path; else `open_regular`.

    Raises
    ------
    FileError
        If it is a folder, a named pipe, a socket or a device.
    OSError
        If it is not there, or cannot be looked at.
    """
    try:
        return _checked(os.stat(path), path)
    except ValueError as error:  # such as a NUL in it
        raise FileError(errno.EINVAL, f"is no path ({error})", path) from None


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """A regular file, opened to be read as bytes. Nothing is waited for.

    Raises
    ------
    FileError
        If it is a folder, a named pipe, a socket or a device.
    OSError
        If it cannot be opened.
    """
    check_regular(path)  # first, since to open a device may do something
    return open(path, "rb", opener=_open_at_once)


def read_whole(path: str | os.PathLike[str], most: int) -> bytes:
    """All bytes of a regular file that has `most` at most, whatever it claims.

    Raises
    ------
    FileError
        If it is no regular file, or larger. No more than `most` bytes are then read.
    OSError
        If it cannot be opened or read.
    """
    with open_regular(path) as file:
        claimed = os.fstat(file.fileno()).st_size
        if claimed > most:
            raise FileError(errno.EFBIG, f"has {claimed:,} bytes, at most {most:,} are read", path)
        # Files that grow, and those of /proc, have more than they claim. One that must not be
        # waited for reads as None.
        pieces = [file.read(claimed) or b""]
        room = most - len(pieces[0])
        while piece := file.read(min(_PIECE, room + 1)):
            room -= len(piece)
            if room < 0:
                raise FileError(errno.EFBIG, f"goes on behind {most:,} bytes", path)
            pieces.append(piece)
    return b"".join(pieces)


def reason_of(error: BaseException) -> str:
    """What an error of a library says, in one short line, for a message of one's own."""
    said = next(iter(str(error).splitlines()), "")[:200]
    return said if said.isprintable() and said else f"{type(error).__name__} {said!r}"


def _open_at_once(path: str, flags: int) -> int:
    """A handle; what has taken the file's place since it was looked at is refused, too."""
    # Windows has neither, and no named pipes among its files.
    flags |= getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
    handle = os.open(path, flags)
    try:
        _checked(os.fstat(handle), path)
    except FileError:
        os.close(handle)
        raise
    return handle


def _checked(found: os.stat_result, path: str | os.PathLike[str]) -> os.stat_result:
    if not stat.S_ISREG(found.st_mode):
        raise FileError(errno.EINVAL, f"is a {kind_of(found)}, expected a regular file", path)
    return found
