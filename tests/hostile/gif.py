"""GIF: small frames on a huge screen, frames without end, codes of any width."""

from __future__ import annotations

import struct
from functools import cache, partial

from hostile.case import Case, picture
from hostile.mutations import EXTREMES
from hostile.valid import saved


def cases() -> list[Case]:
    """All of them."""
    found = [
        _case("screen-65535-frame-1", gif, 65535, 65535, [frame(1, 1)]),
        _case("screen-9000-frame-1", gif, 9000, 9000, [frame(1, 1)]),
        _case("screen-9000-frame-1-transparent", gif, 9000, 9000, [_CONTROL + frame(1, 1)]),
        _case("screen-1-frame-65535", gif, 1, 1, [frame(65535, 65535)]),
        _case("screen-1-frame-9000", gif, 1, 1, [frame(9000, 9000)]),
        _case("screen-0", gif, 0, 0, [frame(1, 1)]),
        _case("frame-0", gif, 64, 64, [frame(0, 0)]),
        _case("frame-outside", gif, 64, 64, [frame(64, 64, 65535, 65535)]),
        _case("frames-100000", gif, 64, 64, [frame(1, 1)] * 100_000),
        _case("frames-2000-of-9000", gif, 9000, 9000, [_CONTROL + frame(9000, 9000)] * 2000),
        _case("no-frames", gif, 64, 64, []),
        _case("comments", lambda: _with(b"!\xfe" + b"\xffaaa".ljust(256, b"a") * 6000 + b"\0")),
        _case("comments-of-1", lambda: _with(b"!\xfe" + b"\1a" * 700_000 + b"\0")),
        _case("comments-apart", lambda: _with(b"!\xfe\1a\0" * 300_000)),
        _case("comment-open", lambda: _with(b"!\xfe" + b"\xff" * 100)),
        _case("extensions-empty", lambda: _with(b"!\x01\0" * 500_000)),
        _case("controls", lambda: _with(_CONTROL * 200_000)),
        _case(
            "netscape-without-end", lambda: _with(b"!\xff\x0bNETSCAPE2.0" + b"\3\1\xff\xff" * 99)
        ),
        _case("xmp", lambda: _with(b"!\xff\x0bXMP DataXMP" + b"a" * 70000)),
        _case("zeros-between", lambda: _with(bytes(1_900_000))),
        _case(
            "codes-flat-9000", gif, 9000, 9000, [frame(9000, 9000, data=_flat_codes(9000 * 9000))]
        ),
        _case("87a", lambda: b"GIF87a" + base()[6:]),
        _case("head-alone", lambda: base()[:13]),
    ]
    found += [
        _case(f"code-width-{n}", gif, 64, 64, [frame(64, 64, width=n)]) for n in range(0, 256, 3)
    ]
    found += [
        _case(f"screen-{w}-{h}", gif, w, h, [frame(64, 64)])
        for w in EXTREMES for h in (1, 0xFFFF) if w < 65536
    ]  # fmt: skip
    return found


def _case(kind: str, make, *arguments) -> Case:
    return Case(f"gif/{kind}", partial(make, *arguments), ".gif")


_CONTROL = b"!\xf9\4\x09\1\0\0\0"  # transparent, background restored


@cache
def base() -> bytes:
    """The picture."""
    return saved(picture(), "GIF")


def frame(
    columns: int, rows: int, x: int = 0, y: int = 0, width: int = 2, data: bytes = b"\x44\x01"
) -> bytes:
    """An image block with LZW codes."""
    blocks = b"".join(
        bytes([len(data[i : i + 255])]) + data[i : i + 255] for i in range(0, len(data), 255)
    )
    return b"," + struct.pack("<HHHHB", x, y, columns, rows, 0) + bytes([width]) + blocks + b"\0"


def gif(width: int, height: int, frames: list[bytes]) -> bytes:
    """A file of these frames, with a palette of four colours."""
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x81, 0, 0)
    return head + bytes(range(12)) + b"".join(frames) + b";"


def _with(blocks: bytes) -> bytes:
    """The picture with blocks before its frame."""
    at = 13 + 3 * 2 ** ((base()[10] & 7) + 1)
    return base()[:at] + blocks + base()[at:]


@cache
def _flat_codes(pixels: int) -> bytes:
    """LZW of zeros in codes that grow as long as they may: the densest that there is."""
    bits, used, written = 0, 0, bytearray()
    width, code, length, left = 3, 5, 0, pixels

    def put(value: int) -> None:
        nonlocal bits, used
        bits |= value << used
        used += width
        while used >= 8:
            written.append(bits & 255)
            bits >>= 8
            used -= 8

    put(4)
    put(0)
    left -= 1
    length = 1
    while left > 0:
        length += 1
        put(code if code < 4096 else 4095)
        left -= length
        if code < 4095:
            code += 1
            if code >= 1 << width and width < 12:
                width += 1
        else:
            length -= 1
    put(5)
    written.append(bits & 255)
    return bytes(written)
