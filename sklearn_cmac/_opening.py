"""Opens photos from strangers: what decoding costs is known before it is done, and bounded."""

from __future__ import annotations

import os
import struct
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import ExifTags, Image

from sklearn_cmac._containers import (
    Contained,
    ContainerError,
    as_orientation,
    exif_orientation,
    look_into,
)
from sklearn_cmac.formats import (
    bytes_per_pixel,
    of_format,
    openers,
    why_image_refused,
    why_refused,
)
from sklearn_cmac.photos import PhotoError

# Pixels that are decoded at most, of 4 bytes each: 512 MB. A JPEG of 200 megapixels is decoded at
# an eighth of its sides, so it counts as 3.
MAX_PIXELS = 128_000_000
_BYTES_OF_PIXEL = 4
# A decoder may go so often over as many pixels: a progressive JPEG has some ten scans, and a built
# one thousands.
_PASSES = 16
# What is kept of a photo that is scaled down much: such photos are halved as they are decoded.
_KEPT_PIXELS = 1 << 23
_STRIP_PIXELS = 1 << 21

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Opened:
    """A photo of which the head has been read.

    Parameters
    ----------
    name : str
        For messages.
    stored_size : (width, height)
        Before the photo is turned.
    contained : Contained
        How it is to be turned, and what its decoder takes besides the picture.
    image : callable
        Gives the image, which is not decoded yet, each time anew.
    """

    name: str
    stored_size: tuple[int, int]
    contained: Contained
    image: Callable[[], Image.Image]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright photo."""
        # Orientations 5 to 8 lay a photo on its side.
        return self.stored_size[::-1] if self.contained.orientation >= 5 else self.stored_size

    def decoded(
        self, scale: float, max_pixels: int, known: dict[tuple[int, ...], Image.Image]
    ) -> Image.Image:
        """The upright photo in RGB: whole, or with at least twice the detail that is needed.

        Parameters
        ----------
        scale : float
            To which it will be scaled.
        max_pixels : int
            Pixels of 4 bytes that may be decoded.
        known : dict
            What was decoded before; it is looked up and added to.

        Raises
        ------
        PhotoError
            If it would take more, or the photo is not as large as its head says.
        """
        self._check_canvas(max_pixels)
        image = self.image()
        size = _draft(image, scale, self.contained.levels)
        halving = 1
        while _count(size) > _KEPT_PIXELS * halving**2 and 4 * halving * scale <= min(
            a / b for a, b in zip(size, self.stored_size)
        ):
            halving *= 2
        key = (*size, halving)
        if key not in known:
            self._check_cost(image, size, halving, max_pixels)
            _load(image, self.name)
            if image.size != size:
                raise PhotoError(
                    f"{self.name}: is damaged; its head says {size[0]}x{size[1]} pixels, and there "
                    f"are {image.width}x{image.height}. Replace the file."
                )
            known[key] = _upright_rgb(image, halving, self.contained.orientation)
        return known[key]

    def _check_canvas(self, max_pixels: int) -> None:
        """What the head alone tells, before a decoder is made that takes memory at once."""
        if self.contained.size is not None:
            self._check_bytes("WEBP", _count(self.contained.size) * of_format("WEBP"), max_pixels)

    def _check_cost(
        self, image: Image.Image, size: tuple[int, int], halving: int, max_pixels: int
    ) -> None:
        if not self.contained.content:
            return  # It came decoded.
        passes = self.contained.passes
        if _count(self.stored_size) * passes > _PASSES * max_pixels:
            scans = f" in {passes} scans" if passes > 1 else ""
            raise self._too_much(f"decoding goes over all of them{scans}", max_pixels)
        weight = self.contained.weight * bytes_per_pixel(image)
        needed = _count(size) * (weight + 4 / halving**2)
        needed += 2 * len(self.contained.content) + self.contained.buffers
        self._check_bytes(image.format, needed, max_pixels)

    def _check_bytes(self, form: str | None, needed: float, max_pixels: int) -> None:
        if needed > _BYTES_OF_PIXEL * max_pixels:
            raise self._too_much(f"as {form} they take {needed / 1e6:.0f} MB", max_pixels)

    def _too_much(self, why: str, max_pixels: int) -> PhotoError:
        width, height = self.stored_size
        return PhotoError(
            f"{self.name}: has {width}x{height} pixels; {why} to be decoded, more than a limit of "
            f"{max_pixels} pixels of {_BYTES_OF_PIXEL} bytes. Raise max_pixels (--max-pixels) if "
            "the photo is genuine."
        )


def open_photo(source: bytes | Image.Image | np.ndarray, name: str) -> Opened:
    """Read the head of a photo.

    Parameters
    ----------
    source : bytes, PIL.Image.Image or ndarray
        As `read_source` gives it.
    name : str
        For messages.

    Raises
    ------
    PhotoError
        If it is no image, is damaged, or is of a format that is not opened.
    """
    if isinstance(source, np.ndarray):
        array = _from_array(source, name)
        return Opened(name, array.size, Contained(b""), lambda: array)
    if isinstance(source, Image.Image):
        if refused := why_image_refused(source):
            raise PhotoError(f"{name}: is {refused}.")
        image = source.copy()  # decoded; some of Pillow's formats are turned then, and say so
        turned = Contained(b"", as_orientation(image.getexif().get(ExifTags.Base.Orientation)))
        return Opened(name, image.size, turned, lambda: image)
    try:
        contained = look_into(source)
    except ContainerError as error:
        raise PhotoError(f"{name}: the image cannot be decoded: {error}.") from error
    if contained.size is not None:
        return Opened(name, contained.size, contained, lambda: _open(contained.content, name))
    image = _open(contained.content, name)
    if image.format == "AVIF" and "exif" in image.info:
        contained = contained._replace(orientation=exif_orientation(image.info["exif"]))
    return Opened(name, image.size, contained, lambda: _open(contained.content, name))


def _open(content: bytes, name: str) -> Image.Image:
    """As `PIL.Image.open`, but by our list of formats, and without its limit of pixels."""
    known = openers().values()
    signed = [opener for opener, accepts in known if accepts and accepts(content[:64]) is True]
    # Some formats have no signature, so that anything may be taken for them, damaged files too.
    unsigned = [opener for opener, accepts in known if accepts is None]
    what = why_refused(content)
    for opener in signed or ([] if what else unsigned):
        try:
            return opener(BytesIO(content), "")
        except (SyntaxError, IndexError, TypeError, struct.error):
            continue  # so openers say that it is not theirs
    if what is None:
        what = f"not an image that can be opened, or damaged (it starts with {content[:12]!r})"
    raise PhotoError(f"{name}: is {what}.")


def _count(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def _draft(image: Image.Image, scale: float, levels: int) -> tuple[int, int]:
    """Have a decoder do what it can of the scaling; the size at which it will decode."""
    if scale < 0.5 and image.format == "JPEG":
        # libjpeg decodes at 1/2, 1/4 or 1/8 for a fraction of the cost. Twice the final size is
        # kept, so the resampling that follows still sees more detail than it returns.
        room = max(1, round(2 * scale * min(image.size)))
        image.draft(None, (room, room))
    elif scale < 0.5 and image.format == "JPEG2000":
        halvings = min(levels, int(-np.log2(2 * scale)))
        image.reduce = halvings  # type: ignore[method-assign, assignment]
        width, height = ((side + (1 << halvings >> 1)) >> halvings for side in image.size)
        return width, height
    return image.size


def _load(image: Image.Image, name: str) -> None:
    """Decode an image. What libtiff prints meanwhile is told with the photo's name."""
    if image.format != "TIFF":
        image.load()
        return
    failed: Exception | None = None
    with _stderr_lock, _printed() as lines:
        try:
            image.load()
        except Exception as error:
            failed = error
            lines.append(str(error))
    said = "; ".join(dict.fromkeys(lines))
    if failed is not None:
        raise OSError(said) from failed
    if said:
        warnings.warn(f"{name}: {said}", stacklevel=4)


_stderr_lock = threading.Lock()


@contextmanager
def _printed() -> Iterator[list[str]]:
    """Lines that a library prints to standard error, the first thousand bytes of them."""
    lines: list[str] = []
    try:
        sys.stderr.flush()
        console = os.dup(2)
    except (OSError, AttributeError, ValueError):  # there is no standard error
        yield lines
        return
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield lines
        finally:
            os.dup2(console, 2)
            os.close(console)
        caught.seek(0)
        lines += caught.read(1000).decode("utf-8", "replace").splitlines()


def _upright_rgb(image: Image.Image, halving: int, orientation: int) -> Image.Image:
    """8-bit RGB, each side halved so often, upright. Large images go through strip by strip."""
    to_rgb = _conversion(image)
    if halving == 1 and _count(image.size) <= _STRIP_PIXELS:
        rgb = to_rgb(image)
    elif halving == 1 and image.mode == "RGB" and not image.has_transparency_data:
        rgb = image
    else:
        rgb = Image.new("RGB", (-(-image.width // halving), -(-image.height // halving)))
        for top, strip in _strips(image, halving):
            part = to_rgb(strip)
            rgb.paste(part if halving == 1 else part.reduce(halving), (0, top // halving))
    return rgb.transpose(_TURNS[orientation]) if orientation in _TURNS else rgb


def _strips(image: Image.Image, multiple: int) -> Iterator[tuple[int, Image.Image]]:
    """Row by which it begins, and image, of strips that are some rows high."""
    rows = max(1, _STRIP_PIXELS // image.width // multiple) * multiple
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _conversion(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """What makes 8-bit RGB of an image, or of a strip of it.

    What is transparent becomes white. Of grey of more than 8 bits the upper 8 are kept: of those
    that are in use, for cameras of 10, 12 and 14 bits store them in 16.
    """
    if image.mode.startswith("I"):
        low, high = _range_of(image)
        if low < 0:
            # Pillow's 32 bits have a sign, so the light half of unsigned ones is below 0 as well.
            raise ValueError("it has grey values below 0; store it with 16 bits")
        bits = next(bits for bits in (8, 10, 12, 14, 16, 24, 31) if high < 1 << bits)
        return lambda part: _grey(np.asarray(part) >> (bits - 8))
    if image.mode == "F":
        _, high = _range_of(image)
        # Floats are counted in units, in bytes, or in words of 16 bits.
        unit = 1.0 if high <= 1 else 255.0 if high <= 255 else max(high, 65535.0)
        return lambda part: _grey(np.nan_to_num(np.asarray(part)).clip(0, unit) * (255 / unit))
    if image.has_transparency_data:
        return _on_white
    return lambda part: part if part.mode == "RGB" else part.convert("RGB")


def _range_of(image: Image.Image) -> tuple[float, float]:
    """The least and the greatest finite value, and 0."""
    low = high = 0.0
    for _, strip in _strips(image, 1):
        values = np.asarray(strip)
        values = values[np.isfinite(values)]
        low = min(low, float(values.min(initial=0)))
        high = max(high, float(values.max(initial=0)))
    return low, high


def _grey(values: np.ndarray) -> Image.Image:
    return Image.fromarray(values.astype(np.uint8)).convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    opacity, rgb = image.getchannel("A"), image.convert("RGB")
    if opacity.getextrema() == (255, 255):
        return rgb
    white = Image.new("RGB", image.size, "white")
    white.paste(rgb, mask=opacity)
    return white


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
