"""Photos in, activation maps out: the first step of every pipeline."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any

import joblib
import numpy as np
from PIL import Image
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions

from sklearn_cmac._progress import show_progress
from sklearn_cmac._steps import RecordStep
from sklearn_cmac.maps import ActivationMap, MapArrays
from sklearn_cmac.networks import Backbone, get_backbone
from sklearn_cmac.photos import Box, Photo, PhotoError, Query, as_photo, digest_source, read_source
from sklearn_cmac.pixels import decode
from sklearn_cmac.store import MapStore


class ConvFeatureExtractor(RecordStep, BaseEstimator):
    """Activations of a convolutional network's late layer for each photo.

    Parameters
    ----------
    backbone : str, default="efficientnet_lite0"
        The network: "efficientnet_lite0" (its weights are installed with this package),
        "vgg16" and "resnet101" (the paper's, from torchvision), or "timm/NAME" for any
        network of timm. A transformer's patch tokens are its map.
    weights : "default", None, path or str, default="default"
        "default" is the network's published ImageNet weights. A path is a file of tensors
        for this network; for torchvision's networks also the name of one of its entries,
        such as "IMAGENET1K_V1". None is seeded random numbers, for tests.
    layer : str, default="default"
        Where the network is cut. "default" is "head" (after the activation) for
        EfficientNet-Lite0, "conv5_3" for VGG16, "layer4" for ResNet101, the last for others.
    max_size : int or None, default=1024
        Pixels of the long side to which larger photos are scaled down.
    enlarge : bool, default=False
        Whether smaller photos are scaled up to `max_size`.
    query_crop : {"activations", "image"}, default="activations"
        What the box of a `Query` means: describe the whole photo and keep the activations
        inside the box ("crop X" in the paper), or cut the photo and describe that
        ("crop I").
    store : path, optional
        A folder in which each map is kept, so that it is computed once per photo and
        setting, also across processes. Records then hold a handle on the file, not the map.
    precision : {"float32", "float16"}, default="float32"
        Number format of the maps. "float16" halves them, and on a GPU the network computes
        in it too.
    device : str, default="auto"
        A torch device; "auto" is "cuda" where there is one, else "cpu".
    n_jobs : int, optional
        Photos described at once, through joblib (by default in threads that share one
        network). None is 1 unless a `joblib.parallel_config` says otherwise.
    verbose : bool or int, default=0
        Whether to show a progress bar.

    Attributes
    ----------
    n_features_out_ : int
        D, the number of channels.
    weights_sha256_ : str
        SHA-256 of the weights that the estimator was fitted with.

    Notes
    -----
    A photo without a store costs memory for its map: 24 x 32 x 1280 numbers, 4 MB, at 1024
    pixels with the default network.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac import ConvFeatureExtractor, Query
    >>> photo = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    >>> extractor = ConvFeatureExtractor(max_size=128)
    >>> extractor.fit_transform([photo, Query(photo, (0, 0, 64, 64))])
    [ActivationMap('<array 96x128x3>', 3x4 cells, 1280 channels),
     ActivationMap('<array 96x128x3>', 2x2 cells, 1280 channels)]
    """

    _parameter_constraints: dict = {
        "backbone": [str],
        "weights": [str, os.PathLike, None],
        "layer": [str],
        "max_size": [Interval(Integral, 1, None, closed="left"), None],
        "enlarge": ["boolean"],
        "query_crop": [StrOptions({"activations", "image"})],
        "store": [str, os.PathLike, None],
        "precision": [StrOptions({"float32", "float16"})],
        "device": [str],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        backbone: str = "efficientnet_lite0",
        weights: Any = "default",
        layer: str = "default",
        max_size: int | None = 1024,
        enlarge: bool = False,
        query_crop: str = "activations",
        store: Any = None,
        precision: str = "float32",
        device: str = "auto",
        n_jobs: int | None = None,
        verbose: int = 0,
    ):
        self.backbone = backbone
        self.weights = weights
        self.layer = layer
        self.max_size = max_size
        self.enlarge = enlarge
        self.query_crop = query_crop
        self.store = store
        self.precision = precision
        self.device = device
        self.n_jobs = n_jobs
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> ConvFeatureExtractor:
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
        ValueError
            If there is no such backbone or layer, or its weights are missing.
        """
        backbone = self._backbone()
        self.n_features_out_ = backbone.channels
        self.weights_sha256_ = backbone.weights_sha256
        return self

    def transform(self, X: Any) -> list[ActivationMap]:
        """Describe photos.

        Parameters
        ----------
        X : sequence of photos
            Whatever `Photo` takes, `Photo` (the whole photo is described) or `Query` (its
            box is).

        Returns
        -------
        list of ActivationMap
            In the order of `X`.

        Raises
        ------
        PhotoError
            After all photos have been tried, if some could not be used: its message names
            them, ``error.failures`` lists them, and ``error.maps`` has the maps of the rest.
        """
        others = "are in the store" if self.store else "are in this error's `maps`"
        return records_or_error(
            self.iter_transform(X),
            X,
            f"Take them out and run again; the maps of the others {others}.",
        )

    def iter_transform(self, X: Any) -> Iterator[ActivationMap | PhotoError]:
        """Describe photos one after the other, and go on after one that cannot be used.

        Parameters
        ----------
        X : sequence of photos

        Yields
        ------
        ActivationMap or PhotoError
            In the order of `X`.
        """
        check_photos(X, self)
        backbone = self._backbone()
        fitted_with = getattr(self, "weights_sha256_", backbone.weights_sha256)
        if fitted_with != backbone.weights_sha256:
            raise ValueError(
                f"this pipeline was fitted with weights {fitted_with[:12]} of {self.backbone}, and "
                f"{backbone.weights_source} holds {backbone.weights_sha256[:12]}; pass the same "
                "weights, or fit anew"
            )
        jobs = joblib.Parallel(n_jobs=self.n_jobs, prefer="threads", return_as="generator")
        records = jobs(joblib.delayed(self._describe_or_error)(item) for item in X)
        yield from show_progress(records, len(X), "describing photos", self.verbose)

    def _describe_or_error(self, item: Any) -> ActivationMap | PhotoError:
        try:
            return self._describe(as_photo(item))
        except PhotoError as error:
            return error

    def _describe(self, item: Photo | Query) -> ActivationMap:
        photo, box = (item.photo, item.box) if isinstance(item, Query) else (item, None)
        cut = box if self.query_crop == "image" else None
        source = read_source(photo)

        def compute() -> ActivationMap:
            return self._run_network(source, photo.name, cut)

        if self.store is None:
            record = compute()
        else:
            key = self._fingerprint(digest_source(source), cut)
            record = MapStore(self.store).get_or_compute(key, compute)
        record = replace(record, name=photo.name, box=photo.box)
        return record if box is None or cut is not None else record.crop(box)

    def _run_network(self, source: Any, name: str, cut: Box | None) -> ActivationMap:
        backbone = self._backbone()
        rgb, photo_size = decode(
            source,
            name,
            max_size=self.max_size,
            enlarge=self.enlarge,
            box=cut,
            multiple=backbone.multiple,
            min_side=backbone.min_side,
        )
        activations = backbone.activations(rgb, self._device(), self.precision)
        if not np.isfinite(activations).all():
            raise PhotoError(
                f"{name}: the network's activations are not finite. Check the weights"
                + (" or use precision='float32'." if self.precision == "float16" else ".")
            )
        height, width = activations.shape[:2]
        colors = Image.fromarray(rgb).resize((width, height), Image.Resampling.BOX)
        window = cut or (0.0, 0.0, float(photo_size[0]), float(photo_size[1]))
        arrays = MapArrays(activations, np.asarray(colors))
        return ActivationMap(arrays, name, photo_size, window)

    def _fingerprint(self, digest: str, cut: Box | None) -> str:
        """Hash of everything that the map depends on."""
        backbone = self._backbone()
        parts = (
            "1", digest, cut, backbone.name, backbone.weights_sha256, backbone.layer,
            self.max_size, self.enlarge, self.precision,
        )  # fmt: skip
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def _backbone(self) -> Backbone:
        return get_backbone(self.backbone, self.weights, self.layer)

    def _device(self) -> str:
        if self.device != "auto":
            return self.device
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"


def check_photos(X: Any, step: Any) -> None:
    """An error unless `X` is a sequence of photos.

    Parameters
    ----------
    X : sequence of photos
    step : estimator
        Named in the error.
    """
    name = type(step).__name__
    if isinstance(X, (str, bytes, os.PathLike, Photo, Query)) or not hasattr(X, "__len__"):
        raise ValueError(
            f"{name} expects a sequence of photos, got {type(X).__name__}; "
            "put a single photo into a list"
        )
    if len(X) == 0:
        raise ValueError(f"{name} got 0 photos; at least 1 is required")


def records_or_error(records: Iterable[Any], X: Sequence[Any], advice: str) -> list[Any]:
    """The records of all photos, or one error for all that cannot be used.

    Parameters
    ----------
    records : iterable of records and PhotoError
        One for each photo of `X`.
    X : sequence of photos
    advice : str
        The error's last line, where there are several photos.

    Returns
    -------
    list of records

    Raises
    ------
    PhotoError
        With `failures`, and with the records of the others as `maps`.
    """
    good, failures = [], []
    for i, record in enumerate(records):
        if isinstance(record, PhotoError):
            failures.append((i, _name(X[i]), str(record)))
        else:
            good.append((i, record))
    if failures and len(X) == 1:
        raise PhotoError(failures[0][2], failures, good)
    if failures:
        reasons = [f"  photo {i}: {reason}" for i, _, reason in failures]
        head = f"{len(failures)} of {len(X)} photos cannot be used:"
        raise PhotoError("\n".join([head, *reasons, advice]), failures, good)
    return [record for _, record in good]


def _name(item: Any) -> str:
    try:
        return as_photo(item).name
    except PhotoError:
        return repr(item)[:60]


def photo_names(X: Sequence[Any]) -> list[str]:
    """The names by which rankings call the photos of `X`."""
    return [_name(item) for item in X]
