"""The exact engine in memory: all dot products, with NumPy. The oracle for the others."""

from __future__ import annotations

from typing import Any

import numpy as np

from sklearn_cmac.collection._engine import Ids, Stamp
from sklearn_cmac.collection._regions import RegionTable, take_ranges
from sklearn_cmac.collection._row_engine import RowEngine, check_new_rows


class ExactEngine(RowEngine):
    """All dot products of queries with all descriptors, in memory.

    Parameters
    ----------
    stamp : Stamp

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac.collection import ExactEngine, Stamp
    >>> engine = ExactEngine(Stamp("a pipeline", dimension=2))
    >>> engine.upsert(["church", "tower"], np.array([[1, 0], [0.6, 0.8]], np.float32))
    >>> engine.kneighbors(np.array([[0.0, 1.0]]), k=1)
    (array([['tower']], dtype=object), array([[0.8]], dtype=float32))
    """

    def __init__(self, stamp: Stamp):
        self.stamp = stamp
        self._row_of: dict[str, int] = {}
        dimension = stamp.dimension
        self._columns = {
            "ids": _Column((), object),
            "hidden": _Column((), bool),
            "descriptors": _Column((dimension,), np.float32),
            "starts": _Column((), np.int64),
            "counts": _Column((), np.int64),
            "vectors": _Column((dimension,), np.float16),
            "weights": _Column((), np.float32),
        }

    def __len__(self) -> int:
        return len(self._row_of)

    def __contains__(self, id_: str) -> bool:
        return id_ in self._row_of

    def upsert(self, ids: Ids, descriptors: np.ndarray, regions: RegionTable | None = None) -> None:
        """As for every engine."""
        descriptors = check_new_rows(self.stamp, ids, descriptors, regions)
        self.delete(ids)
        first, region = len(self._rows("ids")), len(self._rows("vectors"))
        counts = np.zeros(len(ids), np.int64) if regions is None else regions.counts
        new: dict[str, Any] = {
            "ids": np.array(ids, object),
            "hidden": np.zeros(len(ids), bool),
            "descriptors": descriptors,
            "starts": region + np.cumsum([0, *counts])[:-1],
            "counts": counts,
        }
        if regions is not None:
            new.update(vectors=regions.vectors, weights=regions.weights)
        for name, rows in new.items():
            self._columns[name].append(rows)
        self._row_of.update({id_: first + i for i, id_ in enumerate(ids)})

    def delete(self, ids: Ids) -> None:
        """As for every engine."""
        for id_ in ids:
            row = self._row_of.pop(id_, None)
            if row is not None:
                self._rows("hidden")[row] = True

    def close(self) -> None:
        """As for every engine."""

    def _find(self, ids: Ids, absent: int | None = None) -> np.ndarray:
        if absent is None and (missing := [id_ for id_ in ids if id_ not in self]):
            raise KeyError(f"there is no photo {missing[0]!r}")
        return np.fromiter((self._row_of.get(id_, absent) for id_ in ids), np.int64, len(ids))

    def _ids_of(self, rows: np.ndarray) -> np.ndarray:
        return self._rows("ids")[rows]

    def _live(self) -> np.ndarray:
        return np.flatnonzero(~self._hidden())

    def _hidden(self) -> np.ndarray:
        return self._rows("hidden")

    def _descriptors(self) -> np.ndarray:
        return self._rows("descriptors")

    def _table(self, rows: np.ndarray) -> RegionTable:
        if not self.stamp.regions:
            raise ValueError("no region vectors are kept here")
        starts, counts = self._rows("starts")[rows], self._rows("counts")[rows]
        return take_ranges(self._rows("vectors"), self._rows("weights"), starts, counts)

    def _rows(self, name: str) -> np.ndarray:
        return self._columns[name].rows


class _Column:
    """An array that rows are appended to; its room doubles, so that adding a row costs a row."""

    def __init__(self, shape: tuple[int, ...], dtype: Any):
        self._room = np.empty((0, *shape), dtype)
        self._used = 0

    @property
    def rows(self) -> np.ndarray:
        return self._room[: self._used]

    def append(self, rows: np.ndarray) -> None:
        used = self._used + len(rows)
        if used > len(self._room):
            grown = np.empty(
                (max(used, 2 * self._used, 64), *self._room.shape[1:]), self._room.dtype
            )
            grown[: self._used] = self.rows
            self._room = grown
        self._room[self._used : used] = rows
        self._used = used

    def __getstate__(self) -> dict[str, Any]:
        """Without the room that is left."""
        return {"_room": np.array(self.rows), "_used": self._used}
