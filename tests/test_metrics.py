"""Average precision against hand calculations and a transcription of the benchmark's rules."""

import pickle
import random
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate
from sklearn.preprocessing import normalize

from sklearn_cmac import L2Aggregator, Photo, RetrievalScorer
from sklearn_cmac.datasets import Relevance, make_object_scenes
from sklearn_cmac.metrics import (
    average_precision,
    bootstrap_interval,
    evaluate_rankings,
    precision_at_k,
)
from sklearn_cmac.search import Retriever


def walk_down_the_list(ranking, positives, junk):
    """Oxford's procedure as published: one pass, a trapezoid at each step."""
    recall_before, precision_before, area = 0.0, 1.0, 0.0
    hits = seen = 0
    for photo in ranking:
        if photo in junk:
            continue
        hits += photo in positives
        seen += 1
        recall, precision = hits / len(positives), hits / seen
        area += (recall - recall_before) * (precision_before + precision) / 2
        recall_before, precision_before = recall, precision
    return area


def test_golden_value():
    """Three of four positives found, at ranks 0, 2 and 5."""
    ranking, positives = [10, 1, 11, 2, 3, 12], [10, 11, 12, 13]
    assert average_precision(ranking, positives) == pytest.approx(0.508333, abs=5e-7)


def test_the_example_of_the_documentation_by_hand():
    """A and B are good, C is ok, J junk: ranks 0, 2 and 4 of three positives."""
    expected = ((1 + 1) + (1 / 2 + 2 / 3) + (2 / 4 + 3 / 5)) / 6
    found = average_precision("AXJBYC", positives="ABC", junk="J")
    assert found == pytest.approx(expected)
    assert round(found, 4) == 0.7111
    # With junk counted as wrong: ranks 0, 3 and 5.
    expected = ((1 + 1) + (1 / 3 + 2 / 4) + (2 / 5 + 3 / 6)) / 6
    assert average_precision("AXJBYC", positives="ABC") == pytest.approx(expected)
    assert round(expected, 4) == 0.6222


@settings(max_examples=3000)
@given(st.data())
def test_equals_the_published_procedure(data):
    n = data.draw(st.integers(1, 30))
    ranking = data.draw(st.permutations(range(n)))[: data.draw(st.integers(0, n))]
    kinds = data.draw(st.lists(st.sampled_from("pjn"), min_size=n, max_size=n))
    positives = {i for i in range(n) if kinds[i] == "p"} | {n}  # one is always missing
    junk = {i for i in range(n) if kinds[i] == "j"}
    expected = walk_down_the_list(ranking, positives, junk)
    assert average_precision(ranking, positives, junk) == pytest.approx(expected, abs=1e-12)


@given(st.permutations(range(12)), st.sets(st.integers(0, 11), min_size=1, max_size=5))
def test_junk_changes_nothing_for_others(ranking, positives):
    with_junk = [photo for r in ranking for photo in (r, r + 100)]
    junk = [r + 100 for r in ranking]
    assert average_precision(with_junk, positives, junk) == average_precision(ranking, positives)


def test_perfect_and_hopeless():
    assert average_precision([3, 4, 1], [3, 4]) == 1
    assert average_precision([1, 2], [3]) == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (([1], []), "without positives"),
        (([1], [1], [1]), "both positive and junk"),
        (([1, 1], [1]), "twice"),
    ],
)
def test_contradictions_are_refused(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        average_precision(*arguments)


X = np.array([[1, 0.0], [0.9, 0.1], [0, 1], [0.8, 0.3], [0.1, 0.9]])
Y = ["a", "a", "b", "", "b"]


def test_scorer_leaves_the_query_out_and_distractors_never_ask():
    scorer = RetrievalScorer(distractor="")
    assert scorer(L2Aggregator().fit(X), X, Y) == 1
    assert sorted(scorer.per_query(L2Aggregator().fit(X), X, Y)) == [0, 1, 2, 4]


def test_scorer_value_by_hand():
    # Query 0 ranks 3 before 1: precision 1/2 at its only positive, trapezoid (0 + 1/2) / 2.
    x = np.array([[1, 0.0], [0.5, 0.5], [0.9, 0.1]])
    scores = RetrievalScorer(distractor="").per_query(L2Aggregator().fit(x), x, ["a", "a", ""])
    assert scores[0] == pytest.approx(0.25)


def test_scorer_keeps_negative_similarities():
    x = np.array([[1, 0.0], [-1, 0.01], [-1, -0.5]])
    scores = RetrievalScorer(distractor="").per_query(L2Aggregator().fit(x), x, ["a", "a", ""])
    assert scores[0] == pytest.approx(0.25)


class FirstOrSecond:
    """Describes a photo by whether it comes as a photo or as a query."""

    def transform(self, items):
        return np.array([[1.0, 0] if isinstance(i, Photo) else [0, 1.0] for i in items])


def test_boxed_queries_are_cropped_and_the_database_is_whole():
    photos = [Photo("a", box=(0, 0, 1, 1)), Photo("b"), Photo("c", box=(0, 0, 1, 1))]
    scorer = RetrievalScorer("boxed", distractor="")
    assert list(scorer.per_query(FirstOrSecond(), photos, ["x", "x", ""])) == [0]


def test_scorer_says_why_nothing_can_be_scored():
    with pytest.raises(ValueError, match="GroupKFold"):
        RetrievalScorer()(L2Aggregator().fit(X), X, list("abcde"))
    with pytest.raises(ValueError, match="and a box"):
        RetrievalScorer("boxed")(L2Aggregator().fit(X), X, Y)


def test_scorer_validates_when_it_is_called_and_not_before():
    scorer = RetrievalScorer("some")
    assert scorer.queries == "some"
    with pytest.raises(ValueError, match=r"'queries' parameter of RetrievalScorer .*'some'"):
        scorer(L2Aggregator().fit(X), X, Y)
    with pytest.raises(ValueError, match=r"\[5, 4\]"):
        RetrievalScorer()(L2Aggregator().fit(X), X, Y[:4])


def test_scorer_has_parameters_like_an_estimator():
    scorer = RetrievalScorer(distractor="")
    assert scorer.get_params() == {"queries": "all", "distractor": ""}
    assert repr(scorer) == "RetrievalScorer(distractor='')"
    assert "RetrievalScorer" in scorer._repr_html_()
    copy = pickle.loads(pickle.dumps(clone(scorer))).set_params(queries="boxed")
    assert copy.get_params() == {"queries": "boxed", "distractor": ""}
    assert scorer.queries == "all"
    with pytest.raises(ValueError, match="Invalid parameter 'boxed'"):
        scorer.set_params(boxed=True)


def seen(item):
    """The pixels of a photo, or those in the box of a query."""
    if isinstance(item, Photo):
        return item.source
    x0, y0, x1, y1 = map(int, item.box)
    return item.photo.source[y0:y1, x0:x1]


class Histogram(TransformerMixin, BaseEstimator):
    """Describes a photo by its colours: a stateless stand-in for a network."""

    def __init__(self, n_bins=8):
        self.n_bins = n_bins

    def fit(self, X, y=None):
        return self

    def transform(self, photos):
        counts = [np.histogram(seen(item), self.n_bins, (0, 256))[0] for item in photos]
        return normalize(np.array(counts, float))

    def __sklearn_is_fitted__(self):
        return True


def as_object_array(items):
    array = np.empty(len(items), object)
    array[:] = items
    return array


def as_series(items):
    """With the labels in another order: what stands at 0 is not called 0."""
    return pd.Series(items, index=np.random.default_rng(1).permutation(len(items)))


@pytest.fixture(scope="module")
def scenes():
    return make_object_scenes(n_objects=4, n_scenes=3, n_distractors=3, size=(160, 120))


CONTAINERS = [tuple, as_object_array, pd.Series, as_series]


@pytest.mark.parametrize("contain", CONTAINERS)
@pytest.mark.parametrize("queries", ["all", "boxed"])
def test_photos_score_the_same_in_whatever_sequence_they_come(contain, queries, scenes):
    scorer = RetrievalScorer(queries, distractor="")
    photos, labels = scenes.photos, list(scenes.target)
    expected = scorer.per_query(Histogram(), photos, labels)
    assert len(set(expected.values())) > 1
    assert scorer.per_query(Histogram(), contain(photos), labels) == expected
    assert scorer.per_query(Histogram(), contain(photos), contain(labels)) == expected
    retriever = Retriever(Histogram()).fit(photos)
    assert scorer.per_query(retriever, contain(photos), contain(labels)) == expected


@pytest.mark.parametrize("contain", CONTAINERS)
def test_a_grid_search_scores_photos_the_same_in_whatever_sequence_they_come(contain, scenes):
    search = GridSearchCV(
        Histogram(),
        {"n_bins": [2, 8, 32]},
        scoring=RetrievalScorer(distractor=""),
        cv=GroupKFold(2),
        error_score="raise",
    )
    groups = scenes.target
    expected = search.fit(scenes.photos, scenes.target, groups=groups).cv_results_
    found = search.fit(contain(scenes.photos), contain(scenes.target), groups=groups).cv_results_
    assert len(set(expected["mean_test_score"])) == 3
    np.testing.assert_array_equal(found["mean_test_score"], expected["mean_test_score"])


def test_a_table_is_scored_with_its_column_names():
    table = pd.DataFrame(X, columns=["a", "b"], index=[4, 3, 2, 1, 0])
    scorer = RetrievalScorer(distractor="")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert scorer(L2Aggregator().fit(table), table, Y) == 1
    with pytest.raises(ValueError, match="and a box"):
        RetrievalScorer("boxed")(L2Aggregator().fit(table), table, Y)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_scorer_works_in_cross_validation(n_jobs):
    """Beside other scorers, in processes, and with routing of metadata."""
    rng = np.random.default_rng(0)
    y = np.repeat(list("abcdef"), 4)
    table = rng.random((6, 5)).repeat(4, axis=0) + 0.3 * rng.random((24, 5))
    folds = GroupKFold(2)
    scorer = RetrievalScorer()
    expected = [
        scorer(L2Aggregator().fit(table), table[i], y[i]) for _, i in folds.split(table, y, y)
    ]
    for routing in (False, True):
        groups = {"params": {"groups": y}} if routing else {"groups": y}
        for scoring, key in ((scorer, "test_score"), ({"mAP": scorer}, "test_mAP")):
            with config_context(enable_metadata_routing=routing):
                found = cross_validate(
                    L2Aggregator(), table, y, scoring=scoring, cv=folds, n_jobs=n_jobs, **groups
                )
            np.testing.assert_allclose(found[key], expected)
    assert len(set(expected)) == 2


# -- benchmarks -------------------------------------------------------------------------------


def test_precision_at_k_by_hand():
    # Positives at ranks 0, 2 and 5 once the junk photo is taken out.
    ranking, positives, junk = [10, 50, 1, 11, 2, 3, 12], [10, 11, 12], [50]
    expected = {1: 1, 2: 1 / 2, 3: 2 / 3, 5: 2 / 5, 6: 3 / 6, 100: 3 / 6}
    assert {k: precision_at_k(ranking, positives, k, junk) for k in expected} == expected
    assert precision_at_k([1, 2], [3], 5) == 0


def test_evaluation_is_the_mean_over_queries():
    relevance = [Relevance([0], []), Relevance([0, 9], [1])]
    scores = evaluate_rankings([[0, 1, 2], [1, 2, 0]], relevance, ks=(1, 2))
    # The second query: ranks 2, 0 once photo 1 is gone, and photo 9 is never found.
    np.testing.assert_allclose(scores.average_precision, [1, (0 + 1 / 2) / 2 / 2])
    assert scores.mean_average_precision == pytest.approx(0.5625)
    assert scores.mean_precision == {1: 0.5, 2: 0.75}
    with pytest.raises(ValueError, match="1 rankings for 2 queries"):
        evaluate_rankings([[0]], relevance)


# -- intervals --------------------------------------------------------------------------------


def resampled(scores, groups, confidence, n_resamples=20_000):
    """The same in plain Python: draw groups, average their members, sort the averages."""
    chance = random.Random(1)
    members = [[s for s, g in zip(scores, groups) if g == name] for name in set(groups)]
    means = []
    for _ in range(n_resamples):
        drawn = [score for _ in members for score in chance.choice(members)]
        means.append(sum(drawn) / len(drawn))
    means.sort()
    tail = (1 - confidence) / 2
    return means[int(tail * n_resamples)], means[int((1 - tail) * n_resamples)]


@pytest.mark.parametrize("confidence", [0.5, 0.95])
@pytest.mark.parametrize("n_groups", [7, 60])
def test_intervals_are_those_of_plain_resampling(confidence, n_groups, rng):
    """Both draw at random: they agree to the noise of their ends."""
    one, other = rng.random(60), rng.random(60)
    groups = np.arange(60) if n_groups == 60 else rng.integers(n_groups, size=60)
    for baseline in (None, other):
        values = one if baseline is None else one - baseline
        expected = resampled(values.tolist(), groups.tolist(), confidence)
        given = None if n_groups == 60 else groups
        found = bootstrap_interval(one, baseline, groups=given, confidence=confidence)
        np.testing.assert_allclose(found, expected, atol=0.006)


def test_an_interval_by_hand():
    """One query of object a, three of b: aa, ab and bb have means 0, 3/4 and 1; ab has half."""
    scores, groups = [0, 1, 1, 1], ["a", "b", "b", "b"]
    assert bootstrap_interval(scores, groups=groups, confidence=0.4) == (0.75, 0.75)
    assert bootstrap_interval(scores, groups=groups) == (0.0, 1.0)


def test_an_interval_without_spread_is_a_point():
    assert bootstrap_interval([0.6, 0.8, 0.7], [0.5, 0.7, 0.6]) == (0.1, 0.1)
    assert bootstrap_interval([0.2, 0.4], groups=["a", "a"]) == (0.3, 0.3)
    assert bootstrap_interval([0.7]) == (0.7, 0.7)


def test_a_seed_gives_the_same_interval_again(rng):
    scores = rng.random(30)
    assert bootstrap_interval(scores) == bootstrap_interval(scores, random_state=0)
    assert bootstrap_interval(scores) != bootstrap_interval(scores, random_state=1)
    drawn = bootstrap_interval(scores, random_state=np.random.RandomState(0))
    assert drawn == bootstrap_interval(scores)


def test_queries_of_one_object_are_drawn_together():
    """Ten copies of two observations know no more than the two."""
    scores = [0.0] * 10 + [1.0] * 10
    assert bootstrap_interval(scores, groups=[0] * 10 + [1] * 10) == (0.0, 1.0)
    low, high = bootstrap_interval(scores)
    assert 0.2 < low < high < 0.8
    with pytest.raises(ValueError, match="2 scores are paired with 3"):
        bootstrap_interval([0, 1], [0, 1, 2])
    with pytest.raises(ValueError, match=r"\[2, 3\]"):
        bootstrap_interval([0, 1], groups=[0, 1, 2])
    for scores in ([], [[1, 2]]):
        with pytest.raises(ValueError, match="a number for each query"):
            bootstrap_interval(scores)
