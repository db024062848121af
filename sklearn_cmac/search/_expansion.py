"""Descriptors enriched with those of their nearest neighbours, then searched with again."""

from __future__ import annotations

import numpy as np
from sklearn.preprocessing import normalize


def expand_queries(
    queries: np.ndarray, database: np.ndarray, n_neighbors: int = 10, alpha: float = 0.0
) -> np.ndarray:
    """Query expansion: the mean of a query and the photos that it finds first.

    Parameters
    ----------
    queries : ndarray of shape (n_queries, D)
        Descriptors of unit length.
    database : ndarray of shape (n_photos, D)
        Descriptors of unit length.
    n_neighbors : int, default=10
        Photos that are added to each query.
    alpha : float, default=0
        Photos weigh ``(q . d) ** alpha``: 0 is average query expansion, in which all weigh as
        much as the query. Photos whose similarity is not positive are left out if alpha is
        above 0.

    Returns
    -------
    ndarray of shape (n_queries, D)
        Descriptors of unit length.

    References
    ----------
    O. Chum et al., "Total Recall: Automatic Query Expansion with a Generative Feature Model for
    Object Retrieval", ICCV 2007. F. Radenović, G. Tolias, O. Chum, "Fine-tuning CNN Image
    Retrieval with No Human Annotation", PAMI 2018, for alpha.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac.search import expand_queries
    >>> expand_queries(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0], [-1.0, 0.0]]), 1)
    array([[0.70710678, 0.70710678]])
    """
    return _expanded(queries, database, n_neighbors, alpha, own=False)


def augment_database(database: np.ndarray, n_neighbors: int = 10, alpha: float = 0.0) -> np.ndarray:
    """The same for the photos of the database, each with its neighbours among the others.

    Parameters
    ----------
    database : ndarray of shape (n_photos, D)
        Descriptors of unit length.
    n_neighbors, alpha
        As for `expand_queries`.

    Returns
    -------
    ndarray of shape (n_photos, D)
        Descriptors of unit length.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac.search import augment_database
    >>> augment_database(np.eye(2), n_neighbors=1)
    array([[0.70710678, 0.70710678],
           [0.70710678, 0.70710678]])
    """
    return _expanded(database, database, n_neighbors, alpha, own=True)


def _expanded(
    queries: np.ndarray, database: np.ndarray, n_neighbors: int, alpha: float, own: bool
) -> np.ndarray:
    """Query by query, so that no matrix of all similarities is held."""
    expanded = np.empty_like(queries)
    for i, query in enumerate(queries):
        similarities = database @ query
        if own:
            similarities[i] = -np.inf
        nearest = np.argsort(-similarities, kind="stable")[:n_neighbors]
        nearest = nearest[np.isfinite(similarities[nearest])]
        weights = np.clip(similarities[nearest], 0, None) ** alpha if alpha else 1
        expanded[i] = query + (database[nearest] * np.reshape(weights, (-1, 1))).sum(axis=0)
    return normalize(expanded)
