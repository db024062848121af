"""A benchmark's queries scored as its protocol says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils import Bunch

from sklearn_cmac.metrics._average_precision import (
    average_precision,
    average_precision_at_k,
    without,
)

if TYPE_CHECKING:
    from sklearn_cmac.datasets import Relevance


def precision_at_k(
    ranking: Iterable[int], positives: Iterable[int], k: int, junk: Iterable[int] = ()
) -> float:
    """Share of positives among the first k photos, junk ignored.

    Parameters
    ----------
    ranking : iterable of int
        Photos, best first.
    positives : iterable of int
        Photos that show the object.
    k : int
        Where to look. As in the revisited benchmarks, a query whose last positive comes before
        rank k is looked at up to that one.
    junk : iterable of int
        Photos that are taken out of the ranking first.

    Returns
    -------
    float
        In [0, 1].

    References
    ----------
    F. Radenović et al., "Revisiting Oxford and Paris: Large-Scale Image Retrieval
    Benchmarking", CVPR 2018.

    Examples
    --------
    >>> from sklearn_cmac.metrics import precision_at_k
    >>> precision_at_k([7, 1, 5, 2], positives=[7, 5], k=2)
    0.5
    >>> precision_at_k([7, 5, 1, 2], positives=[7, 5], k=10)
    1.0
    """
    kept = without(ranking, junk)
    hits = np.isin(kept, list(positives))
    if not hits.any():
        return 0.0
    depth = min(int(np.flatnonzero(hits)[-1]) + 1, k)
    return float(hits[:depth].mean())


def recall_at_k(
    ranking: Iterable[int], positives: Iterable[int], k: int, junk: Iterable[int] = ()
) -> float:
    """Whether a positive is among the first k photos, junk ignored.

    Parameters
    ----------
    ranking, positives, k, junk
        As for `average_precision_at_k`.

    Returns
    -------
    float
        1 or 0. Its mean over queries is recall at k as metric learning reports it.

    References
    ----------
    H. O. Song et al., "Deep Metric Learning via Lifted Structured Feature Embedding", CVPR 2016.

    Examples
    --------
    >>> from sklearn_cmac.metrics import recall_at_k
    >>> recall_at_k([7, 1, 5], positives=[1, 9], k=1), recall_at_k([7, 1, 5], [1, 9], k=2)
    (0.0, 1.0)
    """
    return float(np.isin(without(ranking, junk)[:k], list(positives)).any())


def evaluate_rankings(
    rankings: Iterable[Iterable[int]],
    relevance: Sequence[Relevance],
    ks: Sequence[int] = (1, 5, 10),
    at: int | None = None,
) -> Bunch:
    """Score the rankings of a benchmark's queries.

    Parameters
    ----------
    rankings : iterable of sequences of int
        For each query the photos, as indices, best first. They may be cut off.
    relevance : sequence
        The `positives` and `junk` of each query, as the loaders return them.
    ks : sequence of int
        Ranks for precision and recall.
    at : int, optional
        Average precision is that at this rank (`average_precision_at_k`). Default: that of whole
        rankings, as `average_precision` defines it.

    Returns
    -------
    Bunch
        With `mean_average_precision` (float), `average_precision` (ndarray of shape
        (n_queries,)), `mean_precision` and `mean_recall` (dict from k to float).

    Raises
    ------
    ValueError
        If there are not as many rankings as queries.

    Examples
    --------
    >>> from sklearn_cmac.datasets import Relevance
    >>> from sklearn_cmac.metrics import evaluate_rankings
    >>> scores = evaluate_rankings([[2, 0, 1]], [Relevance([0], [2])])
    >>> scores.mean_average_precision, scores.mean_precision[1]
    (1.0, 1.0)
    """
    scores, precisions, recalls, n = [], [], [], 0
    for n, ranking in enumerate(rankings, 1):
        if n <= len(relevance):
            positives, junk = relevance[n - 1].positives, relevance[n - 1].junk
            if at is None:
                scores.append(average_precision(ranking, positives, junk))
            else:
                scores.append(average_precision_at_k(ranking, positives, at, junk))
            precisions.append([precision_at_k(ranking, positives, k, junk) for k in ks])
            recalls.append([recall_at_k(ranking, positives, k, junk) for k in ks])
    if n != len(relevance):
        raise ValueError(f"there are {n} rankings for {len(relevance)} queries")
    return Bunch(
        mean_average_precision=float(np.mean(scores)),
        average_precision=np.array(scores),
        mean_precision=dict(zip(ks, np.mean(precisions, axis=0).tolist())),
        mean_recall=dict(zip(ks, np.mean(recalls, axis=0).tolist())),
    )
