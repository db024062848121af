"""What runs a network: torch, or an inference engine that it is converted for once.

On a processor an inference engine takes a fraction of torch's time, for the same numbers but for
rounding. Importing this loads neither torch nor an engine.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    import torch

    from sklearn_cmac.networks._record import Backbone

# From pixels (n, h, w, 3) of uint8 to maps (n, H, W, D) of float32; or from whatever arrays a
# network takes. Threads may share one.
Runner = Callable[..., np.ndarray]

TORCH = "torch"


class InferenceEngine(Protocol):
    """A program that runs converted networks, on the processor, one photo a thread."""

    def version(self) -> str:
        """Of the program: what one version converted, no other runs."""

    def formats(self) -> frozenset[str]:
        """Number formats besides "float32" in which this processor computes natively."""

    def convert(self, network: torch.nn.Module, *inputs: torch.Tensor) -> Mapping[str, np.ndarray]:
        """A network, from such inputs to one map, as arrays that can be kept.

        Of inputs and map the last axis has one length, and the others any.
        """

    def load(
        self, converted: Mapping[str, np.ndarray], arithmetic: str, recurring: bool = False
    ) -> Runner:
        """What was converted, ready to run in a number format.

        `recurring`: inputs have few shapes, so what is prepared for one is worth keeping.
        """


class Convertible(Protocol):
    """A network that may be converted: a `Backbone`, or one that takes no photos."""

    @property
    def name(self) -> str:
        """For people."""

    def converted(self, engine: str) -> Mapping[str, np.ndarray]:
        """As `Backbone.converted`."""


class ConversionError(RuntimeError):
    """A network that an engine cannot run, and why."""


# Engines in the order of "auto": what must be importable, and the class.
ENGINES: dict[str, tuple[tuple[str, ...], str]] = {
    "openvino": (("openvino",), "sklearn_cmac.networks._openvino:OpenVINO"),
    "onnx": (("onnxruntime", "onnx"), "sklearn_cmac.networks._onnx:OnnxRuntime"),
}


def installed_engines() -> list[str]:
    """The inference engines that are installed, the fastest first."""
    return [name for name, (needed, _) in ENGINES.items() if all(map(_is_there, needed))]


@cache
def _is_there(module: str) -> bool:
    return find_spec(module) is not None


@cache
def load_engine(name: str) -> InferenceEngine:
    """The engine of a name, imported now."""
    return resolve_name(ENGINES[name][1])()


def best_device() -> str:
    """ "cuda" where torch has one, else "cpu"; torch is asked only where there may be one."""
    drivers = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
    if sys.platform == "darwin" or (
        sys.platform.startswith("linux") and not any(map(os.path.exists, drivers))
    ):
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def choose_engine(asked: str, network: Convertible, device: str) -> str:
    """Who runs a network on a device: torch, or an engine that converts it.

    Parameters
    ----------
    asked : str
        "auto", "torch" or a name of `ENGINES`.
    network : Backbone, or another that has a name and is converted
        It is converted now if it never was.
    device : str
        A torch device.

    Returns
    -------
    str
        "torch" or a name of `ENGINES`.

    Raises
    ------
    ValueError
        If the engine that was asked for is not installed, or runs on no such device.
    """
    on_processor = device == "cpu"
    if asked == "auto":
        asked = next(iter(installed_engines()), TORCH) if on_processor else TORCH
    if asked == TORCH:
        return TORCH
    if asked not in installed_engines():
        needed = " and ".join(ENGINES[asked][0])
        raise ValueError(
            f"engine {asked!r} needs {needed}: pip install 'sklearn-cmac[{asked}]', or choose "
            "engine='auto'"
        )
    if not on_processor:
        raise ValueError(f"engine {asked!r} runs on device 'cpu', not on {device!r}")
    try:
        network.converted(asked)
    except ConversionError as error:
        _warn_once(f"{network.name} runs in torch: {asked} cannot run it ({error})")
        return TORCH
    return asked


def choose_arithmetic(precision: str, engine: str, network: Backbone, device: str) -> str:
    """The number format in which a network computes where this one is asked for.

    Parameters
    ----------
    precision : "float32", "bfloat16" or "float16"
    engine : str
        As `choose_engine` chose.
    network : Backbone
    device : str
        A torch device.

    Returns
    -------
    str
        `precision`; or "float32" where the processor would have to imitate it, slowly, or where
        the network is another one in that format.
    """
    if precision == "float32":
        return precision
    formats = load_engine(engine).formats() if engine != TORCH else _formats_of_torch(device)
    able = precision in formats and (engine == TORCH or network.computes_in(precision, engine))
    return precision if able else "float32"


def _formats_of_torch(device: str) -> frozenset[str]:
    import torch

    if device.startswith("cuda"):
        # What is asked of a GPU that is not there is what it would be asked.
        old = torch.cuda.is_available() and not torch.cuda.is_bf16_supported()
        return frozenset({"float16"} if old else {"float16", "bfloat16"})
    if device != "cpu":
        return frozenset({"float16"})
    # Without these instructions torch is many times slower in half than in single precision.
    able: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    native = bool(able.get("avx512_bf16") or able.get("amx_bf16") or able.get("bf16"))
    return frozenset({"bfloat16"} if native else ())


def speed_advice(engine: str, device: str, arithmetic: str) -> str:
    """One line on how networks run here, and what would make them faster."""
    version = "" if engine == TORCH else f" {load_engine(engine).version().split('-')[0]}"
    line = f"network: {engine}{version} on {device}, {arithmetic}"
    if engine == TORCH and device == "cpu" and not installed_engines():
        line += (
            "; OpenVINO would run the default one 2 to 5 times as fast "
            "(pip install 'sklearn-cmac[openvino]')"
        )
    return line


@cache
def _warn_once(message: str) -> None:
    warnings.warn(message, stacklevel=2)
