"""The extractor and its store."""

import os
import pickle
import subprocess
import sys
from dataclasses import replace

import joblib
import numpy as np
import pytest
from counting import CountingExtractor
from PIL import Image

from sklearn_cmac import ConvFeatureExtractor, LocalFeatureExtractor, Photo, PhotoError, Query
from sklearn_cmac.store import ArrayStore, StoredMap

torch = pytest.importorskip("torch")


# -- the extractor ----------------------------------------------------------------------------


def test_crop_x_is_a_part_of_the_whole_map_and_crop_i_is_not(pixels):
    query = Query(pixels, (0, 0, 64, 96))
    extractor = ConvFeatureExtractor().fit([])
    (whole,) = extractor.transform([pixels])
    (crop_x,) = extractor.transform([query])
    np.testing.assert_array_equal(crop_x.activations, whole.activations[:, :2])
    (crop_i,) = extractor.set_params(query_crop="image").transform([query])
    assert crop_i.activations.shape == crop_x.activations.shape
    assert crop_i.window == (0, 0, 64, 96)
    (alone,) = extractor.transform([pixels[:, :64]])
    np.testing.assert_array_equal(crop_i.activations, alone.activations)


def test_a_photos_box_is_carried_but_not_applied(pixels):
    photo = Photo(pixels, box=(0, 0, 64, 96))
    (record,) = ConvFeatureExtractor().fit_transform([photo])
    assert record.shape == (3, 4)
    assert record.as_query().shape == (3, 2)


def test_colours_are_the_mean_of_each_cells_pixels(pixels):
    (record,) = ConvFeatureExtractor().fit_transform([pixels])
    cells = pixels.reshape(3, 32, 4, 32, 3).mean(axis=(1, 3))
    assert np.abs(record.colors - cells).max() <= 1


def test_half_precision_halves_the_map(pixels):
    (record,) = ConvFeatureExtractor(precision="float16").fit_transform([pixels])
    assert record.activations.dtype == np.float16


def test_threads_change_nothing(pixels):
    photos = [pixels, pixels[::-1], pixels[:, ::-1], 255 - pixels]
    one = ConvFeatureExtractor().fit_transform(photos)
    two = ConvFeatureExtractor(n_jobs=2).fit_transform(photos)
    for a, b in zip(one, two):
        np.testing.assert_allclose(a.activations, b.activations, atol=1e-5)


def test_broken_photos_are_named_and_the_others_are_not_lost(pixels, tmp_path):
    photos = [pixels, tmp_path / "missing.jpg", pixels[::-1], b"text", np.zeros((3, 20000))]
    with pytest.raises(PhotoError, match=r"3 of 5 photos cannot be used") as caught:
        ConvFeatureExtractor().fit_transform(photos)
    assert [i for i, _, _ in caught.value.failures] == [1, 3, 4]
    assert [i for i, _ in caught.value.maps] == [0, 2]
    for part in ("missing.jpg", "<4 bytes ", "<array 3x20000 "):
        assert part in str(caught.value)


@pytest.mark.parametrize("X", ["photo.jpg", Photo("photo.jpg"), [], iter([])])
def test_what_is_no_sequence_of_photos_is_refused(X):
    with pytest.raises(ValueError, match="sequence of photos|0 photos"):
        ConvFeatureExtractor().fit_transform(X)


def test_a_network_that_returns_nan_is_refused(pixels, tmp_path):
    import timm

    state = timm.create_model("tf_efficientnet_lite0").state_dict()
    state["conv_head.weight"][:] = np.nan
    torch.save(state, tmp_path / "nan.pth")
    with pytest.raises(
        PhotoError, match=r"<array 96x128x3 \w+>: the network's activations are not"
    ):
        ConvFeatureExtractor(weights=tmp_path / "nan.pth").fit_transform([pixels])


def test_other_weights_than_those_fitted_with_are_refused(pixels):
    extractor = ConvFeatureExtractor().fit([])
    extractor.set_params(weights=None)
    with pytest.raises(ValueError, match="was fitted with weights"):
        extractor.transform([pixels])


# -- the store --------------------------------------------------------------------------------


def passes(folder):
    return (folder / "forward-passes").read_text().count("\n")


def test_a_map_is_computed_once_per_photo_and_setting(jpeg, tmp_path):
    extractor = CountingExtractor(store=tmp_path)
    query = Query(jpeg, (0, 0, 64, 96))
    for _ in range(2):
        extractor.fit_transform([jpeg, query, jpeg.read_bytes()])
    assert passes(tmp_path) == 1
    extractor.set_params(query_crop="image").transform([jpeg, query])
    assert passes(tmp_path) == 2
    extractor.set_params(max_size=64).transform([jpeg])
    assert passes(tmp_path) == 3
    extractor.set_params(layer="blocks.6").fit([]).transform([jpeg])
    assert passes(tmp_path) == 4


def test_stored_maps_are_equal_memory_mapped_and_pickle_as_handles(pixels, tmp_path):
    (in_memory,) = ConvFeatureExtractor().fit_transform([pixels])
    (stored,) = ConvFeatureExtractor(store=tmp_path).fit_transform([pixels])
    assert isinstance(stored.activations, np.memmap)
    np.testing.assert_array_equal(stored.activations, in_memory.activations)
    np.testing.assert_array_equal(stored.colors, in_memory.colors)
    assert (stored.photo_size, stored.window) == (in_memory.photo_size, in_memory.window)
    cropped = stored.crop((0, 0, 64, 96)).crop((32, 0, 64, 96))
    np.testing.assert_array_equal(cropped.activations, in_memory.activations[:, 1:2])
    for record in (stored, cropped):
        content = pickle.dumps(record)
        assert len(content) < 1000
        copy = pickle.loads(content)
        np.testing.assert_array_equal(copy.activations, record.activations)


def test_a_thousand_records_hold_no_open_file(pixels, tmp_path):
    (record,) = ConvFeatureExtractor(store=tmp_path).fit_transform([pixels])
    open_files = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    if open_files is None:
        pytest.skip("needs /proc to count open files")
    records = [replace(record, name=str(i)) for i in range(1000)]
    assert sum(r.activations.shape[0] for r in records) == 3000
    assert len(os.listdir("/proc/self/fd")) <= open_files + 1


def test_a_write_that_is_cut_off_leaves_no_map(pixels, tmp_path, monkeypatch):
    def full_disk(*args, **kwargs):
        raise OSError("no space left on device")

    extractor = ConvFeatureExtractor(store=tmp_path).fit([])
    with monkeypatch.context() as patch:
        patch.setattr(np, "save", full_disk)
        with pytest.raises(OSError, match="no space"):
            extractor.transform([pixels])
    assert not list(tmp_path.rglob("*.npy"))
    assert not list(tmp_path.rglob("*.part"))
    assert extractor.transform([pixels])[0].shape == (3, 4)


def test_a_run_that_was_stopped_goes_on_where_it_was(jpeg, pixels, tmp_path):
    extractor = CountingExtractor(store=tmp_path).fit([])
    photos = [jpeg, tmp_path / "late.png", pixels]
    with pytest.raises(PhotoError, match=r"late\.png"):
        extractor.transform(photos)
    Image.fromarray(pixels[::-1]).save(tmp_path / "late.png")
    assert len(extractor.transform(photos)) == 3
    assert passes(tmp_path) == 3


def test_a_deleted_map_says_so(pixels, tmp_path):
    (record,) = ConvFeatureExtractor(store=tmp_path).fit_transform([pixels])
    os.unlink(record.arrays.path)
    with pytest.raises(PhotoError, match=r"^<array 96x128x3 \w+>: the stored file .* is gone"):
        record.activations  # noqa: B018


def test_processes_that_want_the_same_map_wait_for_one(jpeg, tmp_path):
    extractor = CountingExtractor(store=tmp_path).fit([])
    jobs = joblib.Parallel(n_jobs=2)(joblib.delayed(extractor.transform)([jpeg]) for _ in range(4))
    assert passes(tmp_path) == 1
    assert all(isinstance(records[0].arrays, StoredMap) for records in jobs)


def test_unknown_keys_are_not_there(tmp_path):
    assert ArrayStore(tmp_path).get("00" * 32) is None


def test_a_file_is_read_again_where_another_thread_disturbed_the_parser(tmp_path, monkeypatch):
    store = ArrayStore(tmp_path)
    store.get_or_compute("00" * 32, lambda: {"numbers": np.arange(3)})
    load, disturbed = np.load, [True]

    def stumbles_once(*args, **kwargs):
        if disturbed:
            disturbed.clear()
            raise SystemError("AST constructor recursion depth mismatch (before=57, after=54)")
        return load(*args, **kwargs)

    monkeypatch.setattr(np, "load", stumbles_once)
    assert store.get("00" * 32)["numbers"].tolist() == [0, 1, 2]
    assert not disturbed


def test_importing_the_package_loads_no_torch():
    code = "import sys, sklearn_cmac; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# -- what others trip over --------------------------------------------------------------------


def test_a_box_that_stands_out_of_its_photo_is_clipped_in_both_crops(pixels):
    """By a rounding of the annotation: the window is a part of the photo."""
    query = Query(pixels, (-0.9, -0.5, 64, 96.7))
    (crop_i,) = ConvFeatureExtractor(query_crop="image").fit_transform([query])
    assert crop_i.window == (0, 0, 64, 96)


@pytest.mark.parametrize(
    ("name", "value"), [("query_crop", "crop_i"), ("max_size", 0), ("precision", "half")]
)
def test_wrong_parameters_are_refused_by_transform_too(pixels, name, value):
    extractor = ConvFeatureExtractor().fit([])
    with pytest.raises(ValueError, match=f"'{name}' parameter of ConvFeatureExtractor"):
        extractor.set_params(**{name: value}).transform([pixels])


@pytest.mark.parametrize("damage", [b"", b"hello", "half", "flip"])
def test_a_damaged_map_counts_as_absent_and_is_written_again(jpeg, tmp_path, damage, rng):
    extractor = CountingExtractor(store=tmp_path / "maps", layer="blocks.4").fit([])
    (tmp_path / "maps").mkdir()
    expected = np.array(extractor.transform([jpeg])[0].activations)
    (file,) = (tmp_path / "maps").rglob("*.npy")
    whole = file.read_bytes()
    positions = [0, 70, *rng.integers(0, len(whole), 20).tolist(), len(whole) - 1]
    for n, position in enumerate(positions if damage == "flip" else [0], 1):
        if damage == "flip":
            content = bytearray(whole)
            content[position] ^= 1
        else:
            content = whole[: len(whole) // 2] if damage == "half" else damage
        file.write_bytes(content)
        np.testing.assert_array_equal(extractor.transform([jpeg])[0].activations, expected)
        # A flipped bit of the header's padding changes nothing that is read.
        assert passes(tmp_path / "maps") <= n + 1
        assert file.read_bytes() == whole or damage == "flip"


def test_a_map_that_is_damaged_after_it_was_found_names_photo_and_file(jpeg, tmp_path):
    (record,) = ConvFeatureExtractor(store=tmp_path / "maps").fit_transform([jpeg])
    (file,) = (tmp_path / "maps").rglob("*.npy")
    file.write_bytes(b"hello")
    with pytest.raises(PhotoError, match=rf"^{jpeg}: the stored file {file} is damaged"):
        record.activations  # noqa: B018


def test_a_stored_map_is_opened_once_by_whoever_reads_it(jpeg, tmp_path, monkeypatch):
    """Once to find it; its shape is known from then on."""
    extractor = ConvFeatureExtractor(store=tmp_path / "maps").fit([])
    extractor.transform([jpeg])
    opened, load = [], np.load
    monkeypatch.setattr(np, "load", lambda *args, **kw: opened.append(args) or load(*args, **kw))
    (record,) = extractor.transform([jpeg])
    assert (record.shape, record.crop((0, 0, 64, 64)).shape) == ((3, 4), (2, 2))
    assert len(opened) == 1


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_whatever_a_photo_raises_is_its_error_and_the_others_go_on(pixels, tmp_path, n_jobs):
    """A PNG that is cut off raises OSError where its size is asked for."""
    whole = tmp_path / "whole.png"
    Image.fromarray(pixels).save(whole)
    cut = tmp_path / "cut.png"
    cut.write_bytes(whole.read_bytes()[:-400])
    for extractor in (ConvFeatureExtractor(n_jobs=n_jobs), LocalFeatureExtractor(n_jobs=n_jobs)):
        with pytest.raises(PhotoError, match=r"cut\.png: the image is damaged") as caught:
            extractor.fit([]).transform([whole, cut, pixels[::-1]])
        assert [i for i, _, _ in caught.value.failures] == [1]
        assert [i for i, _ in caught.value.maps] == [0, 2]


def test_an_error_that_no_photo_is_to_blame_for_ends_a_parallel_run(pixels, tmp_path):
    """In a process of its own: it used to end by a signal."""
    code = (
        "import numpy as np, torch\n"
        "from sklearn_cmac import ConvFeatureExtractor\n"
        f"torch.save({{'a': torch.zeros(2)}}, r'{tmp_path}/wrong.pth')\n"
        f"extractor = ConvFeatureExtractor(weights=r'{tmp_path}/wrong.pth', n_jobs=2)\n"
        "photos = [np.full((96, 128, 3), i, np.uint8) for i in range(6)]\n"
        "extractor.fit([]).transform(photos)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "does not hold the weights of efficientnet_lite0" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("kind", ["list", "tuple", "objects", "series"])
def test_photos_come_in_any_sequence(pixels, jpeg, kind):
    pandas = pytest.importorskip("pandas")
    photos = [str(jpeg), Photo(pixels, name="b"), Photo(pixels[::-1], name="c")]
    objects = np.empty(3, object)
    objects[:] = photos
    given = {
        "list": photos, "tuple": tuple(photos), "objects": objects,
        "series": pandas.Series(photos, index=[2, 0, 1]),
    }[kind]  # fmt: skip
    assert [r.name for r in ConvFeatureExtractor().fit_transform(given)] == [str(jpeg), "b", "c"]
