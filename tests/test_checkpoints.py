"""Published checkpoints: files of their layout give what the same arrays give by hand."""

import os
import pickle
import zipfile
from functools import partial

import numpy as np
import pytest
import torch
import torchvision
from sklearn.decomposition import PCA
from torch import nn
from torch.nn import functional as F

from sklearn_cmac import (
    ClusterMaxPooler,
    ConvFeatureExtractor,
    FullyConnected,
    SPoCPooler,
    checkpoints,
)
from sklearn_cmac.checkpoints import load_checkpoint
from sklearn_cmac.networks import WeightsError, as_array, read_plain_contents
from sklearn_cmac.persistence import load_pipeline, save_pipeline

pipeline_from_checkpoint = partial(
    checkpoints.pipeline_from_checkpoint, features__engine="torch"
)  # that need not be converted

MEAN, STD = [0.48, 0.45, 0.41], [0.23, 0.22, 0.24]


def seeded(make):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return make().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def vgg16():
    """The convolutions up to the last activation, as the siaMAC program keeps them."""
    return seeded(lambda: torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"])[:-1])


@pytest.fixture(scope="module")
def resnet101():
    return seeded(lambda: torchvision.models.resnet101(weights=None))


def as_input(pixels):
    """The published programs' input: (rgb / 255 - mean) / std."""
    rgb = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 255.0
    return (rgb - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def by_hand(features, p):
    """Generalized mean over all cells of (1, D, H, W)."""
    return features.clamp(min=1e-6).pow(p).mean(dim=(2, 3)).pow(1 / p)


def siamac_file(path, network, pooling="gem", p=2.5, **meta):
    rng = np.random.default_rng(0)
    size = 512
    lw = {"m": rng.random((size, 1)) / 20, "P": rng.standard_normal((size, size))}
    state = {f"features.{k}": v for k, v in network.state_dict().items()}
    if pooling == "gem":
        state["pool.p"] = torch.tensor([p])
    meta = {
        "architecture": "vgg16", "pooling": pooling, "local_whitening": False, "regional": False,
        "whitening": False, "mean": MEAN, "std": STD, "outputdim": size,
        "Lw": {"retrieval-SfM-120k": {"ss": lw, "ms": {k: 2 * v for k, v in lw.items()}}},
        **meta,
    }  # fmt: skip
    torch.save({"meta": meta, "state_dict": state}, path)
    return lw


# -- cnnimageretrieval-pytorch ----------------------------------------------------------------


def test_a_siamac_checkpoint_gives_its_forward_pass_by_hand(vgg16, pixels, tmp_path):
    lw = siamac_file(tmp_path / "net.pth", vgg16)
    pooled = F.normalize(by_hand(vgg16(as_input(pixels)), 2.5)).numpy().astype(np.float64)
    expected = (pooled - lw["m"].T) @ lw["P"].T
    expected /= np.linalg.norm(expected)
    pipeline = pipeline_from_checkpoint(tmp_path / "net.pth")
    np.testing.assert_allclose(pipeline.transform([pixels]), expected, atol=1e-5)
    plain = pipeline_from_checkpoint(tmp_path / "net.pth", whitening=None)
    np.testing.assert_allclose(plain.transform([pixels]), pooled, atol=1e-5)
    assert plain["pool"].p == 2.5


@pytest.mark.parametrize(("pooling", "pool"), [("mac", torch.amax), ("spoc", torch.mean)])
def test_mac_and_spoc_checkpoints_pool_as_they_say(pooling, pool, vgg16, pixels, tmp_path):
    siamac_file(tmp_path / "net.pth", vgg16, pooling)
    expected = F.normalize(pool(vgg16(as_input(pixels)), dim=(2, 3)))
    pipeline = pipeline_from_checkpoint(tmp_path / "net.pth", whitening=None)
    np.testing.assert_allclose(pipeline.transform([pixels]), expected, atol=1e-5)
    kind = {"mac": ClusterMaxPooler, "spoc": SPoCPooler}[pooling]
    assert isinstance(load_checkpoint(tmp_path / "net.pth").pool, kind)


def test_a_resnet_kept_as_a_list_of_parts_with_a_whitening_layer(resnet101, pixels, tmp_path):
    parts = nn.Sequential(*list(resnet101.children())[:-2])
    layer = seeded(lambda: nn.Linear(2048, 2048))
    state = {f"module.features.{k}": v for k, v in parts.state_dict().items()}
    state = {k: v for k, v in state.items() if "num_batches_tracked" not in k}  # older files
    state |= {"module.pool.p": torch.tensor([3.0])}
    state |= {f"module.whiten.{k}": v for k, v in layer.state_dict().items()}
    meta = {"architecture": "resnet101", "pooling": "gem", "whitening": True}
    torch.save(
        {"meta": {**meta, "mean": MEAN, "std": STD}, "state_dict": state, "epoch": 30},
        tmp_path / "net.pth.tar",
    )
    pooled = F.normalize(by_hand(parts(as_input(pixels)), 3.0))
    expected = F.normalize(layer(pooled))
    pipeline = pipeline_from_checkpoint(tmp_path / "net.pth.tar")
    np.testing.assert_allclose(pipeline.transform([pixels]), expected, atol=1e-5)


# -- deep-image-retrieval ---------------------------------------------------------------------


def dir_file(path, network, layer, pca, **options):
    state = {f"module.{k}": v for k, v in network.state_dict().items() if not k.startswith("fc.")}
    state |= {f"module.fc.{k}": v for k, v in layer.state_dict().items()}
    state["module.adpool.p"] = torch.tensor([2.8])
    torch.save(
        {
            "model_options": {"arch": "resnet101_rmac", "pooling": "gem", "gemp": 3, **options},
            "state_dict": state,
            "preprocess": {"mean": MEAN, "std": STD, "input_size": 224},
            "pca": {"Landmarks_clean": pca},
        },
        path,
    )


@pytest.mark.parametrize("norm_features", [False, True])
def test_a_dir_checkpoint_gives_its_forward_pass_by_hand(
    norm_features, resnet101, pixels, rng, tmp_path
):
    layer = seeded(lambda: nn.Linear(2048, 64))
    pca = PCA(32, whiten=True).fit(rng.standard_normal((100, 64)))
    dir_file(tmp_path / "net.pt", resnet101, layer, pca, norm_features=norm_features)
    features = nn.Sequential(*list(resnet101.children())[:-2])(as_input(pixels))
    pooled = by_hand(features, 2.8)
    projected = F.normalize(layer(F.normalize(pooled) if norm_features else pooled)).numpy()
    pipeline = pipeline_from_checkpoint(tmp_path / "net.pt")
    np.testing.assert_allclose(pipeline.transform([pixels]), projected, atol=1e-5)
    expected = pca.transform(projected)
    expected /= np.linalg.norm(expected)
    pipeline = pipeline_from_checkpoint(tmp_path / "net.pt", "Landmarks_clean")
    np.testing.assert_allclose(pipeline.transform([pixels]), expected, atol=1e-4)


# -- parameters and pickles -------------------------------------------------------------------


@pytest.fixture
def siamac(vgg16, tmp_path):
    siamac_file(tmp_path / "net.pth", vgg16)
    return tmp_path / "net.pth"


def test_steps_take_parameters_and_survive_pickling_and_files(siamac, pixels, tmp_path):
    pipeline = pipeline_from_checkpoint(siamac, features__max_size=64)
    assert pipeline["features"].max_size == 64
    save_pipeline(pipeline, tmp_path / "siamac.safetensors")
    for again in (
        pickle.loads(pickle.dumps(pipeline)),
        load_pipeline(tmp_path / "siamac.safetensors"),
    ):
        np.testing.assert_array_equal(again.transform([pixels]), pipeline.transform([pixels]))


def test_the_weights_serve_the_extractor_alone_with_their_own_preprocessing(siamac, vgg16, pixels):
    (record,) = ConvFeatureExtractor("vgg16", siamac).transform([pixels])
    expected = vgg16(as_input(pixels))[0].permute(1, 2, 0)
    np.testing.assert_allclose(record.activations, expected, atol=1e-5)


# -- what goes wrong --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({"architecture": "densenet121"}, "its network is 'densenet121'; known here are 'vgg16'"),
        ({"pooling": "rmac"}, "its pooling is 'rmac'; known here are 'mac', 'spoc', 'gem'"),
        ({"regional": True}, "was trained with regional"),
        ({"whitening": True}, "missing or is not as published .*whiten.weight"),
        ({"Lw": {"x": {"ss": {"m": np.ones(3), "P": np.eye(4)}}}}, "mean is .4,., got shape .3"),
        ({"Lw": {"x": {"ss": {"m": np.array(["a"], object), "P": 1}}}}, "no numbers"),
        ({"Lw": 3}, "missing or is not as published"),
    ],
)
def test_other_networks_are_refused_by_name(meta, message, tmp_path):
    siamac_file(tmp_path / "net.pth", nn.Sequential(nn.Conv2d(3, 4, 3)), **meta)
    with pytest.raises(WeightsError, match=rf"net\.pth: .*{message}"):
        load_checkpoint(tmp_path / "net.pth")


def test_an_unknown_whitening_lists_those_there_are(siamac):
    with pytest.raises(WeightsError, match="no whitening 'SfM-30k'; it has 'retrieval-SfM-120k'"):
        pipeline_from_checkpoint(siamac, "SfM-30k")


@pytest.mark.parametrize(
    "contents", [{}, {"state_dict": {}}, [1, 2], {"meta": {}, "state_dict": {}}, {"meta": 3}]
)
def test_what_is_no_checkpoint_is_told(contents, tmp_path):
    torch.save(contents, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="is no checkpoint of cnnimageretrieval-pytorch"):
        load_checkpoint(tmp_path / "other.pth")


def test_missing_and_damaged_files_are_told(siamac, tmp_path):
    with pytest.raises(WeightsError, match="there is no weights file"):
        load_checkpoint(tmp_path / "none.pth")
    content = siamac.read_bytes()
    for n in (0, 100, len(content) // 2):
        (tmp_path / "short.pth").write_bytes(content[:n])
        with pytest.raises(WeightsError, match=r"short\.pth: is not a file of plain tensors"):
            load_checkpoint(tmp_path / "short.pth")


class Call:
    """Pickles as a call that makes a folder."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


class Subclass(np.ndarray):
    pass


@pytest.mark.parametrize("where", ["meta", "Lw", "state_dict", "pca", "array"])
def test_a_hostile_file_runs_nothing(where, tmp_path):
    trap = tmp_path / "trap"
    calls = {
        "meta": Call(os.mkdir, str(trap)),
        "Lw": {"x": {"ss": {"m": Call(eval, f"__import__('os').mkdir({str(trap)!r})"), "P": 1}}},
        "array": np.array([Call(os.mkdir, str(trap))], dtype=object),
        "state_dict": {"features.0.weight": Call(os.mkdir, str(trap))},
        "pca": {"x": Call(os.mkdir, str(trap))},
    }
    torch.save(
        {"meta": {"architecture": "vgg16", where: calls[where]}, "state_dict": calls[where]},
        tmp_path / "hostile.pth",
    )
    with pytest.raises(WeightsError, match=r"hostile\.pth: is not .* (is no data|are no numbers)"):
        load_checkpoint(tmp_path / "hostile.pth")
    with pytest.raises(WeightsError, match=r"hostile\.pth: is not a file of plain tensors"):
        ConvFeatureExtractor("vgg16", tmp_path / "hostile.pth").fit([])
    assert not trap.exists()


def test_reading_leaves_torchs_list_of_safe_names_as_it_was(siamac):
    before = torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals([Subclass])
    try:
        load_checkpoint(siamac)
        assert set(torch.serialization.get_safe_globals()) == {*before, Subclass}
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def rename_in_pickle(path, old, new):
    """What another version of a library would have written."""
    with zipfile.ZipFile(path) as before:
        entries = {name: before.read(name) for name in before.namelist()}
    with zipfile.ZipFile(path, "w") as after:
        for name, content in entries.items():
            is_pickle = name.endswith("data.pkl")
            after.writestr(name, content.replace(old, new) if is_pickle else content)


@pytest.mark.parametrize("module", [b"numpy.core", b"numpy._core"])
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(6, dtype=">f4"),
        np.array(2.5),
        np.float64(0.25),
        np.int32(7),
    ],
    ids=repr,
)
def test_arrays_of_any_numpy_are_read(array, module, tmp_path):
    torch.save({"a": array}, tmp_path / "a.pth")
    for name in (b"numpy.core", b"numpy._core"):
        rename_in_pickle(tmp_path / "a.pth", name, module)
    value = as_array(read_plain_contents(str(tmp_path / "a.pth"))["a"])
    np.testing.assert_array_equal(value, array)


def test_files_of_an_old_torch_are_read(tmp_path):
    contents = {"t": torch.arange(3), "a": np.arange(6.0).reshape(2, 3)}
    torch.save(contents, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    read = read_plain_contents(str(tmp_path / "a.pth"))
    np.testing.assert_array_equal(as_array(read["t"]), [0, 1, 2])
    np.testing.assert_array_equal(as_array(read["a"]), contents["a"])


def test_a_pca_of_an_old_scikit_learn_is_read(resnet101, rng, tmp_path):
    layer = seeded(lambda: nn.Linear(2048, 16))
    pca = PCA(8, whiten=True).fit(rng.standard_normal((100, 16)))
    dir_file(tmp_path / "net.pt", resnet101, layer, pca)
    new, old = b"sklearn.decomposition._pca", b"sklearn.decomposition.pca"
    rename_in_pickle(tmp_path / "net.pt", new, old)
    whitener = load_checkpoint(tmp_path / "net.pt").whitenings["Landmarks_clean"]
    np.testing.assert_allclose(whitener.mean_, pca.mean_)


# -- FullyConnected ---------------------------------------------------------------------------


def test_a_layer_is_torchs(rng):
    layer = seeded(lambda: nn.Linear(8, 5))
    X = rng.random((20, 8)).astype("f4")
    for normalize_input in (True, False):
        inputs = torch.from_numpy(X)
        expected = F.normalize(layer(F.normalize(inputs) if normalize_input else inputs))
        step = FullyConnected(layer.weight.numpy(), layer.bias.numpy(), normalize_input)
        np.testing.assert_allclose(step.fit_transform(X), expected, atol=1e-6)
        (photo,) = step.fit([X]).transform([X])
        np.testing.assert_allclose(photo.vectors, expected, atol=1e-6)


def test_a_layer_of_another_network_is_refused(rng):
    with pytest.raises(ValueError, match=r"weight is \(D', 8\).*got shape \(5, 9\)"):
        FullyConnected(np.ones((5, 9))).fit([rng.random((3, 8))])
    with pytest.raises(ValueError, match=r"bias is \(5,\), got shape \(4,\)"):
        FullyConnected(np.ones((5, 8)), np.ones(4)).fit([rng.random((3, 8))])
