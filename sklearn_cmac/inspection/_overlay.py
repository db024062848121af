"""Regions and boxes drawn over the photo that they belong to."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from sklearn.pipeline import Pipeline

from sklearn_cmac.corridor import Corridor
from sklearn_cmac.maps import ActivationMap, Regions
from sklearn_cmac.photos import Box, Query, as_photo, read_source
from sklearn_cmac.pixels import decode
from sklearn_cmac.reranking import match_regions


def open_photo(photo: Any, max_size: int = 512) -> tuple[Image.Image, tuple[int, int]]:
    """The upright photo, scaled to a long side of `max_size`, and its own width and height."""
    photo = as_photo(photo)
    photo = photo.photo if isinstance(photo, Query) else photo
    pixels, size = decode(read_source(photo), photo.name, max_size=max_size)
    return Image.fromarray(pixels), size


def draw_box(photo: Any, box: Box | None = None, max_size: int = 512) -> Image.Image:
    """A photo with a box drawn on it.

    Parameters
    ----------
    photo : Photo, Query, or anything that `Photo` takes
    box : tuple of 4 floats, optional
        (x0, y0, x1, y1) in pixels of the photo. Default: the query's.
    max_size : int
        Pixels of the picture's long side.

    Returns
    -------
    PIL.Image.Image

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac.inspection import draw_box
    >>> draw_box(np.zeros((48, 64, 3), np.uint8), (8, 8, 40, 40)).size
    (64, 48)
    """
    image, (width, _) = open_photo(photo, max_size)
    scale = image.width / width
    box = photo.box if box is None and isinstance(photo, Query) else box
    if box is not None:
        corners = [round(v * scale) for v in box]
        line = max(2, max(image.size) // 128)
        ImageDraw.Draw(image).rectangle(corners, outline=(255, 210, 0), width=line)
    return image


def overlay_regions(
    photo: Any, record: ActivationMap, kind: int = 0, max_size: int = 512, opacity: float = 0.55
) -> Image.Image:
    """A photo with the regions of one partition painted on it, each in its colour.

    Parameters
    ----------
    photo : Photo, Query, or anything that `Photo` takes
        The photo that the record describes.
    record : ActivationMap
        With regions.
    kind : int, default=0
        Which regions: those of the first cluster count, the second, …, or of a grid level.
    max_size : int
        Pixels of the picture's long side.
    opacity : float
        Of the paint, in [0, 1].

    Returns
    -------
    PIL.Image.Image

    Raises
    ------
    ValueError
        If the record has no regions of that kind.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac import ActivationMap, GridRegions
    >>> from sklearn_cmac.inspection import overlay_regions
    >>> pixels = np.zeros((96, 128, 3), np.uint8)
    >>> record = ActivationMap.from_arrays(np.ones((3, 4, 8)), photo_size=(128, 96))
    >>> overlay_regions(pixels, GridRegions().transform([record])[0]).size
    (128, 96)
    """
    regions = record.regions
    if regions is None or kind not in regions.kinds:
        raise ValueError(f"{record.name}: has no regions of kind {kind}")
    return _painted(photo, record, regions.masks()[regions.kinds == kind], max_size, opacity)


def overlay_matches(
    query: Any,
    photo: Any,
    pipeline: Pipeline,
    n_matches: int = 3,
    max_size: int = 512,
    opacity: float = 0.55,
) -> tuple[Image.Image, Image.Image]:
    """Two photos with the regions painted on them that match best, each pair in its colour.

    Parameters
    ----------
    query, photo : Photo, Query, or anything that `Photo` takes
    pipeline : fitted Pipeline
        With the steps of `make_cmac_pipeline`.
    n_matches : int, default=3
        Pairs to show, those with the largest part in the score of region matching. Of regions
        of the query that overlap by more than half, the first is shown.
    max_size : int
        Pixels of the pictures' long sides.
    opacity : float
        Of the paint, in [0, 1].

    Returns
    -------
    tuple of two PIL.Image.Image

    Examples
    --------
    >>> from sklearn_cmac import make_rmac_pipeline
    >>> from sklearn_cmac.datasets import make_object_scenes
    >>> from sklearn_cmac.inspection import overlay_matches
    >>> photos = make_object_scenes(n_objects=2, n_scenes=2, size=(320, 240)).photos
    >>> pipeline = make_rmac_pipeline(whiten__n_components=32).fit(photos)
    >>> left, right = overlay_matches(photos[0].as_query(), photos[1], pipeline)
    >>> left.size, right.size
    ((320, 240), (320, 240))
    """
    corridor = Corridor(pipeline)
    records = corridor.proposals([query, photo])
    mine, theirs = corridor.pooled(records)
    match = match_regions(mine, theirs)
    masks = [on_one_map([each.proposed for each in record.maps]).masks() for record in records]
    chosen = first_apart(match.shares * match.similarities, masks[0], n_matches)
    return (
        _painted(query, records[0], masks[0][chosen], max_size, opacity),
        _painted(photo, records[1], masks[1][match.regions[chosen]], max_size, opacity),
    )


def on_one_map(maps: Sequence[Regions]) -> Regions:
    """The regions of a photo's maps, one map after the other, as regions of the first."""
    regions = [each.resized(maps[0].shape) for each in maps]
    return Regions.from_cells(
        [cells for each in regions for cells in each],
        maps[0].shape,
        np.concatenate([each.kinds for each in regions]),
    )


def first_apart(values: np.ndarray, masks: np.ndarray, n: int) -> list[int]:
    """The n regions (R, H, W) of the highest values, without those that overlap one by more than
    half."""
    chosen: list[int] = []
    for region in np.argsort(-values, kind="stable").tolist():
        if len(chosen) < n and all(_overlap(masks[region], masks[i]) <= 0.5 for i in chosen):
            chosen.append(region)
    return chosen


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    return (one & other).sum() / (one | other).sum()


def _painted(
    photo: Any, record: ActivationMap, masks: np.ndarray, max_size: int, opacity: float
) -> Image.Image:
    """The photo with cells painted, each of the masks (n, H, W) in its colour."""
    image, (width, _) = open_photo(photo, max_size)
    scale = image.width / width
    paint = np.zeros((*record.shape, 4), np.uint8)
    for i, mask in enumerate(masks):
        # Steps of the golden angle keep neighbours in number apart in hue.
        color = colorsys.hsv_to_rgb((i * 0.618034) % 1, 0.85, 1)
        paint[mask] = [*(round(255 * c) for c in color), round(255 * opacity)]
    x0, y0, x1, y1 = (round(v * scale) for v in record.window)
    size = max(1, x1 - x0), max(1, y1 - y0)
    layer = Image.new("RGBA", image.size)
    layer.paste(Image.fromarray(paint).resize(size, Image.Resampling.NEAREST), (x0, y0))
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")
