"""`cmac demo`: three systems compared on scenes made on the spot."""

from __future__ import annotations

import tempfile
import textwrap
from collections.abc import Sequence
from pathlib import Path

import click
from sklearn.pipeline import Pipeline
from sklearn.utils import Bunch

from sklearn_cmac._markdown import as_table
from sklearn_cmac._printing import print_lines
from sklearn_cmac.cli._ending import Command
from sklearn_cmac.cli._making import Maps
from sklearn_cmac.cli._options import NEW_FOLDER, SystemOptions, say_how_it_runs
from sklearn_cmac.cli._pages import query_row, result_figure
from sklearn_cmac.datasets import make_object_scenes
from sklearn_cmac.inspection import Ranking, write_page
from sklearn_cmac.metrics import RetrievalScorer
from sklearn_cmac.photos import Photo
from sklearn_cmac.pipelines import SYSTEMS
from sklearn_cmac.search import RetrievalIndex

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
_HEADER = ("mAP in %", "whole photos", "boxed, crop X", "boxed, crop I")


@click.command("demo", cls=Command, when_stopped=lambda _: "nothing is kept")
@click.option("--out", type=NEW_FOLDER, default="cmac-demo", help="Folder of the result page.")
def demo_command(out: Path) -> None:
    """Compare three systems on scenes made on the spot."""
    scenes = make_object_scenes(random_state=0)
    others = make_object_scenes(random_state=1)
    print_lines(scenes.DESCR, *textwrap.wrap(_SCENES, 88))
    print_lines(f"Whitening is fitted on {len(others.photos)} scenes of other objects.")
    out.mkdir(parents=True, exist_ok=True)
    shown = [scenes.target.index(name) for name in sorted(set(scenes.target) - {""})[:6]]
    sections = [(f"Where else is {scenes.target[i]}?", list[Ranking]()) for i in shown]
    table: list[list[str]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for system in _COMPARED:
            name = SYSTEMS[system].label
            pipeline = SystemOptions().make(system, scratch).set_params(features__verbose=1)
            if not table:
                say_how_it_runs(pipeline)
                n_photos = len(scenes.photos) + len(others.photos)
                Maps(scratch, unasked=True).make_room(pipeline[0], scenes.photos, n_photos)
            pipeline.fit(others.photos)
            table.append([name, *_score(pipeline, scenes.photos, scenes.target)])
            index = RetrievalIndex(pipeline)
            index.add(scenes.photos)
            for i, (_, rankings) in zip(shown, sections):
                rankings.append(_ranking(name, index, scenes, i))
        for i, (_, rankings) in zip(shown, sections):
            rankings.insert(0, query_row(scenes.photos[i].as_query(), pipeline))
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


def _score(pipeline: Pipeline, photos: Sequence[Photo], target: Sequence[str]) -> list[str]:
    """mAP of whole photos, and of boxes cropped in activations (X) and in the photo (I)."""
    cells = []
    for queries, crop in (("all", "activations"), ("boxed", "activations"), ("boxed", "image")):
        pipeline.set_params(features__query_crop=crop)
        scorer = RetrievalScorer(queries=queries, distractor="")
        cells.append(f"{100 * scorer(pipeline, photos, target):.1f}")
    pipeline.set_params(features__query_crop="activations")
    return cells


def _ranking(system: str, index: RetrievalIndex, scenes: Bunch, i: int) -> Ranking:
    """What a system finds with the i-th scene, itself left out."""
    query = scenes.photos[i]
    position = {photo.name: j for j, photo in enumerate(scenes.photos)}
    figures = []
    for result in index.search(query.as_query(), 7):
        j = position[result.name]
        if j != i:
            right = scenes.target[j] == scenes.target[i]
            figures.append(result_figure(scenes.photos[j], result, right))
    return Ranking(system, figures)
