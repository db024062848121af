"""Photos in, activation maps out: the first step of every pipeline."""

from __future__ import annotations

import os
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from numbers import Integral, Real
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from sklearn_cmac._flow import Threads
from sklearn_cmac._photo_step import Arrays, PhotoStep, Settings, or_error
from sklearn_cmac._scikit_learn import Interval, InvalidParameterError, StrOptions, _fit_context
from sklearn_cmac.maps import ActivationMap, MapArrays, MapSource
from sklearn_cmac.networks import (
    ENGINES,
    TORCH,
    Backbone,
    best_device,
    choose_arithmetic,
    choose_engine,
    get_backbone,
)
from sklearn_cmac.photos import Box, Item, Photo, PhotoError, Query, as_photo, check_box_inside
from sklearn_cmac.pixels import MAX_PIXELS, Content, scaled_box
from sklearn_cmac.store import StoredMap


class Way(NamedTuple):
    """How the network is run, as `Backbone.runner` takes it."""

    engine: str
    device: str
    arithmetic: str


@dataclass
class _View:
    """A photo's pixels at one size, its upright size, and its map once the network has seen it."""

    rgb: np.ndarray
    photo_size: tuple[int, int]
    map: np.ndarray | None = None


@dataclass
class _Look:
    """A photo on its way through a batch, with the views that are not in the store."""

    item: Photo | Query
    content: Content
    cut: Box | None
    views: dict[int, _View]


class ConvFeatureExtractor(PhotoStep):
    """Activations of a convolutional network's late layer for each photo.

    Parameters
    ----------
    backbone : str, default="efficientnet_lite0"
        The network: "efficientnet_lite0" (its weights are installed with this package),
        "vgg16" and "resnet101" (the paper's, from torchvision), or "timm/NAME" for most
        networks of timm. A transformer's patch tokens are its map.
    weights : "default", None, path or str, default="default"
        "default" is the network's published ImageNet weights. A path is a file of tensors
        for this network; for torchvision's networks also the name of one of its entries,
        such as "IMAGENET1K_V1". None is seeded random numbers, for tests.
    layer : str, default="default"
        Where the network is cut. "default" is "head" (after the activation) for
        EfficientNet-Lite0, "conv5_3" for VGG16, "layer4" for ResNet101, the last for others.
    max_size : int or None, default=1024
        Pixels of the long side to which larger photos are scaled down.
    scales : sequence of float, default=(1.0,)
        Sizes at which a photo is described, as shares of `max_size`, such as ``(1, 0.75)``. All
        steps that follow work on the maps of all sizes, and the descriptor is one. A size that a
        photo does not reach counts as its own, and each size counts once. Of a box that is cut
        out (crop I), sizes that leave too little for the network are left out.
    enlarge : bool, default=False
        Whether smaller photos are scaled up, to each size.
    max_pixels : int, default=128_000_000
        Pixels of 4 bytes that are decoded of a photo at most, a limit of memory: `PhotoError` for
        those that take more. A JPEG is scaled as it is decoded, so one of 200 megapixels passes.
    query_crop : {"activations", "image"}, default="activations"
        What the box of a `Query` means: describe the whole photo and keep the activations
        inside the box ("crop X" in the paper), or cut the photo and describe that
        ("crop I").
    store : path, optional
        A folder in which each map is kept, so that it is computed once per photo and
        setting, also across processes. Records then hold a handle on the file, not the map.
    precision : {"float32", "bfloat16", "float16"}, default="float32"
        Number format in which the network computes, where processor or GPU do so natively; where
        they do not, it computes in "float32", and `fit` warns. Maps of both short formats are
        kept as float16, in half the bytes.
    engine : {"auto", "torch", "openvino", "onnx"}, default="auto"
        Who runs the network. "auto" is torch on a GPU, and on a processor the fastest inference
        engine that is installed: OpenVINO, ONNX Runtime, else torch. Their maps are the same but
        for rounding. A network that an engine cannot run is left to torch, with a warning.
    device : str, default="auto"
        A torch device; "auto" is "cuda" where there is one, else "cpu".
    batch_size : int, default=16
        On a GPU, photos of equal size that the network takes at once. On a processor each photo
        is taken alone, in one thread.
    n_jobs : int, optional
        Photos described at once, each in one thread. None is 1 unless a
        `joblib.parallel_config` says otherwise, and -1 is all cores; the maps are the same.
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
    [ActivationMap('<array 96x128x3 ...>', 3x4 cells, 1280 channels),
     ActivationMap('<array 96x128x3 ...>', 2x2 cells, 1280 channels)]
    """

    _parameter_constraints: dict = {
        "backbone": [str],
        "weights": [str, os.PathLike, None],
        "layer": [str],
        "max_size": [Interval(Integral, 1, None, closed="left"), None],
        "scales": ["array-like"],
        "enlarge": ["boolean"],
        "max_pixels": [Interval(Integral, 1, None, closed="left")],
        "query_crop": [StrOptions({"activations", "image"})],
        "store": [str, os.PathLike, None],
        "precision": [StrOptions({"float32", "bfloat16", "float16"})],
        "engine": [StrOptions({"auto", "torch", *ENGINES})],
        "device": [str],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    }

    _prefer = "threads"

    def __init__(
        self,
        backbone: str = "efficientnet_lite0",
        weights: str | os.PathLike[str] | None = "default",
        layer: str = "default",
        max_size: int | None = 1024,
        scales: Sequence[float] = (1.0,),
        enlarge: bool = False,
        max_pixels: int = MAX_PIXELS,
        query_crop: str = "activations",
        store: str | os.PathLike[str] | None = None,
        precision: str = "float32",
        engine: str = "auto",
        device: str = "auto",
        batch_size: int = 16,
        n_jobs: int | None = None,
        verbose: int = 0,
    ):
        self.backbone = backbone
        self.weights = weights
        self.layer = layer
        self.max_size = max_size
        self.scales = scales
        self.enlarge = enlarge
        self.max_pixels = max_pixels
        self.query_crop = query_crop
        self.store = store
        self.precision = precision
        self.engine = engine
        self.device = device
        self.batch_size = batch_size
        self.n_jobs = n_jobs
        self.verbose = verbose

    def __setstate__(self, state: dict[str, Any]) -> None:
        # What was pickled before there were such parameters.
        since = {"scales": (1.0,), "engine": "auto", "batch_size": 16, "max_pixels": MAX_PIXELS}
        super().__setstate__({**since, **state})

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Sequence[Item], y: Any = None) -> ConvFeatureExtractor:
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
            If there is no such backbone or layer, its weights are missing, or scales are none.
        """
        backbone = self.network
        self.n_features_out_ = backbone.channels
        self.weights_sha256_ = backbone.weights_sha256
        way = self.way
        if way.arithmetic != self.precision:
            warnings.warn(
                f"{way.engine} does not run {self.backbone} in {self.precision} natively on this "
                f"{'processor' if way.device == 'cpu' else way.device}, so the network computes "
                "in float32, as fast as without; maps are kept as float16",
                stacklevel=2,
            )
        return self

    @property
    def network(self) -> Backbone:
        """The network that the parameters name, for what there is to know about it."""
        return get_backbone(self.backbone, self.weights, self.layer)

    @property
    def photos_at_once(self) -> int:
        """Photos that one thread takes together: more than one fill batches on a GPU."""
        return 1 if self._device() == "cpu" else 2 * self.batch_size

    def check_query(self, box: Box, photo_size: tuple[int, int], name: str) -> None:
        """An error if a query's box leaves too little for the network, before it is described.

        Parameters
        ----------
        box : tuple of 4 floats
        photo_size : (width, height)
        name : str
            For messages.

        Raises
        ------
        PhotoError
        """
        if self.query_crop == "image":
            scaled_box(box, photo_size, name, **self._scaling(max(self._sizes(), key=_or_infinite)))

    def _validate_params(self) -> None:
        super()._validate_params()
        scales = list(self.scales)
        if not scales or not all(isinstance(s, Real) and 0 < s < np.inf for s in scales):
            raise InvalidParameterError(
                f"scales are numbers above 0, at least one, as shares of max_size; got {scales!r}"
            )
        if self.max_size is None and scales != [1]:
            raise InvalidParameterError(
                f"scales are shares of max_size, which is None; set it, or leave out {scales!r}"
            )

    def _sizes(self) -> list[int | None]:
        """Pixels of the long side, for each scale."""
        if self.max_size is None:
            return [None]
        return [max(1, round(scale * self.max_size)) for scale in self.scales]

    def _scaling(self, size: int | None) -> dict[str, Any]:
        network = self.network
        return {
            "max_size": size,
            "enlarge": self.enlarge,
            "multiple": network.multiple,
            "min_side": network.min_side,
        }

    def _settings(self) -> list[Settings]:
        network = self.network
        fitted_with = getattr(self, "weights_sha256_", network.weights_sha256)
        if fitted_with != network.weights_sha256:
            raise ValueError(
                f"this pipeline was fitted with weights {fitted_with[:12]} of {self.backbone}, and "
                f"{network.weights_source} holds {network.weights_sha256[:12]}; pass the same "
                "weights, or fit anew"
            )
        way = self.way
        # Maps of another engine are other maps, though they differ by rounding only.
        engine = () if way.engine == TORCH else (way.engine,)
        return [(*each, *engine) for each in self._described_by(way.arithmetic)]

    def __fingerprint__(self) -> tuple[Any, ...]:
        # What one engine described, another may ask for. In single precision all engines compute
        # in it, so none need be asked.
        single = self.precision == "float32"
        parts = self._described_by(self.precision if single else self.way.arithmetic)
        return (*chain.from_iterable(parts), self.query_crop)

    def _described_by(self, arithmetic: str) -> list[Settings]:
        """Of each size, all that its map depends on but for rounding."""
        network = self.network
        return [
            ("activations", network.fingerprint, size, self.enlarge, self.precision, arithmetic)
            for size in self._sizes()
        ]

    @property
    def way(self) -> Way:
        """How the network runs on this machine: engine, device, number format."""
        device = self._device()
        engine = choose_engine(self.engine, self.network, device)
        return Way(engine, device, choose_arithmetic(self.precision, engine, self.network, device))

    def _views_of(self, content: Content, cut: Box | None) -> Sequence[int]:
        sizes = self._sizes()
        if len(sizes) == 1:
            return (0,)
        longest = np.inf if self.enlarge else max(content.size)
        reached = [min(_or_infinite(size), longest) for size in sizes]
        views = sorted(map(reached.index, dict.fromkeys(reached)))
        largest = max(views, key=reached.__getitem__)
        return [v for v in views if v == largest or cut is None or self._fits(content, cut, v)]

    def _fits(self, content: Content, cut: Box, view: int) -> bool:
        """Whether what is cut out is large enough for the network."""
        try:
            scaled_box(cut, content.size, content.name, **self._scaling(self._sizes()[view]))
        except PhotoError:
            return False
        return True

    def _records_of(self, photos: list[Item], settings: list[Settings]) -> Iterator[Any]:
        if self._device() == "cpu":
            yield from super()._records_of(photos, settings)
            return
        # The next photos are decoded while the network runs on these.
        with Threads(self.n_jobs) as threads:
            seen = threads.each(partial(self._look_at, settings=settings), photos)
            while window := list(islice(seen, self.photos_at_once)):
                self._run_batches([look for look in window if isinstance(look, _Look)])
                yield from threads.each(partial(self._answer, settings=settings), window)

    def _look_at(self, item: Item, settings: list[Settings]) -> Any:
        """A photo decoded at the sizes at which it is not in the store, or an error."""
        return or_error(self._decoded, item, settings)

    def _decoded(self, item: Item, settings: list[Settings]) -> _Look:
        known = as_photo(item)
        content, cut = self._content_of(known)
        views = {
            view: self._view(content, cut, view)
            for view in self._views_of(content, cut)
            if self._stored(content, cut, settings[view]) is None
        }
        return _Look(known, content, cut, views)

    def _run_batches(self, looks: list[_Look]) -> None:
        """The maps of what was decoded; photos of one size share a pass of the network."""
        sizes = defaultdict(list)
        for view in chain.from_iterable(look.views.values() for look in looks):
            sizes[view.rgb.shape].append(view)
        run = self.network.runner(*self.way)
        for alike in sizes.values():
            for start in range(0, len(alike), self.batch_size):
                batch = alike[start : start + self.batch_size]
                try:
                    maps = run(np.stack([view.rgb for view in batch]))
                except Exception:  # such as memory that does not suffice: each is tried alone
                    continue
                for view, found in zip(batch, maps):
                    view.map = found

    def _answer(self, look: Any, settings: list[Settings]) -> Any:
        if not isinstance(look, _Look):
            return look
        parts = look.item, look.content, look.cut, settings, look.views
        return or_error(self._record_of, *parts)

    def _compute(
        self,
        content: Content,
        cut: Box | None,
        view: int,
        ready: Mapping[int, _View] = MappingProxyType({}),
    ) -> Arrays:
        name = content.name
        seen = ready[view] if view in ready else self._view(content, cut, view)
        rgb, photo_size = seen.rgb, seen.photo_size
        run = self.network.runner(*self.way)  # wrong weights are no photo's error
        try:
            found = run(rgb[None])[0] if seen.map is None else seen.map
        except Exception as error:
            raise PhotoError(
                f"{name}: the network {self.backbone} failed on its {rgb.shape[1]}x{rgb.shape[0]} "
                f"pixels ({type(error).__name__}: {error})"
            ) from error
        activations = found.astype(self._dtype, copy=False)
        if not np.isfinite(activations).all():
            raise PhotoError(
                f"{name}: the network's activations are not finite. Check the weights"
                + ("." if self.precision == "float32" else " or use precision='float32'.")
            )
        height, width = activations.shape[:2]
        colors = Image.fromarray(rgb).resize((width, height), Image.Resampling.BOX)
        window = (0.0, 0.0, *photo_size) if cut is None else check_box_inside(cut, photo_size, name)
        return {
            "activations": activations,
            "colors": np.asarray(colors),
            "photo_size": np.array(photo_size, np.int64),
            "window": np.array(window, np.float64),
        }

    def _view(self, content: Content, cut: Box | None, view: int) -> _View:
        scaling = self._scaling(self._sizes()[view])
        return _View(*content.decode(box=cut, max_pixels=self.max_pixels, **scaling))

    def _as_record(self, views: list[tuple[Arrays, str | None]]) -> ActivationMap:
        return ActivationMap.of_maps([self._as_map(*view) for view in views])

    def _as_map(self, arrays: Arrays, path: str | None) -> ActivationMap:
        activations, colors = arrays["activations"], arrays["colors"]
        height, width = activations.shape[:2]
        source: MapSource = MapArrays(activations, colors)
        if path is not None:
            source = StoredMap(path, (0, height), (0, width))
        photo_width, photo_height = arrays["photo_size"].tolist()
        x0, y0, x1, y1 = arrays["window"].tolist()
        return ActivationMap(
            source, photo_size=(photo_width, photo_height), window=(x0, y0, x1, y1)
        )

    def _annotation(self, photo: Photo) -> dict[str, Any]:
        return {"box": photo.box}

    def _device(self) -> str:
        return best_device() if self.device == "auto" else self.device

    @property
    def _dtype(self) -> str:
        return "float32" if self.precision == "float32" else "float16"


def _or_infinite(size: int | None) -> float:
    return np.inf if size is None else size
