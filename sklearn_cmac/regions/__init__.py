"""Who proposes regions: clusters of activations, R-MAC's grid, the whole map, boxes."""

from sklearn_cmac.regions._boxes import BoxRegions, propose_boxes
from sklearn_cmac.regions._clusterer import ClustererRegions
from sklearn_cmac.regions._fixed import GridRegions, WholeRegion
from sklearn_cmac.regions._ncut import NCutClusterer

__all__ = [
    "BoxRegions",
    "ClustererRegions",
    "GridRegions",
    "NCutClusterer",
    "WholeRegion",
    "propose_boxes",
]
