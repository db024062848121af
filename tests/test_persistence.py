"""Pipelines in files: what comes back, what damage does, and that nothing in a file runs."""

import importlib
import json
import math
import os
import pickle
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from safetensors import safe_open
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.cluster import (
    DBSCAN,
    HDBSCAN,
    OPTICS,
    AffinityPropagation,
    AgglomerativeClustering,
    KMeans,
    MeanShift,
    MiniBatchKMeans,
    SpectralClustering,
)
from sklearn.decomposition import PCA, IncrementalPCA, TruncatedSVD
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.utils import Bunch

from sklearn_cmac import (
    ActivationMap,
    BoxRegions,
    ClustererRegions,
    ConvFeatureExtractor,
    FullyConnected,
    GridRegions,
    L2Aggregator,
    RegionUnion,
    RegionWhitener,
    SharedRegions,
    TreeRegions,
    WholeRegion,
    make_cmac_pipeline,
    make_dir_pipeline,
    make_mac_pipeline,
    make_rmac_pipeline,
)
from sklearn_cmac._plain_values import estimator_classes, from_plain, to_plain
from sklearn_cmac._sealed_files import write_sealed
from sklearn_cmac.cli import main
from sklearn_cmac.datasets import as_benchmark, make_object_scenes
from sklearn_cmac.evaluation import evaluate
from sklearn_cmac.fingerprints import fingerprint
from sklearn_cmac.memory import PhotoMemory
from sklearn_cmac.persistence import (
    PipelineFileError,
    differences,
    load_pipeline,
    manifest_of,
    read_manifest,
    save_pipeline,
)
from sklearn_cmac.pipelines import SYSTEMS
from sklearn_cmac.reranking import EXPANSION, RERANKING, make_chain
from sklearn_cmac.search import (
    CandidateNeighbors,
    LightGlueMatcher,
    Retriever,
    SpatialVerification,
    VerifiedExpansion,
)
from sklearn_cmac.tuning import tune, write_tuning

pytestmark = pytest.mark.filterwarnings(
    "ignore:whitening", "ignore:BagOfWords keeps", r"ignore:RegionWhitener\(n_components=16\) keeps"
)

SCENES = {"n_objects": 2, "n_scenes": 2, "n_distractors": 1, "size": (160, 120)}


class Doubling(TransformerMixin, BaseEstimator):
    """A step of somebody else."""

    def __init__(self, factor=2.0):
        self.factor = factor

    def fit(self, X, y=None):
        self.shape_ = np.shape(X)
        return self

    def transform(self, X):
        return self.factor * np.asarray(X)


class Outer:
    class Inner(Doubling):
        """One inside of another class."""


def through_json(value):
    tree, arrays = to_plain(value)
    return from_plain(json.loads(json.dumps(tree)), arrays)


def saved(estimator, tmp_path, **more):
    save_pipeline(estimator, tmp_path / "kept.safetensors", **more)
    return tmp_path / "kept.safetensors"


@pytest.fixture
def whitener():
    return RegionWhitener().fit([[3.0, 4.0], [4.0, 3.0], [5.0, 0.0]])


@pytest.fixture
def file(whitener, tmp_path):
    return saved(whitener, tmp_path)


def forged(tmp_path, content, **more):
    """A file with a right checksum that says whatever somebody likes."""
    manifest = {"format": 1, "fingerprint": "", "versions": {}, "provenance": {}, **more}
    path = tmp_path / "forged.safetensors"
    write_sealed(path, json.dumps({**manifest, "content": content}), {})
    return path


def named(name, **params):
    return {"is": "estimator", "class": name, "params": params, "state": {}}


def without(tree, *names):
    """The content of a file that was written before classes had parameters of these names."""
    if isinstance(tree, list):
        return [without(each, *names) for each in tree]
    if not isinstance(tree, dict):
        return tree
    return {key: without(part, *names) for key, part in tree.items() if key not in names}


# -- systems ----------------------------------------------------------------------------------

LOAD_AND_DESCRIBE = """
import json, sys
from pathlib import Path
import numpy as np
from sklearn_cmac.datasets import make_object_scenes
from sklearn_cmac.persistence import load_pipeline
folder, expected, scenes = sys.argv[1:]
expected, photos = np.load(expected), make_object_scenes(**json.loads(scenes)).photos
files = sorted(Path(folder).glob("*.safetensors"))
assert [file.stem for file in files] == sorted(expected)
for file in files:
    found = load_pipeline(file).transform(photos)
    assert np.array_equal(found, expected[file.stem]), file.stem
"""


def systems():
    """Every system, and others that reach what no system has."""
    quick = {
        "features__engine": "torch", "features__max_size": 160, "features__layer": "blocks.4",
    }  # fmt: skip
    whitened = {**quick, "whiten__shrinkage": 1.0}
    for name, system in SYSTEMS.items():
        params = {} if system.only == "sift" else dict(whitened)
        if system.only == "vgg16" or name == "dir":  # of networks that are not installed
            params.update(features__backbone="efficientnet_lite0")
        yield name, system.make(**params)
    layer = FullyConnected(np.eye(32, 112), np.arange(32) / 100)
    yield "layer", make_dir_pipeline(layer=layer, features__backbone="efficientnet_lite0", **quick)
    clusters = ClustererRegions(KMeans(3, random_state=np.random.RandomState(3), n_init=1))
    regions = RegionUnion(
        [("tree", TreeRegions()), ("shared", SharedRegions(GridRegions(2))), ("means", clusters)]
    )
    yield "regions", make_cmac_pipeline(regions=regions, **whitened)
    yield "frozen", Retriever(FrozenEstimator(make_mac_pipeline(**whitened)))


def test_every_system_describes_the_same_in_another_process(tmp_path):
    pytest.importorskip("skimage", reason="systems of local features need scikit-image")
    scenes = make_object_scenes(**SCENES)
    expected = {}
    for name, system in systems():
        if name == "frozen":
            system.pipeline.estimator.fit(scenes.photos)
        system.fit(scenes.photos, scenes.target)
        save_pipeline(system, tmp_path / f"{name}.safetensors")
        loaded = load_pipeline(tmp_path / f"{name}.safetensors")
        assert fingerprint(loaded) == fingerprint(system)
        assert read_manifest(tmp_path / f"{name}.safetensors")["fingerprint"] == fingerprint(system)
        assert differences(manifest_of(loaded), manifest_of(system)) == []
        expected[name] = system.transform(scenes.photos)
    np.savez(tmp_path / "expected.npz", **expected)
    command = [sys.executable, "-c", LOAD_AND_DESCRIBE, tmp_path, tmp_path / "expected.npz"]
    run = subprocess.run([*map(str, command), json.dumps(SCENES)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_a_retriever_keeps_every_step_behind_its_ranking(tmp_path):
    pytest.importorskip("skimage", reason="spatial verification needs scikit-image")
    scenes = make_object_scenes(**SCENES)
    pipeline = make_rmac_pipeline(
        features__engine="torch", whiten__shrinkage=1.0, whiten__n_components=16
    ).fit(scenes.photos)
    for rerank in RERANKING:
        for expand in EXPANSION if rerank == "none" else ["none"]:
            retriever = Retriever(FrozenEstimator(pipeline), *make_chain(rerank, expand)).fit([])
            loaded = load_pipeline(saved(retriever, tmp_path))
            assert fingerprint(loaded) == fingerprint(retriever)
            assert repr(loaded.steps) == repr(list(retriever.steps))
            assert repr(loaded.augmentation) == repr(retriever.augmentation)
    asked = [scenes.photos[0].as_query()]
    found, expected = (each.rank(asked, scenes.photos)[0] for each in (loaded, retriever))
    np.testing.assert_array_equal(found.scores, expected.scores)


@pytest.mark.parametrize(
    ("step", "later"),
    [
        (CandidateNeighbors(), ["verifier", "n_verified", "link_weight", "min_photos"]),
        (SpatialVerification(min_inliers=9), ["matcher", "calibration", "careful", "sure"]),
        (VerifiedExpansion(SpatialVerification()), ["steps", "careful", "n_careful"]),
        (LightGlueMatcher(), ["engine", "precision"]),
    ],
    ids=lambda given: type(given).__name__,
)
def test_what_a_file_of_an_earlier_version_lacks_is_as_by_default(step, later, tmp_path):
    """Files hold parameters by name, so one that lacks some is that of an older class."""
    content = without(manifest_of(step)["content"], *later)
    loaded = load_pipeline(forged(tmp_path, content))
    assert loaded.get_params().keys() == step.get_params().keys()
    assert repr(loaded) == repr(step)


def test_the_order_of_numbers_in_memory_comes_back(rng, tmp_path):
    """Products of matrices round by it."""
    layer = FullyConnected(np.asfortranarray(rng.random((5, 7))), rng.random(5))
    loaded = load_pipeline(saved(layer, tmp_path))
    assert loaded.weight.flags.f_contiguous
    np.testing.assert_array_equal(loaded.weight, layer.weight)
    assert loaded.weight.flags.writeable


def test_other_programs_read_the_arrays(file, whitener):
    with safe_open(file, framework="numpy") as content:
        np.testing.assert_array_equal(content.get_tensor("components_"), whitener.components_)
        assert "RegionWhitener" in content.metadata()["manifest"]


def test_an_array_that_is_there_twice_is_written_once(rng, tmp_path):
    pipeline = make_pipeline(FullyConnected(rng.random((50, 60)))).fit(rng.random((2, 60)))
    once = saved(pipeline, tmp_path).stat().st_size
    twice = saved(Retriever(FrozenEstimator(pipeline)).fit([]), tmp_path).stat().st_size
    assert twice < once + 5000 < 2 * 50 * 60 * 8


def test_a_file_says_where_it_comes_from(whitener, tmp_path):
    provenance = {"photos": 279, "of": "another city"}
    manifest = read_manifest(saved(whitener, tmp_path, provenance=provenance))
    assert manifest["provenance"] == provenance
    assert manifest["content"]["class"] == "sklearn_cmac.RegionWhitener"
    assert manifest["content"]["params"]["shrinkage"] == 0.0
    assert {"python", "numpy", "scikit-learn", "torch", "timm", "sklearn-cmac"} <= set(
        manifest["versions"]
    )
    with pytest.raises(PipelineFileError, match="provenance is what JSON can hold"):
        saved(whitener, tmp_path, provenance={"photos": {1, 2}})


def test_what_holds_for_one_machine_stays_there(tmp_path):
    stored = make_mac_pipeline(
        memory=str(tmp_path / "memory"), features__store=tmp_path, features__n_jobs=3
    )
    loaded = load_pipeline(saved(stored, tmp_path))
    assert (loaded.memory, loaded["features"].store, loaded["features"].n_jobs) == (None, None, 3)
    assert str(tmp_path).encode() not in (tmp_path / "kept.safetensors").read_bytes()


def test_a_file_cannot_choose_folders_that_are_written_to(tmp_path):
    """joblib would read pickles from a memory, and a store is written."""
    loaded = load_pipeline(forged(tmp_path, named("sklearn_cmac.ConvFeatureExtractor", store="x")))
    assert loaded.store is None
    steps = {"is": "steps", "tuple": False, "of": [["a", named("sklearn_cmac.GridRegions")]]}
    content = named("sklearn.pipeline.Pipeline", steps=steps, memory="x")
    assert load_pipeline(forged(tmp_path, content)).memory is None
    for name in ("store", "backbone"):
        content = named("sklearn_cmac.ConvFeatureExtractor") | {"state": {name: "x"}}
        with pytest.raises(PipelineFileError, match="forged.safetensors: sets parameters"):
            load_pipeline(forged(tmp_path, content))


def test_weights_in_a_file_are_checked_when_photos_are_described(pixels, tmp_path):
    import timm
    import torch

    state = timm.create_model("tf_efficientnet_lite0").state_dict()
    weights = tmp_path / "net.pth"
    torch.save(state, weights)
    pipeline = make_mac_pipeline(
        features__weights=weights, features__engine="torch", whiten__shrinkage=1.0
    )
    file = saved(pipeline.fit([pixels, pixels[::-1]]), tmp_path)
    expected = pipeline.transform([pixels])
    loaded = load_pipeline(file)
    assert loaded["features"].weights == weights
    np.testing.assert_array_equal(loaded.transform([pixels]), expected)
    here = manifest_of(pipeline)
    torch.save({k: 2 * v for k, v in state.items()}, weights)
    with pytest.raises(ValueError, match="was fitted with weights .* pass the same weights"):
        load_pipeline(file).transform([pixels])
    pipeline.fit([pixels, pixels[::-1]])
    assert "features.weights: other content" in differences(here, manifest_of(pipeline))
    weights.unlink()
    with pytest.raises(ValueError, match="net.pth"):
        load_pipeline(file).transform([pixels])


# -- values -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        None, True, False, 0, -(10**30), 1.5, -0.0, 1e-310, math.inf, -math.inf, "", "naïve ✓",
        "\udce9", b"", b"\x00\xff", [], (), {}, set(), [1, (2, [3])], {1: "a", "1": ("b",)},
        {(1, 2): None}, [("a", None)], {3, 1}, frozenset({"a"}), slice(1, None, 2), range(2, 9, 3),
        Path("a/b.pth"), np.dtype("f4"), np.float32(0.1), np.float64(0.1), np.int8(-3),
        np.bool_(True), np.str_("ü"), np.complex128(1 + 2j),
    ],
    ids=repr,
)  # fmt: skip
def test_values_come_back_as_they_were(value):
    found = through_json(value)
    assert found == value
    assert type(found) is type(value)
    assert repr(found) == repr(value)  # 1 == 1.0 == True, and 0.0 == -0.0


def test_what_is_not_a_number_comes_back():
    assert math.isnan(through_json(math.nan))
    assert np.isnan(through_json(np.float32("nan")))


@pytest.mark.parametrize("dtype", ["?", "i1", "u8", "f2", "f4", "f8", ">f8", "c8", "c16", "<U5"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (0, 4), (2, 3, 4)])
def test_arrays_come_back_to_the_bit(dtype, shape):
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    for each in (array, array[..., ::-1] if shape else array, np.asfortranarray(array)):
        found = through_json([each])[0]
        assert (found.dtype, found.shape) == (each.dtype, each.shape)
        assert found.tobytes() == each.tobytes()


def test_arrays_of_texts_come_back():
    names = np.array([["a", "naïve"], ["", "\udce9"]], dtype=object)
    found = through_json(names)
    assert found.dtype == object
    np.testing.assert_array_equal(found, names)


def test_arrays_with_names_are_no_steps(rng):
    (found,) = through_json([("a", rng.random(3))])
    assert found[0] == "a"
    assert found[1].shape == (3,)


def test_generators_of_random_numbers_go_on_where_they_were():
    before = np.random.RandomState(5)
    before.standard_normal(3)
    after = through_json(before)
    np.testing.assert_array_equal(after.standard_normal(9), before.standard_normal(9))


def test_records_come_back(records):
    union = RegionUnion([("squares", GridRegions()), ("whole", WholeRegion())])
    sizes = ActivationMap.of_maps(records[:2])
    for record in union.fit_transform([sizes, records[2]]):
        found = through_json(record)
        assert repr(found) == repr(record)
        assert fingerprint(found.activations, found.colors) == fingerprint(
            record.activations, record.colors
        )
        for one, other in zip(found.maps, record.maps):
            assert (one.window, one.photo_size) == (other.window, other.photo_size)
            for name in ("indices", "indptr", "kinds", "shape"):
                a, b = getattr(one.regions, name), getattr(other.regions, name)
                np.testing.assert_array_equal(a, b)
                assert np.asarray(a).dtype == np.asarray(b).dtype


@pytest.mark.parametrize(
    "clusterer",
    [
        AffinityPropagation(random_state=0), AgglomerativeClustering(3), DBSCAN(0.6),
        KMeans(3, random_state=0, n_init=1), MeanShift(), MiniBatchKMeans(3, random_state=0),
        OPTICS(), SpectralClustering(3, random_state=0), GaussianMixture(3, random_state=0),
        BayesianGaussianMixture(n_components=3, random_state=0), PCA(2), IncrementalPCA(2),
        TruncatedSVD(2), StandardScaler(), Normalizer(),
    ],
    ids=lambda each: type(each).__name__,
)  # fmt: skip
def test_fitted_estimators_of_scikit_learn_compute_the_same(clusterer, rng, tmp_path):
    points = np.concatenate([rng.normal(3 * k, 0.3, (20, 4)) for k in range(3)])
    clusterer.fit(points)
    loaded = load_pipeline(saved(clusterer, tmp_path))
    assert fingerprint(loaded) == fingerprint(clusterer)
    for method in ("predict", "transform"):
        if hasattr(clusterer, method):
            found, expected = (getattr(each, method)(points) for each in (loaded, clusterer))
            # Some hold slices of larger arrays, with which products round otherwise.
            np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    if hasattr(clusterer, "fit_predict"):
        found, expected = (clone(each).fit_predict(points) for each in (loaded, clusterer))
        np.testing.assert_array_equal(found, expected)


def test_a_clusterer_that_is_not_fitted_is_its_parameters(tmp_path):
    step = ClustererRegions(HDBSCAN(min_cluster_size=7, copy=True))
    assert repr(load_pipeline(saved(step, tmp_path))) == repr(step)


# -- what cannot be kept ----------------------------------------------------------------------


def boxes_of(record):
    return [(0, 0, 9, 9)]


@pytest.mark.parametrize(
    ("estimator", "reason"),
    [
        (make_rmac_pipeline(regions=BoxRegions(boxes_of)),
         r"regions.proposer: \S*test_persistence.boxes_of cannot be kept, since files hold"),
        (FullyConnected(np.array([{}], dtype=object)), "weight: an array of Python objects"),
        (FullyConnected(np.zeros(2, "datetime64[s]")), "weight: an array of datetime64"),
        (FullyConnected(iter([])), "weight: a builtins.list_iterator cannot be kept"),
        (FullyConnected(GridRegions), "weight: sklearn_cmac.regions._fixed.GridRegions cannot be"),
        (GridRegions, "a file holds an estimator, such as a pipeline; got a type"),
        ({"a": 1}, "a file holds an estimator, such as a pipeline; got a dict"),
    ],
)  # fmt: skip
def test_what_no_file_can_hold_is_told_by_its_place(estimator, reason, tmp_path):
    with pytest.raises(PipelineFileError, match=reason):
        saved(estimator, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_refers_to_itself_is_refused(tmp_path):
    endless = []
    endless.append(endless)
    step = GridRegions()
    step.loop_ = step
    for each in (FullyConnected(endless), step):
        with pytest.raises(PipelineFileError, match="refers to itself"):
            saved(each, tmp_path)


# -- damage -----------------------------------------------------------------------------------


def test_damage_of_any_byte_is_an_error_that_names_the_file(file, rng):
    whole = file.read_bytes()
    places = [*range(40), *rng.integers(40, len(whole), 1500)]
    for i, bit in zip(places, rng.integers(0, 8, len(places))):
        torn = bytearray(whole)
        torn[i] ^= 1 << bit
        file.write_bytes(torn)
        read = read_manifest if i % 8 == 0 else load_pipeline
        with pytest.raises(PipelineFileError, match="kept.safetensors: is damaged, or no file"):
            read(file)
    file.write_bytes(whole)
    load_pipeline(file)


def test_a_file_that_is_cut_or_grown_is_an_error(file, rng):
    whole = file.read_bytes()
    for n in (*range(20), *rng.integers(20, len(whole), 200), len(whole) - 1):
        file.write_bytes(whole[:n])
        with pytest.raises(PipelineFileError, match="kept.safetensors: is damaged"):
            load_pipeline(file)
    for more in (b"\0", b" ", whole):
        file.write_bytes(whole + more)
        with pytest.raises(PipelineFileError, match="kept.safetensors: is damaged"):
            load_pipeline(file)


def test_spaces_that_mean_nothing_count_too(file):
    """JSON reads a tab where there was a space, and safetensors pads with spaces."""
    whole = file.read_bytes()
    spaces = [i for i, byte in enumerate(whole) if byte == 0x20]
    assert spaces
    for i in spaces:
        file.write_bytes(whole[:i] + b"\t" + whole[i + 1 :])
        with pytest.raises(PipelineFileError):
            load_pipeline(file)


def test_a_later_format_is_refused_as_such(tmp_path):
    with pytest.raises(PipelineFileError, match="is of format 2, and this .* update sklearn_cmac"):
        load_pipeline(forged(tmp_path, None, format=2))


def test_other_files_are_no_pipelines(tmp_path, pixels):
    from safetensors.numpy import save_file

    path = tmp_path / "x.safetensors"
    save_file({"a": np.zeros(3)}, path)
    with pytest.raises(PipelineFileError, match="it bears no checksum"):
        load_pipeline(path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_pipeline(tmp_path / "nowhere")
    write_sealed(path, "[]", {})
    with pytest.raises(PipelineFileError, match="x.safetensors: holds no pipeline"):
        load_pipeline(path)


# -- nothing in a file runs -------------------------------------------------------------------


@pytest.fixture
def foreign(tmp_path, monkeypatch):
    """A module that leaves a trace when it is imported."""
    name = "a_module_of_somebody_else"
    (tmp_path / f"{name}.py").write_text(
        "from pathlib import Path\n"
        "from sklearn_cmac import GridRegions\n"
        f"Path({str(tmp_path / 'trace')!r}).touch()\n"
        "class Squares(GridRegions):\n"
        "    pass\n"
        "def function(n_levels=1): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


@pytest.mark.parametrize("kind", ["estimator", "record"])
@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "subprocess.Popen", "{}.Squares"])
def test_a_class_that_is_not_on_the_list_is_refused_by_name(kind, name, foreign, tmp_path):
    name = name.format(foreign)
    content = {"is": kind, "class": name, "params": {}, "state": {}, "of": {}}
    with pytest.raises(PipelineFileError, match=rf"forged.safetensors: .* {name}"):
        load_pipeline(forged(tmp_path, content))
    assert foreign not in sys.modules
    assert not (tmp_path / "trace").exists()


def test_what_is_trusted_is_imported_when_it_is_named(foreign, tmp_path):
    path = forged(tmp_path, named(f"{foreign}.Squares", n_levels=2))
    with pytest.raises(PipelineFileError, match=rf"--trust {foreign}.Squares"):
        load_pipeline(path)
    assert load_pipeline(saved(GridRegions(), tmp_path), trust=[f"{foreign}.Squares"]).n_levels == 3
    assert not (tmp_path / "trace").exists()
    loaded = load_pipeline(path, trust=[f"{foreign}.Squares"])
    assert type(loaded) is importlib.import_module(foreign).Squares
    assert loaded.n_levels == 2
    for name in (f"{foreign}.function", "os.system", f"{foreign}.missing"):
        with pytest.raises(PipelineFileError, match="forged.safetensors: "):
            load_pipeline(forged(tmp_path, named(name, n_levels=2)), trust=[name])


def test_estimators_of_others_come_back_with_trust(tmp_path):
    for step in (Doubling(3.0), Outer.Inner(3.0)):
        file = saved(make_pipeline(step.fit([[1.0]])), tmp_path)
        name = f"{__name__}.{type(step).__qualname__}"
        with pytest.raises(PipelineFileError, match=f"asks for {name}"):
            load_pipeline(file)
        for trust in ([type(step)], [name]):
            (loaded,) = [each for _, each in load_pipeline(file, trust).steps]
            assert (type(loaded), loaded.factor, loaded.shape_) == (type(step), 3.0, (1, 1))


class Canary:
    """Whoever unpickles it leaves a trace."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("name", ["best.joblib", "best.safetensors", "best.skops"])
def test_a_pickle_runs_nothing(name, folder, tmp_path, capsys):
    trace, file = tmp_path / "trace", tmp_path / name
    joblib.dump(Canary(trace), file)
    assert joblib.load(file) is None  # os.mkdir has been called
    trace.rmdir()
    query = str(folder / "photos/object-00-scene-0.png")
    if name.endswith("skops"):
        pytest.importorskip("skops")
    assert main(["search", str(folder / "photos"), query, "--pipeline", str(file)]) == 2
    assert f"cmac: {file}: is damaged" in capsys.readouterr().err
    assert not trace.exists()


def test_every_class_on_the_list_is_an_estimator():
    assert {"sklearn_cmac.NCutClusterer", "sklearn_cmac.search.Retriever"} < set(
        estimator_classes()
    )
    assert all(hasattr(each, "get_params") for each in estimator_classes().values())


# -- writing ----------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_files_have_the_usual_modes(mask, mode, whitener, tmp_path):
    before = os.umask(mask)
    try:
        file = saved(whitener, tmp_path)
    finally:
        os.umask(before)
    assert file.stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_fails_leaves_what_was_there(call, file, monkeypatch):
    before = file.read_bytes()

    def fails(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, call, fails)
    with pytest.raises(OSError, match="no space left"):
        save_pipeline(GridRegions(), file)
    assert [each.name for each in file.parent.iterdir()] == [file.name]
    assert file.read_bytes() == before


def test_a_folder_in_the_way_is_an_error(whitener, tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        save_pipeline(whitener, tmp_path / "folder")
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]


# -- differences ------------------------------------------------------------------------------


def test_differences_name_what_differs(rng):
    points = rng.random((30, 4))
    here = make_pipeline(RegionWhitener(), L2Aggregator()).fit(points)
    there = make_pipeline(RegionWhitener(), L2Aggregator()).fit(points[:20])
    found = differences(manifest_of(here), manifest_of(there))
    assert found == [
        "regionwhitener.n_regions_: 30 here, 20 there",
        "regionwhitener.n_photos_: 30 here, 20 there",
        "regionwhitener.mean_: other numbers",
        "regionwhitener.components_: other numbers",
        "regionwhitener.explained_variance_: other numbers",
    ]
    one = make_cmac_pipeline(features__store="here")
    assert differences(manifest_of(one), manifest_of(make_cmac_pipeline())) == []
    other = make_cmac_pipeline(pca__n_components=4, regions=GridRegions(), whiten="passthrough")
    assert differences(manifest_of(one), manifest_of(other)) == [
        "pca.n_components: 16 here, 4 there",
        "regions: NCutClusterer here, GridRegions there",
        "whiten: RegionWhitener here, nothing there",
    ]
    dir_ = make_dir_pipeline(features__weights=None)
    assert "features.backbone: 'efficientnet_lite0' here, 'resnet101' there" in differences(
        manifest_of(make_rmac_pipeline()), manifest_of(dir_)
    )
    retriever = manifest_of(Retriever(one))
    assert differences(manifest_of(one), retriever) == ["Pipeline here, Retriever there"]


def test_versions_are_told_where_content_is_the_same(whitener):
    here = manifest_of(whitener)
    there = {**here, "versions": {**here["versions"], "timm": "1.0.12"}}
    assert differences(here, there) == [f"timm: {here['versions']['timm']} / 1.0.12"]
    there = {**here, "fingerprint": "another"}
    assert differences(here, there) == [
        "other code, or other content of files that parameters name"
    ]


# -- skops ------------------------------------------------------------------------------------


def test_skops_reads_with_our_list_and_not_the_files(scenes, tmp_path):
    io = pytest.importorskip("skops.io", reason="files of skops need skops")
    pipeline = make_mac_pipeline(
        features__engine="torch", features__store=tmp_path / "maps", whiten__shrinkage=1.0
    ).fit(scenes.photos[:3])
    file = tmp_path / "pipeline.skops"
    io.dump(pipeline, file)
    loaded = load_pipeline(file)
    assert loaded["features"].store is None
    np.testing.assert_array_equal(
        loaded.transform(scenes.photos[:2]), pipeline.transform(scenes.photos[:2])
    )
    io.dump(make_pipeline(Doubling()), file)
    name = f"{__name__}.Doubling"
    with pytest.raises(PipelineFileError, match=rf"pipeline.skops: asks for {name}.*--trust"):
        load_pipeline(file)
    assert type(load_pipeline(file, trust=[name])[0]) is Doubling
    io.dump(make_pipeline(BoxRegions(os.system)), file)
    with pytest.raises(PipelineFileError, match="pipeline.skops: .*system"):
        load_pipeline(file)
    with pytest.raises(PipelineFileError, match="let the name end in .safetensors"):
        save_pipeline(pipeline, file)


# -- where pipelines are kept -----------------------------------------------------------------


def remembering(folder, **params):
    params = {"features__engine": "torch", "features__layer": "blocks.4", **params}
    return make_rmac_pipeline(memory=folder and str(folder), whiten__shrinkage=1.0, **params)


def test_a_memory_reads_its_own_files_only(scenes, tmp_path, monkeypatch):
    photos = scenes.photos[:3]
    expected = remembering(None).fit_transform(photos)
    remembering(tmp_path).fit(photos)
    files = [each for each in tmp_path.rglob("*") if each.is_file()]
    assert {each.suffix for each in files} == {".safetensors"}
    with monkeypatch.context() as patch:
        patch.setattr(ConvFeatureExtractor, "_compute", None)  # all steps are remembered
        found = remembering(tmp_path).fit(photos)
    np.testing.assert_array_equal(found.transform(photos), expected)
    for each in files:  # as someone who can write there would
        each.write_bytes(pickle.dumps(Canary(tmp_path / "trace")))
    np.testing.assert_array_equal(remembering(tmp_path).fit(photos).transform(photos), expected)
    assert not (tmp_path / "trace").exists()
    for each in files:
        each.write_bytes(each.read_bytes()[:-1])
    np.testing.assert_array_equal(remembering(tmp_path).fit(photos).transform(photos), expected)


def test_a_memory_keeps_steps_of_others_and_their_stores(scenes, tmp_path, monkeypatch):
    store = tmp_path / "maps"
    pipeline = remembering(tmp_path / "memory", features__store=store)
    pipeline.set_params(whiten=Doubling(), aggregate="passthrough", pool="passthrough")
    pipeline.set_params(regions="passthrough", features=Doubling(0.5))
    for _ in range(2):
        assert pipeline.fit_transform([[2.0, 4.0]]).tolist() == [[2.0, 4.0]]
        with monkeypatch.context() as patch:
            patch.setattr(Doubling, "fit", None)
            assert pipeline.fit([[2.0, 4.0]])["features"].shape_ == (1, 2)
    stored = remembering(tmp_path / "memory", features__store=store)
    for _ in range(2):
        assert clone(stored).fit(scenes.photos[:2])["features"].store == store


def test_a_memory_says_what_it_cannot_keep(tmp_path):
    memory = PhotoMemory(str(tmp_path)).cache(lambda value: iter([value]))
    with pytest.warns(UserWarning, match="computed each time, since result: a builtins.list_iter"):
        assert list(memory(3)) == [3]
    assert list(tmp_path.rglob("*.safetensors")) == []


def test_a_file_that_nothing_could_read_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr("sklearn_cmac._sealed_files._LONGEST", 300)
    with pytest.raises(PipelineFileError, match="has room for 300"):
        saved(GridRegions(), tmp_path)
    memory = PhotoMemory(str(tmp_path)).cache(lambda n: ["x"] * n)
    with pytest.warns(UserWarning, match="computed each time, since .* has room for 300"):
        assert len(memory(200)) == 200
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == []


def test_an_evaluation_keeps_steps_of_others(scenes, others, tmp_path, monkeypatch):
    class Local(Doubling):
        """Nothing could import it."""

    system = remembering(None, whiten__n_components=16).set_params(aggregate=L2Aggregator())
    system.steps.append(("more", Local()))
    photos, benchmark = others.photos[:5], as_benchmark(scenes)
    first = evaluate(benchmark, {"": system}, photos, folder=tmp_path)
    assert [each.name for each in tmp_path.rglob("pipeline.*")] == ["pipeline.safetensors"]
    monkeypatch.setattr(RegionWhitener, "fit", None)
    again = evaluate(benchmark, {"": system}, photos, folder=tmp_path)
    assert first.rows[0].average_precision == again.rows[0].average_precision


def test_an_evaluation_fits_anew_what_no_file_can_hold(scenes, others, tmp_path):
    system = remembering(None, whiten__n_components=16, regions=BoxRegions(boxes_of))
    with pytest.warns(UserWarning, match="fitted anew each time: regions.proposer: .*boxes_of"):
        evaluate(as_benchmark(scenes), {"": system}, others.photos[:5], folder=tmp_path)
    assert list(tmp_path.rglob("pipeline.*")) == []


def test_tuning_leaves_out_a_pipeline_that_no_file_can_hold(scenes, tmp_path):
    pipeline = remembering(None, regions=BoxRegions(boxes_of))
    some = Bunch(photos=scenes.photos[:8], target=scenes.target[:8])
    search = tune(pipeline, {"whiten__shrinkage": [1]}, some, n_folds=2)
    with pytest.warns(UserWarning, match="best.safetensors is left out: regions.proposer: "):
        files = write_tuning(search, tmp_path)
    assert "settings.csv" in [each.name for each in files]
    assert not (tmp_path / "best.safetensors").exists()


# -- cmac fit ---------------------------------------------------------------------------------


def test_fit_writes_a_pipeline_that_search_reads(folder, fit_folder, tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    photos = sorted(fit_folder.iterdir())[:6]
    for i, photo in enumerate(photos):
        (tmp_path / "ab"[i % 2] / photo.name).write_bytes(photo.read_bytes())
    (tmp_path / "b" / "broken.png").write_bytes(b"no photo")
    file = tmp_path / "new" / "city.safetensors"
    options = ["--system", "rmac", "--max-size", "160", "--shrinkage", "2"]
    both = [str(tmp_path / "a"), str(tmp_path / "b")]
    assert main(["fit", *both, "--out", str(file), *options]) == 0
    assert f"fitted on {len(photos)} photos, 1 could not be used" in capsys.readouterr().out
    loaded = load_pipeline(file)
    assert (loaded["features"].max_size, loaded["whiten"].shrinkage) == (160, 2.0)
    assert loaded["whiten"].n_photos_ == len(photos)
    provenance = read_manifest(file)["provenance"]
    assert (provenance["system"], provenance["fitted on photos"]) == ("rmac", len(photos))
    # The same photos in one folder, under other names.
    one = tmp_path / "one"
    one.mkdir()
    for i, photo in enumerate(photos):
        (one / f"{i:02}.png").write_bytes(photo.read_bytes())
    assert main(["fit", str(one), "--out", str(tmp_path / "one.safetensors"), *options]) == 0
    key = "sha256 of their sorted digests"
    assert read_manifest(tmp_path / "one.safetensors")["provenance"][key] == provenance[key]
    capsys.readouterr()
    query = str(folder / "photos/object-01-scene-0.png")
    asked = ["search", str(folder / "photos"), query, "--pipeline", str(file), "--rerank", "none"]
    asked += ["--index", str(tmp_path / "x.cmac")]
    assert main(asked) == 0
    assert "object-01-scene-0.png" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("out", "reason"),
    [("", "is a directory"), ("x.joblib", "written as safetensors"), ("a/b/x", "Not a directory")],
)
def test_fit_refuses_a_place_before_the_first_photo(out, reason, fit_folder, tmp_path, capsys,
                                                    monkeypatch):  # fmt: skip
    (tmp_path / "a").touch()
    monkeypatch.setattr(ConvFeatureExtractor, "iter_transform", None)
    assert main(["fit", str(fit_folder), "--out", str(tmp_path / out)]) == 2
    assert reason in capsys.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == ["a"]


def test_search_trusts_what_it_is_told_to(folder, tmp_path, capsys):
    pipeline = make_mac_pipeline(features__engine="torch", whiten__shrinkage=1.0)
    pipeline.steps.append(("more", Doubling(1.0)))
    file = saved(pipeline.fit(sorted((folder / "photos").iterdir())[:4]), tmp_path)
    query = str(folder / "photos/object-01-scene-0.png")
    asked = ["search", str(folder / "photos"), query, "--pipeline", str(file), "--rerank", "none"]
    asked += ["--index", str(tmp_path / "x.cmac")]
    assert main(asked) == 2
    name = f"{__name__}.Doubling"
    assert f"asks for {name}" in capsys.readouterr().err
    assert main([*asked, "--trust", name]) == 0
