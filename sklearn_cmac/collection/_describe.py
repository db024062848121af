"""From photos to a collection: each is read, known by its content, and described once."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import numpy as np
from filelock import FileLock
from sklearn.utils.validation import check_is_fitted

from sklearn_cmac._flow import Threads
from sklearn_cmac._progress import show_progress
from sklearn_cmac._threads import one_thread
from sklearn_cmac.collection._catalogue import (
    DESCRIBED,
    FAILED,
    Catalogue,
    CatalogueEntry,
    file_facts,
)
from sklearn_cmac.collection._collection import Collection
from sklearn_cmac.collection._database import DamageError, Database
from sklearn_cmac.collection._engine import Engine, Stamp
from sklearn_cmac.collection._exact import ExactEngine
from sklearn_cmac.collection._flat import CATALOGUE, FlatEngine
from sklearn_cmac.collection._regions import RegionTable
from sklearn_cmac.collection._selection import Selection
from sklearn_cmac.collection._shards import each_shard
from sklearn_cmac.collection._stores import is_address, open_store
from sklearn_cmac.corridor import Corridor
from sklearn_cmac.fingerprints import fingerprint, identify
from sklearn_cmac.maps import RegionVectors
from sklearn_cmac.photos import (
    Item,
    Photo,
    PhotoError,
    Query,
    as_photo,
    digest_source,
    errors_of,
    name_of,
    read_source,
)

_Opened = TypeVar("_Opened")

# Makes an engine of a stamp, and the folder to keep vectors in, if there is one.
MakeEngine = Callable[[Stamp, "Path | None"], Engine]


def _exact(stamp: Stamp, folder: Path | None) -> Engine:
    if folder is None:
        return ExactEngine(stamp)
    engine = _or_anew(folder, lambda: FlatEngine(folder, stamp))
    # What is damaged is described again.
    engine.check()
    engine.forget_damaged()
    return engine


def _or_anew(folder: Path, open_it: Callable[[], _Opened]) -> _Opened:
    """What is kept in a folder; if it is damaged, it is moved aside, and begun again."""
    try:
        return open_it()
    except DamageError as error:
        aside = folder / f"{CATALOGUE}.damaged"
        os.replace(folder / CATALOGUE, aside)
        for more in ("-wal", "-shm"):
            (folder / f"{CATALOGUE}{more}").unlink(missing_ok=True)
        warnings.warn(
            f"{error}; it is now {aside.name}, and what it held is described again", stacklevel=4
        )
        return open_it()


# Engines by name. One that is written elsewhere is registered here.
ENGINES: dict[str, MakeEngine] = {"exact": _exact}

# What is kept of photos beside their vectors, as bytes by kind and id.
Contents = dict[str, dict[str, bytes]]

# Is given the region vectors of photos by id, and what else is kept, before the engine is.
Keeper = Callable[[dict[str, RegionVectors], Contents], None]


class Extractor(Protocol):
    """Finds in photos what is kept beside their vectors: a `LearnedFeatureExtractor`."""

    @property
    def kind(self) -> str:
        """The kind of what it finds."""

    def iter_transform(self, X: Sequence[Item]) -> Iterator[Any]:
        """What it finds in each photo, or a `PhotoError`."""

    def pack(self, features: Any) -> bytes:
        """That as bytes."""


# Is told the id of each photo that is described, and its record as it leaves the extractor.
Witness = Callable[[str, Any], None]


def describe_collection(
    pipeline: Any,
    photos: Sequence[Item],
    *,
    regions: bool = False,
    folder: str | os.PathLike[str] | None = None,
    engine: str | MakeEngine = "exact",
    witness: Witness | None = None,
    batch_size: int = 32,
    shard_size: int | None = None,
    verbose: bool | int = False,
) -> Collection:
    """Describe photos for ranking. One that cannot be used stops no other.

    Parameters
    ----------
    pipeline : fitted Pipeline, or any transformer with one descriptor per photo
    photos : sequence of photos
    regions : bool, default=False
        Whether region vectors are kept too, as the last step but one returns them.
    folder : path, optional
        Where descriptions are kept. What is there is used: photos are known by their content,
        so a run that was stopped goes on, and one over other photos describes the new ones.
    engine : str or callable, default="exact"
        Who keeps the vectors: a name in ``collection.ENGINES``, or a callable like those there,
        which makes an `Engine` of a `Stamp` and a folder or None; or the address of one, as
        `open_store` takes it.
    witness : callable, optional
        Called with the id of each photo that is described now, and its record as it leaves the
        first step, so that whoever needs the record too need not describe the photo again. Its
        time is not counted as describing.
    batch_size : int, default=32
        Photos whose descriptions are kept at a time: what is kept, a run that is stopped need not
        do again.
    shard_size : int, optional
        Photos that are described at a time by a worker of joblib's active backend, a process or a
        machine (`workers`), and kept as they come back. Photos given as paths are read there.
        Default: all are described in this process.
    verbose : bool or int, default=False
        Whether to show a progress bar.

    Returns
    -------
    Collection

    Raises
    ------
    ValueError
        If folder or engine hold descriptions by another pipeline, or if a `shard_size` is given
        with a `witness`, or a step that draws from a ``RandomState``.
    WorkerError
        If workers died twice with no shard in between. What came back before is kept.
    """
    check_is_fitted(pipeline)
    photos = photos if isinstance(photos, (list, tuple)) else list(photos)
    make = find_engine(engine)
    place = None if folder is None else Path(folder)
    if place is not None:
        place.mkdir(parents=True, exist_ok=True)
    # Another process that describes into this folder is waited for, and what it did is used.
    with nullcontext() if place is None else FileLock(place / "turn"):
        catalogue = None
        if place is not None:
            at = place / CATALOGUE
            catalogue = _or_anew(place, lambda: Catalogue(Database(at)))
        try:
            found = describe_into(
                pipeline,
                photos,
                lambda stamp: make(stamp, place),
                catalogue,
                regions=regions,
                witness=witness,
                batch_size=batch_size,
                shard_size=shard_size,
                verbose=verbose,
            )
            release = getattr(found.engine, "release", None)
            if release is not None:
                release()
            return found
        finally:
            if catalogue is not None:
                catalogue.close()


class Notes(Protocol):
    """Who is told what became of photos: a `Catalogue`, or somebody before it."""

    @property
    def seconds(self) -> float:
        """What describing took in all runs."""

    def note(self, entries: Sequence[CatalogueEntry], seconds: float = 0.0) -> None:
        """Take note of entries, and of what describing them took."""


def describe_into(
    pipeline: Any,
    photos: Sequence[Item],
    make: Callable[[Stamp], Engine],
    catalogue: Notes | None,
    *,
    regions: bool,
    keep: Keeper | None = None,
    extractors: Sequence[Extractor] = (),
    witness: Witness | None = None,
    batch_size: int = 32,
    shard_size: int | None = None,
    verbose: bool | int = False,
) -> Collection:
    """The same, where engine and catalogue are somebody's own.

    Parameters
    ----------
    pipeline, photos, regions, witness, batch_size, shard_size, verbose
        As for `describe_collection`.
    make : callable
        Makes or opens the engine of a stamp.
    catalogue : Notes, optional
        Is told what became of each photo, once its vectors are in the engine.
    keep : callable, optional
        Is given region vectors by id, with where they are from, and by kind and id what
        extractors find, before the engine is.
    extractors : sequence of Extractor
        Look at each photo while it is described.

    Returns
    -------
    Collection
    """
    if shard_size is not None:
        _check_shards(pipeline, shard_size, witness)
    run = _Run(Corridor(pipeline), regions, make, catalogue, witness, keep, extractors)
    with show_progress(None, len(photos), "describing photos", verbose) as bar:
        if shard_size is None:
            run.add_all(photos, batch_size, bar.update)
        else:
            run.add_shards(photos, shard_size, bar.update)
    return run.collection(photos)


def find_engine(engine: str | MakeEngine) -> MakeEngine:
    """Who makes the engine of a name or an address."""
    if callable(engine):
        return engine
    if engine in ENGINES:
        return ENGINES[engine]
    if is_address(engine):
        return lambda stamp, folder: open_store(engine, stamp)
    raise ValueError(f"engine is one of {sorted(ENGINES)} or an address, got {engine!r}")


def _check_shards(pipeline: Any, size: int, witness: Witness | None) -> None:
    if size < 1:
        raise ValueError(f"a shard has at least one photo, got shard_size={size}")
    if witness is not None:
        raise ValueError(
            "records stay with the workers that make them, so a witness sees none; leave out "
            "witness or shard_size"
        )
    if Corridor(pipeline).draws:
        raise ValueError(
            "a step draws from a RandomState photo after photo, and workers take no turns; set "
            "its random_state to a number, or leave out shard_size"
        )


@dataclass
class _Read:
    """A photo that was read: what is described in its stead and its id, or why it cannot be."""

    name: str
    item: Any = None
    id: str = ""
    reason: str = ""
    path: str = ""
    facts: tuple[int | None, int | None] = (None, None)  # size and time, before it was read
    seen: int = 0  # when these were asked for


# A photo's descriptor and region vectors.
_Row = tuple[np.ndarray, "RegionVectors | None"]

# What became of photos by id: the row, or why there is none.
_Rows = dict[str, "_Row | str"]


@dataclass
class _Outcome:
    """What became of some photos that were described together."""

    batch: list[tuple[Item, _Read]]
    rows: _Rows  # of those that were new
    contents: Contents
    records: dict[str, Any] = field(default_factory=dict)  # by id, for the witness


class _Run:
    """Photos described batch by batch into one engine."""

    def __init__(
        self,
        corridor: Corridor,
        regions: bool,
        make: Callable[[Stamp], Engine],
        catalogue: Notes | None,
        witness: Witness | None,
        keep: Keeper | None,
        extractors: Sequence[Extractor],
    ):
        self.keep, self.extractors = keep, extractors
        self.corridor, self.regions, self.make = corridor, regions, make
        self.catalogue, self.witness = catalogue, witness
        self.annotated = corridor.reads_annotations
        self.pipeline = fingerprint(corridor.pipeline)
        self.shared = False
        # Of pipelines that are not ours, the first photo tells.
        dimension = corridor.dimension
        self.engine = None if dimension is None else self._engine(dimension)
        self.names: list[str] = []
        self.ids: list[str] = []
        self.failed: dict[int, str] = {}
        self.claimed: set[str] = set()  # ids that are being described, or were now
        self.bad: dict[str, str] = {}  # why photos of these ids have no row
        self.seconds = 0.0
        self.n_described = 0

    def _engine(self, dimension: int) -> Engine:
        stamp = Stamp(self.pipeline, dimension, self.regions)
        engine = self.make(stamp)
        engine.stamp.check(stamp, str(getattr(engine, "folder", type(engine).__name__)))
        # Photos of earlier runs may be there too, and in another order.
        self.shared = len(engine) > 0
        return engine

    def add_all(
        self, photos: Sequence[Item], batch_size: int, told: Callable[[int], object]
    ) -> None:
        """Describe what is not known yet, and keep it batch by batch.

        While one photo is read, the network runs on another and the map of a third is cut.
        """
        at_once = self.corridor.photos_at_once or batch_size
        waiting: list[_Outcome] = []
        with one_thread(), Threads(self.corridor.n_jobs) as threads:
            parts = (photos[i : i + at_once] for i in range(0, len(photos), at_once))
            read = threads.each(self._read_all, parts)
            started = time.perf_counter()
            try:
                for outcome in threads.each(self._describe_new, map(self._claim, read)):
                    started += self._tell(outcome)
                    told(len(outcome.batch))
                    waiting.append(outcome)
                    if sum(len(each.batch) for each in waiting) >= batch_size:
                        self._keep(waiting, started)
                        waiting, started = [], time.perf_counter()
            except BaseException:
                # What is done is kept, if it can be, whatever ends the run.
                with suppress(Exception):
                    self._keep(waiting, started)
                raise
        self._keep(waiting, started)

    def add_shards(self, photos: Sequence[Item], size: int, told: Callable[[int], object]) -> None:
        """The same by workers: they read and describe a shard, and it is kept as it comes back."""
        # An engine that is not open yet cannot say what is known; the first photo opens it.
        first = 1 if self.engine is None else 0
        with one_thread():
            for part in (photos[:first], photos[first:]):
                self._add_part(part, size, told)

    def _add_part(self, photos: Sequence[Item], size: int, told: Callable[[int], object]) -> None:
        started = time.perf_counter()
        reads = self._known(photos, size)
        start = 0

        def keep(end: int, rows: _Rows, contents: Contents) -> None:
            nonlocal start, started
            batch = [(photos[i], reads.pop(i)) for i in range(start, end)]
            self._keep([_Outcome(batch, rows, contents)], started)
            told(end - start)
            start, started = end, time.perf_counter()

        shards = _cut([i for i in range(len(photos)) if i not in reads], size)
        work = partial(
            _describe_shard, self.corridor.pipeline, self.regions, self.extractors, os.getcwd()
        )
        described = each_shard(work, [[photos[i] for i in shard] for shard in shards])
        for (found, rows, contents), shard in zip(described, shards):
            reads.update(zip(shard, found))
            # Copies in several shards are described in each; the first counts.
            rows = {id_: row for id_, row in rows.items() if id_ not in self.claimed}
            self.claimed.update(rows)
            keep(shard[-1] + 1, rows, contents)
        keep(len(photos), {}, {})

    def _known(self, photos: Sequence[Item], size: int) -> dict[int, _Read]:
        """Of photos that need not be described: who they are, by position."""
        files, reads = [], {}
        for i, photo in enumerate(photos):
            if isinstance(_source_of(photo), (str, os.PathLike)):
                files.append(i)
            else:
                reads[i] = replace(_read(photo, self.annotated), item=None)
        if self.engine is not None and len(self.engine):
            work = partial(_read_shard, self.annotated, os.getcwd())
            shards = [[photos[i] for i in shard] for shard in _cut(files, size)]
            reads.update(zip(files, chain.from_iterable(each_shard(work, shards))))
        return {
            i: read
            for i, read in reads.items()
            if read.reason or (self.engine is not None and read.id in self.engine)
        }

    def _read_all(self, items: Sequence[Item]) -> list[tuple[Item, _Read]]:
        return [(item, _read(item, self.annotated)) for item in items]

    def _claim(self, batch: list[tuple[Item, _Read]]) -> tuple[list[tuple[Item, _Read]], dict]:
        """The batch, and what of it nobody has described: of copies, the first."""
        new = {
            photo.id: photo.item
            for _, photo in batch
            if photo.id
            and photo.id not in self.claimed
            and (self.engine is None or photo.id not in self.engine)
        }
        self.claimed.update(new)
        return batch, new

    def _describe_new(self, claimed: tuple[list[tuple[Item, _Read]], dict[str, Any]]) -> _Outcome:
        batch, new = claimed
        id_of = {id(item): id_ for id_, item in new.items()}
        records: dict[str, Any] = {}

        def note(item: Any, record: Any) -> None:
            if self.witness is not None:
                records[id_of[id(item)]] = record

        rows = dict(zip(new, _describe(self.corridor, list(new.values()), self.regions, note)))
        contents = _contents(self.extractors, new, rows)
        for _, photo in batch:
            photo.item = None  # its content is needed no more
        return _Outcome(batch, rows, contents, records)

    def _tell(self, outcome: _Outcome) -> float:
        """Let the witness see the records, and say how long that took."""
        started = time.perf_counter()
        for id_, record in outcome.records.items():
            assert self.witness is not None
            self.witness(id_, record)
        outcome.records.clear()
        return time.perf_counter() - started

    def _keep(self, outcomes: list[_Outcome], started: float) -> None:
        """Rows into the engine, and what became of each photo into the catalogue."""
        rows = {id_: row for outcome in outcomes for id_, row in outcome.rows.items()}
        good = {id_: row for id_, row in rows.items() if not isinstance(row, str)}
        if good:
            descriptors = np.stack([descriptor for descriptor, _ in good.values()])
            dimension = descriptors.shape[1]
            vectors = [found for _, found in good.values() if found is not None]
            if self.engine is None:
                self.engine = self._engine(dimension)
            self.n_described += len(good)
            if self.keep is not None:
                self.keep(dict(zip(good, vectors)), _together([each.contents for each in outcomes]))
            table = RegionTable.of(vectors, dimension) if self.regions else None
            self.engine.upsert(list(good), descriptors, table)
        self.bad.update({id_: row for id_, row in rows.items() if isinstance(row, str)})
        first = len(self.ids)
        batch = [pair for outcome in outcomes for pair in outcome.batch]
        for i, (_, photo) in enumerate(batch, first):
            reason = self.bad.get(photo.id) or photo.reason
            if reason:
                self.failed[i] = reason
            self.ids.append("" if reason else photo.id)
            self.names.append(photo.name)
        self.seconds += time.perf_counter() - started if rows else 0.0
        if self.catalogue is not None:
            self.catalogue.note(self._entries([read for _, read in batch], first), self.seconds)
            self.seconds = 0.0

    def _entries(self, batch: Sequence[_Read], first: int) -> list[CatalogueEntry]:
        entries = []
        for i, photo in enumerate(batch, first):
            reason = self.failed.get(i, "")
            state = FAILED if reason else DESCRIBED
            known = photo.name, photo.path, photo.id, *photo.facts
            entries.append(CatalogueEntry(*known, state, reason, photo.seen))
        return entries

    def collection(self, photos: Sequence[Item]) -> Collection:
        """What became of all photos."""
        seconds = self.seconds
        if self.catalogue is not None:
            seconds = self.catalogue.seconds
        engine = self.engine
        if engine is None:  # nobody said how long descriptors are, and no photo could be described
            engine = ExactEngine(Stamp(self.pipeline, 0, self.regions))
        if self.shared:
            engine = cast(Engine, Selection(engine, list(dict.fromkeys(filter(None, self.ids)))))
        return Collection(
            photos, self.names, self.ids, engine, self.failed, seconds, self.n_described
        )


def _cut(positions: list[int], size: int) -> list[list[int]]:
    return [positions[i : i + size] for i in range(0, len(positions), size)]


def _source_of(item: Any) -> Any:
    return getattr(getattr(item, "photo", item), "source", item)


def _read_shard(annotated: bool, folder: str, shard: Sequence[Item]) -> list[_Read]:
    """Who each photo of a shard is, in a worker."""
    return [replace(_read_from(folder, item, annotated), item=None) for item in shard]


def _contents(extractors: Sequence[Extractor], photos: dict[str, Any], rows: _Rows) -> Contents:
    """What extractors find in photos, by id; of one that an extractor cannot use, nothing."""
    good = {id_: item for id_, item in photos.items() if not isinstance(rows[id_], str)}
    found: Contents = {}
    for extractor in extractors if good else ():
        records = zip(good, extractor.iter_transform(list(good.values())))
        found[extractor.kind] = {
            id_: extractor.pack(record)
            for id_, record in records
            if not isinstance(record, PhotoError)
        }
    return found


def _together(parts: Sequence[Contents]) -> Contents:
    found: Contents = {}
    for part in parts:
        for kind, contents in part.items():
            found.setdefault(kind, {}).update(contents)
    return found


def _describe_shard(
    pipeline: Any,
    regions: bool,
    extractors: Sequence[Extractor],
    folder: str,
    shard: Sequence[Item],
) -> tuple[list[_Read], _Rows, Contents]:
    """Who each photo of a shard is, and of all that differ by id what is kept, in a worker."""
    corridor = Corridor(pipeline)
    annotated, at_once = corridor.reads_annotations, corridor.photos_at_once or len(shard)
    reads: list[_Read] = []
    rows: _Rows = {}
    contents: list[Contents] = []
    for i in range(0, len(shard), at_once):
        batch = [_read_from(folder, item, annotated) for item in shard[i : i + at_once]]
        new = {photo.id: photo.item for photo in batch if photo.id and photo.id not in rows}
        described = _describe(corridor, list(new.values()), regions, lambda *_: None)
        rows.update(zip(new, map(_as_kept, described)))
        contents.append(_contents(extractors, new, rows))
        reads += [replace(photo, item=None) for photo in batch]
    return reads, rows, _together(contents)


def _read_from(folder: str, item: Item, annotated: bool) -> _Read:
    """The same as `_read`, with a relative path as it is meant in this folder."""
    path = _source_of(item)
    if not isinstance(path, (str, os.PathLike)):
        return _read(item, annotated)
    asked = as_photo(item)
    photo = asked.photo if isinstance(asked, Query) else asked
    photo = replace(photo, source=os.path.join(folder, path))
    read = _read(Query(photo, asked.box) if isinstance(asked, Query) else photo, annotated)
    return replace(read, path=os.fspath(path))


def _as_kept(row: _Row | str) -> _Row | str:
    """A row with region vectors in half precision, as they are kept: it travels."""
    if isinstance(row, str) or row[1] is None:
        return row
    return row[0], replace(row[1], vectors=row[1].vectors.astype(np.float16))


def _read(item: Item, annotated: bool) -> _Read:
    """A photo with its content in memory, and who it is.

    Each file is opened once: what is hashed is what is described.
    """
    try:
        asked = as_photo(item)
    except PhotoError:  # what other pipelines than ours describe
        return _Read(name_of(item), item, fingerprint(item))
    photo = asked.photo if isinstance(asked, Query) else asked
    seen, facts = time.time_ns(), file_facts(photo.source)
    path = os.fspath(photo.source) if isinstance(photo.source, (str, os.PathLike)) else ""
    try:
        with errors_of(photo.name):
            source = read_source(photo)
            content = digest_source(source)
    except PhotoError as error:
        return _Read(photo.name, reason=str(error), path=path, facts=facts, seen=seen)
    box = asked.box if isinstance(asked, Query) else None
    described: Any = item
    if isinstance(item, (Photo, Query, str, os.PathLike)):
        inside = replace(photo, source=source)
        described = inside if box is None else Query(inside, box)
    id_ = identify(content, photo, box, annotated)
    return _Read(photo.name, described, id_, path=path, facts=facts, seen=seen)


def _describe(
    corridor: Corridor,
    batch: list[Any],
    regions: bool,
    witness: Callable[[Any, Any], None],
) -> Iterator[_Row | str]:
    """Of each photo its row, or why it has none."""
    if not batch:
        return
    try:
        records = corridor.records(batch)
        for item, record in zip(batch, records):
            witness(item, record)
        if regions:
            vectors = corridor.vectors(records)
            rows: list[_Row] = list(zip(corridor.summed(vectors), vectors))
        else:
            rows = [(row, None) for row in corridor.described(records)]
    except PhotoError as error:
        # The extractor names all that fail; an error of a later step may be any photo's.
        bad = {i: reason for i, _, reason in error.failures}
        if not bad and len(batch) == 1:
            yield str(error)
            return
        good = [[photo for i, photo in enumerate(batch) if i not in bad]]
        parts = good if bad else [[photo] for photo in batch]
        rest = (row for part in parts for row in _describe(corridor, part, regions, witness))
        for i in range(len(batch)):
            yield bad[i] if i in bad else next(rest)
    else:
        yield from rows
