"""What several sizes are worth to queries and to photos, whose regions serve, and which crop.

    python benchmarks/size_roles.py --data ../shared/data

Photos and queries are described at the same sizes, and then one thing is changed: photos or
queries are described at the first size only, by the pipeline that was fitted at all; the default's
clusters are cut at one size and used at all (`SharedRegions`); or boxes are cropped in the photo
(I) in place of the activations (X). Sets, columns and fitting are those of `scales.py`. Prints mAP
in percent, with one descriptor and with region matching, and the paired difference to the first row
of the system with its 95% interval over queries.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import NamedTuple

import numpy as np
from regions import tasks
from scales import make_system, scaling
from sizes import COLUMNS, STEPS, Scores
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from sklearn_cmac import SharedRegions
from sklearn_cmac._markdown import as_table
from sklearn_cmac.collection import describe_collection
from sklearn_cmac.corridor import Corridor
from sklearn_cmac.metrics import bootstrap_interval, evaluate_rankings
from sklearn_cmac.pipelines import SYSTEMS
from sklearn_cmac.search import Retriever


class Variant(NamedTuple):
    """Which pipeline is fitted, and what it sees of photos and of queries."""

    system: str
    photos: str
    queries: str
    crop: str = "activations"
    shared: int | None = None


def variants(name: str, sizes: str) -> dict[str, Variant]:
    """Of one system, by what they change."""
    first, *_ = single = sizes.split("+")
    found = {
        "nothing": Variant(name, sizes, sizes),
        f"queries at {first}": Variant(name, sizes, first),
        f"photos at {first}": Variant(name, first, sizes),
        f"both at {first}": Variant(name, first, first),
        "crop I": Variant(name, sizes, sizes, "image"),
    }
    if name == "cmac":
        for i, size in enumerate(single):
            found[f"clusters of {size}"] = Variant(name, sizes, sizes, shared=i)
    return found


def seen_at(pipeline: Pipeline, sizes: str, crop: str = "activations") -> Pipeline:
    """The same fitted pipeline at other sizes."""
    corridor = Corridor(pipeline)
    return corridor.with_extractor(
        copy(corridor.extractor).set_params(**scaling(sizes), query_crop=crop)
    )


class Study:
    """Fitted pipelines and described photos, each made once."""

    def __init__(self, work: Sequence[tuple], sizes: str, store: str, folder: Path):
        self.work, self.sizes, self.store, self.folder = work, sizes, store, folder
        self.fitted: dict[tuple, Pipeline] = {}

    def measure(self, variant: Variant) -> Scores:
        """Average precisions by (steps, column)."""
        scores = {}
        for column, (benchmark, fit_on, _) in zip(COLUMNS, self.work):
            pipeline = self._fit(variant, fit_on, column[0] == "L")
            place = f"{variant.system}-{variant.photos}-{variant.shared}-{column[0] == 'L'}"
            collection = describe_collection(
                seen_at(pipeline, variant.photos),
                benchmark.photos,
                regions=True,
                folder=self.folder / place,
            )
            asking = FrozenEstimator(seen_at(pipeline, variant.queries, variant.crop))
            for steps, chain in STEPS.items():
                retriever = Retriever(asking, chain.steps).fit([])
                ranked = retriever.rank(benchmark.queries, collection, benchmark.get("exclude"))
                orders = [one.order for one in ranked]
                scores[steps, column] = evaluate_rankings(
                    orders, benchmark.relevance
                ).average_precision
            collection.engine.close()
        return scores

    def _fit(self, variant: Variant, photos: Sequence, of_landmarks: bool) -> Pipeline:
        key = variant.system, variant.shared, of_landmarks
        if key not in self.fitted:
            pipeline = make_system(variant.system, self.sizes, self.store)
            if variant.shared is not None:
                regions = SharedRegions(pipeline["regions"], variant.shared)
                pipeline.set_params(regions=regions)
            self.fitted[key] = pipeline.fit(list(photos))
        return self.fitted[key]


def rows(found: Mapping[tuple[str, str], Scores], steps: str) -> Iterator[list[str]]:
    """mAP by system and what is changed, and the difference to the system's first row."""
    for (name, changed), scores in found.items():
        cells = []
        for column in COLUMNS:
            values, base = scores[steps, column], found[name, "nothing"][steps, column]
            cells.append(f"{100 * values.mean():.1f}")
            if changed != "nothing":
                low, high = bootstrap_interval(values, base)
                ahead = 100 * (values - base).mean()
                cells[-1] += f" ({ahead:+.1f}: {100 * low:+.1f} to {100 * high:+.1f})"
        yield [SYSTEMS[name].label, changed, *cells]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data")
    parser.add_argument("--store", default=".cache/maps", help="where activation maps are kept")
    parser.add_argument("--sizes", default="724+512", metavar="SIZE+SIZE")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=["rmac", "cmac"])
    args = parser.parse_args()
    warnings.filterwarnings("ignore", "whitening .* dimensions")
    warnings.filterwarnings("ignore", ".*Scores of a part are no benchmark results")
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        study = Study(tasks(args.data), args.sizes, args.store, Path(folder))
        for name in args.systems:
            for changed, variant in variants(name, args.sizes).items():
                scores = found[name, changed] = study.measure(variant)
                cells = [f"{100 * np.mean(values):.1f}" for values in scores.values()]
                print(name, changed, *cells, file=sys.stderr, flush=True)
    for steps in STEPS:
        print(as_table([steps, "changed", *COLUMNS], list(rows(found, steps))), end="\n\n")


if __name__ == "__main__":
    main()
