"""PNG: a little that inflates to gigabytes, in pixels, texts and profiles."""

from __future__ import annotations

import struct
import zlib
from functools import cache, partial

from hostile.case import Case, picture
from hostile.mutations import EXTREMES
from hostile.parts import PNG, png, png_chunk, png_header, png_with, zeros
from hostile.valid import saved

GIGABYTE = 1 << 30


def cases() -> list[Case]:
    """All of them."""
    found = [
        _case("flat-30000x30000-1-bit", flat, 30000, 30000, 1, 0),
        _case("flat-30000x30000-grey", flat, 30000, 30000, 8, 0),
        _case("flat-30000x30000-palette", flat, 30000, 30000, 8, 3),
        _case("flat-16000x16000-rgb", flat, 16000, 16000, 8, 2),
        _case("flat-9000x9000-rgba", flat, 9000, 9000, 8, 6),
        _case("flat-9000x9000-rgba-16", flat, 9000, 9000, 16, 6),
        _case("flat-9400x9400-grey-16", flat, 9400, 9400, 16, 0),
        _case("flat-9400x9400-rgb-transparent", flat_transparent),
        _case("flat-9000x9000-interlaced", flat, 9000, 9000, 8, 2, 1),
        _case("flat-2000000x40", flat, 2_000_000, 40, 8, 2),
        _case("flat-40x2000000", flat, 40, 2_000_000, 8, 2),
        _case("more-pixels-than-said", lambda: png(64, 64, png_chunk(b"IDAT", _gigabyte()))),
        _case("ztxt-bomb", lambda: _with(b"zTXt", b"a\0\0" + _gigabyte())),
        _case("itxt-bomb", lambda: _with(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + _gigabyte())),
        _case("iccp-bomb", lambda: _with(b"iCCP", b"a\0\0" + _gigabyte())),
        _case("ztxt-bombs-behind", _texts_behind),
        _case("ztxt-many", lambda: _many(b"zTXt", b"a\0\0" + zlib.compress(bytes(60000)), 10000)),
        _case("text-many", lambda: _many(b"tEXt", b"a\0b", 100_000)),
        _case("text-large", lambda: _many(b"tEXt", b"a\0" + b"b" * 60_000, 30)),
        _case("time-many", lambda: _many(b"tIME", b"\7\xe8\1\1\1\1\1", 90_000)),
        _case("unknown-many", lambda: _many(b"abCd", b"", 150_000)),
        _case("palette-empty", lambda: _with(b"PLTE", b"")),
        _case("palette-long", lambda: _with(b"PLTE", bytes(3000))),
        _case("palette-odd", lambda: _with(b"PLTE", bytes(7))),
        _case("trns-long", lambda: _with(b"tRNS", bytes(70000))),
        _case("trns-short", lambda: _with(b"tRNS", b"a")),
        _case("idat-of-one-byte", _crumbs, 1),
        _case("idat-of-none", lambda: png_with(base(), png_chunk(b"IDAT", b"") * 150_000)),
        _case("apng-of-two-milliard", lambda: _with(b"acTL", struct.pack(">II", 1 << 31, 0))),
        _case("apng-of-none", lambda: _with(b"acTL", bytes(8))),
        _case("apng-short", lambda: _with(b"acTL", b"a")),
        _case("apng-frame-outside", _frame_outside),
        _case("apng-40000-frames", _frames),
        _case("no-end", lambda: base()[:-12]),
        _case("no-pixels", lambda: png(64, 64)),
        _case("no-header", lambda: PNG + base()[33:]),
        _case("header-twice", lambda: png_with(base(), png_header(40000, 40000))),
        _case("signature-alone", lambda: PNG),
        _case("chunk-of-4-gigabytes", lambda: base()[:33] + b"\xff\xff\xff\xffIDAT"),
        _case("mng", lambda: b"\x8aMNG\r\n\x1a\n" + base()[8:]),
    ]
    names = "width", "height", "depth", "color", "compression", "filter", "interlace"
    head = dict(zip(names, (64, 64, 8, 2, 0, 0, 0)))
    for field in names:
        for value in EXTREMES:
            if field in ("width", "height") or value < 256:
                found.append(_case(f"{field}-{value}", _said, {**head, field: value}))
    return found


def _case(kind: str, make, *arguments) -> Case:
    return Case(f"png/{kind}", partial(make, *arguments), ".png")


@cache
def base() -> bytes:
    """The picture."""
    return saved(picture(), "PNG")


@cache
def _gigabyte() -> bytes:
    return zeros(GIGABYTE)


def flat(width: int, height: int, depth: int, color: int, interlace: int = 0) -> bytes:
    """Zeros of any size: a sound file of a thousandth of its pixels' bytes."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    row = 1 + (width * depth * channels + 7) // 8
    palette = [png_chunk(b"PLTE", b"abc")] if color == 3 else []
    spare = 1.01 if interlace else 1  # each of seven passes has its own filter bytes
    body = png_chunk(b"IDAT", zeros(int(row * height * spare)))
    return png(width, height, *palette, body, depth=depth, color=color, interlace=interlace)


def flat_transparent() -> bytes:
    """One colour of RGB that is said to be transparent, so that RGBA is made of it."""
    side = 9400
    body = png_chunk(b"IDAT", zeros((1 + 3 * side) * side))
    return png(side, side, png_chunk(b"tRNS", bytes(6)), body)


def _said(head: dict[str, int]) -> bytes:
    """The picture's pixels under a header that says something else."""
    written = png_chunk(b"IHDR", struct.pack(">IIBBBBB", *head.values()))
    return PNG + written + base()[33:]


def _with(kind: bytes, body: bytes) -> bytes:
    return png_with(base(), png_chunk(kind, body))


def _many(kind: bytes, body: bytes, count: int) -> bytes:
    return png_with(base(), png_chunk(kind, body) * count)


def _texts_behind() -> bytes:
    """Behind the pixels, where a look at EXIF leads."""
    return png_with(base(), png_chunk(b"zTXt", b"a\0\0" + _gigabyte()), after=-1)


def _crumbs(size: int) -> bytes:
    """Pixels in chunks of one byte."""
    pixels = zlib.compress(bytes((1 + 3 * 3000) * 3000), 1)
    pieces = [png_chunk(b"IDAT", pixels[i : i + size]) for i in range(0, len(pixels), size)]
    return png(3000, 3000, *pieces)


def _frame_outside() -> bytes:
    control = struct.pack(">IIIIIHHBB", 0, 1000, 1000, 0xFFFF, 0xFFFF, 1, 1, 9, 9)
    return png_with(
        base(), png_chunk(b"acTL", struct.pack(">II", 2, 0)), png_chunk(b"fcTL", control)
    )


def _frames() -> bytes:
    control = struct.pack(">IIIIHHBB", 1, 1, 0, 0, 1, 1, 0, 0)
    row = zlib.compress(bytes(4))
    frames = b"".join(
        png_chunk(b"fcTL", struct.pack(">I", 2 * i) + control)
        + png_chunk(b"fdAT", struct.pack(">I", 2 * i + 1) + row)
        for i in range(20_000)
    )
    head = png_chunk(b"acTL", struct.pack(">II", 20_000, 0))
    return png_with(png_with(base(), head), frames, after=-1)
