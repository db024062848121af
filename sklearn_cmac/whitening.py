"""Region vectors whitened, so that what all photos share counts little."""

from __future__ import annotations

import warnings
from dataclasses import replace
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.preprocessing import normalize
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted, validate_data

from sklearn_cmac._steps import TableOrSequenceStep, check_vectors, is_table


class RegionWhitener(TableOrSequenceStep, BaseEstimator):
    """Unit length, PCA whitening, unit length again, for each region vector.

    Fit it on photos that are not searched, or at least not tuned to: on the collection
    itself it sees what it will be tested on.

    Parameters
    ----------
    n_components : int, optional
        D', dimensions to keep. Default: all whose variance is not zero.
    shrinkage : float, default=0
        s in ``1 / sqrt(λ + s * mean(λ))``, λ being the variance along a principal axis. 0 is
        full whitening, the paper's; above, axes of little variance, which are mostly noise,
        are amplified less.

    Attributes
    ----------
    mean_ : ndarray of shape (D,)
        Of the unit vectors.
    components_ : ndarray of shape (D', D)
        Principal axes, each divided by ``sqrt(λ + s * mean(λ))``.
    explained_variance_ : ndarray of shape (D',)
        λ of the axes that are kept, descending.
    n_features_in_ : int
        D.
    n_regions_, n_photos_ : int
        How many vectors, of how many photos, it was fitted on.

    Warns
    -----
    UserWarning
        If there are fewer than 10 D region vectors: the axes of least variance, which
        whitening amplifies most, are then hardly known.

    References
    ----------
    H. Jégou, O. Chum, "Negative evidences and co-occurences in image retrieval: the benefit
    of PCA and whitening", ECCV 2012.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac import RegionWhitener
    >>> rng = np.random.default_rng(0)
    >>> photos = [rng.random((20, 8)) for _ in range(10)]
    >>> whitener = RegionWhitener(n_components=4).fit(photos)
    >>> whitener.transform(photos[:1])[0].vectors.shape
    (20, 4)
    """

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "shrinkage": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, n_components: int | None = None, shrinkage: float = 0.0):
        self.n_components = n_components
        self.shrinkage = shrinkage

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> RegionWhitener:
        """Find the principal axes of region vectors.

        Parameters
        ----------
        X : sequence of RegionVectors or of arrays of shape (R_i, D), or array-like of shape (n, D)
            The vectors of each photo, or one vector a row.
        y : ignored

        Returns
        -------
        self
        """
        self._fitted_on_records = not is_table(X)
        if self._fitted_on_records:
            photos = [record.vectors for record in check_vectors(X, self, None)]
            self.n_features_in_ = photos[0].shape[1]
            dtype = photos[0].dtype
        else:
            table = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
            photos, dtype = [table], table.dtype
        self.n_regions_ = sum(map(len, photos))
        self.n_photos_ = len(photos) if self._fitted_on_records else len(photos[0])
        if self.n_regions_ < 2:
            raise ValueError(
                f"RegionWhitener needs at least 2 region vectors, got {self.n_regions_} of "
                f"{self.n_photos_} photo; fit on more photos"
            )
        if self._fitted_on_records and self.n_regions_ < 10 * self.n_features_in_:
            warnings.warn(
                f"whitening {self.n_features_in_} dimensions with {self.n_regions_} region "
                f"vectors of {self.n_photos_} photos; below {10 * self.n_features_in_} it "
                "amplifies noise. Fit on more photos"
                + ("" if self.shrinkage else ", or set shrinkage to about 1"),
                stacklevel=2,
            )
        mean, covariance = _moments(photos, self.n_features_in_)
        self._set_axes(mean, covariance, dtype if dtype == np.float64 else np.dtype(np.float32))
        return self

    def _set_axes(self, mean: np.ndarray, covariance: np.ndarray, dtype: np.dtype) -> None:
        variance, axes = np.linalg.eigh(covariance)
        variance, axes = variance[::-1], axes[:, ::-1].T
        # What rounding alone can produce, of the vectors or of the covariance, is no variance
        # and must not be divided by.
        size = len(variance)
        rounding = max((size * np.finfo(dtype).eps) ** 2, size * np.finfo(np.float64).eps)
        limit = variance[0] * rounding
        rank = max(1, min(int((variance > limit).sum()), self.n_regions_ - 1))
        keep = min(self.n_components or rank, rank)
        # An axis and its opposite are as good; the largest entry decides.
        axes = axes[:keep]
        axes = axes * np.sign(axes[np.arange(keep), np.abs(axes).argmax(axis=1)])[:, None]
        damped = variance[:keep] + self.shrinkage * max(variance.mean(), 0)
        inverse = np.divide(1, np.sqrt(damped), where=damped > 0, out=np.zeros(keep))
        self.mean_ = mean.astype(dtype)
        self.components_ = (axes * inverse[:, None]).astype(dtype)
        self.explained_variance_ = variance[:keep].astype(dtype)
        self._n_features_out = keep

    def transform(self, X: Any) -> Any:
        """Whiten region vectors.

        Parameters
        ----------
        X : sequence of RegionVectors or of arrays of shape (R_i, D), or array-like of shape (n, D)

        Returns
        -------
        list of RegionVectors, or ndarray of shape (n, D')
            Vectors of unit length.

        Raises
        ------
        PhotoError
            If a photo's vectors have another length than those fitted on, or are not finite.
        """
        check_is_fitted(self)
        if is_table(X):
            X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
            return self._whiten(X)
        records = check_vectors(X, self, self.n_features_in_)
        return [replace(record, vectors=self._whiten(record.vectors)) for record in records]

    def _whiten(self, vectors: np.ndarray) -> np.ndarray:
        vectors = normalize(vectors.astype(self.mean_.dtype, copy=False))
        return normalize((vectors - self.mean_) @ self.components_.T)


def _moments(photos: list[np.ndarray], n_features: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of unit vectors, photo by photo, so none is copied."""
    total, sums = 0, np.zeros(n_features)
    products = np.zeros((n_features, n_features))
    for vectors in photos:
        unit = normalize(np.asarray(vectors, np.float64))
        total += len(unit)
        sums += unit.sum(axis=0)
        products += unit.T @ unit
    mean = sums / total
    return mean, (products - total * np.outer(mean, mean)) / (total - 1)
