"""Descriptors enriched with those of their nearest neighbours, then searched with again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.preprocessing import normalize

from sklearn_cmac._scikit_learn import Interval
from sklearn_cmac.collection import Collection, Engine
from sklearn_cmac.collection._scores import top_rows
from sklearn_cmac.reranking._step import (
    DescribedQuery,
    RankedList,
    RerankingStep,
    search_again,
)

# Of expansion, of queries and of photos.
NEIGHBORS: dict = {
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

    _parameter_constraints: dict = NEIGHBORS

    def __init__(self, n_neighbors: int = 10, alpha: float = 0.0):
        self.n_neighbors = n_neighbors
        self.alpha = alpha

    @property
    def depth(self) -> int | None:
        """As for every step."""
        return self.n_neighbors

    def rerank(
        self,
        queries: Sequence[DescribedQuery],
        rankings: Sequence[RankedList],
        collection: Collection,
        prepared: Any,
    ) -> list[RankedList]:
        """As for every step."""
        engine = collection.engine
        expanded = np.stack([self._expand(ranked, engine) for ranked in rankings])
        again = search_again(engine, queries, expanded, max(map(len, rankings)))
        results = []
        for ranked, query, found in zip(rankings, expanded, again):
            if ranked.windows is None:
                results.append(replace(found.first(len(ranked)), located=ranked.located))
            else:
                scores = ranked.windows @ query
                results.append(ranked.resorted(scores, ranked.windows, query=query))
        return results

    def _expand(self, ranked: RankedList, engine: Engine) -> np.ndarray:
        if ranked.windows is None:
            nearest = engine.get(ranked.ids[: self.n_neighbors])
        else:
            nearest = ranked.windows[: self.n_neighbors]
        return weighted_mean(ranked.query, nearest, nearest @ ranked.query, self.alpha)


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
    expanded = np.empty_like(queries)
    for i, query in enumerate(queries):
        likeness = database @ query
        rows = top_rows(likeness, n_neighbors)[:n_neighbors]
        expanded[i] = weighted_mean(query, database[rows], likeness[rows], alpha)
    return expanded


def weighted_mean(
    query: np.ndarray, photos: np.ndarray, values: np.ndarray, alpha: float
) -> np.ndarray:
    """Unit vector along query (D,) + sum of photos (k, D), weighted by their values (k,)."""
    weights = np.clip(values, 0, None) ** alpha if alpha else np.ones_like(values)
    return normalize((query + weights @ photos)[None])[0]
