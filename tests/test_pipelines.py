"""The whole chain as one estimator: searched, cached, dumped, loaded."""

import os
import subprocess
import sys

import joblib
import numpy as np
import pytest
from conftest import shared_folder
from counting import CountingExtractor
from joblib.externals.loky import get_reusable_executor
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, GroupKFold
from threadpoolctl import threadpool_limits

from sklearn_cmac import (
    ActivationMap,
    FullyConnected,
    GridRegions,
    PhotoError,
    RetrievalScorer,
    WholeRegion,
    make_cmac_pipeline,
    make_crow_pipeline,
    make_dir_pipeline,
    make_gem_pipeline,
    make_mac_pipeline,
    make_neural_codes_pipeline,
    make_rmac_pipeline,
    make_siamac_pipeline,
    make_spoc_pipeline,
)
from sklearn_cmac.datasets import find_photos, load_photo_folder, make_object_scenes

pytestmark = pytest.mark.filterwarnings("ignore:whitening")


@pytest.fixture(scope="module")
def scenes():
    return make_object_scenes(n_objects=4, n_scenes=3, n_distractors=4, size=(256, 192))


def test_descriptors_are_unit_vectors(scenes):
    for make in (make_mac_pipeline, make_rmac_pipeline, make_cmac_pipeline):
        descriptors = make().fit_transform(scenes.photos)
        assert descriptors.shape[0] == 16
        assert descriptors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(descriptors, axis=1), 1, atol=1e-5)


def test_fitting_again_gives_the_same_descriptors(scenes):
    first, second = (make_cmac_pipeline(pca__max_samples=200) for _ in range(2))
    np.testing.assert_array_equal(
        first.fit_transform(scenes.photos), second.fit_transform(scenes.photos)
    )


def test_steps_have_their_names_and_parameters_their_paths():
    pipeline = make_cmac_pipeline(
        pca__n_components=7, regions__n_clusters=(3, 9), regions__scale=0.1, whiten__shrinkage=1
    )
    steps = ["features", "pca", "regions", "pool", "whiten", "aggregate"]
    assert list(pipeline.named_steps) == steps
    assert list(make_rmac_pipeline().named_steps) == [s for s in steps if s != "pca"]
    params = clone(pipeline).get_params()
    assert params["pca__n_components"] == 7
    assert params["regions__n_clusters"] == (3, 9)
    with pytest.raises(ValueError, match="Invalid parameter 'n_cluster'"):
        make_cmac_pipeline(regions__n_cluster=3)


def test_one_cluster_is_mac_and_other_regions_are_a_change_of_one_step(scenes):
    one = make_cmac_pipeline("paper", regions__n_clusters=1, regions__n_color_clusters=0)
    mac = make_mac_pipeline().fit_transform(scenes.photos)
    np.testing.assert_allclose(one.fit_transform(scenes.photos), mac, atol=1e-5)
    pipeline = make_cmac_pipeline("paper").set_params(regions=WholeRegion())
    np.testing.assert_allclose(pipeline.fit_transform(scenes.photos), mac, atol=1e-5)
    rmac = make_rmac_pipeline().fit_transform(scenes.photos)
    pipeline.set_params(regions=GridRegions())
    np.testing.assert_allclose(pipeline.fit_transform(scenes.photos), rmac, atol=1e-5)


def test_region_vectors_are_what_the_last_step_sums(scenes):
    pipeline = make_cmac_pipeline(pool__region_weight="area").fit(scenes.photos)
    (photo,) = pipeline[:-1].transform(scenes.photos[:1])
    total = photo.weights @ photo.vectors
    descriptor = pipeline.transform(scenes.photos[:1])[0]
    np.testing.assert_allclose(descriptor, total / np.linalg.norm(total), atol=1e-6)


def test_a_cache_of_fitted_steps_changes_nothing(scenes, tmp_path):
    plain = make_rmac_pipeline().fit(scenes.photos).transform(scenes.photos)
    for _ in range(2):
        cached = make_rmac_pipeline(memory=str(tmp_path), features__store=tmp_path / "maps")
        np.testing.assert_array_equal(cached.fit(scenes.photos).transform(scenes.photos), plain)


def test_a_network_of_another_depth_than_fitted_is_refused(scenes):
    pipeline = make_rmac_pipeline().fit(scenes.photos)
    other = ActivationMap.from_arrays(np.ones((6, 8, 320)), name="other")
    with pytest.raises(PhotoError, match=r"^other: its region vectors have 320.*expects 1280"):
        pipeline[1:].transform([other])


def test_one_photo_to_fit_on(scenes):
    descriptors = make_cmac_pipeline().fit(scenes.photos[:1]).transform(scenes.photos)
    assert np.isfinite(descriptors).all()
    with pytest.raises(ValueError, match="at least 2 region vectors, got 1 of 1 photo"):
        make_mac_pipeline().fit(scenes.photos[:1])


def test_every_system_describes_photos(scenes):
    makers = (make_spoc_pipeline, make_crow_pipeline, make_gem_pipeline, make_siamac_pipeline)
    for make in makers:
        pipeline = make(features__max_size=128, whiten__shrinkage=1.0)
        descriptors = pipeline.fit(scenes.photos, scenes.target).transform(scenes.photos)
        np.testing.assert_allclose(np.linalg.norm(descriptors, axis=1), 1, atol=1e-5)


def test_neural_codes_of_any_shape_of_photo(scenes):
    params = {"features__weights": None, "features__max_size": 320, "whiten": "passthrough"}
    pipeline = make_neural_codes_pipeline(**params, features__engine="torch")
    assert pipeline.fit_transform(scenes.photos[:2]).shape == (2, 4096)
    (record,) = pipeline["features"].transform(scenes.photos[:1])  # of 320x240 pixels
    assert record.activations.shape == (1, 4, 4096)


def test_dir_sums_what_its_layer_makes_of_each_square_of_its_grid(scenes, rng):
    shift, weight, bias = rng.random(2048) / 9, rng.standard_normal((32, 2048)), rng.random(32)
    layer = FullyConnected(weight, weight @ shift + bias)
    params = {"features__weights": None, "features__max_size": 192}
    pipeline = make_dir_pipeline(layer=layer, **params).fit(scenes.photos[:2])
    (record,) = pipeline["features"].transform(scenes.photos[:1])
    total = np.zeros(32)
    for mask in GridRegions(2, stride=32).transform([record])[0].regions.masks():
        vector = record.activations[mask].max(axis=0)
        vector = weight @ (vector / np.linalg.norm(vector) + shift) + bias
        total += vector / np.linalg.norm(vector)
    descriptor = pipeline.transform(scenes.photos[:1])[0]
    np.testing.assert_allclose(descriptor, total / np.linalg.norm(total), atol=1e-5)
    assert list(pipeline.named_steps) == ["features", "regions", "pool", "project", "aggregate"]
    whitened = make_dir_pipeline(**params).fit_transform(scenes.photos[:3])
    assert whitened.shape[0] == 3


# -- persistence ------------------------------------------------------------------------------

LOAD_AND_DESCRIBE = """
import joblib, numpy as np, sys
pipeline, photos, expected = joblib.load(sys.argv[1])
sys.exit(not np.array_equal(pipeline.transform(photos), expected))
"""


def test_a_loaded_pipeline_gives_the_same_bits_in_another_process(scenes, tmp_path):
    pipeline = make_cmac_pipeline().fit(scenes.photos)
    descriptors = pipeline.transform(scenes.photos)
    joblib.dump(pipeline, tmp_path / "pipeline.joblib")
    joblib.dump((pipeline, scenes.photos, descriptors), tmp_path / "all.joblib")
    command = [sys.executable, "-c", LOAD_AND_DESCRIBE, str(tmp_path / "all.joblib")]
    assert subprocess.run(command, check=False).returncode == 0
    # Little more than the fitted arrays, and no network (its weights alone are 18 MB).
    steps = (pipeline["pca"], pipeline["whiten"])
    arrays = sum(v.nbytes for s in steps for v in vars(s).values() if isinstance(v, np.ndarray))
    assert (tmp_path / "pipeline.joblib").stat().st_size < arrays + 20_000


# -- real photos ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real_photos():
    folder = shared_folder("data/landmarks")
    bunch = load_photo_folder(folder / "images", folder / "labels.csv", folder / "boxes.csv")
    labelled = [i for i, label in enumerate(bunch.target) if label]
    chosen = labelled[:100] + [i for i, label in enumerate(bunch.target) if not label][:20]
    return [bunch.photos[i] for i in chosen], [bunch.target[i] for i in chosen]


def test_grid_search_on_real_photos_runs_the_network_once_per_photo(real_photos, tmp_path, capfd):
    photos, target = real_photos
    # Distractors are photos of their own; the photos of one landmark stay in one fold.
    groups = [label or f"distractor {i}" for i, label in enumerate(target)]
    search = GridSearchCV(
        make_cmac_pipeline(
            features=CountingExtractor(store=tmp_path, max_size=384), whiten__shrinkage=1.0
        ),
        {
            "pca__n_components": [4, 8],
            "regions__n_clusters": [(5,), (5, 20)],
            "regions__scale": [0.05, 0.2],
        },
        scoring=RetrievalScorer(distractor=""),
        cv=GroupKFold(2),
        n_jobs=2,
        verbose=2,
        error_score="raise",
    )
    get_reusable_executor().shutdown()  # older workers print where no one looks
    search.fit(photos, target, groups=groups)
    passes = (tmp_path / "forward-passes").read_text().splitlines()
    assert len(passes) == len(photos) == len({line.split(" ", 1)[1] for line in passes})
    assert str(os.getpid()) not in {line.split()[0] for line in passes}  # all in the workers
    scores = search.cv_results_["mean_test_score"]
    assert scores.shape == (8,)
    assert 0.3 < scores.min() <= search.best_score_ <= 1
    assert search.best_score_ > scores.min()
    shown = capfd.readouterr()
    assert (shown.out + shown.err).count("[CV] END") == 16


def test_real_photos_are_ranked_far_better_than_chance(real_photos, tmp_path):
    """Whitening from another city, as in the benchmark, but of small photos."""
    photos, target = real_photos
    paris = find_photos(shared_folder("data/paris279"))[::3]
    for make in (make_rmac_pipeline, make_cmac_pipeline):
        pipeline = make(features__max_size=384, features__store=tmp_path, whiten__shrinkage=1.0)
        pipeline.fit(paris)
        for queries in ("all", "boxed"):
            assert RetrievalScorer(queries, distractor="")(pipeline, photos, target) > 0.6


@pytest.mark.parametrize("preset", ["paper", "default"])
def test_descriptors_do_not_depend_on_threads_behind_the_network(rng, preset):
    shapes = [(24, 32), (32, 24), (25, 31)]
    maps = [
        ActivationMap.from_arrays(
            np.maximum(rng.standard_normal((*shape, 320)), 0).astype(np.float32),
            rng.integers(0, 255, (*shape, 3), np.uint8),
        )
        for shape in shapes
    ]
    steps = make_cmac_pipeline(preset)[1:].fit(maps)
    with threadpool_limits(1):
        expected = steps.transform(maps)
    for threads in (2, 4):
        with threadpool_limits(threads):
            np.testing.assert_array_equal(steps.transform(maps), expected)
