"""What engines share that compare a query with all rows of an array."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from sklearn_cmac.collection._engine import Hits, Ids, Stamp
from sklearn_cmac.collection._regions import RegionTable
from sklearn_cmac.collection._scores import (
    best_rows,
    by_id,
    match_scores,
    nearest_rows,
    row_blocks,
    top_rows,
)
from sklearn_cmac.maps import RegionVectors

_PHOTOS = 256  # whose region vectors are in memory in single precision: 50 MB of 100 regions each


class RowEngine:
    """All dot products of queries with rows. Subclasses say where the rows are, and whose.

    Rows are numbered as they were added. That of an id that was deleted or replaced stays where
    it is, and is not found any more.
    """

    stamp: Stamp

    def __len__(self) -> int:
        raise NotImplementedError

    def _find(self, ids: Ids, absent: int | None = None) -> np.ndarray:
        """Rows of ids, `absent` of those that are not there; without it a `KeyError` names one."""
        raise NotImplementedError

    def _ids_of(self, rows: np.ndarray) -> np.ndarray:
        """Ids of rows, as an array of objects."""
        raise NotImplementedError

    def _live(self) -> np.ndarray:
        """Rows that count, in their order."""
        raise NotImplementedError

    def _hidden(self) -> np.ndarray:
        """Of each row whether it does not count, of shape (n_rows,)."""
        raise NotImplementedError

    def _descriptors(self) -> np.ndarray:
        """Descriptors of all rows, of shape (n_rows, D)."""
        raise NotImplementedError

    def _table(self, rows: np.ndarray) -> RegionTable:
        """Region vectors of rows, none for those that cannot be read."""
        raise NotImplementedError

    def _look(self, rows: slice | np.ndarray) -> None:
        """Told which rows are read next, before they are."""

    def kneighbors(self, descriptors: np.ndarray, k: int, among: Ids | None = None) -> Hits:
        """As for every engine."""
        queries = np.asarray(descriptors, np.float32)
        database, hidden = self._descriptors(), self._hidden()
        rows = None if among is None else self._rows_among(among)
        k = min(k, len(self) if rows is None else len(rows))
        if k < 1 or not len(queries):
            return np.empty((len(queries), k), object), np.empty((len(queries), k), np.float32)
        if rows is None:
            best = nearest_rows(queries, database, k, hidden, self._look)
        else:
            self._look(rows)
            found = nearest_rows(queries, database[rows], k, hidden[rows])
            best = [(rows[places], scores) for places, scores in found]
        every = np.unique(np.concatenate([rows for rows, _ in best]))
        names = self._ids_of(every)
        hits = [by_id(each, names[np.searchsorted(every, each[0])], k) for each in best]
        # Rows that turned out to be damaged are missing.
        n = min(len(ids) for ids, _ in hits)
        ids, scores = zip(*((ids[:n], scores[:n]) for ids, scores in hits))
        return np.stack(ids), np.stack(scores)

    def _rows_among(self, ids: Ids) -> np.ndarray:
        """Rows of those ids that are there, each once."""
        rows = np.unique(self._find(ids, absent=-1))
        return rows[rows >= 0]

    def match(
        self, queries: Sequence[RegionVectors], k: int, candidates: Sequence[Ids] | None = None
    ) -> list[Hits]:
        """As for every engine."""
        if candidates is None:
            live = self._live()
            scored = zip(queries, self._match_rows(queries, [live] * len(queries)))
            return [self._best_of_all(live, scores, k) for _, scores in scored]
        asked = [self._find(ids, absent=-1) for ids in candidates]
        found = []
        for ids, scores in zip(candidates, self._match_rows(queries, asked)):
            full = np.flatnonzero(~np.isnan(scores))
            best = full[top_rows(scores[full], k)]
            found.append((np.asarray(ids, object)[best], scores[best]))
        return found

    def _best_of_all(self, live: np.ndarray, scores: np.ndarray, k: int) -> Hits:
        full = np.flatnonzero(~np.isnan(scores))
        best = full[best_rows(scores[full], k)]
        return by_id((live[best], scores[best]), self._ids_of(live[best]), k)

    def _match_rows(
        self, queries: Sequence[RegionVectors], asked: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """Scores of rows, aligned with `asked`; each photo is read once for all queries."""
        wanted = np.unique(np.concatenate([np.empty(0, np.int64), *asked]))
        wanted = wanted[wanted >= 0]
        scores = [np.full(len(rows), np.nan, np.float32) for rows in asked]
        places = [np.argsort(rows, kind="stable") for rows in asked]
        for block in row_blocks(len(wanted), _PHOTOS):
            here = wanted[block]
            table = self._table(here)
            table = RegionTable(table.vectors.astype(np.float32), table.weights, table.indptr)
            for query, rows, place, out in zip(queries, asked, places, scores):
                low, high = np.searchsorted(rows, here[[0, -1]] + [0, 1], sorter=place)
                mine = place[low:high]
                if len(mine):
                    at = np.searchsorted(here, rows[mine])
                    part = table if len(mine) == len(here) else table.take(at)
                    out[mine] = match_scores(query, part)[at if part is table else slice(None)]
        return scores

    def get(self, ids: Ids) -> np.ndarray:
        """As for every engine."""
        rows = self._find(ids)
        self._look(rows)
        return np.asarray(self._descriptors()[rows])

    def get_regions(self, ids: Ids) -> RegionTable:
        """As for every engine."""
        return self._table(self._find(ids))

    def scan(self, batch_size: int = 1024) -> Iterator[tuple[list[str], np.ndarray]]:
        """As for every engine."""
        live = self._live()
        for block in row_blocks(len(live), batch_size):
            self._look(live[block])
            rows = live[block][~self._hidden()[live[block]]]
            yield self._ids_of(rows).tolist(), np.asarray(self._descriptors()[rows])


def check_new_rows(
    stamp: Stamp, ids: Ids, descriptors: np.ndarray, regions: RegionTable | None
) -> np.ndarray:
    """Descriptors (n, D) in single precision that fit ids and stamp, or a `ValueError`."""
    descriptors = np.ascontiguousarray(descriptors, np.float32)
    if descriptors.shape != (len(ids), stamp.dimension) or len(set(ids)) < len(ids):
        raise ValueError(
            f"{len(ids)} ids, each once, need descriptors of shape ({len(ids)}, "
            f"{stamp.dimension}); got shape {descriptors.shape} for {len(set(ids))} ids"
        )
    if stamp.regions != (regions is not None):
        raise ValueError(
            "region vectors are kept here, and none were given"
            if stamp.regions
            else "no region vectors are kept here, and some were given"
        )
    if regions is not None and (len(regions), regions.vectors.shape[1]) != descriptors.shape:
        raise ValueError(
            f"{len(ids)} ids need region vectors of as many photos with {stamp.dimension} "
            f"dimensions; got those of {len(regions)} photos with {regions.vectors.shape[1]}"
        )
    return descriptors
