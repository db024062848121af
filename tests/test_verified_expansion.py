"""Verified expansion: rankings by hand, from photos of which it is known what agrees in them."""

import itertools
import warnings
from hashlib import sha256

import numpy as np
import pytest
from light import make_light
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator

from sklearn_cmac import LocalFeatures, PhotoError, Query, RegionVectors
from sklearn_cmac.collection import ExactEngine, RegionTable, Stamp
from sklearn_cmac.reranking import make_chain
from sklearn_cmac.reranking._step import search_again
from sklearn_cmac.search import (
    CandidateNeighbors,
    Collection,
    DescribedQuery,
    Localization,
    QueryExpansion,
    RankedList,
    RegionMatching,
    RerankingStep,
    Retriever,
    SpatialVerification,
    VerifiedExpansion,
    same_object_probability,
)
from sklearn_cmac.testing import check_reranking_step

SIFT = "SIFT, ratio"

pytestmark = pytest.mark.filterwarnings("ignore:whitening")


class Known(RerankingStep):
    """Takes the place of verification: knows how probable photos are, by their names."""

    needs = frozenset({"photos"})
    _parameter_constraints: dict = {"scores": [dict], "n_candidates": "no_validation"}
    compared: list = []

    def __init__(self, scores, n_candidates=100):
        self.scores = scores
        self.n_candidates = n_candidates

    def rerank(self, queries, rankings, collection, prepared):
        found = []
        for query, ranked in zip(queries, rankings, strict=True):
            names = [collection.name(id_) for id_ in ranked.ids]
            self.compared.append((query.name, names))
            scores = np.array([self.scores.get(name, 0) for name in names], float)
            found.append(ranked.resorted(scores, stay=np.isnan(scores)))
        return found


@pytest.fixture
def compared(monkeypatch):
    """For each query in each round, the photos that it was compared with."""
    monkeypatch.setattr(Known, "compared", [])
    return Known.compared


def collection(descriptors, photos=None):
    names = list(descriptors)
    engine = ExactEngine(Stamp("none", len(descriptors[names[0]])))
    engine.upsert(names, np.array(list(descriptors.values()), np.float32))
    return Collection(photos or names, names, names, engine)


def at(degrees):
    return np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))


def ask(step, photos, descriptor=(1.0, 0.0), given=None, **kwargs):
    """The ranking behind a step, of all photos by descriptors if none is given."""
    query = DescribedQuery("query", np.array(descriptor, np.float32), **kwargs)
    if given is None:
        (given,) = search_again(photos.engine, [query], query.descriptor[None], len(photos.engine))
    (ranked,) = step.rerank([query], [given], photos, step.prepare(photos, None))
    return ranked


# -- by hand ----------------------------------------------------------------------------------

PHOTOS = {"a": (0.8, 0.6, 0), "b": (0.6, 0.8, 0), "c": (0.7, 0, 0.51**0.5), "d": (0, 1, 0)}
QUERY = (1.0, 0.0, 0.0)


def test_a_verified_photo_is_added_by_its_probability_and_all_photos_are_ranked_anew():
    """Before, c is more like the query than b."""
    ranked = ask(VerifiedExpansion(Known({"a": 0.5}), n_rounds=1), collection(PHOTOS), QUERY)
    # (1, 0, 0) + 0.5 (0.8, 0.6, 0) = (1.4, 0.3, 0), whose length is the root of 2.05.
    length = 2.05**0.5
    np.testing.assert_allclose(ranked.query, [1.4 / length, 0.3 / length, 0], rtol=1e-6)
    assert ranked.ids.tolist() == ["a", "b", "c", "d"]
    # Products with b, c and d are 1.08, 0.98 and 0.3, over that length.
    np.testing.assert_allclose(ranked.scores, [0.5, 0, -0.1 / length, -0.78 / length], atol=1e-6)


def test_the_photo_that_a_box_is_in_adds_nothing_to_the_query():
    """It is found, and first; what is around the object does not come in with it."""
    content = b"of a file"
    own = sha256(content).hexdigest()
    photos = collection({own: (0, 0.6, 0.8), **PHOTOS})
    query = Query(content, (0, 0, 9, 9))
    ranked = ask(VerifiedExpansion(Known({own: 1, "a": 0.5})), photos, QUERY, photo=query)
    np.testing.assert_allclose(ranked.query, np.array([1.4, 0.3, 0]) / 2.05**0.5, rtol=1e-6)
    assert ranked.ids.tolist()[:3] == [own, "a", "b"]
    alone = ask(VerifiedExpansion(Known({own: 1})), photos, QUERY, photo=query)
    assert alone.query.tolist() == [1, 0, 0]
    assert alone.ids.tolist()[:2] == [own, "a"]


def test_verified_photos_come_first_by_probability_and_equal_ones_as_they_were_found():
    step = VerifiedExpansion(Known({"d": 0.9, "c": 0.6, "b": 0.6}))
    ranked = ask(step, collection(PHOTOS), QUERY)
    assert ranked.ids.tolist() == ["d", "b", "c", "a"]
    np.testing.assert_allclose(ranked.scores[:3], [0.9, 0.6, 0.6])


CHAIN = {"x": at(30), "y": at(-50), "z": at(65)}


def test_the_second_round_verifies_what_the_first_has_brought_up(compared):
    """Of two candidates z is none, until x has turned the query by 15 degrees."""
    verifier = Known({"x": 1, "z": 0.4}, n_candidates=2)
    one = ask(VerifiedExpansion(verifier, n_rounds=1), collection(CHAIN))
    assert one.ids.tolist() == ["x", "z", "y"]
    np.testing.assert_allclose(one.scores, [1, 0, at(65)[0] - at(50)[0]], atol=1e-6)
    assert compared == [("query", ["x", "y"])]
    compared.clear()
    two = ask(VerifiedExpansion(verifier), collection(CHAIN))
    assert two.ids.tolist() == ["x", "z", "y"]
    assert two.scores[:2].tolist() == [1, 0.4]
    summed = np.array(at(0)) + at(30) + 0.4 * np.array(at(65))
    np.testing.assert_allclose(two.query, summed / np.linalg.norm(summed), rtol=1e-6)
    assert compared == [("query", ["x", "y"]), ("query", ["z"])]


def test_rounds_end_when_there_is_nothing_new(compared):
    ask(VerifiedExpansion(Known({"x": 1, "z": 0.4}), n_rounds=9), collection(CHAIN))
    assert sorted(photo for _, names in compared for photo in names) == ["x", "y", "z"]


def test_queries_that_stand_still_are_not_asked_about_again(compared):
    """And each goes its own way."""
    step = VerifiedExpansion(Known({"x": 1, "z": 0.4}, n_candidates=1))
    photos = collection({**CHAIN, "far": at(180)})
    descriptors = np.array([at(0), at(180), at(31)], np.float32)
    queries = [DescribedQuery(str(i), row) for i, row in enumerate(descriptors)]
    given = search_again(photos.engine, queries, descriptors, 4)
    found = step.rerank(queries, given, photos, [None])
    assert compared == [("0", ["x"]), ("1", ["far"]), ("2", ["x"])]
    assert [ranked.ids[0] for ranked in found] == ["x", "far", "x"]
    assert found[1].scores[0] == 0


def test_a_query_of_which_nothing_is_verified_keeps_its_ranking():
    windows = np.eye(2)
    given = RankedList(np.array(["z", "y", "x"]), np.array([3.0, 2, 1]), np.ones(2), windows)
    ranked = ask(VerifiedExpansion(Known({})), collection(CHAIN), given=given)
    assert ranked.ids.tolist() == ["z", "y", "x"]
    assert ranked.scores.tolist() == [0, -1, -2]
    assert ranked.windows is windows


def test_a_verified_photo_stays_though_the_last_search_does_not_reach_it():
    """A step before has brought it up, and it turns the query little."""
    photos = collection({"a": at(10), "b": at(12), "far": at(80)})
    given = RankedList(
        np.array(["far", "b"]), np.array([9.0, 8]), np.array([1.0, 0]), searched=True
    )
    ranked = ask(VerifiedExpansion(Known({"far": 0.1})), photos, given=given)
    assert ranked.ids.tolist() == ["far", "a"]


def test_a_photo_that_must_not_be_found_is_not_brought_up(compared):
    photos = collection(CHAIN)
    given = RankedList(np.array(["x", "y"]), np.array([0.9, 0.6]), np.array([1.0, 0]))
    step = VerifiedExpansion(Known({"x": 1, "z": 0.4}))
    ranked = ask(step, photos, given=given, exclude="z")
    assert ranked.ids.tolist() == ["x", "y"]
    assert all("z" not in names for _, names in compared)


# -- the order of the rest ----------------------------------------------------------------------

FIVE = {**CHAIN, "near": at(20), "far": at(180)}


def sorted_before(*ids):
    """As a step has left it, not the search."""
    return RankedList(np.array(ids, object), np.arange(len(ids), 0, -1.0), np.array(at(0)))


def test_the_rest_keeps_the_order_that_steps_before_have_made():
    """By the expanded query, at 15 degrees, z is before y and far the last."""
    given = sorted_before("far", "y", "x", "z", "near")
    ranked = ask(VerifiedExpansion(Known({"x": 1})), collection(FIVE), given=given)
    assert ranked.ids.tolist() == ["x", "far", "y", "z", "near"]
    assert ranked.scores.tolist() == [1, 0, -1, -3, -4]
    np.testing.assert_allclose(ranked.query, at(15), rtol=1e-6)


def test_photos_that_are_new_come_in_at_the_rank_of_the_expanded_search():
    """That finds near, x and z; far is first by the steps before, and near first by this."""
    given = sorted_before("far", "y", "x")
    ranked = ask(VerifiedExpansion(Known({"x": 1})), collection(FIVE), given=given)
    assert ranked.ids.tolist() == ["x", "far", "near"]


def test_what_the_expanded_search_finds_is_verified_though_the_rest_keeps_its_order(compared):
    given = sorted_before("x", "far", "y", "z", "near")
    verifier = Known({"x": 1, "z": 0.4}, n_candidates=3)
    ranked = ask(VerifiedExpansion(verifier), collection(FIVE), given=given)
    assert compared == [("query", ["x", "far", "y"]), ("query", ["near", "z"])]
    assert ranked.ids.tolist() == ["x", "z", "far", "y", "near"]


class Backwards(RerankingStep):
    """Turns all rankings round."""

    asked: list = []

    def rerank(self, queries, rankings, collection, prepared):
        self.asked.extend(queries)
        assert prepared == "prepared"
        return [ranked.resorted(-ranked.scores) for ranked in rankings]

    def prepare(self, collection, pipeline):
        return "prepared"


def test_each_search_passes_through_the_steps_the_first_one_too(compared):
    """Backwards, z is first; by x and z the order is x, z, y, and backwards y, z, x."""
    step = VerifiedExpansion(Known({"z": 1}, n_candidates=1), steps=[("turn", Backwards())])
    ranked = ask(step, collection(CHAIN))
    assert compared == [("query", ["z"]), ("query", ["y"])]
    assert ranked.ids.tolist() == ["z", "y", "x"]
    ranked = ask(step.set_params(turn=None), collection(CHAIN))
    assert compared[2:] == [("query", ["x"])]
    assert ranked.ids.tolist() == ["x", "y", "z"]


def test_where_nothing_is_verified_the_order_of_the_steps_is_kept():
    step = VerifiedExpansion(Known({}), steps=[("turn", Backwards())])
    assert ask(step, collection(CHAIN)).ids.tolist() == ["z", "y", "x"]


def test_steps_see_the_regions_of_all_that_is_searched_with(monkeypatch):
    """Those of the query count 1 together, and those of a photo its probability."""
    monkeypatch.setattr(Backwards, "asked", [])
    monkeypatch.setattr(Backwards, "needs", frozenset({"regions"}))
    engine = ExactEngine(Stamp("none", 2, regions=True))
    regions = [RegionVectors(np.eye(2), np.array([1.0, 1.0])), RegionVectors(np.eye(2)[:1])]
    engine.upsert(["a", "b"], np.eye(2, dtype=np.float32), RegionTable.of(regions, 2))
    photos = Collection(["a", "b"], ["a", "b"], ["a", "b"], engine)
    step = VerifiedExpansion(Known({"a": 0.5}), n_rounds=1, steps=[("turn", Backwards())])
    mine = RegionVectors(np.array([[0.6, 0.8], [0.8, 0.6]]), np.array([3.0, 1.0]))
    ask(step, photos, regions=mine)
    before, after = (query.regions for query in Backwards.asked)
    assert before is mine
    np.testing.assert_allclose(after.vectors, [[0.6, 0.8], [0.8, 0.6], [1, 0], [0, 1]])
    np.testing.assert_allclose(after.weights, [0.75, 0.25, 0.25, 0.25])


# -- photos that cannot be looked at ----------------------------------------------------------


def test_a_photo_that_cannot_be_looked_at_keeps_its_rank_and_is_tried_once(compared):
    scores = {"a": 0.09, "b": np.nan, "c": 0.6, "d": 0.2}
    ranked = ask(VerifiedExpansion(Known(scores), n_rounds=3), collection(PHOTOS), QUERY)
    # (1, 0, 0) + 0.6 c + 0.2 d + 0.09 a: a product of 1.21 with a, 1.15 with b, 1.45 with c.
    assert ranked.ids.tolist() == ["c", "d", "b", "a"]
    assert len(compared) == 1


class Planted(BaseEstimator):
    """Takes the place of the extractor: photos are local features already, but one is gone."""

    def transform(self, X):
        if "gone.jpg" in X:
            raise PhotoError("gone.jpg: is not there any more.")
        return list(X)


def test_with_spatial_verification_behind_it_the_warning_names_the_photo_once(rng):
    places, descriptors = rng.uniform(0, 100, (40, 2)), np.eye(40)
    query, x, z = (
        LocalFeatures(places[:n], descriptors[:n], f"{n}", (100, 100)) for n in (40, 30, 20)
    )
    y = LocalFeatures(places[::-1], descriptors, "other places", (100, 100))
    photos = collection({**CHAIN, "gone": at(40)}, [x, y, z, "gone.jpg"])
    step = VerifiedExpansion(SpatialVerification(Planted()))
    with pytest.warns(UserWarning, match=r"gone\.jpg: is not there.*It keeps its rank") as told:
        ranked = ask(step, photos, photo=query)
    assert len(told) == 1
    assert ranked.ids.tolist() == ["x", "gone", "z", "y"]
    np.testing.assert_allclose(ranked.scores[[0, 2]], same_object_probability([30, 20], SIFT))
    step.set_params(verifier__min_inliers=25)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ranked = ask(step, photos, photo=query)
    assert ranked.ids[0] == "x"
    assert ranked.scores[0] == pytest.approx(same_object_probability(30, SIFT))
    assert np.nanmax(ranked.scores[1:]) == 0


# -- beside others ----------------------------------------------------------------------------


def test_it_passes_the_checks():
    """Whatever is verified, the query's own photo too, and with few candidates."""
    names = {"photo 0": 0.99, "photo 3": 0.9, "photo 5": 0.6}
    for verifier in (Known(names), Known(names, 2), Known({"photo 6": np.nan, **names}), Known({})):
        for steps in ([], [("match", RegionMatching()), ("near", CandidateNeighbors())]):
            check_reranking_step(VerifiedExpansion(verifier, steps=steps))


def test_parameters_of_the_verifier_have_paths_and_are_checked():
    retriever = Retriever(
        FrozenEstimator(make_light(regions=False)),
        [("expand", VerifiedExpansion(SpatialVerification()))],
    )
    retriever.set_params(expand__verifier__min_inliers=12, expand__n_rounds=1).fit([])
    assert clone(retriever)["expand"].verifier.min_inliers == 12
    assert VerifiedExpansion(SpatialVerification(n_candidates=7)).depth == 7
    assert VerifiedExpansion(RegionMatching()).needs == {"regions"}
    steps = [("match", RegionMatching(50)), ("near", CandidateNeighbors())]
    retriever.set_params(expand__steps=steps, expand__near__n_seeds=5).fit([])
    assert retriever["expand"].steps[1][1].n_seeds == 5
    assert (retriever["expand"].needs, retriever["expand"].depth) == ({"regions", "photos"}, 100)
    with pytest.raises(ValueError, match="min_inliers"):
        retriever.set_params(expand__verifier__min_inliers=0).fit([])
    retriever.set_params(expand__verifier__min_inliers=9)
    with pytest.raises(ValueError, match="n_seeds"):
        retriever.set_params(expand__near__n_seeds=0).fit([])
    with pytest.raises(TypeError, match="VerifiedExpansion has a LocalFeatures"):
        retriever.set_params(expand__near=LocalFeatures(np.eye(2), np.eye(2))).fit([])
    with pytest.raises(ValueError, match="n_rounds"):
        Retriever(make_light(), [("expand", VerifiedExpansion(n_rounds=0))]).fit([])


def test_by_its_name_it_shows_progress_where_verification_does():
    steps, _ = make_chain("matching", "verified", verbose=True)
    assert dict(steps)["expand"].verifier.verbose is True


@pytest.mark.parametrize(
    "others",
    [*itertools.permutations([RegionMatching(6), CandidateNeighbors(n_candidates=6)])],
    ids=["matching, neighbors", "neighbors, matching"],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_it_goes_with_other_steps_in_any_order(others, place, rng, compared):
    photos = list(rng.integers(0, 255, (8, 24, 32, 3)).astype(np.uint8))
    retriever = Retriever(FrozenEstimator(make_light(regions=False)))
    names = retriever.fit([]).describe(photos).names
    expand = VerifiedExpansion(Known({names[7]: 0.9, names[2]: 0.7}))
    steps = [*others[:place], expand, *others[place:]]
    retriever.set_params(steps=[(str(i), step) for i, step in enumerate(steps)]).fit([])
    (ranked,) = retriever.rank(photos[:1], photos)
    assert sorted(ranked.order) == list(range(8))
    if place == 2:
        assert ranked.order[:2].tolist() == [7, 2]
    plain = Retriever(FrozenEstimator(make_light(regions=False))).fit([]).rank(photos[:1], photos)
    assert not np.allclose(ranked.query, plain[0].query)


@pytest.mark.parametrize("other", [Localization(), QueryExpansion(2)])
def test_it_goes_on_from_what_a_step_before_has_searched_with(other, rng, compared):
    photos = list(rng.integers(0, 255, (6, 24, 32, 3)).astype(np.uint8))
    retriever = Retriever(FrozenEstimator(make_light(regions=False)), [("other", other)]).fit([])
    described = retriever.describe(photos)
    (before,) = retriever.rank(photos[:1], described)
    retriever.set_params(
        steps=[("other", other), ("expand", VerifiedExpansion(Known({described.names[4]: 1.0})))]
    ).fit([])
    (ranked,) = retriever.rank(photos[:1], described)
    summed = before.query + described.descriptors()[1][4]
    np.testing.assert_allclose(ranked.query, summed / np.linalg.norm(summed), rtol=1e-5)
    assert ranked.order[0] == 4
    assert sorted(ranked.order) == list(range(6))
