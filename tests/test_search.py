"""The index and the pictures, as their users use them."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sklearn_cmac import GridRegions, Photo, Query, make_mac_pipeline, make_rmac_pipeline
from sklearn_cmac.datasets import make_object_scenes
from sklearn_cmac.inspection import draw_box, overlay_matches, overlay_regions
from sklearn_cmac.search import RetrievalIndex, augment_database, expand_queries

pytestmark = pytest.mark.filterwarnings("ignore:whitening")


@pytest.fixture(scope="module")
def scenes():
    return make_object_scenes(n_objects=4, n_scenes=3, n_distractors=4, size=(480, 360))


@pytest.fixture(scope="module")
def pipeline(scenes):
    return make_rmac_pipeline(whiten__shrinkage=1.0).fit(scenes.photos)


def test_search_ranks_by_the_dot_product(scenes, pipeline):
    index = RetrievalIndex(pipeline, batch_size=5)
    report = index.add(scenes.photos)
    assert report.added == [p.name for p in scenes.photos]
    descriptors = pipeline.transform(scenes.photos)
    scores = descriptors @ descriptors[3]
    results = index.search(scenes.photos[3], n_results=5)
    assert [r.name for r in results] == [scenes.photos[i].name for i in np.argsort(-scores)[:5]]
    np.testing.assert_allclose([r.score for r in results], np.sort(scores)[::-1][:5], rtol=1e-5)
    assert results[0].score == pytest.approx(1, abs=1e-5)


def test_photos_are_removed_and_replaced_by_name(scenes, pipeline, tmp_path):
    index = RetrievalIndex(pipeline)
    index.add(scenes.photos[:4])
    index.remove([scenes.photos[1].name])
    assert scenes.photos[1].name not in [r.name for r in index.search(scenes.photos[1])]
    index.add(scenes.photos[2:5])
    assert len(index) == 4
    with pytest.raises(KeyError, match="not in the index, such as 'nobody'"):
        index.remove(["nobody"])
    index.save(tmp_path / "index.cmac")
    copy = RetrievalIndex.load(tmp_path / "index.cmac")
    assert copy.search(scenes.photos[0]) == index.search(scenes.photos[0])


def test_three_broken_photos_among_a_hundred(tmp_path, rng):
    """97 are indexed, 3 are reported, whatever is wrong with them."""
    good = [rng.integers(0, 255, (40, 48, 3), np.uint8) for _ in range(97)]
    (tmp_path / "text.jpg").write_text("no photo")
    whole = tmp_path / "whole.jpg"
    Image.fromarray(good[0]).save(whole)
    (tmp_path / "cut.jpg").write_bytes(whole.read_bytes()[:-200])
    broken = [tmp_path / "text.jpg", tmp_path / "missing.jpg", tmp_path / "cut.jpg"]
    photos = [*good[:30], broken[0], *good[30:31], broken[1], *good[31:90], broken[2], *good[90:]]
    named = [p if isinstance(p, Path) else Image.fromarray(p) for p in photos]
    for i, photo in enumerate(named):
        if not isinstance(photo, Path):
            photo.filename = f"good-{i}"
    index = RetrievalIndex(make_mac_pipeline(whiten__shrinkage=1).fit(good), batch_size=16)
    report = index.add(named)
    assert (len(index), len(report.added), len(report.failed)) == (97, 97, 3)
    assert [name for name, _ in report.failed] == [str(path) for path in broken]
    assert "97 photos indexed, 3 could not be used" in str(report)


def test_an_empty_index_says_so(pipeline, scenes):
    with pytest.raises(ValueError, match="holds no photos"):
        RetrievalIndex(pipeline).search(scenes.photos[0])


def unit_vectors(n, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((n, 8))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_average_expansion_is_the_mean_of_query_and_neighbours():
    database, query = unit_vectors(30), unit_vectors(1, seed=1)
    nearest = np.argsort(-(database @ query[0]))[:4]
    mean = np.vstack([query, database[nearest]]).mean(axis=0)
    expected = (mean / np.linalg.norm(mean))[None]
    np.testing.assert_allclose(expand_queries(query, database, 4), expected)
    np.testing.assert_allclose(expand_queries(query, database, 4, alpha=1e-12), expected)


def test_weighted_expansion_by_hand():
    database = np.array([[0.6, 0.8], [-1.0, 0.0]])
    expected = np.array([[1 + 0.6**3 * 0.6, 0.6**3 * 0.8]])
    expected /= np.linalg.norm(expected)
    got = expand_queries(np.array([[1.0, 0.0]]), database, 2, alpha=3)
    np.testing.assert_allclose(got, expected)


def test_augmenting_a_database_is_expanding_each_photo_with_the_others():
    database = unit_vectors(12)
    augmented = augment_database(database, 3, alpha=2)
    for i, photo in enumerate(database):
        others = np.delete(database, i, axis=0)
        np.testing.assert_allclose(augmented[i], expand_queries(photo[None], others, 3, 2)[0])
    np.testing.assert_allclose(augment_database(database, 0), database)
    everything = augment_database(database, 99)
    np.testing.assert_allclose(everything, np.repeat(everything[:1], 12, axis=0))


def test_overlay_paints_the_regions_where_they_are(pixels):
    grey = np.full_like(pixels, 90)
    from sklearn_cmac import ActivationMap

    record = ActivationMap.from_arrays(np.ones((3, 4, 1)), photo_size=(128, 96))
    left = record.crop((0, 0, 64, 96))
    painted = np.asarray(overlay_regions(grey, GridRegions(1).transform([left])[0]))
    assert (painted[:, 64:] == 90).all()
    assert (painted[:60, :60] != 90).any(axis=-1).all()
    with pytest.raises(ValueError, match="no regions of kind 7"):
        overlay_regions(grey, GridRegions().transform([left])[0], kind=7)


def test_matching_regions_are_painted_alike(pipeline, scenes):
    """A photo and itself: every region matches itself, so both pictures are one."""
    left, right = overlay_matches(scenes.photos[0], scenes.photos[0], pipeline)
    np.testing.assert_array_equal(left, right)
    plain = np.asarray(draw_box(scenes.photos[0]))
    assert (np.asarray(left) != plain).any()


def test_boxes_are_drawn_where_they_are(pixels):
    drawn = np.asarray(draw_box(np.zeros_like(pixels), (32, 16, 96, 80)))
    rows, cols = np.nonzero(drawn[..., 0])
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (16, 80, 32, 96)


# -- who a photo of the index is --------------------------------------------------------------


def test_arrays_without_a_name_are_photos_of_their_own(pipeline, scenes):
    """All arrays of one shape had one name, and the last was kept."""
    index = RetrievalIndex(pipeline)
    report = index.add([photo.source for photo in scenes.photos[:5]])
    assert (len(index), len(report.added), report.failed) == (5, 5, [])
    assert index.search(scenes.photos[2].source, 1)[0].name == index.names[2]
    boxes = [(0, 0, 200, 200), (200, 0, 400, 200)]
    report = index.add([Query(scenes.photos[5], box) for box in boxes])
    assert report.added == [
        "object-01-scene-2 (0, 0, 200, 200)", "object-01-scene-2 (200, 0, 400, 200)"
    ]  # fmt: skip
    assert len(index) == 7


def test_photos_of_one_name_in_one_call_are_reported(pipeline, scenes):
    same = [Photo(photo.source, name="photo") for photo in scenes.photos[:3]]
    report = RetrievalIndex(pipeline).add(same)
    assert report.added == ["photo"]
    assert len(report.failed) == 2
    assert "tell them apart by Photo(..., name=...)" in str(report)


def test_a_copy_stays_when_its_original_is_removed(pipeline, scenes):
    index = RetrievalIndex(pipeline)
    index.add([Photo(scenes.photos[0].source, name="a"), Photo(scenes.photos[0].source, name="b")])
    assert [r.name for r in index.search(scenes.photos[0], 5)] == ["a", "b"]
    index.remove(["a"])
    assert [r.name for r in index.search(scenes.photos[0], 5)] == ["b"]


@pytest.mark.parametrize("n_results", [0, -1])
def test_a_number_of_results_is_at_least_one(pipeline, scenes, n_results):
    index = RetrievalIndex(pipeline)
    index.add(scenes.photos[:2])
    with pytest.raises(ValueError, match=f"n_results is at least 1, got {n_results}"):
        index.search(scenes.photos[0], n_results)


def test_an_index_in_memory_is_pickled_with_its_vectors(pipeline, scenes):
    index = RetrievalIndex(pipeline)
    index.add(scenes.photos[:4])
    again = pickle.loads(pickle.dumps(index))
    again.add(scenes.photos[4:6])
    assert again.names == [photo.name for photo in scenes.photos[:6]]
    assert again.search(scenes.photos[5], 1)[0].name == scenes.photos[5].name
    assert index.names == [photo.name for photo in scenes.photos[:4]]
