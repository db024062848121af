"""Rankings by neighbours of neighbours, on a sparse graph of the collection.

The graph holds k neighbours of each photo, never all pairs. Queries are not in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import cg
from sklearn.preprocessing import normalize
from sklearn.utils._param_validation import Interval

from sklearn_cmac.collection._collection import Collection
from sklearn_cmac.collection._neighbors import nearest_neighbors, row_blocks, similarities
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

    def prepare(self, collection: Collection) -> Collection:
        """As for every step."""
        neighbors, values = _neighbors_of_usable(collection, self.n_neighbors)
        graph = diffusion_matrix(neighbors, values, self.exponent)
        return replace(collection, graph={**collection.graph, "diffusion": graph})

    def rerank(
        self,
        queries: Sequence[DescribedQuery],
        rankings: Sequence[RankedList],
        collection: Collection,
        pipeline: Any,
    ) -> list[RankedList]:
        """As for every step."""
        results = []
        for ranked in rankings:
            first = ranked.order[: self.n_seeds]
            likeness = collection.descriptors[first] @ ranked.query
            seeds = np.zeros(len(collection))
            seeds[first] = np.clip(likeness, 0, None) ** self.exponent
            state = diffuse(collection.graph["diffusion"], seeds, self.alpha)
            results.append(ranked.resorted(state[ranked.order]))
        return results


def _neighbors_of_usable(collection: Collection, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours of each photo. Those that failed have themselves, with similarity 0."""
    usable = collection.usable
    found, likeness = nearest_neighbors(
        collection.descriptors[usable], collection.descriptors[usable], k, own=True
    )
    neighbors = np.repeat(np.arange(len(collection))[:, None], found.shape[1], axis=1)
    values = np.zeros(neighbors.shape, likeness.dtype)
    neighbors[usable], values[usable] = usable[found], likeness
    return neighbors, values


class NeighborEncoding(NamedTuple):
    """What k-reciprocal reranking knows of a collection of n photos.

    Parameters
    ----------
    limits : ndarray of shape (n,)
        The similarity that a query must have to be among a photo's nearest neighbours.
    close : csr_array of bool of shape (n, n)
        Mutual neighbours among half as many, each photo its own too.
    rows : csr_array of shape (n, n)
        Weights of each photo's reciprocal neighbours; rows sum up to 1.
    averaged : csc_array of shape (n, n)
        Means of the rows of each photo's nearest ones.
    """

    limits: np.ndarray
    close: sparse.csr_array
    rows: sparse.csr_array
    averaged: sparse.csc_array


def encode_neighbors(
    descriptors: np.ndarray, neighbors: np.ndarray, values: np.ndarray, n_averaged: int = 6
) -> NeighborEncoding:
    """The encoding of a collection.

    Parameters
    ----------
    descriptors : ndarray of shape (n, D)
        Of unit length.
    neighbors : ndarray of int of shape (n, k)
        Nearest first, none its own.
    values : ndarray of shape (n, k)
        Dot products with them.
    n_averaged : int
        Rows averaged, that of the photo included.

    Returns
    -------
    NeighborEncoding
    """
    n, k = neighbors.shape
    near = np.concatenate([np.arange(n)[:, None], neighbors], axis=1)
    mutual, close = _mutual(near), _mutual(near[:, : max(1, round(k / 2)) + 1])
    rows = _weighted(_with_neighborhoods(mutual, close), descriptors, descriptors)
    average = _indicator(near[:, :n_averaged], n).astype(float)
    averaged = normalize(average, norm="l1") @ rows
    return NeighborEncoding(values[:, -1], close, rows, sparse.csc_array(averaged))


def reciprocal_overlap(
    query: np.ndarray,
    order: np.ndarray,
    descriptors: np.ndarray,
    encoding: NeighborEncoding,
    n_neighbors: int = 20,
    n_averaged: int = 6,
) -> np.ndarray:
    """Jaccard overlap of a query's reciprocal neighbours with those of each photo.

    Parameters
    ----------
    query : ndarray of shape (D,)
    order : ndarray of int
        Photos, most similar first.
    descriptors : ndarray of shape (n, D)
    encoding : NeighborEncoding
    n_neighbors, n_averaged : int
        As for the collection.

    Returns
    -------
    ndarray of shape (n,)
        In [0, 1].
    """
    n = len(descriptors)
    nearest = order[:n_neighbors]
    mutual = nearest[descriptors[nearest] @ query >= encoding.limits[nearest]]
    row = _with_neighborhoods(_indicator(mutual[None], n), encoding.close)
    rows = [_weighted(row, query[None], descriptors), encoding.rows[order[: n_averaged - 1]]]
    mine = sparse.vstack(rows).mean(axis=0)
    members = np.flatnonzero(mine)
    theirs = encoding.averaged[:, members].tocoo()
    shared = np.bincount(theirs.row, np.minimum(theirs.data, mine[members][theirs.col]), n)
    return shared / (2 - shared)


def _indicator(members: np.ndarray, n: int) -> sparse.csr_array:
    """Row i has ones in the columns members[i]."""
    starts = np.arange(len(members) + 1) * members.shape[1]
    ones = np.ones(members.size, bool)
    return sparse.csr_array((ones, members.ravel(), starts), shape=(len(members), n))


def _mutual(near: np.ndarray) -> sparse.csr_array:
    graph = _indicator(near, len(near))
    return graph.multiply(graph.T).tocsr()


def _with_neighborhoods(mutual: sparse.csr_array, close: sparse.csr_array) -> sparse.csr_array:
    """Mutual neighbours, and close ones of those whose close ones are mostly among them."""
    shared = (mutual.astype(int) @ close.T.astype(int)).multiply(mutual).tocoo()
    agrees = shared.data > 2 / 3 * close.sum(axis=1)[shared.col]
    accepted = sparse.csr_array(
        (np.ones(agrees.sum(), int), (shared.row[agrees], shared.col[agrees])), shape=mutual.shape
    )
    return ((mutual.astype(int) + accepted @ close.astype(int)) > 0).tocsr()


def _weighted(
    members: sparse.csr_array, queries: np.ndarray, descriptors: np.ndarray
) -> sparse.csr_array:
    """Members weighted by ``exp(-squared distance)``, each row with sum 1."""
    pairs = members.tocoo()
    weights = np.empty(pairs.nnz)
    for part in row_blocks(pairs.nnz):
        likeness = np.einsum(
            "ij,ij->i", queries[pairs.row[part]], descriptors[pairs.col[part]], dtype=np.float64
        )
        weights[part] = np.exp(2 * likeness - 2)
    found = sparse.csr_array((weights, (pairs.row, pairs.col)), shape=members.shape)
    return normalize(found, norm="l1")


class ReciprocalNeighbors(RerankingStep):
    """k-reciprocal reranking: photos are alike that have the same mutual neighbours.

    Parameters
    ----------
    n_neighbors : int, default=20
        k1: photos are reciprocal neighbours if each is among so many nearest of the other.
    n_averaged : int, default=6
        k2: a photo's neighbours are averaged with those of so many nearest, itself included.
    similarity_weight : float, default=0.3
        Share of the plain similarity in the score; the rest is the overlap of neighbours.

    References
    ----------
    Z. Zhong et al., "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017.

    Examples
    --------
    >>> from sklearn_cmac.search import ReciprocalNeighbors
    >>> ReciprocalNeighbors(n_neighbors=10)
    ReciprocalNeighbors(n_neighbors=10)
    """

    _parameter_constraints: dict = {
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "n_averaged": [Interval(Integral, 1, None, closed="left")],
        "similarity_weight": [Interval(Real, 0, 1, closed="both")],
    }

    def __init__(self, n_neighbors: int = 20, n_averaged: int = 6, similarity_weight: float = 0.3):
        self.n_neighbors = n_neighbors
        self.n_averaged = n_averaged
        self.similarity_weight = similarity_weight

    def prepare(self, collection: Collection) -> Collection:
        """As for every step."""
        neighbors, values = _neighbors_of_usable(collection, self.n_neighbors)
        encoding = encode_neighbors(collection.descriptors, neighbors, values, self.n_averaged)
        return replace(collection, graph={**collection.graph, "reciprocal": encoding})

    def rerank(
        self,
        queries: Sequence[DescribedQuery],
        rankings: Sequence[RankedList],
        collection: Collection,
        pipeline: Any,
    ) -> list[RankedList]:
        """As for every step."""
        found = similarities(np.stack([r.query for r in rankings]), collection.descriptors)
        results = []
        for ranked, likeness in zip(rankings, found):
            overlap = reciprocal_overlap(
                ranked.query,
                ranked.order,
                collection.descriptors,
                collection.graph["reciprocal"],
                self.n_neighbors,
                self.n_averaged,
            )
            share = self.similarity_weight
            scores = (1 - share) * overlap + share * likeness
            results.append(ranked.resorted(scores[ranked.order]))
        return results
