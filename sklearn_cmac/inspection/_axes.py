"""Where displays draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RIGHT, WRONG, NEITHER = "#1b7f3a", "#c62828", "#6b6b6b"
SIGN = {True: "✓", False: "✗", None: "–"}
COLOR = {True: RIGHT, False: WRONG, None: NEITHER}


def axes_for(ax: Any, size: tuple[float, float]) -> Axes:
    """The given axes, or those of a new figure of so many inches."""
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("displays need matplotlib: pip install sklearn-cmac[plot]") from error
    return plt.subplots(figsize=size, layout="constrained")[1]


def outline_patch(polygons: Sequence[np.ndarray], **style: Any) -> Any:
    """The polygons of an outline as one patch without a filling."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    closed = [Path(np.vstack([polygon, polygon[:1]]), closed=True) for polygon in polygons]
    return PathPatch(Path.make_compound_path(*closed), fill=False, **style)
