"""How `cmac` ends: stopped, without room, without rights, or by an error, always in one line."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import click
import numpy as np
import pytest

from sklearn_cmac import ConvFeatureExtractor
from sklearn_cmac._progress import _Lines, show_progress
from sklearn_cmac.cli import cmac, main
from sklearn_cmac.datasets import find_photos
from sklearn_cmac.search import RetrievalIndex, write_arrays
from sklearn_cmac.store import ArrayStore, FullDiskError, written_whole

pytestmark = pytest.mark.filterwarnings("ignore:whitening")

ROOT = Path(__file__).parents[1]
QUICK = "--layer", "blocks.4", "--max-size", "96", "--system", "rmac"
PROGRAM = "import sys, cmac_program; print('begun', flush=True); sys.exit(cmac_program.main())"


def run(*arguments):
    return main([str(argument) for argument in arguments])


def complaint(capsys):
    """The one line that a command ends with."""
    err = capsys.readouterr().err
    assert "Traceback" not in err
    (line,) = [x for x in err.splitlines() if x.startswith("cmac:")]
    return line


def start(*arguments, **options):
    """The program in a process group of its own, as in a terminal."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True, **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(folder, tmp_path_factory):
    """Six photos, their index, a fitted system, exported arrays, and a store."""
    place = tmp_path_factory.mktemp("made")
    (place / "photos").mkdir()
    for photo in sorted((folder / "photos").iterdir())[:6]:
        shutil.copy2(photo, place / "photos")
        os.utime(place / "photos" / photo.name, (1e9, 1e9))
    labels = ["filename,instance", *(f"{p.name},{p.name[:9]}" for p in photos_of(place))]
    (place / "labels.csv").write_text("\n".join(labels))
    photos = place / "photos"
    fitted, store = place / "fitted.safetensors", place / "store"
    assert run("fit", photos, "--out", fitted, *QUICK, "--store", store) == 0
    assert run("index", photos, "--pipeline", fitted) == 0
    assert run("export", place / "photos.cmac", place / "arrays") == 0
    return place


@pytest.fixture
def place(made, tmp_path):
    """A copy of them, to be changed."""
    shutil.copytree(made, tmp_path / "made")
    return tmp_path / "made"


def photos_of(place):
    return sorted((place / "photos").glob("*.png"))


# -- stopped ----------------------------------------------------------------------------------

GOES_ON = "the same command goes on where it was"
TUNE = "tune", "photos", "--labels", "labels.csv", "--set", "whiten__shrinkage=[1]", "--folds", "2"
EVALUATE = "evaluate", "folder", "--photos", "photos", "--labels", "labels.csv", "--queries", "all"


@pytest.mark.parametrize(
    ("arguments", "where", "told"),
    [
        (["index", "photos", "--index", "x.cmac"], ConvFeatureExtractor, GOES_ON),
        (
            ["search", "photos", "photos/object-00-scene-0.png", "--index", "x.cmac"],
            ConvFeatureExtractor,
            GOES_ON,
        ),
        (
            ["search", "photos.cmac", "photos/object-00-scene-0.png"],
            RetrievalIndex,
            "nothing was changed",
        ),
        (["fit", "photos", "--out", "x.safetensors"], ConvFeatureExtractor, "nothing is kept; "),
        (
            ["fit", "photos", "--out", "x.safetensors", "--store", "maps"],
            ConvFeatureExtractor,
            f"maps of photos are in maps, so {GOES_ON}",
        ),
        (TUNE, ConvFeatureExtractor, "nothing is kept; with --store, the same command would"),
        (EVALUATE, ConvFeatureExtractor, f"{GOES_ON}; a fit that was under way begins anew"),
        ([*EVALUATE, "--store", "maps"], ConvFeatureExtractor, GOES_ON),
        (["demo"], ConvFeatureExtractor, "nothing is kept"),
        (["groups", "photos.cmac"], RetrievalIndex, "nothing was changed; with --store"),
        (
            ["groups", "photos.cmac", "--store", "kept"],
            RetrievalIndex,
            f"what was compared is in kept, so {GOES_ON}",
        ),
        (["info", "photos.cmac"], RetrievalIndex, "nothing was changed"),
        (["check", "photos.cmac"], RetrievalIndex, "nothing was changed"),
        (["check", "photos.cmac", "--repair"], RetrievalIndex, "nothing is lost, and the same"),
        (["compact", "photos.cmac"], RetrievalIndex, "nothing is lost, and the same"),
        (["remove", "photos.cmac", "x"], RetrievalIndex, "either all of these photos were removed"),
        (["export", "photos.cmac", "x"], RetrievalIndex, "x was not made"),
        (["export", "photos.cmac", "x", "--vectors", "v"], RetrievalIndex, "x was not made"),
        (["import", "arrays", "x.cmac"], RetrievalIndex, "x.cmac was not made"),
    ],
)
def test_each_command_says_what_became_of_it(arguments, where, told, place, monkeypatch, capsys):
    number = signal.SIGTERM if "--store" in arguments else signal.SIGINT

    def stop(*_, **__):
        signal.raise_signal(number)

    monkeypatch.chdir(place)
    for name in ("iter_transform", "search", "info", "check", "entries", "compact", "remove"):
        if hasattr(where, name):
            monkeypatch.setattr(where, name, stop)
    monkeypatch.setattr(RetrievalIndex, "fill", stop)
    monkeypatch.setattr("sklearn_cmac.search._index.copy_vectors", stop)
    monkeypatch.setattr("sklearn_cmac.cli._demo.make_object_scenes", stop)
    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    status = run(*arguments)
    assert complaint(capsys).startswith(f"cmac: stopped; {told}")
    assert status == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert {s: signal.getsignal(s) for s in before} == before
    made_not_whole = [name for name in ("x", "x.cmac", "x.safetensors") if Path(name).exists()]
    assert not made_not_whole


def test_what_is_done_when_it_is_stopped_is_kept(place, monkeypatch, capsys):
    """The signal comes while worker threads describe photos."""
    described = []
    compute = ConvFeatureExtractor._compute

    def stop_at_fourth(self, content, *rest):
        described.append(content.name)
        if len(described) == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return compute(self, content, *rest)

    asked = "index", place / "photos", "--index", place / "x.cmac", "--n-jobs", 1
    asked = *asked, "--pipeline", place / "fitted.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr(ConvFeatureExtractor, "_compute", stop_at_fourth)
        assert run(*asked) == 143
    assert complaint(capsys) == f"cmac: stopped; {GOES_ON}"
    with RetrievalIndex.open(place / "x.cmac", read_only=True) as index:
        assert len(index) == 3
        assert index.check() == []
    assert run(*asked) == 0
    assert "3 new, 3 unchanged; 3 described" in capsys.readouterr().out


@pytest.mark.parametrize("swallow", ["error", "forgotten"])
def test_a_signal_that_a_library_swallows_stops_nevertheless(swallow, place, monkeypatch, capsys):
    class Forgotten:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    def works(*_, **__):
        if swallow == "error":
            try:
                signal.raise_signal(signal.SIGINT)
            except BaseException:
                raise ImportError("a library was interrupted in its midst") from None
        Forgotten()
        for _ in range(1000):
            time.sleep(0.001)
        raise AssertionError("nobody stopped it")

    monkeypatch.setattr(RetrievalIndex, "info", works)
    assert run("info", place / "photos.cmac") == 130
    assert complaint(capsys) == "cmac: stopped; nothing was changed"


@pytest.mark.parametrize(("number", "delay"), [("SIGINT", 0.1), ("SIGTERM", 0.3)])
def test_the_program_is_stopped_while_it_imports(number, delay, place):
    process = start("search", place / "photos.cmac", photos_of(place)[0])
    assert process.stdout.readline() == "begun\n"
    time.sleep(delay)
    process.send_signal(getattr(signal, number))
    out, err = process.communicate()
    assert process.returncode == 128 + getattr(signal, number)
    assert out == ""
    assert err.splitlines()[-1].startswith("cmac: stopped;")
    assert "Traceback" not in err


def test_worker_processes_end_without_a_word(place):
    """A terminal sends Ctrl-C to all of them, here while they begin."""
    asked = "index", place / "photos", "--index", place / "x.cmac", "--backend", "loky"
    asked = *asked, "--workers", 2, "--pipeline", place / "fitted.safetensors"
    process = start(*asked)
    assert process.stderr.readline().startswith("network: ")
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate()
    assert err == f"cmac: stopped; {GOES_ON}\n"
    assert process.returncode == 130


# -- a reader that has gone, and other errors ---------------------------------------------------


def test_nobody_reads_what_is_printed(place):
    process = start("info", place / "photos.cmac")
    assert process.stdout.readline() == "begun\n"
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 141


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_stream_may_be_closed(closed, place, tmp_path):
    code = f"import os; os.close({closed}); import sys, cmac_program; sys.exit(cmac_program.main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "info", place / "photos.cmac"],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if closed == 1:  # whatever is printed is an error of the system
        assert "Traceback" not in done.stderr
    else:
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (KeyError("easy"), 70, "this is an error of cmac itself (KeyError: 'easy'); with --debug"),
        (RecursionError("too deep"), 70, "this is an error of cmac itself (RecursionError: too"),
        (RuntimeError("mat1 and\nmat2"), 70, "this is an error of cmac itself (RuntimeError: mat1"),
        (ValueError(), 70, "this is an error of cmac itself (ValueError)"),
        (MemoryError(), 70, "memory ran out (MemoryError); fewer --n-jobs"),
        (RuntimeError("CUDA out of memory. Tried"), 70, "memory ran out (CUDA out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 70, "memory ran out (Def"),
        (ValueError("a\nb"), 2, "a b"),
        (ImportError("it needs: pip install x"), 2, "it needs: pip install x"),
        (PermissionError(errno.EACCES, "Permission denied", "a.jpg"), 2, "a.jpg: Permission den"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), 2, "Connection refused"),
    ],
)
def test_any_error_is_one_line_and_debug_shows_where(
    error, status, told, place, monkeypatch, capsys
):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr(RetrievalIndex, "info", fails)
    assert run("info", place / "photos.cmac") == status
    assert complaint(capsys).startswith(f"cmac: {told}")
    for asked in (["--debug", "info"], ["info", "--debug"]):
        assert run(*asked, place / "photos.cmac") == status
        err = capsys.readouterr().err
        assert "Traceback" in err
        assert f"{Path(__file__).name}" in err
        assert err.splitlines()[-1].startswith("cmac: ")


def test_warnings_are_a_line_without_code(place, monkeypatch, capsys):
    def warns(*_):
        warnings.warn("two\nlines", stacklevel=1)
        return {}

    monkeypatch.setattr(RetrievalIndex, "info", warns)
    shown = []
    with warnings.catch_warnings():
        warnings.simplefilter("always")

        def show(message, category, filename, lineno, file=None, line=None):
            shown.append(warnings.formatwarning(message, category, filename, lineno, line))

        monkeypatch.setattr(warnings, "showwarning", show)
        assert run("info", place / "photos.cmac", "--json") == 0
    assert shown == ["warning: two lines\n"]


NUMBERS = {
    "--n-results": ["0", "-1"], "--folds": ["0", "1", "-1"], "--max-size": ["0", "-1"],
    "--workers": ["0", "-1", "9" * 9], "--n-jobs": ["0", "9" * 9], "--max-pixels": ["0", "-1"],
    "--shrinkage": ["-1", "9" * 40], "--scales": ["0", "-1", "1,0", "9" * 40],
    "--n-neighbors": ["0", "-1"], "--min-size": ["0", "-1"],
    "--min-probability": ["0", "-1", "1.1"],
    "--photo-scale": ["0", "-1", "9" * 40], "--box": ["0", "1,1,nan,5", "1,1,5,inf"],
}  # fmt: skip
ENOUGH = {
    "search": ["photos", "photos/object-00-scene-0.png"], "index": ["photos"], "tune": TUNE[1:],
    "fit": ["photos", "--out", "x.safetensors"], "evaluate": EVALUATE[1:], "demo": [],
    "export": ["photos.cmac", "x"], "import": ["arrays", "x.cmac"], "check": ["photos.cmac"],
    "info": ["photos.cmac"], "remove": ["photos.cmac", "x"], "compact": ["photos.cmac"],
    "completion": ["bash"], "groups": ["photos.cmac"],
    "serve": ["photos.cmac", "--no-open"],
}  # fmt: skip
OPTIONS = [
    (name, max(option.opts, key=len))
    for name, command in cmac.commands.items()
    for option in command.params
    if isinstance(option, click.Option) and not option.is_flag and option.name != "help"
]


@pytest.mark.parametrize(("command", "option"), OPTIONS)
def test_a_wrong_value_is_refused_before_anything_is_done(
    command, option, place, monkeypatch, capsys
):
    def describe(self, X):
        raise AssertionError("a photo is described")

    monkeypatch.chdir(place)
    monkeypatch.setattr(ConvFeatureExtractor, "iter_transform", describe)
    wrong = ["", *NUMBERS.get(option, [])]
    if option in NUMBERS:
        wrong += ["nan", "inf", "-inf", "1e400", "9" * 5000, "text", " "]
    if option == "--index":
        wrong.append("x" * 5000)
    for value in wrong:
        assert run(command, *ENOUGH[command], option, value) == 2, value
        assert option in complaint(capsys), value


# -- progress ---------------------------------------------------------------------------------


def test_a_log_gets_a_line_a_minute(monkeypatch, capsys):
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    lines = []
    with show_progress(None, 5000, "describing photos", verbose=True, done=200) as bar:
        for _ in range(6 * 4):
            now[0] += 10
            bar.update(32)
            lines.append(capsys.readouterr().err)
    # 32 photos in 10 seconds; 4608 are left after a minute, which take 1440 seconds.
    assert lines[5] == "describing photos: 392 of 5000, 3.2 a second, 24 min left\n"
    assert lines[11] == "describing photos: 584 of 5000, 3.2 a second, 23 min left\n"
    assert [i for i, line in enumerate(lines) if line] == [5, 11, 17, 23]


@pytest.mark.parametrize(
    ("arguments", "doing"),
    [
        (TUNE, {"describing photos": 6, "trying settings": 2}),
        ([*EVALUATE, "--system", "rmac"], {"describing photos": 6}),
        (["check", "photos.cmac"], {"checking photos": 6}),
        (["compact", "photos.cmac"], {"writing photos anew": 6, "checking photos": 6}),
        (["import", "arrays", "x.cmac"], {"taking over photos": 6}),
    ],
)
def test_long_commands_show_progress(arguments, doing, place, monkeypatch):
    seen = {}
    move = _Lines.update

    def note_move(self, n=1):
        move(self, n)
        seen[self.doing] = self.done

    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    monkeypatch.setattr(_Lines, "update", note_move)
    monkeypatch.chdir(place)
    quick = QUICK[:4] if arguments[0] in ("tune", "evaluate") else ()
    assert run(*arguments, *quick) == 0
    assert {what: seen.get(what) for what in doing} == doing


@pytest.mark.parametrize(
    ("n", "told"), [(1, "1.0 a minute, 2 h left"), (40, "40.0 a minute, 2 min left")]
)
def test_slow_work_is_told_in_minutes_and_hours(n, told, monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    bar = show_progress(None, 121, "cutting maps", verbose=1)
    now[0] += 60
    bar.update(n)
    assert capsys.readouterr().err.startswith(f"cutting maps: {n} of 121, {told.split(' a')[0]}")


# -- room on the disk ---------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    yield from mounted(disk, "size=1m")


def mounted(disk, options):
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here, which takes the rights of root")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_a_full_disk_says_which_and_what_is_needed(place, small_disk, capsys):
    photos, index = place / "photos", place / "photos.cmac"
    (small_disk / "ballast").write_bytes(bytes(1_040_000))
    out = small_disk / "new"
    asked = ["fit", photos, "--out", place / "x.safetensors", *QUICK[:2], "--system", "rmac"]
    for arguments in (
        [*asked, "--store", out],
        ["index", photos, "--index", out, "--pipeline", place / "fitted.safetensors"],
        ["export", index, out],
        ["export", index, out, "--vectors", place / "vectors"],
        ["import", place / "arrays", out],
    ):
        assert run(*arguments) == 2
        line = complaint(capsys)
        assert line.startswith(f"cmac: {out}"), line
        assert ": its disk is full: " in line, line
        assert " are free there" in line, line
        shutil.rmtree(out, ignore_errors=True)


def test_a_full_disk_says_what_the_rest_takes(scenes, small_disk):
    extractor = ConvFeatureExtractor(store=small_disk / "maps", max_size=320).fit([])
    with pytest.raises(FullDiskError, match=r"and it takes (\d+ kB).*The 14 that are left take"):
        # A map takes 10 x 8 cells of 1280 channels, 410 kB, so the third has no room.
        extractor.transform(scenes.photos[:16])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_file_without_room_leaves_what_was_there(number, tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_bytes(b"old")

    def full(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.fsync", full)
    with (
        pytest.raises(FullDiskError, match=rf"{file}: .* are free there, and it takes 3\.0 MB"),
        written_whole(file, 3_000_000) as new,
    ):
        new.write(b"new")
    assert [f.name for f in tmp_path.iterdir()] == ["file"]
    assert file.read_bytes() == b"old"


def test_a_file_that_may_not_grow_says_so(tmp_path):
    """NumPy says only how much it wrote."""
    code = (
        "import resource, signal, numpy; from sklearn_cmac.store import ArrayStore\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        f"store = ArrayStore({str(tmp_path)!r})\n"
        "store.get_or_compute('ab', lambda: {'a': numpy.zeros(100_000)})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("sklearn_cmac.store.FullDiskError")
    assert last.endswith("and it takes 800 kB; make room, or choose another disk")
    assert not list(tmp_path.rglob("*.npy"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit", "photos", "--out", "x.safetensors", *QUICK],
        ["index", "photos", "--index", "x.cmac", *QUICK],
        [*TUNE, *QUICK, "--out", "x"],
        [*EVALUATE, "--rerank", "localization", *QUICK, "--out", "x"],
    ],
)
def test_maps_that_nobody_asked_for_are_told_and_refused_without_room(
    arguments, place, monkeypatch, capsys
):
    monkeypatch.chdir(place)
    assert run(*arguments) == 0
    # 96x72 pixels are 6x5 cells of 112 channels of 4 bytes, and 3 of colours: 13.5 kB a photo.
    err = capsys.readouterr().err
    (line,) = [line for line in err.splitlines() if line.startswith("maps of 6 photos take")]
    assert 81 <= float(line.split(" take about ")[1].split()[0]) <= 90
    assert line.endswith("are free there")
    for name in ("x.safetensors", "x.cmac", "x"):
        shutil.rmtree(name, ignore_errors=True)
    monkeypatch.setattr("sklearn_cmac.cli._making.free_bytes", lambda path: 1000)
    assert run(*arguments) == 2
    assert "1.0 kB are free there; name a folder on another disk with --store" in complaint(capsys)
    assert run(*arguments, "--store", "maps") == 0


# -- without the right to write -------------------------------------------------------------------


@pytest.fixture
def read_only(place, tmp_path):
    """Photos, index and store on a file system that can be read only."""
    disk = tmp_path / "archive"
    disk.mkdir()
    for _ in mounted(disk, "size=64m"):
        for name in ("photos", "photos.cmac", "store"):
            shutil.copytree(place / name, disk / name)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        yield disk


def test_a_read_only_index_is_searched_and_checked(read_only, capsys):
    index, photo = read_only / "photos.cmac", photos_of(read_only)[0]
    for arguments in (["info", index], ["check", index], ["search", index, photo, "-n", 2]):
        assert run(*arguments) == 0
    assert run("search", read_only / "photos", photo, "-n", 1) == 0
    assert str(photo) in capsys.readouterr().out.splitlines()[-1]
    for arguments in (["compact", index], ["remove", index, photo], ["check", index, "--repair"]):
        assert run(*arguments) == 2
        line = complaint(capsys)
        assert line.startswith(f"cmac: {index}/"), line
        assert "cannot be opened or written" in line or "Read-only file system" in line, line
    assert run("index", read_only / "photos", "--index", read_only / "new.cmac") == 2
    assert "new.cmac: cannot be written; name another place with --index" in complaint(capsys)


@pytest.mark.parametrize("cache", ["cache", "photos/none"])
def test_a_read_only_folder_is_searched(read_only, cache, tmp_path, place, monkeypatch, capsys):
    monkeypatch.setenv(
        "SKLEARN_CMAC_CACHE", str((tmp_path if cache == "cache" else read_only) / cache)
    )
    archive = read_only / "photos"
    asked = "search", archive, photos_of(read_only)[0], "-n", 1
    with monkeypatch.context() as patch:  # as if there were no index beside it
        patch.setattr("sklearn_cmac.cli._search.index_beside", lambda f: read_only / "none.cmac")
        assert run(*asked, "--pipeline", place / "fitted.safetensors") == 0
    out, err = capsys.readouterr()
    assert out.split()[1:] == ["1.000", str(photos_of(read_only)[0])]
    kept = list((tmp_path / "cache" / "indexes").glob("photos-*.cmac"))
    told = f"so the index is {kept[0]}\n" if cache == "cache" else "so the index is made each time"
    assert f"{read_only}: cannot be written, {told}" in err


def test_a_read_only_store_serves_what_it_has(read_only, place, scenes, monkeypatch):
    store = read_only / "store"
    extractor = ConvFeatureExtractor(layer="blocks.4", max_size=96, store=store).fit([])
    computed = []
    compute = ConvFeatureExtractor._compute

    def count(self, content, *rest):
        computed.append(content.name)
        return compute(self, content, *rest)

    monkeypatch.setattr(ConvFeatureExtractor, "_compute", count)
    known, new = list(map(str, find_photos(place / "photos"))), scenes.photos[8:10]
    with pytest.warns(UserWarning, match=rf"{store}: cannot be written") as warned:
        found = extractor.transform([*known, *new])
    assert computed == [photo.name for photo in new]
    assert len(warned) == 1
    free = ConvFeatureExtractor(layer="blocks.4", max_size=96).fit_transform([*known, *new])
    for one, other in zip(found, free):
        np.testing.assert_array_equal(one.activations, other.activations)


def test_a_store_that_cannot_be_made_says_so_before_it_computes(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OSError, match="s: cannot be written"):
        ArrayStore(tmp_path / "s").get_or_compute("ab", lambda: pytest.fail("was computed"))


def test_an_export_that_is_stopped_leaves_nothing(place, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("sklearn_cmac.search._exchange._write_table", stop)
    with RetrievalIndex.open(place / "photos.cmac") as index, pytest.raises(KeyboardInterrupt):
        write_arrays(index, place / "x")
    assert not (place / "x").exists()
