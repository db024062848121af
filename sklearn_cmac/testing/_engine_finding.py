"""Rules of what an engine finds: scores, ties, given ids, numbers and forms of queries, regions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sklearn_cmac.collection import ExactEngine, RegionTable
from sklearn_cmac.maps import RegionVectors
from sklearn_cmac.testing._engine_case import (
    DIMENSION,
    Case,
    photo,
    refusal,
    same,
    vector,
    whole_numbers,
)

# In the order of code points: capitals before small letters, digit by digit, and the last two
# the other way round in UTF-16.
SORTED_IDS = ("10", "9", "Zoo", "apple", "zoo", "\u00c4pfel", "\uff46", "\N{CLASSICAL BUILDING}")


def rule_scores(case: Case) -> None:
    """Scores are plain dot products, of vectors of any length."""
    photos = {"long": (3, 4), "short": (0.5,), "none": (), "against": (-1, 0)}
    case.put({id_: photo(*numbers) for id_, numbers in photos.items()})
    for query, right in (
        ((2, 1), {"long": 10, "short": 1, "none": 0, "against": -2}),
        ((-2, -1), {"against": 2, "none": 0, "short": -1, "long": -10}),
    ):
        claim = "scores are plain dot products, of vectors of any length, negative ones too"
        ids, scores = case.engine.kneighbors(vector(*query)[None], 4)
        case.check_hits((ids[0], scores[0]), right, 4, f"{claim}: all are found")
        assert scores.dtype == np.float32, f"scores are float32, not {scores.dtype}"
    claim = "vectors of zeros score 0 with all, and come back as zeros"
    case.put({"zeros": photo()})
    case.check(claim)
    ids, scores = case.engine.kneighbors(vector()[None], 9)
    assert ids.tolist() == [["against", "long", "none", "short", "zeros"]], f"{claim}: {ids}"
    same(scores, np.zeros((1, 5)), claim)


def rule_real_numbers(case: Case) -> None:
    """The nearest are those of the exact engine."""
    exact, rng = ExactEngine(case.engine.stamp), case.rng
    ids = [f"photo {i}" for i in range(200)]
    rows = _unit(rng, 200)
    counts = rng.integers(1, 5, 200)
    table = RegionTable.of([RegionVectors(_unit(rng, n), rng.random(n)) for n in counts], DIMENSION)
    for engine in (exact, case.engine):
        engine.upsert(ids, rows, table if case.regions else None)
    queries = _unit(rng, 20)
    right = exact.kneighbors(queries, 200)
    for k in (1, 10, 200):
        for i, hits in enumerate(zip(*case.engine.kneighbors(queries, k))):
            claim = f"the {k} nearest by numbers with fractions are found"
            _check_close(hits, dict(zip(right[0][i], right[1][i])), k, case.tolerance, claim)
    if case.regions:
        # Region vectors are in half precision.
        tolerance, asked = max(case.tolerance, 1e-3), [RegionVectors(_unit(rng, 3), rng.random(3))]
        ((best, scores),) = exact.match(asked, 200)
        ((found, mine),) = case.engine.match(asked, 10)
        claim = "the 10 best by region matching are found"
        _check_close((found, mine), dict(zip(best, scores)), 10, tolerance, claim)


def _unit(rng: np.random.Generator, n: int) -> np.ndarray:
    rows = rng.standard_normal((n, DIMENSION)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _check_close(
    hits: tuple, right: dict[str, float], k: int, tolerance: float, claim: str
) -> None:
    best = np.sort(list(right.values()))[::-1][:k]
    found = np.array([right.get(id_, np.nan) for id_ in hits[0]])
    for numbers in (found, hits[1]):
        # Two scores may each be off, so two ids may have changed places.
        fits = len(numbers) == len(best) and np.allclose(numbers, best, rtol=0, atol=2 * tolerance)
        assert fits, f"{claim}, with scores {best}; found were {hits}"


def rule_ties(case: Case) -> None:
    """Equal scores come in the order of ids as texts."""
    claim = "equal scores come in the order of ids as texts, code point by code point"
    ids = list(SORTED_IDS)
    for id_ in case.rng.permutation(ids):
        case.put({str(id_): photo(1, 1)})
    # Three writes, in which others are above and below, and equal scores of other vectors.
    others = {"best": photo(3, 0), "worst": photo(-1, 0), "Z": photo(2, 0)}
    case.put(others)
    right = ["best", *sorted([*ids, "Z"]), "worst"]
    queries = np.stack([vector(1, 1)] * 3)
    for k in range(1, 12):
        for found in case.engine.kneighbors(queries, k)[0]:
            assert found.tolist() == right[:k], f"{claim}: of {k}, found were {found.tolist()}"
    found = case.engine.kneighbors(queries[:1], 3, ["zoo", "apple", "Zoo", "10", "worst"])[0][0]
    assert found.tolist() == ["10", "Zoo", "apple"], f"{claim}, among given ids too: {found}"
    many = [f"{i:03}" for i in case.rng.permutation(300)]
    case.put({id_: photo(2, 2) for id_ in many})
    found = case.engine.kneighbors(queries, 7)[0]
    first = ["000", "001", "002", "003", "004", "005", "006"]
    assert found.tolist() == [first] * 3, f"{claim}: of 300, found were {found.tolist()}"
    if case.regions:
        for k in (7, 303):
            found = case.engine.match([RegionVectors(queries[:1])], k)[0][0]
            expected = [*sorted(many), *right][:k]
            assert found.tolist() == expected, f"{claim}, in region matching too: {found.tolist()}"


def rule_among(case: Case) -> None:
    """Among given ids, only those are found."""
    case.add(*(f"photo {i}" for i in range(30)))
    query = whole_numbers(case.rng, 2)
    some = [f"photo {i}" for i in (29, 3, 17, 8)]
    for claim, among in (
        ("among given ids, only those are found", some),
        ("unknown ids among those that may be found are passed over", [*some, "nobody"]),
        ("ids that may be found count once", [*some, *some]),
        ("ids that may be found may be an array", np.array(some)),
    ):
        for k in (1, 3, 10):
            ids, scores = case.engine.kneighbors(query, k, among)
            for i in range(2):
                right = {id_: float(case.kept[id_][0] @ query[i]) for id_ in some}
                case.check_hits((ids[i], scores[i]), right, k, f"{claim}: of {k}")
    for nothing in ([], ["nobody"]):
        ids, scores = case.engine.kneighbors(query, 3, nothing)
        assert ids.shape == scores.shape == (2, 0), f"among {nothing}, nothing is found: {ids}"


def rule_numbers_of_queries(case: Case) -> None:
    """k and the number of queries may be any, none too."""
    case.add(*(f"photo {i}" for i in range(25)))
    for n in (0, 1, 600):
        queries = whole_numbers(case.rng, n)
        for k in (0, 3, 1000):
            claim = f"ids and scores of {n} queries and k={k} have shape ({n}, {min(k, 25)})"
            ids, scores = case.engine.kneighbors(queries, k)
            assert ids.shape == scores.shape == (n, min(k, 25)), f"{claim}, not {ids.shape}"
            for query, *hits in zip(queries, ids, scores):
                right = {id_: float(kept @ query) for id_, (kept, _) in case.kept.items()}
                case.check_hits(hits, right, k, f"of {n} queries each finds the {k} nearest")
    if case.regions:
        assert not case.engine.match([], 3), "region matching of no queries finds nothing"
        ((ids, scores),) = case.engine.match([RegionVectors(whole_numbers(case.rng, 2))], 0)
        assert len(ids) == len(scores) == 0, "region matching with k=0 finds nothing"


def rule_forms_of_arrays(case: Case) -> None:
    """Arrays may have any number format and order, and queries must fit."""
    rows = whole_numbers(case.rng, 8)
    forms: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "float64": lambda rows: rows.astype(np.float64),
        "column by column": np.asfortranarray,
        "every other row of an array": lambda rows: np.repeat(rows, 2, axis=0)[::2],
        "read-only": lambda rows: np.frombuffer(rows.tobytes(), np.float32).reshape(rows.shape),
    }
    table = RegionTable.of([RegionVectors(rows[i : i + 1]) for i in range(8)], DIMENSION)
    for name, form in forms.items():
        ids = [f"{name} {i}" for i in range(8)]
        case.engine.upsert(ids, form(rows), table if case.regions else None)
        got = case.engine.get(ids)
        assert got.dtype == np.float32, f"descriptors are float32, not {got.dtype}"
        same(got, rows, f"descriptors may be {name}")
        queries = whole_numbers(case.rng, 4)
        for mine, right in zip(
            case.engine.kneighbors(form(queries), 6), case.engine.kneighbors(queries, 6)
        ):
            same(mine, right, f"queries may be {name}")
    for wrong in (DIMENSION - 1, DIMENSION + 1):
        refusal(
            lambda wrong=wrong: case.engine.kneighbors(np.ones((2, wrong)), 3),  # type: ignore[misc]
            ValueError,
            "queries of another dimension are refused: a ValueError says which is expected",
            [DIMENSION, wrong],
        )


def rule_weights(case: Case) -> None:
    """Regions of a query count by their share of its weights, those of photos alike."""
    if not case.regions:
        return
    ones = np.ones(2, np.float32)
    both, left = np.stack([vector(1), vector(0, 1)]), np.stack([vector(1), vector(-1, -1)])
    for id_, vectors, weights in (
        ("both", both, ones),
        ("both, weighted", both, np.array([0.25, 40], np.float32)),
        ("left", left, ones),
        ("none", both[:0], ones[:0]),
    ):
        case.put({id_: (vector(1), RegionVectors(vectors, weights))})
    for _ in range(2):
        case.check("weights of a photo's regions come back as they were given")
        for shares, right in ((None, 0.5), ((3, 1), 0.75), ((6, 2), 0.75), ((0, 5), 0.0)):
            given = None if shares is None else np.array(shares, np.float32)
            (hits,) = case.engine.match([RegionVectors(both, given)], 9)
            scores = {id_: float(score) for id_, score in zip(*hits)}
            assert abs(scores.get("left", 9) - right) <= case.tolerance, (
                "regions of a query count by their share of its weights: with weights "
                f"{shares}, the score is {right}, not {scores.get('left')}"
            )
            for id_ in ("both", "both, weighted"):
                assert abs(scores.get(id_, 9) - 1) <= case.tolerance, (
                    "weights of a photo's regions do not change its score: of "
                    f"{id_!r} it is 1, not {scores.get(id_)}"
                )
            assert "none" not in scores, "photos without regions are left out of region matching"
        case.reopen()


def rule_candidates(case: Case) -> None:
    """Region matching of candidates keeps their order where scores are equal."""
    if not case.regions:
        return
    equal = ["d", "a", "c", "b"]
    case.put({id_: photo(1) for id_ in equal})
    case.put({"best": photo(2), "empty": (vector(9), RegionVectors(np.empty((0, DIMENSION))))})
    query = RegionVectors(vector(1)[None])
    for k, candidates, right in (
        (9, equal, equal),
        (2, equal, equal[:2]),
        (9, equal[::-1], equal[::-1]),
        (3, ["b", "nobody", "empty", "a", "best"], ["best", "b", "a"]),
        (9, ["nobody", "empty"], []),
        (9, [], []),
    ):
        claim = (
            f"of candidates {candidates}, region matching finds {right}: equal scores in the order "
            "of candidates, and without those that are unknown or have no regions"
        )
        ids, scores = case.engine.match([query, query], k, [["best"], candidates])[1]
        assert list(ids) == right, f"{claim}; it found {list(ids)}"
        assert len(scores) == len(right), f"{claim}; it gave {len(scores)} scores"
    for k in (9, 3):
        ((ids, _),) = case.engine.match([query], k)
        assert list(ids) == ["best", "a", "b", "c", "d"][:k], (
            "without candidates, region matching ranks all that have regions, equal scores in the "
            f"order of ids; it found {list(ids)}"
        )


RULES = (
    rule_real_numbers,
    rule_ties,
    rule_among,
    rule_numbers_of_queries,
    rule_forms_of_arrays,
    rule_weights,
    rule_candidates,
)
