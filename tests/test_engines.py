"""Inference engines against torch, what is kept of them, and batches against single photos."""

import os
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_cmac import ConvFeatureExtractor, PhotoError, Query
from sklearn_cmac.networks import (
    ENGINES,
    Backbone,
    ConversionError,
    choose_arithmetic,
    choose_engine,
    get_backbone,
    installed_engines,
    register_network,
)
from sklearn_cmac.networks import _converted as converted
from sklearn_cmac.networks import _engines as engines


@pytest.fixture(params=list(ENGINES))
def engine(request):
    if request.param not in installed_engines():
        pytest.skip(f"{request.param} is not installed")
    return request.param


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty folder for converted networks."""
    monkeypatch.setenv("SKLEARN_CMAC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def fresh(name="efficientnet_lite0", **params):
    """A network that was not run in this process yet."""
    return replace(get_backbone(name, **params))


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


class Stub(nn.Module):
    """Means of 32x32 pixels, scaled by what a tracer takes for a constant if `traps`."""

    def __init__(self, traps=False):
        super().__init__()
        self.traps = traps
        self.mix = nn.Conv2d(3, 8, 32, 32)

    def forward(self, x):
        return self.mix(x) * (float(x.shape[-1]) if self.traps else 1.0)


def make_stub(name, weights, layer):
    return Backbone(
        name=name, layer="default", channels=8, stride=32, mean=(0.5,) * 3, std=(0.5,) * 3,
        weights_source="none", weights_sha256="none", licence="none",
        build=lambda: Stub(traps=name.endswith("traps")),
    )  # fmt: skip


register_network("stub", make_stub, replace=True)
register_network("stub-traps", make_stub, replace=True)

# -- the same numbers -------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(96, 128), (250, 190)])
def test_engines_compute_what_torch_computes(engine, size, rng):
    backbone = get_backbone("efficientnet_lite0")
    pixels = rng.integers(0, 255, (1, *size, 3), np.uint8)
    expected = backbone.runner()(pixels)
    found = backbone.runner(engine)(pixels)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() <= 1e-4 * expected.max()
    with torch.inference_mode():  # torch as it is used without this package
        tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        plain = backbone.forward_on("cpu")((tensor - 127.0) / 128.0)
    np.testing.assert_allclose(expected[0], plain[0].permute(1, 2, 0), atol=1e-4 * plain.max())


def test_a_layer_within_a_network_is_cut_out(engine, pixels):
    backbone = get_backbone("efficientnet_lite0", layer="blocks.3")
    expected, found = (backbone.runner(way)(pixels[None]) for way in ("torch", engine))
    assert found.shape == (1, 6, 8, 80)
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def test_transformers_are_converted_for_photos_of_any_shape(pixels):
    backbone = get_backbone("timm/vit_tiny_patch16_224", None)
    if "openvino" not in installed_engines():
        pytest.skip("openvino is not installed")
    assert choose_engine("openvino", backbone, "cpu") == "openvino"
    expected, found = (backbone.runner(way)(pixels[None]) for way in ("torch", "openvino"))
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("way", ["auto", "torch"])
def test_threads_change_no_bit(way, pixels):
    photos = [np.roll(pixels, 8 * i, axis=1) for i in range(7)]
    before = torch.get_num_threads()
    alone = ConvFeatureExtractor(engine=way, n_jobs=1).fit_transform(photos)
    try:
        torch.set_num_threads(3)
        together = ConvFeatureExtractor(engine=way, n_jobs=3).fit_transform(photos)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    for one, other in zip(alone, together):
        np.testing.assert_array_equal(one.activations, other.activations)


# -- which engine -----------------------------------------------------------------------------


def test_auto_is_what_is_installed_and_torch_on_a_gpu(monkeypatch):
    stub = get_backbone("stub")
    monkeypatch.setattr(engines, "_is_there", lambda module: False)
    assert choose_engine("auto", stub, "cpu") == "torch"
    with pytest.raises(ValueError, match=r"needs openvino: pip install 'sklearn-cmac\[openvino\]'"):
        ConvFeatureExtractor("stub", engine="openvino", device="cpu").fit([])
    monkeypatch.setattr(engines, "_is_there", lambda module: True)
    assert choose_engine("auto", stub, "cuda") == "torch"
    with pytest.raises(ValueError, match="runs on device 'cpu', not on 'cuda'"):
        choose_engine("onnx", stub, "cuda")


def test_what_an_engine_cannot_run_is_left_to_torch_with_a_line_that_says_why(engine, pixels):
    engines._warn_once.cache_clear()
    extractor = ConvFeatureExtractor("stub-traps", engine=engine)
    with pytest.warns(UserWarning, match=f"stub-traps runs in torch: {engine} cannot run it"):
        extractor.fit([])
    (record,) = extractor.transform([pixels])
    expected = get_backbone("stub-traps").runner()(pixels[None])[0]
    np.testing.assert_array_equal(record.activations, expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ConvFeatureExtractor("stub-traps", engine=engine).fit([])


def test_an_export_that_fails_prints_nothing(capfd):
    if "onnx" not in installed_engines():
        pytest.skip("onnx is not installed")
    dino = replace(get_backbone("timm/vit_small_patch14_reg4_dinov2.lvd142m", None))
    with pytest.raises(ConversionError, match="bicubic"):
        dino.converted("onnx")
    assert capfd.readouterr() == ("", "")


def test_maps_of_another_engine_are_other_maps_in_the_store(engine, pixels, tmp_path):
    for way in ("torch", engine, engine):
        ConvFeatureExtractor(engine=way, store=tmp_path).fit_transform([pixels])
    assert len(list(tmp_path.rglob("*.npy"))) == 2


# -- what is kept of a conversion ---------------------------------------------------------------


@pytest.fixture
def conversions(engine, monkeypatch):
    """Counts them."""
    program = engines.load_engine(engine)
    made, convert = [], program.convert

    def counted(*args):
        made.append(engine)
        return convert(*args)

    monkeypatch.setattr(program, "convert", counted)
    return made


def test_a_network_is_converted_once(engine, cache, conversions, pixels):
    first = fresh().runner(engine)(pixels[None])
    (file,) = files(cache)
    assert file.parts[-3] == engine
    again = fresh().runner(engine)(pixels[None])
    assert len(conversions) == 1
    np.testing.assert_array_equal(first, again)


def test_a_damaged_conversion_is_made_again(engine, cache, conversions, pixels):
    first = fresh().runner(engine)(pixels[None])
    (file,) = files(cache)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    again = fresh().runner(engine)(pixels[None])
    assert len(conversions) == 2
    np.testing.assert_array_equal(first, again)


def test_conversions_are_bound_to_versions_layers_and_weights(
    engine, cache, conversions, monkeypatch
):
    fresh().converted(engine)
    fresh(layer="blocks.3").converted(engine)
    fresh(weights=None).converted(engine)
    assert len(conversions) == 3
    monkeypatch.setattr(engines.load_engine(engine), "version", lambda: "another")
    fresh().converted(engine)
    assert len(conversions) == 4


def test_a_network_that_was_converted_needs_no_torch(engine, jpeg):
    fresh().converted(engine)
    code = f"""
import sys
from sklearn_cmac import ConvFeatureExtractor
ConvFeatureExtractor(engine={engine!r}, device="cpu").fit_transform([{str(jpeg)!r}])
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_that_a_network_cannot_be_converted_is_kept_too(engine, cache, conversions):
    trap = replace(get_backbone("stub-traps"))
    trap.build.__module__ = "sklearn_cmac.networks.stub"  # as if it were one of ours
    for _ in range(2):
        with pytest.raises(ConversionError, match="its map differs from torch's by"):
            replace(trap).converted(engine)
    assert len(conversions) == 1


def test_networks_from_elsewhere_are_not_kept(engine, cache, conversions):
    for _ in range(2):
        replace(get_backbone("stub")).converted(engine)
    assert len(conversions) == 2
    assert not cache.exists()


def test_a_folder_that_cannot_be_written_is_no_error(engine, cache, conversions, pixels):
    cache.write_text("in the way")
    with pytest.warns(UserWarning, match="cannot be kept in .*Set SKLEARN_CMAC_CACHE"):
        found = fresh().runner(engine)(pixels[None])
    assert found.shape == (1, 3, 4, 1280)
    assert len(conversions) == 1


def test_a_full_disk_leaves_no_part_behind(engine, cache, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.warns(UserWarning, match="its disk is full"):
        fresh().runner(engine)
    assert [path for path in files(cache) if path.suffix != ".lock"] == []


def test_the_folder_is_the_users_cache_unless_told_otherwise(monkeypatch):
    monkeypatch.delenv("SKLEARN_CMAC_CACHE", raising=False)
    assert converted.cache_folder().name == "sklearn_cmac"
    monkeypatch.setenv("SKLEARN_CMAC_CACHE", os.sep)
    assert str(converted.cache_folder()) == os.sep


# -- number formats -----------------------------------------------------------------------------


def formats(monkeypatch, *able):
    for name in installed_engines():
        program = engines.load_engine(name)
        monkeypatch.setattr(program, "formats", lambda: frozenset(able))
    monkeypatch.setattr(engines, "_formats_of_torch", lambda device: frozenset(able))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_formats_that_the_processor_lacks_are_a_warning_and_float32(precision, pixels, monkeypatch):
    formats(monkeypatch)
    extractor = ConvFeatureExtractor(precision=precision)
    with pytest.warns(UserWarning, match=f"does not run .* in {precision} natively"):
        (record,) = extractor.fit_transform([pixels])
    (single,) = ConvFeatureExtractor().fit_transform([pixels])
    np.testing.assert_array_equal(record.activations, single.activations.astype("f2"))


def test_formats_that_the_processor_has_are_used(monkeypatch):
    formats(monkeypatch, "bfloat16")
    lite0 = get_backbone("efficientnet_lite0")
    assert choose_arithmetic("bfloat16", "torch", lite0, "cpu") == "bfloat16"
    assert choose_arithmetic("float16", "torch", lite0, "cpu") == "float32"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ConvFeatureExtractor(precision="bfloat16").fit([])


@pytest.mark.parametrize("way", ["torch", *ENGINES])
def test_bfloat16_is_the_same_map_in_fewer_digits(way, landmarks):
    if way != "torch" and way not in installed_engines():
        pytest.skip(f"{way} is not installed")
    lite0 = get_backbone("efficientnet_lite0")
    if choose_arithmetic("bfloat16", way, lite0, "cpu") != "bfloat16":
        pytest.skip(f"{way} does not compute in bfloat16 natively on this processor")
    photo = sorted((landmarks / "images").rglob("*.jpg"))[0]
    # An odd height above 256 has no exact bfloat16.
    maps = [
        ConvFeatureExtractor(engine=way, precision=p, max_size=511).fit_transform([photo])[0]
        for p in ("float32", "bfloat16")
    ]
    one, other = (record.activations.ravel().astype(float) for record in maps)
    cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    assert 0.99 < cosine < 1 - 1e-9


def test_a_network_that_is_another_one_in_a_format_computes_in_single_precision(
    engine, monkeypatch
):
    formats(monkeypatch, "bfloat16")
    stub = replace(get_backbone("stub"))
    for arithmetic, rows in (("float32", 9), ("bfloat16", 8)):
        run = {(engine, "cpu", arithmetic): lambda x, rows=rows: np.ones((1, rows, 8, 2))}
        stub._runners.update(run)
    assert choose_arithmetic("bfloat16", engine, stub, "cpu") == "float32"


# -- batches ------------------------------------------------------------------------------------
# A device whose name is not "cpu" is taken for one that likes batches.
BATCHED = {"engine": "torch", "device": "cpu:0"}


@pytest.fixture
def photos(pixels):
    tall = pixels.transpose(1, 0, 2).copy()
    return [pixels, tall, pixels[::-1], tall[::-1], Query(pixels, (0, 0, 64, 64)), pixels[:64]]


@pytest.mark.parametrize("batch_size", [1, 2, 16])
@pytest.mark.parametrize("more", [{}, {"scales": (1, 0.5)}, {"query_crop": "image"}])
def test_batches_change_nothing(batch_size, more, photos):
    more = {"max_size": 128, **more}
    alone = ConvFeatureExtractor(engine="torch", **more).fit_transform(photos)
    extractor = ConvFeatureExtractor(**BATCHED, batch_size=batch_size, n_jobs=2, **more)
    for one, other in zip(alone, extractor.fit_transform(photos)):
        assert [m.shape for m in one.maps] == [m.shape for m in other.maps]
        for a, b in zip(one.maps, other.maps):
            np.testing.assert_allclose(a.activations, b.activations, atol=1e-4)
            np.testing.assert_array_equal(a.colors, b.colors)
            assert a.window == b.window


def test_photos_of_one_size_share_a_pass(photos, monkeypatch):
    taken, run = [], get_backbone("efficientnet_lite0").runner("torch", "cpu:0")
    monkeypatch.setattr(
        Backbone, "runner", lambda *args: lambda batch: taken.append(len(batch)) or run(batch)
    )
    ConvFeatureExtractor(**BATCHED, batch_size=2).fit_transform(photos)
    assert sorted(taken) == [1, 1, 2, 2]


def test_a_bad_photo_costs_only_itself_in_a_batch(photos):
    extractor = ConvFeatureExtractor(**BATCHED).fit([])
    with pytest.raises(PhotoError, match="1 of 7 photos cannot be used") as error:
        extractor.transform([*photos[:3], b"no photo", *photos[3:]])
    assert [i for i, _ in error.value.maps] == [0, 1, 2, 4, 5, 6]


def test_a_batch_that_fails_is_tried_photo_by_photo(photos, monkeypatch):
    run = get_backbone("efficientnet_lite0").runner("torch", "cpu:0")

    def scarce(batch):
        if len(batch) > 1:
            raise RuntimeError("out of memory")
        return run(batch)

    expected = ConvFeatureExtractor(**BATCHED).fit_transform(photos)
    monkeypatch.setattr(Backbone, "runner", lambda *args: scarce)
    for one, other in zip(expected, ConvFeatureExtractor(**BATCHED).fit_transform(photos)):
        np.testing.assert_allclose(one.activations, other.activations, atol=1e-4)


def test_what_is_in_the_store_is_not_run_again(photos, tmp_path, monkeypatch):
    extractor = ConvFeatureExtractor(**BATCHED, store=tmp_path)
    expected = extractor.fit_transform(photos)

    def never(batch):
        raise AssertionError

    monkeypatch.setattr(Backbone, "runner", lambda *args: never)
    for one, other in zip(expected, extractor.transform(photos)):
        np.testing.assert_array_equal(one.activations, other.activations)
