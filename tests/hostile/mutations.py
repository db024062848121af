"""Damage to sound files, drawn from a seed: cuts, bits, runs, chunks and header fields."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable

from hostile.parts import PNG

EXTREMES = (
    0, 1, 2, 3, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF, 0x10000, 0xFFFFFF,
    0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF,
)  # fmt: skip

Mutation = Callable[[random.Random, bytes, bytes], bytes]


def cut(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """Its first part."""
    return content[: rng.randrange(len(content))]


def without_head(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """Its last part, or all but some bytes near the start."""
    at = rng.randrange(min(64, len(content)))
    return content[:at] + content[at + rng.randint(1, 64) :]


def flipped_bits(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """A few bits turned, most often in the head."""
    changed = bytearray(content)
    reach = len(changed) if rng.random() < 0.5 else min(len(changed), 256)
    for _ in range(rng.choice((1, 1, 2, 4, 16, 64))):
        changed[rng.randrange(reach)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def run_of_bytes(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """A run that is zero, 0xFF or random."""
    at = rng.randrange(len(content))
    length = min(rng.choice((1, 2, 4, 16, 64, 512, 4096)), len(content) - at)
    run = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))
    return content[:at] + run + content[at + length :]


def extreme_field(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """One to three numbers in the head, or at the start of a part, of extreme value."""
    changed = bytearray(content)
    starts = [0, *(start for start, _ in parts_of(content))]
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.choice(starts) + rng.randrange(48)
        form = rng.choice("BHI")
        order = rng.choice("<>")
        value = rng.choice(EXTREMES) & ((1 << 8 * struct.calcsize("<" + form)) - 1)
        number = struct.pack(order + form, value)
        if at + len(number) <= len(changed):
            changed[at : at + len(number)] = number
    return bytes(changed)


def moved_parts(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """Two chunks change places, or one is doubled, repeated or left out."""
    parts = parts_of(content)
    pieces = [content[start:end] for start, end in parts]
    i, j = rng.randrange(len(pieces)), rng.randrange(len(pieces))
    how = rng.randrange(4)
    if how == 0:
        pieces[i], pieces[j] = pieces[j], pieces[i]
    elif how == 1:
        pieces.insert(j, pieces[i])
    elif how == 2:
        pieces[i] = pieces[i] * rng.choice((2, 10, 100))
    else:
        del pieces[i]
    return content[: parts[0][0]] + b"".join(pieces) + content[parts[-1][1] :]


def spliced(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """The start of one file and the end of another."""
    at = rng.randrange(1, len(content))
    return content[:at] + other[rng.randrange(len(other)) :]


def inserted(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """Bytes of another file, or random ones, somewhere inside."""
    at = rng.randrange(len(content))
    start = rng.randrange(len(other))
    piece = rng.choice((other[start : start + 256], rng.randbytes(rng.randint(1, 64))))
    return content[:at] + piece + content[at:]


MUTATIONS: dict[str, Mutation] = {
    "cut": cut,
    "head": without_head,
    "bits": flipped_bits,
    "run": run_of_bytes,
    "field": extreme_field,
    "parts": moved_parts,
    "splice": spliced,
    "insert": inserted,
}
_WEIGHTS = (3, 1, 4, 3, 6, 2, 1, 1)


def mutate(rng: random.Random, content: bytes, other: bytes) -> tuple[str, bytes]:
    """What was done, and the damaged file. Checksums are most often made right again."""
    (name,) = rng.choices(list(MUTATIONS), _WEIGHTS)
    changed = MUTATIONS[name](rng, content, other)
    if changed.startswith(PNG) and rng.random() < 0.8:
        changed = _with_right_checksums(changed)
    return name, changed


def parts_of(content: bytes) -> list[tuple[int, int]]:
    """Start and end of a file's chunks; of pieces of it, where it has none that we know."""
    for reader in (_png, _jpeg, _riff, _boxes, _tiff):
        parts = reader(content)
        if len(parts) > 1:
            return parts
    step = max(16, len(content) // 32)
    return [(at, min(at + step, len(content))) for at in range(0, max(1, len(content)), step)]


def _png(content: bytes) -> list[tuple[int, int]]:
    if not content.startswith(PNG):
        return []
    parts, at = [], len(PNG)
    while at + 12 <= len(content):
        end = at + 12 + struct.unpack_from(">I", content, at)[0]
        if end > len(content):
            break
        parts.append((at, end))
        at = end
    return parts


def _jpeg(content: bytes) -> list[tuple[int, int]]:
    # A codestream of JPEG 2000 has segments of the same form, up to its data (FF93).
    if content[:2] not in (b"\xff\xd8", b"\xff\x4f"):
        return []
    parts, at = [], 2
    while at + 4 <= len(content) and content[at] == 0xFF and content[at + 1] not in (0x93, 0xD9):
        end = at + 2 + struct.unpack_from(">H", content, at + 2)[0]
        if end > len(content):
            break
        parts.append((at, end))
        at = end
    return parts


def _riff(content: bytes) -> list[tuple[int, int]]:
    if content[:4] != b"RIFF":
        return []
    parts, at = [], 12
    while at + 8 <= len(content):
        length = struct.unpack_from("<I", content, at + 4)[0]
        end = at + 8 + length + length % 2
        if end > len(content):
            break
        parts.append((at, end))
        at = end
    return parts


def _boxes(content: bytes) -> list[tuple[int, int]]:
    if content[4:8] not in (b"ftyp", b"jP  "):
        return []
    parts: list[tuple[int, int]] = []
    _walk_boxes(content, 0, len(content), parts)
    return parts


def _walk_boxes(content: bytes, at: int, stop: int, parts: list[tuple[int, int]]) -> None:
    """Boxes inside those that hold others are parts, and not the boxes around them."""
    inside = {b"meta": 12, b"iprp": 8, b"ipco": 8, b"jp2h": 8, b"iinf": 14, b"iref": 12}
    while at + 8 <= stop:
        length, kind = struct.unpack_from(">I4s", content, at)
        if length < 8 or at + length > stop:
            break
        if kind in inside:
            _walk_boxes(content, at + inside[kind], at + length, parts)
        else:
            parts.append((at, at + length))
        at += length


def _tiff(content: bytes) -> list[tuple[int, int]]:
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(content[:4])
    if order is None or len(content) < 8:
        return []
    (at,) = struct.unpack_from(order + "I", content, 4)
    if at + 2 > len(content):
        return []
    (count,) = struct.unpack_from(order + "H", content, at)
    starts = range(at + 2, min(at + 2 + 12 * count, len(content) - 11), 12)
    return [(start, start + 12) for start in starts]


def _with_right_checksums(content: bytes) -> bytes:
    changed = bytearray(content)
    for start, end in _png(content):
        struct.pack_into(">I", changed, end - 4, zlib.crc32(content[start + 4 : end - 4]))
    return bytes(changed)
