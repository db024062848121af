"""One descriptor for each photo: the sum of its region vectors, at unit length."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.preprocessing import normalize
from sklearn.utils.validation import check_is_fitted, validate_data

from sklearn_cmac._scikit_learn import _fit_context
from sklearn_cmac._steps import TableStep, is_table
from sklearn_cmac._threads import one_thread
from sklearn_cmac.maps import Vectors, check_vectors


class L2Aggregator(TableStep, BaseEstimator):
    """Weighted sum of a photo's region vectors, scaled to unit length.

    The similarity of two photos is then the dot product of their descriptors. On a table,
    each row is a photo with a single region.

    Attributes
    ----------
    n_features_in_ : int
        D', the length of the vectors.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac import L2Aggregator
    >>> L2Aggregator().fit_transform([np.array([[3.0, 0.0], [0.0, 4.0]])])
    array([[0.6, 0.8]])
    """

    _parameter_constraints: dict = {}

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike | Vectors, y: object = None) -> L2Aggregator:
        """Note the length of the vectors.

        Parameters
        ----------
        X : sequence of RegionVectors or of arrays of shape (R_i, D), or array-like of shape (n, D)
        y : ignored

        Returns
        -------
        self
        """
        if is_table(X):
            validate_data(self, X, dtype=[np.float64, np.float32])
        else:
            self.n_features_in_ = check_vectors(X, self)[0].vectors.shape[1]
            self._forget("feature_names_in_")
        self._n_features_out = self.n_features_in_
        return self

    def transform(self, X: ArrayLike | Vectors) -> np.ndarray:
        """Sum up.

        Parameters
        ----------
        X : sequence of RegionVectors or of arrays of shape (R_i, D), or array-like of shape (n, D)

        Returns
        -------
        ndarray of shape (n_photos, D)
            Descriptors of unit length.

        Raises
        ------
        PhotoError
            If a photo's vectors have another length than those fitted on, or are not finite.
        """
        check_is_fitted(self)
        if is_table(X):
            return normalize(validate_data(self, X, dtype=[np.float64, np.float32], reset=False))
        records = check_vectors(X, self, self.n_features_in_)
        with one_thread():
            return normalize(np.stack([record.weights @ record.vectors for record in records]))
