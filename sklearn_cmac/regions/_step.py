"""What steps that propose regions photo by photo share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, _fit_context

from sklearn_cmac._steps import RecordStep
from sklearn_cmac.maps import ActivationMap, Regions, check_records
from sklearn_cmac.photos import PhotoError


class RegionStep(RecordStep, BaseEstimator):
    """Proposes regions of each photo by itself. Nothing is fitted."""

    _parameter_constraints: dict = {}
    _needs = ""

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> RegionStep:
        """Check the parameters.

        Parameters
        ----------
        X : sequence of ActivationMap
        y : ignored

        Returns
        -------
        self
        """
        check_records(X, self, self._needs)
        return self

    def transform(self, X: Any) -> list[ActivationMap]:
        """Propose regions.

        Parameters
        ----------
        X : sequence of ActivationMap

        Returns
        -------
        list of ActivationMap
            Copies that have `regions`.
        """
        records = check_records(X, self, self._needs)
        return [replace(record, regions=self._propose(record)) for record in records]

    def _propose(self, record: ActivationMap) -> Regions:
        raise NotImplementedError


def cell_points(record: ActivationMap, spatial_weight: float = 0.0) -> np.ndarray:
    """What of a photo is clustered: the embedding of its cells, and perhaps their places.

    Parameters
    ----------
    record : ActivationMap
        With an embedding (H, W, C).
    spatial_weight : float
        At 1, places have the same total variance as the embedding.

    Returns
    -------
    ndarray of shape (H * W, C) or (H * W, C + 2)

    Raises
    ------
    PhotoError
        If the embedding is not finite.
    """
    height, width, channels = record.embedding.shape
    points = record.embedding.reshape(-1, channels)
    if not np.isfinite(points).all():
        raise PhotoError(f"{record.name}: its embedding is not finite")
    if not spatial_weight:
        return points
    return np.hstack([points, spatial_weight * _places(points, height, width)])


def widened(regions: Regions, grow: float) -> Regions:
    """Regions grown by a share of the map's shorter side, by one cell at least if not by none."""
    return regions.grown(max(1, round(grow * min(regions.shape))) if grow else 0)


def _places(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Row and column of each cell, centred, with the same total variance as `points`."""
    places = np.indices((height, width)).reshape(2, -1).T.astype(np.float64)
    places -= places.mean(axis=0)
    spread = places.var(axis=0).sum()
    return places * np.sqrt(points.var(axis=0).sum() / spread) if spread > 0 else places
