"""What calls itself a photo and is none, or two things in one."""

from __future__ import annotations

import io
import struct
import zipfile
from functools import cache, partial
from itertools import product

from hostile import gif, jpeg, png
from hostile.case import Case
from hostile.parts import jpeg_with, segment

SUFFIXES = (".jpg", ".png", ".tif")


def cases() -> list[Case]:
    """Each kind by three names of photos; and photos that something is attached to."""
    found = [
        Case(f"none/{name}-named-{suffix[1:]}", make, suffix, "nothing")
        for (name, make), suffix in product(_NONE.items(), SUFFIXES)
    ]
    found += [
        Case(f"none/jpeg-and-{name}", partial(_behind, make), ".jpg", "picture")
        for name, make in _NONE.items()
    ]
    found += [
        Case(f"none/{name}-holds-jpeg", partial(_before, make), ".jpg", "nothing")
        for name, make in _NONE.items()
        if name != "empty"
    ]
    found += [
        Case("none/jpeg-comment-is-script", _php_in_comment, ".jpg", "picture"),
        Case("none/jpeg-and-png", lambda: jpeg.base() + png.base(), ".jpg", "picture"),
        Case("none/png-and-jpeg", lambda: png.base() + jpeg.base(), ".png", "picture"),
        Case("none/gif-and-jar", lambda: gif.base() + _zip(), ".gif", "picture"),
        Case("none/gif-is-script", lambda: b"GIF89a/*" + gif.base()[8:] + b"*/=1;alert(1)", ".gif"),
        Case("none/bmp-is-script", lambda: b"BM/*" + bytes(60) + b"*/=1;alert(1)", ".bmp"),
    ]
    return found


def _php_in_comment() -> bytes:
    return jpeg_with(jpeg.base(), segment(0xFE, _PHP))


def _behind(make) -> bytes:
    return jpeg.base() + make()


def _before(make) -> bytes:
    return make() + jpeg.base()


@cache
def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("../../hostile-mark"), bytes(1_000_000))
    return file.getvalue()


_PHP = b"<?php system('touch hostile-mark'); ?>"

_POSTSCRIPT = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 64 64
%%EndComments
(hostile-mark) (w) file closefile
(%pipe%touch hostile-mark) (w) file closefile
showpage
%%EOF
"""

_SVG = b"""<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY e SYSTEM "file:///etc/passwd">]>
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="64"
height="64"><text>&e;</text><image xlink:href="http://127.0.0.1:9/a.png"/></svg>"""

_MVG = b"""push graphic-context
viewbox 0 0 640 480
fill 'url(https://127.0.0.1:9/a.png"|touch hostile-mark")'
image over 0,0 0,0 'label:@/etc/passwd'
pop graphic-context
"""


def _wmf() -> bytes:
    head = struct.pack("<IHhhhhHIH", 0x9AC6CDD7, 0, 0, 0, 64, 64, 96, 0, 0)
    return head + struct.pack("<HHHIHIH", 1, 9, 0x300, 12, 0, 3, 0) + struct.pack("<IH", 3, 0)


def _emf() -> bytes:
    bounds = struct.pack("<8i", 0, 0, 64, 64, 0, 0, 64, 64)
    rest = struct.pack("<IIIHHIII4i", 0x10000, 108, 2, 1, 0, 0, 0, 0, 64, 64, 64, 64)
    return struct.pack("<II", 1, 88) + bounds + b" EMF" + rest


def _tar() -> bytes:
    return b"../../hostile-mark".ljust(257, b"\0") + b"ustar\0" + bytes(512)


_NONE = {
    "empty": lambda: b"",
    "one-byte": lambda: b"\xff",
    "zero": lambda: b"\0",
    "zeros": lambda: bytes(100_000),
    "ones": lambda: b"\xff" * 100_000,
    "text": lambda: b"A text of some words.\n" * 100,
    "lines": lambda: b"\n" * 100_000,
    "html": lambda: b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
    "postscript": lambda: _POSTSCRIPT,
    "postscript-with-head": lambda: (
        b"\xc5\xd0\xd3\xc6"
        + struct.pack("<6IH", 30, len(_POSTSCRIPT), 0, 0, 0, 0, 0xFFFF)
        + _POSTSCRIPT
    ),
    "postscript-huge": lambda: _POSTSCRIPT.replace(b"0 0 64 64", b"0 0 99999999 99999999"),
    "postscript-lines": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n" + b"%\n" * 900_000,
    "pdf": lambda: (
        b"%PDF-1.4\n1 0 obj<</OpenAction<</S/Launch/F(touch hostile-mark)>>>>endobj\n%%EOF"
    ),
    "wmf": _wmf,
    "emf": _emf,
    "hdf5": lambda: b"\x89HDF\r\n\x1a\n" + bytes(200),
    "grib": lambda: b"GRIB\0\0\0\1" + bytes(200),
    "bufr": lambda: b"BUFR\0\0\0\1" + bytes(200),
    "mpeg": lambda: b"\0\0\1\xb3\x80\x10\x10\xff" + bytes(200),
    "mp4": lambda: b"\0\0\0\x18ftypisom\0\0\2\0isomiso2\0\0\0\x08mdat",
    "svg": lambda: _SVG,
    "mvg": lambda: _MVG,
    "php": lambda: _PHP,
    "shell": lambda: b"#!/bin/sh\ntouch hostile-mark\n",
    "pickle": lambda: b"\x80\4cposix\nsystem\n(X\x12\0\0\0touch hostile-marktR.",
    "npy": lambda: b"\x93NUMPY\1\0v\0{'descr': '|O', 'fortran_order': False, 'shape': (1,)}".ljust(
        128
    ),
    "zip": _zip,
    "gzip": lambda: b"\x1f\x8b\x08\0" + bytes(100),
    "tar": _tar,
    "elf": lambda: b"\x7fELF\2\1\1" + bytes(100),
    "exe": lambda: b"MZ\x90\0" + bytes(100),
    "sqlite": lambda: b"SQLite format 3\0" + bytes(100),
    "palm": lambda: b"\0\x40\0\x40\0\0\0\0" + bytes(100),
    "dicom": lambda: bytes(128) + b"DICM" + bytes(100),
    "exr": lambda: b"v/1\1\2\0\0\0" + bytes(100),
    "hdr": lambda: b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 64 +X 64\n" + bytes(100),
    "jpeg-xl": lambda: b"\0\0\0\x0cJXL \r\n\x87\n\xff\x0a" + bytes(100),
    "raw-photo": lambda: b"FUJIFILMCCD-RAW 0201" + bytes(200),
    "canon-raw": lambda: b"II*\0\x10\0\0\0CR\2\0" + bytes(200),
}
