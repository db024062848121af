"""Photos as browsers see them: scaled, encoded anew without metadata, kept in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from io import BytesIO

from PIL import Image

from sklearn_cmac.photos import Photo, PhotoError, digest_source, read_source
from sklearn_cmac.pixels import decode, photo_size

# Pixels of the long side.
SIZES = {"thumbnail": 480, "view": 1600}
# As `decode` counts them; a JPEG of 200 megapixels is decoded at a part of its sides.
MAX_PIXELS = 48_000_000

# In the place of a photo whose file is gone.
PLACEHOLDER = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 320 240"><rect width="320" height="240" '
    'fill="#8884"/><path d="M110 150l32-40 22 26 16-16 30 30zM124 90h72M96 60l128 120" '
    'fill="none" stroke="#888" stroke-width="8" stroke-linecap="round"/></svg>'
)


@dataclass(frozen=True)
class Picture:
    """A JPEG file, and the size of the photo that it is of.

    Parameters
    ----------
    jpeg : bytes
    photo_size : (width, height)
        Of the upright original.
    """

    jpeg: bytes
    photo_size: tuple[int, int]


def make_picture(photo: Photo, max_size: int) -> Picture:
    """Decode a photo, and encode what its pixels show, and nothing else of its file.

    Raises
    ------
    PhotoError
        If it cannot be used, or costs too much.
    """
    pixels, size = decode(read_source(photo), photo.name, max_size=max_size, max_pixels=MAX_PIXELS)
    jpeg = BytesIO()
    Image.fromarray(pixels).save(jpeg, "JPEG", quality=82, progressive=True)
    return Picture(jpeg.getvalue(), size)


class Pictures:
    """Pictures that were made lately.

    Parameters
    ----------
    most_bytes : int
        Of all together.
    """

    def __init__(self, most_bytes: int = 128 << 20):
        self.most_bytes = most_bytes
        self._kept: OrderedDict[tuple[str, str], Picture] = OrderedDict()
        self._sizes: dict[str, tuple[int, int]] = {}
        self._n_bytes = 0
        self._lock = threading.Lock()

    def of(self, key: str, photo: Photo, size: str) -> Picture:
        """The picture of a photo in one of the `SIZES`.

        Raises
        ------
        PhotoError
            If it cannot be used, or its content is not that of the key: size and time of a file
            are alike where a link was made to lead to another.
        """
        with self._lock:
            if (key, size) in self._kept:
                self._kept.move_to_end((key, size))
                return self._kept[key, size]
        content = read_source(photo)
        if digest_source(content) != key:
            raise PhotoError(f"{photo.name}: its file is another now.")
        # Two may make one at once, and nobody waits.
        made = make_picture(Photo(content, name=photo.name), SIZES[size])
        with self._lock:
            if (key, size) not in self._kept:
                self._kept[key, size] = made
                self._n_bytes += len(made.jpeg)
            while self._n_bytes > self.most_bytes:
                self._n_bytes -= len(self._kept.popitem(last=False)[1].jpeg)
            self._note(key, made.photo_size)
        return made

    def photo_size(self, key: str, photo: Photo) -> tuple[int, int]:
        """Width and height of the upright photo, in its own pixels.

        Raises
        ------
        PhotoError
        """
        with self._lock:
            known = self._sizes.get(key)
        if known is None:
            known = photo_size(photo)
            with self._lock:
                self._note(key, known)
        return known

    def known_size(self, key: str) -> tuple[int, int] | None:
        """The same, if it was looked at lately."""
        return self._sizes.get(key)

    def _note(self, key: str, size: tuple[int, int]) -> None:
        if len(self._sizes) >= 100_000:
            self._sizes.clear()
        self._sizes[key] = size
