"""ILIAS: a thousand objects of all kinds, among up to a hundred million other photos.

G. Kordopatis-Zilos et al., "ILIAS: Instance-Level Image retrieval At Scale", CVPR 2025.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from sklearn_cmac.datasets._benchmarks import Relevance, restricted
from sklearn_cmac.datasets._tables import Line, check_name, read_lines, shown
from sklearn_cmac.photos import Box, Photo, PhotoError, Query, check_box

# Quartiles of the objects' share of their photos, and of the number of other things in these, by
# which the authors report their results.
_SCALES = (0, 0.06880213760855043, 0.13526567164179104, 0.2729876723163842, np.inf)
_CLUTTERS = (0, 18, 33, 53, np.inf)


def load_ilias(
    photos_dir: str | os.PathLike[str],
    annotations: str | os.PathLike[str] | None = None,
    missing: str = "error",
) -> Bunch:
    """ILIAS: 1,232 queries of 1,000 objects, 4,715 positives.

    The score is mAP at 1000. Distractors, those of YFCC100M that its authors publish in shards of
    100,000 or others, are added by `add_distractors`, a folder a shard; queries are not ranked.

    Parameters
    ----------
    photos_dir : path
        ``ilias_core``: a folder for each object, with ``query/Q*.jpg`` and ``pos/P*.jpg``, and
        ``*_bbox.txt`` beside each of the queries. Of several boxes the one around all is asked
        for.
    annotations : path, optional
        The folder ``image_ids`` with ``image_query_ids.txt`` and ``positive_ids.txt``, lines of a
        path and, of positives, scale and clutter. Default: in `photos_dir`, or beside it.
    missing : {"error", "restrict"}, default="error"
        As for `load_oxford5k`.

    Returns
    -------
    Bunch
        As for `load_oxford5k`, with `at` = 1000, `groups` (each query's object) and `subsets`:
        the same questions, with positives of one quartile of scale or clutter alone.

    Raises
    ------
    PhotoError
        If photos or annotations are missing, or a line or box cannot be read or says another
        thing than one before it.

    References
    ----------
    https://github.com/ilias-vrg/ilias

    Examples
    --------
    >>> from sklearn_cmac.datasets import add_distractors, load_ilias
    >>> ilias = load_ilias("ilias_core", "image_ids")  # doctest: +SKIP
    >>> ilias = add_distractors(ilias, "yfcc100m/00000")  # doctest: +SKIP
    """
    root = Path(photos_dir)
    lists = _list_folder(root) if annotations is None else Path(annotations)
    asked = [
        check_name(line.cells[0], line.place)
        for line in read_lines(lists / "image_query_ids.txt", ",")
    ]
    positives = _positives(lists / "positive_ids.txt")
    kept = restricted("ilias", [*asked, *positives], lambda name: (root / name).is_file(), missing)
    ranked = sorted(name for name in positives if name in kept)
    of_object = defaultdict(list)
    for i, name in enumerate(ranked):
        of_object[_object(name)].append(i)
    queries = sorted(name for name in asked if name in kept and of_object[_object(name)])
    if not queries:
        raise PhotoError(f"{root}: has no query of ilias with a positive, so nothing to ask for")
    answers = [np.array(of_object[_object(name)]) for name in queries]
    measures = np.array([positives[name] for name in ranked])
    return Bunch(
        name="ilias",
        photos=[Photo(root / name, name=name) for name in ranked],
        queries=[Query(Photo(root / name, name=name), _box_of(root / name)) for name in queries],
        relevance=[Relevance(found, np.empty(0, int)) for found in answers],
        at=1000,
        groups=[_object(name) for name in queries],
        subsets={
            **_quartiles("scale", _SCALES, measures[:, 0], answers),
            **_quartiles("clutter", _CLUTTERS, measures[:, 1], answers),
        },
        protocol="mAP@1000",
        DESCR=f"ilias: {len(ranked)} positives, {len(queries)} of {len(asked)} queries.",
    )


def _list_folder(root: Path) -> Path:
    for folder in (root / "image_ids", root.parent / "image_ids"):
        if folder.is_dir():
            return folder
    raise PhotoError(f"{root}: has no folder image_ids in or beside it; pass it as annotations")


def _positives(file: Path) -> dict[str, tuple[float, float]]:
    """Scale and clutter of each positive, by its path."""
    found: dict[str, tuple[float, float]] = {}
    for line in read_lines(file, ","):
        name = check_name(line.cells[0], line.place)
        scale, clutter = _numbers(line, line.cells[1:3], 2, "a path, scale and clutter")
        if found.setdefault(name, (scale, clutter)) != (scale, clutter):
            raise PhotoError(f"{line.place}: {name!r} is there twice, with other numbers")
    return found


def _numbers(line: Line, cells: list[str], n: int, expected: str) -> list[float]:
    try:
        found = [float(cell) for cell in cells]
    except ValueError:
        found = []
    if len(found) != n or not np.isfinite(found).all():
        raise PhotoError(f"{line.place}: expected {expected}, got {shown(' '.join(line.cells))}")
    return found


def _object(name: str) -> str:
    return name.partition("/")[0]


def _box_of(photo: Path) -> Box:
    """The box around all boxes of a photo, which its text file has as x, y, width, height."""
    file = photo.with_name(f"{photo.stem}_bbox.txt")
    lines = [*read_lines(file)] or [Line(str(file), [])]
    boxes = [_numbers(line, line.cells, 4, "x, y, width and height") for line in lines]
    x, y, width, height = np.array(boxes).T
    corners = (x.min(), y.min(), (x + width).max(), (y + height).max())
    return check_box([max(0.0, float(corner)) for corner in corners], str(file))


def _quartiles(
    what: str, limits: tuple[float, ...], values: np.ndarray, answers: Iterable[np.ndarray]
) -> dict[str, list[Relevance | None]]:
    """What answers each query in each range of a measure; other positives are junk there."""
    found: dict[str, list[Relevance | None]] = {}
    for low, high in pairwise(limits):
        name = f"{what} {low:.3g}–{high:.3g}" if np.isfinite(high) else f"{what} from {low:.3g}"
        inside = (values >= low) & (values < high)
        found[name] = [
            Relevance(own[inside[own]], own[~inside[own]]) if inside[own].any() else None
            for own in answers
        ]
    return found
