"""Precision over recall of rankings, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from sklearn_cmac.inspection._axes import axes_for
from sklearn_cmac.inspection._ranking_display import as_retriever
from sklearn_cmac.metrics import evaluate_rankings
from sklearn_cmac.photos import Item

if TYPE_CHECKING:
    from sklearn_cmac.datasets import Relevance

_LEVELS = 100  # of recall, at which curves of queries are averaged


def precision_at_recall(
    ranking: Iterable[int],
    positives: Iterable[int],
    junk: Iterable[int] = (),
    n_levels: int | None = None,
) -> np.ndarray:
    """Precision at the rank where so many of the positives are found.

    Parameters
    ----------
    ranking, positives, junk
        As for `average_precision`.
    n_levels : int, optional
        At 1 / n_levels of the positives, 2 / n_levels, …, all. Default: at each positive.

    Returns
    -------
    ndarray of shape (n_levels,)
        0 where a ranking that is cut off never gets.

    Examples
    --------
    >>> from sklearn_cmac.inspection import precision_at_recall
    >>> precision_at_recall([7, 1, 5, 2], positives=[7, 5, 4])
    array([1.        , 0.66666667, 0.        ])
    """
    positives = list(set(positives))
    order = np.asarray(list(ranking))
    order = order[~np.isin(order, list(junk))]
    ranks = np.flatnonzero(np.isin(order, positives))
    precision = np.zeros(len(positives))
    precision[: len(ranks)] = np.arange(1, len(ranks) + 1) / (ranks + 1)
    if n_levels is None:
        return precision
    needed = -(-np.arange(1, n_levels + 1) * len(positives) // n_levels)
    return precision[needed - 1]


class PrecisionRecallDisplay:
    """Precision over recall of rankings, junk ignored.

    Unlike scikit-learn's display of that name, it draws what benchmarks of retrieval measure: a
    curve for each query, of which the mean is taken.

    It is best made by `from_estimator` or `from_predictions`.

    Parameters
    ----------
    precision : ndarray of shape (n_levels,)
    recall : ndarray of shape (n_levels,)
    average_precision : float, optional
        mAP, for the legend.
    name : str, optional
        Of the system, for the legend.

    Attributes
    ----------
    line_ : matplotlib.lines.Line2D
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure

    Notes
    -----
    Of one query the curve has a point at each positive. Of several, it has the mean of precisions
    at 1%, 2%, …, 100% of each query's positives, without interpolation. The mAP in the legend is
    that of `evaluate_rankings`.

    Examples
    --------
    >>> from sklearn_cmac.datasets import Relevance
    >>> from sklearn_cmac.inspection import PrecisionRecallDisplay
    >>> relevance = [Relevance([0, 1], [2])]
    >>> display = PrecisionRecallDisplay.from_predictions([[2, 0, 3, 1]], relevance, name="R-MAC")
    >>> display.line_.get_label()
    'R-MAC (mAP = 79.2)'
    """

    def __init__(
        self,
        precision: ArrayLike,
        recall: ArrayLike,
        *,
        average_precision: float | None = None,
        name: str | None = None,
    ):
        self.precision = precision
        self.recall = recall
        self.average_precision = average_precision
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        queries: Sequence[Item],
        photos: Sequence[Item],
        relevance: Sequence[Relevance],
        *,
        exclude: Sequence[int | None] | None = None,
        name: str | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> PrecisionRecallDisplay:
        """Rank photos by each query and draw the curve.

        Parameters
        ----------
        estimator : Retriever or Pipeline
            Fitted.
        queries : sequence of photos or queries
        photos : sequence of photos, or Collection
        relevance : sequence of Relevance
            Of each query.
        exclude : sequence of int or None, optional
            As for `Retriever.rank`.
        name, ax, **kwargs
            As for `from_predictions`.

        Returns
        -------
        PrecisionRecallDisplay
        """
        ranked = as_retriever(estimator).rank(queries, photos, exclude)
        orders = [each.order for each in ranked]
        return cls.from_predictions(orders, relevance, name=name, ax=ax, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        rankings: Sequence[Iterable[int]],
        relevance: Sequence[Relevance],
        *,
        name: str | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> PrecisionRecallDisplay:
        """Draw the curve of rankings.

        Parameters
        ----------
        rankings : sequence of sequences of int
            For each query the photos, best first.
        relevance : sequence of Relevance
            The `positives` and `junk` of each query, as the loaders return them.
        name : str, optional
            Of the system, for the legend.
        ax : matplotlib.axes.Axes, optional
            Default: those of a new figure.
        **kwargs
            For `matplotlib.axes.Axes.plot`.

        Returns
        -------
        PrecisionRecallDisplay

        Raises
        ------
        ValueError
            If there are no rankings, or not as many as queries.
        """
        rankings = [list(ranking) for ranking in rankings]
        if not rankings:
            raise ValueError("there are no rankings to draw")
        scores = evaluate_rankings(rankings, relevance)
        n_levels = None if len(rankings) == 1 else _LEVELS
        precision = np.mean(
            [
                precision_at_recall(ranking, right.positives, right.junk, n_levels)
                for ranking, right in zip(rankings, relevance)
            ],
            axis=0,
        )
        recall = np.arange(1, len(precision) + 1) / len(precision)
        display = cls(precision, recall, average_precision=scores.mean_average_precision, name=name)
        return display.plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> PrecisionRecallDisplay:
        """Draw it.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Default: those of a new figure.
        **kwargs
            For `matplotlib.axes.Axes.plot`.

        Returns
        -------
        self
        """
        self.ax_ = axes_for(ax, (5, 4))
        self.figure_ = self.ax_.figure
        label = self.name
        if self.average_precision is not None:
            score = f"mAP = {100 * self.average_precision:.1f}"
            label = f"{self.name} ({score})" if self.name else score
        (self.line_,) = self.ax_.plot(self.recall, self.precision, **{"label": label, **kwargs})
        self.ax_.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.01))
        if label:
            self.ax_.legend(loc="lower left")
        return self
