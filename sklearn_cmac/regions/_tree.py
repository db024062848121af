"""Regions of all sizes: the branches of a tree that merges a map's cells."""

from __future__ import annotations

from numbers import Real

import numpy as np
from sklearn.cluster import ward_tree
from sklearn.feature_extraction.image import grid_to_graph

from sklearn_cmac._scikit_learn import Interval
from sklearn_cmac.maps import ActivationMap, Regions
from sklearn_cmac.regions._step import RegionStep, cell_points, widened


class TreeRegions(RegionStep):
    """Regions that are the branches of a Ward tree of a map's cells.

    Neighbouring cells, then neighbouring branches, are merged where that adds least to the
    variance within. Every branch that is large enough is a region, so regions are connected,
    lie within each other, and come in all sizes.

    Parameters
    ----------
    spatial_weight : float, default=0.6
        What a cell's place in the map counts for beside its embedding. At 1, places have the
        same total variance as the embedding of the photo.
    min_area : float, default=0.05
        The smallest branch, as a share of the map.
    grow : float, default=0.15
        By how much of the map's shorter side branches are widened in all directions.

    References
    ----------
    J. H. Ward, "Hierarchical Grouping to Optimize an Objective Function", Journal of the
    American Statistical Association, 1963.

    Examples
    --------
    >>> from dataclasses import replace
    >>> import numpy as np
    >>> from sklearn_cmac import ActivationMap, TreeRegions
    >>> halves = np.repeat([[0.0], [9.0]], 3, axis=1)[..., None]
    >>> record = replace(ActivationMap.from_arrays(np.ones((2, 3, 8))), embedding=halves)
    >>> step = TreeRegions(spatial_weight=0, min_area=0.5, grow=0)
    >>> sorted(region.tolist() for region in step.fit_transform([record])[0].regions)
    [[0, 1, 2], [0, 1, 2, 3, 4, 5], [3, 4, 5]]
    """

    _parameter_constraints: dict = {
        "spatial_weight": [Interval(Real, 0, None, closed="left")],
        "min_area": [Interval(Real, 0, 1, closed="both")],
        "grow": [Interval(Real, 0, 1, closed="both")],
    }
    _needs = "embedding"

    def __init__(self, spatial_weight: float = 0.6, min_area: float = 0.05, grow: float = 0.15):
        self.spatial_weight = spatial_weight
        self.min_area = min_area
        self.grow = grow

    def _propose(self, record: ActivationMap) -> Regions:
        points = cell_points(record, self.spatial_weight)
        least = max(2, self.min_area * len(points))
        large = [cells for cells in _branches(points, record.shape) if len(cells) >= least]
        regions = Regions.from_cells(large or [np.arange(len(points))], record.shape)
        return widened(regions, self.grow)


def _branches(points: np.ndarray, shape: tuple[int, int]) -> list[np.ndarray]:
    """Cells of each merge of a Ward tree over the grid, first merges first."""
    if len(points) == 1:
        return [np.array([0])]
    merges = ward_tree(points, connectivity=grid_to_graph(*shape))[0]
    branches = [np.array([cell]) for cell in range(len(points))]
    for one, other in merges:
        branches.append(np.concatenate([branches[one], branches[other]]))
    return [np.sort(cells) for cells in branches[len(points) :]]
