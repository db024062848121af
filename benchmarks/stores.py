"""Engines by address: adding, finding by descriptor, both stages, on made photos in clusters.

    python benchmarks/stores.py --photos 20000 --dimension 256 --regions 10

SCRATCH in an address stands for a folder of this run, so that bytes on disk can be counted; what a
server keeps is not counted. Each address needs to be empty before. Queries alternate between the
engines; wall time, median and minimum, and the process is kept to one processor where the system
can. Recall is the share of the exact engine's results that were found. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from sklearn_cmac import RegionVectors
from sklearn_cmac._markdown import as_table
from sklearn_cmac.collection import ExactEngine, RegionTable, Stamp, match_nearest, open_store

STORES = (
    "SCRATCH/flat",
    "qdrant:SCRATCH/exact",
    "qdrant:SCRATCH/graph?exact=false",
    "qdrant:SCRATCH/bytes?exact=false&quantization=scalar",
)
HEADER = (
    "engine",
    "photos added a second",
    "MB on disk",
    "one query, ms",
    "both stages, ms",
    "recall",
    "recall of both",
)
BATCH = 256  # photos that are added at once
MEMBERS = 20  # photos of a cluster


class Photos:
    """Photos of one cluster share a descriptor and regions, but for noise."""

    def __init__(self, n: int, dimension: int, n_regions: int):
        self.rng = np.random.default_rng(0)
        self.dimension, n_clusters = dimension, max(1, n // MEMBERS)
        self.centres = self.unit(n_clusters, dimension)
        self.parts = self.unit(n_clusters, n_regions, dimension)

    def unit(self, *shape: int) -> np.ndarray:
        rows = self.rng.standard_normal(shape, dtype=np.float32)
        return rows / np.linalg.norm(rows, axis=-1, keepdims=True)

    def draw(self, n: int) -> tuple[np.ndarray, list[RegionVectors]]:
        """Descriptors and regions of n photos."""
        cluster = self.rng.integers(len(self.centres), size=n)
        rows = self.near(self.centres[cluster])
        return rows, [RegionVectors(self.near(self.parts[i])) for i in cluster]

    def near(self, rows: np.ndarray) -> np.ndarray:
        near = rows + self.unit(*rows.shape)
        return near / np.linalg.norm(near, axis=-1, keepdims=True)


def on_disk(folder: Path) -> int:
    return sum(512 * file.stat().st_blocks for file in folder.rglob("*"))


def timed(work: Callable[..., Any], *args: Any) -> tuple[Any, float]:
    started = time.perf_counter()
    return work(*args), time.perf_counter() - started


def add(store: Any, rows: np.ndarray, table: RegionTable) -> None:
    for start in range(0, len(rows), BATCH):
        some = np.arange(start, min(start + BATCH, len(rows)))
        store.upsert([f"photo {i}" for i in some], rows[some], table.take(some))


def recall(found: Sequence[str], right: Sequence[str]) -> float:
    return len(set(found) & set(right)) / len(right)


def milliseconds(seconds: list[float]) -> str:
    return f"{1e3 * median(seconds):.2f} ({1e3 * min(seconds):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stores", nargs="+", default=STORES, metavar="ADDRESS")
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--dimension", type=int, default=64)
    parser.add_argument("--regions", type=int, default=5)
    parser.add_argument("--queries", type=int, default=20)
    parser.add_argument("--results", type=int, default=10)
    parser.add_argument("--candidates", type=int, default=100)
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    photos = Photos(args.photos, args.dimension, args.regions)
    rows, parts = photos.draw(args.photos)
    table = RegionTable.of(parts, args.dimension)
    asked = list(zip(*photos.draw(args.queries + 1)))
    stamp = Stamp("made", args.dimension, regions=True)
    exact = ExactEngine(stamp)
    add(exact, rows, table)
    k, n_candidates = args.results, args.candidates

    def one(store: Any, descriptor: np.ndarray) -> list[str]:
        return store.kneighbors(descriptor[None], k)[0][0].tolist()

    def both(store: Any, descriptor: np.ndarray, query: RegionVectors) -> list[str]:
        return match_nearest(store, descriptor[None], [query], k, n_candidates)[0][0].tolist()

    with tempfile.TemporaryDirectory() as scratch, threadpool_limits(1):
        stores, rates, sizes = {}, {}, {}
        for address in args.stores:
            before = on_disk(Path(scratch))
            try:
                store = open_store(address.replace("SCRATCH", scratch), stamp)
            except ImportError as error:
                print(f"{address} not measured: needs {error}\n")
                continue
            _, spent = timed(add, store, rows, table)
            one(store, asked[0][0])  # builds a graph, where there is one
            stores[address], rates[address] = store, args.photos / spent
            sizes[address] = on_disk(Path(scratch)) - before
        found: dict[str, list[tuple[float, ...]]] = {address: [] for address in stores}
        for descriptor, query in asked:
            right = one(exact, descriptor), both(exact, descriptor, query)
            for address, store in stores.items():
                near, first = timed(one, store, descriptor)
                best, second = timed(both, store, descriptor, query)
                found[address].append(
                    (first, second, recall(near, right[0]), recall(best, right[1]))
                )
        table_rows = []
        for address, store in stores.items():
            first, second, near, best = map(list, zip(*found[address][1:]))  # the first warms up
            table_rows.append(
                [
                    f"`{address}`",
                    f"{rates[address]:.0f}",
                    f"{sizes[address] / 1e6:.1f}" if "SCRATCH" in address else "",
                    milliseconds(first),
                    milliseconds(second),
                    f"{np.mean(near):.3f}",
                    f"{np.mean(best):.3f}",
                ]
            )
            store.close()
    print(
        f"{args.photos} photos x {args.dimension}, {args.regions} regions each, the {k} best of "
        f"{n_candidates} candidates, {args.queries} queries\n"
    )
    print(as_table(HEADER, table_rows))


if __name__ == "__main__":
    main()
