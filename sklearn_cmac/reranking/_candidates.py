"""Neighbours at query time: a graph of the photos found first, made of their regions.

No graph of the collection is kept, so there is nothing to grow old, and the price of a query does
not depend on how many photos there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.preprocessing import normalize

from sklearn_cmac._scikit_learn import HasMethods, Interval, StrOptions
from sklearn_cmac.collection import Collection, Engine, RegionTable
from sklearn_cmac.reranking._diffusion import diffuse, diffusion_matrix
from sklearn_cmac.reranking._embedding import embed_distances
from sklearn_cmac.reranking._expansion import weighted_mean
from sklearn_cmac.reranking._graph import neighbors_among
from sklearn_cmac.reranking._reciprocal import encode_neighbors, reciprocal_overlap
from sklearn_cmac.reranking._step import DescribedQuery, RankedList, RerankingStep
from sklearn_cmac.reranking._verification import SpatialVerification

_REGIONS = 512  # of which all similarities to others are in memory at once
_EXPANSIONS = 2  # of the query among points; a third left the object for another one


def similarities_among(photos: RegionTable, n_components: int | None = None) -> np.ndarray:
    """Region matching of each two photos, in both directions, and the mean of the two.

    Parameters
    ----------
    photos : RegionTable of n photos
    n_components : int, optional
        Regions are compared in so many of their first components, which are the strongest that
        whitening keeps, scaled to unit length. Default: in all.

    Returns
    -------
    ndarray of float32 of shape (n, n)
        Symmetric.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac import RegionVectors
    >>> from sklearn_cmac.collection import RegionTable
    >>> from sklearn_cmac.reranking import similarities_among
    >>> one, other = RegionVectors(np.eye(3)[:2]), RegionVectors(np.eye(3)[1:])
    >>> similarities_among(RegionTable.of([one, other], 3)).tolist()
    [[1.0, 0.5], [0.5, 1.0]]
    """
    vectors = normalize(photos.vectors[:, :n_components].astype(np.float32), copy=False)
    starts, counts = photos.indptr[:-1], photos.counts
    shares = photos.weights / np.add.reduceat(photos.weights, starts).repeat(counts)
    n = len(photos)
    found = np.zeros((n, n), np.float32)
    first = 0
    while first < n:
        # As many photos as have so many regions together, and those behind them.
        within = photos.indptr[first] + _REGIONS
        last = max(first + 1, int(np.searchsorted(photos.indptr, within, side="right")) - 1)
        rows = slice(photos.indptr[first], photos.indptr[last])
        products = vectors[rows] @ vectors[rows.start :].T
        my_starts, their_starts = starts[first:last] - rows.start, starts[first:] - rows.start
        # Of each region, the most similar one of each photo on the other side.
        mine = np.maximum.reduceat(products, their_starts, axis=1) * shares[rows, None]
        theirs = np.maximum.reduceat(products, my_starts, axis=0) * shares[rows.start :]
        found[first:last, first:] += np.add.reduceat(mine, my_starts, axis=0)
        found[first:last, first:] += np.add.reduceat(theirs, their_starts, axis=1)
        first = last
    found = np.triu(found / 2)
    return found + np.triu(found, 1).T


class CandidateNeighbors(RerankingStep):
    """Sort the first photos by how they hang together with those that are most like the query.

    The photos found first are compared with each other, region by region. On the graph of their
    mutual neighbours, a random walk that starts in the best answers reaches photos that show the
    object from another side, and are like these answers more than like the query.

    Parameters
    ----------
    method : {"diffusion", "reciprocal", "embeddings"}, default="diffusion"
        How the graph is used: as by `Diffusion`, or as by `ReciprocalNeighbors`. "embeddings"
        makes no graph: query and photos become points at distances of 1 - similarity
        (`embed_distances`), and the query is twice averaged with the points nearest to it.
    n_candidates : int, default=100
        So many of the photos ranked first.
    n_neighbors : int, default=15
        Neighbours of each of them in the graph. Of embeddings: points averaged with the query,
        weighted by their cosines with it.
    n_seeds : int, default=20
        Of a diffusion: photos, most like the query, in which the walk starts.
    exponent : float, default=3
        Of a diffusion: affinity is the similarity to this power.
    alpha : float, default=0.85
        Of a diffusion: chance that the walk goes on. Among so few photos a longer walk leaves
        the object: where it has a dozen of photos, 0.99 was worse than no walk.
    n_averaged : int, default=6
        Of reciprocal neighbours: as for `ReciprocalNeighbors`.
    similarity_weight : float, default=0.3
        Of reciprocal neighbours: share of the similarity to the query in the score.
    n_dimensions : int or None, default=32
        Of embeddings: leading dimensions that are kept. None is all.
    n_components : int or None, default=256
        Photos are compared with each other in so many components of their region vectors, and
        with the query in all. None is all.
    min_photos : int, default=0
        In a collection of fewer photos nothing is sorted: of an object that few of them show, most
        neighbours of a photo show something else.
    verifier : SpatialVerification, optional
        Links the query with photos in which it lies, and photos with each other: edges of the
        graph that are certain where similarities are not. Its `n_candidates` are not used: all
        candidates are compared with the query.
    n_verified : int, default=10
        So many candidates, most like the query, are compared with each other by the verifier.
    link_weight : float, default=0.5
        By this share of a link's probability, a similarity is moved towards 1. Where there is no
        link it stays: photos of two sides of an object have none.

    References
    ----------
    A. Iscen et al., "Efficient Diffusion on Region Manifolds: Recovering Small Objects with
    Compact CNN Representations", CVPR 2017; Z. Zhong et al., "Re-ranking Person Re-identification
    with k-reciprocal Encoding", CVPR 2017; D. Aiger et al., "Global-to-Local or Local-to-Global?
    Enhancing Image Retrieval with Efficient Local Search and Effective Global Re-ranking", ICCV
    workshops 2025, for embeddings.

    Examples
    --------
    >>> from sklearn_cmac.search import CandidateNeighbors
    >>> CandidateNeighbors(n_candidates=50)
    CandidateNeighbors(n_candidates=50)
    >>> from sklearn_cmac.search import SpatialVerification
    >>> sorted(CandidateNeighbors(verifier=SpatialVerification()).needs)
    ['photos', 'regions']
    """

    _parameter_constraints: dict = {
        "method": [StrOptions({"diffusion", "reciprocal", "embeddings"})],
        "n_candidates": [Interval(Integral, 1, None, closed="left")],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "n_seeds": [Interval(Integral, 1, None, closed="left")],
        "exponent": [Interval(Real, 0, None, closed="neither")],
        "alpha": [Interval(Real, 0, 1, closed="left")],
        "n_averaged": [Interval(Integral, 1, None, closed="left")],
        "similarity_weight": [Interval(Real, 0, 1, closed="both")],
        "n_dimensions": [Interval(Integral, 1, None, closed="left"), None],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "min_photos": [Interval(Integral, 0, None, closed="left")],
        "verifier": [HasMethods("probabilities_among"), None],
        "n_verified": [Interval(Integral, 1, None, closed="left")],
        "link_weight": [Interval(Real, 0, 1, closed="both")],
    }

    def __init__(
        self,
        method: str = "diffusion",
        n_candidates: int = 100,
        n_neighbors: int = 15,
        n_seeds: int = 20,
        exponent: float = 3.0,
        alpha: float = 0.85,
        n_averaged: int = 6,
        similarity_weight: float = 0.3,
        n_dimensions: int | None = 32,
        n_components: int | None = 256,
        min_photos: int = 0,
        verifier: SpatialVerification | None = None,
        n_verified: int = 10,
        link_weight: float = 0.5,
    ):
        self.method = method
        self.n_candidates = n_candidates
        self.n_neighbors = n_neighbors
        self.n_seeds = n_seeds
        self.exponent = exponent
        self.alpha = alpha
        self.n_averaged = n_averaged
        self.similarity_weight = similarity_weight
        self.n_dimensions = n_dimensions
        self.n_components = n_components
        self.min_photos = min_photos
        self.verifier = verifier
        self.n_verified = n_verified
        self.link_weight = link_weight

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        """As for every step."""
        return frozenset({"regions"} if self.verifier is None else {"regions", "photos"})

    def rerank(
        self,
        queries: Sequence[DescribedQuery],
        rankings: Sequence[RankedList],
        collection: Collection,
        prepared: Any,
    ) -> list[RankedList]:
        """As for every step."""
        engine = collection.engine
        if not engine.stamp.regions:
            raise ValueError(
                "CandidateNeighbors needs the photos' region vectors; describe them with a "
                "Retriever that has this step"
            )
        if len(engine) < self.min_photos:
            return list(rankings)
        score = {
            "diffusion": self._diffused,
            "reciprocal": self._overlapping,
            "embeddings": self._embedded,
        }[self.method]
        candidates = [ranked.ids[: self.n_candidates].tolist() for ranked in rankings]
        links: list[np.ndarray | None] = [None] * len(queries)
        if self.verifier is not None:
            photos = [query.photo for query in queries]
            links = [*self.verifier.probabilities(photos, candidates, collection)]
        results = []
        for query, ranked, ids, linked in zip(queries, rankings, candidates, links):
            if len(ids) > 1:
                likeness = _likeness(query, ids, engine)
                among = similarities_among(engine.get_regions(ids), self.n_components)
                if linked is not None:
                    among = self._moved(among, self._links_among(ids, likeness, collection))
                    likeness = self._moved(likeness, linked)
                ranked = ranked.resorted(score(likeness, among))
            results.append(ranked)
        return results

    def _moved(self, similarities: np.ndarray, links: np.ndarray) -> np.ndarray:
        """Similarities that are moved towards 1 by probabilities of links; nan moves none."""
        return similarities + self.link_weight * np.nan_to_num(links) * (1 - similarities)

    def _links_among(
        self, ids: list[str], likeness: np.ndarray, collection: Collection
    ) -> np.ndarray:
        """Probabilities (n, n) of links between photos most like the query, and else 0."""
        assert self.verifier is not None
        links = np.zeros((len(ids), len(ids)))
        first = np.argsort(-likeness, kind="stable")[: self.n_verified].tolist()
        others = [[ids[j] for j in first[i + 1 :]] for i in range(len(first))]
        found = self.verifier.probabilities_among([ids[i] for i in first], others, collection)
        rows, columns = np.triu_indices(len(first), 1)
        links[np.take(first, rows), np.take(first, columns)] = np.concatenate(found)
        return links + links.T

    def _diffused(self, likeness: np.ndarray, among: np.ndarray) -> np.ndarray:
        """Where a walk comes to rest that starts in the photos most like the query."""
        graph = diffusion_matrix(*neighbors_among(among, self.n_neighbors), self.exponent)
        seeds = np.zeros(len(likeness))
        best = np.argsort(-likeness, kind="stable")[: self.n_seeds]
        seeds[best] = np.clip(likeness[best], 0, None) ** self.exponent
        return diffuse(graph, seeds, self.alpha)

    def _overlapping(self, likeness: np.ndarray, among: np.ndarray) -> np.ndarray:
        """How many reciprocal neighbours photos and query have in common, and their likeness."""
        neighbors, values = neighbors_among(among, self.n_neighbors)
        encoding = encode_neighbors(
            lambda rows, cols: among[rows, cols], neighbors, values, self.n_averaged
        )
        order = np.argsort(-likeness, kind="stable")
        overlap = reciprocal_overlap(
            lambda rows: likeness[rows], order, encoding, self.n_neighbors, self.n_averaged
        )
        share = self.similarity_weight
        return (1 - share) * overlap + share * likeness

    def _embedded(self, likeness: np.ndarray, among: np.ndarray) -> np.ndarray:
        """Cosines with the query, averaged with its nearest, where matching places them all."""
        distances = 1 - np.block([[np.ones((1, 1)), likeness[None]], [likeness[:, None], among]])
        np.fill_diagonal(distances, 0)
        placed = normalize(embed_distances(distances, self.n_dimensions))
        query = asked = placed[0]
        photos = placed[1:]
        for _ in range(_EXPANSIONS):
            cosines = photos @ asked
            nearest = np.argsort(-cosines, kind="stable")[: self.n_neighbors]
            asked = weighted_mean(query, photos[nearest], cosines[nearest], alpha=1)
        return photos @ asked


def _likeness(query: DescribedQuery, ids: list[str], engine: Engine) -> np.ndarray:
    """Scores (n,) of region matching of photos with a query."""
    assert query.regions is not None
    ((found, scores),) = engine.match([query.regions], len(ids), [ids])
    score_of = dict(zip(found, scores))
    return np.array([score_of.get(id_, 0.0) for id_ in ids], np.float64)
