"""One query over many photos: the exact engine beside faiss' `IndexFlatIP`, one thread each.

    python benchmarks/neighbors.py --photos 200000 --dimension 512

Rounds alternate between the two, with another query each; processor milliseconds, median and
minimum, and the ratio of the medians. The ten photos found must be the same. faiss is no part of
any extra: without it, the engine is measured alone. Prints Markdown.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import numpy as np
from threadpoolctl import threadpool_limits

from sklearn_cmac._markdown import as_table
from sklearn_cmac.collection import ExactEngine, Stamp


def unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    rows = rng.standard_normal(shape, dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def faiss_search(database: np.ndarray) -> Callable[[np.ndarray, int], list[str]] | None:
    """How faiss finds ids, or None where it is not installed."""
    try:
        import faiss
    except ImportError:
        return None
    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatIP(database.shape[1])
    index.add(database)
    return lambda query, k: [str(row) for row in index.search(query, k)[1][0]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=200_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--results", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    database, k = unit(rng, args.photos, args.dimension), args.results
    engine = ExactEngine(Stamp("made", args.dimension))
    engine.upsert([str(i) for i in range(args.photos)], database)
    searches = {"ours": lambda query, k: engine.kneighbors(query, k)[0][0].tolist()}
    peer = faiss_search(database)
    if peer is None:
        print("faiss not measured: needs pip install faiss-cpu\n")
    else:
        searches["faiss IndexFlatIP"] = peer
    seconds: dict[str, list[float]] = {name: [] for name in searches}
    with threadpool_limits(1):
        for _ in range(args.rounds + 1):
            query, found = unit(rng, 1, args.dimension), []
            for name, search in searches.items():
                started = time.process_time()
                found.append(search(query, k))
                seconds[name].append(time.process_time() - started)
            if any(ids != found[0] for ids in found):
                raise SystemExit(f"the engines find other photos: {found}")
    rows = []
    for name, spent in seconds.items():
        spent = spent[1:]  # the first round warms up
        times = median(spent) / median(seconds[list(searches)[-1]][1:])
        rows.append([name, f"{1e3 * median(spent):.1f}", f"{1e3 * min(spent):.1f}", f"{times:.2f}"])
    print(f"{args.photos} x {args.dimension}, the {k} nearest, {args.rounds} rounds\n")
    print(as_table(["engine", "median ms", "minimum ms", "times the last"], rows))


if __name__ == "__main__":
    main()
