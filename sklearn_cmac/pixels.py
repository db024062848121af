"""Decoding: the only door through which outside pixels come in."""

from __future__ import annotations

from functools import cached_property
from io import BytesIO
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

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
        return _upright_size(_open(source, name))


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
        self._decoded: dict[tuple[int, int], Image.Image] = {}

    @cached_property
    def digest(self) -> str:
        """SHA-256, as hexadecimal digits."""
        return digest_source(self.source)

    @cached_property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright photo."""
        return size_of(self.source, self.name)

    def decode(self, **how: Any) -> tuple[np.ndarray, tuple[int, int]]:
        """`decode`; sizes that ask for as much detail share what it costs."""
        return _decode(self.source, self.name, self._decoded, **how)


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

    Returns
    -------
    rgb : ndarray of shape (H, W, 3), uint8
    photo_size : (width, height)
        Of the upright original.

    Raises
    ------
    PhotoError
        If the content is no image, is damaged, is larger than Pillow's limit, or is too
        small.
    """
    return _decode(source, name, {}, **how)


def _decode(
    source: bytes | Image.Image | np.ndarray,
    name: str,
    decoded: dict[tuple[int, int], Image.Image],
    *,
    max_size: int | None = None,
    enlarge: bool = False,
    box: Box | None = None,
    multiple: int = 1,
    min_side: int = 1,
) -> tuple[np.ndarray, tuple[int, int]]:
    """`decode`, with the whole photo as it was decoded for earlier calls, by its size in pixels."""
    with errors_of(name):
        image = _open(source, name)
        _check_pixels(image, name)
        photo_size = _upright_size(image)
        whole = 0.0, 0.0, float(photo_size[0]), float(photo_size[1])
        (x0, y0, x1, y1), target, scale = scaled_box(
            box or whole,
            photo_size,
            name,
            max_size=max_size,
            enlarge=enlarge,
            multiple=multiple,
            min_side=min_side,
        )
        if scale < 0.5 and image.format == "JPEG":
            # libjpeg decodes at 1/2, 1/4 or 1/8 for a fraction of the cost. Twice the final size
            # is kept, so the resampling below still sees more detail than it returns.
            room = max(1, round(2 * scale * min(image.size)))
            image.draft(None, (room, room))
        detail = image.size
        if detail not in decoded:
            image.load()
            decoded[detail] = _to_rgb(ImageOps.exif_transpose(image))
        image = decoded[detail]
        across, down = image.width / photo_size[0], image.height / photo_size[1]
        area = x0 * across, y0 * down, x1 * across, y1 * down
        if target != image.size or area != (0, 0, *image.size):
            image = image.resize(target, Image.Resampling.BICUBIC, box=area, reducing_gap=2.0)
        return np.asarray(image), photo_size


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


def _upright_size(image: Image.Image) -> tuple[int, int]:
    # Orientations 5 to 8 lay the photo on its side: upright, width and height change places.
    # Files hold other numbers, and texts, there too: they turn nothing.
    on_its_side = image.getexif().get(ExifTags.Base.Orientation) in range(5, 9)
    return image.size[::-1] if on_its_side else image.size


def _scaled(length: float, scale: float, multiple: int) -> int:
    return max(1, round(length * scale / multiple)) * multiple


def _open(source: bytes | Image.Image | np.ndarray, name: str) -> Image.Image:
    if isinstance(source, np.ndarray):
        return _from_array(source, name)
    try:
        # An image of the caller's is copied, for decoding changes what it works on.
        return source.copy() if isinstance(source, Image.Image) else Image.open(BytesIO(source))
    except UnidentifiedImageError:
        start = source[:12] if isinstance(source, bytes) else source
        raise PhotoError(
            f"{name}: is not an image that Pillow knows (it starts with {start!r})."
        ) from None
    except Image.DecompressionBombError as error:
        raise PhotoError(f"{name}: {error}") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise PhotoError(f"{name}: the image is damaged ({error}).") from error


def _check_pixels(image: Image.Image, name: str) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise PhotoError(
            f"{name}: {image.width}x{image.height} pixels, and at most {limit} are opened, as a "
            "guard against decompression bombs. Set PIL.Image.MAX_IMAGE_PIXELS if it is genuine."
        )


def _from_array(array: np.ndarray, name: str) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise PhotoError(
            f"{name}: pixels have shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), got "
            f"{array.shape}. Transpose channel-first arrays with numpy.moveaxis(a, 0, -1)."
        )
    if array.size == 0:
        raise PhotoError(f"{name}: the array has no pixels.")
    if array.dtype == np.uint16:
        array = array >> 8
    elif array.dtype.kind == "f":
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise PhotoError(f"{name}: float pixels are finite and in [0, 1]; these are not.")
        array = np.round(array * 255)
    elif array.dtype == bool:
        array = array * 255
    elif array.dtype.kind not in "ui" or array.min() < 0 or array.max() > 255:
        raise PhotoError(
            f"{name}: pixels are integers in 0..255, 16-bit unsigned, or floats in [0, 1]; got "
            f"{array.dtype}."
        )
    return Image.fromarray(np.ascontiguousarray(array, dtype=np.uint8))


def _to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB. What is transparent becomes white; 16-bit grey keeps its upper byte."""
    if image.mode.startswith("I"):
        grey = np.asarray(image)
        deep = image.mode != "I" or grey.max() > 255
        return Image.fromarray((grey >> 8 if deep else grey).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        grey = np.nan_to_num(np.asarray(image))
        grey = grey * 255 if grey.max() <= 1 else grey
        return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")
