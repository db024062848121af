"""NCutClusterer beside scikit-learn's SpectralClustering on real maps, one thread each.

    python benchmarks/ncut.py --data ../shared/data

Points are the embeddings (C = 4) of photos, at sizes and layers that give the wanted numbers of
cells. All cut into 5 and 20 clusters; scikit-learn solves for each anew. Runs alternate, and the
table gives medians. Agreement is the mean adjusted Rand index to the clusters of the double
precision path, whose eigenvalues are those of Shi's program, for several start rows; the first
column of agreement is that of the reference with itself. `--before` names a checkout of another
version, which takes its turn with the others. Times are processor time. Prints Markdown.
"""

from __future__ import annotations

import argparse
import itertools
import os
import pickle
import subprocess
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image
from scipy.sparse.linalg import eigsh
from sklearn.cluster import SpectralClustering
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from sklearn_cmac import ActivationPCA, ConvFeatureExtractor
from sklearn_cmac._markdown import as_table
from sklearn_cmac.datasets import find_photos
from sklearn_cmac.regions._banded import largest_distance
from sklearn_cmac.regions._spectral import (
    discretize,
    leading_eigenvectors,
    normalized_cut,
    similarity,
)

# Number of cells of a 4:3 photo: how to get them.
MAPS = {
    768: {"layer": "head", "max_size": 1024},
    1536: {"layer": "head", "max_size": 1472},
    3072: {"layer": "blocks.4", "max_size": 1024},
    12288: {"layer": "blocks.4", "max_size": 2048},
}
COUNTS = (5, 20)
ASSIGN = ("discretize", "cluster_qr", "kmeans")
N_STARTS = 8
# Points in, partitions and seconds out, until there are no more.
SERVE = """
import pickle, sys, time
from sklearn_cmac.regions._spectral import normalized_cut
counts = pickle.load(sys.stdin.buffer)
while True:
    try:
        points = pickle.load(sys.stdin.buffer)
    except EOFError:
        break
    started = time.process_time()
    labels = normalized_cut(points, counts, (0, 0))[0]
    pickle.dump((labels, time.process_time() - started), sys.stdout.buffer)
    sys.stdout.buffer.flush()
"""

# Of points (N, C), the partitions and the processor seconds they took.
Timed = Callable[[np.ndarray], tuple[list[np.ndarray], float]]


def embeddings(data: Path, store: str, n: int, n_photos: int) -> list[np.ndarray]:
    """Points (N, 4) of some photos, components fitted on those of another city."""
    extractor = ConvFeatureExtractor(store=store, enlarge=True, **MAPS[n])
    fitting = find_photos(data / "paris279/jpg")[::40]
    pca = ActivationPCA(4, random_state=0).fit(extractor.transform(fitting))
    photos = [p for p in find_photos(data / "landmarks/images") if four_to_three(p)]
    records = extractor.transform(photos[:: len(photos) // n_photos][:n_photos])
    return [r.embedding.reshape(-1, 4).astype(np.float64) for r in pca.transform(records)]


def four_to_three(path: Path) -> bool:
    with Image.open(path) as photo:
        return 3 * photo.width == 4 * photo.height


def sklearn_cut(points: np.ndarray, assign: str) -> list[np.ndarray]:
    """Its largest distance is taken from our function, whose time is small in comparison."""
    gamma = 1 / (0.05 * largest_distance(points)) ** 2
    cut = SpectralClustering(gamma=gamma, assign_labels=assign, random_state=0)
    return [cut.set_params(n_clusters=k).fit_predict(points) for k in COUNTS]


def dense_cut(points: np.ndarray) -> list[np.ndarray]:
    """The whole matrix in single precision and scipy's Lanczos: what the band is worth."""
    x = (points - points.mean(axis=0)).astype(np.float32)
    squares = (x * x).sum(axis=1)
    s = x @ x.T
    s *= -2
    s += squares
    s += squares[:, None]
    np.maximum(s, 0, out=s)
    s *= -1 / (0.05**2 * s.max())
    np.exp(s, out=s)
    s[s < 1e-6] = 0
    root = 1 / np.sqrt(s.sum(axis=1) + 1)
    s *= root[:, None]
    s *= root
    s.flat[:: len(s) + 1] += 0.5 * root**2
    values, vectors = eigsh(s, 20, which="LA", v0=np.ones(len(s), np.float32), tol=1e-3)
    vectors = vectors[:, np.argsort(-values)] * root[:, None]
    vectors *= np.sqrt(len(s)) / np.linalg.norm(vectors, axis=0)
    return [discretize(vectors[:, :k].astype(float), 0) for k in COUNTS]


def nystroem_cut(points: np.ndarray, n_landmarks: int = 768) -> list[np.ndarray]:
    """The cut of evenly drawn landmarks; each other point goes to the nearest one's cluster."""
    chosen = np.linspace(0, len(points) - 1, n_landmarks).astype(int)
    labels, _ = normalized_cut(points[chosen], COUNTS, (0, 0))
    nearest = np.empty(len(points), int)
    squares = (points[chosen] ** 2).sum(axis=1)
    for start in range(0, len(points), 1024):
        rows = points[start : start + 1024]
        nearest[start : start + 1024] = np.argmin(squares - 2 * rows @ points[chosen].T, axis=1)
    return [partition[nearest] for partition in labels]


def timed(cut: Callable, points: np.ndarray) -> tuple[list[np.ndarray], float]:
    started = time.process_time()
    labels = cut(points)
    return labels, time.process_time() - started


def cut_of(checkout: Path) -> Timed:
    """Our cut as the package of a checkout has it, in a process of its own."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=checkout,
        env=os.environ
        | {"PYTHONPATH": str(checkout.resolve())}
        | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    )

    def ask(message: object) -> None:
        pickle.dump(message, server.stdin)
        server.stdin.flush()

    def cut(points: np.ndarray) -> tuple[list[np.ndarray], float]:
        ask(points)
        return pickle.load(server.stdout)

    ask(COUNTS)
    return cut


def reference(points: np.ndarray) -> list[list[np.ndarray]]:
    """Partitions of the double precision path for several start rows, for each count."""
    _, vectors = leading_eigenvectors(similarity(points), max(COUNTS))
    starts = np.random.RandomState(1).randint(len(points), size=N_STARTS)
    return [[discretize(vectors[:, :k], row) for row in starts] for k in COUNTS]


def agreement(cuts: list[np.ndarray], expected: list[list[np.ndarray]]) -> list[float]:
    return [
        float(np.mean([adjusted_rand_score(cut, e) for e in partitions]))
        for cut, partitions in zip(cuts, expected)
    ]


def own_agreement(expected: list[list[np.ndarray]]) -> list[float]:
    return [
        float(np.mean([adjusted_rand_score(a, b) for a, b in itertools.combinations(p, 2)]))
        for p in expected
    ]


def seconds_for(points: np.ndarray, k: int) -> float:
    started = time.process_time()
    normalized_cut(points, (k,), (0,))
    return time.process_time() - started


def peak_matrices(points: np.ndarray) -> float:
    """Peak memory of a cut, in N x N arrays of single precision."""
    tracemalloc.start()
    normalized_cut(points, COUNTS, (0, 0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / (4 * len(points) ** 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data")
    parser.add_argument("--store", default=".cache/maps")
    parser.add_argument("--cells", type=int, nargs="+", default=[768, 1536, 3072], choices=MAPS)
    parser.add_argument("--photos", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-sklearn", action="store_true", help="leave the peer out")
    parser.add_argument("--plot", type=Path, help="write a picture of seconds over cells")
    parser.add_argument("--before", type=Path, help="a checkout to compare with")
    args = parser.parse_args()
    if not args.data.is_dir():
        raise SystemExit(f"no photos at {args.data}: pass --data")
    warnings.filterwarnings("ignore")
    cuts: dict[str, Callable] = {
        "ours": lambda p: normalized_cut(p, COUNTS, (0, 0))[0],
        "ours, float64": lambda p: normalized_cut(p, COUNTS, (0, 0), precision="float64")[0],
        "dense float32": dense_cut,
        "768 landmarks": nystroem_cut,
    }
    if not args.no_sklearn:
        cuts |= {f"sklearn {a}": partial(sklearn_cut, assign=a) for a in ASSIGN}
    systems: dict[str, Timed] = {name: partial(timed, cut) for name, cut in cuts.items()}
    if args.before:
        systems["ours, before"] = cut_of(args.before)
    curves: dict[str, list[tuple[int, float]]] = {}
    rows: list[list[str]] = []

    def note(*cells: object) -> None:
        rows.append([str(cell) for cell in cells])
        print(*cells, file=sys.stderr, flush=True)

    with threadpool_limits(1):
        for n in args.cells:
            sets = embeddings(args.data, args.store, n, args.photos)
            expected = [reference(points) for points in sets]
            seconds: dict[str, list[float]] = {name: [] for name in systems}
            scores: dict[str, list[list[float]]] = {name: [] for name in systems}
            for _ in range(args.rounds):
                for points, partitions in zip(sets, expected):
                    for name, cut in systems.items():
                        labels, taken = cut(points)
                        seconds[name].append(taken)
                        scores[name].append(agreement(labels, partitions))
            cells = int(median(len(points) for points in sets))
            own = np.mean([own_agreement(partitions) for partitions in expected], axis=0)
            note(cells, "reference with itself", "", "", "", f"{own[0]:.3f}", f"{own[1]:.3f}")
            for name in systems:
                typical, ari = median(seconds[name]), np.mean(scores[name], axis=0)
                ratio = median(a / b for a, b in zip(seconds[name], seconds["ours"]))
                curves.setdefault(name, []).append((cells, typical))
                agreeing = [f"{index:.3f}" for index in ari]
                least = f"{min(seconds[name]):.3f}"
                note(cells, name, f"{typical:.3f}", least, f"{ratio:.1f}x", *agreeing)
            peak = max(peak_matrices(points) for points in sets)
            note(cells, f"peak memory of ours: {peak:.2f} N x N float32")
            for k in (5, 10, 20, 40):
                taken = median(
                    seconds_for(points, k) for points in sets for _ in range(args.rounds)
                )
                note(cells, f"ours, k={k} only", f"{taken:.3f}")
    header = ["cells", "what", "seconds", "least", "ours is faster", "ARI k=5", "ARI k=20"]
    print(as_table(header, rows))
    if args.plot:
        plot(curves, args.plot)


def plot(curves: dict[str, list[tuple[int, float]]], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    for name, curve in curves.items():
        axis.loglog(*zip(*curve), "o-", label=name)
    axis.set(xlabel="map cells", ylabel="seconds, one thread", title="Cut into 5 and 20 clusters")
    axis.legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
