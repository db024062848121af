"""Scores of systems on a benchmark, as a table and as files."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from sklearn_cmac._markdown import as_table
from sklearn_cmac.metrics import bootstrap_interval
from sklearn_cmac.store import written_whole

_NAMES = ("system", "query crop", "steps")
_RANKINGS = ("first", "ranks")  # of a row, which have a file of their own
_COSTS = ("s/photo", "s once", "s/query", "bytes/photo")


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Parameters
    ----------
    system, query_crop, steps : str
        What was measured; `steps` are those behind the first ranking.
    average_precision : list of float
        Of each query.
    mean_precision : dict from str to float
        Precision at 1, 5 and 10, or at the benchmark's own ranks.
    mean_recall : dict from str to float
        Share of queries with a positive among so many photos.
    subsets : dict from str to float
        mAP on the parts of the photos that the benchmark reports apart; None where no query has
        a positive.
    low, high : float
        95% interval of mAP.
    difference_low, difference_high : float
        95% interval of the paired difference to the first row.
    seconds_per_photo : float
        For describing a photo, from its stored map where there is one.
    seconds_to_prepare : float
        For what augmentation and steps work out once for all queries.
    seconds_per_query : float
        For ranking all photos by a query that is described, the steps included. To describe a
        query costs as much as to describe a photo.
    bytes_per_photo : float
        What is kept of a photo, activation maps not counted.
    first : list of list of int
        Of each query the positions of the 20 photos ranked first, junk left out.
    ranks : list of list of int or None
        Of each query at which rank each of its positives is, from 1 and without junk; None where
        the ranking ends before it.
    """

    system: str
    query_crop: str
    steps: str
    average_precision: list[float]
    mean_precision: dict[str, float]
    low: float = 0.0
    high: float = 0.0
    difference_low: float = 0.0
    difference_high: float = 0.0
    seconds_per_photo: float = 0.0
    seconds_to_prepare: float = 0.0
    seconds_per_query: float = 0.0
    bytes_per_photo: float = 0.0
    mean_recall: dict[str, float] = field(default_factory=dict)
    subsets: dict[str, float | None] = field(default_factory=dict)
    first: list[list[int]] = field(default_factory=list)
    ranks: list[list[int | None]] = field(default_factory=list)

    @property
    def mean_average_precision(self) -> float:
        """mAP in [0, 1]."""
        return float(np.mean(self.average_precision))


@dataclass
class Evaluation:
    """Systems on one benchmark.

    Parameters
    ----------
    rows : list of Row
    queries : list of str
        Names of the queries, numbered where one photo asks more than once.
    protocol : dict
        Everything that the numbers depend on.
    chance : list of float
        Of each query the average precision that rankings in random order have.
    """

    rows: list[Row]
    queries: list[str]
    protocol: dict[str, Any] = field(default_factory=dict)
    chance: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        """The table, in Markdown, and one of parts if there are any. Scores are in percent."""
        tables = [as_table(*self.table()), *([self.about_chance] if self.chance else [])]
        if self.rows[0].subsets:
            tables.append(as_table(*self._parts()))
        return "\n\n".join(tables)

    @property
    def about_chance(self) -> str:
        """What rankings in random order score, in a sentence."""
        expected = 100 * float(np.mean(self.chance))
        return f"Rankings in random order have a {self._score} of {expected:.1f} (Bestgen 2015)."

    @property
    def _score(self) -> str:
        at = self.protocol.get("average precision at")
        return "mAP" if at is None else f"mAP@{at}"

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Column names and cells of the table."""
        first = self.rows[0]
        shown = "mean_recall" if self.protocol.get("reports recall") else "mean_precision"
        ranks = [f"{'R' if shown == 'mean_recall' else 'mP'}@{k}" for k in getattr(first, shown)]
        columns = [*_NAMES, self._score, "95%", "against the first row", *ranks, *_COSTS]
        return columns, [_cells(row, first, shown) for row in self.rows]

    def _parts(self) -> tuple[list[str], list[list[str]]]:
        """The same of the parts of the photos that the benchmark reports apart."""
        parts = [
            [row.system, row.query_crop, row.steps, *map(_percent, row.subsets.values())]
            for row in self.rows
        ]
        return [*_NAMES, *self.rows[0].subsets], parts

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write `table.md`, `results.json` and `per_query.csv` into a folder.

        Parameters
        ----------
        folder : path
            Made if it is not there.
        """
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        content = {
            "protocol": self.protocol,
            "chance": self.chance,
            "rows": [_as_json(row) for row in self.rows],
        }
        queries = StringIO(newline="")
        table = csv.writer(queries)
        names = [f"{row.system}, {row.query_crop}, {row.steps}" for row in self.rows]
        table.writerow(["query", *names, "random order"])
        scores = zip(*(row.average_precision for row in self.rows), self.chance)
        table.writerows([name, *values] for name, values in zip(self.queries, scores))
        texts = {
            "table.md": f"{self}\n",
            "results.json": json.dumps(content, indent=2),
            "per_query.csv": queries.getvalue(),
        }
        for name, text in texts.items():
            with written_whole(place / name) as file:
                # Names that are no UTF-8 keep their bytes.
                file.write(text.encode("utf-8", "surrogateescape"))


def _percent(score: float | None) -> str:
    return "" if score is None else f"{100 * score:.1f}"


def _cells(row: Row, first: Row, shown: str) -> list[str]:
    difference = ""
    if row is not first:
        gain = 100 * (row.mean_average_precision - first.mean_average_precision)
        low, high = 100 * row.difference_low, 100 * row.difference_high
        difference = f"{gain:+.1f} ({low:+.1f} to {high:+.1f})"
    return [
        row.system,
        row.query_crop,
        row.steps,
        f"{100 * row.mean_average_precision:.1f}",
        f"{100 * row.low:.1f} to {100 * row.high:.1f}",
        difference,
        *map(_percent, getattr(row, shown).values()),
        f"{row.seconds_per_photo:.3f}",
        f"{row.seconds_to_prepare:.2f}",
        f"{row.seconds_per_query:.4f}",
        f"{row.bytes_per_photo:.0f}",
    ]


def _as_json(row: Row) -> dict[str, Any]:
    scores = {name: value for name, value in row.__dict__.items() if name not in _RANKINGS}
    return {"mean_average_precision": row.mean_average_precision, **scores}


def with_intervals(rows: Iterable[Row], groups: Sequence[Any] | None) -> list[Row]:
    """Rows with the intervals of their scores, and of their differences to the first."""
    rows = list(rows)
    first = rows[0].average_precision
    finished = []
    for row in rows:
        low, high = bootstrap_interval(row.average_precision, groups=groups)
        below, above = bootstrap_interval(row.average_precision, first, groups=groups)
        finished.append(
            replace(row, low=low, high=high, difference_low=below, difference_high=above)
        )
    return finished
