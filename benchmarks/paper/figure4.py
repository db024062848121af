"""Figure 4: share of regions whose precision reaches a threshold.

    python benchmarks/paper/figure4.py --data ../shared/data --out paper/

The precision of a region is the area of it inside the query's box by its area. Clusters of 5 and
15, no colours, against about 20 squares of R-MAC; `all_regions.py` has all kinds and their parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
from all_regions import THRESHOLDS, measure, shares_above
from pictures import N_FIT, Drawing, draw_curves, main, spread
from systems import Settings, Task, make_system

from sklearn_cmac._markdown import as_table

GRID = np.linspace(0, 1, 101)
CLUSTERS = {"regions__n_clusters": (5, 15), "regions__n_color_clusters": 0}


def draw(tasks: Mapping[str, Task], settings: Settings, network: str) -> Drawing:
    """A panel for each task."""
    systems = {
        "R-MAC": make_system("rmac", network, settings),
        "clusters": make_system("paper", network, settings, **CLUSTERS),
    }
    figure, axes = plt.subplots(
        1, len(tasks), figsize=(5 * len(tasks), 4), squeeze=False, layout="constrained"
    )
    rows, sentences = [], []
    for ax, task in zip(axes.flat, tasks.values()):
        fewer = replace(task, fit_on=spread(task.fit_on, N_FIT))
        found = {name: measure(pipeline, fewer).precision for name, pipeline in systems.items()}
        heights = {name: 100 * shares_above(values, GRID) for name, values in found.items()}
        draw_curves(ax, GRID, heights, "precision", "regions that reach it, in %")
        ax.set_title(task.name)
        for name, values in found.items():
            shares = [f"{100 * share:.1f}" for share in shares_above(values, THRESHOLDS)]
            rows.append([task.name, name, str(len(values)), *shares])
        reached = (f"{heights[name][90]:.0f}% of {name}" for name in ("clusters", "R-MAC"))
        sentences.append(f"{task.name}: {' and '.join(reached)} reach a precision of 0.9")
    header = ["queries of", "regions", "n", *(f"≥ {threshold:g}" for threshold in THRESHOLDS)]
    return Drawing(figure, f"{'; '.join(sentences)}.", as_table(header, rows))


if __name__ == "__main__":
    main(__doc__, "figure4", draw)
