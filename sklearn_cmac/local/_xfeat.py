"""From XFeat's map to points and descriptors."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import maximum_filter
from scipy.special import softmax

from sklearn_cmac.local._features import at_unit_length
from sklearn_cmac.networks import XFEAT_CHANNELS

_CELL = 8  # pixels a side of what a cell of the map says
_WINDOW = 5  # pixels a side in which a point is the best
_LEAST = 0.05  # probability that a pixel is a point


def read_xfeat_map(
    activations: np.ndarray, max_features: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points of a photo, the best first.

    Parameters
    ----------
    activations : ndarray of shape (H, W, 130)
        Of each cell of 8 pixels a side: the descriptor, the logits of its pixels, row by row, and
        of none of them, and the reliability.
    max_features : int

    Returns
    -------
    points : ndarray of shape (n, 2)
        (x, y) in pixels of what the network saw; the first pixel's centre is (0.5, 0.5).
    descriptors : ndarray of shape (n, 64)
        Of unit length.
    scores : ndarray of shape (n,)
        Probability that there is a point times its reliability.

    References
    ----------
    G. Potje, F. Cadar, A. Araujo, R. Martins, E. Nascimento, "XFeat: Accelerated Features for
    Lightweight Image Matching", CVPR 2024.
    """
    rows, columns = activations.shape[:2]
    features, logits, reliability = np.split(activations, (XFEAT_CHANNELS, -1), axis=2)
    cells = softmax(logits, axis=2)[:, :, :-1].reshape(rows, columns, _CELL, _CELL)
    pixels = cells.transpose(0, 2, 1, 3).reshape(rows * _CELL, columns * _CELL)
    best = (pixels == maximum_filter(pixels, _WINDOW)) & (pixels > _LEAST)
    points = np.argwhere(best)[:, ::-1]
    # The published weights were trained with maps that are read so: a pixel's place is a share of
    # the way from the first pixel to the last, of a map that reaches half a cell further.
    places = points * [columns, rows] / (np.array(pixels.shape[::-1]) - 1) - 0.5
    scores = pixels[best] * _read_bilinearly(reliability, places)[:, 0]
    order = np.argsort(-scores, kind="stable")[:max_features]
    descriptors = _read_bicubically(at_unit_length(features), places[order])
    return points[order] + 0.5, at_unit_length(descriptors), scores[order]


def _read_bilinearly(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    share = places - np.floor(places)
    return _read(values, places, 0, np.stack([1 - share, share]))


def _read_bicubically(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """By the cubic convolution of Keys (1981) with a = -0.75."""
    share = places - np.floor(places)
    far, near = np.stack([1 + share, 2 - share]), np.stack([share, 1 - share])
    a = -0.75
    outer = a * (((far - 5) * far + 8) * far - 4)
    inner = ((a + 2) * near - (a + 3)) * near**2 + 1
    return _read(values, places, -1, np.stack([outer[0], inner[0], inner[1], outer[1]]))


def _read(values: np.ndarray, places: np.ndarray, first: int, weights: np.ndarray) -> np.ndarray:
    """Sums of cells (n, C) by weights (k, n, 2) across and down; outside a map there are zeros.

    The first cell of each is `first` from that at (x, y) in `places` (n, 2), rounded down.
    """
    k = len(weights)
    padded = np.pad(values, ((k, k), (k, k), (0, 0)))
    x, y = (np.floor(places).astype(int) + first + k).T
    return sum(
        padded[y + i, x + j] * (weights[i, :, 1] * weights[j, :, 0])[:, None].astype(values.dtype)
        for i in range(k)
        for j in range(k)
    )
