"""Photos by how a mixture of Gaussians would have to change to explain their features."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from sklearn_cmac._scikit_learn import Interval
from sklearn_cmac.local._encoder import POWER, Encoder, signed_power


class FisherVector(Encoder):
    """How the features of a photo differ from a mixture of Gaussians, in mean and spread.

    Local descriptors are first projected to principal components, since the Gaussians have
    diagonal covariances.

    Parameters
    ----------
    n_gaussians : int, default=64
        K. Fewer are learned, with a warning, where there are fewer features. A photo's
        descriptor has 2 * K * C numbers.
    n_components : int or None, default=64
        C, principal components of local descriptors that are kept. Fewer are, with a warning,
        where descriptors have fewer dimensions, or there are fewer features; None projects
        nothing.
    power : float, default=0.5
        Each gradient is raised to this power under its sign. 1 leaves them.
    max_samples : int, default=100000
        At most so many features, drawn from all photos, are learned from.
    random_state : int, RandomState instance or None, default=0
        Draws that sample, and the first Gaussians.

    Attributes
    ----------
    weights_ : ndarray of shape (K,)
    means_, variances_ : ndarray of shape (K, C)
    components_ : ndarray of shape (C, d)
        Principal axes of local descriptors.
    mean_ : ndarray of shape (d,)
    n_features_in_ : int
        d, the length of local descriptors.

    Notes
    -----
    It needs scikit-image: ``pip install sklearn-cmac[local]``. Of the vector of
    `skimage.feature.fisher_vector` the gradients with respect to means and variances are kept, in
    this order, and not those with respect to the K weights: they say little of a photo. A photo
    without features has a descriptor of zeros, which is like no photo.

    References
    ----------
    F. Perronnin, J. Sánchez, T. Mensink, "Improving the Fisher Kernel for Large-Scale Image
    Classification", ECCV 2010. H. Jégou et al., "Aggregating Local Image Descriptors into
    Compact Codes", PAMI 2012, for retrieval.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac import FisherVector
    >>> rng = np.random.default_rng(0)
    >>> photos = [rng.random((30, 8)) for _ in range(4)]
    >>> FisherVector(n_gaussians=3, n_components=4, random_state=0).fit_transform(photos).shape
    (4, 24)
    """

    _parameter_constraints: dict = {
        "n_gaussians": [Interval(Integral, 1, None, closed="left")],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "power": [POWER],
        **Encoder._parameter_constraints,
    }

    def __init__(
        self,
        n_gaussians: int = 64,
        n_components: int | None = 64,
        power: float = 0.5,
        max_samples: int = 100_000,
        random_state: Any = 0,
    ):
        self.n_gaussians = n_gaussians
        self.n_components = n_components
        self.power = power
        self.max_samples = max_samples
        self.random_state = random_state

    def _learn(
        self, rows: np.ndarray, photos: list[np.ndarray], rng: np.random.RandomState
    ) -> None:
        _import_fisher_vector()  # what is missing is said before anything is learned
        self.mean_, self.components_ = np.zeros(rows.shape[1]), np.eye(rows.shape[1])
        if self.n_components is not None:
            n_components = self._at_most("n_components", min(rows.shape), rows)
            pca = PCA(n_components, random_state=rng).fit(rows)
            self.mean_, self.components_ = pca.mean_, pca.components_
        n_gaussians = self._at_most("n_gaussians", len(rows), rows)
        mixture = GaussianMixture(n_gaussians, covariance_type="diag", random_state=rng)
        mixture.fit(self._project(rows))
        self.weights_ = mixture.weights_
        self.means_ = mixture.means_
        self.variances_ = mixture.covariances_

    def _project(self, descriptors: np.ndarray) -> np.ndarray:
        return (descriptors - self.mean_) @ self.components_.T

    def _encode(self, descriptors: np.ndarray) -> np.ndarray:
        # In double precision: the gradients are small differences of large sums.
        projected = self._project(descriptors).astype(np.float64)
        gradients = _import_fisher_vector()(projected, self._mixture())
        return signed_power(gradients[len(self.weights_) :], self.power)

    def _mixture(self) -> GaussianMixture:
        """The fitted arrays as scikit-image reads them."""
        mixture = GaussianMixture(len(self.weights_), covariance_type="diag")
        mixture.weights_, mixture.means_ = self.weights_, self.means_
        mixture.covariances_ = self.variances_
        mixture.precisions_cholesky_ = 1 / np.sqrt(self.variances_)
        return mixture


def _import_fisher_vector() -> Callable[[np.ndarray, GaussianMixture], np.ndarray]:
    try:
        from skimage.feature import fisher_vector
    except ImportError as error:
        raise ImportError("Fisher vectors need: pip install sklearn-cmac[local]") from error
    return fisher_vector
