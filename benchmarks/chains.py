"""What each step behind the first ranking is worth, alone and on top of others.

    python benchmarks/chains.py --data ../shared/data

Two sets of real photos, each with components and whitening fitted on the other. `landmarks`: every
third labelled photo asks whole (L), and one box for each landmark, cropped in activation space
(L-X). `paris279`: every fourth photo of a landmark asks whole (P), and the boxes of Paris6k (P-X)
and of the revisited one, of which only the hard photos count (R-H). "few" are collections with
three photos of each object, of which four others ask whole (L few, P few); distractors are the rest
of the set, and of P few the photos of `landmarks` too. "cut" are boxes of which a quarter is left,
in one of their corners. The query's own photo is left out.

Prints mAP in percent by chain, the paired difference to the first chain with its 95% interval over
queries, of which those of one object are drawn together, and processor seconds of a described query
of the first column, in one thread; what each set gets of the chain that is best on the other one
within two and fifteen seconds; and the bytes of descriptors and regions that are kept of a photo.
What is fitted, described and scored is kept under `--out`, so a stopped run goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
from regions import photo_scales, tasks
from scales import make_system
from sklearn.frozen import FrozenEstimator
from sklearn.utils import Bunch
from threadpoolctl import threadpool_limits

from sklearn_cmac import LearnedFeatureExtractor
from sklearn_cmac._markdown import as_table
from sklearn_cmac.datasets import Relevance, load_rparis6k
from sklearn_cmac.fingerprints import fingerprint
from sklearn_cmac.metrics import bootstrap_interval, evaluate_rankings
from sklearn_cmac.persistence import load_pipeline, save_pipeline
from sklearn_cmac.photos import Query, name_of
from sklearn_cmac.pipelines import SYSTEMS
from sklearn_cmac.reranking import DescribedQuery, RankedList
from sklearn_cmac.search import (
    CandidateNeighbors,
    LightGlueMatcher,
    RegionMatching,
    Retriever,
    SpatialVerification,
    VerifiedExpansion,
    chain_of_effort,
)
from sklearn_cmac.search._retriever import in_order

COLUMNS = ("L-X", "L-X cut", "L", "L few", "P-X", "R-H", "R-H cut", "P", "P few")
KEPT = 3  # photos of each object in the collections of few

# Average precision of each query, and processor seconds of one, by chain and column.
Scores = dict[tuple[str, str], tuple[np.ndarray, float]]


def chains(store: str, crop: str) -> dict[str, list[Any]]:
    """Steps behind the first ranking, by name."""
    xfeat = LearnedFeatureExtractor(store=store, query_crop=crop)
    aliked = LearnedFeatureExtractor("aliked-n16", store=store, query_crop=crop)
    by_aliked = SpatialVerification(aliked, 50, min_inliers=10)

    def verified(least: int = 12, **params: Any) -> SpatialVerification:
        return SpatialVerification(xfeat, 20, min_inliers=least, **params)

    def expanded(*steps: Any, rounds: int = 2) -> VerifiedExpansion:
        named = [(type(step).__name__, step) for step in steps]
        return VerifiedExpansion(verified(), n_rounds=rounds, steps=named)

    def of_effort(*args: Any) -> list[Any]:
        return [step for _, step in chain_of_effort(*args).steps]

    match, walk, expand = RegionMatching(), CandidateNeighbors(), expanded()
    short = CandidateNeighbors(alpha=0.7, min_photos=100)
    return {
        "matching": [match],
        "one descriptor": [],
        "matching, reciprocal": [match, CandidateNeighbors("reciprocal")],
        "neighbors": [walk],
        "matching, neighbors": [match, walk],
        "verified": [verified()],
        "neighbors, verified from 8 on": [walk, verified(8)],
        "neighbors, verified": [walk, verified()],
        "neighbors, verified from 18 on": [walk, verified(18)],
        "neighbors, LighterGlue": [walk, verified(20, matcher=LightGlueMatcher())],
        "expansion": [expand],
        "expansion, neighbors": [expand, walk],
        "expansion, one round, neighbors": [expanded(rounds=1), walk],
        "expansion, matching, neighbors": [expand, match, walk],
        "expansion through neighbors": [expanded(walk)],
        "matching, neighbors (.7)": [match, short],
        "matching, neighbors (.7), verified": [match, short, verified(15)],
        "usual": of_effort("usual", True, [xfeat]),
        "best": of_effort("best", True, [xfeat]),
        "best, ALIKED": of_effort("best", True, [xfeat, aliked]),
        "best, ALIKED, no LightGlue": [
            match,
            VerifiedExpansion(by_aliked, steps=[("match", RegionMatching(100)), ("walk", short)]),
        ],
    }


def every(benchmark: Bunch, n: int) -> Bunch:
    """The same photos, asked by one of n queries only."""
    parts = ("queries", "relevance", "exclude", "groups")
    return Bunch(**{**benchmark, **{part: benchmark[part][::n] for part in parts}})


def cut(benchmark: Bunch) -> Bunch:
    """The same photos, asked by one corner of each box, half as wide and half as high."""
    rng = np.random.default_rng(0)
    queries = []
    for query in benchmark.queries:
        left, top, right, bottom = query.box
        width, height = (right - left) / 2, (bottom - top) / 2
        x, y = left + rng.integers(2) * width, top + rng.integers(2) * height
        queries.append(Query(query.photo, (x, y, x + width, y + height)))
    return Bunch(**{**benchmark, "queries": queries})


def asked_whole(official: Bunch) -> Bunch:
    """Each photo of a landmark of Paris asks whole for the others; junk of the landmark is junk."""
    positives: dict[str, set[int]] = {}
    junk: dict[str, set[int]] = {}
    for landmark, right in zip(landmarks_of(official.queries), official.relevance):
        positives.setdefault(landmark, set()).update(right.positives.tolist())
        junk.setdefault(landmark, set()).update(right.junk.tolist())
    asking = [(name, i) for name, own in positives.items() for i in sorted(own)]
    relevance = [
        Relevance(np.array(sorted(positives[name] - {i})), np.array(sorted(junk[name] | {i}), int))
        for name, i in asking
    ]
    return Bunch(
        **{**official, "protocol": "whole photos"}
        | {
            "queries": [official.photos[i] for _, i in asking],
            "relevance": relevance,
            "exclude": [i for _, i in asking],
            "groups": [name for name, _ in asking],
        }
    )


def landmarks_of(queries: Sequence[Any]) -> list[str]:
    """What queries of Paris show, which their names begin with."""
    return [Path(name_of(query)).stem.rsplit("_", 1)[0] for query in queries]


def with_few(benchmark: Bunch, distractors: Sequence[Any] = (), n_asking: int = 4) -> Bunch:
    """Three photos of each object stay to be found, and some of the others ask for them."""
    rng = np.random.default_rng(0)
    objects = {}
    for name, i in zip(benchmark.groups, benchmark.exclude):
        objects.setdefault(name, []).append(i)
    drawn = {name: rng.permutation(own).tolist() for name, own in objects.items()}
    dropped = {i for own in drawn.values() for i in own[KEPT:]}
    places = [i for i in range(len(benchmark.photos)) if i not in dropped]
    new = {old: i for i, old in enumerate(places)}
    queries, relevance, groups = [], [], []
    junk_of = dict(zip(benchmark.exclude, (right.junk for right in benchmark.relevance)))
    for name, own in drawn.items():
        for i in own[KEPT : KEPT + n_asking]:
            queries.append(benchmark.photos[i])
            junk = [new[j] for j in junk_of[i].tolist() if j in new]
            relevance.append(
                Relevance(np.array(sorted(new[j] for j in own[:KEPT])), np.array(junk, int))
            )
            groups.append(name)
    return Bunch(
        name=f"few, {benchmark.name}",
        photos=[*(benchmark.photos[i] for i in places), *distractors],
        queries=queries,
        relevance=relevance,
        groups=groups,
        protocol="few",
        DESCR=f"{len(places)} photos, {len(queries)} queries",
    )


def load(data: Path) -> dict[str, tuple[Bunch, Sequence[Any]]]:
    """Benchmarks by column, each with the photos to fit on."""
    (whole, paris, _), (boxed, *_), (official, landmarks, _), _ = tasks(data)
    scale = photo_scales(data)
    hard = load_rparis6k(
        data / "paris279/jpg",
        data / "revisited_gt",
        missing="restrict",
        photo_scale=scale,
        protocol="hard",
    )
    parisian = asked_whole(official)
    named = {"P-X": official, "R-H": hard}
    for benchmark in named.values():
        benchmark.groups = landmarks_of(benchmark.queries)
    return {
        "L": (every(whole, 3), paris),
        "L-X": (boxed, paris),
        "L-X cut": (cut(boxed), paris),
        "L few": (with_few(whole), paris),
        "P": (every(parisian, 4), landmarks),
        **{name: (benchmark, landmarks) for name, benchmark in named.items()},
        "R-H cut": (cut(hard), landmarks),
        "P few": (with_few(parisian, landmarks), landmarks),
    }


class Ranked(NamedTuple):
    """Rankings of all queries behind some steps, and processor seconds a query."""

    rankings: list[RankedList]
    seconds: float


class Asked:
    """A described collection and its described queries, ranked by many chains.

    A chain that begins as another one did goes on from there.
    """

    def __init__(self, pipeline: Any, benchmark: Bunch, folder: Path, crop: str):
        matching = [("match", RegionMatching())]
        self.retriever = Retriever(FrozenEstimator(pipeline), matching).fit([])
        self.benchmark, self.pipeline, self.folder = benchmark, pipeline, folder
        self.crop = crop
        self.collection = self.retriever.describe(benchmark.photos, folder=folder / "photos")
        self.collection.raise_failures()
        self.exclude = benchmark.get("exclude") or [None] * len(benchmark.queries)
        self.kept: dict[tuple[int, ...], Ranked] = {}

    @cached_property
    def queries(self) -> list[DescribedQuery]:
        """The queries, described when the first chain asks with them."""
        describe = joblib.Memory(self.folder, verbose=0).cache(_described, ignore=["retriever"])
        found = describe(self.retriever, self.benchmark.queries, self.crop)
        return [
            replace(query, exclude=self.collection.only_id(own))
            for query, own in zip(found, self.exclude)
        ]

    def score(self, steps: Sequence[Any]) -> tuple[np.ndarray, float]:
        """Average precision of each query, and processor seconds of one, which are kept."""
        right = [(list(r.positives), list(r.junk)) for r in self.benchmark.relevance]
        key = fingerprint(list(steps), self.collection.ids, list(self.benchmark.queries), right)
        file = self.folder / f"{self.crop}-{key[:32]}.json"
        if not file.exists():
            found = self.reach(steps)
            orders = [
                in_order(r, own, self.collection, None).order
                for r, own in zip(found.rankings, self.exclude)
            ]
            scores = evaluate_rankings(orders, self.benchmark.relevance)
            file.write_text(json.dumps([scores.average_precision.tolist(), found.seconds]))
        precision, seconds = json.loads(file.read_text())
        return np.array(precision), seconds

    def reach(self, steps: Sequence[Any]) -> Ranked:
        """Rankings behind these steps."""
        key = tuple(map(id, steps))
        if key not in self.kept:
            self.kept[key] = (
                self._behind(self.reach(steps[:-1]), steps[-1]) if steps else self._first()
            )
        return self.kept[key]

    def _first(self) -> Ranked:
        started = time.process_time()
        rankings = self.retriever.first_rankings(self.queries, self.collection)
        return Ranked(rankings, (time.process_time() - started) / len(self.queries))

    def _behind(self, before: Ranked, step: Any) -> Ranked:
        prepared = step.prepare(self.collection, self.pipeline)
        rankings, started = [], time.process_time()
        for query, ranked in zip(self.queries, before.rankings):
            rankings += step.rerank([query], [ranked], self.collection, prepared)
        spent = time.process_time() - started
        return Ranked(rankings, before.seconds + spent / len(self.queries))


def _described(retriever: Retriever, queries: Sequence[Any], crop: str) -> list[DescribedQuery]:
    retriever.pipeline_.estimator.set_params(features__query_crop=crop)
    return retriever.describe_queries(queries, {"regions"})


def fitted(pipeline: Any, photos: Sequence[Any], out: Path) -> tuple[Any, Path]:
    """The pipeline fitted on photos, and where what it described is kept."""
    folder = out / fingerprint(pipeline, [name_of(photo) for photo in photos])[:32]
    file = folder / "pipeline.safetensors"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        save_pipeline(pipeline.fit(list(photos)), file)
    return load_pipeline(file), folder


def best_elsewhere(found: Scores, columns: Sequence[str], limit: float) -> list[list[str]]:
    """What each set gets of the chain that is best on the other one within some seconds."""
    rows = []
    quick = [
        name
        for (name, column), (_, seconds) in found.items()
        if column == columns[0] and seconds <= limit
    ]
    landmarks, paris = (
        [c for c in columns if c.startswith("L") is first] for first in (True, False)
    )
    for chosen, told in ((paris, landmarks), (landmarks, paris)):
        best = max(quick, key=lambda name: np.mean([found[name, c][0].mean() for c in chosen]))
        cells = [f"{column} {100 * found[best, column][0].mean():.1f}" for column in told]
        rows.append([f"{limit:g} s", ", ".join(chosen), best, ", ".join(cells)])
    return rows


def cells_of(found: Scores, name: str, first: str, column: str, groups: Sequence[str]) -> str:
    """mAP of a chain, and what it is ahead of the first one."""
    values, base = found[name, column][0], found[first, column][0]
    if name == first:
        return f"{100 * values.mean():.1f}"
    low, high = bootstrap_interval(values, base, groups=groups)
    ahead = 100 * (values - base).mean()
    return f"{100 * values.mean():.1f} ({ahead:+.1f}: {100 * low:+.1f} to {100 * high:+.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data")
    parser.add_argument("--store", default=".cache/maps", help="where maps and features are kept")
    parser.add_argument("--out", type=Path, default=Path(".cache/chains"))
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=["rmac", "mixed"])
    parser.add_argument("--sizes", default="724+512", metavar="SIZE+SIZE")
    parser.add_argument("--columns", nargs="+", choices=COLUMNS, default=list(COLUMNS))
    parser.add_argument("--crop", choices=("activations", "image"), default="activations")
    parser.add_argument("--only", nargs="+", help="chains of these names only")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", "whitening .* dimensions")
    warnings.filterwarnings("ignore", ".*Scores of a part are no benchmark results")
    work = load(args.data)
    compared = chains(args.store, args.crop)
    compared = {n: c for n, c in compared.items() if not args.only or n in args.only}
    for system in args.systems:
        found: Scores = {}
        for column in args.columns:
            benchmark, photos = work[column]
            pipeline = make_system(system, args.sizes, args.store)
            pipeline, folder = fitted(pipeline, photos, args.out)
            asked = Asked(pipeline, benchmark, folder, args.crop)
            for name, steps in compared.items():
                with threadpool_limits(1):
                    precision, seconds = found[name, column] = asked.score(steps)
                cells = [f"{100 * precision.mean():.1f}", f"{seconds:.2f} s"]
                print(system, column, name, *cells, file=sys.stderr, flush=True)
        first = next(iter(compared))
        rows = [
            [
                name,
                *(cells_of(found, name, first, c, work[c][0].groups) for c in args.columns),
                f"{found[name, args.columns[0]][1]:.2f}",
            ]
            for name in compared
        ]
        print(as_table([f"{system}, {args.sizes}", *args.columns, "s/query"], rows), end="\n\n")
        if len({column.startswith("L") for column in args.columns}) == 2:
            rows = [row for limit in (2, 15) for row in best_elsewhere(found, args.columns, limit)]
            print(as_table(["within", "best on", "chain", "elsewhere"], rows), end="\n\n")
        one, both = (asked.collection.bytes_per_photo(regions) for regions in (False, True))
        print(f"{system}: {one:.0f} bytes a photo, {both:.0f} with regions", end="\n\n")


if __name__ == "__main__":
    main()
