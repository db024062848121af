"""Networks of timm, by its names. What input each takes is tried on torch's device "meta".

That device knows shapes and no numbers, so a trial needs neither weights nor arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import timm
import torch
from timm.models import is_model_in_modules
from torch import nn

from sklearn_cmac.networks._plain_contents import WeightsError
from sklearn_cmac.networks._record import Backbone, Layer, pick_layer, seeded
from sklearn_cmac.networks._weights import SEEDED, WeightsFile, load_by_name, sha256_of_tensors

# Networks that take any size, for who asked for one of these families and met one that does not.
_RELATIVES = (
    (
        ("sam2_hiera_tiny", "swin_tiny_patch4_window7_224", "davit_tiny"),
        ["coat", "gcvit", "hiera", "maxxvit", "mvitv2", "nest"],
    ),
    (
        ("efficientvit_b0", "fastvit_s12", "mobilenetv4_hybrid_medium"),
        ["efficientformer", "efficientformer_v2", "levit", "visformer"],
    ),
    (("gcresnet50t", "lambda_resnet26t", "resnet50"), ["byoanet", "byobnet"]),
)
_OTHER_RELATIVES = ("deit3_small_patch16_224", "vit_small_patch16_dinov3", "convnext_tiny")
# Those of these families look up positions in tables that end with their own size. Only numbers
# tell that they look behind the end, so they are tried on the processor.
_LOOK_UP = ["mvitv2"]


def any_of_timm(name: str, weights: str | None, layer: str) -> Backbone:
    """The network that timm calls so, cut at one of its feature layers."""
    model = _known_model(name)
    device = "cpu" if is_model_in_modules(model, _LOOK_UP) else "meta"
    with seeded(), torch.device(device):
        blank = _create(model).eval()
    if not hasattr(blank, "forward_intermediates"):
        raise ValueError(f"timm's {model} cannot return intermediate maps; choose another network")
    infos: Any = blank.feature_info
    config: Any = blank.pretrained_cfg
    layers = [Layer(info["module"], info["num_chs"], info["reduction"]) for info in infos]
    layer, cut = pick_layer(name, {place.module: place for place in reversed(layers)}, layer)
    index = layers.index(cut)
    asked = _try_inputs(blank, index, cut, model, last=cut == layers[-1])
    source, digest = weights or "none", SEEDED
    file, published = None, None
    if weights == "default":
        source = str(config.get("hf_hub_id") or config.get("url"))
        published = _published_tensors(model, source)
        digest = sha256_of_tensors(published)
    elif weights is not None:
        file = WeightsFile.of(weights)
        digest = file.sha256

    def build() -> nn.Module:
        network = _create(model)
        if published is not None:
            # Assigned and not copied, so that they are in memory once.
            network.load_state_dict(published, assign=True)
        if file is not None:
            load_by_name(network, file.tensors(), file.path, name)
        return _Intermediate(network, index, asked.norm)

    return Backbone(
        name=name,
        layer=layer,
        channels=asked.channels,
        stride=cut.stride,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        weights_source=source,
        weights_sha256=digest,
        licence=config.get("license") or "see the model's card",
        build=build,
        multiple=asked.multiple,
    )


def _known_model(name: str) -> str:
    model = name.removeprefix("timm/")
    if not timm.is_model(model):
        near = timm.list_models(f"*{model.split('_')[0]}*")[:8]
        raise ValueError(
            f"timm has no network {model!r}; "
            + (f"near names are {near}" if near else "timm.list_models() lists them")
        )
    return model


def _create(model: str, pretrained: bool = False) -> nn.Module:
    """Build a network; transformers are told to expect photos of any size."""
    try:
        return timm.create_model(model, pretrained, dynamic_img_size=True, num_classes=0)
    except TypeError:
        return timm.create_model(model, pretrained, num_classes=0)


def _published_tensors(model: str, source: str) -> Mapping[str, torch.Tensor]:
    try:
        return _create(model, pretrained=True).state_dict()
    except Exception as error:  # the hub's client raises a dozen kinds
        raise WeightsError(
            f"timm/{model}: its weights ({source} on the Hugging Face Hub) are not in the local "
            f"cache and could not be downloaded ({type(error).__name__}). Fetch them where there "
            "is a network and pass weights='/path/to/file'."
        ) from error


class _Intermediate(nn.Module):
    """One of a network's intermediate maps, after the network's last norm if `norm`."""

    def __init__(self, network: nn.Module, index: int, norm: bool):
        super().__init__()
        self.network, self.index, self.norm = network, index, norm

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.network.forward_intermediates(  # type: ignore[operator]
            x,
            indices=[self.index],
            norm=self.norm,
            stop_early=True,
            output_fmt="NCHW",
            intermediates_only=True,
        )
        return maps[0]


class _Asked(NamedTuple):
    """What a network asks of its input, and what it then returns."""

    multiple: int
    norm: bool
    channels: int


def _try_inputs(blank: nn.Module, index: int, cut: Layer, model: str, last: bool) -> _Asked:
    """Find the sides that a network takes, and whether it norms its last map."""
    config: Any = blank.pretrained_cfg
    height, width = config["input_size"][1:]
    for norm in (True, False) if last else (False,):
        own = _try(blank, index, norm, height, width)
        if own is None:
            continue
        for multiple in sorted({1, 4, 8, 16, 32, 64, cut.stride}):
            # Odd counts, so that the sides are multiples of nothing larger, and twice as wide as
            # high: a network whose map is square squeezes photos. One whose channels are others
            # has counted its patches wrongly, and mixed them.
            count = 256 // multiple + 1 - (256 // multiple) % 2
            shape = _try(blank, index, norm, count * multiple, (2 * count + 1) * multiple)
            if shape is not None and shape[1] == own[1] and shape[2] < shape[3]:
                return _Asked(multiple, norm, channels=own[1])
        raise ValueError(
            f"timm's {model} takes {width}x{height} pixels only, and photos have many shapes; "
            f"alike, and for any size, are timm/{', timm/'.join(_relatives(model))}"
        )
    # It does what the device cannot, so what timm says of it has to do. Gemma pools its patches.
    pooled: Any = getattr(blank, "pooling_kernel_size", 1)
    return _Asked(cut.stride * pooled, last, cut.channels)


def _relatives(model: str) -> tuple[str, ...]:
    """Networks of the same kind that take photos of any size."""
    for names, families in _RELATIVES:
        if is_model_in_modules(model, families):
            return names
    return _OTHER_RELATIVES


def _try(
    blank: nn.Module, index: int, norm: bool, height: int, width: int
) -> tuple[int, ...] | None:
    """The shape (1, D, H, W) of a map, or None if the network refuses such an input."""
    photo = torch.zeros(1, 3, height, width, device=next(blank.parameters()).device)
    try:
        with torch.inference_mode():
            return tuple(_Intermediate(blank, index, norm)(photo).shape)
    except Exception:  # each network has its own way to refuse
        return None
