"""Figure 7: photos, norms of activations, and 10 clusters of each.

    python benchmarks/paper/figure7.py --data ../shared/data --out paper/

Three rows, a column for each photo. Our addition is how much larger norms are inside the query's
box than outside. `all_partitions.py` has all partitions of a system.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from all_regions import inside_box
from pictures import (
    TEN,
    Drawing,
    clusters_panel,
    main,
    norm_panel,
    photo_panel,
    proposing,
    records,
    sheet,
    shown,
)
from systems import Settings, Task


def draw(tasks: Mapping[str, Task], settings: Settings, network: str) -> Drawing:
    """Photos above their norms above their clusters."""
    queries, fit_on = shown(tasks, 6)
    maps = records(queries, proposing(fit_on, settings, network, **TEN))
    norms = [norm_panel(record) for record in maps]
    rows = [
        [photo_panel(query) for query in queries],
        norms,
        [clusters_panel(*pair) for pair in zip(queries, maps)],
    ]
    boxes = [inside_box(record, query.box) for record, query in zip(maps, queries)]
    ratios = [norm[box].mean() / norm[~box].mean() for norm, box in zip(norms, boxes)]
    return Drawing(
        sheet(rows),
        f"The norm of a cell inside the query's box is {np.mean(ratios):.2f} times that of one "
        f"outside, in the mean of {len(queries)} photos.",
    )


if __name__ == "__main__":
    main(__doc__, "figure7", draw)
