"""Who a photo is: its source, name, box and content; and what is asked about it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Union

import numpy as np
from PIL import ExifTags, Image

from sklearn_cmac._files import read_whole
from sklearn_cmac.formats import why_image_refused

# Of a photo's file; the largest scans and panoramas have a few hundred million.
MOST_BYTES = 512 << 20

Box = tuple[float, float, float, float]
PhotoSource = Union[str, "os.PathLike[str]", bytes, Image.Image, np.ndarray]


class PhotoError(ValueError):
    """A photo that cannot be used. The message names it and says what was expected.

    Parameters
    ----------
    message : str
        What was wrong, with which photo, and what to do.
    failures : sequence of (int, str, str)
        Position in the input, name and reason of each photo that failed, when several
        photos were described at once.
    maps : sequence of (int, ActivationMap or LocalFeatures)
        Position and record of the photos that did not fail: they are not lost.
    """

    def __init__(
        self,
        message: str,
        failures: Sequence[tuple[int, str, str]] = (),
        maps: Sequence[tuple[int, Any]] = (),
    ):
        super().__init__(message)
        self.failures = list(failures)
        self.maps = list(maps)


@contextmanager
def errors_of(name: str) -> Iterator[None]:
    """Whatever is raised inside becomes the error of this photo.

    Codecs raise what the damage leads to, `SyntaxError` included.
    """
    try:
        yield
    except PhotoError:
        raise
    except MemoryError as error:
        raise PhotoError(f"{name}: there is too little memory to open it.") from error
    except Exception as error:
        raise PhotoError(
            f"{name}: the image is damaged or cut off ({type(error).__name__}: {error}). "
            "Replace the file."
        ) from error


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo, wherever its pixels are, and where the object of interest is in it.

    Parameters
    ----------
    source : path, bytes, PIL.Image.Image or ndarray
        An image file, the content of one, an opened image, or pixels of shape (H, W),
        (H, W, 1), (H, W, 3) or (H, W, 4): integers in 0..255, 16-bit unsigned integers, or
        floats in [0, 1].
    box : tuple of 4 floats, optional
        (x0, y0, x1, y1) of the annotated object, in pixels of the upright photo. It is an
        annotation: describing a `Photo` ignores it, `as_query` uses it.
    name : str, optional
        How messages and rankings call this photo. Default: its path, else what it is and the
        first digits of its content's hash. A name is for people: nothing is computed from it.

    Raises
    ------
    PhotoError
        If the box is not four finite numbers with x0 < x1 and y0 < y1.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac import Photo
    >>> photo = Photo(np.zeros((48, 64, 3), np.uint8), box=(8, 8, 40, 40), name="night")
    >>> photo.as_query()
    Query(photo=Photo('night', box=(8.0, 8.0, 40.0, 40.0)), box=(8.0, 8.0, 40.0, 40.0))
    """

    source: PhotoSource
    box: Box | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", _default_name(self.source))
        if self.box is not None:
            object.__setattr__(self, "box", check_box(self.box, self.name))

    def __repr__(self) -> str:
        return f"Photo({self.name!r}" + (f", box={self.box})" if self.box else ")")

    def as_query(self) -> Query:
        """Ask for the object in the photo's box.

        Returns
        -------
        Query
            The photo and its box.

        Raises
        ------
        PhotoError
            If the photo has no box.
        """
        if self.box is None:
            raise PhotoError(f"{self.name}: has no box, so there is no object to ask for.")
        return Query(self, self.box)


@dataclass(frozen=True, eq=False)
class Query:
    """A request: find the object that this box of this photo shows.

    Parameters
    ----------
    photo : Photo or anything that `Photo` takes
        The photo that shows the object.
    box : tuple of 4 floats
        (x0, y0, x1, y1) in pixels of the upright photo. The extractor crops to it, in the
        photo or in its activations (``query_crop``).

    Raises
    ------
    PhotoError
        If the box is not four finite numbers with x0 < x1 and y0 < y1.

    Examples
    --------
    >>> from sklearn_cmac import Query
    >>> Query("church.jpg", (10, 20, 300, 400))
    Query(photo=Photo('church.jpg'), box=(10.0, 20.0, 300.0, 400.0))
    """

    photo: Photo
    box: Box

    def __post_init__(self) -> None:
        if not isinstance(self.photo, Photo):
            object.__setattr__(self, "photo", Photo(self.photo))
        object.__setattr__(self, "box", check_box(self.box, self.name))

    @property
    def name(self) -> str:
        """The photo's name."""
        return self.photo.name


# What a sequence of photos may consist of.
Item = Photo | Query | PhotoSource


def as_photo(item: Any) -> Photo | Query:
    """`item` itself if it is a `Photo` or `Query`, else a `Photo` of it."""
    return item if isinstance(item, (Photo, Query)) else Photo(item)


def name_of(item: Any) -> str:
    """The name by which messages and rankings call a photo, or what is none."""
    try:
        return as_photo(item).name
    except PhotoError:
        return getattr(item, "name", "") or repr(item)[:60]


def check_box(box: Any, name: str) -> Box:
    """Four finite floats (x0, y0, x1, y1) with x0 < x1 and y0 < y1, or a `PhotoError`."""
    try:
        x0, y0, x1, y1 = (float(v) for v in box)
    except (TypeError, ValueError):
        raise PhotoError(
            f"{name}: a box is four numbers (x0, y0, x1, y1) in pixels, got {repr(box)[:80]}."
        ) from None
    if not np.isfinite([x0, y0, x1, y1]).all() or x1 <= x0 or y1 <= y0:
        raise PhotoError(
            f"{name}: the box {repr(box)[:80]} is empty; expected (x0, y0, x1, y1) with x0 < x1 "
            "and y0 < y1. If it holds x, y, width and height, pass (x, y, x + width, y + height)."
        )
    return x0, y0, x1, y1


def check_box_inside(box: Box, size: tuple[int, int], name: str) -> Box:
    """Clip `box` to a photo of `size` (width, height); more than 1% outside is an error."""
    width, height = size
    x0, y0, x1, y1 = box
    slack_x, slack_y = 1 + 0.01 * width, 1 + 0.01 * height
    clipped = max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))
    inside = x0 >= -slack_x and y0 >= -slack_y and x1 <= width + slack_x and y1 <= height + slack_y
    if not inside or clipped[2] - clipped[0] < 1 or clipped[3] - clipped[1] < 1:
        raise PhotoError(
            f"{name}: the box {box} does not lie in the photo of {width}x{height} pixels. "
            "Boxes are (x0, y0, x1, y1) in pixels of the upright original; is this a resized "
            "copy of the annotated photo, or does the box hold x, y, width and height?"
        )
    return clipped


def _default_name(source: Any) -> str:
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    if isinstance(source, (bytes, bytearray)):
        return f"<{len(source)} bytes {_first_digits(source)}>"
    if isinstance(source, Image.Image):
        file = getattr(source, "filename", "")
        return file or f"<image {source.width}x{source.height} {_first_digits(source)}>"
    if isinstance(source, np.ndarray):
        return f"<array {'x'.join(map(str, source.shape))} {_first_digits(source)}>"
    raise PhotoError(
        "a photo is a path, bytes, a PIL image or a numpy array, got "
        f"{type(source).__name__}: {str(source)[:60]}"
    )


def _first_digits(source: bytes | bytearray | Image.Image | np.ndarray) -> str:
    try:
        return digest_source(source)[:8]
    except Exception:  # a damaged image raises whatever its codec does, when it is described too
        return "damaged"


def read_source(photo: Photo) -> bytes | Image.Image | np.ndarray:
    """The photo's content: a file is read into memory, everything else is as it came.

    Raises
    ------
    PhotoError
        If it is no regular file, cannot be read, is empty, or has more than `MOST_BYTES`.
    """
    source = photo.source
    if isinstance(source, (str, os.PathLike)):
        try:
            source = read_whole(source, MOST_BYTES)
        except OSError as error:
            raise PhotoError(f"{photo.name}: cannot be read ({error.strerror}).") from error
    if isinstance(source, (bytes, bytearray)):
        if not source:
            raise PhotoError(f"{photo.name}: the file is empty.")
        return bytes(source)
    return source


def digest_source(source: bytes | bytearray | Image.Image | np.ndarray) -> str:
    """SHA-256 of a photo's content, as hexadecimal digits."""
    if isinstance(source, (bytes, bytearray)):
        return hashlib.sha256(source).hexdigest()
    if isinstance(source, Image.Image):
        if refused := why_image_refused(source):
            raise PhotoError(f"the image is {refused}.")
        orientation = source.getexif().get(ExifTags.Base.Orientation)
        colors = source.getpalette(), source.info.get("transparency")
        form: tuple[Any, ...] = "image", source.mode, source.size, orientation, colors
        content = source.tobytes()
    else:
        form = "array", source.dtype.str, source.shape
        content = np.ascontiguousarray(source).tobytes()
    return hashlib.sha256(f"{form!r}\0".encode() + content).hexdigest()
