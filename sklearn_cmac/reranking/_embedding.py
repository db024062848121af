"""Similarity embeddings: points for photos of which only pairwise distances are known."""

from __future__ import annotations

import numpy as np


def embed_distances(distances: np.ndarray, n_dimensions: int | None = None) -> np.ndarray:
    """Points that have given distances: classical multidimensional scaling.

    Where some points have just these distances, so do those found. Else eigenvectors of negative
    eigenvalues, in which no points can differ, are left out.

    Parameters
    ----------
    distances : ndarray of shape (n, n)
        Symmetric, with zeros on the diagonal.
    n_dimensions : int, optional
        At most so many of the leading dimensions. Default: all in which the points differ.

    Returns
    -------
    ndarray of shape (n, d)
        About their mean, along their principal axes.

    References
    ----------
    W. S. Torgerson, "Multidimensional scaling: I. Theory and method", Psychometrika, 1952.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac.search import embed_distances
    >>> points = embed_distances(np.array([[0.0, 3.0], [3.0, 0.0]]))
    >>> abs(points).round(6)
    array([[1.5],
           [1.5]])
    """
    squared = np.asarray(distances, np.float64) ** 2
    means = squared.mean(axis=0)
    products = (means + means[:, None] - squared - means.mean()) / 2
    values, axes = np.linalg.eigh(products)
    leading = np.argsort(-values, kind="stable")[:n_dimensions]
    # What rounding leaves of a direction without extent is none.
    rounding = len(values) * np.finfo(float).eps * np.abs(values).max()
    leading = leading[values[leading] > rounding]
    return axes[:, leading] * np.sqrt(values[leading])
