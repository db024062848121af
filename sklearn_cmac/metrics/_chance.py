"""What rankings in random order score."""

from __future__ import annotations

import numpy as np


def expected_average_precision(n_photos: int, n_positives: int, at: int | None = None) -> float:
    """The mean average precision of all orders of so many photos.

    Parameters
    ----------
    n_photos : int
        That are ranked, junk not counted.
    n_positives : int
        Of them, 1 at least.
    at : int, optional
        Average precision is that at this rank (`average_precision_at_k`). Default: that of whole
        rankings, as `average_precision` defines it.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        If there are no positives, or more than photos.

    Notes
    -----
    With N photos and R positives, a positive is at any rank k with probability 1 / N, and then
    each of the k - 1 photos before it is a positive with probability (R - 1) / (N - 1). So the
    mean precision behind it is that of ``(1 + (k - 1) (R - 1) / (N - 1)) / k`` over all k, and the
    one before it, which the trapezoid rule takes as well, R / N.

    References
    ----------
    Y. Bestgen, "Exact Expected Average Precision of the Random Baseline for System Evaluation",
    The Prague Bulletin of Mathematical Linguistics 103, 2015.

    Examples
    --------
    >>> from sklearn_cmac.metrics import expected_average_precision
    >>> round(expected_average_precision(5063, 50), 4)  # about the share of positives
    0.0107
    >>> expected_average_precision(7, 7)
    1.0
    """
    if not 1 <= n_positives <= n_photos:
        raise ValueError(f"of {n_photos} photos 1 at least is a positive, got {n_positives}")
    k = np.arange(1, (n_photos if at is None else min(at, n_photos)) + 1)
    others = (n_positives - 1) / max(1, n_photos - 1)
    behind = (1 + (k - 1) * others) / k
    if at is not None:
        return float(n_positives / n_photos * behind.sum() / min(at, n_positives))
    return float((n_positives / n_photos + behind.mean()) / 2)
