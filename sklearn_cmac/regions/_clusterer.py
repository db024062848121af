"""Regions from any clusterer of scikit-learn's kind."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral, Real

import joblib
import numpy as np
from sklearn.base import ClusterMixin, clone
from sklearn.cluster import KMeans

from sklearn_cmac._flow import in_order
from sklearn_cmac._progress import show_progress
from sklearn_cmac._scikit_learn import HasMethods, Interval
from sklearn_cmac.maps import ActivationMap, Regions
from sklearn_cmac.photos import PhotoError
from sklearn_cmac.regions._step import RegionStep, cell_points


class ClustererRegions(RegionStep):
    """Regions that are the clusters which another clusterer finds in each photo.

    Each photo's cells are clustered by a clone, so no photo depends on those before it, and a
    `random_state` that is an integer gives every photo the same draw.

    Parameters
    ----------
    clusterer : clusterer, optional
        Its `fit_predict` gives one label for each row of a table, such as
        `sklearn.cluster.KMeans`, `AgglomerativeClustering` or `HDBSCAN`. Cells that it
        labels -1, as noise, are in no region. Default: ``KMeans(8, random_state=0)``.
    spatial_weight : float, default=0
        What a cell's place in the map counts for beside its embedding. At 1, places have
        the same total variance as the embedding of the photo.
    n_jobs : int, optional
        Photos clustered at once, through joblib. None is 1 unless a
        `joblib.parallel_config` says otherwise.
    verbose : bool or int, default=0
        Whether to show a progress bar.

    Notes
    -----
    A photo of which all cells are noise has one region, the whole map.

    Examples
    --------
    >>> from dataclasses import replace
    >>> import numpy as np
    >>> from sklearn.cluster import AgglomerativeClustering
    >>> from sklearn_cmac import ActivationMap, ClustererRegions
    >>> halves = np.repeat([[0.0], [9.0]], 3, axis=1)[..., None]
    >>> record = replace(ActivationMap.from_arrays(np.ones((2, 3, 8))), embedding=halves)
    >>> step = ClustererRegions(AgglomerativeClustering(n_clusters=2))
    >>> sorted(region.tolist() for region in step.fit_transform([record])[0].regions)
    [[0, 1, 2], [3, 4, 5]]
    """

    _parameter_constraints: dict = {
        "clusterer": [HasMethods(["fit_predict", "get_params"]), None],
        "spatial_weight": [Interval(Real, 0, None, closed="left")],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    }
    _needs = "embedding"

    def __init__(
        self,
        clusterer: ClusterMixin | None = None,
        spatial_weight: float = 0.0,
        n_jobs: int | None = None,
        verbose: int = 0,
    ):
        self.clusterer = clusterer
        self.spatial_weight = spatial_weight
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _propose_each(self, records: list[ActivationMap]) -> Iterable[Regions]:
        tasks = (joblib.delayed(self._propose)(record) for record in records)
        found = in_order(tasks, self.n_jobs)
        return show_progress(found, len(records), "clustering maps", self.verbose)

    def _propose(self, record: ActivationMap) -> Regions:
        clusterer = KMeans(random_state=0) if self.clusterer is None else clone(self.clusterer)
        points = cell_points(record, self.spatial_weight)
        try:
            labels = np.asarray(clusterer.fit_predict(points))
        except ValueError as error:  # more clusters than cells, for one
            raise PhotoError(
                f"{record.name}: {type(clusterer).__name__} cannot cluster its {len(points)} "
                f"cells ({error})"
            ) from error
        if labels.shape[-1:] != (len(points),) or labels.dtype.kind not in "iu":
            raise ValueError(
                f"{type(clusterer).__name__} gave {labels.dtype} labels of shape {labels.shape} "
                f"for {len(points)} cells; expected one whole number each"
            )
        if labels.max() < 0:
            labels = np.zeros(len(points), int)
        return Regions.from_labels(labels, record.shape)
