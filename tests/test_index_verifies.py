"""What an index verifies by: features of several extractors, and each pair compared once."""

import numpy as np
import pytest
from light import Points, make_light
from sklearn.frozen import FrozenEstimator

from sklearn_cmac import LearnedFeatureExtractor, Photo
from sklearn_cmac.reranking import by_care, verifier_of
from sklearn_cmac.search import (
    CandidateNeighbors,
    LightGlueMatcher,
    RegionMatching,
    RetrievalIndex,
    Retriever,
    SpatialVerification,
    VerifiedExpansion,
    chain_of_effort,
    find_groups,
    same_object_probability,
)

XFEAT, ALIKED = LearnedFeatureExtractor(), LearnedFeatureExtractor("aliked-n16")


def indexed(names, *steps):
    """An index of photos of these names."""
    rng = np.random.default_rng(0)
    retriever = Retriever(FrozenEstimator(make_light(regions=False)), steps).fit([])
    index = RetrievalIndex(retriever, features=[])
    pixels = rng.integers(0, 255, (len(names), 24, 32, 3)).astype(np.uint8)
    index.add([Photo(picture, name=name) for name, picture in zip(names, pixels)])
    return index


# -- several extractors -----------------------------------------------------------------------


@pytest.mark.parametrize("kept", [[XFEAT, ALIKED], [ALIKED, XFEAT]])
def test_xfeat_verifies_quickly_and_aliked_with_lightglue_carefully(kept):
    assert by_care(kept) == (XFEAT, ALIKED)
    quick = verifier_of(kept, min_inliers=15)
    assert (quick.extractor, quick.careful, quick.min_inliers) == (XFEAT, None, 15)
    step = verifier_of(kept, careful=True, n_careful=7)
    assert (step.extractor, step.careful.extractor, step.n_careful) == (ALIKED, ALIKED, 7)
    assert isinstance(step.careful.matcher, LightGlueMatcher)


def test_with_features_of_one_kind_lightglue_looks_where_it_tells_more():
    assert repr(verifier_of([XFEAT], careful=True)) == repr(verifier_of([XFEAT]))
    assert verifier_of([ALIKED]).careful is None


def verifiers(effort, kept):
    retriever = Retriever(
        FrozenEstimator(make_light(regions=False)), *chain_of_effort(effort, extractors=kept)
    ).fit([])
    return retriever.verifier, retriever.extractors


def test_only_the_best_chain_is_careful_and_an_index_of_it_keeps_what_it_compares():
    verifier, extractors = verifiers("best", [XFEAT, ALIKED])
    assert verifier.careful.extractor is ALIKED
    assert set(extractors) == {ALIKED}
    verifier, extractors = verifiers("usual", [ALIKED, XFEAT])
    assert (verifier.careful, extractors) == (None, [XFEAT])
    assert verifiers("fast", [XFEAT]) == (None, [])


@pytest.mark.parametrize("effort", ["usual", "best"])
@pytest.mark.parametrize(("kept", "way"), [(XFEAT, "XFeat, nearest"), (ALIKED, "ALIKED, nearest")])
def test_as_many_features_agree_as_make_a_probability_of_nine_in_ten(effort, kept, way):
    verifier, _ = verifiers(effort, [kept])
    least = verifier.min_inliers
    at, below = same_object_probability([least, least - 1], way)
    assert below < 0.9 <= at


@pytest.mark.parametrize(
    "step", [VerifiedExpansion, lambda each: CandidateNeighbors(verifier=each)]
)
def test_the_verifier_of_a_retriever_is_the_whole_cascade(step):
    """It once was its careful look."""
    cascade = SpatialVerification(careful=SpatialVerification(), n_careful=7)
    retriever = Retriever(FrozenEstimator(make_light(regions=False)), [("step", step(cascade))])
    assert retriever.verifier is cascade


# -- in a search ------------------------------------------------------------------------------

NAMES = ["a 40", "b 20", "c 30", "d 3", "e 0"]


@pytest.fixture
def compared(monkeypatch):
    """How many photos are compared each time."""
    seen = []
    verify = SpatialVerification._verify

    def count(self, queries, find):
        seen.extend(query.name for query in queries)
        return verify(self, queries, find)

    monkeypatch.setattr(SpatialVerification, "_verify", count)
    return seen


def asked(index):
    return Photo(index._items["a 40"].source, name="a 40")


def assert_same(match, other):
    assert (match.n_inliers, match.probability, match.box, match.verified) == (
        other.n_inliers, other.probability, other.box, other.verified,
    )  # fmt: skip
    np.testing.assert_array_equal(match.pairs, other.pairs)


@pytest.mark.parametrize(
    ("step", "n"),
    [
        (SpatialVerification(Points()), 5),
        (SpatialVerification(Points(), n_candidates=3), 5),
        (VerifiedExpansion(SpatialVerification(Points(), n_candidates=2)), 5),
    ],
    ids=["all", "some", "expansion"],
)
def test_what_a_search_has_compared_is_not_compared_again(step, n, compared):
    """And what it has not is, so that each result says how its features lie."""
    index = indexed(NAMES, ("match", RegionMatching()), ("verify", step))
    results = index.search(asked(index), 5)
    assert len(compared) == n
    for result, match in zip(results, index.compare(asked(index), [r.name for r in results])):
        assert_same(result.spatial, match)
    assert all(result.verified for result in results if result.score > 0)


def test_what_was_compared_survives_steps_behind(compared):
    steps = [("verify", SpatialVerification(Points())), ("near", CandidateNeighbors())]
    index = indexed(NAMES, ("match", RegionMatching()), *steps)
    assert {r.name for r in index.search(asked(index), 5) if r.verified} == set(NAMES[:3])
    assert len(compared) == 5


# -- groups -----------------------------------------------------------------------------------

# What the quick look and the careful one see: by the first, each photo may show what others do.
SEEN = ["a 9 30", "b 9 30", "c 9 4", "d 9 30 gone"]


def test_a_careful_look_decides_of_groups_too():
    index = indexed(SEEN)
    quick = SpatialVerification(Points(1), calibration=(-5.0, 2.0))
    with pytest.warns(UserWarning, match="1 photos could not be looked at"):
        (group,) = find_groups(index, verifier=quick, min_probability=0.4)
    assert sorted(group.names) == SEEN[:3]
    quick.set_params(careful=SpatialVerification(Points(2), calibration=(-8.0, 3.6)))
    with pytest.warns(UserWarning, match="1 photos could not be looked at"):
        (group,) = find_groups(index, verifier=quick, min_probability=0.4)
    assert sorted(group.names) == SEEN[:2]
    (link,) = group.links
    # By hand: -8 + 3.6 log 31 = 4.36.
    assert (link.n_inliers, round(link.probability, 3)) == (30, 0.987)
