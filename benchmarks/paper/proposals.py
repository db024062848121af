"""Boxes for DIR-RPN: from a file, or from a detector of torchvision with weights at hand."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from systems import Settings, Task

from sklearn_cmac.photos import name_of
from sklearn_cmac.regions import propose_boxes

RANDOM_DETECTOR = "fasterrcnn_mobilenet_v3_large_320_fpn=none"
RANDOM_PROPOSALS = "proposals of a detector with random weights: the number means nothing"


class NotGiven(Exception):
    """Something that a row needs was not given; the message says which option gives it."""


def boxes_of(task: Task, settings: Settings, network: str) -> tuple[dict[str, Any], str]:
    """Boxes (n, 4) of all photos of a task by the photo's name, and a remark on them, or ""."""
    queries = [query.photo for query in task.benchmark.queries]
    photos = [*task.benchmark.photos, *queries, *(task.fit_on or [])]
    if settings.boxes is not None:
        return _read(settings.boxes, [name_of(photo) for photo in photos]), ""
    detector = settings.detector
    if detector is None and network in ("siamac", "dir") and not settings.random(network):
        raise NotGiven("not measured: needs --boxes FILE or --detector NAME=FILE")
    # On other networks the row shows that the system runs.
    detector = detector or RANDOM_DETECTOR
    remark = RANDOM_PROPOSALS if detector.endswith("=none") else ""
    return propose_boxes(photos, load_detector(detector)), remark


def load_detector(name_and_file: str) -> torch.nn.Module:
    """A detector of torchvision, of ``NAME=FILE``; the file "none" is for random numbers."""
    name, equals, file = name_and_file.partition("=")
    if not equals or name not in torchvision.models.list_models(torchvision.models.detection):
        raise SystemExit(
            f"--detector {name_and_file}: write NAME=FILE; names are "
            f"{', '.join(torchvision.models.list_models(torchvision.models.detection))}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        detector = torchvision.models.get_model(name, weights=None, weights_backbone=None)
    if file != "none":
        detector.load_state_dict(torch.load(file, weights_only=True))
    return detector.eval()


def _read(file: str | Path, names: list[str]) -> dict[str, np.ndarray]:
    """Boxes of a table photo,x0,y0,x1,y1; photos are named whole or without folder and ending."""
    listed: dict[str, list[list[float]]] = {}
    with open(file, newline="") as table:
        for row in csv.DictReader(table):
            corners = [float(row[corner]) for corner in ("x0", "y0", "x1", "y1")]
            listed.setdefault(row["photo"], []).append(corners)
    found = {name: listed.get(name, listed.get(Path(name).stem, [])) for name in names}
    return {name: np.reshape(boxes, (-1, 4)) for name, boxes in found.items()}
