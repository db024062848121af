"""What all steps share: how they read their input, and what they answer to `set_output`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.utils.metaestimators import _BaseComposition, available_if
from sklearn.utils.validation import check_is_fitted
from tqdm.auto import tqdm

from sklearn_cmac.maps import ActivationMap, RegionVectors
from sklearn_cmac.photos import PhotoError


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


class NamedSteps(_BaseComposition):
    """An estimator with a parameter `steps`, names and estimators, whose parameters have paths."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters, with those of the steps by their paths.

        Parameters
        ----------
        deep : bool, default=True

        Returns
        -------
        dict
        """
        return self._get_params("steps", deep=deep)

    def set_params(self, **params: Any) -> NamedSteps:
        """Set parameters, those of a step by its name, two underscores, and theirs.

        Parameters
        ----------
        **params

        Returns
        -------
        self
        """
        self._set_params("steps", **params)
        return self


def show_progress(photos: Iterable[Any], total: int, doing: str, verbose: int) -> Iterable[Any]:
    """Iterate with a bar if `verbose`, unless it is over within a second."""
    return tqdm(photos, total=total, desc=doing, disable=not verbose, unit="photo", delay=1)


def check_records(X: Any, step: Any, need: str = "") -> Sequence[ActivationMap]:
    """`X` if it is a sequence of records that have the field `need`, else an error.

    Parameters
    ----------
    X : sequence of ActivationMap
    step : estimator
        Named in the error.
    need : {"", "embedding", "regions"}
    """
    name = type(step).__name__
    if not isinstance(X, (list, tuple)) or not all(isinstance(r, ActivationMap) for r in X):
        raise ValueError(
            f"{name} expects a sequence of ActivationMap, as ConvFeatureExtractor returns it; "
            f"got {type(X).__name__}"
            + (f" of {type(X[0]).__name__}" if isinstance(X, (list, tuple)) and X else "")
        )
    if not X:
        raise ValueError(f"{name} got 0 photos; at least 1 is required")
    if need:
        for record in X:
            if getattr(record, need) is None:
                before = "ActivationPCA" if need == "embedding" else "a region step"
                raise ValueError(f"{record.name}: has no {need}; {before} must come before {name}")
    return X


def check_vectors(X: Any, step: Any, n_features: int | None) -> list[RegionVectors]:
    """The entries of `X` as region vectors with weights, checked.

    Parameters
    ----------
    X : sequence of RegionVectors or of arrays of shape (R_i, D)
    step : estimator
        Named in errors.
    n_features : int, optional
        D to insist on; default: that of the first photo.
    """
    records = []
    for i, item in enumerate(X):
        record = item if isinstance(item, RegionVectors) else RegionVectors(np.asarray(item))
        name = record.name or f"photo {i}"
        vectors = record.vectors
        if vectors.ndim != 2 or not len(vectors):
            raise PhotoError(f"{name}: region vectors are (R, D), got shape {vectors.shape}")
        n_features = n_features or vectors.shape[1]
        if vectors.shape[1] != n_features:
            raise PhotoError(
                f"{name}: its region vectors have {vectors.shape[1]} dimensions, "
                f"{type(step).__name__} expects {n_features}; use the network, layer and whitening "
                "that it was fitted with"
            )
        if not np.isfinite(vectors).all():
            raise PhotoError(f"{name}: its region vectors are not finite numbers")
        if record.weights is None:
            record = replace(record, weights=np.ones(len(vectors), vectors.dtype))
        records.append(record)
    return records
