"""Networks by name. A network of one's own is registered, or announced by an installed package."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import entry_points
from pkgutil import resolve_name

from sklearn_cmac.networks._record import Backbone
from sklearn_cmac.networks._weights import FileState, file_state

# From name, weights ("default", None, or as the user gives them) and layer.
Maker = Callable[[str, str | None, str], Backbone]

# Where there is a path instead of a function, its module is imported when it is first asked for:
# these modules import torch. A name with a slash at its end stands for all that begin so.
_makers: dict[str, Maker | str] = {
    "efficientnet_lite0": "sklearn_cmac.networks._lite0:efficientnet_lite0",
    "vgg16": "sklearn_cmac.networks._torchvision:vgg16",
    "resnet101": "sklearn_cmac.networks._torchvision:resnet101",
    "timm/": "sklearn_cmac.networks._timm:any_of_timm",
}
_ENTRY_POINTS = "sklearn_cmac.networks"


def register_network(name: str, make: Maker, *, replace: bool = False) -> None:
    """Make a network known by a name, in this process.

    A package that is to be known in every process, also to the command line and to parallel
    workers, names the same function as an entry point of the group ``sklearn_cmac.networks``.

    Parameters
    ----------
    name : str
        As the extractor's parameter `backbone` will be. With a slash at its end it is a family:
        "acme/" is asked for "acme/small" and "acme/large".
    make : callable
        ``make(name, weights, layer)`` returns a `Backbone`. `name` is what was asked for;
        `weights` is "default", None for seeded random numbers, or a path or name as the user gave
        it; `layer` is "default" or a name of yours. It is called anew when a file at that path was
        exchanged, and is to raise `WeightsError` and `ValueError` as `get_backbone` does.
    replace : bool, default=False
        Whether a name that is taken may be taken over.

    Raises
    ------
    ValueError
        If the name is taken.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from sklearn_cmac.networks import get_backbone, register_network
    >>> def make_gray(name, weights, layer):
    ...     lite0 = get_backbone("efficientnet_lite0", weights, layer)
    ...     return replace(lite0, name=name, mean=(0.5, 0.5, 0.5))
    >>> register_network("lite0-gray", make_gray)
    >>> get_backbone("lite0-gray").channels
    1280
    """
    if name in _makers and not replace:
        raise ValueError(
            f"there is a network {name!r} already; choose another name, or pass replace=True"
        )
    _makers[name] = make


def get_backbone(
    name: str, weights: str | os.PathLike[str] | None = "default", layer: str = "default"
) -> Backbone:
    """The network of a name: one for all that ask for the same in a process.

    Parameters
    ----------
    name : str
        "efficientnet_lite0", "vgg16", "resnet101", "timm/NAME" for a network of timm, or what
        `register_network` made known.
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
        If there is no such network or layer; the message lists those there are. Also if a network
        takes photos of one size only.
    WeightsError
        If the weights are missing. Whether they belong to the network turns out when it is built:
        see `Backbone.forward_on`.

    Examples
    --------
    >>> from sklearn_cmac.networks import get_backbone
    >>> backbone = get_backbone("resnet101", weights=None)
    >>> backbone.layer, backbone.channels, backbone.stride
    ('layer4', 2048, 32)
    """
    return backbone_of(_find_maker(name), name, weights, layer)


def backbone_of(
    make: Maker, name: str, weights: str | os.PathLike[str] | None, layer: str
) -> Backbone:
    """What a maker makes: once for all that ask for the same, until the file is exchanged."""
    weights = None if weights is None else os.fspath(weights)
    # The state of the file tells one from another under the same path.
    state = None if weights is None else file_state(weights)
    return _cached_backbone(make, name, weights, layer, state)


@lru_cache(maxsize=16)
def _cached_backbone(
    make: Maker, name: str, weights: str | None, layer: str, state: FileState | None
) -> Backbone:
    return make(name, weights, layer)


def _find_maker(name: str) -> Maker:
    keys = (name, name.partition("/")[0] + "/")
    for key in keys:
        if key in _makers:
            make = _makers[key]
            return resolve_name(make) if isinstance(make, str) else make
    installed = entry_points(group=_ENTRY_POINTS)
    for entry in installed:
        if entry.name in keys:
            _makers.setdefault(entry.name, entry.load())
            return _find_maker(name)
    known = [*_makers, *(entry.name for entry in installed)]
    raise ValueError(
        f"unknown backbone {name!r}; there are "
        + ", ".join(repr(key + "NAME" if key.endswith("/") else key) for key in known)
        + ", and networks of your own by sklearn_cmac.networks.register_network"
    )
