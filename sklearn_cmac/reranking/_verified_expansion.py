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

from sklearn_cmac._named_steps import NamedSteps
from sklearn_cmac._scikit_learn import Interval
from sklearn_cmac.collection import Collection, Engine
from sklearn_cmac.collection._scores import joined_regions
from sklearn_cmac.fingerprints import fingerprint_photo
from sklearn_cmac.photos import PhotoError, Query
from sklearn_cmac.reranking._expansion import weighted_mean
from sklearn_cmac.reranking._step import (
    DescribedQuery,
    RankedList,
    RerankingStep,
    search_again,
)
from sklearn_cmac.reranking._verification import SpatialVerification

# Of one query: how probable it is that each photo that it was compared with shows its object, 0 of
# those that were not verified, and nan of those that could not be looked at.
_Verdicts = dict[str, float]


class VerifiedExpansion(NamedSteps, RerankingStep):
    """Verify the first photos, search again with the query and those verified, and go on.

    In each round the first photos are verified, those verified are added to the query, and the
    whole collection is searched by it. So the second round verifies what the first has brought
    up, such as photos that show another side of the object. Verified photos come first, the
    likeliest before others.

    What becomes of the rest depends on what was before:

    - Where `steps` are given, each search passes through them before its photos are verified, the
      first one too, and the rest follows as the last of them left it.
    - Where steps before this one have sorted the photos, the rest keeps the order that it had.
      Photos that are new to it come in at the rank that the last search gave them.
    - Else the rest follows as the last search found it.

    A query of which nothing is verified keeps its ranking.

    Parameters
    ----------
    verifier : RerankingStep, optional
        Whose scores are probabilities, 0 or less of photos that are not verified. Default:
        ``SpatialVerification()``. Its `n_candidates` are verified in each round, but for those
        that the query was compared with before, and its `min_inliers` say what is verified:
        photos that are by chance draw the query away from its object. Give its extractor a
        `store`, or features are found anew in each round.
    n_rounds : int, default=2
        The first does most; a second reaches photos behind the first candidates.
    steps : sequence of (str, step), default=()
        Names and steps that each search passes through, as for `Retriever`.

    Notes
    -----
    The query is the sum of what was searched with and the descriptors of all verified photos,
    each times its probability, at unit length; its regions, for steps that read these, are those
    of all of them, weighted so too. The photo that a box is in adds nothing to it, since what is
    around the object would come in. Photos that cannot be looked at keep the rank that they had.
    Windows of a `Localization` are not used: descriptors are those of whole photos.

    References
    ----------
    O. Chum, J. Philbin, J. Sivic, M. Isard, A. Zisserman, "Total Recall: Automatic Query
    Expansion with a Generative Feature Model for Object Retrieval", ICCV 2007, where verified
    photos weigh as much as the query. Weights by probability are our own.

    Examples
    --------
    >>> from sklearn_cmac import LearnedFeatureExtractor
    >>> from sklearn_cmac.search import CandidateNeighbors, RegionMatching
    >>> from sklearn_cmac.search import SpatialVerification, VerifiedExpansion
    >>> features = LearnedFeatureExtractor(store="features/")
    >>> steps = [("match", RegionMatching()), ("neighbors", CandidateNeighbors())]
    >>> step = VerifiedExpansion(SpatialVerification(features, n_candidates=50), steps=steps)
    >>> step.set_params(verifier__min_inliers=12, neighbors__n_candidates=80).depth
    1000
    """

    _parameter_constraints: dict = {
        "verifier": [RerankingStep, None],
        "n_rounds": [Interval(Integral, 1, None, closed="left")],
        "steps": ["array-like"],
    }

    def __init__(
        self,
        verifier: RerankingStep | None = None,
        n_rounds: int = 2,
        steps: Sequence[tuple[str, Any]] = (),
    ):
        self.verifier = verifier
        self.n_rounds = n_rounds
        self.steps = steps

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        """As for every step."""
        return frozenset().union(*(step.needs for step in self._every()))

    @property
    def depth(self) -> int | None:
        """As for every step."""
        depths = [step.depth for step in self._every()]
        return None if None in depths else max(depth for depth in depths if depth is not None)

    def prepare(self, collection: Collection, pipeline: Any) -> Any:
        """As for every step."""
        return [step.prepare(collection, pipeline) for step in self._every()]

    def rerank(
        self,
        queries: Sequence[DescribedQuery],
        rankings: Sequence[RankedList],
        collection: Collection,
        prepared: Any,
    ) -> list[RankedList]:
        """As for every step."""
        verdicts: list[_Verdicts] = [{} for _ in queries]
        own = [_own_photo(query) for query in queries]
        located = [dict(ranked.located) for ranked in rankings]
        given = self._through_steps(queries, rankings, collection, prepared)
        latest, best = list(given), list(given)
        for _ in range(self.n_rounds):
            verified = self._verify(queries, latest, verdicts, collection, prepared)
            for q, ranked in verified.items():
                verdicts[q].update(zip(ranked.ids.tolist(), ranked.scores.tolist()))
                located[q].update(ranked.located)
            new = {q: ranked.ids[ranked.scores > 0] for q, ranked in verified.items()}
            asking = [q for q, ids in new.items() if (ids != own[q]).any()]
            if not asking:
                break
            others = [{i: p for i, p in verdicts[q].items() if i != own[q]} for q in asking]
            expanded = [
                self._expand(queries[q], given[q].query, mine, collection.engine)
                for q, mine in zip(asking, others)
            ]
            longest = max(len(given[q]) for q in asking)
            descriptors = np.stack([query.descriptor for query in expanded])
            again = search_again(collection.engine, expanded, descriptors, longest)
            again = self._through_steps(expanded, again, collection, prepared)
            for q, ranked in zip(asking, again):
                latest[q] = ranked.first(len(given[q]))
                keeps = not self._active() and not given[q].searched
                best[q] = _joined(given[q], latest[q]) if keeps else latest[q]
        return [
            replace(_verified_first(ranked, mine), located=found)
            for ranked, mine, found in zip(best, verdicts, located)
        ]

    def _through_steps(
        self,
        queries: Sequence[DescribedQuery],
        rankings: Sequence[RankedList],
        collection: Collection,
        prepared: Any,
    ) -> list[RankedList]:
        _, *states = prepared
        for step, state in zip(self._active(), states):
            rankings = step.rerank(queries, rankings, collection, state)
        return list(rankings)

    def _verify(
        self,
        queries: Sequence[DescribedQuery],
        found: Sequence[RankedList],
        verdicts: list[_Verdicts],
        collection: Collection,
        prepared: Any,
    ) -> dict[int, RankedList]:
        """Photos ranked first that are new to queries, by these and verified."""
        verifier = self._verifier()
        new = [
            _not_in(ranked.first(verifier.depth or len(ranked)), compared)
            for ranked, compared in zip(found, verdicts)
        ]
        asking = [q for q, ranked in enumerate(new) if len(ranked)]
        if not asking:
            return {}
        verified = verifier.rerank(
            [queries[q] for q in asking], [new[q] for q in asking], collection, prepared[0]
        )
        return dict(zip(asking, verified))

    def _expand(
        self, query: DescribedQuery, searched: np.ndarray, verdicts: _Verdicts, engine: Engine
    ) -> DescribedQuery:
        """A query, and what it was searched with, joined by its verified photos."""
        verified = _of_verified(verdicts)
        ids, weights = list(verified), np.array(list(verified.values()), np.float32)
        descriptor = weighted_mean(searched, engine.get(ids), weights, alpha=1)
        regions = query.regions
        if regions is not None and "regions" in self.needs:
            table = engine.get_regions(ids)
            parts = [regions, *(table[i] for i in range(len(table)))]
            regions = joined_regions(parts, [1, *weights])
        return replace(query, descriptor=descriptor, regions=regions)

    def _verifier(self) -> RerankingStep:
        return SpatialVerification() if self.verifier is None else self.verifier

    def _active(self) -> list[RerankingStep]:
        return [step for _, step in self.steps if step not in (None, "passthrough")]

    def _every(self) -> list[RerankingStep]:
        return [self._verifier(), *self._active()]

    def _validate_params(self) -> None:
        super()._validate_params()
        self._validate_names([name for name, _ in self.steps])
        for step in self._every():
            if not isinstance(step, RerankingStep):
                raise TypeError(
                    f"steps of VerifiedExpansion has a {type(step).__name__}, which reranks "
                    "nothing; they are RegionMatching, CandidateNeighbors and the like"
                )
            step._validate_params()


def _own_photo(query: DescribedQuery) -> str | None:
    """The id of the photo that a query is in, which tells nothing of its object that is new."""
    asked = query.photo
    try:
        return fingerprint_photo(asked.photo if isinstance(asked, Query) else asked)
    except PhotoError:
        return None


def _not_in(ranked: RankedList, compared: _Verdicts) -> RankedList:
    new = np.array([id_ not in compared for id_ in ranked.ids], bool)
    return replace(ranked, ids=ranked.ids[new], scores=ranked.scores[new], windows=None)


def _of_verified(verdicts: _Verdicts) -> _Verdicts:
    return {id_: probability for id_, probability in verdicts.items() if probability > 0}


def _joined(before: RankedList, after: RankedList) -> RankedList:
    """A ranking in its order, into which photos new to it come at their ranks in another.

    Their scores there are of another kind, and become nan.
    """
    new = np.flatnonzero(~np.isin(after.ids.astype(str), before.ids.astype(str)))
    places = np.concatenate([np.arange(len(before)), new])
    order = np.argsort(places, kind="stable")[: len(before)]
    ids = np.concatenate([before.ids, after.ids[new]])[order]
    scores = np.concatenate([before.scores, np.full(len(new), np.nan)])[order]
    return RankedList(ids, scores, after.query)


def _verified_first(ranked: RankedList, verdicts: _Verdicts) -> RankedList:
    """A ranking with its verified photos in front, also those that it does not reach down to."""
    every = ranked.joined_by(np.array(list(_of_verified(verdicts)), object))
    probabilities = np.array([verdicts.get(id_, 0.0) for id_ in every.ids])
    return every.verified_first(probabilities).first(len(ranked))
