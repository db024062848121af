"""The parts of files: chunks, segments, boxes and directories, written as their standards say."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence

PNG = b"\x89PNG\r\n\x1a\n"

# Sizes of TIFF's types 1 to 13 and BigTIFF's 16 to 18, and how struct calls them.
TIFF_TYPES = {
    1: "B", 2: "B", 3: "H", 4: "I", 5: "II", 6: "b", 7: "B", 8: "h", 9: "i", 10: "ii", 11: "f",
    12: "d", 13: "I", 16: "Q", 17: "q", 18: "Q",
}  # fmt: skip
BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 1, 2, 3, 4, 5, 7


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk with the checksum that it should have."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_header(
    width: int, height: int, depth: int = 8, color: int = 2, interlace: int = 0
) -> bytes:
    """IHDR."""
    head = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlace)
    return png_chunk(b"IHDR", head)


def png(width: int, height: int, *chunks: bytes, **header: int) -> bytes:
    """A PNG of these chunks between IHDR and IEND."""
    return PNG + png_header(width, height, **header) + b"".join(chunks) + png_chunk(b"IEND", b"")


def png_chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """Kinds and bodies of a sound PNG."""
    found, at = [], len(PNG)
    while at < len(content):
        (length,) = struct.unpack_from(">I", content, at)
        found.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def png_with(content: bytes, *chunks: bytes, after: int = 1) -> bytes:
    """A sound PNG with more chunks behind its first ones."""
    written = [png_chunk(kind, body) for kind, body in png_chunks(content)]
    return PNG + b"".join([*written[:after], *chunks, *written[after:]])


def zeros(length: int, level: int = 9, piece: int = 1 << 20) -> bytes:
    """A zlib stream that inflates to this many zeros: a thousandth of them."""
    squeezer = zlib.compressobj(level)
    block = bytes(piece)
    written = [squeezer.compress(block) for _ in range(length // piece)]
    return b"".join([*written, squeezer.compress(bytes(length % piece)), squeezer.flush()])


def segment(marker: int, body: bytes) -> bytes:
    """A JPEG segment, or of a JPEG 2000 codestream."""
    marker = marker if marker > 255 else 0xFF00 + marker
    return struct.pack(">HH", marker, len(body) + 2) + body


def jpeg_with(content: bytes, *segments: bytes) -> bytes:
    """A JPEG with more segments at its start."""
    return content[:2] + b"".join(segments) + content[2:]


def box(kind: bytes, *bodies: bytes) -> bytes:
    """A box of ISO media and JPEG 2000 files."""
    body = b"".join(bodies)
    return struct.pack(">I", len(body) + 8) + kind + body


def full_box(kind: bytes, version: int, flags: int, *bodies: bytes) -> bytes:
    """A box with a version."""
    return box(kind, struct.pack(">I", version << 24 | flags), *bodies)


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """A WebP file of these chunks."""
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
        for kind, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def tiff(
    entries: Mapping[int, tuple],
    pieces: Sequence[bytes] = (),
    *,
    order: str = "<",
    big: bool = False,
    tiled: bool = False,
    next_at: int = 0,
) -> bytes:
    """A TIFF, or EXIF, of one directory.

    Parameters
    ----------
    entries : mapping
        Tag to (type, values), or to (type, count, offset): what is written then is just that.
    pieces : sequence of bytes
        Strips or tiles; their offsets and lengths become entries.
    order : {"<", ">"}
    big : bool
        BigTIFF.
    tiled : bool
        The pieces are tiles.
    next_at : int
        Where the next directory is said to be.
    """
    entries = dict(entries)
    word, width = ("Q", 8) if big else ("I", 4)
    start = 16 if big else 8
    if pieces:
        places, at = [], start
        for piece in pieces:
            places.append(at)
            at += len(piece)
        entries.setdefault(324 if tiled else 273, (LONG, places))
        entries.setdefault(325 if tiled else 279, (LONG, [len(piece) for piece in pieces]))
    blob = b"".join(pieces)
    directory_at = start + len(blob)
    mark = {"<": b"II", ">": b"MM"}[order]
    if big:
        head = mark + struct.pack(order + "HHHQ", 43, 8, 0, directory_at)
    else:
        head = mark + struct.pack(order + "HI", 42, directory_at)
    rows = [
        (tag, *_values(value, order)) if len(value) == 2 else (tag, value[0], value[1], value[2])
        for tag, value in entries.items()
    ]
    after = directory_at + (8 if big else 2) + len(rows) * (12 + 8 * big) + width
    directory, behind = struct.pack(order + ("Q" if big else "H"), len(rows)), b""
    for tag, kind, count, value in rows:
        directory += struct.pack(order + "HH" + word, tag, kind, count)
        if isinstance(value, int):
            directory += struct.pack(order + word, value)
        elif len(value) <= width:
            directory += value.ljust(width, b"\0")
        else:
            directory += struct.pack(order + word, after + len(behind))
            behind += value
    return head + blob + directory + struct.pack(order + word, next_at) + behind


def _values(entry: tuple, order: str) -> tuple[int, int, bytes]:
    kind, values = entry
    if isinstance(values, bytes):
        return kind, len(values), values
    values = [values] if isinstance(values, (int, float)) else list(values)
    form = TIFF_TYPES[kind]
    return kind, len(values) // len(form), struct.pack(f"{order}{len(values)}{form[0]}", *values)


def many(entry: bytes, count: int, head: bytes, tail: bytes = b"") -> bytes:
    """The same bytes many times over, between head and tail."""
    return b"".join([head, entry * count, tail])


def joined(pieces: Iterable[bytes]) -> bytes:
    """All of them, one behind the other."""
    return b"".join(pieces)
