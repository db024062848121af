"""Activation maps on disk: computed once, written whole or not at all, read as memory maps.

One `.npy` file a photo and setting, a single record with named fields, so it opens with
NumPy alone and holds no pickle. The file's name is a hash of all that the map depends on.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from filelock import FileLock

from sklearn_cmac.maps import ActivationMap, StoredMap, open_map


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
        stored = open_map(path)
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
