"""Annotation files of Oxford and Paris: read, checked, and everything by name."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sklearn_cmac.datasets._tables import read_text
from sklearn_cmac.photos import Box, PhotoError, check_box

# What counts as positive and as junk in each of the revisited protocols.
PROTOCOLS = {
    "easy": (("easy",), ("junk", "hard")),
    "medium": (("easy", "hard"), ("junk",)),
    "hard": (("hard",), ("junk", "easy")),
}
_KINDS = ("easy", "hard", "junk")


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


def read_official(folder: str | os.PathLike[str], benchmark: str) -> GroundTruth:
    """The text files of the official annotation, four for each query."""
    files = [file for file in Path(folder).rglob("*_query.txt") if file.name[0] != "."]
    if not files:
        raise PhotoError(f"{folder}: has no *_query.txt, the annotation files of {benchmark}")
    by_name: dict[str, Path] = {}
    for file in sorted(files):
        if by_name.setdefault(file.name, file) != file:
            raise PhotoError(
                f"{folder}: has {file} beside {by_name[file.name]}; pass the folder that holds one "
                "annotation alone"
            )
    return GroundTruth([_read_request(file) for file in by_name.values()], None)


def _read_request(file: Path) -> Request:
    fields = read_text(file).split()
    if len(fields) != 5:
        raise PhotoError(f"{file}: expected a name and four numbers, got {' '.join(fields)[:60]!r}")
    lists = {}
    for kind in ("good", "ok", "junk"):
        path = file.with_name(file.name.replace("_query.txt", f"_{kind}.txt"))
        if not path.is_file():
            raise PhotoError(f"{path}: is missing beside {file.name}")
        lists[kind] = read_text(path).split()
    photo = fields[0].removeprefix("oxc1_")
    return _checked(str(file), photo, fields[1:], lists["good"] + lists["ok"], lists["junk"])


def _checked(
    where: str, photo: str, box: Any, positives: Sequence[str], junk: Sequence[str]
) -> Request:
    both = set(positives) & set(junk)
    if both:
        raise PhotoError(
            f"{where}: {min(both)!r} is both a positive and junk of this query; take it out of one "
            "of the lists"
        )
    return Request(photo, check_box(box, where), positives, junk)


def read_revisited(file: Path, protocol: str) -> GroundTruth:
    """The pickle of the revisited annotation."""
    truth = _read_plain_pickle(file)
    names, queries = (_names(truth, key, file) for key in ("imlist", "qimlist"))
    if len(set(names)) < len(names):
        twice = max(names, key=names.count)
        raise PhotoError(f"{file}: imlist has {twice!r} {names.count(twice)} times")
    entries = truth["gnd"]
    if not isinstance(entries, (list, tuple)) or len(entries) != len(queries) or not queries:
        raise PhotoError(f"{file}: gnd is no list with an entry for each name of qimlist")
    requests = []
    for photo, entry in zip(queries, entries):
        where = f"{file}, query {photo}"
        answers = _answers(entry, names, where)
        positives, junk = (
            [name for kind in kinds for name in answers[kind]] for kinds in PROTOCOLS[protocol]
        )
        requests.append(_checked(where, photo, entry["bbx"], positives, junk))
    return GroundTruth(requests, names)


def _names(truth: Mapping[str, Any], key: str, file: Path) -> list[str]:
    names = truth[key]
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise PhotoError(f"{file}: {key} is no list of names")
    return list(names)


def _answers(entry: Any, names: Sequence[str], where: str) -> dict[str, list[str]]:
    """Names of the photos that are easy, hard and junk."""
    found = [str(key) for key in entry] if isinstance(entry, dict) else [type(entry).__name__]
    if not {"bbx", *_KINDS} <= set(found):
        official = "; the official ground truth is its text files, for load_oxford5k, load_paris6k"
        raise PhotoError(
            f"{where}: expected bbx, easy, hard and junk, got {found}"
            f"{official if 'ok' in found else ''}"
        )
    return {kind: _at(entry[kind], names, f"{where}, {kind}") for kind in _KINDS}


def _at(positions: Any, names: Sequence[str], where: str) -> list[str]:
    if not isinstance(positions, (list, tuple)):
        raise PhotoError(f"{where}: expected a list of positions in imlist, got {positions!r}")
    for i in positions:
        if not isinstance(i, int) or not 0 <= i < len(names):
            raise PhotoError(f"{where}: {i!r} is no position in imlist, which has {len(names)}")
    return [names[i] for i in positions]


class _PlainUnpickler(pickle.Unpickler):
    """Reads containers, numbers and strings; whatever would import anything is refused."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _read_plain_pickle(file: Path) -> Mapping[str, Any]:
    try:
        with open(file, "rb") as content:
            truth = _PlainUnpickler(content).load()
    except OSError as error:
        raise PhotoError(f"{file}: cannot be read ({error.strerror})") from error
    except Exception as error:  # damaged pickles raise whatever the damage leads to
        raise PhotoError(
            f"{file}: is not a revisited ground truth of plain containers ({error}); nothing of it "
            "was run"
        ) from error
    if not isinstance(truth, dict) or not {"imlist", "qimlist", "gnd"} <= set(truth):
        raise PhotoError(f"{file}: lacks imlist, qimlist or gnd")
    return truth
