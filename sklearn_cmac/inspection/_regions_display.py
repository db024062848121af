"""What a pipeline sees of a photo, drawn with matplotlib."""

from __future__ import annotations

from typing import Any

import numpy as np

from sklearn_cmac.corridor import Corridor
from sklearn_cmac.inspection._axes import axes_for, outline_patch
from sklearn_cmac.inspection._outlines import COLORS, outlines_of
from sklearn_cmac.inspection._overlay import open_photo
from sklearn_cmac.maps import ActivationMap
from sklearn_cmac.photos import Item

_SHOWN = ("regions", "norms", "components")


class RegionsDisplay:
    """An activation map over its photo: its regions, norms, or principal components.

    It is best made by `from_estimator` or `from_predictions`.

    Parameters
    ----------
    record : ActivationMap
        With regions to show these, and with an embedding to show components.
    photo : Photo, Query, or anything that `Photo` takes, optional
        That it describes, drawn below. Default: nothing.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        In pixels of the photo.
    figure_ : matplotlib.figure.Figure
    image_ : matplotlib.image.AxesImage or None
        The norms, or the components.
    outlines_ : list of matplotlib.patches.PathPatch
        One for each region that is shown.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac import ActivationMap, GridRegions
    >>> from sklearn_cmac.inspection import RegionsDisplay
    >>> record = ActivationMap.from_arrays(np.ones((3, 4, 8)), photo_size=(128, 96))
    >>> (record,) = GridRegions().transform([record])
    >>> len(RegionsDisplay.from_predictions(record, kind=1).outlines_)
    6
    """

    def __init__(self, record: ActivationMap, photo: Item | None = None):
        self.record = record
        self.photo = photo

    @classmethod
    def from_estimator(
        cls, estimator: Any, photo: Item, *, show: str = "regions", kind: int = 0, ax: Any = None
    ) -> RegionsDisplay:
        """Describe a photo and draw what the pipeline sees of it.

        Parameters
        ----------
        estimator : Pipeline or Retriever
            Fitted, with a step that pools regions.
        photo : Photo, Query, or anything that `Photo` takes
        show, kind, ax
            As for `plot`.

        Returns
        -------
        RegionsDisplay
        """
        corridor = Corridor(getattr(estimator, "pipeline_", estimator))
        (record,) = corridor.proposals([photo])
        return cls.from_predictions(record, photo, show=show, kind=kind, ax=ax)

    @classmethod
    def from_predictions(
        cls,
        record: ActivationMap,
        photo: Item | None = None,
        *,
        show: str = "regions",
        kind: int = 0,
        ax: Any = None,
    ) -> RegionsDisplay:
        """Draw what is known of a photo.

        Parameters
        ----------
        record : ActivationMap
        photo : Photo, Query, or anything that `Photo` takes, optional
        show, kind, ax
            As for `plot`.

        Returns
        -------
        RegionsDisplay
        """
        return cls(record, photo).plot(ax, show=show, kind=kind)

    def plot(self, ax: Any = None, *, show: str = "regions", kind: int = 0) -> RegionsDisplay:
        """Draw it.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Default: those of a new figure.
        show : {"regions", "norms", "components"}, default="regions"
            Outlines of the regions; Euclidean norms of the activations; or the first three
            coordinates of the embedding as red, green and blue, each from its 1st to its 99th
            percentile.
        kind : int, default=0
            Which regions: those of the first cluster count, the second, …, or of a grid level.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the record does not have what is to be shown.
        """
        if show not in _SHOWN:
            raise ValueError(f"show is one of {_SHOWN}, got {show!r}")
        outlines = self._outlines(kind) if show == "regions" else []
        cells = None if show == "regions" else self._cells(show)
        width, height = self.record.photo_size
        self.ax_ = axes_for(ax, (5, 5 * height / width))
        self.figure_ = self.ax_.figure
        if self.photo is not None:
            self.ax_.imshow(open_photo(self.photo)[0], extent=(0, width, height, 0))
        x0, y0, x1, y1 = self.record.window
        self.image_ = None
        if cells is not None:
            alpha = 1 if self.photo is None else 0.65
            self.image_ = self.ax_.imshow(cells, extent=(x0, x1, y1, y0), alpha=alpha)
        self.outlines_ = [
            self.ax_.add_patch(outline_patch(polygons, lw=2, ec=COLORS[r % len(COLORS)]))
            for r, polygons in enumerate(outlines)
        ]
        self.ax_.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
        self.ax_.set_axis_off()
        return self

    def _outlines(self, kind: int) -> list[list[np.ndarray]]:
        regions = self.record.regions
        if regions is None or kind not in regions.kinds:
            raise ValueError(f"{self.record.name}: has no regions of kind {kind}")
        chosen = regions.take(np.flatnonzero(regions.kinds == kind))
        return outlines_of(chosen, self.record.photo_size, self.record.window)

    def _cells(self, show: str) -> np.ndarray:
        """Norms (H, W), or three components (H, W, 3) in [0, 1]."""
        if show == "norms":
            return np.linalg.norm(self.record.activations, axis=2)
        if self.record.embedding is None:
            raise ValueError(f"{self.record.name}: has no embedding; ActivationPCA makes one")
        first = self.record.embedding[..., :3]
        low, high = np.percentile(first, [1, 99], axis=(0, 1))
        shown = np.clip((first - low) / np.where(high > low, high - low, 1), 0, 1)
        return np.pad(shown, ((0, 0), (0, 0), (0, 3 - shown.shape[2])))
