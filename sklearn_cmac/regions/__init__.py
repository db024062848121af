"""Who proposes regions: clusters of activations, R-MAC's grid, the whole map, boxes."""

from sklearn_cmac.regions._boxes import BoxRegions, propose_boxes
from sklearn_cmac.regions._clusterer import ClustererRegions
from sklearn_cmac.regions._fixed import GridRegions, WholeRegion
from sklearn_cmac.regions._ncut import NCutClusterer
from sklearn_cmac.regions._shared import SharedRegions
from sklearn_cmac.regions._step import RegionStep
from sklearn_cmac.regions._tree import TreeRegions
from sklearn_cmac.regions._union import RegionUnion

__all__ = [
    "BoxRegions",
    "ClustererRegions",
    "GridRegions",
    "NCutClusterer",
    "RegionStep",
    "RegionUnion",
    "SharedRegions",
    "TreeRegions",
    "WholeRegion",
    "propose_boxes",
]
