"""Figure 4: how much of each region lies on the object, for clusters and for R-MAC's squares.

    python benchmarks/paper/figure4.py --data ../shared/data --store .cache/maps

The precision of a region is the share of its cells inside the query's box. Regions are those of
the whole photo of each query. Prints the share of regions whose precision is at least so much,
pooled over photos; `--plot FILE` draws it. The row "a random cell" is the share of photos' cells
that are inside the box, the mean precision of regions that know nothing. Boxes are rectangles, so
this measure favours squares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sweeps import plot_curves
from systems import (
    MISSING,
    SYSTEMS,
    Task,
    as_table,
    given_tasks,
    make_parser,
    make_system,
    named_for,
    read_settings,
)

from sklearn_cmac import ActivationMap

THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9, 1.0)


def precisions(record: ActivationMap, box: Any) -> tuple[np.ndarray, float]:
    """Of each region (R,) the share of its cells inside a box, and the box's share of the map."""
    rows, cols, _ = record.cells_inside(box)
    inside = np.zeros(record.shape, bool)
    inside[rows, cols] = True
    masks = record.regions.masks()
    return (masks & inside).sum((1, 2)) / masks.sum((1, 2)), float(inside.mean())


def measure(pipeline: Any, task: Task) -> tuple[np.ndarray, np.ndarray, float]:
    """Precision and kind of all regions of a task's queries, and the mean share of the boxes."""
    proposing = pipeline[: list(pipeline.named_steps).index("pool")]
    proposing.fit(task.fit_on)
    queries = task.benchmark.queries
    records = proposing.transform([query.photo for query in queries])
    found, kinds, shares = [], [], []
    for query, record in zip(queries, records):
        values, share = precisions(record, query.box)
        found.append(values)
        kinds.append(record.regions.kinds)
        shares.append(share)
    return np.concatenate(found), np.concatenate(kinds), float(np.mean(shares))


def shares_above(values: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """The share of values that are at least each threshold."""
    return (values[:, None] >= np.asarray(thresholds) - 1e-9).mean(axis=0)


def rows_of(name: str, values: np.ndarray, kinds: np.ndarray) -> Mapping[str, np.ndarray]:
    """All regions, and those of each partition or grid level."""
    rows = {name: values}
    if len(np.unique(kinds)) > 1:
        rows |= {f"{name}, kind {k}": values[kinds == k] for k in np.unique(kinds)}
    return rows


def main() -> None:
    parser = make_parser(__doc__, networks=("efficientnet_lite0",))
    names = ["R-MAC", "clusters, paper", "clusters, default"]
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=names)
    parser.add_argument("--plot", type=Path, help="a picture of the curves; needs matplotlib")
    args = parser.parse_args()
    settings, tasks = read_settings(args), given_tasks(args)
    grid = np.linspace(0, 1, 101)
    for backbone in args.networks:
        if backbone not in settings.weights or not tasks:
            print(f"{settings.label(backbone)}: {MISSING} without weights and photos")
            continue
        rows, curves, box_share = [], {}, 0.0
        for task in tasks.values():
            for name in args.systems:
                values, kinds, box_share = measure(make_system(name, backbone, settings), task)
                curves[f"{name}, {task.name}"] = shares_above(values, grid)
                for label, part in rows_of(name, values, kinds).items():
                    cells = [f"{100 * s:.1f}" for s in shares_above(part, THRESHOLDS)]
                    rows.append([task.name, label, str(len(part)), f"{part.mean():.3f}", *cells])
            blank = [""] * len(THRESHOLDS)
            rows.append([task.name, "a random cell", "", f"{box_share:.3f}", *blank])
        header = ["queries of", "regions", "n", "mean precision", *(f"≥ {t:g}" for t in THRESHOLDS)]
        print(f"{settings.label(backbone)}; shares in percent\n\n{as_table(header, rows)}\n")
        if args.plot is not None:
            file = named_for(args.plot, backbone)
            plot_curves(file, grid, curves, "precision", "share of regions at least that precise")


if __name__ == "__main__":
    main()
