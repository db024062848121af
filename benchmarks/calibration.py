"""What numbers of matching features say: how often they are wrong, how probable they are right,
and how well the box that they give lies.

    python benchmarks/calibration.py --data ../shared/data

Pairs of whole photos of one landmark, of `landmarks` and of `paris279`, and pairs of different
ones: of two landmarks, or a landmark and a photo of none. For each way to verify, prints

- the share of pairs of one landmark with more inliers than all but 0.1% and all but 1% of the
  other pairs, and how many that takes, and processor milliseconds a pair with features at hand;
- of the other pairs, how many are called the same at `--threshold` by the probability that is
  fitted on the other set of photos, as if `--prior` of the pairs were of one landmark;
- predicted against observed shares in bins of that probability, and the log loss, of pairs in
  which some features agree.

Then boxes. "There and back": a known box is found in ten other photos of the landmark, and where
that verifies, what was found there is asked for in the first photo and compared with the known box.
"Directly": the box of one photo is found in another boxed photo of the landmark, and compared with
the box that is known there; `landmarks` has one box for each, so this is of `paris279`, whose boxes
were drawn by hand for a part of the landmark, not always the same. Prints the median intersection
over union of results that verify, and the share in percent from 0.6 on.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
from chains import landmarks_of
from regions import tasks
from sklearn.base import clone
from sklearn.metrics import log_loss
from threadpoolctl import threadpool_limits

from sklearn_cmac import LearnedFeatureExtractor, LocalFeatureExtractor, Query
from sklearn_cmac._markdown import as_table
from sklearn_cmac.local import LocalFeatures
from sklearn_cmac.photos import Box, name_of
from sklearn_cmac.reranking import fit_calibration, same_object_probability
from sklearn_cmac.search import LightGlueMatcher, NearestMatcher, SpatialVerification

QUICK = ("XFeat, nearest", "ALIKED, nearest")
CAREFUL = "ALIKED, LightGlue"
CASCADE = f"{QUICK[0]}, then {CAREFUL}"
BINS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0)
VERIFIED = 0.9  # probability from which on a box is believed
N_OTHERS = 10  # photos of the landmark in which each box is found


class Photos(NamedTuple):
    """A set: photos, what each shows ("" if none), boxed queries and what these show."""

    photos: list[Any]
    labels: list[str]
    queries: list[Query]
    asked: list[str]


class Counted(NamedTuple):
    """Inliers of pairs of photos and their probability by the step's own curve, whether each shows
    one landmark, and seconds a pair."""

    inliers: np.ndarray
    probabilities: np.ndarray
    same: np.ndarray
    seconds: float


def load(data: Path) -> dict[str, Photos]:
    """Both sets by name. Photos of Paris that are junk, or show two landmarks, are left out."""
    _, (boxed, *_), (official, *_), _ = tasks(data)
    shown = [set[str]() for _ in official.photos]
    for landmark, right in zip(landmarks_of(official.queries), official.relevance):
        for i in right.positives:
            shown[i].add(landmark)
        for i in right.junk:
            shown[i].add("junk")
    clear = [i for i, names in enumerate(shown) if len(names) < 2 and "junk" not in names]
    parisian = Photos(
        [official.photos[i] for i in clear],
        ["".join(shown[i]) for i in clear],
        official.queries,
        landmarks_of(official.queries),
    )
    landmarks = Photos(boxed.photos, list(boxed.labels), boxed.queries, list(boxed.groups))
    return {"landmarks": landmarks, "paris279": parisian}


def verifiers(store: str) -> dict[str, SpatialVerification]:
    """What is compared, by the names of their calibrations."""
    xfeat = LearnedFeatureExtractor(store=store)
    aliked = LearnedFeatureExtractor("aliked-n16", max_features=512, store=store)
    sift = LocalFeatureExtractor(store=store)
    careful = SpatialVerification(aliked, matcher=LightGlueMatcher())
    return {
        "SIFT, ratio": SpatialVerification(sift),
        QUICK[0]: SpatialVerification(xfeat),
        "XFeat, LightGlue": SpatialVerification(xfeat, matcher=LightGlueMatcher()),
        QUICK[1]: SpatialVerification(aliked, matcher=NearestMatcher(0.7)),
        CAREFUL: clone(careful),
        CASCADE: SpatialVerification(xfeat, careful=careful),
    }


def draw_pairs(labels: Sequence[str], n_same: int, n_others: int) -> Iterator[tuple[int, int]]:
    """Pairs of photos of one landmark, and then others."""
    rng = np.random.default_rng(0)
    shown = np.array(labels)
    first, second = np.triu_indices(len(shown), 1)
    one, other = shown[first], shown[second]
    # Two photos of none may show the same thing, which nobody has looked for.
    for kind, n in (((one == other) & (one != ""), n_same), (one != other, n_others)):
        rows = np.flatnonzero(kind)
        for row in rng.permutation(rows)[:n]:
            yield int(first[row]), int(second[row])


class AtHand:
    """Takes the place of an extractor where the features of all photos are known."""

    def __init__(self, extractor: Any, photos: Sequence[Any]):
        self.found = dict(zip(map(name_of, photos), extractor.fit_transform(photos)))

    def transform(self, X: Sequence[Any]) -> list[LocalFeatures]:
        return [
            self.found[item.name].crop(item.box)
            if isinstance(item, Query)
            else self.found[name_of(item)]
            for item in X
        ]


def take_at_hand(
    step: SpatialVerification, photos: Sequence[Any], at_hand: type[AtHand] = AtHand
) -> None:
    """Let a step, and its careful look, find the features of photos at hand."""
    for each in (step, step.careful):
        if each is not None:
            each.set_params(extractor=at_hand(each.extractor, photos))


def count(
    step: SpatialVerification,
    photos: Sequence[Any],
    labels: Sequence[str],
    n_same: int,
    n_others: int,
) -> Counted:
    """Inliers of pairs of photos."""
    pairs = list(draw_pairs(labels, n_same, n_others))
    take_at_hand(step, [photos[i] for i in sorted({i for pair in pairs for i in pair})])
    found = []
    started = time.process_time()
    for i, j in pairs:
        (match,) = step.compare(photos[i], [photos[j]])
        found.append((match.n_inliers, match.probability))
    spent = (time.process_time() - started) / len(pairs)
    same = [labels[i] == labels[j] for i, j in pairs]
    inliers, probabilities = np.array(found).T
    return Counted(inliers, probabilities, np.array(same), spent)


def as_if(same: np.ndarray, prior: float) -> np.ndarray:
    """Weights of pairs by which a share of them is of one landmark."""
    return np.where(same, prior / same.sum(), (1 - prior) / (~same).sum())


def qualities(
    values: np.ndarray, predicted: np.ndarray | None, counted: Counted, threshold: float
) -> list[str]:
    """Cells of the first table, without probabilities the first of them."""
    one, others = values[counted.same], values[~counted.same]
    cells = [f"{len(one)}, {len(others)}"]
    for share in (0.999, 0.99):
        most = np.quantile(others, share, method="higher")
        above = one[one > most]
        cells += [f"{100 * len(above) / len(one):.0f}", f"{above.min():.3g}" if len(above) else ""]
    cells.append(f"{1e3 * counted.seconds:.1f}")
    if predicted is None:
        return [*cells, "", ""]
    called = predicted >= threshold
    right, wrong = called[counted.same], called[~counted.same]
    return [*cells, f"{wrong.sum()} ({100 * wrong.mean():.2f}%)", f"{100 * right.mean():.0f}"]


def reliability(predicted: np.ndarray, counted: Counted, prior: float) -> list[str]:
    """In bins of predicted probability "predicted / observed" (pairs); at last the log loss."""
    some = counted.inliers > 0
    predicted, same = predicted[some], counted.same[some]
    weights, cells = as_if(counted.same, prior)[some], []
    for low, high in pairwise(BINS):
        mine = (predicted >= low) & ((predicted < high) | (high == 1))
        if not mine.any():
            cells.append("")
            continue
        told, seen = (
            np.average(values[mine], weights=weights[mine]) for values in (predicted, same)
        )
        cells.append(f"{told:.2f} / {seen:.2f} ({mine.sum()})")
    return [*cells, f"{log_loss(same, predicted, sample_weight=weights):.3f}"]


def overlap(one: Box | None, other: Box) -> float:
    """Intersection over union of two boxes."""
    if one is None:
        return 0.0
    (x0, y0, x1, y1), (u0, v0, u1, v1) = one, other
    shared = max(0, min(x1, u1) - max(x0, u0)) * max(0, min(y1, v1) - max(y0, v0))
    return shared / ((x1 - x0) * (y1 - y0) + (u1 - u0) * (v1 - v0) - shared)


def there_and_back(step: SpatialVerification, given: Photos) -> list[float]:
    """Overlaps of known boxes with what is found again from where they were found in others."""
    found = []
    for query, landmark in zip(given.queries, given.asked):
        others = [
            photo
            for photo, label in zip(given.photos, given.labels)
            if label == landmark and name_of(photo) != query.name
        ]
        for photo in others[:N_OTHERS]:
            (there,) = step.compare(query, [photo])
            if there.probability >= VERIFIED and there.box is not None and _has_area(there.box):
                (back,) = step.compare(Query(photo, there.box), [query.photo])
                if back.probability >= VERIFIED:
                    found.append(overlap(back.box, query.box))
    return found


def found_directly(step: SpatialVerification, given: Photos) -> list[float]:
    """Overlaps of known boxes with what is found by boxes of the same landmark in other photos."""
    found = []
    for query, landmark in zip(given.queries, given.asked):
        for other, name in zip(given.queries, given.asked):
            if name == landmark and other.name != query.name:
                (match,) = step.compare(query, [other.photo])
                if match.probability >= VERIFIED:
                    found.append(overlap(match.box, other.box))
    return found


def located(step: SpatialVerification, given: Photos) -> list[str]:
    """Cells of the last table."""
    cells = []
    for compare in (found_directly, there_and_back):
        found = np.array(compare(step, given))
        cells.append(str(len(found)))
        cells += (
            [f"{np.median(found):.2f}", f"{100 * np.mean(found >= 0.6):.0f}"]
            if len(found)
            else ["", ""]
        )
    return cells


def _has_area(box: Box) -> bool:
    return box[2] - box[0] >= 1 and box[3] - box[1] >= 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data")
    parser.add_argument("--store", default=".cache/maps", help="where features are kept")
    parser.add_argument("--out", type=Path, help="keeps what is counted")
    parser.add_argument("--verifiers", nargs="+", help="of these only")
    parser.add_argument("--same", type=int, default=1000, help="pairs of one landmark, of each set")
    parser.add_argument("--others", type=int, default=5000, help="other pairs, of each set")
    parser.add_argument("--slow-same", type=int, help="of these for what is slow; default: all")
    parser.add_argument("--slow-others", type=int, help="the same of other pairs")
    parser.add_argument("--every", type=int, default=1, help="of so many photos, one is used")
    parser.add_argument(
        "--prior", type=float, default=0.1, help="share of candidates that is right"
    )
    parser.add_argument("--threshold", type=float, default=0.9)
    parser.add_argument(
        "--boxes", action=argparse.BooleanOptionalAction, default=True, help="whether to find boxes"
    )
    args = parser.parse_args()
    warnings.filterwarnings("ignore", ".*Scores of a part are no benchmark results")
    sets = load(args.data)
    counting = joblib.Memory(args.out, verbose=0).cache(count)
    quality, bins, boxes = [], [], []
    for name, step in verifiers(args.store).items():
        if args.verifiers and name not in args.verifiers:
            continue
        n = args.same, args.others
        if name not in QUICK:
            n = args.slow_same or args.same, args.slow_others or args.others
        counted = {}
        for of in sets:
            photos, labels = (part[:: args.every] for part in sets[of][:2])
            with threadpool_limits(1):
                counted[of] = counting(clone(step), photos, labels, *n)
            print(name, of, f"{1e3 * counted[of].seconds:.1f} ms", file=sys.stderr, flush=True)
        # Of two looks there are two curves. Where features agree in pairs of one kind only, there
        # is none to fit.
        fits = step.careful is None and all(
            len(set(each.same[each.inliers > 0])) == 2 for each in counted.values()
        )
        for of, other in zip(sets, reversed(sets)):
            each, elsewhere = counted[of], counted[other]
            values, predicted, curve = each.inliers, None, ""
            if step.careful is not None:
                values = predicted = each.probabilities
            elif fits:
                fitted = fit_calibration(elsewhere.inliers, elsewhere.same, prior=args.prior)
                predicted = same_object_probability(each.inliers, fitted)
                curve = f"{fitted[0]:.2f}, {fitted[1]:.2f}"
            quality.append([name, of, *qualities(values, predicted, each, args.threshold)])
            if predicted is not None:
                bins.append([name, other, curve, of, *reliability(predicted, each, args.prior)])
        if fits:
            inliers, same = (
                np.concatenate([getattr(c, k) for c in counted.values()])
                for k in ("inliers", "same")
            )
            both = fit_calibration(inliers, same, prior=args.prior)
            print(f"{name}, fitted on both sets: ({both[0]:.2f}, {both[1]:.2f})", flush=True)
            step.set_params(calibration=both)
            for of, given in sets.items() if args.boxes else ():
                boxes.append([name, of, *located(step, given)])
    wide = [f"{low:g} to {high:g}" for low, high in pairwise(BINS)]
    called = f"called the same at {args.threshold:g}"
    columns = [
        "pairs: one landmark, others",
        "above 99.9%",
        "at inliers",
        "above 99%",
        "at inliers",
    ]
    columns += ["ms", called, "of one landmark"]
    print()
    print(as_table(["verified by", "photos", *columns], quality), end="\n\n")
    columns = ["fitted on", "curve", "checked on", *wide, "log loss"]
    print(as_table(["verified by", *columns], bins), end="\n\n")
    columns = ["directly", "median", "from 0.6 on", "there and back", "median", "from 0.6 on"]
    print(as_table(["boxes by", "photos", *columns], boxes))


if __name__ == "__main__":
    main()
