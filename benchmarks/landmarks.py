"""mAP of MAC, R-MAC and the paper's clusters on real photos, fitted on those of another city.

    python benchmarks/landmarks.py --data ../shared/data

Principal components and whitening are fitted on `paris279`; queries and the photos that are
ranked are those of `landmarks`. Queries are all labelled photos as they are, and one boxed
photo per landmark, cropped in activation space (X) and in the photo (I). The query's own photo
is left out of its ranking. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from sklearn_cmac import RetrievalScorer
from sklearn_cmac._markdown import as_table
from sklearn_cmac.datasets import find_photos, load_photo_folder
from sklearn_cmac.pipelines import SYSTEMS

COMPARED = ("mac", "rmac", "paper")
SCORES = ("whole photos", "boxed, crop X", "boxed, crop I")


def measure(pipeline, photos, target) -> list[float]:
    """mAP in percent of whole-photo queries, boxed queries crop X, boxed queries crop I."""
    scores = []
    for queries, crop in (("all", "activations"), ("boxed", "activations"), ("boxed", "image")):
        pipeline.set_params(features__query_crop=crop)
        scorer = RetrievalScorer(queries=queries, distractor="")
        scores.append(100 * scorer(pipeline, photos, target))
    return scores


def load(data: Path) -> tuple[list[Path], Bunch]:
    """The photos to fit on, and the labelled ones to test on."""
    if not data.is_dir():
        raise SystemExit(f"no photos at {data}: pass --data")
    landmarks = data / "landmarks"
    test = load_photo_folder(
        landmarks / "images", labels=landmarks / "labels.csv", boxes=landmarks / "boxes.csv"
    )
    return find_photos(data / "paris279/jpg"), test


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data")
    parser.add_argument("--store", default=".cache/maps", help="where activation maps are kept")
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--weights", default="default")
    parser.add_argument("--layer", nargs="+", default=["default"])
    parser.add_argument("--max-size", type=int, default=1024)
    parser.add_argument("--shrinkage", type=float, nargs="+", default=[0.0, 1.0])
    parser.add_argument("--systems", nargs="+", default=COMPARED, choices=COMPARED)
    args = parser.parse_args()
    warnings.filterwarnings("ignore", "whitening .* dimensions")
    paris, test = load(args.data)
    rng = np.random.default_rng(0)
    chance = RetrievalScorer(distractor="")
    noise = type("Chance", (), {"transform": lambda self, X: rng.standard_normal((len(X), 64))})
    print(f"{len(paris)} photos to fit on; {test.DESCR}")
    print(f"random order: {100 * chance(noise(), test.photos, test.target):.1f}\n")
    rows = []
    for layer in args.layer:
        for name in args.systems:
            pipeline = SYSTEMS[name].make(
                features__store=args.store,
                features__backbone=args.backbone,
                features__weights=args.weights,
                features__layer=layer,
                features__max_size=args.max_size,
                features__verbose=1,
            )
            for shrinkage in args.shrinkage:
                pipeline.set_params(whiten__shrinkage=shrinkage).fit(paris)
                started = time.perf_counter()
                pipeline.transform(test.photos)
                seconds = (time.perf_counter() - started) / len(test.photos)
                cells = [f"{s:.1f}" for s in measure(pipeline, test.photos, test.target)]
                label = SYSTEMS[name].label
                rows.append([layer, label, f"{shrinkage:g}", *cells, f"{seconds:.3f}"])
                print(*rows[-1], file=sys.stderr, flush=True)
    header = ["layer", "system", "shrinkage", *SCORES, "s/photo"]
    print(as_table(header, rows))


if __name__ == "__main__":
    main()
