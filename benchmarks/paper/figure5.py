"""Figure 5: the value of PCA dimensions 1, 2, 8, 64, 256 and 512 at each cell.

    python benchmarks/paper/figure5.py --data ../shared/data --out paper/

A row for each photo. Our addition is a number for each dimension: how alike neighbouring cells are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pictures import Drawing, main, photo_panel, proposing, records, sheet, shown
from systems import Settings, Task

from sklearn_cmac import WholeRegion

DIMENSIONS = (1, 2, 8, 64, 256, 512)


def likeness(values: Sequence[np.ndarray]) -> float:
    """Correlation between cells of maps (H, W) and their neighbours to the right."""
    left = np.concatenate([map_[:, :-1].ravel() for map_ in values])
    right = np.concatenate([map_[:, 1:].ravel() for map_ in values])
    return float(np.corrcoef(left, right)[0, 1])


def draw(tasks: Mapping[str, Task], settings: Settings, network: str) -> Drawing:
    """Photos and the values of some dimensions at each of their cells."""
    photos, fit_on = shown(tasks, 4)
    plain = {"pca__n_components": max(DIMENSIONS), "pca__weighting": None, "regions": WholeRegion()}
    maps = records(photos, proposing(fit_on, settings, network, **plain))
    # Few small photos have fewer dimensions.
    known = [d for d in DIMENSIONS if d <= maps[0].embedding.shape[-1]]
    values = [[record.embedding[:, :, d - 1] for d in known] for record in maps]
    rows = [[photo_panel(photo), *panels] for photo, panels in zip(photos, values)]
    alike = [f"{likeness(column):.2f}" for column in zip(*values)]
    return Drawing(
        sheet(rows, ["photo", *(f"dimension {d}" for d in known)]),
        f"Correlation of neighbouring cells in dimensions {', '.join(map(str, known))}: "
        f"{', '.join(alike)}.",
    )


if __name__ == "__main__":
    main(__doc__, "figure5", draw)
