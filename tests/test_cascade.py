"""A quick look at all candidates, a careful one at those left open; features that are kept."""

import threading

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV

from sklearn_cmac import (
    LearnedFeatureExtractor,
    LocalFeatureExtractor,
    LocalFeatures,
    PhotoError,
    RetrievalScorer,
)
from sklearn_cmac.persistence import load_pipeline, save_pipeline
from sklearn_cmac.search import (
    DescribedQuery,
    LightGlueMatcher,
    RankedList,
    Retriever,
    SpatialVerification,
    same_object_probability,
)

SIFT = "SIFT, ratio"
PLACES = np.random.default_rng(0).uniform(0, 100, (40, 2))


def features(n, name=""):
    """Of which n agree with those of all others."""
    return LocalFeatures(PLACES[:n], np.eye(40)[:n], name, (100, 100))


class Sees(BaseEstimator):
    """Takes the place of an extractor: photos are numbers of features that each of these sees."""

    def __init__(self, which):
        self.which = which

    def transform(self, X):
        seen.extend((self.which, photo) for photo in X)
        return [features(photo[self.which]) for photo in X]


seen: list = []
QUERY = {"quick": 40, "careful": 40}


@pytest.fixture(autouse=True)
def _nothing_seen():
    seen.clear()


class Photos:
    """A collection of such photos. Of some, features are kept, and some are gone."""

    def __init__(self, counts, kept=(), gone=()):
        self.photos = {
            name: {"quick": quick, "careful": careful} for name, (quick, careful) in counts.items()
        }
        self.kept, self.gone = kept, gone

    def features(self, id_, extractor):
        return features(self.photos[id_][extractor.which]) if id_ in self.kept else None

    def photo(self, id_):
        if id_ in self.gone:
            raise PhotoError(f"{id_}.jpg: is not there any more.")
        return self.photos[id_]


def cascade(**params):
    careful = SpatialVerification(Sees("careful"), min_inliers=20)
    return SpatialVerification(Sees("quick"), careful=careful, sure=0.99).set_params(**params)


def ask(step, photos, ids=None):
    ids = np.array(list(photos.photos) if ids is None else ids, object)
    query = DescribedQuery("query", np.ones(1), photo=QUERY)
    given = RankedList(ids, -np.arange(len(ids), dtype=float), np.ones(1))
    (ranked,) = step.rerank([query], [given], photos, None)
    return ranked


def looked(which):
    return [photo for by, photo in seen if by == which and photo is not QUERY]


# -- the careful look -------------------------------------------------------------------------

COUNTS = {
    "hopeless": (0, 40),
    "raised": (5, 40),
    "sure": (35, 0),
    "lowered": (9, 10),
    "confirmed": (9, 25),
}


def test_only_what_is_left_open_is_looked_at_carefully_and_that_look_counts():
    photos = Photos(COUNTS)
    ranked = ask(cascade(), photos)
    assert len(looked("quick")) == 5
    assert looked("careful") == [photos.photos[x] for x in ("lowered", "confirmed", "raised")]
    assert ranked.ids.tolist() == ["raised", "sure", "confirmed", "hopeless", "lowered"]
    # Of the others, the first search has told them 3 apart.
    expected = [*same_object_probability([40, 35, 25], SIFT), 0, -3]
    np.testing.assert_allclose(ranked.scores, expected)


def test_scores_of_both_looks_are_by_the_curves_of_each():
    curves = {"calibration": (-5.0, 2.0), "careful__calibration": (-10.0, 3.0)}
    ranked = ask(cascade(sure=0.85, **curves), Photos(COUNTS))
    assert ranked.ids.tolist()[:3] == ["sure", "raised", "confirmed"]
    # By hand: -5 + 2 log 36 = 2.17; -10 + 3 log 41 = 1.14; -10 + 3 log 26 = -0.23.
    np.testing.assert_allclose(ranked.scores[:3], [0.897, 0.758, 0.444], atol=1e-3)


def test_the_likeliest_are_looked_at_carefully_as_many_as_are_asked_for():
    photos = Photos({f"{n}": (n, 40) for n in (4, 9, 6, 8, 7)})
    ask(cascade(n_careful=2), photos)
    assert looked("careful") == [photos.photos["9"], photos.photos["8"]]


def test_from_which_probability_on_a_photo_is_sure():
    photos = Photos({"a": (12, 40), "b": (9, 40)})
    between = float(same_object_probability([9, 12], SIFT).mean())
    ask(cascade(sure=between), photos)
    assert looked("careful") == [photos.photos["b"]]


def test_a_match_is_that_of_the_careful_look():
    photos = Photos(COUNTS)
    matches = cascade().compare(QUERY, list(photos.photos.values()))
    assert [match.n_inliers for match in matches] == [0, 40, 35, 10, 25]
    expected = same_object_probability([40, 35, 10, 25], SIFT)
    np.testing.assert_allclose([match.probability for match in matches[1:]], expected)
    kept = Photos(COUNTS, kept=COUNTS, gone=COUNTS)
    for match, other in zip(matches, cascade().compare_in(QUERY, list(COUNTS), kept)):
        np.testing.assert_array_equal(match.pairs, other.pairs)
        np.testing.assert_array_equal(match.outline, other.outline)


def test_features_are_compared_at_first_sight():
    (match,) = cascade().compare(QUERY, [features(9)])
    assert match.n_inliers == 9


def test_parameters_of_the_careful_look_have_paths_and_files_hold_them(tmp_path):
    careful = SpatialVerification(
        LearnedFeatureExtractor("aliked-n16"), matcher=LightGlueMatcher(), min_inliers=25
    )
    step = SpatialVerification(LearnedFeatureExtractor(), careful=careful, calibration=(-3.0, 1.5))
    step.set_params(careful__matcher__max_features=256, careful__sure=0.9)
    save_pipeline(step, tmp_path / "step.cmac")
    loaded = load_pipeline(tmp_path / "step.cmac")
    assert repr(loaded) == repr(step) == repr(clone(step))
    assert loaded.careful.matcher.max_features == 256
    for path in ("sure", "n_careful", "careful", "calibration"):
        with pytest.raises(ValueError, match=path):
            clone(step).set_params(**{path: "much"}).compare("a.jpg", ["b.jpg"])


# -- kept features ----------------------------------------------------------------------------


def test_no_photo_is_opened_whose_features_are_kept():
    photos = Photos(COUNTS, kept=COUNTS, gone=COUNTS)
    ranked = ask(cascade(), photos)
    assert looked("quick") == looked("careful") == []
    assert ranked.ids.tolist() == ask(cascade(), Photos(COUNTS)).ids.tolist()


def test_of_photos_without_kept_features_those_that_are_gone_are_named_and_keep_their_rank():
    photos = Photos(COUNTS, kept=["raised"], gone=["raised", "sure"])
    with pytest.warns(UserWarning, match=r"sure\.jpg: is not there any more\. It keeps") as told:
        ranked = ask(cascade(), photos)
    assert len(told) == 1
    assert ranked.ids.tolist() == ["raised", "confirmed", "sure", "hopeless", "lowered"]


def test_what_the_careful_look_cannot_see_is_scored_by_the_quick_one():
    class Half(Photos):
        def features(self, id_, extractor):
            return super().features(id_, extractor) if extractor.which == "quick" else None

    photos = Half(COUNTS, kept=COUNTS, gone=["lowered"])
    with pytest.warns(UserWarning, match=r"lowered\.jpg: is not there.*first sight counts"):
        ranked = ask(cascade(), photos)
    assert ranked.ids.tolist() == ["raised", "sure", "confirmed", "lowered", "hopeless"]
    assert ranked.scores[3] == pytest.approx(same_object_probability(9, SIFT))


def test_a_photo_that_is_gone_has_no_match():
    photos = Photos({"a": (9, 40), "gone": (9, 40)}, gone=["gone"])
    match, none = cascade().compare_in(QUERY, ["a", "gone"], photos)
    assert match.n_inliers == 40
    assert none is None


def test_photos_are_compared_in_threads_each_in_one(monkeypatch):
    """And what comes out is the same."""
    by = []
    verify = SpatialVerification._verify

    def noted(self, *args):
        by.append(threading.get_ident())
        return verify(self, *args)

    monkeypatch.setattr(SpatialVerification, "_verify", noted)
    photos = Photos({f"{n}": (n, 40) for n in range(30)})
    one = ask(cascade(), photos)
    two = ask(cascade(n_jobs=2), photos)
    assert one.ids.tolist() == two.ids.tolist()
    np.testing.assert_array_equal(one.scores, two.scores)
    assert len(by) == 2 * (30 + 15)  # of 3 to 17 features it is open whether they tell
    assert len(set(by)) > 1


# -- a grid search ----------------------------------------------------------------------------


class Alike(BaseEstimator):
    """Finds all photos equally similar."""

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        return np.ones((len(X), 1), np.float32)


def test_a_grid_search_finds_features_of_each_photo_once(monkeypatch, tmp_path, rng):
    found = []

    def compute(self, content, cut, view):
        found.append((content.digest, self.max_features))
        return {
            "positions": PLACES[:9].astype(np.float32),
            "descriptors": np.eye(9, 128, dtype=np.uint8),
            "photo_size": np.array([32, 24]),
        }

    monkeypatch.setattr(LocalFeatureExtractor, "_compute", compute)
    photos = list(rng.integers(0, 255, (8, 24, 32, 3)).astype(np.uint8))
    quick, careful = (LocalFeatureExtractor(max_features=n, store=tmp_path) for n in (9, 10))
    step = SpatialVerification(quick, careful=SpatialVerification(careful), sure=0.99)
    retriever = Retriever(FrozenEstimator(Alike().fit([])), [("verify", step)])
    grid = {
        "verify__n_candidates": [2, 8],
        "verify__min_inliers": [3, 4],
        "verify__careful__min_inliers": [3, 6],
        "verify__n_careful": [1, 8],
    }
    search = GridSearchCV(retriever, grid, scoring=RetrievalScorer(), cv=2, error_score="raise")
    search.fit(photos, [0, 0, 1, 1] * 2)
    assert len(search.cv_results_["params"]) == 16
    assert sorted(found) == sorted(set(found))
    assert {n for _, n in found} == {9, 10}
