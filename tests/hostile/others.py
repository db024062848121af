"""The other formats that Pillow knows: sizes without pixels, runs without end, icons of bombs."""

from __future__ import annotations

import gzip
import struct
from functools import cache, partial
from itertools import product

import numpy as np

from hostile import jpeg, png
from hostile.case import Case, picture
from hostile.mutations import EXTREMES
from hostile.valid import saved

SIDES = (0, 1, 9000, 30000, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def cases() -> list[Case]:
    """All of them."""
    found = []
    for name, (suffix, make, most) in _SIZED.items():
        for width, height in [
            *product((9000, most), repeat=2),
            *((s, 8) for s in SIDES if s <= most),
        ]:
            kind = f"others/{name}-{width}x{height}"
            if kind not in {case.kind for case in found}:
                found.append(Case(kind, partial(make, width, height), suffix))
    found += [Case(f"others/{name}", make, suffix) for name, (suffix, make) in _BUILT.items()]
    found += [
        Case(f"others/bmp-field-{at}-{value}", partial(_bmp_field, at, value), ".bmp")
        for at in (2, 10, 14, 18, 22, 26, 28, 30, 34, 46, 50)
        for value in EXTREMES
    ]
    found += [
        Case(f"others/dds-{fourcc.strip().lower()}-{side}", partial(_dds, side, fourcc), ".dds")
        for fourcc in ("DXT1", "DXT3", "DXT5", "ATI1", "ATI2", "BC4U", "BC5S", "DX10", "none")
        for side in (64, 9000, 65535)
    ]
    found += [
        Case(f"others/pnm-{kind}-{top}", partial(_pnm, kind, 64, 64, top), ".ppm")
        for kind in (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"Pf", b"PF", b"P7", b"Py")
        for top in (
            b"0",
            b"1",
            b"255",
            b"256",
            b"65535",
            b"65536",
            b"-1",
            b"nan",
            b"1e400",
            b"9" * 5000,
        )
    ]
    return found


def bmp(width: int, height: int, compression: int = 0, bits: int = 24, body: bytes = b"") -> bytes:
    """A BMP of any size; negative heights are read from the top."""
    head = struct.pack(
        "<IIIHHIIIIII",
        40,
        width & 0xFFFFFFFF,
        height & 0xFFFFFFFF,
        1,
        bits,
        compression,
        0,
        0,
        0,
        0,
        0,
    )
    palette = bytes(1024) if bits == 8 else bytes(64) if bits == 4 else b""
    at = 14 + len(head) + len(palette)
    return b"BM" + struct.pack("<IHHI", at + len(body), 0, 0, at) + head + palette + body


def _runs(kind: bytes, count: int = 700_000) -> bytes:
    return kind * count


def pcx(width: int, height: int, planes: int = 1, bits: int = 8) -> bytes:
    """A PCX of runs of 63."""
    stride = (width * bits + 7) // 8 & 0xFFFF
    head = struct.pack(
        "<BBBBHHHHHH", 10, 5, 1, bits, 0, 0, (width - 1) & 0xFFFF, (height - 1) & 0xFFFF, 72, 72
    )
    return (head + bytes(49) + struct.pack("<BH", planes, stride)).ljust(128, b"\0") + _runs(
        b"\xff\0"
    )


def tga(width: int, height: int, kind: int = 10, depth: int = 24) -> bytes:
    """A TGA of runs of 128."""
    head = struct.pack(
        "<BBBHHBHHHHBB", 0, 0, kind, 0, 0, 0, 0, 0, width & 0xFFFF, height & 0xFFFF, depth, 0
    )
    return head + _runs(b"\xff" + bytes(depth // 8), 400_000)


def sgi(width: int, height: int, channels: int = 3) -> bytes:
    """An SGI whose rows are all the same run."""
    head = struct.pack(
        ">HBBHHHHII", 474, 1, 1, 3, width & 0xFFFF, height & 0xFFFF, channels, 0, 255
    )
    rows = min((height & 0xFFFF) * channels, 30_000)
    at = 512 + 8 * rows
    run = b"\x7f\0" * (width // 127 + 1) + b"\0"
    starts = struct.pack(f">{rows}I", *[at] * rows) + struct.pack(f">{rows}I", *[len(run)] * rows)
    return head.ljust(512, b"\0") + starts + run


def psd(width: int, height: int, channels: int = 3, compression: int = 1, mode: int = 3) -> bytes:
    """A PSD whose rows are said to be short."""
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, channels, height, width, 8, mode)
    rows = min(height * channels, 30_000)
    lengths = struct.pack(f">{rows}H", *[2] * rows) if compression else b""
    return head + bytes(12) + struct.pack(">H", compression) + lengths + b"\x81\0" * rows


def _psd_layers(count: int, length: int) -> bytes:
    layers = struct.pack(">IIh", length, length, count) + b"\xff" * 4000
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 64, 64, 8, 3) + bytes(8)
    return head + layers + bytes(64 * 64 * 3)


def qoi(width: int, height: int) -> bytes:
    """A QOI of runs of 62."""
    head = b"qoif" + struct.pack(">IIBB", width & 0xFFFFFFFF, height & 0xFFFFFFFF, 4, 0)
    return head + _runs(b"\xfd", 1_500_000) + bytes(7) + b"\1"


def _icon(count: int, inside: bytes, kind: int = 1, at: int | None = None) -> bytes:
    """An icon of many pictures that are all the same bytes."""
    start = 6 + 16 * count if at is None else at
    row = struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, len(inside), start)
    return struct.pack("<HHH", 0, kind, count) + row * count + inside


def _icns(kind: bytes, inside: bytes, count: int = 1) -> bytes:
    block = kind + struct.pack(">I", len(inside) + 8) + inside
    return b"icns" + struct.pack(">I", len(block) * count + 8) + block * count


def _pnm(kind: bytes, width: int, height: int, top: bytes = b"255") -> bytes:
    body = b"1 " * 30_000 if kind in (b"P1", b"P2", b"P3") else bytes(64 * 64 * 6)
    return kind + b"\n%d %d\n" % (width, height) + top + b"\n" + body


def _dds(side: int, fourcc: str) -> bytes:
    code = b"\0\0\0\0" if fourcc == "none" else fourcc.encode()
    flags = 0x40 if fourcc == "none" else 4
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    form = struct.pack("<II4sI4I", 32, flags, code, 24, *masks)
    head = struct.pack("<IIIIIII44x", 124, 0x1007, side, side, 0, 0, 0xFFFFFFFF)
    extra = struct.pack("<IIIII", 98, 3, 0, 1, 0) if fourcc == "DX10" else b""
    return b"DDS " + head + form + struct.pack("<5I", 0x1000, 0, 0, 0, 0) + extra + bytes(4096)


def _bmp_field(at: int, value: int) -> bytes:
    content = bytearray(saved(picture(), "BMP"))
    struct.pack_into("<I", content, at, value)
    return bytes(content)


def _sun(width: int, height: int) -> bytes:
    head = struct.pack(">8I", 0x59A66A95, width & 0xFFFFFFFF, height & 0xFFFFFFFF, 8, 0, 2, 0, 0)
    return head + _runs(b"\x80\xff\0", 400_000)


def _fli(width: int, height: int, frames: int = 1) -> bytes:
    head = struct.pack(
        "<IHHHHHHI", 128 + 16, 0xAF12, frames, width & 0xFFFF, height & 0xFFFF, 8, 3, 0
    )
    frame = struct.pack("<IHH8x", 16 + 8, 0xF1FA, 1) + struct.pack("<IHH", 8, 13, 0)
    return head.ljust(128, b"\0") + frame


def _fits(width: int, height: int, bits: int = 8) -> bytes:
    cards = _cards(SIMPLE="T", BITPIX=bits, NAXIS=2, NAXIS1=width, NAXIS2=height)
    return cards + bytes(5760)


def _fits_squeezed() -> bytes:
    """The gzip of FITS that Pillow inflates whole."""
    head = _cards(SIMPLE="T", BITPIX=8, NAXIS=0, EXTEND="T")
    table = _cards(
        XTENSION="'BINTABLE'",
        BITPIX=8,
        NAXIS=2,
        NAXIS1=8,
        NAXIS2=8,
        PCOUNT=100,
        GCOUNT=1,
        ZIMAGE="T",
        ZCMPTYPE="'GZIP_1  '",
        ZBITPIX=8,
        ZNAXIS=2,
        ZNAXIS1=8000,
        ZNAXIS2=8000,
    )
    return head + table + bytes(64) + gzip.compress(bytes(1 << 30), 9, mtime=0)


def _cards(**values: int | str) -> bytes:
    cards = [f"{key:8}= {value:>20}".ljust(80) for key, value in values.items()]
    return "".join([*cards, "END"]).ljust(2880).encode()


def _xbm(width: int, height: int) -> bytes:
    return (
        b"#define a_width %d\n#define a_height %d\nstatic char a_bits[] = {\n" % (width, height)
        + b"0x00," * 20_000
    )


def _xpm(width: int, height: int, colors: int = 2) -> bytes:
    head = b'/* XPM */\nstatic char *a[] = {\n"%d %d %d 1",\n' % (width, height, colors)
    return head + b'"a c #000000",\n"b c #ffffff",\n' + b'"' + b"ab" * 32 + b'",\n' * 64 + b"};"


def _im(width: int, height: int) -> bytes:
    head = (
        b"Image type: RGB image\r\nImage size (x*y): %d*%d\r\nFile size (no of images): 1\r\n"
        % (width, height)
    )
    return head.ljust(511, b"\0") + b"\x1a" + bytes(4096)


def _spider(width: int, height: int) -> bytes:
    head = np.zeros(256, ">f4")
    head[[0, 1, 2, 4, 11, 12, 21, 22]] = 1, min(height, 2e9), 1, 1, width, width, 1024, width * 4
    head[12] = -(-1024 // max(4 * width, 1)) or 1
    return head.tobytes() + bytes(4096)


def _gbr(width: int, height: int) -> bytes:
    return (
        struct.pack(">IIIII4sI", 30, 2, width & 0xFFFFFFFF, height & 0xFFFFFFFF, 4, b"GIMP", 9)
        + b"a\0"
        + bytes(4096)
    )


def _msp(width: int, height: int) -> bytes:
    head = b"LinS" + struct.pack("<HHHHHH", width & 0xFFFF, height & 0xFFFF, 1, 1, 1, 1)
    head = head.ljust(24, b"\0")
    check = 0
    for (word,) in struct.iter_unpack("<H", head):
        check ^= word
    head += struct.pack("<HHHH", check, 0, 0, 0)
    rows = min(height & 0xFFFF, 60_000)
    return head + struct.pack("<H", 3) * rows + b"\0\xff\0" * rows


def _pixar(width: int, height: int) -> bytes:
    body = bytearray(1024 + 4096)
    body[:4] = b"\x80\xe8\0\0"
    struct.pack_into("<HH", body, 416, height & 0xFFFF, width & 0xFFFF)
    struct.pack_into("<HH", body, 424, 14, 2)
    return bytes(body)


def _mcidas(width: int, height: int) -> bytes:
    words = [0] * 64
    words[1], words[8], words[9], words[10], words[13] = (
        4,
        height & 0x7FFFFFFF,
        width & 0x7FFFFFFF,
        1,
        1,
    )
    return struct.pack(">64i", *words).replace(b"\0\0\0\0\0\0\0\4", b"\0\0\0\0\0\0\0\4", 1) + bytes(
        4096
    )


def _ftex(width: int, height: int) -> bytes:
    head = struct.pack("<IIII", 0x55455446, 2, width & 0x7FFFFFFF, height & 0x7FFFFFFF)
    return head + struct.pack("<IIIII", 1, 1, 0, 32, 1 << 30) + bytes(4096)


def _blp(width: int, height: int) -> bytes:
    head = b"BLP2" + struct.pack("<IBBBBII", 1, 2, 0, 0, 0, width & 0xFFFFFFFF, height & 0xFFFFFFFF)
    return (
        head + struct.pack("<16I16I", 1172, *[0] * 15, 4096, *[0] * 15) + bytes(1024) + bytes(4096)
    )


def _imt(width: int, height: int) -> bytes:
    return b"*\nwidth %d\nheight %d\n\x0c" % (width, height) + bytes(4096)


def _thumb(width: int, height: int) -> bytes:
    return b"P7 332\n#end\n%d %d 255\n" % (width, height) + bytes(4096)


def _iptc(width: int, height: int) -> bytes:
    def field(record: int, number: int, value: bytes) -> bytes:
        return bytes([0x1C, record, number]) + struct.pack(">H", len(value)) + value

    size = [struct.pack(">I", v & 0xFFFFFFFF) for v in (width, height)]
    return b"".join(
        [field(3, 60, b"\1\0"), field(3, 20, size[0]), field(3, 30, size[1]), field(3, 120, b"\1"),
         b"\x1c\x08\x0a\x7f\xff" + bytes(4096)]
    )  # fmt: skip


_SIZED = {
    "bmp-runs-8": (".bmp", lambda w, h: bmp(w, h, 1, 8, b"\0\1"), 0xFFFFFFFF),
    "bmp-runs-4": (".bmp", lambda w, h: bmp(w, h, 2, 4, b"\0\1"), 0xFFFFFFFF),
    "bmp-runs-of-255": (".bmp", lambda w, h: bmp(w, h, 1, 8, b"\xff\0" * 600_000), 0xFFFFFFFF),
    "bmp-steps": (".bmp", lambda w, h: bmp(w, h, 1, 8, b"\0\2\xff\xff" * 90_000), 0xFFFFFFFF),
    "bmp-plain": (".bmp", lambda w, h: bmp(w, h), 0xFFFFFFFF),
    "bmp-1-bit": (".bmp", lambda w, h: bmp(w, h, 0, 1), 0xFFFFFFFF),
    "pcx": (".pcx", pcx, 0xFFFF),
    "pcx-planes": (".pcx", lambda w, h: pcx(w, h, 3), 0xFFFF),
    "dcx": (".dcx", lambda w, h: struct.pack("<III", 0x3ADE68B1, 12, 0) + pcx(w, h), 0xFFFF),
    "tga": (".tga", tga, 0xFFFF),
    "tga-32": (".tga", lambda w, h: tga(w, h, 10, 32), 0xFFFF),
    "sgi": (".sgi", sgi, 0xFFFF),
    "sgi-4": (".sgi", lambda w, h: sgi(w, h, 4), 0xFFFF),
    "psd": (".psd", psd, 0xFFFFFFFF),
    "psd-56-channels": (".psd", lambda w, h: psd(w, h, 56), 0xFFFFFFFF),
    "psd-cmyk": (".psd", lambda w, h: psd(w, h, 4, 1, 4), 0xFFFFFFFF),
    "qoi": (".qoi", qoi, 0xFFFFFFFF),
    "ppm": (".ppm", lambda w, h: _pnm(b"P6", w, h), 0xFFFFFFFF),
    "pgm-plain": (".pgm", lambda w, h: _pnm(b"P2", w, h), 0xFFFFFFFF),
    "pbm": (".pbm", lambda w, h: _pnm(b"P4", w, h), 0xFFFFFFFF),
    "pfm": (".pfm", lambda w, h: _pnm(b"Pf", w, h, b"-1.0"), 0xFFFFFFFF),
    "dds": (".dds", lambda w, h: _dds(w & 0xFFFFFFFF, "DXT1"), 0xFFFFFFFF),
    "sun": (".ras", _sun, 0xFFFFFFFF),
    "fli": (".fli", _fli, 0xFFFF),
    "fits": (".fits", _fits, 0xFFFFFFFF),
    "fits-float": (".fits", lambda w, h: _fits(w, h, -64), 0xFFFFFFFF),
    "xbm": (".xbm", _xbm, 0xFFFFFFFF),
    "xpm": (".xpm", _xpm, 0xFFFFFFFF),
    "im": (".im", _im, 0xFFFFFFFF),
    "spider": (".spi", _spider, 0xFFFFFFFF),
    "gbr": (".gbr", _gbr, 0xFFFFFFFF),
    "msp": (".msp", _msp, 0xFFFF),
    "pixar": (".pxr", _pixar, 0xFFFF),
    "mcidas": (".area", _mcidas, 0x7FFFFFFF),
    "ftex": (".ftc", _ftex, 0x7FFFFFFF),
    "blp": (".blp", _blp, 0xFFFFFFFF),
    "imt": (".imt", _imt, 0xFFFFFFFF),
    "thumb": (".xv", _thumb, 0xFFFFFFFF),
    "iptc": (".iim", _iptc, 0xFFFFFFFF),
}


@cache
def _large_png() -> bytes:
    return png.flat(30000, 30000, 8, 0)


@cache
def _allowed_png() -> bytes:
    return png.flat(9000, 9000, 8, 6)


_BUILT = {
    "ico-of-large-png": (".ico", lambda: _icon(1, _large_png())),
    "ico-of-9000": (".ico", lambda: _icon(1, _allowed_png())),
    "ico-of-65535": (".ico", lambda: _icon(65535, png.base())),
    "ico-of-itself": (".ico", lambda: _icon(1, bytes(100), at=0)),
    "ico-far": (".ico", lambda: _icon(1, bytes(100), at=0xFFFFFFFF)),
    "ico-of-none": (".ico", lambda: _icon(0, b"")),
    "ico-of-bmp-30000": (".ico", lambda: _icon(1, bmp(30000, 30000, 0, 32)[14:])),
    "ico-of-jpeg": (".ico", lambda: _icon(1, jpeg.base())),
    "cur-of-65535": (".cur", lambda: _icon(65535, bmp(64, 64, 0, 32)[14:], kind=2)),
    "cur-of-bmp-30000": (".cur", lambda: _icon(1, bmp(30000, 30000, 0, 32)[14:], kind=2)),
    "icns-of-large-png": (".icns", lambda: _icns(b"ic10", _large_png())),
    "icns-of-9000": (".icns", lambda: _icns(b"ic10", _allowed_png())),
    "icns-of-many": (".icns", lambda: _icns(b"ic07", png.base(), 150)),
    "icns-of-empty": (".icns", lambda: _icns(b"ic10", b"", 200_000)),
    "icns-of-negative": (".icns", lambda: b"icns\0\0\1\0ic10\xff\xff\xff\xff" + bytes(300)),
    "icns-of-jp2": (".icns", lambda: _icns(b"ic10", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(90))),
    "icns-of-runs": (".icns", lambda: _icns(b"it32", b"\0\0\0\0" + b"\xff\0" * 60_000)),
    "psd-layers-32767": (".psd", lambda: _psd_layers(32767, 4000)),
    "psd-layers-negative": (".psd", lambda: _psd_layers(-32768, 4000)),
    "psd-layers-long": (".psd", lambda: _psd_layers(9, 0xFFFFFFF0)),
    "fits-squeezed": (".fits", _fits_squeezed),
    "fits-without-end": (".fits", lambda: _fits(8, 8)[:-5760].replace(b"END", b"ABC") * 600),
    "xbm-of-letters": (".xbm", lambda: b"#define " + b"a" * 1_900_000),
    "xpm-of-colors": (".xpm", lambda: _xpm(64, 64, 0x7FFFFFFF)),
    "xpm-open": (".xpm", lambda: b"/* XPM */\n" + b"a" * 1_900_000),
    "ppm-comment": (".ppm", lambda: b"P6\n#" + b"a" * 1_900_000),
    "ppm-comments": (".ppm", lambda: b"P6\n" + b"#\n" * 900_000),
    "ppm-digits": (".ppm", lambda: b"P6\n" + b"9" * 1_900_000),
    "ppm-plain-9000": (".ppm", lambda: b"P3\n9000 9000\n255\n" + b"0 " * 900_000),
    "im-lines": (".im", lambda: b"Image type: L image\r\n" + b"a: b\r\n" * 300_000),
    "im-line-long": (".im", lambda: b"Image type: L image\r\n" + b"a" * 1_900_000),
    "fli-chunks": (".fli", lambda: _fli(64, 64, 65535)),
    "pcd": (".pcd", lambda: bytes(2048) + b"PCD_" + bytes(1534) + b"\2" + bytes(4096)),
    "wal": (".wal", lambda: b"a".ljust(32, b"\0") + struct.pack("<II", 9000, 9000) + bytes(99)),
    "tga-map-65535": (".tga", lambda: b"\xff\1\1\0\0\xff\xff\x20" + bytes(10) + bytes(300_000)),
    "qoi-noise": (
        ".qoi",
        lambda: b"qoif" + struct.pack(">IIBB", 64, 64, 4, 0) + bytes(range(256)) * 64,
    ),
}
