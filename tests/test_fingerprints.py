"""What results depend on: fingerprints, the numerics that they hold, and caches that ask them."""

import hashlib
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.cluster import KMeans
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline

from sklearn_cmac import (
    ActivationMap,
    ActivationPCA,
    BoxRegions,
    ClustererRegions,
    ClusterMaxPooler,
    ConvFeatureExtractor,
    CroWPooler,
    FullyConnected,
    GeMPooler,
    GridRegions,
    L2Aggregator,
    LocalFeatureExtractor,
    NCutClusterer,
    Photo,
    Query,
    RegionWhitener,
    SPoCPooler,
    TreeRegions,
    make_cmac_pipeline,
    make_mac_pipeline,
)
from sklearn_cmac.fingerprints import NUMERICS, fingerprint, fingerprint_photo
from sklearn_cmac.local._compact import pack_descriptors, pack_positions
from sklearn_cmac.local._xfeat import read_xfeat_map

pytestmark = pytest.mark.filterwarnings("ignore:whitening")


def differ(*values):
    return len({fingerprint(value) for value in values}) == len(values)


# -- what is told apart -----------------------------------------------------------------------


def test_arrays_are_hashed_whole():
    """`repr` abridges arrays of more than a thousand numbers."""
    one = np.zeros(2000)
    other = one.copy()
    other[1000] = 1e-9
    assert repr(one) == repr(other)
    assert differ(FullyConnected(one[None]), FullyConnected(other[None]))
    assert differ(one, other, one.astype("f4"), one[None])
    assert fingerprint(one[::2]) == fingerprint(one[::2].copy())


def test_values_that_are_spelt_alike_are_told_apart():
    assert differ("1", 1, 1.0, True, b"1", ["1"], {"1": None}, None, "None")
    assert differ([["a"], "b"], [["a", "b"]], ["a", ["b"]], ["ab"])
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({3, 1, 2}) == fingerprint({2, 3, 1})
    assert fingerprint(np.float32(0.5)) == fingerprint(0.5)


def test_functions_are_known_by_what_they_do():
    def halves(record, share=0.5):
        return record.shape[0] * share

    def make(n):
        return lambda record: [(0, 0, n, n)]

    assert differ(halves, partial(halves, share=0.25), make(3), make(4))
    assert fingerprint(make(3)) == fingerprint(make(3))
    assert differ(BoxRegions(make(3)), BoxRegions(make(4)))


def test_estimators_are_their_class_parameters_and_fitted_state(records):
    pca = ActivationPCA(3, random_state=0)
    before = fingerprint(pca)
    assert fingerprint(pca.fit(records)) != before
    assert fingerprint(pca) == fingerprint(FrozenEstimator(pca))
    assert differ(pca, ActivationPCA(3, random_state=0).fit(records[:3]))
    assert differ(
        ClustererRegions(KMeans(3, random_state=0)), ClustererRegions(KMeans(4, random_state=0))
    )
    assert differ(ClusterMaxPooler(), CroWPooler(), SPoCPooler())


def test_how_something_is_computed_does_not_count(tmp_path):
    plain = make_cmac_pipeline()
    told = make_cmac_pipeline(
        memory=str(tmp_path), features__store=tmp_path, features__n_jobs=2, regions__verbose=1
    )
    assert fingerprint(plain) == fingerprint(told)
    # What steps are called is no part of what they compute.
    one, other = make_pipeline(GridRegions(), ClusterMaxPooler()), make_mac_pipeline()[1:3]
    assert differ(one, other)
    assert fingerprint(other.set_params(regions=GridRegions())) == fingerprint(one)


def test_a_device_counts_where_the_numbers_depend_on_it():
    assert fingerprint(ConvFeatureExtractor()) == fingerprint(ConvFeatureExtractor(device="cpu"))
    half = ConvFeatureExtractor(precision="float16", device="cpu")
    assert fingerprint(half) != fingerprint(
        ConvFeatureExtractor(precision="float16", device="cuda")
    )
    assert fingerprint(NCutClusterer()) != fingerprint(NCutClusterer(device="cpu"))


def test_weights_count_by_their_content(tmp_path):
    import timm
    import torch

    state = timm.create_model("tf_efficientnet_lite0").state_dict()
    here, there = tmp_path / "here.pth", tmp_path / "there.pth"
    torch.save(state, here)
    there.write_bytes(here.read_bytes())
    before = fingerprint(ConvFeatureExtractor(weights=here))
    assert fingerprint(ConvFeatureExtractor(weights=there)) == before
    torch.save({k: 2 * v for k, v in state.items()}, here)
    assert fingerprint(ConvFeatureExtractor(weights=here)) != before


def test_what_cannot_be_told_apart_is_refused():
    with pytest.raises(TypeError, match="cannot be told from others"):
        fingerprint(iter(lambda: 0, 1))
    endless = []
    endless.append(endless)
    with pytest.raises(TypeError, match="refers to itself"):
        fingerprint(endless)


def test_fingerprints_are_the_same_in_another_process():
    code = (
        "from sklearn_cmac import make_cmac_pipeline\n"
        "from sklearn_cmac.fingerprints import fingerprint\n"
        "print(fingerprint(make_cmac_pipeline(), {'a', 'b', 'c'}, {'x': 1.5}))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "12"
    }
    assert found == {fingerprint(make_cmac_pipeline(), {"a", "b", "c"}, {"x": 1.5}) + "\n"}


def test_what_comes_from_pixels_does_not_depend_on_what_comes_after(monkeypatch):
    """A better cut makes no stored map stale."""
    whole, stored = fingerprint("x"), fingerprint("x", numerics=["maps"])
    monkeypatch.setitem(NUMERICS, "vectors", 99)
    assert fingerprint("x") != whole
    assert fingerprint("x", numerics=["maps"]) == stored
    monkeypatch.setitem(NUMERICS, "maps", 99)
    assert fingerprint("x", numerics=["maps"]) != stored


# -- photos -----------------------------------------------------------------------------------


def test_a_photo_is_its_content(jpeg, pixels, tmp_path):
    content = hashlib.sha256(jpeg.read_bytes()).hexdigest()
    copy = tmp_path / "copy.jpg"
    copy.write_bytes(jpeg.read_bytes())
    for same in (jpeg, str(copy), jpeg.read_bytes(), Photo(jpeg, box=(0, 0, 9, 9), name="other")):
        assert fingerprint_photo(same) == content
    assert fingerprint_photo(Query(jpeg, (0, 0, 9, 9))) != content
    assert fingerprint_photo(Photo(jpeg, name="other"), annotated=True) != content
    turned = Image.fromarray(pixels)
    turned.getexif()[0x0112] = 6
    assert len({fingerprint_photo(p) for p in (pixels, Image.fromarray(pixels), turned)}) == 3


def test_photos_without_a_path_are_named_by_their_content(pixels):
    assert Photo(pixels).name != Photo(pixels[::-1]).name
    assert Photo(pixels).name == Photo(pixels.copy()).name
    assert Photo(b"1234").name != Photo(b"5678").name
    images = [Image.fromarray(pixels), Image.fromarray(255 - pixels)]
    assert len({Photo(image).name for image in images}) == 2


def test_memory_of_a_pipeline_knows_photos_that_were_replaced(tmp_path, rng):
    """joblib's own takes a path for the photo, and answers with the fit of the old ones."""
    paths = [tmp_path / f"{i}.png" for i in range(4)]

    def fitted():
        pipeline = make_mac_pipeline(
            features__layer="blocks.4", whiten__shrinkage=1, memory=str(tmp_path / "memory")
        )
        return pipeline.fit([str(path) for path in paths])["whiten"].mean_

    found = []
    for _ in range(2):
        for path in paths:
            Image.fromarray(rng.integers(0, 255, (96, 128, 3), np.uint8)).save(path)
        found += [fitted(), fitted()]
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.allclose(found[1], found[2])
    np.testing.assert_array_equal(found[2], found[3])


def test_memory_runs_a_step_once(tmp_path, pixels, monkeypatch):
    calls = []
    compute = ConvFeatureExtractor._compute
    monkeypatch.setattr(
        ConvFeatureExtractor, "_compute", lambda *args: calls.append(1) or compute(*args)
    )
    for shrinkage in (1.0, 2.0):
        make_mac_pipeline(memory=str(tmp_path), whiten__shrinkage=shrinkage).fit(
            [pixels, pixels[::-1]]
        )
    assert len(calls) == 2


# -- numerics ---------------------------------------------------------------------------------

GOLDEN = Path(__file__).with_name("golden.json")
FROM_PIXELS = {"network", "window", "sift", "xfeat"}


def waves(*shape):
    """Numbers in [0, 1] of any shape, from integers alone, the same everywhere."""
    n = int(np.prod(shape))
    return ((np.arange(n, dtype=np.int64) * 7919 % 10007) / 10007).reshape(shape)


def summary(*arrays):
    """A few numbers that move when any of the arrays do."""
    found = []
    for array in arrays:
        flat = np.asarray(array, np.float64).ravel()
        found += [flat.mean(), flat.std(), flat @ np.cos(np.arange(len(flat))), float(len(flat))]
    return found


def computed():
    """What each step makes of made numbers."""
    picture = (255 * waves(60, 80, 3)).astype(np.uint8)
    coarse = Image.fromarray(picture).resize((200, 150), Image.Resampling.BICUBIC)
    pixels = np.asarray(coarse)
    extractor = ConvFeatureExtractor(max_size=128)
    (whole,) = extractor.fit_transform([pixels])
    (cut,) = extractor.set_params(query_crop="image").transform([Query(pixels, (9, 9, 120, 99))])
    maps = []
    for i, (height, width) in enumerate([(7, 9), (8, 6)]):
        y, x = np.indices((height, width))
        # Four well separated groups of cells, so that their clusters are beyond doubt.
        group = 2 * (y >= height / 2) + (x >= width / 2)
        cells = np.eye(4)[group] + 0.01 * waves(height, width, 4)
        colors = np.repeat(60 * group[..., None], 3, axis=2).astype(np.uint8)
        maps.append(ActivationMap.from_arrays(cells + i, colors, name=str(i)))
    pca = ActivationPCA(3, weighting="whiten", random_state=0).fit(maps)
    embedded = pca.transform(maps)
    found = {
        "network": summary(whole.activations, cut.activations, whole.colors),
        "window": [*whole.window, *cut.window],
        "pca": summary(*(np.abs(r.embedding) for r in embedded)),
    }
    proposers = {
        "grid": GridRegions(),
        "ncut": NCutClusterer(4, 4, scale=0.2, grow=0.15, spatial_weight=0.3),
        # Smaller branches divide the groups, whose cells are nearly alike.
        "tree": TreeRegions(min_area=0.3),
    }
    for name, step in proposers.items():
        proposed = step.fit(embedded).transform(embedded)
        masks = [
            np.sort([mask.ravel() @ waves(mask.size) for mask in r.regions.masks()])
            for r in proposed
        ]
        found[name] = summary(*masks)
    proposed = GridRegions().transform(embedded)
    poolers = {
        "max": ClusterMaxPooler("center"), "gem": GeMPooler(), "spoc": SPoCPooler(),
        "crow": CroWPooler(),
    }  # fmt: skip
    for name, step in poolers.items():
        pooled = step.fit(proposed).transform(proposed)
        found[name] = summary(*(r.vectors for r in pooled), *(r.weights for r in pooled))
    pooled = ClusterMaxPooler().transform(proposed)
    for name, whitener in {
        "whitening": RegionWhitener(shrinkage=1.0),
        "learned": RegionWhitener(method="learned", shrinkage=1.0),
    }.items():
        vectors = whitener.fit(pooled, ["a", "a"]).transform(pooled)
        found[name] = summary(*(np.abs(r.vectors) for r in vectors))
    found["sum"] = summary(L2Aggregator().fit(pooled).transform(pooled))
    (features,) = LocalFeatureExtractor().fit([]).transform([pixels])
    found["sift"] = summary(features.positions, features.descriptors)
    points, descriptors, scores = read_xfeat_map(9 * waves(6, 8, 130) - 4.5, 100)
    packed = pack_descriptors(descriptors, "int8"), pack_positions(points, (64, 48))
    found["xfeat"] = summary(points, descriptors, scores, *packed)
    return found


def test_numerics_are_those_of_their_version():
    """Values of every step, kept when the version was given.

    If this fails because a step computes something else now, what users have kept is stale: raise
    that part of `fingerprints.NUMERICS` by one, and write the values anew with
    ``python tests/test_fingerprints.py``.
    """
    import json

    kept = json.loads(GOLDEN.read_text())
    found = computed()
    assert kept["numerics"] == NUMERICS, "write the values of the new version: see above"
    moved = [
        name
        for name, values in kept["values"].items()
        if not np.allclose(found[name], values, rtol=2e-3, atol=2e-4)
    ]
    parts = {name: "maps" if name in FROM_PIXELS else "vectors" for name in moved}
    assert not moved, f"{parts} moved: raise these parts of fingerprints.NUMERICS, see above"
    assert set(found) == set(kept["values"])


if __name__ == "__main__":
    import json

    values = {name: [float(v) for v in numbers] for name, numbers in computed().items()}
    GOLDEN.write_text(json.dumps({"numerics": NUMERICS, "values": values}, indent=1) + "\n")
