"""The index in a folder: kept, made true again, moved, damaged, and shared by processes."""

import json
import os
import pickle
import shutil
import sqlite3
import subprocess
import sys
import warnings
import zlib
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
from light import TRUST, make_light, write_photos
from PIL import Image

from sklearn_cmac import Photo, PhotoError, Query
from sklearn_cmac.collection import DamageError, InUseError
from sklearn_cmac.collection._database import Database
from sklearn_cmac.inspection import draw_box
from sklearn_cmac.search import RetrievalIndex, read_arrays, write_arrays

HERE = Path(__file__).parent


@pytest.fixture
def photos(tmp_path):
    """A folder of eight pictures."""
    write_photos(tmp_path / "photos", range(8))
    return tmp_path / "photos"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "photos.cmac"


@pytest.fixture
def kept(path, photos):
    """Their index, closed."""
    with RetrievalIndex.create(path, make_light()) as index:
        index.update(photos)
    return path


def opened(path, **options):
    return RetrievalIndex.open(path, trust=TRUST, **options)


def names(results):
    return [Path(result.name).name for result in results]


def vectors(index):
    """Descriptor by name of each photo."""
    return dict(zip(index.names, index.descriptors))


# -- made true --------------------------------------------------------------------------------


def test_an_index_is_found_again_and_answers_as_before(kept, photos):
    described = make_light().pipeline_.transform(sorted(photos.iterdir()))
    with opened(kept) as index:
        np.testing.assert_allclose(index.descriptors, described, atol=1e-6)
        first, second, *_ = index.search(photos / "0003.png", 8)
        assert (first.name, round(first.score, 3)) == (str(photos / "0003.png"), 1.0)
        assert second.score < first.score
        assert len(index) == 8
        assert f"8 photos in {kept}" in repr(index)


def test_what_has_not_changed_is_not_described_again(kept, photos):
    with opened(kept) as index:
        again = index.update(photos)
    assert (again.unchanged, again.n_described) == (8, 0)
    assert again.added + again.removed + again.changed + again.moved == []


def test_each_change_costs_what_it_must(kept, photos):
    """Renamed 0, edited 1, deleted 0, copied 0 photos described again."""
    with opened(kept) as index:
        before = vectors(index)
        (photos / "deep").mkdir()
        os.rename(photos / "0000.png", photos / "deep" / "renamed.png")
        report = index.update(photos)
        assert (names_of(report.moved), report.removed, report.n_described) == (
            ["renamed.png"], [], 0
        )  # fmt: skip
        write_photos(photos, [1], seed=1)
        report = index.update(photos)
        assert (names_of(report.changed), report.n_described) == (["0001.png"], 1)
        (photos / "0002.png").unlink()
        report = index.update(photos)
        assert (names_of(report.removed), report.n_described) == (["0002.png"], 0)
        shutil.copy2(photos / "0003.png", photos / "copy.png")
        report = index.update(photos)
        assert (names_of(report.copied), report.n_described) == (["copy.png"], 0)
        after = vectors(index)
        assert len(index) == 8
        assert len(index.engine) == 7  # two photos have one content
        moved = after[str(photos / "deep" / "renamed.png")]
        np.testing.assert_array_equal(moved, before[str(photos / "0000.png")])
        assert not np.array_equal(after[str(photos / "0001.png")], before[str(photos / "0001.png")])
        results = index.search(photos / "0003.png", 8)
        assert set(names(results[:2])) == {"0003.png", "copy.png"}
        assert "0002.png" not in names(results)


def test_a_folder_whose_disk_is_not_mounted_loses_nothing(kept, photos, tmp_path):
    """Its place is there, and empty."""
    photos.rename(tmp_path / "unmounted")
    photos.mkdir()
    with opened(kept) as index:
        with pytest.raises(ValueError, match="has no photo any more, and the index knows 8 in it"):
            index.update(photos)
        assert len(index) == 8


def test_copies_that_are_gone_are_each_counted(kept, photos):
    shutil.copy2(photos / "0003.png", photos / "copy.png")
    with opened(kept) as index:
        index.update(photos)
        for name in ("0003.png", "copy.png"):
            (photos / name).unlink()
        assert sorted(names_of(index.update(photos).removed)) == ["0003.png", "copy.png"]
        assert (len(index), len(index.engine)) == (7, 7)


def names_of(paths):
    return [Path(path).name for path in paths]


def test_a_folder_that_moves_with_its_index_is_described_no_more(kept, photos, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.move(photos, elsewhere / "photos")
    shutil.move(kept, elsewhere / "photos.cmac")
    with opened(elsewhere / "photos.cmac") as index:
        report = index.update(elsewhere / "photos")
        assert (report.unchanged, report.n_described, report.removed) == (8, 0, [])
        result = index.search(elsewhere / "photos" / "0005.png", 1)[0]
        assert result.name == str(elsewhere / "photos" / "0005.png")


def test_names_are_those_of_the_place_that_it_is_asked_from(kept, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with opened("photos.cmac") as index:
        assert index.names[0] == os.path.join("photos", "0000.png")
        index.remove([os.path.join("photos", "0000.png"), str(photos / "0001.png")])
        assert len(index) == 6


def test_an_edit_that_leaves_size_and_time_is_noticed_while_the_clock_may_not_tell(path, photos):
    """An image of the same number of bytes, written within a tick of the clock."""
    fresh = photos / "0000.bmp"
    Image.fromarray(np.zeros((24, 32, 3), np.uint8)).save(fresh)
    with RetrievalIndex.create(path, make_light()) as index:
        index.update(photos)
        facts = fresh.stat()
        Image.fromarray(np.full((24, 32, 3), 99, np.uint8)).save(fresh)
        os.utime(fresh, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        assert (fresh.stat().st_size, fresh.stat().st_mtime_ns) == (
            facts.st_size, facts.st_mtime_ns
        )  # fmt: skip
        report = index.update(photos)
        assert names_of(report.changed) == ["0000.bmp"]


def test_photos_that_fail_are_kept_apart_with_their_reason(path, photos):
    (photos / "bad.jpg").write_text("no picture")
    (photos / "notes.txt").write_text("none either")
    with RetrievalIndex.create(path, make_light()) as index:
        report = index.update(photos)
        assert names_of(name for name, _ in report.failed) == ["bad.jpg"]
        assert report.skipped == {".txt": 1}
        assert "1 failed: 1 is no picture" in str(report)
        assert "left out" not in str(report)
        assert index.update(photos).n_described == 0
        ((name, reason),) = index.failed
        assert reason.startswith(f"{name}: is no picture")
        write_photos(photos, [9])
        (photos / "0009.png").replace(photos / "bad.jpg")
        assert names_of(index.update(photos).changed) == ["bad.jpg"]
        assert index.failed == []


def test_photos_elsewhere_stay_when_one_folder_is_updated(kept, photos, tmp_path):
    other = tmp_path / "other"
    write_photos(other, [20, 21])
    with opened(kept) as index:
        assert len(index.update(other).added) == 2
        (other / "0020.png").unlink()
        assert index.update(photos).removed == []
        assert names_of(index.update([photos, other]).removed) == ["0020.png"]
        assert len(index) == 9


def test_names_of_any_bytes_are_kept(path, photos):
    strange = [
        os.fsdecode(b"caf\xe9.png"),
        "a'b\"c.png",
        "line\nbreak.png",
        "🗼.png",
        "x" * 200 + ".png",
    ]
    for number, name in enumerate(strange, 30):
        write_photos(photos, [number])
        os.rename(photos / f"{number:04}.png", os.path.join(photos, name))
    with RetrievalIndex.create(path, make_light()) as index:
        index.update(photos)
    with opened(path) as index:
        assert {os.path.join(photos, name) for name in strange} <= set(index.names)
        for name in strange:
            place = os.path.join(photos, name)
            assert index.search(place, 1)[0].name == place
        index.remove([os.path.join(photos, strange[0])])


def test_photos_that_are_in_no_file_have_names(path, rng):
    pixels = rng.integers(0, 255, (2, 24, 32, 3), np.uint8)
    with RetrievalIndex.create(path, make_light()) as index:
        index.add([Photo(pixels[0], name="a"), Query(Photo(pixels[1], name="b"), (0, 0, 16, 12))])
        assert index.names == ["a", "b (0, 0, 16, 12)"]
    with opened(path) as index:
        assert index.search(pixels[0], 1)[0].name == "a"
        assert "a" in index
        assert "b" not in index


# -- what does not fit ------------------------------------------------------------------------


def test_another_pipeline_is_refused_and_what_differs_is_said(kept):
    assert len(opened(kept, pipeline=make_light())) == 8
    for pipeline in (make_light(negative=True), make_light(False, negative=True)):
        with pytest.raises(ValueError, match=r"described by another pipeline .*negative"):
            opened(kept, pipeline=pipeline)


def test_a_class_that_is_not_known_is_refused_by_name(kept, photos):
    with (
        RetrievalIndex.open(kept) as index,
        pytest.raises(ValueError, match=r"light\.Tiles.*trust"),
    ):
        index.search(photos / "0000.png")


def test_what_is_no_index_and_what_is_there_already_are_refused(kept, photos, tmp_path):
    with pytest.raises(FileNotFoundError, match="photos: is no index"):
        RetrievalIndex.open(photos)
    with pytest.raises(FileExistsError, match="is not empty"):
        RetrievalIndex.create(kept, make_light())
    with pytest.raises(FileExistsError, match="is not empty"):
        RetrievalIndex.create(photos, make_light())


def test_an_index_of_a_later_version_is_refused(kept):
    import sqlite3

    with sqlite3.connect(kept / "catalogue.sqlite") as database:
        database.execute("PRAGMA user_version = 7")
    database.close()
    with pytest.raises(ValueError, match=r"catalogue\.sqlite: has format 7.*reads format 1"):
        opened(kept)


def test_an_index_to_be_read_is_not_written(kept, photos):
    with (
        opened(kept, read_only=True) as index,
        pytest.raises(InUseError, match="opened to be read only"),
    ):
        index.remove([index.names[0]])


# -- files ------------------------------------------------------------------------------------


def test_files_have_the_usual_modes_and_nothing_is_left_behind(kept):
    mask = os.umask(0)
    os.umask(mask)
    files = sorted(kept.iterdir())
    assert {file.name for file in files} == {
        "catalogue.sqlite", "catalogue.checksum", "descriptors-1.f32", "vectors-1.f16",
        "weights-1.f32", "regions-1.bin", "pipeline.safetensors", "lock",
    }  # fmt: skip
    for file in files:
        assert file.stat().st_mode & 0o777 == 0o666 & ~mask, file.name


def test_opening_copies_nothing_and_adding_writes_one_row(kept, photos):
    write_photos(photos, [40])
    size = (kept / "descriptors-1.f32").stat().st_size
    with opened(kept) as index:
        index.add([photos / "0040.png"])
        assert (kept / "descriptors-1.f32").stat().st_size == size + size // 8


@pytest.mark.parametrize(
    "name",
    ["catalogue.sqlite", "catalogue.checksum", "descriptors-1.f32", "vectors-1.f16",
     "weights-1.f32", "regions-1.bin", "pipeline.safetensors"],
)  # fmt: skip
def test_a_flipped_bit_in_any_file_is_found_and_named(kept, tmp_path, name):
    content = (kept / name).read_bytes()
    for place in np.random.default_rng(0).integers(0, len(content), 12):
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(place % 8)
        (kept / name).write_bytes(damaged)
        assert any(name in sentence for sentence in damage(kept)), place
    (kept / name).write_bytes(content)
    assert damage(kept) == []


def damage(path):
    """What a check finds, or that the index cannot even be opened."""
    try:
        with opened(path, read_only=True) as index:
            return index.check()
    except (ValueError, OSError) as error:
        return [str(error)]


@pytest.mark.parametrize("name", ["descriptors-1.f32", "vectors-1.f16"])
def test_a_damaged_photo_is_named_counts_as_absent_and_is_described_again(kept, photos, name):
    content = bytearray((kept / name).read_bytes())
    content[3 * len(content) // 8 + 7] ^= 4  # of the fourth photo
    (kept / name).write_bytes(content)
    with opened(kept) as index:
        with pytest.warns(UserWarning, match=rf"{name}.*: .*0003\.png is damaged"):
            results = index.search(photos / "0003.png", 8)
        assert sorted(names(results)) == [f"000{i}.png" for i in (0, 1, 2, 4, 5, 6, 7)]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert len(index.search(photos / "0001.png", 8)) == 7
        assert any("0003.png" in sentence for sentence in index.check(repair=True))
        assert index.update(photos).n_described == 1
        assert index.search(photos / "0003.png", 1)[0].name == str(photos / "0003.png")
        index.compact()
        assert index.check() == []


def test_room_of_removed_photos_is_given_back(kept, photos):
    size = (kept / "descriptors-1.f32").stat().st_size
    with opened(kept) as index:
        expected = vectors(index)
        index.remove([str(photos / f"000{i}.png") for i in range(4)])
        assert index.compact() > 0
        assert (kept / "descriptors-2.f32").stat().st_size == size // 2
        assert not (kept / "descriptors-1.f32").exists()
        for name, row in vectors(index).items():
            np.testing.assert_array_equal(row, expected[name])
        assert names(index.search(photos / "0007.png", 1)) == ["0007.png"]
        assert index.check() == []


def test_it_is_known_where_region_vectors_are_from(kept, photos, tmp_path):
    pipeline = make_light().pipeline_
    (expected,) = pipeline[:2].transform([photos / "0005.png"])
    with opened(kept) as index:
        index.remove([str(photos / "0000.png")])
        index.compact()
        (found,) = index.regions(str(photos / "0005.png"))
        index.save(tmp_path / "copy.cmac")
    with opened(tmp_path / "copy.cmac") as copy:
        (copied,) = copy.regions(str(photos / "0005.png"))
    for regions in (found, copied):
        assert [r.tolist() for r in regions] == [r.tolist() for r in expected.regions]
        assert regions.shape == (6, 8)
        assert regions.kinds.tolist() == expected.regions.kinds.tolist()


def test_an_index_is_pickled_as_its_address(kept, photos):
    with opened(kept, pipeline=make_light()) as index:
        content = pickle.dumps(index)
        assert len(content) < 1000
    assert len(pickle.loads(content)) == 8


@pytest.mark.parametrize("table", ["csv", "parquet"])
def test_arrays_are_written_and_read(kept, photos, tmp_path, table):
    if table == "parquet":
        pytest.importorskip("pyarrow")
    shutil.copy2(photos / "0003.png", photos / "copy.png")
    with opened(kept) as index:
        index.update(photos)
        assert write_arrays(index, tmp_path / "arrays", table) == 9
        rows = np.load(tmp_path / "arrays" / "descriptors.npy")
        np.testing.assert_array_equal(rows, index.descriptors[:8])
        with read_arrays(tmp_path / "arrays", tmp_path / "photos2.cmac", trust=TRUST) as again:
            assert vectors(again).keys() == vectors(index).keys()
            assert again.search(photos / "0003.png", 9) == index.search(photos / "0003.png", 9)
    (tmp_path / "arrays" / "region_starts.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(ValueError, match=r"region_starts\.npy: is missing or damaged"):
        read_arrays(tmp_path / "arrays", tmp_path / "photos3.cmac", trust=TRUST)


# -- several processes ------------------------------------------------------------------------


def test_files_that_a_writer_removes_meanwhile_take_no_bytes(kept, monkeypatch):
    with opened(kept) as index:
        expected = index.info()["bytes"]
        listed, is_file = Path.iterdir, Path.is_file
        gone = index.path / "owner of before"
        monkeypatch.setattr(Path, "iterdir", lambda folder: [gone, *listed(folder)])
        monkeypatch.setattr(Path, "is_file", lambda file: file == gone or is_file(file))
        assert index.info()["bytes"] == expected > 0


def python(code, *arguments, **options):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])}
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.PIPE, text=True,
        env=environment, **options,
    )  # fmt: skip


def test_a_second_writer_is_told_who_writes_and_a_reader_sees_whole_photos(kept, photos):
    code = """
import sys
from light import TRUST
from sklearn_cmac.search import RetrievalIndex
path, *photos = sys.argv[1:]
with RetrievalIndex.open(path, trust=TRUST) as index:
    for photo in photos:
        index.add([photo])
        print(photo, flush=True)
    sys.stdin.read()
"""
    new = write_photos(photos, range(50, 60))
    with opened(kept, read_only=True) as reader:
        writer = python(code, kept, *new)
        for i, photo in enumerate(new, 1):
            assert writer.stdout.readline().strip() == str(photo), writer.stderr.read()
            assert len(reader) >= 8 + i
            assert reader.search(photo, 1)[0].name == str(photo)
        with (
            opened(kept, timeout=0.1) as second,
            pytest.raises(InUseError, match=rf"is being written by process {writer.pid} on"),
        ):
            second.remove([second.names[0]])
        writer.communicate("")
        assert writer.returncode == 0
    with opened(kept) as index:
        index.remove([index.names[0]])
        assert len(index) == 17


def test_a_search_is_kept_to_a_folder(kept, photos, tmp_path):
    other = tmp_path / "other"
    write_photos(other, [20, 21])
    shutil.copy2(photos / "0003.png", other / "copy.png")
    with opened(kept) as index:
        index.update(other)
        everywhere = index.search(photos / "0003.png", 11)
        found = index.search(photos / "0003.png", 11, below=other)
        assert found == [result for result in everywhere if Path(result.name).parent == other]
        assert sorted(names(found)) == ["0020.png", "0021.png", "copy.png"]
        assert names(index.search(photos / "0003.png", 1, below=other)) == ["copy.png"]
        with pytest.raises(ValueError, match="the index holds no photos below it"):
            index.search(photos / "0003.png", below=tmp_path / "nowhere")


def test_an_edited_photo_keeps_the_name_that_it_was_given(kept, photos):
    with opened(kept) as index:
        index.remove([str(photos / "0002.png")])
        index.add([Photo(photos / "0002.png", name="church")])
        write_photos(photos, [2], seed=1)
        report = index.update(photos)
        assert (report.changed, len(index)) == (["church"], 8)


def test_a_store_beside_the_index_moves_with_it(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with RetrievalIndex.create("photos.cmac", make_light(), store="vectors") as index:
        index.update("photos")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("photos", "photos.cmac", "vectors"):
        shutil.move(name, elsewhere)
    with opened(elsewhere / "photos.cmac") as index:
        assert names(index.search(elsewhere / "photos" / "0004.png", 1)) == ["0004.png"]


def test_a_catalogue_that_would_do_more_than_keep_is_refused(kept):
    import sqlite3

    with sqlite3.connect(kept / "catalogue.sqlite") as database:
        database.execute("CREATE TRIGGER t AFTER DELETE ON photos BEGIN DELETE FROM rows; END")
    database.close()
    with pytest.raises(ValueError, match=r"catalogue\.sqlite: is no catalogue"):
        opened(kept)


# -- an index from a stranger -------------------------------------------------------------------


def changed(kept, *commands):
    """The same index, as somebody made it who can compute checksums."""
    with closing(sqlite3.connect(kept / "catalogue.sqlite", isolation_level=None)) as catalogue:
        for command, *values in commands:
            catalogue.execute(command, values)
    (kept / "catalogue.checksum").unlink()


@pytest.mark.parametrize("kind", ["../outside/x", "/tmp/x", "*", "x/y", "", None, 7])
def test_a_kind_of_details_names_no_other_files(kept, tmp_path, kind):
    """To give room back is to write a file, and to remove others, whose names begin with it."""
    victim = tmp_path / "outside" / "x-1.bin"
    victim.parent.mkdir()
    victim.write_bytes(b"another's")
    changed(kept, ("UPDATE detail_files SET kind = ?", kind), ("UPDATE details SET kind = ?", kind))
    with opened(kept) as index, pytest.raises(DamageError, match=r"catalogue.sqlite: is damaged"):
        index.compact()
    assert victim.read_bytes() == b"another's"
    assert [path.name for path in victim.parent.iterdir()] == ["x-1.bin"]


@pytest.mark.parametrize("generation", ["1/../../outside/x", "x", -1, 1.5, None])
def test_a_generation_names_no_other_files(kept, generation):
    with closing(sqlite3.connect(kept / "catalogue.sqlite")) as catalogue:
        ((text,),) = catalogue.execute("SELECT content FROM state")
    text = json.dumps({**json.loads(text), "generation": generation})
    command = "UPDATE state SET content = ?, checksum = ?"
    changed(kept, (command, text, zlib.crc32(text.encode())))
    with pytest.raises(DamageError, match="its state is damaged"):
        opened(kept)


@pytest.mark.parametrize(
    "command",
    [
        "CREATE TRIGGER t AFTER INSERT ON photos BEGIN DELETE FROM photos; END",
        "CREATE VIEW v AS SELECT 1",
        "CREATE TABLE t (a, b GENERATED ALWAYS AS (hex(zeroblob(1000000000))))",
        "CREATE TABLE t (a CHECK (length(a) > 3))",
        "CREATE TABLE t (a DEFAULT (random()))",
        "CREATE INDEX i ON photos (hex(name))",
        "CREATE INDEX i ON photos (name) WHERE length(name) > 3",
        "CREATE VIRTUAL TABLE t USING fts5(a)",
    ],
)
def test_a_catalogue_that_computes_is_refused(kept, command):
    changed(kept, (command,))
    for read_only in (True, False):
        with pytest.raises(DamageError, match="catalogue.sqlite: is no catalogue"):
            opened(kept, read_only=read_only)


def test_rows_that_lead_back_to_themselves_are_an_error(tmp_path):
    """Pages of a table that list each other: a billion rows in a few thousand bytes."""
    file = tmp_path / "catalogue.sqlite"
    with closing(sqlite3.connect(file, isolation_level=None)) as made:
        made.execute("PRAGMA page_size = 512")
        made.execute("CREATE TABLE dead (row INTEGER PRIMARY KEY)")
        made.execute("BEGIN")
        made.executemany("INSERT INTO dead VALUES (?)", [(i,) for i in range(60_000)])
        made.execute("COMMIT")
    content = bytearray(file.read_bytes())
    # Each of the tree's inner pages lists but the first of its children, as often as it has any.
    for start in range(512, len(content), 512):
        page = content[start : start + 512]
        if page[0] == 5:
            n = int.from_bytes(page[3:5], "big")
            cells = [int.from_bytes(page[12 + 2 * i : 14 + 2 * i], "big") for i in range(n)]
            for cell in cells:
                content[start + cell : start + cell + 4] = page[cells[0] : cells[0] + 4]
    file.write_bytes(content)
    database = Database(file, read_only=True)
    for _ in range(2):
        with suppress(DamageError):
            assert len(database.all("SELECT row FROM dead")) <= len(content)
    database.close()


def test_names_of_an_import_are_looked_at_as_photos_alone(kept, tmp_path):
    """An exported table may name any file; nothing but a picture comes out of it."""
    secret = tmp_path / "secret.txt"
    secret.write_text("a password")
    with opened(kept) as index:
        write_arrays(index, tmp_path / "arrays")
        name = index.names[0]
    table = tmp_path / "arrays" / "photos.csv"
    table.write_text(table.read_text().replace(name, str(secret)))
    with read_arrays(tmp_path / "arrays", tmp_path / "new.cmac", trust=TRUST) as index:
        assert str(secret) in index.names
        with pytest.raises(PhotoError, match="secret.txt"):
            draw_box(Photo(str(secret)))
