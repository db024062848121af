"""All hostile photos, in an order that does not change: what is built, then mutants by seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache, partial

from hostile import exif, gif, isomedia, jpeg, jpeg2000, not_photos, others, png, tiffs, valid, webp
from hostile.case import Case
from hostile.mutations import mutate

# Endings of the formats that most photos have.
_COMMON = (".jpg", ".png", ".webp", ".heic", ".avif", ".tif")
FAMILIES = {
    "valid": valid, "jpeg": jpeg, "png": png, "gif": gif, "webp": webp, "isomedia": isomedia,
    "tiffs": tiffs, "jpeg2000": jpeg2000, "others": others, "exif": exif, "none": not_photos,
}  # fmt: skip


@cache
def built() -> list[Case]:
    """What is built on purpose."""
    return [case for family in FAMILIES.values() for case in family.cases()]


@cache
def _bases() -> list[Case]:
    """What is damaged: each valid file, and everything built of less than 100 kB."""
    return [case for case in built() if case.shows == "picture" and len(case.make()) < 100_000]


@cache
def _content(case: Case) -> bytes:
    return case.make()


def mutant(seed: int) -> Case:
    """A valid file with damage that this number decides on. It is made when it is asked for."""
    rng = random.Random(seed)
    base = rng.choice(_bases())
    other = rng.choice(_bases())
    if rng.random() < 0.5:  # half of them are of the formats that most photos have
        base = rng.choice([case for case in _bases() if case.suffix in _COMMON])
    how, content = mutate(rng, _content(base), _content(other))
    for _ in range(rng.choice((0, 0, 0, 1, 3)) if how != "cut" else 0):
        content = mutate(rng, content or b"\0", _content(other))[1]
        how = "several"
    suffix = rng.choice((base.suffix, base.suffix, base.suffix, ".jpg", other.suffix))
    return Case(
        f"mutant/{seed}-{base.kind.removeprefix('valid/')}-{how}",
        partial(bytes, content),
        suffix,
        "whole" if how == "cut" else "anything",
        base.expected,
    )


def photos(count: int) -> Iterator[Case]:
    """The first of the suite: what is built, and mutants to make up the number."""
    yield from built()[:count]
    for seed in range(count - len(built())):
        yield mutant(seed)


def sample(count: int, seed: int = 0) -> list[Case]:
    """Some of all of them: by far the most are cheap."""
    rng = random.Random(seed)
    chosen = rng.sample(built(), min(count // 2, len(built())))
    return [*chosen, *(mutant(rng.randrange(1 << 30)) for _ in range(count - len(chosen)))]
