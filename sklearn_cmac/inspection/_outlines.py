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
_APART = 0.009  # of the photo's long side, between lines of regions that share a border
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
    place : (x, y), optional
        Where the label is written. Default: at the first point.
    kind : str
        Its class on the page, such as "region", so that a page can hide all of one kind.
    """

    polygons: Sequence[np.ndarray]
    label: str = ""
    color: str = "#fff"
    place: tuple[float, float] | None = None
    kind: str = ""


def box_outline(box: Box, label: str = "") -> Outline:
    """The outline of a box (x0, y0, x1, y1)."""
    x0, y0, x1, y1 = box
    return Outline([np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])], label, kind="box")


def numbered_outlines(
    regions: Regions,
    numbers: Sequence[int],
    photo_size: tuple[int, int],
    window: Box | None = None,
) -> list[Outline]:
    """Regions with a number and a colour each, which tell what answers what on two photos.

    Parameters
    ----------
    regions : Regions
    numbers : sequence of R ints
        From 1.
    photo_size, window
        As for `outlines_of`.

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
    _, cell = _cells_in(regions.shape, photo_size, window)
    x0, y0, x1, y1 = window or (0, 0, *photo_size)
    places = places_for_labels(regions, photo_size, window).tolist()
    levels = _levels(regions.masks())
    # Lines stay within half a cell, so that those of a narrow part do not cross.
    step = min(_APART * max(x1 - x0, y1 - y0), 0.45 * cell.min() / (levels.max() + 1))
    return [
        Outline(
            [_shrunk(polygon, (level + 0.5) * step) for polygon in polygons],
            str(number),
            COLORS[(number - 1) % len(COLORS)],
            (x, y),
            "region",
        )
        for number, polygons, level, (x, y) in zip(
            numbers, outlines_of(regions, photo_size, window), levels.tolist(), places
        )
    ]


def _levels(masks: np.ndarray) -> np.ndarray:
    """How far inside each of masks (R, H, W) its line runs, so that no two lie on each other."""
    padded = np.pad(masks, ((0, 0), (1, 1), (1, 1)))
    sides = [np.diff(padded, axis=axis).reshape(len(masks), -1) for axis in (1, 2)]
    edges = np.concatenate(sides, axis=1)
    levels = np.zeros(len(masks), int)
    for r in range(1, len(masks)):
        taken = levels[:r][(edges[:r] & edges[r]).any(axis=1)]
        levels[r] = np.setdiff1d(np.arange(r + 1), taken)[0]
    return levels


def _shrunk(polygon: np.ndarray, distance: float) -> np.ndarray:
    """An outline of `trace_cells`, moved to the inside of its region."""
    ahead = np.sign(np.roll(polygon, -1, axis=0) - polygon)
    both = ahead + np.roll(ahead, 1, axis=0)
    return polygon + distance * np.stack([-both[:, 1], both[:, 0]], axis=1)


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


def svg_overlay(
    outlines: Sequence[Outline],
    photo_size: tuple[int, int],
    window: Box | None = None,
    label_size: float = 1 / 22,
) -> str:
    """Outlines as an ``<svg>`` to be laid over the photo, stretched to its size on the page.

    Parameters
    ----------
    outlines : sequence of Outline
    photo_size : (width, height)
        Pixels that the outlines are given in.
    window : (x0, y0, x1, y1), optional
        The part of the photo that is on the page. Default: all of it.
    label_size : float
        Height of labels' letters, as a share of the long side of what is on the page. Default:
        for pictures of some 300 pixels or more.

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
    x0, y0, x1, y1 = window or (0, 0, *photo_size)
    shown = [outline for outline in outlines if len(outline.polygons)]
    # Lines before labels; a dark line below each sets it off from any photo.
    drawn = [_line(outline, "#000", 5, 0.6) for outline in shown]
    drawn += [_line(outline, outline.color, 2.5) for outline in shown]
    size = label_size * max(x1 - x0, y1 - y0)
    drawn += [_label(outline, (x0, y0, x1, y1), size) for outline in shown if outline.label]
    view = " ".join(_short(value, 1) for value in (x0, y0, x1 - x0, y1 - y0))
    return (
        f'<svg class="outlines" viewBox="{view}" preserveAspectRatio="none" aria-hidden="true" '
        f'focusable="false">{"".join(drawn)}</svg>'
    )


def _line(outline: Outline, color: str, width: float, opacity: float = 1) -> str:
    return (
        f'<path class="{escape(outline.kind)}" d="{svg_path(outline.polygons)}" fill="none" '
        f'stroke="{escape(color)}" stroke-width="{width:g}" stroke-opacity="{opacity:g}" '
        'stroke-linejoin="round" vector-effect="non-scaling-stroke"/>'
    )


def _label(outline: Outline, window: Box, size: float) -> str:
    """The label on a dark plate, round where it is a number, inside the window."""
    x0, y0, x1, y1 = window
    text = printable(outline.label)
    width, height = max(1.5, 0.62 * len(text) + 0.8) * size, 1.5 * size
    x, y = outline.place or outline.polygons[0][0].tolist()
    x = min(max(x, x0 + width / 2), x1 - width / 2)
    y = min(max(y, y0 + height / 2), y1 - height / 2)
    return (
        f'<g class="{escape(outline.kind)}"><rect x="{x - width / 2:.1f}" '
        f'y="{y - height / 2:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'rx="{height / 2:.1f}" fill="#111" stroke="{escape(outline.color)}" stroke-width="2.5" '
        f'vector-effect="non-scaling-stroke"/><text x="{x:.1f}" y="{y + 0.35 * size:.1f}" '
        f'font-size="{size:.1f}" font-weight="700" fill="#fff" text-anchor="middle" '
        f'font-family="system-ui, sans-serif">{escape(text)}</text></g>'
    )
