"""Solvers of the cut's eigenproblem on real maps: block Lanczos beside LOBPCG, one thread each.

    python benchmarks/lobpcg.py --data ../shared/data

Matrices are those of `ncut.py`, in single precision. All solvers find the 20 largest eigenpairs to
the residual at which block Lanczos stops, from columns of one random block. Times are processor
time of the solver alone; runs alternate. Residuals are computed in double precision, the largest of
20. Agreement is the mean adjusted Rand index of the 20 clusters to those of double precision, for
several start rows. Prints Markdown.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import scipy
import torch
from ncut import MAPS, agreement, embeddings, own_agreement, reference
from scipy.sparse.linalg import eigsh, lobpcg
from threadpoolctl import threadpool_limits

from sklearn_cmac.regions._banded import (
    BandedSimilarity,
    block_lanczos,
    resolve_coarse,
    scaled_and_signed,
)
from sklearn_cmac.regions._spectral import centered, discretize

K, BLOCK, TOLERANCE, GUARD = 20, 8, 3e-3, 8
SCALE, KERNEL, REGULARIZATION = 0.05, "gaussian", 0.5
Pairs = tuple[np.ndarray, np.ndarray]


class Problem:
    """The normalised similarity of one photo's cells: as an operator on its band, and whole."""

    def __init__(self, points: np.ndarray):
        self.points = centered(points)
        self.band = BandedSimilarity(self.points, SCALE, KERNEL)
        self.degrees = self.band.degrees + np.float32(2 * REGULARIZATION)
        self.root = 1 / np.sqrt(self.degrees)[:, None]
        n = len(points)
        self.start = np.random.RandomState(0).standard_normal((n, K + GUARD)).astype(np.float32)
        self.start[:, :1] = 1 / self.root
        self.dense = self.apply(np.eye(n, dtype=np.float32))
        self.tensor = torch.from_numpy(self.dense)

    def apply(self, vectors: np.ndarray) -> np.ndarray:
        scaled = self.root * vectors
        return self.root * (self.band.dot(scaled) + np.float32(REGULARIZATION) * scaled)

    def residual(self, eigenvalues: np.ndarray, vectors: np.ndarray) -> float:
        vectors = vectors.astype(np.float64)
        error = self.dense.astype(np.float64) @ vectors - vectors * eigenvalues
        return float((np.linalg.norm(error, axis=0) / np.linalg.norm(vectors, axis=0)).max())

    def partition(self, eigenvalues: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Labels from eigenvectors, as `normalized_cut` makes them."""
        back = np.argsort(self.band.order)
        scaled = scaled_and_signed(
            (vectors * self.root)[back].astype(np.float64), np.ones(len(vectors))
        )
        how = (SCALE, KERNEL, REGULARIZATION)
        degrees = self.degrees[back]
        return discretize(resolve_coarse(scaled, eigenvalues, self.points, degrees, *how), 0)


def scipy_lobpcg(matrix: object, start: np.ndarray) -> Pairs:
    values, vectors = lobpcg(matrix, start, tol=TOLERANCE, maxiter=1000, largest=True)
    return descending(values, vectors)


def torch_lobpcg(matrix: torch.Tensor, start: np.ndarray) -> Pairs:
    # Its residuals are shares of about twice the norm of the matrix, which is 1.
    values, vectors = torch.lobpcg(
        matrix, X=torch.from_numpy(start), tol=TOLERANCE / 2, niter=1000, largest=True
    )
    return descending(values.numpy(), vectors.numpy())


def descending(values: np.ndarray, vectors: np.ndarray) -> Pairs:
    order = np.argsort(-values)[:K]
    return values[order], vectors[:, order]


SOLVERS: dict[str, Callable[[Problem, np.ndarray], Pairs]] = {
    "block Lanczos, band": lambda p, start: block_lanczos(p.apply, start[:, :BLOCK], K),
    "block Lanczos, band, 16 vectors": lambda p, start: block_lanczos(p.apply, start[:, :16], K),
    "block Lanczos, matrix": lambda p, start: block_lanczos(p.dense.dot, start[:, :BLOCK], K),
    "scipy lobpcg, band": lambda p, start: scipy_lobpcg(p.apply, start[:, :K]),
    "scipy lobpcg, matrix": lambda p, start: scipy_lobpcg(p.dense, start[:, :K]),
    "scipy lobpcg, matrix, 28 vectors": lambda p, start: scipy_lobpcg(p.dense, start),
    "torch lobpcg, matrix": lambda p, start: torch_lobpcg(p.tensor, start[:, :K]),
    "scipy eigsh, matrix": lambda p, start: descending(
        *eigsh(p.dense, K, which="LA", v0=start[:, 0], tol=TOLERANCE)
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data")
    parser.add_argument("--store", default=".cache/maps")
    parser.add_argument("--cells", type=int, nargs="+", default=[768, 3072], choices=MAPS)
    parser.add_argument("--photos", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    if not args.data.is_dir():
        raise SystemExit(f"no photos at {args.data}: pass --data")
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    print(f"numpy {np.__version__}, scipy {scipy.__version__}, torch {torch.__version__}\n")
    print("| cells | solver | seconds | least | of the first | residual | ARI |")
    print("|---|---|---|---|---|---|---|")
    with threadpool_limits(1):
        for n in args.cells:
            sets = embeddings(args.data, args.store, n, args.photos)
            compare(sets, args.rounds)


def compare(sets: list[np.ndarray], rounds: int) -> None:
    """Rows for photos of one size."""
    problems = [Problem(points) for points in sets]
    expected = [reference(points)[-1:] for points in sets]
    seconds: dict[str, list[float]] = {name: [] for name in SOLVERS}
    residuals: dict[str, list[float]] = {name: [] for name in SOLVERS}
    scores: dict[str, list[float]] = {name: [] for name in SOLVERS}
    for _ in range(rounds):
        for problem, partitions in zip(problems, expected):
            for name, solve in SOLVERS.items():
                start = problem.start.copy()  # scipy's lobpcg works in it
                started = time.process_time()
                pairs = solve(problem, start)
                seconds[name].append(time.process_time() - started)
                residuals[name].append(problem.residual(*pairs))
                scores[name] += agreement([problem.partition(*pairs)], partitions)
    cells = int(median(len(points) for points in sets))
    own = np.mean([own_agreement(partitions) for partitions in expected])
    print(f"| {cells} | reference with itself | | | | | {own:.3f} |")
    for name in SOLVERS:
        ratio = median(a / b for a, b in zip(seconds[name], seconds["block Lanczos, band"]))
        taken = f"{median(seconds[name]):.4f} | {min(seconds[name]):.4f} | {ratio:.2f}"
        found = f"{max(residuals[name]):.1e} | {np.mean(scores[name]):.3f}"
        print(f"| {cells} | {name} | {taken} | {found} |", flush=True)


if __name__ == "__main__":
    main()
