"""The Normalized Cut of many photos at once, with torch, on any of its devices.

The same steps as in `_spectral`, on a batch of point sets of one size. Sets of few points, and
those that single precision cannot cut, are cut there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from scipy.linalg import LinAlgError

from sklearn_cmac._threads import one_thread
from sklearn_cmac.regions._banded import FAINT, excess_of_spans, resolve_coarse
from sklearn_cmac.regions._spectral import (
    MAX_ITERATIONS,
    SMALLEST_SCALE,
    centered,
    distinct_points,
    few_points,
    normalized_cut,
    together,
)

# Blocks of 8 vectors in the Krylov space of the batched block Lanczos. Their number is given:
# to look whether they are enough would wait for the device.
_BLOCK = 8
_N_BLOCKS = 36


def normalized_cuts(
    points: Sequence[np.ndarray],
    n_clusters: Sequence[int],
    start_rows: Sequence[Sequence[int]],
    *,
    scale: float = 0.05,
    kernel: str = "gaussian",
    regularization: float = 0.5,
    device: str = "cpu",
) -> np.ndarray:
    """Cut each of B sets of N points into each of L numbers of clusters.

    Parameters
    ----------
    points : sequence of B ndarrays of shape (N, C)
    n_clusters : sequence of L ints
    start_rows : sequence of B sequences of L ints
        The rows from which the discretisations start.
    scale, kernel, regularization
        As in `similarity` and `leading_eigenvectors`.
    device : str
        A torch device.

    Returns
    -------
    ndarray of shape (B, L, N)
        Labels; those of clusters that came out empty are left out of the numbering.
    """
    with one_thread(), _one_torch_thread():
        how = (scale, kernel, regularization)
        n, k = len(points[0]), max(n_clusters)
        single = n > few_points(k) and scale >= SMALLEST_SCALE
        # One at a time costs a processor nothing, and rounds alike in every company.
        at_once = 1 if torch.device(device).type == "cpu" else len(points)
        labels: dict[int, np.ndarray] = {}
        for start in range(0, len(points) if single else 0, at_once):
            batch = range(start, min(start + at_once, len(points)))
            sets, rows = [points[i] for i in batch], [start_rows[i] for i in batch]
            found = _cut_in_single_precision(sets, n_clusters, rows, *how, device)
            labels |= {i: cut for i, cut in zip(batch, found) if cut is not None}
        for i in set(range(len(points))) - labels.keys():
            labels[i] = normalized_cut(
                points[i], n_clusters, start_rows[i],
                scale=scale, kernel=kernel, regularization=regularization, precision="float64",
            )[0]  # fmt: skip
    return np.stack([labels[i] for i in range(len(points))])


def _cut_in_single_precision(
    points: Sequence[np.ndarray],
    n_clusters: Sequence[int],
    start_rows: Sequence[Sequence[int]],
    scale: float,
    kernel: str,
    regularization: float,
    device: str,
) -> list[np.ndarray | None]:
    """Labels (L, N) of each of B sets of points (N, C); None where they are not determined."""
    k = max(n_clusters)
    sets = [centered(p) for p in points]
    equals = [distinct_points(p) for p in sets]
    labels: list[np.ndarray | None] = [None] * len(sets)
    rich = [i for i, (places, *_) in enumerate(equals) if len(places) > 2 * k]
    if not rich:
        return labels
    X = torch.as_tensor(np.stack([sets[i] for i in rich]).astype(np.float32), device=device)
    with torch.inference_mode():
        found = _leading_eigenvectors(_similarities(X, scale, kernel), k + 1, regularization)
        pairs = zip(rich, *(each.double().cpu().numpy() for each in found))
        resolved = {}
        for i, values, residuals, vectors, degrees in pairs:
            how = (sets[i], degrees, scale, kernel, regularization)
            if excess_of_spans(values, residuals, n_clusters) <= 1:
                try:
                    resolved[i] = [
                        resolve_coarse(vectors[:, :k], values[:k], *how) for k in n_clusters
                    ]
                except LinAlgError:
                    continue
        if not resolved:
            return labels
        settled = list(resolved)
        partitions = []
        for j, columns in enumerate(zip(*resolved.values())):
            rows = torch.as_tensor([start_rows[i][j] for i in settled], device=device)
            vectors = torch.as_tensor(np.stack(columns), device=device)
            partitions.append(_discretize(vectors, rows).cpu().numpy())
    for i, cut in zip(settled, np.stack(partitions, axis=1)):
        _, first, which, _ = equals[i]
        labels[i] = np.stack([together(partition, first, which) for partition in cut])
    return labels


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """As `one_thread`, for torch's own."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _similarities(X: torch.Tensor, scale: float, kernel: str) -> torch.Tensor:
    """Similarities (B, N, N) of points (B, N, C)."""
    distance = torch.cdist(X, X, compute_mode="donot_use_mm_for_euclid_dist")
    distance /= scale * distance.amax(dim=(1, 2), keepdim=True)
    similarities = (-(distance**2) if kernel == "gaussian" else -2 * distance).exp_()
    return torch.where(similarities < FAINT, 0, similarities)


def _leading_eigenvectors(
    similarities: torch.Tensor, k: int, regularization: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Eigenvalues (B, k) and their residuals, columns of ``d^-1/2 V`` at norm sqrt(N)
    (B, N, k), degrees (B, N)."""
    n = similarities.shape[1]
    degrees = similarities.sum(dim=2) + 2 * regularization
    root = degrees[:, :, None].rsqrt()

    def apply(vectors: torch.Tensor) -> torch.Tensor:
        scaled = root * vectors
        return root * (similarities @ scaled + regularization * scaled)

    generator = torch.Generator().manual_seed(0)
    start = torch.randn(n, _BLOCK, generator=generator).to(similarities.device)
    block = _orthonormal(torch.cat([1 / root, start[:, 1:].expand(len(root), -1, -1)], dim=2))
    basis, overlaps = block, []
    n_blocks = min(max(_N_BLOCKS, 4 * k // _BLOCK), n // _BLOCK)
    for step in range(n_blocks):
        image = apply(block)
        overlap = basis.mT @ image
        image -= basis @ overlap
        again = basis.mT @ image
        image -= basis @ again
        overlaps.append(overlap + again)
        if step < n_blocks - 1:
            block = _orthonormal(image)
            block = _orthonormal(block - basis @ (basis.mT @ block))
            basis = torch.cat([basis, block], dim=2)
    m = basis.shape[2]
    projected = similarities.new_zeros(len(similarities), m, m)
    for step, overlap in enumerate(overlaps):
        columns = slice(step * _BLOCK, (step + 1) * _BLOCK)
        projected[:, : overlap.shape[1], columns] = overlap
        projected[:, columns, : overlap.shape[1]] = overlap.mT
    eigenvalues, combos = torch.linalg.eigh(projected.double().nan_to_num())
    eigenvalues = eigenvalues.flip(1)[:, :k]
    vectors = basis @ combos.flip(2)[:, :, :k].float()
    residuals = (apply(vectors) - vectors * eigenvalues[:, None].float()).norm(dim=1)
    vectors *= root
    vectors *= np.sqrt(n) / vectors.norm(dim=1, keepdim=True)
    return eigenvalues, residuals, vectors, degrees


def _orthonormal(block: torch.Tensor) -> torch.Tensor:
    """Columns of the same span, orthonormal: Cholesky QR, twice for single precision.

    NaN where they span less: the Krylov space is exhausted, which double precision deals with.
    """
    for _ in range(2):
        gram = (block.mT @ block).double()
        size = gram.diagonal(dim1=1, dim2=2).mean(dim=1).clamp(min=1e-30)
        gram += (1e-10 * size)[:, None, None] * torch.eye(gram.shape[1], device=gram.device)
        factor, failed = torch.linalg.cholesky_ex(gram)
        block = torch.linalg.solve_triangular(factor.float().mT, block, upper=True, left=False)
        block = torch.where(failed[:, None, None] > 0, torch.nan, block)
    return block


def _discretize(vectors: torch.Tensor, start_rows: torch.Tensor) -> torch.Tensor:
    """Labels (B, N) of eigenvectors (B, N, k) in double precision."""
    rows = vectors / vectors.norm(dim=2, keepdim=True).clamp(min=1e-300)
    batch, n, k = rows.shape
    each = torch.arange(batch, device=rows.device)
    columns = [rows[each, start_rows]]
    likeness = rows.new_zeros(batch, n)
    for _ in range(k - 1):
        likeness += (rows @ columns[-1][:, :, None])[:, :, 0].abs()
        columns.append(rows[each, likeness.argmin(dim=1)])
    rotation = torch.stack(columns, dim=2)
    objective = rows.new_zeros(batch)
    settled = torch.zeros(batch, dtype=torch.bool, device=rows.device)
    labels = torch.zeros(batch, n, dtype=torch.long, device=rows.device)
    for _ in range(MAX_ITERATIONS + 1):
        labels = torch.where(settled[:, None], labels, (rows @ rotation).argmax(dim=2))
        members = torch.nn.functional.one_hot(labels, k).to(rows.dtype)
        left, singular, right = torch.linalg.svd(members.mT @ rows)
        previous, objective = objective, 2 * (n - singular.sum(dim=1))
        settled |= (objective - previous).abs() < np.finfo(np.float64).eps
        rotation = right.mT @ left.mT
    return labels
