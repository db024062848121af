"""One vector for each region: what the activations of its cells come to, channel by channel."""

from __future__ import annotations

from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator

from sklearn_cmac._scikit_learn import Interval, StrOptions
from sklearn_cmac._steps import StatelessStep
from sklearn_cmac._threads import one_thread
from sklearn_cmac.maps import ActivationMap, Records, Regions, RegionVectors
from sklearn_cmac.photos import PhotoError

# Activations count as this at least in a generalized mean, as in its authors' program.
_FLOOR = 1e-6


class Pooler(StatelessStep, BaseEstimator):
    """Weighs the cells of a map, then pools each region's. Nothing is fitted."""

    _parameter_constraints: dict = {
        "region_weight": [StrOptions({"area", "sqrt_area", "center"}), None]
    }
    _needs = "regions"

    region_weight: str | None

    def transform(self, X: Records) -> list[RegionVectors]:
        """Pool activations over regions.

        Parameters
        ----------
        X : sequence of ActivationMap with regions

        Returns
        -------
        list of RegionVectors
            Vectors of shape (R, D) and weights of shape (R,) of each photo: the regions of its
            first map, then those of its others.

        Raises
        ------
        PhotoError
            If a photo's activations are not finite.
        """
        return [self._pool_all(record.maps) for record in self._read(X)]

    def _pool_all(self, maps: list[ActivationMap]) -> RegionVectors:
        """The regions of all maps of a photo. An area counts as its share of the photo."""
        vectors = np.concatenate([self._pool(each) for each in maps])
        regions = tuple(each.proposed for each in maps)
        n_cells = [np.prod(each.shape, dtype=np.float32) for each in regions]
        weights = np.concatenate(
            [self._region_weights(each, n_cells[0] / n) for each, n in zip(regions, n_cells)]
        )
        return RegionVectors(vectors, weights, maps[0].name, regions)

    def _pool(self, record: ActivationMap) -> np.ndarray:
        """Vectors (R, D) of the regions of one map."""
        activations, regions = np.asarray(record.activations), record.proposed
        if regions.shape != activations.shape[:2]:
            raise PhotoError(f"{record.name}: its regions are of a {regions.shape} map, not of it")
        cells = self._weigh(activations).reshape(-1, activations.shape[-1])
        vectors = self._reduce(cells, regions)
        if not np.isfinite(vectors).all():
            raise PhotoError(f"{record.name}: its activations are not finite numbers")
        return vectors

    def _region_weights(self, regions: Regions, cell: np.float32) -> np.ndarray:
        """What each region counts for, on a map whose cells have this area."""
        areas = regions.areas.astype(np.float32)
        if self.region_weight == "area":
            return areas * cell
        if self.region_weight == "sqrt_area":
            return np.sqrt(areas * cell)
        if self.region_weight == "center":
            prior = centrality(*regions.shape).ravel()[regions.indices]
            return np.add.reduceat(prior, regions.indptr[:-1]) / areas
        return np.ones(len(areas), np.float32)

    def _weigh(self, activations: np.ndarray) -> np.ndarray:
        """The map (H, W, D) with its cells and channels weighted."""
        return activations

    def _reduce(self, cells: np.ndarray, regions: Regions) -> np.ndarray:
        """Vectors (R, D) of regions of the cells (N, D)."""
        raise NotImplementedError


class ClusterMaxPooler(Pooler):
    """Maximum activation of each channel over each region.

    Parameters
    ----------
    region_weight : {"center", "area", "sqrt_area"} or None, default=None
        What a region counts for when regions are summed or matched: how near its cells are to
        the middle of the map (the mean of a Gaussian whose standard deviation is a sixth of
        the map's height and width), the number of its cells, the square root of that, or as
        much as any other, as in the paper.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac import ActivationMap, ClusterMaxPooler, WholeRegion
    >>> activations = np.arange(24.0).reshape(3, 4, 2)
    >>> record = WholeRegion().transform([ActivationMap.from_arrays(activations)])
    >>> ClusterMaxPooler().fit_transform(record)[0].vectors
    array([[22., 23.]])
    """

    def __init__(self, region_weight: str | None = None):
        self.region_weight = region_weight

    def _reduce(self, cells: np.ndarray, regions: Regions) -> np.ndarray:
        return np.stack([cells[region].max(axis=0) for region in regions])


class GeMPooler(Pooler):
    """Generalized mean of each channel over each region: between mean and maximum.

    Parameters
    ----------
    p : float, default=3
        Exponent in ``mean(x ** p) ** (1 / p)``. 1 is the mean, infinity the maximum.
        Activations below 1e-6 count as 1e-6.
    region_weight : {"center", "area", "sqrt_area"} or None, default=None
        As in `ClusterMaxPooler`.

    References
    ----------
    F. Radenović, G. Tolias, O. Chum, "Fine-tuning CNN image retrieval with no human
    annotation", TPAMI 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac import ActivationMap, GeMPooler, WholeRegion
    >>> activations = np.array([[[3.0], [4.0], [5.0], [6.0]]])
    >>> record = WholeRegion().transform([ActivationMap.from_arrays(activations)])
    >>> GeMPooler(p=1).fit_transform(record)[0].vectors
    array([[4.5]])
    >>> GeMPooler(p=3).fit_transform(record)[0].vectors.round(4)
    array([[4.7622]])
    """

    _parameter_constraints: dict = {
        "p": [Interval(Real, 0, None, closed="right")],
        **Pooler._parameter_constraints,
    }

    def __init__(self, p: float = 3.0, region_weight: str | None = None):
        self.p = p
        self.region_weight = region_weight

    def _reduce(self, cells: np.ndarray, regions: Regions) -> np.ndarray:
        return generalized_means(cells, regions, self.p)


class SPoCPooler(Pooler):
    """Sum of each channel over each region, cells near the photo's centre counting more.

    The regions of a partition add up to the whole map's vector.

    Parameters
    ----------
    center_prior : bool, default=True
        Whether cells are weighted with a Gaussian about the centre of the map. Its standard
        deviation is a third of the centre's distance from the nearest edge.
    region_weight : {"center", "area", "sqrt_area"} or None, default=None
        As in `ClusterMaxPooler`.

    Notes
    -----
    The map's centre is the middle of its cells. The publication counts cells from 1 and has
    the centre at (H / 2, W / 2), half a cell away, which treats a mirrored photo otherwise.

    References
    ----------
    A. Babenko, V. Lempitsky, "Aggregating deep convolutional features for image retrieval",
    ICCV 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac import ActivationMap, SPoCPooler, WholeRegion
    >>> record = WholeRegion().transform([ActivationMap.from_arrays(np.ones((3, 3, 1)))])
    >>> SPoCPooler(center_prior=False).fit_transform(record)[0].vectors
    array([[9.]])
    >>> SPoCPooler().fit_transform(record)[0].vectors.round(4)
    array([[1.6146]])
    """

    _parameter_constraints: dict = {
        "center_prior": ["boolean"],
        **Pooler._parameter_constraints,
    }

    def __init__(self, center_prior: bool = True, region_weight: str | None = None):
        self.center_prior = center_prior
        self.region_weight = region_weight

    def _weigh(self, activations: np.ndarray) -> np.ndarray:
        if not self.center_prior:
            return activations
        return activations * center_prior(*activations.shape[:2])[..., None]

    def _reduce(self, cells: np.ndarray, regions: Regions) -> np.ndarray:
        return np.stack([_sum(cells[region]) for region in regions])


class CroWPooler(Pooler):
    """Sum of each channel over each region, strong cells and rare channels counting more.

    Both weights are those of the whole photo, so the regions of a partition add up to the
    whole map's vector.

    Parameters
    ----------
    region_weight : {"center", "area", "sqrt_area"} or None, default=None
        As in `ClusterMaxPooler`.

    References
    ----------
    Y. Kalantidis, C. Mellina, S. Osindero, "Cross-dimensional weighting for aggregated deep
    convolutional features", ECCV 2016 workshops.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac import ActivationMap, CroWPooler, WholeRegion
    >>> activations = np.array([[[3.0, 0.0], [0.0, 4.0], [0.0, 4.0]]])
    >>> record = WholeRegion().transform([ActivationMap.from_arrays(activations)])
    >>> CroWPooler().fit_transform(record)[0].vectors.round(4)
    array([[2.256 , 2.5638]])
    """

    def __init__(self, region_weight: str | None = None):
        self.region_weight = region_weight

    def _weigh(self, activations: np.ndarray) -> np.ndarray:
        return activations * crow_cell_weights(activations)[..., None] * rarity(activations)

    def _reduce(self, cells: np.ndarray, regions: Regions) -> np.ndarray:
        return np.stack([_sum(cells[region]) for region in regions])


def generalized_means(cells: np.ndarray, regions: Regions, p: float) -> np.ndarray:
    """``mean(max(x, 1e-6) ** p) ** (1 / p)`` over the cells of each region.

    Parameters
    ----------
    cells : ndarray of shape (N, D)
    regions : Regions of N cells
    p : float

    Returns
    -------
    ndarray of shape (R, D)
        Of the cells' number format, at least single precision.
    """
    cells = np.maximum(cells, _FLOOR, dtype=np.result_type(cells, np.float32))
    top = cells.max(axis=0)
    if np.isinf(p) or _underflows(_FLOOR / top.max(), p, cells.dtype):
        return np.stack([_generalized_mean(cells[region], p) for region in regions])
    # Powers once for all regions, and as shares of the maximum, so that none overflows.
    cells /= top
    powers = cells * cells * cells if p == 3 else cells**p
    shares = regions.masks().reshape(len(regions), -1) / regions.areas[:, None]
    with one_thread():
        means = shares.astype(cells.dtype) @ powers
    return top * means ** (1 / p)


def _underflows(smallest: float, p: float, dtype: np.dtype) -> bool:
    """Whether a power of a number in (0, 1] loses digits."""
    return bool(p * np.log(smallest) < np.log(np.finfo(dtype).tiny))


def _generalized_mean(cells: np.ndarray, p: float) -> np.ndarray:
    """The same of one region with the cells (n, D), by shares of its own maximum."""
    top = cells.max(axis=0)
    return top if np.isinf(p) else top * np.mean((cells / top) ** p, axis=0) ** (1 / p)


def center_prior(height: int, width: int) -> np.ndarray:
    """SPoC's Gaussian about the middle of a map, 1 there, of shape (H, W), float32."""
    sigma = min(height, width) / 6
    y, x = np.ogrid[:height, :width]
    squared = (y - (height - 1) / 2) ** 2 + (x - (width - 1) / 2) ** 2
    return np.exp(-squared / (2 * sigma**2)).astype(np.float32)


def centrality(height: int, width: int) -> np.ndarray:
    """A Gaussian about the middle of a map, as wide for the map as it is, of shape (H, W)."""
    y, x = ((np.arange(n) + 0.5) / n - 0.5 for n in (height, width))
    squared = y[:, None] ** 2 + x[None] ** 2
    return np.exp(-squared / (2 / 6**2)).astype(np.float32)


def crow_cell_weights(activations: np.ndarray) -> np.ndarray:
    """``sqrt(S / |S|)`` of a map (H, W, D), S being the sum over channels; shape (H, W)."""
    strength = np.maximum(_sum(activations, axis=-1), 0)
    norm = np.linalg.norm(strength)
    return np.sqrt(strength / norm) if norm else strength


def rarity(activations: np.ndarray) -> np.ndarray:
    """``log(sum(Q) / Q_k)`` of a map (H, W, D), Q_k the share of cells where channel k is not 0.

    Returns
    -------
    ndarray of shape (D,), float32
        0 for a channel that is 0 everywhere.
    """
    share = np.count_nonzero(activations, axis=(0, 1)) / activations[..., 0].size
    inverse = np.divide(share.sum(), share, where=share > 0, out=np.ones_like(share))
    return np.log(inverse).astype(np.float32)


def _sum(activations: np.ndarray, axis: int = 0) -> np.ndarray:
    """Sum in at least single precision: half precision ends at 65504."""
    return activations.sum(axis=axis, dtype=np.result_type(activations, np.float32))
