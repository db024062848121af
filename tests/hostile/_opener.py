"""Opens files as the product does, one a line of standard input, and says what happened."""

import json
import os
import resource
import sys
import time
import traceback
import warnings
from contextlib import suppress
from pathlib import Path

import psutil

from hostile.test_files import all_kinds

ROOM = 4 << 30  # bytes that a file may ask for before that is an error


def main() -> None:
    """Answer until there are no more lines."""
    photos = Path(sys.argv[1])
    photos.mkdir()
    kinds = {kind.name: kind for kind in all_kinds(photos)}
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if sys.platform == "linux":
        room = psutil.Process().memory_info().vms + ROOM
        resource.setrlimit(resource.RLIMIT_AS, (room, room))
    print(json.dumps(sorted(kinds)), file=out)
    for line in sys.stdin:
        name, path = json.loads(line)
        print(json.dumps(_tried(kinds[name], photos, Path(path))), file=out)


def _tried(kind, photos: Path, file: Path) -> dict:
    before, started = _forget_peak(), time.perf_counter()
    told = {"answer": "opened", "message": ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            kind.opened(photos, file)
        except kind.allowed as error:
            told = {"answer": "refused", "message": str(error)}
            if _out_of_memory(error):
                told["answer"] = "asked for too much"
        except BaseException as error:
            told = {"answer": "raised", "message": f"{type(error).__name__}: {error}"[:1000]}
    told["seconds"] = time.perf_counter() - started
    told["megabytes"] = (_peak() - before) / 1024
    return told


def _out_of_memory(error: BaseException | None) -> bool:
    while error is not None:
        # Of text that nests deeply Python's parser says the same, and asks for nothing.
        if isinstance(error, MemoryError) and _raised_in(error) != "ast.py":
            return True
        error = error.__cause__ or error.__context__
    return False


def _raised_in(error: BaseException) -> str:
    return Path(traceback.extract_tb(error.__traceback__)[-1].filename).name


def _forget_peak() -> int:
    """What the process has now, in kilobytes, as far as the system can be asked."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return int(text.split("VmHWM:")[1].split()[0])


if __name__ == "__main__":
    main()
