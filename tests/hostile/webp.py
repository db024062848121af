"""WebP: a quarter of a gigapixel in 34 bytes, canvases without pictures, chunks that lie."""

from __future__ import annotations

import struct
from functools import cache, partial

from hostile.case import Case, picture
from hostile.exif import webp_with
from hostile.mutations import EXTREMES
from hostile.parts import riff
from hostile.valid import saved


def cases() -> list[Case]:
    """All of them."""
    found = [
        _case(f"lossless-{w}x{h}", lossless, w, h)
        for w, h in ((16384, 16384), (16383, 16383), (9000, 9000), (16384, 1), (1, 16384))
    ]
    found += [
        _case("lossless-alpha-9000x9000", lossless, 9000, 9000, alpha=1),
        _case("lossless-version-7", lossless, 64, 64, version=7),
        _case("lossless-cut", lambda: lossless(9000, 9000)[:-4]),
        _case("lossy-16383x16383", _lossy, 16383, 16383),
        _case("lossy-9000x9000", _lossy, 9000, 9000),
        _case("lossy-0x0", _lossy, 0, 0),
        _case("lossy-scaled", _lossy, 0xFFFF, 0xFFFF),
        _case("canvas-of-2-to-24", _canvas, 1 << 24, 1 << 24),
        _case("canvas-16384-of-1-frame", _animated, 16384, 1),
        _case("canvas-9000-of-1-frame", _animated, 9000, 1),
        _case("canvas-4000-of-20000-frames", _animated, 4000, 20_000),
        _case("canvas-64-of-40000-frames", _animated, 64, 40_000),
        _case("canvas-without-picture", lambda: riff((b"VP8X", bytes(10)))),
        _case("canvas-other-than-picture", _canvas, 1000, 1000),
        _case("profile-large", lambda: webp_with((b"ICCP", bytes(1_900_000)), flags=0x20)),
        _case("chunks-many", lambda: webp_with(*[(b"abcd", b"")] * 200_000)),
        _case("exif-many", lambda: webp_with(*[(b"EXIF", b"II*\0")] * 100_000)),
        _case("xmp-large", lambda: webp_with((b"XMP ", bytes(1_900_000)))),
        _case("alpha-without-picture", lambda: webp_with((b"ALPH", bytes(9)), flags=0x10)),
        _case("riff-0", _said, 0),
        *(_case(f"riff-{value}", _said, value) for value in EXTREMES[1:]),
        *(_case(f"flags-{1 << bit}", webp_with, flags=1 << bit) for bit in range(8)),
    ]
    return found


def _case(kind: str, make, *arguments, **how) -> Case:
    return Case(f"webp/{kind}", partial(make, *arguments, **how), ".webp")


@cache
def base() -> bytes:
    """The picture."""
    return saved(picture(), "WEBP")


def lossless(width: int, height: int, alpha: int = 0, version: int = 0) -> bytes:
    """One colour of any size: five codes of one symbol each, and no bit for a pixel."""
    bits = (width - 1) | (height - 1) << 14 | alpha << 28 | version << 29
    # No transform, no colour cache, no meta codes; five times: simple, one symbol, of one bit, 0.
    codes, used = 0, 3
    for _ in range(5):
        codes |= 1 << used
        used += 4
    return riff((b"VP8L", b"\x2f" + struct.pack("<I", bits) + codes.to_bytes(8, "little")))


def _lossy(width: int, height: int) -> bytes:
    """The picture's data under another size."""
    plain = bytearray(base())
    struct.pack_into("<HH", plain, 26, width, height)
    return bytes(plain)


def _canvas(width: int, height: int) -> bytes:
    changed = bytearray(webp_with())
    changed[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(changed)


def _animated(side: int, frames: int) -> bytes:
    one = lossless(1, 1)[12:]
    head = struct.pack("<I", 2) + (side - 1).to_bytes(3, "little") * 2
    shown = bytes(6) + bytes(6) + (10).to_bytes(3, "little") + b"\0"
    return riff((b"VP8X", head), (b"ANIM", bytes(6)), *[(b"ANMF", shown + one)] * frames)


def _said(length: int) -> bytes:
    return base()[:4] + struct.pack("<I", length) + base()[8:]
