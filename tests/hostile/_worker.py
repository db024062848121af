"""Reads paths of photos, one a line, and runs the door on each in a process of its own.

What happened is answered as a line of JSON. Where processes cannot be forked, all photos run in
this one; whoever asks starts another when it dies.
"""

import base64
import contextlib
import importlib
import json
import os
import signal
import sys
import tempfile
import time
import warnings
from types import ModuleType

import numpy as np
from PIL import Image

from hostile.case import cells
from sklearn_cmac.photos import Photo, PhotoError, read_source

MAX_SIZE = 512  # pixels of the long side, as photos are decoded for a network
ADDRESS_SPACE = 4 << 30  # bytes that one photo may ask for before it gets a MemoryError
FORKS = hasattr(os, "fork")
ANSWERED = 77  # the exit status of who has answered: no library ends a process with it
TEMPORARY = tempfile.gettempdir()

# What a photo has no business to do, as `sys.addaudithook` calls it.
ACTIONS = (
    "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.remove", "os.rename", "os.rmdir",
    "os.mkdir", "os.chmod", "os.symlink", "os.link", "os.spawn", "os.startfile", "os.system",
    "pickle.find_class", "shutil.", "socket.", "subprocess.", "urllib.", "webbrowser.",
    "ctypes.dlopen",
)  # fmt: skip


def main() -> None:
    """Answer until there are no more lines."""
    Image.init()  # what opening a photo imports is imported once
    # Tests of the harness have a bad one.
    door = importlib.import_module(sys.argv[2])
    out = os.fdopen(os.dup(1), "w", buffering=1)
    noise = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    os.dup2(noise, 1)
    os.dup2(noise, 2)
    print(json.dumps("ready"), file=out)
    for line in sys.stdin:
        path = json.loads(line)
        os.ftruncate(noise, 0)
        os.lseek(noise, 0, os.SEEK_SET)
        if not FORKS:
            print(json.dumps(_tried(door, path, noise)), file=out)
            continue
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                print(json.dumps(_tried(door, path, noise)), file=out)
                out.flush()
                os._exit(ANSWERED)
            os._exit(70)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status != ANSWERED:
            name = signal.Signals(-status).name if status < 0 else f"exit status {status}"
            print(json.dumps({"answer": "crashed", "message": name}), file=out)


def _tried(door: ModuleType, path: str, noise: int) -> dict:
    done: list[str] = []
    watching = [False]

    def watch(event: str, arguments: tuple) -> None:
        if watching[0] and (event.startswith(ACTIONS) or _opens_another(event, arguments, path)):
            done.append(f"{event} {arguments!r}"[:200])

    if FORKS:
        sys.addaudithook(watch)  # never to be removed
        _limit_address_space()
    before = _resident()
    wall, processor = time.monotonic(), time.process_time()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        watching[0] = True
        told = _told(door, path)
        watching[0] = False
    told["wall"] = time.monotonic() - wall
    told["processor"] = time.process_time() - processor
    told["memory"] = None if before is None else (_status("VmHWM") - before) / 1024
    told["warned"] = [f"{w.category.__name__}: {w.message}"[:300] for w in warned[:20]]
    told["noise"] = os.pread(noise, 2000, 0).decode("utf-8", "replace")
    told["done"] = done
    return told


def _told(door: ModuleType, path: str) -> dict:
    size: tuple | None = None
    try:
        size = door.photo_size(path)
        rgb, upright = door.decode(read_source(Photo(path)), path, max_size=MAX_SIZE)
    except PhotoError as error:
        # A size without pixels is fine: the head of the file may be all there is of it.
        return {"answer": "refused", "message": str(error), "memory_error": _out_of_memory(error)}
    except BaseException as error:
        return {"answer": "raised", "message": f"{type(error).__name__}: {error}"[:400]}
    sound = isinstance(rgb, np.ndarray) and rgb.dtype == np.uint8 and rgb.ndim == 3
    if not sound or rgb.shape[2] != 3 or not rgb.size:
        return {"answer": "raised", "message": f"decoded to {getattr(rgb, 'shape', type(rgb))}"}
    return {
        "answer": "decoded",
        "message": "",
        "size": list(size),
        "upright": list(upright),
        "shape": list(rgb.shape[:2]),
        "one_color": bool((rgb == rgb[0, 0]).all()),
        "cells": base64.b64encode(cells(rgb).astype(np.uint8).tobytes()).decode(),
    }


def _out_of_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _opens_another(event: str, arguments: tuple, path: str) -> bool:
    """Whether a file is opened that is neither the photo nor Python's own."""
    if event != "open" or not isinstance(arguments[0], (str, bytes)):
        return False
    name = os.fsdecode(arguments[0])
    _, mode, flags = arguments
    writes = (isinstance(mode, str) and set(mode) & set("wax+")) or (flags or 0) & (
        os.O_WRONLY | os.O_RDWR | os.O_CREAT
    )
    if name == os.devnull or name.startswith(TEMPORARY):
        return False  # what is left there is seen afterwards
    own = name.startswith((path, sys.prefix, sys.base_prefix, "/proc/", "/sys/"))
    return bool(writes) or not (own or name.endswith((".py", ".pyc", ".so", ".pyd")))


def _limit_address_space() -> None:
    if sys.platform == "linux":
        import resource

        limit = _status("VmSize") * 1024 + ADDRESS_SPACE
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _resident() -> int | None:
    """Kilobytes that this process has now; from here on VmHWM counts the most it had."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        return None
    return _status("VmRSS")


def _status(field: str) -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field + ":"))


if __name__ == "__main__":
    main()
