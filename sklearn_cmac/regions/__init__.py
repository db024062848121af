"""Who proposes regions: clusters of activations, R-MAC's grid, the whole map."""

from sklearn_cmac.regions._fixed import GridRegions, WholeRegion
from sklearn_cmac.regions._ncut import NCutClusterer

__all__ = ["GridRegions", "NCutClusterer", "WholeRegion"]
