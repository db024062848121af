"""Region vectors of many photos in one table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sklearn_cmac.maps import RegionVectors


@dataclass(frozen=True, eq=False)
class RegionTable:
    """Region vectors of many photos, one photo after the other.

    Parameters
    ----------
    vectors : ndarray of float16 of shape (R, D)
        Of unit length; perhaps memory-mapped.
    weights : ndarray of float32 of shape (R,)
    indptr : ndarray of int of shape (n + 1,)
        Where each photo starts.
    """

    vectors: np.ndarray
    weights: np.ndarray
    indptr: np.ndarray

    @classmethod
    def of(cls, photos: Sequence[RegionVectors], dimension: int) -> RegionTable:
        """The table of these photos, their vectors in half precision."""
        empty = np.empty((0, dimension), np.float16), np.empty(0, np.float32)
        vectors = [empty[0], *(photo.vectors.astype(np.float16) for photo in photos)]
        weights = [empty[1], *(_weights(photo) for photo in photos)]
        return cls(np.concatenate(vectors), np.concatenate(weights), _starts(map(len, photos)))

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def __getitem__(self, i: int) -> RegionVectors:
        rows = slice(self.indptr[i], self.indptr[i + 1])
        return RegionVectors(self.vectors[rows].astype(np.float32), self.weights[rows])

    @property
    def counts(self) -> np.ndarray:
        """Regions of each photo, of shape (n,)."""
        return np.diff(self.indptr)

    def take(self, photos: Sequence[int] | np.ndarray) -> RegionTable:
        """The table of these photos, in this order, in memory."""
        return take_ranges(
            self.vectors, self.weights, self.indptr[:-1][photos], self.counts[photos]
        )


def take_ranges(
    vectors: np.ndarray, weights: np.ndarray, starts: np.ndarray, counts: np.ndarray
) -> RegionTable:
    """The table of photos whose regions stand anywhere in `vectors`.

    Parameters
    ----------
    vectors : ndarray of shape (R, D)
    weights : ndarray of shape (R,)
    starts, counts : ndarray of int of shape (n,)
        Where each photo's regions start, and how many they are.
    """
    indptr = _starts(counts)
    within = np.arange(indptr[-1]) - np.repeat(indptr[:-1], counts)
    rows = np.repeat(starts, counts) + within
    return RegionTable(vectors[rows], weights[rows], indptr)


def _weights(photo: RegionVectors) -> np.ndarray:
    weights = np.ones(len(photo)) if photo.weights is None else photo.weights
    return np.asarray(weights, np.float32)


def _starts(counts: Iterable[int]) -> np.ndarray:
    return np.cumsum([0, *counts], dtype=np.int64)
