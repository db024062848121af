"""`cmac evaluate`: systems measured on a benchmark."""

from __future__ import annotations

from inspect import signature
from itertools import product
from pathlib import Path
from typing import Any

import click
from sklearn.utils import Bunch

from sklearn_cmac import datasets
from sklearn_cmac._printing import print_lines
from sklearn_cmac.cli._ending import GOES_ON, Command
from sklearn_cmac.cli._making import Maps, look_through
from sklearn_cmac.cli._options import (
    NEW_FOLDER,
    PATH,
    WITHOUT_LABELS,
    ListOf,
    SystemOptions,
    boxes_option,
    labels_option,
    parse_photo_scale,
    say_how_it_runs,
    store_option,
    system_options,
)
from sklearn_cmac.cli._pages import write_evaluation_pages
from sklearn_cmac.evaluation import evaluate
from sklearn_cmac.pipelines import SYSTEMS
from sklearn_cmac.reranking import EXPANSION, RERANKING, make_chain


def _when_stopped(given: dict[str, Any]) -> str:
    return GOES_ON if given["store"] else f"{GOES_ON}; a fit that was under way begins anew"


@click.command(
    "evaluate",
    cls=Command,
    when_stopped=_when_stopped,
    short_help="Measure systems on a benchmark.",
)
@click.argument("benchmark", type=click.Choice([*datasets.LOADERS, "folder"]), metavar="BENCHMARK")
@click.option("--photos", type=PATH, required=True, help="The photos to rank.")
@click.option(
    "--annotations",
    type=PATH,
    help="The benchmark's ground truth. Default: in the folder of the photos.",
)
@click.option(
    "--protocol",
    type=click.Choice(["easy", "medium", "hard"]),
    default="medium",
    help="Of the revisited benchmarks.",
)
@labels_option
@boxes_option
@click.option(
    "--queries",
    type=click.Choice(["boxed", "all"]),
    default="boxed",
    help="Folder: photos with a box, cropped, or all labelled ones, whole.",
)
@click.option("--distractors", type=PATH, help="A folder of further photos to rank.")
@click.option(
    "--missing",
    type=click.Choice(["error", "restrict"]),
    default="error",
    help="restrict: use the part of the benchmark that is there.",
)
@click.option(
    "--photo-scale",
    type=parse_photo_scale,
    default="1",
    metavar="SCALE",
    help="Size of resized copies: a number, or FILE.csv:NAME:SCALE (columns).",
)
@click.option(
    "--system",
    type=ListOf(WITHOUT_LABELS),
    default="rmac,cmac",
    metavar="SYSTEM,…",
    help=f"Of {', '.join(WITHOUT_LABELS)}.",
)
@click.option(
    "--query-crop",
    type=ListOf(["activations", "image"]),
    default="activations",
    metavar="CROP,…",
    help="Of activations, image.",
)
@click.option(
    "--rerank",
    type=ListOf(RERANKING),
    default="none",
    metavar="STEP,…",
    help=f"Of {', '.join(RERANKING)}.",
)
@click.option(
    "--expand",
    type=ListOf(EXPANSION),
    default="none",
    metavar="STEP,…",
    help=f"Of {', '.join(EXPANSION)}; after reranking.",
)
@click.option("--fit-on", type=PATH, help="A folder of other photos to fit systems on.")
@store_option
@click.option(
    "--out",
    type=NEW_FOLDER,
    default="cmac-evaluation",
    help="Folder of the results and of what a stopped run has done.",
)
@system_options
def evaluate_command(
    system: list[str],
    query_crop: list[str],
    rerank: list[str],
    expand: list[str],
    fit_on: Path | None,
    store: Path | None,
    out: Path,
    made: SystemOptions,
    **task: Any,
) -> None:
    """Measure systems on a benchmark, or on a labelled folder ("folder").

    Benchmarks are oxford5k, paris6k, roxford5k, rparis6k, ilias, instre, gldv2 and products.

    Prints a table of mAP with 95% intervals. Started again, it goes on where it stopped.
    """
    boxed = task["benchmark"] != "folder" or task["queries"] == "boxed"
    # Localisation looks at maps again.
    unasked = out / "maps" if store is None and "localization" in rerank else None
    store = store or unasked
    systems = {SYSTEMS[name].label: made.make(name, store) for name in system}
    loaded = _load_benchmark(**task)
    # Loading a folder without a table has told what is left out.
    look = look_through if fit_on or task["labels"] else datasets.walk_photos
    fit_photos = look([fit_on or task["photos"]]).require(fit_on or task["photos"])
    first = next(iter(systems.values()))
    say_how_it_runs(first)
    if unasked:
        Maps(unasked, unasked=True).make_room(first[0], loaded.photos, len(loaded.photos))
    evaluation = evaluate(
        loaded,
        systems,
        fit_photos,
        query_crops=query_crop if boxed else query_crop[:1],
        steps={_chain_name(*names): make_chain(*names, verbose=True)
               for names in product(rerank, expand)},
        folder=out / "work",
        verbose=True,
    )  # fmt: skip
    evaluation.write(out)
    write_evaluation_pages(out, loaded, evaluation)
    print_lines("", *str(evaluation).splitlines(), "", f"results: {out.resolve()}")


def _load_benchmark(
    benchmark: str,
    photos: Path,
    annotations: Path | None,
    protocol: str,
    labels: Path | None,
    boxes: Path | None,
    queries: str,
    distractors: Path | None,
    missing: str,
    photo_scale: float | dict[str, float],
) -> Bunch:
    if benchmark == "folder":
        folder = datasets.load_photo_folder(photos, labels=labels, boxes=boxes)
        loaded = datasets.as_benchmark(folder, queries=queries)
    else:
        load = datasets.LOADERS[benchmark]
        # What a loader does not know, its benchmark does not have.
        known = signature(load).parameters
        given = {"missing": missing, "photo_scale": photo_scale, "protocol": protocol}
        options = {name: value for name, value in given.items() if name in known}
        loaded = load(photos, annotations, **options)
    return datasets.add_distractors(loaded, distractors) if distractors else loaded


def _chain_name(rerank: str, expand: str) -> str:
    names = [name for name in (rerank, expand) if name != "none"]
    return " + ".join(names) or "plain"
