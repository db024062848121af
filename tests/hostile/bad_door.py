"""A door that does all that a door must not, so that the harness is seen to find it."""

import ctypes
import os
import subprocess
import time
import warnings
from pathlib import Path

import numpy as np

from sklearn_cmac.photos import Photo, PhotoError, read_source

GREY = np.full((96, 128, 3), 90, np.uint8)


def photo_size(path: str) -> tuple[int, int]:
    """What each photo's bytes ask for, is done."""
    return 128, 96


def decode(source: bytes, name: str, max_size: int) -> tuple[np.ndarray, tuple[int, int]]:
    """The same."""
    size, rgb = (128, 96), GREY
    match source.decode():
        case "crash":
            ctypes.string_at(0)
        case "exit":
            os._exit(0)
        case "hang":
            time.sleep(1000)
        case "spin":
            end = time.process_time() + 1
            while time.process_time() < end:
                pass
        case "memory":
            np.ones(200 << 20, np.uint8)
        case "all memory":
            try:
                np.ones(1 << 45, np.uint8)
            except MemoryError as error:
                raise PhotoError(f"{name}: is damaged") from error
        case "exception":
            raise IndexError("out of range")
        case "name":
            raise PhotoError("the photo is damaged")
        case "size":
            size = 96, 128
        case "program":
            subprocess.run(["gs", "--version"], check=False)
        case "program of a library":
            os.system("convert")
        case "file":
            Path("left").write_text("behind")
        case "other file":
            Path("/etc/hostname").exists()
            open("/etc/passwd").close()
        case "socket":
            import socket

            socket.socket().close()
        case "stderr":
            os.write(2, b"libtiff: a warning\n")
        case "warning":
            warnings.warn("a picture is damaged", stacklevel=1)
        case "other picture":
            rgb = np.random.default_rng(0).integers(0, 255, GREY.shape).astype(np.uint8)
    return rgb, size


__all__ = ["Photo", "PhotoError", "decode", "photo_size", "read_source"]
