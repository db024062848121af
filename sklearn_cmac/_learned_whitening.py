"""Which photos show the same object, and how the vectors of such photos differ.

Array functions behind learned whitening (siaMAC).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import cholesky, solve_triangular
from sklearn.utils import check_random_state

from sklearn_cmac._steps import Seed

# Differences that are held at once: 8 MB for 1024 dimensions.
_CHUNK = 1024


def pairs_from_labels(
    y: ArrayLike,
    distractor: str | int | None = None,
    max_pairs: int = 20_000,
    random_state: Seed = 0,
) -> np.ndarray:
    """Pairs of photos that have one label.

    Parameters
    ----------
    y : array-like of shape (n,)
        A label for each photo.
    distractor : label, optional
        Photos of this label match none.
    max_pairs : int
        If there are more, as many are drawn, with replacement.
    random_state : int, RandomState instance or None

    Returns
    -------
    ndarray of int of shape (P, 2)
        Positions in `y`; P may be 0.
    """
    labels = np.asarray(y)
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels) if label != distractor]
    groups = [group for group in groups if len(group) > 1]
    sizes = np.asarray([len(group) for group in groups], dtype=np.int64)
    n_pairs = sizes * (sizes - 1) // 2
    if n_pairs.sum() <= max_pairs:
        all_pairs = [np.empty((0, 2), np.int64)]
        for group in groups:
            first, second = np.triu_indices(len(group), 1)
            all_pairs.append(np.column_stack([group[first], group[second]]))
        return np.concatenate(all_pairs)
    random = check_random_state(random_state)
    which = random.choice(len(groups), size=max_pairs, p=n_pairs / n_pairs.sum())
    first = random.randint(sizes[which])
    second = (first + 1 + random.randint(sizes[which] - 1)) % sizes[which]
    starts = np.cumsum(sizes) - sizes
    members = np.concatenate(groups)
    return np.column_stack([members[starts[which] + first], members[starts[which] + second]])


def difference_covariance(photos: Sequence[np.ndarray], pairs: np.ndarray) -> np.ndarray:
    """C_S, the mean of ``(x_q - x_p)(x_q - x_p)^T`` over pairs of matching vectors.

    Each region of a photo matches the one of the other photo that is most similar to it.

    Parameters
    ----------
    photos : sequence of ndarray of shape (R_i, D)
        Vectors, which are scaled to unit length.
    pairs : ndarray of int of shape (P, 2)
        Matching photos.

    Returns
    -------
    ndarray of shape (D, D)
    """
    n_features = photos[0].shape[1]
    products, total = np.zeros((n_features, n_features)), 0
    waiting: list[np.ndarray] = []
    for k, (q, p) in enumerate(pairs, start=1):
        waiting.append(_differences(_unit(photos[q]), _unit(photos[p])))
        if k == len(pairs) or sum(map(len, waiting)) >= _CHUNK:
            differences = np.concatenate(waiting)
            products += differences.T @ differences
            total += len(differences)
            waiting = []
    return products / total


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors = np.asarray(vectors, np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)


def _differences(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Each row of `a` and of `b` less its most similar row of the other, (R_a + R_b, D)."""
    if len(a) == len(b) == 1:
        return a - b  # the opposite has the same product
    similarities = a @ b.T
    return np.concatenate([a - b[similarities.argmax(axis=1)], b - a[similarities.argmax(axis=0)]])


def whitening_factor(covariance: np.ndarray) -> tuple[np.ndarray, float]:
    """P0, with ``P0 (C + loading I) P0^T = I``: the inverse of C's Cholesky factor.

    Parameters
    ----------
    covariance : ndarray of shape (D, D)
        C, symmetric, without negative eigenvalues but those of rounding, and not zero.

    Returns
    -------
    factor : ndarray of shape (D, D)
        P0, lower triangular.
    loading : float
        0 if C is positive definite, else the smallest power of ten times C's mean variance
        that makes it so, from 1e-10 on.
    """
    size = len(covariance)
    mean_variance = np.trace(covariance) / size
    for loading in (0.0, *(10.0**k * mean_variance for k in range(-10, 1))):
        try:
            lower = cholesky(covariance + loading * np.eye(size), lower=True)
        except np.linalg.LinAlgError:
            continue
        # A pivot that rounding alone can produce is as good as none.
        if np.diag(lower).min() ** 2 > size * np.finfo(np.float64).eps * mean_variance:
            return solve_triangular(lower, np.eye(size), lower=True), loading
    raise ValueError("the covariance has no positive variance")
