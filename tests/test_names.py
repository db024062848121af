"""Names of files as they come: any bytes, in whatever is printed, written and read again."""

import csv
import html
import io
import json
import os
import re
import shutil
import sys
from urllib.parse import unquote_to_bytes

import pytest
from light import make_light, write_photos

from sklearn_cmac._printing import print_json, print_lines, printable
from sklearn_cmac.cli import main
from sklearn_cmac.search import RetrievalIndex, write_arrays

pytestmark = pytest.mark.filterwarnings("ignore:whitening")

# What is shown of each, by hand.
SHOWN = {
    b"caf\xe9.png": r"caf\udce9.png",
    b"two\nlines.png": r"two\nlines.png",
    b"tab\tcr\r.png": r"tab\tcr\r.png",
    b"\x1b[2Jclear.png": r"\x1b[2Jclear.png",
    b"\x1b]0;title\x07.png": r"\x1b]0;title\x07.png",
    "\x9b31mred.png".encode(): r"\x9b31mred.png",
    b"del\x7f.png": r"del\x7f.png",
    "\u202egnp.exe.png".encode(): r"\u202egnp.exe.png",
    "line\u2028separator.png".encode(): r"line\u2028separator.png",
    "日本 👩\u200d👧.png".encode(): "日本 👩\u200d👧.png",
    "e\u0301.png".encode(): "e\u0301.png",
    "\u00e9.png".encode(): "\u00e9.png",
    b"-rf.png": "-rf.png",
    b"--json.png": "--json.png",
    b"<b>&amp;\"'.png": "<b>&amp;\"'.png",
    b"a,b;c.png": "a,b;c.png",
    b"{{ 7 * 7 }}%s.png": "{{ 7 * 7 }}%s.png",
    b"x" * 251 + b".png": "x" * 251 + ".png",
}
ENCODINGS = ["utf-8", "ascii", "cp1252", "latin-1"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder of photos of these names, and its index."""
    place = tmp_path_factory.mktemp("named")
    for photo, name in zip(write_photos(place / "photos", range(len(SHOWN))), SHOWN):
        try:
            os.rename(photo, os.path.join(os.fsencode(place / "photos"), name))
        except OSError:
            pytest.skip(f"this file system has no name {name!r}")
    if len(os.listdir(place / "photos")) < len(SHOWN):
        pytest.skip("this file system takes some of these names for one")
    (place / "photos" / os.fsdecode(b"broken\n\xe9.png")).write_text("no photo")
    how = "--system", "mac", "--layer", "blocks.4", "--max-size", "64"
    assert run("index", place / "photos", *how) == 0
    return place


@pytest.fixture
def named(place):
    """The names in the index."""
    return [os.path.join(place, "photos", os.fsdecode(name)) for name in SHOWN]


@pytest.fixture
def terminal(monkeypatch):
    """Standard output in an encoding, strict as it is where it is redirected."""

    def of(encoding):
        stream = io.TextIOWrapper(io.BytesIO(), encoding, "strict", newline="")
        monkeypatch.setattr(sys, "stdout", stream)
        return stream

    return of


def run(*arguments):
    return main([str(argument) for argument in arguments])


def said(stream):
    """The lines that were printed, none of which steers a terminal."""
    stream.flush()
    *lines, rest = stream.buffer.getvalue().decode(stream.encoding).split("\n")
    assert rest == ""
    assert all(line.replace("\u200d", "").isprintable() for line in lines)
    return lines


@pytest.mark.parametrize(("name", "shown"), SHOWN.items())
def test_a_name_is_shown_in_one_line_that_steers_no_terminal(name, shown):
    assert printable(os.fsdecode(name)) == shown


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_line_stays_one_line_on_any_terminal(encoding, terminal):
    stream = terminal(encoding)
    print_lines(*map(os.fsdecode, SHOWN))
    assert len(said(stream)) == len(SHOWN)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_names_come_back_from_json_as_they_are(encoding, terminal):
    stream = terminal(encoding)
    print_json([os.fsdecode(name) for name in SHOWN])
    (line,) = said(stream)
    assert [os.fsencode(name) for name in json.loads(line)] == list(SHOWN)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_search_prints_one_line_for_each_photo(encoding, place, named, terminal):
    asked = "search", place / "photos.cmac", named[0], "-n", len(named), "--rerank", "none"
    stream = terminal(encoding)
    assert run(*asked) == 0
    lines = said(stream)
    assert [int(line[:3]) for line in lines] == list(range(1, len(named) + 1))
    assert lines[0].endswith(r"caf\udce9.png")
    stream = terminal(encoding)
    assert run(*asked, "--json") == 0
    (line,) = said(stream)
    assert {row["name"] for row in json.loads(line)} == set(named)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_an_index_says_of_photos_is_printed(encoding, place, terminal, capfd):
    stream = terminal(encoding)
    for asked in (["info"], ["info", "--json"], ["check"], ["check", "--json"]):
        assert run(*asked, place / "photos.cmac") == 0
    assert run("index", place / "photos", "--list-failed") == 0
    assert run("index", place / "photos", "--json") == 0
    *_, failed, told = said(stream)
    assert r"broken\n\udce9.png: is not an image" in failed
    ((name, _),) = json.loads(told)["failed"]
    assert os.path.basename(name) == os.fsdecode(b"broken\n\xe9.png")
    for line in capfd.readouterr().err.splitlines():
        assert line.isprintable()


def test_a_page_shows_names_as_text(place, named, capsys):
    page = place / os.fsdecode(b"caf\xe9\n.html")
    asked = "search", place / "photos.cmac", named[0], "-n", len(named), "--rerank", "none"
    assert run(*asked, "--html", page) == 0
    assert r"caf\udce9\n.html" in capsys.readouterr().err
    content = page.read_bytes().decode()
    assert content.replace("\u200d", "").replace("\n", "").isprintable()
    links = re.findall('<a href="file:([^"]*)">(.*?)</a>', content)
    assert {html.unescape(text) for _, text in links} == set(SHOWN.values())
    assert {os.fsdecode(unquote_to_bytes(link)).rpartition("/")[2] for link, _ in links} == {
        os.fsdecode(name) for name in SHOWN
    }
    assert "<b>" not in content
    page.unlink()


@pytest.mark.parametrize("table", ["csv", "parquet"])
def test_names_come_back_from_an_export(table, place, named, tmp_path):
    if table == "parquet":
        pytest.importorskip("pyarrow")
    assert run("export", place / "photos.cmac", tmp_path / "arrays", "--table", table) == 0
    assert run("import", tmp_path / "arrays", tmp_path / "again.cmac") == 0
    with RetrievalIndex.open(tmp_path / "again.cmac") as again:
        assert set(again.names) == set(named)
        assert again.search(named[0], 1)[0].name == named[0]


def test_a_table_of_text_names_in_parquet_is_text(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    write_photos(tmp_path / "photos", [0])
    with RetrievalIndex.create(tmp_path / "x.cmac", make_light()) as index:
        index.update(tmp_path / "photos")
        write_arrays(index, tmp_path / "arrays", "parquet")
    (name,) = pandas.read_parquet(tmp_path / "arrays" / "photos.parquet")["name"]
    assert name == str(tmp_path / "photos" / "0000.png")


def test_photos_are_found_again_and_removed_by_their_names(place, named, tmp_path, capsys):
    shutil.copytree(place, tmp_path / "place")
    index = tmp_path / "place" / "photos.cmac"
    named = [name.replace(str(place), str(tmp_path / "place")) for name in named]
    capsys.readouterr()
    assert run("index", tmp_path / "place" / "photos", "--json") == 0
    assert json.loads(capsys.readouterr().out)["unchanged"] == len(named)
    assert run("remove", index, *named[:-1]) == 0
    with RetrievalIndex.open(index) as opened:
        assert opened.names == [named[-1]]


def test_an_evaluation_of_such_photos_is_written(place, tmp_path, terminal):
    folder = tmp_path / os.fsdecode(b"caf\xe9\n")
    for name in ("a", "b"):
        shutil.copytree(place / "photos", folder / name, ignore=lambda *_: ["broken\n\udce9.png"])
    stream = terminal("ascii")
    how = "--system", "mac", "--layer", "blocks.4", "--max-size", "64", "--queries", "all"
    assert run("evaluate", "folder", "--photos", folder, *how, "--out", tmp_path / "out") == 0
    assert any(r"instances in" in line and r"caf\udce9\n" in line for line in said(stream))
    with open(
        tmp_path / "out" / "per_query.csv", newline="", encoding="utf-8", errors="surrogateescape"
    ) as file:
        _, *rows = csv.reader(file)
    names = [row[0].split(": ", 1)[1] for row in rows]
    assert {os.path.basename(name) for name in names} == set(map(os.fsdecode, SHOWN))


def test_a_folder_that_is_given_for_photos_is_told_how_to_be_searched(tmp_path):
    index = RetrievalIndex(make_light())
    for folder in (tmp_path, str(tmp_path)):
        with pytest.raises(ValueError, match=rf"photos of a folder are find_photos\('{tmp_path}'"):
            index.add(folder)
    with pytest.raises(ValueError, match="put a single photo into a list"):
        index.add("photo.jpg")


def test_a_generator_of_photos_is_taken(tmp_path):
    paths = write_photos(tmp_path / "photos", range(3))
    index = RetrievalIndex(make_light())
    index.add(path for path in paths)
    assert index.names == [str(path) for path in paths]
    with open(paths[0], "rb") as file, pytest.raises(ValueError, match="into a list"):
        index.add(file)
