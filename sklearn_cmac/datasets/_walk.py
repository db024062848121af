"""Which photos are in folders: each once, and what is left out is told."""

from __future__ import annotations

import os
import stat
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sklearn_cmac._files import kind_of
from sklearn_cmac._printing import printable
from sklearn_cmac.formats import HEIF_ENDINGS, readable_endings
from sklearn_cmac.photos import MOST_BYTES, PhotoError

# What lies beside photos and is none: notes, tables, what programs note of each photo, sound,
# films, archives. Files of any other ending, or of none, may be photos.
_NO_PHOTO_ENDINGS = {
    ".7z", ".aac", ".aae", ".avi", ".bat", ".cfg", ".cmac", ".conf", ".css", ".csv",
    ".ctg", ".db", ".doc", ".docx", ".dop", ".exe", ".flac", ".gpx", ".gz", ".h5", ".hdf5",
    ".htm", ".html", ".ini", ".ipynb", ".joblib", ".js", ".json", ".jsonl", ".kml", ".lnk", ".lock",
    ".log", ".lrcat", ".lrdata", ".lrv", ".m4a", ".m4v", ".mat", ".md", ".md5", ".mkv", ".mov",
    ".mp3", ".mp4", ".mpeg", ".mpg", ".mts", ".nfo", ".npy", ".npz", ".ods", ".odt", ".ogg", ".on1",
    ".parquet", ".part", ".pdf", ".pickle", ".pkl", ".pp3", ".ppt", ".pptx", ".pt", ".pth", ".py",
    ".rar", ".rtf", ".safetensors", ".sh", ".sha256", ".sqlite", ".srt", ".tar", ".tgz", ".thm",
    ".tmp", ".toml", ".torrent", ".tsv", ".txt", ".url", ".wav", ".webm", ".wmv", ".xls", ".xlsx",
    ".xml", ".xmp", ".yaml", ".yml", ".zip",
}  # fmt: skip
_TOO_LARGE = f"above {MOST_BYTES >> 20} MB"
_NAMED = 5  # of what cannot be read, in one warning


@dataclass(frozen=True)
class FoundPhotos:
    """Photos in folders, and what else is there.

    Parameters
    ----------
    paths : list of str
        Image files, sorted, each once.
    skipped : Counter
        How many files are no photos, by their ending ("" is none), or by what they are: "named
        pipe", "socket", "device", or larger than any photo.
    unreadable : list of (path, reason)
        Folders that cannot be searched, broken links, and what else the system does not tell of.
    """

    paths: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    unreadable: list[tuple[str, str]] = field(default_factory=list)

    def left_out(self) -> list[str]:
        """The same as `left_out` says of them."""
        return left_out(self.skipped, self.unreadable)

    def require(self, folder: str | os.PathLike[str]) -> list[str]:
        """The paths, or a `PhotoError` that names the folder if there are none."""
        if not self.paths:
            told = "; ".join(["", *self.left_out()])
            raise PhotoError(f"{folder}: has no image file, such as .jpg or .png{told}")
        return self.paths


def left_out(skipped: Counter[str], unreadable: Sequence[tuple[str, str]]) -> list[str]:
    """Lines on what was left out of `FoundPhotos` and may be wanted; none if nothing was.

    Files are counted by their ending, unless it is of what lies beside photos and is none, such
    as .txt, .json, .xmp or .mp4.
    """
    formats, others = Counter[str](), Counter[str]()
    for kind, n in skipped.items():
        if kind and not kind.startswith("."):
            others[kind] = n
        elif kind not in _NO_PHOTO_ENDINGS:
            formats[kind or "no ending"] = n
    parts = []
    if formats:
        parts.append(f"{_files(formats)} left out, whose format cannot be read ({_each(formats)})")
    if phones := sorted(formats.keys() & HEIF_ENDINGS):
        parts.append(f"to read {' and '.join(phones)}: pip install sklearn-cmac[heic]")
    if others:
        parts.append(f"{_files(others)} left out, which cannot be photos ({_each(others)})")
    lines = ["; ".join(parts)] if parts else []
    lines += [f"{printable(path)}: {reason}" for path, reason in unreadable[:_NAMED]]
    if len(unreadable) > _NAMED:
        lines.append(f"{len(unreadable) - _NAMED} more cannot be read")
    return lines


def _files(counts: Counter[str]) -> str:
    return "1 file was" if counts.total() == 1 else f"{counts.total()} files were"


def _each(counts: Counter[str]) -> str:
    return ", ".join(f"{printable(kind)} {n}" for kind, n in sorted(counts.items()))


def find_photos(folder: str | os.PathLike[str]) -> list[Path]:
    """The image files in a folder and its sub-folders, by their ending, sorted.

    Endings are those of `formats.readable_endings`. Files and sub-folders whose name begins with a
    dot are skipped. Linked folders are searched as others are; one that is reached in several ways
    counts once, by its real path if that is below `folder`.

    Parameters
    ----------
    folder : path

    Returns
    -------
    list of Path

    Raises
    ------
    PhotoError
        If there is no such folder, it cannot be searched, or has no image file in it.

    Warns
    -----
    UserWarning
        If files are left out that may be wanted, counted by their ending: all but those that lie
        beside photos and are none, such as .txt, .json, .xmp or .mp4. If sub-folders cannot be
        searched, or links are broken; they are named.
    """
    return [Path(path) for path in image_paths(folder)]


def image_paths(folder: str | os.PathLike[str]) -> list[str]:
    """The same as strings, which for a million files take a tenth of the memory."""
    found = walk_photos([folder])
    found.require(folder)
    if told := found.left_out():
        warnings.warn(f"{printable(folder)}: {'; '.join(told)}", stacklevel=3)
    return found.paths


def walk_photos(folders: Sequence[str | os.PathLike[str]]) -> FoundPhotos:
    """Image files in folders and their sub-folders, and what else is there.

    No folder is searched twice, so that links in a circle end. Links to folders are followed when
    all real folders were searched, so that photos have their real paths where those are below
    `folders`.

    Parameters
    ----------
    folders : sequence of paths

    Returns
    -------
    FoundPhotos

    Raises
    ------
    PhotoError
        If one of them is no folder, or cannot be searched.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from sklearn_cmac.datasets import walk_photos
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("RGB", (64, 48)).save(Path(folder) / "front.jpg")
    ...     (Path(folder) / "raw.nef").touch()
    ...     found = walk_photos([folder])
    >>> len(found.paths), found.skipped
    (1, Counter({'.nef': 1}))
    >>> found.left_out()
    ['1 file was left out, whose format cannot be read (.nef 1)']
    """
    for folder in folders:
        if not os.path.isdir(folder):
            raise PhotoError(f"{folder}: is not a folder")
        try:
            os.scandir(folder).close()
        except OSError as error:
            raise PhotoError(f"{folder}: cannot be searched ({error.strerror})") from error
    return _Walk().through(sorted([os.fspath(folder) for folder in folders], key=os.path.islink))


class _Walk:
    """Folders searched one after the other, each once."""

    def __init__(self) -> None:
        self.found = FoundPhotos()
        self.readable = readable_endings()
        self.searched: set[object] = set()
        self.links: list[str] = []  # to folders, which wait until all others were searched

    def through(self, folders: Sequence[str]) -> FoundPhotos:
        """What is in folders, and then in those that links in them lead to."""
        while folders:
            for folder in folders:
                self._search(folder)
            folders, self.links = sorted(self.links, key=_parts), []
        self.found.paths.sort(key=_parts)
        self.found.unreadable.sort()
        return self.found

    def _search(self, folder: str) -> None:
        waiting = [folder]
        while waiting:
            at = waiting.pop()
            inner = []
            try:
                if self._is_new(at):
                    with os.scandir(at) as entries:
                        inner = [e.path for e in entries if self._is_folder(e)]
            except OSError as error:
                self._complain(at, f"cannot be searched ({error.strerror})")
            waiting += sorted(inner, reverse=True)

    def _is_new(self, folder: str) -> bool:
        """Whether a folder was not searched before, by whichever path."""
        found = os.stat(folder)
        # Some file systems number nothing.
        who = (found.st_dev, found.st_ino) if found.st_ino else os.path.realpath(folder)
        if who in self.searched:
            return False
        self.searched.add(who)
        return True

    def _is_folder(self, entry: os.DirEntry[str]) -> bool:
        """Whether to search something in its turn; if it is no folder, it is noted."""
        # An index is made beside its photos, or among them.
        if entry.name.startswith(".") or entry.name.endswith((".cmac", ".cmac.maps")):
            return False
        if entry.is_dir(follow_symlinks=False):
            return True
        ending = os.path.splitext(entry.name)[1].lower()
        if ending not in self.readable and entry.is_file(follow_symlinks=False):
            self.found.skipped[ending] += 1
            return False
        try:
            self._note(entry.path, ending, entry.stat())
        except OSError as error:
            broken = entry.is_symlink() and isinstance(error, FileNotFoundError)
            reason = "is a broken link" if broken else f"cannot be read ({error.strerror})"
            self._complain(entry.path, reason)
        return False

    def _note(self, path: str, ending: str, about: os.stat_result) -> None:
        """A file or a link, by what it leads to."""
        if stat.S_ISDIR(about.st_mode):
            self.links.append(path)
        elif not stat.S_ISREG(about.st_mode):
            self.found.skipped[kind_of(about)] += 1
        elif ending not in self.readable:
            self.found.skipped[ending] += 1
        elif about.st_size > MOST_BYTES:
            self.found.skipped[_TOO_LARGE] += 1
        else:
            self.found.paths.append(path)

    def _complain(self, path: str, reason: str) -> None:
        self.found.unreadable.append((path, reason))


def _parts(path: str) -> list[str]:
    return path.split(os.sep)
