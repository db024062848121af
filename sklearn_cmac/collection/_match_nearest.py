"""Both stages of a search in one call: by descriptor, then by regions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sklearn_cmac.collection._engine import Engine, Hits
from sklearn_cmac.maps import RegionVectors


def match_nearest(
    engine: Engine,
    descriptors: np.ndarray,
    queries: Sequence[RegionVectors],
    k: int,
    n_candidates: int,
) -> list[Hits]:
    """The k ids whose regions answer those of each query best, among the nearest by descriptor.

    An engine that has a method of this name is asked once; others are asked for neighbours, and
    then to match them.

    Parameters
    ----------
    engine : Engine
        That keeps regions.
    descriptors : ndarray of shape (n_queries, D)
    queries : sequence of n_queries RegionVectors
    k : int
    n_candidates : int
        How many are found by descriptor.

    Returns
    -------
    list of (ids, scores)
        For each query, best first, equal scores in the order of ids; shorter than k where fewer
        candidates have regions.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac import RegionVectors
    >>> from sklearn_cmac.collection import ExactEngine, RegionTable, Stamp, match_nearest
    >>> photos = [RegionVectors(np.eye(2)[[row]]) for row in (0, 1, 1)]
    >>> engine = ExactEngine(Stamp("a pipeline", dimension=2, regions=True))
    >>> rows = np.array([[1, 0], [0.6, 0.8], [-1, 0]], np.float32)
    >>> engine.upsert(["church", "tower", "sky"], rows, RegionTable.of(photos, 2))
    >>> query = RegionVectors(np.array([[0.0, 1.0]]))
    >>> match_nearest(engine, np.array([[1.0, 0.0]]), [query], k=1, n_candidates=2)
    [(array(['tower'], dtype=object), array([1.], dtype=float32))]
    """
    own = getattr(engine, "match_nearest", None)
    if own is not None:
        return own(descriptors, queries, k, n_candidates)
    ids, _ = engine.kneighbors(descriptors, n_candidates)
    return engine.match(queries, k, [sorted(row) for row in ids])
