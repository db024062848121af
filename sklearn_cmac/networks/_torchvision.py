"""The paper's networks, VGG16 and ResNet101, from torchvision or a retrieval program's file."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
import torchvision
from torch import nn
from torchvision.models import WeightsEnum, get_model_weights, vgg

from sklearn_cmac.networks._plain_contents import WeightsError
from sklearn_cmac.networks._record import RGB, Backbone, Layer, pick_layer
from sklearn_cmac.networks._retrieval_files import as_torchvision_names, own_preprocessing
from sklearn_cmac.networks._weights import SEEDED, WeightsFile, load_by_name

_VGG16_LAYERS = {
    "conv5_3": Layer("features.29", 512, 16),
    "pool5": Layer("features.30", 512, 32),
    "fc6": Layer("relu6", 4096, 32),
    "fc7": Layer("relu7", 4096, 32),
}
_RESNET101_LAYERS = {"layer4": Layer("layer4", 2048, 32), "layer3": Layer("layer3", 1024, 16)}


def vgg16(name: str, weights: str | None, layer: str) -> Backbone:
    """VGG16 up to its last convolution, or as far as its second fully connected layer."""
    layer, cut = pick_layer(name, _VGG16_LAYERS, layer)
    if layer in ("fc6", "fc7"):
        # The Caffe entry has no classifier.
        found = _find_weights(name, weights, "IMAGENET1K_V1")
        return _backbone(name, layer, cut, found, _vgg16_with_classifier, min_side=224)
    found = _find_weights(name, weights, "IMAGENET1K_FEATURES")
    return _backbone(name, layer, cut, found, lambda: nn.Sequential(_vgg16_convolutions()))


def _vgg16_convolutions() -> OrderedDict[str, nn.Module]:
    """Without the classifier, which is 124 of the 138 million weights."""
    return OrderedDict(features=vgg.make_layers(vgg.cfgs["D"]))


def _vgg16_with_classifier() -> nn.Module:
    """Its layers as convolutions: on 224x224 pixels each sees what it was trained on, on larger
    photos it slides."""
    parts = _vgg16_convolutions()
    parts["fc6"], parts["relu6"] = nn.Conv2d(512, 4096, 7), nn.ReLU()
    parts["fc7"], parts["relu7"] = nn.Conv2d(4096, 4096, 1), nn.ReLU()
    return nn.Sequential(parts)


def _classifier_as_convolutions(
    tensors: Mapping[str, torch.Tensor],
) -> Mapping[str, torch.Tensor]:
    """VGG's first two fully connected layers as convolutions, over 7x7 cells and over one."""
    convolutions = {}
    for name, layer, side in (("fc6", "classifier.0", 7), ("fc7", "classifier.3", 1)):
        weight, bias = tensors.get(f"{layer}.weight"), tensors.get(f"{layer}.bias")
        if weight is not None and bias is not None and weight.ndim == 2:
            convolutions[f"{name}.weight"] = weight.unflatten(1, (-1, side, side))
            convolutions[f"{name}.bias"] = bias
    return {**tensors, **convolutions}


def resnet101(name: str, weights: str | None, layer: str) -> Backbone:
    """ResNet101, cut behind one of its stages."""
    layer, cut = pick_layer(name, _RESNET101_LAYERS, layer)
    found = _find_weights(name, weights, "IMAGENET1K_V1")
    return _backbone(name, layer, cut, found, torchvision.models.resnet101)


class _Weights(NamedTuple):
    """Whose weights a network gets, and how photos are prepared for them."""

    file: WeightsFile | None
    mean: RGB
    std: RGB


def _backbone(
    name: str,
    layer: str,
    cut: Layer,
    weights: _Weights,
    make: Callable[[], nn.Module],
    min_side: int = 0,
) -> Backbone:
    file = weights.file

    def build() -> nn.Module:
        network = make()
        if file is not None:
            tensors = as_torchvision_names(file.tensors(), name)
            if hasattr(network, "fc6"):
                tensors = _classifier_as_convolutions(tensors)
            load_by_name(network, tensors, file.path, name)
        return network

    return Backbone(
        name=name,
        layer=layer,
        channels=cut.channels,
        stride=cut.stride,
        mean=weights.mean,
        std=weights.std,
        weights_source=file.path if file else "none",
        weights_sha256=file.sha256 if file else SEEDED,
        licence="BSD-3-Clause (torchvision); see its page on the weights",
        build=build,
        module=cut.module,
        min_side=min_side,
    )


def _find_weights(name: str, weights: str | None, default: str) -> _Weights:
    """Of one of torchvision's entries or of a file; `default` names an entry."""
    entries: Mapping[str, WeightsEnum] = get_model_weights(name).__members__
    if weights is None:
        return _Weights(None, *_presets(entries[default]))
    entry = entries.get(default if weights == "default" else weights)
    if entry is not None:
        return _Weights(WeightsFile.of(_published_file(name, entry)), *_presets(entry))
    file = WeightsFile.of(weights)
    # A published file is known by its hash, and then so is the preprocessing it needs.
    for entry in entries.values():
        if file.sha256.startswith(Path(entry.url).stem.rsplit("-", 1)[1]):
            return _Weights(file, *_presets(entry))
    return _Weights(file, *(own_preprocessing(file.path) or _presets(entries[default])))


def _presets(entry: WeightsEnum) -> tuple[RGB, RGB]:
    presets = entry.transforms()
    return tuple(presets.mean), tuple(presets.std)


def _published_file(name: str, entry: WeightsEnum) -> str:
    """The published file, downloaded if it has to be."""
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
