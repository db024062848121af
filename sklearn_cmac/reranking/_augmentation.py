"""Before any ranking: each photo's descriptor enriched with those of its neighbours."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from sklearn_cmac.collection import Engine, ExactEngine, Stamp
from sklearn_cmac.collection._scores import top_rows
from sklearn_cmac.fingerprints import fingerprint
from sklearn_cmac.reranking._expansion import NEIGHBORS, weighted_mean


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

    _parameter_constraints: dict = NEIGHBORS

    def __init__(self, n_neighbors: int = 10, alpha: float = 0.0):
        self.n_neighbors = n_neighbors
        self.alpha = alpha

    def augment(self, engine: Engine) -> Any:
        """An engine with the same ids and regions, and augmented descriptors in memory.

        Parameters
        ----------
        engine : Engine

        Returns
        -------
        Engine
        """
        self._validate_params()
        augmented = _Augmented(engine, fingerprint(engine.stamp.pipeline, self))
        for ids, descriptors in engine.scan():
            means = np.empty_like(descriptors)
            hits = zip(*engine.kneighbors(descriptors, self.n_neighbors + 1))
            for i, (own, (found, scores)) in enumerate(zip(ids, hits)):
                others = np.flatnonzero(found != own)[: self.n_neighbors]
                neighbors = engine.get(found[others])
                means[i] = weighted_mean(descriptors[i], neighbors, scores[others], self.alpha)
            augmented.near.upsert(ids, means)
        return augmented


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
