"""The queries that went worst and best, as one HTML file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sklearn_cmac.evaluation import QueryReport
from sklearn_cmac.inspection._captions import address_of, file_of
from sklearn_cmac.inspection._outlines import box_outline
from sklearn_cmac.inspection._overlay import open_photo
from sklearn_cmac.inspection._page import Figure, Ranking, write_template
from sklearn_cmac.photos import Item, PhotoError, Query, as_photo, name_of

_SIDE = 200  # pixels of a picture's long side
_N_FIRST, _N_MISSED = 7, 4  # photos of a query


@dataclass
class _Section:
    """What was measured, and its queries."""

    title: str
    worst: list[tuple[str, list[Ranking]]]
    best: list[tuple[str, list[Ranking]]]


def write_evaluation(
    path: str | os.PathLike[str],
    title: str,
    reports: Sequence[tuple[str, Sequence[QueryReport]]],
    *,
    header: Sequence[str] = (),
    table: Sequence[Sequence[str]] = (),
    about: Sequence[str] = (),
    n_worst: int = 10,
    n_best: int = 3,
) -> None:
    """Write a page of the queries that went worst and best.

    Of each there are the photos ranked first, with a sign and a frame that tell right from wrong,
    and the positives that were missed, with their ranks.

    Parameters
    ----------
    path : path
    title : str
    reports : sequence of (str, list of QueryReport)
        By the name of what was measured, the worst queries first, as `report_queries` sorts them.
    header, table : sequence of str, sequence of rows of str
        Of the scores, above.
    about : sequence of str
        Lines below the title.
    n_worst, n_best : int
        Queries of each.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from sklearn_cmac.evaluation import QueryReport
    >>> from sklearn_cmac.inspection import write_evaluation
    >>> photo = np.zeros((30, 40, 3), np.uint8)
    >>> report = QueryReport("1: tower", photo, 0.5, 0.1, [(photo, False)], [(photo, 7)], [])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_evaluation(f"{folder}/page.html", "Results", [("R-MAC", [report])])
    ...     "✗ wrong" in Path(f"{folder}/page.html").read_text()
    True
    """
    pictures: dict[int, Any] = {}  # of photos that are on the page more than once
    sections = [
        _Section(
            name,
            [_rankings_of(report, pictures) for report in found[:n_worst]],
            [_rankings_of(report, pictures) for report in found[n_worst:][::-1][:n_best]],
        )
        for name, found in reports
    ]
    write_template(
        path,
        "evaluation.html.j2",
        title=title,
        about=about,
        header=header,
        table=table,
        sections=sections,
    )


def _rankings_of(report: QueryReport, pictures: dict[int, Any]) -> tuple[str, list[Ranking]]:
    """A query as its heading and its rows of pictures."""
    score = f"average precision {100 * report.average_precision:.1f}"
    heading = f"{report.name}: {score}, by chance {100 * report.chance:.1f}"
    asked = _figure(report.query, "query", pictures)
    first = [
        _figure(photo, f"{rank}: {_short(photo)}", pictures, right)
        for rank, (photo, right) in enumerate(report.first[:_N_FIRST], 1)
    ]
    rows = [Ranking(f"Query, and ranked first; false: {len(report.false)}", [asked, *first])]
    if report.missed:
        missed = [
            _figure(photo, f"{_at(rank)}: {_short(photo)}", pictures)
            for photo, rank in report.missed[:_N_MISSED]
        ]
        rows.append(Ranking(f"Missed: {len(report.missed)}, of which the last", missed))
    return heading, rows


def _figure(
    item: Item, caption: str, pictures: dict[int, Any], right: bool | None = None
) -> Figure:
    photo = as_photo(item)
    if id(item) not in pictures:
        try:
            pictures[id(item)] = open_photo(photo, _SIDE)
        except PhotoError:
            pictures[id(item)] = None, None
    image, size = pictures[id(item)]
    address = address_of(file_of(photo))
    box = [box_outline(photo.box)] if isinstance(photo, Query) else []
    return Figure(image, caption, right, box, size, address=address)


def _short(photo: Item) -> str:
    return os.path.basename(name_of(photo))


def _at(rank: int | None) -> str:
    return "not reached" if rank is None else f"rank {rank}"
