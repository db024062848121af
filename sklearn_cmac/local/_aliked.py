"""From ALIKED's map to points and descriptors.

X. Zhao, X. Wu, W. Chen, P. Chen, Q. Xu, Z. Li, "ALIKED: A Lighter Keypoint and Descriptor
Extraction Network via Deformable Transformation", IEEE Transactions on Instrumentation and
Measurement 2023, sections III-C and III-D.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.special import softmax

from sklearn_cmac._threads import one_thread
from sklearn_cmac.local._features import at_unit_length
from sklearn_cmac.networks import ALIKED_LEVELS, AlikedHead

_REACH = 2  # pixels on each side in which a point is the best
_LEAST = 0.2  # score of a point, where one has that
_TEMPERATURE = 0.1  # of the scores around a point, whose mean place is its own
_PER_LEVEL = 32  # channels

# Steps (dx, dy) to the pixels around one, row by row.
_AROUND, _CLOSE = (
    np.stack(np.meshgrid(np.arange(-r, r + 1), np.arange(-r, r + 1)), 2).reshape(-1, 2)
    for r in (_REACH, 1)
)


def read_aliked_map(
    activations: np.ndarray, head: AlikedHead, max_features: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points of a photo, the best first.

    Parameters
    ----------
    activations : ndarray of shape (H, W, 43)
        Of each pixel: what the levels of `ALIKED_LEVELS` have laid out over it, and the score.
    head : AlikedHead
    max_features : int

    Returns
    -------
    points : ndarray of shape (n, 2)
        (x, y) in pixels of what the network saw; the first pixel's centre is (0.5, 0.5).
    descriptors : ndarray of shape (n, 128)
        Of unit length.
    scores : ndarray of shape (n,)
        Probability that there is a point.
    """
    *levels, scores = np.split(activations, np.cumsum([*ALIKED_LEVELS.values()]), axis=2)
    grids = [_gathered(level, side) for level, side in zip(levels, ALIKED_LEVELS)]
    peaks = _peaks(scores[:, :, 0], _LEAST)
    if not len(peaks):
        peaks = _peaks(scores[:, :, 0], scores.mean())
    points = _refined(scores[:, :, 0], peaks)
    strength = _read(_cells_of(scores), points, scores.shape)[:, 0]
    best = np.argsort(-strength, kind="stable")[:max_features]
    points = points[best]
    with one_thread():
        descriptors = _describe(grids, points, head)
    return points + 0.5, descriptors, strength[best]


def _gathered(level: np.ndarray, side: int) -> np.ndarray:
    """A level's own grid (H / side, W / side, 32) from what is laid out over pixels."""
    height, width, _ = level.shape
    cells = level.reshape(height // side, side, width // side, side, -1)
    cells = cells.transpose(0, 2, 4, 1, 3).reshape(height // side, width // side, -1)
    return cells[:, :, :_PER_LEVEL]


def _peaks(scores: np.ndarray, least: float) -> np.ndarray:
    """Pixels (x, y) that score more than all around them, and more than `least`."""
    inner = scores[_REACH:-_REACH, _REACH:-_REACH]
    pixels = np.argwhere(inner > least)[:, ::-1] + _REACH
    around = _around(scores, pixels)
    middle = len(_AROUND) // 2
    return pixels[around[:, middle] > np.delete(around, middle, axis=1).max(axis=1)]


def _around(scores: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    x, y = (pixels[:, None] + _AROUND).transpose(2, 0, 1)
    return scores[y, x]


def _refined(scores: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    """The mean place of the scores around each peak."""
    weights = softmax(_around(scores, peaks) / _TEMPERATURE, axis=1)
    return peaks + weights @ _AROUND.astype(np.float32)


def _describe(grids: list[np.ndarray], points: np.ndarray, head: AlikedHead) -> np.ndarray:
    height, width, _ = grids[0].shape
    # A window of three pixels, which ends before the last row and column.
    corner = np.clip(points.astype(int) - 1, 0, (width - 4, height - 4))
    close = _features(grids, (corner[:, None] + 1 + _CLOSE).reshape(-1, 2))
    steps = head.offsets(_selu(head.look(close.reshape(len(points), -1))))
    most = max(height, width) / 4
    steps = np.clip(steps, -most, most).reshape(len(points), 2, -1).transpose(0, 2, 1)
    places = (points[:, None] + steps).reshape(-1, 2)
    seen = _read(partial(_features, grids), places, grids[0].shape)
    mixed = _selu(seen @ head.mix).reshape(len(points), -1)
    return at_unit_length(mixed @ head.gather.reshape(mixed.shape[1], -1))


def _features(grids: list[np.ndarray], pixels: np.ndarray) -> np.ndarray:
    """Of pixels (n, 2) the features of all levels, each spread from corner to corner."""
    first, *coarser = grids
    parts = [first[pixels[:, 1], pixels[:, 0]]]
    for grid in coarser:
        share = (np.array(grid.shape[:2]) - 1) / (np.array(first.shape[:2]) - 1)
        parts.append(_read(_cells_of(grid), pixels * share[::-1], grid.shape))
    return at_unit_length(np.concatenate(parts, axis=1))


def _cells_of(grid: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    return lambda cells: grid[cells[:, 1], cells[:, 0]]


def _read(
    look: Callable[[np.ndarray], np.ndarray], places: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """What `look` says of cells (n, 2), bilinearly between them; outside a grid there are zeros."""
    low = np.floor(places)
    share = (places - low).astype(np.float32)
    last = np.array(shape[1::-1]) - 1
    found = np.float32(0)
    for corner in ((0, 0), (1, 0), (0, 1), (1, 1)):
        cells = low.astype(int) + corner
        weights = np.where(corner, share, 1 - share).prod(axis=1)
        weights[((cells < 0) | (cells > last)).any(axis=1)] = 0
        found = found + look(np.clip(cells, 0, last)) * weights[:, None]
    return found


def _selu(x: np.ndarray) -> np.ndarray:
    alpha, scale = np.float32(1.6732632423543772), np.float32(1.0507009873554805)
    return scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))
