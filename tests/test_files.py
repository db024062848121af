"""The door for files that others name."""

import errno
import os
import pickle
import signal
import socket
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest
from light import TRUST, make_light, write_photos

from sklearn_cmac import _files
from sklearn_cmac._files import FileError, check_regular, open_regular, read_whole
from sklearn_cmac.cli import main
from sklearn_cmac.search import RetrievalIndex

READERS = {"look": check_regular, "open": open_regular, "read": lambda path: read_whole(path, 9)}


def special_file(path: Path, kind: str) -> Path:
    """A file that is no regular one, or a skip."""
    if kind == "folder":
        path.mkdir()
    elif not hasattr(os, "mkfifo"):
        pytest.skip("this system has no such files")
    elif kind == "named pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(os.path.relpath(path))  # such names are short
    return path


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize("kind", ["folder", "named pipe", "device", "socket"])
def test_what_is_no_regular_file_is_refused_at_once_and_named(read, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = special_file(tmp_path / "photo.jpg", kind)
    with pytest.raises(FileError) as caught:
        read(path)
    assert caught.value.strerror == f"is a {kind}, expected a regular file"
    assert str(caught.value) == f"{path}: is a {kind}, expected a regular file"


def test_what_takes_the_place_of_a_file_before_it_is_opened_is_refused(tmp_path, monkeypatch):
    path = special_file(tmp_path / "photo.jpg", "named pipe")
    regular, closed, close = os.stat(__file__), [], os.close
    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", lambda *_, **__: regular)
        patch.setattr(os, "close", lambda handle: closed.append(close(handle)))
        with pytest.raises(FileError, match="named pipe"):
            open_regular(path)
    assert closed == [None]  # no handle is left open


def test_a_file_is_read_up_to_its_limit(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"0123456789")
    assert read_whole(path, 10) == b"0123456789"
    with pytest.raises(FileError, match="has 10 bytes, at most 9 are read"):
        read_whole(path, 9)


def test_an_absurd_size_is_refused_before_a_byte_is_read(tmp_path):
    path = tmp_path / "photo.jpg"
    path.touch()
    os.truncate(path, 2**40)
    with pytest.raises(FileError, match="has 1,099,511,627,776 bytes"):
        read_whole(path, 2**20)


def test_a_file_that_has_more_than_it_claims_is_read_whole_or_refused(tmp_path, monkeypatch):
    path = tmp_path / "photo.jpg"
    path.write_bytes(bytes(3_000_000))
    claim = SimpleNamespace(st_mode=stat.S_IFREG, st_size=10)
    monkeypatch.setattr(_files.os, "fstat", lambda _: claim)
    assert len(read_whole(path, 3_000_000)) == 3_000_000
    with pytest.raises(FileError, match="goes on behind 2,999,999 bytes"):
        read_whole(path, 2_999_999)


@pytest.mark.parametrize("path", ["a\0b", "\ud800"])
def test_what_is_no_path_is_refused_by_name(path):
    with pytest.raises(FileError, match="is no path"):
        read_whole(path, 100)


def test_an_error_survives_the_way_from_another_process():
    error = pickle.loads(pickle.dumps(FileError(errno.EINVAL, "is a folder", "x")))
    assert str(error) == "x: is a folder"
    assert error.errno == errno.EINVAL


# -- wherever a file is named -----------------------------------------------------------------


@pytest.fixture
def pipe(tmp_path):
    """A named pipe; a test that waits for it fails."""
    path = special_file(tmp_path / "pipe", "named pipe")

    def waits(*_):
        raise AssertionError("a named pipe is waited for")

    before = signal.signal(signal.SIGALRM, waits)
    signal.alarm(60)
    yield path
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    "command",
    [
        "search {photos} {photo} --pipeline {pipe}",
        "search {photos} {photo} --html {pipe}",
        "fit {photos} --out {photos}/out.safetensors --weights {pipe}",
        "index {pipe}",
        "info {pipe}",
    ],
)
def test_a_named_pipe_in_place_of_a_file_is_an_error_at_once(command, pipe, tmp_path, capsys):
    photos = tmp_path / "photos"
    (photo,) = write_photos(photos, [0])
    words = [word.format(photos=photos, photo=photo, pipe=pipe) for word in command.split()]
    assert main(words) == 2
    assert str(pipe) in capsys.readouterr().err


@pytest.mark.parametrize("name", ["catalogue.sqlite", "pipeline.safetensors"])
def test_a_named_pipe_in_an_index_is_an_error_at_once(name, pipe, tmp_path):
    RetrievalIndex.create(tmp_path / "x.cmac", make_light()).close()
    os.replace(pipe, tmp_path / "x.cmac" / name)
    with pytest.raises(OSError, match=f"{name}: is a named pipe"):  # noqa: SIM117
        with RetrievalIndex.open(tmp_path / "x.cmac", trust=TRUST) as index:
            index.info()


def test_a_named_pipe_in_place_of_a_checksum_is_damage(pipe, tmp_path):
    RetrievalIndex.create(tmp_path / "x.cmac", make_light()).close()
    os.replace(pipe, tmp_path / "x.cmac" / "catalogue.checksum")
    with RetrievalIndex.open(tmp_path / "x.cmac", trust=TRUST, read_only=True) as index:
        (sentence,) = index.check()
    assert "catalogue.checksum, is not as written" in sentence
