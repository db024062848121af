"""Average precision against hand calculations and a transcription of the benchmark's rules."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sklearn_cmac import L2Aggregator, Photo, RetrievalScorer
from sklearn_cmac.datasets import Relevance
from sklearn_cmac.metrics import (
    average_precision,
    bootstrap_interval,
    evaluate_rankings,
    precision_at_k,
)


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
    with pytest.raises(ValueError, match="'all' or 'boxed'"):
        RetrievalScorer("some")


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


def test_intervals_are_those_of_scipy(rng):
    """scipy draws by another generator: intervals agree to the noise of their ends."""
    one, other = rng.random(60), rng.random(60)
    for scores, baseline in ((one, None), (one, other)):
        values = scores if baseline is None else scores - baseline
        expected = stats.bootstrap(
            (values,), np.mean, method="percentile", n_resamples=20_000, rng=rng
        ).confidence_interval
        found = bootstrap_interval(scores, baseline, n_resamples=20_000)
        np.testing.assert_allclose(found, expected, atol=0.004)


def test_queries_of_one_object_are_drawn_together():
    """Ten copies of two observations know no more than the two."""
    scores = [0.0] * 10 + [1.0] * 10
    assert bootstrap_interval(scores, groups=[0] * 10 + [1] * 10) == (0.0, 1.0)
    low, high = bootstrap_interval(scores)
    assert 0.2 < low < high < 0.8
    with pytest.raises(ValueError, match="2 scores are paired with 3"):
        bootstrap_interval([0, 1], [0, 1, 2])
