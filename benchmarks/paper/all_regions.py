"""How much of each region lies on the object, for all kinds of regions and their parts.

    python benchmarks/paper/all_regions.py --data ../shared/data --store .cache/maps

The precision of a region is the share of its cells inside the query's box. Regions are those of
the whole photo of each query. Prints the share of regions whose precision is at least so much,
pooled over photos; `--plot FILE` draws it. The row "a random cell" is the share of photos' cells
that are inside the box, the mean precision of regions that know nothing. Boxes are rectangles, so
this measure favours squares; small regions are more often wholly inside, which favours clusters.
Therefore a row of squares as small as the clusters (`--small-level`) stands beside them. Parts are
the levels of the grid, or the partitions into 5 clusters, into 20, and into 5 by colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sweeps import plot_curves
from systems import (
    MISSING,
    OF_NETWORKS,
    Task,
    given_tasks,
    make_parser,
    make_system,
    named_for,
    read_settings,
)

from sklearn_cmac import ActivationMap
from sklearn_cmac._markdown import as_table
from sklearn_cmac.corridor import Corridor
from sklearn_cmac.pipelines import SYSTEMS

THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9, 1.0)


class Measured(NamedTuple):
    """Precision, part and share of the map of each region, and the share of the boxes."""

    precision: np.ndarray
    part: np.ndarray
    area: np.ndarray
    box_share: float


def inside_box(record: ActivationMap, box: Any) -> np.ndarray:
    """Which cells (H, W) of a map lie inside a box."""
    rows, cols, _ = record.cells_inside(box)
    inside = np.zeros(record.shape, bool)
    inside[rows, cols] = True
    return inside


def precisions(record: ActivationMap, box: Any) -> tuple[np.ndarray, float]:
    """Of each region (R,) the share of its cells inside a box, and the box's share of the map."""
    inside = inside_box(record, box)
    masks = record.regions.masks()
    return (masks & inside).sum((1, 2)) / masks.sum((1, 2)), float(inside.mean())


def measure(pipeline: Any, task: Task) -> Measured:
    """Regions of the whole photos of a task's queries against their boxes."""
    proposing = Corridor(pipeline).proposing.fit(task.fit_on)
    queries = task.benchmark.queries
    records = proposing.transform([query.photo for query in queries])
    found, shares = zip(*(precisions(r, query.box) for r, query in zip(records, queries)))
    parts = [record.regions.kinds + 1 for record in records]
    areas = [record.regions.areas / np.prod(record.shape) for record in records]
    merged = [np.concatenate(arrays) for arrays in (found, parts, areas)]
    return Measured(*merged, float(np.mean(shares)))


def shares_above(values: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """The share of values that are at least each threshold."""
    return (values[:, None] >= np.asarray(thresholds) - 1e-9).mean(axis=0)


def row(task: str, label: str, measured: Measured, chosen: Any = slice(None)) -> list[str]:
    """Cells of the table for some of the regions."""
    values, areas = measured.precision[chosen], measured.area[chosen]
    cells = [f"{100 * share:.1f}" for share in shares_above(values, THRESHOLDS)]
    return [
        task,
        label,
        str(len(values)),
        f"{100 * areas.mean():.1f}",
        f"{values.mean():.3f}",
        *cells,
    ]


def main() -> None:
    parser = make_parser(__doc__, networks=("efficientnet_lite0",))
    names = ["rmac", "paper", "cmac"]
    parser.add_argument("--systems", nargs="+", choices=OF_NETWORKS, default=names)
    parser.add_argument("--small-level", type=int, default=6, help="of R-MAC's grid")
    parser.add_argument("--plot", type=Path, help="a picture of the curves; needs matplotlib")
    args = parser.parse_args()
    settings, tasks = read_settings(args), given_tasks(args)
    grid = np.linspace(0, 1, 101)
    for network in args.networks:
        if network not in settings.weights or not tasks:
            print(f"{settings.label(network)}: {MISSING} without weights and photos")
            continue
        rows, curves = [], {}
        for task in tasks.values():
            for name in args.systems:
                label = SYSTEMS[name].label
                found = measure(make_system(name, network, settings), task)
                curves[f"{label}, {task.name}"] = shares_above(found.precision, grid)
                rows.append(row(task.name, label, found))
                for part in np.unique(found.part):
                    rows.append(row(task.name, f"{label}, part {part}", found, found.part == part))
            level = args.small_level
            small = make_system("rmac", network, settings, regions__n_levels=level)
            found = measure(small, task)
            rows.append(row(task.name, f"squares of level {level}", found, found.part == level))
            blank = [""] * len(THRESHOLDS)
            rows.append([task.name, "a random cell", "", "", f"{found.box_share:.3f}", *blank])
        header = ["queries of", "regions", "n", "area, %", "mean precision"]
        header += [f"≥ {threshold:g}" for threshold in THRESHOLDS]
        print(f"{settings.label(network)}; shares in percent\n\n{as_table(header, rows)}\n")
        if args.plot is not None:
            file = named_for(args.plot, network)
            plot_curves(file, grid, curves, "precision", "share of regions at least that precise")


if __name__ == "__main__":
    main()
