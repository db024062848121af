"""Regions from other people's clusterers and from boxes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import label
from sklearn.cluster import DBSCAN, HDBSCAN, AgglomerativeClustering, KMeans
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.image import grid_to_graph
from sklearn.pipeline import make_pipeline
from sklearn.utils.validation import check_is_fitted
from torchvision.models import detection
from torchvision.ops import roi_pool

from sklearn_cmac import (
    ActivationMap,
    ActivationPCA,
    BoxRegions,
    ClustererRegions,
    ClusterMaxPooler,
    GridRegions,
    NCutClusterer,
    Photo,
    PhotoError,
    Regions,
    RegionUnion,
    TreeRegions,
    WholeRegion,
    make_cmac_pipeline,
)
from sklearn_cmac.regions import propose_boxes
from sklearn_cmac.regions._step import cell_points

# -- ClustererRegions -------------------------------------------------------------------------


@pytest.fixture
def embedded(records):
    return ActivationPCA(3).fit_transform(records)


def cells(regions):
    return sorted(region.tolist() for region in regions)


@pytest.mark.parametrize("clusterer", [KMeans(4, random_state=5), AgglomerativeClustering(3)])
def test_regions_are_the_clusterers_own_clusters(clusterer, embedded):
    for record in ClustererRegions(clusterer).fit_transform(embedded):
        labels = clusterer.fit_predict(record.embedding.reshape(-1, 3))
        assert cells(record.regions) == cells(np.flatnonzero(labels == k) for k in set(labels))


def test_the_normalized_cut_through_the_adapter_is_itself(embedded):
    adapted = ClustererRegions(NCutClusterer(4)).fit_transform(embedded)
    itself = NCutClusterer(4, n_color_clusters=0).fit_transform(embedded)
    for a, b in zip(adapted, itself):
        assert cells(a.regions) == cells(b.regions)


def test_no_photo_depends_on_those_before_it_and_jobs_change_nothing(embedded):
    step = ClustererRegions(KMeans(4, init="random", n_init=1, random_state=7))
    alone = [step.fit_transform([record])[0].regions for record in embedded]
    for regions, record in zip(alone, step.set_params(n_jobs=2).fit_transform(embedded)):
        np.testing.assert_array_equal(regions.indices, record.regions.indices)
    assert not hasattr(step.clusterer, "labels_")


def one_photo(embedding):
    embedding = np.asarray(embedding, float)
    record = ActivationMap.from_arrays(np.ones((*embedding.shape[:2], 2)), name="a")
    return replace(record, embedding=embedding)


def test_noise_is_in_no_region_and_all_noise_is_the_whole_map():
    record = one_photo([[[0.0], [0.1], [50.0]], [[9.0], [9.1], [0.2]]])
    (found,) = ClustererRegions(DBSCAN(eps=1, min_samples=2)).fit_transform([record])
    assert cells(found.regions) == [[0, 1, 5], [3, 4]]
    (found,) = ClustererRegions(DBSCAN(eps=1e-3, min_samples=2)).fit_transform([record])
    assert cells(found.regions) == [[0, 1, 2, 3, 4, 5]]


def test_places_part_what_looks_alike():
    record = one_photo(np.tile([[[0.0], [1.0]]], (1, 6, 1)))  # stripes
    step = ClustererRegions(KMeans(2, n_init=10, random_state=0))
    assert cells(step.fit_transform([record])[0].regions) == [
        [0, 2, 4, 6, 8, 10],
        [1, 3, 5, 7, 9, 11],
    ]
    step.set_params(spatial_weight=10)
    assert cells(step.fit_transform([record])[0].regions) == [list(range(6)), list(range(6, 12))]


def test_a_photo_that_the_clusterer_refuses_is_named(embedded):
    with pytest.raises(PhotoError, match=r"^photo-0: KMeans cannot cluster its 48 cells .*500"):
        ClustererRegions(KMeans(500)).fit_transform(embedded)
    broken = replace(embedded[1], embedding=np.full((8, 6, 3), np.nan))
    with pytest.raises(PhotoError, match="^photo-1: its embedding is not finite"):
        ClustererRegions().fit_transform([broken])
    with pytest.raises(ValueError, match="has no embedding; ActivationPCA must come before"):
        ClustererRegions().fit([replace(embedded[0], embedding=None)])


@pytest.mark.filterwarnings("ignore:whitening")
def test_a_clusterers_parameters_are_reached_by_their_path(records):
    pipeline = make_cmac_pipeline(
        pca__n_components=3, regions=ClustererRegions(HDBSCAN(copy=True))
    )[1:]
    pipeline.set_params(regions__clusterer__min_cluster_size=3)
    assert pipeline.fit_transform(records).shape[0] == len(records)
    assert pipeline["regions"].clusterer.min_cluster_size == 3


# -- DIR's grid -------------------------------------------------------------------------------


def test_squares_laid_out_on_pixels_pool_as_torchvisions_region_pooling(rng):
    activations = rng.random((19, 25, 6)).astype("f4")  # of 608x800 pixels
    # Two squares of 608 pixels in a row, then 2 x 3 of floor(2 * 608 / 3) = 405.
    squares = [(0, x, 608) for x in (0, 192)]
    squares += [(y, x, 405) for y in (0, 203) for x in (0, 197, 395)]
    boxes = [(x, y, x + side - 1, y + side - 1) for y, x, side in squares]  # ends included
    planes = torch.from_numpy(activations).permute(2, 0, 1)[None]
    expected = roi_pool(planes, [torch.tensor(boxes).float()], 1, spatial_scale=1 / 32)
    step = GridRegions(n_levels=2, stride=32)
    record = step.fit_transform([ActivationMap.from_arrays(activations)])
    (pooled,) = ClusterMaxPooler().fit_transform(record)
    np.testing.assert_array_equal(pooled.vectors, expected[..., 0, 0].numpy())


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 3), (24, 32), (31, 17)])
def test_squares_on_pixels_lie_in_the_map_and_are_as_many(shape):
    (record,) = GridRegions(3, stride=32).fit_transform([photo(shape=shape)])
    assert record.regions.indices.max() < shape[0] * shape[1]
    assert record.regions.kinds.max() == 2


# -- BoxRegions -------------------------------------------------------------------------------


def photo(name="a", shape=(3, 4), size=(400, 300), **kwargs):
    return ActivationMap.from_arrays(np.ones((*shape, 2)), name=name, photo_size=size, **kwargs)


def test_a_box_holds_the_cells_whose_centre_lies_inside():
    boxes = [(0, 0, 400, 300), (60, 60, 240, 160), (110, 110, 120, 120), (49, 49, 51, 51)]
    (found,) = BoxRegions({"a": boxes}).fit_transform([photo()])
    expected = [list(range(12)), [5], [5], [0]]
    assert [region.tolist() for region in found.regions] == expected


def test_a_box_holds_what_a_crop_to_it_keeps(rng):
    activations = rng.random((7, 9, 2))
    record = ActivationMap.from_arrays(activations, name="a", photo_size=(900, 700))
    for _ in range(50):
        x, y = np.sort(rng.random((2, 2)) * [[900], [700]], axis=1)
        box = (x[0], y[0], x[1] + 1, y[1] + 1)
        (found,) = BoxRegions(lambda record, box=box: [box]).fit_transform([record])
        kept = activations.reshape(-1, 2)[found.regions[0]]
        np.testing.assert_array_equal(kept, record.crop(box).activations.reshape(-1, 2))


def test_boxes_come_from_a_mapping_a_function_or_the_photo():
    records = [photo("a", box=(0, 0, 100, 100)), photo("b")]
    for proposer in ({"a": [(0, 0, 100, 100)], "b": []}, lambda r: [r.box] if r.box else [], None):
        first, second = BoxRegions(proposer).fit_transform(records)
        assert first.regions[0].tolist() == [0]
        assert second.regions.areas.tolist() == [12]  # no box: the whole map


def test_a_cropped_query_has_the_boxes_that_reach_into_it():
    query = photo().crop((200, 0, 400, 300))
    boxes = {"a": [(0, 0, 90, 90), (100, 0, 300, 100), (300, 200, 400, 300)]}
    (found,) = BoxRegions(boxes).fit_transform([query])
    assert [region.tolist() for region in found.regions] == [[0], [5]]


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ({}, "^a: BoxRegions has no boxes for it"),
        ({"a": [(0, 0, 800, 600)]}, "^a: the box .* does not lie in the photo of 400x300"),
        ({"a": [(5, 5, 5)]}, "^a: "),
        ({"a": [(90, 0, 10, 10)]}, "^a: "),
    ],
)
def test_bad_boxes_name_the_photo(boxes, message):
    with pytest.raises(PhotoError, match=message):
        BoxRegions(boxes).fit_transform([photo()])


# -- a detector's proposals -------------------------------------------------------------------


@pytest.fixture(scope="module")
def detector():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        build = detection.fasterrcnn_mobilenet_v3_large_320_fpn
        return build(weights=None, weights_backbone=None).eval()


def test_proposals_are_those_of_the_detectors_own_forward_pass(detector, pixels):
    seen = []
    hook = detector.rpn.register_forward_hook(lambda _m, args, out: seen.append((args[0], out[0])))
    with torch.inference_mode():
        detector([torch.from_numpy(pixels.copy()).permute(2, 0, 1) / 255.0])
    hook.remove()
    (images, (proposals,)) = seen[0]
    height, width = images.image_sizes[0]
    expected = proposals.numpy() * np.tile([128 / width, 96 / height], 2)
    expected = expected[(expected[:, 2:] - expected[:, :2] >= 1).all(axis=1)][:20]
    boxes = propose_boxes([Photo(pixels, name="a")], detector, n_boxes=20)
    np.testing.assert_allclose(boxes["a"], expected, atol=1e-3)
    assert len(boxes["a"]) == 20


class Known(torch.nn.Module):
    """A detector without a proposal network that finds the left half of everything."""

    def forward(self, images):
        height, width = images[0].shape[1:]
        return [{"boxes": torch.tensor([[0.0, 0, width / 2, height], [3, 3, 3, 9]])}]


def test_boxes_are_in_pixels_of_the_original_however_it_was_scaled(pixels):
    for max_size in (None, 64, 100):
        boxes = propose_boxes([Photo(pixels, name="a")], Known(), max_size=max_size)
        np.testing.assert_allclose(boxes["a"], [[0, 0, 64, 96]])


def test_proposals_become_regions(detector, pixels):
    boxes = propose_boxes([Photo(pixels, name="a")], detector, n_boxes=30)
    record = photo("a", shape=(6, 8), size=(128, 96))
    (found,) = BoxRegions(boxes).fit_transform([record])
    assert len(found.regions) == 30


# -- regions widened, merged, united ----------------------------------------------------------


def test_a_widened_cell_is_a_window_cut_at_the_edge():
    def widened(cell):
        return Regions.from_cells([[cell]], (4, 5)).grown(1)[0].tolist()

    assert widened(6) == [0, 1, 2, 5, 6, 7, 10, 11, 12]
    assert widened(19) == [13, 14, 18, 19]


def test_clusters_are_widened_by_a_share_of_the_short_side(embedded):
    plain = NCutClusterer(4, 0).fit(embedded).transform(embedded)
    wide = NCutClusterer(4, 0, grow=0.25).fit(embedded).transform(embedded)
    for one, other in zip(plain, wide):
        by = max(1, round(0.25 * min(one.shape)))
        assert cells(other.regions) == cells(one.regions.grown(by))
        assert all(set(a) <= set(b) for a, b in zip(one.regions, other.regions))


@pytest.mark.parametrize("spatial_weight", [0.0, 2.0])
def test_branches_are_all_clusters_of_all_cuts(embedded, spatial_weight):
    """Whatever number of clusters scikit-learn's own Ward clusterer is asked for."""
    for record in TreeRegions(spatial_weight, min_area=0.0, grow=0.0).fit_transform(embedded):
        branches = {tuple(region) for region in cells(record.regions)}
        points = cell_points(record, spatial_weight)
        assert len(branches) == len(points) - 1
        for n in (1, 2, 3, 5, 9):
            ward = AgglomerativeClustering(n, connectivity=grid_to_graph(*record.shape))
            labels = ward.fit_predict(points)
            found = {tuple(np.flatnonzero(labels == k)) for k in range(n)}
            assert {c for c in found if len(c) > 1} <= branches


def test_branches_are_connected_and_large_enough(embedded):
    for record in TreeRegions(min_area=0.2, grow=0.0).fit_transform(embedded):
        assert record.regions.areas.min() >= 0.2 * np.prod(record.shape)
        assert all(label(mask)[1] == 1 for mask in record.regions.masks())


def test_a_map_of_one_cell_has_one_branch(embedded):
    one = replace(embedded[0].crop((0, 0, 1, 1)), embedding=np.ones((1, 1, 3)))
    assert cells(TreeRegions().fit_transform([one])[0].regions) == [[0]]


def test_a_union_has_the_regions_of_each(embedded):
    union = RegionUnion([("squares", GridRegions()), ("cut", NCutClusterer((2, 3), 0))])
    union.set_params(squares__n_levels=2)
    both = union.fit_transform(embedded)
    squares = GridRegions(2).fit_transform(embedded)
    cut = NCutClusterer((2, 3), 0).fit_transform(embedded)
    for record, one, other in zip(both, squares, cut):
        assert list(map(list, record.regions)) == [
            *map(list, one.regions),
            *map(list, other.regions),
        ]
        kinds = [*one.regions.kinds, *(2 + other.regions.kinds)]
        assert record.regions.kinds.tolist() == kinds


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([], "at least one, got none"),
        ("squares", "'steps' parameter of RegionUnion must be"),
        ([GridRegions()], r"steps of RegionUnion are \(name, step\), got GridRegions\(\)"),
        ([("a", GridRegions(), 1)], r"steps of RegionUnion are \(name, step\)"),
        ([(1, GridRegions())], r"steps of RegionUnion are \(name, step\)"),
        ([("a", GridRegions())] * 2, r"not unique: \['a', 'a'\]"),
        ([("a__b", GridRegions())], "must not contain __"),
        ([("pool", ClusterMaxPooler())], r"'pool' is ClusterMaxPooler\(\), which proposes no"),
        ([("a", None)], "any RegionStep.*'a' is None"),
        ([("a", GridRegions)], "any RegionStep.*'a' is <class"),
        ([("a", make_pipeline(GridRegions(), ClusterMaxPooler()))], "any RegionStep.*'a' is Pip"),
    ],
)
def test_a_union_of_something_else_is_refused(steps, message, embedded):
    with pytest.raises(ValueError, match=message):
        RegionUnion(steps).fit(embedded)
    union = RegionUnion([("a", GridRegions())]).fit(embedded)
    union.steps = steps
    with pytest.raises(ValueError, match=message):
        union.transform(embedded)


def test_a_union_checks_the_parameters_of_its_steps(embedded):
    union = RegionUnion([("squares", GridRegions(n_levels=0))])
    with pytest.raises(ValueError, match="'n_levels' parameter of GridRegions"):
        union.fit(embedded)
    union = RegionUnion([("squares", GridRegions())]).fit(embedded)
    with pytest.raises(ValueError, match="'n_levels' parameter of GridRegions"):
        union.set_params(squares__n_levels=0).transform(embedded)


def test_a_union_of_clusters_in_two_embeddings(records):
    def cut(n_components):
        return make_pipeline(ActivationPCA(n_components), NCutClusterer(3, 0))

    union = RegionUnion([("coarse", cut(1)), ("fine", cut(4))])
    (found,) = union.fit(records).transform(records[:1])
    parts = [cut(n).fit(records).transform(records[:1])[0].regions for n in (1, 4)]
    assert list(map(list, found.regions)) == [list(r) for part in parts for r in part]
    assert found.embedding is None


def test_a_union_is_fitted_once_its_steps_are(embedded):
    union = RegionUnion([("squares", GridRegions()), ("cut", NCutClusterer(2))])
    with pytest.raises(NotFittedError):
        check_is_fitted(union)
    with pytest.raises(NotFittedError):
        union.transform(embedded)
    check_is_fitted(union.fit(embedded))
    check_is_fitted(RegionUnion([("squares", GridRegions())]))


def test_steps_in_a_tuple_are_exchanged_by_their_name():
    union = RegionUnion((("squares", GridRegions()), ("whole", WholeRegion())))
    union.set_params(squares=TreeRegions(), squares__grow=0.5)
    assert repr(union.steps[0]) == "('squares', TreeRegions(grow=0.5))"


def test_presets_are_what_they_say():
    paper = make_cmac_pipeline("paper")
    assert paper["pca"].get_params()["weighting"] == "variance"
    assert isinstance(paper["pool"], ClusterMaxPooler)
    assert paper["whiten"].shrinkage == 0
    mixed = make_cmac_pipeline("mixed", regions__squares__n_levels=2)
    assert mixed["regions"].steps[0][1].n_levels == 2
    with pytest.raises(ValueError, match="preset is one of"):
        make_cmac_pipeline("best")
