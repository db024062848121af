"""EXIF and XMP: orientations of any type, directories that loop, entries that share a megabyte."""

from __future__ import annotations

import struct
from functools import partial
from itertools import product

from PIL import features

from hostile import isomedia, jpeg, png
from hostile.case import Case, picture
from hostile.mutations import EXTREMES
from hostile.parts import LONG, SHORT, box, jpeg_with, png_chunk, png_with, riff, segment, tiff
from hostile.valid import own_tiff, saved

ORIENTATION = 274


def cases() -> list[Case]:
    """Each EXIF in each kind of file that may hold one, and XMP."""
    carriers = {"jpeg": ".jpg", "png": ".png", "webp": ".webp"}
    if features.check("avif"):
        carriers["avif"] = ".avif"
    found = [
        Case(f"exif/{name}-in-{carrier}", partial(_carried, carrier, make), suffix)
        for (name, make), (carrier, suffix) in product(_blocks().items(), carriers.items())
    ]
    found += [
        Case(
            f"exif/orientation-{kind}-{count}-{value}-in-jpeg",
            partial(_carried, "jpeg", make),
            ".jpg",
        )
        for kind, count, value in product(range(14), (0, 1, 2, 70000), (0, 1, 6, 9, 0xFFFF))
        for make in [partial(tiff, {ORIENTATION: (kind, count, value)})]
    ]
    found += [
        Case(f"exif/orientation-{value}-{carrier}", partial(_carried, carrier, make), suffix)
        for value, (carrier, suffix) in product(EXTREMES, carriers.items())
        for make in [partial(tiff, {ORIENTATION: (LONG, 1, value)})]
    ]
    found += [
        Case(
            f"exif/tiff-orientation-{kind}-{count}-{value}",
            partial(_tiff_with, kind, count, value),
            ".tif",
        )
        for kind, count, value in product((1, 3, 4, 5, 12), (0, 1, 2, 70000), (0, 6, 9, 0xFFFF))
    ]
    found += [
        Case("exif/jpeg-segments-joined", _joined, ".jpg"),
        Case("exif/jpeg-segments-1000", partial(_repeated, 1000), ".jpg"),
        Case("exif/jpeg-two-orientations", _two, ".jpg"),
        Case("exif/png-hex-text", _hex_text, ".png"),
        Case(
            "exif/png-hex-text-bad",
            partial(_text, b"Raw profile type exif", b"\nexif\n 9\nzz"),
            ".png",
        ),
        *(
            Case(f"exif/xmp-{name}-in-{carrier}", partial(_with_xmp, carrier, make), suffix)
            for name, make in _XMPS.items()
            for carrier, suffix in carriers.items()
            if carrier != "avif"
        ),
        *_of_megabytes(),
    ]
    return found


def _blocks() -> dict:
    return {
        "empty": lambda: b"",
        "head-alone": lambda: b"II*\0",
        "zeros": lambda: bytes(64),
        "ones": lambda: b"\xff" * 64,
        "directory-far": lambda: struct.pack("<2sHI", b"II", 42, 0xFFFFFFF0),
        "directory-at-0": lambda: struct.pack("<2sHI", b"II", 42, 0),
        "directory-is-itself": lambda: tiff({ORIENTATION: (SHORT, 6)}, next_at=8),
        "directory-of-65535": lambda: tiff({})[:8] + b"\xff\xff" + bytes(100),
        "exif-pointer-loops": lambda: tiff({0x8769: (LONG, 8), 0x8825: (LONG, 8)}),
        "exif-pointer-far": lambda: tiff({0x8769: (LONG, 0x7FFFFFFF)}),
        "exif-pointer-of-text": lambda: tiff({0x8769: (2, b"eight\0")}),
        "exif-pointer-negative": lambda: tiff({0x8769: (9, -8), ORIENTATION: (SHORT, 6)}),
        "interop-loops": lambda: tiff({0x8769: (LONG, 8), 0xA005: (LONG, 8)}),
        "counts-huge": lambda: tiff(dict.fromkeys(range(256, 300), (SHORT, 4294967295, 8))),
        "counts-negative": lambda: tiff(dict.fromkeys(range(256, 300), (7, 2147483648, 8))),
        "offsets-huge": lambda: tiff(dict.fromkeys(range(256, 300), (7, 1000, 4294967295))),
        "rationals-of-0": lambda: tiff({t: (5, [0, 0]) for t in (282, 283, 33434)}),
        "types-unknown": lambda: tiff({300 + t: (t, 1, 1) for t in range(0, 1000)}),
        "one-tag-5000-times": lambda: _directory([(ORIENTATION, 3, 1, i % 9) for i in range(5000)]),
        "shared-60k": lambda: _sharing(5000, 60_000)[:65000],
        "maker-note-nikon": lambda: _maker(b"Nikon\0\2\0\0\0" + tiff({1: (7, 60000, 0)})),
        "maker-note-fuji": lambda: _maker(
            b"FUJIFILM\x0c\0\0\0\xff\xff" + b"\1\0\7\0\xff\xff\xff\xff" * 99
        ),
        "maker-note-olympus": lambda: _maker(b"OLYMP\0\1\0\xff\xff" + bytes(40)),
        "thumbnail-loops": lambda: tiff({513: (LONG, 8), 514: (LONG, 0xFFFFFFFF)}, next_at=8),
        "big-tiff": lambda: tiff({ORIENTATION: (SHORT, 6)}, big=True),
        "big-tiff-of-many": lambda: tiff({}, big=True)[:16] + b"\xff" * 8,
    }  # fmt: skip


# Those that a JPEG cannot hold in one segment.
def shared_megabyte(entries: int = 65535) -> bytes:
    """Every entry points at the same megabyte: who reads them all asks for entries x 1 MB."""
    return _sharing(entries, 1_000_000)


def _sharing(entries: int, length: int) -> bytes:
    start = 8 + 2 + 12 * entries + 4
    rows = [(256 + i, 7, length, start) for i in range(entries)]
    return _directory(rows) + bytes(length)


def _directory(rows: list[tuple[int, int, int, int]]) -> bytes:
    body = b"".join(struct.pack("<HHII", t & 0xFFFF, k, c, v) for t, k, c, v in rows)
    return struct.pack("<2sHIH", b"II", 42, 8, len(rows)) + body + bytes(4)


def _maker(note: bytes) -> bytes:
    """A note in an Exif directory behind the first."""
    inner_at = 8 + 2 + 2 * 12 + 4
    maker = {b"N": b"NIKON\0", b"F": b"FUJIFILM\0", b"O": b"OLYMPUS\0"}[note[:1]]
    outer = _directory([(0x8769, 4, 1, inner_at), (271, 2, 4, int.from_bytes(maker[:4], "little"))])
    at = inner_at + 2 + 12 + 4
    inner = struct.pack("<HHHII", 1, 0x927C, 7, len(note), at) + bytes(4)
    return outer + inner + note


def _carried(carrier: str, make) -> bytes:
    block = make()
    if carrier == "jpeg":
        return jpeg_with(jpeg.base(), segment(0xE1, b"Exif\0\0" + block[:65000]))
    if carrier == "png":
        return png_with(png.base(), png_chunk(b"eXIf", block))
    if carrier == "webp":
        return webp_with((b"EXIF", block))
    return isomedia.with_exif(block)


def webp_with(*chunks: tuple[bytes, bytes], flags: int = 0x0C) -> bytes:
    """The picture in an extended WebP, with these chunks behind it."""
    plain = saved(picture(), "WEBP")
    width, height = picture().size
    head = (
        struct.pack("<I", flags)
        + (width - 1).to_bytes(3, "little")
        + (height - 1).to_bytes(3, "little")
    )
    (length,) = struct.unpack_from("<I", plain, 16)
    return riff((b"VP8X", head), (plain[12:16], plain[20 : 20 + length]), *chunks)


def _tiff_with(kind: int, count: int, value: int) -> bytes:
    return own_tiff(more={ORIENTATION: (kind, count, value)})


def _joined() -> bytes:
    """One directory of all the segments together: Pillow puts them one behind the other."""
    whole = shared_megabyte()
    pieces = [whole[at : at + 65000] for at in range(0, len(whole), 65000)]
    return jpeg_with(jpeg.base(), *(segment(0xE1, b"Exif\0\0" + piece) for piece in pieces))


def _repeated(count: int) -> bytes:
    return jpeg_with(
        jpeg.base(), segment(0xE1, b"Exif\0\0" + tiff({ORIENTATION: (SHORT, 6)})) * count
    )


def _two() -> bytes:
    blocks = (tiff({ORIENTATION: (SHORT, value)}) for value in (6, 3))
    return jpeg_with(jpeg.base(), *(segment(0xE1, b"Exif\0\0" + block) for block in blocks))


def _hex_text() -> bytes:
    block = b"Exif\0\0" + tiff({ORIENTATION: (SHORT, 6)})
    return _text(b"Raw profile type exif", b"\nexif\n%8d\n" % len(block) + block.hex().encode())


def _text(keyword: bytes, text: bytes) -> bytes:
    return png_with(png.base(), png_chunk(b"tEXt", keyword + b"\0" + text))


def _entities(depth: int = 30) -> bytes:
    lines = [b'<!ENTITY e0 "ten letters">']
    lines += [b'<!ENTITY e%d "%s">' % (i, b"&e%d;" % (i - 1) * 10) for i in range(1, depth)]
    return (
        b"<?xml version='1.0'?><!DOCTYPE x [" + b"".join(lines) + b"]>"
        b"<x:xmpmeta xmlns:x='adobe:ns:meta/' xmlns:tiff='http://ns.adobe.com/tiff/1.0/' "
        b"tiff:Orientation='6'>&e%d;</x:xmpmeta>" % (depth - 1)
    )


_XMPS = {
    "entities": _entities,
    "external": lambda: (
        b"<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>"
        b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>&e;</x:xmpmeta>"
    ),
    "deep": lambda: b"<a>" * 20_000,
    "orientation-spaces": lambda: b'<a tiff:Orientation="' + b" " * 60_000,
    "orientation-long": lambda: b'<a tiff:Orientation="' + b"6" * 60_000 + b'"/>',
    "orientation-text": lambda: b'<a tiff:Orientation="six"/>',
    "not-unicode": lambda: b'\xff\xfe<a tiff:Orientation="6"/>\xff',
}


def _with_xmp(carrier: str, make) -> bytes:
    packet = make()
    if carrier == "jpeg":
        body = b"http://ns.adobe.com/xap/1.0/\0" + packet[:65000]
        return jpeg_with(jpeg.base(), segment(0xE1, body))
    if carrier == "png":
        return png_with(png.base(), png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet))
    return webp_with((b"XMP ", packet))


def _of_megabytes() -> list[Case]:
    found = [
        Case("exif/shared-megabyte-in-png", partial(_carried, "png", shared_megabyte), ".png"),
        Case("exif/shared-megabyte-in-webp", partial(_carried, "webp", shared_megabyte), ".webp"),
        Case("exif/shared-megabyte-alone", shared_megabyte, ".tif"),
        Case("exif/shared-megabyte-in-tiff", _shared_in_tiff, ".tif"),
        Case("exif/deep-boxes", _deep_boxes, ".avif"),
    ]
    if features.check("avif"):
        found.append(
            Case(
                "exif/shared-megabyte-in-avif", partial(_carried, "avif", shared_megabyte), ".avif"
            )
        )
    return found


def _shared_in_tiff() -> bytes:
    blob = bytes(1_000_000)
    more = {40000 + i: (7, len(blob), 8) for i in range(20_000)}
    width, height = picture().size
    entries = {256: (LONG, width), 257: (LONG, height), 258: (SHORT, 8), 259: (SHORT, 1),
               262: (SHORT, 1), 277: (SHORT, 1), 278: (LONG, height)}  # fmt: skip
    return tiff({**entries, **more}, [blob])


def _deep_boxes() -> bytes:
    inner = b""
    for _ in range(3000):
        inner = box(b"iprp", inner)
    return box(b"ftyp", b"avif\0\0\0\0avifmif1") + inner
