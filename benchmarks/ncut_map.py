"""What a faster cut costs in mAP: double precision, single precision, landmarks.

    python benchmarks/ncut_map.py --data ../shared/data

The protocol is that of `landmarks.py`, with whitening at shrinkage 1.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from landmarks import SCORES, load, measure

from sklearn_cmac import NCutClusterer, make_cmac_pipeline
from sklearn_cmac._markdown import as_table


class LandmarkCut(NCutClusterer):
    """Cuts evenly drawn cells; each other cell goes to the cluster of the nearest one."""

    n_landmarks = 256

    def _cut(self, points, counts, rng):
        if len(points) <= self.n_landmarks:
            return super()._cut(points, counts, rng)
        chosen = np.linspace(0, len(points) - 1, self.n_landmarks).astype(int)
        labels, eigenvalues = super()._cut(points[chosen], counts, rng)
        squares = (points[chosen] ** 2).sum(axis=1)
        return labels[:, np.argmin(squares - 2 * points @ points[chosen].T, axis=1)], eigenvalues


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data")
    parser.add_argument("--store", default=".cache/maps", help="where activation maps are kept")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", "whitening .* dimensions")
    paris, test = load(args.data)
    rows = []
    cuts = {
        "float64": NCutClusterer(precision="float64"),
        "float32": NCutClusterer(),
        "256 landmarks": LandmarkCut(),
    }
    for name, regions in cuts.items():
        pipeline = make_cmac_pipeline(
            "paper", features__store=args.store, regions=regions, whiten__shrinkage=1.0
        ).fit(paris)
        records = pipeline[:2].transform(test.photos)
        started = time.perf_counter()
        regions.transform(records)
        seconds = (time.perf_counter() - started) / len(records)
        cells = [f"{s:.1f}" for s in measure(pipeline, test.photos, test.target)]
        rows.append([name, *cells, f"{seconds:.4f}"])
        print(*rows[-1], file=sys.stderr, flush=True)
    print(as_table(["cut", *SCORES, "s/photo"], rows))


if __name__ == "__main__":
    main()
