"""Photos compared region by region: late interaction."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np

from sklearn_cmac._scikit_learn import Interval
from sklearn_cmac.collection import Collection
from sklearn_cmac.collection._scores import shares_of
from sklearn_cmac.maps import RegionVectors
from sklearn_cmac.reranking._step import DescribedQuery, RankedList, RerankingStep


class RegionMatch(NamedTuple):
    """Which regions of a photo answer those of a query.

    Parameters
    ----------
    score : float
        The sum of ``shares * similarities``.
    regions : ndarray of int of shape (R,)
        For each region of the query, the photo's most similar one.
    similarities : ndarray of shape (R,)
        Dot products of the two.
    shares : ndarray of shape (R,)
        What each region of the query counts for; they sum up to 1.
    """

    score: float
    regions: np.ndarray
    similarities: np.ndarray
    shares: np.ndarray


def match_regions(query: RegionVectors, photo: RegionVectors) -> RegionMatch:
    """For each region of a query, the most similar one of a photo.

    Parameters
    ----------
    query, photo : RegionVectors
        Vectors of unit length. The query's weights are used.

    Returns
    -------
    RegionMatch

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac import RegionVectors
    >>> from sklearn_cmac.search import match_regions
    >>> match = match_regions(RegionVectors(np.eye(3)[:2]), RegionVectors(np.eye(3)[1:]))
    >>> match.score, match.similarities
    (0.5, array([0., 1.]))
    """
    found = query.vectors @ photo.vectors.T
    best = found.argmax(axis=1)
    similarities = found[np.arange(len(best)), best]
    shares = shares_of(query)
    return RegionMatch(float(shares @ similarities), best, similarities, shares)


class RegionMatching(RerankingStep):
    """Sort the first photos by their regions instead of by the sum of them.

    A photo's score is the sum over the query's regions, by their weights, of the similarity to
    the photo's most similar region. Region vectors are kept beside the descriptors in half
    precision, so a large collection is ranked by descriptors first, and a small one wholly by
    its regions.

    Parameters
    ----------
    n_candidates : int or None, default=1000
        So many of the photos ranked first are sorted; None is all.
    global_weight : float, default=0
        How much of the descriptors' similarity is added to the score.

    References
    ----------
    The sum of best similarities is that of O. Khattab, M. Zaharia, "ColBERT: Efficient and
    Effective Passage Search via Contextualized Late Interaction over BERT", SIGIR 2020.

    Examples
    --------
    >>> from sklearn_cmac.search import RegionMatching
    >>> RegionMatching(n_candidates=None)
    RegionMatching(n_candidates=None)
    """

    needs = frozenset({"regions"})
    _parameter_constraints: dict = {
        "n_candidates": [Interval(Integral, 1, None, closed="left"), None],
        "global_weight": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, n_candidates: int | None = 1000, global_weight: float = 0.0):
        self.n_candidates = n_candidates
        self.global_weight = global_weight

    def rerank(
        self,
        queries: Sequence[DescribedQuery],
        rankings: Sequence[RankedList],
        collection: Collection,
        prepared: Any,
    ) -> list[RankedList]:
        """As for every step."""
        if not collection.engine.stamp.regions:
            raise ValueError(
                "RegionMatching needs the photos' region vectors; describe them with a Retriever "
                "that has this step"
            )
        candidates = [ranked.ids[: self.n_candidates] for ranked in rankings]
        regions = [query.regions for query in queries if query.regions is not None]
        k = max(map(len, candidates), default=0)
        results = []
        for ranked, asked, (ids, found) in zip(
            rankings, candidates, collection.engine.match(regions, k, candidates)
        ):
            score_of = dict(zip(ids, found))
            scores = np.array([score_of.get(id_, np.nan) for id_ in asked], np.float32)
            if self.global_weight:
                whole = collection.engine.get(asked) @ ranked.query
                scores = scores + self.global_weight * whole
            results.append(ranked.resorted(scores))
        return results
