"""The one map of the plane with which most pairs of points agree, and where it takes an object."""

from __future__ import annotations

import numpy as np

from sklearn_cmac.photos import Box

FEW = 16  # pairs: of fewer, eight numbers say too much
_MOST_TRIED = 64  # pairs of which all pairs are tried
_AREA = 100.0  # by which factor a map may enlarge or shrink areas
_STRETCH = 10.0  # by which factor it may do so in one direction more than in another


def find_homography(
    source: np.ndarray,
    target: np.ndarray,
    tolerance: float,
    max_trials: int = 2000,
    random_state: int | None = 0,
) -> tuple[np.ndarray | None, np.ndarray]:
    """The map between two views of a plane with which most pairs of points agree.

    Of fewer than 16 pairs it is a similarity, which turns, scales and moves: eight numbers agree
    with some of so few pairs by chance.

    Parameters
    ----------
    source, target : ndarray of shape (n, 2)
        Matching points (x, y).
    tolerance : float
        A pair agrees if the map takes its point of `source` nearer than this to that of `target`.
    max_trials : int, default=2000
        Maps that are tried, of four pairs each. Of fewer than 16 pairs, all are.
    random_state : int or None, default=0
        Draws pairs.

    Returns
    -------
    matrix : ndarray of shape (3, 3), or None
        The map of points (x, y, 1); None if there is none.
    inliers : ndarray of bool of shape (n,)
        Which pairs agree.

    Notes
    -----
    A map is refused that mirrors, that changes areas by a factor above 100 or one direction by 10
    times another at a pair that agrees, or whose pairs lie on a line.

    Raises
    ------
    ImportError
        If poselib is not installed.

    References
    ----------
    O. Chum, J. Matas, J. Kittler, "Locally Optimized RANSAC", DAGM 2003.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac.local import find_homography
    >>> corners = np.array([[0.0, 0], [9, 0], [0, 9], [9, 9], [5, 5]])
    >>> moved = 2 * corners + (3, 4)
    >>> moved[4] = 0
    >>> matrix, inliers = find_homography(corners, moved, tolerance=1)
    >>> (matrix @ [1, 1, 1]).round(6)
    array([5., 6., 1.])
    >>> inliers
    array([ True,  True,  True,  True, False])
    """
    source, target = np.asarray(source, float), np.asarray(target, float)
    none = None, np.zeros(len(source), bool)
    if len(source) < 3:
        return none
    if len(source) < FEW:
        matrix, inliers = find_similarity(source, target, tolerance)
    else:
        matrix, inliers = _estimate(source, target, tolerance, max_trials, random_state)
    if inliers.sum() < 3 or not _is_plausible(matrix, source[inliers], tolerance):
        return none
    return matrix, inliers


def _estimate(
    source: np.ndarray,
    target: np.ndarray,
    tolerance: float,
    max_trials: int,
    random_state: int | None,
) -> tuple[np.ndarray, np.ndarray]:
    try:
        import poselib
    except ImportError as error:
        raise ImportError("homographies need: pip install sklearn-cmac[verify]") from error
    seed = int(np.random.default_rng(random_state).integers(1 << 31))
    options = {
        "max_reproj_error": tolerance,
        "max_iterations": max_trials,
        "min_iterations": min(100, max_trials),
        "success_prob": 0.999,
        "seed": seed,
    }
    matrix, info = poselib.estimate_homography(source, target, options, {})
    return np.asarray(matrix), np.array(info["inliers"], bool)


def find_similarity(
    source: np.ndarray, target: np.ndarray, tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    """The similarity with which most pairs of points agree: each two of the first 64 are tried.

    Parameters
    ----------
    source, target : ndarray of shape (n, 2)
    tolerance : float

    Returns
    -------
    matrix : ndarray of shape (3, 3)
        Fitted to all pairs that agree.
    inliers : ndarray of bool of shape (n,)
    """
    # As complex numbers, points p go to a p + b.
    p, q = source @ [1, 1j], target @ [1, 1j]
    i, j = np.triu_indices(min(len(p), _MOST_TRIED), 1)
    apart = np.abs(p[i] - p[j]) > tolerance
    i, j = i[apart], j[apart]
    if not len(i):
        return np.eye(3), np.zeros(len(p), bool)
    a = (q[i] - q[j]) / (p[i] - p[j])
    agree = np.abs(a[:, None] * (p - p[i, None]) + q[i, None] - q) < tolerance
    inliers = agree[agree.sum(axis=1).argmax()]
    centre, target_centre = p[inliers].mean(), q[inliers].mean()
    spread = p[inliers] - centre
    fitted = np.vdot(spread, q[inliers]) / np.vdot(spread, spread).real
    moved = target_centre - fitted * centre
    matrix = np.array(
        [[fitted.real, -fitted.imag, moved.real], [fitted.imag, fitted.real, moved.imag], [0, 0, 1]]
    )
    return matrix, np.abs(fitted * p + moved - q) < tolerance


def _is_plausible(matrix: np.ndarray, source: np.ndarray, tolerance: float) -> bool:
    """Whether two views of a thing may differ by a map, at the points (n, 2) that agree with it."""
    if not np.isfinite(matrix).all() or _width(source) <= tolerance:
        return False
    x, y, depth = matrix @ np.column_stack([source, np.ones(len(source))]).T
    if depth.min() * depth.max() <= 0:  # some of it would lie behind the camera
        return False
    target = np.stack([x, y], axis=1) / depth[:, None]
    if _width(target) <= tolerance:
        return False
    # Derivatives of the map at each point.
    change = (matrix[None, :2, :2] - target[:, :, None] * matrix[2, :2]) / depth[:, None, None]
    areas = np.linalg.det(change)
    if not ((areas > 1 / _AREA) & (areas < _AREA)).all():
        return False
    largest, smallest = np.linalg.svd(change, compute_uv=False).T
    return bool((largest < _STRETCH * smallest).all())


def _width(points: np.ndarray) -> float:
    """Standard deviation of points (n, 2) across the direction in which they spread most."""
    return float(np.sqrt(max(np.linalg.eigvalsh(np.cov(points.T, bias=True))[0], 0)))


def outline_in(matrix: np.ndarray, box: Box, photo_size: tuple[int, int]) -> np.ndarray:
    """Where a map takes a box of the query, cut off at the sides of the photo.

    Parameters
    ----------
    matrix : ndarray of shape (3, 3)
        As of `find_homography`.
    box : tuple of 4 floats
        (x0, y0, x1, y1) in pixels of the query.
    photo_size : (width, height)
        Of the photo.

    Returns
    -------
    ndarray of float of shape (k, 2)
        The corners (x, y) of a polygon in pixels of the photo, one after the other, as those of
        the box are clockwise. None of it may be left.

    References
    ----------
    I. Sutherland, G. Hodgman, "Reentrant Polygon Clipping", CACM 1974.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac.local import box_around, outline_in
    >>> moved = np.array([[1.0, 0, 30], [0, 1, 0], [0, 0, 1]])
    >>> outline = outline_in(moved, (0, 0, 20, 10), (40, 40))
    >>> box_around(outline)
    (30.0, 0.0, 40.0, 10.0)
    """
    x0, y0, x1, y1 = box
    corners = np.array([[x0, y0, 1], [x1, y0, 1], [x1, y1, 1], [x0, y1, 1]], float)
    centre = matrix @ [(x0 + x1) / 2, (y0 + y1) / 2, 1]
    # In homogeneous coordinates what lies behind the camera is cut off as the sides are.
    polygon = corners @ (matrix * np.sign(centre[2] or 1)).T
    width, height = photo_size
    sides = np.array([[0, 0, 1], [1, 0, 0], [-1, 0, width], [0, 1, 0], [0, -1, height]], float)
    nearest = 1e-9 * np.abs(polygon).max()
    for side, least in zip(sides, (nearest, 0, 0, 0, 0)):
        polygon = _cut(polygon, polygon @ side - least)
    return polygon[:, :2] / polygon[:, 2:]


def _cut(polygon: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """The part of a polygon (k, 3) where a linear function is not below 0, given at corners."""
    kept = []
    for i, (corner, height) in enumerate(zip(polygon, heights)):
        before, height_before = polygon[i - 1], heights[i - 1]
        if height * height_before < 0:
            share = height_before / (height_before - height)
            kept.append(before + share * (corner - before))
        if height >= 0:
            kept.append(corner)
    return np.array(kept).reshape(-1, 3)


def box_around(outline: np.ndarray) -> Box | None:
    """The smallest upright box (x0, y0, x1, y1) around a polygon (k, 2); None around none."""
    if not len(outline):
        return None
    (x0, y0), (x1, y1) = outline.min(axis=0).tolist(), outline.max(axis=0).tolist()
    return x0, y0, x1, y1
