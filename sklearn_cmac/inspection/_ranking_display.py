"""The photos that were ranked first, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_consistent_length

from sklearn_cmac.inspection._axes import COLOR, SIGN, axes_for
from sklearn_cmac.inspection._overlay import draw_box, open_photo
from sklearn_cmac.photos import Item
from sklearn_cmac.search import Retriever

if TYPE_CHECKING:
    from sklearn_cmac.datasets import Relevance

_SIDE = 256  # pixels of a picture's long side


def as_retriever(estimator: Any) -> Any:
    """What ranks photos: the estimator, or one around a fitted pipeline."""
    if hasattr(estimator, "rank"):
        return estimator
    return Retriever(FrozenEstimator(estimator)).fit([])


class RankingDisplay:
    """The photos that were ranked first for a query.

    Each has its rank and a frame: green with a ✓ where it shows the object, red with a ✗ where it
    does not, grey with a – where that is not known, or where it is junk.

    It is best made by `from_estimator` or `from_predictions`.

    Parameters
    ----------
    photos : sequence of photos
        Best first.
    right : sequence of bool or None, optional
        Whether each shows the object. Default: it is not known.
    scores : array-like of shape (n,), optional
    query : Query or photo, optional
        Is drawn before them, with its box.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure
    images_ : list of matplotlib.image.AxesImage
        Of the photos, in their order.
    frames_ : list of matplotlib.patches.Rectangle
    texts_ : list of matplotlib.text.Text

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac.datasets import Relevance
    >>> from sklearn_cmac.inspection import RankingDisplay
    >>> photos = [np.full((30, 40, 3), 50 * i, np.uint8) for i in range(4)]
    >>> found = RankingDisplay.from_predictions([2, 0, 3, 1], photos, Relevance([2], [0]))
    >>> [text.get_text() for text in found.texts_]
    ['✓ 1', '– 2', '✗ 3', '✗ 4']
    """

    def __init__(
        self,
        photos: Sequence[Item],
        *,
        right: Sequence[bool | None] | None = None,
        scores: ArrayLike | None = None,
        query: Item | None = None,
    ):
        self.photos = photos
        self.right = right
        self.scores = scores
        self.query = query

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        query: Item,
        photos: Sequence[Item],
        relevance: Relevance | None = None,
        *,
        n_results: int = 10,
        exclude: int | None = None,
        ax: Any = None,
    ) -> RankingDisplay:
        """Rank photos and draw those that come first.

        Parameters
        ----------
        estimator : Retriever or Pipeline
            Fitted.
        query : Query, Photo, or anything that `Photo` takes
        photos : sequence of photos
        relevance : Relevance, optional
            Which of the photos show the object, and which are junk.
        n_results : int, default=10
        exclude : int, optional
            Position of a photo that is left out, such as the query's own.
        ax : matplotlib.axes.Axes, optional
            Default: those of a new figure.

        Returns
        -------
        RankingDisplay
        """
        (ranked,) = as_retriever(estimator).rank([query], photos, [exclude], n_results)
        return cls.from_predictions(
            ranked.order,
            photos,
            relevance,
            scores=ranked.scores,
            query=query,
            n_results=n_results,
            ax=ax,
        )

    @classmethod
    def from_predictions(
        cls,
        ranking: ArrayLike,
        photos: Sequence[Item],
        relevance: Relevance | None = None,
        *,
        scores: ArrayLike | None = None,
        query: Item | None = None,
        n_results: int = 10,
        ax: Any = None,
    ) -> RankingDisplay:
        """Draw the photos that come first in a ranking.

        Parameters
        ----------
        ranking : array-like of int
            Positions in `photos`, best first.
        photos, relevance, query, n_results, ax
            As for `from_estimator`.
        scores : array-like of shape (n,), optional
            In the order of the ranking.

        Returns
        -------
        RankingDisplay
        """
        first = np.asarray(ranking)[:n_results].tolist()
        right: list[bool | None] = [None] * len(first)
        if relevance is not None:
            positives, junk = set(relevance.positives), set(relevance.junk)
            right = [None if i in junk else i in positives for i in first]
        scores = None if scores is None else np.asarray(scores)[:n_results]
        display = cls([photos[i] for i in first], right=right, scores=scores, query=query)
        return display.plot(ax=ax)

    def plot(self, ax: Any = None) -> RankingDisplay:
        """Draw it.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Default: those of a new figure.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there are not as many marks or scores as photos.
        """
        check_consistent_length(self.photos, self.right, self.scores)
        n_before = self.query is not None
        n = max(1, len(self.photos) + n_before)
        self.ax_ = axes_for(ax, (1.7 * n, 2.1))
        self.figure_ = self.ax_.figure
        from matplotlib.patches import Rectangle

        if self.query is not None:
            self._draw(np.asarray(draw_box(self.query, max_size=_SIDE)), 0)
            self.ax_.text(0.5, -0.06, "query", ha="center", va="bottom")
        right = [None] * len(self.photos) if self.right is None else self.right
        self.images_, self.frames_, self.texts_ = [], [], []
        for rank, (photo, is_right) in enumerate(zip(self.photos, right), 1):
            column = rank - 1 + n_before
            image, (left, across, down, high) = self._draw(open_photo(photo, _SIDE)[0], column)
            frame = Rectangle(
                (left, down), across, high, fill=False, lw=3, ec=COLOR[is_right], zorder=2
            )
            label = f"{SIGN[is_right]} {rank}"
            if self.scores is not None and not np.isnan(score := np.asarray(self.scores)[rank - 1]):
                label += f"\n{score:.3f}"
            text = self.ax_.text(
                column + 0.5, -0.06, label, ha="center", va="bottom", color=COLOR[is_right]
            )
            self.images_.append(image)
            self.frames_.append(self.ax_.add_patch(frame))
            self.texts_.append(text)
        self.ax_.set(xlim=(0, n), ylim=(1, -0.5), aspect="equal")
        self.ax_.set_axis_off()
        return self

    def _draw(self, picture: Any, column: int) -> tuple[Any, tuple[float, float, float, float]]:
        """A picture in the middle of a square of side 1, and its left, width, top and height."""
        pixels = np.asarray(picture)
        height, width = np.divide(pixels.shape[:2], max(pixels.shape[:2])) * 0.94
        left, top = column + (1 - width) / 2, (1 - height) / 2
        image = self.ax_.imshow(pixels, extent=(left, left + width, top + height, top))
        return image, (left, width, top, height)
