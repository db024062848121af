"""What each way to verify, and each size of local features, is worth behind a first ranking.

    python benchmarks/verification.py --data ../shared/data

The photos that one descriptor ranks first (R-MAC, with components and whitening fitted on the other
set) are sorted anew by `SpatialVerification`. Queries are boxes, crop X, without the photo that
they are in: 22 of `landmarks` (L-X), and of `paris279` those of Paris6k (P-X) and of the revisited
one, of which only the hard photos count (R-H).

"ways" compares features and matchers at their defaults; "sizes" XFeat's nearest features by how
many points and bits are kept of a photo: 2048 are found once, and cut down. Photos come first from
a probability on. Prints mAP in percent for 0.5 by the curve that is installed, and for that which
is best on the other set (with inliers, where one curve made it), and the paired difference to one
row with its 95% interval over queries, of which those of one landmark are drawn together. ms are of
one thread, a pair, with features at hand. What is computed is kept under `--out`.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
from calibration import QUICK, AtHand, take_at_hand, verifiers
from chains import Asked, fitted, load
from scales import make_system
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from sklearn_cmac import LearnedFeatureExtractor
from sklearn_cmac._markdown import as_table
from sklearn_cmac.local import LocalFeatures, pack_descriptors, unpack_descriptors
from sklearn_cmac.metrics import bootstrap_interval, evaluate_rankings
from sklearn_cmac.networks import XFEAT_CHANNELS
from sklearn_cmac.reranking import CALIBRATIONS, same_object_probability
from sklearn_cmac.search import NearestMatcher, SpatialVerification
from sklearn_cmac.search._retriever import in_order

COLUMNS = ("L-X", "P-X", "R-H")
POINTS = (500, 1000, 2048)
BITS = {"float16": 16, "int8": 8, "binary": 1}
COUNTS = np.arange(3, 60)  # of inliers, from which on a photo may count as verified


class Verified(NamedTuple):
    """For each query the probabilities of its first photos, and seconds a pair."""

    probabilities: list[np.ndarray]
    seconds: float


def sizes(store: str) -> dict[str, SpatialVerification]:
    """XFeat's nearest features, by how many are kept in how many bits and bytes."""
    found = {}
    for points in POINTS:
        for kept, bits in BITS.items():
            extractor = LearnedFeatureExtractor(max_features=points, kept=kept, store=store)
            # Of signs, which are less alike than what they are the signs of.
            matcher = NearestMatcher(0.6) if kept == "binary" else None
            kilobytes = points * (XFEAT_CHANNELS * bits / 8 + 6) / 1000
            name = f"{points} points, {bits} bits, {kilobytes:.0f} kB"
            found[name] = SpatialVerification(extractor, matcher=matcher)
    return found


class CutDown(AtHand):
    """Features of XFeat as if fewer had been found, and kept in fewer bits; the best are first."""

    def __init__(self, extractor: LearnedFeatureExtractor, photos: Sequence[Any]):
        whole = clone(extractor).set_params(max_features=max(POINTS), kept="float16")
        super().__init__(whole, photos)
        self.found = {
            name: cut_down(features, extractor.max_features, extractor.kept)
            for name, features in self.found.items()
        }


def cut_down(features: LocalFeatures, n: int, kept: str) -> LocalFeatures:
    """The first n features, as they are when they have been kept."""
    packed = pack_descriptors(features.descriptors[:n], kept)
    return replace(
        features,
        positions=features.positions[:n],
        descriptors=unpack_descriptors(packed, features.descriptors.shape[1]),
        scores=features.scores[:n],
    )


def verify(
    step: SpatialVerification, column: str, n: int, at_hand: type[AtHand], asked: Asked
) -> Verified:
    """How probable it is that the first n photos show what each query asks for."""
    first = [ranked.ids[:n].tolist() for ranked in asked.reach([]).rankings]
    known = [asked.collection.photo(id_) for id_ in dict.fromkeys(chain.from_iterable(first))]
    known += [query.photo for query in asked.benchmark.queries]
    # Of all pairs in which anything agrees: what is enough is decided afterwards.
    take_at_hand(step, known, at_hand)
    step.set_params(min_inliers=1)
    if step.careful is not None:
        step.set_params(careful__min_inliers=1)
    found = []
    started = time.process_time()
    for query, ids in zip(asked.queries, first):
        found += step.probabilities([query.photo], [ids], asked.collection)
    spent = time.process_time() - started
    return Verified(found, spent / sum(map(len, first)))


def precisions(asked: Asked, verified: Verified | None, least: float = 0.0) -> np.ndarray:
    """Average precision of each query when photos of this probability come first."""
    orders = []
    for i, (ranked, own) in enumerate(zip(asked.reach([]).rankings, asked.exclude)):
        if verified is not None:
            scores = verified.probabilities[i]
            ranked = ranked.resorted(np.where(scores >= least, scores, 0.0))
        orders.append(in_order(ranked, own, asked.collection, None).order)
    return np.array(evaluate_rankings(orders, asked.benchmark.relevance).average_precision)


def best_elsewhere(column: str, work: Mapping[str, Asked], found: Mapping[str, Verified]) -> float:
    """The probability from which on a photo counts that is best on the other set of photos."""
    elsewhere = [c for c in found if (c[0] == "L") != (column[0] == "L")] or list(found)
    grid = same_object_probability(COUNTS)
    gained = [np.mean([precisions(work[c], found[c], p).mean() for c in elsewhere]) for p in grid]
    return float(grid[int(np.argmax(gained))])


def enough(probability: float, curve: str) -> str:
    """A probability as the inliers that it takes by a curve, if there is one of this name."""
    if curve not in CALIBRATIONS:
        return f"{probability:.2f}"
    counts = same_object_probability(np.arange(1000), curve)
    return str(int(np.searchsorted(counts, probability)))


def cell(values: np.ndarray, base: np.ndarray, asked: Asked) -> str:
    """mAP, and how far it is ahead of a base."""
    told = f"{100 * values.mean():.1f}"
    if values is base:
        return told
    low, high = bootstrap_interval(values, base, groups=asked.benchmark.groups)
    ahead = 100 * (values - base).mean()
    return f"{told} ({ahead:+.1f}: {100 * low:+.1f} to {100 * high:+.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data")
    parser.add_argument("--store", default=".cache/maps", help="where maps and features are kept")
    parser.add_argument("--out", type=Path, default=Path(".cache/chains"))
    parser.add_argument("--tables", nargs="+", choices=("ways", "sizes"), default=["ways", "sizes"])
    parser.add_argument("--columns", nargs="+", choices=COLUMNS, default=list(COLUMNS))
    parser.add_argument("--size", default="724+512", metavar="SIZE+SIZE", help="of photos")
    parser.add_argument("--candidates", type=int, default=100, help="photos that are sorted anew")
    parser.add_argument("--only", nargs="+", help="ways or sizes of these names only")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", "whitening .* dimensions")
    warnings.filterwarnings("ignore", ".*Scores of a part are no benchmark results")
    benchmarks, work = load(args.data), {}
    for column in args.columns:
        benchmark, photos = benchmarks[column]
        pipeline, folder = fitted(make_system("rmac", args.size, args.store), photos, args.out)
        work[column] = Asked(pipeline, benchmark, folder, "activations")
    once = joblib.Memory(args.out, verbose=0).cache(verify, ignore=["asked"])
    for table in args.tables:
        steps, at_hand, base = (
            (verifiers(args.store), AtHand, QUICK[0])
            if table == "ways"
            else (sizes(args.store), CutDown, "1000 points, 8 bits, 70 kB")
        )
        found: dict[str, dict[str, Verified]] = {}
        for name, step in steps.items():
            if args.only and name not in args.only:
                continue
            found[name] = {}
            for column, asked in work.items():
                with threadpool_limits(1):
                    each = once(clone(step), column, args.candidates, at_hand, asked)
                found[name][column] = each
                told = f"{1e3 * each.seconds:.1f} ms"
                print(table, name, column, told, file=sys.stderr, flush=True)
        fixed = {(name, c): 0.5 for name in found for c in work}
        chosen = {(name, c): best_elsewhere(c, work, found[name]) for name, c in fixed}
        for how, least in (("from 0.5 on", fixed), ("chosen on the other set", chosen)):
            rows = rows_of(work, found, base, least, "" if table == "ways" else QUICK[0])
            print(as_table([f"{table}, {how}", "ms", *work], rows), end="\n\n")


def rows_of(
    work: Mapping[str, Asked],
    found: Mapping[str, Mapping[str, Verified]],
    base: str,
    least: Mapping[tuple[str, str], float],
    curve: str,
) -> list[list[str]]:
    """mAP by row and column, and from what on photos count, by this curve or that of the row."""
    scored = {(n, c): precisions(work[c], found[n][c], p) for (n, c), p in least.items()}
    first = {column: precisions(asked, None) for column, asked in work.items()}

    def against(values: np.ndarray, column: str) -> str:
        return cell(values, scored.get((base, column), first[column]), work[column])

    rows = [["as ranked first", "", *(against(values, c) for c, values in first.items())]]
    for name, each in found.items():
        told = [
            f"{against(scored[name, c], c)} at {enough(least[name, c], curve or name)}"
            for c in work
        ]
        rows.append([name, f"{1e3 * next(iter(each.values())).seconds:.1f}", *told])
    return rows


if __name__ == "__main__":
    main()
