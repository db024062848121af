"""What steps that propose regions photo by photo share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from sklearn.base import BaseEstimator

from sklearn_cmac._steps import StatelessStep
from sklearn_cmac.maps import ActivationMap, Records, Regions, maps_of, with_maps
from sklearn_cmac.photos import PhotoError


class RegionStep(StatelessStep, BaseEstimator):
    """What every step that proposes regions of photos derives from.

    A region type of your own is a subclass with a constructor that assigns its parameters,
    ``_parameter_constraints``, which say what they may be, as in scikit-learn, and a method
    ``_propose(record)``, which returns the `Regions` of one `ActivationMap`. A type that reads
    the embedding says so by ``_needs = "embedding"``. `testing.check_region_step` checks it.

    Nothing is fitted, so parameters are checked by `transform` as well as by `fit`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac import ActivationMap, Regions
    >>> from sklearn_cmac.regions import RegionStep
    >>> class Rows(RegionStep):
    ...     def _propose(self, record):
    ...         height, width = record.shape
    ...         rows = [(i, 0, i + 1, width) for i in range(height)]
    ...         return Regions.from_windows(rows, record.shape)
    >>> record = ActivationMap.from_arrays(np.ones((3, 4, 8)))
    >>> Rows().fit_transform([record])[0].regions.areas.tolist()
    [4, 4, 4]
    """

    _parameter_constraints: dict = {}

    def transform(self, X: Records) -> list[ActivationMap]:
        """Propose regions.

        Parameters
        ----------
        X : sequence of ActivationMap

        Returns
        -------
        list of ActivationMap
            Copies that have `regions`.

        Raises
        ------
        PhotoError
            If a photo lacks what its regions are made of, or has numbers that are not finite.
        """
        return self._with_regions(self._read(X))

    def _with_regions(self, records: list[ActivationMap]) -> list[ActivationMap]:
        maps = maps_of(records)
        proposed = zip(maps, self._propose_each(maps), strict=True)
        return with_maps(records, (replace(each, regions=regions) for each, regions in proposed))

    def _propose(self, record: ActivationMap) -> Regions:
        """The regions of one map."""
        raise NotImplementedError

    def _propose_each(self, records: list[ActivationMap]) -> Iterable[Regions]:
        """The regions of each map; for types that work on several at once."""
        return map(self._propose, records)


def embedding_of(record: ActivationMap) -> np.ndarray:
    """The embedding (H, W, C) of a record that a step has found to have one."""
    assert record.embedding is not None
    return record.embedding


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
    height, width, channels = embedding_of(record).shape
    points = embedding_of(record).reshape(-1, channels)
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
