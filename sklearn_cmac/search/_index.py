"""Descriptors of a collection, and who is most like a query."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import joblib
import numpy as np
from sklearn.utils.validation import check_is_fitted
from tqdm.auto import tqdm

from sklearn_cmac.extraction import photo_names
from sklearn_cmac.photos import PhotoError


class SearchResult(NamedTuple):
    """A photo of the collection, and its similarity to the query (1 is the same)."""

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
    pipeline : fitted Pipeline
        Photos in, one descriptor of unit length each out.
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
        self.names: list[str] = []
        self.descriptors = np.empty((0, 0), np.float32)

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
        report = IndexReport()
        descriptors: list[np.ndarray] = []
        starts = range(0, len(photos), self.batch_size)
        with tqdm(total=len(photos), desc="indexing", unit="photo", disable=not verbose) as bar:
            for start in starts:
                batch = list(photos[start : start + self.batch_size])
                self._describe_batch(batch, report, descriptors)
                bar.update(len(batch))
        # Of photos with one name, the last counts.
        rows = dict(zip(report.added, (row for batch in descriptors for row in batch)))
        if rows:
            self.remove(set(rows) & set(self.names))
            added = np.stack(list(rows.values()))
            kept = self.descriptors if len(self) else added[:0]
            self.names += list(rows)
            self.descriptors = np.concatenate([kept, added])
        report.added = list(rows)
        return report

    def _describe_batch(
        self, batch: list[Any], report: IndexReport, descriptors: list[np.ndarray]
    ) -> None:
        try:
            descriptors.append(self.pipeline.transform(batch))
        except PhotoError as error:
            # The extractor names all that fail; an error of a later step may be any photo's.
            bad = {i for i, _, _ in error.failures}
            if not bad and len(batch) == 1:
                report.failed.append((photo_names(batch)[0], str(error)))
                return
            report.failed += [(name, reason) for _, name, reason in error.failures]
            good = [photo for i, photo in enumerate(batch) if i not in bad]
            for part in [good] if bad else [[photo] for photo in good]:
                if part:
                    self._describe_batch(part, report, descriptors)
        else:
            report.added += photo_names(batch)

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
        keep = [i for i, name in enumerate(self.names) if name not in names]
        self.names = [self.names[i] for i in keep]
        self.descriptors = self.descriptors[keep]

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
        scores = self.descriptors @ np.asarray(self.pipeline.transform([query]))[0]
        best = np.argsort(-scores, kind="stable")[:n_results]
        return [SearchResult(self.names[i], float(scores[i])) for i in best]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write index and pipeline to a file.

        Parameters
        ----------
        path : path
        """
        joblib.dump(self, path)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> RetrievalIndex:
        """Read an index that `save` wrote. Like every pickle, only one that you trust.

        Parameters
        ----------
        path : path

        Returns
        -------
        RetrievalIndex
        """
        index = joblib.load(path)
        if not isinstance(index, RetrievalIndex):
            raise ValueError(f"{path}: holds a {type(index).__name__}, not a RetrievalIndex")
        return index
