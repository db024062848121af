"""What queries found and missed, and what chance would have found."""

import csv
import itertools
import re
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from light import make_light
from PIL import Image
from sklearn.utils import Bunch

from sklearn_cmac import Photo, RetrievalScorer
from sklearn_cmac.datasets import Relevance, as_benchmark
from sklearn_cmac.evaluation import check_benchmark, evaluate, report_rankings, write_rankings
from sklearn_cmac.evaluation._guards import has_clusters, warn_of_chance
from sklearn_cmac.inspection import write_evaluation
from sklearn_cmac.metrics import (
    average_precision,
    average_precision_at_k,
    expected_average_precision,
)
from sklearn_cmac.search import RegionMatching
from sklearn_cmac.tuning import check_tuning, report_folds, tune, tuning_rows

pytestmark = pytest.mark.filterwarnings("ignore:whitening")


# -- chance -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "r"), [(1, 1), (5, 1), (5, 2), (6, 3), (6, 6)])
def test_the_expected_score_is_the_mean_over_all_orders(n, r):
    orders = list(itertools.permutations(range(n)))
    scores = [average_precision(order, range(r)) for order in orders]
    assert expected_average_precision(n, r) == pytest.approx(np.mean(scores))
    for k in (1, 2, n):
        scores = [average_precision_at_k(order, range(r), k) for order in orders]
        assert expected_average_precision(n, r, at=k) == pytest.approx(np.mean(scores))


@pytest.mark.parametrize("r", [0, 4])
def test_an_expected_score_has_positives(r):
    with pytest.raises(ValueError, match="of 3 photos 1 at least is a positive"):
        expected_average_precision(3, r)


def test_the_chance_of_a_scorer_is_the_mean_score_of_random_descriptors():
    labels, rng = list("aaabb") + [""], np.random.default_rng(0)

    class Random:
        def transform(self, X):
            return rng.standard_normal((len(X), 3))

    scorer = RetrievalScorer(distractor="")
    found = np.mean([scorer(Random(), np.zeros((6, 1)), labels) for _ in range(800)])
    assert scorer.chance(np.zeros((6, 1)), labels) == pytest.approx(found, abs=0.02)


# -- reports ------------------------------------------------------------------------------------


@pytest.fixture
def benchmark():
    """Two queries for six photos; the second has its own photo and junk among them."""
    photos = [Photo(np.full((24, 32, 3), 40 * i, np.uint8), name=f"p{i}") for i in range(6)]
    return Bunch(
        name="made",
        protocol="by hand",
        DESCR="6 photos",
        photos=photos,
        queries=[Photo(photos[0].source, name="q0"), Photo(photos[1].source, name="q1")],
        relevance=[Relevance([1, 2], []), Relevance([4, 5], [0])],
        exclude=[None, 1],
    )


def names_of(pairs):
    return [(photo.name, value) for photo, value in pairs]


def test_what_was_missed_and_what_is_false_by_hand(benchmark):
    best, worst = report_rankings(benchmark, np.array([[3, 1, 0, 4, 2, 5], [0, 4, 5, 2, 3, 1]]))[
        ::-1
    ]
    assert worst.name == "0: q0"
    assert names_of(worst.missed) == [("p2", 5)]
    assert names_of(worst.false) == [("p3", 1)]
    assert names_of(worst.first[:3]) == [("p3", False), ("p1", True), ("p0", False)]
    assert (best.average_precision, best.missed, best.false) == (1, [], [])
    assert names_of(best.first) == [
        ("p4", True),
        ("p5", True),
        ("p2", False),
        ("p3", False),
        ("p1", False),
    ]
    # Of 4 photos, the query's own and the junk left out, 2 are positives.
    assert best.chance == expected_average_precision(4, 2)
    assert worst.chance == expected_average_precision(6, 2)


def test_positives_that_a_ranking_does_not_reach_have_no_rank(benchmark):
    worst, _ = report_rankings(benchmark, [np.array([3, 1]), np.array([4, 5])])
    assert names_of(worst.missed) == [("p2", None)]


def test_the_table_of_rankings_has_the_worst_first_and_what_was_missed(benchmark, tmp_path):
    reports = report_rankings(benchmark, [np.array([3, 1]), np.array([4, 5])])
    write_rankings(tmp_path / "rankings.csv", [("X", reports)])
    with open(tmp_path / "rankings.csv", newline="") as file:
        rows = [(r["query"], r["rank"], r["photo"], r["answer"]) for r in csv.DictReader(file)]
    assert rows == [
        ("0: q0", "1", "p3", "wrong"),
        ("0: q0", "2", "p1", "right"),
        ("0: q0", "", "p2", "missed"),
        ("1: q1", "1", "p4", "right"),
        ("1: q1", "2", "p5", "right"),
    ]


def test_the_page_tells_right_from_wrong_by_more_than_colour(benchmark, tmp_path):
    benchmark.photos[3] = Photo(benchmark.photos[3].source, name="<script>alert(1)</script>")
    reports = report_rankings(benchmark, [np.array([3, 1]), np.array([4, 5])])
    write_evaluation(tmp_path / "page.html", "Made", [("X", reports)], about=["Random: 1.0"])
    page = (tmp_path / "page.html").read_text()
    assert page.count("✓ right") == page.count('class="right"') == 3
    assert page.count("✗ wrong") == page.count('class="wrong"') == 1
    assert "not reached: p2" in page
    assert page.index("0: q0") < page.index("1: q1")
    assert "<script>" not in page


def test_files_of_one_name_are_told_apart_on_the_page(benchmark, tmp_path):
    for i, folder in enumerate("aabbcc"):
        (tmp_path / folder).mkdir(exist_ok=True)
        Image.fromarray(benchmark.photos[i].source).save(tmp_path / f"{folder}/{i % 2}.png")
        benchmark.photos[i] = Photo(tmp_path / f"{folder}/{i % 2}.png")
    reports = report_rankings(benchmark, [np.array([3, 1, 4]), np.array([4, 5])])
    write_evaluation(tmp_path / "page.html", "Made", [("X", reports)])
    page = (tmp_path / "page.html").read_text()
    shown = re.findall(r">((?:\d|not reached): \S+png)<", page)
    first = ["1: b/1.png", "2: a/1.png", "3: c/0.png", "not reached: b/0.png"]
    assert shown == [*first, "1: c/0.png", "2: c/1.png"]


def test_what_is_false_is_counted_where_it_was_looked_for(tmp_path):
    """Of 25 positives none is among the first 20 photos, and 5 of the last are on the first 25."""
    photo = np.zeros((24, 32, 3), np.uint8)
    benchmark = Bunch(
        photos=[photo] * 45, queries=[photo], relevance=[Relevance(range(20, 45), [])], DESCR=""
    )
    reports = report_rankings(benchmark, [np.arange(45)])
    write_evaluation(tmp_path / "page.html", "Made", [("X", reports)])
    page = (tmp_path / "page.html").read_text()
    assert "false: 20 of the first 20" in page
    assert "Missed: 20 of 25, of which the last" in page


def test_no_name_is_a_formula_of_a_spreadsheet(benchmark, tmp_path):
    names = ["=1+1.jpg", "+1.jpg", "-1.jpg", "@a.jpg", "a=b.jpg", 'a"\n.jpg']
    benchmark.photos = [Photo(p.source, name=n) for p, n in zip(benchmark.photos, names)]
    reports = report_rankings(benchmark, [np.arange(6), np.arange(6)])
    write_rankings(tmp_path / "rankings.csv", [("X", reports)])
    with open(tmp_path / "rankings.csv", newline="") as file:
        read = {row["photo"] for row in csv.DictReader(file)}
    assert read == {"./=1+1.jpg", "./+1.jpg", "./-1.jpg", "./@a.jpg", "a=b.jpg", 'a"\n.jpg'}


@pytest.mark.filterwarnings("ignore:light. mAP is")
def test_the_table_of_queries_has_what_chance_scores(benchmark, tmp_path):
    found = evaluate(benchmark, {"light": make_light(regions=False)})
    found.write(tmp_path)
    with open(tmp_path / "per_query.csv", newline="") as file:
        chance = [float(row["random order"]) for row in csv.DictReader(file)]
    expected = [expected_average_precision(6, 2), expected_average_precision(4, 2)]
    assert chance == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore:light. mAP is")
def test_an_evaluation_reports_what_its_steps_rank(scenes, tmp_path):
    light = make_light()
    steps = {"plain": [], "m": [("m", RegionMatching())]}
    benchmark = as_benchmark(scenes, "all")
    found = evaluate(benchmark, {"light": light.pipeline_}, steps=steps, folder=tmp_path)
    again = evaluate(benchmark, {"light": light.pipeline_}, steps=steps, folder=tmp_path)
    ranked = light.rank(benchmark.queries, benchmark.photos, benchmark.exclude)
    expected = [r.order[~np.isin(r.order, j.junk)] for r, j in zip(ranked, benchmark.relevance)]
    for evaluation in (found, again):
        row = evaluation.rows[1]
        assert row.first == [order[:20].tolist() for order in expected]
        for order, ranks, right in zip(expected, row.ranks, benchmark.relevance):
            assert [order[rank - 1] for rank in ranks] == list(right.positives)
    # 15 others, 3 of them positives, and 4 of none.
    chance = expected_average_precision(19, 3)
    assert found.chance == pytest.approx([chance] * 16)
    assert f"Rankings in random order have a mAP of {100 * chance:.1f}" in str(found)


def test_reports_of_folds_have_the_scores_of_the_search(scenes):
    for queries in ("all", "boxed"):
        search = tune(
            make_light(), {"match__n_candidates": [3, 9]}, scenes, queries=queries, n_folds=2
        )
        for k, reports in enumerate(report_folds(search, scenes)):
            score = search.cv_results_[f"split{k}_test_score"][search.best_index_]
            assert np.mean([r.average_precision for r in reports]) == pytest.approx(score)
        # In each fold 2 of 4 objects and of 4 distractors: 9 others, 3 of them positives.
        chance = expected_average_precision(9, 3)
        assert [row["random order"] for row in tuning_rows(search)] == pytest.approx(2 * [chance])


# -- what is noticed ----------------------------------------------------------------------------


def test_distractors_are_counted_as_the_description_counts_them(folder):
    """The description said 4 of the photos are distractors, and the counts below it said 0."""
    from sklearn_cmac.datasets import load_photo_folder

    photos = load_photo_folder(folder, folder / "labels.csv", folder / "boxes.csv")
    benchmark = as_benchmark(photos)
    said = int(re.search(r"(\d+) of them distractors", benchmark.DESCR)[1])
    assert check_benchmark(benchmark)["distractors"] == said == 4


def clustered(rng, n, per_object, spread):
    """Descriptors of photos of objects, and their labels."""
    labels = np.arange(n) // per_object
    centres = rng.standard_normal((labels[-1] + 1, 64))
    found = centres[labels] + spread * rng.standard_normal((n, 64))
    return found / np.linalg.norm(found, axis=1, keepdims=True), labels


def test_clusters_are_told_from_none(rng):
    for per_object in (3, 10, 40):
        assert has_clusters(clustered(rng, 240, per_object, 0.5)[0])
    assert not has_clusters(clustered(rng, 240, 1, 0.5)[0])


def test_labels_rolled_far_along_the_photos_are_noticed(rng):
    """By half of all, which no small shift undoes."""
    descriptors, labels = clustered(rng, 120, 6, 0.5)
    order = rng.permutation(120)
    descriptors, labels = descriptors[order], labels[order]
    engine = SimpleNamespace(get=lambda ids: descriptors[[int(i) for i in ids]])
    collection = SimpleNamespace(ids=[str(i) for i in range(120)], engine=engine)

    def scores(labels):
        relevance = [np.setdiff1d(np.flatnonzero(labels == labels[i]), [i]) for i in range(120)]
        orders = np.argsort(-(descriptors @ descriptors.T), axis=1)
        found = [average_precision(o[o != i], r) for i, (o, r) in enumerate(zip(orders, relevance))]
        return found, [expected_average_precision(119, len(r)) for r in relevance]

    warn_of_chance("X", *scores(labels), collection)  # is silent
    with pytest.warns(UserWarning, match="X: mAP is .* in random order .* belong to these photos"):
        warn_of_chance("X", *scores(np.roll(labels, 63)), collection)


def test_where_no_ranking_is_better_than_another_nothing_is_asked(rng):
    """Of one object in all photos, rankings in random order have a mAP of 100."""
    descriptors, _ = clustered(rng, 120, 6, 0.5)
    engine = SimpleNamespace(get=lambda ids: descriptors)
    collection = SimpleNamespace(ids=["0"], engine=engine)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_chance("X", [1.0, 1.0], [1.0, 1.0], collection)
        warn_of_chance("X", [0.99, 0.995, 1.0], [0.97, 0.97, 0.97], collection)
    with pytest.warns(UserWarning, match="mAP is 97"):
        warn_of_chance("X", [0.96, 0.97, 0.98], [0.97, 0.97, 0.97], collection)


@pytest.mark.parametrize(
    ("relevance", "said"),
    [
        ([], "1 queries have 0 sets"),
        ([Relevance([], [])], "query 0, q0: has no positives"),
        ([Relevance([1, 2], [2])], "photo 2 is a positive, and junk"),
        ([Relevance([3], [])], "photo 3 is a positive, and junk or excluded"),
        ([Relevance([6], [])], "photo 6 is none of 6"),
        ([Relevance([1], [-1])], "photo -1 is none of 6"),
    ],
)
def test_ground_truth_that_scores_nothing_is_refused_at_once(relevance, said, benchmark):
    """The last but two were met after all photos were described, or counted as missed."""
    benchmark.update(queries=benchmark.queries[:1], relevance=relevance, exclude=[3])
    for refuse in (check_benchmark, lambda benchmark: evaluate(benchmark, {})):
        with pytest.raises(ValueError, match=said):
            refuse(benchmark)


def test_an_evaluation_has_queries(benchmark):
    benchmark.update(queries=[], relevance=[])
    with pytest.raises(ValueError, match="0 queries have 0 sets"):
        evaluate(benchmark, {})


def test_photos_without_a_label_are_of_no_object(scenes):
    """None was an object of its own, or failed to be sorted among names."""
    unlabelled = Bunch(photos=scenes.photos, target=[t or None for t in scenes.target], DESCR="")
    found, expected = as_benchmark(unlabelled, "all"), as_benchmark(scenes, "all")
    assert (found.groups, found.labels) == (expected.groups, expected.labels)
    X = np.eye(len(scenes.photos))
    for scorer in (RetrievalScorer(), RetrievalScorer(distractor="")):
        assert scorer.chance(X, unlabelled.target) == RetrievalScorer(distractor="").chance(
            X, scenes.target
        )
    with pytest.raises(ValueError, match="4 labelled objects cannot be spread over 5 folds"):
        check_tuning(make_light(), {}, unlabelled, n_folds=5)


def test_an_evaluation_of_rolled_labels_warns(rng):
    seen = np.kron(rng.integers(0, 255, (8, 4, 4, 3)), np.ones((1, 6, 8, 1)))
    labels = rng.permutation(np.repeat(np.arange(8), 5))
    pixels = np.clip(seen[labels] + rng.normal(0, 20, (40, 24, 32, 3)), 0, 255).astype(np.uint8)
    photos = [Photo(each, name=str(i)) for i, each in enumerate(pixels)]
    light = make_light(regions=False)
    for roll in (0, 17):
        target = [f"object {label}" for label in np.roll(labels, roll)]
        benchmark = as_benchmark(Bunch(photos=photos, target=target, DESCR=""), "all")
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            evaluate(benchmark, {"light": light})
        assert [str(each.message)[:13] for each in told] == ["light: mAP is"] * bool(roll)
