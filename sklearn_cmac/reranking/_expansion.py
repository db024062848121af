"""Descriptors enriched with those of their nearest neighbours, then searched with again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.preprocessing import normalize
from sklearn.utils._param_validation import Interval

from sklearn_cmac.collection._collection import Collection
from sklearn_cmac.collection._neighbors import nearest_neighbors, similarities
from sklearn_cmac.reranking._step import DescribedQuery, RankedList, RerankingStep

_CONSTRAINTS: dict = {
    "n_neighbors": [Interval(Integral, 1, None, closed="left")],
    "alpha": [Interval(Real, 0, None, closed="left")],
}


class QueryExpansion(RerankingStep):
    """Search again with the mean of the query and the photos that it found first.

    After `Localization`, the windows found stand for their photos, and these are sorted anew
    by their windows.

    Parameters
    ----------
    n_neighbors : int, default=10
        Photos that are added to the query.
    alpha : float, default=0
        Photos weigh ``(q . d) ** alpha``, see `expand_queries`.

    References
    ----------
    O. Chum et al., "Total Recall: Automatic Query Expansion with a Generative Feature Model for
    Object Retrieval", ICCV 2007. After localisation: G. Tolias, R. Sicre, H. Jégou, "Particular
    Object Retrieval with Integral Max-Pooling of CNN Activations", ICLR 2016.

    Examples
    --------
    >>> from sklearn_cmac.search import QueryExpansion
    >>> QueryExpansion(n_neighbors=5, alpha=3)
    QueryExpansion(alpha=3, n_neighbors=5)
    """

    _parameter_constraints: dict = _CONSTRAINTS

    def __init__(self, n_neighbors: int = 10, alpha: float = 0.0):
        self.n_neighbors = n_neighbors
        self.alpha = alpha

    def rerank(
        self,
        queries: Sequence[DescribedQuery],
        rankings: Sequence[RankedList],
        collection: Collection,
        pipeline: Any,
    ) -> list[RankedList]:
        """As for every step."""
        expanded = [self._expand(ranked, collection) for ranked in rankings]
        found = similarities(np.stack(expanded), collection.descriptors)
        results = []
        for ranked, query, whole in zip(rankings, expanded, found):
            windows = ranked.windows
            scores = whole[ranked.order] if windows is None else windows @ query
            results.append(ranked.resorted(scores, windows, query=query))
        return results

    def _expand(self, ranked: RankedList, collection: Collection) -> np.ndarray:
        if ranked.windows is None:
            nearest = collection.descriptors[ranked.order[: self.n_neighbors]]
        else:
            nearest = ranked.windows[: self.n_neighbors]
        return _mean(ranked.query, nearest, nearest @ ranked.query, self.alpha)


class DatabaseAugmentation(RerankingStep):
    """Before the first ranking, replace each photo by the mean of it and its neighbours.

    It compares all photos with all others, block by block: its time grows with the square of
    their number, and its memory does not.

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

    _parameter_constraints: dict = _CONSTRAINTS

    def __init__(self, n_neighbors: int = 10, alpha: float = 0.0):
        self.n_neighbors = n_neighbors
        self.alpha = alpha

    def prepare(self, collection: Collection) -> Collection:
        """As for every step."""
        usable = collection.usable
        descriptors = np.zeros(collection.descriptors.shape, collection.descriptors.dtype)
        descriptors[usable] = augment_database(
            collection.descriptors[usable], self.n_neighbors, self.alpha
        )
        return replace(collection, descriptors=descriptors)


def expand_queries(
    queries: np.ndarray, database: np.ndarray, n_neighbors: int = 10, alpha: float = 0.0
) -> np.ndarray:
    """Query expansion: the mean of a query and the photos that it finds first.

    Parameters
    ----------
    queries : ndarray of shape (n_queries, D)
        Descriptors of unit length.
    database : ndarray of shape (n_photos, D)
        Descriptors of unit length.
    n_neighbors : int, default=10
        Photos that are added to each query.
    alpha : float, default=0
        Photos weigh ``(q . d) ** alpha``: 0 is average query expansion, in which all weigh as
        much as the query. Photos whose similarity is not positive are left out if alpha is
        above 0.

    Returns
    -------
    ndarray of shape (n_queries, D)
        Descriptors of unit length.

    References
    ----------
    O. Chum et al., "Total Recall: Automatic Query Expansion with a Generative Feature Model for
    Object Retrieval", ICCV 2007. F. Radenović, G. Tolias, O. Chum, "Fine-tuning CNN Image
    Retrieval with No Human Annotation", PAMI 2018, for alpha.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac.search import expand_queries
    >>> expand_queries(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0], [-1.0, 0.0]]), 1)
    array([[0.70710678, 0.70710678]])
    """
    nearest, values = nearest_neighbors(queries, database, n_neighbors)
    return _expanded(queries, database, nearest, values, alpha)


def augment_database(database: np.ndarray, n_neighbors: int = 10, alpha: float = 0.0) -> np.ndarray:
    """The same for the photos of the database, each with its neighbours among the others.

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
    nearest, values = nearest_neighbors(database, database, n_neighbors, own=True)
    return _expanded(database, database, nearest, values, alpha)


def _expanded(
    queries: np.ndarray,
    database: np.ndarray,
    nearest: np.ndarray,
    values: np.ndarray,
    alpha: float,
) -> np.ndarray:
    expanded = np.empty_like(queries)
    for i, (query, photos, value) in enumerate(zip(queries, nearest, values)):
        expanded[i] = _mean(query, database[photos], value, alpha)
    return expanded


def _mean(query: np.ndarray, photos: np.ndarray, values: np.ndarray, alpha: float) -> np.ndarray:
    """Unit vector along query (D,) + sum of photos (k, D), weighted by their values (k,)."""
    weights = np.clip(values, 0, None) ** alpha if alpha else np.ones_like(values)
    return normalize((query + weights @ photos)[None])[0]
