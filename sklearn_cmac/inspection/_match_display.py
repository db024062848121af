"""How local features of a query lie in a photo, drawn with matplotlib."""

from __future__ import annotations

from typing import Any

import numpy as np

from sklearn_cmac.inspection._axes import axes_for, outline_patch
from sklearn_cmac.inspection._captions import say_points
from sklearn_cmac.inspection._outlines import box_outline
from sklearn_cmac.inspection._overlay import open_photo
from sklearn_cmac.photos import Item, Query, as_photo
from sklearn_cmac.reranking import SpatialMatch

_GAP = 0.03  # between query and photo, as a share of the query's width


class MatchDisplay:
    """A query and a photo with lines between the points that match, and the object's outline.

    It is best made by `from_estimator` or `from_predictions`.

    Parameters
    ----------
    match : SpatialMatch
    query, photo : Photo, Query, or anything that `Photo` takes

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        In pixels of the query's photo; the other photo stands right of it, as high as it.
    figure_ : matplotlib.figure.Figure
    lines_ : matplotlib.collections.LineCollection
        A line for each pair.
    outline_ : matplotlib.patches.PathPatch or None
        Of the object in the photo, if it was located.
    offset_ : float
        Where the photo begins.
    scale_ : float
        Of the photo.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac.inspection import MatchDisplay
    >>> from sklearn_cmac.search import SpatialMatch
    >>> photo, corners = np.zeros((48, 64, 3), np.uint8), np.array([[8, 8], [40, 8], [40, 40]])
    >>> match = SpatialMatch(3, np.eye(3), np.stack([corners, corners], axis=1), corners)
    >>> display = MatchDisplay.from_predictions(match, photo, photo)
    >>> len(display.lines_.get_segments()), display.ax_.get_title()
    (3, '3 points agree')
    """

    def __init__(self, match: SpatialMatch, query: Item, photo: Item):
        self.match = match
        self.query = query
        self.photo = photo

    @classmethod
    def from_estimator(
        cls, estimator: Any, query: Item, photo: Item, *, ax: Any = None
    ) -> MatchDisplay:
        """Compare a query with a photo and draw what agrees.

        Parameters
        ----------
        estimator : SpatialVerification
            Or another object with such a `compare`.
        query, photo : Photo, Query, or anything that `Photo` takes
        ax : matplotlib.axes.Axes, optional
            Default: those of a new figure.

        Returns
        -------
        MatchDisplay
        """
        (match,) = estimator.compare(query, [photo])
        return cls.from_predictions(match, query, photo, ax=ax)

    @classmethod
    def from_predictions(
        cls, match: SpatialMatch, query: Item, photo: Item, *, ax: Any = None
    ) -> MatchDisplay:
        """Draw what agrees, such as the `spatial` of a `SearchResult`.

        Parameters
        ----------
        match : SpatialMatch
        query, photo, ax
            As for `from_estimator`.

        Returns
        -------
        MatchDisplay
        """
        return cls(match, query, photo).plot(ax=ax)

    def plot(self, ax: Any = None) -> MatchDisplay:
        """Draw it.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Default: those of a new figure.

        Returns
        -------
        self
        """
        (left, (width, height)), (right, size) = open_photo(self.query), open_photo(self.photo)
        self.offset_, self.scale_ = width * (1 + _GAP), height / size[1]
        whole = self.offset_ + self.scale_ * size[0]
        self.ax_ = axes_for(ax, (8, 8 * height / whole + 0.4))
        self.figure_ = self.ax_.figure
        from matplotlib.collections import LineCollection

        self.ax_.imshow(left, extent=(0, width, height, 0))
        self.ax_.imshow(right, extent=(self.offset_, whole, height, 0))
        asked = as_photo(self.query)
        if isinstance(asked, Query):
            box = box_outline(asked.box)
            self.ax_.add_patch(outline_patch(box.polygons, ec="white", lw=2))
        pairs = np.asarray(self.match.pairs, float).reshape(-1, 2, 2)
        segments = np.stack([pairs[:, 0], self._placed(pairs[:, 1])], axis=1)
        self.lines_ = self.ax_.add_collection(
            LineCollection(list(segments), colors="#56b4e9", linewidths=0.8, alpha=0.8)
        )
        x, y = segments.reshape(-1, 2).T
        self.ax_.scatter(x, y, s=6, color="#f0e442", zorder=3)
        self.outline_ = None
        if len(self.match.outline):
            patch = outline_patch([self._placed(self.match.outline)], ec="white", lw=2)
            self.outline_ = self.ax_.add_patch(patch)
        self.ax_.set(xlim=(0, whole), ylim=(height, 0), aspect="equal")
        self.ax_.set_title(say_points(self.match.n_inliers))
        self.ax_.set_axis_off()
        return self

    def _placed(self, points: np.ndarray) -> np.ndarray:
        """Points (n, 2) of the photo, where it is drawn."""
        return self.scale_ * np.asarray(points, float) + (self.offset_, 0)
