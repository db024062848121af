"""What a photo's file says of itself, read here, so that a decoder gets the picture and no more.

Descriptions, thumbnails, further pages and frames are left out of what is decoded: they are where
files are damaged, contradict themselves or have no bound. How a photo is to be turned is read
before. Everything here reads what is there and trusts none of it.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

# More parts than any photo has before its pixels.
_MOST_PARTS = 100_000
_ORIENTATION = 0x0112
# Bytes of a value of each type of TIFF.
_VALUE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
                16: 8, 17: 8, 18: 8}  # fmt: skip
# Types whose values are whole numbers: BYTE, SHORT, LONG, UNDEFINED, LONG8, and those with a sign.
_WHOLE = {1: "B", 3: "H", 4: "L", 6: "b", 7: "B", 8: "h", 9: "l", 16: "Q", 17: "q"}


class ContainerError(ValueError):
    """A file that contradicts itself, or asks for more than any photo needs."""


class Contained(NamedTuple):
    """A photo's picture, as a decoder gets it.

    Parameters
    ----------
    content : bytes
    orientation : int
        1 to 8, as in Exif.
    size : (width, height), optional
        As stored, where it has to be known before a decoder is made.
    buffers : int
        Bytes that decoding takes besides the picture.
    passes : int
        How often decoding goes over the whole picture.
    levels : int
        How often the picture can be halved before it is decoded.
    weight : float
        How many times the usual memory decoding takes.
    """

    content: bytes
    orientation: int = 1
    size: tuple[int, int] | None = None
    buffers: int = 0
    passes: int = 1
    levels: int = 0
    weight: float = 1.0


def look_into(content: bytes) -> Contained:
    """The picture in an image file, and how it is to be turned.

    Parameters
    ----------
    content : bytes
        Of a file of any format. What is no JPEG, PNG, WebP, TIFF, AVIF or JPEG 2000 stays as it is.

    Returns
    -------
    Contained

    Raises
    ------
    ContainerError
        If the file contradicts itself, or asks for more than any photo needs.
    """
    try:
        for beginning, look in _LOOKS:
            if beginning.match(content):
                return look(content)
    except (struct.error, IndexError) as error:
        raise ContainerError("its head is cut off") from error
    return Contained(content)


def _look_into_jpeg(content: bytes) -> Contained:
    """Keeps what describes the pixels: frame, tables, scans, and how colours are coded."""
    kept, orientation, frame, start = [b"\xff\xd8"], 1, None, 0
    for marker, begin, end in _segments(content, 2):
        payload = content[begin + 4 : end]
        if marker == 0xDA:
            start = begin
            break
        if marker == 0xE1 and payload[:5] == b"Exif\0" and orientation == 1:
            orientation = exif_orientation(payload)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if frame is not None:
                raise ContainerError("it has two frames")
            frame = marker, payload
        is_description = (0xE1 <= marker <= 0xEF and marker != 0xEE) or marker == 0xFE
        if not is_description:
            kept.append(content[begin:end])
    if frame is None or not start:
        raise ContainerError("it has no pixels")
    picture = b"".join([*kept, memoryview(content)[start:]])
    kind, payload = frame
    height, width, channels = struct.unpack_from(">HHB", payload, 1)
    if len(payload) < 6 + 3 * channels:
        raise ContainerError("its frame is cut off")
    factors = [divmod(payload[7 + 3 * i], 16) for i in range(channels)]
    first_scan = content[start + 4]
    passes, buffers = 1, 0
    if kind in (0xC2, 0xC6, 0xCA, 0xCE) or first_scan < channels:
        # All coefficients wait in memory, two bytes each, until the last scan is read.
        widest = max((h * v for h, v in factors), default=1) or 1
        buffers = int(2 * width * height * sum(h * v for h, v in factors) / widest)
        passes = sum(marker == 0xDA for marker, _, _ in _segments(content, start))
    return Contained(picture, orientation, None, buffers, passes)


_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])", re.DOTALL)


def _segments(content: bytes, position: int) -> Iterator[tuple[int, int, int]]:
    """Marker, begin and end of each segment of a JPEG, to the end of the picture."""
    for _ in range(_MOST_PARTS):
        found = _MARKER.search(content, position)
        if found is None or found[1] == b"\xd9":
            return
        begin, marker = found.end() - 2, found[1][0]
        if marker in (0x01, 0xD8):
            position = found.end()
            continue
        position = begin + 2 + struct.unpack_from(">H", content, begin + 2)[0]
        yield marker, begin, position
    raise ContainerError("it has more segments than any photo")


def _look_into_png(content: bytes) -> Contained:
    """Keeps head, palette, transparency and pixels."""
    kept, orientation, position = [content[:8]], 1, 8
    for _ in range(_MOST_PARTS):
        if position + 12 > len(content):
            break
        length, kind = struct.unpack_from(">L4s", content, position)
        end = position + 12 + length
        payload = memoryview(content)[position + 8 : end - 4]
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            kept.append(content[position:end])
        elif kind == b"eXIf":
            orientation = exif_orientation(bytes(payload))
        elif kind in (b"tEXt", b"zTXt", b"iTXt") and orientation == 1:
            orientation = _orientation_in_text(kind, bytes(payload[:1_000_000]))
        position = end
        if kind == b"IEND":
            break
    else:
        raise ContainerError("it has more chunks than any photo")
    # What is cut off stays so, for the decoder to tell.
    kept.append(content[position : position + 12])
    return Contained(b"".join(kept), orientation, weight=2.0 if content[24] == 16 else 1.0)


def _orientation_in_text(kind: bytes, payload: bytes) -> int:
    """Of a PNG's text, where older programs note what others write as Exif or XMP."""
    keyword, _, text = payload.partition(b"\0")
    if kind == b"iTXt" and keyword == b"XML:com.adobe.xmp":
        return _xmp_orientation(text)
    if keyword != b"Raw profile type exif" or kind == b"iTXt":
        return 1
    try:
        plain = zlib.decompressobj().decompress(text[1:], 200_000) if kind == b"zTXt" else text
        return exif_orientation(bytes.fromhex("".join(plain.decode("latin-1").split("\n")[3:])))
    except (zlib.error, ValueError):
        return 1


def _look_into_webp(content: bytes) -> Contained:
    """Finds the size of the canvas, for which memory is taken as soon as a decoder is made."""
    orientation, size, position = 1, None, 12
    for _ in range(_MOST_PARTS):
        if position + 8 > len(content):
            break
        kind, length = struct.unpack_from("<4sL", content, position)
        payload = content[position + 8 : position + 8 + min(length, 1_000_000)]
        if kind == b"EXIF":
            orientation = exif_orientation(payload)
        elif kind == b"XMP " and orientation == 1:
            orientation = _xmp_orientation(payload)
        elif size is None and kind in (b"VP8X", b"VP8L", b"VP8 "):
            size = _webp_size(kind, payload)
        position += 8 + length + length % 2
    if size is None:
        raise ContainerError("it has no picture")
    return Contained(content, orientation, size)


def _webp_size(kind: bytes, payload: bytes) -> tuple[int, int]:
    if kind == b"VP8X":
        return (
            int.from_bytes(payload[4:7], "little") + 1,
            int.from_bytes(payload[7:10], "little") + 1,
        )
    if kind == b"VP8L":
        bits = struct.unpack_from("<L", payload, 1)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", payload, 6)
    return width & 0x3FFF, height & 0x3FFF


class _Directory(NamedTuple):
    """The first directory of a TIFF: where it is, and its entries by tag, each as it stands."""

    order: str
    begin: int
    is_big: bool
    entries: list[tuple[int, bytes]]


def _read_directory(content: bytes) -> _Directory:
    order = {b"II": "<", b"MM": ">"}[content[:2]]
    is_big = struct.unpack_from(order + "H", content, 2)[0] == 43
    count, step = ("Q", 20) if is_big else ("H", 12)
    begin = struct.unpack_from(order + ("Q" if is_big else "L"), content, 8 if is_big else 4)[0]
    (n,) = struct.unpack_from(order + count, content, begin)
    if n > 4096:
        raise ContainerError(f"it has {n} tags, more than any photo")
    first = begin + struct.calcsize(order + count)
    entries = []
    for at in range(first, first + n * step, step):
        entry = content[at : at + step]
        if len(entry) < step:
            break
        entries.append((struct.unpack_from(order + "H", entry)[0], entry))
    return _Directory(order, begin, is_big, entries)


def _values(content: bytes, directory: _Directory, entry: bytes) -> list[int]:
    """Whole numbers of an entry, a thousand of them at most; none if it holds something else.

    Raises
    ------
    ContainerError
        If they are not in the file.
    """
    order, is_big = directory.order, directory.is_big
    tag, kind, count = struct.unpack_from(order + ("HHQ" if is_big else "HHL"), entry)
    data = entry[12:20] if is_big else entry[8:12]
    n_bytes = count * _VALUE_BYTES.get(kind, 1)
    if n_bytes > len(data):
        (offset,) = struct.unpack(order + ("Q" if is_big else "L"), data)
        if offset + n_bytes > len(content):
            raise ContainerError(f"what its tag {tag} stands for is not in the file")
        data = content[offset : offset + min(n_bytes, 8000)]
    if kind not in _WHOLE:
        return []
    count = min(count, 1000)
    return list(struct.unpack_from(f"{order}{count}{_WHOLE[kind]}", data))


def exif_orientation(exif: bytes) -> int:
    """How a photo is to be turned, by its Exif data: whatever is no whole number 2 to 8 is 1.

    Parameters
    ----------
    exif : bytes
        A TIFF without a picture, behind the word Exif or not.

    Returns
    -------
    int
    """
    exif = re.sub(rb"^(Exif\0\0?){1,2}", b"", exif)
    try:
        directory = _read_directory(exif)
        for tag, entry in directory.entries:
            if tag == _ORIENTATION:
                return as_orientation(*_values(exif, directory, entry)[:1])
    except (struct.error, KeyError, ContainerError):
        pass
    return 1


def as_orientation(value: object = 1) -> int:
    """An orientation: whatever is no whole number 2 to 8 is 1."""
    return value if type(value) is int and 2 <= value <= 8 else 1


def _xmp_orientation(xmp: bytes) -> int:
    found = re.search(rb"tiff:Orientation(?:=\"|>)([2-8])[\"<]", xmp)
    return int(found[1]) if found else 1


# Tags of a TIFF that say how its pixels are stored: sizes, coding, colours, strips and tiles,
# tables of JPEG, samples. The rest are descriptions.
_OF_PIXELS = frozenset(
    {256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325,
     332, 333, 334, 338, 339, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532,
     50674}
)  # fmt: skip


# Those of them that are one whole number.
_SINGLE = frozenset({256, 257, 259, 262, 266, 277, 278, 284, 317, 322, 323})


def _look_into_tiff(content: bytes) -> Contained:
    """Keeps the first page, and of its tags those that say how its pixels are stored."""
    try:
        directory = _read_directory(content)
    except KeyError:
        raise ContainerError("it is no TIFF") from None
    order, begin, is_big, entries = directory
    if is_big and order == ">":
        raise ContainerError("it is a BigTIFF of big-endian numbers, which Pillow cannot read")
    kept, found, orientation = [], {}, 1
    for tag, entry in entries:
        if tag in _OF_PIXELS:
            kept.append(entry)
            found[tag] = _values(content, directory, entry)
            if tag in _SINGLE and len(found[tag]) != 1:
                raise ContainerError(f"its tag {tag} is no single number")
        elif tag == _ORIENTATION:
            orientation = as_orientation(*_values(content, directory, entry)[:1])
    # In place, for offsets are counted from the begin; no page follows.
    page = bytearray(content)
    head = struct.pack(order + ("Q" if is_big else "H"), len(kept)) + b"".join(kept)
    head += bytes(8 if is_big else 4)
    page[begin : begin + len(head)] = head
    buffers, passes = _cost_of_tiff(content, found)
    return Contained(bytes(page), orientation, None, buffers, passes)


def _cost_of_tiff(content: bytes, found: dict[int, list[int]]) -> tuple[int, int]:
    """Bytes of a strip or tile, and how often JPEG goes over each."""

    def one(tag: int, default: int) -> int:
        return (found.get(tag) or [default])[0]

    width, height = one(256, 0), one(257, 0)
    bits, channels, coding = max(found.get(258) or [1]), one(277, 1), one(259, 1)
    if channels > 6:
        raise ContainerError(f"it has {channels} channels")
    if bits == 16 and channels > 1 and one(284, 1) == 2 and coding == 1:
        raise ContainerError("its 16-bit channels lie apart uncompressed, which Pillow misreads")
    across, down = one(322, width), one(323, min(one(278, height), height))
    parts = -(-width // max(across, 1)) * -(-height // max(down, 1))
    if parts > _MOST_PARTS:
        raise ContainerError(f"it has {parts} strips or tiles, more than any photo")
    passes = content.count(b"\xff\xda") // max(parts, 1) if coding in (6, 7) else 1
    return across * down * bits * channels // 8, max(passes, 1)


def _look_into_boxes(content: bytes) -> Contained:
    """Hides the Exif data of AVIF and HEIC: how to turn a photo is said elsewhere in them."""
    position = 0
    for _ in range(_MOST_PARTS):
        if position + 8 > len(content):
            break
        length, kind = struct.unpack_from(">L4s", content, position)
        if length == 1:
            (length,) = struct.unpack_from(">Q", content, position + 8)
        end = position + length if length else len(content)
        if kind == b"meta":
            head = content[position:end]
            for count in re.finditer(rb"iinf(?:\0...(..)|\x01...(....))", head, re.DOTALL):
                if int.from_bytes(count[1] or count[2], "big") > 4096:
                    raise ContainerError("it has more items than any photo")
            bare = _EXIF_ITEM.sub(rb"\1skip", head)
            picture = b"".join([content[:position], bare, memoryview(content)[end:]])
            return Contained(picture, weight=2.4 if _is_deep(head) else 1.0)
        position = max(end, position + 8)
    return Contained(content)


# An entry of the list of items: version, flags, number and protection stand before the kind.
_EXIF_ITEM = re.compile(rb"(infe[\x02\x03].{7}(?:..)?)Exif", re.DOTALL)


def _is_deep(head: bytes) -> bool:
    """Whether AVIF or HEIC has more than 8 bits, or colours in full resolution."""
    for found in re.finditer(b"av1C", head):
        if struct.unpack_from("B", head, found.end() + 2)[0] & 0x6C != 0x0C:
            return True
    for found in re.finditer(b"hvcC", head):
        chroma, bits = struct.unpack_from("BB", head, found.end() + 16)
        if chroma & 3 > 1 or bits & 7:
            return True
    return False


def _look_into_jpeg2000(content: bytes) -> Contained:
    """Finds out how many tiles there are, each of which costs, and how often it can be halved."""
    start = content.find(b"\xff\x4f\xff\x51")
    if start < 0:
        raise ContainerError("it has no pixels")
    x1, y1, x0, y0, tile_x, tile_y, tile_x0, tile_y0, channels = struct.unpack_from(
        ">8LH", content, start + 8
    )
    if not tile_x or not tile_y or x1 <= x0 or y1 <= y0 or channels > 5:
        raise ContainerError(f"it has {channels} channels and tiles of {tile_x}x{tile_y} pixels")
    tiles = -(-(x1 - tile_x0) // tile_x) * -(-(y1 - tile_y0) // tile_y)
    if tiles > 4096:
        raise ContainerError(f"it has {tiles} tiles, more than any photo")
    levels, position = 0, start + 4 + struct.unpack_from(">H", content, start + 4)[0]
    for _ in range(_MOST_PARTS):
        marker, length = struct.unpack_from(">HH", content, position)
        if marker == 0xFF52:
            levels = content[position + 9]
        if marker == 0xFF90 or levels:
            break
        position += 2 + length
    # Each tile has a record of its own coding.
    return Contained(content, 1, None, tiles * 16_000, 1, min(levels, 32))


_LOOKS: list[tuple[re.Pattern[bytes], Callable[[bytes], Contained]]] = [
    (re.compile(rb"\xff\xd8\xff"), _look_into_jpeg),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), _look_into_png),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), _look_into_webp),
    (re.compile(rb"II\*\0|MM\0\*|II\+\0|MM\0\+"), _look_into_tiff),
    (re.compile(rb"....ftyp", re.DOTALL), _look_into_boxes),
    (re.compile(rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n\x87\n"), _look_into_jpeg2000),
]
