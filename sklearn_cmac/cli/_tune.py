"""`cmac tune`: a grid search on labelled photos."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from sklearn_cmac._markdown import as_table
from sklearn_cmac._printing import print_lines
from sklearn_cmac.cli._ending import Command, goes_on_with_store
from sklearn_cmac.cli._making import Maps
from sklearn_cmac.cli._options import (
    NEW_FOLDER,
    ON_ANY_NETWORK,
    PATH,
    Count,
    SystemOptions,
    boxes_option,
    labels_option,
    parse_grid_axis,
    say_how_it_runs,
    store_option,
    system_options,
)
from sklearn_cmac.cli._pages import write_tuning_pages
from sklearn_cmac.datasets import load_photo_folder
from sklearn_cmac.reranking import EXPANSION, RERANKING, make_chain
from sklearn_cmac.search import Retriever
from sklearn_cmac.tuning import check_tuning, report_folds, tune, tuning_rows, write_tuning


@click.command(
    "tune",
    cls=Command,
    when_stopped=goes_on_with_store,
    short_help="Find the best settings on labelled photos.",
)
@click.argument("photos", type=PATH)
@labels_option
@boxes_option
@click.option(
    "--queries",
    type=click.Choice(["boxed", "all"]),
    default="all",
    help="Photos with a box, cropped, or all labelled ones, whole.",
)
@click.option("--system", type=click.Choice(ON_ANY_NETWORK), default="cmac")
@click.option("--rerank", type=click.Choice(list(RERANKING)), default="none")
@click.option("--expand", type=click.Choice(list(EXPANSION)), default="none")
@click.option(
    "--set",
    "axes",
    type=parse_grid_axis,
    multiple=True,
    required=True,
    metavar="PATH=VALUES",
    help="A parameter and its values, as a Python list: pca__n_components=[4,8]; once for each "
    "parameter.",
)
@click.option("--folds", type=Count(2), default=3)
@store_option
@click.option("--out", type=NEW_FOLDER, default="cmac-tuning", help="Folder of the results.")
@system_options
def tune_command(
    photos: Path,
    labels: Path | None,
    boxes: Path | None,
    queries: str,
    system: str,
    rerank: str,
    expand: str,
    axes: Sequence[tuple[str, list[Any]]],
    folds: int,
    store: Path | None,
    out: Path,
    made: SystemOptions,
) -> None:
    """Find the best settings on labelled PHOTOS, a sub-folder for each object.

    Scores each setting by mAP, the photos of an object together in one fold, and writes the best
    pipeline, fitted on all photos, for cmac search --pipeline, the table and a picture of the
    scores.
    """
    folder = load_photo_folder(photos, labels=labels, boxes=boxes)
    with tempfile.TemporaryDirectory() as scratch:
        pipeline = made.make(system, store or scratch)
        retriever = Retriever(pipeline, *make_chain(rerank, expand))
        paths = {path: _path_in(retriever, path) for path, _ in axes}
        grid = {paths[path]: values for path, values in axes}
        check_tuning(retriever, grid, folder, n_folds=folds)
        out.mkdir(parents=True, exist_ok=True)
        say_how_it_runs(pipeline)
        Maps(store or scratch, store is None).make_room(
            pipeline["features"], folder.photos, len(folder.photos)
        )
        # Described once, with progress; the search then reads the maps.
        pipeline["features"].set_params(verbose=1).fit([]).transform(folder.photos)
        pipeline["features"].set_params(verbose=0)
        search = tune(retriever, grid, folder, queries=queries, n_folds=folds, verbose=True)
        reports = report_folds(search, folder)
    write_tuning(search, out)
    table = [
        [f"{100 * row['mAP']:.1f}", *(str(row[path]) for path in paths.values())]
        for row in tuning_rows(search)
    ]
    header = ["mAP in %", *paths]
    about = f"Rankings in random order have a mAP of {100 * search.chance_:.1f} in these folds."
    write_tuning_pages(out, f"{folder.DESCR} {about}", reports, header, table)
    print_lines(*as_table(header, table).splitlines(), "", about)
    print_lines(f"best pipeline, tables, picture and page: {out.resolve()}")


def _path_in(retriever: Retriever, path: str) -> str:
    """The path of a parameter of the pipeline, or of a step behind it, in the whole."""
    known = retriever.get_params()
    for whole in (path, f"pipeline__{path}"):
        if whole in known:
            return whole
    near = get_close_matches(path, [name.removeprefix("pipeline__") for name in known], 1)
    advice = f"; did you mean {near[0]!r}?" if near else ""
    raise click.BadParameter(f"there is no parameter {path!r}{advice}", param_hint="'--set'")
