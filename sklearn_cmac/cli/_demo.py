"""`cmac demo`: three systems compared on scenes made on the spot."""

from __future__ import annotations

import tempfile
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils import Bunch

from sklearn_cmac._markdown import as_table
from sklearn_cmac._printing import print_lines
from sklearn_cmac.cli._ending import Command
from sklearn_cmac.cli._making import Maps
from sklearn_cmac.cli._options import NEW_FOLDER, SystemOptions, say_how_it_runs
from sklearn_cmac.cli._pages import query_row, result_figure
from sklearn_cmac.datasets import as_benchmark, make_object_scenes
from sklearn_cmac.inspection import Ranking, write_page
from sklearn_cmac.metrics import RetrievalScorer, evaluate_rankings
from sklearn_cmac.photos import Photo
from sklearn_cmac.pipelines import SYSTEMS
from sklearn_cmac.search import SearchResult

# Of each system, what its row says.
_COMPARED = {
    "mac": "the whole photo is one region, of which each channel's maximum is kept",
    "rmac": "the same of a grid of overlapping squares, which are whitened and summed",
    "cmac": "the same of clusters of the map's cells, which follow what the photo shows",
}
_SCENES = (
    "An object is a piece of a photo with a wavy outline. It is pasted into pieces of others, "
    "smaller or larger, turned, and in another light; that it has no surroundings of its own, and "
    "shares them with other objects, makes these scenes hard."
)
_N_OBJECTS, _N_DISTRACTORS = 8, 16
# Scenes are smaller; with one limit for all, systems share their maps.
_MAX_SIZE = 724
_HEADER = ("mAP in %", "whole photos", "boxed, crop X", "boxed, crop I")


@click.command("demo", cls=Command, when_stopped=lambda _: "nothing is kept")
@click.option("--out", type=NEW_FOLDER, default="cmac-demo", help="Folder of the result page.")
def demo_command(out: Path) -> None:
    """Compare three systems on scenes made on the spot."""
    scenes = make_object_scenes(_N_OBJECTS, n_distractors=_N_DISTRACTORS, random_state=0)
    others = make_object_scenes(_N_OBJECTS, n_distractors=_N_DISTRACTORS, random_state=1)
    asked = as_benchmark(scenes)
    print_lines(scenes.DESCR, *textwrap.wrap(_SCENES, 88))
    print_lines(f"Whitening is fitted on {len(others.photos)} scenes of other objects.")
    out.mkdir(parents=True, exist_ok=True)
    shown = [asked.groups.index(name) for name in sorted(set(asked.groups))[:6]]
    sections = [(f"Where else is {asked.groups[i]}?", list[Ranking]()) for i in shown]
    table: list[list[str]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for system in _COMPARED:
            label = SYSTEMS[system].label
            pipeline = SystemOptions(max_size=_MAX_SIZE).make(system, scratch)
            pipeline.set_params(features__verbose=1)
            if not table:
                say_how_it_runs(pipeline)
                n_photos = len(scenes.photos) + len(others.photos)
                Maps(scratch, unasked=True).make_room(pipeline[0], scenes.photos, n_photos)
            pipeline.fit(others.photos)
            rankings = _rank(pipeline, scenes.photos, asked)
            table.append([label, *(_score(ranking, asked) for ranking in rankings)])
            for i, (_, rows) in zip(shown, sections):
                rows.append(_row(label, rankings[1], scenes, asked, i))
        for i, (_, rows) in zip(shown, sections):
            rows.insert(0, query_row(asked.queries[i], pipeline))
    print_lines(*as_table(_HEADER, table).splitlines())
    print_lines(*(f"{SYSTEMS[name].label}: {what}" for name, what in _COMPARED.items()))
    chance = RetrievalScorer(distractor="").chance(scenes.photos, scenes.target)
    print_lines(f"random order: mAP {100 * chance:.1f}")
    # All labelled scenes have a box, so the columns have the same queries.
    table.append(["random order", *3 * [f"{100 * chance:.1f}"]])
    page = out / "index.html"
    title = "MAC, R-MAC and clusters of activations on made scenes"
    write_page(page, title, sections, header=_HEADER, table=table)
    print_lines(f"page: {page.resolve()}")


class _Rankings(NamedTuple):
    """Of each query, all photos, best first, and their scores in that order."""

    orders: np.ndarray
    scores: np.ndarray


def _rank(pipeline: Pipeline, photos: Sequence[Photo], asked: Bunch) -> list[_Rankings]:
    """By whole photos, and by boxes cropped in activations (X) and in the photo (I)."""
    descriptors = np.asarray(pipeline.transform(photos))
    boxed = {}
    for crop in ("image", "activations"):  # the default comes last, and stays
        pipeline.set_params(features__query_crop=crop)
        boxed[crop] = np.asarray(pipeline.transform(asked.queries))
    asking = descriptors[asked.exclude], boxed["activations"], boxed["image"]
    similarities = [vectors @ descriptors.T for vectors in asking]
    orders = [np.argsort(-each, axis=1, kind="stable") for each in similarities]
    return [
        _Rankings(order, np.take_along_axis(each, order, axis=1))
        for order, each in zip(orders, similarities)
    ]


def _score(rankings: _Rankings, asked: Bunch) -> str:
    found = evaluate_rankings(rankings.orders, asked.relevance)
    return f"{100 * found.mean_average_precision:.1f}"


def _row(label: str, rankings: _Rankings, scenes: Bunch, asked: Bunch, i: int) -> Ranking:
    """What a system finds with the i-th query, its own photo left out."""
    figures = []
    for j, score in zip(rankings.orders[i][:7], rankings.scores[i]):
        if j != asked.exclude[i]:
            photo, right = scenes.photos[j], scenes.target[j] == asked.groups[i]
            figures.append(result_figure(photo, SearchResult(photo.name, float(score)), right))
    return Ranking(label, figures)
