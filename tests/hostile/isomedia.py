"""AVIF and HEIC: grids of absurd size, items that are made of themselves, boxes that lie."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import product

from PIL import features

from hostile.case import Case, picture
from hostile.mutations import EXTREMES
from hostile.parts import box, full_box
from hostile.valid import saved


@dataclass(frozen=True)
class Item:
    """An item of a file: its type, its bytes, its properties, and what it is made of or about."""

    kind: bytes
    data: bytes
    properties: Sequence[bytes] = ()
    refers: Mapping[bytes, Sequence[int]] = field(default_factory=dict)
    extents: Sequence[tuple[int, int]] | None = None  # instead of where the data really are


def file(brand: bytes, items: Sequence[Item], primary: int = 1) -> bytes:
    """A file of these items, which are numbered from 1."""
    head = box(b"ftyp", brand, bytes(4), b"mif1", brand, b"miaf")
    places = [(0, 0)] * len(items)
    for _ in range(2):  # the second time it is known where the data will be
        meta = _meta(items, places, primary)
        at = len(head) + len(meta) + 8
        places = []
        for item in items:
            places.append((at, len(item.data)))
            at += len(item.data)
    return head + meta + box(b"mdat", *(item.data for item in items))


def _meta(items: Sequence[Item], places: list[tuple[int, int]], primary: int) -> bytes:
    entries = [
        full_box(b"infe", 2, 0, struct.pack(">HH", i, 0), item.kind, b"\0")
        for i, item in enumerate(items, 1)
    ]
    located = b"".join(
        struct.pack(">HHH", i, 0, len(extents)) + b"".join(struct.pack(">II", *e) for e in extents)
        for i, (item, place) in enumerate(zip(items, places), 1)
        for extents in [item.extents if item.extents is not None else [place]]
    )
    properties: list[bytes] = []
    associated = b""
    for i, item in enumerate(items, 1):
        if item.properties:
            numbers = []
            for one in item.properties:
                if one not in properties:
                    properties.append(one)
                numbers.append(properties.index(one) + 1)
            associated += struct.pack(">HB", i, len(numbers)) + bytes(n | 0x80 for n in numbers)
    counted = sum(1 for item in items if item.properties)
    references = b"".join(
        box(kind, struct.pack(f">HH{len(to)}H", i, len(to), *to))
        for i, item in enumerate(items, 1)
        for kind, to in item.refers.items()
    )
    return full_box(
        b"meta", 0, 0,
        full_box(b"hdlr", 0, 0, bytes(4), b"pict", bytes(13)),
        full_box(b"pitm", 0, 0, struct.pack(">H", primary)),
        full_box(b"iloc", 0, 0, b"\x44\0", struct.pack(">H", len(items)), located),
        full_box(b"iinf", 0, 0, struct.pack(">H", len(items)), *entries),
        full_box(b"iref", 0, 0, references) if references else b"",
        box(
            b"iprp",
            box(b"ipco", *properties),
            full_box(b"ipma", 0, 0, struct.pack(">I", counted), associated),
        ),
    )  # fmt: skip


def size(width: int, height: int) -> bytes:
    """ispe"""
    return full_box(b"ispe", 0, 0, struct.pack(">II", width, height))


def grid(rows: int, columns: int, width: int, height: int) -> bytes:
    """The data of a grid, whose sizes are of 32 bits."""
    return struct.pack(">BBBBII", 0, 1, rows - 1, columns - 1, width, height)


PIXI = full_box(b"pixi", 0, 0, b"\3\x08\x08\x08")


@cache
def tile() -> tuple[bytes, bytes]:
    """The picture as AV1, and its configuration (av1C)."""
    content = saved(picture(), "AVIF")
    at = content.index(b"mdat")
    (length,) = struct.unpack_from(">I", content, at - 4)
    settings = content.index(b"av1C")
    (long,) = struct.unpack_from(">I", content, settings - 4)
    return content[at + 4 : at - 4 + length], content[settings - 4 : settings - 4 + long]


def picture_item(*more: bytes, **how) -> Item:
    """The picture, with these properties too."""
    data, settings = tile()
    return Item(b"av01", data, [size(*picture().size), PIXI, settings, *more], **how)


def avif(*more: Item) -> bytes:
    """The picture, and other items."""
    return file(b"avif", [picture_item(), *more])


def with_exif(block: bytes) -> bytes:
    """The picture with EXIF, which is about item 1."""
    return avif(Item(b"Exif", bytes(4) + block, refers={b"cdsc": [1]}))


def cases() -> list[Case]:
    """AVIF, where there is somebody who writes and reads it, and what calls itself HEIC."""
    found = [
        _heic("head-alone", lambda: box(b"ftyp", b"heic\0\0\0\0mif1heic")),
        _heic("zeros-behind", lambda: box(b"ftyp", b"heic\0\0\0\0mif1heic") + bytes(200)),
        _heic("boxes-in-boxes", _deep),
        _heic("boxes-of-0", lambda: box(b"ftyp", b"heic\0\0\0\0mif1heic") + bytes(1_900_000)),
        _heic("boxes-many", lambda: box(b"ftyp", b"heic\0\0\0\0mif1heic") + box(b"free") * 200_000),
        _heic("items-65535", partial(_many_items, b"heic", b"hvc1")),
        *(
            _heic(f"{brand}", lambda brand=brand: box(b"ftyp", brand.encode(), bytes(4), b"mif1"))
            for brand in ("heix", "hevc", "mif1", "msf1", "avis", "isom", "qt  ", "crx ", "jxl ")
        ),
        *(
            _heic(f"grid-{r}x{c}-of-{side}", _grid, b"heic", b"hvc1", r, c, side)
            for r, c, side in product((1, 256), (1, 256), (64, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF))
        ),
        _heic("grid-of-itself", _loop, b"heic", b"grid"),
        _heic("overlay-of-itself", _loop, b"heic", b"iovl"),
        _heic("identity-of-itself", _loop, b"heic", b"iden"),
        *(_heic(f"size-{value}", _hvc1, value) for value in EXTREMES),
        _heic("junk-stream", _hvc1, 64),
        _heic("uncompressed-64k", _uncompressed, 65535),
        _heic("uncompressed-2-to-31", _uncompressed, 0x7FFFFFFF),
    ]
    if not features.check("avif"):
        return found
    found += [
        Case("avif/own", avif, ".avif", "picture"),
        *(
            _avif(f"grid-{r}x{c}-of-{side}", _grid, b"avif", b"av01", r, c, side)
            for r, c, side in product(
                (1, 2, 256), (1, 2, 256), (1, 128, 9000, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
            )
        ),
        _avif("grid-of-itself", _loop, b"avif", b"grid"),
        _avif("grid-of-256x256-same", _same_tile),
        *(_avif(f"size-{value}", _sized, value) for value in EXTREMES),
        *(_avif(f"turned-{n}", _turned, bytes([n])) for n in (0, 1, 2, 3, 4, 255)),
        *(_avif(f"mirrored-{n}", _mirrored, bytes([n])) for n in (0, 1, 2, 255)),
        *(_avif(f"cropped-{v}", _cropped, v) for v in EXTREMES),
        *(_avif(f"extent-{o}-{n}", _extents, [(o, n)]) for o in EXTREMES for n in (1, 0xFFFFFFFF)),
        _avif("extents-many", lambda: _extents([(0, 100)] * 60_000)),
        _avif("extents-none", lambda: _extents([])),
        _avif("exif-many", lambda: avif(*[Item(b"Exif", bytes(9), refers={b"cdsc": [1]})] * 3000)),
        _avif("exif-offset", lambda: avif(Item(b"Exif", b"\xff" * 9, refers={b"cdsc": [1]}))),
        _avif("alpha-of-itself", _alpha_of_itself),
        _avif("alpha-of-other-size", _alpha_of_other_size),
        _avif("thumbnails", lambda: avif(*[picture_item(refers={b"thmb": [1]})] * 200)),
        _avif("primary-0", lambda: file(b"avif", [picture_item()], 0)),
        _avif("primary-9", lambda: file(b"avif", [picture_item()], 9)),
        _avif("profile-large", lambda: file(b"avif", [picture_item(_profile())])),
        _avif("properties-many", lambda: file(b"avif", [_with_properties(127)])),
        _avif("items-65535", partial(_many_items, b"avif", b"av01")),
        _avif("sequence-alone", lambda: avif().replace(b"avif", b"avis", 1)),
    ]
    return found


def _avif(kind: str, make, *arguments) -> Case:
    return Case(f"avif/{kind}", partial(make, *arguments), ".avif")


def _heic(kind: str, make, *arguments) -> Case:
    return Case(f"heic/{kind.strip()}", partial(make, *arguments), ".heic")


def _deep() -> bytes:
    inner = b""
    for _ in range(3000):
        inner = box(b"meta", bytes(4), inner)
    return box(b"ftyp", b"heic\0\0\0\0mif1heic") + inner


def _grid(brand: bytes, kind: bytes, rows: int, columns: int, side: int) -> bytes:
    """Fewer tiles than the grid has places where these are many."""
    tiles = min(rows * columns, 400)
    one = picture_item() if kind == b"av01" else Item(kind, bytes(64), [size(64, 64), HVCC])
    whole = Item(
        b"grid",
        grid(rows, columns, side, side),
        [size(side, side), PIXI],
        {b"dimg": range(2, 2 + tiles)},
    )
    return file(brand, [whole, *[one] * tiles])


def _same_tile() -> bytes:
    """Each place of a large grid refers to one tile."""
    width, height = picture().size
    whole = Item(
        b"grid",
        grid(256, 256, 256 * width, 256 * height),
        [size(256 * width, 256 * height), PIXI],
        {b"dimg": [2] * 65535},
    )
    return file(b"avif", [whole, picture_item()])


def _loop(brand: bytes, kind: bytes) -> bytes:
    whole = Item(kind, grid(1, 2, 128, 64), [size(128, 64), PIXI], {b"dimg": [1, 1]})
    return file(brand, [whole])


HVCC = box(
    b"hvcC",
    bytes.fromhex("01 01 60000000 900000000000 3c f000 fc fd f8 f8 0000 0f 00"),
)  # fmt: skip


def _hvc1(side: int) -> bytes:
    return file(b"heic", [Item(b"hvc1", bytes(range(256)) * 8, [size(side, side), PIXI, HVCC])])


def _uncompressed(side: int) -> bytes:
    """Pixels as such (ISO 23001-17), which are not there."""
    head = full_box(b"uncC", 1, 0, b"rgb3")
    return file(b"mif1", [Item(b"unci", bytes(64), [size(side, side), head])])


def _sized(side: int) -> bytes:
    data, settings = tile()
    return file(b"avif", [Item(b"av01", data, [size(side, side), PIXI, settings])])


def _turned(how: bytes) -> bytes:
    return file(b"avif", [picture_item(box(b"irot", how))])


def _mirrored(how: bytes) -> bytes:
    return file(b"avif", [picture_item(box(b"imir", how))])


def _cropped(value: int) -> bytes:
    return file(b"avif", [picture_item(box(b"clap", struct.pack(">8I", *[value, 1] * 4)))])


def _extents(extents: list[tuple[int, int]]) -> bytes:
    return file(b"avif", [picture_item(extents=extents)])


def _alpha_of_itself() -> bytes:
    alpha = full_box(b"auxC", 0, 0, b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0")
    return file(b"avif", [picture_item(alpha, refers={b"auxl": [1]})])


def _alpha_of_other_size() -> bytes:
    alpha = full_box(b"auxC", 0, 0, b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0")
    data, settings = tile()
    other = Item(b"av01", data, [size(9, 9), PIXI, settings, alpha], {b"auxl": [1]})
    return avif(other)


def _profile() -> bytes:
    return box(b"colr", b"prof", bytes(1_900_000))


def _with_properties(count: int) -> Item:
    return picture_item(*(box(b"free", bytes([i])) for i in range(count)))


def _many_items(brand: bytes, kind: bytes) -> bytes:
    one = Item(kind, b"", [size(64, 64)])
    return file(brand, [one] * 40_000)
