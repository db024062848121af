"""The Normalized Cut of a set of points: similarity, eigenvectors, discretisation.

Functions of arrays, each usable alone. Steps and constants are those of the program that
Shi released (Normalized Cut Segmentation Code, 2004) after

- J. Shi, J. Malik, "Normalized Cuts and Image Segmentation", PAMI 2000;
- S. X. Yu, J. Shi, "Multiclass Spectral Clustering", ICCV 2003.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cache

import numpy as np
from scipy.linalg import eigh
from scipy.sparse.linalg import eigsh
from scipy.spatial.distance import cdist
from threadpoolctl import ThreadpoolController

from sklearn_cmac.regions._banded import (
    FAINT,
    banded_eigenvectors,
    resolve_faint_rows,
    scaled_and_signed,
    similarity_at,
)

MAX_ITERATIONS = 20
SMALLEST_SCALE = 0.02


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
    normalized = similarities * sides[:, None] * sides
    normalized.flat[:: n + 1] += regularization * root**2
    if n <= few_points(k):
        eigenvalues, vectors = eigh(normalized, subset_by_index=[n - k, n - 1])
    else:
        eigenvalues, vectors = eigsh(normalized, k, which="LA", v0=np.ones(n))
    order = np.argsort(-eigenvalues)
    vectors = vectors[:, order] * (root / np.sqrt(many))[:, None]
    return eigenvalues[order], scaled_and_signed(vectors, many)


def few_points(k: int) -> int:
    """Up to so many points, the dense eigenproblem in double precision costs next to nothing."""
    return max(200, 8 * k)


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
        Single precision is many times as fast, and differs by less than another start row
        makes. Few points, and scales below 0.02, at which it would lose too many digits of
        the distances, are always cut in double precision.

    Returns
    -------
    labels : ndarray of shape (L, N)
    eigenvalues : ndarray of shape (max(n_clusters),)
        Or fewer, where there are fewer distinct points.
    """
    with _one_thread():
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
    counts, k = list(n_clusters), max(n_clusters)
    distinct = few_distinct(points, 2 * k)
    if distinct is not None:
        # Equal points stay together, and a Krylov space of so few would be exhausted.
        places, which, many = distinct
        counts = [min(k, len(places)) for k in n_clusters]
        similarities = similarity(places, scale, kernel)
        eigenvalues, vectors = leading_eigenvectors(similarities, max(counts), regularization, many)
        columns = [vectors[which, :k] for k in counts]
    elif precision == "float64" or len(points) <= few_points(k) or scale < SMALLEST_SCALE:
        similarities = similarity(points, scale, kernel)
        eigenvalues, vectors = leading_eigenvectors(similarities, k, regularization)
        columns = [vectors[:, :k] for k in counts]
    else:
        how = (scale, kernel, regularization)
        eigenvalues, vectors, degrees = banded_eigenvectors(points, k, *how)
        columns = [
            resolve_faint_rows(vectors[:, :k], eigenvalues[:k], points, degrees, *how)
            for k in counts
        ]
    labels = [discretize(vectors, row) for vectors, row in zip(columns, start_rows)]
    return np.stack(labels), eigenvalues


def few_distinct(points: np.ndarray, few: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """The distinct points, which of them each point is, and how often they occur.

    None if there are more than `few`; a sample tells that of most sets without sorting all.
    """
    sample = points[:: max(1, len(points) // (4 * few))]
    if len(np.unique(sample, axis=0)) > few:
        return None
    distinct, which, many = np.unique(points, axis=0, return_inverse=True, return_counts=True)
    return (distinct, which.ravel(), many) if len(distinct) <= few else None


def centered(points: np.ndarray) -> np.ndarray:
    """The points about their mean, in [-1, 1]: no difference of them over- or underflows."""
    points = np.asarray(points, dtype=np.float64)
    points = points / (np.abs(points).max() or 1)
    points = points - points.mean(axis=0)
    return points / (np.abs(points).max() or 1)


def _one_thread() -> AbstractContextManager[None]:
    """Algebra of this size is slower in two threads than in one, and less reproducible."""
    return _blas_controller().limit(limits=1, user_api="blas")


@cache
def _blas_controller() -> ThreadpoolController:
    return ThreadpoolController()
