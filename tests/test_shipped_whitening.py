"""The whitening that is installed, and when a collection is whitened by it."""

import json
import pickle
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from sklearn_cmac import (
    L2Aggregator,
    PhotoError,
    RegionVectors,
    RegionWhitener,
    ShippedWhitener,
    make_bow_pipeline,
    make_mac_pipeline,
    make_rmac_pipeline,
    pipelines,
    shipped_whitening,
)
from sklearn_cmac.evaluation._run import _describe_system
from sklearn_cmac.fingerprints import fingerprint
from sklearn_cmac.networks import WeightsError, get_backbone
from sklearn_cmac.pipelines import fit_to_search
from sklearn_cmac.shipped_whitening import read_whitening, write_whitening

pytestmark = pytest.mark.filterwarnings("ignore:whitening")
FILE = shipped_whitening._FOLDER / "efficientnet_lite0.npz"


@pytest.fixture
def vectors(rng):
    return rng.random((7, 1280), np.float32)


def unit(rows):
    return rows / np.sqrt((rows**2).sum(axis=1, keepdims=True))


def stored(name):
    """An array of the file, by its bytes: an archive of arrays with a header each."""
    with zipfile.ZipFile(FILE) as archive, archive.open(f"{name}.npy") as file:
        version = np.lib.format.read_magic(file)
        assert version == (1, 0)
        shape, by_column, dtype = np.lib.format.read_array_header_1_0(file)
        assert not by_column
        assert not dtype.hasobject  # which would be a pickle
        return np.frombuffer(file.read(), dtype).reshape(shape)


def test_whitening_is_unit_length_less_the_mean_times_the_projection_at_unit_length(vectors):
    mean, components = (stored(name).astype(np.float64) for name in ("mean", "components"))
    expected = unit((unit(vectors.astype(np.float64)) - mean) @ components.T)
    np.testing.assert_allclose(ShippedWhitener().transform(vectors), expected, atol=1e-5)
    (record,) = ShippedWhitener().transform([RegionVectors(vectors)])
    np.testing.assert_allclose(record.vectors, expected, atol=1e-5)


def test_the_file_says_what_it_was_fitted_on():
    about = ShippedWhitener().provenance_
    network = get_backbone("efficientnet_lite0")
    assert about["weights_sha256"] == network.weights_sha256
    assert (about["network"], about["layer"]) == ("efficientnet_lite0", "head")
    assert about["n_photos"] == 844
    assert about["n_regions"] > 10 * 1280
    assert about["n_components"] == len(ShippedWhitener().components_)
    assert "844 photos" in about["summary"]
    assert len(about["photos_sha256"]) == 64
    assert {"max_size", "scales", "regions", "photos", "sklearn_cmac", "numpy"} <= about.keys()
    assert json.loads(json.dumps(about)) == about
    assert {type(value) for value in about.values()} <= {str, int}


def test_its_axes_are_damped_principal_axes():
    components = stored("components").astype(np.float64)
    lengths = np.linalg.norm(components, axis=1)
    assert (np.diff(lengths) > -0.01 * lengths[:-1]).all()  # less variance, larger scale
    axes = components / lengths[:, None]
    np.testing.assert_allclose(axes @ axes.T, np.eye(len(axes)), atol=1e-3)


@pytest.mark.parametrize("position", [0, 100, 5_000, 600_000, -1])
def test_a_changed_byte_is_an_error_that_names_the_file(position, tmp_path):
    damaged = tmp_path / FILE.name
    content = bytearray(FILE.read_bytes())
    content[position] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(WeightsError, match=r"efficientnet_lite0.npz: is damaged.*install"):
        read_whitening(damaged, shipped_whitening.SHIPPED["efficientnet_lite0"])


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(WeightsError, match=r"gone.npz: cannot be read.*install"):
        read_whitening(tmp_path / "gone.npz", "0" * 64)


def test_no_pickle_is_read(tmp_path):
    file = tmp_path / "evil.npz"
    arrays = {"mean": np.zeros(2), "components": np.eye(2)}
    np.savez(file, provenance=np.array([{}], object), **arrays)
    digest = shipped_whitening.hashlib.sha256(file.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match="allow_pickle"):
        read_whitening(file, digest)


def test_what_is_written_is_read_and_the_same_numbers_make_the_same_file(tmp_path):
    mean, components = np.array([0.5, 0.25]), np.array([[1.0, 2.0]])
    first, second = (
        write_whitening(tmp_path / name, mean, components, {"n_photos": 3})
        for name in ("a.npz", "b.npz")
    )
    assert first == second
    found = read_whitening(tmp_path / "a.npz", first)
    np.testing.assert_array_equal(found.mean, mean)
    np.testing.assert_array_equal(found.components, components)
    assert found.provenance == {"n_photos": 3}


def test_vectors_of_another_length_are_refused():
    with pytest.raises(ValueError, match="takes vectors of 1280 dimensions, got 320"):
        ShippedWhitener().fit(np.ones((3, 320)))
    with pytest.raises(ValueError, match=r"320 features, .* is expecting 1280"):
        ShippedWhitener().transform(np.ones((3, 320)))
    for do in (ShippedWhitener().fit, ShippedWhitener().transform):
        with pytest.raises(PhotoError, match="a.jpg: .* 320 dimensions.* expects 1280"):
            do([RegionVectors(np.ones((3, 320)), name="a.jpg")])


@pytest.mark.parametrize(
    "other", [{"name": "efficientnet_b0"}, {"layer": "blocks.6"}, {"weights_sha256": "0" * 64}]
)
def test_another_network_layer_or_weights_are_refused_by_name(other):
    network = get_backbone("efficientnet_lite0")
    ShippedWhitener().check_network(network)
    reason = f"is of efficientnet_lite0, layer head, .*; got .*{min(other.values())[:12]}"
    with pytest.raises(ValueError, match=reason):
        ShippedWhitener().check_network(replace(network, **other))


def test_a_pipeline_with_the_whitening_of_another_layer_is_refused():
    with pytest.raises(ValueError, match="is of efficientnet_lite0, layer head"):
        make_rmac_pipeline(whiten=ShippedWhitener(), features__layer="blocks.6")


def test_clones_and_pickles_whiten_alike_and_hold_no_arrays(vectors):
    whitener = ShippedWhitener().fit(vectors)
    assert whitener.get_params() == {"name": "efficientnet_lite0"}
    for other in (clone(whitener), pickle.loads(pickle.dumps(whitener))):
        np.testing.assert_array_equal(other.transform(vectors), whitener.transform(vectors))
    assert len(pickle.dumps(whitener)) < 1000
    with pytest.raises(ValueError, match="read-only"):
        whitener.mean_[0] = 0


def test_its_fingerprint_is_that_of_its_numbers(monkeypatch):
    before = fingerprint(ShippedWhitener())
    assert fingerprint(clone(ShippedWhitener())) == before
    held = shipped_whitening._shipped("efficientnet_lite0")
    other = held._replace(mean=held.mean + np.float32(1e-3))
    monkeypatch.setattr(shipped_whitening, "_shipped", lambda name: other)
    assert fingerprint(ShippedWhitener()) != before
    renamed = held._replace(provenance={"summary": "the same numbers"})
    monkeypatch.setattr(shipped_whitening, "_shipped", lambda name: renamed)
    assert fingerprint(ShippedWhitener()) == before


def test_it_needs_no_fit_and_photos_have_descriptors_of_unit_length(scenes):
    regions = make_rmac_pipeline(whiten=ShippedWhitener(), features__engine="torch")[:-1]
    descriptors = L2Aggregator().fit_transform(regions.transform(scenes.photos[:2]))
    assert descriptors.shape == (2, len(stored("components")))
    np.testing.assert_allclose(np.linalg.norm(descriptors, axis=1), 1, atol=1e-5)


def test_few_photos_take_the_shipped_whitening_and_many_their_own(scenes, monkeypatch):
    monkeypatch.setattr(pipelines, "OWN_WHITENING_FROM", 5)
    pipeline = make_rmac_pipeline(features__engine="torch", whiten__shrinkage=1.0)
    few = fit_to_search(clone(pipeline), scenes.photos[:4])
    assert few["whiten"].provenance_["summary"].startswith("shipped with efficientnet_lite0")
    assert few.transform(scenes.photos[:1]).shape == (1, 512)
    many = fit_to_search(clone(pipeline), scenes.photos[:5])
    assert many["whiten"].provenance_["summary"] == "own, fitted on 5 photos, shrinkage 10.0"
    damped = fit_to_search(clone(pipeline).set_params(whiten__shrinkage=30.0), scenes.photos[:5])
    assert damped["whiten"].shrinkage == 30


@pytest.mark.parametrize(("n", "whitener"), [(99, ShippedWhitener), (100, RegionWhitener)])
def test_a_hundred_photos_are_enough_for_a_whitening_of_their_own(n, whitener, monkeypatch):
    monkeypatch.setattr(Pipeline, "fit", lambda self, X: self)
    assert isinstance(fit_to_search(make_mac_pipeline(), ["a.jpg"] * n)["whiten"], whitener)


@pytest.mark.parametrize(
    "pipeline",
    [
        make_mac_pipeline(features__layer="blocks.6"),
        make_mac_pipeline(features__weights=None),
        make_mac_pipeline(whiten="passthrough"),
        make_mac_pipeline(whiten=RegionWhitener(method="learned")),
        make_bow_pipeline(),
    ],
    ids=["layer", "weights", "no whitening", "learned from labels", "local features"],
)
def test_a_whitening_that_does_not_fit_is_not_taken(pipeline, monkeypatch):
    whitener = pipeline.named_steps.get("whiten")
    monkeypatch.setattr(Pipeline, "fit", lambda self, X: self)
    assert fit_to_search(pipeline, ["a.jpg"]).named_steps.get("whiten") is whitener


def test_an_evaluation_says_what_the_shipped_whitening_was_fitted_on():
    pipeline = make_mac_pipeline(whiten=ShippedWhitener())
    pipeline["features"].fit([])
    assert "Paris6k" in _describe_system(pipeline)["whitened with"]["photos"]


def test_a_whitener_says_what_it_was_fitted_on(rng):
    photos = [rng.random((20, 8)) for _ in range(5)]
    about = RegionWhitener(4, shrinkage=0.5).fit(photos).provenance_
    assert about == {
        "n_components": 4,
        "n_photos": 5,
        "n_regions": 100,
        "shrinkage": "0.5",
        "summary": "own, fitted on 5 photos, shrinkage 0.5",
    }
    given = RegionWhitener.from_arrays(np.zeros(3), np.eye(3)).provenance_
    assert given == {"n_components": 3, "summary": "given as arrays, 3 components"}
    learned = RegionWhitener(method="learned").fit(photos, [0, 0, 1, 1, 1]).provenance_
    assert learned["summary"] == "own, learned from 5 photos, shrinkage 0.0"
    assert not hasattr(RegionWhitener(), "provenance_")
