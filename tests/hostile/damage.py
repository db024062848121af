"""Damage to any file, drawn from a seed, and what a kind of file is."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_NUMBERS = (
    0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**62,
    2**63 - 1, 2**63, 2**64 - 1,
)  # fmt: skip
_TEXTS = (
    b"-1", b"0", b"1e308", b"NaN", b"null", b"[]", b"{}", b'"', b"\\", b"\n", b"\r", b",", b";",
    b"../", b"/etc/passwd", b"\0", b"\xff", b"99999999999999999999", b"true", b"\xf0\x9f\x92\xa9",
)  # fmt: skip

# What a file holds, or what makes it.
Content = bytes | Callable[[], bytes]


@dataclass(frozen=True)
class Kind:
    """A kind of file, and how the product opens it.

    Parameters
    ----------
    name : str
    file : str
        What the file is called.
    sound : bytes
        One that is as it should be.
    opened : callable
        Of the folder with what belongs to the file, and the file.
    allowed : tuple of exception types
        That the product documents.
    built : callable, optional
        Contents that are built to harm.
    named_by : callable, optional
        Of the file, what a message may name in its place; one of them is enough.
    """

    name: str
    file: str
    sound: bytes
    opened: Callable[[Path, Path], Any]
    allowed: tuple[type[Exception], ...]
    built: Callable[[], Iterable[Content]] = tuple
    named_by: Callable[[Path], list[str]] | None = None


def damaged(content: bytes, seed: int) -> bytes:
    """A file with one or a few of the faults that disks, networks and people make."""
    rng = random.Random(seed)
    found = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        rng.choice(_FAULTS)(rng, found)
    return bytes(found)


def _place(rng: random.Random, content: bytearray) -> int:
    """Anywhere, and half of the time where the head is."""
    return rng.randrange(max(1, len(content) if rng.random() < 0.5 else min(len(content), 200)))


def _cut(rng: random.Random, content: bytearray) -> None:
    del content[_place(rng, content) :]


def _flip(rng: random.Random, content: bytearray) -> None:
    for _ in range(rng.choice((1, 2, 8, 32)) if content else 0):
        content[_place(rng, content)] ^= 1 << rng.randrange(8)


def _blank(rng: random.Random, content: bytearray) -> None:
    start, length = _place(rng, content), rng.choice((1, 4, 64, 512, 4096))
    content[start : start + length] = bytes(len(content[start : start + length]))


def _swap(rng: random.Random, content: bytearray) -> None:
    one, other, n = _place(rng, content), _place(rng, content), rng.choice((4, 16, 512))
    content[one : one + n], content[other : other + n] = (
        content[other : other + n],
        content[one : one + n],
    )


def _extreme(rng: random.Random, content: bytearray) -> None:
    width = rng.choice((1, 2, 4, 8))
    number = (rng.choice(_NUMBERS) % 256**width).to_bytes(width, rng.choice(("little", "big")))
    start = _place(rng, content)
    content[start : start + width] = number


def _insert(rng: random.Random, content: bytearray) -> None:
    start = _place(rng, content)
    content[start:start] = rng.choice(_TEXTS)


def _replace(rng: random.Random, content: bytearray) -> None:
    start, text = _place(rng, content), rng.choice(_TEXTS)
    content[start : start + len(text)] = text


def _repeat(rng: random.Random, content: bytearray) -> None:
    start, n = _place(rng, content), rng.choice((8, 64, 512))
    content[start:start] = bytes(content[start : start + n]) * rng.choice((1, 10, 100))


def _remove(rng: random.Random, content: bytearray) -> None:
    start = _place(rng, content)
    del content[start : start + rng.choice((1, 4, 64, 512))]


_FAULTS = (
    _cut,
    _flip,
    _flip,
    _blank,
    _swap,
    _extreme,
    _extreme,
    _insert,
    _replace,
    _repeat,
    _remove,
)
