"""Before any ranking: each photo's descriptor enriched with those of its neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from sklearn_cmac._scikit_learn import HasMethods
from sklearn_cmac.collection import Engine, ExactEngine, Stamp
from sklearn_cmac.collection._scores import row_blocks, top_rows
from sklearn_cmac.fingerprints import fingerprint
from sklearn_cmac.reranking._expansion import NEIGHBORS, weighted_mean
from sklearn_cmac.reranking._verification import KeptPhotos, SpatialVerification

_PHOTOS = 64  # whose local features are in memory at once


class DatabaseAugmentation(BaseEstimator):
    """Replace each photo by the mean of it and its neighbours, before anything is ranked.

    It is no step behind the first ranking, but a change of what is ranked: given to
    ``Retriever(augmentation=...)``, it comes before all steps, and what these work out of the
    collection they work out of the augmented one. It compares all photos with all others, so its
    time grows with the square of their number; no table of all pairs is held.

    Parameters
    ----------
    n_neighbors : int, default=10
        Photos that are added to each.
    alpha : float, default=0
        Weight of neighbours, see `expand_queries`.
    verifier : SpatialVerification, optional
        Compares each photo with these neighbours, and only those verified are added to it. That
        takes milliseconds a pair with stored or kept features, and each pair is compared once, but
        on every start anew. Its `n_jobs` and `verbose` count.

    References
    ----------
    R. Arandjelović, A. Zisserman, "Three Things Everyone Should Know to Improve Object
    Retrieval", CVPR 2012.

    Examples
    --------
    >>> from sklearn_cmac.search import DatabaseAugmentation
    >>> DatabaseAugmentation(n_neighbors=5).n_neighbors
    5
    """

    _parameter_constraints: dict = {
        **NEIGHBORS,
        "verifier": [HasMethods("probabilities_among"), None],
    }

    def __init__(
        self,
        n_neighbors: int = 10,
        alpha: float = 0.0,
        verifier: SpatialVerification | None = None,
    ):
        self.n_neighbors = n_neighbors
        self.alpha = alpha
        self.verifier = verifier

    def augment(self, engine: Engine, photos: KeptPhotos | None = None) -> Any:
        """An engine with the same ids and regions, and augmented descriptors in memory.

        Parameters
        ----------
        engine : Engine
        photos : Collection, optional
            What a verifier looks at.

        Returns
        -------
        Engine
        """
        self._validate_params()
        augmented = _Augmented(engine, fingerprint(engine.stamp.pipeline, self))
        links = None if self.verifier is None else _Links(self.verifier, photos)
        for ids, descriptors in engine.scan():
            means = np.empty_like(descriptors)
            near = [
                _without(own, found, scores, self.n_neighbors)
                for own, found, scores in zip(
                    ids, *engine.kneighbors(descriptors, self.n_neighbors + 1)
                )
            ]
            if links is not None:
                near = links.among(ids, near)
            for i, (found, scores) in enumerate(near):
                means[i] = weighted_mean(descriptors[i], engine.get(found), scores, self.alpha)
            augmented.near.upsert(ids, means)
        return augmented


def _without(
    own: str, found: np.ndarray, scores: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    others = np.flatnonzero(found != own)[:k]
    return found[others], scores[others]


class _Links:
    """Which photos a verifier links; each pair is compared once."""

    def __init__(self, verifier: SpatialVerification, photos: KeptPhotos | None):
        if photos is None:
            raise ValueError(
                "an augmentation with a verifier needs the photos: augment(engine, photos)"
            )
        self.verifier, self.photos = verifier, photos
        self.linked: dict[tuple[str, str], bool] = {}

    def among(
        self, ids: Sequence[str], near: list[tuple[np.ndarray, np.ndarray]]
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Neighbours and their scores of each photo, of those that are linked."""
        for rows in row_blocks(len(ids), _PHOTOS):
            self._compare(ids[rows], [found for found, _ in near[rows]])
        linked = []
        for own, (found, scores) in zip(ids, near):
            kept = np.array([self.linked[_pair(own, other)] for other in found], bool)
            linked.append((found[kept], scores[kept]))
        return linked

    def _compare(self, ids: Sequence[str], near: list[np.ndarray]) -> None:
        new: list[list[str]] = []
        for own, found in zip(ids, near):
            new.append([other for other in found if _pair(own, other) not in self.linked])
            self.linked.update({_pair(own, other): False for other in new[-1]})
        compared = self.verifier.probabilities_among(ids, new, self.photos)
        for own, others, probabilities in zip(ids, new, compared):
            for other, probability in zip(others, probabilities):
                self.linked[_pair(own, other)] = bool(probability > 0)


def _pair(one: str, other: str) -> tuple[str, str]:
    return min(one, other), max(one, other)


class _Augmented:
    """Neighbours by other descriptors, in memory; regions are those of the engine before."""

    def __init__(self, before: Engine, pipeline: str):
        self.before = before
        self.near = ExactEngine(Stamp(pipeline, before.stamp.dimension))
        self.stamp = replace(self.near.stamp, regions=before.stamp.regions)

    def __len__(self) -> int:
        return len(self.near)

    def __getattr__(self, name: str) -> Any:
        if name in ("before", "near"):  # not set yet: this is a copy in the making
            raise AttributeError(name)
        return getattr(self.before if name in ("match", "get_regions") else self.near, name)


def augment_database(database: np.ndarray, n_neighbors: int = 10, alpha: float = 0.0) -> np.ndarray:
    """Database augmentation: the mean of each photo and its neighbours among the others.

    Parameters
    ----------
    database : ndarray of shape (n_photos, D)
        Descriptors of unit length.
    n_neighbors, alpha
        As for `expand_queries`.

    Returns
    -------
    ndarray of shape (n_photos, D)
        Descriptors of unit length.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac.search import augment_database
    >>> augment_database(np.eye(2), n_neighbors=1)
    array([[0.70710678, 0.70710678],
           [0.70710678, 0.70710678]])
    """
    augmented = np.empty_like(database)
    for i, photo in enumerate(database):
        likeness = database @ photo
        likeness[i] = -np.inf
        rows = top_rows(likeness, min(n_neighbors, len(database) - 1))
        rows = rows[: min(n_neighbors, len(database) - 1)]
        augmented[i] = weighted_mean(photo, database[rows], likeness[rows], alpha)
    return augmented
