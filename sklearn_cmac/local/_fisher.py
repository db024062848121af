"""Photos by how a mixture of Gaussians would have to change to explain their features."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.utils._param_validation import Interval

from sklearn_cmac.local._encoder import POWER, Encoder, signed_power


def fisher_gradients(
    descriptors: np.ndarray, weights: np.ndarray, means: np.ndarray, variances: np.ndarray
) -> np.ndarray:
    """Gradients of a Gaussian mixture's log-likelihood, scaled to unit variance.

    Parameters
    ----------
    descriptors : ndarray of shape (n, d)
    weights : ndarray of shape (K,)
        Of the Gaussians; they sum up to 1.
    means, variances : ndarray of shape (K, d)

    Returns
    -------
    ndarray of shape (2, K, d)
        With respect to the means, and to the standard deviations: eq. 7 and 8 of Perronnin et
        al., ECCV 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac.local import fisher_gradients
    >>> one = np.ones((1, 1))
    >>> fisher_gradients(np.array([[3.0], [5.0]]), np.ones(1), 2 * one, 4 * one).ravel()
    array([1.        , 0.1767767])
    """
    x = np.asarray(descriptors, np.float64)
    precisions = 1 / variances
    log_density = x @ (means * precisions).T - 0.5 * (
        x**2 @ precisions.T + (means**2 * precisions + np.log(variances)).sum(axis=1)
    )
    shares = softmax(log_density + np.log(weights), axis=1)
    n_each = shares.sum(axis=0)[:, None]
    first, second = shares.T @ x, shares.T @ x**2
    to_means = (first - n_each * means) / np.sqrt(variances)
    spread = second - 2 * means * first + n_each * means**2
    to_deviations = (spread * precisions - n_each) / np.sqrt(2)
    return np.stack([to_means, to_deviations]) / (len(x) * np.sqrt(weights)[:, None])


class FisherVector(Encoder):
    """How the features of a photo differ from a mixture of Gaussians, in mean and spread.

    Local descriptors are first projected to principal components, since the Gaussians have
    diagonal covariances.

    Parameters
    ----------
    n_gaussians : int, default=64
        K. Fewer are learned where there are fewer features. A photo's descriptor has
        2 * K * C numbers.
    n_components : int or None, default=64
        C, principal components of local descriptors that are kept, at most as many as there
        are; None projects nothing.
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
    A photo without features has a descriptor of zeros, which is like no photo.

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
        self.mean_, self.components_ = np.zeros(rows.shape[1]), np.eye(rows.shape[1])
        if self.n_components is not None:
            pca = PCA(min(self.n_components, *rows.shape), random_state=rng).fit(rows)
            self.mean_, self.components_ = pca.mean_, pca.components_
        mixture = GaussianMixture(
            min(self.n_gaussians, len(rows)), covariance_type="diag", random_state=rng
        ).fit(self._project(rows))
        self.weights_ = mixture.weights_
        self.means_ = mixture.means_
        self.variances_ = mixture.covariances_

    def _project(self, descriptors: np.ndarray) -> np.ndarray:
        return (descriptors - self.mean_) @ self.components_.T

    def _encode(self, descriptors: np.ndarray) -> np.ndarray:
        gradients = fisher_gradients(
            self._project(descriptors), self.weights_, self.means_, self.variances_
        )
        return signed_power(gradients, self.power)
