"""Local features that an index keeps: found once, as the extractor finds them, and used."""

import pickle
import warnings

import numpy as np
import pytest
from light import TRUST, make_light, write_photos
from PIL import Image

from sklearn_cmac import LearnedFeatureExtractor, LocalFeatureExtractor
from sklearn_cmac.collection import DamageError, ExactEngine, describe_into
from sklearn_cmac.collection._details import Details
from sklearn_cmac.datasets import make_object_scenes
from sklearn_cmac.persistence import save_pipeline
from sklearn_cmac.search import RetrievalIndex, Retriever, SpatialVerification

pytest.importorskip("kornia", reason="kornia is not installed: no learned features")


@pytest.fixture(scope="module")
def extractor():
    return LearnedFeatureExtractor(max_features=60, max_size=128)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of five pictures, and one that is none."""
    folder = tmp_path_factory.mktemp("photos") / "photos"
    folder.mkdir()
    for i, photo in enumerate(make_object_scenes(2, 2, 1, size=(160, 120)).photos):
        Image.fromarray(photo.source).save(folder / f"{i}.png")
    (folder / "5.png").write_bytes(b"no picture")
    return folder


@pytest.fixture
def kept(photos, extractor, tmp_path):
    with RetrievalIndex.create(tmp_path / "kept.cmac", make_light(), features=[extractor]) as index:
        index.update(photos)
    return tmp_path / "kept.cmac"


def opened(path, **options):
    return RetrievalIndex.open(path, trust=TRUST, **options)


def assert_same(found, expected):
    assert found.photo_size == expected.photo_size
    assert found.name == expected.name
    for part in ("positions", "descriptors", "scores"):
        np.testing.assert_array_equal(getattr(found, part), getattr(expected, part))


@pytest.mark.parametrize("kept", ["float16", "int8", "binary"])
def test_as_bytes_they_take_what_the_format_says_and_lose_nothing(kept, photos):
    extractor = LearnedFeatureExtractor(max_features=60, max_size=128, kept=kept)
    (features,) = extractor.transform([photos / "0.png"])
    content = extractor.pack(features)
    bits = {"float16": 16, "int8": 8, "binary": 1}[kept]
    assert len(content) == 12 + len(features) * (64 * bits // 8 + 6)
    assert_same(extractor.unpack(content, features.name), features)


@pytest.mark.parametrize("damage", [lambda c: c[:-1], lambda c: c + b"0", lambda c: c[:5]])
def test_bytes_that_do_not_fit_are_refused(damage, extractor, photos):
    (features,) = extractor.transform([photos / "0.png"])
    with pytest.raises(ValueError, match="buffer|are not"):
        extractor.unpack(damage(extractor.pack(features)))


def test_an_index_keeps_what_the_extractor_finds(kept, photos, extractor):
    with opened(kept) as index:
        assert index.info()["local features"] == 1
        for path, expected in zip(index.names, extractor.transform(index.names)):
            assert_same(index.features(path), expected)
        other = LearnedFeatureExtractor(max_features=50, max_size=128)
        assert index.features(index.names[0], other) is None
        with pytest.raises(KeyError, match="no photo"):
            index.features("nowhere.png")
        assert index.check() == []


def test_in_memory_too_and_pickled(photos, extractor):
    names = [str(photos / f"{i}.png") for i in range(5)]
    index = RetrievalIndex(make_light(), features=[extractor])
    index.add(names)
    for same in (index, pickle.loads(pickle.dumps(index))):
        assert_same(same.features(names[1]), extractor.transform([names[1]])[0])


def test_a_copy_of_an_index_has_them(kept, tmp_path):
    with opened(kept) as index:
        index.save(tmp_path / "copy.cmac")
        with opened(tmp_path / "copy.cmac") as copy:
            assert_same(copy.features(copy.names[2]), index.features(index.names[2]))


def test_workers_find_them_as_this_process_does(photos, extractor):
    names = [str(photos / f"{i}.png") for i in range(5)]
    found = []
    for shard_size in (None, 2):
        contents: dict = {}
        found.append(contents)
        describe_into(
            make_light().pipeline_,
            names,
            ExactEngine,
            None,
            regions=False,
            keep=lambda _, new, into=contents: [
                into.setdefault(kind, {}).update(found) for kind, found in new.items()
            ],
            extractors=[extractor],
            shard_size=shard_size,
        )
    assert found[0] == found[1]
    assert len(found[0][extractor.kind]) == 5


def test_they_come_and_go_with_their_photos(tmp_path, extractor):
    write_photos(tmp_path / "photos", range(3))
    with RetrievalIndex.create(tmp_path / "i.cmac", make_light(), features=[extractor]) as index:
        index.update(tmp_path / "photos")
        ids = {entry.name: entry.id for entry in index.entries()}
        (tmp_path / "photos" / "0001.png").unlink()
        index.update(tmp_path / "photos")
        assert set(index._details.ids(extractor.kind)) == {ids[name] for name in index.names}
        assert index.compact() > 0
        assert_same(index.features(index.names[0]), extractor.transform([index.names[0]])[0])


def test_damage_names_the_file(kept, extractor):
    (file,) = kept.glob("local_*.bin")
    content = bytearray(file.read_bytes())
    content[100] ^= 255
    file.write_bytes(content)
    with opened(kept) as index:
        assert any(str(file) in text for text in index.check())
        with pytest.raises(DamageError, match=file.name):
            [index.features(name) for name in index.names]


def test_features_of_other_weights_are_refused(kept, extractor):
    file = kept / f"{extractor.kind}.safetensors"
    other = LearnedFeatureExtractor(max_features=60, max_size=96)
    save_pipeline(other, file)
    with opened(kept) as index, pytest.raises(ValueError, match="other weights or code"):
        index.features(index.names[0])


def test_only_learned_features_are_kept(tmp_path):
    with pytest.raises(TypeError, match="cannot be kept"):
        RetrievalIndex(make_light(), features=[LocalFeatureExtractor()])


def test_an_index_that_has_none_gets_them_later(photos, extractor, tmp_path, monkeypatch):
    with RetrievalIndex.create(tmp_path / "later.cmac", make_light()) as index:
        index.update(photos)
        with pytest.raises(ValueError, match="keeps no local features"):
            index.compare(photos / "0.png", index.names)
        assert index.keep_features(extractor) == []
    with opened(tmp_path / "later.cmac") as index:
        assert_same(index.features(index.names[3]), extractor.transform([index.names[3]])[0])

        def find(self, X):
            assert not X, "a photo is looked at again"
            return iter(())

        monkeypatch.setattr(LearnedFeatureExtractor, "iter_transform", find)
        assert index.keep_features(extractor) == []


def test_a_result_says_where_the_object_lies(extractor, tmp_path):
    scenes = make_object_scenes(1, 2, 1, size=(320, 240), object_scale=(1, 1))
    verify = SpatialVerification(LearnedFeatureExtractor(max_features=300))
    light = make_light()
    retriever = Retriever(light.pipeline, [*light.steps, ("verify", verify)]).fit([])
    index = RetrievalIndex(retriever)
    index.add(scenes.photos)
    query = scenes.photos[0].as_query()
    (first,) = index.search(query, 1)
    assert first.name == scenes.photos[0].name
    assert first.spatial.n_inliers > 8
    # In its own photo, the object lies where the box is.
    np.testing.assert_allclose(first.box, query.box, atol=2)
    assert first.regions is not None
    (unexplained,) = index.search(query, 1, n_explained=0)
    assert unexplained == first
    assert unexplained.spatial is None
    (compared,) = index.compare(query, [first.name])
    assert compared.n_inliers == first.spatial.n_inliers


def test_a_photo_that_is_gone_is_compared_by_what_is_kept(photos, extractor, tmp_path):
    write_photos(tmp_path / "photos", range(3))
    paths = sorted((tmp_path / "photos").iterdir())
    with RetrievalIndex.create(tmp_path / "i.cmac", make_light(), features=[extractor]) as index:
        index.update(tmp_path / "photos")
        before = index.compare(paths[0], index.names)
        paths[1].unlink()
        after = index.compare(paths[0], index.names)
        assert [m.n_inliers for m in after] == [m.n_inliers for m in before]


# -- what is damaged, or was ended in its midst -----------------------------------------------


def damage(kept):
    """Another byte among the first photo's features, whose id is returned."""
    (file,) = kept.glob("local_*.bin")
    content = bytearray(file.read_bytes())
    content[100] ^= 255
    file.write_bytes(content)
    with opened(kept, read_only=True) as index:
        ((id_, sentence),) = index._details.damaged()
    assert str(file) in sentence
    return id_


def verified(extractor):
    light = make_light()
    verify = SpatialVerification(extractor, n_candidates=5)
    return Retriever(light.pipeline, [*light.steps, ("verify", verify)]).fit([])


def test_damaged_features_of_one_photo_stop_no_search(kept, photos, extractor):
    damage(kept)
    query = photos / "1.png"
    with opened(kept, read_only=True) as index:
        index.pipeline = verified(extractor)
        with pytest.warns(UserWarning, match="local features are damaged.*keeps its rank"):
            results = index.search(query, 5)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # the next search does not say it again
            again = index.search(query, 5)
        assert [result.name for result in results] == [result.name for result in again]
        assert len(results) == 5
        assert [match is None for match in index.compare(query, index.names)].count(True) == 1


def test_repair_lets_the_next_update_find_them_again(kept, photos, extractor):
    damage(kept)
    with opened(kept) as index:
        (sentence,) = index.check(repair=True)
        assert "is damaged" in sentence
        assert index.check() == []
        assert index.update(photos).n_described == 1
        for path, expected in zip(index.names, extractor.transform(index.names)):
            assert_same(index.features(path), expected)
        assert index.check() == []


def test_damage_spreads_not_when_room_is_given_back(kept, extractor):
    id_ = damage(kept)
    with opened(kept) as index:
        database = index._details.database
        for size in (10**9, 2**62):
            database.all("UPDATE details SET size = ? WHERE id = ?", (size, id_))
            with pytest.raises(DamageError, match="is damaged"):
                index.compact()
            assert [found for found, _ in index._details.damaged() if found != id_] == []
        index.check(repair=True)
        assert index.compact() > 0
        assert index.check() == []
        assert len(index._details.ids(extractor.kind)) == 4


def test_who_reads_while_another_compacts_is_told_of_no_damage(kept, photos, monkeypatch):
    with opened(kept, read_only=True) as reader, opened(kept) as writer:
        writer.remove([writer.names[0]])
        name = reader.names[-1]
        expected = reader.features(name)
        read, waiting = Details._read, [writer]

        def compacted_before(self, *args):
            while waiting:
                waiting.pop().compact()
            return read(self, *args)

        monkeypatch.setattr(Details, "_read", compacted_before)
        assert_same(reader.features(name), expected)


def test_what_a_run_that_was_killed_kept_of_nobody_goes(kept, extractor):
    with opened(kept) as index:
        index._details.put(extractor.kind, {"of nobody": b"features"})
        assert index.compact() == len(b"features")
        assert len(index._details.ids(extractor.kind)) == 5


def test_an_extractor_that_is_damaged_is_told_and_can_be_kept_again(kept, photos, extractor):
    file = kept / f"{extractor.kind}.safetensors"
    for harm in (file.unlink, lambda: file.write_bytes(b"damaged")):
        harm()
        with opened(kept) as index:
            assert [str(file) in sentence for sentence in index.check()] == [True]
            assert index.keep_features(extractor) == []
            assert index.check() == []
            assert index.features(index.names[0]) is not None


def test_an_index_may_keep_those_of_several(kept, photos, extractor):
    other = LearnedFeatureExtractor(max_features=30, max_size=128)
    with opened(kept) as index:
        index.keep_features(other)
        assert [each.kind for each in index.extractors] == [extractor.kind, other.kind]
    with opened(kept) as index:
        assert [each.kind for each in index.extractors] == [extractor.kind, other.kind]
        assert len(index.features(index.names[0], other)) == 30


@pytest.mark.parametrize(
    ("features", "error", "match"),
    [
        (LearnedFeatureExtractor(), TypeError, "put a single one into a list"),
        ([LearnedFeatureExtractor(max_size=0)], ValueError, "'max_size' parameter"),
        ([LearnedFeatureExtractor(kept="int4")], ValueError, "'kept' parameter"),
    ],
)
def test_wrong_features_are_refused_before_anything_is_made(features, error, match, tmp_path):
    with pytest.raises(error, match=match):
        RetrievalIndex.create(tmp_path / "i.cmac", make_light(), features=features)
    assert not (tmp_path / "i.cmac").exists()
