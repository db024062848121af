"""The paper's tables, row by row: how each is measured, and what it says where it cannot be.

`published.py` has the rows and their numbers, `systems.py` the networks and the photos.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from proposals import NotGiven, boxes_of
from published import COLUMNS, PAPER_TABLES, SOURCES, Method, PaperTable
from systems import (
    LARGE,
    NETWORKS,
    Settings,
    Task,
    cell,
    make_parser,
    make_system,
    measure,
    more_tasks,
    published_tasks,
    read_settings,
)

from sklearn_cmac import BoxRegions, ClusterMaxPooler
from sklearn_cmac._markdown import as_table
from sklearn_cmac.checkpoints import load_checkpoint, pipeline_from_checkpoint
from sklearn_cmac.evaluation import Row

RANDOM = "random weights: the number means nothing"
PHOTOS = "--oxford and --paris, the photos of both and their annotations"
DISTRACTORS = "--distractors, 100,000 photos of Flickr"
NO_LAYER = "PCA whitening in place of the trained layer of DIR's file (--weights dir=FILE)"
LEARNED_HERE = "L_w is learned from the photos to fit on, not from 3-D models"


# -- Systems ----------------------------------------------------------------------------------


class Built(NamedTuple):
    """A pipeline, the task that it is measured on, and what a reader has to know of it."""

    pipeline: Any
    task: Task
    learned: bool = False
    remarks: tuple[str, ...] = ()


def build(system: str, network: str, task: Task, settings: Settings) -> Built:
    """The pipeline of a system of the paper's tables; `NotGiven` says what it lacks."""
    if system == "siamac":
        return _siamac(network, task, settings)
    if system.startswith("dir"):
        return _dir(system, network, task, settings)
    return Built(make_system(system, network, settings), task)


def _siamac(network: str, task: Task, settings: Settings) -> Built:
    file = settings.weights[network] if network == "siamac" else None
    if file is not None and load_checkpoint(file).default_whitening is not None:
        pipeline = pipeline_from_checkpoint(
            file, features__max_size=settings.max_size, features__store=settings.store
        )
        pool = pipeline["pool"]
        other = f"the file's network pools with {pool}, siaMAC's with the maximum"
        remarks = () if isinstance(pool, ClusterMaxPooler) else (other,)
        return Built(pipeline, replace(task, fit_on=None), remarks=remarks)
    if not set(task.fit_labels) - {""}:
        raise NotGiven("L_w is learned, and no photos to fit on are labelled")
    return Built(make_system("siamac", network, settings), task, True, (LEARNED_HERE,))


def _dir(system: str, network: str, task: Task, settings: Settings) -> Built:
    file = settings.weights[network] if network == "dir" and system != "dir-pca" else None
    layer = None if file is None else load_checkpoint(file).fc
    pipeline = make_system("dir", network, settings, layer=layer)
    remarks = [NO_LAYER] * (layer is None and system != "dir-pca")
    if system == "dir-rpn":
        boxes, remark = boxes_of(task, settings, network)
        pipeline.set_params(regions=BoxRegions(boxes))
        remarks += [remark] * bool(remark)
    return Built(pipeline, task, remarks=tuple(remarks))


# -- Tables -----------------------------------------------------------------------------------


@dataclass
class Filled:
    """A table with its cells filled, and the scores in them by row and column."""

    header: list[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    scores: dict[tuple[str, str], float] = field(default_factory=dict)

    def marked(self, text: str, *remarks: str) -> str:
        """A cell's text with the letters of its footnotes."""
        for remark in remarks:
            if remark not in self.notes:
                self.notes.append(remark)
        letters = ", ".join(chr(ord("a") + self.notes.index(remark)) for remark in remarks)
        return f"{text} [{letters}]" if letters else text

    @property
    def footnotes(self) -> list[str]:
        return [f"[{chr(ord('a') + i)}] {note}." for i, note in enumerate(self.notes)]

    def __str__(self) -> str:
        return "\n\n".join([as_table(self.header, self.rows), *self.footnotes])


def fill(
    table: PaperTable, tasks: Mapping[str, Task | None], settings: Settings, network: str
) -> Filled:
    """The rows of a table; a column for each task, published numbers in those of the paper."""
    filled = Filled(["method", *tasks])
    found = {column: _measure_all(table, tasks[column], settings, network) for column in tasks}
    for method in table.methods:
        row = [filled.marked(method.label, *[method.remark] * bool(method.remark))]
        for column in tasks:
            rows, remarks = found[column][method.system]
            measured = rows.get((method.crop, method.steps))
            if measured is None:
                remarks = remarks or lacks(column, tasks, settings, network)
            else:
                filled.scores[method.label, column] = 100 * measured.mean_average_precision
            text = _published(table, method, column) + (cell(measured) if measured else "–")
            row.append(filled.marked(text, *remarks))
        filled.rows.append(row)
    return filled


def _published(table: PaperTable, method: Method, column: str) -> str:
    """What stands before the measured number; nothing in columns that the paper does not have."""
    values = dict(zip(table.columns, method.values))
    return f"{values[column]:.1f} / " if column in values else ""


Found = tuple[Mapping[tuple[str, str], Row], tuple[str, ...]]


def _measure_all(
    table: PaperTable, task: Task | None, settings: Settings, network: str
) -> dict[str, Found]:
    """Rows by crop and steps of each system of a table, with remarks."""
    systems = dict.fromkeys(method.system for method in table.methods)
    if task is None or network not in settings.weights:
        return dict.fromkeys(systems, ({}, ()))
    found: dict[str, Found] = {}
    for system in systems:
        print(f"{settings.label(network)}, {system}, {task.name}", file=sys.stderr, flush=True)
        own = [method for method in table.methods if method.system == system]
        try:
            built = build(system, network, task, settings)
        except NotGiven as reason:
            found[system] = {}, (str(reason),)
            continue
        crops, steps = (dict.fromkeys(getattr(m, what) for m in own) for what in ("crop", "steps"))
        rows = measure(built.pipeline, built.task, settings, crops, steps, built.learned)
        found[system] = rows, built.remarks + (RANDOM,) * settings.random(network)
    return found


def lacks(
    column: str, tasks: Mapping[str, Task | None], settings: Settings, network: str
) -> tuple[str, ...]:
    """Which options a column needs that were not given, as one footnote, or none."""
    missing = []
    if tasks[column] is None:
        photos = any(task is not None for task in tasks.values())
        missing += [] if photos else [PHOTOS]
        missing += [DISTRACTORS] if COLUMNS.get(column) in LARGE else []
    if network not in settings.weights:
        missing.append(weights_of(network))
    return (f"not measured: needs {'; and '.join(missing)}",) if missing else ()


def weights_of(network: str) -> str:
    """The option that gives a network its weights."""
    return f"--weights {network}=FILE, {NETWORKS[network].file}"


# -- Sentences --------------------------------------------------------------------------------


def compared(table: PaperTable, scores: Mapping[tuple[str, str], float]) -> str:
    """How clusters stand to the rows that the paper compares them with."""
    gains = [
        (value - scores[method.rival, column]) * (1 if method.system == "paper" else -1)
        for method in table.methods
        for column in dict.fromkeys(column for _, column in scores)
        if (value := scores.get((method.label, column))) is not None
        and (method.rival, column) in scores
    ]
    if not gains:
        return "nothing to compare"
    ahead = sum(gain > 0 for gain in gains)
    return (
        f"clusters are ahead in {ahead} of {len(gains)} comparisons, by {np.mean(gains):+.1f} "
        "points in the mean"
    )


def published_scores(table: PaperTable) -> dict[tuple[str, str], float]:
    """The published numbers by row and column."""
    return {
        (method.label, column): value
        for method in table.methods
        for column, value in zip(table.columns, method.values)
    }


def comparisons(tables: Sequence[PaperTable], filled: Sequence[Filled]) -> list[str]:
    """For each of some tables what the paper claims, and what its numbers and ours say to it."""
    published = {key: v for table in tables for key, v in published_scores(table).items()}
    measured = {key: value for one in filled for key, value in one.scores.items()}
    warning = f" With {RANDOM}." if any(RANDOM in one.notes for one in filled) else ""
    return [
        f"The paper: {table.claim} Published: {compared(table, published)}. "
        f"Measured: {compared(table, measured)}.{warning}"
        for table in tables
    ]


# -- Command lines ----------------------------------------------------------------------------


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the paper's tables take besides the options that all scripts share."""
    parser.set_defaults(max_size=None)
    parser.add_argument("--boxes", help="proposals of DIR-RPN: a table photo,x0,y0,x1,y1")
    parser.add_argument(
        "--detector",
        metavar="NAME=FILE",
        help="or a detector of torchvision that proposes them, with its weights; the file 'none' "
        "is for seeded random numbers",
    )


def tables_of(
    name: str, args: argparse.Namespace, settings: Settings, network: str
) -> list[tuple[str, Filled]]:
    """A table on the paper's benchmarks, and on the other photos that there are, with titles."""
    table = PAPER_TABLES[name]
    settings = replace(settings, max_size=args.max_size or table.max_size)
    official = published_tasks(args)
    columns = {column: official[COLUMNS[column]] for column in table.columns}
    title = f"{name}: {table.title}"
    label = settings.label(network)
    if table.network not in settings.weights and table.network != network:
        label += f", as the paper's network needs {weights_of(table.network)}"
    found = [(f"{title}. Measured with {label}", fill(table, columns, settings, network))]
    more = more_tasks(args)
    if more:
        filled = fill(table, more, settings, network)
        title = f"The same rows on other photos, with {settings.label(network)}"
        found.append((title, filled))
    return found


def main(description: str, *names: str) -> None:
    """The command line of a table: published / measured mAP in percent, 95% interval."""
    table = PAPER_TABLES[names[0]]
    parser = make_parser(description, networks=(table.network,))
    add_options(parser)
    args = parser.parse_args()
    settings = read_settings(args)
    for network in args.networks:
        for name in names:
            for title, filled in tables_of(name, args, settings, network):
                print(f"{title}\n\n{filled}\n", flush=True)
    print(f"Published: {SOURCES['a'].where}.")
