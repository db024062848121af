"""mAP and time of a first ranking by descriptors, by regions, and by one after the other.

    python benchmarks/first_stage.py --data ../shared/data

Compared are descriptors alone, `RegionMatching` of the first photos that they find, and
`Retriever(first="regions")`, which matches the regions of all photos. Queries are boxes, cropped
in activation space (X): of `landmarks`, among these photos and half of `paris279`, with whitening
fitted on the other half (L-X); of Paris6k and the revisited one, among `paris279` and the
unlabelled photos of `landmarks`, fitted on the labelled ones (P-X, R-X); and of made scenes among
the same photos, whose objects take a given share of them. These ask with a scene of the same share,
and with one in which the object is large. To each collection come made scenes without an object.
The query's own photo is left out. Prints mAP in percent with paired 95% intervals over queries, of
which those of one object are drawn together, and processor milliseconds a query, one query at a
time, in one thread: on the way, and over collections of the same photos many times.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from regions import tasks
from sklearn.frozen import FrozenEstimator
from sklearn.utils import Bunch
from threadpoolctl import threadpool_limits

from sklearn_cmac._markdown import as_table
from sklearn_cmac.collection import Collection, ExactEngine, RegionTable
from sklearn_cmac.datasets import Relevance, make_object_scenes
from sklearn_cmac.metrics import bootstrap_interval, evaluate_rankings
from sklearn_cmac.photos import Photo, Query, name_of
from sklearn_cmac.pipelines import SYSTEMS
from sklearn_cmac.pixels import photo_size
from sklearn_cmac.reranking import DescribedQuery
from sklearn_cmac.search import RegionMatching, Retriever

CANDIDATES = (20, 50, 100, 200)
REFERENCES = ("descriptors", "100 candidates")  # what regions first are compared with
N_SCENES = 4  # of each object and share
BINS = ((0.0, 0.25), (0.25, 0.5), (0.5, 1.01))


class Task(NamedTuple):
    """Boxed queries of some photos: what is right, the object of each, its share of its photo."""

    photos: list[Any]
    queries: list[Query]
    relevance: list[Relevance]
    exclude: list[int | None]
    objects: list[str]
    shares: list[float]


class Scores(NamedTuple):
    """Average precisions and processor seconds of the queries, by ranking; photos ranked."""

    precision: dict[str, np.ndarray]
    seconds: dict[str, list[float]]
    n_photos: int


def rankings(pipeline: Any) -> dict[str, Retriever]:
    """What is compared, by name."""
    fitted = FrozenEstimator(pipeline)
    two_stages = {
        f"{n} candidates": Retriever(fitted, [("match", RegionMatching(n))]) for n in CANDIDATES
    }
    found = {
        "descriptors": Retriever(fitted),
        **two_stages,
        "regions first": Retriever(fitted, first="regions"),
    }
    return {name: retriever.fit([]) for name, retriever in found.items()}


def share_of(query: Query) -> float:
    """How much of its photo a query's box takes."""
    x0, y0, x1, y1 = query.box
    width, height = photo_size(query.photo.source)
    return (x1 - x0) * (y1 - y0) / (width * height)


def boxed_task(benchmark: Bunch, distractors: Sequence[Any]) -> Task:
    """The queries of a benchmark, among its photos and distractors."""
    queries = list(benchmark.queries)
    none = [None] * len(queries)
    names = [Path(name_of(query)).stem.rsplit("_", 1)[0] for query in queries]
    return Task(
        [*benchmark.photos, *distractors],
        queries,
        list(benchmark.relevance),
        benchmark.get("exclude") or none,
        names,
        [share_of(query) for query in queries],
    )


def scenes_of(
    sources: Sequence[Any], backgrounds: Sequence[Any], share: float
) -> list[list[Photo]]:
    """For each source an object, cut from it in the same way for all shares, in some scenes."""
    scale = (share / 0.088) ** 0.5  # at a scale of 1, boxes take so much of their scenes
    return [
        make_object_scenes(
            1,
            N_SCENES,
            0,
            object_scale=(0.9 * scale, 1.1 * scale),
            sources=[source, *backgrounds[seed :: len(sources)]],
            random_state=seed,
        ).photos
        for seed, source in enumerate(sources)
    ]


def scene_task(
    scenes: Sequence[Sequence[Photo]], asking: Sequence[Sequence[Photo]], distractors: Sequence[Any]
) -> Task:
    """Each of the photos that ask has the scenes of its object to find, but itself."""
    photos = [photo for own in scenes for photo in own]
    task = Task([*photos, *distractors], [], [], [], [], [])
    for k, (own, asked) in enumerate(zip(scenes, asking)):
        first = k * N_SCENES
        for j, photo in enumerate(asked):
            itself = first + j if asked is own else None
            right = np.array([i for i in range(first, first + len(own)) if i != itself])
            task.queries.append(Query(photo, photo.box))
            task.relevance.append(Relevance(right, np.array([], int)))
            task.exclude.append(itself)
            task.objects.append(str(k))
            task.shares.append(share_of(task.queries[-1]))
    return task


def load(
    data: Path, shares: Sequence[float], n_objects: int, n_pieces: int
) -> list[tuple[list[Any], dict[str, Task]]]:
    """Photos to fit on, and what is ranked with whitening fitted on these."""
    _, (landmarks, paris, _), (official, *_), (revisited, *_) = tasks(data)
    unlabelled, labelled = (
        [photo for photo, label in zip(landmarks.photos, landmarks.labels) if bool(label) is is_one]
        for is_one in (False, True)
    )
    fitted_on, others = list(paris[::2]), list(paris[1::2])
    objects, unlabelled = unlabelled[:n_objects], unlabelled[n_objects:]
    more, pieces = (
        make_object_scenes(0, 0, n_pieces, sources=sources).photos
        for sources in (others, unlabelled)
    )
    distractors = [*unlabelled, *pieces]
    found = {
        "P-X": boxed_task(official, distractors),
        "R-X": boxed_task(revisited, distractors),
    }
    large = scenes_of(objects, paris, max(shares))
    for share in shares:
        scenes = large if share == max(shares) else scenes_of(objects, paris, share)
        name = f"scenes, {100 * share:g}%"
        found[name] = scene_task(scenes, scenes, [*official.photos, *distractors])
        if scenes is not large:
            asked = f"{name}, asked with {100 * max(shares):g}%"
            found[asked] = scene_task(scenes, large, [*official.photos, *distractors])
    return [
        (fitted_on, {"L-X": boxed_task(landmarks, [*others, *more])}),
        (labelled, found),
    ]


def measure(
    pipeline: Any, queries: Sequence[DescribedQuery], collection: Collection, task: Task
) -> Scores:
    """All queries by all rankings, one query after the other."""
    precision, seconds = {}, {}
    for name, retriever in rankings(pipeline).items():
        prepared = retriever.prepare(collection)
        orders, seconds[name] = [], []
        for query, own in zip(queries, task.exclude):
            started = time.process_time()
            (ranked,) = retriever.rank_prepared([query], prepared, [own])
            seconds[name].append(time.process_time() - started)
            orders.append(ranked.order)
        precision[name] = evaluate_rankings(orders, task.relevance).average_precision
    return Scores(precision, seconds, len(task.photos))


def _given(engine: ExactEngine, *_: Any) -> ExactEngine:
    """An engine that is there already, as whoever makes one."""
    return engine


def copied(engine: ExactEngine, ids: Sequence[str], n_photos: int) -> ExactEngine:
    """An engine of its own for these photos, again and again until they are so many."""
    found = ExactEngine(engine.stamp)
    descriptors, regions = engine.get(ids), engine.get_regions(ids)
    for start in range(0, n_photos, len(ids)):
        some = slice(0, n_photos - start)
        names = list(ids) if n_photos == len(ids) else [f"{id_}/{start}" for id_ in ids]
        found.upsert(names[some], descriptors[some], regions.take(np.arange(len(ids))[some]))
    return found


def grown(
    pipeline: Any,
    queries: Sequence[DescribedQuery],
    collection: Collection,
    sizes: Sequence[int],
) -> Iterator[list[str]]:
    """Median processor milliseconds a query over collections of many sizes, ten photos found."""
    for n_photos in sizes:
        engine = copied(collection.engine, list(dict.fromkeys(collection.ids)), n_photos)
        ids, _ = next(engine.scan(n_photos))
        many = replace(collection, photos=ids, names=ids, ids=ids, engine=engine)
        cells = []
        for retriever in rankings(pipeline).values():
            prepared, spent = retriever.prepare(many), []
            for query in queries:
                started = time.process_time()
                retriever.rank_prepared([query], prepared, k=10)
                spent.append(time.process_time() - started)
            cells.append(f"{1e3 * median(spent):.1f}")
        table: RegionTable = engine.get_regions(ids[:1000])
        size = table.vectors.nbytes / len(table) * n_photos / 1e6
        yield [str(n_photos), *cells, f"{size:.0f}"]


def ahead(scores: Scores, of: str, task: Task, which: np.ndarray) -> str:
    """What regions first are ahead of another ranking."""
    values, base = (scores.precision[name][which] for name in ("regions first", of))
    low, high = bootstrap_interval(values, base, groups=np.array(task.objects)[which])
    return f"{100 * (values - base).mean():+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def row(name: str, scores: Scores, task: Task, which: np.ndarray | None = None) -> list[str]:
    """mAP of some queries, or of all."""
    which = np.arange(len(task.queries)) if which is None else which
    cells = [f"{100 * values[which].mean():.1f}" for values in scores.precision.values()]
    share = f"{100 * np.mean(np.array(task.shares)[which]):.1f}"
    differences = [ahead(scores, of, task, which) for of in REFERENCES]
    return [name, str(scores.n_photos), str(len(which)), share, *cells, *differences]


def binned(work: Mapping[str, Task], found: Mapping[str, Scores]) -> Iterator[list[str]]:
    """mAP of the queries whose boxes take so much of their photos."""
    for name, task in work.items():
        for low, high in BINS:
            shares = np.array(task.shares)
            which = np.flatnonzero((shares >= low) & (shares < high))
            if len(which):
                label = f"{name}, {100 * low:.0f} to {100 * min(high, 1):.0f}%"
                yield row(label, found[name], task, which)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data")
    parser.add_argument("--store", default=".cache/maps", help="where activation maps are kept")
    parser.add_argument("--systems", nargs="+", default=["mixed", "rmac"], choices=SYSTEMS)
    parser.add_argument("--shares", nargs="+", type=float, default=[0.02, 0.05, 0.1, 0.2])
    parser.add_argument("--objects", type=int, default=24, help="that are pasted into scenes")
    parser.add_argument("--pieces", type=int, default=400, help="distractors that are made")
    parser.add_argument("--photos", nargs="+", type=int, default=[500, 1000, 2000, 5000, 10000])
    args = parser.parse_args()
    warnings.filterwarnings("ignore", "whitening .* dimensions")
    warnings.filterwarnings("ignore", ".*Scores of a part are no benchmark results")
    loaded = load(args.data, args.shares, args.objects, args.pieces)
    for system in args.systems:
        work: dict[str, Task] = {}
        found: dict[str, Scores] = {}
        for fit_on, some in loaded:
            pipeline = SYSTEMS[system].make(features__store=args.store, whiten__shrinkage=1.0)
            pipeline.fit(fit_on)
            describer = rankings(pipeline)["regions first"]
            photos = [photo for task in some.values() for photo in task.photos]
            everything = describer.describe(photos).engine
            for name, task in some.items():
                # Known by their content, photos are not described again.
                describer.set_params(engine=partial(_given, everything))
                collection = describer.describe(task.photos)
                collection.raise_failures()
                ids = list(dict.fromkeys(collection.ids))
                collection = replace(collection, engine=copied(everything, ids, len(ids)))
                queries = describer.describe_queries(task.queries)
                with threadpool_limits(1):
                    found[name] = measure(pipeline, queries, collection, task)
                    if name == "L-X":
                        sizes = list(grown(pipeline, queries, collection, args.photos))
                cells = row(name, found[name], task)
                print(system, *cells, file=sys.stderr, flush=True)
            work.update(some)
        columns = list(rankings(pipeline))
        header = ["photos", "queries", "box, %", *columns, *(f"ahead of {of}" for of in REFERENCES)]
        every = [row(name, found[name], task) for name, task in work.items()]
        label = SYSTEMS[system].label
        print(as_table([f"{label}, mAP", *header], every), end="\n\n")
        real = {name: work[name] for name in ("L-X", "P-X", "R-X")}
        print(as_table([f"{label}, mAP by box", *header], binned(real, found)), end="\n\n")
        rows = [
            [name, str(scores.n_photos)]
            + [f"{1e3 * median(spent):.1f}" for spent in scores.seconds.values()]
            for name, scores in found.items()
        ]
        print(as_table([f"{label}, ms a query", "photos", *columns], rows), end="\n\n")
        print(
            as_table([f"{label}, photos", *columns, "MB of regions"], sizes), end="\n\n", flush=True
        )


if __name__ == "__main__":
    main()
