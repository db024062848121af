"""The records that travel through a pipeline: activations, regions, region vectors.

Steps never change a record; they return a copy that knows one thing more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import maximum_filter

from sklearn_cmac._html import Html, html_table
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

    Raises
    ------
    ValueError
        If there is no region, or one without cells, with a cell outside the map, or with a
        cell twice.

    Examples
    --------
    >>> from sklearn_cmac import Regions
    >>> regions = Regions.from_labels([[0, 0, 1, 1, 1, 1]], shape=(2, 3))
    >>> len(regions), regions.areas.tolist(), regions[0].tolist()
    (2, [2, 4], [0, 1])
    """

    def __init__(
        self,
        indices: ArrayLike,
        indptr: ArrayLike,
        shape: tuple[int, int],
        kinds: ArrayLike | None = None,
    ):
        self.shape = _check_shape(shape)
        self.indptr = _whole_numbers(indptr, "indptr")
        _check_indptr(self.indptr, np.size(indices))
        height, width = self.shape
        cells = _whole_numbers(indices, f"indices of a {height}x{width} map", height * width)
        self.indices = cells.astype(np.int32)
        self._check_sets()
        self.kinds = np.zeros(len(self), np.int16)
        if kinds is not None:
            if np.shape(kinds) != (len(self),):
                raise ValueError(f"kinds are ({len(self)},), one a region, got {np.shape(kinds)}")
            self.kinds[:] = _whole_numbers(kinds, "kinds", np.iinfo(np.int16).max + 1)

    def _check_sets(self) -> None:
        steps = np.diff(self.indices)
        steps[self.indptr[1:-1] - 1] = 1
        rising = (steps > 0).all()  # as they mostly are; then no cell is there twice
        if not rising and np.count_nonzero(self.masks()) < len(self.indices):
            raise ValueError("a region is a set of cells, and one of these has a cell twice")

    @classmethod
    def from_cells(
        cls, cells: Sequence[ArrayLike], shape: tuple[int, int], kinds: ArrayLike | None = None
    ) -> Regions:
        """Regions from one array of cell numbers each."""
        if not len(cells):
            raise ValueError("a map has at least one region")
        arrays = [np.asarray(region) for region in cells]
        starts = np.cumsum([0, *map(len, arrays)])
        return cls(np.concatenate(arrays), starts, shape, kinds)

    @classmethod
    def from_labels(cls, labels: ArrayLike, shape: tuple[int, int]) -> Regions:
        """Regions from partitions of the cells.

        Parameters
        ----------
        labels : array-like of int of shape (L, H * W)
            One row per partition. Cells that share a label are one region; negative labels
            are left out.
        shape : (H, W)
        """
        labels = np.atleast_2d(labels)
        height, width = _check_shape(shape)
        if labels.ndim != 2 or labels.shape[1] != height * width:
            raise ValueError(
                f"labels of a {height}x{width} map are (L, {height * width}), got {labels.shape}"
            )
        cells, kinds = [], []
        for kind, partition in enumerate(labels):
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
        kinds: ArrayLike | None = None,
    ) -> Regions:
        """Regions from windows (row0, col0, row1, col1) of cells, the ends excluded."""
        height, width = _check_shape(shape)
        grid = np.arange(height * width).reshape(height, width)
        cells = []
        for top, left, bottom, right in windows:
            if not (0 <= top < bottom <= height and 0 <= left < right <= width):
                raise ValueError(
                    f"the window {(top, left, bottom, right)} does not lie in a {height}x{width} "
                    "map; expected (row0, col0, row1, col1) with the ends excluded"
                )
            cells.append(grid[top:bottom, left:right].ravel())
        return cls.from_cells(cells, shape, kinds)

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

    def _repr_html_(self) -> str:
        """In notebooks: a picture of the regions of each kind."""
        kinds = np.unique(self.kinds).tolist()
        drawn = [_drawing(self.take(np.flatnonzero(self.kinds == kind))) for kind in kinds]
        named = [f"{np.sum(self.kinds == kind)} of kind {kind}" for kind in kinds]
        return html_table([drawn], named, title=repr(self))

    @property
    def areas(self) -> np.ndarray:
        """Number of cells of each region, of shape (R,)."""
        return np.diff(self.indptr)

    def take(self, which: Sequence[int] | np.ndarray) -> Regions:
        """Some of the regions, by their positions."""
        return Regions.from_cells([self[r] for r in which], self.shape, self.kinds[which])

    def grown(self, n_cells: int) -> Regions:
        """Each region with the cells around it, `n_cells` in every direction, corners too."""
        if n_cells < 1:
            return self
        side = 2 * n_cells + 1
        masks = maximum_filter(self.masks().view(np.uint8), size=(1, side, side), mode="constant")
        cells = [np.flatnonzero(mask) for mask in masks.reshape(len(self), -1)]
        return Regions.from_cells(cells, self.shape, self.kinds)

    def resized(self, shape: tuple[int, int]) -> Regions:
        """The same regions on a map of another size of the same photo.

        A cell is in the regions in which its middle lies. A region with no such cell has those
        in which the middles of its own cells lie.

        Parameters
        ----------
        shape : (H, W)

        Returns
        -------
        Regions
        """
        if shape == self.shape:
            return self
        rows, cols = (_middles(new, old) for new, old in zip(shape, self.shape))
        found = self.masks()[:, rows[:, None], cols].reshape(len(self), -1)
        back_rows, back_cols = (_middles(old, new) for new, old in zip(shape, self.shape))
        holding = (back_rows[:, None] * shape[1] + back_cols).ravel()
        cells = [
            np.flatnonzero(inside) if inside.any() else np.unique(holding[own])
            for inside, own in zip(found, self)
        ]
        return Regions.from_cells(cells, shape, self.kinds)

    def masks(self) -> np.ndarray:
        """Which cells belong to each region, as booleans of shape (R, H, W)."""
        masks = np.zeros((len(self), self.shape[0] * self.shape[1]), dtype=bool)
        masks[np.repeat(np.arange(len(self)), self.areas), self.indices] = True
        return masks.reshape(len(self), *self.shape)


def _drawing(regions: Regions) -> Html:
    """The cells of each region in its colour, as SVG; where regions overlap, both show."""
    height, width = regions.shape
    shapes = []
    for r, mask in enumerate(regions.masks()):
        # In each row the cells at which a run begins, and those behind its end.
        steps = np.diff(np.pad(mask.view(np.int8), ((0, 0), (1, 1))), axis=1)
        runs = zip(np.argwhere(steps == 1).tolist(), np.argwhere(steps == -1).tolist())
        path = "".join(f"M{x} {y}h{end - x}v1h{x - end}z" for (y, x), (_, end) in runs)
        # Steps of the golden angle keep neighbours in number apart in hue.
        hue = round(r * 222.5) % 360
        shapes.append(f'<path d="{path}" fill="hsl({hue} 75% 55%)" fill-opacity=".6"/>')
    size = f'width="{160 * width // max(height, width)}" viewBox="0 0 {width} {height}"'
    return Html(
        f'<svg {size} role="img" aria-label="{len(regions)} regions">{"".join(shapes)}</svg>'
    )


def _middles(n: int, among: int) -> np.ndarray:
    """For each of `n` equal parts of a length, which of `among` equal parts its middle lies in."""
    return ((2 * np.arange(n) + 1) * among) // (2 * n)


def _check_shape(shape: tuple[int, int]) -> tuple[int, int]:
    if len(shape) != 2 or min(shape) < 1:
        raise ValueError(f"a map's shape is (H, W), at least 1 each, got {shape}")
    return int(shape[0]), int(shape[1])


def _check_indptr(indptr: np.ndarray, n_indices: int) -> None:
    if len(indptr) < 2:
        raise ValueError("a map has at least one region, so indptr has at least two entries")
    if indptr[0] != 0 or indptr[-1] != n_indices:
        raise ValueError(
            f"indptr goes from 0 to the number of indices, {n_indices}; got {indptr[0]} to "
            f"{indptr[-1]}"
        )
    if np.diff(indptr).min() < 1:
        r = int(np.diff(indptr).argmin())
        raise ValueError(
            f"a region has at least one cell; region {r} goes from {indptr[r]} to {indptr[r + 1]} "
            "in indptr"
        )


def _whole_numbers(values: ArrayLike, name: str, end: int | None = None) -> np.ndarray:
    """`values` as a row of int64, if they are whole numbers from 0 to before `end`."""
    numbers = np.asarray(values)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        raise ValueError(
            f"{name} are whole numbers in one row, got {numbers.dtype} of shape {numbers.shape}"
        )
    if end is not None and (numbers.min() < 0 or numbers.max() >= end):
        raise ValueError(f"{name} are 0 to {end - 1}, got {numbers.min()} to {numbers.max()}")
    return numbers.astype(np.int64, copy=False)


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
    others : tuple of ActivationMap
        The same photo at its other sizes, each with an embedding and regions of its own; name and
        box are those of this record.

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
    others: tuple[ActivationMap, ...] = ()

    @classmethod
    def of_maps(cls, maps: Sequence[ActivationMap]) -> ActivationMap:
        """One record of a photo's maps at several sizes, of which the first stands for it."""
        first, *others = maps
        return replace(first, others=tuple(others)) if others else first

    @property
    def maps(self) -> list[ActivationMap]:
        """The photo's maps, one a size, each as a record of its own with the name and box."""
        if not self.others:
            return [self]
        named = (replace(other, name=self.name, box=self.box) for other in self.others)
        return [replace(self, others=()), *named]

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

    @property
    def proposed(self) -> Regions:
        """The regions, for whoever knows that there are some."""
        if self.regions is None:
            raise ValueError(f"{self.name}: has no regions; a region step proposes them")
        return self.regions

    def __repr__(self) -> str:
        sizes = " + ".join("{}x{}".format(*record.shape) for record in self.maps)
        channels = self.activations.shape[-1]
        return f"ActivationMap({self.name!r}, {sizes} cells, {channels} channels)"

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
            others=tuple(other.crop(box) for other in self.others),
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
    regions : tuple of Regions
        Where in the photo the vectors come from: the regions of each of its maps, one map after
        the other.

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
    regions: tuple[Regions, ...] = ()

    def __len__(self) -> int:
        return len(self.vectors)

    def __repr__(self) -> str:
        return f"RegionVectors({self.name!r}, {len(self)} regions)"

    def _repr_html_(self) -> str:
        """In notebooks: the vectors' size, and pictures of where they come from."""
        rows = [
            ["photo", self.name],
            ["vectors", f"{len(self)} of {np.shape(self.vectors)[-1]} numbers"],
            *(["regions", Html(regions._repr_html_())] for regions in self.regions),
        ]
        return html_table(rows)


# What steps take. An object array or a pandas Series of the entries does as well.
Records: TypeAlias = "Sequence[ActivationMap]"
Vectors: TypeAlias = "Sequence[RegionVectors | ArrayLike]"


def maps_of(records: Sequence[ActivationMap]) -> list[ActivationMap]:
    """The maps of all photos at all sizes, one photo after the other."""
    return [each for record in records for each in record.maps]


def with_maps(
    records: Sequence[ActivationMap], maps: Iterable[ActivationMap]
) -> list[ActivationMap]:
    """Records that have these maps, in the order of `maps_of`, in place of their own."""
    remaining = iter(maps)
    return [
        ActivationMap.of_maps([next(remaining) for _ in range(1 + len(record.others))])
        for record in records
    ]


def is_sequence(X: object) -> TypeGuard[Sequence[Any]]:
    """Whether `X` has entries in an order: a list, a tuple, an array, a pandas Series, …"""
    if isinstance(X, np.ndarray):
        return X.ndim > 0
    return isinstance(X, Sequence) or hasattr(X, "iloc")


def check_records(X: object, step: object, need: str = "") -> list[ActivationMap]:
    """The entries of `X`, if they are records that have the field `need`, else an error.

    Parameters
    ----------
    X : sequence of ActivationMap
    step : estimator
        Named in the error.
    need : {"", "embedding", "regions"}
    """
    name = type(step).__name__
    expected = (
        f"{name} expects a sequence of ActivationMap, as ConvFeatureExtractor returns it; got"
    )
    if not is_sequence(X):
        raise ValueError(f"{expected} {type(X).__name__}")
    records = list(X)
    for i, record in enumerate(records):
        if not isinstance(record, ActivationMap):
            raise ValueError(
                f"{expected} {type(X).__name__} whose entry {i} is {type(record).__name__}"
            )
        if need and getattr(record, need) is None:
            before = "ActivationPCA" if need == "embedding" else "a region step"
            raise ValueError(f"{record.name}: has no {need}; {before} must come before {name}")
    if not records:
        raise ValueError(f"{name} got 0 photos; at least 1 is required")
    return records


def check_vectors(X: object, step: object, n_features: int | None = None) -> list[RegionVectors]:
    """The entries of `X` as region vectors with weights, checked.

    Parameters
    ----------
    X : sequence of RegionVectors or of array-likes of shape (R_i, D)
    step : estimator
        Named in errors.
    n_features : int, optional
        D to insist on; default: that of the first photo.
    """
    step_name = type(step).__name__
    if not is_sequence(X):
        raise ValueError(f"{step_name} expects a sequence of RegionVectors; got {type(X).__name__}")
    records = []
    for i, item in enumerate(X):
        if isinstance(item, ActivationMap):
            raise ValueError(
                f"{item.name}: is an ActivationMap; a pooler must come before {step_name}"
            )
        name = f"photo {i}"
        if isinstance(item, RegionVectors):
            name = item.name or name
            vectors = _finite_rows(item.vectors, name)
            record = replace(item, vectors=vectors, weights=_weights(item.weights, vectors, name))
        else:
            vectors = _finite_rows(item, name)
            record = RegionVectors(vectors, _weights(None, vectors, name))
        n_features = n_features or vectors.shape[1]
        if vectors.shape[1] != n_features:
            raise PhotoError(
                f"{name}: its region vectors have {vectors.shape[1]} dimensions, "
                f"{step_name} expects {n_features}; use the network, layer and whitening that it "
                "was fitted with"
            )
        records.append(record)
    return records


def _finite_rows(values: ArrayLike, name: str) -> np.ndarray:
    """Region vectors as an array (R, D) of finite numbers."""
    try:
        vectors = np.asarray(values)
    except ValueError:  # nested lists of different lengths
        raise PhotoError(f"{name}: region vectors are (R, D), got rows of many lengths") from None
    if vectors.ndim != 2 or not vectors.size:
        raise PhotoError(f"{name}: region vectors are (R, D), got shape {vectors.shape}")
    if vectors.dtype.kind not in "biuf" or not np.isfinite(vectors).all():
        raise PhotoError(f"{name}: its region vectors are not finite numbers")
    return vectors


def _weights(weights: ArrayLike | None, vectors: np.ndarray, name: str) -> np.ndarray:
    """Weights (R,) of region vectors (R, D), each 1 if there are none."""
    if weights is None:
        return np.ones(len(vectors), np.result_type(vectors, np.float32))
    weights = np.asarray(weights)
    if weights.shape != (len(vectors),) or not np.isfinite(weights).all():
        raise PhotoError(
            f"{name}: its {len(vectors)} region vectors have a finite weight each, got weights "
            f"{weights} of shape {weights.shape}"
        )
    return weights
