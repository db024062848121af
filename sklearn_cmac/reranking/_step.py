"""What passes through the steps behind the first ranking, and their base."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator

from sklearn_cmac.collection import Collection, Engine
from sklearn_cmac.maps import ActivationMap, RegionVectors
from sklearn_cmac.photos import Item, PhotoError

if TYPE_CHECKING:
    from sklearn_cmac.reranking._verification import SpatialMatch


@dataclass(frozen=True, eq=False)
class DescribedQuery:
    """A query as the pipeline describes it.

    Parameters
    ----------
    name : str
    descriptor : ndarray of shape (D,)
        Of unit length.
    regions : RegionVectors, optional
        Whitened region vectors and their weights.
    map : ActivationMap, optional
        Activations, cropped to the query's box.
    photo : photo or Query
        As it was given, to be looked at again.
    exclude : str, optional
        Id of a photo that must not be found, such as the query's own.
    """

    name: str
    descriptor: np.ndarray
    regions: RegionVectors | None = None
    map: ActivationMap | None = None
    photo: Item = b""
    exclude: str | None = None


@dataclass(frozen=True, eq=False)
class RankedList:
    """The first photos of a collection in the order of their likeness to a query.

    Parameters
    ----------
    ids : ndarray of str of shape (k,)
        Best first.
    scores : ndarray of shape (k,)
        In the same order; they never rise. What the last step that sorted a photo gave it: of a
        verified one the probability that it shows the object, and 0 or less of all others. Behind
        those that a step sorts, all are lowered together as far as it takes. Between steps,
        photos that could not be compared have nan; behind the last, the score of the next one.
    query : ndarray of shape (D,)
        The descriptor that was searched with.
    windows : ndarray of shape (m, D), optional
        Descriptors of the windows of the first m photos, once they are localised.
    order : ndarray of int
        Positions in the collection, once the last step is done; copies of a photo stand one
        after the other, and `scores` is as long. Before, it is empty.
    searched : bool
        Whether the order is that of a search with `query`, which no step has changed since.
    located : mapping from str to SpatialMatch or None
        By id, how the query's local features lie in photos that steps have compared with it; None
        of those that could not be looked at.
    """

    ids: np.ndarray
    scores: np.ndarray
    query: np.ndarray
    windows: np.ndarray | None = None
    order: np.ndarray = field(default_factory=lambda: np.empty(0, int))
    searched: bool = False
    located: Mapping[str, SpatialMatch | None] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def resorted(
        self,
        scores: np.ndarray,
        windows: np.ndarray | None = None,
        stay: np.ndarray | None = None,
        **changes: Any,
    ) -> RankedList:
        """The first photos sorted anew; those behind them stay.

        Parameters
        ----------
        scores : ndarray of shape (m,)
            Of the first m photos, in their present order. Equal scores keep it.
        windows : ndarray of shape (m, D), optional
        stay : ndarray of bool of shape (m,), optional
            Photos that keep their rank, whatever their score; it becomes nan.
        **changes
            Other fields.
        """
        m = len(scores)
        if stay is not None:
            scores = np.where(stay, np.nan, scores)
        new = _falling(scores, stay)
        scores = np.concatenate([scores[new], self.scores[m:]])
        known = ~np.isnan(scores)
        scores[known] = without_rises(scores[known])
        return replace(
            self,
            ids=np.concatenate([self.ids[:m][new], self.ids[m:]]),
            scores=scores,
            windows=None if windows is None else windows[new],
            **{"searched": False, **changes},
        )

    def verified_first(self, probabilities: np.ndarray) -> RankedList:
        """Photos that show the object come first, the likeliest before others.

        All others keep their order and how far their scores are apart; the first of them has 0.

        Parameters
        ----------
        probabilities : ndarray of shape (m,)
            Of the first m photos; 0 of those that are not verified, and nan of those that could not
            be looked at, which keep their rank.
        """
        m, verified = len(probabilities), probabilities > 0
        stay = np.isnan(probabilities) & verified.any()
        scores = self.scores.astype(np.float64)
        scores[:m][verified | stay] = np.nan
        if not np.isnan(scores).all():
            scores -= np.nanmax(scores)
        if not verified.any():
            return replace(self, scores=scores)
        scores[:m][verified] = probabilities[verified]
        new = np.arange(len(self))
        new[:m] = _falling(np.where(verified, probabilities, 0), stay)
        return replace(self, ids=self.ids[new], scores=scores[new], windows=None, searched=False)

    def joined_by(self, ids: np.ndarray) -> RankedList:
        """The list with photos behind its end that are not in it yet; their scores are nan."""
        there = set(self.ids)
        new = np.array([id_ for id_ in ids if id_ not in there], object)
        scores = np.full(len(new), np.nan, self.scores.dtype)
        return replace(
            self, ids=np.concatenate([self.ids, new]), scores=np.concatenate([self.scores, scores])
        )

    def first(self, k: int) -> RankedList:
        """The first k photos."""
        return replace(self, ids=self.ids[:k], scores=self.scores[:k])


def _falling(scores: np.ndarray, stay: np.ndarray | None) -> np.ndarray:
    """Positions in the order of scores, equal ones and those that stay where they are."""
    new, places = np.arange(len(scores)), np.arange(len(scores))
    if stay is not None:
        places = np.flatnonzero(~stay)
    new[places] = places[np.argsort(-scores[places], kind="stable")]
    return new


def without_rises(scores: np.ndarray) -> np.ndarray:
    """Scores of a ranking; where one rises, all from there on are lowered together by as much.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac.reranking._step import without_rises
    >>> without_rises(np.array([0.5, 0.25, 1.0, 0.75]))
    array([0.5 , 0.25, 0.25, 0.  ])
    """
    rises = np.clip(np.diff(scores, prepend=scores[:1]), 0, None)
    return np.minimum.accumulate(scores - np.cumsum(rises))


def without_gaps(scores: np.ndarray) -> np.ndarray:
    """Scores of a ranking, of which nan becomes the next one, or at the end the one before.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac.reranking._step import without_gaps
    >>> without_gaps(np.array([np.nan, 0.9, np.nan, 0.2, np.nan]))
    array([0.9, 0.9, 0.2, 0.2, 0.2])
    """
    known = np.flatnonzero(~np.isnan(scores))
    if not len(known):
        return scores
    next_known = np.searchsorted(known, np.arange(len(scores)))
    return scores[known[np.minimum(next_known, len(known) - 1)]]


def search_again(
    engine: Engine, queries: Sequence[DescribedQuery], descriptors: np.ndarray, k: int
) -> list[RankedList]:
    """First rankings: the k photos most like each descriptor, without those that are excluded.

    Parameters
    ----------
    engine : Engine
    queries : sequence of DescribedQuery
    descriptors : ndarray of shape (n_queries, D)
        What is searched with in their stead.
    k : int
    """
    wider = k + any(query.exclude is not None for query in queries)
    found = []
    for query, descriptor, (ids, scores) in zip(
        queries, descriptors, zip(*engine.kneighbors(descriptors, wider))
    ):
        allowed = np.flatnonzero(ids != query.exclude)[:k]
        found.append(RankedList(ids[allowed], scores[allowed], descriptor, searched=True))
    return found


def look_again(collection: Collection, id_: str, work: Callable[[Item], Any]) -> Callable[[], Any]:
    """A task: what `work` makes of a photo, or the `PhotoError` if it is gone or damaged."""
    return at_work(work, partial(collection.photo, id_))


def at_work(work: Callable[[Any], Any], find: Callable[[], Any]) -> Callable[[], Any]:
    """A task: what `work` makes of what is found now, or the `PhotoError` that this ends in."""
    try:
        found = find()
    except PhotoError as error:
        return partial(_same, error)
    return partial(_work_or_error, work, found)


def _same(value: Any) -> Any:
    return value


def _work_or_error(work: Callable[[Any], Any], found: Any) -> Any:
    try:
        return work(found)
    except PhotoError as error:
        return error


def tell_of(error: PhotoError, collection: Any, consequence: str = "It keeps its rank.") -> None:
    """Say that a photo could not be looked at again: once, of a collection that remembers it."""
    told: set[str] = getattr(collection, "told", set())
    if str(error) not in told:
        told.add(str(error))
        warnings.warn(f"{error} {consequence}", stacklevel=3)


def askers(candidates: Sequence[Sequence[str]]) -> dict[str, list[int]]:
    """For each photo that is a candidate of some query, the positions of those queries.

    Steps that look at photos go through these, so that each is looked at once for all queries.
    """
    asking: dict[str, list[int]] = {}
    for q, ids in enumerate(candidates):
        for id_ in ids:
            asking.setdefault(id_, []).append(q)
    return asking


class RerankingStep(BaseEstimator):
    """A step behind the first ranking: parameters, and two methods that `Retriever` calls.

    A step holds no state. What it works out once for all queries is what `prepare` returns, and
    is handed back to it; other steps, also of the same kind, never see it.

    Attributes
    ----------
    needs : set of {"regions", "maps", "photos"}
        What of queries and photos is read besides descriptors.
    """

    needs: frozenset[str] = frozenset()
    _parameter_constraints: dict = {}

    @property
    def depth(self) -> int | None:
        """How many of the photos ranked first the step must be given; None is all.

        That is its `n_candidates`, if it has such a parameter, and else 1.
        """
        return getattr(self, "n_candidates", 1)

    def prepare(self, collection: Collection, pipeline: Any) -> Any:
        """What this step works out once for all queries.

        Parameters
        ----------
        collection : Collection
        pipeline : fitted Pipeline
            That described queries and collection.

        Returns
        -------
        object
        """
        return None

    def rerank(
        self,
        queries: Sequence[DescribedQuery],
        rankings: Sequence[RankedList],
        collection: Collection,
        prepared: Any,
    ) -> list[RankedList]:
        """Better rankings, each as long as it was.

        Parameters
        ----------
        queries : sequence of DescribedQuery
        rankings : sequence of RankedList
            One for each query.
        collection : Collection
        prepared : object
            What `prepare` returned.

        Returns
        -------
        list of RankedList
        """
        raise NotImplementedError
