"""JPEG 2000: absurd numbers of components, tiles and resolutions."""

from __future__ import annotations

import struct
from functools import cache, partial

from PIL import features

from hostile.case import Case, picture
from hostile.mutations import EXTREMES
from hostile.parts import box, segment
from hostile.valid import saved

SOC, SIZ, COD, QCD, SOT, SOD, EOC = (0xFF4F, 0xFF51, 0xFF52, 0xFF5C, 0xFF90, 0xFF93, 0xFFD9)


def cases() -> list[Case]:
    """All of them, where there is OpenJPEG."""
    if not features.check("jpg_2000"):
        return []
    found = [
        _case(f"size-{w}x{h}", stream, w, h)
        for w, h in ((65500, 65500), (1 << 31, 1 << 31), (0xFFFFFFFF, 1), (9000, 9000), (0, 0))
    ]
    found += [
        _case(f"size-{w}x{h}-of-one-tile", stream, w, h, tile=max(w, h))
        for w, h in ((65500, 65500), (9000, 9000), (20000, 4000))
    ]
    found += [
        _case(f"components-{n}", stream, 64, 64, components=n) for n in (0, 1, 2, 5, 255, 16384)
    ]
    found += [_case("components-16384-of-4000", stream, 4000, 4000, components=16384)]
    found += [_case(f"tile-{n}", stream, 9000, 9000, tile=n) for n in (0, 1, 2, 16, 0xFFFFFFFF)]
    found += [_case(f"levels-{n}", stream, 64, 64, levels=n) for n in (0, 6, 32, 33, 255)]
    found += [_case(f"layers-{n}", stream, 64, 64, layers=n) for n in (0, 65535)]
    found += [_case(f"block-{n}", stream, 64, 64, block=n) for n in (0, 8, 15, 255)]
    found += [
        _case(f"depth-{n}", stream, 64, 64, depth=n) for n in (0, 1, 15, 31, 37, 38, 127, 255)
    ]
    found += [_case(f"sampling-{n}", stream, 64, 64, sampling=n) for n in (0, 2, 255)]
    found += [
        _case(f"{name}-{value}", changed, at, form, value)
        for name, at, form in (
            ("width", 8, ">I"), ("height", 12, ">I"), ("left", 16, ">I"), ("top", 20, ">I"),
            ("tile-width", 24, ">I"), ("tile-height", 28, ">I"), ("tile-left", 32, ">I"),
            ("components-said", 40, ">H"),
        )
        for value in EXTREMES
        if value < 1 << 8 * struct.calcsize(form)
    ]  # fmt: skip
    found += [
        _case("tile-parts-many", _tile_parts, 60_000),
        _case("comments-many", lambda: _behind_head(segment(0xFF64, b"\0\1a") * 250_000)),
        _case("packed-headers", lambda: _behind_head(segment(0xFF60, b"\0" + b"a" * 60_000) * 30)),
        _case("region-of-interest", lambda: _behind_head(segment(0xFF5E, b"\0\0\xff"))),
        _case(
            "progressions", lambda: _behind_head(segment(0xFF5F, b"\0\0\xff\xff\x21\xff\4" * 900))
        ),
        _box("head-0", box(b"ihdr", bytes(14))),
        _box(
            "head-of-2-to-31",
            box(b"ihdr", struct.pack(">IIHBBBB", 1 << 31, 1 << 31, 3, 7, 7, 0, 0)),
        ),
        _box("palette-1024", _IHDR + _palette(1024, 255)),
        _box("palette-65535", _IHDR + _palette(65535, 1)),
        _box("palette-0", _IHDR + _palette(0, 0)),
        _box("mapping", _IHDR + _palette(2, 3) + box(b"cmap", b"\xff\xff\1\xff" * 9)),
        _box("channels", _IHDR + box(b"cdef", struct.pack(">H", 65535) + b"\xff" * 60)),
        _box("color-unknown", _IHDR + box(b"colr", b"\1\0\0" + b"\xff" * 4)),
        _box("profile-large", _IHDR + box(b"colr", b"\2\0\0" + bytes(1_500_000))),
        _box("boxes-many", _IHDR + box(b"abcd") * 200_000),
        _box("without-head", b""),
        _case("box-of-0", lambda: _JP2 + bytes(1000)),
        _case("box-long", lambda: _JP2 + struct.pack(">I4sQ", 1, b"jp2h", 1 << 63)),
    ]
    return found


def _case(kind: str, make, *arguments, **how) -> Case:
    return Case(f"jpeg2000/{kind}", partial(make, *arguments, **how), ".jp2")


@cache
def base() -> bytes:
    """The picture as a codestream."""
    return saved(picture(), "JPEG2000", no_jp2=True)


def stream(
    width: int,
    height: int,
    *,
    tile: int = 1024,
    components: int = 3,
    depth: int = 7,
    sampling: int = 1,
    levels: int = 5,
    layers: int = 1,
    block: int = 4,
) -> bytes:
    """A codestream of any size with one tile that is empty: every packet says so in a bit."""
    sizes = struct.pack(">HIIIIIIIIH", 0, width, height, 0, 0, tile, tile, 0, 0, components)
    siz = segment(SIZ, sizes + bytes([depth, sampling, sampling]) * min(components, 16384))
    cod = segment(COD, struct.pack(">BBHBBBBBB", 0, 0, layers, 0, levels, block, block, 0, 1))
    qcd = segment(QCD, b"\x40" + b"\x48" * min(3 * levels + 1, 97))
    packets = bytes(256)
    sot = segment(SOT, struct.pack(">HIBB", 0, 14 + len(packets), 0, 1))
    return b"\xff\x4f" + siz + cod + qcd + sot + b"\xff\x93" + packets + b"\xff\xd9"


def changed(at: int, form: str, value: int) -> bytes:
    """The picture with another number in its head."""
    content = bytearray(base())
    struct.pack_into(form, content, at, value)
    return bytes(content)


def _behind_head(segments: bytes) -> bytes:
    content = base()
    at = content.index(b"\xff\x90")
    return content[:at] + segments + content[at:]


def _tile_parts(count: int) -> bytes:
    content = base()
    at = content.index(b"\xff\x90")
    part = segment(SOT, struct.pack(">HIBB", 0, 14, 0, 0)) + b"\xff\x93"
    return content[:at] + part * count + content[at:]


_JP2 = box(b"jP  ", b"\r\n\x87\n") + box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
_IHDR = box(b"ihdr", struct.pack(">IIHBBBB", *picture().size[::-1], 3, 7, 7, 0, 0))


def _palette(entries: int, columns: int) -> bytes:
    head = struct.pack(">HB", entries, columns) + b"\7" * columns
    return box(b"pclr", head + bytes(min(entries * columns, 300_000)))


def _box(kind: str, inside: bytes) -> Case:
    return _case(kind, lambda: _JP2 + box(b"jp2h", inside) + box(b"jp2c", base()))
