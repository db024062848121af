"""What all steps share: how they read their input, and what they answer to `set_output`."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_cmac.maps import ActivationMap, RegionVectors


def is_table(X: Any) -> bool:
    """Whether `X` is a plain 2-D table rather than a sequence with one entry per photo.

    Entries of a sequence are records or 2-D arrays; everything else is a table, or is left
    to scikit-learn's validation to refuse.
    """
    if isinstance(X, np.ndarray):
        return X.ndim != 3
    if isinstance(X, (list, tuple)) and len(X):
        first = X[0]
        return not (
            isinstance(first, (ActivationMap, RegionVectors))
            or (isinstance(first, np.ndarray) and first.ndim == 2)
        )
    return True


def _not_fitted_on_records(step: SequenceStep) -> bool:
    return not getattr(step, "_fitted_on_records", False)


class SequenceStep(TransformerMixin):
    """A transformer of sequences with one entry per photo, and perhaps of tables too.

    Such a sequence is no table, so it has no column names and no container to choose:
    `set_output` is accepted, as a pipeline hands it to every step, and takes effect where
    the output is a table.
    """

    def set_output(self, *, transform: str | None = None) -> SequenceStep:
        """Choose the container of tables.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, optional
            None leaves the choice as it is.

        Returns
        -------
        self
        """
        if transform is not None:
            self._sklearn_output_config = {"transform": transform}
        return self


class RecordStep(SequenceStep):
    """A step that takes sequences only, and learns nothing from them."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.two_d_array = False
        tags.no_validation = True
        return tags


class TableStep(SequenceStep):
    """A step whose output is a table, with numbered columns."""

    _n_features_out: int

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the output columns.

        Parameters
        ----------
        input_features : ignored

        Returns
        -------
        ndarray of str
        """
        check_is_fitted(self, "n_features_in_")
        prefix = type(self).__name__.lower()
        return np.asarray([f"{prefix}{i}" for i in range(self._n_features_out)], dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class TableOrSequenceStep(TableStep):
    """A step that on a table has output columns, and on a sequence of records has none."""

    get_feature_names_out = available_if(_not_fitted_on_records)(TableStep.get_feature_names_out)
