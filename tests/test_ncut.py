"""The Normalized Cut against Shi's program, and what it does at its limits."""

import itertools
import json
import os
import subprocess
import sys
import tracemalloc
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import shared_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.linalg import eigh
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import pdist
from sklearn.metrics import adjusted_rand_score, confusion_matrix
from threadpoolctl import threadpool_limits

from sklearn_cmac import (
    ActivationMap,
    ActivationPCA,
    ClusterMaxPooler,
    L2Aggregator,
    NCutClusterer,
    PhotoError,
    Regions,
)
from sklearn_cmac.regions._banded import (
    BandedSimilarity,
    banded_eigenvectors,
    largest_distance,
    resolve_faint_rows,
)
from sklearn_cmac.regions._spectral import (
    SMALLEST_SCALE,
    discretize,
    leading_eigenvectors,
    normalized_cut,
    similarity,
)

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


def count_differences(a, b):
    """Points that two partitions put differently, their labels matched as well as can be."""
    table = confusion_matrix(a, b)
    rows, cols = linear_sum_assignment(-table)
    return len(a) - table[rows, cols].sum()


def never_empty(vectors, start):
    """Whether the discretisation meets no empty cluster on its way.

    Where it does, the sign of a singular vector to the value zero, a rounding error, decides
    how it goes on, in the reference program too.
    """
    met = []
    svd = np.linalg.svd

    def watched(sums):
        met.append(not sums.any(axis=1).all())
        return svd(sums)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np.linalg, "svd", watched)
        labels = discretize(vectors, start)
    return labels, not any(met)


def test_partitions_of_the_references_eigenvectors_are_identical(cases):
    differing = total = determined = 0
    for case in cases.values():
        for kernel, k in itertools.product(KERNELS, (5, 10, 20)):
            key = f"{kernel}_k{k}"
            for start, expected in zip(case[f"{key}_start_row"], case[f"{key}_labels"]):
                labels, is_determined = never_empty(case[f"{key}_eigenvectors"], start)
                same = count_differences(labels, expected) == 0
                assert same or not is_determined
                differing += not same
                determined += is_determined
                total += 1
    assert determined > 0.7 * total
    assert differing < 0.03 * total


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_whole_cut_agrees_with_the_reference_as_it_does_with_itself(cases, kernel, precision):
    counts = (5, 10, 20)
    for case in cases.values():
        labels = [case[f"{kernel}_k{k}_labels"] for k in counts]
        starts = [case[f"{kernel}_k{k}_start_row"] for k in counts]
        ours = [
            normalized_cut(case["points"], counts, rows, kernel=kernel, precision=precision)[0]
            for rows in zip(*starts)
        ]
        for theirs, mine in zip(labels, zip(*ours)):
            pairs = itertools.combinations(theirs, 2)
            own = np.mean([adjusted_rand_score(a, b) for a, b in pairs])
            against = [adjusted_rand_score(a, b) for a in mine for b in theirs]
            assert np.mean(against) >= own - 0.03


# -- single precision -------------------------------------------------------------------------


def clumps(seed=0, n=700, c=4):
    """Points that spread most along one axis, as embeddings do."""
    rng = np.random.default_rng(seed)
    centers = rng.random((9, c)) * [4, 1, 0.5, 0.2][:c]
    return centers[rng.integers(9, size=n)] + 0.08 * rng.standard_normal((n, c))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("c", [1, 2, 4])
@pytest.mark.parametrize("scale", [SMALLEST_SCALE, 0.05, 1.0])
def test_the_band_holds_all_similarities(kernel, c, scale):
    points = clumps(c=c)
    dense = similarity(points, scale, kernel)
    band = BandedSimilarity(points, scale, kernel)
    dense = dense[np.ix_(band.order, band.order)]
    np.testing.assert_allclose(band.degrees, dense.sum(axis=1), rtol=5e-3)
    vectors = np.random.default_rng(1).standard_normal((700, 3)).astype("f4")
    np.testing.assert_allclose(band.dot(vectors), dense @ vectors, atol=5e-2)


@pytest.mark.parametrize("c", [3, 4])
def test_the_band_holds_normal_numbers_only(c):
    # Smaller ones are right, but processors multiply them many times slower.
    points = clumps(c=c) * [1, 30, 30, 30][:c]
    for *_, tile in BandedSimilarity(points, SMALLEST_SCALE, "gaussian")._tiles:
        assert not ((tile > 0) & (tile < np.finfo("f4").tiny)).any()


@given(st.integers(1, 4), st.integers(2, 400), st.integers(0, 99), st.booleans())
@settings(max_examples=30)
def test_the_largest_distance_is_exact(c, n, seed, on_a_sphere):
    points = np.random.default_rng(seed).standard_normal((n, c))
    if on_a_sphere:
        points /= np.linalg.norm(points, axis=1, keepdims=True)
    assert largest_distance(points) == pytest.approx(pdist(points).max(), rel=1e-7)


@pytest.mark.parametrize("kernel", KERNELS)
def test_single_precision_eigenvalues_are_good_for_labels(kernel):
    points = clumps()
    expected, _ = leading_eigenvectors(similarity(points, 0.05, kernel), 20)
    got, (vectors,) = banded_eigenvectors(points, (20,), 0.05, kernel, 0.5)
    np.testing.assert_allclose(got, expected, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=0), np.sqrt(700), rtol=1e-3)


def test_many_clusters_of_many_points():
    points = np.random.default_rng(0).random((2000, 2))
    labels, values = normalized_cut(points, (200,), (0,))
    assert values.shape == (200,)
    assert 150 < labels.max() < 200


@pytest.mark.parametrize("kernel", KERNELS)
def test_faint_rows_are_computed_from_the_others(kernel, rng):
    """Exact eigenvectors, some rows of which are replaced by noise, are restored."""
    points = clumps()
    values, exact = leading_eigenvectors(similarity(points, 0.05, kernel), 5)
    degrees = similarity(points, 0.05, kernel).sum(axis=1) + 1
    lost = np.argsort(np.linalg.norm(exact, axis=1))[:40]
    coarse = exact.copy()
    coarse[lost] = 1e-3 * rng.standard_normal((40, 5))
    faint = np.isin(np.arange(700), lost)
    got = resolve_faint_rows(coarse, values, faint, points, degrees, 0.05, kernel, 0.5)
    np.testing.assert_allclose(got[lost], exact[lost], atol=1e-3)
    np.testing.assert_array_equal(got[~faint], exact[~faint])


def test_few_distinct_points_among_many_exhaust_the_krylov_space():
    rng = np.random.default_rng(0)
    places = rng.random((6, 3))
    truth = rng.integers(6, size=900)
    labels, values = normalized_cut(places[truth], (5, 20), (0, 0))
    assert np.isfinite(values).all()
    assert adjusted_rand_score(truth, labels[1]) == 1


def exact_partitions(points, k, kernel, starts):
    """Partitions of the dense eigenproblem, and on which points its eigenvectors tell them.

    What is below 1e-6, the tolerance of the reference program's solver, is noise there. If two
    eigenvalues are equal, that may be all points.
    """
    s = similarity(points, 0.05, kernel)
    root = 1 / np.sqrt(s.sum(axis=1) + 1)
    values, vectors = eigh(s * root[:, None] * root + np.diag(0.5 * root**2))
    vectors = vectors[:, -k:]
    told = (np.linalg.norm(vectors, axis=1) > 1e-6) & (values[-k] - values[-k - 1] > 1e-8)
    noise = 1e-9 * np.random.default_rng(0).standard_normal(vectors.shape)
    columns = (vectors + noise) * root[:, None]
    columns /= np.linalg.norm(columns, axis=0)
    return [discretize(columns, row) for row in starts], told


KINDS = {
    "noise in five dimensions": lambda rng, n: rng.random((n, 5)),
    "normal in three dimensions": lambda rng, n: rng.standard_normal((n, 3)),
    "heavy tails": lambda rng, n: rng.standard_t(3, (n, 4)),
}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("n", [300, 900])
@pytest.mark.parametrize("kind", KINDS)
def test_points_without_clusters_are_cut_as_in_double_precision(kind, n, kernel):
    rng = np.random.default_rng(7)
    points, starts, counts = KINDS[kind](rng, n), rng.integers(n, size=8), (5, 10, 20)
    ours = [normalized_cut(points, counts, [row] * 3, kernel=kernel)[0] for row in starts]
    for k, mine in zip(counts, zip(*ours)):
        expected, told = exact_partitions(points, k, kernel, starts)
        if not told.any():
            continue
        pairs = itertools.combinations(expected, 2)
        own = np.mean([adjusted_rand_score(a[told], b[told]) for a, b in pairs])
        against = [adjusted_rand_score(a[told], b[told]) for a in mine for b in expected]
        assert np.mean(against) >= own - 0.03


@pytest.mark.parametrize(
    "points",
    [
        clumps(n=500),
        clumps(n=1000),
        np.random.default_rng(0).random((700, 5)),
        np.random.default_rng(0).standard_normal((700, 2))
        * 10.0 ** np.arange(-300, 50, 0.5)[:, None],
    ],
    ids=["few", "many", "noise", "powers"],
)
@pytest.mark.parametrize("device", [None, "cpu"])
def test_labels_do_not_depend_on_threads_or_on_what_was_cut_before(points, device):
    labels = []
    for threads in (1, 2, 4, 1):
        with threadpool_limits(threads):
            before = torch.get_num_threads()
            torch.set_num_threads(threads)
            labels.append(cut_by(device, points))
            assert torch.get_num_threads() == threads
            torch.set_num_threads(before)
    for other in labels[1:]:
        np.testing.assert_array_equal(labels[0], other)


def cut_by(device, points, **params):
    from sklearn_cmac.regions._batched import normalized_cuts

    if device is None:
        return normalized_cut(points, (5, 20), (0, 0), **params)[0]
    return normalized_cuts([points], (5, 20), [(0, 0)], device=device, **params)[0]


@pytest.mark.parametrize("threads", ["1", "2", "4"])
def test_another_process_cuts_alike(threads):
    script = (
        "import numpy as np; from sklearn_cmac import NCutClusterer;"
        "points = np.random.default_rng(0).random((650, 4));"
        "print(NCutClusterer((5, 20)).fit(points).labels_.tolist())"
    )
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = os.environ | dict.fromkeys(names, threads)
    got = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    points = np.random.default_rng(0).random((650, 4))
    assert json.loads(got.stdout) == NCutClusterer((5, 20)).fit(points).labels_.tolist()


def test_memory_stays_below_two_matrices_in_single_precision():
    n = 2000
    points = clumps(n=n)
    tracemalloc.start()
    normalized_cut(points, (5, 20), (0, 0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * n * n * 4


def test_a_batch_with_torch_is_cut_as_each_alone(records):
    from sklearn_cmac.regions._batched import normalized_cuts

    sets = [clumps(seed) for seed in range(3)] + [np.repeat([[0.0, 0, 0, 0], [1, 0, 0, 0]], 350, 0)]
    starts = [[i, 2 * i] for i in range(4)]
    batch = normalized_cuts(sets, (5, 9), starts)
    for points, rows, labels in zip(sets, starts, batch):
        alone, _ = normalized_cut(points, (5, 9), rows, precision="float64")
        for a, b in zip(alone, labels):
            assert adjusted_rand_score(a, b) > 0.98
            assert sorted(set(b)) == list(range(b.max() + 1))
    again = normalized_cuts(sets[::-1], (5, 9), starts[::-1])
    np.testing.assert_array_equal(again[::-1], batch)
    np.testing.assert_array_equal(normalized_cuts(sets[1:2], (5, 9), starts[1:2])[0], batch[1])


def test_the_device_path_gives_each_photo_its_regions(rng):
    shapes = [(24, 32), (24, 32), (16, 20), (24, 32), (3, 4)]
    embedded = []
    for i, (height, width) in enumerate(shapes):
        embedding = clumps(i, height * width).reshape(height, width, 4).astype("f4")
        colors = rng.integers(0, 255, (height, width, 3), np.uint8)
        record = ActivationMap.from_arrays(embedding, colors, name=str(i))
        embedded.append(replace(record, embedding=embedding))
    numpy_path = NCutClusterer((3, 6), n_color_clusters=2).fit_transform(embedded)
    torch_path = NCutClusterer((3, 6), n_color_clusters=2, device="cpu").fit_transform(embedded)
    for a, b in zip(numpy_path, torch_path):
        assert a.name == b.name
        assert a.regions.shape == b.regions.shape
        for kind in range(2):
            labels = [
                (r.regions.masks()[r.regions.kinds == kind].argmax(axis=0)).ravel() for r in (a, b)
            ]
            assert adjusted_rand_score(*labels) > 0.95


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
    s = similarity(rng.random((1300, 2)), 0.2)
    dense, _ = leading_eigenvectors(s, 170)  # more than an eighth of the points
    iterative, _ = leading_eigenvectors(s, 20)
    np.testing.assert_allclose(dense[:20], iterative, atol=1e-10)


def test_the_offset_keeps_outliers_in_larger_clusters(rng):
    """Two linked blobs and one point apart from them: two components, which no rounding joins."""
    blob = rng.standard_normal((200, 2)) * 0.1
    points = np.vstack([blob, blob + [1, 0], [[9, 9]]])
    with_offset = NCutClusterer(2, scale=0.03).fit_predict(points)
    without = NCutClusterer(2, scale=0.03, regularization=0).fit_predict(points)
    assert min(np.bincount(with_offset)) > 50
    assert sorted(np.bincount(without)) == [1, 400]


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
@settings(max_examples=20)
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


def partition_of(points, **params):
    """Labels, of which it is checked that they are a partition that parts no equal points."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        labels = NCutClusterer((2, 5, 20), **params).fit(points).labels_
    for partition in labels:
        assert sorted(set(partition)) == list(range(max(partition) + 1))
        _, which = np.unique(points, axis=0, return_inverse=True)
        assert len({*zip(which.ravel(), partition)}) == which.max() + 1
    return labels


@pytest.mark.parametrize("n", [300, 800])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_one_point_far_from_a_blob_is_no_error(n, precision, rng):
    points = np.vstack([rng.standard_normal((n, 2)), [[1e6, 0]]])
    partition_of(points, precision=precision)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("scale", [0.05, 1e9])
@pytest.mark.parametrize("device", [None, "cpu"])
def test_two_tight_or_all_alike_groups_are_no_error(device, scale, kernel, rng):
    """Their similarities have two eigenvalues that are not 0, and Krylov spaces two dimensions."""
    points = np.vstack([1e-9 * rng.standard_normal((325, 2)) + place for place in (0, 1)])
    spread = 10.0 ** np.linspace(-300, 300, 650)[:, None]
    for each in (points, spread):
        labels = cut_by(device, each, scale=scale, kernel=kernel)
        assert labels.shape == (2, 650)


@pytest.mark.parametrize("n", [300, 700])
def test_points_that_are_alike_no_others_are_no_error(n, rng):
    points = rng.random((n, 4))
    labels = partition_of(points, scale=0.01, kernel="exponential", regularization=0)
    again = partition_of(points, scale=0.01, kernel="exponential", regularization=0)
    np.testing.assert_array_equal(labels, again)


@pytest.mark.parametrize("largest", [1e308, np.finfo(float).max])
def test_values_near_the_largest_float_are_cut_without_a_warning(largest, rng):
    points = rng.uniform(-1, 1, (300, 2))
    np.testing.assert_array_equal(partition_of(points), partition_of(points * largest))


@given(
    arrays(
        float,
        st.tuples(st.integers(1, 40), st.integers(1, 3)),
        elements=st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, 1, 1e6]),
    ),
    st.sampled_from(KERNELS),
    st.sampled_from([1e-3, 0.01, 0.05, 1]),
    st.sampled_from([0, 0.5]),
)
@settings(max_examples=150, deadline=None)
def test_finite_points_are_always_cut_and_equal_ones_never_apart(points, kernel, scale, offset):
    params = {"kernel": kernel, "scale": scale, "regularization": offset}
    labels = partition_of(points, **params)
    np.testing.assert_array_equal(labels, partition_of(points, **params))


@given(st.integers(0, 999), st.integers(601, 640), st.floats(0, 6), st.booleans())
@settings(max_examples=10, deadline=None)
def test_many_points_are_always_cut_and_equal_ones_never_apart(seed, n, digits, heavy):
    rng = np.random.default_rng(seed)
    points = rng.standard_t(0.5, (n, 3)) if heavy else rng.standard_normal((n, 3))
    partition_of(np.round(points, int(digits)))


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
        for kind, count in enumerate((2, 4, 3)):
            assert 1 < (regions.kinds == kind).sum() <= count
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


def test_labels_of_maps_are_those_of_the_points_of_their_embedding(records):
    embedded = ActivationPCA(3).fit_transform(records)
    for one, several, record in zip(
        NCutClusterer(4).fit_predict(embedded),
        NCutClusterer((2, 4)).fit_predict(embedded),
        embedded,
    ):
        points = record.embedding.reshape(-1, 3)
        expected = NCutClusterer((2, 4)).fit_predict(points)
        assert several.shape == (2, *record.shape)
        np.testing.assert_array_equal(several.reshape(2, -1), expected)
        np.testing.assert_array_equal(
            one, NCutClusterer(4).fit_predict(points).reshape(record.shape)
        )
    assert [labels.shape for labels in NCutClusterer([3]).fit_predict(embedded[:1])] == [(1, 6, 8)]


@pytest.mark.parametrize("device", [None, "cpu"])
def test_labels_of_maps_need_no_colours_and_are_of_the_regions_proposed(records, device):
    grey = [replace(r, arrays=r.arrays._replace(colors=None)) for r in records]
    clusterer = NCutClusterer((2, 4), spatial_weight=0.5, device=device)
    labels = clusterer.fit_predict(ActivationPCA(3).fit_transform(grey))
    proposed = clusterer.fit_transform(ActivationPCA(3).fit_transform(records))
    for partitions, record in zip(labels, proposed):
        expected = Regions.from_labels(partitions.reshape(2, -1), record.shape)
        regions = [r.tolist() for r, kind in zip(record.regions, record.regions.kinds) if kind < 2]
        assert regions == [r.tolist() for r in expected]


@pytest.mark.parametrize("params", [{"n_clusters": "many"}, {"n_color_clusters": (5, 0)}])
def test_numbers_of_clusters_set_after_fit_are_checked(params, records):
    embedded = ActivationPCA(3).fit_transform(records)
    clusterer = NCutClusterer(2).fit(embedded).set_params(**params)
    with pytest.raises(ValueError, match=next(iter(params))):
        clusterer.transform(embedded)


@pytest.mark.parametrize(("seed", "shape"), [(309, (58, 5)), (870, (67, 3)), (1103, (53, 5))])
def test_rows_that_are_hardly_determined_are_no_warning(seed, shape):
    """Their solutions overflow, and are then not used."""
    rng = np.random.default_rng(seed)
    rng.integers(42, 70)
    rng.integers(2, 17)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        labels, _ = normalized_cut(rng.standard_normal(shape), (5, 20), (0, 0))
    assert labels.shape == (2, len(labels[0]))
