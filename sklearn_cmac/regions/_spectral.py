"""The Normalized Cut of a set of points: similarity, eigenvectors, discretisation.

Functions of arrays, each usable alone. Steps and constants are those of the program that
Shi released (Normalized Cut Segmentation Code, 2004) after

- J. Shi, J. Malik, "Normalized Cuts and Image Segmentation", PAMI 2000;
- S. X. Yu, J. Shi, "Multiclass Spectral Clustering", ICCV 2003.
"""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from typing import Any

import numpy as np
from scipy.linalg import LinAlgError, eigh
from scipy.sparse.linalg import ArpackError, eigsh
from scipy.spatial.distance import cdist

from sklearn_cmac._threads import one_thread
from sklearn_cmac.regions._banded import (
    FAINT,
    banded_eigenvectors,
    resolve_faint_rows,
    row_lengths,
    scaled_and_signed,
    similarity_at,
)

MAX_ITERATIONS = 20
SMALLEST_SCALE = 0.02
# Entries of eigenvectors of norm 1 that are left to rounding by a solver to this tolerance,
# that of Shi's program.
_ROUNDING = 1e-6
# Up to so many points, all eigenvalues are found. Lanczos, which above takes less than half
# the time, may miss copies of an equal one, as points that are alike no others have.
_DENSE = 1200
# After so many restarts of Lanczos, the dense eigenproblem is faster.
_MOST_RESTARTS = 100
# Where a Krylov space is exhausted, SciPy from 1.17 on draws from a generator of its caller.
_SEEDED: dict[str, Any] = {"rng": 0} if "rng" in signature(eigsh).parameters else {}


def similarity(points: np.ndarray, scale: float = 0.05, kernel: str = "gaussian") -> np.ndarray:
    """How alike each two points are.

    Parameters
    ----------
    points : ndarray of shape (N, C)
        Finite coordinates.
    scale : float
        z as a share of the largest distance between two points.
    kernel : {"gaussian", "exponential"}
        ``exp(-(d / z)^2)``, or ``exp(-2 d / z)`` as the paper prints it.

    Returns
    -------
    ndarray of shape (N, N)
        Symmetric, 1 on the diagonal, 0 where it would be below 1e-6.
    """
    distance = cdist(points, points)
    largest = distance.max()
    if largest == 0:
        return np.ones_like(distance)
    distance /= scale * largest
    similarities = similarity_at(distance, kernel)
    similarities[similarities < FAINT] = 0
    return similarities


def leading_eigenvectors(
    similarities: np.ndarray,
    k: int,
    regularization: float = 0.5,
    multiplicities: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The k leading eigenvectors of the regularised, normalised similarity.

    With r the regularisation, ``W = S + r I`` has degrees ``d_i = sum_j S_ij + 2 r``, and the
    eigenproblem is that of ``P = d^-1/2 W d^-1/2``. The offset keeps the cut from peeling off
    single outliers.

    Parameters
    ----------
    similarities : ndarray of shape (N, N)
    k : int
        At most N.
    regularization : float
    multiplicities : ndarray of shape (N,), optional
        How many equal points each row stands for. Default: one.

    Returns
    -------
    eigenvalues : ndarray of shape (k,)
        Descending.
    vectors : ndarray of shape (N, k)
        Columns of ``d^-1/2 V``, each of norm sqrt(N) over all points.
    """
    n = len(similarities)
    many = np.ones(n) if multiplicities is None else multiplicities
    root = 1 / np.sqrt(similarities @ many + 2 * regularization)
    sides = root * np.sqrt(many)
    normalized = similarities * sides
    normalized *= sides[:, None]
    normalized.flat[:: n + 1] += regularization * root**2
    if n <= max(_DENSE, 8 * k):
        eigenvalues, vectors = _dense(normalized, k)
    else:
        eigenvalues, vectors = _iterated(normalized, k)
    order = np.argsort(-eigenvalues)
    vectors = vectors[:, order] * (root / np.sqrt(many))[:, None]
    return eigenvalues[order], scaled_and_signed(vectors, many)


def _iterated(normalized: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k leading eigenpairs (k,), (N, k), as fast as they can be had."""
    n = len(normalized)
    try:
        # A start near an eigenvector exhausts the Krylov space, which goes on at random.
        start = np.random.RandomState(0).standard_normal(n)
        return eigsh(normalized, k, which="LA", v0=start, maxiter=_MOST_RESTARTS, **_SEEDED)
    except ArpackError:
        # Many equal eigenvalues, as of points that are alike no others.
        return _dense(normalized, k)


def _dense(normalized: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k leading eigenpairs (k,), (N, k), whatever the eigenvalues."""
    n = len(normalized)
    try:
        return eigh(normalized, subset_by_index=[n - k, n - 1])
    except LinAlgError:
        # The quickest driver of LAPACK gives up on some clusters of equal eigenvalues.
        eigenvalues, vectors = eigh(normalized, driver="evd")
        return eigenvalues[-k:], vectors[:, -k:]


def few_points(k: int) -> int:
    """Up to so many points, double precision costs little more than single precision."""
    return max(600, 8 * k)


def discretize(vectors: np.ndarray, start_row: int) -> np.ndarray:
    """The partition nearest to the eigenvectors, up to a rotation of them.

    Parameters
    ----------
    vectors : ndarray of shape (N, k)
        As `leading_eigenvectors` returns them.
    start_row : int
        The point from which the first rotation is built.

    Returns
    -------
    ndarray of shape (N,)
        Labels 0..m-1 with m <= k: clusters that came out empty are dropped.
    """
    n, k = vectors.shape
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = vectors / np.where(lengths > 0, lengths, 1)
    rotation = np.empty((k, k), rows.dtype)
    rotation[:, 0] = rows[start_row]
    likeness = np.zeros(n, rows.dtype)
    for j in range(1, k):
        likeness += np.abs(rows @ rotation[:, j - 1])
        rotation[:, j] = rows[np.argmin(likeness)]
    objective, members = 0.0, np.eye(k)
    for _ in range(MAX_ITERATIONS + 1):
        labels = np.argmax(rows @ rotation, axis=1)
        left, singular, right = np.linalg.svd(members[labels].T @ rows)
        previous, objective = objective, 2 * (n - singular.sum())
        if abs(objective - previous) < np.finfo(np.float64).eps:
            break
        rotation = right.T @ left.T
    return np.unique(labels, return_inverse=True)[1]


def normalized_cut(
    points: np.ndarray,
    n_clusters: Sequence[int],
    start_rows: Sequence[int],
    *,
    scale: float = 0.05,
    kernel: str = "gaussian",
    regularization: float = 0.5,
    precision: str = "float32",
) -> tuple[np.ndarray, np.ndarray]:
    """Cut one set of points into each number of clusters, with one eigenproblem for all.

    Parameters
    ----------
    points : ndarray of shape (N, C)
    n_clusters : sequence of L ints
        Numbers of clusters. More than there are distinct points are not made.
    start_rows : sequence of L ints
        For `discretize`.
    scale, kernel, regularization
        For `similarity` and `leading_eigenvectors`.
    precision : {"float32", "float64"}
        Single precision is many times as fast. Few points, those whose clusters it cannot
        tell, and scales below 0.02, at which it would lose too many digits of the distances,
        are always cut in double precision.

    Returns
    -------
    labels : ndarray of shape (L, N)
    eigenvalues : ndarray of shape (max(n_clusters),)
        Or fewer, where there are fewer distinct points.
    """
    with one_thread():
        return _cut(points, n_clusters, start_rows, scale, kernel, regularization, precision)


def _cut(
    points: np.ndarray,
    n_clusters: Sequence[int],
    start_rows: Sequence[int],
    scale: float,
    kernel: str,
    regularization: float,
    precision: str,
) -> tuple[np.ndarray, np.ndarray]:
    points = centered(points)
    how = (scale, kernel, regularization)
    places, first, which, many = distinct_points(points)
    k = max(n_clusters)
    if len(places) <= 2 * k:
        # Equal points stay together, and a Krylov space of so few would be exhausted.
        counts = [min(k, len(places)) for k in n_clusters]
        eigenvalues, vectors = leading_eigenvectors(
            similarity(places, scale, kernel), max(counts), regularization, many
        )
        columns = [vectors[which, :k] for k in counts]
    elif precision == "float64" or len(points) <= few_points(k) or scale < SMALLEST_SCALE:
        eigenvalues, columns = _double_eigenvectors(points, n_clusters, *how)
    else:
        try:
            eigenvalues, columns = banded_eigenvectors(points, n_clusters, *how)
        except LinAlgError:
            eigenvalues, columns = _double_eigenvectors(points, n_clusters, *how)
    labels = [discretize(vectors, row) for vectors, row in zip(columns, start_rows)]
    return np.stack([together(partition, first, which) for partition in labels]), eigenvalues


def _double_eigenvectors(
    points: np.ndarray, n_clusters: Sequence[int], scale: float, kernel: str, regularization: float
) -> tuple[np.ndarray, list[np.ndarray]]:
    """As `banded_eigenvectors`, in double precision."""
    similarities = similarity(points, scale, kernel)
    degrees = similarities.sum(axis=1) + 2 * regularization
    values, vectors = leading_eigenvectors(similarities, max(n_clusters), regularization)
    how = (points, degrees, scale, kernel, regularization)
    return values, [_resolved(vectors[:, :k], values[:k], *how) for k in n_clusters]


def _resolved(vectors: np.ndarray, eigenvalues: np.ndarray, *how: Any) -> np.ndarray:
    """Eigenvectors with the rows resolved that are rounding, where they can be."""
    faint = row_lengths(vectors) < _ROUNDING * np.sqrt(len(vectors) / vectors.shape[1])
    try:
        return resolve_faint_rows(vectors, eigenvalues, faint, *how)
    except LinAlgError:
        return np.where(faint[:, None], 0, vectors)


def distinct_points(
    points: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The M distinct points, the first of each, which each point is, and how often they occur.

    Returns
    -------
    places : ndarray of shape (M, C)
    first : ndarray of shape (M,)
    which : ndarray of shape (N,)
    many : ndarray of shape (M,)
    """
    places, first, which, many = np.unique(
        points, axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    return places, first, which.ravel(), many


def together(labels: np.ndarray, first: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Labels 0..m-1 with equal points where the first of them is; rounding may part them."""
    return np.unique(labels[first][which], return_inverse=True)[1]


def centered(points: np.ndarray) -> np.ndarray:
    """The points about their mean, in [-1, 1]: no difference of them over- or underflows."""
    points = np.asarray(points, dtype=np.float64)
    points = points / (np.abs(points).max() or 1)
    points = points - points.mean(axis=0)
    return points / (np.abs(points).max() or 1)
