"""Photos that verification links: edges of graphs, and what is averaged. By hand."""

import numpy as np
import pytest
from light import make_light
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator

from sklearn_cmac import LocalFeatures, Photo, PhotoError, RegionVectors
from sklearn_cmac.collection import ExactEngine, RegionTable, Stamp
from sklearn_cmac.search import (
    CandidateNeighbors,
    Collection,
    DatabaseAugmentation,
    DescribedQuery,
    RankedList,
    RetrievalIndex,
    Retriever,
    SpatialVerification,
    same_object_probability,
)

SIFT = "SIFT, ratio"


class Known(BaseEstimator):
    """Takes the place of verification: knows which photos are linked, by their ids."""

    compared: list = []

    def __init__(self, links=()):
        self.links = links

    def probabilities_among(self, ids, others, collection):
        self.compared.extend((one, other) for one, row in zip(ids, others) for other in row)
        return [
            np.array([0.9 * ({one, other} in self.links) for other in row], float)
            for one, row in zip(ids, others)
        ]


@pytest.fixture
def compared(monkeypatch):
    monkeypatch.setattr(Known, "compared", [])
    return Known.compared


def at(degrees):
    return np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))


PHOTOS = {"a": at(0), "b": at(20), "c": at(30), "d": at(100)}


def collection(photos=None):
    engine = ExactEngine(Stamp("none", 2))
    engine.upsert(list(PHOTOS), np.array(list(PHOTOS.values()), np.float32))
    return Collection(photos or list(PHOTOS), list(PHOTOS), list(PHOTOS), engine)


# -- augmentation -----------------------------------------------------------------------------


def test_a_photo_is_averaged_with_those_of_its_nearest_that_are_linked(compared):
    """a with c, b with none; d is linked to a, but a is not among its two nearest."""
    photos = collection()
    step = DatabaseAugmentation(2, verifier=Known([{"a", "c"}, {"d", "a"}]))
    augmented = step.augment(photos.engine, photos)
    expected = np.array([at(15), at(20), at(15), at(100)])
    np.testing.assert_allclose(augmented.get(list(PHOTOS)), expected, atol=1e-6)
    assert len(compared) == len({frozenset(pair) for pair in compared}) == 5


def test_linked_neighbors_weigh_by_their_similarity_if_asked_to():
    photos = collection()
    step = DatabaseAugmentation(3, alpha=2, verifier=Known([{"a", "b"}]))
    summed = np.array(at(0)) + at(20)[0] ** 2 * np.array(at(20))
    found = step.augment(photos.engine, photos).get(["a"])[0]
    np.testing.assert_allclose(found, summed / np.linalg.norm(summed), rtol=1e-6)


def test_without_links_nothing_changes_and_without_photos_there_is_an_error():
    photos = collection()
    step = DatabaseAugmentation(2, verifier=Known())
    np.testing.assert_allclose(
        step.augment(photos.engine, photos).get(list(PHOTOS)), list(PHOTOS.values()), rtol=1e-6
    )
    with pytest.raises(ValueError, match=r"augment\(engine, photos\)"):
        step.augment(photos.engine)


class Places(BaseEstimator):
    """Photos are local features, whose first place is described too."""

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        return np.array([at(photo.positions[0, 0]) for photo in X], np.float32)


class Planted(BaseEstimator):
    """Takes the place of the extractor: photos are local features already, but some are gone."""

    gone: tuple = ()

    def transform(self, X):
        for photo in X:
            if photo.name in self.gone:
                raise PhotoError(f"{photo.name}: is not there any more.")
        return list(X)


@pytest.fixture
def photos(rng):
    """a and c show the same; b is nearer to a, and d to c."""
    places = rng.uniform(0, 100, (30, 2))
    found = []
    for name, first, agree in (("a", 0, 1), ("b", 10, 0), ("c", 25, 1), ("d", 40, 0)):
        mine = places + 7 if agree else rng.uniform(0, 100, (30, 2))
        mine = np.concatenate([[[first, 0]], mine[1:]])
        found.append(LocalFeatures(mine, np.eye(30), name, (100, 100)))
    return found


def test_a_retriever_hands_its_photos_to_the_augmentation(photos):
    augmentation = DatabaseAugmentation(3, verifier=SpatialVerification(Planted()))
    retriever = Retriever(FrozenEstimator(Places().fit([])), augmentation=augmentation).fit([])
    # a and c are the same photo now, at 12.5 degrees.
    assert retriever.rank([photos[0]], photos)[0].order[[0, 3]].tolist() == [1, 3]
    retriever.set_params(augmentation__verifier__min_inliers=40)
    assert retriever.rank([photos[0]], photos)[0].order.tolist() == [0, 1, 2, 3]
    assert clone(retriever).augmentation.verifier.min_inliers == 40


def test_photos_of_an_index_are_augmented_as_any(rng):
    """It once said that an index is no dataclass."""
    pixels = list(rng.integers(0, 255, (6, 24, 32, 3)).astype(np.uint8))
    pipeline = FrozenEstimator(make_light(regions=False))
    retriever = Retriever(pipeline, augmentation=DatabaseAugmentation(2)).fit([])
    (ranked,) = retriever.rank(pixels[:1], pixels)
    index = RetrievalIndex(retriever)
    index.add([Photo(picture, name=str(i)) for i, picture in enumerate(pixels)])
    found = index.search(pixels[0], 6)
    assert [result.name for result in found] == [str(i) for i in ranked.order]
    np.testing.assert_allclose([result.score for result in found], ranked.scores, rtol=1e-5)


# -- probabilities ----------------------------------------------------------------------------


def test_photos_of_a_collection_are_compared_with_others_of_it(photos):
    step = SpatialVerification(Planted())
    found = step.probabilities_among(["a", "b"], [["c", "b"], []], collection(photos))
    np.testing.assert_allclose(found[0], [same_object_probability(29, SIFT), 0])
    assert found[1].shape == (0,)


def test_a_photo_that_is_gone_links_nothing_on_either_side(photos, monkeypatch):
    monkeypatch.setattr(Planted, "gone", ("c",))
    step = SpatialVerification(Planted())
    with pytest.warns(UserWarning, match="c: is not there any more. It is linked to none") as told:
        found = step.probabilities_among(["a", "c"], [["c", "b"], ["a", "b"]], collection(photos))
    assert len(told) == 1
    np.testing.assert_array_equal(found, [[np.nan, 0], [np.nan, np.nan]])


# -- the graph of candidates ------------------------------------------------------------------


class Linked(Known):
    """The same, and which photos it links a query with."""

    def __init__(self, links=(), found=()):
        self.links = links
        self.found = found

    def probabilities(self, queries, candidates, collection):
        for query, row in zip(queries, candidates):
            self.compared.extend((query, other) for other in row)
        return [
            np.array([np.nan if other == "d" else 0.8 * (other in self.found) for other in row])
            for row in candidates
        ]


@pytest.fixture
def graph(monkeypatch):
    """Candidates by one region each, and what reaches the walk: likenesses, similarities."""
    engine = ExactEngine(Stamp("none", 2, regions=True))
    vectors = np.array(list(PHOTOS.values()), np.float32)
    table = RegionTable.of([RegionVectors(row[None]) for row in vectors], 2)
    engine.upsert(list(PHOTOS), vectors, table)
    photos = Collection(list(PHOTOS), list(PHOTOS), list(PHOTOS), engine)
    query = DescribedQuery("q", np.array(at(0)), RegionVectors(np.array([at(0)])), photo="q")
    given = RankedList(np.array(list(PHOTOS), object), np.arange(4, 0, -1.0), query.descriptor)
    seen = []

    def diffused(self, likeness, among):
        seen.append((likeness, among))
        return likeness

    monkeypatch.setattr(CandidateNeighbors, "_diffused", diffused)

    def ask(step):
        (ranked,) = step.rerank([query], [given], photos, None)
        return ranked, *seen[-1]

    return ask


def test_links_move_similarities_towards_1_and_nothing_else_does(graph, compared):
    verifier = Linked([{"a", "b"}, {"b", "c"}, {"c", "d"}], ["c"])
    _, likeness, among = graph(CandidateNeighbors())
    step = CandidateNeighbors(verifier=verifier, n_verified=3, link_weight=0.5)
    ranked, linked, linked_among = graph(step)
    # To c by 0.5 of 0.8; d could not be looked at.
    moved = likeness + np.array([0, 0, 0.4, 0]) * (1 - likeness)
    np.testing.assert_allclose(linked, moved, rtol=1e-6)
    share = np.zeros((4, 4))
    share[[0, 1, 1, 2], [1, 0, 2, 1]] = 0.45
    np.testing.assert_allclose(linked_among, among + share * (1 - among), rtol=1e-5)
    asked = [("q", x) for x in "abcd"]
    assert compared == [*asked, ("a", "b"), ("a", "c"), ("b", "c")]
    assert ranked.ids.tolist() == ["a", "b", "c", "d"]
    ranked, *_ = graph(CandidateNeighbors(verifier=Linked((), ["c"]), link_weight=1.0))
    assert ranked.ids.tolist() == ["a", "c", "b", "d"]
    assert ranked.scores[1] == pytest.approx(0.8 + 0.2 * at(30)[0], abs=1e-3)


def test_who_links_is_a_step_that_a_search_reaches():
    step = CandidateNeighbors(verifier=SpatialVerification())
    assert step.set_params(verifier__min_inliers=12).verifier.min_inliers == 12
    assert (step.needs, CandidateNeighbors().needs) == ({"regions", "photos"}, {"regions"})
