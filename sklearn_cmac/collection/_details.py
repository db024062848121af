"""What is kept of photos beside their vectors, as bytes: where regions are, local features."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from sklearn_cmac._files import open_regular
from sklearn_cmac.collection._arrays import ArrayFile
from sklearn_cmac.collection._database import DamageError, Database
from sklearn_cmac.collection._engine import Ids
from sklearn_cmac.local import LocalFeatures
from sklearn_cmac.maps import Regions

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS details (
        kind TEXT, id TEXT, start INTEGER, size INTEGER, checksum INTEGER, PRIMARY KEY (kind, id)
    );
    CREATE TABLE IF NOT EXISTS detail_files (
        kind TEXT PRIMARY KEY, generation INTEGER, end INTEGER
    );
"""
_LARGEST = 64_000_000  # bytes of a photo's regions; those of a large photo have 100,000
_MOST_BYTES = 1 << 30  # of one content
_BATCH = 1024  # contents that are copied at a time


class Details:
    """Bytes by kind and id, one file for each kind. What the catalogue does not know of does
    not count, as in `FlatEngine`.

    Parameters
    ----------
    database : Database
        The catalogue.
    folder : Path
    """

    def __init__(self, database: Database, folder: Path):
        self.database, self.folder = database, folder
        if not database.all("SELECT 1 FROM sqlite_master WHERE name = 'details'"):
            database.make(_SCHEMA)

    def put(self, kind: str, contents: Mapping[str, bytes]) -> None:
        """Keep contents, durable when it returns; those of ids that are there are replaced."""
        generation, end = self._state(kind)
        whole = b"".join(contents.values())
        self._file(kind, generation).write(end, np.frombuffer(whole, np.uint8))
        rows = []
        for id_, content in contents.items():
            rows.append((kind, id_, end, len(content), zlib.crc32(content)))
            end += len(content)
        with self.database.transaction():
            self.database.many("INSERT OR REPLACE INTO details VALUES (?, ?, ?, ?, ?)", rows)
            self._note(kind, generation, end)

    def get(self, kind: str, id_: str) -> bytes | None:
        """What is kept, or None; a `DamageError` names the file if it is damaged."""
        # In one command, since another process may compact at any moment.
        command = (
            "SELECT start, size, checksum, coalesce(generation, 1), coalesce(end, 0) FROM details "
            "LEFT JOIN detail_files USING (kind) WHERE kind = ? AND id = ?"
        )
        found = self.database.all(command, (kind, id_))
        if not found:
            return None
        *where, generation, end = found[0]
        self._check_file(kind, generation, end)
        try:
            return self._read(kind, id_, where, generation, end)
        except DamageError:
            if self._state(kind)[0] == generation:
                raise
        return self.get(kind, id_)

    def _read(self, kind: str, id_: Any, where: Sequence[Any], generation: int, end: int) -> bytes:
        """The content of a place: start, size and checksum."""
        if not _are_whole(*where):
            raise DamageError(f"{self.database.path}: where photo {id_!r:.20} is kept is damaged")
        start, size, sum_ = where
        path = self._file(kind, generation).path
        content = b""
        if size <= min(_MOST_BYTES, end - start):
            with suppress(FileNotFoundError), open_regular(path) as file:
                file.seek(start)
                content = file.read(size)
        if len(content) != size or zlib.crc32(content) != sum_:
            raise DamageError(f"{path}: what is kept of photo {str(id_)[:12]} is damaged")
        return content

    def damaged(self) -> list[tuple[str, str]]:
        """The id of each content that is damaged, and a sentence on it; "" where all may be."""
        wrong = []
        kinds = self.database.all("SELECT kind FROM detail_files UNION SELECT kind FROM details")
        for (kind,) in kinds:
            try:
                self._state(kind)
            except DamageError as error:
                wrong.append(("", str(error)))
                continue
            for id_ in self.ids(kind):
                try:
                    self.get(kind, id_)
                except DamageError as error:
                    wrong.append((id_, str(error)))
        return wrong

    def delete(self, ids: Ids) -> None:
        """Let go of ids; the room is given back by `compact`."""
        if len(ids):
            with self.database.transaction():
                self.database.many("DELETE FROM details WHERE id = ?", [(id_,) for id_ in ids])

    def compact(self) -> int:
        """Write files anew without what was replaced or deleted: how many bytes that was.

        What a run that was killed kept of photos that the catalogue does not know goes, too.
        """
        with self.database.transaction():
            self.database.all(
                "DELETE FROM details "
                "WHERE NOT EXISTS (SELECT 1 FROM photos WHERE photos.id = details.id)"
            )
        return sum(map(self._compact, self._kinds()))

    def _compact(self, kind: str) -> int:
        generation, end = self._state(kind)
        new = self._file(kind, generation + 1)
        command = "SELECT id, start, size, checksum FROM details WHERE kind = ? ORDER BY start"
        found = self.database.all(command, (kind,))
        rows, place = [], 0
        try:
            for part in (found[i : i + _BATCH] for i in range(0, len(found), _BATCH)):
                contents = [self._read(kind, id_, where, generation, end) for id_, *where in part]
                new.write(place, np.frombuffer(b"".join(contents), np.uint8))
                for (id_, *_, sum_), content in zip(part, contents):
                    rows.append((kind, id_, place, len(content), sum_))
                    place += len(content)
            with self.database.transaction():
                self.database.many("INSERT OR REPLACE INTO details VALUES (?, ?, ?, ?, ?)", rows)
                self._note(kind, generation + 1, place)
        except BaseException:
            if self._state(kind)[0] == generation:
                new.path.unlink(missing_ok=True)  # on a full disk it would be in the way
            raise
        for path in self.folder.glob(f"{kind}-*.bin"):
            if path != new.path:
                path.unlink()
        return end - place

    def ids(self, kind: str) -> list[str]:
        """Of which photos something of this kind is kept."""
        command = "SELECT id FROM details WHERE kind = ?"
        return [id_ for (id_,) in self.database.all(command, (kind,))]

    def copy_to(self, other: Details) -> None:
        """Give another all that is kept here."""
        for kind in self._kinds():
            ids = self.ids(kind)
            for start in range(0, len(ids), _BATCH):
                found = {id_: self.get(kind, id_) for id_ in ids[start : start + _BATCH]}
                other.put(kind, {id_: content for id_, content in found.items() if content})

    def features(self, id_: str, extractor: Any, name: str) -> LocalFeatures | None:
        """Local features of a photo as an extractor finds them, if they are kept."""
        kind = getattr(extractor, "kind", None)
        content = None if kind is None else self.get(kind, id_)
        if content is None:
            return None
        try:
            return extractor.unpack(content, name)
        except ValueError as error:
            raise DamageError(
                f"{self.folder}: the local features of {name} are damaged ({error})"
            ) from error

    def _kinds(self) -> list[str]:
        kinds = [kind for (kind,) in self.database.all("SELECT kind FROM detail_files")]
        for kind in kinds:
            self._check_name(kind)
        return kinds

    def _state(self, kind: str) -> tuple[int, int]:
        """Generation of the file, and its end."""
        found = self.database.all(
            "SELECT generation, end FROM detail_files WHERE kind = ?", (kind,)
        )
        generation, end = found[0] if found else (1, 0)
        self._check_file(kind, generation, end)
        return generation, end

    def _check_file(self, kind: Any, generation: Any, end: Any) -> None:
        """A file's name and end, which in a catalogue of somebody else may be anything."""
        self._check_name(kind)
        if not _are_whole(generation, end):
            raise DamageError(f"{self.database.path}: where its files of {kind} end is damaged")

    def _check_name(self, kind: Any) -> None:
        """Files are called by it, and so it is no path."""
        if not isinstance(kind, str) or not kind.isidentifier():
            raise DamageError(f"{self.database.path}: is damaged (a kind is no name)")

    def _note(self, kind: str, generation: int, end: int) -> None:
        """Inside a transaction."""
        command = "INSERT OR REPLACE INTO detail_files VALUES (?, ?, ?)"
        self.database.all(command, (kind, generation, end))

    def _file(self, kind: str, generation: int) -> ArrayFile:
        return ArrayFile(self.folder / f"{kind}-{generation}.bin", (), "u1")


class DetailsInMemory(Details):
    """The same without files, for an index that ends with the process."""

    def __init__(self) -> None:
        self.folder = Path("the index")
        self._contents: dict[str, dict[str, bytes]] = {}

    def put(self, kind: str, contents: Mapping[str, bytes]) -> None:
        self._contents.setdefault(kind, {}).update(contents)

    def get(self, kind: str, id_: str) -> bytes | None:
        return self._contents.get(kind, {}).get(id_)

    def damaged(self) -> list[tuple[str, str]]:
        return []

    def delete(self, ids: Ids) -> None:
        for contents in self._contents.values():
            for id_ in ids:
                contents.pop(id_, None)

    def compact(self) -> int:
        return 0

    def ids(self, kind: str) -> list[str]:
        return list(self._contents.get(kind, ()))

    def _kinds(self) -> list[str]:
        return list(self._contents)


def _are_whole(*numbers: Any) -> bool:
    return all(type(number) is int and number >= 0 for number in numbers)


def pack_regions(maps: Sequence[Regions]) -> bytes:
    """Regions of the maps of a photo as few bytes."""
    parts = []
    for regions in maps:
        head = np.array([*regions.shape, len(regions), len(regions.indices)], "<u4")
        kinds, areas = regions.kinds.astype("<i2"), regions.areas.astype("<u4")
        parts += [head, kinds, areas, regions.indices.astype("<u4")]
    return zlib.compress(b"".join(part.tobytes() for part in parts))


def unpack_regions(content: bytes) -> tuple[Regions, ...]:
    """The regions that `pack_regions` packed, or a `ValueError` if it did not."""
    # One byte more than there may be tells what goes on from what has ended.
    whole = zlib.decompressobj().decompress(content, _LARGEST + 1)
    if len(whole) > _LARGEST:
        raise ValueError(f"regions take more than {_LARGEST} bytes")
    rest, maps = memoryview(whole), []

    def take(dtype: str, n: int) -> np.ndarray:
        nonlocal rest
        found = np.frombuffer(rest, dtype, n)
        rest = rest[found.nbytes :]
        return found.astype(np.int64)

    while rest:
        height, width, n, n_cells = take("<u4", 4).tolist()
        kinds, areas, cells = take("<i2", n), take("<u4", n), take("<u4", n_cells)
        maps.append(Regions(cells, np.cumsum([0, *areas]), (height, width), kinds))
    return tuple(maps)
