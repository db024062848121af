"""A fully connected layer with given weights, applied to region vectors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.preprocessing import normalize
from sklearn.utils.validation import check_is_fitted, validate_data

from sklearn_cmac._steps import TableOrSequenceStep, is_table
from sklearn_cmac.maps import check_vectors


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

    def __init__(self, weight: Any = None, bias: Any = None, normalize_input: bool = True):
        self.weight = weight
        self.bias = bias
        self.normalize_input = normalize_input

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> FullyConnected:
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
        self._fitted_on_records = not is_table(X)
        if self._fitted_on_records:
            self.n_features_in_ = check_vectors(X, self, None)[0].vectors.shape[1]
        else:
            validate_data(self, X, dtype=[np.float64, np.float32])
        if self.weight is not None:
            shape = np.shape(self.weight)
            if len(shape) != 2 or shape[1] != self.n_features_in_:
                raise ValueError(
                    f"weight is (D', {self.n_features_in_}) for these vectors, got shape {shape}; "
                    "does the layer belong to another network?"
                )
            self._n_features_out = shape[0]
        else:
            self._n_features_out = self.n_features_in_
        if self.bias is not None and np.shape(self.bias) != (self._n_features_out,):
            raise ValueError(f"bias is ({self._n_features_out},), got shape {np.shape(self.bias)}")
        return self

    def transform(self, X: Any) -> Any:
        """Project region vectors.

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
            If a photo's vectors have another length than D, or are not finite.
        """
        check_is_fitted(self, "n_features_in_")
        if is_table(X):
            X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
            return self._project(X)
        records = check_vectors(X, self, self.n_features_in_)
        return [replace(record, vectors=self._project(record.vectors)) for record in records]

    def _project(self, vectors: np.ndarray) -> np.ndarray:
        dtype = np.promote_types(vectors.dtype, np.float32)
        vectors = vectors.astype(dtype, copy=False)
        if self.normalize_input:
            vectors = normalize(vectors)
        if self.weight is not None:
            vectors = vectors @ np.asarray(self.weight, dtype).T
        if self.bias is not None:
            vectors = vectors + np.asarray(self.bias, dtype)
        return normalize(vectors)
