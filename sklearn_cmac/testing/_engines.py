"""What every engine must do, held against the exact one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from sklearn_cmac.collection import Engine, ExactEngine, RegionTable, Stamp
from sklearn_cmac.maps import RegionVectors

_DIMENSION = 12


def check_engine(make: Callable[..., Engine], tolerance: float = 1e-5) -> None:
    """Hold an engine against the exact one, as `sklearn.utils.estimator_checks` does estimators.

    Parameters
    ----------
    make : callable
        Makes an empty engine of a `Stamp`: ``make(stamp, None)``, as those in
        `sklearn_cmac.collection.ENGINES` do.
    tolerance : float, default=1e-5
        How far scores may be from the exact ones.

    Raises
    ------
    AssertionError
        That says what an engine must do and this one does not.

    Examples
    --------
    >>> from sklearn_cmac.collection import ExactEngine
    >>> from sklearn_cmac.testing import check_engine
    >>> check_engine(lambda stamp, folder: ExactEngine(stamp))
    """
    rng = np.random.default_rng(0)
    for regions in (False, True):
        stamp = Stamp("a pipeline", _DIMENSION, regions)
        engine, oracle = make(stamp, None), ExactEngine(stamp)
        _check_empty(engine, stamp)
        for each in (engine, oracle):
            _fill(each, np.random.default_rng(1), regions)
        _check_same(engine, oracle, rng, tolerance)
        _check_changes(engine, oracle, rng, regions, tolerance)
        engine.close()


def _unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    rows = rng.standard_normal(shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def _table(rng: np.random.Generator, n: int) -> RegionTable:
    photos = [
        RegionVectors(_unit(rng, count, _DIMENSION), rng.random(count).astype(np.float32) + 0.1)
        for count in rng.integers(1, 5, n)
    ]
    return RegionTable.of(photos, _DIMENSION)


def _fill(engine: Engine, rng: np.random.Generator, regions: bool) -> None:
    for start in (0, 20):
        ids = [f"photo {i}" for i in range(start, start + 20)]
        engine.upsert(ids, _unit(rng, 20, _DIMENSION), _table(rng, 20) if regions else None)


def _check_empty(engine: Engine, stamp: Stamp) -> None:
    assert engine.stamp == stamp, "an engine bears the stamp that it was made with"
    assert len(engine) == 0, "a new engine is empty"
    assert "photo 0" not in engine, "a new engine has no ids"
    ids, scores = engine.kneighbors(np.ones((1, _DIMENSION), np.float32), 3)
    assert ids.shape == scores.shape == (1, 0), "an empty engine finds nothing"
    other = replace(stamp, pipeline="another pipeline")
    try:
        engine.stamp.check(other, "engine")
    except ValueError as error:
        assert "a pipeline" in str(error), "a refusal names both pipelines"
        assert "another" in str(error), "a refusal names both pipelines"
    else:
        raise AssertionError("vectors of another pipeline are refused")


def _check_same(engine: Engine, oracle: Engine, rng: np.random.Generator, tolerance: float) -> None:
    """Whether the engine answers as the oracle does."""
    ids = [id_ for batch, _ in oracle.scan(7) for id_ in batch]
    assert len(engine) == len(oracle), "an engine knows how many ids there are"
    assert all(id_ in engine for id_ in ids), "an engine knows which ids there are"
    scanned = [id_ for batch, _ in engine.scan(7) for id_ in batch]
    assert sorted(scanned) == sorted(ids), "a scan passes over each id once"
    rows = engine.get(ids[::-1])
    assert rows.dtype == np.float32, "descriptors are float32"
    _close(rows, oracle.get(ids[::-1]), tolerance, "get gives descriptors in the order of ids")
    queries = _unit(rng, 3, _DIMENSION)
    for k in (1, 5, 1000):
        nearest = engine.kneighbors(queries, k), oracle.kneighbors(queries, k)
        for mine, exact in zip(*(zip(*hits) for hits in nearest)):
            _check_hits(mine, exact, tolerance, f"the {k} nearest are found, best first")
    if engine.stamp.regions:
        asked = [RegionVectors(_unit(rng, 3, _DIMENSION), rng.random(3) + 0.1) for _ in range(2)]
        some = [list(rng.permutation(ids)[:9]) for _ in asked]
        for k, candidates in ((4, some), (1000, some), (4, None)):
            found = zip(engine.match(asked, k, candidates), oracle.match(asked, k, candidates))
            for mine, exact in found:
                _check_hits(mine, exact, 1e-3, "region matching scores candidates, best first")
        one, other = engine.get_regions(ids[:3]), oracle.get_regions(ids[:3])
        assert (one.counts == other.counts).all(), "each photo has its regions"
        _close(one.vectors, other.vectors, 1e-3, "region vectors are kept in half precision")


def _check_changes(
    engine: Engine, oracle: Engine, rng: np.random.Generator, regions: bool, tolerance: float
) -> None:
    """Whether what is replaced, deleted, or added twice is."""
    ids, rows = ["photo 3", "photo 50"], _unit(rng, 2, _DIMENSION)
    table = _table(rng, 2) if regions else None
    for _ in range(2):
        engine.upsert(ids, rows, table)
        engine.delete(["photo 5", "photo 7", "nobody"])
    oracle.upsert(ids, rows, table)
    oracle.delete(["photo 5", "photo 7"])
    assert "photo 5" not in engine, "what is deleted is gone, and deleting again does nothing"
    _check_same(engine, oracle, rng, tolerance)
    try:
        engine.get(["photo 5"])
    except KeyError as error:
        assert "photo 5" in str(error), "a KeyError names the id"
    else:
        raise AssertionError("get of an id that is not there is a KeyError")


def _check_hits(mine: Any, exact: Any, tolerance: float, claim: str) -> None:
    assert len(mine[0]) == len(exact[0]) == len(mine[1]), f"{claim}: {len(mine[0])} ids"
    _close(mine[1], exact[1], tolerance, claim)
    right = dict(zip(*exact))
    wrong = [id_ for id_, score in zip(*mine) if abs(right.get(id_, 9) - score) > 2 * tolerance]
    assert not wrong, f"{claim}; these are others: {wrong}"


def _close(mine: np.ndarray, exact: np.ndarray, tolerance: float, claim: str) -> None:
    np.testing.assert_allclose(mine, exact, atol=tolerance, err_msg=claim)
