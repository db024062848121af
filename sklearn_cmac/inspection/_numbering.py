"""Regions of a query and those of photos that answer them, by the same numbers and colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sklearn_cmac.corridor import Corridor
from sklearn_cmac.inspection._outlines import Outline, numbered_outlines
from sklearn_cmac.inspection._overlay import first_apart, on_one_map
from sklearn_cmac.maps import Regions
from sklearn_cmac.photos import Box, Item
from sklearn_cmac.reranking import RegionMatch

_N_REGIONS = 5  # of the query that are numbered
_N_SHOWN = 3  # of them on each photo


class Pair(NamedTuple):
    """A region of the query, by its number, and how alike the photo's region is to it."""

    number: int
    color: str
    similarity: float


class Asked(NamedTuple):
    """What a query is searched by: its regions, on one map, and the part that the map shows."""

    regions: Regions
    window: Box
    photo_size: tuple[int, int]


class Answer(NamedTuple):
    """A photo that was found: which of its regions answer the query's, and where they are."""

    match: RegionMatch
    regions: Sequence[Regions]  # of each of its maps
    photo_size: tuple[int, int]


def regions_asked(pipeline: Any, query: Item) -> Asked:
    """The regions of a query, as the pipeline of an index describes it."""
    (record,) = Corridor(getattr(pipeline, "pipeline_", pipeline)).proposals([query])
    regions = on_one_map([each.proposed for each in record.maps])
    return Asked(regions, record.window, record.photo_size)


def number_answers(
    asked: Asked, answers: Sequence[Answer], first: int = 1
) -> tuple[list[Outline], list[tuple[list[Outline], list[Pair]]]]:
    """Number the regions of a query that count for most, and outline those that answer them.

    Parameters
    ----------
    asked : Asked
    answers : sequence of n Answers
        At least one.
    first : int, default=1
        The first number.

    Returns
    -------
    list of Outline
        On the query: of regions that overlap by more than half, the one that counts for more.
    list of n tuples (list of Outline, list of Pair)
        On each photo those that answer best, the best first, and how alike they are.
    """
    parts = [answer.match.shares * answer.match.similarities for answer in answers]
    chosen = first_apart(np.mean(parts, axis=0), asked.regions.masks(), _N_REGIONS)
    numbers = range(first, first + len(chosen))
    on_query = numbered_outlines(
        asked.regions.take(chosen), numbers, asked.photo_size, asked.window
    )
    on_photos = []
    for (match, regions, size), part in zip(answers, parts):
        best = np.argsort(-part[chosen], kind="stable")[:_N_SHOWN].tolist()
        answering = on_one_map(regions).take([match.regions[chosen[i]] for i in best])
        outlines = numbered_outlines(answering, [numbers[i] for i in best], size)
        pairs = [
            Pair(numbers[i], on_query[i].color, float(match.similarities[chosen[i]])) for i in best
        ]
        on_photos.append((outlines, pairs))
    return on_query, on_photos
