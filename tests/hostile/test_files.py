"""Annotations, tables and kept files from strangers: opened, or refused in a line that names them.

`CMAC_HOSTILE` is how many files are tried.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hostile.annotations import annotation_kinds, make_photos
from hostile.damage import Kind, damaged
from hostile.kept_files import kept_kinds
from sklearn_cmac.cli import main

HOW_MANY = int(os.environ.get("CMAC_HOSTILE", "200"))
SECONDS, MEGABYTES = 5, 600  # that a file may take; more is a fault
DEAD = 30  # seconds, after which it is ended


def all_kinds(folder: Path) -> list[Kind]:
    """Each kind of file; what belongs to them is made in a folder."""
    make_photos(folder)
    return [*annotation_kinds(folder), *kept_kinds(folder)]


def mutants(kind: Kind, n: int) -> Iterator[tuple[str, bytes]]:
    """So many files of a kind: half of them built to harm if there are as many, else damaged."""
    built = list(kind.built())
    some = (
        built if len(built) <= n // 2 else [built[i * 2 * len(built) // n] for i in range(n // 2)]
    )
    for i, content in enumerate(some):
        yield f"{kind.name}, built {i}", content() if callable(content) else content
    for seed in range(n - len(some)):
        yield f"{kind.name}, seed {seed}", damaged(kind.sound, seed)


class Opener:
    """A process that opens files, started again when it dies."""

    def __init__(self, place: Path):
        self.place = place
        self.process: subprocess.Popen[str] | None = None
        self.n = 0

    def faults(self, kind: Kind, content: bytes) -> list[str]:
        """What opening a file breaks of what is promised."""
        self.n += 1
        folder = self.place / f"tried-{self.n}"
        folder.mkdir(parents=True)
        file = folder / kind.file
        file.write_bytes(content)
        told = self._told(kind, file)
        found = list(_faults(kind, file, told))
        marks = [*self.place.glob("cwd/MARK*"), *folder.rglob("MARK*"), *Path("/tmp").glob("MARK*")]
        if marks:
            found.append(f"ran: it left {marks[0]}")
            for mark in marks:
                shutil.rmtree(mark) if mark.is_dir() else mark.unlink()
        shutil.rmtree(folder)
        return found

    def _told(self, kind: Kind, file: Path) -> dict:
        if self.process is None:
            self._start()
        assert self.process is not None
        assert self.process.stdin is not None
        try:
            print(json.dumps([kind.name, str(file)]), file=self.process.stdin, flush=True)
            line = self.answers.get(timeout=DEAD)
        except OSError:
            line = ""
        except queue.Empty:
            self.close()
            return {"answer": "hung", "message": f"{DEAD} seconds"}
        if line:
            return json.loads(line)
        status = self.process.wait()
        self.process = None
        return {"answer": "crashed", "message": f"status {status}"}

    def _start(self) -> None:
        self.n += 1
        here = self.place / "cwd"
        here.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hostile._opener", str(self.place / f"photos-{self.n}")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=here,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path]),
                "SKLEARN_CMAC_CACHE": str(self.place / "cache"),
                "OMP_NUM_THREADS": "1",
                "OPENBLAS_NUM_THREADS": "1",
            },
        )
        self.answers: queue.Queue[str] = queue.Queue()
        threading.Thread(
            target=self._forward, args=(self.process, self.answers), daemon=True
        ).start()
        assert self.answers.get(timeout=300), "the process that opens files did not start"

    def _forward(self, process: subprocess.Popen[str], answers: queue.Queue[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            answers.put(line)
        answers.put("")

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def _faults(kind: Kind, file: Path, told: dict) -> Iterator[str]:
    answer, message = told["answer"], told["message"]
    if answer not in ("opened", "refused"):
        yield f"{answer}: {message}"
        return
    if told["seconds"] > SECONDS:
        yield f"hang: {told['seconds']:.1f} seconds"
    if told["megabytes"] > MEGABYTES:
        yield f"memory: {told['megabytes']:.0f} MB"
    names = kind.named_by(file) if kind.named_by else [str(file)]
    if answer == "refused" and not any(name in message for name in names):
        yield f"name: {message[:300]}"
    if len(message) > 2000 or len(message.splitlines()) > 1:
        yield f"length: {message[:300]}"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Sound files of each kind, and the folder of what belongs to them."""
    folder = tmp_path_factory.mktemp("made")
    return folder, all_kinds(folder)


def test_sound_files_are_opened(made, tmp_path):
    """Else what is made of them proves nothing."""
    folder, kinds = made
    for i, kind in enumerate(kinds):
        file = tmp_path / f"sound-{i}" / kind.file
        file.parent.mkdir()
        file.write_bytes(kind.sound)
        kind.opened(folder, file)


def test_files_from_strangers_do_no_harm(made, tmp_path):
    _, kinds = made
    openers: queue.Queue[Opener] = queue.Queue()
    for i in range(2):
        openers.put(Opener(tmp_path / f"opener-{i}"))

    def tried(kind: Kind) -> list[str]:
        opener, found = openers.get(), []
        try:
            for name, content in mutants(kind, -(-HOW_MANY // len(kinds))):
                faults = opener.faults(kind, content)
                if any(fault.startswith("hang") for fault in faults):  # alone it may be quicker
                    faults = opener.faults(kind, content)
                found += [f"{name}: {fault}" for fault in faults]
        finally:
            openers.put(opener)
        return found

    try:
        with ThreadPoolExecutor(2) as threads:
            found = [fault for faults in threads.map(tried, kinds) for fault in faults]
    finally:
        while not openers.empty():
            openers.get().close()
    if found:
        pytest.fail(f"{len(found)} of {HOW_MANY} files:\n" + "\n".join(found), pytrace=False)


@pytest.mark.parametrize("command", ["evaluate", "search", "import", "info", "scale"])
def test_the_command_line_refuses_in_one_line(command, made, tmp_path, capsys):
    """Status 2, and one line that names the file, for a few of them."""
    whole, all_ = made
    kinds = {kind.name: kind for kind in all_}
    photos = whole / "photos"
    name, arguments = {
        "evaluate": (
            "revisited pickle 2", ["evaluate", "roxford5k", "--photos", photos, "--annotations"],
        ),
        "search": ("pipeline", ["search", photos, photos / "a.jpg", "--pipeline"]),
        "import": ("export photos.csv", ["import"]),
        "info": ("index catalogue.sqlite", ["info"]),
        "scale": ("scales utf-8", ["evaluate", "oxford5k", "--photos", photos, "--photo-scale"]),
    }[command]  # fmt: skip
    kind = kinds[name]
    folder = tmp_path / "given"
    folder.mkdir()
    file = folder / kind.file
    beside = {"import": whole / "made-export", "info": whole / "made.cmac"}.get(command, folder)
    for sound in beside.iterdir():
        shutil.copyfile(sound, folder / sound.name)
    file.write_bytes(kind.sound[: len(kind.sound) // 3])
    given = folder if command in ("import", "info") else file
    given = f"{file}:name:scale" if command == "scale" else given
    more = [tmp_path / "new.cmac"] if command == "import" else []
    assert main([str(each) for each in (*arguments, given, *more)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert str(folder) in lines[-1], lines
    assert len([line for line in lines if line.startswith("cmac: ")]) == 1
