"""One picture in each format, mode and depth: what must come out right, or be refused by name."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Callable
from functools import cache, partial
from io import BytesIO
from typing import Any

import numpy as np
from heic import HEIC, upright
from PIL import Image, ImageOps, features

from hostile.case import Case, picture
from hostile.parts import LONG, SHORT, tiff

MODES = (
    "1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV",
    "I", "F", "I;16", "I;16B",
)  # fmt: skip

# What Pillow writes with somebody else's help, or as no picture at all.
_NOT_PICTURES = {"PDF", "PALM", "BUFR", "GRIB", "HDF5", "WMF"}


def cases() -> list[Case]:
    """All of them."""
    return [
        *_of_every_format(),
        *(case for family in (_jpegs, _pngs, _gifs, _webps, _avifs, _tiffs) for case in family()),
        *_of_own_tiffs(),
        *_orientations(),
        *_transparent(),
        Case("valid/heic", lambda: HEIC, ".heic", "picture", upright),
        Case("valid/psd", partial(psd, 0), ".psd", "picture"),
        Case("valid/psd-runs", partial(psd, 1), ".psd", "picture"),
    ]


def in_mode(mode: str) -> Image.Image:
    """The picture in any mode of Pillow's."""
    rgb = picture()
    if mode in ("I;16", "I;16B"):
        deep = np.asarray(rgb.convert("L")).astype(np.uint16) * 257
        if mode == "I;16":
            return Image.fromarray(deep)
        return Image.frombytes("I;16B", rgb.size, deep.astype(">u2").tobytes())
    if mode == "I":
        return Image.fromarray(np.asarray(rgb.convert("L")).astype(np.int32) * 257)
    if mode == "F":
        return Image.fromarray(np.asarray(rgb.convert("L")).astype(np.float32) / 255)
    if mode == "LAB":
        from PIL import ImageCms

        to_lab = ImageCms.buildTransform(
            ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
        )
        lab = ImageCms.applyTransform(rgb, to_lab)
        assert lab is not None
        return lab
    if mode in ("La", "RGBa"):
        return rgb.convert({"La": "LA", "RGBa": "RGBA"}[mode]).convert(mode)
    if mode == "PA":
        return rgb.convert("P", palette=Image.Palette.ADAPTIVE).convert("PA")
    if mode == "P":
        return rgb.convert("P", palette=Image.Palette.ADAPTIVE)
    return rgb.convert(mode)


def saved(image: Image.Image, format: str, **how: Any) -> bytes:
    """The bytes that Pillow writes."""
    file = BytesIO()
    image.save(file, format, **how)
    return file.getvalue()


def _picture(kind: str, suffix: str, mode: str, format: str, **how: Any) -> Case:
    return Case(f"valid/{kind}", lambda: saved(in_mode(mode), format, **how), suffix, "picture")


def suffixes() -> dict[str, str]:
    """One suffix of each format's."""
    Image.init()
    found: dict[str, str] = {}
    for suffix, format in sorted(Image.EXTENSION.items()):
        found.setdefault(format, suffix)
    return {**found, "JPEG": ".jpg", "TIFF": ".tif", "PPM": ".ppm", "JPEG2000": ".jp2"}


@cache
def writable() -> list[tuple[str, str]]:
    """Formats and modes that Pillow writes."""
    Image.init()
    pairs = []
    for format in sorted(set(Image.SAVE) - _NOT_PICTURES):
        for mode in MODES:
            try:
                _in(format, mode)
            except Exception:  # each format has its own word for a mode that it does not know
                continue
            pairs.append((format, mode))
    return pairs


# What Pillow makes of these on the way to the file is no longer the picture: deep numbers are cut
# off at 255, halves of 16 bits change places, black and white is scaled without grey.
_DEEP = ("I", "F", "I;16", "I;16B")
_SPOILT = {(f, m) for f in ("AVIF", "GIF", "WEBP", "SPIDER") for m in _DEEP} - {("SPIDER", "F")} | {
    ("ICNS", "I;16B"), ("ICO", "I;16B"), ("ICO", "1"),
}  # fmt: skip


def _of_every_format() -> list[Case]:
    suffix = suffixes()
    return [
        Case(
            f"valid/{format.lower()}-{mode}",
            partial(_in, format, mode),
            suffix.get(format, ".img"),
            "picture",
            _stretched if format == "ICNS" else None,
        )
        for format, mode in writable()
        if (format, mode) not in _SPOILT
    ]


def _in(format: str, mode: str) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of formats that Pillow will drop
        return saved(in_mode(mode), format)


def _stretched() -> np.ndarray:
    """The picture in an icon, which is square."""
    return np.asarray(picture())


def _jpegs() -> list[Case]:
    several = [picture(), ImageOps.invert(picture())]
    return [
        _picture("jpeg-progressive", ".jpg", "RGB", "JPEG", progressive=True),
        _picture("jpeg-444", ".jpg", "RGB", "JPEG", subsampling=0, quality=95),
        _picture("jpeg-422", ".jpg", "RGB", "JPEG", subsampling=1),
        _picture("jpeg-restart", ".jpg", "RGB", "JPEG", restart_marker_blocks=2),
        _picture("jpeg-optimized", ".jpg", "RGB", "JPEG", optimize=True),
        _picture("jpeg-keep-rgb", ".jpg", "RGB", "JPEG", keep_rgb=True),
        _picture("jpeg-cmyk-progressive", ".jpg", "CMYK", "JPEG", progressive=True),
        _picture("jpeg-comment", ".jpg", "RGB", "JPEG", comment=b"a" * 60000),
        _several("mpo", ".mpo", "MPO", several),
        _several("mpo-named-jpg", ".jpg", "MPO", several),
        _picture("jpeg-named-png", ".png", "RGB", "JPEG"),
    ]


def _several(kind: str, suffix: str, format: str, images: list[Image.Image], **how: Any) -> Case:
    first, *others = images
    make = partial(saved, first, format, save_all=True, append_images=others, **how)
    return Case(f"valid/{kind}", make, suffix, "picture")


def _pngs() -> list[Case]:
    images = [picture(), ImageOps.invert(picture())]
    depths = [
        Case(f"valid/png-{bits}-bits", partial(_shallow_png, bits), ".png", "picture")
        for bits in (2, 4)
    ]
    layouts = [(0, 8), (0, 16), (2, 8), (2, 16), (4, 8), (4, 16), (6, 8), (6, 16)]
    own = [
        Case(
            f"valid/png-own-color{color}-depth{depth}{'-interlaced' * interlaced}",
            partial(_own_png, color, depth, interlaced),
            ".png",
            "picture",
        )
        for color, depth in layouts
        for interlaced in (0, 1)
    ]
    return [
        *depths,
        *own,
        _several("apng", ".png", "PNG", images, duration=100),
        _several("apng-apart", ".apng", "PNG", images, default_image=True),
        _picture("png-named-jpg", ".jpg", "RGB", "PNG"),
        Case("valid/png-in-ico-named-png", lambda: saved(picture(), "ICO"), ".png", "picture"),
    ]


def _shallow_png(bits: int) -> bytes:
    """Grey of 2 or 4 bits, which Pillow does not write."""
    from hostile.parts import png, png_chunk

    grey = np.asarray(picture().convert("L")) >> (8 - bits)
    packed = np.zeros((grey.shape[0], grey.shape[1] * bits // 8), np.uint8)
    for place in range(8 // bits):
        packed |= grey[:, place :: 8 // bits] << (8 - bits * (place + 1))
    rows = b"".join(b"\0" + row.tobytes() for row in packed)
    return png(*picture().size, png_chunk(b"IDAT", zlib.compress(rows)), depth=bits, color=0)


def _own_png(color: int, depth: int, interlaced: int) -> bytes:
    """Each colour type and depth, interlaced by Adam7 too, which Pillow does not write."""
    from hostile.parts import png, png_chunk

    mode = {0: "L", 2: "RGB", 4: "LA", 6: "RGBA"}[color]
    samples = np.asarray(picture().convert(mode)).reshape(*picture().size[::-1], -1)
    if depth == 16:
        samples = (samples.astype(">u2") * 257).astype(">u2")
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [
            (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
            (1, 0, 2, 1),
        ]  # fmt: skip
    rows = b"".join(
        b"\0" + row.tobytes()
        for y, x, down, across in passes
        for row in samples[y::down, x::across]
    )
    return png(
        *picture().size,
        png_chunk(b"IDAT", zlib.compress(rows)),
        depth=depth,
        color=color,
        interlace=interlaced,
    )


def _gifs() -> list[Case]:
    images = [picture(), ImageOps.invert(picture())]
    return [
        _several("gif-animated", ".gif", "GIF", images, duration=100, loop=0),
        _picture("gif-interlaced", ".gif", "RGB", "GIF", interlace=1),
    ]


def _webps() -> list[Case]:
    if not features.check("webp"):
        return []
    images = [picture(), ImageOps.invert(picture())]
    return [
        _picture("webp-lossless", ".webp", "RGB", "WEBP", lossless=True),
        _picture("webp-lossless-alpha", ".webp", "RGBA", "WEBP", lossless=True, exact=True),
        _several("webp-animated", ".webp", "WEBP", images, duration=100),
    ]


def _avifs() -> list[Case]:
    if not features.check("avif"):
        return []
    images = [picture(), ImageOps.invert(picture())]
    return [
        _picture("avif-444", ".avif", "RGB", "AVIF", subsampling="4:4:4", quality=90),
        _picture("avif-400", ".avif", "L", "AVIF", subsampling="4:0:0"),
        _picture("avif-full", ".avif", "RGB", "AVIF", range="full"),
        _several("avif-animated", ".avif", "AVIF", images, duration=100),
    ]


# Compressions of TIFF that Pillow writes, and the modes that each is for. Others make it, or the
# library behind it, write complaints to stderr.
_ANY_DEPTH = ("1", "L", "P", "RGB", "RGBA", "CMYK", "I;16", "F")
_COMPRESSIONS = {
    "tiff_ccitt": ("1",),
    "group3": ("1",),
    "group4": ("1",),
    "jpeg": ("L", "RGB", "YCbCr", "CMYK"),
    "packbits": _ANY_DEPTH,
    "tiff_lzw": _ANY_DEPTH,
    "tiff_adobe_deflate": _ANY_DEPTH,
    "tiff_deflate": _ANY_DEPTH,
    "lzma": _ANY_DEPTH,
    "zstd": _ANY_DEPTH,
}


def _tiffs() -> list[Case]:
    if not features.check("libtiff"):
        return []
    found = [
        _picture(f"tiff-{compression}-{mode}", ".tif", mode, "TIFF", compression=compression)
        for compression, modes in _COMPRESSIONS.items()
        for mode in modes
    ]
    found.append(_picture("bigtiff", ".tif", "RGB", "TIFF", big_tiff=True))
    images = [picture(), ImageOps.invert(picture())]
    found.append(_several("tiff-pages", ".tif", "TIFF", images))
    return found


def _of_own_tiffs() -> list[Case]:
    """Layouts that Pillow reads, or refuses, and does not write."""
    found = []

    def add(kind: str, make: Callable[[], bytes]) -> None:
        found.append(Case(f"valid/tiff-own-{kind}", make, ".tif", "picture"))

    for order in "<>":
        for big in (False, True):
            name = f"{'big-' * big}{'big' if order == '>' else 'little'}-endian"
            add(name, partial(own_tiff, order=order, big=big))
            add(f"{name}-16", partial(own_tiff, dtype="u2", order=order, big=big))
    for dtype in ("u1", "u2", "u4", "i4", "f2", "f4", "f8"):
        add(f"grey-{dtype}", partial(own_tiff, dtype=dtype, grey=True))
        add(f"rgb-{dtype}", partial(own_tiff, dtype=dtype))
    add("grey-f4-255", partial(own_tiff, dtype="f4", grey=True, top=255))
    add("rgb-f4-255", partial(own_tiff, dtype="f4", top=255))
    for planar in (False, True):
        for tiled in (False, True):
            for squeeze in (False, True):
                layout = f"{'planar' if planar else 'chunky'}-{'tiles' if tiled else 'strips'}"
                kind = layout + "-deflate" * squeeze
                add(kind, partial(own_tiff, planar=planar, tiled=tiled, squeeze=squeeze))
                kind = f"{kind}-16"
                make = partial(own_tiff, dtype="u2", planar=planar, tiled=tiled, squeeze=squeeze)
                add(kind, make)
    add("white-is-zero", partial(own_tiff, grey=True, inverted=True))
    return found


def own_tiff(
    dtype: str = "u1",
    *,
    grey: bool = False,
    planar: bool = False,
    tiled: bool = False,
    squeeze: bool = False,
    order: str = "<",
    big: bool = False,
    inverted: bool = False,
    top: float | None = None,
    more: dict[int, tuple] | None = None,
) -> bytes:
    """The picture in samples of any type, in strips of 40 rows or tiles of 64x32."""
    samples = np.asarray(picture().convert("L" if grey else "RGB")).reshape(*_shape(), -1)
    if inverted:
        samples = 255 - samples
    kind = np.dtype(dtype).kind
    if top is None:
        top = 1.0 if kind == "f" else float(np.iinfo(dtype).max)
    values = np.round(samples / 255 * top) if kind != "f" else samples / 255 * top
    samples = values.astype(order + dtype)
    height, width, channels = samples.shape
    rows, columns = (32, 64) if tiled else (40, width)
    planes = [samples[:, :, [c]] for c in range(channels)] if planar else [samples]
    pieces = []
    for plane in planes:
        for y in range(0, height, rows):
            for x in range(0, width, columns):
                piece = plane[y : y + rows, x : x + columns].tobytes()
                pieces.append(zlib.compress(piece) if squeeze else piece)
    bits = 8 * np.dtype(dtype).itemsize
    entries: dict[int, tuple] = {
        256: (LONG, width),
        257: (LONG, height),
        258: (SHORT, [bits] * channels),
        259: (SHORT, 8 if squeeze else 1),
        262: (SHORT, 2 if not grey else 0 if inverted else 1),
        277: (SHORT, channels),
        284: (SHORT, 2 if planar else 1),
        339: (SHORT, [{"u": 1, "i": 2, "f": 3}[kind]] * channels),
    }
    entries |= {322: (LONG, columns), 323: (LONG, rows)} if tiled else {278: (LONG, rows)}
    entries |= more or {}
    return tiff(dict(sorted(entries.items())), pieces, order=order, big=big, tiled=tiled)


def _shape() -> tuple[int, int]:
    return picture().size[1], picture().size[0]


# For each orientation, how an upright picture is laid down so that it is upright when read.
_LAID = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def laid(orientation: int) -> Image.Image:
    """The picture as a camera held that way stores it."""
    turn = _LAID[orientation]
    return picture() if turn is None else picture().transpose(turn)


def exif(orientation: int, order: str = "<") -> bytes:
    """EXIF with this orientation and nothing else."""
    return tiff({274: (SHORT, orientation)}, order=order)


def _orientations() -> list[Case]:
    found = []
    for orientation in range(1, 9):
        for order in "<>":
            for format, suffix in (("JPEG", ".jpg"), ("PNG", ".png"), ("WEBP", ".webp")):
                head = b"Exif\0\0" if format != "PNG" else b""
                make = partial(
                    saved, laid(orientation), format, exif=head + exif(orientation, order)
                )
                kind = (
                    f"orientation-{orientation}-{format.lower()}-{'II' if order == '<' else 'MM'}"
                )
                found.append(Case(f"valid/{kind}", make, suffix, "picture"))
        if features.check("avif"):
            make = partial(saved, laid(orientation), "AVIF", exif=exif(orientation))
            kind = f"valid/orientation-{orientation}-avif"
            found.append(Case(kind, make, ".avif", "picture"))
        make = partial(_tiff_laid, orientation)
        found.append(Case(f"valid/orientation-{orientation}-tiff", make, ".tif", "picture"))
    return found


def _tiff_laid(orientation: int) -> bytes:
    return saved(laid(orientation), "TIFF", tiffinfo={274: orientation})


def _transparent() -> list[Case]:
    """Half of the picture fades away: it is seen before white."""
    fading = np.tile(np.linspace(255, 0, picture().width).round().astype(np.uint8), (96, 1))

    def on_white() -> np.ndarray:
        share = fading[:, :, None] / 255
        return np.round(np.asarray(picture()) * share + 255 * (1 - share)).astype(np.uint8)

    def made(format: str, how: dict) -> bytes:
        image = picture().copy()
        image.putalpha(Image.fromarray(fading))
        return saved(image, format, **how)

    written: list[tuple[str, str, dict]] = [
        ("PNG", ".png", {}),
        ("TIFF", ".tif", {}),
        ("WEBP", ".webp", {"lossless": True}),
        ("TGA", ".tga", {}),
        ("JPEG2000", ".jp2", {}),
        ("QOI", ".qoi", {}),
        ("AVIF", ".avif", {}),
    ]
    formats = {format for format, mode in writable() if mode == "RGBA"}
    return [
        Case(f"valid/fading-{f.lower()}", partial(made, f, how), suffix, "picture", on_white)
        for f, suffix, how in written
        if f in formats
    ]


@cache
def psd(compression: int = 0) -> bytes:
    """A PSD of one flat picture, raw or in runs (PackBits), as Adobe's specification says."""
    rgb = np.asarray(picture())
    height, width, channels = rgb.shape
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, channels, height, width, 8, 3)
    head += struct.pack(">III", 0, 0, 0) + struct.pack(">H", compression)
    planes = [rgb[:, :, c] for c in range(channels)]
    if not compression:
        return head + b"".join(plane.tobytes() for plane in planes)
    rows = [bytes([width - 1]) + row.tobytes() for plane in planes for row in plane]
    return head + struct.pack(f">{len(rows)}H", *map(len, rows)) + b"".join(rows)
