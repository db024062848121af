"""JPEG: scans without end, sizes without pixels, segments in tens of thousands."""

from __future__ import annotations

import random
import struct
from functools import cache, partial

from PIL import Image

from hostile.case import Case, picture
from hostile.parts import joined, jpeg_with, segment, tiff
from hostile.valid import saved

SOI, EOI = b"\xff\xd8", b"\xff\xd9"


def cases() -> list[Case]:
    """All of them."""
    found = [
        _case(f"size-{w}x{h}-{name}", few_bytes, w, h, marker)
        for w, h in ((65500, 65500), (65535, 65535), (1, 65535), (65535, 1), (30000, 20000))
        for name, marker in (("baseline", 0xC0), ("progressive", 0xC2), ("lossless", 0xC3))
    ]
    found += [
        _case(f"scans-{count}-of-{side}", many_scans, side, count)
        for side, count in ((8000, 2000), (8000, 20000), (2000, 20000), (100, 100000))
    ]
    found += [_case(f"scans-of-noise-{side}", many_scans, side, 300, 4000) for side in (1000, 4000)]
    found += [
        _case(f"arithmetic-{name}-{side}", arithmetic, side, marker)
        for name, marker in (("sequential", 0xC9), ("progressive", 0xCA), ("lossless", 0xCB))
        for side in (100, 8000)
    ]
    found += [_case(f"process-{m:02x}", few_bytes, 64, 64, m) for m in range(0xC0, 0xD0)]
    found += [
        _case(f"precision-{bits}", few_bytes, 64, 64, 0xC0, precision=bits)
        for bits in (0, 1, 2, 12, 16, 255)
    ]
    found += [
        _case(f"components-{n}", few_bytes, 64, 64, 0xC0, components=n) for n in (0, 2, 4, 5, 255)
    ]
    found += [
        _case(f"sampling-{s:02x}", few_bytes, 64, 64, 0xC0, sampling=s)
        for s in (0x00, 0x01, 0x10, 0x14, 0x41, 0x44, 0x55, 0xFF)
    ]
    found += [
        _case("flat-12000x7000", flat, 12000, 7000),
        _case("flat-progressive-12000x7000", flat, 12000, 7000, progressive=True),
        _case("flat-cmyk-9000x9000", flat, 9000, 9000, mode="CMYK"),
        _case("flat-16000x16000", flat, 16000, 16000),
        _case("comments-60000", _segments, segment(0xFE, b"ab"), 60000),
        _case("comments-of-64k", _segments, segment(0xFE, b"a" * 65000), 30),
        _case("fills", _fills),
        _case("icc-of-255-parts", _icc),
        _case("icc-one-of-none", _segments, segment(0xE2, b"ICC_PROFILE\0\0\0abc"), 3),
        _case("photoshop", _segments, segment(0xED, b"Photoshop 3.0\0" + b"8BIM" * 9000), 40),
        _case("quantization-16-bit", _segments, segment(0xDB, b"\x10" + b"\xff" * 128), 9000),
        _case("adobe-transforms", _segments, segment(0xEE, b"Adobe\0d\0\0\0\0\xff"), 3),
        _case("jfif-no-density", _segments, segment(0xE0, b"JFIF\0\1\2\1\0\0\0\0\xff\xff"), 1),
        _case("restart-1-without", _segments, segment(0xDD, b"\0\1"), 1),
        _case("height-later", _height_later),
        _case("only-tables", lambda: SOI + segment(0xDB, b"\0" + bytes(64)) + EOI),
        _case("start-alone", lambda: SOI),
        _case("start-and-end", lambda: SOI + EOI),
        _case("start-many", lambda: SOI * 100000 + base()),
        _case("two-frames", _two_frames),
        _case("inside-itself", lambda: jpeg_with(base(), *[segment(0xE1, base())] * 20)),
        _case("mpo-loop", _mpo, 2, 0),
        _case("mpo-of-a-million", _mpo, 1_000_000, 0),
        _case("mpo-of-none", _mpo, 0, 0),
        _case("mpo-far", _mpo, 2, 0xFFFFFFF0),
    ]
    return found


def _case(kind: str, make, *arguments, **how) -> Case:
    return Case(f"jpeg/{kind}", partial(make, *arguments, **how), ".jpg")


@cache
def base() -> bytes:
    """The picture."""
    return saved(picture(), "JPEG")


def flat(width: int, height: int, mode: str = "RGB", **how) -> bytes:
    """A large photo of one colour, sound."""
    return saved(Image.new(mode, (width, height), 90), "JPEG", quality=30, **how)


def frame(
    marker: int,
    width: int,
    height: int,
    *,
    precision: int = 8,
    components: int = 3,
    sampling: int = 0x11,
) -> bytes:
    """SOF."""
    head = struct.pack(">BHHB", precision, height, width, components)
    return segment(marker, head + joined(bytes([i + 1, sampling, 0]) for i in range(components)))


def scan(
    component: int, first: int, last: int, high: int = 0, low: int = 0, data: bytes = b""
) -> bytes:
    """SOS of one component."""
    return segment(0xDA, bytes([1, component, 0, first, last, high << 4 | low])) + data


def tables() -> bytes:
    """Quantization, and codes of two bits for lengths 0, 1, 0xF0 and 0xE0 of AC."""
    quantization = segment(0xDB, b"\0" + b"\x01" * 64)
    direct = segment(0xC4, b"\x00" + bytes([0, 3] + [0] * 14) + bytes([0, 1, 2]))
    alternating = segment(0xC4, b"\x10" + bytes([0, 3] + [0] * 14) + bytes([0x00, 0xE0, 0xF0]))
    return quantization + direct + alternating


def few_bytes(width: int, height: int, marker: int, **how) -> bytes:
    """A frame of any size with a scan that has almost no data."""
    components = min(how.get("components", 3), 4)
    who = joined(bytes([i + 1, 0]) for i in range(components))
    lossless = marker in (0xC3, 0xCB)
    progressive = marker in (0xC2, 0xCA)
    tail = bytes([1, 0, 0]) if lossless else bytes([0, 0 if progressive else 63, 0])
    body = segment(0xDA, bytes([components]) + who + tail) + bytes(64)
    return SOI + tables() + frame(marker, width, height, **how) + body + EOI


def many_scans(side: int, count: int, noise: int = 0) -> bytes:
    """Scans that each walk over the whole photo, and are a few bytes long."""
    rng = random.Random(side)
    direct = segment(0xDA, bytes([3, 1, 0, 2, 0, 3, 0, 0, 0, 1])) + bytes(8)
    refined = []
    for i in range(count):
        data = rng.randbytes(noise).replace(b"\xff", b"\0") if noise else b"\x55\x55"
        refined.append(scan(i % 3 + 1, 1, 63, 0 if i < 3 else 1, 1 if i < 3 else 0, data))
    return SOI + tables() + frame(0xC2, side, side) + direct + joined(refined) + EOI


def arithmetic(side: int, marker: int) -> bytes:
    """Arithmetic coding, in which all bytes mean something."""
    noise = random.Random(marker).randbytes(100_000).replace(b"\xff", b"\0")
    progressive = marker == 0xCA
    start = bytes([3, 1, 0, 2, 0, 3, 0]) + bytes([0, 0 if progressive else 63, 0])
    return SOI + tables() + frame(marker, side, side) + segment(0xDA, start) + noise + EOI


def _segments(piece: bytes, count: int) -> bytes:
    return jpeg_with(base(), piece * count)


def _fills() -> bytes:
    return base()[:2] + b"\xff" * 1_500_000 + base()[2:]


def _icc() -> bytes:
    parts = (b"ICC_PROFILE\0" + bytes([i, 255]) + bytes(6000) for i in range(1, 256))
    return jpeg_with(base(), *(segment(0xE2, part) for part in parts))


def _height_later() -> bytes:
    """Height 0, which is to be told by DNL behind the scan."""
    start = segment(0xDA, bytes([3, 1, 0, 2, 0, 3, 0, 0, 63, 0]))
    late = segment(0xDC, struct.pack(">H", 65535))
    return SOI + tables() + frame(0xC0, 64, 0) + start + bytes(64) + late + EOI


def _two_frames() -> bytes:
    return jpeg_with(base(), frame(0xC0, 8, 8), frame(0xC2, 60000, 60000))


def _mpo(count: int, offset: int) -> bytes:
    """A list of pictures (MP index) that lies about their number and place."""
    row = struct.pack(">IIIHH", 0x30000, 100, offset, 0, 0)
    index = tiff(
        {
            45056: (7, b"0100"),
            45057: (4, count),
            45058: (7, row * min(count, 3000)) if offset or count < 3 else (7, 16 * count, 8),
        },
        order=">",
    )
    return jpeg_with(base(), segment(0xE2, b"MPF\0" + index[:65000]))
