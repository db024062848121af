"""What is drawn over photos: the box that was asked for, the object, and regions that answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from markupsafe import Markup

from sklearn_cmac.inspection import Outline, svg_overlay
from sklearn_cmac.inspection._numbering import Answer, Asked, number_answers
from sklearn_cmac.photos import Box
from sklearn_cmac.search import RetrievalIndex, SearchResult
from sklearn_cmac.serve._links import Part

_LABEL = 1 / 17  # of a small picture's long side


def draw(
    outlines: Sequence[Outline], size: tuple[int, int] | None, window: Box | None = None
) -> Markup:
    """Outlines over a photo of this size, or over a part of it; nothing where there are none."""
    if not outlines or size is None:
        return Markup("")
    return Markup(svg_overlay(outlines, size, window, _LABEL))


def polygons_of(outline: Outline) -> list[list[list[float]]]:
    """An outline as JSON says it: points (x, y) in pixels of the photo."""
    return [polygon.round(1).tolist() for polygon in outline.polygons]


def size_of(shown: dict[str, Any]) -> tuple[int, int] | None:
    """Width and height of a photo, if they are known."""
    return (shown["width"], shown["height"]) if shown["width"] else None


def number_regions(
    index: RetrievalIndex,
    found: Sequence[tuple[SearchResult, dict[str, Any]]],
    asked: Sequence[tuple[Part, dict[str, Any]]],
    describe: Callable[[Part], Asked],
) -> None:
    """Outline regions of what was asked for, and those that answer them, by equal numbers.

    Parameters
    ----------
    index : RetrievalIndex
    found : sequence of (SearchResult, dict)
        Results, and what the page says of them: "regions" and "outlines" are added to.
    asked : sequence of (Part, dict)
        The same of what was asked for. Of a box, its regions are drawn on a picture of their own,
        "close".
    describe : callable
        What a part is searched by.
    """
    first = 1
    for i, (part, shown) in enumerate(asked):
        answering = [
            (row, Answer(result.regions, kept, size))
            for result, row in found
            if result.query == i
            and result.regions is not None
            and (size := size_of(row)) is not None
            and (kept := index.regions(result.name))
        ]
        if not answering:
            continue
        answers = [answer for _, answer in answering]
        on_query, on_photos = number_answers(describe(part), answers, first)
        first += len(on_query)
        shown["regions"] = [_region(outline) for outline in on_query]
        if part.box is None:
            shown["outlines"] = on_query
        else:
            shown["close"] = draw(on_query, size_of(shown), part.box)
        for (row, _), (outlines, pairs) in zip(answering, on_photos):
            row["outlines"] = [*outlines, *row["outlines"]]
            row["regions"] = [
                {**_region(outline), "similarity": pair.similarity}
                for outline, pair in zip(outlines, pairs)
            ]


def _region(outline: Outline) -> dict[str, Any]:
    """A numbered region."""
    return {
        "number": int(outline.label),
        "color": outline.color,
        "outline": polygons_of(outline),
    }
