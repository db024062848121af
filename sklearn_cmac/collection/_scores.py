"""Who is nearest: products of queries with rows, and the best of them, as functions of arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from sklearn_cmac.collection._regions import RegionTable
from sklearn_cmac.maps import RegionVectors

_SCORES = 2**22  # similarities that are held at once: 16 MB
_ROWS = 2**16  # rows of a block at most, for which one query reads 64 MB of 256 dimensions

_FEW = 8  # queries, measured at 256 dimensions

# Rows and their scores, best first, of one query.
Best = tuple[np.ndarray, np.ndarray]


def top_rows(scores: np.ndarray, k: int) -> np.ndarray:
    """The rows of the k highest scores (n,), best first; of equal ones, the first rows."""
    return best_rows(scores, k)[:k]


def best_rows(scores: np.ndarray, k: int) -> np.ndarray:
    """The same, with all rows that equal the k-th."""
    rows = np.arange(len(scores))
    if k < len(scores):
        rows = rows[:0] if k < 1 else np.flatnonzero(scores >= _lowest_of(scores, k))
    return rows[np.argsort(-scores[rows], kind="stable")]


def _lowest_of(scores: np.ndarray, k: int) -> Any:
    """The k-th highest score."""
    return np.partition(scores, len(scores) - k)[len(scores) - k]


def row_blocks(n: int, size: int) -> Iterator[slice]:
    """Slices that together cover n rows."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def nearest_rows(
    queries: np.ndarray,
    database: np.ndarray,
    k: int,
    hidden: np.ndarray | None = None,
    look: Callable[[slice], Any] = lambda block: None,
) -> list[Best]:
    """For each query the rows of the k highest dot products, and all that equal the k-th.

    The database is read once, in blocks, so it may be a memory map that is larger than memory.

    Parameters
    ----------
    queries : ndarray of float32 of shape (q, D)
    database : ndarray of float32 of shape (n, D)
    k : int
        1 at least.
    hidden : ndarray of bool of shape (n,), optional
        Rows that are not found.
    look : callable, optional
        Told of each block before it is read. It may hide more rows.

    Returns
    -------
    list of (rows, scores)
        For each query, best first, equal scores by row.
    """
    size = int(np.clip(_SCORES // max(1, len(queries)), 1024, _ROWS))
    pools = [_Pool(k) for _ in queries]
    for block in row_blocks(len(database), size):
        look(block)
        part = _products(queries, database[block])
        if hidden is not None and hidden[block].any():
            part[:, hidden[block]] = -np.inf
        limits = np.array([pool.limit for pool in pools], np.float32)
        which, rows = np.nonzero(part >= limits[:, None])
        scores = part[which, rows]
        ends = np.searchsorted(which, np.arange(len(queries) + 1))
        for pool, low, high in zip(pools, ends[:-1], ends[1:]):
            if low < high:
                pool.add(rows[low:high] + block.start, scores[low:high])
    return [pool.best() for pool in pools]


def _products(queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Dot products (q, n). Of few queries, matrix products of BLAS take thrice as long."""
    if len(queries) > _FEW:
        return queries @ rows.T
    if hasattr(np, "vecdot"):
        return np.stack([np.vecdot(rows, query) for query in queries])
    return np.stack([np.einsum("ij,j->i", rows, query) for query in queries])


class _Pool:
    """The best rows of one query so far."""

    def __init__(self, k: int):
        self.k = k
        self.limit = np.finfo(np.float32).min  # what is hidden is below it
        self.rows, self.scores = np.empty(0, np.int64), np.empty(0, np.float32)

    def add(self, rows: np.ndarray, scores: np.ndarray) -> None:
        """Rows behind those that are there; what cannot be among the best any more is dropped."""
        self.rows = np.concatenate([self.rows, rows])
        self.scores = np.concatenate([self.scores, scores])
        if len(self.scores) > 2 * self.k:
            self._prune()

    def best(self) -> Best:
        """The k best rows and those that equal the last, best first."""
        order = best_rows(self.scores, self.k)
        return self.rows[order], self.scores[order]

    def _prune(self) -> None:
        self.limit = _lowest_of(self.scores, self.k)
        kept = self.scores >= self.limit
        self.rows, self.scores = self.rows[kept], self.scores[kept]


def by_id(best: Best, ids: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best ids and their scores, equal scores in the order of ids.

    Parameters
    ----------
    best : (rows, scores)
    ids : ndarray of str of shape (len(rows),)
        Of these rows.
    k : int
    """
    scores = best[1]
    if len(scores) > 1 and (scores[1:] == scores[:-1]).any():
        order = np.lexsort((ids.astype(str), -scores))[:k]
        return ids[order], scores[order]
    return ids[:k], scores[:k]


def shares_of(query: RegionVectors) -> np.ndarray:
    """What each region of a query counts for; they sum up to 1."""
    if query.weights is None:
        return np.full(len(query), 1 / len(query))
    return query.weights / query.weights.sum()


def joined_regions(parts: Sequence[RegionVectors], weights: Sequence[float]) -> RegionVectors:
    """Regions of several queries as those of one, by the name of the first.

    A score of region matching is a sum over regions, so it is the mean of theirs by these weights.
    """
    shares = [weight * shares_of(part) for weight, part in zip(weights, parts)]
    vectors = np.concatenate([part.vectors for part in parts])
    return RegionVectors(vectors, np.concatenate(shares), parts[0].name)


def match_scores(query: RegionVectors, table: RegionTable) -> np.ndarray:
    """Scores of region matching of one query with the photos of a table.

    Parameters
    ----------
    query : RegionVectors
    table : RegionTable
        In memory.

    Returns
    -------
    ndarray of float32 of shape (n,)
        nan for photos without regions.
    """
    scores = np.full(len(table), np.nan, np.float32)
    full = np.flatnonzero(table.counts)
    if len(full):
        found = query.vectors @ table.vectors.astype(np.float32, copy=False).T
        best = np.maximum.reduceat(found, table.indptr[:-1][full], axis=1)
        scores[full] = shares_of(query) @ best
    return scores
