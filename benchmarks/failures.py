"""Which queries clusters lose to squares and which they win, and what those have in common.

    python benchmarks/failures.py --data ../shared/data --sheets .cache/failures

All labelled photos of `landmarks` ask, whole, with one descriptor each; systems are fitted on
`paris279`. Prints, for the paper's clusters and for the default ones, the difference to R-MAC for
each landmark, and how it goes with what can be read off a query's map (rank correlation over
queries). With `--sheets`, draws the 20 queries lost most and the 20 won most with the clusters on
them; the photos are not free, so these sheets are for looking only.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
from landmarks import load
from PIL import Image
from regions import variants
from scipy.stats import spearmanr

from sklearn_cmac.corridor import Corridor
from sklearn_cmac.datasets import as_benchmark
from sklearn_cmac.evaluation import evaluate
from sklearn_cmac.inspection import overlay_regions

SYSTEMS = {"R-MAC": "R-MAC", "paper": "paper + shrinkage 1", "default": "default"}


def traits(record, n_positives: int) -> dict[str, float]:
    """What may explain a query, from its map (H, W, D)."""
    norms = np.linalg.norm(record.activations, axis=2)
    height, width = norms.shape
    y, x = np.indices(norms.shape)
    share = norms / norms.sum()
    centre = (share * y).sum() / (height - 1), (share * x).sum() / (width - 1)
    off = np.hypot((y / (height - 1) - centre[0]), (x / (width - 1) - centre[1]))
    return {
        "cells": float(norms.size),
        "long over short side": max(height, width) / min(height, width),
        "faint cells (norm below half the median)": float((norms < np.median(norms) / 2).mean()),
        "share of the strongest tenth of cells": float(
            np.sort(share.ravel())[-norms.size // 10 :].sum()
        ),
        "distance of activation from the middle": float(np.hypot(centre[0] - 0.5, centre[1] - 0.5)),
        "spread of activation": float((share * off).sum()),
        "other photos of the landmark": float(n_positives),
    }


def sheet(records, photos, order, differences, file: Path) -> None:
    """Twenty photos with their finer clusters, the difference in AP in the file's order."""
    tiles = [overlay_regions(photos[i], records[i], kind=1, max_size=256) for i in order]
    canvas = Image.new("RGB", (5 * 260, 4 * 260), "white")
    for k, tile in enumerate(tiles):
        canvas.paste(tile, (k % 5 * 260, k // 5 * 260))
    canvas.save(file)
    print(file, [f"{100 * differences[i]:+.0f}" for i in order])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data")
    parser.add_argument("--store", default=".cache/maps", help="where activation maps are kept")
    parser.add_argument("--out", type=Path, default=Path(".cache/regions"))
    parser.add_argument("--sheets", type=Path, help="folder for sheets of pictures")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", "whitening .* dimensions")
    paris, landmarks = load(args.data)
    benchmark = as_benchmark(landmarks, "all")
    found = variants(args.store)
    systems = {name: found[variant] for name, variant in SYSTEMS.items()}
    rows = evaluate(benchmark, systems, paris, folder=args.out).rows
    scores = {row.system: np.array(row.average_precision) for row in rows}
    maps = systems["R-MAC"]["features"].fit([]).transform(benchmark.queries)
    counts = [len(relevance.positives) for relevance in benchmark.relevance]
    table = [traits(record, n) for record, n in zip(maps, counts)]
    groups = np.array(benchmark.groups)
    for name in ("paper", "default"):
        difference = scores[name] - scores["R-MAC"]
        order = np.argsort(difference)
        lost, won = int((difference < -0.01).sum()), int((difference > 0.01).sum())
        print(f"\n{name}: {100 * difference.mean():+.1f}; {lost} queries lost, {won} won")
        means = {group: 100 * difference[groups == group].mean() for group in set(groups)}
        for group in sorted(means, key=means.get):
            print(f"  {means[group]:+6.1f}  {group}")
        for trait in table[0]:
            value = spearmanr([row[trait] for row in table], difference)
            print(f"  rank correlation {value.statistic:+.2f} (p={value.pvalue:.3f})  {trait}")
        if args.sheets:
            args.sheets.mkdir(parents=True, exist_ok=True)
            pipeline = systems[name].fit(paris)
            chosen = [*order[:20], *order[-20:]]
            records = dict(
                zip(chosen, Corridor(pipeline).proposals([benchmark.queries[i] for i in chosen]))
            )
            for word, part in (("lost", order[:20]), ("won", order[::-1][:20])):
                file = args.sheets / f"{name}-{word}.png"
                sheet(records, benchmark.queries, part, difference, file)


if __name__ == "__main__":
    main()
