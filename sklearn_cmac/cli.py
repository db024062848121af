"""The `cmac` command: parse, call the library, show."""

from __future__ import annotations

import argparse
import ast
import csv
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import joblib
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import Bunch

from sklearn_cmac import (
    ConvFeatureExtractor,
    Photo,
    PhotoError,
    Query,
    RetrievalScorer,
    __version__,
    make_cmac_pipeline,
    make_crow_pipeline,
    make_gem_pipeline,
    make_mac_pipeline,
    make_rmac_pipeline,
    make_spoc_pipeline,
)
from sklearn_cmac.datasets import (
    add_distractors,
    as_benchmark,
    find_photos,
    load_oxford5k,
    load_paris6k,
    load_photo_folder,
    load_roxford5k,
    load_rparis6k,
    make_object_scenes,
)
from sklearn_cmac.evaluation import evaluate
from sklearn_cmac.inspection import Figure, Ranking, draw_box, overlay_regions, write_page
from sklearn_cmac.search import (
    DatabaseAugmentation,
    Diffusion,
    Localization,
    QueryExpansion,
    ReciprocalNeighbors,
    RegionMatching,
    RetrievalIndex,
    Retriever,
    SearchResult,
    SpatialVerification,
)
from sklearn_cmac.tuning import tune, tuning_rows, write_tuning

_SYSTEMS: dict[str, tuple[str, Callable[..., Any]]] = {
    "mac": ("MAC", make_mac_pipeline),
    "rmac": ("R-MAC", make_rmac_pipeline),
    "cmac": ("clusters", make_cmac_pipeline),
    "paper": ("clusters of the paper", partial(make_cmac_pipeline, "paper")),
    "mixed": ("squares and clusters", partial(make_cmac_pipeline, "mixed")),
    "spoc": ("SPoC", make_spoc_pipeline),
    "crow": ("CroW", make_crow_pipeline),
    "gem": ("GeM", make_gem_pipeline),
}
_DEMO = ("mac", "rmac", "cmac")


_LOADERS: dict[str, Callable[..., Bunch]] = {
    "oxford5k": load_oxford5k,
    "paris6k": load_paris6k,
    "roxford5k": load_roxford5k,
    "rparis6k": load_rparis6k,
}
_RERANKING: dict[str, Callable[..., Any]] = {
    "none": lambda: None,
    "localization": lambda: Localization(verbose=True),
    "matching": RegionMatching,
    "spatial": lambda: SpatialVerification(verbose=True),
    "reciprocal": ReciprocalNeighbors,
    "diffusion": Diffusion,
}
_EXPANSION: dict[str, Callable[..., Any]] = {
    "none": lambda: None,
    "qe": QueryExpansion,
    "aqe": lambda: QueryExpansion(alpha=3.0),
    "dba": DatabaseAugmentation,
    "reciprocal": ReciprocalNeighbors,
    "diffusion": Diffusion,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Default: those the program was started with.

    Returns
    -------
    int
        Exit status: 0, or 2 on input that cannot be used.
    """
    args = _parser().parse_args(argv)
    try:
        args.run(args)
    except (ValueError, OSError) as error:
        print(f"cmac: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cmac", description="Find every photo of the object that you point at."
    )
    parser.add_argument("--version", action="version", version=f"cmac {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="compare three systems on scenes made on the spot")
    demo.add_argument(
        "--out", type=Path, default=Path("cmac-demo"), help="folder of the result page"
    )
    demo.set_defaults(run=_demo)

    search = commands.add_parser("search", help="rank a folder of photos by an object in one")
    search.add_argument("folder", type=Path, help="photos, sub-folders included")
    search.add_argument("query", type=Path, help="a photo that shows the object")
    search.add_argument(
        "--box", type=_box, metavar="X0,Y0,X1,Y1", help="where the object is, in pixels"
    )
    search.add_argument("-n", "--n-results", type=int, default=10, help="photos to show (10)")
    search.add_argument("--html", type=Path, help="write a page with the ranked pictures")
    search.add_argument("--system", choices=_SYSTEMS, default="mixed", help="default: mixed")
    search.add_argument(
        "--pipeline", type=Path, help="a fitted pipeline (joblib); default: fit on the folder"
    )
    search.add_argument(
        "--rerank", choices=_RERANKING, default="matching", help="default: matching"
    )
    search.add_argument("--expand", choices=_EXPANSION, default="none", help="default: none")
    search.add_argument("--store", type=Path, help="keep activation maps here for the next time")
    search.set_defaults(run=_search)
    _add_evaluate(commands)
    _add_tune(commands)
    return parser


def _add_evaluate(commands: Any) -> None:
    evaluate = commands.add_parser(
        "evaluate",
        help="measure systems on a benchmark",
        description="Table of mAP with 95% intervals. Started again, it goes on where it stopped.",
    )
    evaluate.add_argument(
        "benchmark",
        choices=[*_LOADERS, "folder"],
        metavar="BENCHMARK",
        help=f"{', '.join(_LOADERS)}, or folder (labelled)",
    )
    evaluate.add_argument("--photos", type=Path, required=True, help="the photos to rank")
    evaluate.add_argument(
        "--annotations",
        type=Path,
        help="the benchmark's ground truth; default: in the folder of the photos",
    )
    evaluate.add_argument(
        "--protocol",
        default="medium",
        choices=("easy", "medium", "hard"),
        help="of the revisited benchmarks (medium)",
    )
    evaluate.add_argument("--labels", type=Path, help="folder: table with filename and instance")
    evaluate.add_argument("--boxes", type=Path, help="folder: table with filename, x0, y0, x1, y1")
    evaluate.add_argument(
        "--queries",
        choices=("boxed", "all"),
        default="boxed",
        help="folder: photos with a box, cropped, or all labelled ones, whole",
    )
    evaluate.add_argument("--distractors", type=Path, help="a folder of further photos to rank")
    evaluate.add_argument(
        "--missing",
        choices=("error", "restrict"),
        default="error",
        help="restrict: use the part of the benchmark that is there",
    )
    evaluate.add_argument(
        "--photo-scale",
        type=_photo_scale,
        default=1.0,
        metavar="SCALE",
        help="size of resized copies: a number, or FILE.csv:NAME:SCALE (columns)",
    )
    evaluate.add_argument(
        "--system",
        type=_list_of(_SYSTEMS),
        default=["rmac", "cmac"],
        help=f"of {','.join(_SYSTEMS)} (rmac,cmac)",
    )
    evaluate.add_argument(
        "--query-crop",
        type=_list_of(("activations", "image")),
        default=["activations"],
        help="of activations,image (activations)",
    )
    evaluate.add_argument(
        "--rerank",
        type=_list_of(_RERANKING),
        default=["none"],
        help=f"of {','.join(_RERANKING)} (none)",
    )
    evaluate.add_argument(
        "--expand",
        type=_list_of(_EXPANSION),
        default=["none"],
        help=f"of {','.join(_EXPANSION)} (none); after reranking",
    )
    evaluate.add_argument("--fit-on", type=Path, help="a folder of other photos to fit systems on")
    evaluate.add_argument("--store", type=Path, help="keep activation maps here")
    evaluate.add_argument(
        "--out",
        type=Path,
        default=Path("cmac-evaluation"),
        help="folder of the results and of what a stopped run has done",
    )
    _add_system_options(evaluate)
    evaluate.set_defaults(run=_evaluate)


def _add_system_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--backbone", default="efficientnet_lite0", help="the network")
    command.add_argument("--weights", default="default", help="a file of the network's weights")
    command.add_argument("--layer", default="default", help="where the network is cut")
    command.add_argument("--max-size", type=int, default=1024, help="longest side in pixels (1024)")
    command.add_argument("--shrinkage", type=float, default=1.0, help="of the whitening (1)")
    command.add_argument("--n-jobs", type=int, help="photos described at once")


def _add_tune(commands: Any) -> None:
    tune = commands.add_parser(
        "tune",
        help="grid search on a labelled folder",
        description="Scores each setting by mAP, the photos of an object together in one fold, and "
        "writes the best pipeline, fitted on all photos, the table and a picture of the scores.",
    )
    tune.add_argument("photos", type=Path, help="labelled photos: a sub-folder for each object")
    tune.add_argument("--labels", type=Path, help="table with filename and instance")
    tune.add_argument("--boxes", type=Path, help="table with filename, x0, y0, x1, y1")
    tune.add_argument("--queries", choices=("boxed", "all"), default="all", help="default: all")
    tune.add_argument("--system", choices=_SYSTEMS, default="cmac", help="default: cmac")
    tune.add_argument("--rerank", choices=_RERANKING, default="none", help="default: none")
    tune.add_argument("--expand", choices=_EXPANSION, default="none", help="default: none")
    tune.add_argument(
        "--set",
        type=_grid_axis,
        action="append",
        required=True,
        dest="grid",
        metavar="PATH=VALUES",
        help="a parameter and its values, as a Python list: "
        "pca__n_components=[4,8]; once for each parameter",
    )
    tune.add_argument("--folds", type=int, default=3, help="default: 3")
    tune.add_argument("--store", type=Path, help="keep activation maps here")
    tune.add_argument("--out", type=Path, default=Path("cmac-tuning"), help="folder of the results")
    _add_system_options(tune)
    tune.set_defaults(run=_tune)


def _list_of(names: Iterable[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        unknown = [name for name in chosen if name not in names]
        if unknown:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(names)}")
        return chosen

    return parse


def _photo_scale(text: str) -> float | dict[str, float]:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        file, name, scale = text.rsplit(":", 2)
        with open(file, newline="", encoding="utf-8-sig") as table:
            return {row[name]: float(row[scale]) for row in csv.DictReader(table)}
    except (OSError, KeyError, ValueError) as error:
        raise argparse.ArgumentTypeError(
            f"a scale is a number or FILE.csv:NAME:SCALE with two of its columns, got {text!r} "
            f"({error})"
        ) from None


def _grid_axis(text: str) -> tuple[str, list[Any]]:
    path, _, values = text.partition("=")
    try:
        found = ast.literal_eval(values)
        return path, list(found) if isinstance(found, (list, tuple)) else [found]
    except (ValueError, SyntaxError):
        raise argparse.ArgumentTypeError(
            f"an axis is PATH=[VALUE, …] with Python literals, got {text!r}"
        ) from None


def _box(text: str) -> tuple[float, ...]:
    try:
        corners = tuple(float(v) for v in text.split(","))
    except ValueError:
        corners = ()
    if len(corners) != 4:
        raise argparse.ArgumentTypeError(f"a box is X0,Y0,X1,Y1 in pixels, got {text!r}")
    return corners


def _evaluate(args: argparse.Namespace) -> None:
    warnings.filterwarnings("ignore", "whitening .* dimensions")
    benchmark = _load_benchmark(args)
    boxed = args.benchmark != "folder" or args.queries == "boxed"
    # Localisation looks at maps again.
    store = args.store or (args.out / "maps" if "localization" in args.rerank else None)
    evaluation = evaluate(
        benchmark,
        {_SYSTEMS[system][0]: _make_as_told(system, args, store) for system in args.system},
        find_photos(args.fit_on or args.photos),
        query_crops=args.query_crop if boxed else args.query_crop[:1],
        steps={
            _chain_name(rerank, expand): _chain(rerank, expand)
            for rerank, expand in product(args.rerank, args.expand)
        },
        folder=args.out / "work",
        verbose=True,
    )
    evaluation.write(args.out)
    print(f"\n{evaluation}\n\nresults: {args.out.resolve()}")


def _load_benchmark(args: argparse.Namespace) -> Bunch:
    if args.benchmark == "folder":
        folder = load_photo_folder(args.photos, labels=args.labels, boxes=args.boxes)
        benchmark = as_benchmark(folder, queries=args.queries)
    else:
        revisited = {"protocol": args.protocol} if args.benchmark.startswith("r") else {}
        benchmark = _LOADERS[args.benchmark](
            args.photos, args.annotations, args.missing, args.photo_scale, **revisited
        )
    return add_distractors(benchmark, args.distractors) if args.distractors else benchmark


def _chain_name(rerank: str, expand: str) -> str:
    names = [name for name in (rerank, expand) if name != "none"]
    return " + ".join(names) or "plain"


def _chain(rerank: str, expand: str) -> list[tuple[str, Any]]:
    chain = [("rerank", _RERANKING[rerank]()), ("expand", _EXPANSION[expand]())]
    # R averages the 5 best windows with the query, as published.
    if rerank == "localization" and expand == "qe":
        chain[1] = ("expand", QueryExpansion(n_neighbors=5))
    return [(name, step) for name, step in chain if step is not None]


def _make_as_told(system: str, args: argparse.Namespace, store: Any) -> Pipeline:
    return _SYSTEMS[system][1](
        features__backbone=args.backbone,
        features__weights=args.weights,
        features__layer=args.layer,
        features__max_size=args.max_size,
        features__store=store,
        features__n_jobs=args.n_jobs,
        whiten__shrinkage=args.shrinkage,
    )


def _tune(args: argparse.Namespace) -> None:
    warnings.filterwarnings("ignore", "whitening .* dimensions")
    folder = load_photo_folder(args.photos, labels=args.labels, boxes=args.boxes)
    grid = dict(args.grid)
    with tempfile.TemporaryDirectory() as scratch:
        pipeline = _make_as_told(args.system, args, args.store or scratch)
        # Described once, with progress; the search then reads the maps.
        pipeline["features"].set_params(verbose=1).fit([]).transform(folder.photos)
        pipeline["features"].set_params(verbose=0)
        tuning = tune(
            Retriever(pipeline, _chain(args.rerank, args.expand)),
            {_in_retriever(path): values for path, values in grid.items()},
            folder,
            queries=args.queries,
            n_folds=args.folds,
            verbose=True,
        )
    tuning.best_estimator_.pipeline_["features"].set_params(store=args.store)
    write_tuning(tuning, args.out)
    for row in tuning_rows(tuning):
        settings = ", ".join(
            f"{path.removeprefix('pipeline__')}={row[_in_retriever(path)]}" for path in grid
        )
        print(f"{100 * row['mAP']:6.1f}  {settings}")
    print(f"best pipeline, table and picture: {args.out.resolve()}")


def _in_retriever(path: str) -> str:
    return path if path.split("__")[0] in ("rerank", "expand") else f"pipeline__{path}"


def _search(args: argparse.Namespace) -> None:
    photos = find_photos(args.folder)
    query = Photo(args.query) if args.box is None else Query(Photo(args.query), args.box)
    with tempfile.TemporaryDirectory() as scratch:
        if args.pipeline is not None:
            pipeline = joblib.load(args.pipeline)
        else:
            pipeline = _make(args.system, args.store or scratch)
            # The query first: if it cannot be used, no folder is described in vain.
            pipeline["features"].transform([query])
            pipeline.fit(_usable(pipeline["features"], photos))
        retriever = Retriever(FrozenEstimator(pipeline), _chain(args.rerank, args.expand)).fit([])
        index = RetrievalIndex(retriever)
        report = index.add(photos, verbose=True)
        if report.failed:
            print(report, file=sys.stderr)
        results = index.search(query, args.n_results)
        for rank, result in enumerate(results, 1):
            print(f"{rank:3}  {result.score:6.3f}  {result.name}")
        if args.html is not None:
            rankings = [
                _query_row(query, pipeline),
                Ranking("Best first", [_result_figure(r.name, r) for r in results]),
            ]
            title = f"Photos like {Path(query.name).name}"
            write_page(args.html, title, [(f"In {args.folder}", rankings)])
            print(f"page: {args.html.resolve()}")


def _demo(args: argparse.Namespace) -> None:
    scenes = make_object_scenes(random_state=0)
    others = make_object_scenes(random_state=1)
    print(f"{scenes.DESCR}\nWhitening is fitted on {len(others.photos)} scenes of other objects.")
    shown = [scenes.target.index(name) for name in sorted(set(scenes.target) - {""})[:6]]
    sections = [(f"Where else is {scenes.target[i]}?", list[Ranking]()) for i in shown]
    table = []
    with tempfile.TemporaryDirectory() as scratch:
        for system in _DEMO:
            name = _SYSTEMS[system][0]
            pipeline = _make(system, scratch).fit(others.photos)
            table.append([name, *_score(pipeline, scenes.photos, scenes.target)])
            index = RetrievalIndex(pipeline)
            index.add(scenes.photos)
            for i, (_, rankings) in zip(shown, sections):
                rankings.append(_demo_row(name, index, scenes, i))
        for i, (_, rankings) in zip(shown, sections):
            rankings.insert(0, _query_row(scenes.photos[i].as_query(), pipeline))
    header = ["mAP in %", "whole photos", "boxed, crop X", "boxed, crop I"]
    for row in [header, *table]:
        print(f"{row[0]:<10}" + "".join(f"{cell:>15}" for cell in row[1:]))
    args.out.mkdir(parents=True, exist_ok=True)
    page = args.out / "index.html"
    title = "MAC, R-MAC and clusters of activations on made scenes"
    write_page(page, title, sections, header=header, table=table)
    print(f"page: {page.resolve()}")


def _make(system: str, store: Any) -> Pipeline:
    # A folder of photos seldom has the ten region vectors per dimension that whitening
    # without shrinkage needs, and being told so helps nobody here.
    warnings.filterwarnings("ignore", "whitening .* dimensions")
    make = _SYSTEMS[system][1]
    return make(features__store=store, features__verbose=1, whiten__shrinkage=1.0)


def _usable(features: ConvFeatureExtractor, photos: Sequence[Any]) -> list[Any]:
    """The photos that can be described. Their maps are then in the extractor's store."""
    records = features.iter_transform(photos)
    usable = [p for p, record in zip(photos, records) if not isinstance(record, PhotoError)]
    if not usable:
        raise PhotoError(f"none of {len(photos)} photos can be used")
    return usable


def _score(pipeline: Pipeline, photos: Sequence[Any], target: Sequence[str]) -> list[str]:
    """mAP of whole photos, and of boxes cropped in activations (X) and in the photo (I)."""
    cells = []
    for queries, crop in (("all", "activations"), ("boxed", "activations"), ("boxed", "image")):
        pipeline.set_params(features__query_crop=crop)
        scorer = RetrievalScorer(queries=queries, distractor="")
        cells.append(f"{100 * scorer(pipeline, photos, target):.1f}")
    pipeline.set_params(features__query_crop="activations")
    return cells


def _query_row(query: Any, pipeline: Pipeline) -> Ranking:
    """The query with its box, and its regions, a picture for each cluster count or level."""
    figures = [Figure(draw_box(query), Path(query.name).name)]
    (record,) = pipeline[: _position(pipeline, "pool")].transform([query])
    for kind in range(record.regions.kinds.max() + 1):
        n = int((record.regions.kinds == kind).sum())
        figures.append(Figure(overlay_regions(query, record, kind), f"{n} regions"))
    return Ranking("Query and its regions", figures)


def _position(pipeline: Pipeline, step: str) -> int:
    return list(pipeline.named_steps).index(step)


def _demo_row(name: str, index: RetrievalIndex, scenes: Any, i: int) -> Ranking:
    query = scenes.photos[i]
    position = {photo.name: j for j, photo in enumerate(scenes.photos)}
    figures = []
    for result in index.search(query.as_query(), 7):
        j = position[result.name]
        if j != i:
            right = scenes.target[j] == scenes.target[i]
            figures.append(_result_figure(scenes.photos[j], result, right))
    return Ranking(name, figures)


def _result_figure(photo: Any, result: SearchResult, right: bool | None = None) -> Figure:
    caption = f"{Path(result.name).name} {result.score:.3f}"
    return Figure(draw_box(photo, max_size=256), caption, right)
