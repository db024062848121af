"""How far a mean over queries may be trusted."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_random_state


def bootstrap_interval(
    scores: Any,
    baseline: Any = None,
    *,
    groups: Any = None,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
    random_state: Any = 0,
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
        If scores and baseline are of different queries.

    Examples
    --------
    >>> from sklearn_cmac.metrics import bootstrap_interval
    >>> bootstrap_interval([0.6, 0.8, 0.7], baseline=[0.5, 0.7, 0.6])
    (0.1, 0.1)
    """
    values = np.asarray(scores, float)
    if baseline is not None:
        if np.shape(baseline) != values.shape:
            raise ValueError(f"{len(values)} scores are paired with {np.size(baseline)}")
        values = values - np.asarray(baseline, float)
    names = np.arange(len(values)) if groups is None else np.asarray(groups)
    _, members = np.unique(names, return_inverse=True)
    sums, counts = np.bincount(members, values), np.bincount(members)
    rng = check_random_state(random_state)
    means = np.empty(n_resamples)
    for i in range(n_resamples):
        drawn = rng.randint(len(sums), size=len(sums))
        means[i] = sums[drawn].sum() / counts[drawn].sum()
    tail = 50 * (1 - confidence)
    low, high = np.percentile(means, [tail, 100 - tail]).round(12).tolist()
    return low, high
