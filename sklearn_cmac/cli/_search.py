"""`cmac search`: a folder of photos, ranked by an object in one."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import joblib
import numpy as np
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sklearn_cmac.cli._options import (
    FILE,
    NEW_FILE,
    PATH,
    WITHOUT_LABELS,
    SystemOptions,
    parse_box,
    say_how_it_runs,
    store_option,
)
from sklearn_cmac.corridor import Corridor
from sklearn_cmac.datasets import find_photos
from sklearn_cmac.extraction import ConvFeatureExtractor
from sklearn_cmac.inspection import Figure, Ranking, draw_box, overlay_regions, write_page
from sklearn_cmac.local import LocalFeatureExtractor
from sklearn_cmac.photos import Box, Photo, PhotoError, Query
from sklearn_cmac.pipelines import fit_to_search
from sklearn_cmac.reranking import EXPANSION, RERANKING, make_chain
from sklearn_cmac.search import RetrievalIndex, Retriever, SearchResult


@click.command("search", short_help="Rank a folder of photos by an object in one.")
@click.argument("folder", type=PATH)
@click.argument("query", type=PATH)
@click.option(
    "--box", type=parse_box, metavar="X0,Y0,X1,Y1", help="Where the object is, in pixels."
)
@click.option("-n", "--n-results", type=click.IntRange(min=1), default=10, help="Photos to show.")
@click.option("--html", type=NEW_FILE, help="Write a page with the ranked pictures.")
@click.option("--system", type=click.Choice(WITHOUT_LABELS), default="mixed")
@click.option(
    "--pipeline",
    "file",
    type=FILE,
    help="A fitted pipeline (joblib), or the best of cmac tune. Reading it runs what it holds, so "
    "take only a file that you trust. Default: a system fitted on the folder.",
)
@click.option(
    "--rerank",
    type=click.Choice(list(RERANKING)),
    help="Default: matching, or as tuned, if neither this nor --expand is given.",
)
@click.option(
    "--expand",
    type=click.Choice(list(EXPANSION)),
    help="Default: none, or as tuned, if neither this nor --rerank is given.",
)
@store_option
def search_command(
    folder: Path,
    query: Path,
    box: Box | None,
    n_results: int,
    html: Path | None,
    system: str,
    file: Path | None,
    rerank: str | None,
    expand: str | None,
    store: Path | None,
) -> None:
    """Rank the photos of FOLDER, sub-folders included, by an object in the photo QUERY.

    Prints rank, score and name of each, best first.
    """
    photos = find_photos(folder)
    asked = Photo(query) if box is None else Query(Photo(query), box)
    with tempfile.TemporaryDirectory() as scratch:
        given = _read_pipeline(file) if file else SystemOptions().make(system, None)
        pipeline = _pipeline_of(given)
        pipeline[0].set_params(store=store or scratch, n_jobs=SystemOptions.n_jobs)
        say_how_it_runs(pipeline)
        # The query first: if it cannot be used, no folder is described in vain.
        pipeline[0].transform([asked])
        if html:
            html.parent.mkdir(parents=True, exist_ok=True)
        if file is None:
            fit_to_search(pipeline, _usable(pipeline[0].set_params(verbose=1), photos))
        index = RetrievalIndex(_with_steps(given, rerank, expand))
        report = index.add(photos, verbose=True)
        if report.failed:
            click.echo(report, err=True)
        results = index.search(asked, n_results)
        for rank, result in enumerate(results, 1):
            click.echo(_printable(f"{rank:3}  {result.score:6.3f}  {result.name}"))
        if html:
            found = Ranking("Best first", [result_figure(r.name, r) for r in results])
            sections = [(f"In {folder}", [query_row(asked, pipeline), found])]
            write_page(html, f"Photos like {query.name}", sections)
            click.echo(f"page: {html.resolve()}", err=True)


def _read_pipeline(file: Path) -> Pipeline | Retriever:
    """A fitted pipeline of photos as joblib wrote it, perhaps with the steps that follow it."""
    try:
        found = joblib.load(file)
    except Exception as error:  # a file of another kind may fail in any way
        raise ValueError(
            f"{file}: is damaged, or not written by joblib ({type(error).__name__}: {error})"
        ) from error
    what = f"{file}: holds a {type(found).__name__}"
    if not isinstance(found, (Pipeline, Retriever)):
        raise ValueError(f"{what}, not a fitted pipeline")
    try:
        check_is_fitted(found)
    except NotFittedError:
        raise ValueError(f"{what} that is not fitted") from None
    first = _pipeline_of(found)[0]
    if not isinstance(first, (ConvFeatureExtractor, LocalFeatureExtractor)):
        raise ValueError(f"{what} that begins with {type(first).__name__}, which reads no photos")
    return found


def _pipeline_of(given: Pipeline | Retriever) -> Pipeline:
    return given.pipeline_ if isinstance(given, Retriever) else given


def _with_steps(given: Pipeline | Retriever, rerank: str | None, expand: str | None) -> Retriever:
    """A fitted pipeline and what follows it: what it was tuned with, unless told otherwise."""
    if isinstance(given, Retriever) and rerank is None and expand is None:
        return given
    chain = make_chain(rerank or "matching", expand or "none", verbose=True)
    return Retriever(FrozenEstimator(_pipeline_of(given)), *chain).fit([])


def _usable(features: ConvFeatureExtractor, photos: Sequence[Path]) -> list[Path]:
    """The photos that can be described. Their maps are then in the extractor's store."""
    records = features.iter_transform(photos)
    usable = [p for p, record in zip(photos, records) if not isinstance(record, PhotoError)]
    if not usable:
        raise PhotoError(f"none of {len(photos)} photos can be used")
    return usable


def _printable(line: str) -> str:
    """The line with what standard output cannot show written as escapes."""
    encoding = sys.stdout.encoding or "utf-8"
    return line.encode(encoding, "backslashreplace").decode(encoding)


def query_row(query: Photo | Query, pipeline: Pipeline) -> Ranking:
    """The query with its box, and its regions, a picture for each cluster count or level."""
    figures = [Figure(draw_box(query), Path(query.name).name)]
    corridor = Corridor(pipeline)
    if corridor.pools:
        (record,) = corridor.proposals([query])
        for kind, n in zip(*np.unique(record.proposed.kinds, return_counts=True)):
            figures.append(Figure(overlay_regions(query, record, kind), f"{n} regions"))
    return Ranking("Query and its regions", figures)


def result_figure(photo: Any, result: SearchResult, right: bool | None = None) -> Figure:
    """A photo that was found, with its score."""
    caption = f"{Path(result.name).name} {result.score:.3f}"
    return Figure(draw_box(photo, max_size=256), caption, right)
