"""An index as the pages see it: many read it at once, in threads, while one adds to it.

An opened index is used by one thread at a time, so there are a few of them, which share their
pipeline. Whatever changes the index opens it anew, one after the other, and closes it soon, so that
other programs may write in between.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from sklearn_cmac._progress import progress_told_to
from sklearn_cmac.collection import DamageError, InUseError
from sklearn_cmac.collection._catalogue import (
    DESCRIBED,
    FAILED,
    Catalogue,
    CatalogueEntry,
    file_facts,
)
from sklearn_cmac.collection._database import Database
from sklearn_cmac.collection._flat import CATALOGUE
from sklearn_cmac.formats import readable_endings
from sklearn_cmac.photos import Photo, PhotoError, digest_source, read_source
from sklearn_cmac.search import RetrievalIndex
from sklearn_cmac.serve._uploads import is_upload

_Found = TypeVar("_Found")

_PATIENCE = 5.0  # seconds at the end
_AT_A_TIME = 8  # photos that are added before others may write, and pages tell how many there are


@dataclass
class Adding:
    """How far it is.

    Parameters
    ----------
    total, done, added : int
        Photos that were sent, that were looked at, and that are in the index now.
    failed : list of (str, str)
        Names of those that could not be used, and why.
    waiting : str
        For whom, if for anybody.
    """

    total: int = 0
    done: int = 0
    added: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    waiting: str = ""

    @property
    def is_over(self) -> bool:
        return self.done >= self.total


class Library:
    """An index in a folder, for pages.

    Parameters
    ----------
    path : path
    read_only : bool
    uploads : path, optional
        Where photos are kept that visitors add. Default: beside the index.
    n_readers : int
        Searches at once.
    trust : sequence of str
        As for `RetrievalIndex.open`.

    Raises
    ------
    FileNotFoundError
        If there is no index.
    """

    def __init__(
        self,
        path: Path,
        read_only: bool,
        uploads: Path | None,
        n_readers: int,
        trust: Sequence[str] = (),
    ):
        self.path, self.read_only = path, read_only
        self.uploads = self._beside("uploads") if uploads is None else uploads
        self.n_readers = n_readers
        first = RetrievalIndex.open(path, read_only=True, trust=trust)
        self.pipeline = first.pipeline
        loud = [name for name in self.pipeline.get_params() if name.split("__")[-1] == "verbose"]
        self.pipeline.set_params(**dict.fromkeys(loud, 0))
        self._first, self._looking = first, threading.Lock()
        self._identity = _identity(path / CATALOGUE)
        self._readers: queue.LifoQueue[RetrievalIndex | None] = queue.LifoQueue()
        for _ in range(n_readers):
            self._readers.put(None)  # opened when it is needed
        self.catalogue = Catalogue(Database(path / CATALOGUE, read_only=True))
        self.catalogue.root = os.path.normpath(path / self.catalogue.about["root"])
        self._below: str | None = None
        self.adding = Adding()
        self._writing, self._counting = threading.Lock(), threading.Lock()
        self._to_add: queue.Queue[Path | None] = queue.Queue()
        self._thread = threading.Thread(target=self._add_all, daemon=True)
        self._ends = False

    def start(self) -> None:
        """Begin to add what is sent, and what was sent before and was not added."""
        if self.read_only:
            return
        self._thread.start()
        if self.uploads.is_dir():
            # What ends otherwise was written when the server was killed, and is no whole photo.
            endings = readable_endings()
            kept = [path for path in self.uploads.iterdir() if path.suffix in endings]
            paths = sorted(str(path) for path in kept if path.is_file())
            known = {entry.path for entry in self.catalogue.of_paths(paths)}
            new = [path for path in paths if os.path.normpath(os.path.abspath(path)) not in known]
            self.add([Path(path) for path in new])

    def warm_up(self) -> None:
        """Search once, so that networks are loaded before the first visitor asks."""
        entries, _ = self.page(0, 1)
        if entries and self.is_there(entries[0]):
            with self.reading() as index, suppress(ValueError, OSError):
                index.search(Photo(entries[0].path), 1)

    def close(self) -> None:
        """End after the photos that are being added now, if that is soon, and let go of all files.

        Those that are not are on the disk, and are added at the next start.
        """
        self._ends = True
        if self._thread.is_alive():
            self._to_add.put(None)
            self._thread.join(_PATIENCE)
        self.catalogue.close()
        self._first.close()
        while not self._readers.empty():
            reader = self._readers.get()
            if reader is not None:
                reader.close()

    def _beside(self, ending: str) -> Path:
        return self.path.with_name(f"{self.path.name.removesuffix('.cmac')}.{ending}")

    # -- reading ------------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[RetrievalIndex]:
        """An opened index that nobody else uses meanwhile."""
        reader = self._readers.get()
        try:
            if reader is None:
                reader = RetrievalIndex.open(self.path, self.pipeline, read_only=True)
            yield reader
        finally:
            self._readers.put(reader)

    def check_same(self) -> None:
        """That the index is the one that was opened.

        Raises
        ------
        DamageError
            If it was taken away, or replaced by another, which would be read in parts of both.
        """
        if _identity(self.path / CATALOGUE) != self._identity:
            raise DamageError(
                f"{self.path}: was taken away, or replaced by another index, since it was opened; "
                "end the server, and start it again"
            )

    def info(self) -> dict[str, Any]:
        """What the index says of itself."""
        with self._looking:
            return self._first.info()

    def entries_of(self, key: str) -> list[CatalogueEntry]:
        """Photos of the index that have this content; none if there is none."""
        return self.catalogue.of_ids([key]).get(key, [])

    def photo(self, key: str) -> Photo | None:
        """The photo of a content, where its file is as it was; None if no entry has it.

        Raises
        ------
        PhotoError
            If its file is gone, or is another now.
        """
        entries = self.entries_of(key)
        for entry in entries:
            if self.is_there(entry):
                return Photo(entry.path, name=self.name_of(entry))
        if entries:
            raise PhotoError(f"{self.name_of(entries[0])}: its file is gone, or has changed.")
        return None

    def is_there(self, entry: CatalogueEntry) -> bool:
        """Whether the file of a photo is there, with the content that was described.

        One that is noted with another time, as after copying, is read once to find out.
        """
        size, mtime = file_facts(entry.path or None)
        if size is None or mtime is None or (entry.size or size) != size:
            return False
        return mtime == entry.mtime or _digest_of(entry.path, size, mtime) == entry.id

    def name_of(self, entry: CatalogueEntry) -> str:
        """What pages call a photo: its path below the folder that all photos are in."""
        if entry.name != entry.path:
            return entry.name
        for folder in filter(None, (str(self.uploads.absolute()), self.photos_below())):
            inside = os.path.relpath(entry.path, folder)
            if inside.split(os.sep)[0] not in (os.pardir, os.curdir):
                return inside
        return os.path.basename(entry.path)

    def photos_below(self) -> str:
        """The folder that all photos are in."""
        if self._below is None or self.catalogue.database.others_wrote():
            first, last = map(os.path.dirname, self.catalogue.ends_of_paths())
            self._below = os.path.commonpath([first, last]) if first else ""
        return self._below

    def page(
        self, start: int, n: int, containing: str = "", newest: bool = False
    ) -> tuple[list[CatalogueEntry], int]:
        """Some of the photos, and how many there are."""
        return self.catalogue.page(DESCRIBED, start, n, containing, newest)

    def failures(self, n: int) -> tuple[list[CatalogueEntry], int]:
        """Photos that could not be used, the last first, and how many there are."""
        return self.catalogue.page(FAILED, 0, n, newest=True)

    def __len__(self) -> int:
        return self.catalogue.count(DESCRIBED)

    def find_groups(self) -> list[list[str]]:
        """The keys of photos that show one object, group by group, the largest first.

        Others read meanwhile: it has an opened index of its own, and leaves them a core.
        """
        from sklearn_cmac.search import find_groups

        store = None if self.read_only else self._beside("groups")
        n_jobs = max(1, (os.cpu_count() or 1) - 1)
        with RetrievalIndex.open(self.path, self.pipeline, read_only=True) as index:
            groups = find_groups(index, store=store, n_jobs=n_jobs, verbose=True)
        ids = {entry.name: entry.id for entry in self.catalogue.entries(DESCRIBED)}
        return [list(dict.fromkeys(ids[name] for name in group.names)) for group in groups]

    # -- changing -----------------------------------------------------------------------------

    def add(self, paths: Sequence[Path], refused: Sequence[tuple[str, str]] = ()) -> None:
        """Have photos added when it is their turn.

        Parameters
        ----------
        paths : sequence of Path
        refused : sequence of (str, str)
            Names of those that were sent with them and are not added, and why.
        """
        with self._counting:
            if self.adding.is_over:
                self.adding = Adding()
            self.adding.total += len(paths) + len(refused)
            self.adding.done += len(refused)
            self.adding.failed += [(name, why.removeprefix(f"{name}: ")) for name, why in refused]
        for path in paths:
            self._to_add.put(path)

    def remove(self, key: str) -> list[str]:
        """Take all photos of a content out, and say their names.

        Files stay, but for those of photos that visitors added.
        """
        with self._changing() as index:
            entries = self.entries_of(key)  # not before, since others may remove it, too
            index.remove([entry.name for entry in entries])
        self._forget([Path(entry.path) for entry in entries if entry.path])
        return [self.name_of(entry) for entry in entries]

    def _forget(self, paths: Sequence[Path]) -> None:
        """Delete those of the files that visitors sent."""
        own = os.path.abspath(self.uploads)
        for path in paths:
            if os.path.dirname(os.path.abspath(path)) == own and is_upload(path):
                path.unlink(missing_ok=True)

    @contextmanager
    def _changing(self, timeout: float = 5.0) -> Iterator[RetrievalIndex]:
        if self.read_only:
            raise InUseError(f"{self.path}: is served read only")
        with (
            self._writing,
            RetrievalIndex.open(self.path, self.pipeline, timeout=timeout) as index,
        ):
            yield index

    def _add_all(self) -> None:
        while (path := self._to_add.get()) is not None and not self._ends:
            paths = [path]
            while len(paths) < _AT_A_TIME and not self._to_add.empty():
                following = self._to_add.get()
                if following is None:
                    return
                paths.append(following)
            self._add(paths)

    def _add(self, paths: Sequence[Path]) -> None:
        adding = self.adding
        while not self._ends:
            try:
                with self._changing(timeout=0.5) as index:
                    report = index.add([str(path) for path in paths])
                    unused = [name for name, _ in report.failed]
                    index.remove(unused)
                self._forget([Path(name) for name in unused])
            except InUseError as error:
                adding.waiting = str(error)
                continue
            except Exception as error:  # a full disk, say: the photos are added at the next start
                adding.failed += [(path.name, str(error)) for path in paths]
            else:
                adding.added += len(report.added)
                adding.failed += [
                    (Path(name).name, reason.removeprefix(f"{name}: "))
                    for name, reason in report.failed
                ]
            adding.waiting = ""
            with self._counting:
                adding.done += len(paths)
            return


def _identity(path: Path) -> tuple[int, int] | None:
    """What a file is, whatever it is called; None of what is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@lru_cache(maxsize=100_000)
def _digest_of(path: str, size: int, mtime: int) -> str | None:
    """The key of a file's content, None of what cannot be read; size and time tell it anew."""
    try:
        return digest_source(read_source(Photo(path)))
    except PhotoError:
        return None


class Background(Generic[_Found]):
    """Something that takes long, worked out once for all visitors.

    Parameters
    ----------
    work : callable

    Attributes
    ----------
    state : {"not begun", "running", "done", "failed"}
    found : object
        What the work returned, once it is done.
    doing, n, of : str, int, int
        What it does now, and how much of that is done.
    why : str
        Why it failed.
    """

    def __init__(self, work: Callable[[], _Found]):
        self.work = work
        self.found: _Found | None = None
        self.state, self.why = "not begun", ""
        self.doing, self.n, self.of = "", 0, 0
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin, unless it runs."""
        with self._lock:
            if self.state == "running":
                return
            self.state, self.doing = "running", ""
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            with progress_told_to(self._note):
                self.found = self.work()
            self.state = "done"
        except Exception as error:
            self.state, self.why = "failed", str(error) or type(error).__name__

    def _note(self, doing: str, n: int, of: int) -> None:
        self.doing, self.n, self.of = doing, n, of
