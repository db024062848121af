"""Files of retrieval programs: what they call a network's tensors, and how they prepare photos."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from sklearn_cmac.networks._plain_contents import WeightsError, as_array, read_plain_contents
from sklearn_cmac.networks._record import RGB

if TYPE_CHECKING:
    import torch

# Where a list of ResNet's parts, as retrieval programs keep it, has which of them.
_RESNET_PARTS = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")


def as_torchvision_names(
    tensors: Mapping[str, torch.Tensor], name: str
) -> Mapping[str, torch.Tensor]:
    """The network's tensors of a retrieval program's file, named as torchvision does."""
    behind_the_network = ("pool.", "adpool.", "whiten.")
    tensors = {k: v for k, v in tensors.items() if not k.startswith(behind_the_network)}
    if not name.startswith("resnet"):
        return tensors
    return {_resnet_name(key): value for key, value in tensors.items()}


def _resnet_name(key: str) -> str:
    first, _, rest = key.partition(".")
    part, _, inside = rest.partition(".")
    if first == "features" and part.isdecimal() and int(part) < len(_RESNET_PARTS):
        return f"{_RESNET_PARTS[int(part)]}.{inside}"
    return key


def own_preprocessing(file: str) -> tuple[RGB, RGB] | None:
    """Mean and standard deviation that a retrieval program's file brings along, if it does.

    Raises
    ------
    WeightsError
        If they are not three numbers each.
    """
    contents = read_plain_contents(file)
    for block in ("meta", "preprocess"):
        known = contents.get(block) if isinstance(contents, Mapping) else None
        if isinstance(known, Mapping) and "mean" in known and "std" in known:
            mean, std = _numbers(known["mean"]), _numbers(known["std"])
            if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
                raise WeightsError(f"{file}: its mean and std are not 3 numbers each, std above 0.")
            return cast(RGB, mean), cast(RGB, std)
    return None


def _numbers(value: object) -> tuple[float, ...]:
    try:
        return tuple(as_array(value).ravel().tolist())
    except ValueError:
        return ()
