"""Nearest neighbours by dot product, block by block, so that no matrix of all pairs is held."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_BLOCK = 4096


def similarities(queries: np.ndarray, database: np.ndarray) -> np.ndarray:
    """Dot products, of shape (n_queries, n_photos); a memory-mapped database is read once."""
    blocks = [queries @ database[rows].T for rows in row_blocks(len(database))]
    return np.concatenate(blocks, axis=1) if blocks else np.empty((len(queries), 0), queries.dtype)


def nearest_neighbors(
    queries: np.ndarray, database: np.ndarray, n_neighbors: int, own: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The most similar rows of a database.

    Parameters
    ----------
    queries : ndarray of shape (n_queries, D)
    database : ndarray of shape (n_photos, D)
    n_neighbors : int
        k; fewer where the database has fewer.
    own : bool
        Whether the queries are the database; no row is then its own neighbour.

    Returns
    -------
    neighbors : ndarray of int of shape (n_queries, k)
        Most similar first.
    values : ndarray of shape (n_queries, k)
        Their dot products.
    """
    k = min(n_neighbors, len(database) - own)
    neighbors, values = [np.empty((0, k), int)], [np.empty((0, k), queries.dtype)]
    for rows in row_blocks(len(queries), max(1, 2**25 // max(1, len(database)))):
        found = similarities(queries[rows], database)
        if own:
            found[np.arange(len(found)), np.arange(len(database))[rows]] = -np.inf
        best = np.sort(np.argpartition(-found, max(k - 1, 0), axis=1)[:, :k], axis=1)
        value = np.take_along_axis(found, best, axis=1)
        order = np.argsort(-value, axis=1, kind="stable")
        neighbors.append(np.take_along_axis(best, order, axis=1))
        values.append(np.take_along_axis(value, order, axis=1))
    return np.concatenate(neighbors), np.concatenate(values)


def row_blocks(n: int, size: int = _BLOCK) -> Iterator[slice]:
    """Slices that together cover n rows."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))
