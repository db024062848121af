"""The k nearest neighbours of each photo, of which graphs are made."""

from __future__ import annotations

import numpy as np

from sklearn_cmac.collection import Engine


def neighbors_of_all(engine: Engine, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Neighbours of each photo among the others, by blocks, so that no table of pairs is held.

    Parameters
    ----------
    engine : Engine
    k : int
        Fewer are found where there are fewer others.

    Returns
    -------
    ids : ndarray of str of shape (n,)
        Photos in the engine's order.
    neighbors : ndarray of int of shape (n, k)
        Positions in `ids`, most similar first.
    values : ndarray of float32 of shape (n, k)
        Dot products with them.
    """
    n = len(engine)
    k = min(k, n - 1)
    ids = np.empty(n, object)
    found, values = np.empty((n, k), object), np.empty((n, k), np.float32)
    start = 0
    for batch, descriptors in engine.scan():
        ids[start : start + len(batch)] = batch
        for i, (own, (hits, scores)) in enumerate(
            zip(batch, zip(*engine.kneighbors(descriptors, k + 1))), start
        ):
            others = np.flatnonzero(hits != own)[:k]
            found[i], values[i] = hits[others], scores[others]
        start += len(batch)
    row_of = {id_: row for row, id_ in enumerate(ids)}
    neighbors = np.array([row_of[id_] for id_ in found.ravel()], int).reshape(n, k)
    return ids, neighbors, values


def neighbors_among(similarities: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours of each photo among the others, of a table of all similarities.

    Parameters
    ----------
    similarities : ndarray of shape (n, n)
    k : int
        Fewer are found where there are fewer others.

    Returns
    -------
    neighbors : ndarray of int of shape (n, k)
        Most similar first.
    values : ndarray of shape (n, k)
        Similarities to them.
    """
    others = np.array(similarities, np.float64)
    np.fill_diagonal(others, -np.inf)
    neighbors = np.argsort(-others, axis=1, kind="stable")[:, : min(k, len(others) - 1)]
    return neighbors, np.take_along_axis(others, neighbors, axis=1)
