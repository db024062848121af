"""mAP of photos described at one size or several, and of neighbours at query time.

    python benchmarks/scales.py --data ../shared/data

Each of two sets of real photos is tested with components and whitening fitted on the other, at the
sizes themselves: `landmarks` whole (L) and its boxed queries (L-X), the queries of Paris6k (P-X)
and the revisited ones (R-X), crop X, shrinkage 1. Sizes are pixels of the longest side; photos are
not enlarged. Steps behind the first ranking are none (one descriptor), region matching, and region
matching followed by a walk among the neighbours of the first 100 (`CandidateNeighbors`); `--steps`
also has its other methods. Prints mAP in percent, and the paired difference to the first sizes
that are named with its 95% interval over queries. "network" is processor time for reading a photo
and running the network, over that of the first sizes; bytes are what is kept of a photo of L
besides its maps, and seconds what a query of L-X takes that is described.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from ast import literal_eval
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from regions import tasks
from sizes import COLUMNS, Scores
from sklearn.pipeline import Pipeline

from sklearn_cmac import ConvFeatureExtractor
from sklearn_cmac._markdown import as_table
from sklearn_cmac.evaluation import evaluate
from sklearn_cmac.metrics import bootstrap_interval
from sklearn_cmac.pipelines import SYSTEMS
from sklearn_cmac.reranking import CandidateNeighbors, Chain, RegionMatching, make_chain


def among_candidates(method: str) -> Chain:
    """Region matching, and what neighbours at query time make of it by one method."""
    return Chain([("rerank", RegionMatching()), ("expand", CandidateNeighbors(method))])


STEPS = {
    "one descriptor": make_chain(),
    "region matching": make_chain("matching"),
    "matching, neighbours": make_chain("matching", "neighbors"),
    "matching, reciprocal": among_candidates("reciprocal"),
    "matching, embeddings": among_candidates("embeddings"),
}
SIZES = ("1024", "512", "512+384", "724+512", "724+512+362", "512+384+256")
COMPARED = ("rmac", "paper", "cmac", "mixed")


def scaling(sizes: str) -> dict:
    """Parameters of the extractor for sizes like 512+384."""
    largest, *others = (int(size) for size in sizes.split("+"))
    return {"max_size": largest, "scales": (1.0, *(size / largest for size in others))}


def make_system(name: str, sizes: str, store: str, **params: Any) -> Pipeline:
    """A system that describes photos at these sizes, with shrinkage 1 and other parameters."""
    features = {f"features__{key}": value for key, value in scaling(sizes).items()}
    params = {**features, "features__store": store, "whiten__shrinkage": 1.0, **params}
    return SYSTEMS[name].make(**params)


def assigned(text: str) -> tuple[str, Any]:
    """Path and value of a parameter such as whiten__power=0.7."""
    path, value = text.split("=")
    return path, literal_eval(value)


def measure(
    pipeline: Pipeline, work: Sequence[tuple], out: Path | None, steps: Sequence[str]
) -> tuple[Scores, dict]:
    """Average precisions by (steps, column), crop X; seconds of a query and bytes by steps."""
    scores, costs = {}, {}
    chains = {name: STEPS[name] for name in steps}
    for column, (benchmark, fit_on, _) in zip(COLUMNS, work):
        for row in evaluate(benchmark, {"": pipeline}, fit_on, steps=chains, folder=out).rows:
            scores[row.steps, column] = np.array(row.average_precision)
            if column == "L-X":
                costs[row.steps] = row.seconds_per_query, row.bytes_per_photo
    return scores, costs


def network_seconds(sizes: Sequence[str], photos: list, rounds: int = 3) -> dict[str, float]:
    """Least processor seconds a photo for reading and the network, sizes taking turns."""
    extractors = {name: ConvFeatureExtractor(**scaling(name)).fit(photos) for name in sizes}
    found = dict.fromkeys(sizes, np.inf)
    for _ in range(rounds):
        for name, extractor in extractors.items():
            extractor.transform(photos[:1])
            started = time.process_time()
            extractor.transform(photos)
            found[name] = min(found[name], (time.process_time() - started) / len(photos))
    return found


def table(
    found: Mapping[tuple[str, str], tuple[Scores, dict]], steps: str, network: dict[str, float]
) -> str:
    """mAP by system and sizes, and what other sizes are ahead of the first."""
    rows, (first, *_) = [], network
    for (name, sizes), (scores, costs) in found.items():
        cells = []
        for column in COLUMNS:
            values, base = scores[steps, column], found[name, first][0][steps, column]
            cells.append(f"{100 * values.mean():.1f}")
            if sizes != first:
                low, high = bootstrap_interval(values, base)
                ahead = 100 * (values - base).mean()
                cells[-1] += f" ({ahead:+.1f}: {100 * low:+.1f} to {100 * high:+.1f})"
        seconds, kept = costs[steps]
        cost = [f"{network[sizes] / network[first]:.2f}", f"{kept:.0f}", f"{seconds:.3f}"]
        rows.append([SYSTEMS[name].label, sizes, *cells, *cost])
    return as_table([steps, "sizes", *COLUMNS, "network", "bytes", "s/query"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data")
    parser.add_argument("--store", default=".cache/maps", help="where activation maps are kept")
    parser.add_argument("--out", type=Path, help="keeps what is done, so a stopped run goes on")
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), metavar="SIZE+SIZE")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(COMPARED))
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS)[:3])
    parser.add_argument(
        "--set", nargs="+", type=assigned, default=[], metavar="PATH=VALUE", dest="params"
    )
    args = parser.parse_args()
    warnings.filterwarnings("ignore", "whitening .* dimensions")
    warnings.filterwarnings("ignore", ".*Scores of a part are no benchmark results")
    work = tasks(args.data)
    found = {}
    for sizes in args.sizes:
        for name in args.systems:
            pipeline = make_system(name, sizes, args.store, **dict(args.params))
            scores, _ = found[name, sizes] = measure(pipeline, work, args.out, args.steps)
            cells = [f"{100 * scores[key].mean():.1f}" for key in scores]
            print(name, sizes, *cells, file=sys.stderr, flush=True)
    photos = [photo.source for photo in work[0][0].photos[::50]][:10]
    network = network_seconds(args.sizes, photos)
    by_system = {key: found[key] for name in args.systems for key in found if key[0] == name}
    for steps in args.steps:
        print(table(by_system, steps, network), end="\n\n")


if __name__ == "__main__":
    main()
