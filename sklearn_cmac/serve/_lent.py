"""Photos that visitors ask with: in memory for a while, by the key of their content."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

from sklearn_cmac.photos import digest_source


@dataclass(frozen=True)
class LentPhoto:
    """A photo that is in no index.

    Parameters
    ----------
    content : bytes
        Of its file.
    name : str
        As its owner calls it.
    since : float
    """

    content: bytes
    name: str
    since: float


class LentPhotos:
    """The newest of them, no more than may be kept.

    Parameters
    ----------
    most : int
    most_bytes : int
        Of all together.
    seconds : float
        That one is kept.
    """

    def __init__(self, most: int = 64, most_bytes: int = 256 << 20, seconds: float = 3600.0):
        self.most, self.most_bytes, self.seconds = most, most_bytes, seconds
        self._photos: OrderedDict[str, LentPhoto] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, content: bytes, name: str) -> str:
        """Keep a photo, and say by which key."""
        key = digest_source(content)
        with self._lock:
            self._photos[key] = LentPhoto(content, name, time.monotonic())
            self._photos.move_to_end(key)
            self._forget_old()
        return key

    def get(self, key: str) -> LentPhoto | None:
        """The photo of a key, if it is kept still."""
        with self._lock:
            self._forget_old()
            return self._photos.get(key)

    def __len__(self) -> int:
        return len(self._photos)

    def _forget_old(self) -> None:
        oldest = time.monotonic() - self.seconds
        size = sum(len(photo.content) for photo in self._photos.values())
        while self._photos:
            key, photo = next(iter(self._photos.items()))
            if len(self) <= self.most and size <= self.most_bytes and photo.since >= oldest:
                break
            size -= len(photo.content)
            del self._photos[key]
