"""One vector for each region: the maximum of the activations of its cells."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils._param_validation import StrOptions

from sklearn_cmac._steps import RecordStep, check_records
from sklearn_cmac.maps import ActivationMap, RegionVectors
from sklearn_cmac.photos import PhotoError


class ClusterMaxPooler(RecordStep, BaseEstimator):
    """Maximum activation of each channel over each region.

    Parameters
    ----------
    region_weight : {"area", "sqrt_area"} or None, default=None
        What a region counts for when `L2Aggregator` sums: the number of its cells, the
        square root of that, or as much as any other, as in the paper.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac import ActivationMap, ClusterMaxPooler, WholeRegion
    >>> activations = np.arange(24.0).reshape(3, 4, 2)
    >>> record = WholeRegion().transform([ActivationMap.from_arrays(activations)])
    >>> ClusterMaxPooler().fit_transform(record)[0].vectors
    array([[22., 23.]])
    """

    _parameter_constraints: dict = {"region_weight": [StrOptions({"area", "sqrt_area"}), None]}

    def __init__(self, region_weight: str | None = None):
        self.region_weight = region_weight

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> ClusterMaxPooler:
        """Check the parameters.

        Parameters
        ----------
        X : sequence of ActivationMap with regions
        y : ignored

        Returns
        -------
        self
        """
        check_records(X, self, "regions")
        return self

    def transform(self, X: Any) -> list[RegionVectors]:
        """Pool activations over regions.

        Parameters
        ----------
        X : sequence of ActivationMap with regions

        Returns
        -------
        list of RegionVectors
            Vectors of shape (R, D) and weights of shape (R,) of each photo.

        Raises
        ------
        PhotoError
            If a photo's activations are not finite.
        """
        return [self._pool(record) for record in check_records(X, self, "regions")]

    def _pool(self, record: ActivationMap) -> RegionVectors:
        activations, regions = record.activations, record.regions
        cells = np.asarray(activations).reshape(-1, activations.shape[-1])
        if len(regions.indices) and regions.indices.max() >= len(cells):
            raise PhotoError(f"{record.name}: its regions are of a {regions.shape} map, not of it")
        vectors = np.stack([cells[region].max(axis=0) for region in regions])
        if not np.isfinite(vectors).all():
            raise PhotoError(f"{record.name}: its activations are not finite numbers")
        return RegionVectors(vectors, self._weights(regions.areas), record.name, regions)

    def _weights(self, areas: np.ndarray) -> np.ndarray:
        if self.region_weight == "area":
            return areas.astype(np.float32)
        if self.region_weight == "sqrt_area":
            return np.sqrt(areas, dtype=np.float32)
        return np.ones(len(areas), np.float32)
