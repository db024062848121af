"""Figure 1: one photo with the regions of MAC, of R-MAC, and of clusters.

    python benchmarks/paper/figure1.py --data ../shared/data --out paper/

The whole map in one frame, squares of several sizes, and clusters in colours.
"""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from pictures import Drawing, clusters_panel, main, photo_panel, proposing, records, sheet, shown
from systems import Settings, Task

from sklearn_cmac import ActivationMap, GridRegions


def frames(ax: Axes, record: ActivationMap, scale: float) -> int:
    """Draw R-MAC's squares on a picture of the photo, a colour for each size; how many."""
    (squares,) = GridRegions().transform([record])
    for mask, level in zip(squares.regions.masks(), squares.regions.kinds):
        rows, cols = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
        x0, y0, x1, y1 = record.box_of(rows[0], cols[0], rows[-1] + 1, cols[-1] + 1)
        frame = (x0 * scale, y0 * scale), (x1 - x0) * scale, (y1 - y0) * scale
        ax.add_patch(Rectangle(*frame, fill=False, edgecolor=f"C{level}", linewidth=3 - level))
    return len(squares.regions)


def draw(tasks: Mapping[str, Task], settings: Settings, network: str) -> Drawing:
    """One photo three times."""
    (photo,), fit_on = shown(tasks, 1)
    (record,) = records([photo], proposing(fit_on, settings, network))
    plain = photo_panel(photo)
    figure = sheet([[plain, plain, clusters_panel(photo, record)]], ["MAC", "R-MAC", "clusters"])
    height, width = plain.shape[:2]
    whole = Rectangle((0, 0), width - 1, height - 1, fill=False, edgecolor="C0", linewidth=3)
    figure.axes[0].add_patch(whole)
    n_squares = frames(figure.axes[1], record, max(width, height) / max(record.photo_size))
    n = int((record.regions.kinds == 0).sum())
    return Drawing(figure, f"One photo with 1 region, {n_squares} squares, and {n} clusters.")


if __name__ == "__main__":
    main(__doc__, "figure1", draw)
