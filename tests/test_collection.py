"""What is kept of photos: engines, what a folder survives, and what it refuses."""

import shutil
import subprocess
import sys
import tracemalloc
import warnings
from contextlib import contextmanager

import joblib
import numpy as np
import pytest

from sklearn_cmac import (
    BoxRegions,
    Photo,
    Query,
    RegionUnion,
    WholeRegion,
    make_mac_pipeline,
    make_rmac_pipeline,
)
from sklearn_cmac.collection import CatalogueEntry, describe_collection
from sklearn_cmac.collection._catalogue import Catalogue
from sklearn_cmac.collection._database import Database

pytestmark = pytest.mark.filterwarnings("ignore:whitening")


@pytest.fixture
def photos(rng):
    """Seven small pictures that differ."""
    return [rng.integers(0, 255, (96, 128, 3), np.uint8) for _ in range(7)]


@contextmanager
def quiet():
    """Warnings of damage are not what is asked here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def small(make, photos, **params):
    given = {"features__layer": "blocks.4", "whiten__shrinkage": 1, "whiten__n_components": 8}
    return make(**{**given, **params}).fit(photos)


@pytest.mark.parametrize("content", [b"", b"{", b"SQLite format 3", bytes(8192)])
def test_a_torn_database_blocks_no_later_run(photos, tmp_path, content):
    """A full disk leaves files that are empty or cut; every later run failed on them."""
    pipeline = small(make_mac_pipeline, photos)
    found = describe_collection(pipeline, photos, folder=tmp_path)
    whole = found.descriptors()[1]
    found.engine.close()
    (tmp_path / "catalogue.sqlite").write_bytes(content)
    with quiet():
        again = describe_collection(pipeline, photos, folder=tmp_path)
    np.testing.assert_array_equal(again.descriptors()[1], whole)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        describe_collection(pipeline, photos, folder=tmp_path)


# -- collections ------------------------------------------------------------------------------


def test_another_pipelines_descriptions_are_refused(photos, tmp_path):
    """It served the first pipeline's descriptors to the second."""
    one = small(make_mac_pipeline, photos)
    other = small(make_mac_pipeline, photos[:5])
    describe_collection(one, photos, folder=tmp_path)
    with pytest.raises(ValueError, match=r"holds vectors of pipeline \w+, and is asked for those"):
        describe_collection(other, photos, folder=tmp_path)
    again = describe_collection(one, photos, folder=tmp_path)
    np.testing.assert_array_equal(again.descriptors()[1], one.transform(photos))


def test_a_series_of_photos_is_a_sequence_of_them(photos):
    """By position, whatever its index says."""
    pandas = pytest.importorskip("pandas")
    pipeline = small(make_mac_pipeline, photos)
    named = [Photo(photo, name=str(i)) for i, photo in enumerate(photos)]
    found = describe_collection(pipeline, pandas.Series(named, index=[6, 5, 4, 3, 2, 1, 0]))
    assert [found.photo(id_).name for id_ in found.ids] == [str(i) for i in range(7)]


def test_copies_are_described_once_and_ranked_each(photos):
    pipeline = small(make_mac_pipeline, photos)
    seen = []
    found = describe_collection(
        pipeline,
        [photos[0], photos[1], Photo(photos[0], name="copy")],
        witness=lambda i, r: seen.append(i),
    )
    assert len(seen) == len(found.engine) == 2
    positions, which = found.positions([found.ids[0], found.ids[1]])
    assert (positions.tolist(), which.tolist()) == ([0, 2, 1], [0, 0, 1])


def test_a_torn_run_goes_on_and_no_photo_becomes_zeros(photos, tmp_path):
    """A kill at any commit, and files that are lost or cut: what is missing is described again."""
    pipeline = small(make_rmac_pipeline, photos)
    expected = describe_collection(pipeline, photos, regions=True).descriptors()[1]
    options = {"regions": True, "batch_size": 2}
    describe_collection(pipeline, photos[:4], folder=tmp_path, **options)
    for name in ("descriptors-1.f32", "vectors-1.f16", "weights-1.f32"):
        content = (tmp_path / name).read_bytes()
        for damaged in (content[: len(content) // 2], bytes(len(content))):
            folder = tmp_path / "torn"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(tmp_path, folder, ignore=lambda *_: ["torn"])
            (folder / name).write_bytes(damaged)
            with quiet():
                found = describe_collection(pipeline, photos, folder=folder, **options)
            np.testing.assert_array_equal(found.descriptors()[1], expected)


def test_a_lost_file_of_vectors_is_described_again(photos, tmp_path):
    pipeline = small(make_mac_pipeline, photos)
    whole = describe_collection(pipeline, photos, folder=tmp_path).descriptors()[1]
    (tmp_path / "descriptors-1.f32").unlink()
    with quiet():
        again = describe_collection(pipeline, photos, folder=tmp_path)
    np.testing.assert_array_equal(again.descriptors()[1], whole)


def test_the_catalogue_says_what_became_of_each_photo(jpeg, tmp_path, photos):
    pipeline = small(make_mac_pipeline, photos)
    (tmp_path / "text.jpg").write_text("no photo")
    folder = tmp_path / "described"
    asked = [
        str(jpeg),
        tmp_path / "text.jpg",
        tmp_path / "missing.jpg",
        Photo(photos[0], name="array"),
    ]
    found = describe_collection(pipeline, asked, folder=folder)
    assert sorted(found.failed) == [1, 2]
    catalogue = Catalogue(Database(folder / "catalogue.sqlite"))
    entries = {entry.name: entry for entry in catalogue.entries()}
    photo = entries[str(jpeg)]
    assert (photo.state, photo.size, photo.id) == ("described", jpeg.stat().st_size, found.ids[0])
    assert photo.mtime == jpeg.stat().st_mtime_ns
    assert "is not an image" in entries[str(tmp_path / "text.jpg")].reason
    assert entries[str(tmp_path / "missing.jpg")].state == "failed"
    assert entries["array"].size is None


def test_a_check_of_the_catalogue_takes_no_more_memory_for_more_photos():
    def peak(n):
        catalogue = Catalogue(Database(None))
        names = [f"photos/{i:060}.jpg" for i in range(n)]
        catalogue.note(
            [
                CatalogueEntry(name, name, name, i, i, "described", "")
                for i, name in enumerate(names)
            ]
        )
        tracemalloc.start()
        assert catalogue.check() == []
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(6000) < 1.5 * peak(2000)


def test_a_damaged_state_of_an_entry_is_found():
    """Whatever stands there, nothing too."""
    for state in ("'descrybed'", "NULL"):
        catalogue = Catalogue(Database(None))
        catalogue.note([CatalogueEntry("a.jpg", "a.jpg", "1", 1, 1, "described", "")])
        catalogue.database.all(f"UPDATE photos SET state = {state}")
        (sentence,) = catalogue.check()
        assert "a.jpg" in sentence


def test_a_photo_that_was_repaired_is_described_the_next_time(jpeg, tmp_path, photos):
    pipeline = small(make_mac_pipeline, photos)
    late = tmp_path / "late.jpg"
    late.write_bytes(b"")
    folder = tmp_path / "described"
    assert describe_collection(pipeline, [jpeg, late], folder=folder).failed
    late.write_bytes(jpeg.read_bytes()[:-2] + b"\xff\xd9")
    assert not describe_collection(pipeline, [jpeg, late], folder=folder).failed


def test_a_query_is_described_by_its_box_and_known_by_it(photos):
    pipeline = small(make_mac_pipeline, photos)
    queries = [Query(photos[0], (0, 0, 64, 96)), Query(photos[0], (64, 0, 128, 96)), photos[0]]
    found = describe_collection(pipeline, queries)
    assert len(set(found.ids)) == 3
    np.testing.assert_array_equal(found.descriptors()[1], pipeline.transform(queries))


def test_a_photos_box_counts_where_a_step_reads_it(photos):
    """Boxes are regions then, so one content has more than one description."""
    steps = {"regions": RegionUnion([("box", BoxRegions()), ("whole", WholeRegion())])}
    boxed = [Photo(photos[0], (0, 0, 64, 96), "a"), Photo(photos[0], (64, 0, 128, 96), "a")]
    for params, n in ((steps, 2), ({}, 1)):
        pipeline = small(make_mac_pipeline, photos, **params)
        found = describe_collection(pipeline, boxed)
        assert len(set(found.ids)) == n
        np.testing.assert_array_equal(found.descriptors()[1], pipeline.transform(boxed))


def test_each_file_is_opened_once(jpeg, photos, monkeypatch):
    import builtins

    opened, real = [], builtins.open

    def counting(file, *args, **kwargs):
        opened.append(str(file))
        return real(file, *args, **kwargs)

    pipeline = small(make_mac_pipeline, photos)
    monkeypatch.setattr(builtins, "open", counting)
    describe_collection(pipeline, [str(jpeg)])
    assert opened.count(str(jpeg)) == 1


def test_a_run_that_is_killed_keeps_what_it_has_done(photos, tmp_path):
    """By a signal that nothing can catch, in the middle of the fourth photo."""
    pipeline = small(make_rmac_pipeline, photos)
    joblib.dump((pipeline, photos), tmp_path / "work.joblib")
    folder = tmp_path / "described"
    code = f"""
import joblib, time
from sklearn_cmac.collection import describe_collection
pipeline, photos = joblib.load(r"{tmp_path / "work.joblib"}")
def witness(id_, record):
    witness.n = getattr(witness, "n", 0) + 1
    print(witness.n, flush=True)
    time.sleep(60 if witness.n == 4 else 0)
describe_collection(
    pipeline, photos, regions=True, folder=r"{folder}", batch_size=1, witness=witness
)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        while run.stdout.readline().strip() != "4":
            assert run.poll() is None
        run.kill()
    seen = []
    found = describe_collection(
        pipeline, photos, regions=True, folder=folder, witness=lambda id_, record: seen.append(id_)
    )
    assert seen == found.ids[3:]
    whole = describe_collection(pipeline, photos, regions=True)
    np.testing.assert_array_equal(found.descriptors()[1], whole.descriptors()[1])
