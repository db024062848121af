"""The Normalized Cut against Shi's program, and what it does at its limits."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import shared_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from sklearn_cmac import (
    ActivationMap,
    ActivationPCA,
    ClusterMaxPooler,
    L2Aggregator,
    NCutClusterer,
    PhotoError,
    Regions,
)
from sklearn_cmac.regions._spectral import discretize, leading_eigenvectors, similarity

KERNELS = ("gaussian", "exponential")


@pytest.fixture(scope="module")
def cases():
    files = sorted(shared_folder("ncut_cases").glob("*.npz"))
    assert files
    cases = {}
    for file in files:
        with np.load(file) as case:
            cases[file.stem] = dict(case)
        weights = cases[file.stem]["sigma"] / cases[file.stem]["sigma"].sum()
        cases[file.stem]["points"] = cases[file.stem]["f"] * np.sqrt(weights)
    return cases


# -- agreement with the reference program -----------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
def test_eigenvalues_are_the_references(cases, kernel):
    for case in cases.values():
        eigenvalues, _ = leading_eigenvectors(similarity(case["points"], 0.05, kernel), 20)
        for k in (5, 10, 20):
            expected = case[f"{kernel}_k{k}_eigenvalues"]
            np.testing.assert_allclose(eigenvalues[:k], expected, atol=1e-8)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("k", [5, 10, 20])
def test_clusters_agree_with_the_reference_as_it_does_with_itself(cases, kernel, k):
    """Its labels depend on the start row; their agreement among themselves is the floor."""
    agreements = []
    for case in cases.values():
        labels = case[f"{kernel}_k{k}_labels"]
        starts = case[f"{kernel}_k{k}_start_row"]
        _, vectors = leading_eigenvectors(similarity(case["points"], 0.05, kernel), k)
        ours = [discretize(vectors, row) for row in starts]
        own = [adjusted_rand_score(a, b) for i, a in enumerate(labels) for b in labels[:i]]
        against = [adjusted_rand_score(a, b) for a in ours for b in labels]
        agreements.append((np.mean(against), np.mean(own)))
    for against, own in agreements:
        assert against >= own - 0.03


# -- the formulas -----------------------------------------------------------------------------


def test_similarity_by_hand():
    points = np.array([[0.0, 0], [0, 1], [0, 20]])  # z = 0.05 * 20 = 1
    expected = {"gaussian": np.exp(-1), "exponential": np.exp(-2)}
    for kernel in KERNELS:
        s = similarity(points, 0.05, kernel)
        assert s[0, 1] == pytest.approx(expected[kernel])
        assert s[0, 2] == 0
        np.testing.assert_array_equal(np.diag(s), 1)


def test_eigenvectors_solve_the_regularised_problem(rng):
    s = similarity(rng.random((150, 3)), 0.2)
    values, vectors = leading_eigenvectors(s, 6, regularization=0.5)
    degrees = s.sum(axis=1) + 1.0
    w = s + 0.5 * np.eye(150)
    np.testing.assert_allclose(w @ vectors, degrees[:, None] * vectors * values, atol=1e-8)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=0), np.sqrt(150))
    assert (np.diff(values) <= 0).all()


def test_dense_and_iterative_solutions_are_the_same(rng):
    points = rng.random((101, 2))
    s = similarity(points, 0.2)
    dense, _ = leading_eigenvectors(s, 26)
    iterative, _ = leading_eigenvectors(s, 20)
    np.testing.assert_allclose(dense[:20], iterative, atol=1e-10)


def test_the_offset_keeps_outliers_in_larger_clusters(rng):
    blob = rng.standard_normal((200, 2)) * 0.1
    points = np.vstack([blob, blob + [2, 0], [[9, 9], [-9, 9], [9, -9]]])
    with_offset = NCutClusterer(2, scale=0.02).fit_predict(points)
    without = NCutClusterer(2, scale=0.02, regularization=0).fit_predict(points)
    assert min(np.bincount(with_offset)) > 50
    assert min(np.bincount(without)) < 50


# -- the clusterer ----------------------------------------------------------------------------


def blobs(rng, n=40):
    centers = np.array([[0, 0], [10, 0], [0, 10]])
    return np.vstack([c + rng.standard_normal((n, 2)) for c in centers]), np.repeat([0, 1, 2], n)


def test_well_separated_clusters_are_found(rng):
    X, truth = blobs(rng)
    for kernel in KERNELS:
        labels = NCutClusterer(3, scale=0.2, kernel=kernel).fit_predict(X)
        assert adjusted_rand_score(truth, labels) == 1


def test_labels_have_a_row_for_each_of_several_counts(rng):
    X, _ = blobs(rng)
    clusterer = NCutClusterer((2, 5, 3)).fit(X)
    assert clusterer.labels_.shape == (3, 120)
    assert [labels.max() + 1 for labels in clusterer.labels_] == [2, 5, 3]
    assert clusterer.eigenvalues_.shape == (5,)
    assert NCutClusterer([3]).fit(X).labels_.shape == (1, 120)
    assert NCutClusterer(3).fit(X).labels_.shape == (120,)


@given(st.permutations(range(60)), st.integers(0, 59))
@settings(max_examples=20, deadline=None)
def test_permuting_points_permutes_labels(order, start):
    points = np.random.default_rng(0).random((60, 3))
    order = np.array(order)
    parts = []
    for p, row in ((points, start), (points[order], int(np.flatnonzero(order == start)[0]))):
        _, vectors = leading_eigenvectors(similarity(p, 0.3), 4)
        parts.append(discretize(vectors, row))
    assert adjusted_rand_score(parts[0][order], parts[1]) == 1


@pytest.mark.parametrize("factor", [1e-200, 1e-20, 1e20, 1e200])
def test_units_do_not_matter(factor, rng):
    X, truth = blobs(rng)
    labels = NCutClusterer(3, scale=0.2).fit_predict(X * factor)
    assert adjusted_rand_score(truth, labels) == 1


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_extreme_scales_give_a_partition(scale, rng):
    labels = NCutClusterer(4, scale=scale).fit_predict(blobs(rng)[0])
    assert sorted(set(labels)) == list(range(max(labels) + 1))


def test_degenerate_points_have_a_meaningful_answer():
    assert NCutClusterer(5).fit_predict(np.ones((30, 2))).tolist() == [0] * 30
    assert NCutClusterer(5).fit_predict([[3.0, 4.0]]).tolist() == [0]
    two = NCutClusterer((5, 20)).fit_predict([[0.0], [1.0]] * 15)
    for labels in two:
        assert adjusted_rand_score(labels, [0, 1] * 15) == 1
    few = NCutClusterer(20).fit_predict(np.arange(4.0)[:, None])
    assert sorted(few) == [0, 1, 2, 3]
    three_distinct = NCutClusterer(10).fit_predict(np.repeat([[0.0], [5], [9]], 7, axis=0))
    assert adjusted_rand_score(three_distinct, np.repeat([0, 1, 2], 7)) == 1


def test_points_that_are_not_finite_are_refused():
    for value in (np.nan, np.inf):
        with pytest.raises(ValueError, match="NaN|infinity"):
            NCutClusterer(2).fit([[0.0], [value], [1.0]])


@pytest.mark.parametrize("n_clusters", [0, (), (5, 0), 2.5, "many", [[1, 2]]])
def test_numbers_of_clusters_are_checked(n_clusters):
    with pytest.raises(ValueError, match="n_clusters"):
        NCutClusterer(n_clusters).fit(np.arange(9.0)[:, None])


# -- as a step of the pipeline ----------------------------------------------------------------


def test_regions_are_the_clusters_of_each_count_and_of_the_colours(records):
    embedded = ActivationPCA(3, random_state=0).fit_transform(records)
    clusterer = NCutClusterer((2, 4), n_color_clusters=3)
    for record in clusterer.fit_transform(embedded):
        regions = record.regions
        assert [(regions.kinds == kind).sum() for kind in range(3)] == [2, 4, 3]
        for kind in range(3):
            covered = regions.masks()[regions.kinds == kind].sum(axis=0)
            np.testing.assert_array_equal(covered, 1)
    points = embedded[0].embedding.reshape(-1, 3)
    labels = NCutClusterer((2, 4)).fit(points).labels_
    expected = Regions.from_labels(labels, embedded[0].shape)
    got = clusterer.transform(embedded[:1])[0].regions
    assert [r.tolist() for r in expected] == [got[i].tolist() for i in range(len(expected))]


def test_a_photo_is_cut_alike_whoever_its_neighbours_are(records):
    embedded = ActivationPCA(3, random_state=0).fit_transform(records)
    clusterer = NCutClusterer((2, 4)).fit(embedded)
    together = clusterer.transform(embedded)[3].regions
    alone = clusterer.transform(embedded[3:4])[0].regions
    parallel = clusterer.set_params(n_jobs=2).transform(embedded)[3].regions
    for other in (alone, parallel):
        np.testing.assert_array_equal(together.indices, other.indices)
        np.testing.assert_array_equal(together.indptr, other.indptr)


def test_shuffling_cells_changes_no_descriptor(records, rng):
    """The partition is shuffled with the cells if the start row goes with them."""
    record = records[0]
    n = record.shape[0] * record.shape[1]
    order = rng.permutation(n)
    cells = record.activations.reshape(n, -1)
    pca = ActivationPCA(3, random_state=0).fit(records)
    descriptors = []
    for rows, start in ((cells, 5), (cells[order], int(np.flatnonzero(order == 5)[0]))):
        shuffled = ActivationMap.from_arrays(rows.reshape(*record.shape, -1))
        points = pca.transform([shuffled])[0].embedding.reshape(n, -1).astype(float)
        _, vectors = leading_eigenvectors(similarity(points, 0.3), 4)
        regions = Regions.from_labels(discretize(vectors, start), record.shape)
        pooled = ClusterMaxPooler().fit_transform([replace(shuffled, regions=regions)])
        descriptors.append(L2Aggregator().fit_transform(pooled))
    np.testing.assert_allclose(descriptors[0], descriptors[1], atol=1e-6)


def test_places_pull_neighbours_together(rng):
    noise = rng.random((12, 12, 3)).astype("f4")
    record = replace(ActivationMap.from_arrays(noise), embedding=noise)

    def mean_spread(weight):
        clusterer = NCutClusterer(4, n_color_clusters=0, spatial_weight=weight)
        regions = clusterer.fit_transform([record])[0].regions
        places = np.indices((12, 12)).reshape(2, -1).T
        return np.mean([places[cells].var(axis=0).sum() for cells in regions])

    assert mean_spread(10) < 0.5 * mean_spread(0)


def test_what_a_record_lacks_is_named(records):
    with pytest.raises(ValueError, match="photo-0: has no embedding; ActivationPCA must come"):
        NCutClusterer().fit(records)
    grey = replace(records[0], arrays=records[0].arrays._replace(colors=None))
    embedded = ActivationPCA().fit_transform([grey])
    with pytest.raises(PhotoError, match="photo-0: its colours are not known"):
        NCutClusterer().fit(embedded).transform(embedded)
    assert NCutClusterer(n_color_clusters=0).fit(embedded).transform(embedded)
    broken = replace(embedded[0], embedding=np.full((6, 8, 2), np.nan))
    with pytest.raises(PhotoError, match="photo-0: its embedding is not finite"):
        NCutClusterer(n_color_clusters=0).fit([broken]).transform([broken])
