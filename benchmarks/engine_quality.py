"""Whether retrieval is the same in each engine and number format.

    python benchmarks/engine_quality.py --data ../shared/data

First the maps of forty landmarks at 1024 pixels against those of PyTorch in single precision: the
largest difference as a share of the map's largest activation, and the least cosine of two maps.
Then mAP of the default pipeline in percent, components and whitening fitted with the same engine
on the other set, on `landmarks` whole (L), its boxed queries (L-X), the queries of Paris6k (P-X)
and the revisited ones (R-X), with one descriptor and with region matching; and what each is ahead
of PyTorch in single precision, with the 95% interval of the paired difference over queries.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
from regions import tasks
from scales import measure
from sizes import COLUMNS
from throughput import ways

from sklearn_cmac import ConvFeatureExtractor
from sklearn_cmac._markdown import as_table
from sklearn_cmac.datasets import find_photos
from sklearn_cmac.metrics import bootstrap_interval
from sklearn_cmac.networks import installed_engines
from sklearn_cmac.pipelines import SYSTEMS

COMPARED = ("one descriptor", "region matching")
Way = tuple[str, str]


def extractor(way: Way) -> ConvFeatureExtractor:
    return ConvFeatureExtractor(engine=way[0], precision=way[1]).fit([])


def maps_table(photos: list[Path], found: list[Way]) -> str:
    rows = []
    first = extractor(found[0])
    for way in found[1:]:
        differences, cosines = [], []
        other = extractor(way)
        for photo in photos:
            one, two = (
                each.transform([photo])[0].activations.astype(float) for each in (first, other)
            )
            differences.append(np.abs(one - two).max() / np.abs(one).max())
            lengths = np.linalg.norm(one) * np.linalg.norm(two)
            cosines.append(np.vdot(one, two) / lengths)
        rows.append([" ".join(way), f"{max(differences):.0e}", f"{min(cosines):.5f}"])
    return as_table(["engine", "largest difference", "least cosine"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data")
    parser.add_argument("--store", default=".cache/maps", help="where activation maps are kept")
    parser.add_argument("--out", type=Path, help="keeps what is done, so a stopped run goes on")
    parser.add_argument("--photos", type=int, default=40)
    parser.add_argument("--engines", nargs="*", default=installed_engines())
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--system", choices=SYSTEMS, default="cmac")
    parser.add_argument("--max-size", type=int, help="Default: the system's own sizes.")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", "whitening .* dimensions")
    warnings.filterwarnings("ignore", ".*Scores of a part are no benchmark results")
    photos = find_photos(args.data / "landmarks/images")
    found = ways(args.engines, args.precisions)
    print(maps_table(photos[:: max(1, len(photos) // args.photos)][: args.photos], found))
    print(flush=True)
    work, rows, base = tasks(args.data), [], {}
    for way in found:
        pipeline = SYSTEMS[args.system].make(whiten__shrinkage=1.0)
        how = {"engine": way[0], "precision": way[1], "store": args.store, "n_jobs": -1}
        pipeline.set_params(**{f"features__{key}": value for key, value in how.items()})
        if args.max_size:
            pipeline.set_params(features__max_size=args.max_size)
        out = args.out / "-".join(way) if args.out else None
        scores, _ = measure(pipeline, work, out, COMPARED)
        base = base or scores
        for steps in COMPARED:
            cells = []
            for column in COLUMNS:
                values, first = scores[steps, column], base[steps, column]
                cells.append(f"{100 * values.mean():.1f}")
                if values is not first:
                    low, high = bootstrap_interval(values, first)
                    ahead = 100 * (values - first).mean()
                    cells[-1] += f" ({ahead:+.2f}: {100 * low:+.2f} to {100 * high:+.2f})"
            rows.append([steps, " ".join(way), *cells])
            print(*rows[-1], sep=" | ", flush=True)
    print()
    print(as_table(["steps", "engine", *COLUMNS], sorted(rows, key=lambda row: row[0])))


if __name__ == "__main__":
    main()
