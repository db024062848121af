"""Projection, pooling, whitening and aggregation against hand calculations."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize

from sklearn_cmac import (
    ActivationMap,
    ActivationPCA,
    ClusterMaxPooler,
    FullyConnected,
    GridRegions,
    L2Aggregator,
    PhotoError,
    Regions,
    RegionVectors,
    RegionWhitener,
    WholeRegion,
)
from sklearn_cmac._steps import is_table

# -- tables and sequences ---------------------------------------------------------------------


def object_array(*entries):
    array = np.empty(len(entries), object)
    array[:] = entries
    return array


def test_what_has_records_or_matrices_as_entries_is_a_sequence(records):
    pd = pytest.importorskip("pandas")
    matrix = np.ones((2, 3))
    for entries in ([matrix] * 2, [RegionVectors(matrix)] * 2, records[:2]):
        for kind in (list, tuple, pd.Series, lambda entries: object_array(*entries)):
            assert not is_table(kind(entries))
    assert not is_table([[[1, 2], [3, 4]], [[5, 6]]])
    assert not is_table(([(1, 2), (3, 4)],))
    assert not is_table(np.ones((2, 3, 4)))
    assert not is_table(np.ones((2, 3, 4)).astype(object))
    assert not is_table([pd.DataFrame(matrix)])
    assert not is_table([[], [[1, 2]]])


def test_what_has_rows_or_numbers_as_entries_is_a_table():
    pd = pytest.importorskip("pandas")
    table = np.ones((2, 3))
    for X in (table, table.tolist(), tuple(table), list(table), table.astype(object)):
        assert is_table(X)
    for X in (pd.DataFrame(table), pd.Series([1, 2]), csr_array(table), [], "photos", 3, None):
        assert is_table(X)
    assert is_table(np.array(3, object))


def test_nested_lists_are_photos_or_rows_by_their_depth():
    photos = [[[1.0, 0.0], [0.0, 1.0]], [[3.0, 4.0]]]
    _, second = FullyConnected().fit_transform(photos)
    np.testing.assert_allclose(second.vectors, [[0.6, 0.8]])
    np.testing.assert_allclose(L2Aggregator().fit_transform(photos)[0], np.sqrt([0.5, 0.5]))
    np.testing.assert_allclose(FullyConnected().fit_transform(photos[0]), photos[0])


@pytest.mark.parametrize(
    ("photos", "message"),
    [
        ([np.ones((2, 3)), [[1, 2, 3], [4]]], "^photo 1: region vectors are .*many lengths"),
        ([np.ones((2, 3)), np.ones(3)], r"^photo 1: region vectors are \(R, D\), got shape \(3,\)"),
        ([np.ones((2, 3)), 3], r"^photo 1: region vectors are \(R, D\), got shape \(\)"),
        ([[["a", "b"]]], "^photo 0: its region vectors are not finite numbers"),
        ([RegionVectors(np.ones((2, 3)), np.ones(3), "b")], "^b: its 2 region vectors have a fin"),
        ([RegionVectors(np.ones((2, 3)), [1, np.nan])], "^photo 0: its 2 region vectors have a f"),
        (
            [ActivationMap.from_arrays(np.ones((2, 2, 3)), name="c")],
            "^c: is an Act.* a pooler must",
        ),
    ],
)
def test_what_is_no_region_vectors_is_named(photos, message):
    with pytest.raises(ValueError, match=message):
        L2Aggregator().fit(photos)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda record: [record, 3],
            "expects a sequence of ActivationMap.*list whose entry 1 is int",
        ),
        (lambda record: record, "expects a sequence of ActivationMap.*; got ActivationMap"),
        (lambda record: object_array("a"), "got ndarray whose entry 0 is str"),
        (lambda record: iter([record]), "got list_iterator"),
        (lambda record: [], "got 0 photos"),
    ],
)
def test_what_is_no_sequence_of_records_is_refused(make, message, records):
    with pytest.raises(ValueError, match=message):
        WholeRegion().fit(make(records[0]))


def test_half_precision_vectors_are_summed_in_single():
    photo = RegionVectors(np.full((40, 2), 3000, np.float16))
    np.testing.assert_allclose(L2Aggregator().fit_transform([photo]), np.sqrt([[0.5, 0.5]]))


def test_a_layer_that_was_exchanged_after_fit_is_checked_again():
    layer = FullyConnected(np.eye(3)).fit([np.ones((2, 3))])
    assert layer.set_params(weight=np.ones((5, 3))).get_feature_names_out().shape == (5,)
    with pytest.raises(
        ValueError, match=r"weight is \(D', 3\) for these vectors, got shape \(3, 2\)"
    ):
        layer.set_params(weight=np.ones((3, 2))).transform([np.ones((2, 3))])
    with pytest.raises(ValueError, match=r"bias is \(3,\), got shape \(2,\)"):
        layer.set_params(weight=None, bias=[0, 0]).transform(np.ones((2, 3)))


# -- components that there are not ------------------------------------------------------------


def test_fewer_components_than_channels_allow_are_told(records):
    with pytest.warns(UserWarning, match=r"\(n_components=20\) keeps 16: 278 .*to 16 or less$"):
        pca = ActivationPCA(20).fit(records)
    assert pca.n_components_ == 16
    with pytest.warns(UserWarning, match="keeps 5: 5 vectors of 16 .*; fit on more photos, or set"):
        assert ActivationPCA(6, max_samples=5).fit(records).n_components_ == 5


def test_fewer_components_than_vectors_allow_are_told(rng):
    with pytest.warns(UserWarning, match=r"\(n_components=8\) keeps 4: 5 vectors of 12 .*; fit on"):
        whitener = RegionWhitener(n_components=8).fit(vectors(rng, 5))
    assert whitener.n_components_ == 4
    assert whitener.transform(vectors(rng, 3)).shape == (3, 4)
    with pytest.warns(UserWarning, match="keeps 12: .* no more; set n_components to 12 or less"):
        assert RegionWhitener(n_components=13).fit(vectors(rng)).n_components_ == 12


def test_components_that_there_are_need_no_warning(rng, records):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ActivationPCA(16).fit(records).n_components_ == 16
        assert RegionWhitener().fit(vectors(rng, 5)).n_components_ == 4
        assert RegionWhitener(n_components=12).fit(vectors(rng)).n_components_ == 12


# -- ActivationPCA ----------------------------------------------------------------------------


def test_distance_is_equation_2_by_hand():
    # Along the axes the variances are 8 and 2 (times 4/3), so the weights are 0.8 and 0.2.
    points = np.array([[2.0, 1], [-2, 1], [2, -1], [-2, -1]]) * [np.sqrt(2), np.sqrt(2)]
    embedding = ActivationPCA(n_components=2).fit_transform(points)
    expected = np.sqrt(0.8 * (4 * np.sqrt(2)) ** 2 + 0.2 * (2 * np.sqrt(2)) ** 2)
    assert np.linalg.norm(embedding[0] - embedding[3]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("weighting", "weights"),
    [("variance", [0.8, 0.2]), ("whiten", [3 / 32, 3 / 8]), (None, [1, 1])],
)
def test_weights_by_hand(weighting, weights):
    points = np.array([[2.0, 1], [-2, 1], [2, -1], [-2, -1]]) * np.sqrt(2)
    pca = ActivationPCA(n_components=2, weighting=weighting).fit(points)
    np.testing.assert_allclose(pca.weights_, weights)
    if weighting == "whiten":
        np.testing.assert_allclose(pca.transform(points).var(axis=0, ddof=1), 1)


def test_components_are_those_of_all_cells(records):
    pca = ActivationPCA(n_components=3, weighting=None).fit(records)
    cells = np.concatenate([r.activations.reshape(-1, 16) for r in records])
    expected = PCA(3, svd_solver="full").fit(cells)
    np.testing.assert_allclose(pca.components_, expected.components_, atol=1e-4)
    embedded = pca.transform(records)[1].embedding
    assert embedded.shape == (8, 6, 3)
    expected = expected.transform(records[1].activations.reshape(-1, 16))
    np.testing.assert_allclose(embedded.reshape(-1, 3), expected, atol=1e-4)


def test_a_sample_is_bounded_and_seeded(records):
    fits = [ActivationPCA(3, max_samples=40, random_state=s).fit(records) for s in (0, 0, 1)]
    np.testing.assert_array_equal(fits[0].components_, fits[1].components_)
    assert np.abs(fits[0].components_ - fits[2].components_).max() > 1e-6


def test_normalization_forgets_the_norm(records):
    louder = [replace(r, arrays=r.arrays._replace(activations=7 * r.activations)) for r in records]
    pca = ActivationPCA(3, normalize=True)
    for a, b in zip(pca.fit_transform(records), pca.fit_transform(louder)):
        np.testing.assert_allclose(a.embedding, b.embedding, atol=1e-5)


def test_records_are_copied_not_changed(records):
    ActivationPCA().fit_transform(records)
    assert all(record.embedding is None for record in records)


def test_constant_maps_have_an_embedding():
    flat = [ActivationMap.from_arrays(np.full((3, 4, 8), 2.0))] * 2
    for weighting in ("variance", "whiten", None):
        embedding = ActivationPCA(weighting=weighting).fit_transform(flat)[0].embedding
        np.testing.assert_allclose(embedding, 0, atol=1e-12)


def test_one_photo_is_enough_for_components(records):
    assert ActivationPCA(4).fit(records[:1]).n_components_ == 4


def test_bad_maps_are_named(records):
    bad = records[2].activations.copy()
    bad[1, 1, 3] = np.nan
    broken = replace(records[2], arrays=records[2].arrays._replace(activations=bad))
    with pytest.raises(PhotoError, match="^photo-2: its activations are not finite"):
        ActivationPCA().fit([*records[:2], broken])
    with pytest.raises(PhotoError, match="^photo-2: its activations are not finite"):
        ActivationPCA().fit(records).transform([broken])
    other = ActivationMap.from_arrays(np.ones((3, 3, 5)), name="other")
    with pytest.raises(PhotoError, match="^other: has 5 channels.* 16"):
        ActivationPCA().fit(records).transform([other])
    with pytest.raises(PhotoError, match="^other: has 5 channels and the photos before it 16"):
        ActivationPCA().fit([*records, other])


# -- ClusterMaxPooler -------------------------------------------------------------------------


def test_pooling_by_hand():
    activations = np.array([[[1, 9], [2, 8]], [[3, 7], [4, 6]]], float)
    record = ActivationMap.from_arrays(activations, name="a")
    record = replace(record, regions=Regions.from_cells([[0, 3], [1], [0, 1, 2, 3]], (2, 2)))
    (pooled,) = ClusterMaxPooler("area").fit_transform([record])
    np.testing.assert_array_equal(pooled.vectors, [[4, 9], [2, 8], [4, 9]])
    np.testing.assert_array_equal(pooled.weights, [2, 1, 4])
    (pooled,) = ClusterMaxPooler("sqrt_area").fit_transform([record])
    np.testing.assert_allclose(pooled.weights, np.sqrt([2, 1, 4]))
    (pooled,) = ClusterMaxPooler().fit_transform([record])
    np.testing.assert_array_equal(pooled.weights, [1, 1, 1])


def test_mac_is_the_maximum_over_the_whole_map(records):
    (pooled,) = ClusterMaxPooler().transform(WholeRegion().transform(records[:1]))
    np.testing.assert_array_equal(pooled.vectors[0], records[0].activations.max(axis=(0, 1)))


def test_the_pooler_names_what_is_missing(records):
    with pytest.raises(ValueError, match="photo-0: has no regions; a region step must come"):
        ClusterMaxPooler().fit(records)
    wrong = replace(records[0], regions=Regions.from_cells([[999]], (1, 1000)))
    with pytest.raises(PhotoError, match="photo-0: its regions are of"):
        ClusterMaxPooler().transform([wrong])


# -- GridRegions ------------------------------------------------------------------------------


def test_the_twenty_squares_of_a_48x64_map_by_hand():
    (record,) = GridRegions().fit_transform([ActivationMap.from_arrays(np.zeros((48, 64, 1)))])
    squares = []
    for mask in record.regions.masks():
        rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert mask.sum() == len(rows) * len(cols)
        squares.append((rows[0], cols[0], len(rows), len(cols)))
    expected = [(0, x, 48, 48) for x in (0, 16)]
    expected += [(y, x, 32, 32) for y in (0, 16) for x in (0, 16, 32)]
    expected += [(y, x, 24, 24) for y in (0, 12, 24) for x in (0, 13, 26, 40)]
    assert squares == expected


@pytest.mark.parametrize(
    ("shape", "n"), [((24, 32), 20), ((32, 24), 20), ((16, 16), 14), ((1, 1), 14), ((1, 9), 50)]
)
def test_grids_of_any_shape_lie_in_the_map(shape, n):
    (record,) = GridRegions().fit_transform([ActivationMap.from_arrays(np.zeros((*shape, 1)))])
    assert len(record.regions) == n
    assert record.regions.indices.max() < shape[0] * shape[1]


def test_portrait_is_landscape_turned():
    maps = [ActivationMap.from_arrays(np.zeros((*s, 1))) for s in [(13, 22), (22, 13)]]
    wide, tall = (r.regions.masks() for r in GridRegions().fit_transform(maps))
    turned = {m.T.tobytes() for m in np.ascontiguousarray(tall)}
    assert {m.tobytes() for m in wide} == turned


# -- RegionWhitener ---------------------------------------------------------------------------


def vectors(rng, n=400, d=12):
    return np.abs(rng.standard_normal((n, d)) @ rng.standard_normal((d, d)))


def test_whitened_unit_vectors_have_identity_covariance(rng):
    X = vectors(rng)
    whitener = RegionWhitener().fit(X)
    whitened = (normalize(X) - whitener.mean_) @ whitener.components_.T
    np.testing.assert_allclose(np.cov(whitened.T), np.eye(12), atol=1e-8)


def test_whitening_is_that_of_pca(rng):
    X = vectors(rng)
    expected = normalize(PCA(5, whiten=True).fit(normalize(X)).transform(normalize(X)))
    got = RegionWhitener(n_components=5).fit_transform(X)
    np.testing.assert_allclose(np.abs(got), np.abs(expected), atol=1e-8)
    np.testing.assert_allclose(got @ got.T, expected @ expected.T, atol=1e-8)


def test_shrinkage_divides_by_the_damped_deviation(rng):
    X = normalize(vectors(rng))
    variance = np.linalg.eigvalsh(np.cov(X.T))[::-1]
    whitener = RegionWhitener(shrinkage=0.5).fit(X)
    lengths = np.linalg.norm(whitener.components_, axis=1)
    np.testing.assert_allclose(lengths, 1 / np.sqrt(variance + 0.5 * variance.mean()), rtol=1e-6)
    np.testing.assert_allclose(whitener.explained_variance_, variance, rtol=1e-6)


def test_a_power_counts_strong_channels_less_and_keeps_signs():
    # Roots of (9, ±16) are (3, ±4), of unit length (0.6, ±0.8); 0.8^2 + 0.8^2 is the variance.
    X = np.array([[9.0, -16.0], [9.0, 16.0]])
    whitener = RegionWhitener(power=0.5).fit(X)
    np.testing.assert_allclose(whitener.mean_, [0.6, 0], atol=1e-12)
    np.testing.assert_allclose(whitener.explained_variance_, [1.28])
    np.testing.assert_allclose(whitener.components_, [[0, 1.28**-0.5]], atol=1e-12)
    np.testing.assert_allclose(whitener.transform(X[:1]), [[-1]])


@pytest.mark.parametrize("method", ["pca", "learned"])
def test_whitening_of_a_power_is_that_of_vectors_taken_to_it(rng, method):
    X = rng.standard_normal((60, 5))
    labels = np.arange(60) // 2
    powered = np.sign(X) * np.abs(X) ** 0.7
    whitener = RegionWhitener(method=method, power=0.7).fit(X, labels)
    expected = RegionWhitener(method=method).fit(powered, labels).transform(powered)
    np.testing.assert_allclose(whitener.transform(X), expected, atol=1e-10)
    photos = RegionWhitener(method=method, power=0.7).fit(list(X[:, None]), labels)
    rows = np.concatenate([r.vectors for r in photos.transform(list(X[:, None]))])
    np.testing.assert_allclose(rows, expected, atol=1e-10)


def test_what_was_pickled_before_there_were_powers_has_1(rng):
    whitener = RegionWhitener().fit(vectors(rng))
    state = whitener.__getstate__()
    older = RegionWhitener.__new__(RegionWhitener)
    older.__setstate__({name: value for name, value in state.items() if name != "power"})
    assert older.get_params() == whitener.get_params()


def test_photos_and_table_are_whitened_alike(rng):
    X = vectors(rng)
    photos = [X[:100], RegionVectors(X[100:250], name="b"), X[250:]]
    by_photo = RegionWhitener().fit(photos)
    table = RegionWhitener().fit(X)
    np.testing.assert_allclose(by_photo.components_, table.components_, rtol=1e-6)
    assert (by_photo.n_regions_, by_photo.n_photos_) == (400, 3)
    whitened = np.concatenate([r.vectors for r in by_photo.transform(photos)])
    np.testing.assert_allclose(whitened, table.transform(X), atol=1e-8)


def test_fewer_vectors_than_dimensions_work_and_are_told(rng):
    photos = [vectors(rng, 5, 30) for _ in range(3)]
    with pytest.warns(UserWarning, match="15 region vectors of 3 photos"):
        whitener = RegionWhitener().fit(photos)
    assert whitener.components_.shape == (14, 30)
    assert np.isfinite(whitener.transform(photos)[0].vectors).all()


def test_one_vector_is_not_enough(rng):
    with pytest.raises(ValueError, match="at least 2 region vectors, got 1 of 1 photo"):
        RegionWhitener().fit([vectors(rng, 1)])


def test_bad_vectors_are_named(rng):
    whitener = RegionWhitener().fit(vectors(rng))
    with pytest.raises(PhotoError, match="^b: its region vectors have 5 dimensions.* expects 12"):
        whitener.transform([RegionVectors(np.ones((3, 5)), name="b")])
    with pytest.raises(PhotoError, match="^photo 1: its region vectors are not finite"):
        whitener.transform([np.ones((3, 12)), np.full((3, 12), np.inf)])


# -- L2Aggregator -----------------------------------------------------------------------------


def test_aggregation_by_hand():
    photo = RegionVectors(np.array([[1.0, 0], [0, 1]]), np.array([3.0, 4.0]))
    np.testing.assert_allclose(L2Aggregator().fit_transform([photo]), [[0.6, 0.8]])
    np.testing.assert_allclose(
        L2Aggregator().fit_transform([photo.vectors]), np.full((1, 2), np.sqrt(0.5))
    )


def test_regions_that_cancel_out_give_zeros_not_nan():
    descriptors = L2Aggregator().fit_transform([np.array([[1.0, 0], [-1, 0]])])
    np.testing.assert_array_equal(descriptors, [[0, 0]])
