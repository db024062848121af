"""Figure 3: mAP over C, the components in which cells are compared.

    python benchmarks/paper/figure3.py --data ../shared/data --out paper/

Distances are plain l2 of C-dimensional features, unweighted; `sweep_components.py` has those that
systems weigh. The paper's network is VGG16.
"""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from pictures import Drawing, draw_curves, main
from sweeps import sweep, sweep_curves, sweep_table
from systems import Settings, Task

VALUES = [1, 2, 4, 8, 16, 32, 64]


def draw(tasks: Mapping[str, Task], settings: Settings, network: str) -> Drawing:
    """A curve for each task."""
    found = sweep(
        ["paper"], "pca__n_components", VALUES, tasks, settings, network, ["X"], pca__weighting=None
    )
    heights = sweep_curves(found, VALUES)
    figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
    draw_curves(ax, VALUES, heights, "C", "mAP in %")
    ax.set_xscale("log", base=2)
    ends = [
        f"{name.split(', ')[-1]}: best at C = {VALUES[np.argmax(points)]} ({max(points):.1f}), and "
        f"{points[-1]:.1f} at C = {VALUES[-1]}"
        for name, points in heights.items()
    ]
    return Drawing(figure, f"{'; '.join(ends)}.", sweep_table(found, "C"))


if __name__ == "__main__":
    main(__doc__, "figure3", draw)
