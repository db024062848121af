"""The record that travels from extractor to encoder: points of one photo and their descriptors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from sklearn.base import BaseEstimator

from sklearn_cmac.maps import is_sequence
from sklearn_cmac.networks import XFEAT_CHANNELS
from sklearn_cmac.photos import Box, PhotoError, check_box_inside


@dataclass(frozen=True, eq=False, repr=False)
class LocalFeatures:
    """Local features of one photo.

    Parameters
    ----------
    positions : ndarray of shape (n, 2)
        (x, y) in pixels of the upright original; the first pixel's centre is (0.5, 0.5).
    descriptors : ndarray of shape (n, d)
        What the photo looks like around each of them.
    name : str
        The photo's name.
    photo_size : (width, height)
        Pixels of the photo.
    scores : ndarray of shape (n,), optional
        How good each of them is by the network that found it.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac import LocalFeatures
    >>> positions = np.array([[10.0, 10.0], [90.0, 50.0]])
    >>> features = LocalFeatures(positions, np.ones((2, 128)), "a photo", (100, 60))
    >>> features.crop((0, 0, 50, 60))
    LocalFeatures('a photo', 1 features, 128 dimensions)
    """

    positions: np.ndarray
    descriptors: np.ndarray
    name: str = ""
    photo_size: tuple[int, int] = (0, 0)
    scores: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.descriptors)

    @property
    def family(self) -> str:
        """Who finds such features: "SIFT", or of networks "XFeat" or "ALIKED"."""
        if self.scores is None:
            return "SIFT"
        return "XFeat" if self.descriptors.shape[1] == XFEAT_CHANNELS else "ALIKED"

    def __repr__(self) -> str:
        return (
            f"LocalFeatures({self.name!r}, {len(self)} features, "
            f"{self.descriptors.shape[1]} dimensions)"
        )

    def crop(self, box: Box) -> LocalFeatures:
        """Keep the features whose position lies inside a box of the photo.

        Parameters
        ----------
        box : tuple of 4 floats
            (x0, y0, x1, y1) in pixels of the photo.

        Returns
        -------
        LocalFeatures

        Raises
        ------
        PhotoError
            If the box does not lie in the photo.
        """
        x0, y0, x1, y1 = check_box_inside(box, self.photo_size, self.name)
        inside = ((self.positions >= (x0, y0)) & (self.positions <= (x1, y1))).all(axis=1)
        return replace(
            self,
            positions=self.positions[inside],
            descriptors=self.descriptors[inside],
            scores=None if self.scores is None else self.scores[inside],
        )


def _has_descriptors(item: object) -> bool:
    return isinstance(item, LocalFeatures) or (isinstance(item, np.ndarray) and item.ndim == 2)


def check_features(
    X: Sequence[LocalFeatures | np.ndarray], step: BaseEstimator, n_features: int | None
) -> list[np.ndarray]:
    """The descriptors (n_i, d) of each photo of `X`, checked.

    Parameters
    ----------
    X : sequence of LocalFeatures or of arrays of shape (n_i, d)
    step : estimator
        Named in errors.
    n_features : int, optional
        d to insist on; default: that of the first photo.

    Returns
    -------
    list of ndarray

    Raises
    ------
    ValueError
        If `X` is no such sequence, or empty.
    PhotoError
        If a photo's descriptors have another length, or are not finite.
    """
    step_name = type(step).__name__
    photos = list(X) if is_sequence(X) and not isinstance(X, (str, bytes)) else None
    if photos is None or not all(map(_has_descriptors, photos)):
        raise ValueError(
            f"{step_name} expects a sequence of LocalFeatures, as LocalFeatureExtractor returns "
            f"it, or of arrays of shape (n, d), one for each photo; got {type(X).__name__}"
            + (f" of {type(photos[0]).__name__}" if photos else "")
        )
    if not photos:
        raise ValueError(f"{step_name} got 0 photos; at least 1 is required")
    found = []
    for i, item in enumerate(photos):
        descriptors = item.descriptors if isinstance(item, LocalFeatures) else item
        name = getattr(item, "name", "") or f"photo {i}"
        n_features = n_features or descriptors.shape[1]
        if descriptors.shape[1] != n_features:
            raise PhotoError(
                f"{name}: its local descriptors have {descriptors.shape[1]} dimensions, "
                f"{step_name} expects {n_features}; use the extractor that it was fitted with"
            )
        if not np.isfinite(descriptors).all():
            raise PhotoError(f"{name}: its local descriptors are not finite numbers")
        found.append(descriptors)
    return found


def at_unit_length(vectors: np.ndarray) -> np.ndarray:
    """Vectors along the last axis, of length 1; zeros stay."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-12)
