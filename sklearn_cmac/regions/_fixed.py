"""Regions that do not look at the photo: R-MAC's squares, and the whole map."""

from __future__ import annotations

import math
from functools import lru_cache
from numbers import Integral

import numpy as np
from sklearn.utils._param_validation import Interval

from sklearn_cmac.maps import ActivationMap, Regions
from sklearn_cmac.regions._step import RegionStep


class GridRegions(RegionStep):
    """R-MAC's overlapping squares at several sizes.

    Parameters
    ----------
    n_levels : int, default=3
        L. Level l has squares of side ``2 w / (l + 1)``, w being the map's shorter side: 20
        squares of a 4:3 map, 14 of a square one, for 3 levels.

    References
    ----------
    G. Tolias, R. Sicre, H. Jégou, "Particular object retrieval with integral max-pooling of
    CNN activations", ICLR 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac import ActivationMap, GridRegions
    >>> record = ActivationMap.from_arrays(np.ones((24, 32, 8)))
    >>> GridRegions().fit_transform([record])[0].regions
    Regions(20 regions of a 24x32 map)
    """

    _parameter_constraints: dict = {"n_levels": [Interval(Integral, 1, None, closed="left")]}

    def __init__(self, n_levels: int = 3):
        self.n_levels = n_levels

    def _propose(self, record: ActivationMap) -> Regions:
        return grid_regions(*record.shape, self.n_levels)


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
def grid_regions(height: int, width: int, n_levels: int = 3) -> Regions:
    """R-MAC's squares of a map of `height` rows and `width` columns.

    The number of squares along the longer side is the one whose overlap is nearest to 40%.
    """
    short, long = min(height, width), max(height, width)
    extra = 0
    if long > short:
        steps = np.arange(1, 7)
        overlap = 1 - (long - short) / steps / short
        extra = int(steps[np.argmin(np.abs(overlap - 0.4))])
    extra_rows, extra_cols = (extra, 0) if height > width else (0, extra)
    windows, kinds = [], []
    for level in range(1, n_levels + 1):
        side = max(1, 2 * short // (level + 1))
        for row in _starts(height, side, level + extra_rows):
            for col in _starts(width, side, level + extra_cols):
                windows.append((row, col, row + side, col + side))
                kinds.append(level - 1)
    return Regions.from_windows(windows, (height, width), kinds)


def _starts(length: int, side: int, n: int) -> list[int]:
    """Where `n` squares start that are spread evenly over one axis of the map."""
    step = (length - side) / (n - 1) if n > 1 else 0.0
    half = side // 2 - 1  # the program that R-MAC's authors released rounds the centres
    return [math.floor(half + i * step) - half for i in range(n)]
