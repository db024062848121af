"""Scores of a grid search over its parameters, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_cmac._printing import printable
from sklearn_cmac.inspection._axes import axes_for

_LONGEST, _MOST = 8, 40  # letters of a label that lies, and of any


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
        check_is_fitted(estimator, "cv_results_")
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
            If no parameter of that path was searched over, or there is none to draw along x.
        """
        tried = cv_results["params"]
        paths = list(dict.fromkeys(path for params in tried for path in params))
        values = {path: _in_order(p[path] for p in tried if path in p) for path in paths}
        for path in (x, y):
            if path is not None and path not in values:
                raise ValueError(f"{path!r} was not searched over; that were {paths}")
        by_number = sorted(values, key=lambda path: -len(values[path]))
        x = x or next((path for path in by_number if path != y), None)
        if x is None or x == y:
            raise ValueError(f"x and y are two of the parameters searched over, which are {paths}")
        others = (path for path in by_number if path != x and len(values[path]) > 1)
        y = y or next(others, None)
        rows = [None] if y is None else values[y]
        scores = np.full((len(rows), len(values[x])), np.nan)
        columns, lines = list(map(repr, values[x])), list(map(repr, rows))
        for params, score in zip(tried, cv_results["mean_test_score"]):
            if x in params and (y is None or y in params):
                row = 0 if y is None else lines.index(repr(params[y]))
                cell = row, columns.index(repr(params[x]))
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
        shown = list(map(_shown, self.x_values))
        # Labels that would run into each other are turned.
        turned: dict[str, Any] = (
            {"rotation": 30, "ha": "right"} if max(map(len, shown)) > _LONGEST else {}
        )
        self.ax_.set_xticks(range(n_x), shown, **turned)
        self.ax_.set_xlabel(self.x_name)
        if self.y_values is None:
            (self.line_,) = self.ax_.plot(range(n_x), percent[0], marker="o")
            self.ax_.set_ylabel("mAP in %")
            return self
        self.image_ = self.ax_.imshow(percent, aspect="auto", cmap="viridis")
        known = percent[np.isfinite(percent)]
        middle = (known.min() + known.max()) / 2 if len(known) else 0
        for (row, column), score in np.ndenumerate(percent):
            if np.isfinite(score):
                color = "black" if score > middle else "white"
                text = self.ax_.text(
                    column, row, f"{score:.1f}", ha="center", va="center", color=color
                )
                self.texts_.append(text)
        self.ax_.set_yticks(range(n_y), list(map(_shown, self.y_values)))
        self.ax_.set_ylabel(self.y_name)
        self.figure_.colorbar(self.image_, ax=self.ax_, label="mAP in %")
        return self


def _in_order(values: Iterable[Any]) -> list[Any]:
    """Each value once: numbers as they grow, others as they came."""
    each = list({repr(value): value for value in values}.values())
    if all(isinstance(value, Real) and not isinstance(value, bool) for value in each):
        return sorted(each)
    return each


def _shown(value: Any) -> str:
    """A value of a parameter in few letters."""
    if isinstance(value, Real) and not isinstance(value, bool):
        text = f"{value:.6g}"
    else:
        text = value if isinstance(value, str) else getattr(value, "__name__", repr(value))
    line = " ".join(printable(text).split())
    return line if len(line) <= _MOST else f"{line[: _MOST - 1]}…"
