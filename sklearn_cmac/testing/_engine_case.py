"""An engine under check, beside a dictionary of what it should keep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from sklearn_cmac.collection import Engine, RegionTable
from sklearn_cmac.maps import RegionVectors

DIMENSION = 12

# What is kept of a photo: its descriptor and its regions.
Kept = tuple[np.ndarray, RegionVectors]


class Case:
    """An engine under check, beside a dictionary of what it should keep.

    Numbers are small and whole, so all arithmetic gives the same scores to the last bit.

    Parameters
    ----------
    engine : Engine
        With nothing in it.
    tolerance : float
        How far scores may be from the exact ones.
    """

    def __init__(self, engine: Engine, tolerance: float):
        self.engine, self.tolerance = engine, tolerance
        self.kept: dict[str, Kept] = {}
        self.rng = np.random.default_rng(0)

    @property
    def regions(self) -> bool:
        """Whether the engine keeps regions."""
        return self.engine.stamp.regions

    def reopen(self) -> None:
        """Close the engine, and open it again. One without an address goes on."""

    def add(self, *ids: str) -> None:
        """Add photos, or replace them, in one write."""
        self.put({id_: photo_of(self.rng) for id_ in ids})

    def put(self, photos: Mapping[str, Kept]) -> None:
        """Add these photos, or replace them, in one write."""
        self.engine.upsert(*rows_of(photos, self.regions))
        self.kept.update(photos)

    def delete(self, *ids: str) -> None:
        """Delete photos, perhaps some that are not there."""
        self.engine.delete(list(ids))
        for id_ in ids:
            self.kept.pop(id_, None)

    def check(self, claim: str) -> None:
        """Whether each method answers as plain arithmetic does of what should be kept."""
        engine, ids = self.engine, list(self.kept)
        assert len(engine) == len(ids), f"{claim}: there are {len(ids)} ids, not {len(engine)}"
        absent = [id_ for id_ in ids if id_ not in engine]
        assert not absent, f"{claim}: these ids are not there: {absent}"
        scanned = [id_ for batch, _ in engine.scan(7) for id_ in batch]
        assert sorted(scanned) == sorted(ids), f"{claim}: a scan passes over each id once"
        descriptors = np.array([self.kept[id_][0] for id_ in ids]).reshape(-1, DIMENSION)
        same(engine.get(ids), descriptors, f"{claim}: get gives the descriptors of ids")
        queries = whole_numbers(self.rng, 3)
        for k in (1, 5, len(ids) + 10):
            for query, *hits in zip(queries, *engine.kneighbors(queries, k)):
                right = {id_: float(self.kept[id_][0] @ query) for id_ in ids}
                self.check_hits(hits, right, k, f"{claim}: the {k} nearest are found")
        if self.regions:
            self._check_regions(ids, claim)

    def _check_regions(self, ids: list[str], claim: str) -> None:
        table = self.engine.get_regions(ids)
        for i, id_ in enumerate(ids):
            vectors, weights = self.kept[id_][1].vectors, self.kept[id_][1].weights
            detail = f"{claim}: get_regions gives the regions of {id_!r}"
            assert table.counts[i] == len(vectors), f"{detail}, which are {len(vectors)}"
            same(table[i].vectors, vectors, detail)
            same(table[i].weights, weights, f"{detail} with their weights")
        queries = [RegionVectors(whole_numbers(self.rng, 2), np.array([1, 3])) for _ in range(2)]
        some = [list(self.rng.permutation(ids)[:7]) for _ in queries]
        for k, candidates in ((5, None), (len(ids) + 10, None), (3, some)):
            found = self.engine.match(queries, k, candidates)
            for i, (query, hits) in enumerate(zip(queries, found)):
                asked = ids if candidates is None else candidates[i]
                right = {id_: match_score(query, self.kept[id_][1]) for id_ in asked}
                full = {id_: score for id_, score in right.items() if score is not None}
                self.check_hits(hits, full, k, f"{claim}: region matching finds the {k} best")

    def check_hits(self, hits: Any, right: Mapping[str, float], k: int, claim: str) -> None:
        """Whether ids and scores are the k best; `right` has the exact score of each id."""
        ids, scores = hits
        best = sorted(right.values(), reverse=True)[:k]
        found = [right.get(id_, np.nan) for id_ in ids]
        fits = len(set(ids)) == len(ids) == len(scores) == len(best)
        for numbers in (found, scores):
            fits = fits and np.allclose(numbers, best, rtol=self.tolerance, atol=self.tolerance)
        assert fits, (
            f"{claim}, best first, with scores {best}; found were {list(ids)} with scores "
            f"{list(map(float, scores))}"
        )


def photo_of(rng: np.random.Generator, n_regions: int | None = None) -> Kept:
    """What may be kept of a photo; by default, it has 0 to 4 regions."""
    n = int(rng.integers(0, 5)) if n_regions is None else n_regions
    weights = rng.integers(1, 9, n).astype(np.float32) / 4
    return whole_numbers(rng, 1)[0], RegionVectors(whole_numbers(rng, n), weights)


def whole_numbers(rng: np.random.Generator, n: int) -> np.ndarray:
    """Rows (n, D) of small whole numbers as float32."""
    return rng.integers(-3, 4, (n, DIMENSION)).astype(np.float32)


def vector(*numbers: float) -> np.ndarray:
    """These numbers and zeros behind them, of shape (D,)."""
    return np.array([*numbers, *[0.0] * (DIMENSION - len(numbers))], np.float32)


def photo(*numbers: float) -> Kept:
    """A photo of which descriptor and only region are one vector."""
    return vector(*numbers), RegionVectors(vector(*numbers)[None], np.ones(1, np.float32))


def rows_of(photos: Mapping[str, Kept], regions: bool) -> tuple[list[str], np.ndarray, Any]:
    """What `upsert` takes."""
    descriptors = np.array([descriptor for descriptor, _ in photos.values()], np.float32)
    table = RegionTable.of([own for _, own in photos.values()], DIMENSION) if regions else None
    return list(photos), descriptors.reshape(-1, DIMENSION), table


def match_score(query: RegionVectors, own: RegionVectors) -> float | None:
    """The score of region matching by its definition; None of a photo without regions."""
    if not len(own):
        return None
    weights = np.ones(len(query)) if query.weights is None else np.asarray(query.weights, float)
    best = [max(float(vector @ region) for vector in own.vectors) for region in query.vectors]
    return float(np.average(best, weights=weights))


def same(mine: Any, right: Any, claim: str) -> None:
    """Whether numbers are the same."""
    assert np.array_equal(mine, right), f"{claim}; got {mine} instead of {right}"


def refusal(call: Callable[[], Any], kinds: Any, claim: str, names: Iterable[object] = ()) -> None:
    """Whether a call raises one of these errors, and what is expected and got is in its words."""
    try:
        call()
    except kinds as error:
        missing = [str(name) for name in names if str(name) not in str(error)]
        assert not missing, f"{claim}: the error does not say {', '.join(missing)}: {error}"
    except Exception as error:
        raise AssertionError(f"{claim}: it raised {error!r}") from error
    else:
        raise AssertionError(f"{claim}: it raised nothing")
