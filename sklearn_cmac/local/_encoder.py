"""What encoders share: a codebook learned from a sample, and one unit vector for each photo."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.preprocessing import normalize
from sklearn.utils import Tags, check_random_state
from sklearn.utils.random import sample_without_replacement
from sklearn.utils.validation import check_is_fitted

from sklearn_cmac._scikit_learn import Interval, _fit_context
from sklearn_cmac._steps import TableStep
from sklearn_cmac.local._features import LocalFeatures, check_features


class Encoder(TableStep, BaseEstimator):
    """Learns a codebook of local descriptors, and encodes each photo's by it."""

    _parameter_constraints: dict = {
        "max_samples": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    }

    max_samples: int
    random_state: Any

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Sequence[LocalFeatures | np.ndarray], y: Any = None) -> Encoder:
        """Learn the codebook.

        Parameters
        ----------
        X : sequence of LocalFeatures or of arrays of shape (n_i, d)
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the photos have fewer than 2 features together.
        PhotoError
            If a photo's descriptors have another length than the others', or are not finite.
        """
        photos = check_features(X, self, None)
        rng = check_random_state(self.random_state)
        n = sum(map(len, photos))
        if n < 2:
            raise ValueError(
                f"{type(self).__name__} learns from at least 2 local features, and {len(photos)} "
                f"photos have {n}; fit on larger photos, or on more"
            )
        rows = draw_rows(photos, min(n, self.max_samples), rng)
        self.n_features_in_ = rows.shape[1]
        self._learn(rows, photos, rng)
        self._n_features_out = self._encode(rows[:1]).size
        return self

    def transform(self, X: Sequence[LocalFeatures | np.ndarray]) -> np.ndarray:
        """Encode photos.

        Parameters
        ----------
        X : sequence of LocalFeatures or of arrays of shape (n_i, d)

        Returns
        -------
        ndarray of float32 of shape (n_photos, D)
            Descriptors of unit length; zeros for photos without features.

        Raises
        ------
        PhotoError
            If a photo's descriptors have another length than those fitted on, or are not
            finite.
        """
        check_is_fitted(self)
        self._check_params()
        photos = check_features(X, self, self.n_features_in_)
        table = np.zeros((len(photos), self._n_features_out), np.float32)
        for row, descriptors in zip(table, photos):
            if len(descriptors):
                row[:] = normalize(self._encode(descriptors).reshape(1, -1))[0]
        return table

    def _at_most(self, parameter: str, most: int, rows: np.ndarray) -> int:
        """A parameter's number, or with a warning the most that a sample (n, d) allows."""
        asked = getattr(self, parameter)
        if asked > most:
            warnings.warn(
                f"{type(self).__name__} keeps {most} where {parameter}={asked} was asked for: it "
                f"learns from {len(rows)} local features of {rows.shape[1]} dimensions "
                f"(max_samples={self.max_samples}). Ask for fewer, or fit on more features",
                stacklevel=5,
            )
        return min(asked, most)

    def _learn(
        self, rows: np.ndarray, photos: list[np.ndarray], rng: np.random.RandomState
    ) -> None:
        """Set the fitted state from a sample (n, d) of descriptors, and those of each photo."""
        raise NotImplementedError

    def _encode(self, descriptors: np.ndarray) -> np.ndarray:
        """An array of D numbers for the descriptors (n, d) of a photo, of any length."""
        raise NotImplementedError

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.no_validation = True
        return tags


def draw_rows(tables: list[np.ndarray], size: int, rng: np.random.RandomState) -> np.ndarray:
    """`size` different rows of tables of shape (n_i, d), each row of all as likely."""
    starts = np.cumsum([0, *map(len, tables)])
    chosen = np.sort(sample_without_replacement(starts[-1], size, random_state=rng))
    parts = np.split(chosen, np.searchsorted(chosen, starts[1:-1]))
    return np.concatenate([t[part - start] for t, part, start in zip(tables, parts, starts)])


POWER = Interval(Real, 0, 1, closed="right")


def signed_power(values: np.ndarray, power: float) -> np.ndarray:
    """Each value's size to a power, under its sign: below 1, what is frequent counts for less."""
    return values if power == 1 else np.sign(values) * np.abs(values) ** power
