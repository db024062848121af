"""Annotation files of Oxford and Paris: read, checked, and everything by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sklearn_cmac.datasets._plain_pickle import read_plain_pickle
from sklearn_cmac.datasets._tables import check_name, read_lines, shown
from sklearn_cmac.networks._plain_contents import PlainArray
from sklearn_cmac.photos import Box, PhotoError, check_box

# What counts as positive and as junk in each of the revisited protocols.
PROTOCOLS = {
    "easy": (("easy",), ("junk", "hard")),
    "medium": (("easy", "hard"), ("junk",)),
    "hard": (("hard",), ("junk", "easy")),
}
_OFFICIAL, _REVISITED = ("ok", "junk"), ("easy", "hard", "junk")
_LOADERS = {
    _OFFICIAL: "official ground truth, for load_oxford5k and load_paris6k (cmac evaluate oxford5k)",
    _REVISITED: "revisited ground truth, for load_roxford5k and load_rparis6k "
    "(cmac evaluate roxford5k)",
}
_MOST_POSITIONS = (
    2_000_000  # in all lists together; lists may be shared, and so be longer than the file
)


class Request(NamedTuple):
    """A query as the annotation has it."""

    photo: str
    box: Box
    positives: Sequence[str]
    junk: Sequence[str]


class GroundTruth(NamedTuple):
    """The queries of a benchmark, and the photos that they rank: None where all that are there."""

    requests: Sequence[Request]
    ranked: Sequence[str] | None


def read_official(place: Path, benchmark: str) -> GroundTruth:
    """The official annotation: four text files for each query in a folder, or a pickle.

    The folder may hold the pickle, too, as ``gnd_BENCHMARK.pkl``.
    """
    if place.is_file():
        return _read_official_pickle(place)
    files = [file for file in place.rglob("*_query.txt") if file.name[0] != "."]
    pickled = place / f"gnd_{benchmark.lower()}.pkl"
    if not files and pickled.is_file():
        return _read_official_pickle(pickled)
    if not files:
        raise PhotoError(
            f"{place}: has no *_query.txt, the annotation files of {benchmark}, and no "
            f"{pickled.name}"
        )
    by_name: dict[str, Path] = {}
    for file in sorted(files):
        if by_name.setdefault(file.name, file) != file:
            raise PhotoError(
                f"{place}: has {file} beside {by_name[file.name]}; pass the folder that holds one "
                "annotation alone"
            )
    return GroundTruth([_read_request(file) for file in by_name.values()], None)


def _read_request(file: Path) -> Request:
    fields = [cell for line in read_lines(file) for cell in line.cells]
    if len(fields) != 5:
        raise PhotoError(f"{file}: expected a name and four numbers, got {shown(' '.join(fields))}")
    lists = {}
    for kind in ("good", "ok", "junk"):
        path = file.with_name(file.name.replace("_query.txt", f"_{kind}.txt"))
        if not path.is_file():
            raise PhotoError(f"{path}: is missing beside {file.name}")
        lists[kind] = [
            check_name(cell, line.place) for line in read_lines(path) for cell in line.cells
        ]
    photo = check_name(fields[0].removeprefix("oxc1_"), str(file))
    return _checked(str(file), photo, fields[1:], lists["good"] + lists["ok"], lists["junk"])


def _checked(
    where: str, photo: str, box: Any, positives: Sequence[str], junk: Sequence[str]
) -> Request:
    checked = check_box(box, where)
    both = set(positives) & set(junk)
    if both:
        raise PhotoError(
            f"{where}: {min(both)!r} is both a positive and junk of this query; take it out of one "
            "of the lists"
        )
    return Request(photo, checked, positives, junk)


# -- pickles ----------------------------------------------------------------------------------


def read_revisited(file: Path, protocol: str) -> GroundTruth:
    """The pickle of the revisited annotation."""
    names, entries = _read_pickle(file, _REVISITED)
    requests = []
    for where, photo, box, answers in entries:
        positives, junk = (
            [name for kind in kinds for name in answers[kind]] for kinds in PROTOCOLS[protocol]
        )
        requests.append(_checked(where, photo, box, positives, junk))
    return GroundTruth(requests, names)


def _read_official_pickle(file: Path) -> GroundTruth:
    names, entries = _read_pickle(file, _OFFICIAL)
    return GroundTruth(
        [
            _checked(where, photo, box, answers["ok"], answers["junk"])
            for where, photo, box, answers in entries
        ],
        names,
    )


class _Entry(NamedTuple):
    """What a pickle has of a query, and where."""

    where: str
    photo: str
    box: list[float]
    answers: dict[str, list[str]]


def _read_pickle(file: Path, kinds: Sequence[str]) -> tuple[list[str], list[_Entry]]:
    """Names of the ranked photos, and the queries, of a pickle that has answers of some kinds.

    Types are known before anything is compared, printed or walked through: what is in a pickle may
    be nested without end.
    """
    try:
        truth = read_plain_pickle(file)
    except OSError as error:
        raise PhotoError(f"{file}: cannot be read ({error.strerror})") from error
    except Exception as error:  # damaged pickles raise whatever the damage leads to
        raise PhotoError(
            f"{file}: is not a ground truth of plain containers ({error}); nothing of it was run"
        ) from error
    if type(truth) is not dict or not {"imlist", "qimlist", "gnd"} <= set(truth):
        raise PhotoError(f"{file}: lacks imlist, qimlist or gnd")
    names, photos = (_names(truth[key], f"{file}, {key}") for key in ("imlist", "qimlist"))
    twice, n = Counter(names).most_common(1)[0] if names else ("", 0)
    if n > 1:
        raise PhotoError(f"{file}: imlist has {shown(twice)} {n} times")
    entries = truth["gnd"]
    if type(entries) not in (list, tuple) or len(entries) != len(photos) or not photos:
        raise PhotoError(f"{file}: gnd is no list with an entry for each name of qimlist")
    return names, list(_entries(file, names, photos, entries, kinds))


def _names(names: Any, where: str) -> list[str]:
    if type(names) not in (list, tuple) or not all(type(name) is str for name in names):
        raise PhotoError(f"{where}: is no list of names")
    return [check_name(name, where) for name in names]


def _entries(
    file: Path, names: Sequence[str], photos: Sequence[str], entries: Any, kinds: Sequence[str]
) -> Iterator[_Entry]:
    left = _MOST_POSITIONS
    for photo, entry in zip(photos, entries):
        where = f"{file}, query {photo}"
        found = entry if type(entry) is dict else {}
        if not {"bbx", *kinds} <= set(found):
            other = next((other for other in _LOADERS if {"bbx", *other} <= set(found)), None)
            if other:
                raise PhotoError(
                    f"{file}: has {' and '.join(other)} of each query: it is {_LOADERS[other]}"
                )
            keys = [shown(key) for key in found] or shown(entry)
            raise PhotoError(f"{where}: expected bbx, {', '.join(kinds)}, got {keys}")
        lists = {kind: _flat(found[kind], f"{where}, {kind}") for kind in kinds}
        left -= sum(map(len, lists.values()))
        if left < 0:
            raise PhotoError(f"{file}: has more than {_MOST_POSITIONS} positions")
        box = _flat(found["bbx"], f"{where}, bbx")
        if len(box) != 4 or not all(map(_is_number, box)):
            raise PhotoError(f"{where}: bbx is four numbers, got {[shown(v) for v in box[:5]]}")
        answers = {kind: _at(lists[kind], names, f"{where}, {kind}") for kind in kinds}
        yield _Entry(where, photo, box, answers)


def _flat(values: Any, where: str) -> list[Any]:
    """The items of a list or of an array of one dimension, as Python has them."""
    if isinstance(values, PlainArray) and len(values.shape) == 1:
        return values.values.tolist()
    if type(values) not in (list, tuple):
        raise PhotoError(f"{where}: expected a list of numbers, got {shown(values)}")
    return list(values)


def _at(positions: list[Any], names: Sequence[str], where: str) -> list[str]:
    for i in positions:
        if type(i) is not int or not 0 <= i < len(names):
            raise PhotoError(
                f"{where}: {shown(i)} is no position in imlist, which has {len(names)}"
            )
    return [names[i] for i in positions]


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) < 2**53)
