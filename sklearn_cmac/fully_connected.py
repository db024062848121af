"""A fully connected layer with given weights, applied to region vectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.preprocessing import normalize
from sklearn.utils.validation import validate_data

from sklearn_cmac._scikit_learn import _fit_context
from sklearn_cmac._steps import TableOrSequenceStep, is_table
from sklearn_cmac.maps import Vectors, check_vectors


class FullyConnected(TableOrSequenceStep, BaseEstimator):
    """Unit length, ``W x + b``, unit length again, for each region vector.

    Networks for retrieval that were trained end to end, such as DIR, project region vectors
    with a layer that they learned where others whiten.

    Parameters
    ----------
    weight : array-like of shape (D', D), optional
        W. Default: the identity.
    bias : array-like of shape (D',), optional
        b. Default: zeros.
    normalize_input : bool, default=True
        Whether vectors have unit length before the layer, too.

    Attributes
    ----------
    n_features_in_ : int
        D.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac import FullyConnected
    >>> layer = FullyConnected(weight=[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], bias=[0, 0, -1.4])
    >>> layer.fit_transform([np.array([[3.0, 4.0]])])[0].vectors
    array([[0.6, 0.8, 0. ]])
    """

    _parameter_constraints: dict = {
        "weight": ["array-like", None],
        "bias": ["array-like", None],
        "normalize_input": ["boolean"],
    }

    def __init__(
        self,
        weight: ArrayLike | None = None,
        bias: ArrayLike | None = None,
        normalize_input: bool = True,
    ):
        self.weight = weight
        self.bias = bias
        self.normalize_input = normalize_input

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike | Vectors, y: object = None) -> FullyConnected:
        """Check that the layer fits the vectors.

        Parameters
        ----------
        X : sequence of RegionVectors or of arrays of shape (R_i, D), or array-like of shape (n, D)
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the weights are of another shape.
        """
        if is_table(X):
            validate_data(self, X, dtype=[np.float64, np.float32])
        else:
            self.n_features_in_ = check_vectors(X, self)[0].vectors.shape[1]
            self._forget("feature_names_in_")
        self._check_shapes()
        return self

    @property
    def _n_features_out(self) -> int:
        return self.n_features_in_ if self.weight is None else np.shape(self.weight)[0]

    def _check_shapes(self) -> None:
        if self.weight is not None and np.shape(self.weight)[1:] != (self.n_features_in_,):
            raise ValueError(
                f"weight is (D', {self.n_features_in_}) for these vectors, got shape "
                f"{np.shape(self.weight)}; does the layer belong to another network?"
            )
        if self.bias is not None and np.shape(self.bias) != (self._n_features_out,):
            raise ValueError(f"bias is ({self._n_features_out},), got shape {np.shape(self.bias)}")

    def _transform_rows(self, vectors: np.ndarray) -> np.ndarray:
        self._check_shapes()
        dtype = np.promote_types(vectors.dtype, np.float32)
        vectors = vectors.astype(dtype, copy=False)
        if self.normalize_input:
            vectors = normalize(vectors)
        if self.weight is not None:
            vectors = vectors @ np.asarray(self.weight, dtype).T
        if self.bias is not None:
            vectors = vectors + np.asarray(self.bias, dtype)
        return normalize(vectors)
