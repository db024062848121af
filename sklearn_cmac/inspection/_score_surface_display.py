"""Scores of a grid search over its parameters, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sklearn_cmac.inspection._axes import axes_for


class ScoreSurfaceDisplay:
    """mAP over one parameter of a grid search as a line, or over two as a surface.

    Of all other parameters, the best value counts. It is best made by `from_estimator` or
    `from_predictions`.

    Parameters
    ----------
    scores : ndarray of shape (n_y, n_x)
        In [0, 1]; nan where nothing was tried.
    x_values : sequence
        Values of the parameter along x.
    x_name : str
    y_values : sequence, optional
        Of that along y. Default: there is one parameter.
    y_name : str

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
    figure_ : matplotlib.figure.Figure
    image_ : matplotlib.image.AxesImage or None
        The surface, in percent.
    line_ : matplotlib.lines.Line2D or None
        Of one parameter, in percent.
    texts_ : list of matplotlib.text.Text
        The scores on the surface, row by row.

    Examples
    --------
    >>> from sklearn_cmac.inspection import ScoreSurfaceDisplay
    >>> found = {
    ...     "params": [{"a": 1, "b": "x"}, {"a": 2, "b": "x"}, {"a": 1, "b": "y"}],
    ...     "mean_test_score": [0.5, 0.75, 0.25],
    ... }
    >>> display = ScoreSurfaceDisplay.from_predictions(found)
    >>> [text.get_text() for text in display.texts_]
    ['50.0', '75.0', '25.0']
    """

    def __init__(
        self,
        scores: np.ndarray,
        x_values: Sequence[Any],
        x_name: str,
        y_values: Sequence[Any] | None = None,
        y_name: str = "",
    ):
        self.scores = scores
        self.x_values = x_values
        self.x_name = x_name
        self.y_values = y_values
        self.y_name = y_name

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, x: str | None = None, y: str | None = None, ax: Any = None
    ) -> ScoreSurfaceDisplay:
        """Draw the scores of a search.

        Parameters
        ----------
        estimator : GridSearchCV
            Or another fitted search of scikit-learn's.
        x, y, ax
            As for `from_predictions`.

        Returns
        -------
        ScoreSurfaceDisplay
        """
        return cls.from_predictions(estimator.cv_results_, x=x, y=y, ax=ax)

    @classmethod
    def from_predictions(
        cls,
        cv_results: Mapping[str, Any],
        *,
        x: str | None = None,
        y: str | None = None,
        ax: Any = None,
    ) -> ScoreSurfaceDisplay:
        """Draw the scores that a search keeps as its ``cv_results_``.

        Parameters
        ----------
        cv_results : dict
            Its ``params`` and ``mean_test_score`` are read.
        x, y : str, optional
            Paths of parameters. Default: those with the most values.
        ax : matplotlib.axes.Axes, optional
            Default: those of a new figure.

        Returns
        -------
        ScoreSurfaceDisplay

        Raises
        ------
        ValueError
            If no parameter of that path was searched over.
        """
        tried = cv_results["params"]
        values = {path: list({repr(p[path]): p[path] for p in tried}.values()) for path in tried[0]}
        for path in (x, y):
            if path is not None and path not in values:
                raise ValueError(f"{path!r} was not searched over; that were {list(values)}")
        by_number = sorted(values, key=lambda path: -len(values[path]))
        x = x or next(path for path in by_number if path != y)
        others = (path for path in by_number if path != x and len(values[path]) > 1)
        y = y or next(others, None)
        rows = [None] if y is None else values[y]
        scores = np.full((len(rows), len(values[x])), np.nan)
        shown = [repr(value) for value in values[x]]
        for params, score in zip(tried, cv_results["mean_test_score"]):
            row = 0 if y is None else [repr(value) for value in rows].index(repr(params[y]))
            cell = row, shown.index(repr(params[x]))
            scores[cell] = np.fmax(scores[cell], score)
        return cls(scores, values[x], x, None if y is None else rows, y or "").plot(ax=ax)

    def plot(self, ax: Any = None) -> ScoreSurfaceDisplay:
        """Draw it.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Default: those of a new figure.

        Returns
        -------
        self
        """
        percent = 100 * np.asarray(self.scores, float)
        n_y, n_x = percent.shape
        self.ax_ = axes_for(ax, (2 + 1.1 * n_x, 3 if self.y_values is None else 1.6 + 0.6 * n_y))
        self.figure_ = self.ax_.figure
        self.image_, self.line_, self.texts_ = None, None, []
        self.ax_.set_xticks(range(n_x), [repr(value) for value in self.x_values])
        self.ax_.set_xlabel(self.x_name)
        if self.y_values is None:
            (self.line_,) = self.ax_.plot(range(n_x), percent[0], marker="o")
            self.ax_.set_ylabel("mAP in %")
            return self
        self.image_ = self.ax_.imshow(percent, aspect="auto", cmap="viridis")
        middle = (np.nanmin(percent) + np.nanmax(percent)) / 2
        for (row, column), score in np.ndenumerate(percent):
            if np.isfinite(score):
                color = "black" if score > middle else "white"
                text = self.ax_.text(
                    column, row, f"{score:.1f}", ha="center", va="center", color=color
                )
                self.texts_.append(text)
        self.ax_.set_yticks(range(n_y), [repr(value) for value in self.y_values])
        self.ax_.set_ylabel(self.y_name)
        self.figure_.colorbar(self.image_, ax=self.ax_, label="mAP in %")
        return self
