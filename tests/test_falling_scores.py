"""Scores of a ranking never rise, whatever has sorted it, so sorting by them changes nothing."""

import warnings

import numpy as np
import pytest
from light import Points, make_light
from sklearn.frozen import FrozenEstimator

from sklearn_cmac import Photo, PhotoError
from sklearn_cmac.photos import as_photo
from sklearn_cmac.search import (
    CandidateNeighbors,
    DescribedQuery,
    Diffusion,
    Localization,
    QueryExpansion,
    RankedList,
    ReciprocalNeighbors,
    RegionMatching,
    Retriever,
    SpatialVerification,
    VerifiedExpansion,
    same_object_probability,
)

SIFT = "SIFT, ratio"


class Gone(Localization):
    """Some photos cannot be looked at again."""

    def _describe_windows(self, targets, corridor, photo):
        if as_photo(photo).name.endswith("gone"):
            raise PhotoError("it is not there any more.")
        return super()._describe_windows(targets, corridor, photo)


VERIFY = SpatialVerification(Points(), n_candidates=5)
STEPS = {
    "matching": RegionMatching(4),
    "neighbors": CandidateNeighbors(n_candidates=4, n_neighbors=2),
    "embeddings": CandidateNeighbors("embeddings", n_candidates=4),
    "localization": Gone(n_candidates=5),
    "expansion": QueryExpansion(2),
    "diffusion": Diffusion(n_neighbors=3, n_seeds=2),
    "reciprocal": ReciprocalNeighbors(n_neighbors=3, n_averaged=2),
    "verified": VERIFY,
    "none verified": SpatialVerification(Points(), n_candidates=5, min_inliers=41),
    "verified expansion": VerifiedExpansion(SpatialVerification(Points(), n_candidates=3)),
    "through neighbors": VerifiedExpansion(VERIFY, steps=[("n", CandidateNeighbors())]),
}
CHAINS = [
    *[(name,) for name in STEPS],
    *[(one, other) for one in STEPS for other in STEPS],
    ("matching", "neighbors", "verified"),
    ("matching", "verified expansion", "neighbors"),
    ("localization", "expansion", "verified"),
    ("neighbors", "verified", "verified expansion"),
]


@pytest.fixture(scope="module")
def photos():
    rng = np.random.default_rng(1)
    names = [*(f"{i} {n}" for i, n in enumerate((40, 3, 25, 0, 30, 9))), "6 gone", "7 gone", "8 12"]
    pixels = rng.integers(0, 255, (9, 24, 32, 3)).astype(np.uint8)
    return [Photo(picture, name=name) for picture, name in zip(pixels, names)]


@pytest.fixture(scope="module")
def described(photos):
    return (
        Retriever(FrozenEstimator(make_light(regions=False)), [("m", RegionMatching())])
        .fit([])
        .describe(photos)
    )


@pytest.mark.parametrize("chain", CHAINS, ids=", ".join)
def test_scores_never_rise(chain, photos, described):
    steps = [(str(i), STEPS[name]) for i, name in enumerate(chain)]
    retriever = Retriever(FrozenEstimator(make_light(regions=False)), steps).fit([])
    asked = [photos[i] for i in (0, 2, 3)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of photos that are gone
        rankings = retriever.rank(asked, described)
    for ranked in rankings:
        assert sorted(ranked.order) == list(range(9))
        assert np.all(np.diff(ranked.scores) <= 0)


# -- by hand ----------------------------------------------------------------------------------


class Photos:
    """A collection of names."""

    def features(self, id_, extractor):
        return None

    def photo(self, id_):
        return Photo(b"", name=id_)


def verified(ids, scores, **params):
    query = DescribedQuery("query 40", np.ones(1), photo=Photo(b"", name="query 40"))
    given = RankedList(np.array(ids, object), np.array(scores), np.ones(1))
    step = SpatialVerification(Points(), **params)
    (ranked,) = step.rerank([query], [given], Photos(), None)
    return ranked


def test_the_rest_keeps_its_order_and_its_distances_behind_what_is_verified():
    """b is verified; of the others a is first, and d was no candidate."""
    ranked = verified(["a 2", "b 20", "c 0", "d 30"], [0.9, 0.8, 0.5, 0.4], n_candidates=3)
    assert ranked.ids.tolist() == ["b 20", "a 2", "c 0", "d 30"]
    expected = [same_object_probability(20, SIFT), 0, -0.4, -0.5]
    np.testing.assert_allclose(ranked.scores, expected, atol=1e-9)


def test_where_nothing_is_verified_no_score_is_above_0():
    with pytest.warns(UserWarning, match="b gone"):
        ranked = verified(["a 2", "b gone", "c 0"], [0.9, 0.8, 0.5])
    assert ranked.ids.tolist() == ["a 2", "b gone", "c 0"]
    np.testing.assert_allclose(ranked.scores, [0, -0.1, -0.4])


def test_a_photo_that_cannot_be_looked_at_has_the_score_of_the_next():
    with pytest.warns(UserWarning, match="a gone"):
        ranked = verified(["a gone", "b 20", "c gone", "d 2"], [0.9, 0.8, 0.5, 0.4])
    assert ranked.ids.tolist() == ["a gone", "b 20", "c gone", "d 2"]
    p = same_object_probability(20, SIFT)
    np.testing.assert_allclose(ranked.scores, [np.nan, p, np.nan, 0])
