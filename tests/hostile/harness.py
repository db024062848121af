"""Runs the door on hostile photos, each in a process of its own, and says what went wrong."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import queue
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hostile.case import CELLS, SIZE, Case, cells, picture

# Programs that image libraries are known to start.
PROGRAMS = (
    "gs", "gswin32c", "gswin64c", "gsc", "convert", "magick", "identify", "dcraw", "dwebp",
    "djpeg", "cjpeg", "ffmpeg", "rsvg-convert", "inkscape", "curl", "wget", "xv", "gimp",
    "pdftoppm", "heif-convert", "exiftool", "unzip", "sh", "bash", "xdg-open", "ps2pdf",
)  # fmt: skip


# The first word of a fault.
WORDS = (
    "crash", "hang", "memory", "exception", "name", "size", "blank", "picture", "part", "taken",
    "payload", "stderr", "warning",
)  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """What one photo may cost; those of more than `small` bytes take time in proportion.

    Parameters
    ----------
    wall, processor : float
        Seconds.
    memory : float
        Megabytes above what the process had.
    dead : float
        Seconds of the wall after which it is ended.
    """

    wall: float = 5
    processor: float = 2
    memory: float = 600
    small: int = 2 << 20
    dead: float = 60


@dataclass
class Outcome:
    """What became of a photo: the worker's answer, and the faults that are seen in it."""

    case: Case
    length: int
    path: str
    told: dict
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.case.kind} ({self.length} bytes): {'; '.join(self.faults)}"


class Door:
    """A worker, started again when it dies."""

    def __init__(self, place: Path, limits: Limits, module: str):
        self._place, self._limits, self._module = place, limits, module
        self._process: subprocess.Popen | None = None
        self._photos = place / f"photos-{id(self)}"
        self._temporary = self._photos / "temporary"
        self._temporary.mkdir(parents=True)
        self._mark = place / f"mark-{id(self)}"
        self._programs = _write_programs(place / f"programs-{id(self)}", self._mark)

    def try_on(self, case: Case, keep: Path | None = None) -> Outcome:
        """Write the photo, let the worker have it, and look at what is left behind."""
        content = case.make()
        path = self._photos / f"photo{case.suffix}"
        path.write_bytes(content)
        told = self._ask(str(path))
        path.unlink()
        outcome = Outcome(case, len(content), str(path), told)
        outcome.faults = faults_of(case, told, str(path), len(content), self._limits)
        left = [p for p in self._photos.rglob("*") if p != self._temporary]
        if self._mark.exists() or left:
            ran = self._mark.read_text().split() if self._mark.exists() else []
            outcome.faults.append(f"payload: ran {ran}, left {sorted(p.name for p in left)}")
            for path in (self._mark, *left):
                path.unlink(missing_ok=True)
        if keep and outcome.faults:
            keep.mkdir(parents=True, exist_ok=True)
            (keep / f"{case.kind.replace('/', '-')}{case.suffix}").write_bytes(content)
        return outcome

    def close(self) -> None:
        """End the worker, and whatever it started."""
        if self._process is not None:
            _end(self._process)
            self._process = None

    def _ask(self, path: str) -> dict:
        if self._process is None or self._process.poll() is not None:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            print(json.dumps(path), file=self._process.stdin, flush=True)
            line = self._answers.get(timeout=self._limits.dead)
        except queue.Empty:
            self.close()
            return {"answer": "hung", "message": f"more than {self._limits.dead} s"}
        except OSError:
            line = ""
        if not line:
            status = self._process.wait()
            return {"answer": "crashed", "message": f"status {status}"}
        return json.loads(line)

    def _start(self) -> None:
        paths = [str(Path(__file__).parents[1]), *sys.path]
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "hostile._worker",
                self._place / f"noise-{id(self)}",
                self._module,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=self._photos,
            start_new_session=True,
            env={
                **os.environ,
                "PATH": str(self._programs) + os.pathsep + os.environ["PATH"],
                "PYTHONPATH": os.pathsep.join(filter(None, paths)),
                "OMP_NUM_THREADS": "1",
                "OPENBLAS_NUM_THREADS": "1",
                "TMPDIR": str(self._temporary),
            },
        )
        # Lines come through a queue, since a pipe cannot be waited for with a timeout everywhere.
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(
            target=_forward, args=(self._process.stdout, self._answers), daemon=True
        ).start()
        ready = self._answers.get(timeout=120)
        if not ready:
            raise RuntimeError("the worker did not start")


def _forward(lines: Iterable[str], answers: queue.Queue[str]) -> None:
    for line in lines:
        answers.put(line)
    answers.put("")


def _end(process: subprocess.Popen) -> None:
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()


def _write_programs(folder: Path, mark: Path) -> Path:
    """Programs that do nothing but say that they were run."""
    folder.mkdir()
    for name in PROGRAMS:
        program = folder / (name + (".cmd" if os.name == "nt" else ""))
        said = f'echo {name} >> "{mark}"\n'
        program.write_text(said if os.name == "nt" else "#!/bin/sh\n" + said)
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return folder


def faults_of(case: Case, told: dict, path: str, length: int, limits: Limits) -> list[str]:
    """What the answer to a photo breaks of what is promised, each with a word in front."""
    answer, message = told["answer"], told["message"]
    if answer == "crashed":
        return [f"crash: {message}"]
    if answer == "hung":
        return [f"hang: {message}"]
    share = max(1.0, length / limits.small)
    faults = []
    if told["wall"] > limits.wall * share or told["processor"] > limits.processor * share:
        faults.append(f"hang: {told['wall']:.1f} s, processor {told['processor']:.1f} s")
    if told["memory"] is not None and told["memory"] > limits.memory:
        faults.append(f"memory: {told['memory']:.0f} MB")
    if told.get("memory_error"):
        faults.append(f"memory: asked for more than there is: {message[-160:]}")
    if answer == "raised":
        faults.append(f"exception: {message}")
    if answer == "refused" and path not in message:
        faults.append(f"name: {message!r}")
    if told["noise"]:
        faults.append(f"stderr: {told['noise'][:200]!r}")
    faults += [f"warning: {text}" for text in told["warned"] if path not in text][:1]
    if told["done"]:
        faults.append(f"payload: {told['done'][0]}")
    if answer == "decoded":
        faults += _faults_of_pixels(case, told)
    return faults


def _faults_of_pixels(case: Case, told: dict) -> list[str]:
    faults = []
    (width, height), (rows, columns) = told["upright"], told["shape"]
    scale = min(1.0, 512 / max(width, height))
    fits = [max(1, round(width * scale)), max(1, round(height * scale))] == [columns, rows]
    if told["size"] != told["upright"] or not fits:
        faults.append(
            f"size: said {told['size']}, decoded {told['upright']} as {columns}x{rows} pixels"
        )
    if case.shows == "nothing":
        faults.append("taken: it should have been refused")
    if case.shows not in ("picture", "whole"):
        return faults
    if told["one_color"]:
        return [*faults, "blank: one colour all over"]
    expected = cells(np.asarray(picture()) if case.expected is None else case.expected())
    got = np.frombuffer(base64.b64decode(told["cells"]), np.uint8).reshape(*CELLS[::-1], 3)
    if case.expected is None and abs(width / height - SIZE[0] / SIZE[1]) > 0.02:
        faults.append(f"picture: {width}x{height} pixels, and it has the shape of {SIZE}")
    difference, alike = likeness(got.astype(float), expected)
    if difference > 25 or alike < 0.9:
        word = "picture" if case.shows == "picture" else "part"
        faults.append(f"{word}: differs by {difference:.0f} of 255, correlation {alike:.2f}")
    return faults


def likeness(got: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """Mean absolute difference and correlation; grey pictures are compared in grey."""
    if np.ptp(got, axis=2).max() < 12:
        got, expected = got.mean(axis=2), expected @ [0.299, 0.587, 0.114]
    alike = np.corrcoef(got.ravel(), expected.ravel())[0, 1]
    return float(np.abs(got - expected).mean()), float(alike)


def run(
    cases: Iterable[Case],
    *,
    limits: Limits | None = None,
    workers: int | None = None,
    keep: Path | None = None,
    door: str = "sklearn_cmac.pixels",
) -> Iterator[Outcome]:
    """The outcome of each photo. What took too long is tried once more, alone, and comes last.

    Parameters
    ----------
    cases : iterable of Case
    limits : Limits, optional
    workers : int, optional
        Photos at a time. Default: as many as there are cores, four at most.
    keep : Path, optional
        A folder for photos with faults.
    door : str
        The module that has `decode` and `photo_size`.

    Yields
    ------
    Outcome
    """
    limits = limits or Limits()
    workers = workers or min(4, os.cpu_count() or 1)
    with tempfile.TemporaryDirectory(prefix="hostile-") as place:
        doors: queue.Queue[Door] = queue.Queue()
        for _ in range(workers):
            doors.put(Door(Path(place), limits, door))

        def one(case: Case) -> Outcome:
            door = doors.get()
            try:
                return door.try_on(case, keep)
            finally:
                doors.put(door)

        slow = []
        try:
            with ThreadPoolExecutor(workers) as threads:
                for outcome in threads.map(one, cases):
                    if any(fault.startswith("hang") for fault in outcome.faults):
                        slow.append(outcome)
                    else:
                        yield outcome
            for outcome in slow:
                yield one(outcome.case)
        finally:
            while not doors.empty():
                doors.get().close()
