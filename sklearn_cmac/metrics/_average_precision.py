"""Average precision of one ranking, as the Oxford and Paris benchmarks define it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def average_precision(
    ranking: Iterable[int], positives: Iterable[int], junk: Iterable[int] = ()
) -> float:
    """Area under the precision-recall curve by the trapezoid rule, junk ignored.

    Parameters
    ----------
    ranking : iterable of int
        Photos, best first, each at most once. It may be cut off: positives that it does not
        reach count as never found.
    positives : iterable of int
        Photos that show the object.
    junk : iterable of int
        Photos that count neither as right nor as wrong; they are taken out of the ranking
        first.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        If there are no positives, a photo is both positive and junk, or the ranking names a
        photo twice.

    Notes
    -----
    With r_j the 0-based rank of the j-th positive that is found and n the number of all
    positives, AP is the sum over j = 0, 1, … of ``(p_j + (j + 1) / (r_j + 1)) / (2 n)``, where
    the precision before it, p_j, is j / r_j, or 1 at the head of the list.

    References
    ----------
    J. Philbin et al., "Object retrieval with large vocabularies and fast spatial matching",
    CVPR 2007, and the program published with the Oxford Buildings.

    Examples
    --------
    >>> from sklearn_cmac.metrics import average_precision
    >>> round(average_precision([7, 1, 5, 2, 3, 4], positives=[7, 5, 4, 9]), 6)
    0.508333
    >>> average_precision([3, 0, 1], positives=[0, 1], junk=[3])
    1.0
    """
    positives, junk = set(positives), set(junk)
    if not positives:
        raise ValueError("average precision is not defined without positives")
    if positives & junk:
        raise ValueError(f"photos {sorted(positives & junk)[:5]} are both positive and junk")
    kept = without(ranking, junk)
    if len(np.unique(kept)) != len(kept):
        raise ValueError("the ranking names a photo twice")
    ranks = np.flatnonzero(np.isin(kept, list(positives)))
    found = np.arange(len(ranks))
    before = np.divide(found, ranks, out=np.ones(len(ranks)), where=ranks > 0)
    after = (found + 1) / (ranks + 1)
    return float(np.sum(before + after) / (2 * len(positives)))


def average_precision_at_k(
    ranking: Iterable[int], positives: Iterable[int], k: int, junk: Iterable[int] = ()
) -> float:
    """Mean of the precisions at which positives are found among the first k, junk ignored.

    Parameters
    ----------
    ranking : iterable of int
        Photos, best first, each at most once.
    positives : iterable of int
        Photos that show the object.
    k : int
        How many photos count. Where there are more positives, the sum is over k.
    junk : iterable of int
        Photos that are taken out of the ranking first.

    Returns
    -------
    float
        In [0, 1]: the sum of precisions at positives among the first k, over min(k, n), n being
        the number of all positives.

    Raises
    ------
    ValueError
        If there are no positives.

    References
    ----------
    Mean over queries, it is the mAP at 1000 of G. Kordopatis-Zilos et al., "ILIAS: Instance-Level
    Image retrieval At Scale", CVPR 2025, and the mAP at 100 of T. Weyand et al., "Google Landmarks
    Dataset v2", CVPR 2020.

    Examples
    --------
    >>> from sklearn_cmac.metrics import average_precision_at_k
    >>> round(average_precision_at_k([7, 1, 5, 2], positives=[7, 5, 4], k=3), 4)
    0.5556
    >>> average_precision_at_k([7, 1, 5, 2], positives=[7, 5, 4], k=1)
    1.0
    """
    positives = list(positives)
    if not positives:
        raise ValueError("average precision is not defined without positives")
    found = np.isin(without(ranking, junk)[:k], positives)
    precision = np.cumsum(found) / (np.arange(len(found)) + 1)
    return float(precision[found].sum() / min(k, len(positives)))


def without(ranking: Iterable[int], junk: Iterable[int]) -> np.ndarray:
    """The ranking without junk."""
    order = ranking if isinstance(ranking, np.ndarray) else np.asarray(list(ranking))
    return order[~np.isin(order, list(junk))]
