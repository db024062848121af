"""Folders as people have them: linked, broken, with what is no photo among the photos."""

import os
import shutil

import pytest
from light import make_light, write_photos
from PIL import Image
from test_files import special_file

from sklearn_cmac import Photo, PhotoError, formats
from sklearn_cmac.datasets import find_photos, left_out, load_photo_folder, walk_photos
from sklearn_cmac.photos import MOST_BYTES, read_source
from sklearn_cmac.search import RetrievalIndex

KINDS = ["named pipe", "device", "socket"]


def photo_at(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30)).save(path)
    return path


def link(path, target):
    try:
        path.symlink_to(target)
    except (OSError, NotImplementedError):
        pytest.skip("this system makes no links")


def found_in(*folders, below):
    return [os.path.relpath(path, below) for path in walk_photos(folders).paths]


# -- links ------------------------------------------------------------------------------------


def test_linked_folders_are_searched(tmp_path):
    photo_at(tmp_path / "elsewhere" / "inner" / "b.jpg")
    photo_at(tmp_path / "album" / "a.jpg")
    link(tmp_path / "album" / "linked", tmp_path / "elsewhere")
    found = [str(path.relative_to(tmp_path / "album")) for path in find_photos(tmp_path / "album")]
    assert found == ["a.jpg", "linked/inner/b.jpg"]


def test_links_in_a_circle_end_and_no_photo_counts_twice(tmp_path):
    photo_at(tmp_path / "a" / "deep" / "photo.jpg")
    link(tmp_path / "a" / "deep" / "up", tmp_path / "a")
    link(tmp_path / "a" / "self", ".")
    link(tmp_path / "a" / "round", "round")
    found = walk_photos([tmp_path / "a"])
    assert found.paths == [str(tmp_path / "a" / "deep" / "photo.jpg")]
    ((path, reason),) = found.unreadable
    assert path == str(tmp_path / "a" / "round")
    assert "cannot be read" in reason


@pytest.mark.parametrize("name", ["aa", "zz"])
def test_the_real_path_of_a_photo_counts_before_one_through_a_link(name, tmp_path):
    photo_at(tmp_path / "m" / "x" / "photo.jpg")
    link(tmp_path / name, tmp_path / "m" / "x")
    assert found_in(tmp_path, below=tmp_path) == ["m/x/photo.jpg"]


def test_of_two_links_to_a_folder_the_first_by_name_counts(tmp_path):
    photo_at(tmp_path / "elsewhere" / "inner" / "photo.jpg")
    for name in ("b", "a"):
        (tmp_path / "album").mkdir(exist_ok=True)
        link(tmp_path / "album" / name, tmp_path / "elsewhere")
    link(tmp_path / "album" / "c", tmp_path / "elsewhere" / "inner")
    assert found_in(tmp_path / "album", below=tmp_path / "album") == ["a/inner/photo.jpg"]


def test_folders_that_are_named_twice_or_within_each_other_are_searched_once(tmp_path):
    photo_at(tmp_path / "a" / "b" / "photo.jpg")
    link(tmp_path / "linked", tmp_path / "a")
    a = tmp_path / "a"
    for folders in ([a, a], [a, a / "b"], [a / "b", a], [tmp_path / "linked", a]):
        assert found_in(*folders, below=a) == ["b/photo.jpg"]


def test_folders_without_numbers_are_told_apart_by_their_real_paths(tmp_path, monkeypatch):
    """Some network stores give every folder the number 0."""
    photo_at(tmp_path / "a" / "photo.jpg")
    photo_at(tmp_path / "b" / "photo.jpg")
    link(tmp_path / "c", tmp_path / "b")
    stat = os.stat

    def without_number(path, **how):
        found = list(stat(path, **how))
        found[1] = 0
        return os.stat_result(found)

    monkeypatch.setattr(os, "stat", without_number)
    assert found_in(tmp_path, below=tmp_path) == ["a/photo.jpg", "b/photo.jpg"]


def test_a_linked_folder_is_a_label_as_a_real_one_is(tmp_path):
    photo_at(tmp_path / "elsewhere" / "b.jpg")
    photo_at(tmp_path / "album" / "tower" / "a.jpg")
    link(tmp_path / "album" / "bridge", tmp_path / "elsewhere")
    assert load_photo_folder(tmp_path / "album").target == ["bridge", "tower"]


# -- what is no photo -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_counted_and_not_listed(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photo_at(tmp_path / "a.jpg")
    special_file(tmp_path / "b.jpg", kind)
    found = walk_photos([tmp_path])
    assert [os.path.basename(path) for path in found.paths] == ["a.jpg"]
    assert found.skipped == {kind: 1}
    assert found.left_out() == [f"1 file was left out, which cannot be photos ({kind} 1)"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_refused_at_once_when_it_is_named(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photo = Photo(special_file(tmp_path / "b.jpg", kind), name="mine")
    with pytest.raises(PhotoError, match=rf"mine: cannot be read \(is a {kind}, expected a"):
        read_source(photo)


def test_files_larger_than_any_photo_are_counted_and_refused(tmp_path):
    photo_at(tmp_path / "a.jpg")
    for name in ("b.jpg", "c.txt"):
        (tmp_path / name).touch()
        os.truncate(tmp_path / name, MOST_BYTES + 1)
    found = walk_photos([tmp_path])
    assert [os.path.basename(path) for path in found.paths] == ["a.jpg"]
    assert found.left_out() == ["1 file was left out, which cannot be photos (above 512 MB 1)"]
    with pytest.raises(PhotoError, match=r"b.jpg: cannot be read \(has 536,870,913 bytes, at most"):
        read_source(Photo(tmp_path / "b.jpg"))


def test_files_that_lie_beside_photos_are_not_told_and_all_others_are(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "has_heif", lambda: False)
    photo_at(tmp_path / "a.jpg")
    for name in ("a.xmp", "a.jpg.json", "list.CSV", "Thumbs.db", "film.MP4", "notes.txt"):
        (tmp_path / name).touch()
    assert sum(walk_photos([tmp_path]).skipped.values()) == 6
    assert walk_photos([tmp_path]).left_out() == []
    for name in ("b.HEIC", "c.heif", "d.cr3", "e", "f.jpg~", "g.\x1b[2J", ".hidden.heic"):
        (tmp_path / name).touch()
    (line,) = walk_photos([tmp_path]).left_out()
    assert line == (
        "6 files were left out, whose format cannot be read (.\\x1b[2j 1, .cr3 1, .heic 1, "
        ".heif 1, .jpg~ 1, no ending 1); to read .heic and .heif: pip install sklearn-cmac[heic]"
    )


def test_an_index_and_its_maps_among_the_photos_are_not_searched(tmp_path):
    photo_at(tmp_path / "a.jpg")
    for name in ("x.cmac", "x.cmac.maps"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "b.dir").touch()
    assert not walk_photos([tmp_path]).skipped


# -- what cannot be looked at -----------------------------------------------------------------


def refuse(monkeypatch, *folders):
    """As where the system forbids it, which it does not to everybody who runs tests."""
    scandir = os.scandir

    def forbidden(path):
        if os.fspath(path) in map(str, folders):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbidden)


def test_folders_that_cannot_be_searched_are_named(tmp_path, monkeypatch):
    photo_at(tmp_path / "a.jpg")
    secret = photo_at(tmp_path / "secret" / "b.jpg").parent
    refuse(monkeypatch, secret)
    with pytest.warns(UserWarning, match=rf"{secret}: cannot be searched \(Permission denied\)"):
        assert [path.name for path in find_photos(tmp_path)] == ["a.jpg"]
    with pytest.raises(PhotoError, match=rf"{secret}: cannot be searched \(Permission denied\)"):
        find_photos(secret)


def test_broken_links_are_named(tmp_path):
    photo_at(tmp_path / "a.jpg")
    link(tmp_path / "album", tmp_path / "not mounted")
    assert walk_photos([tmp_path]).left_out() == [f"{tmp_path / 'album'}: is a broken link"]


def test_of_many_that_cannot_be_read_the_first_are_named_and_the_others_counted():
    assert left_out({}, [(f"{i}\n", "is a broken link") for i in range(7)]) == [
        *(rf"{i}\n: is a broken link" for i in range(5)), "2 more cannot be read"
    ]  # fmt: skip


def test_an_index_keeps_photos_of_folders_that_cannot_be_searched_now(tmp_path, monkeypatch):
    place = tmp_path / "photos"
    write_photos(place, [0])
    write_photos(place / "secret", [1])
    write_photos(tmp_path / "disk", [2])
    link(place / "linked", tmp_path / "disk")
    with RetrievalIndex.create(tmp_path / "x.cmac", make_light().pipeline_) as index:
        assert len(index.update(place).added) == 3
        names = index.names
        (tmp_path / "disk").rename(tmp_path / "not mounted")
        refuse(monkeypatch, place / "secret")
        report = index.update(place)
        assert report.unchanged == 1
        assert not report.removed
        assert index.names == names
        assert report.unreadable == [
            (str(place / "linked"), "is a broken link"),
            (str(place / "secret"), "cannot be searched (Permission denied)"),
        ]
        assert f"{place / 'secret'}: cannot be searched" in str(report)
        monkeypatch.undo()
        shutil.rmtree(place / "secret")
        (place / "linked").unlink()
        assert len(index.update(place).removed) == 2


def test_photos_of_a_linked_folder_may_be_named_by_their_real_path_later(tmp_path):
    write_photos(tmp_path / "disk", [0, 1])
    (tmp_path / "album").mkdir()
    link(tmp_path / "album" / "linked", tmp_path / "disk")
    with RetrievalIndex.create(tmp_path / "x.cmac", make_light().pipeline_) as index:
        index.update(tmp_path / "album")
        report = index.update([tmp_path / "album", tmp_path / "disk"])
        assert len(report.moved) == 2
        assert report.n_described == 0
        assert index.names == [str(path) for path in find_photos(tmp_path / "disk")]
