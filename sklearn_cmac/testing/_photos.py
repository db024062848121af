"""Small photos for checks: activation maps that were described already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from sklearn_cmac._steps import RecordStep
from sklearn_cmac.maps import ActivationMap

_SHAPES = [(6, 8), (8, 6), (7, 7), (5, 9), (6, 8), (4, 10), (9, 6)]


def made_photos(n_channels: int = 16) -> list[ActivationMap]:
    """Maps of different shapes with sparse channels, the same each time."""
    rng = np.random.default_rng(0)
    maps = [np.maximum(rng.standard_normal((*shape, n_channels)), 0) for shape in _SHAPES]
    colors = [rng.integers(0, 255, (*shape, 3), np.uint8) for shape in _SHAPES]
    return [
        ActivationMap.from_arrays(cells.astype(np.float32), color, name=f"photo {i}")
        for i, (cells, color) in enumerate(zip(maps, colors))
    ]


class Photographs(RecordStep, BaseEstimator):
    """Takes the place of the extractor where photos are activation maps already."""

    _parameter_constraints: dict = {}

    def fit(self, X: Sequence[ActivationMap], y: Any = None) -> Photographs:
        """Nothing is learned."""
        return self

    def transform(self, X: Sequence[ActivationMap]) -> list[ActivationMap]:
        """The maps themselves."""
        return list(X)
