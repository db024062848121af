"""The `cmac` command: parse, call the library, show."""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import joblib
from sklearn.pipeline import Pipeline

from sklearn_cmac import (
    ConvFeatureExtractor,
    Photo,
    PhotoError,
    Query,
    RetrievalScorer,
    __version__,
    make_cmac_pipeline,
    make_mac_pipeline,
    make_rmac_pipeline,
)
from sklearn_cmac.datasets import find_photos, make_object_scenes
from sklearn_cmac.inspection import Figure, Ranking, draw_box, overlay_regions, write_page
from sklearn_cmac.search import RetrievalIndex, SearchResult

_SYSTEMS: dict[str, tuple[str, Callable[..., Any]]] = {
    "mac": ("MAC", make_mac_pipeline),
    "rmac": ("R-MAC", make_rmac_pipeline),
    "cmac": ("clusters", make_cmac_pipeline),
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
    search.add_argument("--system", choices=_SYSTEMS, default="cmac", help="default: cmac")
    search.add_argument(
        "--pipeline", type=Path, help="a fitted pipeline (joblib); default: fit on the folder"
    )
    search.add_argument("--store", type=Path, help="keep activation maps here for the next time")
    search.set_defaults(run=_search)
    return parser


def _box(text: str) -> tuple[float, ...]:
    try:
        corners = tuple(float(v) for v in text.split(","))
    except ValueError:
        corners = ()
    if len(corners) != 4:
        raise argparse.ArgumentTypeError(f"a box is X0,Y0,X1,Y1 in pixels, got {text!r}")
    return corners


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
        index = RetrievalIndex(pipeline)
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
        for system, (name, _) in _SYSTEMS.items():
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
