"""What every network answers to: photo in, activation map out, and what that map depends on.

Importing this loads no torch, and nothing here knows a network by name.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import numpy as np

from sklearn_cmac.networks._engines import TORCH, ConversionError, Runner, load_engine

if TYPE_CHECKING:
    import torch

Forward = Callable[["torch.Tensor"], "torch.Tensor"]
RGB = tuple[float, float, float]

# Reentrant, since a network may be built from another.
_building = threading.RLock()


class Layer(NamedTuple):
    """A place where a network can be cut: a module by its path, and the map that it returns."""

    module: str
    channels: int
    stride: int


def pick_layer(name: str, layers: Mapping[str, Layer], layer: str) -> tuple[str, Layer]:
    """The layer of a name, among those of a network.

    Parameters
    ----------
    name : str
        Of the network, for the error.
    layers : mapping from str to Layer
        The first is the default.
    layer : str
        One of them, or "default".

    Returns
    -------
    name : str
    cut : Layer

    Raises
    ------
    ValueError
        If there is no such layer; the message lists those there are.

    Examples
    --------
    >>> from sklearn_cmac.networks import Layer, pick_layer
    >>> pick_layer("tiny", {"head": Layer("2", 64, 32), "body": Layer("1", 32, 16)}, "default")
    ('head', Layer(module='2', channels=64, stride=32))
    """
    layer = next(iter(layers)) if layer == "default" else layer
    if layer not in layers:
        raise ValueError(f"{name} has no layer {layer!r}; its layers are {list(layers)}")
    return layer, layers[layer]


@dataclass(eq=False, kw_only=True)
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
        Which weights these are: the digest of their file, or of the arrays where there is no
        single file; "seeded random numbers" without weights.
    licence : str
        Of the weights.
    build : callable
        Makes the network with its weights, a torch module from input (1, 3, h, w) to map
        (1, D, H, W), or to anything if `module` is given. It is called once for each device, each
        time under the same seed, and makes a new network each time.
    module : str or None, default=None
        The path of a module inside the network, whose output is the map: nothing behind it is
        computed. None: the network's own output is the map.
    multiple : int, default=1
        The input's sides are multiples of this.
    min_side : int, default=0
        Pixels that each side of the input has at least. 0 stands for the stride.
    """

    name: str
    layer: str
    channels: int
    stride: int
    mean: RGB
    std: RGB
    weights_source: str
    weights_sha256: str
    licence: str
    build: Callable[[], torch.nn.Module] = field(repr=False)
    module: str | None = None
    multiple: int = 1
    min_side: int = 0
    _forwards: dict[str, Forward] = field(default_factory=dict, init=False, repr=False)
    _runners: dict[tuple[str, str, str], Runner] = field(
        default_factory=dict, init=False, repr=False
    )
    _computes: dict[tuple[str, str], bool] = field(default_factory=dict, init=False, repr=False)
    _converted: dict[str, Mapping[str, np.ndarray] | ConversionError] = field(
        default_factory=dict, init=False, repr=False
    )

    def __post_init__(self) -> None:
        self.min_side = self.min_side or self.stride

    @property
    def fingerprint(self) -> tuple[str, str, str, RGB, RGB, int, int]:
        """All that a map depends on besides the photo, its size and the precision."""
        return (
            self.name, self.layer, self.weights_sha256, self.mean, self.std,
            self.multiple, self.min_side,
        )  # fmt: skip

    def forward_on(self, device: str) -> Forward:
        """The network on a torch device, built there on the first call.

        Parameters
        ----------
        device : str
            A torch device.

        Returns
        -------
        callable
            From input (1, 3, h, w) to map (1, D, H, W).

        Raises
        ------
        WeightsError
            If the weights are damaged, belong to another network, or were exchanged meanwhile.
        """
        with _building:
            if device not in self._forwards:
                network = self.built().to(device)
                forward = network if self.module is None else _cut_at(network, self.module)
                self._forwards[device] = forward
            return self._forwards[device]

    def built(self) -> torch.nn.Module:
        """The whole network, made anew, ready to infer."""
        with seeded():
            return self.build().requires_grad_(False).eval()

    def converted(self, engine: str) -> Mapping[str, np.ndarray]:
        """The network as an inference engine runs it, converted if it never was.

        Parameters
        ----------
        engine : str
            One that is installed.

        Returns
        -------
        mapping from str to ndarray of uint8

        Raises
        ------
        ConversionError
            If the engine cannot run it.
        WeightsError
            As `forward_on`.
        """
        from sklearn_cmac.networks._converted import converted

        with _building:
            if engine not in self._converted:
                try:
                    self._converted[engine] = converted(self, engine)
                except ConversionError as error:
                    self._converted[engine] = error
            found = self._converted[engine]
        if isinstance(found, ConversionError):
            raise found
        return found

    def runner(
        self, engine: str = TORCH, device: str = "cpu", arithmetic: str = "float32"
    ) -> Runner:
        """The network, ready to run: made on the first call, then one for all threads.

        Call it before a run: weights that are missing or belong to another network are then one
        error, and not one for each photo.

        Parameters
        ----------
        engine : str, default="torch"
            "torch", or an inference engine that can run the network.
        device : str, default="cpu"
            A torch device.
        arithmetic : {"float32", "bfloat16", "float16"}, default="float32"
            The number format in which the network computes.

        Returns
        -------
        callable
            From pixels (n, h, w, 3) of uint8 to maps (n, H, W, D) of float32. On a processor it
            works in the thread that calls it, and in no other.

        Raises
        ------
        WeightsError
            As `forward_on`.
        """
        key = engine, device, arithmetic
        with _building:
            if key not in self._runners:
                if engine == TORCH:
                    from sklearn_cmac.networks._torch import TorchRunner

                    forward = self.forward_on(device)
                    made: Runner = TorchRunner(forward, self.mean, self.std, device, arithmetic)
                else:
                    made = load_engine(engine).load(self.converted(engine), arithmetic)
                self._runners[key] = made
            return self._runners[key]

    def computes_in(self, arithmetic: str, engine: str) -> bool:
        """Whether an engine's map in a short number format is the map, rounded: tried once.

        Parameters
        ----------
        arithmetic : {"bfloat16", "float16"}
        engine : str
            An inference engine that can run the network.

        Returns
        -------
        bool
        """
        from sklearn_cmac.networks._converted import is_rounded, photos_to_try

        key = engine, arithmetic
        with _building:
            if key not in self._computes:
                pixels = photos_to_try(self)[-1]
                single, short = (self.runner(engine, "cpu", a) for a in ("float32", arithmetic))
                self._computes[key] = is_rounded(short(pixels), single(pixels))
            return self._computes[key]


@contextmanager
def seeded() -> Iterator[None]:
    """The same random numbers each time, while torch's generators remain as they were."""
    import torch

    with _building, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        yield


class _Reached(Exception):
    """Carries a layer's output out of the forward pass, which need not run to its end."""

    def __init__(self, output: torch.Tensor):
        self.output = output


def _cut_at(network: torch.nn.Module, module: str) -> Forward:
    def stop(_module: torch.nn.Module, _args: object, output: torch.Tensor) -> NoReturn:
        raise _Reached(output)

    network.get_submodule(module).register_forward_hook(stop)

    def forward(x: torch.Tensor) -> torch.Tensor:
        try:
            network(x)
        except _Reached as reached:
            return reached.output
        raise RuntimeError(f"the forward pass never reached layer {module!r}")

    return forward
