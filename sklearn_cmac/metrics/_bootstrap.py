"""How far a mean over queries may be trusted."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from sklearn.utils import check_consistent_length

_BATCH = 100  # resamples in memory at once


def bootstrap_interval(
    scores: ArrayLike,
    baseline: ArrayLike | None = None,
    *,
    groups: ArrayLike | None = None,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
    random_state: int | np.random.RandomState | None = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean over queries, or of a paired difference.

    Parameters
    ----------
    scores : array-like of shape (n_queries,)
        Such as the average precision of each query.
    baseline : array-like of shape (n_queries,), optional
        Scores of another system for the same queries; the interval is then that of the mean
        of ``scores - baseline``.
    groups : array-like of shape (n_queries,), optional
        Such as the landmark of each query. Whole groups are drawn, since queries for one object
        are no independent observations. Default: each query is its own group.
    n_resamples : int, default=10000
    confidence : float, default=0.95
    random_state : int, RandomState instance or None, default=0
        Equal seeds draw equal queries, so tables come out the same.

    Returns
    -------
    low, high : float

    Raises
    ------
    ValueError
        If there are no scores, or those of the baseline, or the groups, are not as many.

    Examples
    --------
    >>> from sklearn_cmac.metrics import bootstrap_interval
    >>> bootstrap_interval([0.6, 0.8, 0.7], baseline=[0.5, 0.7, 0.6])
    (0.1, 0.1)
    """
    values = np.asarray(scores, float)
    if values.ndim != 1 or not values.size:
        raise ValueError(f"scores are a number for each query, got shape {values.shape}")
    if baseline is not None:
        if np.shape(baseline) != values.shape:
            raise ValueError(f"{len(values)} scores are paired with {np.size(baseline)}")
        values = values - np.asarray(baseline, float)
    names = np.arange(len(values)) if groups is None else np.asarray(groups)
    check_consistent_length(values, names)
    _, members = np.unique(names, return_inverse=True)
    sums, counts = np.bincount(members, values), np.bincount(members)
    if len(sums) == 1:  # whatever is drawn is all there is
        low = high = values.mean()
    else:
        low, high = stats.bootstrap(
            (sums, counts),
            _mean_of_groups,
            paired=True,
            vectorized=True,
            n_resamples=n_resamples,
            batch=_BATCH,
            confidence_level=confidence,
            method="percentile",
            random_state=random_state,
        ).confidence_interval
    return round(float(low), 12), round(float(high), 12)


def _mean_of_groups(sums: np.ndarray, counts: np.ndarray, axis: int) -> np.ndarray:
    return sums.sum(axis=axis) / counts.sum(axis=axis)
