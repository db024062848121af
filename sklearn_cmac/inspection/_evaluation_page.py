"""The queries that went worst and best, as one HTML file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sklearn_cmac.evaluation import QueryReport
from sklearn_cmac.inspection._captions import address_of, distinguishing_paths, file_of
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
    >>> report = QueryReport("1: tower", photo, 0.5, 0.1, [(photo, False)], [(photo, 7)], [], 1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_evaluation(f"{folder}/page.html", "Results", [("R-MAC", [report])])
    ...     "✗ wrong" in Path(f"{folder}/page.html").read_text()
    True
    """
    chosen = [(name, found[:n_worst], found[n_worst:][::-1][:n_best]) for name, found in reports]
    shown = _Shown([report for _, worst, best in chosen for report in (*worst, *best)])
    sections = [
        _Section(name, [shown.rankings(r) for r in worst], [shown.rankings(r) for r in best])
        for name, worst, best in chosen
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


class _Shown:
    """Queries as rows of pictures; a photo that is on the page more than once is opened once."""

    def __init__(self, reports: Sequence[QueryReport]):
        paths = [_path_of(photo) for report in reports for photo, _ in _answers(report)]
        self.captions = dict(zip(paths, distinguishing_paths(paths)))
        self.pictures: dict[int, Any] = {}

    def rankings(self, report: QueryReport) -> tuple[str, list[Ranking]]:
        """A query as its heading and its rows of pictures."""
        score = f"average precision {100 * report.average_precision:.1f}"
        heading = f"{report.name}: {score}, by chance {100 * report.chance:.1f}"
        asked = self._figure(report.query, "query")
        first = [
            self._figure(photo, f"{rank}: {self._name(photo)}", right)
            for rank, (photo, right) in enumerate(report.first[:_N_FIRST], 1)
        ]
        looked_at = min(report.n_positives, len(report.first))
        false = f"false: {len(report.false)} of the first {looked_at}"
        rows = [Ranking(f"Query, and ranked first; {false}", [asked, *first])]
        if report.missed:
            missed = [
                self._figure(photo, f"{_at(rank)}: {self._name(photo)}")
                for photo, rank in report.missed[:_N_MISSED]
            ]
            title = f"Missed: {len(report.missed)} of {report.n_positives}, of which the last"
            rows.append(Ranking(title, missed))
        return heading, rows

    def _figure(self, item: Item, caption: str, right: bool | None = None) -> Figure:
        photo = as_photo(item)
        if id(item) not in self.pictures:
            try:
                self.pictures[id(item)] = open_photo(photo, _SIDE)
            except PhotoError:
                self.pictures[id(item)] = None, None
        image, size = self.pictures[id(item)]
        address = address_of(file_of(photo))
        box = [box_outline(photo.box)] if isinstance(photo, Query) else []
        return Figure(image, caption, right, box, size, address=address)

    def _name(self, photo: Item) -> str:
        return self.captions[_path_of(photo)]


def _answers(report: QueryReport) -> list[tuple[Item, Any]]:
    """The photos of a query that are on the page."""
    return [*report.first[:_N_FIRST], *report.missed[:_N_MISSED]]


def _path_of(item: Item) -> str:
    file = file_of(as_photo(item))
    return os.path.abspath(file) if file else name_of(item)


def _at(rank: int | None) -> str:
    return "not reached" if rank is None else f"rank {rank}"
