"""Converted networks are kept on disk, for conversion takes seconds.

A file is bound to all that its network depends on and to the versions of those who made it, is
written whole or not at all, and bears a checksum: a damaged one is made again.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from platformdirs import user_cache_path

from sklearn_cmac.fingerprints import fingerprint
from sklearn_cmac.networks._engines import ConversionError, InferenceEngine, load_engine
from sklearn_cmac.store import ArrayStore

if TYPE_CHECKING:
    from torch import nn

    from sklearn_cmac.networks._record import Backbone

# Raised when a network is converted in another way.
_VERSION = 1
_MAKERS = ("torch", "torchvision", "timm", "kornia")
_TOLERANCE = 1e-4  # of the largest activation
_LEAST_COSINE = 0.9  # of a map in a short number format; noise has .99, and real photos more
_REASON = "reason"


def cache_folder() -> Path:
    """Where converted networks are kept; what is there may be deleted at any time.

    The environment variable ``SKLEARN_CMAC_CACHE`` names another folder.

    Examples
    --------
    >>> import os
    >>> from sklearn_cmac.networks import cache_folder
    >>> os.environ["SKLEARN_CMAC_CACHE"] = "/var/cache/cmac"  # doctest: +SKIP
    >>> cache_folder()  # doctest: +SKIP
    PosixPath('/var/cache/cmac')
    """
    return Path(os.environ.get("SKLEARN_CMAC_CACHE") or user_cache_path("sklearn_cmac"))


def converted(network: Backbone, name: str) -> Mapping[str, np.ndarray]:
    """A network as an engine runs it: from the folder of such, or converted now.

    Raises
    ------
    ConversionError
        If the engine cannot convert it, or computes another map than torch.
    """
    # Of a network that is registered from elsewhere, nothing tells when its code changes.
    ours = getattr(network.build, "__module__", "").startswith("sklearn_cmac.")
    identity = network.fingerprint if ours else None
    return converted_once(
        network.name, identity, name, lambda: _convert(network, load_engine(name))
    )


def converted_once(
    name: str,
    identity: tuple[Any, ...] | None,
    engine: str,
    convert: Callable[[], Mapping[str, np.ndarray]],
) -> Mapping[str, np.ndarray]:
    """What was converted for an engine: from the folder of such, or converted now.

    Parameters
    ----------
    name : str
        The network's, for people.
    identity : tuple or None
        All that it depends on besides the engine and versions. None: it is not kept.
    engine : str
    convert : callable
        Raises `ConversionError` where the engine cannot run it.

    Raises
    ------
    ConversionError
        As it did then, or does now.
    """
    made: dict[str, np.ndarray] = {}

    def make() -> Mapping[str, np.ndarray]:
        try:
            made.update(convert())
        except ConversionError as error:
            made[_REASON] = np.frombuffer(str(error).encode(), np.uint8)
        return made

    kept: Mapping[str, np.ndarray]
    if identity is not None:
        versions = {package: _version(package) for package in _MAKERS}
        parts = _VERSION, identity, engine, load_engine(engine).version(), versions
        folder = cache_folder() / engine
        try:
            kept = ArrayStore(folder).get_or_compute(fingerprint(*parts, numerics=[]), make)
        except (OSError, ValueError) as error:
            kept = made or make()
            warnings.warn(
                f"the converted {name} cannot be kept in {folder} ({error}); it is "
                "converted in each process. Set SKLEARN_CMAC_CACHE to a folder with room",
                stacklevel=2,
            )
    else:
        kept = make()
    if _REASON in kept:
        raise ConversionError(kept[_REASON].tobytes().decode())
    return kept


def _convert(network: Backbone, engine: InferenceEngine) -> Mapping[str, np.ndarray]:
    from sklearn_cmac.networks._torch import Cut, FromPixels

    cut = Cut(network.built(), network.module)
    whole = FromPixels(cut, network.mean, network.std).eval().requires_grad_(False)
    return convert_and_try(whole, engine, [(pixels,) for pixels in photos_to_try(network)])


def convert_and_try(
    network: nn.Module, engine: InferenceEngine, inputs: Sequence[tuple[np.ndarray, ...]]
) -> Mapping[str, np.ndarray]:
    """Convert a network, and hold it against torch at sizes that it was not converted with.

    Parameters
    ----------
    network : torch.nn.Module
    engine : InferenceEngine
    inputs : sequence of tuples of ndarray
        Of different sizes; with the first it is converted.

    Raises
    ------
    ConversionError
        If the engine cannot convert it, or computes another map than torch.
    """
    import torch

    first, *others = inputs
    try:
        # Tracers warn of what is settled below, where sizes are tried.
        with torch.no_grad(), warnings.catch_warnings(), _whole_numbers_of_pixels():
            warnings.simplefilter("ignore")
            made = engine.convert(network, *map(torch.from_numpy, first))
        run = engine.load(made, "float32")
        for arrays in others:
            with torch.inference_mode():
                expected = network(*map(torch.from_numpy, arrays)).numpy()
            _check_alike(run(*arrays), expected)
    except ConversionError:
        raise
    except Exception as error:  # each engine has its own ways to refuse
        said = (str(error).strip().splitlines() or [""])[-1]
        raise ConversionError(f"{type(error).__name__}: {said[:200]}") from error
    return made


def photos_to_try(network: Backbone) -> list[np.ndarray]:
    """Pixels of sizes that the network takes, of other shapes each, and the last of odd sides."""
    step = -(-max(network.multiple, network.stride) // network.multiple) * network.multiple
    least = -(-network.min_side // step)
    sides = [[(least + i) * step, (least + j) * step] for i, j in ((3, 5), (6, 4), (9, 8))]
    if network.multiple == 1:
        sides[-1] = [side + 11 for side in sides[-1]]
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (1, *each, 3), np.uint8) for each in sides]


@contextmanager
def _whole_numbers_of_pixels() -> Iterator[None]:
    """What timm pads an input with, counted in whole numbers of pixels.

    It divides by the stride in floating point, which an engine then does in the short format that
    the network is to run in, where numbers above 256 have gaps.
    """
    padding = sys.modules.get("timm.layers.padding")
    if padding is None:
        yield
        return
    before = padding.get_same_padding

    def get_same_padding(x: Any, kernel_size: int, stride: int, dilation: int) -> Any:
        strides = (x + stride - 1) // stride
        missing = (strides - 1) * stride + (kernel_size - 1) * dilation + 1 - x
        return max(missing, 0) if isinstance(missing, int) else missing.clamp(min=0)

    padding.get_same_padding = get_same_padding  # type: ignore[attr-defined]
    try:
        yield
    finally:
        padding.get_same_padding = before  # type: ignore[attr-defined]


def _check_alike(found: np.ndarray, expected: np.ndarray) -> None:
    if found.shape != expected.shape:
        raise ConversionError(f"its map has shape {found.shape}, and torch's {expected.shape}")
    largest = np.abs(expected).max()
    difference = np.abs(found - expected).max()
    if not difference <= _TOLERANCE * largest:
        raise ConversionError(f"its map differs from torch's by {difference / largest:.1e}")


def is_rounded(found: np.ndarray, expected: np.ndarray) -> bool:
    """Whether a map in a short number format is what it is in single precision, but rounded."""
    if found.shape != expected.shape:
        return False
    one, other = found.ravel().astype(np.float64), expected.ravel().astype(np.float64)
    return bool(one @ other >= _LEAST_COSINE * np.linalg.norm(one) * np.linalg.norm(other))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
