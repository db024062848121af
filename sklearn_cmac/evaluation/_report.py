"""What each query found and missed, as records and as a table."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from sklearn_cmac.evaluation._rankings import chance_of, first_and_ranks
from sklearn_cmac.evaluation._table import Row
from sklearn_cmac.metrics import evaluate_rankings
from sklearn_cmac.photos import Item, name_of
from sklearn_cmac.store import written_whole

_MOST_QUERIES = 1000  # in a table
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what formulas of spreadsheets begin with


@dataclass(frozen=True)
class QueryReport:
    """What a query found among the photos, junk left out.

    A ranking without a fault has its R positives at the first R ranks: positives behind these are
    missed, and others on them are false.

    Parameters
    ----------
    name : str
    query : Query or photo
    average_precision, chance : float
        Of its ranking, and of one in random order.
    first : list of (photo, bool)
        Those ranked first, each with whether it is a positive.
    missed : list of (photo, int or None)
        Each with its rank, the last first; None where the ranking ends before it.
    false : list of (photo, int)
        Each with its rank, the first first; those among the photos of `first`.
    n_positives : int
        R.
    """

    name: str
    query: Item
    average_precision: float
    chance: float
    first: list[tuple[Item, bool]]
    missed: list[tuple[Item, int | None]]
    false: list[tuple[Item, int]]
    n_positives: int


def report_queries(
    benchmark: Bunch, row: Row, names: Sequence[str], chance: Sequence[float]
) -> list[QueryReport]:
    """What each query found, the worst first.

    Parameters
    ----------
    benchmark : Bunch
        That was measured.
    row : Row
        Of its `Evaluation`.
    names : sequence of str
        Of the queries, `Evaluation.queries`.
    chance : sequence of float
        `Evaluation.chance`.

    Returns
    -------
    list of QueryReport
    """
    reports = []
    for q in np.argsort(row.average_precision, kind="stable").tolist():
        positives = [int(i) for i in benchmark.relevance[q].positives]
        known = set(positives)
        first = [(benchmark.photos[i], i in known) for i in row.first[q]]
        missed = [
            (benchmark.photos[i], rank)
            for i, rank in zip(positives, row.ranks[q])
            if rank is None or rank > len(positives)
        ]
        missed.sort(key=lambda pair: -np.inf if pair[1] is None else -pair[1])
        false = [
            (photo, rank)
            for rank, (photo, right) in enumerate(first, 1)
            if not right and rank <= len(positives)
        ]
        about = names[q], benchmark.queries[q], row.average_precision[q], chance[q]
        reports.append(QueryReport(*about, first, missed, false, len(positives)))
    return reports


def report_rankings(benchmark: Bunch, orders: Iterable[np.ndarray]) -> list[QueryReport]:
    """The same of rankings by whoever.

    Parameters
    ----------
    benchmark : Bunch
        As the loaders return it, or `as_benchmark`.
    orders : iterable of ndarray of int
        For each query the positions of photos, best first.

    Returns
    -------
    list of QueryReport
    """
    orders = list(orders)
    scores = evaluate_rankings(orders, benchmark.relevance, at=benchmark.get("at"))
    first, ranks = first_and_ranks(orders, benchmark.relevance)
    row = Row("", "", "", scores.average_precision.tolist(), {}, first=first, ranks=ranks)
    names = [f"{i}: {name_of(query)}" for i, query in enumerate(benchmark.queries)]
    return report_queries(benchmark, row, names, chance_of(benchmark))


def write_rankings(
    path: str | os.PathLike[str], reports: Iterable[tuple[str, Sequence[QueryReport]]]
) -> None:
    """Write what queries found as CSV, the worst queries first, 1000 of each system at most.

    Parameters
    ----------
    path : path
    reports : iterable of (str, list of QueryReport)
        By the name of what was measured.

    Notes
    -----
    A line is a photo: "right" or "wrong" for those ranked first, and "missed" for positives that
    are not among these; their rank is empty where the ranking ends before them. A name that a
    spreadsheet would take for a formula is written as a path of the same file, "./=1+1.jpg".
    """
    text = StringIO(newline="")
    table = csv.writer(text)
    table.writerow(["system", "query", "average precision", "chance", "rank", "photo", "answer"])
    for system, found in reports:
        for report in found[:_MOST_QUERIES]:
            scores = f"{report.average_precision:.4f}", f"{report.chance:.4f}"
            about = (system, report.name, *scores)
            for rank, (photo, right) in enumerate(report.first, 1):
                table.writerow([*about, rank, _cell(photo), "right" if right else "wrong"])
            for photo, missed_at in reversed(report.missed):
                if missed_at is None or missed_at > len(report.first):
                    table.writerow([*about, missed_at, _cell(photo), "missed"])
    with written_whole(Path(path)) as file:
        # Names that are no UTF-8 keep their bytes.
        file.write(text.getvalue().encode("utf-8", "surrogateescape"))


def _cell(photo: Item) -> str:
    name = name_of(photo)
    return f"./{name}" if name.startswith(_FORMULA) else name
