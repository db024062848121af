"""Queries enriched with the photos that show their object for certain, and searched with again.

O. Chum, J. Philbin, J. Sivic, M. Isard, A. Zisserman, "Total Recall: Automatic Query Expansion
with a Generative Feature Model for Object Retrieval", ICCV 2007.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np

from sklearn_cmac._scikit_learn import Interval
from sklearn_cmac.collection import Collection, Engine
from sklearn_cmac.reranking._expansion import weighted_mean
from sklearn_cmac.reranking._step import (
    DescribedQuery,
    RankedList,
    RerankingStep,
    search_again,
)
from sklearn_cmac.reranking._verification import SpatialVerification

# Of one query: how many features of each photo that it was compared with agree, 0 of those that
# were not verified, and nan of those that could not be looked at.
_Inliers = dict[str, float]


class VerifiedExpansion(RerankingStep):
    """Verify the first photos, search again with the query and those verified, and go on.

    In each round the first photos are verified, those verified are added to the query, and the
    whole collection is ranked anew by it. So the second round verifies what the first has brought
    up, such as photos that show another side of the object. Verified photos come first, those
    with most inliers before others, and the rest follows as it was found last. A query of which
    nothing is verified keeps its ranking.

    Parameters
    ----------
    verifier : RerankingStep, optional
        Whose scores are numbers of inliers, 0 of photos that are not verified. Default:
        ``SpatialVerification()``. Its `n_candidates` are verified in each round, but for those
        that the query was compared with before, and its `min_inliers` say what is verified:
        photos that are by chance draw the query away from its object. Give its extractor a
        `store`, or features are found anew in each round.
    n_rounds : int, default=2
        The first does most; a second reaches photos behind the first candidates.
    full_weight : int, default=100
        With so many inliers or more, a photo weighs as much as the query, and with fewer that
        share of it. Lower it for an extractor that finds few features.

    Notes
    -----
    The query is the sum of what was searched with and the descriptors of all verified photos,
    each times min(inliers, full_weight) / full_weight, at unit length. Photos that cannot be
    looked at again keep the rank that the last search gave them.

    Of steps before it only the candidates remain, and where nothing is verified the ranking, so
    `RegionMatching` and `CandidateNeighbors` do more behind it. Windows of a `Localization` are
    not used: descriptors are those of whole photos.

    References
    ----------
    O. Chum, J. Philbin, J. Sivic, M. Isard, A. Zisserman, "Total Recall: Automatic Query
    Expansion with a Generative Feature Model for Object Retrieval", ICCV 2007, where verified
    photos weigh as much as the query. Weights by inliers are our own.

    Examples
    --------
    >>> from sklearn_cmac import LearnedFeatureExtractor
    >>> from sklearn_cmac.search import SpatialVerification, VerifiedExpansion
    >>> features = LearnedFeatureExtractor(store="features/")
    >>> step = VerifiedExpansion(SpatialVerification(features, n_candidates=50))
    >>> step.set_params(verifier__min_inliers=12).depth
    50
    """

    _parameter_constraints: dict = {
        "verifier": [RerankingStep, None],
        "n_rounds": [Interval(Integral, 1, None, closed="left")],
        "full_weight": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self, verifier: RerankingStep | None = None, n_rounds: int = 2, full_weight: int = 100
    ):
        self.verifier = verifier
        self.n_rounds = n_rounds
        self.full_weight = full_weight

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        """As for every step."""
        return self._verifier().needs

    @property
    def depth(self) -> int | None:
        """As for every step."""
        return self._verifier().depth

    def prepare(self, collection: Collection, pipeline: Any) -> Any:
        """As for every step."""
        return self._verifier().prepare(collection, pipeline)

    def rerank(
        self,
        queries: Sequence[DescribedQuery],
        rankings: Sequence[RankedList],
        collection: Collection,
        prepared: Any,
    ) -> list[RankedList]:
        """As for every step."""
        engine = collection.engine
        inliers: list[_Inliers] = [{} for _ in queries]
        found = list(rankings)
        for _ in range(self.n_rounds):
            asking = self._verify(queries, found, inliers, collection, prepared)
            if not asking:
                break
            expanded = np.stack(
                [self._expand(rankings[q].query, inliers[q], engine) for q in asking]
            )
            longest = max(len(rankings[q]) for q in asking)
            again = search_again(engine, [queries[q] for q in asking], expanded, longest)
            for q, ranked in zip(asking, again):
                found[q] = ranked.first(len(rankings[q]))
        return [_verified_first(*pair) for pair in zip(found, inliers)]

    def _verify(
        self,
        queries: Sequence[DescribedQuery],
        found: Sequence[RankedList],
        inliers: list[_Inliers],
        collection: Collection,
        prepared: Any,
    ) -> list[int]:
        """Compare queries with photos ranked first that are new to them, and note the inliers.

        Returns the positions of queries of which more was verified.
        """
        verifier = self._verifier()
        new = [
            _not_in(ranked.first(verifier.depth or len(ranked)), compared)
            for ranked, compared in zip(found, inliers)
        ]
        asking = [q for q, ranked in enumerate(new) if len(ranked)]
        if not asking:
            return []
        verified = verifier.rerank(
            [queries[q] for q in asking], [new[q] for q in asking], collection, prepared
        )
        for q, ranked in zip(asking, verified):
            inliers[q].update(zip(ranked.ids.tolist(), ranked.scores.tolist()))
        return [q for q, ranked in zip(asking, verified) if (ranked.scores > 0).any()]

    def _expand(self, query: np.ndarray, inliers: _Inliers, engine: Engine) -> np.ndarray:
        """Unit vector (D,) along a query and its verified photos."""
        counts = _of_verified(inliers)
        shares = np.array(list(counts.values()), np.float32) / self.full_weight
        return weighted_mean(query, engine.get(list(counts)), np.minimum(shares, 1), alpha=1)

    def _verifier(self) -> RerankingStep:
        return SpatialVerification() if self.verifier is None else self.verifier

    def _validate_params(self) -> None:
        super()._validate_params()
        self._verifier()._validate_params()


def _not_in(ranked: RankedList, compared: _Inliers) -> RankedList:
    new = np.array([id_ not in compared for id_ in ranked.ids], bool)
    return replace(ranked, ids=ranked.ids[new], scores=ranked.scores[new], windows=None)


def _of_verified(inliers: _Inliers) -> _Inliers:
    return {id_: count for id_, count in inliers.items() if count > 0}


def _verified_first(ranked: RankedList, inliers: _Inliers) -> RankedList:
    """A ranking with its verified photos in front, also those that it does not reach down to."""
    counts = _of_verified(inliers)
    if not counts:
        return ranked
    every = ranked.joined_by(np.array(list(counts), object))
    stay = np.array([np.isnan(inliers.get(id_, 0)) for id_ in every.ids])
    moved = every.resorted(np.array([counts.get(id_, 0) for id_ in every.ids]), stay=stay)
    similarity = dict(zip(every.ids, every.scores))
    scores = [counts.get(id_, similarity[id_]) for id_ in moved.ids]
    return replace(moved, scores=np.array(scores, np.float32)).first(len(ranked))
