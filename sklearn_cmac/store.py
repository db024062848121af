"""Activation maps on disk: computed once, written whole or not at all, read as memory maps.

One `.npy` file a photo and setting, a single record with named fields, so it opens with
NumPy alone and holds no pickle. The file's name is a hash of all that the map depends on.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock

from sklearn_cmac.maps import ActivationMap


@dataclass(frozen=True)
class StoredMap:
    """A handle on a stored map or a part of it. It pickles as a path and two ranges.

    Parameters
    ----------
    path : str
        The map's file.
    rows, cols : (start, stop)
        The cells that this handle shows.
    """

    path: str
    rows: tuple[int, int]
    cols: tuple[int, int]

    @property
    def activations(self) -> np.ndarray:
        """Activations (H, W, D), memory-mapped and read-only."""
        return self._field("activations")

    @property
    def colors(self) -> np.ndarray:
        """Colours (H, W, 3)."""
        return self._field("colors")

    def crop(self, rows: slice, cols: slice) -> StoredMap:
        """A handle on the cells `rows`, `cols` of this one."""
        first_row, first_col = self.rows[0], self.cols[0]
        return StoredMap(
            self.path,
            (first_row + rows.start, first_row + rows.stop),
            (first_col + cols.start, first_col + cols.stop),
        )

    def _field(self, name: str) -> np.ndarray:
        # Opened anew each time: a memory map that is kept holds a file descriptor, and a
        # collection has more photos than a process may have open files.
        return _open(self.path)[name][0][slice(*self.rows), slice(*self.cols)]


class MapStore:
    """A folder of activation maps.

    Parameters
    ----------
    folder : path
        Created when the first map is written.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = Path(folder)

    def path(self, key: str) -> Path:
        """Where the map of this key (hexadecimal digits) is, or would be."""
        return self.folder / key[:2] / f"{key}.npy"

    def get(self, key: str) -> ActivationMap | None:
        """The stored map as a handle, or None."""
        path = self.path(key)
        if not path.exists():
            return None
        stored = _open(path)
        height, width = stored["activations"].shape[1:3]
        x0, y0, x1, y1 = stored["window"][0].tolist()
        photo_width, photo_height = stored["photo_size"][0].tolist()
        return ActivationMap(
            StoredMap(str(path.resolve()), (0, height), (0, width)),
            photo_size=(photo_width, photo_height),
            window=(x0, y0, x1, y1),
        )

    def get_or_compute(self, key: str, compute: Callable[[], ActivationMap]) -> ActivationMap:
        """The stored map; computed and stored first if it is not there.

        Processes that want the same map wait for the one that computes it.
        """
        stored = self.get(key)
        if stored is not None:
            return stored
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_suffix(".lock")
        with FileLock(lock):
            if not path.exists():
                self._write(path, compute())
        lock.unlink(missing_ok=True)
        return self.get_or_compute(key, compute)

    def _write(self, path: Path, record: ActivationMap) -> None:
        values = {
            "activations": record.activations,
            "colors": np.asarray(record.colors),
            "photo_size": np.asarray(record.photo_size, np.int64),
            "window": np.asarray(record.window, np.float64),
        }
        stored = np.zeros(1, dtype=[(k, v.dtype, v.shape) for k, v in values.items()])
        for name, value in values.items():
            stored[name][0] = value
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            try:
                np.save(file, stored, allow_pickle=False)
            except BaseException:
                os.unlink(file.name)
                raise
        os.replace(file.name, path)


def _open(path: str | os.PathLike[str]) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path}: the stored activation map is gone. Describe the photo again with the same "
            "ConvFeatureExtractor(store=...)."
        ) from None
