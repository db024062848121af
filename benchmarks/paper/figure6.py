"""Figure 6: clusters by features, and by features and places.

    python benchmarks/paper/figure6.py --data ../shared/data --out paper/

A row for each photo: the photo, norms of its activations, and clusters without and with a spatial
term. Our addition is mAP without and with it; `sweep_places.py` has more weights.
"""

from __future__ import annotations

from collections.abc import Mapping

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
from sweeps import sweep, sweep_curves, sweep_table
from systems import Settings, Task

WEIGHTS = [0.0, 1.0]
TITLES = ["photo", "norm", "by features", "by features and places"]


def draw(tasks: Mapping[str, Task], settings: Settings, network: str) -> Drawing:
    """Four pictures of each photo, and mAP without and with places."""
    photos, fit_on = shown(tasks, 4)
    features, places = (
        records(photos, proposing(fit_on, settings, network, regions__spatial_weight=weight, **TEN))
        for weight in WEIGHTS
    )
    rows = [
        [photo_panel(photo), norm_panel(one), *(clusters_panel(photo, cut) for cut in (one, other))]
        for photo, one, other in zip(photos, features, places)
    ]
    found = sweep(["paper"], "regions__spatial_weight", WEIGHTS, tasks, settings, network, ["X"])
    changes = [
        f"{name.split(', ')[-1]}: {without:.1f} without places and {with_places:.1f} with them"
        for name, (without, with_places) in sweep_curves(found, WEIGHTS).items()
    ]
    return Drawing(
        sheet(rows, TITLES), f"mAP, {'; '.join(changes)}.", sweep_table(found, "weight of places")
    )


if __name__ == "__main__":
    main(__doc__, "figure6", draw)
