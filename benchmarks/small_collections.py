"""mAP of folders of few photos by the whitening that they get: their own, that of others, or both.

    python benchmarks/small_collections.py --data ../shared/data

Folders are drawn at random from `landmarks`, from `paris279` and from made photos (`scenes`): of a
tenth as many objects as photos, two at least, those photos that ask and three others, and then
any of the set. Each is treated as `cmac search` does: a system's other steps are fitted on the
folder, which is ranked by the boxed queries in it, crop X, with one descriptor and with region
matching. The query's own photo is in the folder, and left out of the ranking. Only the whitening
differs: "own" is fitted on the folder, "other" on all photos of the other real set (of `scenes`:
both), described by the system "mixed". "Blended" is fitted on the folder's moments and those of the
other set, which count as so many photos. Prints mAP in percent, and the paired difference to the
first row with its 95% interval over queries, of which those of one object are drawn together.
Headings have the photos of a folder: folders, queries.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from regions import tasks
from sklearn.covariance import ledoit_wolf_shrinkage, oas
from sklearn.preprocessing import normalize
from sklearn.utils import Bunch

from sklearn_cmac import RegionVectors
from sklearn_cmac._markdown import as_table
from sklearn_cmac.datasets import as_benchmark, make_object_scenes
from sklearn_cmac.metrics import average_precision, bootstrap_interval
from sklearn_cmac.photos import name_of
from sklearn_cmac.pipelines import SYSTEMS

SETS = ("landmarks", "paris279", "scenes")
RANKINGS = ("one descriptor", "region matching")


class Moments(NamedTuple):
    """Mean (D,) and covariance (D, D) of the unit region vectors of so many photos."""

    mean: np.ndarray
    covariance: np.ndarray
    n_photos: int

    @classmethod
    def of(cls, photos: Sequence[RegionVectors]) -> Moments:
        vectors = unit_vectors(photos).astype(np.float64)
        return cls(vectors.mean(axis=0), np.cov(vectors.T), len(photos))

    def blended(self, prior: Moments, counts_as: int) -> Moments:
        share = counts_as / (counts_as + self.n_photos)
        mean, covariance = (share * p + (1 - share) * o for p, o in zip(prior[:2], self[:2]))
        return Moments(mean, covariance, self.n_photos)


class Whitening(NamedTuple):
    """Unit vectors less the mean (D,), along axes (D, D), the first of them scaled (D',)."""

    mean: np.ndarray
    axes: np.ndarray
    scales: np.ndarray


class Axes:
    """Principal axes, from which whitenings are made without another decomposition."""

    def __init__(self, moments: Moments):
        variance, axes = np.linalg.eigh(moments.covariance)
        self.mean, self.axes = moments.mean, axes[:, ::-1]
        self.variance = np.clip(variance[::-1], 0, None)

    def whiten(
        self, shrinkage: float, n_components: int | None = None, mean: np.ndarray | None = None
    ) -> Whitening:
        """As `RegionWhitener` does."""
        damped = self.variance + shrinkage * self.variance.mean()
        keep = min(n_components or len(damped), int((damped > 1e-12 * damped[0]).sum()))
        return Whitening(self.mean if mean is None else mean, self.axes, 1 / np.sqrt(damped[:keep]))


class Folder(NamedTuple):
    """Region vectors of photos and queries, what is (right, junk), and the object of each query."""

    photos: list[RegionVectors]
    queries: list[RegionVectors]
    relevance: list[tuple[set[int], set[int]]]
    objects: list[str]


class Asked(NamedTuple):
    """An object: its name, positions of its queries, of their photos, and of all its photos."""

    name: str
    queries: list[int]
    own: list[int]
    photos: list[int]


def unit_vectors(photos: Sequence[RegionVectors]) -> np.ndarray:
    return normalize(np.concatenate([photo.vectors for photo in photos]))


def whitenings(
    photos: Sequence[RegionVectors], prior: Moments, other: Axes
) -> Iterator[tuple[str, Whitening]]:
    """What is compared, by name; the first is what the rest is compared with."""
    moments = Moments.of(photos)
    own = Axes(moments)
    for shrinkage in (1, 0, 0.1, 0.5, 5, 10, 30):
        yield f"own, shrinkage {shrinkage}", own.whiten(shrinkage)
    for n in (16, 64, 256):
        yield f"own, {n} components", own.whiten(1, n)
    # Both add a share of the mean variance to the rest: a shrinkage that is estimated.
    estimates = {"Ledoit-Wolf": ledoit_wolf_shrinkage, "OAS": lambda rows: oas(rows)[1]}
    for name, estimate in estimates.items():
        share = min(estimate(unit_vectors(photos)), 0.99)
        yield f"own, {name}", own.whiten(share / (1 - share))
    yield "none", Whitening(0 * own.mean, own.axes, np.ones(len(own.mean)))
    for shrinkage in (0.1, 1, 5):
        yield f"other, shrinkage {shrinkage}", other.whiten(shrinkage)
    for n in (256, 512):
        yield f"other, {n} components", other.whiten(1, n)
    yield "other, 512 components, own mean", other.whiten(1, 512, own.mean)
    yield "blended, 1000 photos", Axes(moments.blended(prior, 1000)).whiten(1)


class Rotated:
    """Region vectors of photos, in the coordinates of the axes that were asked for last."""

    def __init__(self, photos: Sequence[RegionVectors]):
        self.unit = unit_vectors(photos)
        self.starts = np.cumsum([0, *map(len, photos)])[:-1]
        self.weights = np.concatenate([photo.weights for photo in photos])[:, None]
        self.axes: np.ndarray | None = None

    def whitened(self, by: Whitening) -> np.ndarray:
        if self.axes is not by.axes:
            self.axes, self.found = by.axes, self.unit @ by.axes.astype(np.float32)
        kept = slice(len(by.scales))
        center, scales = (by.mean @ by.axes)[kept], by.scales
        return normalize((self.found[:, kept] - center.astype("f4")) * scales.astype("f4"))

    def summed(self, rows: np.ndarray) -> np.ndarray:
        """The weighted sum over the regions of each photo."""
        return np.add.reduceat(rows * self.weights, self.starts)


def similarities(queries: Rotated, photos: Rotated, by: Whitening) -> tuple[np.ndarray, ...]:
    """Of queries and photos, by each of `RANKINGS`."""
    asked, found = queries.whitened(by), photos.whitened(by)
    descriptors = [
        normalize(part.summed(rows)) for part, rows in ((queries, asked), (photos, found))
    ]
    best = np.maximum.reduceat(asked @ found.T, photos.starts, axis=1)
    return descriptors[0] @ descriptors[1].T, queries.summed(best)


def score(folder: Folder, prior: Moments, other: Axes) -> dict[tuple[str, str], list[float]]:
    """Average precisions of the queries by whitening and ranking."""
    photos, queries = Rotated(folder.photos), Rotated(folder.queries)
    found = {}
    for name, by in whitenings(folder.photos, prior, other):
        for ranking, rows in zip(RANKINGS, similarities(queries, photos, by)):
            found[name, ranking] = [
                average_precision(np.argsort(-row, kind="stable"), *right)
                for row, right in zip(rows, folder.relevance)
            ]
    return found


def objects_of(benchmark: Bunch) -> list[Asked]:
    """Queries with the same right answers ask for one object."""
    position = {name_of(photo): i for i, photo in enumerate(benchmark.photos)}
    found: dict[tuple[int, ...], Asked] = {}
    for q, (query, right) in enumerate(zip(benchmark.queries, benchmark.relevance)):
        own = position[name_of(query)]
        photos = sorted({own, *right.positives.tolist()})
        asked = found.setdefault(tuple(photos), Asked(name_of(query), [], [], photos))
        asked.queries.append(q)
        asked.own.append(own)
    return list(found.values())


def draw(
    benchmark: Bunch, size: int, rng: np.random.RandomState
) -> tuple[list[int], list[tuple[int, str]]]:
    """Positions of the photos of a folder, and of its queries with the names of their objects."""
    objects = objects_of(benchmark)
    chosen: list[int] = []
    asking = []
    for i in rng.permutation(len(objects))[: max(2, size // 10)]:
        others = np.setdiff1d(objects[i].photos, objects[i].own)
        chosen += objects[i].own + rng.permutation(others)[:3].tolist()
        asking += [(q, objects[i].name) for q in objects[i].queries]
    chosen = list(dict.fromkeys(chosen))
    rest = np.setdiff1d(np.arange(len(benchmark.photos)), chosen)
    return chosen + rng.permutation(rest)[: size - len(chosen)].tolist(), asking


def describe(
    benchmark: Bunch, size: int, rng: np.random.RandomState, system: str, store: str
) -> Folder:
    """A folder with region vectors before whitening."""
    positions, asking = draw(benchmark, size, rng)
    photos = [benchmark.photos[i] for i in positions]
    place = {position: i for i, position in enumerate(positions)}
    place_of_name = {name_of(photo): i for i, photo in enumerate(photos)}
    relevance = []
    for q, _ in asking:
        right, junk = (
            {place[i] for i in part.tolist() if i in place} for part in benchmark.relevance[q]
        )
        own = place_of_name[name_of(benchmark.queries[q])]
        relevance.append((right - {own}, junk | {own}))
    pooled = SYSTEMS[system].make(features__store=store)[:-2]
    vectors = pooled.fit_transform(photos)
    queries = pooled.transform([benchmark.queries[q] for q, _ in asking])
    return Folder(vectors, queries, relevance, [name for _, name in asking])


def load(data: Path, names: Sequence[str]) -> dict[str, Bunch]:
    """The sets by name, with their boxed queries; of made photos only if they are asked for."""
    _, landmarks, paris, _ = (benchmark for benchmark, *_ in tasks(data))
    found = {"landmarks": landmarks, "paris279": paris}
    if "scenes" in names:
        found["scenes"] = as_benchmark(make_object_scenes(20, 5, 150), "boxed")
    return found


def n_folders(size: int, photos: int) -> int:
    return max(1, photos // size)


def rows(found: Mapping[tuple, list[float]], of: str, ranking: str, objects: Mapping) -> Iterator:
    """mAP by whitening and size of one set, and what each is ahead of the first."""
    names = list(dict.fromkeys(name for _, _, name, _ in found))
    for name in names:
        cells = []
        for size in (size for set_, size in objects if set_ == of):
            values, base = (np.array(found[of, size, each, ranking]) for each in (name, names[0]))
            cells.append(f"{100 * values.mean():.1f}")
            if name != names[0]:
                low, high = bootstrap_interval(values, base, groups=objects[of, size])
                ahead = 100 * (values - base).mean()
                cells[-1] += f" ({ahead:+.1f}: {100 * low:+.1f} to {100 * high:+.1f})"
        yield [name, *cells]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data")
    parser.add_argument("--store", default=".cache/maps", help="where activation maps are kept")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--sizes", nargs="+", type=int, default=[20, 50, 200, 500])
    parser.add_argument("--system", choices=SYSTEMS, default="mixed")
    parser.add_argument(
        "--photos", type=int, default=400, help="in all folders of one size; one at least"
    )
    args = parser.parse_args()
    warnings.filterwarnings("ignore", ".*Scores of a part are no benchmark results")
    benchmarks = load(args.data, args.sets)
    pooled = SYSTEMS["mixed"].make(features__store=args.store)[:-2]
    found: dict[tuple, list[float]] = defaultdict(list)
    objects: dict[tuple[str, int], list[str]] = defaultdict(list)
    for name in args.sets:
        benchmark = benchmarks[name]
        others = [set_ for set_ in SETS[:2] if set_ != name]
        prior = Moments.of(
            pooled.fit_transform([photo for set_ in others for photo in benchmarks[set_].photos])
        )
        other = Axes(prior)
        for size in (size for size in args.sizes if size <= len(benchmark.photos)):
            for seed in range(n_folders(size, args.photos)):
                rng = np.random.RandomState(seed)
                folder = describe(benchmark, size, rng, args.system, args.store)
                objects[name, size] += folder.objects
                for key, values in score(folder, prior, other).items():
                    found[(name, size, *key)] += values
                print(name, size, seed, len(folder.queries), file=sys.stderr, flush=True)
    for name in args.sets:
        sizes = [
            f"{size} photos: {n_folders(size, args.photos)}, {len(asked)}"
            for (set_, size), asked in objects.items()
            if set_ == name
        ]
        for ranking in RANKINGS:
            table = list(rows(found, name, ranking, objects))
            print(as_table([f"{name}, {ranking}", *sizes], table), end="\n\n")


if __name__ == "__main__":
    main()
