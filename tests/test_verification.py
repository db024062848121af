"""Spatial verification: known maps among outliers, and scenes whose object is known."""

import io
import sys
import warnings

import numpy as np
import pytest
from light import make_light
from PIL import Image
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator

from sklearn_cmac import (
    LearnedFeatureExtractor,
    LocalFeatureExtractor,
    LocalFeatures,
    make_bow_pipeline,
    make_mac_pipeline,
)
from sklearn_cmac.datasets import as_benchmark, make_object_scenes
from sklearn_cmac.evaluation import evaluate
from sklearn_cmac.persistence import load_pipeline, save_pipeline
from sklearn_cmac.reranking._verification import matching_pairs
from sklearn_cmac.search import (
    LightGlueMatcher,
    Localization,
    RegionMatching,
    RetrievalIndex,
    Retriever,
    SpatialVerification,
    find_transform,
)

BLANK = np.full((60, 80, 3), 200, np.uint8)


class Alike(BaseEstimator):
    """Finds all photos equally similar."""

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        return np.ones((len(X), 1), np.float32)


@pytest.fixture(scope="module")
def scenes():
    """Two scenes of each object. In none does the background show a piece of another object."""
    return make_object_scenes(n_objects=3, n_scenes=2, n_distractors=2, size=(480, 360))


@pytest.fixture(scope="module")
def extractor(tmp_path_factory):
    return LocalFeatureExtractor(store=tmp_path_factory.mktemp("features"))


def verify(step, queries, photos, **kwargs):
    return Retriever(Alike(), [("verify", step)]).fit(photos).rank(queries, photos, **kwargs)


# -- matching ---------------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [0.6, 0.8, 1.0])
def test_matches_are_each_others_nearest_and_clearly_so(rng, ratio):
    """Of random descriptors, and of whole numbers, where many distances are equal."""
    photo = rng.random((60, 6))
    query = np.concatenate([photo[::3] + 0.1 * rng.standard_normal((20, 6)), rng.random((15, 6))])
    for mine, others in ((query, photo), rng.integers(0, 4, (2, 40, 6)).astype(np.float32)):
        distance = [[np.sqrt(((a - b) ** 2).sum(dtype=float)) for b in others] for a in mine]
        expected = []
        for i, row in enumerate(distance):
            nearest = row.index(min(row))
            first, second = sorted(row)[:2]
            column = [other[nearest] for other in distance]
            clear = ratio == 1 or first == 0 or first / second < ratio
            if clear and column.index(min(column)) == i:
                expected.append([i, nearest])
        assert len(expected) > 3
        np.testing.assert_array_equal(matching_pairs(mine, others, ratio), expected)


def test_matches_by_hand():
    """The second of the query has two like it, and the third has one that another is nearer to."""
    query = np.array([[0.0], [5.0], [9.0]])
    photo = np.array([[8.0], [0.1], [5.1], [4.9]])
    assert matching_pairs(query, photo, 0.8).tolist() == [[0, 1], [2, 0]]
    assert matching_pairs(query[:1], photo[1:2], 0.8).tolist() == [[0, 0]]
    # The distances to the nearest two are 4 and 5: that ratio is not below 0.8.
    assert matching_pairs(np.array([[0.0]]), np.array([[5.0], [-4.0]]), 0.8).tolist() == []
    assert matching_pairs(np.array([[0.0]]), np.array([[5.0], [-4.0]]), 0.81).tolist() == [[0, 1]]
    assert matching_pairs(query[:0], photo, 0.8).shape == (0, 2)
    assert matching_pairs(query, photo[:0], 0.8).shape == (0, 2)


def test_without_scikit_image_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.feature", None)
    with pytest.raises(ImportError, match=r"pip install sklearn-cmac\[local\]"):
        matching_pairs(np.eye(3), np.eye(3), 0.8)


# -- the map of the plane ---------------------------------------------------------------------

TURN = np.deg2rad(25)
MAPS = {
    "affine": np.array([[0.9, 0.3, 40.0], [-0.2, 0.6, 90.0]]),
    "similarity": np.array(
        [
            [1.3 * np.cos(TURN), -1.3 * np.sin(TURN), 60.0],
            [1.3 * np.sin(TURN), 1.3 * np.cos(TURN), -20.0],
        ]
    ),
}


def moved(points, matrix):
    return points @ matrix[:, :2].T + matrix[:, 2]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("transform", MAPS)
def test_a_known_map_is_recovered_among_60_percent_outliers(transform, seed):
    rng = np.random.default_rng(seed)
    source = rng.uniform(0, 500, (100, 2))
    target = moved(source, MAPS[transform])
    wrong = rng.permutation(100)[:60]
    target[wrong] = rng.uniform(0, 500, (60, 2))
    right = np.setdiff1d(np.arange(100), wrong)
    matrix, inliers = find_transform(source, target, 2, transform)
    assert inliers[right].all()
    assert inliers[wrong].sum() <= 2  # one in 20000 lies near its place by chance
    np.testing.assert_allclose(moved(source[right], matrix), target[right], atol=1)
    noisy = target + rng.normal(0, 0.5, target.shape)
    matrix, inliers = find_transform(source, noisy, 4, transform)
    assert inliers[right].mean() > 0.9
    np.testing.assert_allclose(moved(source[right], matrix), target[right], atol=3)


def test_a_seed_gives_the_same_map_again(rng):
    pairs = rng.uniform(0, 100, (2, 40, 2))
    first, second = (find_transform(*pairs, 5, random_state=3) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


@pytest.mark.parametrize("n", [0, 1, 2])
def test_fewer_than_three_pairs_agree_with_no_map(n):
    for transform in MAPS:
        matrix, inliers = find_transform(np.eye(2)[:n], np.eye(2)[:n], 1, transform)
        assert matrix is None
        assert inliers.tolist() == [False] * n


@pytest.mark.parametrize(
    "change", [[[-1, 0], [0, 1]], [[0.05, 0], [0, 0.05]], [[20, 0], [0, 20]], [[1, 1], [1, 1]]]
)
def test_maps_that_mirror_or_collapse_are_refused(change, rng):
    source = rng.uniform(0, 500, (30, 2))
    _, inliers = find_transform(source, source @ np.array(change).T, 1e-3)
    assert inliers.sum() < 6


# -- the step ---------------------------------------------------------------------------------


def test_the_other_scene_of_an_object_is_ranked_first(scenes, extractor):
    """Among photos that descriptors do not tell apart, and a query's own left out."""
    asking = [i for i, target in enumerate(scenes.target) if target]
    queries = [scenes.photos[i].as_query() for i in asking]
    found = verify(SpatialVerification(extractor), queries, scenes.photos, exclude=asking)
    for i, ranked in zip(asking, found):
        assert scenes.target[ranked.order[0]] == scenes.target[i]
        assert ranked.scores[0] > 0.5 > ranked.scores[-1]


def test_a_photo_agrees_with_itself_in_all_its_features(scenes, extractor):
    photo = scenes.photos[0]
    (features,) = extractor.transform([photo])
    step = SpatialVerification(extractor, ratio=1.0)
    (ranked,) = verify(step, [photo], [BLANK, photo])
    assert ranked.order.tolist() == [1, 0]
    assert ranked.scores[0] > 0.999
    assert ranked.scores[1] == 0
    # But for points with several orientations whose descriptors are alike.
    (match,) = step.compare(photo, [photo])
    assert 0.95 * len(features) <= match.n_inliers <= len(features)


def test_ties_and_what_is_behind_the_candidates_keep_their_order(scenes, extractor):
    nearly = scenes.photos[0].source.copy()
    nearly[0, 0] ^= 1  # of a copy there is nothing to tell: it stands behind the original
    photos = [BLANK, scenes.photos[-1], 255 - BLANK, scenes.photos[0], nearly]
    query = scenes.photos[0].as_query()
    plain = verify(None, [query], photos)[0].order.tolist()
    for n in (5, 4, 3):
        step = SpatialVerification(extractor, n_candidates=n)
        (ranked,) = verify(step, [query], photos)
        first = sorted(plain[:n], key=lambda i: i not in (3, 4))
        assert ranked.order.tolist() == first + plain[n:]


def test_a_query_without_features_changes_nothing(scenes, extractor):
    step = SpatialVerification(extractor)
    (ranked,) = verify(step, [BLANK], scenes.photos)
    assert ranked.order.tolist() == verify(None, [BLANK], scenes.photos)[0].order.tolist()


class Planted(BaseEstimator):
    """Takes the place of the extractor: photos are local features already."""

    def transform(self, X):
        self.asked_ = [*getattr(self, "asked_", []), *X]
        return list(X)


def test_few_features_that_agree_count_as_none_and_each_photo_is_looked_at_once(rng):
    query = LocalFeatures(rng.uniform(0, 100, (9, 2)), np.eye(9), "query", (100, 100))
    other = LocalFeatures(query.positions + 3, np.eye(9), "other", (100, 100))
    photos = [
        LocalFeatures(query.positions[:n], np.eye(9)[:n], f"{n} in place", (100, 100))
        for n in (2, 5, 8)
    ]
    planted = Planted()
    # So that the score is the number of inliers, but for a logistic curve.
    step = SpatialVerification(planted, min_inliers=6, calibration=(0.0, 1.0))
    retriever = Retriever(FrozenEstimator(Alike().fit([])), [("verify", step)]).fit([])
    for ranked in retriever.rank([query, other], photos):
        assert ranked.order[0] == 2
        np.testing.assert_allclose(ranked.scores, [9 / 10, 0, 0])
    assert planted.asked_[:2] == [query, other]
    assert sorted(map(photos.index, planted.asked_[2:])) == [0, 1, 2]
    retriever.set_params(verify__min_inliers=3)
    np.testing.assert_allclose(retriever.rank([query], photos)[0].scores, [9 / 10, 6 / 7, 0])


VIEW = np.array([[0.9, 0.2, 40.0], [-0.1, 0.8, 60.0], [2e-4, -1e-4, 1.0]])


def seen(points, view):
    """Where a view takes points, by homogeneous coordinates."""
    x, y, depth = view @ np.column_stack([points, np.ones(len(points))]).T
    return np.stack([x, y], axis=1) / depth[:, None]


@pytest.fixture
def learned(rng):
    """Two photos of one thing by a network's features, and one of something else."""
    n = 40
    descriptors = np.eye(2 * n, dtype=np.float32)
    first = rng.uniform(50, 350, (n, 2))
    placed = {"query": first, "other view": seen(first, VIEW), "else": rng.uniform(0, 400, (n, 2))}
    return [
        LocalFeatures(places, descriptors[:n], name, (400, 400), np.ones(n, np.float32))
        for name, places in placed.items()
    ]


def test_features_of_a_network_are_verified_by_a_homography(learned):
    pytest.importorskip("poselib", reason="needs pip install sklearn-cmac[verify]")
    query, *photos = learned
    (ranked,) = verify(SpatialVerification(Planted()), [query], photos[::-1])
    assert ranked.order.tolist() == [1, 0]
    assert ranked.scores[0] > 0.99
    assert ranked.scores[1] == 0
    match, _ = SpatialVerification(Planted()).compare(query, photos)
    assert match.n_inliers == 40
    np.testing.assert_allclose(match.matrix / match.matrix[2, 2], VIEW, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(match.pairs, np.stack([query.positions, photos[0].positions], 1))


def test_the_box_of_a_match_is_where_the_query_lies_as_far_as_it_is_in_the_photo(learned):
    """By SIFT's way, so that no matcher is needed: moved by (100, 30) in a photo of 400 pixels."""
    query, *_ = learned
    moved = LocalFeatures(query.positions + (100, 30), query.descriptors, "moved", (400, 400))
    (match,) = SpatialVerification(Planted()).compare(query, [moved])
    np.testing.assert_allclose(match.box, (100, 30, 400, 400), atol=1e-3)
    assert len(match.outline) == 4
    nothing = LocalFeatures(np.empty((0, 2)), np.empty((0, 80)), "nothing", (400, 400))
    (match,) = SpatialVerification(Planted()).compare(query, [nothing])
    assert (match.n_inliers, match.matrix, match.box) == (0, None, None)
    assert match.outline.shape == match.pairs.shape[:1] + (2,) == (0, 2)


def test_a_matcher_of_ones_own_says_what_matches(learned):
    class InOrder:
        def match(self, query, photos):
            return [np.repeat(np.arange(len(query))[:30, None], 2, axis=1) for _ in photos]

    query, photo, _ = learned
    step = SpatialVerification(Planted(), matcher=InOrder(), transform="homography")
    assert step.compare(query, [photo])[0].n_inliers == 30


def test_a_file_keeps_the_extractor_and_the_matcher(tmp_path):
    step = SpatialVerification(
        LearnedFeatureExtractor("aliked-n16"), matcher=LightGlueMatcher(max_features=256)
    )
    save_pipeline(step, tmp_path / "step.cmac")
    loaded = load_pipeline(tmp_path / "step.cmac")
    assert repr(loaded) == repr(step)
    assert repr(clone(step).set_params(matcher__max_features=9).matcher).endswith("features=9)")


def test_processes_change_nothing(scenes, extractor):
    query = scenes.photos[0].as_query()
    one, two = (
        verify(SpatialVerification(extractor, n_jobs=n), [query], scenes.photos)[0] for n in (1, 2)
    )
    np.testing.assert_array_equal(one.order, two.order)
    np.testing.assert_array_equal(one.scores, two.scores)


def test_it_works_behind_a_network(scenes, extractor):
    pipeline = make_mac_pipeline(features__max_size=240, whiten=None)
    steps = [("verify", SpatialVerification(extractor))]
    retriever = Retriever(pipeline, steps).fit(scenes.photos)
    (ranked,) = retriever.rank([scenes.photos[0].as_query()], scenes.photos, exclude=[0])
    assert ranked.order[0] == 1


def test_an_index_verifies_and_names_a_photo_that_is_gone(scenes, extractor, tmp_path):
    paths = []
    for i in (0, 1, 2, 3):
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(scenes.photos[i].source).save(paths[-1])
    pipeline = make_bow_pipeline(encode__n_words=50).set_params(features=extractor)
    retriever = Retriever(pipeline, [("verify", SpatialVerification(extractor))]).fit(paths)
    index = RetrievalIndex(retriever)
    assert index.add(paths).failed == []
    index.save(tmp_path / "index")
    index = RetrievalIndex.load(tmp_path / "index")
    first, second = index.search(scenes.photos[0].as_query(), n_results=2)
    assert (first.name, second.name) == (str(paths[0]), str(paths[1]))
    assert first.score > second.score > 0.5
    # It stopped every search. Now the photo is where descriptors alone ranked it.
    plain = Retriever(FrozenEstimator(retriever.pipeline_)).fit([])
    query = scenes.photos[0].as_query()
    place = plain.rank([query], paths)[0].order.tolist().index(1)
    paths[1].unlink()
    with pytest.warns(UserWarning, match=r"1\.png: is not there any more.*It keeps its rank"):
        again = index.search(query, n_results=4)
    assert again[place].name == str(paths[1])
    assert len(again) == 4


def test_it_is_evaluated_beside_the_plain_ranking(scenes, extractor):
    pipeline = make_bow_pipeline(encode__n_words=50).set_params(features=extractor)
    steps = {"plain": [], "verified": [("verify", SpatialVerification(extractor))]}
    table = evaluate(
        as_benchmark(scenes), {"BoW": FrozenEstimator(pipeline.fit(scenes.photos))}, steps=steps
    )
    plain, verified = (row.mean_average_precision for row in table.rows)
    assert plain < verified == 1


@pytest.mark.parametrize("step", [RegionMatching(), Localization()])
def test_steps_that_read_activation_maps_say_that_there_are_none(step, scenes, extractor):
    pipeline = make_bow_pipeline(encode__n_words=50).set_params(features=extractor)
    retriever = Retriever(pipeline, [("step", step)]).fit(scenes.photos)
    with pytest.raises(ValueError, match="this pipeline of features, encode makes LocalFeatures"):
        retriever.rank(scenes.photos[:1], scenes.photos)


# -- photos of all kinds ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def scene():
    """A query and its photo, of 240x180 pixels."""
    photo = make_object_scenes(n_objects=1, n_scenes=1, n_distractors=0, size=(240, 180)).photos[0]
    return photo.as_query(), photo.source


def test_a_photo_turned_by_90_degrees_is_verified_and_the_object_found_in_it(scene):
    query, pixels = scene
    (match,) = SpatialVerification().compare(query, [np.rot90(pixels).copy()])
    assert match.probability > 0.99
    # Anticlockwise, (x, y) goes to (y, 240 - x).
    x0, y0, x1, y1 = query.box
    np.testing.assert_allclose(match.box, (y0, 240 - x1, y1, 240 - x0), atol=1.5)


def test_photos_of_which_nothing_can_be_said_stay_behind_and_harm_nobody(scene):
    query, pixels = scene
    stripe = np.tile(np.arange(3000, dtype=np.uint8)[None, :, None], (12, 1, 3))
    photos = [BLANK, pixels[:5, :5], pixels[:1], stripe, pixels]
    (ranked,) = verify(SpatialVerification(), [query], photos)
    assert ranked.order[0] == 4
    assert ranked.scores[0] > 0.99
    assert ranked.scores[1:].tolist() == [0] * 4
    for match in SpatialVerification().compare(query, photos[:3]):
        assert (match.n_inliers, match.box) == (0, None)
        assert match.probability < 0.01


def test_photos_too_large_to_be_decoded_are_named_and_keep_their_rank(scene):
    query, pixels = scene
    huge = io.BytesIO()
    Image.fromarray(np.tile(pixels, (2, 2, 1))).save(huge, "PNG")
    photos = [pixels, BLANK, huge.getvalue(), 255 - BLANK]
    plain = verify(None, [query], photos)[0].order.tolist()
    step = SpatialVerification(LocalFeatureExtractor(max_pixels=50_000))
    with pytest.warns(UserWarning, match=r"480x360.*It keeps its rank"):
        (ranked,) = verify(step, [query], photos)
    others = sorted((i for i in plain if i != 2), key=lambda i: i != 0)
    others.insert(plain.index(2), 2)
    assert ranked.order.tolist() == others


def test_a_photo_deleted_since_is_verified_by_the_features_that_the_index_keeps(tmp_path):
    pytest.importorskip("kornia", reason="kornia is not installed: no learned features")
    scenes = make_object_scenes(n_objects=2, n_scenes=2, n_distractors=2, size=(320, 240))
    paths = [tmp_path / f"{i}.png" for i in range(6)]
    for path, photo in zip(paths, scenes.photos):
        Image.fromarray(photo.source).save(path)
    step = SpatialVerification(LearnedFeatureExtractor(max_features=300, max_size=320))
    retriever = Retriever(FrozenEstimator(make_light(regions=False)), [("verify", step)]).fit([])
    query = scenes.photos[0].as_query()
    with RetrievalIndex.create(tmp_path / "index.cmac", retriever) as index:
        index.add(paths)
        before = index.search(query, 6)
        for path in paths:
            path.unlink()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            after = index.search(query, 6)
    assert [tuple(result) for result in after] == [tuple(result) for result in before]
    assert before[0].score > 0.99
