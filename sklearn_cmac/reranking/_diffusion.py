"""Rankings by a random walk on a sparse graph of the collection. Queries are not in it."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import cg

from sklearn_cmac._scikit_learn import Interval
from sklearn_cmac.collection import Collection
from sklearn_cmac.reranking._graph import neighbors_of_all
from sklearn_cmac.reranking._step import DescribedQuery, RankedList, RerankingStep


def diffusion_matrix(
    neighbors: np.ndarray, values: np.ndarray, exponent: float = 3.0
) -> sparse.csr_array:
    """Symmetrically normalised affinities of mutual neighbours.

    Parameters
    ----------
    neighbors : ndarray of int of shape (n, k)
    values : ndarray of shape (n, k)
        Dot products with them; affinity is their power, and negative ones are 0.
    exponent : float

    Returns
    -------
    csr_array of shape (n, n)
        ``D^-1/2 A D^-1/2``; rows without a mutual neighbour are empty.
    """
    n, k = neighbors.shape
    affinity = np.clip(values.astype(np.float64), 0, None) ** exponent
    graph = sparse.csr_array(
        (affinity.ravel(), neighbors.ravel(), np.arange(0, n * k + 1, k)), shape=(n, n)
    )
    mutual = graph.minimum(graph.T).tocsr()
    mutual.eliminate_zeros()
    degree = mutual.sum(axis=1)
    scale = sparse.diags_array(np.divide(1, np.sqrt(degree), np.zeros(n), where=degree > 0))
    return (scale @ mutual @ scale).tocsr()


def diffuse(graph: sparse.csr_array, seeds: np.ndarray, alpha: float = 0.99) -> np.ndarray:
    """The state in which a random walk from seeds comes to rest.

    Parameters
    ----------
    graph : csr_array of shape (n, n)
        As `diffusion_matrix` returns it.
    seeds : ndarray of shape (n,)
        Where the walk starts.
    alpha : float
        Chance to go on at each step.

    Returns
    -------
    ndarray of shape (n,)
        The solution of ``(I - alpha S) f = seeds``.
    """
    system = sparse.eye_array(graph.shape[0], format="csr") - alpha * graph
    return cg(system, seeds, rtol=1e-6, maxiter=1000)[0]


class Diffusion(RerankingStep):
    """Rank by a random walk over neighbours, started from the photos found first.

    Photos that the walk does not reach keep their order behind those that it does.

    Parameters
    ----------
    n_neighbors : int, default=50
        Neighbours of each photo in the graph.
    n_seeds : int, default=10
        Photos found first, in which the walk starts.
    exponent : float, default=3
        Affinity is the similarity to this power.
    alpha : float, default=0.99
        Chance that the walk goes on.

    References
    ----------
    A. Iscen et al., "Efficient Diffusion on Region Manifolds: Recovering Small Objects with
    Compact CNN Representations", CVPR 2017.

    Examples
    --------
    >>> from sklearn_cmac.search import Diffusion
    >>> Diffusion(n_seeds=5)
    Diffusion(n_seeds=5)
    """

    _parameter_constraints: dict = {
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "n_seeds": [Interval(Integral, 1, None, closed="left")],
        "exponent": [Interval(Real, 0, None, closed="neither")],
        "alpha": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(
        self, n_neighbors: int = 50, n_seeds: int = 10, exponent: float = 3.0, alpha: float = 0.99
    ):
        self.n_neighbors = n_neighbors
        self.n_seeds = n_seeds
        self.exponent = exponent
        self.alpha = alpha

    @property
    def depth(self) -> int | None:
        """As for every step."""
        return self.n_seeds

    def prepare(self, collection: Collection, pipeline: Any) -> Any:
        """The graph of the collection's photos, and their ids in its order."""
        ids, neighbors, values = neighbors_of_all(collection.engine, self.n_neighbors)
        return ids, diffusion_matrix(neighbors, values, self.exponent)

    def rerank(
        self,
        queries: Sequence[DescribedQuery],
        rankings: Sequence[RankedList],
        collection: Collection,
        prepared: Any,
    ) -> list[RankedList]:
        """As for every step."""
        ids, graph = prepared
        row_of = {id_: row for row, id_ in enumerate(ids)}
        results = []
        for query, ranked in zip(queries, rankings):
            first = ranked.ids[: self.n_seeds]
            likeness = collection.engine.get(first) @ ranked.query
            seeds = np.zeros(len(ids))
            seeds[[row_of[id_] for id_ in first]] = np.clip(likeness, 0, None) ** self.exponent
            state = diffuse(graph, seeds, self.alpha)
            reached = ids[np.flatnonzero(state > 0)]
            wider = ranked.joined_by(reached[reached != query.exclude])
            scores = state[[row_of[id_] for id_ in wider.ids]]
            results.append(wider.resorted(scores).first(len(ranked)))
        return results
