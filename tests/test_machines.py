"""Photos described by other processes: on this machine, and on clusters of two workers."""

import os
import shutil
import sys
from contextlib import ExitStack, closing
from pathlib import Path

import joblib
import numpy as np
import pytest
from joblib.externals.loky import get_reusable_executor
from mortal import Colors, NamelessColors
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline

from sklearn_cmac import ConvFeatureExtractor, Photo, Query, make_rmac_pipeline
from sklearn_cmac.collection import describe_collection, workers
from sklearn_cmac.collection._catalogue import Catalogue
from sklearn_cmac.collection._database import Database
from sklearn_cmac.collection._flat import CATALOGUE
from sklearn_cmac.datasets import make_object_scenes

pytestmark = pytest.mark.filterwarnings("ignore:whitening .* dimensions", "ignore:.* keeps")


@pytest.fixture(scope="module")
def scenes():
    return make_object_scenes(3, 3, 3, size=(160, 120)).photos


@pytest.fixture(scope="module")
def paths(scenes, tmp_path_factory):
    place = tmp_path_factory.mktemp("photos")
    files = [place / f"{i:02}.png" for i in range(len(scenes))]
    for photo, file in zip(scenes, files):
        Image.fromarray(photo.source).save(file)
    return [str(file) for file in files]


@pytest.fixture(scope="module", params=["loky", "dask", "ray"])
def cluster(request):
    """Two workers, which find the modules of these tests."""
    package = {"dask": "distributed"}.get(request.param, request.param)
    if request.param != "loky":
        pytest.importorskip(package, reason=f"{package} is not installed")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as settings:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        if request.param == "dask":
            import dask

            # A shard is given up when two workers died of it, not four.
            settings.enter_context(dask.config.set({"distributed.scheduler.allowed-failures": 1}))
        # Workers that other tests left are in a folder that may be gone, where torch ends them.
        get_reusable_executor().shutdown(wait=True)
        with workers(request.param, 2):
            yield request.param


def plain(pipeline, photos, **options):
    """What this process makes of photos, alone."""
    with joblib.parallel_config(backend="sequential"):
        return describe_collection(pipeline, photos, **options)


def names_in(folder):
    """Photos of which a folder has a note."""
    with closing(Catalogue(Database(folder / CATALOGUE))) as catalogue:
        return [entry.name for entry in catalogue.entries()]


def assert_same(found, expected, regions=False):
    assert found.ids == expected.ids
    assert found.names == expected.names
    assert found.failed == expected.failed
    ids = list(dict.fromkeys(filter(None, expected.ids)))
    assert len(found.engine) == len(ids)
    np.testing.assert_array_equal(found.engine.get(ids), expected.engine.get(ids))
    if regions:
        one, other = found.engine.get_regions(ids), expected.engine.get_regions(ids)
        for part in ("vectors", "weights", "indptr"):
            np.testing.assert_array_equal(getattr(one, part), getattr(other, part))
    # Photos are kept in their order too, which decides between equals.
    queries = np.zeros((1, found.engine.stamp.dimension), np.float32)
    (one,), _ = found.engine.kneighbors(queries, len(ids))
    (other,), _ = expected.engine.kneighbors(queries, len(ids))
    assert one.tolist() == other.tolist()


@pytest.fixture
def hostile(paths, scenes, tmp_path, monkeypatch):
    """Photos of every kind, copies of some in another shard, and some that are none."""
    shutil.copy(paths[0], tmp_path / "relative.png")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "damaged.png").write_bytes(Path(paths[1]).read_bytes()[:700])
    turned = Image.fromarray(scenes[2].source)
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    return [
        *paths[:3],
        "damaged.png",
        "relative.png",
        Query("relative.png", (10, 10, 140, 110)),
        scenes[3],
        "missing.png",
        b"no photo",
        Photo(Path(paths[4]), name="four"),
        scenes[5].source,
        Image.open(tmp_path / "turned.jpg"),
        Path(paths[4]).read_bytes(),
        *paths[:2],
    ]


# First, since loky takes a worker that needs torch later for one whose memory leaks, and stops it.
@pytest.mark.parametrize("cluster", ["loky"], indirect=True)
def test_a_real_pipeline_gives_the_same_bits_and_region_vectors(cluster, hostile, scenes):
    pipeline = make_rmac_pipeline(
        features__engine="torch",
        features__max_size=96,
        features__layer="blocks.4",
        whiten__n_components=8,
    ).fit(scenes[:6])
    found = describe_collection(pipeline, hostile, regions=True, shard_size=4)
    assert_same(found, plain(pipeline, hostile, regions=True), regions=True)


def test_workers_describe_to_the_same_bits_as_this_process(cluster, hostile, scenes):
    found = describe_collection(Colors(os.getpid()).fit(scenes), hostile, shard_size=2)
    assert sorted(found.failed) == [3, 7, 8]
    assert_same(found, plain(Colors().fit(scenes), hostile))


def test_a_worker_that_is_killed_loses_nothing(cluster, paths, tmp_path):
    died = tmp_path / "died"
    mortal = Colors(os.getpid(), fatal="05.png", died=str(died)).fit(paths)
    found = describe_collection(mortal, paths, folder=tmp_path / "index", shard_size=2)
    assert died.exists()
    assert_same(found, plain(Colors().fit(paths), paths))


@pytest.mark.parametrize("cluster", ["dask"], indirect=True)
def test_a_photo_that_kills_every_worker_ends_the_run_and_the_next_goes_on(
    cluster, paths, tmp_path
):
    log, index = tmp_path / "log", tmp_path / "index"
    deadly = Colors(os.getpid(), fatal="10.png").fit(paths)
    with pytest.raises(RuntimeError, match="workers failed twice at the photos from"):
        describe_collection(deadly, paths, folder=index, shard_size=1)
    kept = set(names_in(index))
    assert paths[10] not in kept
    harmless = Colors(log=str(log)).fit(paths)
    found = plain(harmless, paths, folder=index)
    assert set(log.read_text().split()) == set(paths) - kept
    assert_same(found, plain(Colors().fit(paths), paths))


@pytest.mark.parametrize("cluster", ["loky"], indirect=True)
# Of descriptors of unknown length nobody knows the engine, until there is one.
@pytest.mark.parametrize(("colors", "n_first"), [(Colors, 0), (NamelessColors, 1)])
def test_what_is_known_is_not_described_again_wherever_it_lies_now(
    cluster, colors, n_first, paths, scenes, tmp_path
):
    log, index, moved = tmp_path / "log", tmp_path / "index", tmp_path / "moved.png"
    pipeline = colors(log=str(log)).fit(paths)
    plain(pipeline, [*paths[:6], scenes[6]], folder=index)
    log.unlink()
    shutil.copy(paths[2], moved)
    photos = [str(moved), *paths[7:9], scenes[6], paths[1]]
    found = describe_collection(pipeline, photos, folder=index, shard_size=2)
    assert log.read_text().split() == [*photos[:n_first], *paths[7:9]]
    again = describe_collection(pipeline, photos, folder=index, shard_size=2)
    assert log.read_text().split()[n_first + 2 :] == photos[:n_first]
    assert again.ids == found.ids == plain(pipeline, photos).ids


@pytest.mark.parametrize("cluster", ["loky"], indirect=True)
def test_an_error_of_a_step_is_raised_as_it_is_and_what_came_before_is_kept(
    cluster, paths, tmp_path
):
    pipeline = Colors(os.getpid(), fatal="07.png", error=True).fit(paths)
    with pytest.raises(KeyError, match="no such colour"):
        describe_collection(pipeline, paths, folder=tmp_path, shard_size=2)
    assert names_in(tmp_path) == paths[:6]


@pytest.mark.parametrize("cluster", ["loky"], indirect=True)
def test_workers_of_another_version_are_refused(cluster, paths, monkeypatch):
    monkeypatch.setattr("sklearn_cmac.collection._shards.NUMERICS", {"maps": -1, "vectors": 2})
    with pytest.raises(ValueError, match=r"computes by .* and here by {'maps': -1, 'vectors': 2}"):
        describe_collection(Colors().fit(paths), paths, shard_size=4)


@pytest.mark.parametrize("cluster", ["ray"], indirect=True)
def test_maps_are_the_same_under_ray_which_yields_no_generator(cluster, scenes):
    extractor = ConvFeatureExtractor(
        weights=None, layer="blocks.3", max_size=64, engine="torch", n_jobs=2
    ).fit(scenes)
    found = extractor.transform(scenes)
    with joblib.parallel_config(backend="sequential"):
        expected = extractor.transform(scenes)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.activations, other.activations)


def test_without_workers_shards_are_described_here(paths):
    pipeline = Colors().fit(paths)
    assert_same(plain(pipeline, paths, shard_size=5), plain(pipeline, paths))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"shard_size": 0}, "at least one photo, got shard_size=0"),
        ({"shard_size": 2, "witness": print}, "leave out witness or shard_size"),
    ],
)
def test_shards_that_cannot_be_are_refused(options, said, paths):
    with pytest.raises(ValueError, match=said):
        describe_collection(Colors().fit(paths), paths, **options)


def test_draws_that_depend_on_the_order_of_photos_are_refused(paths):
    pipeline = make_pipeline(Colors(), PCA(2, random_state=np.random.RandomState(0)))
    with pytest.raises(ValueError, match="draws from a RandomState"):
        describe_collection(pipeline.fit(paths), paths, shard_size=2)


def test_a_cluster_at_an_address_is_used_and_left_running(paths):
    distributed = pytest.importorskip("distributed", reason="distributed is not installed")
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(processes=False, protocol="tcp", **options) as running:
        with workers("dask", address=running.scheduler_address):
            found = describe_collection(Colors().fit(paths), paths, shard_size=4)
        assert len(running.scheduler.workers) == 1
    assert_same(found, plain(Colors().fit(paths), paths))


@pytest.mark.parametrize(
    ("backend", "said"),
    [("dask", r"sklearn-cmac\[dask\]"), ("ray", r"sklearn-cmac\[ray\]")],
)
def test_a_backend_that_is_not_installed_says_what_to_install(backend, said, monkeypatch):
    monkeypatch.setitem(sys.modules, {"dask": "distributed"}.get(backend, backend), None)
    with pytest.raises(ImportError, match=said), workers(backend):
        pass


@pytest.mark.parametrize(
    ("backend", "address", "said"),
    [
        ("spark", None, "no backend 'spark'; there are 'loky', 'dask', 'ray'"),
        ("loky", "tcp://head:8786", "have no address; got 'tcp://head:8786'"),
    ],
)
def test_workers_that_there_are_not_are_refused(backend, address, said):
    with pytest.raises(ValueError, match=said), workers(backend, address=address):
        pass
