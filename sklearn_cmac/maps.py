"""The records that travel through a pipeline: activations, regions, region vectors.

Steps never change a record; they return a copy that knows one thing more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from scipy.ndimage import maximum_filter

from sklearn_cmac.photos import Box, PhotoError, check_box_inside


class Regions:
    """Regions of one activation map, each a set of map cells.

    Clusters of any shape, overlapping squares, boxes and the whole map are all that. Cells
    are numbered row by row, and the regions are kept as in a CSR matrix: region r consists
    of the cells ``indices[indptr[r]:indptr[r + 1]]``.

    Parameters
    ----------
    indices : array-like of int
        Cells of all regions, one region after the other.
    indptr : array-like of int of shape (R + 1,)
        Where each region starts in `indices`.
    shape : (H, W)
        Rows and columns of the map.
    kinds : array-like of int of shape (R,), optional
        Which proposal a region comes from: the position of its partition (the first cluster
        count, the second, …) or of its grid level. Default: all 0.

    Examples
    --------
    >>> from sklearn_cmac import Regions
    >>> regions = Regions.from_labels([[0, 0, 1, 1, 1, 1]], shape=(2, 3))
    >>> len(regions), regions.areas.tolist(), regions[0].tolist()
    (2, [2, 4], [0, 1])
    """

    def __init__(
        self,
        indices: Any,
        indptr: Any,
        shape: tuple[int, int],
        kinds: Any = None,
    ):
        self.indices = np.asarray(indices, dtype=np.int32)
        self.indptr = np.asarray(indptr, dtype=np.int64)
        self.shape = (int(shape[0]), int(shape[1]))
        self.kinds = np.zeros(len(self), np.int16) if kinds is None else np.asarray(kinds, np.int16)
        if np.any(np.diff(self.indptr) < 1):
            raise ValueError("a region has at least one cell")

    @classmethod
    def from_cells(cls, cells: Sequence[Any], shape: tuple[int, int], kinds: Any = None) -> Regions:
        """Regions from one array of cell numbers each."""
        if not cells:
            raise ValueError("a map has at least one region")
        starts = np.cumsum([0, *map(len, cells)])
        return cls(np.concatenate([np.asarray(c) for c in cells]), starts, shape, kinds)

    @classmethod
    def from_labels(cls, labels: Any, shape: tuple[int, int]) -> Regions:
        """Regions from partitions of the cells.

        Parameters
        ----------
        labels : array-like of int of shape (L, H * W)
            One row per partition. Cells that share a label are one region; negative labels
            are left out.
        shape : (H, W)
        """
        cells, kinds = [], []
        for kind, partition in enumerate(np.atleast_2d(labels)):
            order = np.argsort(partition, kind="stable")
            first = np.flatnonzero(np.diff(partition[order], prepend=partition[order[0]] - 1))
            for group in np.split(order, first[1:]):
                if partition[group[0]] >= 0:
                    cells.append(group)
                    kinds.append(kind)
        return cls.from_cells(cells, shape, kinds)

    @classmethod
    def from_windows(
        cls,
        windows: Iterable[tuple[int, int, int, int]],
        shape: tuple[int, int],
        kinds: Any = None,
    ) -> Regions:
        """Regions from windows (row0, col0, row1, col1) of cells, the ends excluded."""
        grid = np.arange(shape[0] * shape[1]).reshape(shape)
        return cls.from_cells([grid[a:c, b:d].ravel() for a, b, c, d in windows], shape, kinds)

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def __getitem__(self, r: int) -> np.ndarray:
        if not -len(self) <= r < len(self):
            raise IndexError(f"region {r} of {len(self)}")
        r %= len(self)
        return self.indices[self.indptr[r] : self.indptr[r + 1]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[r] for r in range(len(self)))

    def __repr__(self) -> str:
        return f"Regions({len(self)} regions of a {self.shape[0]}x{self.shape[1]} map)"

    @property
    def areas(self) -> np.ndarray:
        """Number of cells of each region, of shape (R,)."""
        return np.diff(self.indptr)

    def grown(self, n_cells: int) -> Regions:
        """Each region with the cells around it, `n_cells` in every direction, corners too."""
        if n_cells < 1:
            return self
        side = 2 * n_cells + 1
        masks = maximum_filter(self.masks().view(np.uint8), size=(1, side, side), mode="constant")
        cells = [np.flatnonzero(mask) for mask in masks.reshape(len(self), -1)]
        return Regions.from_cells(cells, self.shape, self.kinds)

    def masks(self) -> np.ndarray:
        """Which cells belong to each region, as booleans of shape (R, H, W)."""
        masks = np.zeros((len(self), self.shape[0] * self.shape[1]), dtype=bool)
        masks[np.repeat(np.arange(len(self)), self.areas), self.indices] = True
        return masks.reshape(len(self), *self.shape)


class MapSource(Protocol):
    """Where the arrays of an activation map are: in memory, or in a file."""

    @property
    def activations(self) -> np.ndarray:
        """Activations (H, W, D)."""

    @property
    def colors(self) -> np.ndarray | None:
        """Colours (H, W, 3), if known."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""

    def crop(self, rows: slice, cols: slice) -> MapSource:
        """The cells `rows`, `cols`."""


class MapArrays(NamedTuple):
    """Activations (H, W, D) and colours (H, W, 3) of one photo, in memory."""

    activations: np.ndarray
    colors: np.ndarray | None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        height, width = self.activations.shape[:2]
        return height, width

    def crop(self, rows: slice, cols: slice) -> MapArrays:
        """The cells `rows`, `cols`."""
        colors = None if self.colors is None else self.colors[rows, cols]
        return MapArrays(self.activations[rows, cols], colors)


@dataclass(frozen=True, eq=False, repr=False)
class ActivationMap:
    """What is known about one photo between the extractor and the pooler.

    Parameters
    ----------
    arrays : MapSource
        The arrays themselves (`MapArrays`), or a handle on a file that holds them. A handle
        pickles as a path, and reads through a memory map.
    name : str
        The photo's name.
    photo_size : (width, height)
        Pixels of the photo.
    window : (x0, y0, x1, y1)
        The part of the photo that the map's cells divide evenly among them.
    box : tuple of 4 floats, optional
        The photo's annotated box.
    embedding : ndarray of shape (H, W, C), optional
        Coordinates whose Euclidean distance compares two cells (eq. 2).
    regions : Regions, optional
        The proposed regions.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac import ActivationMap
    >>> record = ActivationMap.from_arrays(np.ones((3, 4, 8)), name="a photo")
    >>> record
    ActivationMap('a photo', 3x4 cells, 8 channels)
    >>> record.crop((0, 0, 2, 3)).shape
    (3, 2)
    """

    arrays: MapSource
    name: str = ""
    photo_size: tuple[int, int] = (0, 0)
    window: Box = (0.0, 0.0, 0.0, 0.0)
    box: Box | None = None
    embedding: np.ndarray | None = None
    regions: Regions | None = None

    @classmethod
    def from_arrays(
        cls,
        activations: np.ndarray,
        colors: np.ndarray | None = None,
        *,
        name: str = "",
        photo_size: tuple[int, int] | None = None,
        box: Box | None = None,
    ) -> ActivationMap:
        """A record of activations from elsewhere.

        Parameters
        ----------
        activations : ndarray of shape (H, W, D)
        colors : ndarray of shape (H, W, 3), optional
            RGB of each cell; needed for colour clusters only.
        name : str
        photo_size : (width, height), optional
            Default: one pixel per cell.
        box : tuple of 4 floats, optional
        """
        activations = np.asarray(activations)
        if activations.ndim != 3 or 0 in activations.shape:
            raise ValueError(f"{name}: activations are (H, W, D), got shape {activations.shape}")
        if colors is not None and np.shape(colors) != (*activations.shape[:2], 3):
            raise ValueError(f"{name}: colors have shape {np.shape(colors)}, not (H, W, 3)")
        if photo_size is None:
            photo_size = activations.shape[1], activations.shape[0]
        window = (0.0, 0.0, float(photo_size[0]), float(photo_size[1]))
        return cls(MapArrays(activations, colors), name, photo_size, window, box)

    @property
    def activations(self) -> np.ndarray:
        """The activations, of shape (H, W, D)."""
        with self._named():
            return self.arrays.activations

    @property
    def colors(self) -> np.ndarray | None:
        """RGB of each cell, of shape (H, W, 3), if known."""
        with self._named():
            return self.arrays.colors

    @contextmanager
    def _named(self) -> Iterator[None]:
        """A file that has gone or is damaged is the error of this photo."""
        try:
            yield
        except OSError as error:
            raise PhotoError(
                f"{self.name}: {error}. Describe the photo again with the same extractor."
            ) from error

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the map."""
        return self.arrays.shape

    def __repr__(self) -> str:
        height, width, channels = self.activations.shape
        return f"ActivationMap({self.name!r}, {height}x{width} cells, {channels} channels)"

    def cells_inside(self, box: Box) -> tuple[slice, slice, Box]:
        """The cells whose centre lies inside a box of the photo, or else the nearest cell.

        Parameters
        ----------
        box : tuple of 4 floats
            (x0, y0, x1, y1) in pixels of the photo.

        Returns
        -------
        rows, cols : slice
        window : tuple of 4 floats
            The part of the photo that these cells divide among them.

        Raises
        ------
        PhotoError
            If the box does not lie in the photo.
        """
        x0, y0, x1, y1 = check_box_inside(box, self.photo_size, self.name)
        height, width = self.shape
        rows, top, bottom = _cells_inside(y0, y1, self.window[1], self.window[3], height)
        cols, left, right = _cells_inside(x0, x1, self.window[0], self.window[2], width)
        return rows, cols, (left, top, right, bottom)

    def crop(self, box: Box) -> ActivationMap:
        """Keep the cells whose centre lies inside a box of the photo (crop X).

        If no centre does, the nearest cell is kept. What was computed from the whole map
        (embedding, regions) is dropped.

        Parameters
        ----------
        box : tuple of 4 floats
            (x0, y0, x1, y1) in pixels of the photo.

        Raises
        ------
        PhotoError
            If the box does not lie in the photo.
        """
        rows, cols, window = self.cells_inside(box)
        return replace(
            self,
            arrays=self.arrays.crop(rows, cols),
            window=window,
            embedding=None,
            regions=None,
        )

    def box_of(self, top: int, left: int, bottom: int, right: int) -> Box:
        """The pixels (x0, y0, x1, y1) of a window of cells, its ends excluded."""
        x0, y0, x1, y1 = self.window
        across, down = (x1 - x0) / self.shape[1], (y1 - y0) / self.shape[0]
        return x0 + left * across, y0 + top * down, x0 + right * across, y0 + bottom * down

    def as_query(self) -> ActivationMap:
        """The part inside the annotated box, as a query cropped in activation space."""
        if self.box is None:
            raise PhotoError(f"{self.name}: has no box, so there is no object to ask for.")
        return self.crop(self.box)


def _cells_inside(
    low: float, high: float, start: float, stop: float, n: int
) -> tuple[slice, float, float]:
    """Cells along one axis whose centre is in [low, high], and where they start and stop."""
    step = (stop - start) / n
    first = int(np.ceil((low - start) / step - 0.5))
    last = int(np.floor((high - start) / step - 0.5))
    if last < first:
        first = last = int((0.5 * (low + high) - start) / step)
    first, last = np.clip([first, last], 0, n - 1).tolist()
    return slice(first, last + 1), start + first * step, start + (last + 1) * step


@dataclass(frozen=True, eq=False, repr=False)
class RegionVectors:
    """One vector and one weight for each region of one photo.

    Parameters
    ----------
    vectors : ndarray of shape (R, D)
    weights : ndarray of shape (R,), optional
        What each region counts for when they are summed. Default: 1 each.
    name : str
        The photo's name.
    regions : Regions, optional
        Where in the photo the vectors come from.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac import RegionVectors
    >>> len(RegionVectors(np.ones((20, 512))))
    20
    """

    vectors: np.ndarray
    weights: np.ndarray | None = None
    name: str = ""
    regions: Regions | None = None

    def __len__(self) -> int:
        return len(self.vectors)

    def __repr__(self) -> str:
        return f"RegionVectors({self.name!r}, {len(self)} regions)"


def check_records(X: Any, step: Any, need: str = "") -> Sequence[ActivationMap]:
    """`X` if it is a sequence of records that have the field `need`, else an error.

    Parameters
    ----------
    X : sequence of ActivationMap
    step : estimator
        Named in the error.
    need : {"", "embedding", "regions"}
    """
    name = type(step).__name__
    if not isinstance(X, (list, tuple)) or not all(isinstance(r, ActivationMap) for r in X):
        raise ValueError(
            f"{name} expects a sequence of ActivationMap, as ConvFeatureExtractor returns it; "
            f"got {type(X).__name__}"
            + (f" of {type(X[0]).__name__}" if isinstance(X, (list, tuple)) and X else "")
        )
    if not X:
        raise ValueError(f"{name} got 0 photos; at least 1 is required")
    if need:
        for record in X:
            if getattr(record, need) is None:
                before = "ActivationPCA" if need == "embedding" else "a region step"
                raise ValueError(f"{record.name}: has no {need}; {before} must come before {name}")
    return X


def check_vectors(X: Any, step: Any, n_features: int | None) -> list[RegionVectors]:
    """The entries of `X` as region vectors with weights, checked.

    Parameters
    ----------
    X : sequence of RegionVectors or of arrays of shape (R_i, D)
    step : estimator
        Named in errors.
    n_features : int, optional
        D to insist on; default: that of the first photo.
    """
    records = []
    for i, item in enumerate(X):
        record = item if isinstance(item, RegionVectors) else RegionVectors(np.asarray(item))
        name = record.name or f"photo {i}"
        vectors = record.vectors
        if vectors.ndim != 2 or not len(vectors):
            raise PhotoError(f"{name}: region vectors are (R, D), got shape {vectors.shape}")
        n_features = n_features or vectors.shape[1]
        if vectors.shape[1] != n_features:
            raise PhotoError(
                f"{name}: its region vectors have {vectors.shape[1]} dimensions, "
                f"{type(step).__name__} expects {n_features}; use the network, layer and whitening "
                "that it was fitted with"
            )
        if not np.isfinite(vectors).all():
            raise PhotoError(f"{name}: its region vectors are not finite numbers")
        if record.weights is None:
            record = replace(record, weights=np.ones(len(vectors), vectors.dtype))
        records.append(record)
    return records
