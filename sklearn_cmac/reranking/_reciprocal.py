"""k-reciprocal reranking: photos are alike that have the same mutual neighbours.

What it knows of the collection are sparse rows of neighbours; descriptors are asked of the engine
for pairs that are neighbours, block by block. Queries are in no graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.preprocessing import normalize

from sklearn_cmac._scikit_learn import Interval
from sklearn_cmac.collection import Collection
from sklearn_cmac.collection._scores import row_blocks
from sklearn_cmac.reranking._graph import neighbors_of_all
from sklearn_cmac.reranking._step import DescribedQuery, RankedList, RerankingStep

_PAIRS = 4096  # whose descriptors are in memory at once

# Similarities (n,) of n pairs of photos, by their rows and columns in the graph.
OfPairs = Callable[[np.ndarray, np.ndarray], np.ndarray]
# Similarities (n,) of photos to a query.
ToQuery = Callable[[np.ndarray], np.ndarray]


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
    similarity: OfPairs, neighbors: np.ndarray, values: np.ndarray, n_averaged: int = 6
) -> NeighborEncoding:
    """The encoding of a collection.

    Parameters
    ----------
    similarity : callable
        Of pairs, by rows and columns.
    neighbors : ndarray of int of shape (n, k)
        Nearest first, none its own.
    values : ndarray of shape (n, k)
        Similarities to them.
    n_averaged : int
        Rows averaged, that of the photo included.

    Returns
    -------
    NeighborEncoding
    """
    n, k = neighbors.shape
    near = np.concatenate([np.arange(n)[:, None], neighbors], axis=1)
    mutual, close = _mutual(near), _mutual(near[:, : max(1, round(k / 2)) + 1])
    rows = _weighted(_with_neighborhoods(mutual, close), similarity)
    average = _indicator(near[:, :n_averaged], n).astype(float)
    averaged = normalize(average, norm="l1") @ rows
    return NeighborEncoding(values[:, -1], close, rows, sparse.csc_array(averaged))


def reciprocal_overlap(
    likeness: ToQuery,
    order: np.ndarray,
    encoding: NeighborEncoding,
    n_neighbors: int = 20,
    n_averaged: int = 6,
) -> np.ndarray:
    """Jaccard overlap of a query's reciprocal neighbours with those of each photo.

    Parameters
    ----------
    likeness : callable
        From rows to similarities to the query.
    order : ndarray of int
        Rows of photos, most similar first.
    encoding : NeighborEncoding
    n_neighbors, n_averaged : int
        As for the collection.

    Returns
    -------
    ndarray of shape (n,)
        In [0, 1].
    """
    n = len(encoding.limits)
    nearest = order[:n_neighbors]
    mutual = nearest[likeness(nearest) >= encoding.limits[nearest]]
    row = _with_neighborhoods(_indicator(mutual[None], n), encoding.close)
    rows = [_weighted(row, lambda _, cols: likeness(cols)), encoding.rows[order[: n_averaged - 1]]]
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


def _weighted(members: sparse.csr_array, similarity: OfPairs) -> sparse.csr_array:
    """Members weighted by ``exp(2 similarity - 2)``: of unit vectors, their squared distance.

    Rows have the sum 1.
    """
    pairs = members.tocoo()
    weights = np.empty(pairs.nnz)
    for part in row_blocks(pairs.nnz, _PAIRS):
        weights[part] = np.exp(2 * similarity(pairs.row[part], pairs.col[part]) - 2)
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

    @property
    def depth(self) -> int | None:
        """As for every step."""
        return max(self.n_neighbors, self.n_averaged)

    def prepare(self, collection: Collection, pipeline: Any) -> Any:
        """The ids of the collection's photos, and what is known of their neighbours."""
        engine = collection.engine
        ids, neighbors, values = neighbors_of_all(engine, self.n_neighbors)

        def similarity(rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
            mine, theirs = engine.get(ids[rows]), engine.get(ids[cols])
            return np.einsum("ij,ij->i", mine, theirs, dtype=np.float64)

        return ids, encode_neighbors(similarity, neighbors, values, self.n_averaged)

    def rerank(
        self,
        queries: Sequence[DescribedQuery],
        rankings: Sequence[RankedList],
        collection: Collection,
        prepared: Any,
    ) -> list[RankedList]:
        """As for every step."""
        ids, encoding = prepared
        engine, share = collection.engine, self.similarity_weight
        row_of = {id_: row for row, id_ in enumerate(ids)}
        results = []
        for query, ranked in zip(queries, rankings):

            def likeness(rows: np.ndarray, asked: np.ndarray = ranked.query) -> np.ndarray:
                return engine.get(ids[rows]) @ asked

            overlap = reciprocal_overlap(
                likeness,
                np.array([row_of[id_] for id_ in ranked.ids[: self.depth]], int),
                encoding,
                self.n_neighbors,
                self.n_averaged,
            )
            reached = ids[np.flatnonzero(overlap > 0)]
            wider = ranked.joined_by(reached[reached != query.exclude])
            mine = overlap[[row_of[id_] for id_ in wider.ids]]
            scores = (1 - share) * mine + share * (engine.get(wider.ids) @ ranked.query)
            results.append(wider.resorted(scores).first(len(ranked)))
        return results
