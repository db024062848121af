"""Outlines of map cells, and how they are drawn over a photo as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from scipy.ndimage import distance_transform_edt

from sklearn_cmac._printing import printable
from sklearn_cmac.maps import Regions
from sklearn_cmac.photos import Box

# Colours that stay apart for the colour-blind (M. Okabe, K. Ito, "Color Universal Design", 2008).
COLORS = ("#e69f00", "#56b4e9", "#f0e442", "#cc79a7", "#009e73", "#d55e00")
_DASH = 9  # pixels of a line before that of another region shows
_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))  # (x, y): right, down, left, up


def trace_cells(mask: np.ndarray) -> list[np.ndarray]:
    """The outline of a set of map cells.

    Parameters
    ----------
    mask : ndarray of bool of shape (H, W)

    Returns
    -------
    list of ndarray of int of shape (k, 2)
        Corners (x, y) of cells at which the outline turns, a polygon for each part and for each
        hole. With y downwards, parts are gone around clockwise and holes anticlockwise; cells that
        touch at a corner only are two parts.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac.inspection import trace_cells
    >>> [polygon.tolist() for polygon in trace_cells(np.array([[1, 1], [0, 1]], bool))]
    [[[0, 0], [2, 0], [2, 2], [1, 2], [1, 1], [0, 1]]]
    """
    inside = np.pad(np.asarray(mask, bool), 1)
    # A side of a cell is an edge where its neighbour is outside; the cell lies to its right.
    edges: dict[tuple[int, int, int], None] = {}
    for direction, (start, neighbour) in enumerate(
        [((0, 0), (-1, 0)), ((1, 0), (0, 1)), ((1, 1), (1, 0)), ((0, 1), (0, -1))]
    ):
        rows, cols = np.nonzero(inside & ~np.roll(inside, np.negative(neighbour), (0, 1)))
        corners = np.stack([cols - 1 + start[0], rows - 1 + start[1]], axis=1).tolist()
        edges.update(dict.fromkeys((x, y, direction) for x, y in corners))
    polygons = []
    while edges:
        edge: tuple[int, int, int] | None = next(iter(edges))
        corners, directions = [], []
        while edge is not None:
            del edges[edge]
            x, y, direction = edge
            corners.append((x, y))
            directions.append(direction)
            x, y = x + _STEPS[direction][0], y + _STEPS[direction][1]
            # To the right first, which stays at the cell where two touch at a corner.
            ahead = ((x, y, (direction + turn) % 4) for turn in (1, 0, -1))
            edge = next((there for there in ahead if there in edges), None)
        turns = np.array(directions) != np.roll(directions, 1)
        polygons.append(np.array(corners)[turns])
    return polygons


def outlines_of(
    regions: Regions, photo_size: tuple[int, int], window: Box | None = None
) -> list[list[np.ndarray]]:
    """The outline of each region, in pixels of the photo.

    Parameters
    ----------
    regions : Regions
    photo_size : (width, height)
    window : (x0, y0, x1, y1), optional
        The part of the photo that the map's cells divide among them. Default: all of it.

    Returns
    -------
    list of R lists of ndarray of shape (k, 2)
        For each region the polygons of `trace_cells`.

    Examples
    --------
    >>> from sklearn_cmac import Regions
    >>> from sklearn_cmac.inspection import outlines_of
    >>> regions = Regions.from_labels([[0, 0, 1, 1]], shape=(1, 4))
    >>> outlines_of(regions, photo_size=(400, 300))[1][0].tolist()
    [[200.0, 0.0], [400.0, 0.0], [400.0, 300.0], [200.0, 300.0]]
    """
    origin, cell = _cells_in(regions.shape, photo_size, window)
    return [[origin + cell * ring for ring in trace_cells(mask)] for mask in regions.masks()]


def places_for_labels(
    regions: Regions, photo_size: tuple[int, int], window: Box | None = None
) -> np.ndarray:
    """A point in each region, far from its outline and from the points before it.

    Parameters
    ----------
    regions, photo_size, window
        As for `outlines_of`.

    Returns
    -------
    ndarray of shape (R, 2)
        Points (x, y) in pixels of the photo.

    Examples
    --------
    >>> from sklearn_cmac import Regions
    >>> from sklearn_cmac.inspection._outlines import places_for_labels
    >>> whole_twice = Regions.from_labels([[0] * 9, [0] * 9], shape=(3, 3))
    >>> places_for_labels(whole_twice, (300, 300)).tolist()
    [[150.0, 150.0], [50.0, 50.0]]
    """
    origin, cell = _cells_in(regions.shape, photo_size, window)
    rows, cols = np.indices(regions.shape)
    free = np.full(regions.shape, np.inf)
    places = []
    for mask in regions.masks():
        depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
        room = np.where(mask, np.minimum(depth, free / 2), -1)
        row, col = np.unravel_index(room.argmax(), room.shape)
        free = np.minimum(free, np.hypot(rows - row, cols - col))
        places.append(origin + cell * (col + 0.5, row + 0.5))
    return np.array(places)


def _cells_in(
    shape: tuple[int, int], photo_size: tuple[int, int], window: Box | None
) -> tuple[np.ndarray, np.ndarray]:
    """Where the first cell of a map begins in its photo, and how wide and high a cell is."""
    x0, y0, x1, y1 = window or (0, 0, *photo_size)
    return np.array([x0, y0], float), np.array([(x1 - x0) / shape[1], (y1 - y0) / shape[0]])


@dataclass(frozen=True, eq=False)
class Outline:
    """Something outlined on a photo: a region, a box, an object.

    Parameters
    ----------
    polygons : list of ndarray of shape (k, 2)
        Points (x, y) in pixels of the photo.
    label : str
        What is written beside it: things of one label on two photos belong together.
    color : str
        As CSS writes it. Default: white.
    share : (int, int)
        The line is drawn as the i-th of n: where outlines lie on each other, each shows for an
        n-th of the way. Default: the whole line.
    place : (x, y), optional
        Where the label is written. Default: at the first point.
    """

    polygons: Sequence[np.ndarray]
    label: str = ""
    color: str = "#fff"
    share: tuple[int, int] = (0, 1)
    place: tuple[float, float] | None = None


def box_outline(box: Box, label: str = "") -> Outline:
    """The outline of a box (x0, y0, x1, y1)."""
    x0, y0, x1, y1 = box
    return Outline([np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])], label)


def numbered_outlines(
    regions: Regions,
    numbers: Sequence[int],
    photo_size: tuple[int, int],
    window: Box | None = None,
    n: int | None = None,
) -> list[Outline]:
    """Regions with a number and a colour each, which tell what answers what on two photos.

    Parameters
    ----------
    regions : Regions
    numbers : sequence of R ints
        From 1.
    photo_size, window
        As for `outlines_of`.
    n : int, optional
        The largest number there is. Default: that of these.

    Returns
    -------
    list of R Outlines

    Examples
    --------
    >>> from sklearn_cmac import Regions
    >>> from sklearn_cmac.inspection import numbered_outlines
    >>> whole = Regions.from_labels([[0] * 4], shape=(2, 2))
    >>> (outline,) = numbered_outlines(whole, [2], photo_size=(200, 100))
    >>> outline.label, outline.color, outline.place
    ('2', '#56b4e9', (50.0, 25.0))
    """
    n = n or max(numbers)
    places = places_for_labels(regions, photo_size, window).tolist()
    return [
        Outline(polygons, str(number), COLORS[(number - 1) % len(COLORS)], (number - 1, n), (x, y))
        for number, polygons, (x, y) in zip(
            numbers, outlines_of(regions, photo_size, window), places
        )
    ]


def svg_path(polygons: Sequence[np.ndarray], digits: int = 1) -> str:
    """Polygons as the `d` of an SVG path.

    Parameters
    ----------
    polygons : sequence of ndarray of shape (k, 2)
    digits : int, default=1
        Digits behind the point.

    Returns
    -------
    str

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac.inspection import svg_path
    >>> svg_path([np.array([[0, 0], [2, 0], [2, 1.26]])])
    'M0 0L2 0L2 1.3Z'
    """
    return "".join(
        "M" + "L".join(f"{_short(x, digits)} {_short(y, digits)}" for x, y in polygon) + "Z"
        for polygon in polygons
    )


def _short(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if digits else text


def svg_overlay(outlines: Sequence[Outline], photo_size: tuple[int, int]) -> str:
    """Outlines as an ``<svg>`` to be laid over the photo, stretched to its size on the page.

    Parameters
    ----------
    outlines : sequence of Outline
    photo_size : (width, height)
        Pixels that the outlines are given in.

    Returns
    -------
    str
        HTML, with labels escaped. It is hidden from screen readers, to which the photo's text
        says what there is to see.

    Examples
    --------
    >>> from sklearn_cmac.inspection import box_outline, svg_overlay
    >>> drawing = svg_overlay([box_outline((10, 10, 50, 40), "<object>")], (64, 48))
    >>> "&lt;object&gt;" in drawing
    True
    """
    drawn = "".join(_drawn(outline, max(photo_size)) for outline in outlines)
    return (
        f'<svg class="outlines" viewBox="0 0 {photo_size[0]} {photo_size[1]}" '
        f'preserveAspectRatio="none" aria-hidden="true" focusable="false">{drawn}</svg>'
    )


def _drawn(outline: Outline, side: int) -> str:
    """An outline on a dark line that sets it off from any photo, and its label."""
    if not len(outline.polygons):
        return ""
    i, n = outline.share
    dashes = f'stroke-dasharray="{_DASH} {_DASH * (n - 1)}" stroke-dashoffset="{-_DASH * i}"'
    shape = (
        f'<path d="{svg_path(outline.polygons)}" fill="none" stroke-linejoin="round" '
        'vector-effect="non-scaling-stroke"'
    )
    return (
        f'{shape} stroke="#000" stroke-opacity=".55" stroke-width="5"/>'
        f'{shape} stroke="{escape(outline.color)}" stroke-width="3" {dashes if n > 1 else ""}/>'
    ) + (_label(outline, side) if outline.label else "")


def _label(outline: Outline, side: int) -> str:
    """The label on a dark plate, round where it is a number."""
    x, y = outline.place or outline.polygons[0][0].tolist()
    size = side / 22
    text = printable(outline.label)
    width = max(1.5, 0.62 * len(text) + 0.8) * size
    return (
        f'<rect x="{x - width / 2:.1f}" y="{y - 0.75 * size:.1f}" width="{width:.1f}" '
        f'height="{1.5 * size:.1f}" rx="{0.75 * size:.1f}" fill="#111" '
        f'stroke="{escape(outline.color)}" stroke-width="2" vector-effect="non-scaling-stroke"/>'
        f'<text x="{x:.1f}" y="{y + 0.35 * size:.1f}" font-size="{size:.1f}" font-weight="700" '
        'fill="#fff" text-anchor="middle" font-family="system-ui, sans-serif">'
        f"{escape(text)}</text>"
    )
