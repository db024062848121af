"""What local features, how few bytes of them, and what matchers tell pairs of one object apart.

    python benchmarks/verification.py --data ../shared/data

Pairs of photos of `landmarks`: of one landmark, and twice as many of different ones or of none.
Each row says how many bytes a photo's features take, median processor milliseconds a pair, and the
share of pairs of one landmark with more features that agree with one map than all other pairs have,
and than 99% of them have, with the number that this takes. Pairs of one landmark may show different
sides of it, so none reaches 100.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sklearn_cmac import LearnedFeatureExtractor, LocalFeatureExtractor
from sklearn_cmac._markdown import as_table
from sklearn_cmac.datasets import load_photo_folder
from sklearn_cmac.search import LightGlueMatcher, NearestMatcher, SpatialVerification

Pair = tuple[int, int]
_HEAD = ["features", "bytes", "matcher", "tolerance", "ms", "above all", "at", "above 99%", "at"]


def draw_pairs(labels: Sequence[Any], n: int) -> tuple[list[Pair], list[Pair]]:
    """Pairs of photos of one landmark, and twice as many of others."""
    rng = np.random.default_rng(0)
    found: tuple[list[Pair], list[Pair]] = [], []
    # A photo of no landmark is like no other.
    known = np.array([str(label) if label else f"none {i}" for i, label in enumerate(labels)])
    while len(found[0]) < n or len(found[1]) < 2 * n:
        first = int(rng.integers(len(known)))
        others = np.flatnonzero(known == known[first])
        for pairs, most, among in (
            (found[0], n, others[others != first]),
            (found[1], 2 * n, np.flatnonzero(known != known[first])),
        ):
            if len(among) and len(pairs) < most:
                pairs.append((first, int(rng.choice(among))))
    return found


def row(
    name: str, extractor: Any, step: SpatialVerification, photos: Sequence[Any], pairs: Any
) -> list[str]:
    """One row of the table."""
    needed = sorted({i for pair in pairs[0] + pairs[1] for i in pair})
    records = dict(zip(needed, extractor.transform([photos[i] for i in needed])))
    step.set_params(extractor=Kept())
    counts, times = [], []
    for pair in pairs[0] + pairs[1]:
        query, photo = (records[i] for i in pair)
        start = time.process_time()
        counts.append(step.compare(query, [photo])[0].n_inliers)
        times.append(time.process_time() - start)
    spent = np.median(times) * 1000  # a network that is made in the first is none of the others'
    same, others = np.split(np.array(counts), [len(pairs[0])])
    cells = []
    for share in (1.0, 0.99):
        least = int(np.quantile(others, share, method="higher")) + 1
        cells += [f"{100 * np.mean(same >= least):.0f}", str(least)]
    most = max(map(len, records.values()))
    n_dimensions = records[needed[0]].descriptors.shape[1]
    bits = {"float16": 16, "int8": 8, "binary": 1}.get(getattr(extractor, "kept", ""), 8)
    size = most * (n_dimensions * bits / 8 + 6)
    tolerance = "" if step.tolerance is None else f"{step.tolerance:g}"
    matcher = type(step.matcher).__name__ if step.matcher else "ratio"
    return [name, f"{size / 1000:.0f} kB", matcher, tolerance, f"{spent:.1f}", *cells]


class Kept:
    """Takes the place of an extractor where photos are local features already."""

    def transform(self, X: Sequence[Any]) -> list[Any]:
        return list(X)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data")
    parser.add_argument("--store", default=".cache/maps", help="where features are kept")
    parser.add_argument("--pairs", type=int, default=100, help="of one landmark")
    parser.add_argument("--aliked-pairs", type=int, default=40, help="the same for ALIKED")
    parser.add_argument("--only", default="", help="rows whose features and matcher say this")
    parser.add_argument("--sift", action="store_true", help="SIFT too, which takes seconds a photo")
    args = parser.parse_args()
    folder = args.data / "landmarks"
    bunch = load_photo_folder(folder / "images", labels=folder / "labels.csv")
    photos, labels = bunch.photos, bunch.target
    rows = []

    def add(n: int, name: str, extractor: Any, matcher: Any, tolerance: float | None) -> None:
        if args.only not in f"{name} {matcher}":
            return
        step = SpatialVerification(matcher=matcher, tolerance=tolerance)
        rows.append(row(name, extractor, step, photos, draw_pairs(labels, n)))
        print(*rows[-1], sep=" | ", flush=True)

    for points, kept, tolerance in (
        (2048, "float16", 0.006),
        (2048, "int8", 0.006),
        (2048, "int8", 0.01),
        (1000, "int8", 0.006),
        (1000, "int8", 0.01),
        (2048, "binary", 0.006),
    ):
        extractor = LearnedFeatureExtractor(max_features=points, kept=kept, store=args.store)
        # Of signs, which are less alike than what they are the signs of.
        matcher = NearestMatcher(0.6 if kept == "binary" else 0.82)
        add(args.pairs, f"XFeat, {points}, {kept}", extractor, matcher, tolerance)
    xfeat = LearnedFeatureExtractor(store=args.store)
    for points in (256, 512, 1000):
        matcher = LightGlueMatcher(max_features=points)
        add(args.pairs, f"XFeat, {points} of 1000, int8", xfeat, matcher, 0.01)
    fast = LightGlueMatcher(precision="bfloat16")
    add(args.pairs, "XFeat, 512 of 1000, int8, bfloat16", xfeat, fast, 0.01)
    aliked = LearnedFeatureExtractor("aliked-n16", store=args.store)
    for name, matcher in (
        ("ALIKED, 512", NearestMatcher(0.6)),
        ("ALIKED, 256 of 512", LightGlueMatcher(max_features=256)),
        ("ALIKED, 512", LightGlueMatcher()),
        ("ALIKED, 512, bfloat16", fast),
    ):
        add(args.aliked_pairs, name, aliked, matcher, 0.006)
    if args.sift:
        add(args.aliked_pairs, "SIFT, 2000", LocalFeatureExtractor(store=args.store), None, None)
    print()
    print(as_table(_HEAD, rows))


if __name__ == "__main__":
    main()
