"""Photos in, local features out: the first step of the classical pipelines."""

from __future__ import annotations

import os
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from PIL import Image

from sklearn_cmac._photo_step import Arrays, PhotoStep, Settings
from sklearn_cmac._scikit_learn import Interval, StrOptions, _fit_context
from sklearn_cmac.local._features import LocalFeatures
from sklearn_cmac.photos import Box, Item
from sklearn_cmac.pixels import MAX_PIXELS, Content

_N_DIMENSIONS = 128
_MIN_SIDE = 12  # pixels; of smaller photos there is no scale space


class LocalFeatureExtractor(PhotoStep):
    """Points of each photo that are found again in other views of it: SIFT.

    Parameters
    ----------
    descriptor : {"rootsift", "sift"}, default="rootsift"
        What describes a point. "rootsift" is the square root of SIFT at unit sum: plain
        distance then compares histograms by Hellinger's kernel.
    max_size : int or None, default=1024
        Pixels of the long side to which larger photos are scaled down.
    max_features : int or None, default=2000
        So many features are kept, those of the largest scale.
    max_pixels : int, default=128_000_000
        Pixels that are decoded of a photo at most, as for `ConvFeatureExtractor`.
    query_crop : {"activations", "image"}, default="activations"
        What the box of a `Query` means: find the features of the whole photo and keep those
        inside the box, or cut the photo and find the features of that. The names are those
        of `ConvFeatureExtractor`, so that one evaluation compares both kinds of systems.
    store : path, optional
        A folder in which each photo's features are kept, so that they are computed once per
        photo and setting, also across processes.
    n_jobs : int, optional
        Photos described at once, through joblib. None is 1 unless a
        `joblib.parallel_config` says otherwise.
    verbose : bool or int, default=0
        Whether to show a progress bar.

    Notes
    -----
    It needs scikit-image: ``pip install sklearn-cmac[local]``. A photo of one colour, or of
    fewer than 12 pixels a side, has no features, which is no error: encoders describe it by
    zeros, which are like no photo. 2000 features take 1 MB.

    References
    ----------
    D. Lowe, "Distinctive Image Features from Scale-Invariant Keypoints", IJCV 2004.
    R. Arandjelović, A. Zisserman, "Three Things Everyone Should Know to Improve Object
    Retrieval", CVPR 2012, for RootSIFT.

    Examples
    --------
    >>> from sklearn_cmac import LocalFeatureExtractor
    >>> from sklearn_cmac.datasets import make_object_scenes
    >>> photo = make_object_scenes(1, 1, 0, size=(320, 240)).photos[0]
    >>> extractor = LocalFeatureExtractor(max_features=100)
    >>> whole, cropped = extractor.fit_transform([photo, photo.as_query()])
    >>> whole
    LocalFeatures('object-00-scene-0', 100 features, 128 dimensions)
    >>> len(cropped) < len(whole)
    True
    """

    _parameter_constraints: dict = {
        "descriptor": [StrOptions({"rootsift", "sift"})],
        "max_size": [Interval(Integral, 1, None, closed="left"), None],
        "max_features": [Interval(Integral, 1, None, closed="left"), None],
        "max_pixels": [Interval(Integral, 1, None, closed="left")],
        "query_crop": [StrOptions({"activations", "image"})],
        "store": [str, os.PathLike, None],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    }

    _doing = "finding features"

    def __init__(
        self,
        descriptor: str = "rootsift",
        max_size: int | None = 1024,
        max_features: int | None = 2000,
        max_pixels: int = MAX_PIXELS,
        query_crop: str = "activations",
        store: str | os.PathLike[str] | None = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ):
        self.descriptor = descriptor
        self.max_size = max_size
        self.max_features = max_features
        self.max_pixels = max_pixels
        self.query_crop = query_crop
        self.store = store
        self.n_jobs = n_jobs
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Sequence[Item], y: Any = None) -> LocalFeatureExtractor:
        """Check the parameters. No photo is read.

        Parameters
        ----------
        X : sequence of photos
            Ignored, as is `y`.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ImportError
            If scikit-image is not installed.
        """
        _make_detector()
        return self

    def __setstate__(self, state: dict[str, Any]) -> None:
        # What was pickled before there was such a parameter.
        super().__setstate__({"max_pixels": MAX_PIXELS, **state})

    def _settings(self) -> list[Settings]:
        # The store holds SIFT itself; its root is taken of what is read.
        return [("sift", self.max_size, self.max_features)]

    def __fingerprint__(self) -> tuple[Any, ...]:
        return (*super().__fingerprint__(), self.descriptor)

    def _compute(self, content: Content, cut: Box | None, view: int) -> Arrays:
        positions, descriptors, size = find_features(
            content, self.max_size, self.max_features, self.max_pixels, cut
        )
        return {
            "positions": positions,
            "descriptors": descriptors,
            "photo_size": np.array(size, np.int64),
        }

    def _as_record(self, views: list[tuple[Arrays, str | None]]) -> LocalFeatures:
        ((arrays, _),) = views
        descriptors = np.asarray(arrays["descriptors"])
        if self.descriptor == "rootsift":
            descriptors = root(descriptors)
        width, height = arrays["photo_size"].tolist()
        positions = np.array(arrays["positions"])
        return LocalFeatures(positions, descriptors.astype(np.float32), photo_size=(width, height))


def find_features(
    content: Content,
    max_size: int | None,
    max_features: int | None,
    max_pixels: int,
    cut: Box | None,
) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """SIFT features of a photo.

    Parameters
    ----------
    content : Content
    max_size, max_features : int, optional
    max_pixels : int
        As for `LocalFeatureExtractor`.
    cut : tuple of 4 floats, optional
        Cut the photo here first.

    Returns
    -------
    positions : ndarray of float32 of shape (n, 2)
        (x, y) in pixels of the upright original.
    descriptors : ndarray of uint8 of shape (n, 128)
    photo_size : (width, height)
        Of the upright original.

    Raises
    ------
    PhotoError
        If the photo cannot be decoded.
    """
    rgb, size = content.decode(max_size=max_size, box=cut, max_pixels=max_pixels)
    gray = np.asarray(Image.fromarray(rgb).convert("L"), np.float32) / 255
    left, top, right, bottom = cut or (0.0, 0.0, *map(float, size))
    # What stands out of the photo by a rounding of the annotation was cut off by `decode`.
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, size[0]), min(bottom, size[1])
    points, descriptors = _detect(gray, max_features)
    pixel = (right - left) / gray.shape[1], (bottom - top) / gray.shape[0]
    positions = (left, top) + (points[:, ::-1] + 0.5) * pixel
    return positions.astype(np.float32), descriptors, size


def _detect(gray: np.ndarray, max_features: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns (n, 2), and descriptors (n, 128), of the points of a grey image."""
    none = np.empty((0, 2)), np.empty((0, _N_DIMENSIONS), np.uint8)
    if min(gray.shape) < _MIN_SIDE:
        return none
    detector = _make_detector()
    try:
        with np.errstate(divide="ignore", invalid="ignore"):  # a point on a flat patch
            detector.detect_and_extract(gray)
    except RuntimeError:  # that is how scikit-image says that there are none
        return none
    kept = np.argsort(-detector.sigmas, kind="stable")[:max_features]
    return detector.positions[kept], detector.descriptors[kept]


def _make_detector() -> Any:
    try:
        from skimage.feature import SIFT
    except ImportError as error:
        raise ImportError("local features need: pip install sklearn-cmac[local]") from error
    return SIFT()


def root(descriptors: np.ndarray) -> np.ndarray:
    """RootSIFT: descriptors (n, d) at unit sum, and the square root of that."""
    sums = descriptors.sum(axis=1, keepdims=True, dtype=np.float32)
    return np.sqrt(descriptors / np.maximum(sums, 1))
