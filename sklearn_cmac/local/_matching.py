"""Which local features of a query and of photos match: each other's nearest, and near enough."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from sklearn_cmac._threads import one_thread

_BLOCK = 1 << 21  # similarities that are looked at together: 8 MB
_MOST = 1 << 25  # those of one photo, which is not cut, with some features of the query


def match_nearest(
    query: np.ndarray, photos: Sequence[np.ndarray], min_similarity: float = 0.82
) -> list[np.ndarray]:
    """Features of a query and of each of many photos that are each other's nearest.

    Parameters
    ----------
    query : ndarray of shape (n, d)
        Descriptors of unit length.
    photos : sequence of ndarray of shape (m_i, d)
        Those of photos.
    min_similarity : float, default=0.82
        Cosine above which features match at all.

    Returns
    -------
    list of ndarray of int of shape (k_i, 2)
        For each photo the positions of matching features in the query, increasing, and in it. Of
        features that are equally near, the first counts.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac.local import match_nearest
    >>> query = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> photo = np.array([[0.1, 0.995], [0.6, 0.8]])
    >>> match_nearest(query, [photo, photo[1:]])
    [array([[1, 0]]), array([], shape=(0, 2), dtype=int64)]
    """
    found: list[np.ndarray] = []
    with one_thread():
        for some in _blocks(photos, _BLOCK // max(len(query), 1)):
            rows, columns, values = _near(query, np.concatenate(some), min_similarity)
            # Few are near enough, so what follows is quick.
            ends = np.cumsum([0, *map(len, some)])
            of_photo = np.searchsorted(ends, columns, side="right") - 1
            # A row of the block is a feature of the query, for each photo anew.
            best = _first_best(rows * len(some) + of_photo, values)
            best &= _first_best(columns, values)
            for i, start in enumerate(ends[:-1]):
                mine = best & (of_photo == i)
                found.append(np.stack([rows[mine], columns[mine] - start], axis=1))
    return found


def _near(
    query: np.ndarray, photo: np.ndarray, min_similarity: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions in both of descriptors that are near enough, row by row, and how near they are."""
    at_once = max(_MOST // max(len(photo), 1), 1)
    found = []
    for start in range(0, max(len(query), 1), at_once):
        similar = query[start : start + at_once] @ photo.T
        rows, columns = np.divmod(np.flatnonzero(similar > min_similarity), len(photo))
        found.append((rows + start, columns, similar[rows, columns]))
    rows, columns, values = (np.concatenate(part) for part in zip(*found))
    return rows, columns, values


def _blocks(photos: Sequence[np.ndarray], most: int) -> Iterator[list[np.ndarray]]:
    """Photos in order, as many together as have `most` features, but one at least."""
    some: list[np.ndarray] = []
    for photo in photos:
        if some and sum(map(len, some)) + len(photo) > most:
            yield some
            some = []
        some.append(photo)
    if some:
        yield some


def _first_best(groups: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Which values are the largest of their group, and of equal ones the first."""
    order = np.lexsort((np.arange(len(values)), -values, groups))
    first = np.ones(len(values), bool)
    first[1:] = groups[order][1:] != groups[order][:-1]
    best = np.zeros(len(values), bool)
    best[order[first]] = True
    return best
