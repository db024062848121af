"""What passes through the steps behind the first ranking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from sklearn_cmac.collection._collection import Collection
from sklearn_cmac.maps import ActivationMap, RegionVectors


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
    photo : photo or Query, optional
        As it was given, to be looked at again.
    """

    name: str
    descriptor: np.ndarray
    regions: RegionVectors | None = None
    map: ActivationMap | None = None
    photo: Any = None


@dataclass(frozen=True, eq=False)
class RankedList:
    """Photos of a collection in the order of their likeness to a query.

    Parameters
    ----------
    order : ndarray of int of shape (n,)
        Positions in the collection, best first. Each photo that may be found is in it.
    scores : ndarray of shape (n,)
        What the last step that moved a photo gave it, in the same order. They fall within the
        photos that one step sorted, not from those to the rest behind them.
    query : ndarray of shape (D,)
        The descriptor that was searched with.
    windows : ndarray of shape (m, D), optional
        Descriptors of the windows of the first m photos, once they are localised.
    """

    order: np.ndarray
    scores: np.ndarray
    query: np.ndarray
    windows: np.ndarray | None = None

    def resorted(
        self, scores: np.ndarray, windows: np.ndarray | None = None, **changes: Any
    ) -> RankedList:
        """The first photos sorted anew; those behind them stay.

        Parameters
        ----------
        scores : ndarray of shape (m,)
            Of the first m photos, in their present order. Equal scores keep it.
        windows : ndarray of shape (m, D), optional
        **changes
            Other fields.
        """
        new = np.argsort(-scores, kind="stable")
        m = len(scores)
        return replace(
            self,
            order=np.concatenate([self.order[:m][new], self.order[m:]]),
            scores=np.concatenate([scores[new], self.scores[m:]]),
            windows=None if windows is None else windows[new],
            **changes,
        )


def askers(rankings: Sequence[RankedList], n_candidates: int) -> dict[int, list[int]]:
    """For each photo among the first of some ranking, the positions of those rankings.

    Steps that look at photos go through these, so that each is looked at once for all queries.
    """
    asking: dict[int, list[int]] = {}
    for q, ranked in enumerate(rankings):
        for photo in ranked.order[:n_candidates].tolist():
            asking.setdefault(photo, []).append(q)
    return asking


class RerankingStep(BaseEstimator):
    """A step behind the first ranking: parameters, and two methods that `Retriever` calls.

    Attributes
    ----------
    needs : set of {"regions", "maps", "photos"}
        What of queries and photos is read besides descriptors.
    """

    needs: frozenset[str] = frozenset()
    _parameter_constraints: dict = {}

    def prepare(self, collection: Collection) -> Collection:
        """The collection with what this step works out once for all queries.

        Parameters
        ----------
        collection : Collection

        Returns
        -------
        Collection
        """
        return collection

    def rerank(
        self,
        queries: Sequence[DescribedQuery],
        rankings: Sequence[RankedList],
        collection: Collection,
        pipeline: Any,
    ) -> list[RankedList]:
        """Better rankings.

        Parameters
        ----------
        queries : sequence of DescribedQuery
        rankings : sequence of RankedList
            One for each query.
        collection : Collection
        pipeline : fitted Pipeline
            That described queries and collection.

        Returns
        -------
        list of RankedList
        """
        return list(rankings)
