"""Poolers against hand calculations on small maps, and what holds for any map."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone

from sklearn_cmac import (
    ActivationMap,
    ClusterMaxPooler,
    CroWPooler,
    GeMPooler,
    GridRegions,
    NCutClusterer,
    PhotoError,
    Regions,
    SPoCPooler,
    WholeRegion,
    make_cmac_pipeline,
)

POOLERS = [ClusterMaxPooler(), GeMPooler(), SPoCPooler(), CroWPooler()]


def whole(activations):
    """The vector of the whole map."""

    def pool(pooler):
        record = ActivationMap.from_arrays(np.asarray(activations))
        return pooler.fit_transform(WholeRegion().transform([record]))[0].vectors[0]

    return pool


# -- by hand ----------------------------------------------------------------------------------


def test_gem_by_hand_on_a_4x4_map():
    # 4 cells of 2, 12 of 1: cubes sum to 32 + 12 = 44.
    activations = np.ones((4, 4, 1))
    activations[1, :] = 2
    pool = whole(activations)
    assert pool(GeMPooler()) == pytest.approx([(44 / 16) ** (1 / 3)])
    assert pool(GeMPooler(p=2)) == pytest.approx([np.sqrt(28 / 16)])


@pytest.mark.parametrize("p", [1.5, 3, 30])
def test_gem_of_each_region_by_scipy(p, records):
    from scipy.stats import pmean

    proposed = GridRegions().fit_transform(records)
    for record, found in zip(proposed, GeMPooler(p=p).fit_transform(proposed)):
        cells = np.maximum(record.activations.reshape(-1, 16).astype(float), 1e-6)
        expected = [pmean(cells[region], p) for region in record.proposed]
        np.testing.assert_allclose(found.vectors, expected, rtol=1e-5)


def test_gem_counts_what_is_negative_as_a_millionth():
    pool = whole([[[-5.0], [3.0]]])
    assert pool(GeMPooler(p=1)) == pytest.approx([(3 + 1e-6) / 2])


def test_spoc_by_hand_on_a_4x4_map():
    # σ = 4 / 6. Cell centres are 0.5 and 1.5 cells from the middle, so with
    # g(d) = exp(-d² / 2σ²) = exp(-9 d² / 8) a row sums to 2 (g(0.5) + g(1.5)).
    row = 2 * (np.exp(-9 / 32) + np.exp(-81 / 32))
    pool = whole(np.full((4, 4, 1), 3.0))
    assert pool(SPoCPooler()) == pytest.approx([3 * row**2], rel=1e-6)
    assert pool(SPoCPooler(center_prior=False)) == pytest.approx([48.0])


def test_crow_by_hand_on_a_4x4_map():
    # Channel 0 is 1 in all 16 cells, channel 1 is 8 in the first alone, channel 2 nowhere.
    # S is 9 once and 1 in 15 cells, |S| = sqrt(96). Q = (1, 1/16, 0), their sum 17/16.
    activations = np.zeros((4, 4, 3))
    activations[..., 0] = 1
    activations[0, 0, 1] = 8
    strong, weak = 3 / 96**0.25, 1 / 96**0.25
    expected = [(strong + 15 * weak) * np.log(17 / 16), 8 * strong * np.log(17), 0]
    assert whole(activations)(CroWPooler()) == pytest.approx(expected, rel=1e-6)


# -- what holds for any map -------------------------------------------------------------------


def test_gem_is_the_mean_at_1_and_goes_to_the_maximum(rng):
    activations = rng.random((5, 7, 16)) + 1e-3
    pool = whole(activations)
    np.testing.assert_allclose(pool(GeMPooler(p=1)), activations.mean(axis=(0, 1)))
    maximum = pool(ClusterMaxPooler())
    np.testing.assert_array_equal(pool(GeMPooler(p=np.inf)), maximum)
    np.testing.assert_allclose(pool(GeMPooler(p=2000.0)), maximum, rtol=2e-3)
    vectors = [pool(GeMPooler(p=p)) for p in (1, 2, 3, 10, 100)]
    assert (np.diff(vectors, axis=0) > 0).all()


def test_spoc_without_its_prior_is_the_sum(rng):
    activations = rng.random((5, 7, 16))
    vector = whole(activations)(SPoCPooler(center_prior=False))
    np.testing.assert_allclose(vector, activations.sum(axis=(0, 1)))


def test_a_mirrored_photo_pools_alike(rng):
    activations = rng.random((5, 8, 16))
    for pooler in POOLERS:
        mirrored = whole(activations[:, ::-1])(pooler)
        np.testing.assert_allclose(mirrored, whole(activations)(pooler), rtol=1e-6)


@pytest.mark.parametrize("pooler", [SPoCPooler(), SPoCPooler(center_prior=False), CroWPooler()])
def test_sums_over_a_partition_add_up_to_the_whole_map(pooler, records):
    for record in records:
        labels = np.arange(np.prod(record.shape)) % 3
        parts = replace(record, regions=Regions.from_labels(labels, record.shape))
        (by_part,), (total,) = (
            pooler.fit_transform(r) for r in ([parts], WholeRegion().transform([record]))
        )
        np.testing.assert_allclose(by_part.vectors.sum(axis=0), total.vectors[0], rtol=1e-5)


@pytest.mark.parametrize("pooler", POOLERS, ids=repr)
def test_every_pooler_takes_any_regions_and_scales_with_the_activations(pooler, records):
    louder = [replace(r, arrays=r.arrays._replace(activations=4 * r.activations)) for r in records]
    for regions in (WholeRegion(), GridRegions()):
        pooled = pooler.fit_transform(regions.transform(records))
        assert [len(p) for p in pooled] == [len(r.regions) for r in regions.transform(records)]
        for quiet, loud in zip(pooled, pooler.transform(regions.transform(louder))):
            # CroW's weights of cells do not grow with the activations; GeM's floor is absolute.
            np.testing.assert_allclose(loud.vectors, 4 * quiet.vectors, rtol=1e-5, atol=1e-5)
    assert pooler.set_params(region_weight="area").fit_transform(WholeRegion().transform(records))[
        0
    ].weights.tolist() == [48]
    pooler.set_params(region_weight=None)


@pytest.mark.parametrize("pooler", POOLERS, ids=repr)
def test_half_precision_maps_do_not_overflow(pooler):
    activations = np.full((40, 40, 2), 60000, np.float16)
    activations[0, 0] = 0
    record = WholeRegion().transform([ActivationMap.from_arrays(activations)])
    assert np.isfinite(pooler.fit_transform(record)[0].vectors).all()


@pytest.mark.parametrize("pooler", POOLERS, ids=repr)
def test_a_black_photo_has_a_vector_and_a_broken_one_is_named(pooler, records):
    black = WholeRegion().transform([ActivationMap.from_arrays(np.zeros((3, 4, 2)))])
    np.testing.assert_allclose(pooler.fit_transform(black)[0].vectors, 0, atol=1e-6)
    bad = records[2].activations.copy()
    bad[1, 1, 3] = np.nan
    broken = replace(records[2], arrays=records[2].arrays._replace(activations=bad))
    with pytest.raises(PhotoError, match="^photo-2: its activations are not finite"):
        pooler.fit_transform(WholeRegion().transform([broken]))


@pytest.mark.filterwarnings("ignore:whitening")
def test_a_pooler_is_swapped_by_one_parameter(records):
    clusters = NCutClusterer((2, 3), n_color_clusters=2)
    steps = make_cmac_pipeline(pca__n_components=3, regions=clusters)[1:]
    descriptors = [steps.set_params(pool=pooler).fit_transform(records) for pooler in POOLERS]
    assert all(d.shape[0] == len(records) for d in descriptors)
    assert np.abs(descriptors[0] - descriptors[1]).max() > 1e-3


def test_central_regions_weigh_more_by_hand():
    """On a 2x2 map each centre is a quarter off the middle in both directions."""
    cell = np.exp(-(0.25**2 + 0.25**2) / (2 / 6**2))
    regions = Regions.from_cells([[0], [0, 1, 2, 3]], (2, 2))
    record = replace(ActivationMap.from_arrays(np.ones((2, 2, 1))), regions=regions)
    weights = ClusterMaxPooler("center").fit_transform([record])[0].weights
    np.testing.assert_allclose(weights, [cell, cell], rtol=1e-6)
    row = Regions.from_cells([[0], [1], [0, 1, 2]], (1, 3))
    record = replace(ActivationMap.from_arrays(np.ones((1, 3, 1))), regions=row)
    side = np.exp(-((1 / 3) ** 2) / (2 / 6**2))
    weights = GeMPooler(region_weight="center").fit_transform([record])[0].weights
    np.testing.assert_allclose(weights, [side, 1, (1 + 2 * side) / 3], rtol=1e-6)


@pytest.mark.parametrize("pooler", POOLERS, ids=repr)
def test_a_misspelt_weight_is_refused_not_taken_for_the_default(pooler, records):
    pooler = clone(pooler).fit(WholeRegion().transform(records))
    with pytest.raises(ValueError, match="region_weight.*'centre'"):
        pooler.set_params(region_weight="centre").transform(WholeRegion().transform(records))


def test_regions_of_a_turned_map_are_refused(records):
    turned = Regions.from_windows([(0, 0, 8, 6)], (8, 6))
    with pytest.raises(PhotoError, match=r"photo-0: its regions are of a \(8, 6\) map"):
        ClusterMaxPooler().transform([replace(records[0], regions=turned)])
