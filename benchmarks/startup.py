"""Seconds from starting Python to the first descriptor, by engine; and peak memory by photos.

    python benchmarks/startup.py --data ../shared/data

Each figure is a process of its own: the import of the package alone, the import and one photo
described by R-MAC, with the converted network kept from before and without. Then photos described
by the default pipeline in two threads, and the most memory that the process held.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from sklearn_cmac._markdown import as_table
from sklearn_cmac.datasets import find_photos
from sklearn_cmac.networks import installed_engines

IMPORT = "import sklearn_cmac"
FIRST = """
from sklearn_cmac.extraction import ConvFeatureExtractor
from sklearn_cmac import GridRegions, ClusterMaxPooler, L2Aggregator
from sklearn.pipeline import make_pipeline
steps = ConvFeatureExtractor(engine={engine!r}), GridRegions(), ClusterMaxPooler(), L2Aggregator()
make_pipeline(*steps).fit_transform([{photo!r}])
"""
MANY = """
import joblib, warnings
from sklearn_cmac.search import describe_collection
pipeline, photos = joblib.load({file!r})
describe_collection(pipeline.set_params(features__n_jobs=2), photos[:{n}])
"""
USED = """
import resource, sys, time
used = resource.getrusage(resource.RUSAGE_SELF)
print(time.perf_counter() - started, used.ru_maxrss / 1024, "torch" in sys.modules)
"""


def run(code: str, cache: str | None = None) -> tuple[float, float, bool]:
    """Seconds, peak megabytes, and whether torch was imported."""
    environment = {**os.environ, **({"SKLEARN_CMAC_CACHE": cache} if cache else {})}
    whole = f"import time\nstarted = time.perf_counter()\n{code}\n{USED}"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", whole],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    seconds, peak, torch = done.stdout.split()[-3:]
    return float(seconds), float(peak), torch == "True"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engines", nargs="*", default=installed_engines())
    parser.add_argument("--photos", nargs="+", type=int, default=[50, 200, 800])
    args = parser.parse_args()
    photos = [str(photo) for photo in find_photos(args.data)]
    with tempfile.TemporaryDirectory() as scratch:
        starts = {"import sklearn_cmac": (IMPORT, None)}
        for engine in ("torch", *args.engines):
            code = FIRST.format(engine=engine, photo=photos[0])
            if engine != "torch":
                starts[f"first descriptor, {engine}, converted now"] = code, "new"
            starts[f"first descriptor, {engine}"] = code, f"{scratch}/kept"
        rows = []
        for name, (code, cache) in starts.items():
            found = []
            for i in range(args.rounds + 1):
                place = f"{scratch}/{name}{i}" if cache == "new" else cache
                found.append(run(code, place))
            seconds = sorted(each[0] for each in found[1:])  # the first fills what is cached
            middle, least = seconds[len(seconds) // 2], seconds[0]
            torch = "yes" if found[-1][2] else "no"
            rows.append([name, f"{middle:.1f} ({least:.1f})", f"{found[-1][1]:.0f}", torch])
        print(as_table(["start", "seconds, median (least)", "peak MB", "imports torch"], rows))
        print()
        rows = []
        import joblib

        from sklearn_cmac import make_cmac_pipeline

        pipeline = make_cmac_pipeline(whiten__shrinkage=1.0).fit(photos[:40])
        joblib.dump((pipeline, photos), f"{scratch}/pipeline")
        for n in args.photos:
            _, peak, _ = run(MANY.format(file=f"{scratch}/pipeline", n=n))
            rows.append([str(min(n, len(photos))), f"{peak:.0f}"])
        print(as_table(["photos", "peak MB, two threads"], rows))


if __name__ == "__main__":
    main()
