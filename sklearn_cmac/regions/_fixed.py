"""Regions that do not look at the photo: R-MAC's squares, and the whole map."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from numbers import Integral

import numpy as np

from sklearn_cmac._scikit_learn import Interval
from sklearn_cmac.maps import ActivationMap, Regions
from sklearn_cmac.regions._step import RegionStep


class GridRegions(RegionStep):
    """R-MAC's overlapping squares at several sizes.

    Parameters
    ----------
    n_levels : int, default=3
        L. Level l has squares of side ``2 w / (l + 1)``, w being the map's shorter side: 20
        squares of a 4:3 map, 14 of a square one, for 3 levels.
    stride : int, optional
        Pixels of the network's input per cell. With it the squares are laid out on the input
        and then rounded to cells, up to one cell larger, as the region pooling of DIR's
        program does. Default: they are laid out on the map, as R-MAC's program does.

    Notes
    -----
    With `stride`, the input is taken to be as large as the map times the stride.

    References
    ----------
    G. Tolias, R. Sicre, H. Jégou, "Particular object retrieval with integral max-pooling of
    CNN activations", ICLR 2016.

    A. Gordo, J. Almazán, J. Revaud, D. Larlus, "End-to-end learning of deep visual
    representations for image retrieval", IJCV 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac import ActivationMap, GridRegions
    >>> record = ActivationMap.from_arrays(np.ones((24, 32, 8)))
    >>> GridRegions().fit_transform([record])[0].regions
    Regions(20 regions of a 24x32 map)
    """

    _parameter_constraints: dict = {
        "n_levels": [Interval(Integral, 1, None, closed="left")],
        "stride": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(self, n_levels: int = 3, stride: int | None = None):
        self.n_levels = n_levels
        self.stride = stride

    def _propose(self, record: ActivationMap) -> Regions:
        return grid_regions(*record.shape, self.n_levels, self.stride)


class WholeRegion(RegionStep):
    """One region, the whole map: its maximum is MAC.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac import ActivationMap, WholeRegion
    >>> record = ActivationMap.from_arrays(np.ones((3, 4, 8)))
    >>> WholeRegion().fit_transform([record])[0].regions.areas.tolist()
    [12]
    """

    def _propose(self, record: ActivationMap) -> Regions:
        height, width = record.shape
        return Regions.from_windows([(0, 0, height, width)], (height, width))


@lru_cache(maxsize=256)
def grid_regions(height: int, width: int, n_levels: int = 3, stride: int | None = None) -> Regions:
    """R-MAC's squares of a map of `height` rows and `width` columns.

    With `stride` they are those of an input of `height * stride` x `width * stride` pixels, of
    which each has the cells from its first pixel to its last, both rounded.
    """
    scale = stride or 1
    windows, kinds = [], []
    for level, row, col, side in _squares(height * scale, width * scale, n_levels):
        rows, cols = (row, row + side), (col, col + side)
        if stride:
            rows = _rounded(*rows, stride, height)
            cols = _rounded(*cols, stride, width)
        windows.append((rows[0], cols[0], rows[1], cols[1]))
        kinds.append(level - 1)
    return Regions.from_windows(windows, (height, width), kinds)


def _squares(height: int, width: int, n_levels: int) -> Iterator[tuple[int, int, int, int]]:
    """Level, first row, first column and side of each square.

    The number of squares along the longer side is the one whose overlap is nearest to 40%.
    """
    short, long = min(height, width), max(height, width)
    extra = 0
    if long > short:
        steps = np.arange(1, 7)
        overlap = 1 - (long - short) / steps / short
        extra = int(steps[np.argmin(np.abs(overlap - 0.4))])
    extra_rows, extra_cols = (extra, 0) if height > width else (0, extra)
    for level in range(1, n_levels + 1):
        side = max(1, 2 * short // (level + 1))
        for row in _starts(height, side, level + extra_rows):
            for col in _starts(width, side, level + extra_cols):
                yield level, row, col, side


def _rounded(start: int, stop: int, stride: int, n: int) -> tuple[int, int]:
    """The cells, first and one past the last, of the pixels from `start` to before `stop`."""
    first, last = (math.floor(pixel / stride + 0.5) for pixel in (start, stop - 1))
    return min(first, n - 1), min(last, n - 1) + 1


def _starts(length: int, side: int, n: int) -> list[int]:
    """Where `n` squares start that are spread evenly over one axis of the map."""
    step = (length - side) / (n - 1) if n > 1 else 0.0
    half = side // 2 - 1  # the program that R-MAC's authors released rounds the centres
    return [math.floor(half + i * step) - half for i in range(n)]
