"""What a hostile photo is, and the picture that the valid ones show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

SIZE = 128, 96  # width and height of the picture
CELLS = 16, 12  # across and down: pictures are compared by the mean colours of these


@dataclass(frozen=True)
class Case:
    """A photo to be made.

    Parameters
    ----------
    kind : str
        What it is, as in "png/iccp-bomb"; unique in the suite.
    make : callable
        Its bytes, the same each time.
    suffix : str
        Of the file, with the dot.
    shows : str
        What it may decode to. "anything"; "nothing": it must be refused; "picture": it is a
        valid file of `picture()`; "whole": it is a part of one, so it is refused or whole.
    expected : callable, optional
        Another picture that a valid file shows, as an array of (H, W, 3), uint8.
    """

    kind: str
    make: Callable[[], bytes]
    suffix: str
    shows: str = "anything"
    expected: Callable[[], np.ndarray] | None = None


@cache
def picture() -> Image.Image:
    """Smooth colours in strong contrast, with no symmetry: it survives each mode and format."""
    rng = np.random.default_rng(7)
    coarse = rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)
    coarse[:3, :4] //= 3
    coarse[3:, 4:] = 255 - coarse[3:, 4:] // 3
    return Image.fromarray(coarse).resize(SIZE, Image.Resampling.BILINEAR)


def cells(rgb: np.ndarray) -> np.ndarray:
    """Mean colours of `CELLS` of a picture (H, W, 3), as float of shape (12, 16, 3)."""
    small = Image.fromarray(rgb).resize(CELLS, Image.Resampling.BOX)
    return np.asarray(small, dtype=float)
