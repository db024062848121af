"""Descriptors of a collection, and who is most like a query."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted

from sklearn_cmac.collection._collection import Collection, describe_collection
from sklearn_cmac.reranking._late_interaction import RegionMatch, match_regions
from sklearn_cmac.search._retriever import Retriever


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
        Photos of the collection.
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
        self._collection = Collection([], [], np.empty((0, 0), np.float32))
        self._prepared: Collection | None = None

    @property
    def names(self) -> list[str]:
        return self._collection.names

    @property
    def descriptors(self) -> np.ndarray:
        return self._collection.descriptors

    @property
    def _retriever(self) -> Retriever:
        if isinstance(self.pipeline, Retriever):
            return self.pipeline
        return Retriever(FrozenEstimator(self.pipeline)).fit([])

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"RetrievalIndex({len(self)} photos)"

    def add(self, photos: Sequence[Any], verbose: bool = False) -> IndexReport:
        """Describe photos and add them. One that cannot be used stops no other.

        Parameters
        ----------
        photos : sequence of photos
            A photo whose name is in the index already replaces the one there.
        verbose : bool, default=False
            Whether to show a progress bar.

        Returns
        -------
        IndexReport
            Which were added, and why others were not.
        """
        retriever = self._retriever
        needs = retriever.needs
        described = describe_collection(
            retriever.pipeline_,
            photos,
            regions="regions" in needs,
            batch_size=self.batch_size,
            verbose=verbose,
        )
        failed = [(described.names[i], reason) for i, reason in sorted(described.failed.items())]
        # Of photos with one name, the last counts.
        rows = {described.names[i]: i for i in described.usable.tolist()}
        if rows:
            if not needs & {"maps", "photos"}:
                described = replace(described, photos=described.names)
            added = described.take(list(rows.values()))
            self.remove(set(rows) & set(self.names))
            self._collection = self._collection.followed_by(added) if len(self) else added
            self._prepared = None
        return IndexReport(list(rows), failed)

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
        absent = names - set(self.names)
        if absent:
            raise KeyError(f"{len(absent)} photos are not in the index, such as {min(absent)!r}")
        if names:
            keep = [i for i, name in enumerate(self.names) if name not in names]
            self._collection = self._collection.take(keep)
            self._prepared = None

    def search(self, query: Any, n_results: int = 10) -> list[SearchResult]:
        """The photos most like the query, best first.

        Parameters
        ----------
        query : Query, Photo, or anything that `Photo` takes
            A `Query` asks for what its box shows, a photo for all of it.
        n_results : int, default=10

        Returns
        -------
        list of SearchResult
        """
        if not len(self):
            raise ValueError("the index holds no photos; add some first")
        retriever = self._retriever
        if self._prepared is None:
            self._prepared = retriever.prepare(self._collection)
        (ranked,) = retriever.rank_prepared([query], self._prepared)
        best = zip(ranked.order[:n_results].tolist(), ranked.scores[:n_results].tolist())
        return [SearchResult(self.names[i], score) for i, score in best]

    def match(self, query: Any, name: str) -> RegionMatch:
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
        if self._collection.regions is None:
            raise ValueError(
                "the index keeps no region vectors; build it with a Retriever that has a "
                "RegionMatching step"
            )
        (described,) = self._retriever.describe_queries([query])
        assert described.regions is not None
        return match_regions(described.regions, self._collection.regions[self.names.index(name)])

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
        """
        index = joblib.load(path, mmap_mode="r" if memory_map else None)
        if not isinstance(index, RetrievalIndex):
            raise ValueError(f"{path}: holds a {type(index).__name__}, not a RetrievalIndex")
        return index

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_prepared": None}
