"""Photos described at several sizes: extraction, every step behind it, and what is kept."""

from dataclasses import replace

import numpy as np
import pytest
from counting import CountingExtractor
from PIL import Image

from sklearn_cmac import (
    ActivationMap,
    ActivationPCA,
    BoxRegions,
    ClusterMaxPooler,
    ConvFeatureExtractor,
    GridRegions,
    NCutClusterer,
    Photo,
    PhotoError,
    Query,
    SharedRegions,
    WholeRegion,
    _opening,
    make_cmac_pipeline,
    make_rmac_pipeline,
)
from sklearn_cmac.collection import describe_collection
from sklearn_cmac.datasets import make_object_scenes
from sklearn_cmac.fingerprints import fingerprint
from sklearn_cmac.inspection import overlay_matches
from sklearn_cmac.search import Localization, RegionMatching, Retriever


@pytest.fixture(scope="module")
def photo():
    rng = np.random.default_rng(3)
    coarse = Image.fromarray(rng.integers(0, 255, (24, 32, 3), np.uint8))
    return np.asarray(coarse.resize((320, 240), Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def scenes():
    return make_object_scenes(3, 3, 4, size=(320, 240), random_state=1)


def described(photo, **params):
    return ConvFeatureExtractor(**params).fit_transform([photo])[0]


def test_each_map_is_that_of_an_extractor_of_its_size(photo):
    record = described(photo, max_size=256, scales=(1, 0.5))
    for each, size in zip(record.maps, (256, 128), strict=True):
        alone = described(photo, max_size=size)
        np.testing.assert_array_equal(each.activations, alone.activations)
        assert (each.photo_size, each.window) == (alone.photo_size, alone.window)
    assert repr(record).endswith("6x8 + 3x4 cells, 1280 channels)")


def test_a_file_that_is_decoded_once_gives_the_maps_of_single_sizes(tmp_path):
    rng = np.random.default_rng(5)
    coarse = Image.fromarray(rng.integers(0, 255, (30, 40, 3), np.uint8))
    file = tmp_path / "large.jpg"
    coarse.resize((1600, 1200), Image.Resampling.BICUBIC).save(file)
    record = described(file, max_size=256, scales=(1, 0.75, 0.5))
    for each, size in zip(record.maps, (256, 192, 128), strict=True):
        np.testing.assert_array_equal(each.activations, described(file, max_size=size).activations)


def test_one_decoding_serves_all_sizes_that_need_its_detail(photo, tmp_path, monkeypatch):
    file = tmp_path / "photo.jpg"
    Image.fromarray(photo).save(file)
    decoded, upright_rgb = [], _opening._upright_rgb
    monkeypatch.setattr(
        _opening, "_upright_rgb", lambda *image: decoded.append(1) or upright_rgb(*image)
    )
    described(file, max_size=256, scales=(1, 0.75))
    assert len(decoded) == 1


def test_a_size_that_a_photo_does_not_reach_counts_once(photo):
    assert len(described(photo, max_size=1000, scales=(1, 0.5, 0.2)).maps) == 2
    enlarged = described(photo, max_size=512, scales=(1, 0.75), enlarge=True)
    assert [each.shape for each in enlarged.maps] == [(12, 16), (9, 12)]


def test_the_store_keeps_each_size_once(photo, tmp_path):
    def passes():
        log = tmp_path / "forward-passes"
        return len(log.read_text().splitlines()) if log.exists() else 0

    CountingExtractor(max_size=128, store=tmp_path).fit_transform([photo])
    both = CountingExtractor(max_size=256, scales=(1, 0.5), store=tmp_path)
    first = both.fit_transform([photo])[0]
    assert passes() == 2
    again = both.transform([photo])[0]
    assert passes() == 2
    for one, other in zip(first.maps, again.maps, strict=True):
        np.testing.assert_array_equal(one.activations, other.activations)


def test_a_box_is_cropped_at_all_sizes(photo):
    box = (80, 60, 240, 180)
    extractor = ConvFeatureExtractor(max_size=256, scales=(1, 0.5))
    (cropped,) = extractor.fit_transform([Query(photo, box)])
    assert [each.shape for each in cropped.maps] == [(4, 4), (1, 2)]
    assert all(each.window[0] >= 48 for each in cropped.maps)


def test_a_box_cut_out_loses_only_sizes_that_are_too_small(photo):
    cut = ConvFeatureExtractor(max_size=256, scales=(0.5, 1), query_crop="image")
    (large,) = cut.fit_transform([Query(photo, (0, 0, 160, 160))])
    assert [each.shape for each in large.maps] == [(2, 2), (4, 4)]
    (small,) = cut.transform([Query(photo, (0, 0, 60, 60))])
    assert [each.shape for each in small.maps] == [(2, 2)]
    with pytest.raises(PhotoError, match="this network needs at least 32"):
        cut.transform([Query(photo, (0, 0, 20, 20))])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"scales": ()}, "numbers above 0"),
        ({"scales": (1, 0)}, "numbers above 0"),
        ({"scales": ("1",)}, "numbers above 0"),
        ({"scales": (1, 0.5), "max_size": None}, "shares of max_size, which is None"),
    ],
)
def test_wrong_scales_are_refused(photo, params, message):
    with pytest.raises(ValueError, match=message):
        described(photo, **params)


def two_sizes():
    """A record of 4 x 4 and 2 x 2 cells whose values are easy to sum by hand."""
    large = ActivationMap.from_arrays(np.arange(16.0).reshape(4, 4, 1), photo_size=(8, 8))
    small = ActivationMap.from_arrays(np.arange(4.0).reshape(2, 2, 1), photo_size=(8, 8))
    return ActivationMap.of_maps([large, small])


def test_regions_of_all_sizes_are_pooled_each_from_its_map():
    proposed = GridRegions(1).transform([two_sizes()])
    (pooled,) = ClusterMaxPooler().transform(proposed)
    assert pooled.vectors.ravel().tolist() == [15, 3]
    assert [regions.shape for regions in pooled.regions] == [(4, 4), (2, 2)]


def test_an_area_is_a_share_of_the_photo_at_every_size():
    (pooled,) = ClusterMaxPooler("area").transform(WholeRegion().transform([two_sizes()]))
    assert pooled.weights.tolist() == [16, 16]


def test_components_are_fitted_on_the_cells_of_all_sizes():
    pca = ActivationPCA(1).fit([two_sizes()])
    # The mean of 0 to 15 and 0 to 3.
    assert pca.mean_.tolist() == [(120 + 6) / 20]
    (embedded,) = pca.transform([two_sizes()])
    assert [each.embedding.shape for each in embedded.maps] == [(4, 4, 1), (2, 2, 1)]


def test_clusters_are_cut_on_each_map_as_if_it_were_alone(photo):
    record = described(photo, max_size=256, scales=(1, 0.5))
    embedded = ActivationPCA(3).fit([record]).transform([record])
    step = NCutClusterer((2, 3))
    (found,) = step.fit_transform(embedded)
    for each, alone in zip(found.maps, step.transform(embedded[0].maps), strict=True):
        assert each.proposed.masks().tolist() == alone.proposed.masks().tolist()


def test_a_chain_with_scales_ranks_matches_localises_and_shows(scenes, tmp_path):
    pipeline = make_rmac_pipeline(
        features__max_size=256, features__scales=(1, 0.5), features__store=tmp_path / "maps",
        whiten__shrinkage=1, whiten__n_components=32,
    )  # fmt: skip
    steps = [("match", RegionMatching()), ("locate", Localization(n_candidates=5))]
    retriever = Retriever(pipeline, steps).fit(scenes.photos)
    ranking = retriever.rank([scenes.photos[0].as_query()], scenes.photos)[0]
    assert scenes.target[ranking.order[0]] == scenes.target[0]
    left, _ = overlay_matches(scenes.photos[0].as_query(), scenes.photos[1], retriever.pipeline_)
    assert left.size == (320, 240)
    kept = describe_collection(retriever.pipeline_, scenes.photos[:2], regions=True)
    # 20 squares of 6 x 8 cells, and as many of 3 x 4, 4:3 as well.
    assert kept.engine.get_regions(kept.ids).counts.tolist() == [40, 40]


def test_scales_are_part_of_what_a_description_is_known_by(tmp_path, photo):
    pipeline = make_rmac_pipeline(features__max_size=128, whiten=None).fit([photo])
    describe_collection(pipeline, [photo], folder=tmp_path)
    pipeline.set_params(features__scales=(1, 0.5))
    with pytest.raises(ValueError, match="choose another place"):
        describe_collection(pipeline, [photo], folder=tmp_path)


def test_a_grid_search_reaches_scales():
    pipeline = make_cmac_pipeline(features__scales=(1, 0.75))
    assert pipeline.get_params()["features__scales"] == (1, 0.75)


def test_records_of_one_size_are_as_before(photo):
    record = described(photo, max_size=128)
    assert record.maps == [record]
    assert replace(record, others=()).maps[0].others == ()


def test_shared_regions_are_those_of_one_size_on_all():
    labels = np.repeat(np.repeat([[0.0, 9.0], [0.0, 9.0]], 2, axis=0), 2, axis=1)[..., None]
    large, small = two_sizes().maps
    record = ActivationMap.of_maps(
        [replace(large, embedding=labels), replace(small, embedding=np.zeros((2, 2, 1)))]
    )
    step = SharedRegions(NCutClusterer(2, 0))
    (found,) = step.fit_transform([record])
    halves = [sorted(region.tolist() for region in each.proposed) for each in found.maps]
    assert halves == [[[0, 1, 4, 5, 8, 9, 12, 13], [2, 3, 6, 7, 10, 11, 14, 15]], [[0, 2], [1, 3]]]
    # The small map alone has nothing to be cut by.
    assert SharedRegions(NCutClusterer(1, 0), size=1).fit_transform([record])[0].maps
    assert SharedRegions(WholeRegion(), size=7).fit_transform([large])[0].proposed.areas == [16]


def test_every_map_knows_whose_it_is(photo):
    """Boxes are looked up by name, and errors name the photo."""
    whole = Photo(photo, name="a church", box=(0, 0, 160, 240))
    extractor = ConvFeatureExtractor(max_size=256, scales=(1, 0.5))
    (record,) = extractor.fit_transform([whole])
    assert [(each.name, each.box) for each in record.maps] == [("a church", (0, 0, 160, 240))] * 2
    (found,) = BoxRegions().fit_transform([record])
    assert [each.proposed.areas.tolist() for each in found.maps] == [[24], [6]]


def test_what_was_pickled_before_there_were_scales_has_one(photo):
    extractor = ConvFeatureExtractor(max_size=128).fit([photo])
    state = extractor.__getstate__()
    before = {name: value for name, value in state.items() if name != "scales"}
    older = ConvFeatureExtractor.__new__(ConvFeatureExtractor)
    older.__setstate__(before)
    assert older.get_params() == extractor.get_params()
    assert fingerprint(older) == fingerprint(extractor)
    assert len(older.transform([photo])[0].maps) == 1
