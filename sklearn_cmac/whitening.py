"""Region vectors whitened, so that what all photos share counts little."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.preprocessing import normalize
from sklearn.utils import Tags, check_array
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from sklearn_cmac._learned_whitening import (
    difference_covariance,
    pairs_from_labels,
    whitening_factor,
)
from sklearn_cmac._scikit_learn import Interval, StrOptions, _fit_context
from sklearn_cmac._steps import Seed, TableOrSequenceStep, is_table, kept_components
from sklearn_cmac.maps import Vectors, check_vectors

# What a whitening was fitted on, for people and for JSON.
Provenance: TypeAlias = "dict[str, str | int]"


class RegionWhitener(TableOrSequenceStep, BaseEstimator):
    """Unit length, whitening, unit length again, for each region vector.

    Fit it on photos that are not searched, or at least not tuned to: on the collection
    itself it sees what it will be tested on.

    Parameters
    ----------
    n_components : int, optional
        D', dimensions to keep. Default: all whose variance is not zero. Where these are fewer,
        they are kept, with a warning.
    method : {"pca", "learned"}, default="pca"
        "pca" makes all vectors spread evenly. "learned" does so for the *differences* of
        vectors that show the same object, so that these count little, and then turns to the
        principal axes: siaMAC's L_w. It needs labels, or pairs of photos, to fit.
    shrinkage : float, default=0
        s in ``1 / sqrt(λ + s * mean(λ))``, λ being the variance along a principal axis, of
        the vectors or, for "learned", of the differences. 0 is full whitening, the paper's;
        above, axes of little variance, which are mostly noise, are amplified less.
    power : float, default=1
        Vectors enter as ``sign(x) * abs(x) ** power``, channel by channel. Below 1, a few strong
        channels count for less beside many weak ones. 1 is the paper's.
    distractor : str or int, optional
        For "learned", the label of photos that show none of the objects: they match none.
    max_pairs : int, default=20000
        For "learned", matching pairs that are drawn if the labels make more.
    random_state : int, RandomState instance or None, default=0
        Draws these pairs.

    Attributes
    ----------
    mean_ : ndarray of shape (D,)
        Of the unit vectors.
    components_ : ndarray of shape (D', D)
        "pca": principal axes, each divided by ``sqrt(λ + s * mean(λ))``. "learned": the
        principal axes of vectors that are whitened by the differences, times that whitening.
    explained_variance_ : ndarray of shape (D',)
        λ of the axes that are kept, descending.
    n_components_ : int
        D', as many as were kept.
    n_features_in_ : int
        D.
    n_regions_, n_photos_ : int
        How many vectors, of how many photos, it was fitted on.
    n_pairs_ : int
        How many pairs of photos; only for "learned".
    provenance_ : dict from str to str or int
        The photos that it was fitted on, and how; "summary" says it in one line.

    Warns
    -----
    UserWarning
        If there are fewer than 10 D region vectors: the axes of least variance, which
        whitening amplifies most, are then hardly known. If fewer components are kept than
        were asked for. For "learned" also if the differences leave some direction out.

    Notes
    -----
    L_w is ``V^T P0 (x - m)``, with P0 the inverse Cholesky factor of the differences'
    covariance, and V the principal axes of ``P0 (x - m)``. The authors' program takes as m the
    mean of one photo of each pair, we that of all vectors. Of photos with several regions, each
    region matches the most similar one of the other photo.

    References
    ----------
    H. Jégou, O. Chum, "Negative evidences and co-occurences in image retrieval: the benefit
    of PCA and whitening", ECCV 2012.

    F. Radenović, G. Tolias, O. Chum, "CNN image retrieval learns from BoW: unsupervised
    fine-tuning with hard examples", ECCV 2016.

    F. Perronnin, J. Sánchez, T. Mensink, "Improving the Fisher kernel for large-scale image
    classification", ECCV 2010, for powers.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac import RegionWhitener
    >>> rng = np.random.default_rng(0)
    >>> photos = [rng.random((20, 8)) for _ in range(10)]
    >>> whitener = RegionWhitener(n_components=4).fit(photos)
    >>> whitener.transform(photos[:1])[0].vectors.shape
    (20, 4)
    >>> learned = RegionWhitener(method="learned").fit(photos, ["arch", "tower"] * 5)
    >>> learned.n_pairs_
    20
    """

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "method": [StrOptions({"pca", "learned"})],
        "shrinkage": [Interval(Real, 0, None, closed="left")],
        "power": [Interval(Real, 0, None, closed="neither")],
        "distractor": [str, Integral, None],
        "max_pairs": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_components: int | None = None,
        method: str = "pca",
        shrinkage: float = 0.0,
        power: float = 1.0,
        distractor: str | int | None = None,
        max_pairs: int = 20_000,
        random_state: Seed = 0,
    ):
        self.n_components = n_components
        self.method = method
        self.shrinkage = shrinkage
        self.power = power
        self.distractor = distractor
        self.max_pairs = max_pairs
        self.random_state = random_state

    def __setstate__(self, state: dict[str, Any]) -> None:
        # What was pickled before there were powers has 1.
        super().__setstate__({"power": 1.0, **state})

    @classmethod
    def from_arrays(cls, mean: ArrayLike, components: ArrayLike) -> RegionWhitener:
        """A fitted whitener with a mean and axes from elsewhere.

        Parameters
        ----------
        mean : array-like of shape (D,)
        components : array-like of shape (D', D)
            Each row is multiplied with a unit vector less the mean.

        Returns
        -------
        RegionWhitener
            It does not know what vectors it was fitted on.

        Raises
        ------
        ValueError
            If the arrays have other shapes, or are not finite.
        """
        axes = check_array(components, dtype=[np.float64, np.float32])
        center = check_array(mean, dtype=axes.dtype, ensure_2d=False)
        if center.shape != axes.shape[1:]:
            raise ValueError(f"mean is ({axes.shape[1]},), got shape {center.shape}")
        whitener = cls(n_components=len(axes))
        whitener.mean_, whitener.components_ = center, axes
        whitener.n_components_, whitener.n_features_in_ = axes.shape
        whitener._n_features_out = whitener.n_components_
        return whitener

    @property
    def provenance_(self) -> Provenance:
        check_is_fitted(self)
        about: Provenance = {"n_components": int(self.n_components_)}
        if not hasattr(self, "n_photos_"):
            return {**about, "summary": f"given as arrays, {self.n_components_} components"}
        how = "learned from" if self.method == "learned" else "fitted on"
        summary = f"own, {how} {self.n_photos_} photos, shrinkage {float(self.shrinkage)}"
        about |= {"n_photos": int(self.n_photos_), "n_regions": int(self.n_regions_)}
        return {**about, "shrinkage": f"{self.shrinkage:g}", "summary": summary}

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: ArrayLike | Vectors,
        y: ArrayLike | None = None,
        pairs: ArrayLike | None = None,
    ) -> RegionWhitener:
        """Find the axes to which region vectors are turned, and their scales.

        Parameters
        ----------
        X : sequence of RegionVectors or of arrays of shape (R_i, D), or array-like of shape (n, D)
            The vectors of each photo, or one vector a row.
        y : array-like of shape (n_photos,), optional
            For "learned", a label for each photo: those with the same label match.
        pairs : array-like of int of shape (P, 2), optional
            For "learned", positions in `X` of photos that match, instead of labels. In a
            pipeline it is ``whiten__pairs``.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there are fewer than 2 vectors or, for "learned", if no two photos match.
        """
        self._forget("n_pairs_")
        of_photos = not is_table(X)
        if of_photos:
            photos = [record.vectors for record in check_vectors(X, self)]
            self.n_features_in_ = photos[0].shape[1]
            self._forget("feature_names_in_")
        else:
            table = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
            photos = [table]
        dtype = photos[0].dtype
        self.n_regions_ = sum(map(len, photos))
        self.n_photos_ = len(photos) if of_photos else self.n_regions_
        if self.n_regions_ < 2:
            raise ValueError(
                f"RegionWhitener needs at least 2 region vectors, got {self.n_regions_} of "
                f"{self.n_photos_} photo; fit on more photos"
            )
        if of_photos and self.n_regions_ < 10 * self.n_features_in_:
            warnings.warn(
                f"whitening {self.n_features_in_} dimensions with {self.n_regions_} region "
                f"vectors of {self.n_photos_} photos; below {10 * self.n_features_in_} it "
                "amplifies noise. Fit on more photos"
                + ("" if self.shrinkage else ", or set shrinkage to about 1"),
                stacklevel=3,
            )
        photos = [_to_power(vectors, self.power) for vectors in photos]
        mean, covariance = _moments(photos, self.n_features_in_)
        factor = None
        if self.method == "learned":
            each = photos if of_photos else list(photos[0][:, None])
            factor = self._factor_of_differences(each, y, pairs)
        self._set_axes(mean, covariance, factor, np.promote_types(dtype, np.float32))
        return self

    def _factor_of_differences(
        self, photos: list[np.ndarray], y: ArrayLike | None, pairs: ArrayLike | None
    ) -> np.ndarray:
        """P0, of the photos' matching pairs."""
        pairs = self._matching_pairs(len(photos), y, pairs)
        self.n_pairs_ = len(pairs)
        differences = difference_covariance(photos, pairs)
        mean_variance = np.trace(differences) / len(differences)
        if mean_variance <= np.finfo(np.float64).eps ** 2:
            raise ValueError(
                f"the {self.n_pairs_} matching pairs differ in none of n_features="
                f"{self.n_features_in_} dimensions, so there is nothing to learn from them; are "
                "they copies of one photo?"
            )
        differences[np.diag_indices_from(differences)] += self.shrinkage * mean_variance
        factor, loading = whitening_factor(differences)
        if loading:
            warnings.warn(
                f"whitening of {len(differences)} dimensions learned from {self.n_pairs_} matching "
                f"pairs: they leave directions out, so {loading:.1g} was added to each variance "
                "and these directions are amplified most. Give more pairs, or set shrinkage to "
                "about 1",
                stacklevel=4,
            )
        return factor

    def _matching_pairs(
        self, n_photos: int, y: ArrayLike | None, pairs: ArrayLike | None
    ) -> np.ndarray:
        if pairs is None:
            if y is None:
                raise ValueError(
                    "RegionWhitener(method='learned') requires y to be passed, but the target y is "
                    "None; give a label for each photo, or pairs of photos"
                )
            labels: np.ndarray = column_or_1d(y)
            if len(labels) != n_photos:
                raise ValueError(f"got {len(labels)} labels for {n_photos} photos")
            pairs = pairs_from_labels(labels, self.distractor, self.max_pairs, self.random_state)
            if not len(pairs):
                raise ValueError(
                    f"no two of {n_photos} photos have the same label, so there is nothing to "
                    "learn from; give labels that photos share, or use method='pca'"
                )
        pairs = np.asarray(pairs)
        if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs) or pairs.dtype.kind not in "iu":
            raise ValueError(f"pairs are integers of shape (P, 2), got {pairs.dtype} {pairs.shape}")
        if pairs.min() < 0 or pairs.max() >= n_photos:
            raise ValueError(
                f"pairs name photos by their position, 0 to {n_photos - 1}; got {pairs.min()} to "
                f"{pairs.max()}"
            )
        return pairs

    def _set_axes(
        self, mean: np.ndarray, covariance: np.ndarray, factor: np.ndarray | None, dtype: np.dtype
    ) -> None:
        if factor is not None:
            covariance = factor @ covariance @ factor.T
        variance, axes = np.linalg.eigh(covariance)
        variance, axes = variance[::-1], axes[:, ::-1].T
        # What rounding alone can produce, of the vectors or of the covariance, is no variance
        # and must not be divided by.
        size = len(variance)
        rounding = max((size * np.finfo(dtype).eps) ** 2, size * np.finfo(np.float64).eps)
        limit = variance[0] * rounding
        rank = max(1, min(int((variance > limit).sum()), self.n_regions_ - 1))
        keep = kept_components(self, rank, self.n_regions_, size)
        # An axis and its opposite are as good; the largest entry decides.
        axes = axes[:keep]
        axes = axes * np.sign(axes[np.arange(keep), np.abs(axes).argmax(axis=1)])[:, None]
        if factor is not None:
            components = axes @ factor
        else:
            damped = variance[:keep] + self.shrinkage * max(variance.mean(), 0)
            inverse = np.divide(1, np.sqrt(damped), where=damped > 0, out=np.zeros(keep))
            components = axes * inverse[:, None]
        self.mean_ = mean.astype(dtype)
        self.components_ = components.astype(dtype)
        self.explained_variance_ = variance[:keep].astype(dtype)
        self.n_components_ = self._n_features_out = keep

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self.method == "learned"
        return tags

    def _transform_rows(self, rows: np.ndarray) -> np.ndarray:
        rows = _to_power(rows.astype(self.mean_.dtype, copy=False), self.power)
        return whiten(rows, self.mean_, self.components_)


def whiten(rows: np.ndarray, mean: np.ndarray, components: np.ndarray) -> np.ndarray:
    """Rows (n, D) at unit length, less the mean, times components (D', D), at unit length."""
    rows = normalize(rows.astype(mean.dtype, copy=False))
    return normalize((rows - mean) @ components.T)


def _to_power(vectors: np.ndarray, power: float) -> np.ndarray:
    """Signed powers of all numbers, in at least single precision."""
    if power == 1:
        return vectors
    vectors = vectors.astype(np.result_type(vectors, np.float32), copy=False)
    return np.sign(vectors) * np.abs(vectors) ** power


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
