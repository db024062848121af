"""The leading eigenvectors of a Normalized Cut in single precision, at a fraction of the cost.

What is saved, and where:

- Similarities below 1e-6 count as none, so only points within a few z of each other are
  compared. Points are sorted along their direction of largest spread; what is left is a band
  about the diagonal, and for symmetry its upper half.
- The band is cut into tiles, each computed by one matrix product and one exponential.
- Eigenvectors come from block Lanczos, which passes over the matrix for several vectors at a
  time, and stops long before they are exact: when the span of each number of clusters is told
  apart from the rest.
- Points far from all others have hardly a part in the eigenvectors, and where they belong would
  be left to rounding. Their rows are computed from the eigenequation, in double precision.

Where it cannot give the answer of double precision, it says so with a `LinAlgError`: where
eigenvalues are too close to each other, or where most rows are faint.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.linalg import LinAlgError, eigh
from scipy.spatial.distance import cdist

# Similarities below this are no edges of the graph.
FAINT = 1e-6
_VANISHING = 1e-30
_TILE = 128
_BLOCK = 16
# Residual of an eigenpair that is good enough for labels, and what it may be of the gap to the
# next eigenvalue: their ratio bounds the angle between the span found and the true one.
_TOLERANCE = 3e-3
_SHARE_OF_GAP = 0.1
# Rounding in single precision leaves residuals of this size.
_LEAST_RESIDUAL = 1e-5
# Where so many vectors of the Krylov space are not enough, double precision is faster.
_MOST_VECTORS = 640
_LONGEST_WAIT = 8
# Rows of eigenvectors that are this small against the usual are computed from the others,
# unless more than this share of all rows is.
_FAINT_ROW = 0.1
_MOST_FAINT = 0.3


class BandedSimilarity:
    """Similarities of points, those of at least 1e-6, as tiles of a symmetric band.

    Parameters
    ----------
    points : ndarray of shape (N, C)
        Finite coordinates, not all equal.
    scale : float
        z as a share of the largest distance between two points.
    kernel : {"gaussian", "exponential"}
        ``exp(-(d / z)^2)`` or ``exp(-2 d / z)``.

    Attributes
    ----------
    order : ndarray of shape (N,)
        The points in the order of the matrix's rows.
    degrees : ndarray of shape (N,)
        Sums of its rows.
    """

    def __init__(self, points: np.ndarray, scale: float, kernel: str):
        centered = points - points.mean(axis=0)
        axes = np.linalg.eigh(centered.T @ centered)[1][:, ::-1]
        turned = centered @ axes
        self.order = np.argsort(turned[:, 0], kind="stable")
        turned = turned[self.order]
        points = (turned / (scale * largest_distance(turned))).astype(np.float32)
        reach = np.sqrt(-np.log(FAINT)) if kernel == "gaussian" else -np.log(FAINT) / 2
        ends = np.searchsorted(points[:, 0], points[:, 0] + np.float32(reach), side="right")
        n = len(points)
        self.degrees = np.zeros(n, np.float32)
        self._tiles = []
        for start in range(0, n, _TILE):
            stop = min(start + _TILE, n)
            end = int(ends[stop - 1])
            tile = _negative_squared_distances(points[start:end], stop - start)
            _apply_kernel(tile, kernel)
            np.fill_diagonal(tile, 1)
            self.degrees[start:stop] += tile.sum(axis=1)
            self.degrees[stop:end] += tile[:, stop - start :].sum(axis=0)
            self._tiles.append((start, stop, end, tile))

    def dot(self, vectors: np.ndarray) -> np.ndarray:
        """The matrix times `vectors` of shape (N, b)."""
        product = np.zeros_like(vectors)
        for start, stop, end, tile in self._tiles:
            product[start:stop] += tile @ vectors[start:end]
            product[stop:end] += tile[:, stop - start :].T @ vectors[start:stop]
        return product


def _negative_squared_distances(points: np.ndarray, n_rows: int) -> np.ndarray:
    """-|x - y|^2 of the first `n_rows` points x and all points y, as one matrix product."""
    # About their own mean, near points lose the fewest digits.
    points = points - points[:n_rows].mean(axis=0)
    squares = np.einsum("nc,nc->n", points, points)[:, None]
    ones = np.ones_like(squares)
    left = np.hstack([2 * points[:n_rows], -squares[:n_rows], -ones[:n_rows]])
    return left @ np.hstack([points, ones, squares]).T


def _apply_kernel(tile: np.ndarray, kernel: str) -> None:
    """Similarities from negative squared distances in units of z, in place."""
    np.minimum(tile, 0, out=tile)
    if kernel == "exponential":
        np.negative(tile, out=tile)
        np.sqrt(tile, out=tile)
        tile *= -2
    # What is left below 1e-6 in a tile weighs too little to be looked for. What has no
    # normal number in single precision would make each product with it many times slower.
    np.exp(tile, out=tile)
    tile[tile < _VANISHING] = 0


def largest_distance(points: np.ndarray) -> float:
    """The largest distance between two of the points, exactly, mostly without all pairs.

    Two points that are further apart than a pair already found cannot both be near the
    centre; only those far enough out are compared.
    """
    points = points - points.mean(axis=0)
    radius = np.linalg.norm(points, axis=1)
    end, found = points[radius.argmax()], 0.0
    for _ in range(3):
        distance = np.linalg.norm(points - end, axis=1)
        end, found = points[distance.argmax()], max(found, float(distance.max()))
    outer = points[radius >= found * (1 - 1e-9) - radius.max()]
    squares = np.einsum("nc,nc->n", outer, outer)
    for start in range(0, len(outer), _TILE):
        rows = slice(start, start + _TILE)
        squared = squares[rows, None] + squares[start:] - 2 * (outer[rows] @ outer[start:].T)
        found = max(found, float(np.sqrt(max(squared.max(), 0))))
    return found


def banded_eigenvectors(
    points: np.ndarray, n_clusters: Sequence[int], scale: float, kernel: str, regularization: float
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The eigenvectors for each number of clusters, in single precision.

    Parameters
    ----------
    points : ndarray of shape (N, C)
        Finite coordinates, not all equal.
    n_clusters : sequence of L ints
        Below N.
    scale, kernel, regularization
        As `similarity` and `leading_eigenvectors` take them.

    Returns
    -------
    eigenvalues : ndarray of shape (max(n_clusters),)
    vectors : list of L ndarrays of shape (N, k)
        Faint rows are resolved.

    Raises
    ------
    LinAlgError
        If single precision cannot tell what double precision would find.
    """
    similarities = BandedSimilarity(points, scale, kernel)
    degrees = similarities.degrees + np.float32(2 * regularization)
    root = 1 / np.sqrt(degrees)[:, None]

    def apply(vectors: np.ndarray) -> np.ndarray:
        scaled = root * vectors
        return root * (similarities.dot(scaled) + np.float32(regularization) * scaled)

    def excess(eigenvalues: np.ndarray, residuals: np.ndarray) -> float:
        return excess_of_spans(eigenvalues, residuals, n_clusters)

    n, k = len(points), max(n_clusters)
    start = np.random.RandomState(0).standard_normal((n, _BLOCK)).astype(np.float32)
    start[:, :1] = 1 / root  # without the offset, the first eigenvector
    eigenvalues, sorted_vectors = block_lanczos(apply, start, k + 1, excess)
    eigenvalues = eigenvalues[:k].astype(np.float64)
    back = np.argsort(similarities.order)
    vectors = (sorted_vectors[:, :k] * root)[back].astype(np.float64)
    vectors = scaled_and_signed(vectors, np.ones(n))
    how = (points, degrees[back], scale, kernel, regularization)
    return eigenvalues, [resolve_coarse(vectors[:, :k], eigenvalues[:k], *how) for k in n_clusters]


def excess_of_spans(
    eigenvalues: np.ndarray, residuals: np.ndarray, n_clusters: Sequence[int]
) -> float:
    """How many times too large the residuals are to tell what the exact eigenvectors span.

    Parameters
    ----------
    eigenvalues : ndarray of shape (max(n_clusters) + 1,)
        Descending.
    residuals : ndarray of shape (max(n_clusters) + 1,)
    n_clusters : sequence of int
        The numbers of leading eigenvectors whose spans are asked for.

    Returns
    -------
    float
        At most 1 if they are small enough.

    References
    ----------
    C. Davis, W. M. Kahan, "The rotation of eigenvectors by a perturbation", 1970.
    """
    k = np.asarray(n_clusters)
    gaps = eigenvalues[k - 1] - eigenvalues[k]
    allowed = np.clip(_SHARE_OF_GAP * gaps, np.finfo(np.float32).tiny, _TOLERANCE)
    return float((np.maximum.accumulate(residuals)[k - 1] / allowed).max())


def resolve_coarse(vectors: np.ndarray, eigenvalues: np.ndarray, *how: Any) -> np.ndarray:
    """`resolve_faint_rows` of eigenvectors in single precision; an error if most rows are."""
    faint = row_lengths(vectors) < _FAINT_ROW
    if faint.mean() > _MOST_FAINT:
        raise LinAlgError("most rows of the eigenvectors are faint")
    return resolve_faint_rows(vectors, eigenvalues, faint, *how)


def row_lengths(vectors: np.ndarray) -> np.ndarray:
    """Lengths of the rows of columns of norm sqrt(N), in units of their root mean square."""
    return np.linalg.norm(vectors, axis=1) / np.sqrt(vectors.shape[1])


def resolve_faint_rows(
    vectors: np.ndarray,
    eigenvalues: np.ndarray,
    faint: np.ndarray,
    points: np.ndarray,
    degrees: np.ndarray,
    scale: float,
    kernel: str,
    regularization: float,
) -> np.ndarray:
    """Eigenvectors with the rows of far-off points computed from those of all others.

    The discretisation looks at the direction of a row only, so it takes rounding for
    information where a row is small. With F the faint rows and B the others, the
    eigenequation ``(S + r I) X = λ d X`` gives ``(λ d_F - r - S_FF) X_F = S_FB X_B``. Links
    below 1e-6, which count as none otherwise, tell where a point belongs that has no other.

    Parameters
    ----------
    vectors : ndarray of shape (N, k)
        Columns of ``d^-1/2 V``, each of norm sqrt(N).
    eigenvalues : ndarray of shape (k,)
    faint : ndarray of bool of shape (N,)
    points : ndarray of shape (N, C)
    degrees : ndarray of shape (N,)
        Of the regularised similarity.
    scale, kernel, regularization
        As `similarity` and `leading_eigenvectors` take them.

    Returns
    -------
    ndarray of shape (N, k)

    Raises
    ------
    LinAlgError
        If the others do not determine them, as where the faint rows among themselves have
        one of the eigenvalues.
    """
    if not faint.any():
        return vectors
    z = scale * largest_distance(points)
    links = similarity_at(cdist(points[faint], points) / z, kernel)
    resolved = np.where(faint[:, None], 0, vectors)
    incoming = links @ resolved
    among = links[:, faint]
    for column, eigenvalue in enumerate(eigenvalues):
        system = np.diag(eigenvalue * degrees[faint] - regularization) - among
        resolved[faint, column] = np.linalg.solve(system, incoming[:, column])
    with np.errstate(over="ignore"):  # of what is hardly determined
        longest = row_lengths(resolved[faint]).max()
    if not longest < 1:
        raise LinAlgError("faint rows of the eigenvectors are not determined by the others")
    return resolved


def similarity_at(distance: np.ndarray, kernel: str) -> np.ndarray:
    """The similarity of points at these distances, in units of z."""
    return np.exp(-(distance**2) if kernel == "gaussian" else -2 * distance)


def scaled_and_signed(vectors: np.ndarray, multiplicities: np.ndarray) -> np.ndarray:
    """Columns of norm sqrt(N) whose first entry is negative, as in Shi's program."""
    norms = np.sqrt(multiplicities @ vectors**2 / multiplicities.sum())
    return vectors * np.where(vectors[0] > 0, -1, 1) / norms


def coarse_excess(eigenvalues: np.ndarray, residuals: np.ndarray) -> float:
    """How many times too large residuals are for labels, if no two eigenvalues are close."""
    return float(residuals.max() / _TOLERANCE)


def block_lanczos(
    apply: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    k: int,
    excess: Callable[[np.ndarray, np.ndarray], float] = coarse_excess,
) -> tuple[np.ndarray, np.ndarray]:
    """The k largest eigenpairs of a symmetric operator, to labelling accuracy.

    Parameters
    ----------
    apply : callable
        The operator on vectors of shape (N, b).
    start : ndarray of shape (N, b)
    k : int
    excess : callable
        How many times too large the residuals (k,) of eigenvalues (k,), descending, are.

    Returns
    -------
    eigenvalues : ndarray of shape (k,)
        Descending.
    vectors : ndarray of shape (N, k)

    Raises
    ------
    LinAlgError
        If they still are when they are as small as they get, or take too long to be less.
    """
    n, b = start.shape
    most = min(max(_MOST_VECTORS, 4 * k), max(n // 2, 4 * k), n) // b
    basis = np.empty((n, most * b), start.dtype, order="F")
    projected = np.zeros((most * b, most * b), start.dtype)
    block = np.linalg.qr(start)[0]
    check = min(-(-2 * k // b), most - 1)
    for step in range(most):
        m = (step + 1) * b
        basis[:, m - b : m] = block
        known = basis[:, :m]
        image = apply(block)
        # Only the last two blocks overlap but for rounding, which the second time takes out.
        recent = basis[:, max(0, m - 2 * b) : m]
        overlap = recent.T @ image
        image -= recent @ overlap
        rounding = known.T @ image
        image -= known @ rounding
        rounding[m - recent.shape[1] :] += overlap
        projected[:m, m - b : m] = rounding
        projected[m - b : m, :m] = rounding.T
        block, rest = np.linalg.qr(image)
        if step == check:
            eigenvalues, combos = eigh(projected[:m, :m], subset_by_index=[m - k, m - 1])
            eigenvalues, combos = eigenvalues[::-1], combos[:, ::-1]
            residuals = np.linalg.norm(rest @ combos[m - b :], axis=0)
            left = excess(eigenvalues, residuals)
            if left <= 1:
                return eigenvalues, known @ combos.astype(start.dtype)
            if residuals.max() < _LEAST_RESIDUAL or step == most - 1:
                break
            # The small eigenproblem costs as much as a pass: the next time it is solved is
            # when, at a third less each pass, the residual can be small enough.
            wait = int(min(np.log(left) / np.log(1.5), _LONGEST_WAIT))
            check = min(step + max(1, wait), most - 1)
        if np.abs(np.diag(rest)).min() < 1e-4:
            # The space is nearly exhausted and the new block mostly rounding: clean it.
            block -= known @ (known.T @ block)
            block = np.linalg.qr(block)[0]
    raise LinAlgError("eigenvalues too close for single precision")
