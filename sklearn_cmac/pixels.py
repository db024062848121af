"""Decoding: the only door through which outside pixels come in."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image

from sklearn_cmac._opening import MAX_PIXELS, Opened, open_photo
from sklearn_cmac.photos import (
    Box,
    Photo,
    PhotoError,
    check_box_inside,
    digest_source,
    errors_of,
    read_source,
)


def photo_size(source: Any) -> tuple[int, int]:
    """Width and height of an upright photo, from the head of its file where it is one."""
    photo = source if isinstance(source, Photo) else Photo(source)
    return size_of(read_source(photo), photo.name)


def size_of(source: bytes | Image.Image | np.ndarray, name: str) -> tuple[int, int]:
    """The same of a photo's content, as `read_source` gives it."""
    with errors_of(name):
        return open_photo(source, name).size


class Content:
    """What a photo consists of. It is read once, and decoded once for several sizes.

    Parameters
    ----------
    source : bytes, PIL.Image.Image or ndarray
        As `read_source` gives it.
    name : str
        For messages.
    """

    def __init__(self, source: bytes | Image.Image | np.ndarray, name: str):
        self.source = source
        self.name = name
        self._decoded: dict[tuple[int, ...], Image.Image] = {}

    @cached_property
    def digest(self) -> str:
        """SHA-256, as hexadecimal digits."""
        return digest_source(self.source)

    @cached_property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright photo."""
        return self._opened.size

    @cached_property
    def _opened(self) -> Opened:
        with errors_of(self.name):
            return open_photo(self.source, self.name)

    def decode(
        self,
        *,
        max_size: int | None = None,
        enlarge: bool = False,
        box: Box | None = None,
        multiple: int = 1,
        min_side: int = 1,
        max_pixels: int = MAX_PIXELS,
    ) -> tuple[np.ndarray, tuple[int, int]]:
        """`decode`; sizes that ask for as much detail share what it costs."""
        photo_size = self.size
        whole = 0.0, 0.0, float(photo_size[0]), float(photo_size[1])
        (x0, y0, x1, y1), target, scale = scaled_box(
            box or whole,
            photo_size,
            self.name,
            max_size=max_size,
            enlarge=enlarge,
            multiple=multiple,
            min_side=min_side,
        )
        with errors_of(self.name):
            image = self._opened.decoded(scale, max_pixels, self._decoded)
            across, down = image.width / photo_size[0], image.height / photo_size[1]
            area = x0 * across, y0 * down, x1 * across, y1 * down
            if target != image.size or area != (0, 0, *image.size):
                image = image.resize(target, Image.Resampling.BICUBIC, box=area, reducing_gap=2.0)
            return np.asarray(image), photo_size


def decode(
    source: bytes | Image.Image | np.ndarray, name: str, **how: Any
) -> tuple[np.ndarray, tuple[int, int]]:
    """Upright RGB pixels of a photo, scaled for a network.

    Parameters
    ----------
    source : bytes, PIL.Image.Image or ndarray
        As `read_source` gives it.
    name : str
        For messages.
    max_size : int, optional
        Pixels of the long side of the *whole* photo after scaling. A photo that is smaller
        is not enlarged unless `enlarge`.
    enlarge : bool
        Whether smaller photos are enlarged to `max_size`.
    box : tuple of 4 floats, optional
        Cut the photo here (crop I). What is left keeps the scale that the whole photo would
        have had, as in the R-MAC and siaMAC programs.
    multiple : int
        Both sides become multiples of this many pixels (a transformer's patch).
    min_side : int
        An error if a side is shorter than this after scaling.
    max_pixels : int, default=128_000_000
        An error if more is decoded: pixels of 4 bytes, so that it is a limit of memory, 512 MB.
        What a decoder takes besides counts, and of a JPEG what is left when its sides are scaled to
        a half, a quarter or an eighth.

    Returns
    -------
    rgb : ndarray of shape (H, W, 3), uint8
    photo_size : (width, height)
        Of the upright original.

    Raises
    ------
    PhotoError
        If the content is no image, is damaged, is of a format that is not opened, costs more than
        the limit, or is too small.
    """
    return Content(source, name).decode(**how)


def scaled_box(
    box: Box,
    photo_size: tuple[int, int],
    name: str,
    *,
    max_size: int | None = None,
    enlarge: bool = False,
    multiple: int = 1,
    min_side: int = 1,
) -> tuple[Box, tuple[int, int], float]:
    """What of a photo is decoded for a box of it, and at what size.

    Parameters
    ----------
    box : tuple of 4 floats
    photo_size : (width, height)
    name : str
        For messages.
    max_size, enlarge, multiple, min_side
        As for `decode`.

    Returns
    -------
    box : tuple of 4 floats
        Clipped to the photo.
    size : (width, height)
        In pixels, after scaling.
    scale : float
        Of the whole photo.

    Raises
    ------
    PhotoError
        If the box does not lie in the photo, or too little of it would be left.
    """
    scale = 1.0
    if max_size is not None and (enlarge or max_size < max(photo_size)):
        scale = max_size / max(photo_size)
    x0, y0, x1, y1 = check_box_inside(box, photo_size, name)
    target = _scaled(x1 - x0, scale, multiple), _scaled(y1 - y0, scale, multiple)
    if min(target) < min_side:
        raise PhotoError(
            f"{name}: {target[0]}x{target[1]} pixels are left of a photo of "
            f"{photo_size[0]}x{photo_size[1]}, and this network needs at least {min_side} on "
            "each side. Leave the photo out, give a larger box, or raise max_size."
        )
    return (x0, y0, x1, y1), target, scale


def _scaled(length: float, scale: float, multiple: int) -> int:
    return max(1, round(length * scale / multiple)) * multiple
