"""What the engines on Qdrant share: photos as points, what is asked of it, the order of answers.

Region matching, the sum over a query's regions of their share times the similarity to the photo's
most similar region, is Qdrant's "MaxSim" of multivectors under the dot product, once the query's
regions are scaled by their shares.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl
from uuid import NAMESPACE_OID, uuid5

import numpy as np

from sklearn_cmac.collection._engine import Hits, Ids, InUseError, Stamp
from sklearn_cmac.collection._regions import RegionTable
from sklearn_cmac.collection._row_engine import check_new_rows
from sklearn_cmac.collection._scores import by_id, row_blocks, shares_of, top_rows
from sklearn_cmac.maps import RegionVectors

# Names of the vectors and the payload of a point.
DESCRIPTOR, REGIONS = "descriptor", "regions"
ID, WEIGHTS = "id", "weights"

_NUMBERS = 2**20  # of vectors that are read at once, as JSON 20 MB
_POINTS = 2**16  # that are found by one request of several searches
_SPARE = 8  # points that are asked for beyond the k-th, which may equal it


@dataclass(frozen=True)
class Options:
    """What an address says behind its question mark.

    Parameters
    ----------
    exact : bool
        Whether descriptors are compared with all, or found by Qdrant's graph (HNSW).
    quantization : {"none", "scalar"}
        How the graph's search compares descriptors: as they are, or as bytes.
    shards, replicas : int, optional
        Of a new collection of a server. Default: the server's.
    """

    exact: bool = True
    quantization: str = "none"
    shards: int | None = None
    replicas: int | None = None


def split_address(uri: str, names: Sequence[str]) -> tuple[str, Options]:
    """An address without its options, and these.

    Parameters
    ----------
    uri : str
    names : sequence of str
        Options that the engine has.

    Raises
    ------
    ValueError
        If an option is not known or has no such value.
    """
    address, _, text = uri.partition("?")
    given: dict[str, Any] = dict(parse_qsl(text, keep_blank_values=True))
    for name, value in given.items():
        if name not in names:
            raise ValueError(f"{uri}: the option {name!r} is none of {', '.join(names)}")
        allowed = {"exact": ("true", "false"), "quantization": ("none", "scalar")}.get(name)
        if value not in allowed if allowed else not (value.isdecimal() and int(value) > 0):
            wanted = " or ".join(allowed or ["a positive number"])
            raise ValueError(f"{uri}: the option {name} is {wanted}, got {value!r}")
        if name == "exact":
            given[name] = value == "true"
        elif not allowed:
            given[name] = int(value)
    options = Options(**given)
    if options.exact and options.quantization != "none":
        raise ValueError(f"{uri}: an exact search compares no bytes; add exact=false")
    return address, options


@dataclass(frozen=True)
class Search:
    """One question: which points are the most similar.

    Parameters
    ----------
    vector : ndarray of float32 of shape (D,) or (R, D)
        A descriptor, or regions scaled by their shares.
    limit : int
        How many are answered.
    among : sequence of str, optional
        Points that may be found. Default: all.
    first : Search, optional
        Whose answers alone may be found, in the same request.
    """

    vector: np.ndarray
    limit: int
    among: Sequence[str] | None = None
    first: Search | None = None

    @property
    def using(self) -> str:
        """The name of the vectors that are compared."""
        return DESCRIPTOR if self.vector.ndim == 1 else REGIONS


class PointEngine:
    """An engine whose photos are Qdrant's points. Subclasses send what is asked.

    What they send to answers objects with `id`, `payload`, `vector` and, where it was searched,
    `score`: Qdrant's own, whose names are the same in both packages.
    """

    stamp: Stamp
    uri: str
    read_only: bool

    def _errors(self) -> AbstractContextManager[None]:
        """Turns Qdrant's errors into those of Python, with the address."""
        raise NotImplementedError

    def _count(self) -> int:
        """How many points there are."""
        raise NotImplementedError

    def _search(self, searches: Sequence[Search]) -> list[list[Any]]:
        """Of each search the points, with ids in their payload, highest score first."""
        raise NotImplementedError

    def _retrieve(self, points: Sequence[str], vectors: list[str]) -> list[Any]:
        """Those of these points that are there, with their payload, in any order."""
        raise NotImplementedError

    def _scroll(self, n: int, start: Any) -> tuple[list[Any], Any]:
        """The next n points with their descriptors, and where to go on, None at the end."""
        raise NotImplementedError

    def _write(self, points: list[dict[str, Any]]) -> None:
        """Add or replace points, which are `id`, `vector` and `payload`; durable at the end."""
        raise NotImplementedError

    def _remove(self, points: list[str]) -> None:
        """Delete points, those that are there; durable at the end."""
        raise NotImplementedError

    def __len__(self) -> int:
        with self._errors():
            return self._count()

    def __contains__(self, id_: str) -> bool:
        with self._errors():
            return bool(self._retrieve([point_of(id_)], []))

    def upsert(self, ids: Ids, descriptors: np.ndarray, regions: RegionTable | None = None) -> None:
        """As for every engine."""
        descriptors = check_new_rows(self.stamp, ids, descriptors, regions)
        self._check_writable()
        if len(ids):
            points = [_point(id_, descriptors[i], regions, i) for i, id_ in enumerate(ids)]
            with self._errors():
                self._write(points)

    def delete(self, ids: Ids) -> None:
        """As for every engine."""
        self._check_writable()
        with self._errors():
            for block in row_blocks(len(ids), _POINTS):
                self._remove([point_of(id_) for id_ in ids[block]])

    def kneighbors(self, descriptors: np.ndarray, k: int, among: Ids | None = None) -> Hits:
        """As for every engine."""
        queries = self._check_queries(descriptors)
        points = None if among is None else list({point_of(id_) for id_ in among})
        k = self._at_most(k) if points is None else min(k, len(points))
        if k < 1 or not len(queries):
            k = min(k, len(self))
            return np.empty((len(queries), k), object), np.empty((len(queries), k), np.float32)
        hits = self._best([Search(query, k, points) for query in queries], k)
        n = min(len(ids) for ids, _ in hits)  # a graph may lead to fewer than there are
        ids, scores = zip(*((ids[:n], scores[:n]) for ids, scores in hits))
        return np.stack(ids), np.stack(scores)

    def match(
        self, queries: Sequence[RegionVectors], k: int, candidates: Sequence[Ids] | None = None
    ) -> list[Hits]:
        """As for every engine."""
        vectors = [self._scaled(query) for query in queries]
        if candidates is None:
            k = self._at_most(k)
            return self._best([Search(vector, k) for vector in vectors], k)
        asked = [[point_of(id_) for id_ in ids] for ids in candidates]
        searches = [
            Search(vector, len(points), points) for vector, points in zip(vectors, asked) if points
        ]
        answers = self._ask(searches)
        found = []
        for ids, points in zip(candidates, asked):
            score_of = {str(hit.id): hit.score for hit in next(answers)} if points else {}
            rows = [i for i, point in enumerate(points) if point in score_of]
            scores = np.array([score_of[points[i]] for i in rows], np.float32)
            best = top_rows(scores, k)
            found.append((np.asarray(ids, object)[np.array(rows, int)[best]], scores[best]))
        return found

    def match_nearest(
        self,
        descriptors: np.ndarray,
        queries: Sequence[RegionVectors],
        k: int,
        n_candidates: int,
    ) -> list[Hits]:
        """As `collection.match_nearest`, both stages in one request."""
        vectors = [self._scaled(query) for query in queries]
        n_candidates = self._at_most(n_candidates)
        k = min(k, n_candidates)
        searches = [
            Search(vector, k, first=Search(descriptor, n_candidates))
            for vector, descriptor in zip(vectors, self._check_queries(descriptors))
        ]
        return self._best(searches, k)

    def get(self, ids: Ids) -> np.ndarray:
        """As for every engine."""
        rows = np.empty((len(ids), self.stamp.dimension), np.float32)
        for block in row_blocks(len(ids), max(1, _NUMBERS // self.stamp.dimension)):
            found = self._records(ids[block], [DESCRIPTOR])
            rows[block] = [record.vector[DESCRIPTOR] for record in found]
        return rows

    def get_regions(self, ids: Ids) -> RegionTable:
        """As for every engine."""
        self._check_regions()
        photos = []
        for block in row_blocks(len(ids), max(1, _NUMBERS // (16 * self.stamp.dimension))):
            for record in self._records(ids[block], [REGIONS]):
                vectors = np.array((record.vector or {}).get(REGIONS, []), np.float32)
                vectors = vectors.reshape(-1, self.stamp.dimension)
                photos.append(RegionVectors(vectors, np.array(record.payload[WEIGHTS])))
        return RegionTable.of(photos, self.stamp.dimension)

    def scan(self, batch_size: int = 1024) -> Iterator[tuple[list[str], np.ndarray]]:
        """All ids and descriptors, batch by batch, in the order of their points."""
        start = None
        while True:
            with self._errors():
                records, start = self._scroll(batch_size, start)
            if records:
                rows = np.array([record.vector[DESCRIPTOR] for record in records], np.float32)
                yield [record.payload[ID] for record in records], rows
            if start is None:
                return

    def _at_most(self, k: int) -> int:
        """k, or how many photos there are: counting takes longer than most searches."""
        return k if k <= _POINTS else min(k, len(self))

    def _best(self, searches: Sequence[Search], k: int) -> list[Hits]:
        """The k best ids of each search; of those that equal the k-th, the first by id."""
        if k < 1:
            return [(np.empty(0, object), np.empty(0, np.float32)) for _ in searches]
        searches = [replace(search, limit=k + _SPARE) for search in searches]
        return [
            self._in_order(search, hits, k) for search, hits in zip(searches, self._ask(searches))
        ]

    def _in_order(self, search: Search, hits: list[Any], k: int) -> Hits:
        while len(hits) == search.limit and hits[-1].score == hits[k - 1].score:
            search = replace(search, limit=2 * search.limit)
            (hits,) = self._ask([search])
        ids = np.empty(len(hits), object)
        ids[:] = [hit.payload[ID] for hit in hits]
        scores = np.array([hit.score for hit in hits], np.float32)
        return by_id((np.arange(len(hits)), scores), ids, k)

    def _ask(self, searches: Sequence[Search]) -> Iterator[list[Any]]:
        """Answers to searches, several by one request."""
        size = max(1, _POINTS // max([search.limit for search in searches], default=1))
        for block in row_blocks(len(searches), size):
            with self._errors():
                yield from self._search(searches[block])

    def _records(self, ids: Ids, vectors: list[str]) -> list[Any]:
        """One record for each id, or a `KeyError`."""
        points = [point_of(id_) for id_ in ids]
        with self._errors():
            found = {str(record.id): record for record in self._retrieve(points, vectors)}
        if missing := [id_ for id_, point in zip(ids, points) if point not in found]:
            raise KeyError(f"there is no photo {missing[0]!r}")
        return [found[point] for point in points]

    def _scaled(self, query: RegionVectors) -> np.ndarray:
        """Regions times their shares; of none, a region that nothing is similar to."""
        self._check_regions()
        if not len(query):
            return np.zeros((1, self.stamp.dimension), np.float32)
        return self._check_queries(shares_of(query)[:, None] * query.vectors)

    def _check_queries(self, vectors: np.ndarray) -> np.ndarray:
        vectors = np.ascontiguousarray(vectors, np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != self.stamp.dimension:
            raise ValueError(
                f"{self.uri}: keeps vectors of {self.stamp.dimension} dimensions; queries have "
                f"shape {vectors.shape}"
            )
        return vectors

    def _check_regions(self) -> None:
        if not self.stamp.regions:
            raise ValueError("no region vectors are kept here")

    def _check_writable(self) -> None:
        if self.read_only:
            raise InUseError(f"{self.uri}: was opened to be read only")


def point_of(id_: str) -> str:
    """The point of an id: Qdrant's are numbers and UUIDs, so this is the UUID of the text."""
    return str(uuid5(NAMESPACE_OID, str(id_)))


def _point(id_: str, descriptor: np.ndarray, regions: RegionTable | None, i: int) -> dict[str, Any]:
    vector = {DESCRIPTOR: descriptor}
    payload: dict[str, Any] = {ID: str(id_)}
    if regions is not None:
        own = slice(regions.indptr[i], regions.indptr[i + 1])
        payload[WEIGHTS] = regions.weights[own].tolist()
        if regions.counts[i]:  # Qdrant has no empty multivectors
            vector[REGIONS] = regions.vectors[own].astype(np.float32)
    return {"id": point_of(id_), "vector": vector, "payload": payload}
