"""Regions proposed on one map of a photo, and used on all of its sizes."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral

from sklearn.base import clone
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from sklearn_cmac._scikit_learn import Interval
from sklearn_cmac.maps import ActivationMap, Records, with_maps
from sklearn_cmac.regions._ncut import NCutClusterer
from sklearn_cmac.regions._step import RegionStep


class SharedRegions(RegionStep):
    """The regions that a step proposes on one map of a photo, on the maps of all its sizes.

    Otherwise each size has regions of its own.

    Parameters
    ----------
    regions : RegionStep, optional
        Who proposes them. Default: `NCutClusterer()`.
    size : int, default=0
        On which map: its position among the extractor's `scales`. Of a photo that has fewer maps,
        the last one.

    Attributes
    ----------
    regions_ : RegionStep
        The fitted clone.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac import ActivationMap, GridRegions, SharedRegions
    >>> sizes = [ActivationMap.from_arrays(np.ones((n, n, 8))) for n in (8, 6)]
    >>> record = ActivationMap.of_maps(sizes)
    >>> (found,) = SharedRegions(GridRegions(1), size=1).fit_transform([record])
    >>> [each.regions.areas.tolist() for each in found.maps]
    [[64], [36]]
    """

    _parameter_constraints: dict = {
        "regions": [RegionStep, None],
        "size": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(self, regions: RegionStep | None = None, size: int = 0):
        self.regions = regions
        self.size = size

    def fit(self, X: Records, y: object = None) -> SharedRegions:
        """Fit a clone of `regions`, on one map of each photo.

        Parameters
        ----------
        X : sequence of ActivationMap
        y : ignored

        Returns
        -------
        self
        """
        chosen = self._chosen(self._read(X))
        proposing = NCutClusterer() if self.regions is None else clone(self.regions)
        self.regions_ = proposing.fit(chosen)
        return self

    def _with_regions(self, records: list[ActivationMap]) -> list[ActivationMap]:
        check_is_fitted(self)
        proposed = self.regions_.transform(self._chosen(records))
        maps = [
            replace(each, regions=own.proposed.resized(each.shape))
            for record, own in zip(records, proposed)
            for each in record.maps
        ]
        return with_maps(records, maps)

    def _chosen(self, records: list[ActivationMap]) -> list[ActivationMap]:
        return [record.maps[min(self.size, len(record.others))] for record in records]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.requires_fit = True
        return tags
