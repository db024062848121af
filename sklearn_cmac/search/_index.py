"""Descriptors of a collection, and who is most like a query."""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_cmac._html import html_table
from sklearn_cmac._photo_step import check_photos
from sklearn_cmac._progress import show_progress
from sklearn_cmac.collection import (
    Engine,
    FlatEngine,
    InUseError,
    RegionTable,
    Stamp,
    copy_vectors,
    describe_into,
    find_engine,
    find_store,
    open_store,
)
from sklearn_cmac.collection._catalogue import (
    DESCRIBED,
    FAILED,
    Catalogue,
    CatalogueEntry,
)
from sklearn_cmac.collection._database import DamageError, Database
from sklearn_cmac.collection._describe import Contents
from sklearn_cmac.collection._details import (
    Details,
    DetailsInMemory,
    pack_regions,
    unpack_regions,
)
from sklearn_cmac.collection._flat import CATALOGUE
from sklearn_cmac.collection._lock import WriterLock
from sklearn_cmac.collection._scores import row_blocks
from sklearn_cmac.collection._stores import seen_from, seen_within
from sklearn_cmac.corridor import Corridor
from sklearn_cmac.fingerprints import fingerprint
from sklearn_cmac.local import LocalFeatures
from sklearn_cmac.maps import Regions, RegionVectors
from sklearn_cmac.persistence import read_manifest, save_pipeline
from sklearn_cmac.photos import Item
from sklearn_cmac.reranking import RegionMatch, SpatialMatch, verifier_of
from sklearn_cmac.search._features import extractor_in, extractors_of, find_features
from sklearn_cmac.search._folder import (
    PIPELINE,
    bytes_in,
    check_pipeline,
    damage_named,
    damaged_files,
    described_by,
    or_removed,
    pipeline_in,
    retrieving,
)
from sklearn_cmac.search._indexed import IndexedPhotos
from sklearn_cmac.search._report import IndexReport, UpdateReport
from sklearn_cmac.search._results import SearchResults
from sklearn_cmac.search._retriever import Retriever
from sklearn_cmac.search._searcher import Searcher
from sklearn_cmac.search._update import FolderPhotos, Notes

_REGIONS = "regions"  # the kind of detail


class RetrievalIndex:
    """A searchable collection of photos, in memory or in a folder.

    One in memory is made by the constructor, and ends with the process. One in a folder is made
    by `create` and found again by `open`; what it was given is on the disk when `add` or `update`
    return, and each batch of photos when it has been described. A photo is its content: a copy is
    described once, a renamed file keeps its description, an edited one is described again.

    Parameters
    ----------
    pipeline : fitted Pipeline or Retriever
        Photos in, one descriptor of unit length each out. The steps of a `Retriever` improve
        each search.
    batch_size : int, default=32
        Photos that are kept at a time.
    features : sequence of LearnedFeatureExtractor, optional
        What finds local features that are kept of each photo, so that verification need not look
        at photos again. Default: those of the steps of the `Retriever`.

    Attributes
    ----------
    path : Path or None
        The folder.
    names : list of str
        Photos of the collection, in the order in which they were added.
    descriptors : ndarray of shape (n, D)
        Their descriptors.

    Examples
    --------
    >>> from sklearn_cmac import make_cmac_pipeline
    >>> from sklearn_cmac.datasets import make_object_scenes
    >>> from sklearn_cmac.search import RetrievalIndex
    >>> scenes = make_object_scenes(n_objects=2, n_scenes=2, n_distractors=4, size=(320, 240))
    >>> pipeline = make_cmac_pipeline(whiten__shrinkage=1, whiten__n_components=32)
    >>> index = RetrievalIndex(pipeline.fit(scenes.photos))
    >>> print(index.add(scenes.photos))
    8 photos indexed, 0 could not be used
    >>> index.search(scenes.photos[0], n_results=1)[0].name
    'object-00-scene-0'

    Kept in a folder:

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> with RetrievalIndex.create(f"{folder.name}/scenes.cmac", pipeline) as index:
    ...     _ = index.add(scenes.photos)
    >>> with RetrievalIndex.open(f"{folder.name}/scenes.cmac") as index:
    ...     index.search(scenes.photos[0], n_results=1)[0].name
    'object-00-scene-0'
    >>> folder.cleanup()
    """

    def __init__(self, pipeline: Any, batch_size: int = 32, features: Sequence[Any] | None = None):
        check_is_fitted(pipeline)
        self._begin(pipeline, batch_size, Catalogue(Database(None)))
        self._extractors: list[Any] | None = extractors_of(self._retriever, features)

    def _begin(
        self,
        pipeline: Any,
        batch_size: int,
        catalogue: Catalogue,
        path: Path | None = None,
        timeout: float = 5.0,
        trust: Sequence[str] = (),
    ) -> None:
        self.batch_size, self.path = batch_size, path
        self._pipeline, self._trust, self._catalogue = pipeline, trust, catalogue
        self._extractors = None  # not read yet
        self._engine: Engine | None = None
        self._items: dict[str, Item] = {}  # by name, to look at again what is in no file
        self._asked: Searcher | None = None
        self._details = DetailsInMemory() if path is None else Details(catalogue.database, path)
        self._writer = None if path is None else WriterLock(path, timeout)

    # -- in a folder --------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        pipeline: Any,
        *,
        regions: bool | None = None,
        features: Sequence[Any] | None = None,
        store: str | None = None,
        root: str | os.PathLike[str] | None = None,
        provenance: dict[str, Any] | None = None,
        batch_size: int = 32,
    ) -> RetrievalIndex:
        """Make an empty index in a folder.

        Parameters
        ----------
        path : path
            A folder that is empty or not there yet, by custom ``NAME.cmac``.
        pipeline : fitted Pipeline or Retriever
            Is kept in the folder, as numbers and names, without code.
        regions : bool, optional
            Whether region vectors are kept too. Default: if a step of the `Retriever` reads them.
        features : sequence of LearnedFeatureExtractor, optional
            As for the constructor. Each is kept in the folder, as numbers and names.
        store : str, optional
            Address of the engine that keeps the vectors, as `open_store` takes it. Default: files
            in the folder.
        root : path, optional
            Paths of photos below it are kept relative to it, so that it may be moved together
            with the index. Default: the folder that `path` is in.
        provenance : dict, optional
            Where the pipeline is from, to be kept with it.
        batch_size : int, default=32

        Returns
        -------
        RetrievalIndex

        Raises
        ------
        FileExistsError
            If the folder is not empty.
        ValueError
            If the pipeline has a part that cannot be kept without code.
        """
        check_is_fitted(pipeline)
        path = Path(path)
        if path.exists() and any(path.iterdir()):
            raise FileExistsError(f"{path}: is not empty; open it, or choose another folder")
        if store is not None:
            find_store(store)
        path.mkdir(parents=True, exist_ok=True)
        index = cls.__new__(cls)
        root = path.parent if root is None else root
        with or_removed(path):
            catalogue = Catalogue(Database(path / CATALOGUE), root)
        index._begin(pipeline, batch_size, catalogue, path)
        with or_removed(path, index.close):
            retriever = index._retriever
            save_pipeline(retriever, path / PIPELINE, provenance)
            index._extractors = extractors_of(retriever, features)
            for extractor in index._extractors:
                save_pipeline(extractor, path / f"{extractor.kind}.safetensors")
            index._catalogue.about = {
                "root": os.path.relpath(root, path),
                "store": None if store is None else seen_from(os.fspath(store), path),
                "pipeline": fingerprint(Corridor(retriever.pipeline_).pipeline),
                "regions": "regions" in retriever.needs if regions is None else regions,
                "features": [extractor.kind for extractor in index._extractors],
                "made": time.strftime("%Y-%m-%d %H:%M:%S"),
            }
            dimension = Corridor(retriever.pipeline_).dimension
            if dimension is not None:
                index._open_engine(index._stamp(dimension))
        return index

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        pipeline: Any = None,
        *,
        read_only: bool = False,
        timeout: float = 5.0,
        trust: Sequence[str] = (),
        batch_size: int = 32,
    ) -> RetrievalIndex:
        """Open the index in a folder. Nothing of it is read before it is needed.

        Parameters
        ----------
        path : path
        pipeline : fitted Pipeline or Retriever, optional
            Describes queries and new photos; it has to be the one that described the photos.
            Default: the one that is kept in the folder.
        read_only : bool, default=False
            Whether to refuse changes.
        timeout : float, default=5.0
            Seconds to wait for another process that writes to the index.
        trust : sequence of str, default=()
            Classes of the kept pipeline that may be used besides those of this package, as
            ``module.Class``.
        batch_size : int, default=32

        Returns
        -------
        RetrievalIndex

        Raises
        ------
        FileNotFoundError
            If there is no index.
        ValueError
            If the index was made with another pipeline, network or weights, which says what
            differs; if it is of another version; or if a file of it is damaged, which names it.
        """
        path = Path(path)
        if not (path / CATALOGUE).exists():
            raise FileNotFoundError(f"{path}: is no index; make one with RetrievalIndex.create")
        index = cls.__new__(cls)
        catalogue = Catalogue(Database(path / CATALOGUE, read_only))
        index._begin(pipeline, batch_size, catalogue, path, timeout, trust)
        try:
            about = catalogue.about
            if not about.keys() >= {"root", "store", "pipeline", "regions"}:
                raise DamageError(f"{path / CATALOGUE}: lacks what an index says about itself")
            catalogue.root = os.path.normpath(path / about["root"])
            if pipeline is not None:
                check_is_fitted(pipeline)
                check_pipeline(path, pipeline, about["pipeline"])
            with suppress(FileNotFoundError):  # nothing was added yet
                index._attach(index._opened())
        except BaseException:
            index.close()
            raise
        return index

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> RetrievalIndex:
        """The same as `open`.

        Parameters
        ----------
        path : path

        Returns
        -------
        RetrievalIndex
        """
        return cls.open(path)

    def save(self, path: str | os.PathLike[str], *, store: str | None = None) -> None:
        """Copy the index into a folder that is empty or not there yet.

        Parameters
        ----------
        path, store
            As for `create`.
        """
        regions = self._engine is not None and self._engine.stamp.regions
        copy = RetrievalIndex.create(
            path, self.pipeline, regions=regions, features=self.extractors, store=store
        )
        with copy, or_removed(path, copy.close):
            if self._engine is not None:
                copy_vectors(self._engine, copy._open_engine(self._engine.stamp))
            self._details.copy_to(copy._details)
            copy._catalogue.note(list(self._catalogue.entries()))

    def fill(
        self,
        entries: Sequence[tuple[int, CatalogueEntry]],
        descriptors: np.ndarray,
        regions: RegionTable | None,
        pipeline: str,
        batch_size: int = 1024,
        verbose: bool = False,
    ) -> None:
        """Take over photos that were described elsewhere.

        Parameters
        ----------
        entries : sequence of (int, CatalogueEntry)
            Each photo's row, and what is known of it.
        descriptors : ndarray of shape (n, D)
        regions : RegionTable of n photos, optional
        pipeline : str
            Fingerprint of the pipeline that described them.
        batch_size : int, default=1024
        verbose : bool, default=False
            Whether to show progress.

        Raises
        ------
        ValueError
            If they were described by another pipeline, or do not fit each other.
        """
        stamp = self._stamp(descriptors.shape[1])
        stamp.check(replace(stamp, pipeline=pipeline), str(self.path or "the index"))
        id_of = {row: entry.id for row, entry in entries}
        if sorted(id_of) != list(range(len(descriptors))):
            raise ValueError(
                f"{len(descriptors)} descriptors are not of rows {sorted(id_of)[:9]} …"
            )
        engine = self._open_engine(stamp)
        with show_progress(None, len(descriptors), "taking over photos", verbose) as bar:
            for rows in row_blocks(len(descriptors), batch_size):
                ids = [id_of[row] for row in range(rows.start, rows.stop)]
                part = None if regions is None else regions.take(np.arange(rows.start, rows.stop))
                engine.upsert(ids, descriptors[rows], part)
                bar.update(len(ids))
        self._catalogue.note([entry for _, entry in entries])

    def info(self) -> dict[str, Any]:
        """What the index holds, for people and for JSON."""
        about, engine = self._catalogue.about, self._engine
        return {
            "photos": len(self),
            "contents": 0 if engine is None else len(engine),
            "failed": self._catalogue.count(FAILED),
            "bytes": 0 if self.path is None else bytes_in(self.path),
            "dimensions": None if engine is None else engine.stamp.dimension,
            "regions": self._keeps_regions,
            "local features": len(self._kinds),
            "vectors": about.get("store") or "files of the index",
            "photos below": self._catalogue.root,
            "made": about.get("made"),
            **({} if self.path is None else described_by(self.path)),
        }

    def close(self) -> None:
        """Let go of files, and of the right to write to them."""
        if self._engine is not None:
            self._engine.close()
        self._catalogue.close()
        if self._writer is not None:
            self._writer.release()

    def __enter__(self) -> RetrievalIndex:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    # -- what it holds ------------------------------------------------------------------------

    @property
    def pipeline(self) -> Any:
        """What describes photos and queries: the one of the constructor, or that in the folder."""
        if self._pipeline is None:
            assert self.path is not None
            found = pipeline_in(self.path / PIPELINE, self._trust)
            check_pipeline(self.path, found, self._catalogue.about["pipeline"])
            self._pipeline = found
        return self._pipeline

    @pipeline.setter
    def pipeline(self, pipeline: Any) -> None:
        check_is_fitted(pipeline)
        if self.path is not None:
            check_pipeline(self.path, pipeline, self._catalogue.about["pipeline"])
        self._pipeline, self._asked = pipeline, None

    def keep_steps(self) -> None:
        """Let who opens the index later search as `pipeline` does now, by the same steps."""
        if self.path is not None:
            self._begin_to_write()
            manifest = read_manifest(self.path / PIPELINE)
            save_pipeline(self._retriever, self.path / PIPELINE, manifest.get("provenance"))

    @property
    def extractors(self) -> list[Any]:
        """What finds the local features that are kept of photos."""
        if self._extractors is None:
            assert self.path is not None
            files = [self.path / f"{kind}.safetensors" for kind in self._kinds]
            self._extractors = [extractor_in(file) for file in files]
        return self._extractors

    @property
    def _kinds(self) -> list[str]:
        if self.path is None:
            return [extractor.kind for extractor in self.extractors]
        return self._catalogue.about.get("features", [])

    @property
    def names(self) -> list[str]:
        return [entry.name for entry in self._catalogue.entries(DESCRIBED)]

    @property
    def descriptors(self) -> np.ndarray:
        if self._engine is None:
            return np.empty((0, 0), np.float32)
        ids = [entry.id for entry in self._catalogue.entries(DESCRIBED)]
        with damage_named(self.path):
            return self._engine.get(ids)

    @property
    def engine(self) -> Engine | None:
        """Who keeps the vectors; None before the first photo."""
        return self._engine

    def entries(self, state: str | None = None) -> Iterator[CatalogueEntry]:
        """What is known of each photo: where it is, its content, what became of it.

        Parameters
        ----------
        state : {"described", "failed"}, optional
            Default: all.

        Yields
        ------
        CatalogueEntry
        """
        return self._catalogue.entries(state)

    @property
    def failed(self) -> list[tuple[str, str]]:
        """Names of photos that could not be used, and why."""
        return [(entry.name, entry.reason) for entry in self._catalogue.entries(FAILED)]

    def __len__(self) -> int:
        return self._catalogue.count(DESCRIBED)

    def __contains__(self, name: str) -> bool:
        return any(entry.state == DESCRIBED for entry in self._catalogue.find([name]))

    def __repr__(self) -> str:
        place = "" if self.path is None else f" in {self.path}"
        return f"RetrievalIndex({len(self)} photos{place})"

    def _repr_html_(self) -> str:
        """In notebooks: what the index holds."""
        return html_table(self.info().items(), title=repr(self))

    # -- adding and removing ------------------------------------------------------------------

    def add(
        self, photos: Sequence[Item], verbose: bool = False, *, shard_size: int | None = None
    ) -> IndexReport:
        """Describe photos and add them. One that cannot be used stops no other.

        Parameters
        ----------
        photos : sequence of photos
            Of a `Query`, what its box shows is added. A photo whose name is in the index already
            replaces the one there; of several in one call that have one name, the first is added
            and the others are reported.
        verbose : bool, default=False
            Whether to show a progress bar.
        shard_size : int, optional
            As for `describe_collection`: so many photos at a time are described by the workers of
            joblib's active backend.

        Returns
        -------
        IndexReport
            Which were added, and why others were not.
        """
        return self._add(check_photos(photos, self), verbose, shard_size)

    def update(
        self,
        folders: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        again: bool = False,
        verbose: bool = False,
        shard_size: int | None = None,
    ) -> UpdateReport:
        """Make the index true to what is in folders: new, changed, moved and removed photos.

        A file whose size and time are those of the last time is not read.

        Parameters
        ----------
        folders : path, or sequence of paths
            Searched with their sub-folders. Photos of the index that are elsewhere stay as they
            are.
        again : bool, default=False
            Whether to try photos again that could not be used, and have not changed.
        verbose : bool, default=False
            Whether to show a progress bar.
        shard_size : int, optional
            As for `add`.

        Returns
        -------
        UpdateReport

        Raises
        ------
        PhotoError
            If one of them is no folder, or has lost all its photos at once, as one does whose disk
            is not mounted; nothing is then changed.
        """
        started = time.perf_counter()
        photos = FolderPhotos(self._catalogue, folders)
        stale = photos.stale(again)
        n_described = self._add(stale, verbose, shard_size).n_described if stale else 0
        report = photos.report(n_described)
        if photos.gone:
            self._begin_to_write()
            self._catalogue.remove([entry.name for entry in photos.gone])
            self._let_go()
        report.seconds = time.perf_counter() - started
        return report

    def keep_features(self, extractor: Any, verbose: bool = False) -> list[tuple[str, str]]:
        """Find local features of all photos and keep them, also of those that are added later.

        Photos whose features are kept already are not looked at, so a run that was stopped goes
        on.

        Parameters
        ----------
        extractor : LearnedFeatureExtractor
        verbose : bool, default=False
            Whether to show a progress bar.

        Returns
        -------
        list of (name, reason)
            Photos that could not be looked at.
        """
        self._begin_to_write()
        (extractor,) = extractors_of(self._retriever, [extractor])
        kind, failed = extractor.kind, list[tuple[str, str]]()
        if self.path is not None:
            save_pipeline(extractor, self.path / f"{kind}.safetensors")
        if kind not in self._kinds:
            extractors = [*self.extractors, extractor]
            if self.path is not None:
                about = self._catalogue.about
                self._catalogue.about = {**about, "features": [*self._kinds, kind]}
            self._extractors = extractors
        known = set(self._details.ids(kind))
        missing = {e.id: e.name for e in self._catalogue.entries(DESCRIBED) if e.id not in known}
        photos = self._photos
        with show_progress(None, len(missing), "finding features", verbose) as bar:
            for rows in row_blocks(len(missing), self.batch_size):
                some = dict(list(missing.items())[rows])
                found, reasons = find_features(extractor, photos, list(some))
                self._details.put(kind, found)
                failed += [(some[id_], reason) for id_, reason in reasons.items()]
                bar.update(len(some))
        return failed

    def remove(self, names: Iterable[str]) -> None:
        """Take photos out.

        Parameters
        ----------
        names : iterable of str

        Raises
        ------
        KeyError
            If a photo is not in the index; nothing is then removed.
        """
        names = set(names)
        absent = sorted(name for name in names if not self._catalogue.find([name]))
        if absent:
            raise KeyError(f"{len(absent)} photos are not in the index, such as {absent[0]!r}")
        self._begin_to_write()
        self._catalogue.remove(names)
        for name in names:
            self._items.pop(name, None)
        self._let_go()

    def _add(
        self, photos: Sequence[Item], verbose: bool, shard_size: int | None = None
    ) -> IndexReport:
        retriever = self._retriever
        self._begin_to_write()
        notes = Notes(self._catalogue, photos)
        found = describe_into(
            retriever.pipeline_,
            photos,
            self._open_engine,
            notes,
            regions=self._keeps_regions,
            keep=self._keep,
            extractors=self.extractors,
            shard_size=shard_size,
            batch_size=self.batch_size,
            verbose=verbose,
        )
        if self.path is None:
            self._items.update(notes.items)
        self._let_go()
        return IndexReport(list(notes.items), notes.failed, found.n_described)

    def _let_go(self) -> None:
        """The engine forgets what no name stands for any more."""
        gone = self._catalogue.unused()
        if gone and self._engine is not None:
            self._engine.delete(gone)
        if gone:
            self._details.delete(gone)
        self._catalogue.settle()

    def _keep(self, vectors: dict[str, RegionVectors], contents: Contents) -> None:
        """Keep where in their photos region vectors are from, and what extractors found."""
        regions = {id_: pack_regions(found.regions) for id_, found in vectors.items()}
        for kind, found in {_REGIONS: regions, **contents}.items():
            if found:
                self._details.put(kind, found)

    # -- searching ----------------------------------------------------------------------------

    def search(
        self,
        query: Item,
        n_results: int = 10,
        *,
        below: str | os.PathLike[str] | None = None,
        n_explained: int = 100,
    ) -> SearchResults:
        """The photos most like the query, best first.

        Parameters
        ----------
        query : Query, Photo, or anything that `Photo` takes
            A `Query` asks for what its box shows, a photo for all of it.
        n_results : int, default=10
            1 at least.
        below : path, optional
            Only photos in this folder and its sub-folders are found.
        n_explained : int, default=100
            So many of the first results say which of their regions and local features answer
            those of the query, where a step has compared these.

        Returns
        -------
        SearchResults
            A list of SearchResult, which notebooks show with pictures.

        Raises
        ------
        ValueError
            If the index holds no photos, or `n_results` is below 1.

        Warns
        -----
        UserWarning
            If a step looks at photos again and one is not there any more, or the local features
            that are kept of one are damaged: it keeps its rank, and is named once. If its vectors
            are damaged: it is not found.
        """
        if n_results < 1:
            raise ValueError(f"n_results is at least 1, got {n_results}")
        if self._engine is None or not len(self._engine):
            where = "" if self.path is None else f"{self.path}: "
            raise ValueError(f"{where}the index holds no photos; add some first")
        return SearchResults(self._searcher().search(query, n_results, below, n_explained))

    def features(self, name: str, extractor: Any = None) -> LocalFeatures | None:
        """The local features that are kept of a photo.

        Parameters
        ----------
        name : str
            A photo of the index.
        extractor : LearnedFeatureExtractor, optional
            What has found them. Default: the first of `extractors`.

        Returns
        -------
        LocalFeatures or None
            None if none are kept.
        """
        (id_,) = self._catalogue.ids([name])
        if extractor is None and self.extractors:
            extractor = self.extractors[0]
        return self._details.features(id_, extractor, name)

    def compare(self, query: Item, names: Sequence[str]) -> list[SpatialMatch | None]:
        """How the local features of a query lie in photos of the index.

        They are compared as by the step that verifies; if there is none, carefully, by
        `verifier_of` the features that are kept.

        Parameters
        ----------
        query : Query, Photo, or anything that `Photo` takes
        names : sequence of str
            Photos of the index.

        Returns
        -------
        list of SpatialMatch or None
            None of photos whose features are not kept, and which are not there any more, and of
            those whose features are damaged.

        Raises
        ------
        ValueError
            If no step verifies, and no features are kept.
        """
        if self._retriever.verifier is None and not self.extractors:
            raise ValueError(
                "the index keeps no local features; make it with a Retriever that has a "
                "SpatialVerification step, or let keep_features find them"
            )
        verifier = self._retriever.verifier or verifier_of(self.extractors, careful=True)
        return self._searcher().spatial_matches(query, names, verifier)

    def match(self, query: Item, name: str) -> RegionMatch:
        """Which regions of a photo of the index answer those of a query.

        Parameters
        ----------
        query : Query, Photo, or anything that `Photo` takes
        name : str
            A photo of the index.

        Returns
        -------
        RegionMatch

        Raises
        ------
        ValueError
            If the index was not made for region matching.
        """
        if self._engine is None or not self._engine.stamp.regions:
            raise ValueError(
                "the index keeps no region vectors; build it with a Retriever that has a "
                "RegionMatching step"
            )
        (described,) = self._retriever.describe_queries([query], {"regions"})
        (found,) = self._searcher().region_matches(described, [name])
        if found is None:
            with damage_named(self.path):
                raise KeyError("no regions are kept")
        return found

    def regions(self, name: str) -> tuple[Regions, ...]:
        """Where in a photo its region vectors are from, to be drawn.

        Parameters
        ----------
        name : str
            A photo of the index.

        Returns
        -------
        tuple of Regions
            Of each of the photo's maps; in their order, the regions of `match`. Empty if that is
            not kept.
        """
        found = self._catalogue.find([name])
        content = None
        if found:
            content = self._details.get(_REGIONS, found[0].id)
        if content is None:
            return ()
        try:
            return unpack_regions(content)
        except (ValueError, zlib.error) as error:
            raise DamageError(
                f"{self.path}: the regions of {name} are damaged ({error})"
            ) from error

    # -- care ---------------------------------------------------------------------------------

    def check(self, repair: bool = False, verbose: bool = False) -> list[str]:
        """Read everything that is kept, and say what is damaged.

        Parameters
        ----------
        repair : bool, default=False
            Whether to take damaged photos out, so that the next `update` describes them again.
        verbose : bool, default=False
            Whether to show progress.

        Returns
        -------
        list of str
            A sentence for each file or photo.
        """
        wrong = [] if self.path is None else damaged_files(self.path, self._kinds)
        try:
            wrong += self._catalogue.check()
        except DamageError as error:
            wrong.append(str(error))
        damaged = self._details.damaged()
        wrong += [text for _, text in damaged]
        if isinstance(self._engine, FlatEngine):
            wrong += [text for text in self._engine.check(verbose) if text not in wrong]
        if repair and self._engine is not None:
            self._begin_to_write()
            gone = [id_ for id_, _ in damaged]
            if isinstance(self._engine, FlatEngine):
                gone += self._engine.forget_damaged()
            # Of what is kept of a photo, all is found again together.
            self._engine.delete(gone)
            self._details.delete(gone)
            self._catalogue.distrust(gone)
        return wrong

    def compact(self, verbose: bool = False) -> int:
        """Give the room of removed photos back to the file system.

        Parameters
        ----------
        verbose : bool, default=False
            Whether to show progress.

        Returns
        -------
        int
            Bytes that became free.
        """
        self._begin_to_write()
        if self._engine is None:
            return 0
        for ids, _ in self._engine.scan():
            named = self._catalogue.of_ids(ids)
            unnamed = [id_ for id_ in ids if id_ not in named]
            self._engine.delete(unnamed)
            self._details.delete(unnamed)
        freed = self._details.compact()
        if isinstance(self._engine, FlatEngine):
            freed += self._engine.compact(verbose)
        return freed

    # -- inside -------------------------------------------------------------------------------

    @property
    def _retriever(self) -> Retriever:
        return retrieving(self.pipeline)

    @property
    def _photos(self) -> IndexedPhotos:
        """The photos as steps see them."""
        engine = cast(Engine, self._engine)  # before the first photo nobody asks it
        return IndexedPhotos(self._catalogue, engine, self._items, self._details)

    def _searcher(self) -> Searcher:
        """Who searches the photos as they are now."""
        if self._asked is None:
            self._asked = Searcher(self._retriever, self._photos, self.path)
        return self._asked

    @property
    def _keeps_regions(self) -> bool:
        if self.path is None:
            return "regions" in self._retriever.needs
        return self._catalogue.about["regions"]

    def _begin_to_write(self) -> None:
        """Wait for the right to write, before anything is changed."""
        self._asked = None
        if self._writer is not None:
            if self._catalogue.database.read_only:
                raise InUseError(f"{self.path}: was opened to be read only")
            self._writer.acquire()
        self._let_go()

    def _stamp(self, dimension: int) -> Stamp:
        pipeline = fingerprint(Corridor(self._retriever.pipeline_).pipeline)
        return Stamp(pipeline, dimension, self._keeps_regions)

    def _open_engine(self, stamp: Stamp) -> Engine:
        if self._engine is None:
            if self.path is None:
                self._attach(find_engine(self._retriever.engine)(stamp, None))
            else:
                self._attach(self._opened(stamp))
        assert self._engine is not None
        return self._engine

    def _opened(self, stamp: Stamp | None = None) -> Engine:
        """The engine that keeps the vectors of an index in a folder."""
        assert self.path is not None
        assert self._writer is not None
        read_only, timeout = self._catalogue.database.read_only, self._writer.timeout
        store = self._catalogue.about["store"]
        if store:
            store = seen_within(store, self.path)
            return open_store(store, stamp, read_only=read_only, timeout=timeout)
        return FlatEngine(self.path, stamp, read_only=read_only, writer=self._writer)

    def _attach(self, engine: Engine) -> None:
        self._engine = engine
        if isinstance(engine, FlatEngine):
            engine.name_of = self._name_of

    def _name_of(self, id_: str) -> str:
        found = self._catalogue.of_ids([id_]).get(id_)
        return found[0].name if found else f"photo {id_[:12]}"

    def __reduce__(self) -> tuple[Any, ...]:
        if self.path is not None:
            return RetrievalIndex.open, (self.path.resolve(),)
        state = (self._engine, list(self._catalogue.entries()), self._items, self._details)
        return _restored, (self.pipeline, self.batch_size, *state, self.extractors)


def _restored(
    pipeline: Any,
    batch_size: int,
    engine: Engine | None,
    entries: list[CatalogueEntry],
    items: dict[str, Item],
    details: DetailsInMemory,
    extractors: list[Any],
) -> RetrievalIndex:
    """An index in memory as it was pickled."""
    index = RetrievalIndex(pipeline, batch_size, extractors)
    index._engine, index._items, index._details = engine, items, details
    index._catalogue.note(entries)
    return index
