"""What the scripts of this folder share: networks, benchmarks, and how cells are filled.

A new system is one entry of `sklearn_cmac.pipelines.SYSTEMS`; every table then has its rows.
"""

from __future__ import annotations

import argparse
import csv
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils import Bunch

from sklearn_cmac.datasets import (
    add_distractors,
    as_benchmark,
    find_photos,
    load_oxford5k,
    load_paris6k,
    load_photo_folder,
    make_object_scenes,
)
from sklearn_cmac.evaluation import Row, evaluate
from sklearn_cmac.pipelines import SYSTEMS
from sklearn_cmac.reranking import Chain, make_chain

MISSING = "not available"
SCENE = (480, 360)
CROPS = {"X": "activations", "I": "image"}
STEPS: dict[str, Chain] = {
    "plain": make_chain(),
    "R": make_chain("localization"),
    "QE": make_chain(expand="qe"),
    "R + QE": make_chain("localization", "qe"),
}
# Those of local features have a table of their own.
OF_NETWORKS = [name for name, system in SYSTEMS.items() if system.only != "sift"]


class Network(NamedTuple):
    """A network that the tables have rows for, and which file its weights come in.

    `architecture` is the backbone's name in the package. Without a file, weights are installed.
    """

    label: str
    architecture: str
    file: str = ""

    @property
    def embedded(self) -> bool:
        return not self.file


NETWORKS = {
    "efficientnet_lite0": Network("EfficientNet-Lite0", "efficientnet_lite0"),
    "vgg16": Network("VGG16", "vgg16", "the ImageNet weights of torchvision"),
    "resnet101": Network("ResNet101", "resnet101", "the ImageNet weights of torchvision"),
    "siamac": Network(
        "VGG16 of siaMAC", "vgg16", "a VGG16 with MAC that cnnimageretrieval-pytorch published"
    ),
    "dir": Network(
        "ResNet101 of DIR", "resnet101", "a ResNet101 that deep-image-retrieval published"
    ),
}
LARGE = ("Oxford105k", "Paris106k")
OF_IMAGENET = ("efficientnet_lite0", "vgg16", "resnet101")


@dataclass
class Task:
    """Queries on photos, and other photos to fit on.

    `fit_labels` name the object of each photo to fit on, "" where there is none; systems that
    are learned need them. Without photos to fit on, systems have to be fitted.
    """

    name: str
    benchmark: Bunch
    fit_on: Sequence[Any] | None
    fit_labels: Sequence[str]


@dataclass
class Settings:
    """What is the same for all rows.

    `weights` has an entry for each network that there are weights for: "default", a file, or
    None for seeded random numbers. `shrinkage` None leaves each system its own. `boxes` and
    `detector` tell where the proposals of DIR-RPN come from.
    """

    weights: Mapping[str, Any] = field(default_factory=lambda: {"efficientnet_lite0": "default"})
    max_size: int = 1024
    store: str | None = None
    shrinkage: float | None = None
    folder: Path | None = None
    boxes: Path | None = None
    detector: str | None = None

    def random(self, network: str) -> bool:
        """Whether a network has seeded random numbers for weights."""
        return self.weights.get(network, "") is None

    def label(self, network: str) -> str:
        """The network's name, marked where its weights are random."""
        return NETWORKS[network].label + " (random weights)" * self.random(network)


def systems_on(network: str, names: Iterable[str]) -> list[str]:
    """Those of the named systems that there are on a network."""
    return [name for name in names if SYSTEMS[name].only in (None, network)]


def make_system(name: str, network: str, settings: Settings, **params: Any) -> Pipeline:
    """The pipeline of a system on a network; `params` come last."""
    system = SYSTEMS[name]
    given: dict[str, Any] = {
        "features__backbone": NETWORKS[network].architecture,
        "features__weights": settings.weights[network],
        "features__max_size": settings.max_size,
        "features__scales": (1.0,),
        "features__store": settings.store,
    }
    if settings.shrinkage is not None and params.get("layer") is None:
        given["whiten__shrinkage"] = settings.shrinkage
    given.update(system.of_network(NETWORKS[network].architecture))
    return system.make(**{**given, **params})


def measure(
    pipeline: Pipeline,
    task: Task,
    settings: Settings,
    crops: Iterable[str] = CROPS,
    steps: Iterable[str] = ("plain",),
    learned: bool = False,
    chains: Mapping[str, Chain] = STEPS,
) -> dict[tuple[str, str], Row]:
    """Rows of a pipeline on a task, by crop ("X", "I") and steps, names of `chains`."""
    fit_on = task.fit_on
    if learned:
        pipeline, fit_on = pipeline.fit(task.fit_on, task.fit_labels), None
    evaluation = evaluate(
        task.benchmark,
        {"": pipeline},
        fit_on,
        query_crops=[CROPS[crop] for crop in crops],
        steps={name: chains[name] for name in steps},
        folder=settings.folder,
    )
    letters = {long: short for short, long in CROPS.items()}
    return {(letters[row.query_crop], row.steps): row for row in evaluation.rows}


def measure_system(
    name: str,
    network: str,
    task: Task | None,
    settings: Settings,
    crops: Iterable[str] = CROPS,
    steps: Iterable[str] = ("plain",),
) -> dict[tuple[str, str], Row]:
    """The same for a named system; nothing where photos or weights are missing."""
    if task is None or network not in settings.weights:
        return {}
    if SYSTEMS[name].learned and len(set(task.fit_labels) - {""}) == 0:
        return {}
    label = SYSTEMS[name].label
    print(f"{settings.label(network)}, {label}, {task.name}", file=sys.stderr, flush=True)
    pipeline = make_system(name, network, settings)
    return measure(pipeline, task, settings, crops, steps, SYSTEMS[name].learned)


def cell(row: Row | None) -> str:
    """mAP in percent with its interval, or "not available"."""
    if row is None:
        return MISSING
    low, high = 100 * row.low, 100 * row.high
    return f"{100 * row.mean_average_precision:.1f} ({low:.0f}–{high:.0f})"


# -- Photos -----------------------------------------------------------------------------------


def labels_of(benchmark: Bunch) -> list[str]:
    """A label for each photo of a benchmark: queries with a common answer ask for one object."""
    labels = np.full(len(benchmark.photos), "", dtype=object)
    for query, relevance in zip(benchmark.queries, benchmark.relevance):
        known = [label for label in labels[relevance.positives] if label]
        labels[relevance.positives] = known[0] if known else query.name
    return labels.tolist()


def published_tasks(args: argparse.Namespace) -> dict[str, Task | None]:
    """Oxford and Paris, each fitted on the other, as far as their photos are given."""
    tasks: dict[str, Task | None] = dict.fromkeys(
        ("Oxford5k", "Oxford105k", "Paris6k", "Paris106k")
    )
    if (args.oxford is None) != (args.paris is None):
        raise SystemExit("systems are fitted on the other benchmark: pass --oxford and --paris")
    if args.oxford is None:
        return tasks
    oxford = load_oxford5k(args.oxford, args.oxford_annotations)
    paris = load_paris6k(args.paris, args.paris_annotations)
    for small, large, tested, other in (
        ("Oxford5k", "Oxford105k", oxford, paris),
        ("Paris6k", "Paris106k", paris, oxford),
    ):
        tasks[small] = Task(small, tested, other.photos, labels_of(other))
        if args.distractors is not None:
            more = add_distractors(tested, args.distractors)
            tasks[large] = Task(large, more, other.photos, labels_of(other))
    return tasks


def local_tasks(data: Path | None) -> dict[str, Task]:
    """Landmarks and a part of Paris6k, each fitted on the other, if there is such a folder."""
    if data is None:
        return {}
    folder = data / "landmarks"
    if not folder.is_dir():
        raise SystemExit(f"no photos at {folder}: pass --data")
    landmarks = load_photo_folder(
        folder / "images", labels=folder / "labels.csv", boxes=folder / "boxes.csv"
    )
    with open(data / "paris279/files.csv", newline="") as table:
        scale = {row["image"]: float(row["scale_in_jpg_768"]) for row in csv.DictReader(table)}
    paris = load_paris6k(
        data / "paris279/jpg", data / "paris_gt", missing="restrict", photo_scale=scale
    )
    label_of = {photo.name: label for photo, label in zip(paris.photos, labels_of(paris))}
    fit_on = find_photos(data / "paris279/jpg")
    labels = [label_of.get(path.stem, "") for path in fit_on]
    boxed = as_benchmark(landmarks, "boxed")
    return {
        "landmarks": Task("landmarks", boxed, fit_on, labels),
        "Paris part": Task("Paris part", paris, landmarks.photos, landmarks.target),
    }


def scene_tasks() -> dict[str, Task]:
    """Made photos, so that everybody has some: each photo of an object asks for the others."""
    made, others = (make_object_scenes(5, 4, 6, size=SCENE, random_state=seed) for seed in (0, 1))
    return {"made scenes": Task("made scenes", as_benchmark(made), others.photos, others.target)}


def more_tasks(args: argparse.Namespace) -> dict[str, Task]:
    """Photos that are no published benchmark: those under `--data`, or made ones without any."""
    return local_tasks(args.data) or ({} if args.oxford else scene_tasks())


def given_tasks(args: argparse.Namespace) -> dict[str, Task]:
    """All tasks that there are photos for."""
    official = {name: task for name, task in published_tasks(args).items() if task is not None}
    return {**official, **local_tasks(args.data)}


# -- Command lines ----------------------------------------------------------------------------


def make_parser(
    description: str, *, networks: Sequence[str] = OF_IMAGENET
) -> argparse.ArgumentParser:
    """The options that the scripts share."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a folder with landmarks/ and paris279/")
    parser.add_argument("--oxford", type=Path, help="the photos of Oxford5k")
    parser.add_argument("--oxford-annotations", type=Path, help="default: in --oxford")
    parser.add_argument("--paris", type=Path, help="the photos of Paris6k")
    parser.add_argument("--paris-annotations", type=Path, help="default: in --paris")
    parser.add_argument("--distractors", type=Path, help="100,000 more photos to rank")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(networks))
    parser.add_argument(
        "--weights",
        nargs="+",
        default=[],
        metavar="NETWORK=FILE",
        help="weights of networks: a file each, 'default' for torchvision's, or 'none' "
        "for seeded random numbers; 'none' alone means all",
    )
    parser.add_argument("--max-size", type=int, default=1024)
    parser.add_argument("--shrinkage", type=float, help="of all whitening; default: each its own")
    parser.add_argument("--store", help="where activation maps are kept")
    parser.add_argument("--out", type=Path, help="keeps what is done, so a stopped run goes on")
    return parser


def read_settings(args: argparse.Namespace) -> Settings:
    """Settings of a parsed command line; warnings that tables answer are silenced."""
    warnings.filterwarnings("ignore", "whitening .* dimensions")
    warnings.filterwarnings("ignore", ".*Scores of a part are no benchmark results")
    return Settings(
        parse_weights(args.weights, args.networks or list(NETWORKS)),
        args.max_size or 1024,
        args.store,
        args.shrinkage,
        args.out and args.out / "kept",
        getattr(args, "boxes", None),
        getattr(args, "detector", None),
    )


def parse_weights(given: Iterable[str], networks: Sequence[str]) -> dict[str, Any]:
    """Weights by network, of ``NETWORK=FILE``, ``FILE`` or ``none``."""
    weights: dict[str, Any] = {name: "default" for name in networks if NETWORKS[name].embedded}
    others = [name for name in networks if not NETWORKS[name].embedded]
    for entry in given:
        name, equals, file = entry.partition("=")
        if equals and name in NETWORKS:
            weights[name] = None if file == "none" else file
        elif entry == "none":
            weights.update(dict.fromkeys(others))
        elif len(others) == 1:
            weights[others[0]] = entry
        else:
            raise SystemExit(f"--weights {entry}: of which network? Write NETWORK={entry}")
    return weights


def named_for(file: Path, network: str) -> Path:
    """The name of a picture that is of one network."""
    return file.with_stem(f"{file.stem}-{network}")
