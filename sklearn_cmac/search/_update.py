"""What has become of photos in folders, and what a catalogue is told of those that are added."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain

from sklearn_cmac.collection._catalogue import (
    DESCRIBED,
    FAILED,
    Catalogue,
    CatalogueEntry,
    file_facts,
)
from sklearn_cmac.datasets import walk_photos
from sklearn_cmac.photos import Item, Photo, PhotoError, Query
from sklearn_cmac.search._report import UpdateReport

# A file that was changed so shortly before it was looked at may change again without its time
# telling, since clocks of file systems tick. Nanoseconds.
_TICK = 2_000_000_000


class FolderPhotos:
    """The photos that are in folders now, beside what a catalogue knows of them.

    Parameters
    ----------
    catalogue : Catalogue
    folders : path, or sequence of paths

    Attributes
    ----------
    gone : list of CatalogueEntry
        Of files that were in these folders.

    Raises
    ------
    PhotoError
        If one of them is no folder, or has lost all its photos at once, as one does whose disk is
        not mounted.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        folders: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    ):
        if isinstance(folders, (str, os.PathLike)):
            folders = [folders]
        self.catalogue = catalogue
        self.found = walk_photos(folders)
        self.paths = self.found.paths
        self.before = self._known()
        there = {key_of(path) for path in self.paths}
        inside = tuple(map(prefix_of, folders))
        # What cannot be looked at may be there.
        there.update(key_of(path) for path, _ in self.found.unreadable)
        hidden = tuple(prefix_of(path) for path, _ in self.found.unreadable)
        self.gone = [
            entry
            for entry in catalogue.entries()
            if entry.path
            and key_of(entry.path).startswith(inside)
            and key_of(entry.path) not in there
            and not key_of(entry.path).startswith(hidden)
        ]
        for folder, prefix in zip(folders, inside):
            if any(key.startswith(prefix) for key in there):
                continue
            # Photos of a linked folder may be there, by another path than before.
            lost = sum(
                key_of(entry.path).startswith(prefix) and not os.path.exists(entry.path)
                for entry in self.gone
            )
            if lost:
                raise PhotoError(
                    f"{folder}: has no photo any more, and the index knows {lost} in it. If its "
                    "disk is not there now, mount it; if they were deleted, take them out of the "
                    "index by name, or delete the index"
                )

    def stale(self, again: bool) -> list[Item]:
        """Photos that have to be read, under the names that they have.

        Parameters
        ----------
        again : bool
            Whether those are, too, that could not be used and have not changed.
        """
        known = [(path, self.before.get(key_of(path))) for path in self.paths]
        return [_named(path, entry) for path, entry in known if not _is_current(entry, path, again)]

    def report(self, n_described: int) -> UpdateReport:
        """What became of each photo, once those that had to be were read."""
        report = UpdateReport(
            skipped=self.found.skipped,
            unreadable=self.found.unreadable,
            n_described=n_described,
        )
        after = self._known()
        new = {key: entry for key, entry in after.items() if self.before.get(key) != entry}
        copies = self.catalogue.of_ids([entry.id for entry in new.values()])
        left = defaultdict(list)
        for entry in self.gone:
            left[entry.id].append(entry.name)
        for path in self.paths:
            now, known = after.get(key_of(path)), self.before.get(key_of(path))
            if now is None:
                continue
            if now.state == FAILED:
                report.failed.append((now.name, now.reason))
            elif known is not None and known.id == now.id and known.state == DESCRIBED:
                report.unchanged += 1
            elif known is not None:
                report.changed.append(now.name)
            elif left[now.id]:
                left[now.id].pop()
                report.moved.append(now.name)
            elif copies[now.id][0].name != now.name:
                report.copied.append(now.name)
            else:
                report.added.append(now.name)
        report.removed += chain.from_iterable(left.values())
        return report

    def _known(self) -> dict[str, CatalogueEntry]:
        return {key_of(entry.path): entry for entry in self.catalogue.of_paths(self.paths)}


class Notes:
    """What the catalogue is told of photos that are added: each under a name of its own."""

    def __init__(self, catalogue: Catalogue, photos: Sequence[Item]):
        self.catalogue = catalogue
        self.waiting = iter(photos)
        self.items: dict[str, Item] = {}
        self.ids: dict[str, str] = {}
        self.failed: list[tuple[str, str]] = []

    @property
    def seconds(self) -> float:
        return self.catalogue.seconds

    def note(self, entries: Sequence[CatalogueEntry], seconds: float = 0.0) -> None:
        """As the catalogue's."""
        kept = []
        for entry, item in zip(entries, self.waiting):
            name = _name_in_index(item, entry.name)
            if entry.state == FAILED:
                self.failed.append((name, entry.reason))
            elif self.ids.setdefault(name, entry.id) != entry.id:
                reason = (
                    f"{name}: another photo of these has the same name; tell them apart by "
                    "Photo(..., name=...)"
                )
                self.failed.append((name, reason))
                continue
            else:
                self.items[name] = item
            kept.append(entry._replace(name=name))
        self.catalogue.note(kept, seconds)


def _is_current(entry: CatalogueEntry | None, path: str, again: bool) -> bool:
    """Whether a file is surely the one of its entry."""
    if entry is None or entry.mtime is None or (again and entry.state == FAILED):
        return False
    same = (entry.size, entry.mtime) == file_facts(path)
    return same and entry.noted - entry.mtime > _TICK


def _named(path: str, entry: CatalogueEntry | None) -> Item:
    """A file under the name that it has in the index."""
    return path if entry is None or entry.name == entry.path else Photo(path, name=entry.name)


def key_of(path: str | os.PathLike[str]) -> str:
    """One text for each file, however its path is written."""
    return os.path.abspath(path)


def _name_in_index(item: Item, name: str) -> str:
    """The photo's name; what a query's box shows has the box in it."""
    if isinstance(item, Query):
        return f"{name} ({', '.join(f'{v:g}' for v in item.box)})"
    return name


def prefix_of(folder: str | os.PathLike[str]) -> str:
    """How the keys of all files in a folder begin."""
    return os.path.join(key_of(folder), "")
