"""Whether descriptors are the same in every run: threads, batches, workers, processes, a store.

    python benchmarks/repeatable.py --data ../shared/data

Presets are fitted once and kept as files. Each way of running then describes the same photos in a
process of its own. The table gives, against the first way, the photos whose descriptor is the same
to the bit, the largest difference of an activation, and over all photos the mean adjusted Rand
index of the cells' regions and the least cosine of the two descriptors. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np
from sklearn.metrics import adjusted_rand_score

from sklearn_cmac import make_cmac_pipeline
from sklearn_cmac._markdown import as_table
from sklearn_cmac.datasets import find_photos

PRESETS = ("paper", "default", "mixed")


class Way(NamedTuple):
    """How photos are described: threads of all libraries, photos at once, workers, a store."""

    threads: int = 1
    at_once: int = 100
    n_jobs: int = 1
    stored: bool = False


WAYS = {
    "one thread": Way(),
    "again, in another process": Way(),
    "a photo at a time": Way(at_once=1),
    "7 photos at a time": Way(at_once=7),
    "2 workers": Way(n_jobs=2),
    "maps written to a store": Way(stored=True),
    "maps read from the store": Way(stored=True),
    "2 threads, maps read from the store": Way(2, stored=True),
    "4 threads, maps read from the store": Way(4, stored=True),
    "2 threads": Way(2),
    "4 threads": Way(4),
}


class Described(NamedTuple):
    """Descriptors (n, D) of a preset, and of each photo its map and the region of each cell."""

    descriptors: np.ndarray
    maps: list[np.ndarray]
    regions: list[np.ndarray]


def describe(folder: Path, photos: list[Path], way: Way) -> dict[str, Described]:
    """What comes out of each fitted preset."""
    found = {}
    for preset in PRESETS:
        pipeline = joblib.load(folder / f"{preset}.joblib")
        workers = [path for path in pipeline.get_params() if path.endswith("n_jobs")]
        pipeline.set_params(**dict.fromkeys(workers, way.n_jobs))
        pipeline.set_params(features__store=str(folder / "maps") if way.stored else None)
        described = Described([], [], [])
        for start in range(0, len(photos), way.at_once):
            records = pipeline[:3].transform(photos[start : start + way.at_once])
            described.descriptors.extend(pipeline[3:].transform(records))
            described.maps.extend(np.array(record.activations) for record in records)
            described.regions.extend(cell_labels(record.regions.masks()) for record in records)
        found[preset] = described._replace(descriptors=np.array(described.descriptors))
    return found


def cell_labels(masks: np.ndarray) -> np.ndarray:
    """A number for each cell, the same for cells that are in the same regions (R, H, W)."""
    cells = masks.reshape(len(masks), -1)
    return np.unique(cells, axis=1, return_inverse=True)[1].ravel()


def described_so(folder: Path, photos: list[Path], way: Way) -> dict[str, Described]:
    """`describe` in a process of its own."""
    script = (
        "import pickle, sys, torch; sys.path.insert(0, sys.argv[1]);"
        "from repeatable import Way, describe;"
        "folder, photos, way = pickle.load(sys.stdin.buffer);"
        "torch.set_num_threads(way[0]);"
        "pickle.dump({k: tuple(v) for k, v in describe(folder, photos, Way(*way)).items()},"
        " sys.stdout.buffer)"
    )
    libraries = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    run = subprocess.run(
        [sys.executable, "-c", script, str(Path(__file__).resolve().parent)],
        input=pickle.dumps((folder, photos, tuple(way))),
        stdout=subprocess.PIPE,
        env=os.environ | dict.fromkeys(libraries, str(way.threads)),
        check=True,
    )
    return {preset: Described(*found) for preset, found in pickle.loads(run.stdout).items()}


def compared(first: Described, other: Described) -> list[str]:
    """The cells of the table that compare two ways."""
    same = [np.array_equal(a, b) for a, b in zip(first.descriptors, other.descriptors)]
    difference = max(float(np.abs(a - b).max()) for a, b in zip(first.maps, other.maps))
    index = np.mean([adjusted_rand_score(a, b) for a, b in zip(first.regions, other.regions)])
    cosine = (first.descriptors * other.descriptors).sum(axis=1).min()
    return [f"{sum(same)} of {len(same)}", f"{difference:.1e}", f"{index:.3f}", f"{cosine:.4f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data")
    parser.add_argument("--photos", type=int, default=40)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), metavar="WAY")
    args = parser.parse_args()
    photos = find_photos(args.data / "landmarks/images")
    photos = photos[:: max(1, len(photos) // args.photos)][: args.photos]
    fit_on = find_photos(args.data / "paris279/jpg")[::9]
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for preset in PRESETS:
            pipeline = make_cmac_pipeline(preset, features__store=f"{place}/fitting").fit(fit_on)
            joblib.dump(pipeline, f"{place}/{preset}.joblib")
        first: dict[str, Described] = {}
        for name in args.ways:
            found = described_so(Path(place), photos, WAYS[name])
            first = first or found
            for preset in PRESETS:
                rows.append([name, preset, *compared(first[preset], found[preset])])
                print(*rows[-1], file=sys.stderr, flush=True)
    header = ["run", "preset", "same to the bit", "activations", "regions", "cosine"]
    print(as_table(header, rows))


if __name__ == "__main__":
    main()
