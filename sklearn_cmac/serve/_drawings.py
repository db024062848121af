"""What is drawn over photos: the box that was asked for, the object, and regions that answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from sklearn_cmac.inspection import Outline, box_outline, svg_overlay, trace_cells
from sklearn_cmac.maps import Regions
from sklearn_cmac.photos import Box
from sklearn_cmac.reranking import RegionMatch

_N_REGIONS = 3  # shown of those that answer
_OBJECT, _REGION = "#ffb000", "#56b4e9"
_OVERLAP = 0.5

Polygons = list[np.ndarray]


def draw(objects: Sequence[Polygons], regions: Sequence[Polygons], size: tuple[int, int]) -> Markup:
    """Outlines over a photo of this size, in its pixels; nothing where there are none."""
    layers = ("regions", _REGION, regions), ("objects", _OBJECT, objects)
    return Markup("").join(
        Markup('<span class="{}">{}</span>').format(name, Markup(svg_overlay(outlines, size)))
        for name, color, polygons in layers
        if (outlines := [Outline(each, color=color) for each in polygons if each])
    )


def of_box(box: Box | None) -> list[Polygons]:
    """The polygons of a box, if there is one."""
    return [] if box is None else [list(box_outline(box).polygons)]


def answering_regions(
    match: RegionMatch, regions: Sequence[Regions], photo_size: tuple[int, int]
) -> list[Polygons]:
    """Where the regions of a photo are that make up the most of its score.

    Parameters
    ----------
    match : RegionMatch
    regions : sequence of Regions
        Of each of the photo's maps; in their order, the regions of `match`.
    photo_size : (width, height)

    Returns
    -------
    list of lists of ndarray of shape (k, 2)
        The polygons of each, in pixels. Of those that overlap by more than half, the first.
    """
    masks = [(mask, each.shape) for each in regions for mask in each.masks()]
    chosen: list[int] = []
    for place in np.argsort(-match.shares * match.similarities, kind="stable").tolist():
        region = int(match.regions[place])
        if len(chosen) == _N_REGIONS:
            break
        if region < len(masks) and not any(
            masks[other][1] == masks[region][1] and _overlap(masks[other][0], masks[region][0])
            for other in chosen
        ):
            chosen.append(region)
    return [
        [ring * (np.array(photo_size) / masks[i][1][::-1]) for ring in trace_cells(masks[i][0])]
        for i in chosen
    ]


def _overlap(one: np.ndarray, other: np.ndarray) -> bool:
    return bool((one & other).sum() > _OVERLAP * (one | other).sum())
