"""Learned whitening against the publication's formula, worked out on its own."""

import numpy as np
import pytest
from sklearn.preprocessing import normalize

from sklearn_cmac import L2Aggregator, RegionVectors, RegionWhitener, make_siamac_pipeline
from sklearn_cmac._learned_whitening import (
    difference_covariance,
    pairs_from_labels,
    whitening_factor,
)
from sklearn_cmac.datasets import make_object_scenes


@pytest.fixture
def photos(rng):
    """240 vectors of 8 dimensions, 40 objects with 6 photos each, and the labels."""
    objects = rng.random((40, 8))
    noise = 0.05 * rng.standard_normal((240, 8)) @ rng.random((8, 8))
    return np.repeat(objects, 6, axis=0) + noise, np.repeat(np.arange(40), 6)


def all_pairs(labels):
    """Each matching pair once, by two loops."""
    n = len(labels)
    return [(i, j) for i in range(n) for j in range(i) if labels[i] == labels[j]]


def test_it_is_the_published_formula(photos):
    X, labels = photos
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    differences = np.array([unit[i] - unit[j] for i, j in all_pairs(labels)])
    within = differences.T @ differences / len(differences)
    factor = np.linalg.inv(np.linalg.cholesky(within))
    turned = (unit - unit.mean(axis=0)) @ factor.T
    _, values, axes = np.linalg.svd(turned, full_matrices=False)
    expected = normalize(turned @ axes.T)

    whitener = RegionWhitener(method="learned").fit(X, labels)
    got = whitener.transform(X)
    np.testing.assert_allclose(np.abs(got), np.abs(expected), atol=1e-8)
    np.testing.assert_allclose(got @ got.T, expected @ expected.T, atol=1e-8)
    np.testing.assert_allclose(whitener.explained_variance_, values**2 / (len(X) - 1))
    assert whitener.n_pairs_ == len(differences) == 40 * 15


def test_it_whitens_the_differences_of_matching_photos_and_sorts_by_variance(photos):
    X, labels = photos
    unit = normalize(X)
    pairs = np.array(all_pairs(labels))
    within = difference_covariance([v[None] for v in unit], pairs)
    factor, loading = whitening_factor(within)
    assert loading == 0
    np.testing.assert_allclose(factor @ within @ factor.T, np.eye(8), atol=1e-9)

    whitener = RegionWhitener(method="learned").fit(X, labels)
    # An orthogonal turn of whitened differences leaves them white.
    np.testing.assert_allclose(
        whitener.components_ @ within @ whitener.components_.T, np.eye(8), atol=1e-9
    )
    turned = (unit - whitener.mean_) @ whitener.components_.T
    covariance = np.cov(turned.T)
    np.testing.assert_allclose(covariance, np.diag(whitener.explained_variance_), atol=1e-8)
    assert (np.diff(whitener.explained_variance_) < 0).all()


def test_photos_of_one_object_come_closer(photos):
    X, labels = photos
    unit, got = normalize(X), RegionWhitener(method="learned").fit_transform(X, labels)
    same = labels[:, None] == labels
    plain, learned = ((v @ v.T)[same].mean() - (v @ v.T)[~same].mean() for v in (unit, got))
    assert learned > plain


def test_pairs_do_as_labels_do_in_any_order(photos):
    X, labels = photos
    by_label = RegionWhitener(method="learned").fit(X, labels)
    pairs = np.array(all_pairs(labels))[::-1, ::-1]
    by_pair = RegionWhitener(method="learned").fit(X, pairs=pairs)
    np.testing.assert_allclose(by_label.components_, by_pair.components_, rtol=1e-6)
    records = [RegionVectors(v[None]) for v in X]
    by_record = RegionWhitener(method="learned").fit(records, labels)
    np.testing.assert_allclose(by_label.components_, by_record.components_, rtol=1e-6)


def test_fewer_components_are_the_first_ones(photos):
    X, labels = photos
    full = RegionWhitener(method="learned").fit(X, labels)
    three = RegionWhitener(3, method="learned").fit(X, labels)
    np.testing.assert_allclose(three.components_, full.components_[:3], rtol=1e-9)


def test_shrinkage_is_added_to_the_variances_of_the_differences(photos):
    X, labels = photos
    whitener = RegionWhitener(method="learned", shrinkage=0.5).fit(X, labels)
    unit = normalize(X)
    differences = np.array([unit[i] - unit[j] for i, j in all_pairs(labels)])
    within = differences.T @ differences / len(differences)
    damped = within + 0.5 * np.trace(within) / 8 * np.eye(8)
    np.testing.assert_allclose(
        whitener.components_ @ damped @ whitener.components_.T, np.eye(8), atol=1e-9
    )


# -- which photos match -----------------------------------------------------------------------


def test_distractors_and_single_photos_match_none():
    pairs = pairs_from_labels(["a", "", "b", "a", "", "a", "c"], distractor="")
    assert {tuple(sorted(p)) for p in pairs.tolist()} == {(0, 3), (0, 5), (3, 5)}


def test_pairs_beyond_the_bound_are_drawn_evenly_and_seeded():
    labels = np.repeat([0, 1, 2], [2, 30, 40])
    pairs = pairs_from_labels(labels, max_pairs=400, random_state=3)
    assert pairs.shape == (400, 2)
    assert (labels[pairs[:, 0]] == labels[pairs[:, 1]]).all()
    assert (pairs[:, 0] != pairs[:, 1]).all()
    # 435 of 1216 pairs are of the second object: 143 of 400, give or take 4 deviations of 9.6.
    assert abs((labels[pairs[:, 0]] == 1).sum() - 143) < 39
    np.testing.assert_array_equal(pairs, pairs_from_labels(labels, None, 400, 3))


def test_a_region_matches_the_most_similar_one_of_the_other_photo():
    # Regions of the second photo come in another order, and its third is seen nowhere else.
    eye = np.eye(4)
    first = np.array([eye[0], eye[1]])
    second = np.array([eye[1], eye[0], normalize([eye[0] + eye[3]])[0]])
    covariance = difference_covariance([first, second], np.array([[0, 1]]))
    odd = second[2] - eye[0]  # all other differences are zero: 5 in all, one of them this
    np.testing.assert_allclose(covariance, np.outer(odd, odd) / 5, atol=1e-12)


def test_regions_are_whitened_as_photos_are(photos):
    X, labels = photos
    by_photo, whose = X.reshape(80, 3, 8), labels[::3]
    whitener = RegionWhitener(method="learned").fit(list(by_photo), whose)
    assert whitener.n_pairs_ == 40
    descriptors = L2Aggregator().fit_transform(whitener.transform(list(by_photo)))
    assert descriptors.shape == (80, 8)


# -- what goes wrong --------------------------------------------------------------------------


def test_fewer_pairs_than_dimensions_work_and_are_told(rng):
    X = rng.random((10, 30))
    with pytest.warns(UserWarning, match=r"30 dimensions learned from 5 matching pairs: they"):
        whitener = RegionWhitener(method="learned").fit(X, np.repeat(np.arange(5), 2))
    assert np.isfinite(whitener.transform(X)).all()
    RegionWhitener(method="learned", shrinkage=0.1).fit(X, np.repeat(np.arange(5), 2))


@pytest.mark.parametrize(
    ("y", "pairs", "message"),
    [
        (None, None, "give a label for each photo, or pairs of photos"),
        (range(10), None, "no two of 10 photos have the same label"),
        ([0, 0], None, "got 2 labels for 10 photos"),
        (None, [[0, 10]], "0 to 9; got 0 to 10"),
        (None, [[-1, 2]], "0 to 9; got -1 to 2"),
        (None, [[0, 1, 2]], r"integers of shape \(P, 2\)"),
        (None, [[0.0, 1.0]], r"integers of shape \(P, 2\)"),
        (None, [], r"integers of shape \(P, 2\)"),
    ],
)
def test_what_cannot_be_learned_from_is_told(rng, y, pairs, message):
    with pytest.raises(ValueError, match=message):
        RegionWhitener(method="learned").fit(rng.random((10, 4)), y, pairs=pairs)


def test_copies_of_one_photo_teach_nothing(rng):
    X = np.repeat(rng.random((4, 5)), 2, axis=0)
    with pytest.raises(ValueError, match="differ in none of n_features=5.*copies of one photo"):
        RegionWhitener(method="learned").fit(X, np.repeat(np.arange(4), 2))


# -- the pipeline -----------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:whitening")
def test_siamac_learns_from_labels_or_pairs():
    scenes = make_object_scenes(n_objects=4, n_scenes=3, n_distractors=4, size=(128, 96))
    params = {"features__max_size": 128, "whiten__shrinkage": 0.1, "whiten__distractor": ""}
    learned = make_siamac_pipeline(**params).fit(scenes.photos, scenes.target)
    assert learned["whiten"].n_pairs_ == 4 * 3
    pairs = [(3 * k + a, 3 * k + b) for k in range(4) for a, b in [(0, 1), (0, 2), (1, 2)]]
    given = make_siamac_pipeline(**params).fit(scenes.photos, whiten__pairs=pairs)
    np.testing.assert_allclose(
        learned.transform(scenes.photos), given.transform(scenes.photos), atol=1e-5
    )


def test_pairs_are_forgotten_by_a_fit_without_them(photos):
    whitener = RegionWhitener(method="learned").fit(*photos)
    assert not hasattr(whitener.set_params(method="pca").fit(photos[0]), "n_pairs_")
