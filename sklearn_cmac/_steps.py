"""What all steps share: how they read their input, and what they answer to `set_output`."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from sklearn import get_config
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from sklearn_cmac._scikit_learn import _wrap_data_with_container
from sklearn_cmac._threads import one_thread
from sklearn_cmac.maps import (
    ActivationMap,
    Records,
    RegionVectors,
    Vectors,
    check_records,
    check_vectors,
    is_sequence,
)

Seed: TypeAlias = "int | np.random.RandomState | None"

_Step = TypeVar("_Step", bound="StatelessStep")


def is_table(X: object) -> bool:
    """Whether `X` is a 2-D table rather than a sequence with one entry for each photo.

    The entries of such a sequence are records, or 2-D. What is neither is left to
    scikit-learn's validation of tables to refuse.
    """
    if isinstance(X, np.ndarray) and X.dtype != object:
        return X.ndim != 3
    return not (is_sequence(X) and any(map(_is_photo, X)))


def _is_photo(entry: object) -> bool:
    return isinstance(entry, (ActivationMap, RegionVectors)) or _n_dimensions(entry) == 2


def _n_dimensions(entry: Any) -> int:
    """Of an array, or of lists within lists, of which the first tells."""
    if isinstance(entry, (list, tuple)):
        return 1 + (_n_dimensions(entry[0]) if entry else 0)
    return getattr(entry, "ndim", 0)


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

    def _check_params(self) -> None:
        """Refuse wrong parameters, for whoever reads them outside of `fit`."""
        if not get_config()["skip_parameter_validation"]:
            self._validate_params()

    def _forget(self, *names: str) -> None:
        """Drop what an earlier fit learned, and this one does not."""
        for name in names:
            self.__dict__.pop(name, None)


class RecordStep(SequenceStep):
    """A step that takes sequences only, and learns nothing from them."""

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.two_d_array = False
        tags.no_validation = True
        return tags


class StatelessStep(RecordStep):
    """A step between extractor and whitening: it reads its parameters, and one record a photo."""

    _needs = ""  # the field that records must have: "", "embedding" or "regions"

    def fit(self: _Step, X: Records, y: object = None) -> _Step:
        """Check parameters and input.

        Parameters
        ----------
        X : sequence of ActivationMap
        y : ignored

        Returns
        -------
        self
        """
        self._read(X)
        return self

    def _read(self, X: object) -> list[ActivationMap]:
        """The records of `X`, once they and the parameters are found to be right."""
        self._check_params()
        return check_records(X, self, self._needs)


class TableStep(ClassNamePrefixFeaturesOutMixin, SequenceStep):
    """A step whose output is a table, with numbered columns."""

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class TableOrSequenceStep(TableStep, auto_wrap_output_keys=None):  # type: ignore[call-arg]
    """A step that makes a table of a table, and a sequence of records of a sequence.

    It wraps its tables itself: scikit-learn would make a data frame of records, too.
    """

    def fit_transform(
        self, X: ArrayLike | Records | Vectors, y: ArrayLike | None = None, **fit_params: Any
    ) -> Any:
        """Fit to `X`, then transform it.

        Parameters
        ----------
        X : as for `fit`
        y, **fit_params
            As for `fit`.

        Returns
        -------
        ndarray of shape (n, n_out), or list of records
        """
        return self.fit(X, y, **fit_params).transform(X)

    def transform(self, X: ArrayLike | Records | Vectors) -> Any:
        """Transform each row of a table, or each cell or region of each photo.

        Parameters
        ----------
        X : as for `fit`

        Returns
        -------
        ndarray of shape (n, n_out), or list of records
            A table of a table; of a sequence, the records with what was worked out.

        Raises
        ------
        PhotoError
            If a photo has another number of channels or dimensions than those fitted on, or
            numbers that are not finite.
        """
        check_is_fitted(self)
        self._check_params()
        if not is_table(X):
            with one_thread():
                return self._transform_photos(X)
        table = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return _wrap_data_with_container("transform", self._transform_rows(table), X, self)

    def _transform_rows(self, rows: np.ndarray) -> np.ndarray:
        """A table (n, n_out) of a table (n, n_in)."""
        raise NotImplementedError

    def _transform_photos(self, X: object) -> list[Any]:
        """A record for each photo; here, the same of its region vectors."""
        records = check_vectors(X, self, self.n_features_in_)
        return [replace(record, vectors=self._transform_rows(record.vectors)) for record in records]


def kept_components(step: Any, most: int, n_rows: int, n_features: int) -> int:
    """How many of `step.n_components` there are, with a warning if not all; None is `most`."""
    asked = step.n_components
    if asked is None or asked <= most:
        return asked or most
    advice = f"set n_components to {most} or less"
    if most < n_features:
        advice = f"fit on more photos, or {advice}"
    warnings.warn(
        f"{type(step).__name__}(n_components={asked}) keeps {most}: {n_rows} vectors of "
        f"{n_features} dimensions have no more; {advice}",
        stacklevel=4,
    )
    return most
