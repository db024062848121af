"""Activations projected to a few dimensions, scaled so that plain distance is eq. 2."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize
from sklearn.utils import check_random_state
from sklearn.utils.random import sample_without_replacement
from sklearn.utils.validation import validate_data

from sklearn_cmac._scikit_learn import Interval, StrOptions, _fit_context
from sklearn_cmac._steps import Seed, TableOrSequenceStep, is_table, kept_components
from sklearn_cmac.maps import ActivationMap, Records, check_records, maps_of, with_maps
from sklearn_cmac.photos import PhotoError


class ActivationPCA(TableOrSequenceStep, BaseEstimator):
    """Principal components of activation vectors, as an embedding to cluster in.

    The distance between two cells of a map weighs each component by its share of the
    variance (eq. 2): ``d_ij = sqrt(sum_k w_k (f_ik - f_jk)^2)``. The coordinates that this
    step returns are already multiplied by ``sqrt(w_k)``, so the plain Euclidean distance
    between them is ``d_ij``.

    Parameters
    ----------
    n_components : int, default=4
        C, the dimensions to keep (the paper: 4 for VGG16, 7 for ResNet101). Fewer are kept,
        with a warning, where there are fewer channels or activation vectors.
    weighting : {"variance", "whiten"} or None, default="variance"
        "variance" is eq. 2. "whiten" gives each component variance 1. None leaves the
        components as PCA returns them.
    normalize : bool, default=False
        Whether activation vectors are scaled to unit length first. The paper does not: the
        norm says how much of an object there is.
    max_samples : int, default=20000
        At most so many activation vectors, drawn from all photos, are fitted on.
    random_state : int, RandomState instance or None, default=0
        Draws that sample.

    Attributes
    ----------
    components_ : ndarray of shape (C, D)
        Principal axes.
    mean_ : ndarray of shape (D,)
    explained_variance_ : ndarray of shape (C,)
        Variance of each component.
    weights_ : ndarray of shape (C,)
        What each component counts for in the squared distance.
    n_components_ : int
        C, as many as were kept.
    n_features_in_ : int
        D.

    Warns
    -----
    UserWarning
        If fewer components are kept than were asked for.

    References
    ----------
    Chen, Kuang, Zhang, Wong, "Aggregated Deep Feature from Activation Clusters for
    Particular Object Retrieval", Thematic Workshops of ACM Multimedia 2017,
    https://doi.org/10.1145/3126686.3126696, eq. 2.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac import ActivationMap, ActivationPCA
    >>> rng = np.random.default_rng(0)
    >>> maps = [ActivationMap.from_arrays(rng.random((6, 8, 32))) for _ in range(5)]
    >>> ActivationPCA(n_components=3).fit_transform(maps)[0].embedding.shape
    (6, 8, 3)
    """

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "weighting": [StrOptions({"variance", "whiten"}), None],
        "normalize": ["boolean"],
        "max_samples": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_components: int = 4,
        weighting: str | None = "variance",
        normalize: bool = False,
        max_samples: int = 20_000,
        random_state: Seed = 0,
    ):
        self.n_components = n_components
        self.weighting = weighting
        self.normalize = normalize
        self.max_samples = max_samples
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike | Records, y: object = None) -> ActivationPCA:
        """Find the components.

        Parameters
        ----------
        X : sequence of ActivationMap, or array-like of shape (n_samples, D)
        y : ignored

        Returns
        -------
        self
        """
        rng = check_random_state(self.random_state)
        if is_table(X):
            rows = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
            if len(rows) > self.max_samples:
                rows = rows[_draw(len(rows), self.max_samples, rng)]
        else:
            rows = self._sample_cells(maps_of(check_records(X, self)), rng)
            self.n_features_in_ = rows.shape[1]
            self._forget("feature_names_in_")
        if len(rows) < 2:
            raise ValueError(f"ActivationPCA needs at least 2 activation vectors, got {len(rows)}")
        if self.normalize:
            rows = normalize(rows)
        with np.errstate(invalid="ignore"):  # shares of no variance at all, which are not used
            # The covariance costs least where there are more vectors than dimensions.
            solver = "covariance_eigh" if len(rows) > rows.shape[1] else "full"
            kept = kept_components(self, min(rows.shape), *rows.shape)
            pca = PCA(kept, svd_solver=solver).fit(rows)
        self.components_ = pca.components_
        self.mean_ = pca.mean_
        self.explained_variance_ = pca.explained_variance_
        self.n_components_ = self._n_features_out = len(self.components_)
        self.weights_ = self._component_weights().astype(rows.dtype)
        return self

    def _component_weights(self) -> np.ndarray:
        variance = self.explained_variance_.astype(np.float64)
        if self.weighting == "variance":
            total = variance.sum()
            return variance / total if total > 0 else np.full_like(variance, 1 / len(variance))
        if self.weighting == "whiten":
            return 1 / np.maximum(variance, np.finfo(np.float64).tiny) * (variance > 0)
        return np.ones_like(variance)

    def _sample_cells(self, X: list[ActivationMap], rng: np.random.RandomState) -> np.ndarray:
        """At most `max_samples` activation vectors, each cell of all photos as likely."""
        counts = [record.shape[0] * record.shape[1] for record in X]
        starts = np.concatenate([[0], np.cumsum(counts)])
        chosen = _draw(starts[-1], min(self.max_samples, starts[-1]), rng)
        rows = []
        for record, start, stop in zip(X, starts, starts[1:]):
            cells = chosen[np.searchsorted(chosen, start) : np.searchsorted(chosen, stop)] - start
            activations = record.activations
            rows.append(activations[np.unravel_index(cells, activations.shape[:2])])
            if rows[0].shape[1] != rows[-1].shape[1]:
                raise PhotoError(
                    f"{record.name}: has {rows[-1].shape[1]} channels and the photos before it "
                    f"{rows[0].shape[1]}; describe all photos with one network and layer"
                )
            if not np.isfinite(rows[-1]).all():
                raise PhotoError(f"{record.name}: its activations are not finite numbers")
        sample = np.concatenate(rows)
        return sample.astype(np.float32) if sample.dtype == np.float16 else sample

    def _transform_photos(self, X: object) -> list[ActivationMap]:
        records = check_records(X, self)
        maps = maps_of(records)
        return with_maps(records, (replace(each, embedding=self._embed(each)) for each in maps))

    def _embed(self, record: ActivationMap) -> np.ndarray:
        activations = record.activations
        height, width, channels = activations.shape
        if channels != self.n_features_in_:
            raise PhotoError(
                f"{record.name}: has {channels} channels, and ActivationPCA was fitted on "
                f"{self.n_features_in_}; use the network and layer that it was fitted with"
            )
        rows = activations.reshape(-1, channels).astype(self.components_.dtype, copy=False)
        embedding = self._transform_rows(rows).reshape(height, width, -1)
        if not np.isfinite(embedding).all():
            raise PhotoError(f"{record.name}: its activations are not finite numbers")
        return embedding

    def _transform_rows(self, rows: np.ndarray) -> np.ndarray:
        if self.normalize:
            rows = normalize(rows)
        components = self.components_ * np.sqrt(self.weights_)[:, None]
        return rows @ components.T - self.mean_ @ components.T


def _draw(n: int, size: int, rng: np.random.RandomState) -> np.ndarray:
    """`size` different integers below `n`, ascending."""
    return np.sort(sample_without_replacement(n, size, random_state=rng))
