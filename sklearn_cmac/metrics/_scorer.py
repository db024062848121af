"""Mean average precision as a scorer for scikit-learn's searches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils import check_consistent_length

from sklearn_cmac._scikit_learn import StrOptions
from sklearn_cmac.metrics._average_precision import average_precision
from sklearn_cmac.metrics._chance import expected_average_precision


class RetrievalScorer(BaseEstimator):
    """Mean average precision of an estimator's descriptors, for labelled photos.

    Each query ranks all other photos of X by the dot product of descriptors; those that
    have its label are the positives. The query's own photo is left out. Queries whose label
    no other photo has are skipped.

    Parameters
    ----------
    queries : {"all", "boxed"}, default="all"
        "all": each labelled photo, whole. "boxed": each labelled photo that carries a box,
        cropped to it. The photos that are ranked are whole in both cases.
    distractor : object, optional
        The label of photos that show none of the objects; None is one of them too. They are never
        queries.

    Notes
    -----
    A score says which parameters are better on these photos. It is no benchmark result: each
    fold of a cross-validation ranks its own few photos, and the fewer there are, the higher
    mAP comes out.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac import L2Aggregator, RetrievalScorer
    >>> X = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9], [0.7, 0.7]])
    >>> RetrievalScorer(distractor="")(L2Aggregator().fit(X), X, ["a", "a", "b", "b", ""])
    1.0
    """

    _parameter_constraints: dict = {
        "queries": [StrOptions({"all", "boxed"})],
        "distractor": "no_validation",
    }

    def __init__(self, queries: str = "all", distractor: object = None):
        self.queries = queries
        self.distractor = distractor

    def __call__(self, estimator: Any, X: Sequence[Any] | ArrayLike, y: ArrayLike) -> float:
        """Score a fitted estimator.

        Parameters
        ----------
        estimator : transformer, or Retriever
            Its `transform` gives one descriptor of unit length per photo. Of a `Retriever` the
            final rankings are scored, in which no step has seen the query's own photo as
            something to find.
        X : sequence of photos
            A list, a tuple, an array, or a Series, whose index means nothing here. Also a
            table with a row for each photo, where the estimator takes one.
        y : sequence of labels, one per photo

        Returns
        -------
        float
            mAP in [0, 1].

        Raises
        ------
        ValueError
            If no query has a positive, a parameter is wrong, or there are not as many labels
            as photos.
        """
        return float(np.mean(list(self.per_query(estimator, X, y).values())))

    def per_query(
        self, estimator: Any, X: Sequence[Any] | ArrayLike, y: ArrayLike
    ) -> dict[int, float]:
        """Average precision of each query.

        Parameters
        ----------
        estimator, X, y
            As for scoring.

        Returns
        -------
        dict from int to float
            From the query's position in `X` to its average precision.
        """
        photos, labels, asking = self._asking(X, y)
        rank = self._rank_by_steps if hasattr(estimator, "iter_rank") else self._rank
        scores = {}
        for i, ranking in zip(asking, rank(estimator, photos, asking)):
            positives = np.flatnonzero(labels == labels[i])
            scores[i] = average_precision(ranking, positives[positives != i], junk=[i])
        return scores

    def chance(self, X: Sequence[Any] | ArrayLike, y: ArrayLike) -> float:
        """The score that rankings in random order have.

        Parameters
        ----------
        X, y
            As for scoring.

        Returns
        -------
        float
            mAP in [0, 1], the mean of `expected_average_precision`.
        """
        _, labels, asking = self._asking(X, y)
        n = len(labels) - 1  # the query's own photo is left out
        expected = cache(partial(expected_average_precision, n))  # of so many positives
        return float(np.mean([expected(np.sum(labels == labels[i]) - 1) for i in asking]))

    def _asking(self, X: Any, y: ArrayLike) -> tuple[Any, np.ndarray, list[int]]:
        """Photos, labels, and positions of those that are queries."""
        self._validate_params()
        check_consistent_length(X, y)
        photos, labels = _by_position(X), np.asarray(y)
        asking = [i for i in range(len(labels)) if self._asks(photos, labels, i)]
        if not asking:
            boxed = " and a box" if self.queries == "boxed" else ""
            raise ValueError(
                f"none of {len(labels)} photos has a label that another one shares{boxed}, so "
                "nothing can be scored; in a cross-validation, keep the photos of an object "
                "together (GroupKFold with groups=y)"
            )
        return photos, labels, asking

    def _rank(self, estimator: Any, X: Any, asking: list[int]) -> Iterator[np.ndarray]:
        descriptors = np.asarray(estimator.transform(X))
        if self.queries == "boxed":
            queries = np.asarray(estimator.transform([X[i].as_query() for i in asking]))
        else:
            queries = descriptors[asking]
        for query in queries:
            # A stable sort: equal similarities keep the order of X, whoever asks.
            yield np.argsort(-(descriptors @ query), kind="stable")

    def _rank_by_steps(self, retriever: Any, X: Any, asking: list[int]) -> Iterator[np.ndarray]:
        queries = [X[i].as_query() if self.queries == "boxed" else X[i] for i in asking]
        return (ranked.order for ranked in retriever.iter_rank(queries, X, exclude=asking))

    def _asks(self, photos: Any, labels: np.ndarray, i: int) -> bool:
        if labels[i] is None or labels[i] == self.distractor or np.sum(labels == labels[i]) < 2:
            return False
        return self.queries == "all" or (
            isinstance(photos, list) and getattr(photos[i], "box", None) is not None
        )


def _by_position(X: Any) -> Any:
    """A list of photos from any sequence of them; a table stays one, whose rows have no boxes."""
    return X if len(getattr(X, "shape", ())) == 2 else list(X)
