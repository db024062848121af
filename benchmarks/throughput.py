"""Seconds per photo of the default pipeline beside the bare network, one thread each.

    python benchmarks/throughput.py --data ../shared/data

The bare network is its forward pass on the same decoded photos. Rounds alternate between the
network and the pipeline's steps; the table gives medians over rounds. Prints Markdown.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from statistics import median

import torch
from threadpoolctl import threadpool_limits

from sklearn_cmac._markdown import as_table
from sklearn_cmac.datasets import find_photos
from sklearn_cmac.networks import get_backbone
from sklearn_cmac.photos import as_photo, read_source
from sklearn_cmac.pipelines import SYSTEMS
from sklearn_cmac.pixels import decode

# How the time of each step is called, in the order of the walk.
PARTS = {
    "features": "decode and network",
    "pca": "embedding",
    "regions": "cut",
    "pool": "pool",
    "whiten": "whiten",
    "aggregate": "sum",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data")
    parser.add_argument("--photos", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    if not args.data.is_dir():
        raise SystemExit(f"no photos at {args.data}: pass --data")
    warnings.filterwarnings("ignore", "whitening .* dimensions")
    torch.set_num_threads(1)

    photos = find_photos(args.data / "landmarks/images")
    photos = photos[:: len(photos) // args.photos][: args.photos]
    decoded = [decode(read_source(as_photo(p)), str(p), max_size=1024)[0] for p in photos]
    backbone = get_backbone("efficientnet_lite0")
    systems = {SYSTEMS[name].label: SYSTEMS[name].make() for name in ("paper", "rmac")}
    with threadpool_limits(1):
        for pipeline in systems.values():
            pipeline.fit(find_photos(args.data / "paris279/jpg")[::6])
        seconds: dict[tuple[str, str], list[float]] = {}
        for _ in range(args.rounds):
            started = time.perf_counter()
            for rgb in decoded:
                backbone.activations(rgb, "cpu", "float32")
            note(seconds, ("network", "all"), started, len(photos))
            for name, pipeline in systems.items():
                X = photos
                for step, estimator in pipeline.named_steps.items():
                    started = time.perf_counter()
                    X = estimator.transform(X)
                    note(seconds, (name, step), started, len(photos))
    medians = {key: median(values) for key, values in seconds.items()}
    bare = medians["network", "all"]
    print(f"{len(photos)} photos, {args.rounds} rounds, one thread\n")
    print(f"The network's forward pass: {bare:.3f} s per photo\n")
    rows = []
    for name in systems:
        parts = [medians.get((name, step), 0.0) for step in PARTS]
        cells = [f"{part:.3f}" for part in parts]
        rows.append([name, *cells, f"{sum(parts):.3f}", f"{sum(parts) / bare:.2f}"])
    header = ["system", *PARTS.values(), "all", "all / network"]
    print(as_table(header, rows))


def note(seconds: dict, key: tuple[str, str], started: float, n: int) -> None:
    seconds.setdefault(key, []).append((time.perf_counter() - started) / n)


if __name__ == "__main__":
    main()
