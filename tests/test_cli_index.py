"""Indexes on the command line: made, kept true, looked into, damaged, exchanged."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from sklearn_cmac import ConvFeatureExtractor, formats
from sklearn_cmac.cli import main
from sklearn_cmac.networks import _detectors as detectors
from sklearn_cmac.search import RetrievalIndex

pytestmark = pytest.mark.filterwarnings("ignore:whitening")

# A network that is cut early, and small photos: a tenth of the time.
QUICK = "--layer", "blocks.4", "--max-size", "96", "--system", "rmac"


def run(*arguments):
    return main([str(argument) for argument in arguments])


def complaint(capsys):
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("cmac:")]
    return line


@pytest.fixture(scope="module")
def made(folder, tmp_path_factory):
    """Ten photos and what is no photo, and their index."""
    place = tmp_path_factory.mktemp("made")
    (place / "photos").mkdir()
    for photo in sorted((folder / "photos").iterdir())[:10]:
        shutil.copy2(photo, place / "photos")
        os.utime(place / "photos" / photo.name, (1e9, 1e9))
    (place / "photos" / "broken.jpg").write_text("no photo")
    (place / "photos" / "notes.txt").write_text("no photo either")
    assert run("index", place / "photos", *QUICK) == 0
    return place


@pytest.fixture
def place(made, tmp_path):
    """A copy of them, to be changed."""
    shutil.copytree(made / "photos", tmp_path / "photos")
    shutil.copytree(made / "photos.cmac", tmp_path / "photos.cmac")
    return tmp_path


@pytest.fixture
def no_network(monkeypatch):
    def describe(self, X):
        raise AssertionError("a photo is described")

    monkeypatch.setattr(ConvFeatureExtractor, "iter_transform", describe)


def test_an_index_is_made_once_and_each_change_is_told(place, capsys):
    photos = place / "photos"
    assert run("index", photos) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{place / 'photos.cmac'}: 10 photos; 10 unchanged; 0 described")
    assert "1 failed: 1 is not an image" in out
    first, second, third, fourth, *_ = sorted(photos.glob("*.png"))
    first.rename(photos / "renamed.png")
    shutil.copy(second, photos / "copy.png")
    third.unlink()
    fourth.write_bytes(second.read_bytes()[:500])
    assert run("index", photos, "--list-failed") == 0
    out = capsys.readouterr().out
    assert "1 moved, 1 copied, 1 removed, 7 unchanged; 0 described" in out
    assert re.search(rf"^  {fourth}: ", out, re.MULTILINE)
    assert run("index", photos, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["photos"], told["unchanged"], told["n_described"]) == (9, 9, 0)
    assert sorted(Path(name).name for name, _ in told["failed"]) == ["broken.jpg", fourth.name]


def test_what_is_left_out_is_told_once_and_on_standard_error(place, capsys, monkeypatch):
    monkeypatch.setattr(formats, "has_heif", lambda: False)
    photos = place / "photos"
    for name in ("a.HEIC", "b.heic", "c.heic"):
        (photos / name).touch()
    (place / "album").symlink_to(photos)
    told = (
        "3 files were left out, whose format cannot be read (.heic 3); to read .heic: pip install "
        "sklearn-cmac[heic]"
    )
    query = min(photos.glob("*.png"))
    for asked in (
        ["index", photos],
        ["index", photos, "--json"],
        ["search", photos, query],
        ["search", place / "album", query, "--system", "mac"],  # a new index
        ["fit", photos, "--out", place / "fitted.safetensors", *QUICK],
    ):
        assert run(*asked) == 0
        out, err = capsys.readouterr()
        assert err.splitlines().count(told) == 1
        assert "left out" not in out


def test_a_folder_whose_disk_is_not_mounted_is_told_from_one_without_photos(place, capsys):
    photo = shutil.copy2(min((place / "photos").glob("*.png")), place / "asked.png")
    shutil.rmtree(place / "photos")
    (place / "photos").mkdir()
    assert run("search", place / "photos", photo) == 2
    assert "the index knows 11 in it" in complaint(capsys)
    (place / "photos" / "a.cr3").touch()
    assert run("search", place / "photos", photo, "--index", place / "new.cmac") == 2
    assert re.search(r"has no image file.*; 1 file was left out.*\.cr3 1", complaint(capsys))


def test_a_search_of_the_index_is_one_of_the_folder(place, capsys):
    query = sorted((place / "photos").glob("*.png"))[2]
    assert run("search", place / "photos", query, "-n", 3) == 0
    rows = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["1", "1.000", str(query)]
    assert run("search", place / "photos.cmac", query, "-n", 3, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in found] == [name for _, _, name in rows]
    assert found[0].pop("verified") is not False  # None where no local features can be found
    assert found[0] == {"rank": 1, "score": pytest.approx(1, abs=1e-3), "name": str(query)}


def test_photos_that_are_gone_stop_no_search_and_no_page(place, capsys):
    query, gone = sorted((place / "photos").glob("*.png"))[:2]
    gone.unlink()
    page = place / "page.html"
    asked = "search", place / "photos.cmac", query, "-n", 10, "--html", page
    with pytest.warns(UserWarning, match=rf"{gone.name}: is not there any more.*keeps its rank"):
        assert run(*asked, "--rerank", "localization") == 0
    out, err = capsys.readouterr()
    assert str(gone) in out
    assert f"{gone}: is not there any more" in err
    assert page.read_text().count("<img") == 1 + 9  # the query and the others


def test_what_an_index_holds_is_said(place, capsys):
    assert run("info", place / "photos.cmac") == 0
    assert re.search(r"^photos +10$", capsys.readouterr().out, re.MULTILINE)
    assert run("info", place / "photos.cmac", "--json") == 0
    about = json.loads(capsys.readouterr().out)
    assert (about["photos"], about["failed"], about["system"]) == (10, 1, "rmac")
    assert about["whitening"].startswith("own, fitted on 10 photos")


def test_damage_is_found_named_and_repaired(place, capsys):
    index = place / "photos.cmac"
    assert run("check", index) == 0
    assert capsys.readouterr().out == f"{index}: 10 photos, whole\n"
    file = index / "descriptors-1.f32"
    content = bytearray(file.read_bytes())
    content[1] ^= 64
    file.write_bytes(content)
    assert run("check", index, "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert len(told["damage"]) == 1
    assert str(file) in told["damage"][0]
    assert run("check", index, "--repair") == 1
    capsys.readouterr()
    assert run("index", place / "photos") == 0
    assert "1 described" in capsys.readouterr().out
    assert run("check", index) == 0


def test_a_catalogue_that_cannot_be_read_is_damage_too(place, capsys):
    file = place / "photos.cmac" / "catalogue.sqlite"
    file.write_bytes(b"x" * 8192)
    assert run("check", place / "photos.cmac") == 1
    assert f"{file}: is damaged" in capsys.readouterr().out
    query = sorted((place / "photos").glob("*.png"))[0]
    assert run("search", place / "photos.cmac", query) == 2
    assert f"{file}: is damaged" in complaint(capsys)


def test_photos_are_removed_and_room_is_given_back(place, capsys, no_network):
    index = place / "photos.cmac"
    photo = sorted((place / "photos").glob("*.png"))[0]
    assert run("remove", index, photo) == 0
    assert capsys.readouterr().out == f"{index}: 1 removed, 9 photos\n"
    assert run("remove", index, photo) == 2
    assert "1 photos are not in the index" in complaint(capsys)
    assert run("compact", index) == 0
    assert re.fullmatch(rf"{index}: \d+\.\d MB less\n", capsys.readouterr().out)
    assert run("check", index) == 0


def test_an_index_is_exported_and_imported(place, capsys):
    index, query = place / "photos.cmac", sorted((place / "photos").glob("*.png"))[0]
    assert run("export", index, place / "arrays") == 0
    assert run("import", place / "arrays", place / "again.cmac") == 0
    assert run("export", index, place / "other.cmac", "--vectors", place / "vectors") == 0
    capsys.readouterr()
    answers = []
    for each in (index, place / "again.cmac", place / "other.cmac"):
        assert run("search", each, query) == 0
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1] == answers[2]
    assert (place / "vectors" / "descriptors-1.f32").exists()
    assert not (place / "other.cmac" / "descriptors-1.f32").exists()
    assert run("export", index, place / "arrays") == 2
    assert "is not empty" in complaint(capsys)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["index", "nowhere"], "nowhere: is not a folder"),
        (["index", "photos", "--system", "mac"], "--system would make it anew; name another with"),
        (["index", "photos", "--vectors", "redis:x", "--index", "x.cmac"], "'redis' is none of"),
        (["index", "empty"], "empty: has no image file"),
        (
            ["search", "photos", "photos/object-00-scene-0.png", "--system", "mac"],
            "system rmac, not",
        ),
        (["check", "photos"], "photos: is no index"),
        (["info", "nowhere"], "'nowhere' does not exist"),
        (["import", "photos", "x.cmac"], "export.json: is missing"),
        (["search", "photos", "photos/broken.jpg"], "broken.jpg: is not an image"),
        (["index", "photos", "--pipeline", "photos/notes.txt", "--index", "x.cmac"], "notes.txt: "),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(place, arguments, reason, capsys, monkeypatch):
    monkeypatch.chdir(place)
    (place / "empty").mkdir()
    before = (place / "photos.cmac" / "catalogue.sqlite").read_bytes()
    assert run(*arguments) == 2
    assert reason in complaint(capsys)
    assert not (place / "x.cmac").exists()
    assert (place / "photos.cmac" / "catalogue.sqlite").read_bytes() == before


def test_a_shell_is_told_how_to_complete(capsys):
    assert run("completion", "bash") == 0
    assert "_CMAC_COMPLETE=bash_complete" in capsys.readouterr().out


def test_an_index_without_local_features_gets_them_and_verifies_by_them(
    place, tmp_path, monkeypatch, capsys
):
    pytest.importorskip("kornia", reason="kornia is not installed: no learned features")
    photos, bare = place / "photos", tmp_path / "bare.cmac"
    assert run("index", photos, "--index", bare, *QUICK, "--features", "none") == 0
    with RetrievalIndex.open(bare) as index:
        assert [name for name, _ in index.pipeline.steps] == ["match", "neighbors"]
        assert index.extractors == []
    assert run("index", photos, "--index", bare, "--features", "xfeat") == 0
    with RetrievalIndex.open(bare) as index:
        assert [name for name, _ in index.pipeline.steps] == ["match", "expand"]
        assert index.info()["system"] == "rmac"
        (result,) = index.search(index.names[0], 1)
        assert result.name == index.names[0]
        assert result.probability > 0.9
    query = next(photos.glob("*.png"))
    # Where nothing can verify, what needs none of that works.
    monkeypatch.setattr(detectors, "kornia_version", lambda: ())
    assert run("search", bare, query) == 2
    assert "pip install 'sklearn-cmac[verify]'" in complaint(capsys)
    assert run("search", bare, query, "--fast") == 0
    assert run("search", bare, query, "--rerank", "matching") == 0
    assert run("index", photos, "--index", bare, "--features", "none") == 0
