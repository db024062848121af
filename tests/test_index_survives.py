"""An index whose process is killed, or whose disk is full, at any moment.

Some moments are tried in each run; ``CMAC_KILLS=100 pytest tests/test_index_survives.py`` tries a
hundred.
"""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from light import TRUST, make_light, write_photos

from sklearn_cmac import LearnedFeatureExtractor
from sklearn_cmac.search import RetrievalIndex

HERE = Path(__file__).parent
KILLS = int(os.environ.get("CMAC_KILLS", 6))

# Adds, updates, removes and compacts, and says what is acknowledged.
WORK = """
import os, sys, pathlib
from light import TRUST, write_photos
from sklearn_cmac.search import RetrievalIndex
path, photos = map(pathlib.Path, sys.argv[1:])
def say(*words):
    print(*words, flush=True)
with RetrievalIndex.open(path, trust=TRUST, batch_size=2) as index:
    say("ready")
    for n in range(40):
        new = write_photos(photos, range(4 * n, 4 * n + 4))
        if n % 2:
            say("added", *index.add([str(p) for p in new]).added)
        else:
            index.update(photos)
            say("added", *map(str, new))
        if n % 3 == 2:
            (changed,) = write_photos(photos, [4 * n], seed=1)
            say("changing", changed)
            index.update(photos)
            say("changed", changed)
        if n % 4 == 3:
            gone = str(photos / f"{4 * n + 1:04}.png")
            say("removing", gone)
            os.unlink(gone)
            index.remove([gone])
            say("removed", gone)
        if n % 5 == 4:
            index.compact()
            say("compacted")
"""


@pytest.fixture
def place(tmp_path):
    """An empty index beside an empty folder."""
    (tmp_path / "photos").mkdir()
    RetrievalIndex.create(tmp_path / "photos.cmac", make_light()).close()
    return tmp_path


def start(place, code=WORK, **options):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])}
    arguments = [sys.executable, "-c", code, place / "photos.cmac", place / "photos"]
    return subprocess.Popen(
        arguments, stdout=subprocess.PIPE, text=True, env=environment, **options
    )


def acknowledged(lines):
    """Photos that must be there, and those that must not, by what was said."""
    there, gone, unsure = set(), set(), set()
    for line in lines:
        what, *names = line.split()
        if what == "added":
            there.update(names)
        elif what == "removed":
            there.difference_update(names)
            gone.update(names)
        unsure = set(names) if what in ("removing", "changing") else set()
    return there - unsure, gone


def check_whole(place, there, gone):
    """Nothing acknowledged is lost, nothing is wrong, and the next run goes on."""
    oracle = make_light().pipeline_
    with RetrievalIndex.open(place / "photos.cmac", trust=TRUST) as index:
        names = set(index.names)
        assert there <= names
        assert not gone & names
        assert index.check() == []
        for name, descriptor in zip(index.names, index.descriptors):
            if name in there:
                np.testing.assert_allclose(descriptor, oracle.transform([name])[0], atol=1e-6)
        index.update(place / "photos")
        paths = sorted(map(str, (place / "photos").glob("*.png")))
        assert sorted(index.names) == paths
        by_name = dict(zip(index.names, index.descriptors))
        never_killed = oracle.transform(paths)
        np.testing.assert_allclose([by_name[path] for path in paths], never_killed, atol=1e-6)
        assert index.search(paths[0], 1)[0].name == paths[0]
        index.compact()
        assert index.check() == []
    files = {file.name.split("-")[0] for file in (place / "photos.cmac").iterdir()}
    assert files <= {
        "catalogue.sqlite", "catalogue.checksum", "descriptors", "vectors", "weights",
        "regions", "pipeline.safetensors", "lock", "owner",
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(KILLS))
def test_nothing_acknowledged_is_lost_by_a_kill(place, seed):
    process = start(place)
    assert process.stdout.readline() == "ready\n"
    # While it adds, updates, removes or compacts: somewhere in the first seconds.
    time.sleep(random.Random(seed).uniform(0, 3))
    process.send_signal(signal.SIGKILL)
    there, gone = acknowledged(process.communicate()[0].splitlines())
    check_whole(place, there, gone)


@pytest.mark.parametrize("seed", range(max(4, KILLS // 5)))
def test_a_full_disk_loses_nothing_and_what_it_stopped_goes_on(place, seed):
    """No file grows beyond some byte, so that writing fails there as on a full disk."""
    limit = random.Random(seed).randrange(60_000, 400_000)

    def fill():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    process = start(place, preexec_fn=fill, stderr=subprocess.PIPE)
    out, err = process.communicate()
    assert process.returncode == 1, (out, err)
    assert "Error" in err.splitlines()[-1]
    there, gone = acknowledged(out.splitlines()[1:])
    check_whole(place, there, gone)


def test_a_file_system_that_is_full_loses_nothing(place, tmp_path):
    """The same on a real file system of a megabyte, where one can be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here, which takes the rights of root")
    try:
        shutil.move(place / "photos.cmac", disk / "photos.cmac")
        (place / "photos.cmac").symlink_to(disk / "photos.cmac")
        process = start(place, stderr=subprocess.PIPE)
        out, err = process.communicate()
        assert process.returncode == 1, (out, err)
        subprocess.run(["mount", "-o", "remount,size=16m", disk], check=True)
        there, gone = acknowledged(out.splitlines()[1:])
        check_whole(place, there, gone)
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


# Keeps the features of photos that are there, then of new ones, and gives room back.
KEEP = """
import sys, pathlib
from light import TRUST, write_photos
from sklearn_cmac import LearnedFeatureExtractor
from sklearn_cmac.search import RetrievalIndex
path, photos = map(pathlib.Path, sys.argv[1:])
extractor = LearnedFeatureExtractor(max_features=20)
with RetrievalIndex.open(path, trust=TRUST, batch_size=2) as index:
    index.update(photos)
    extractor.fit_transform(index.names[:1])  # so that the network is there
    print("ready", flush=True)
    index.keep_features(extractor)
    for n in range(3, 40):
        (photos / f"{n - 3:04}.png").unlink()
        write_photos(photos, [2 * n, 2 * n + 1])
        index.update(photos)
        index.compact()
"""


@pytest.mark.parametrize("seed", range(max(1, KILLS // 6)))
def test_features_are_whole_or_found_again_after_a_kill(place, seed):
    pytest.importorskip("kornia", reason="kornia is not installed: no learned features")
    extractor = LearnedFeatureExtractor(max_features=20)
    extractor.fit_transform(write_photos(place / "photos", range(6)))  # converts the network
    process = start(place, KEEP)
    assert process.stdout.readline() == "ready\n"
    time.sleep(random.Random(seed).uniform(0, 2))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with RetrievalIndex.open(place / "photos.cmac", trust=TRUST) as index:
        assert index.check() == []
        index.update(place / "photos")
        assert index.keep_features(extractor) == []
        for name, expected in zip(index.names, extractor.transform(index.names)):
            found = index.features(name)
            np.testing.assert_array_equal(found.positions, expected.positions)
            np.testing.assert_array_equal(found.descriptors, expected.descriptors)
        index.compact()
        assert index.check() == []
        assert set(index._details.ids(extractor.kind)) == {entry.id for entry in index.entries()}
    assert len(list((place / "photos.cmac").glob("local_*.bin"))) == 1
