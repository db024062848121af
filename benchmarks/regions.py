"""What each setting of the region pipelines is worth, on two sets of real photos.

    python benchmarks/regions.py --data ../shared/data --out .cache/regions

Each variant changes a pipeline through its public parameters. It is fitted on `paris279` and
tested on `landmarks` (all labelled photos whole, and the boxed ones in both crops), and the other
way round (the queries of Paris6k that are there, with the official and the revisited ground
truth, in both crops), with one descriptor per photo and with region matching. What is done is kept
under `--out`, so a stopped run goes on; `--only` takes variants whose name holds a word, and two
runs with different words may share a folder. Prints two tables of mAP in percent, and the paired
differences to plain R-MAC with their 95% intervals. Costs are processor time a photo, which other
programs change little: of the steps behind the network, and of all over R-MAC's.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from landmarks import load
from sklearn.base import clone
from sklearn.cluster import KMeans

from sklearn_cmac import (
    ActivationPCA,
    ClustererRegions,
    ClusterMaxPooler,
    ConvFeatureExtractor,
    GeMPooler,
    GridRegions,
    RegionUnion,
    RegionWhitener,
    TreeRegions,
    make_cmac_pipeline,
    make_mac_pipeline,
    make_rmac_pipeline,
)
from sklearn_cmac._markdown import as_table
from sklearn_cmac.datasets import as_benchmark, load_paris6k, load_rparis6k
from sklearn_cmac.evaluation import evaluate
from sklearn_cmac.metrics import bootstrap_interval
from sklearn_cmac.reranking import make_chain

COLUMNS = ["L", "L-X", "L-I", "P-X", "P-I", "R-X", "R-I"]
BASELINE = "R-MAC"


def variants(store: str) -> dict:
    """Pipelines by name. `paper` and `default` are presets; the others change one thing."""

    def cmac(preset="default", **params):
        one_size = {"features__max_size": 1024, "features__scales": (1.0,)}
        return make_cmac_pipeline(preset, features__store=store, **one_size, **params)

    def rmac(**params):
        params = {"whiten__shrinkage": 1.0, **params}
        return make_rmac_pipeline(features__store=store, **params)

    gem, central = GeMPooler(), GeMPooler(region_weight="center")
    whitened = ActivationPCA(16, "whiten", random_state=0)
    found = {
        "R-MAC": rmac(),
        "R-MAC, no shrinkage": rmac(whiten__shrinkage=0.0),
        "R-MAC, GeM": rmac(pool=gem),
        "R-MAC, central": rmac(pool=ClusterMaxPooler("center")),
        "R-MAC, GeM, central": rmac(pool=central),
        "MAC": make_mac_pipeline(features__store=store, whiten__shrinkage=1.0),
        # From the paper's settings to the default, one after the other.
        "paper": cmac("paper"),
        "paper + shrinkage 1": cmac("paper", whiten__shrinkage=1.0),
        "… + central": cmac("paper", whiten__shrinkage=1.0, pool=ClusterMaxPooler("center")),
        "… + GeM": cmac("paper", whiten__shrinkage=1.0, pool=central),
        "… + 16 whitened": cmac("paper", whiten__shrinkage=1.0, pool=central, pca=whitened),
        "… + places": cmac(regions__grow=0.0),
        "default": cmac(),
        "mixed": cmac("mixed"),
        "tree": cmac(regions=TreeRegions()),
        "tree, not widened": cmac(regions=TreeRegions(grow=0.0)),
        "squares and branches": cmac(
            regions=RegionUnion([("squares", GridRegions()), ("branches", TreeRegions())])
        ),
        "k-means 20": cmac(regions=ClustererRegions(KMeans(20, random_state=0, n_init=1), 0.6)),
    }
    for name, value in {"equal": None, "area": "area", "√area": "sqrt_area"}.items():
        found[f"weights: {name}"] = cmac(pool__region_weight=value)
    found["pooling: max"] = cmac(pool=ClusterMaxPooler("center"))
    axes = {
        "pooling: p": ("pool__p", [1.0, 2.0, 5.0]),
        "C": ("pca__n_components", [4, 8, 32]),
        "weighting": ("pca__weighting", ["variance", None]),
        "unit activations": ("pca__normalize", [True]),
        "kernel": ("regions__kernel", ["exponential"]),
        "z": ("regions__scale", [0.02, 0.1]),
        "offset": ("regions__regularization", [0.0, 1.0]),
        "clusters": ("regions__n_clusters", [(5,), (20,), (3, 6, 12, 24), (10, 20, 30)]),
        "colours": ("regions__n_color_clusters", [0]),
        "places": ("regions__spatial_weight", [0.0, 0.3, 1.0, 3.0]),
        "widened by": ("regions__grow", [0.0, 0.08, 0.3]),
        "shrinkage": ("whiten__shrinkage", [0.0, 0.3, 3.0]),
        "dimensions": ("whiten__n_components", [256, 512]),
    }
    for name, (path, values) in axes.items():
        for value in values:
            found[f"{name}: {value}"] = cmac(**{path: value})
    for layer in ("blocks.6.0.bn2", "blocks.6", "blocks.5.0.bn1"):
        found[f"{layer}: R-MAC"] = rmac(features__layer=layer)
        found[f"{layer}: default"] = cmac(features__layer=layer)
    found["whitening 512, shrinkage 3"] = cmac(
        whiten=RegionWhitener(n_components=512, shrinkage=3.0)
    )
    return found


def photo_scales(data: Path) -> dict[str, float]:
    """Sizes of the photos of `paris279` against the published ones."""
    with open(data / "paris279/files.csv", newline="") as table:
        return {row["image"]: float(row["scale_in_jpg_768"]) for row in csv.DictReader(table)}


def tasks(data: Path) -> list:
    """(benchmark, photos to fit on, crops) whose rows are the columns of the tables."""
    paris, landmarks = load(data)
    options = {"missing": "restrict", "photo_scale": photo_scales(data)}
    official = load_paris6k(data / "paris279/jpg", data / "paris_gt", **options)
    revisited = load_rparis6k(data / "paris279/jpg", data / "revisited_gt", **options)
    both = ("activations", "image")
    return [
        (as_benchmark(landmarks, "all"), paris, both[:1]),
        (as_benchmark(landmarks, "boxed"), paris, both),
        (official, landmarks.photos, both),
        (revisited, landmarks.photos, both),
    ]


def network_cost(photos: list) -> float:
    """Processor seconds for decoding a photo and running the network."""
    features = ConvFeatureExtractor().fit(photos)
    features.transform(photos[:1])
    started = time.process_time()
    features.transform(photos)
    return (time.process_time() - started) / len(photos)


def cost(pipeline, photos: list) -> float:
    """Processor seconds per photo of the steps behind the network; the least of three runs."""
    maps = pipeline[:1].fit(photos).transform(photos)
    steps = clone(pipeline[1:]).fit(maps)
    found = []
    for _ in range(3):
        started = time.process_time()
        steps.transform(maps)
        found.append((time.process_time() - started) / len(maps))
    return min(found)


def measure(pipeline, work: list, out: Path) -> dict:
    """Average precisions by (steps, column)."""
    scores, columns = {}, iter(COLUMNS)
    steps = {"one": make_chain(), "matching": make_chain("matching")}
    for benchmark, fit_on, crops in work:
        rows = evaluate(
            benchmark, {"": pipeline}, fit_on, query_crops=crops, steps=steps, folder=out
        ).rows
        for crop in crops:
            column = next(columns)
            for row in rows:
                if row.query_crop == crop:
                    scores[row.steps, column] = np.array(row.average_precision)
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data")
    parser.add_argument("--store", default=".cache/maps", help="where activation maps are kept")
    parser.add_argument("--out", type=Path, default=Path(".cache/regions"))
    parser.add_argument("--only", nargs="+", help="variants whose name holds one of these words")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", "whitening .* dimensions")
    warnings.filterwarnings("ignore", ".*Scores of a part are no benchmark results")
    work = tasks(args.data)
    photos = [photo.source for photo in work[0][0].photos[::20]]
    network = network_cost(photos[:10])
    found, costs = {}, {}
    for name, pipeline in variants(args.store).items():
        if name == BASELINE or not args.only or any(word in name for word in args.only):
            found[name] = measure(pipeline, work, args.out)
            costs[name] = cost(pipeline, photos)
            print(name, *_cells(found[name], "one"), file=sys.stderr, flush=True)
    baseline = found[BASELINE]
    for steps, title in (("one", "one descriptor"), ("matching", "region matching")):
        rows = []
        for name, scores in found.items():
            whole = (network + costs[name]) / (network + costs[BASELINE])
            rows.append([name, *_cells(scores, steps), f"{1000 * costs[name]:.0f}", f"{whole:.2f}"])
        print(as_table([title, *COLUMNS, "ms", f"all / {BASELINE}"], rows), end="\n\n")
    differences = [
        [f"{name}, {steps}", *(_difference(scores[steps, c], baseline[steps, c]) for c in COLUMNS)]
        for name, scores in found.items()
        for steps in ("one", "matching")
    ]
    print(as_table([f"difference to {BASELINE}", *COLUMNS], differences))


def _cells(scores: dict, steps: str) -> list[str]:
    return [f"{100 * scores[steps, column].mean():.1f}" for column in COLUMNS]


def _difference(scores: np.ndarray, baseline: np.ndarray) -> str:
    low, high = bootstrap_interval(scores, baseline)
    return f"{100 * (scores - baseline).mean():+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


if __name__ == "__main__":
    main()
