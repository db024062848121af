"""Agreement of the Normalized Cut with Shi's program, and its time, on points of many kinds.

    python benchmarks/ncut_cases.py --cases ../shared/ncut_cases --before ../before

On the stored cases the reference is the program's labels; on generated points, where there is
none, it is the dense eigenproblem in double precision. Only rows that the program determines are
compared: of its k eigenvectors, rows below 1e-6 are noise. A miss is a mean adjusted Rand index
more than 0.03 below that of the reference's partitions with each other. `--before` names a checkout
of another version, which is timed in turn with this one, one thread each. `--photos` adds the
points that presets cut of so many photos of `--data`. Prints Markdown.
"""

from __future__ import annotations

import argparse
import itertools
import os
import pickle
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from sklearn_cmac import make_cmac_pipeline
from sklearn_cmac._markdown import as_table
from sklearn_cmac.datasets import find_photos
from sklearn_cmac.regions._spectral import discretize, normalized_cut, similarity
from sklearn_cmac.regions._step import cell_points

COUNTS = (5, 10, 20)
KERNELS = ("gaussian", "exponential")
PRECISIONS = ("float32", "float64")
N_STARTS = 5
AT_ONCE = 8
HERE = Path(__file__).parents[1]


class Case(NamedTuple):
    """Points of a kind, and for each k the start rows, partitions and determined rows."""

    kind: str
    points: np.ndarray
    kernel: str
    starts: list[np.ndarray]
    partitions: list[np.ndarray]
    determined: list[np.ndarray]


def stored(folder: Path) -> Iterator[Case]:
    for file in sorted(folder.glob("*.npz")):
        with np.load(file) as case:
            points = case["f"] * np.sqrt(case["sigma"] / case["sigma"].sum())
            kind = "stored, photos" if file.stem.startswith("r") else "stored, generated"
            for kernel in KERNELS:
                keys = [f"{kernel}_k{k}" for k in COUNTS]
                sides = np.sqrt(similarity(points, 0.05, kernel).sum(axis=1) + 1)[:, None]
                yield Case(
                    kind,
                    points,
                    kernel,
                    [case[f"{key}_start_row"][:N_STARTS] for key in keys],
                    [case[f"{key}_labels"] for key in keys],
                    [above_rounding(case[f"{key}_eigenvectors"] * sides) for key in keys],
                )


def above_rounding(vectors: np.ndarray) -> np.ndarray:
    unit = vectors / np.linalg.norm(vectors, axis=0)
    return np.linalg.norm(unit, axis=1) > 1e-6


def generated(sizes: Sequence[int]) -> Iterator[Case]:
    rng = np.random.default_rng(7)
    for n in sizes:
        centers = rng.random((9, 4)) * [4, 1, 0.5, 0.2]
        kinds = {
            "uniform, C=5": rng.random((n, 5)),
            "uniform, C=2": rng.random((n, 2)),
            "normal, C=3": rng.standard_normal((n, 3)),
            "heavy tails, C=4": rng.standard_t(3, (n, 4)),
            "clumps, C=4": centers[rng.integers(9, size=n)] + 0.08 * rng.standard_normal((n, 4)),
        }
        for (kind, points), kernel in itertools.product(kinds.items(), KERNELS):
            yield exact(kind, points, kernel, rng)


def of_presets(data: Path, store: str, n_photos: int) -> Iterator[Case]:
    """What the presets cut of photos of one city, components fitted on those of another."""
    rng = np.random.default_rng(7)
    fit_on = find_photos(data / "paris279/jpg")[::9]
    photos = find_photos(data / "landmarks/images")
    photos = photos[:: max(1, len(photos) // n_photos)][:n_photos]
    for preset in ("paper", "default"):
        pipeline = make_cmac_pipeline(
            preset, features__store=store, features__max_size=1024, features__scales=(1.0,)
        )[:3].fit(fit_on)
        weight = pipeline["regions"].spatial_weight
        for record in pipeline[:2].transform(photos):
            yield exact(f"photos, {preset} preset", cell_points(record, weight), "gaussian", rng)


def exact(kind: str, points: np.ndarray, kernel: str, rng: np.random.Generator) -> Case:
    n = len(points)
    similarities = similarity(points, 0.05, kernel)
    root = 1 / np.sqrt(similarities.sum(axis=1) + 1)[:, None]
    normalized = similarities * root * root.T + np.diag(0.5 * root[:, 0] ** 2)
    vectors = eigh(normalized, subset_by_index=[n - max(COUNTS), n - 1])[1][:, ::-1]
    noisy = (vectors + 1e-9 * rng.standard_normal(vectors.shape)) * root
    noisy /= np.linalg.norm(noisy, axis=0)
    starts = [rng.integers(n, size=N_STARTS) for _ in COUNTS]
    return Case(
        kind,
        points,
        kernel,
        starts,
        [
            np.stack([discretize(noisy[:, :k], row) for row in rows])
            for k, rows in zip(COUNTS, starts)
        ],
        [above_rounding(vectors[:, :k]) for k in COUNTS],
    )


def cut_all(cases: list[Case]) -> list[dict[str, tuple[np.ndarray, float]]]:
    """Of each case and precision, partitions (L, starts, N) and the median seconds of a cut."""
    found = []
    for case in cases:
        of_case = {}
        for precision in PRECISIONS:
            labels, seconds = [], []
            for rows in zip(*case.starts):
                started = time.process_time()
                how = {"kernel": case.kernel, "precision": precision}
                labels.append(normalized_cut(case.points, COUNTS, rows, **how)[0])
                seconds.append(time.process_time() - started)
            of_case[precision] = np.stack(labels, axis=1), median(seconds)
        found.append(of_case)
    return found


def cut_by(checkout: Path, cases: list[Case]) -> list[dict[str, tuple[np.ndarray, float]]]:
    """As `cut_all`, by the package of a checkout."""
    script = (
        "import pickle, sys; sys.path.insert(0, sys.argv[1]); from ncut_cases import Case, cut_all;"
        "cases = [Case(*c) for c in pickle.load(sys.stdin.buffer)];"
        "pickle.dump(cut_all(cases), sys.stdout.buffer)"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(Path(__file__).resolve().parent)],
        input=pickle.dumps([tuple(case) for case in cases]),
        stdout=subprocess.PIPE,
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": str(checkout.resolve()), "OMP_NUM_THREADS": "1"},
        check=True,
    )
    return pickle.loads(run.stdout)


def agreement(a: np.ndarray, b: np.ndarray, rows: np.ndarray) -> float:
    return float(np.mean([adjusted_rand_score(x[rows], y[rows]) for x in a for y in b]))


def own_agreement(a: np.ndarray, rows: np.ndarray) -> float:
    pairs = itertools.combinations(a, 2)
    return float(np.mean([adjusted_rand_score(x[rows], y[rows]) for x, y in pairs]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=Path, default=HERE.parent / "shared/ncut_cases")
    parser.add_argument("--before", type=Path, help="a checkout to compare with")
    parser.add_argument("--sizes", type=int, nargs="*", default=[300, 900], help="of made points")
    parser.add_argument("--data", type=Path, default=HERE.parent / "shared/data")
    parser.add_argument("--photos", type=int, default=0, help="photos that presets cut")
    parser.add_argument("--store", default=".cache/maps", help="where activation maps are kept")
    args = parser.parse_args()
    versions = ({"before": args.before} if args.before else {}) | {"now": HERE}
    scores: dict[tuple[str, str, str], list[tuple[float, ...]]] = defaultdict(list)
    cases = [*stored(args.cases), *generated(args.sizes)]
    if args.photos:
        cases += of_presets(args.data, args.store, args.photos)
    for start in range(0, len(cases), AT_ONCE):
        batch = cases[start : start + AT_ONCE]
        found = {name: cut_by(checkout, batch) for name, checkout in versions.items()}
        for i, case in enumerate(batch):
            labels, unit = found["now"][i]["float64"]
            own = [own_agreement(*each) for each in zip(case.partitions, case.determined)]
            for name, precision in itertools.product(versions, PRECISIONS):
                mine, seconds = found[name][i][precision]
                for j, (theirs, rows) in enumerate(zip(case.partitions, case.determined)):
                    aris = (
                        own[j],
                        agreement(mine[j], theirs, rows),
                        agreement(mine[j], labels[j], rows),
                    )
                    scores[case.kind, name, precision].append((*aris, seconds / unit))
        print(f"{start + len(batch)} of {len(cases)}", file=sys.stderr, flush=True)
    table = []
    for (kind, name, precision), values in scores.items():
        own, against, double, ratio = np.transpose(values)
        missed = f"{(against < own - 0.03).sum()} of {len(own)}"
        means = [f"{x.mean():.3f}" for x in (own, against, double)]
        table.append(
            [
                kind,
                name,
                precision,
                *means,
                f"{against.min():.2f}",
                f"{double.min():.2f}",
                missed,
                f"{np.median(ratio):.2f}",
            ]
        )
    header = ["points", "version", "precision", "reference with itself", "with the reference"]
    header += [
        "with float64 now",
        "least",
        "least with float64 now",
        "missed",
        "time of float64 now",
    ]
    print(as_table(header, table))


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
