"""What displays draw."""

import numpy as np
import pytest
from light import Tiles, make_light
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier

from sklearn_cmac import ActivationMap, ActivationPCA, GridRegions, Photo, Query
from sklearn_cmac.datasets import Relevance
from sklearn_cmac.inspection import (
    MatchDisplay,
    PrecisionRecallDisplay,
    RankingDisplay,
    RegionsDisplay,
    ScoreSurfaceDisplay,
    precision_at_recall,
)
from sklearn_cmac.metrics import average_precision
from sklearn_cmac.search import SpatialMatch
from sklearn_cmac.tuning import plot_tuning

matplotlib = pytest.importorskip("matplotlib", reason="displays need matplotlib")
matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def photos(rng):
    pixels = rng.integers(0, 255, (6, 24, 32, 3), np.uint8)
    return [Photo(each, name=f"photo {i}") for i, each in enumerate(pixels)]


def corners(patch):
    return patch.get_path().vertices[:-1]


# -- rankings -----------------------------------------------------------------------------------


def test_a_ranking_is_drawn_in_its_order_with_its_signs(photos):
    display = RankingDisplay.from_predictions(
        [4, 1, 0, 3], photos, Relevance([1, 3], [0]), scores=[0.9, 0.5, 0.25, 0.125], n_results=3
    )
    for image, i in zip(display.images_, [4, 1, 0], strict=True):
        np.testing.assert_array_equal(image.get_array(), photos[i].source)
    assert [t.get_text() for t in display.texts_] == ["✗ 1\n0.900", "✓ 2\n0.500", "– 3\n0.250"]
    edges = [matplotlib.colors.to_hex(frame.get_edgecolor()) for frame in display.frames_]
    assert edges == ["#c62828", "#1b7f3a", "#6b6b6b"]
    lefts = [image.get_extent()[0] for image in display.images_]
    assert lefts == sorted(lefts)
    for image, frame in zip(display.images_, display.frames_):
        left, right, bottom, top = image.get_extent()
        assert frame.get_bbox().extents == pytest.approx([left, top, right, bottom])


def test_an_estimator_ranks_what_is_drawn(photos):
    light = make_light()
    query = Query(photos[2], (4, 4, 28, 20))
    display = RankingDisplay.from_estimator(light, query, photos, n_results=3, exclude=0)
    (ranked,) = light.rank([query], photos, [0], 3)
    for image, i in zip(display.images_, ranked.order, strict=True):
        np.testing.assert_array_equal(image.get_array(), photos[i].source)
    assert len(display.ax_.images) == 3 + 1  # and the query
    plain = RankingDisplay.from_estimator(light.pipeline_, photos[1], photos, n_results=1)
    np.testing.assert_array_equal(plain.images_[0].get_array(), photos[1].source)


def test_each_photo_has_its_mark_and_score(photos):
    """Photos without a mark were left out, without a word."""
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[6, 1\]"):
        RankingDisplay(photos, right=[True]).plot()
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[6, 2\]"):
        RankingDisplay(photos, scores=[0.5, 0.25]).plot()
    assert RankingDisplay(photos[:1], scores=[np.nan]).plot().texts_[0].get_text() == "– 1"


@pytest.mark.filterwarnings("error")
def test_a_ranking_may_be_empty(photos):
    assert RankingDisplay.from_predictions([], photos).images_ == []


# -- maps ---------------------------------------------------------------------------------------


@pytest.fixture
def record(rng):
    record = ActivationMap.from_arrays(rng.random((3, 4, 5)), photo_size=(400, 300))
    (record,) = GridRegions(2).transform(ActivationPCA(4).fit_transform([record]))
    return record


def test_regions_are_outlined_where_they_are(record):
    display = RegionsDisplay.from_predictions(record, kind=0)
    drawn = sorted(corners(patch)[:, 0].tolist() for patch in display.outlines_)
    assert drawn == sorted(
        [cells.min(), cells.max() + 100, cells.max() + 100, cells.min()]
        for cells in (np.unique(r % 4) * 100.0 for r in record.regions.take([0, 1]))
    )
    with pytest.raises(ValueError, match="no regions of kind 7"):
        RegionsDisplay.from_predictions(record, kind=7)


def test_norms_and_components_are_drawn_over_their_part_of_the_photo(record):
    part = RegionsDisplay(record.crop((100, 100, 400, 300))).plot(show="norms")
    assert part.image_.get_extent() == [100, 400, 300, 100]
    expected = np.sqrt((record.activations[1:, 1:] ** 2).sum(axis=-1))
    np.testing.assert_allclose(part.image_.get_array(), expected)
    whole = RegionsDisplay.from_predictions(record, show="components")
    colors = whole.image_.get_array()
    assert colors.shape == (3, 4, 3)
    for channel in range(3):
        order = np.argsort(record.embedding[..., channel], axis=None)
        assert (np.diff(colors[..., channel].ravel()[order]) >= 0).all()
    with pytest.raises(ValueError, match="has no embedding"):
        part.plot(show="components")
    with pytest.raises(ValueError, match="show is one of"):
        part.plot(show="clusters")


def test_a_pipeline_describes_what_is_drawn(photos):
    display = RegionsDisplay.from_estimator(make_light(), photos[0], kind=1)
    (record,) = GridRegions(2).transform(Tiles().fit([]).transform(photos[:1]))
    assert len(display.outlines_) == np.sum(record.regions.kinds == 1)
    np.testing.assert_array_equal(display.ax_.images[0].get_array(), photos[0].source)


# -- matches ------------------------------------------------------------------------------------


def test_lines_go_from_the_points_of_the_query_to_those_of_the_photo(photos):
    """The photo is twice as large, and so is drawn at half its size."""
    large = np.zeros((48, 64, 3), np.uint8)
    pairs = np.array([[[1, 2], [10, 20]], [[3, 4], [30, 40]]], float)
    match = SpatialMatch(2, 2 * np.eye(3), pairs, np.array([[0, 0], [64, 0], [64, 48]], float))
    display = MatchDisplay.from_predictions(match, Query(photos[0], (1, 2, 30, 20)), large)
    assert (display.offset_, display.scale_) == (32 * 1.03, 0.5)
    segments = np.array(display.lines_.get_segments())
    np.testing.assert_allclose(segments[:, 0], pairs[:, 0])
    np.testing.assert_allclose(segments[:, 1], pairs[:, 1] / 2 + [32.96, 0])
    np.testing.assert_allclose(corners(display.outline_), [[32.96, 0], [64.96, 0], [64.96, 24]])
    box = display.ax_.patches[0]
    assert corners(box).tolist() == [[1, 2], [30, 2], [30, 20], [1, 20]]
    assert display.ax_.get_title() == "2 points agree"


def test_a_verifier_compares_what_is_drawn(photos):
    class Verifier:
        def compare(self, query, others):
            assert (query, others) == (photos[0], [photos[1]])
            return [SpatialMatch(0, None, np.empty((0, 2, 2)), np.empty((0, 2)))]

    display = MatchDisplay.from_estimator(Verifier(), photos[0], photos[1])
    assert display.outline_ is None
    assert display.lines_.get_segments() == []


# -- curves -------------------------------------------------------------------------------------


def test_precision_at_recall_by_hand():
    """A and B are found at ranks 1 and 3 without the junk J, C never."""
    found = precision_at_recall("AJXB", positives="ABC", junk="J")
    assert found.tolist() == pytest.approx([1, 2 / 3, 0])
    halves = precision_at_recall("AJXB", positives="ABC", junk="J", n_levels=2)
    assert halves.tolist() == pytest.approx([2 / 3, 0])  # half of three takes two
    quarters = precision_at_recall("AJXB", positives="AB", junk="J", n_levels=4)
    assert quarters.tolist() == pytest.approx([1, 1, 2 / 3, 2 / 3])


def test_the_precision_recall_curve_is_the_one_of_scikit_learn():
    """Of one query without junk, at the points where a positive is found."""
    from sklearn.metrics import precision_recall_curve

    order, positives = np.random.default_rng(0).permutation(30), [3, 8, 20, 21, 29]
    display = PrecisionRecallDisplay.from_predictions([order], [Relevance(positives, [])])
    truth = np.isin(order, positives)
    precision, recall, _ = precision_recall_curve(truth, -np.arange(30))
    ends = np.flatnonzero(truth[::-1])[::-1]  # thresholds rise, ranks fall
    np.testing.assert_allclose(display.line_.get_xdata(), recall[:-1][ends])
    np.testing.assert_allclose(display.line_.get_ydata(), precision[:-1][ends])


def test_curves_of_queries_are_averaged_and_the_legend_has_their_map():
    relevance = [Relevance([0, 1], [2]), Relevance([2], [])]
    display = PrecisionRecallDisplay.from_predictions([[2, 0, 3, 1], [3, 2]], relevance, name="X")
    precision = display.line_.get_ydata()
    assert precision[[0, 49, 50, 99]] == pytest.approx([0.75, 0.75, (2 / 3 + 0.5) / 2] + [7 / 12])
    score = (average_precision([0, 3, 1], [0, 1]) + average_precision([3, 2], [2])) / 2
    assert display.line_.get_label() == f"X (mAP = {100 * score:.1f})"
    with pytest.raises(ValueError, match="1 rankings for 2 queries"):
        PrecisionRecallDisplay.from_predictions([[0]], relevance)
    with pytest.raises(ValueError, match="there are no rankings"):
        PrecisionRecallDisplay.from_predictions([], [])


def test_the_curve_of_an_estimator_is_that_of_its_rankings(photos):
    light, relevance = make_light(), [Relevance([1, 2], [0])]
    display = PrecisionRecallDisplay.from_estimator(light, [photos[0]], photos, relevance, lw=4)
    (ranked,) = light.rank([photos[0]], photos)
    expected = precision_at_recall(ranked.order, [1, 2], [0])
    np.testing.assert_allclose(display.line_.get_ydata(), expected)
    assert display.line_.get_linewidth() == 4


# -- scores -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def search():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 3)), rng.integers(0, 2, 60)
    grid = {"n_neighbors": [1, 3, 5], "weights": ["uniform", "distance"], "p": [1, 2]}
    return GridSearchCV(KNeighborsClassifier(), grid, cv=2).fit(X, y)


def test_the_surface_has_the_best_score_of_each_cell(search):
    display = ScoreSurfaceDisplay.from_estimator(search, y="weights")
    found = search.cv_results_
    for row, weights in enumerate(["uniform", "distance"]):
        for column, n in enumerate([1, 3, 5]):
            score = max(
                score
                for params, score in zip(found["params"], found["mean_test_score"])
                if (params["n_neighbors"], params["weights"]) == (n, weights)
            )
            assert display.image_.get_array()[row, column] == pytest.approx(100 * score)
            assert display.texts_[3 * row + column].get_text() == f"{100 * score:.1f}"
    assert [label.get_text() for label in display.ax_.get_xticklabels()] == ["1", "3", "5"]
    assert display.ax_.get_ylabel() == "weights"


def test_one_parameter_gives_a_line(search):
    found = {"params": [{"a": 1}, {"a": 2}], "mean_test_score": [0.5, 0.25]}
    display = ScoreSurfaceDisplay.from_predictions(found)
    assert display.line_.get_ydata().tolist() == [50, 25]
    assert display.image_ is None
    with pytest.raises(ValueError, match="'b' was not searched over"):
        ScoreSurfaceDisplay.from_predictions(found, y="b")


def x_labels(display):
    return [label.get_text() for label in display.ax_.get_xticklabels()]


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([10, 1, 5], ["1", "5", "10"]),
        (np.logspace(-5, 1, 3), ["1e-05", "0.01", "10"]),
        ([np.float32(0.5), np.int64(2)], ["0.5", "2"]),
        (["b", "a"], ["b", "a"]),
        ([None, True, 0.5], ["None", "True", "0.5"]),
        ([GridRegions(2), GridRegions(1)], ["GridRegions(n_levels=2)", "GridRegions(n_levels=1)"]),
        ([np.mean, KNeighborsClassifier], ["mean", "KNeighborsClassifier"]),
        (["x" * 99], ["x" * 39 + "…"]),
    ],
)
def test_values_are_in_order_and_short(values, labels):
    """Of numbers as they grow, of others as they came."""
    found = {"params": [{"a": value} for value in values], "mean_test_score": [0.5] * len(values)}
    assert x_labels(ScoreSurfaceDisplay.from_predictions(found)) == labels


def test_a_score_stays_with_its_value():
    found = {"params": [{"a": 10}, {"a": 1}], "mean_test_score": [0.75, 0.5]}
    assert ScoreSurfaceDisplay.from_predictions(found).line_.get_ydata().tolist() == [50, 75]


def test_settings_of_a_list_of_grids_are_drawn_where_they_have_both_parameters():
    found = {"params": [{"a": 1, "b": 1}, {"a": 2, "b": 2}, {"a": 2, "c": 9}]}
    found["mean_test_score"] = [0.5, 0.25, 0.75]
    display = ScoreSurfaceDisplay.from_predictions(found)
    assert [text.get_text() for text in display.texts_] == ["50.0", "25.0"]
    line = ScoreSurfaceDisplay.from_predictions(
        {"params": [{"a": 1}, {"a": 2}, {"c": 3}], "mean_test_score": [0.5, 0.25, 1]}
    )
    assert line.line_.get_ydata().tolist() == [50, 25]


@pytest.mark.filterwarnings("error")
def test_fits_that_failed_have_no_score():
    found = {"params": [{"a": 1, "b": 1}, {"a": 2, "b": 2}], "mean_test_score": [np.nan, 0.25]}
    display = ScoreSurfaceDisplay.from_predictions(found)
    assert [text.get_text() for text in display.texts_] == ["25.0"]
    found["mean_test_score"] = [np.nan, np.nan]
    assert ScoreSurfaceDisplay.from_predictions(found).texts_ == []


@pytest.mark.parametrize(
    ("params", "axes"), [({}, {}), ({"a": 1}, {"y": "a"}), ({"a": 1, "b": 1}, {"x": "a", "y": "a"})]
)
def test_a_surface_needs_parameters(params, axes):
    with pytest.raises(ValueError, match="x and y are two of the parameters searched over"):
        ScoreSurfaceDisplay.from_predictions({"params": [params], "mean_test_score": [1]}, **axes)


def test_a_search_is_fitted_before_it_is_drawn():
    with pytest.raises(NotFittedError):
        ScoreSurfaceDisplay.from_estimator(GridSearchCV(KNeighborsClassifier(), {}))


def test_the_picture_of_tuning_is_the_surface(search):
    (ax, _) = plot_tuning(search, x="p", y="n_neighbors").axes
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("p", "n_neighbors")


# -- as scikit-learn's ----------------------------------------------------------------------------


def test_displays_draw_where_they_are_told(photos, record, search):
    match = SpatialMatch(0, None, np.empty((0, 2, 2)), np.empty((0, 2)))
    figure, axes = plt.subplots(5)
    displays = [
        RankingDisplay.from_predictions([0], photos, ax=axes[0]),
        RegionsDisplay.from_predictions(record, ax=axes[1]),
        MatchDisplay.from_predictions(match, photos[0], photos[1], ax=axes[2]),
        PrecisionRecallDisplay.from_predictions([[0]], [Relevance([0], [])], ax=axes[3]),
        ScoreSurfaceDisplay.from_estimator(search, ax=axes[4]),
    ]
    for display, ax in zip(displays, axes, strict=True):
        assert display.ax_ is ax
        assert display.figure_ is figure
        assert display.plot() is display
        assert display.figure_ is not figure


def test_without_matplotlib_an_error_says_what_to_install(photos, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"pip install sklearn-cmac\[plot\]"):
        RankingDisplay(photos).plot()
