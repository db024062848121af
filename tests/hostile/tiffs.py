"""TIFF: strips and tiles of absurd size, deflate bombs, directories that loop."""

from __future__ import annotations

import struct
from functools import partial
from io import BytesIO
from itertools import product

from PIL import Image

from hostile import jpeg
from hostile.case import Case, picture
from hostile.mutations import EXTREMES
from hostile.parts import ASCII, LONG, SHORT, UNDEFINED, tiff, zeros
from hostile.valid import own_tiff

# Tags that say what the pixels are.
TAGS = {
    "width": 256, "height": 257, "bits": 258, "compression": 259, "color": 262, "fill-order": 266,
    "strip-offset": 273, "orientation": 274, "samples": 277, "rows-per-strip": 278,
    "strip-length": 279, "planes": 284, "predictor": 317, "palette": 320, "tile-width": 322,
    "tile-height": 323, "tile-offset": 324, "tile-length": 325, "extra": 338, "format": 339,
    "tables": 347, "sampling": 530, "position": 531,
}  # fmt: skip
COMPRESSIONS = (
    0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 32766, 32771, 32773, 32809, 32895, 32908, 32909, 32946, 32947,
    34661, 34676, 34677, 34712, 34887, 34925, 50000, 50001, 50002, 65535,
)  # fmt: skip


def cases() -> list[Case]:
    """All of them."""
    found = [
        _case(f"{name}-{value}", _said, {tag: (LONG, value)})
        for (name, tag), value in product(TAGS.items(), EXTREMES)
    ]
    found += [
        _case(f"{name}-of-type-{kind}-count-{count}", _said, {tag: (kind, count, 8)})
        for (name, tag), kind, count in product(
            TAGS.items(), (1, 2, 5, 12), (0, 2, 70000, 0xFFFFFFFF)
        )
    ]
    found += [
        _case(f"compression-{c}-{'tiles' if tiled else 'strips'}", _compressed, c, tiled)
        for c, tiled in product(COMPRESSIONS, (False, True))
    ]
    found += [
        _case(f"color-{c}-samples-{n}", _color, c, n)
        for c in (*range(11), 32844, 32845, 34892)
        for n in (1, 2, 3, 4, 5)
    ]
    found += [
        _case("deflate-30000x30000", deflated, 30000, 30000, 1),
        _case("deflate-9400x9400", deflated, 9400, 9400, 1),
        _case("deflate-9000x9000-rgb", deflated, 9000, 9000, 3),
        _case("deflate-9000x9000-rgba", deflated, 9000, 9000, 4),
        _case("deflate-9000x9000-rgba-16", deflated, 9000, 9000, 4, 16),
        _case("deflate-9000x9000-float", deflated, 9000, 9000, 1, 32),
        _case("deflate-9000x9000-turned", deflated, 9000, 9000, 3, 8, {274: (SHORT, 6)}),
        _case("deflate-more-than-said", deflated, 64, 64, 1, 8, {}, 1 << 30),
        _case("deflate-one-strip-of-many", _many_strips),
        _case("tile-65536-of-64", _tile, 65536),
        _case("tile-16384-of-64", _tile, 16384),
        _case("tile-16-of-9000", _tiles_same),
        _case("strips-of-0-bytes", _strips, 9000, 9000, 0),
        _case("strips-of-1-byte", _strips, 9000, 9000, 1),
        _case("strips-same-9000x9000", _strips, 9000, 9000, 9000),
        _case("packbits-9000x9000", _packbits),
        _case("pages-65535", _pages, 65535),
        _case("pages-loop", lambda: own_tiff()[:-4] + struct.pack("<I", 8)),
        _case("directory-is-next", _next_is_itself),
        _case("tags-60000", _many_tags),
        _case("sub-directories-loop", lambda: own_tiff(more={330: (LONG, [8] * 1000)})),
        _case("description-of-4-gigabytes", _said, {270: (ASCII, 0xFFFFFFFF, 8)}),
        _case("description-of-1-megabyte", lambda: own_tiff(more={270: (ASCII, b"a" * 1_500_000)})),
        _case("profile-of-4-gigabytes", _said, {34675: (UNDEFINED, 0xFFFFFFFF, 8)}),
        _case("xmp-of-types", _said, {700: (12, 10, 8)}),
        _case("photoshop-of-types", _said, {34377: (5, 10, 8)}),
        _case("jpeg-tables-missing", _compressed, 7, False),
        _case("jpeg-larger-inside", _jpeg_inside, 9000),
        _case("jpeg-smaller-inside", _jpeg_inside, 8),
        _case("old-jpeg", _old_jpeg),
        _case("big-directory-far", lambda: b"II+\0\x08\0\0\0" + b"\xff" * 8),
        _case("big-of-many", lambda: own_tiff(big=True)[:16] + b"\xff" * 2000),
        _case("head-alone", lambda: b"II*\0\x08\0\0\0"),
        _case("head-both", lambda: b"MMII*\0\x08\0\0\0"),
        _case("gdal", _said, {42113: (ASCII, b"nan\0"), 42112: (ASCII, b"<a>" * 9999)}),
    ]  # fmt: skip
    return found


def _case(kind: str, make, *arguments) -> Case:
    return Case(f"tiff/{kind}", partial(make, *arguments), ".tif")


def _said(more: dict) -> bytes:
    """The picture under a directory that says something else."""
    return own_tiff(more=more)


def _compressed(compression: int, tiled: bool) -> bytes:
    """Plain pixels that are said to be compressed."""
    return own_tiff(tiled=tiled, more={259: (SHORT, compression)})


def _color(color: int, samples: int) -> bytes:
    more = {262: (SHORT, color), 277: (SHORT, samples), 258: (SHORT, [8] * samples)}
    return own_tiff(more=more)


def _directory(width: int, height: int, samples: int = 1, bits: int = 8) -> dict:
    return {
        256: (LONG, width),
        257: (LONG, height),
        258: (SHORT, [bits] * samples),
        259: (SHORT, 8),
        262: (SHORT, 2 if samples > 2 else 1),
        277: (SHORT, samples),
        278: (LONG, height),
        **({338: (SHORT, 2)} if samples == 4 else {}),
        **({339: (SHORT, 3)} if bits == 32 else {}),
    }


def _sorted(entries: dict, pieces, **how) -> bytes:
    return tiff(dict(sorted(entries.items())), pieces, **how)


def deflated(
    width: int,
    height: int,
    samples: int,
    bits: int = 8,
    more: dict | None = None,
    length: int | None = None,
) -> bytes:
    """One strip of zeros, of a thousandth of its length."""
    entries = {**_directory(width, height, samples, bits), **(more or {})}
    return _sorted(entries, [zeros(length or width * height * samples * bits // 8)])


def _many_strips() -> bytes:
    """A strip for each row, and all are the same bytes, which inflate to far more than a row."""
    bomb = zeros(200 << 20)
    entries = {**_directory(64, 2000), 278: (LONG, 1)}
    entries |= {273: (LONG, [8] * 2000), 279: (LONG, [len(bomb)] * 2000)}
    return _sorted(entries, [bomb])


def _tile(side: int) -> bytes:
    entries = {**_directory(64, 64), 322: (LONG, side), 323: (LONG, side)}
    del entries[278]
    return _sorted(entries, [zeros(min(side * side, 1 << 28))], tiled=True)


def _tiles_same() -> bytes:
    """Tens of thousands of tiles, all of the same bytes."""
    one = zeros(256)
    entries = {**_directory(9000, 9000), 322: (LONG, 16), 323: (LONG, 16)}
    del entries[278]
    count = 563 * 563
    entries |= {324: (LONG, [8] * count), 325: (LONG, [len(one)] * count)}
    return _sorted(entries, [one], tiled=True)


def _strips(width: int, height: int, length: int) -> bytes:
    entries = {**_directory(width, height), 259: (SHORT, 1), 278: (LONG, 1)}
    entries |= {273: (LONG, [8] * height), 279: (LONG, [length] * height)}
    return _sorted(entries, [bytes(max(length, 1))])


def _packbits() -> bytes:
    row = b"\x81\0" * 71
    entries = {**_directory(9000, 9000), 259: (SHORT, 32773)}
    return _sorted(entries, [row * 9000])


def _pages(count: int) -> bytes:
    """Directories of no entries, each of which leads to the next."""
    start = own_tiff()
    at = len(start)
    pages = b"".join(struct.pack("<HI", 0, at + 6 * (i + 1)) for i in range(count))
    return start[:-4] + struct.pack("<I", at) + pages


def _next_is_itself() -> bytes:
    content = bytearray(own_tiff())
    (at,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, at)
    struct.pack_into("<I", content, at + 2 + 12 * count, at)
    return bytes(content)


def _many_tags() -> bytes:
    return own_tiff(more={1000 + i: (SHORT, 1) for i in range(60_000)})


def _jpeg_inside(side: int) -> bytes:
    file = BytesIO()
    Image.new("RGB", (side, side)).save(file, "JPEG", quality=20)
    entries = {**_directory(64, 64, 3), 259: (SHORT, 7), 262: (SHORT, 6)}
    return _sorted(entries, [file.getvalue()])


def _old_jpeg() -> bytes:
    """JPEG as TIFF 6.0 had it, with a pointer to a whole file."""
    inside = jpeg.base()
    entries = {**_directory(*picture().size, 3), 259: (SHORT, 6), 262: (SHORT, 6)}
    entries |= {513: (LONG, 8), 514: (LONG, len(inside))}
    return _sorted(entries, [inside])
