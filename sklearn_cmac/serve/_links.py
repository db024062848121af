"""What is asked for, as a link that can be sent: photos by the key of their content, and boxes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request

from sklearn_cmac.photos import Box

_KEY = re.compile(r"[0-9a-f]{64}")
MOST_PARTS = 8
MOST_MARKS = 100
MOST_RESULTS = 200
MOST_PAGES = 1_000_000
COMBINATIONS = ("mean", "max")
ORDERS = ("first", "newest")


@dataclass(frozen=True)
class Part:
    """A photo, or the object in a box of it.

    Parameters
    ----------
    photo : str
        Its key.
    box : tuple of 4 floats, optional
    """

    photo: str
    box: Box | None = None

    def __str__(self) -> str:
        if self.box is None:
            return self.photo
        return f"{self.photo}@{','.join(f'{v:g}' for v in self.box)}"


@dataclass(frozen=True)
class Ask:
    """A search.

    Parameters
    ----------
    parts : tuple of Part
        At least one.
    right, wrong : tuple of str
        Keys of results that were marked.
    n : int
        Results to show.
    combine : {"mean", "max"}
        How several parts become one ranking.
    """

    parts: tuple[Part, ...]
    right: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    n: int = 24
    combine: str = "mean"

    @property
    def link(self) -> str:
        """The one address of this search."""
        pairs = [("q", str(part)) for part in self.parts]
        pairs += [("right", key) for key in self.right]
        pairs += [("wrong", key) for key in self.wrong]
        if len(self.parts) > 1:
            pairs.append(("combine", self.combine))
        if self.n != Ask.n:
            pairs.append(("n", str(self.n)))
        return f"/search?{urlencode(pairs, safe='@,')}"

    def without(self, part: Part) -> Ask | None:
        """The search without one of its parts, or None if no other is left."""
        left = tuple(other for other in self.parts if other != part)
        return replace(self, parts=left) if left else None


def wants_json(request: Request) -> bool:
    """Whether a program asks: by ``format=json``, or by what it accepts."""
    accepted = request.headers.get("accept", "")
    json_first = "application/json" in accepted and "text/html" not in accepted
    return request.query_params.get("format") == "json" or json_first


def read_ask(given: Any) -> Ask:
    """The search that an address or a form asks for.

    Parameters
    ----------
    given : starlette.datastructures.QueryParams
        ``q=KEY`` or ``q=KEY@X0,Y0,X1,Y1``, each once or more; of a form ``photo=KEY`` with ``x0``,
        ``y0``, ``x1``, ``y1``; ``right=KEY`` and ``wrong=KEY``, or of a form ``mark-KEY=right``;
        ``n`` and ``combine``.

    Returns
    -------
    Ask

    Raises
    ------
    ValueError
        If a part of it is nothing that may be asked.
    """
    parts = read_parts(given)
    if "photo" in given:
        parts.append(Part(read_key(given["photo"]), _box_of_form(given)))
    if not 1 <= len(set(parts)) <= MOST_PARTS:
        raise ValueError(f"a search is for 1 to {MOST_PARTS} photos or boxes, got {len(parts)}")
    marks = {read_key(key): kind for kind in ("right", "wrong") for key in given.getlist(kind)}
    for name, kind in given.multi_items():
        if name.startswith("mark-"):
            marks[read_key(name.removeprefix("mark-"))] = kind
    if len(marks) > MOST_MARKS:
        raise ValueError(f"at most {MOST_MARKS} results can be marked, got {len(marks)}")
    combine = read_choice(given, "combine", COMBINATIONS)
    return Ask(
        tuple(dict.fromkeys(parts)),
        tuple(key for key, kind in marks.items() if kind == "right"),
        tuple(key for key, kind in marks.items() if kind == "wrong"),
        read_count(given, "n", Ask.n, MOST_RESULTS),
        combine,
    )


def read_parts(given: Any) -> list[Part]:
    """The photos and boxes of ``q``; there may be none."""
    return [_part(text) for text in given.getlist("q")[: MOST_PARTS + 1]]


def read_count(given: Mapping[str, str], name: str, usual: int, most: int) -> int:
    """A number from 1 to `most`, or the usual one where none is given."""
    text = given.get(name) or str(usual)
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= most:
        raise ValueError(f"{name} is a number from 1 to {most}, got {text[:40]!r}")
    return int(text)


def read_choice(given: Mapping[str, str], name: str, choices: Sequence[str]) -> str:
    """One of several words, or the first where none is given."""
    word = given.get(name) or choices[0]
    if word not in choices:
        raise ValueError(f"{name} is one of {', '.join(choices)}, got {word[:40]!r}")
    return word


def _part(text: str) -> Part:
    key, at, box = text.partition("@")
    return Part(read_key(key), read_box(box) if at else None)


def read_box(text: str) -> Box:
    """The corners of X0,Y0,X1,Y1, or a `ValueError`."""
    return _box(text.split(","))


def read_key(text: str) -> str:
    """The key of a photo, or a `ValueError`."""
    if not _KEY.fullmatch(text):
        raise ValueError(f"a photo is named by 64 hexadecimal digits, got {text[:80]!r}")
    return text


def _box_of_form(given: Mapping[str, str]) -> Box | None:
    corners = [given.get(name, "") for name in ("x0", "y0", "x1", "y1")]
    return _box(corners) if any(corners) else None


def _box(corners: list[str]) -> Box:
    """A box; two of its corners, whichever they are, make one."""
    try:
        x0, y0, x1, y1 = (float(v) for v in corners)
    except ValueError:
        x0 = y0 = x1 = y1 = math.nan
    if not all(math.isfinite(v) and abs(v) < 1e6 for v in (x0, y0, x1, y1)):
        raise ValueError(f"a box is four numbers in pixels, got {','.join(corners)[:80]!r}")
    box = min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)
    if box[2] - box[0] < 1 or box[3] - box[1] < 1:
        raise ValueError("the box is empty; draw it over the object")
    return box
