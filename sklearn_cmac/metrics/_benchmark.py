"""A benchmark's queries scored as its protocol says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from sklearn_cmac.metrics._average_precision import average_precision


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
    junk, positives = set(junk), set(positives)
    hits = np.array([photo in positives for photo in ranking if photo not in junk], dtype=bool)
    if not hits.any():
        return 0.0
    depth = min(int(np.flatnonzero(hits)[-1]) + 1, k)
    return float(hits[:depth].mean())


def evaluate_rankings(
    rankings: Iterable[Sequence[int]], relevance: Sequence[Any], ks: Sequence[int] = (1, 5, 10)
) -> Bunch:
    """Score the rankings of a benchmark's queries.

    Parameters
    ----------
    rankings : iterable of sequences of int
        For each query the photos, as indices, best first. They may be cut off.
    relevance : sequence
        The `positives` and `junk` of each query, as the loaders return them.
    ks : sequence of int
        Ranks for precision.

    Returns
    -------
    Bunch
        With `mean_average_precision` (float), `average_precision` (ndarray of shape
        (n_queries,)) and `mean_precision` (dict from k to float).

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
    rankings = list(rankings)
    if len(rankings) != len(relevance):
        raise ValueError(f"there are {len(rankings)} rankings for {len(relevance)} queries")
    pairs = list(zip(rankings, relevance))
    scores = np.array([average_precision(r, to.positives, to.junk) for r, to in pairs])
    precision = {
        k: float(np.mean([precision_at_k(r, to.positives, k, to.junk) for r, to in pairs]))
        for k in ks
    }
    return Bunch(
        mean_average_precision=float(scores.mean()),
        average_precision=scores,
        mean_precision=precision,
    )
