"""Converted networks are kept on disk, for conversion takes seconds.

A file is bound to all that its network depends on and to the versions of those who made it, is
written whole or not at all, and bears a checksum: a damaged one is made again.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from platformdirs import user_cache_path

from sklearn_cmac.fingerprints import fingerprint
from sklearn_cmac.networks._engines import ConversionError, InferenceEngine, load_engine
from sklearn_cmac.store import ArrayStore

if TYPE_CHECKING:
    from sklearn_cmac.networks._record import Backbone

# Raised when a network is converted in another way.
_VERSION = 1
_MAKERS = ("torch", "torchvision", "timm")
_TOLERANCE = 1e-4  # of the largest activation
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
    made: dict[str, np.ndarray] = {}

    def make() -> Mapping[str, np.ndarray]:
        try:
            made.update(_convert(network, load_engine(name)))
        except ConversionError as error:
            made[_REASON] = np.frombuffer(str(error).encode(), np.uint8)
        return made

    kept: Mapping[str, np.ndarray]
    # Of a network that is registered from elsewhere, nothing tells when its code changes.
    if getattr(network.build, "__module__", "").startswith("sklearn_cmac."):
        versions = {package: _version(package) for package in _MAKERS}
        parts = _VERSION, network.fingerprint, name, load_engine(name).version(), versions
        folder = cache_folder() / name
        try:
            kept = ArrayStore(folder).get_or_compute(fingerprint(*parts, numerics=[]), make)
        except (OSError, ValueError) as error:
            kept = made or make()
            warnings.warn(
                f"the converted {network.name} cannot be kept in {folder} ({error}); it is "
                "converted in each process. Set SKLEARN_CMAC_CACHE to a folder with room",
                stacklevel=2,
            )
    else:
        kept = make()
    if _REASON in kept:
        raise ConversionError(kept[_REASON].tobytes().decode())
    return kept


def _convert(network: Backbone, engine: InferenceEngine) -> Mapping[str, np.ndarray]:
    """Convert a network, and hold it against torch at sizes that it was not converted with."""
    import torch

    from sklearn_cmac.networks._torch import Cut, FromPixels

    cut = Cut(network.built(), network.module)
    whole = FromPixels(cut, network.mean, network.std).eval().requires_grad_(False)
    rng = np.random.default_rng(0)
    first, *others = (
        rng.integers(0, 256, (1, *sides, 3), np.uint8) for sides in _sides_to_try(network)
    )
    try:
        # Tracers warn of what is settled below, where sizes are tried.
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = engine.convert(whole, torch.from_numpy(first))
        run = engine.load(made, "float32")
        for pixels in others:
            with torch.inference_mode():
                expected = whole(torch.from_numpy(pixels)).numpy()
            _check_alike(run(pixels), expected)
    except ConversionError:
        raise
    except Exception as error:  # each engine has its own ways to refuse
        said = (str(error).strip().splitlines() or [""])[-1]
        raise ConversionError(f"{type(error).__name__}: {said[:200]}") from error
    return made


def _sides_to_try(network: Backbone) -> list[tuple[int, int]]:
    """Heights and widths that the network takes, each of another shape of map."""
    step = max(network.multiple, network.stride)
    step = -(-step // network.multiple) * network.multiple
    least = -(-network.min_side // step)
    return [((least + i) * step, (least + j) * step) for i, j in ((3, 5), (6, 4), (4, 7))]


def _check_alike(found: np.ndarray, expected: np.ndarray) -> None:
    if found.shape != expected.shape:
        raise ConversionError(f"its map has shape {found.shape}, and torch's {expected.shape}")
    largest = np.abs(expected).max()
    difference = np.abs(found - expected).max()
    if not difference <= _TOLERANCE * largest:
        raise ConversionError(f"its map differs from torch's by {difference / largest:.1e}")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
