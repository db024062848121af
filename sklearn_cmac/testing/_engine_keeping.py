"""Rules of what an engine keeps: ids, what is added, replaced, refused and deleted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sklearn_cmac.collection import RegionTable
from sklearn_cmac.maps import RegionVectors
from sklearn_cmac.testing._engine_case import (
    DIMENSION,
    Case,
    photo_of,
    refusal,
    rows_of,
    same,
    whole_numbers,
)

ODD_IDS = (
    "",
    "photo",
    "Photo",
    " photo",
    "photo ",
    "a/b",
    "a\\b",
    "../a",
    "..",
    "100%",
    "%20",
    "it's",
    'a "quote"',
    "two words",
    "two\nlines",
    "two\r\nlines",
    "caf\u00e9",
    "cafe\u0301",
    "\N{CLASSICAL BUILDING}",
    "x" * 1000,
    "x" * 999 + "y",
)


def rule_empty(case: Case) -> None:
    """A new engine is empty."""
    assert len(case.engine) == 0, "a new engine is empty"
    assert "photo" not in case.engine, "a new engine has no ids"
    assert list(case.engine.scan()) == [] or not any(len(ids) for ids, _ in case.engine.scan()), (
        "a scan of a new engine passes over nothing"
    )
    hits = case.engine.kneighbors(whole_numbers(case.rng, 2), 3)
    assert [part.shape for part in hits] == [(2, 0), (2, 0)], (
        "a new engine finds nothing: ids and scores of shape (n_queries, 0)"
    )


def rule_ids(case: Case) -> None:
    """Ids are any texts, all different, and come back as they were given."""
    claim = "ids are any texts, all different, and come back as they were given"
    # No two are the same, and each is nearest to itself.
    codes = {
        id_: np.array([1 if i >> bit & 1 else -1 for bit in range(DIMENSION)], np.float32)
        for i, id_ in enumerate(ODD_IDS)
    }
    case.put({id_: (code, photo_of(case.rng)[1]) for id_, code in codes.items()})
    for _ in range(2):
        case.check(claim)
        for id_, code in codes.items():
            detail = f"{claim}: of {id_[:20]!r}"
            for among in (None, [id_]):
                ids, scores = case.engine.kneighbors(code[None], 1, among)
                found = ids[0, 0], float(scores[0, 0])
                assert found == (id_, DIMENSION), f"{detail}, found was {found[0]!r}"
            same(case.engine.get([id_])[0], code, detail)
        case.reopen()
    for id_ in ODD_IDS:
        case.delete(id_)
        assert id_ not in case.engine, f"{claim}: {id_[:20]!r} was deleted, and is there"
        assert len(case.engine) == len(case.kept), (
            f"{claim}: when {id_[:20]!r} was deleted, others went too"
        )


def rule_repeated(case: Case) -> None:
    """An upsert of the same again leaves one of each id."""
    photos = {f"photo {i}": photo_of(case.rng) for i in range(9)}
    for _ in range(3):
        case.put(photos)
        case.check("an upsert of the same again leaves one of each id")
    case.put({})
    case.check("an upsert of no ids changes nothing")


def rule_small_writes(case: Case) -> None:
    """The first search after a write knows of it."""
    for i in range(20):
        case.add(*(f"photo {j}" for j in range(i, i + 1 + i % 3)))
        if i % 5 == 4:
            case.delete(f"photo {i - 2}")
        query = whole_numbers(case.rng, 1)
        right = {id_: float(kept @ query[0]) for id_, (kept, _) in case.kept.items()}
        ids, scores = case.engine.kneighbors(query, 5)
        claim = "the first search after a write knows of it: the 5 nearest are found"
        case.check_hits((ids[0], scores[0]), right, 5, claim)


def rule_replaced(case: Case) -> None:
    """An upsert replaces the descriptor and all regions of an id."""
    case.add(*(f"photo {i}" for i in range(9)))
    for n_regions in (4, 1, 0, 5):
        photos = {f"photo {i}": photo_of(case.rng, n_regions) for i in (2, 3, 7)}
        case.put({**photos, f"new with {n_regions}": photo_of(case.rng)})
        case.check("an upsert replaces the descriptor and all regions of an id")
    case.reopen()
    case.check("an upsert replaces the descriptor and all regions of an id")


def rule_copies(case: Case) -> None:
    """An engine keeps copies of what it is given."""
    photos = {f"photo {i}": photo_of(case.rng) for i in range(5)}
    ids, descriptors, table = rows_of(photos, case.regions)
    case.engine.upsert(ids, descriptors, table)
    descriptors[:] = 0
    case.kept = dict(photos)
    case.check("an engine keeps what it was given, whatever becomes of the given arrays")
    got = case.engine.get(ids)
    if got.flags.writeable:
        got[:] = 0
    case.check("an engine keeps what it was given, whatever becomes of what get returned")


def rule_refused(case: Case) -> None:
    """What does not fit is refused as a whole."""
    case.add("photo 0", "photo 1", "photo 2")
    for claim, call, names in _misfits(case):
        refusal(call, ValueError, claim, names)
        case.check(f"{claim}, and nothing is changed")


def _misfits(case: Case) -> list[tuple[str, Callable[[], None], list[object]]]:
    """Upserts that must fail: why, the call, and what its error says."""
    ids, n = ["photo 1", "photo 5"], DIMENSION

    def upsert(shape: tuple[int, ...], table: RegionTable | None, *ids: str) -> Callable[[], None]:
        return lambda: case.engine.upsert(list(ids), np.ones(shape, np.float32), table)

    def table(n_photos: int, dimension: int = n) -> RegionTable:
        return RegionTable.of([RegionVectors(np.ones((2, dimension)))] * n_photos, dimension)

    fits = table(2) if case.regions else None
    size = "descriptors of another dimension are refused: a ValueError says which is expected"
    count = "as many descriptors as ids are needed: a ValueError says how many there are"
    found: list[tuple[str, Callable[[], None], list[object]]] = [
        (size, upsert((2, n + 1), fits, *ids), [n, n + 1]),
        (size, upsert((2, n - 1), fits, *ids), [n, n - 1]),
        (count, upsert((3, n), fits, *ids), [2, 3]),
        (count, upsert((1, n), fits, *ids), [2, 1]),
        (
            "an upsert with an id twice is refused with a ValueError",
            upsert((2, n), fits, "photo 1", "photo 1"),
            [],
        ),
    ]
    if not case.regions:
        claim = "regions are refused where none are kept: a ValueError says so"
        return [*found, (claim, upsert((2, n), table(2), *ids), ["region"])]
    count = "regions of as many photos as ids are needed: a ValueError says how many there are"
    size = "regions of another dimension are refused: a ValueError says which is expected"
    claim = "regions are needed where they are kept: a ValueError says so"
    return [
        *found,
        (claim, upsert((2, n), None, *ids), ["region"]),
        (count, upsert((2, n), table(3), *ids), [2, 3]),
        (count, upsert((2, n), table(1), *ids), [2, 1]),
        (size, upsert((2, n), table(2, n - 1), *ids), [n, n - 1]),
    ]


def rule_deleted(case: Case) -> None:
    """What was deleted is not found, and can be added again."""
    claim = "what was deleted is not found"
    case.add(*(f"photo {i}" for i in range(9)))
    gone = ["photo 0", "photo 4", "photo 8"]
    case.delete(*gone)
    for _ in range(2):
        assert not [id_ for id_ in gone if id_ in case.engine], f"{claim}: it is still there"
        case.check(claim)
        for method in [case.engine.get, *([case.engine.get_regions] if case.regions else [])]:
            refusal(
                lambda method=method: method(["photo 1", "photo 4"]),  # type: ignore[misc]
                KeyError,
                "get of an id that is not there is a KeyError that names it",
                ["photo 4"],
            )
        query = whole_numbers(case.rng, 1)
        ids, _ = case.engine.kneighbors(query, 5, ["photo 4", "photo 1", "photo 8"])
        assert ids.tolist() == [["photo 1"]], f"{claim}, among given ids neither: {ids.tolist()}"
        if case.regions:
            ((ids, _),) = case.engine.match([RegionVectors(query)], 5, [gone])
            assert len(ids) == 0, f"{claim}, among candidates neither: {ids.tolist()}"
        case.reopen()
    case.delete("photo 4", "nobody")
    case.delete()
    case.check("to delete what is not there does nothing")
    case.add("photo 4", "photo 10")
    case.check("what was deleted can be added again")
    case.delete(*list(case.kept))
    case.reopen()
    case.check("when all ids are deleted, nothing is found")


def rule_scan(case: Case) -> None:
    """A scan passes over each id once, in batches of any size."""
    case.add(*(f"photo {i}" for i in range(23)))
    case.delete("photo 3", "photo 11")
    case.add("photo 7")
    for size in (1, 2, 7, 21, 1000):
        claim = f"a scan in batches of {size} passes over each id once, with its descriptor"
        found: dict[str, np.ndarray] = {}
        for ids, rows in case.engine.scan(size):
            assert len(ids) == len(rows) <= size, f"{claim}: {len(ids)} ids, {len(rows)} rows"
            assert not found.keys() & set(ids), f"{claim}: some came twice"
            found.update(zip(ids, rows))
        assert found.keys() == case.kept.keys(), f"{claim}: {len(found)} of {len(case.kept)} came"
        for id_, row in found.items():
            same(row, case.kept[id_][0], f"{claim}: of {id_}")


RULES = (
    rule_empty,
    rule_ids,
    rule_repeated,
    rule_small_writes,
    rule_replaced,
    rule_copies,
    rule_refused,
    rule_deleted,
    rule_scan,
)
