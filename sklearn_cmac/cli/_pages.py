"""The pages that commands write."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import Bunch

from sklearn_cmac._files import check_regular
from sklearn_cmac._printing import print_lines
from sklearn_cmac.cli._making import pipeline_of
from sklearn_cmac.corridor import Corridor
from sklearn_cmac.evaluation import Evaluation, QueryReport, report_queries, write_rankings
from sklearn_cmac.inspection import (
    Figure,
    Ranking,
    draw_box,
    overlay_regions,
    write_evaluation,
    write_results,
)
from sklearn_cmac.photos import Photo, Query
from sklearn_cmac.reranking import FAST, chain_of_effort
from sklearn_cmac.search import RetrievalIndex, Retriever, SearchResult

_N_SCORES = 1000  # by which a page tells where likeness ends


def make_way_for(page: Path) -> None:
    """Before the long work: a folder for a page, and nothing in its place but a file."""
    page.parent.mkdir(parents=True, exist_ok=True)
    if page.exists():
        check_regular(page)


def write_result_page(
    path: Path,
    index: RetrievalIndex,
    where: Path,
    query: Photo | Query,
    results: Sequence[SearchResult],
    below: Path | None,
) -> None:
    """The page of a search."""
    for result in results:
        if not os.path.isfile(result.path):
            gone = f"{result.name}: is not there any more"
            print_lines(f"{gone}, so the page has no picture of it", err=True)
    about = [f"{len(index)} photos in {where}"]
    if system := index.info().get("system"):
        about[0] += f", described by system {system}"
    likeness = _likeness(index, query, below)
    write_results(path, index, query, results, likeness=likeness, about=about)
    print_lines(f"page: {path.resolve()}", err=True)


def _likeness(
    index: RetrievalIndex, query: Photo | Query, below: Path | None
) -> Sequence[SearchResult]:
    """What the search finds before it verifies, which leaves most photos without a score."""
    kept = index.pipeline
    assert index.engine is not None
    chain = chain_of_effort(FAST, index.engine.stamp.regions)
    index.pipeline = Retriever(FrozenEstimator(pipeline_of(kept)), *chain).fit([])
    try:
        return index.search(query, _N_SCORES, below=below, n_explained=0)
    finally:
        index.pipeline = kept


def write_evaluation_pages(folder: Path, benchmark: Bunch, evaluation: Evaluation) -> None:
    """What queries found, of all rows as a table, of the first and the best as a page."""
    reports = [
        (
            f"{row.system}, {row.query_crop}, {row.steps}",
            report_queries(benchmark, row, evaluation.queries, evaluation.chance),
        )
        for row in evaluation.rows
    ]
    write_rankings(folder / "rankings.csv", reports)
    best = int(np.argmax([row.mean_average_precision for row in evaluation.rows]))
    header, table = evaluation.table()
    write_evaluation(
        folder / "rankings.html",
        f"{benchmark.name}, {benchmark.protocol}",
        [reports[i] for i in sorted({0, best})],
        header=header,
        table=table,
        about=[benchmark.DESCR, evaluation.about_chance],
    )


def write_tuning_pages(
    folder: Path,
    about: str,
    folds: Sequence[Sequence[QueryReport]],
    header: Sequence[str],
    table: Sequence[Sequence[str]],
) -> None:
    """What queries found with the best settings, each among the photos of its fold."""
    found = [report for reports in folds for report in reports]
    reports = [("best settings", sorted(found, key=lambda report: report.average_precision))]
    write_rankings(folder / "rankings.csv", reports)
    write_evaluation(
        folder / "rankings.html",
        "Tuning",
        reports,
        header=header,
        table=table,
        about=[about, "Each query ranks the photos of its fold, which are few."],
    )


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
