"""Descriptors of a collection, and who is most like a query."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted

from sklearn_cmac._photo_step import check_photos
from sklearn_cmac.collection import ENGINES, Collection, Engine, Stamp, describe_collection
from sklearn_cmac.photos import Item, Query
from sklearn_cmac.reranking import RegionMatch, match_regions
from sklearn_cmac.search._retriever import Prepared, Retriever


class SearchResult(NamedTuple):
    """A photo of the collection, and its score.

    Without further steps, that is the dot product of descriptors, 1 for the query itself.
    """

    name: str
    score: float


@dataclass
class IndexReport:
    """What became of the photos that were to be added.

    Parameters
    ----------
    added : list of str
        Names of the photos that are now in the index.
    failed : list of (name, reason)
        Photos that could not be used.
    """

    added: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{len(self.added)} photos indexed, {len(self.failed)} could not be used"]
        return "\n  ".join(lines + [reason for _, reason in self.failed])


class RetrievalIndex:
    """A searchable collection of photos.

    Parameters
    ----------
    pipeline : fitted Pipeline or Retriever
        Photos in, one descriptor of unit length each out. The steps of a `Retriever` improve
        each search.
    batch_size : int, default=32
        Photos described at a time; this many activation maps are held in memory.

    Attributes
    ----------
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
    """

    def __init__(self, pipeline: Any, batch_size: int = 32):
        check_is_fitted(pipeline)
        self.pipeline = pipeline
        self.batch_size = batch_size
        self._engine: Engine | None = None
        self._photos: dict[str, tuple[str, Item]] = {}  # by name: id, and where to look again
        self._prepared: Prepared | None = None

    @property
    def names(self) -> list[str]:
        return list(self._photos)

    @property
    def descriptors(self) -> np.ndarray:
        if self._engine is None:
            return np.empty((0, 0), np.float32)
        return self._engine.get([id_ for id_, _ in self._photos.values()])

    @property
    def _retriever(self) -> Retriever:
        if isinstance(self.pipeline, Retriever):
            return self.pipeline
        return Retriever(FrozenEstimator(self.pipeline)).fit([])

    def __len__(self) -> int:
        return len(self._photos)

    def __repr__(self) -> str:
        return f"RetrievalIndex({len(self)} photos)"

    def add(self, photos: Sequence[Item], verbose: bool = False) -> IndexReport:
        """Describe photos and add them. One that cannot be used stops no other.

        Parameters
        ----------
        photos : sequence of photos
            Of a `Query`, what its box shows is added. A photo whose name is in the index already
            replaces the one there; of several in one call that have one name, the first is added
            and the others are reported.
        verbose : bool, default=False
            Whether to show a progress bar.

        Returns
        -------
        IndexReport
            Which were added, and why others were not.
        """
        retriever = self._retriever
        described = describe_collection(
            retriever.pipeline_,
            check_photos(photos, self),
            regions="regions" in retriever.needs,
            engine=self._open_engine,
            batch_size=self.batch_size,
            verbose=verbose,
        )
        failed = [(described.names[i], reason) for i, reason in sorted(described.failed.items())]
        new: dict[str, tuple[str, Item]] = {}
        for item, id_, name in zip(described.photos, described.ids, described.names):
            name = _name_in_index(item, name) if id_ else ""
            if name and new.setdefault(name, (id_, item))[0] != id_:
                reason = (
                    f"{name}: another photo of these has the same name; tell them apart by "
                    "Photo(..., name=...)"
                )
                failed.append((name, reason))
        self._prepared = None
        self._replace(set(new) & set(self._photos), new)
        return IndexReport(list(new), failed)

    def _open_engine(self, stamp: Stamp, folder: Path | None, n_photos: int) -> Engine:
        if self._engine is None:
            engine = self._retriever.engine
            make = ENGINES[engine] if isinstance(engine, str) else engine
            self._engine = make(stamp, folder, n_photos)
        return self._engine

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
        absent = names - set(self._photos)
        if absent:
            raise KeyError(f"{len(absent)} photos are not in the index, such as {min(absent)!r}")
        self._replace(names, {})

    def _replace(self, names: set[str], new: dict[str, tuple[str, Item]]) -> None:
        """Photos out and in; the engine forgets what no name stands for any more."""
        before = {self._photos.pop(name)[0] for name in names}
        self._photos.update(new)
        if self._engine is not None:
            self._engine.delete(sorted(before - {id_ for id_, _ in self._photos.values()}))
        self._prepared = None

    def search(self, query: Item, n_results: int = 10) -> list[SearchResult]:
        """The photos most like the query, best first.

        Parameters
        ----------
        query : Query, Photo, or anything that `Photo` takes
            A `Query` asks for what its box shows, a photo for all of it.
        n_results : int, default=10
            1 at least.

        Returns
        -------
        list of SearchResult

        Raises
        ------
        ValueError
            If the index holds no photos, or `n_results` is below 1.
        """
        if n_results < 1:
            raise ValueError(f"n_results is at least 1, got {n_results}")
        if self._engine is None or not len(self):
            raise ValueError("the index holds no photos; add some first")
        retriever = self._retriever
        if self._prepared is None:
            self._prepared = retriever.prepare(self._collection(self._engine))
        queries = retriever.describe_queries([query])
        (ranked,) = retriever.rank_prepared(queries, self._prepared, k=n_results)
        names = self.names
        best = zip(ranked.order.tolist(), ranked.scores.tolist())
        return [SearchResult(names[i], score) for i, score in best]

    def _collection(self, engine: Engine) -> Collection:
        ids, photos = [list(column) for column in zip(*self._photos.values())]
        return Collection(photos, self.names, ids, engine)

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
        (described,) = self._retriever.describe_queries([query])
        assert described.regions is not None
        photo = self._engine.get_regions([self._photos[name][0]])[0]
        return match_regions(described.regions, photo)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write index and pipeline to a file, whole or not at all.

        Parameters
        ----------
        path : path
        """
        path = Path(path)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            joblib.dump(self, part)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)

    @staticmethod
    def load(path: str | os.PathLike[str], memory_map: bool = False) -> RetrievalIndex:
        """Read an index that `save` wrote. Like every pickle, only one that you trust.

        Parameters
        ----------
        path : path
        memory_map : bool, default=False
            Whether descriptors and region vectors stay in the file until they are looked at.

        Returns
        -------
        RetrievalIndex

        Raises
        ------
        ValueError
            If the file is damaged, or holds something else.
        """
        try:
            index = joblib.load(path, mmap_mode="r" if memory_map else None)
        except OSError:
            raise
        except Exception as error:  # a damaged pickle raises whatever the damage leads to
            raise ValueError(
                f"{path}: is damaged, or not written by RetrievalIndex.save "
                f"({type(error).__name__}: {error})"
            ) from error
        if not isinstance(index, RetrievalIndex):
            raise ValueError(f"{path}: holds a {type(index).__name__}, not a RetrievalIndex")
        return index

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_prepared": None}


def _name_in_index(item: Item, name: str) -> str:
    """The photo's name; what a query's box shows has the box in it."""
    if isinstance(item, Query):
        return f"{name} ({', '.join(f'{v:g}' for v in item.box)})"
    return name
