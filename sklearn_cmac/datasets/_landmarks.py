"""The retrieval task of Google Landmarks v2.

T. Weyand et al., "Google Landmarks Dataset v2", CVPR 2020.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from sklearn_cmac.datasets._benchmarks import Relevance, restricted
from sklearn_cmac.datasets._tables import Row, check_name, read_table, shown
from sklearn_cmac.datasets._walk import image_paths
from sklearn_cmac.photos import Photo, PhotoError

_SOLUTION = "retrieval_solution_v2.1.csv"


def load_gldv2(
    photos_dir: str | os.PathLike[str],
    annotations: str | os.PathLike[str] | None = None,
    missing: str = "error",
    usage: str = "Private",
) -> Bunch:
    """Google Landmarks v2, retrieval: 761,757 photos, 1,129 queries with an answer (750 private).

    The score is mAP at 100. Queries are whole photos, which are not ranked.

    Parameters
    ----------
    photos_dir : path
        With the folders ``index``, whose photos are ranked, and ``test``.
    annotations : path, optional
        ``retrieval_solution_v2.1.csv``, or the folder that it is in: columns `id`, `images` (ids
        with blanks between) and `Usage`. Default: `photos_dir`.
    missing : {"error", "restrict"}, default="error"
        As for `load_oxford5k`.
    usage : {"Private", "Public"}, default="Private"
        Which queries: those of the final ranking, or those that were shown before.

    Returns
    -------
    Bunch
        As for `load_oxford5k`, with `at` = 100.

    Raises
    ------
    PhotoError
        If photos or annotations are missing, or the table cannot be read.

    Examples
    --------
    >>> from sklearn_cmac.datasets import load_gldv2
    >>> landmarks = load_gldv2("gldv2/", usage="Public")  # doctest: +SKIP
    """
    if usage not in ("Private", "Public"):
        raise ValueError(f"usage is 'Private' or 'Public', got {usage!r}")
    root = Path(photos_dir)
    file = root if annotations is None else Path(annotations)
    file = file / _SOLUTION if file.is_dir() else file
    rows = [row for row in read_table(file, ("id", "images", "Usage")) if row["Usage"] == usage]
    if not rows:
        raise PhotoError(f"{file}: has no row of usage {usage!r}")
    answers = _answers(rows)
    ranked, asked = (_by_id(root / part) for part in ("index", "test"))
    annotated = [*answers, *(name for names in answers.values() for name in names)]
    kept = restricted("gldv2", annotated, lambda name: name in ranked or name in asked, missing)
    names = sorted(ranked)
    index = {name: i for i, name in enumerate(names)}
    queries, relevance = [], []
    for name, positives in answers.items():
        found = np.array(sorted({index[each] for each in positives if each in index}), int)
        if name in kept and name in asked and len(found):
            queries.append(Photo(asked[name], name=name))
            relevance.append(Relevance(found, np.empty(0, int)))
    if not queries:
        raise PhotoError(f"{root}: has no query of gldv2 with a positive, so nothing to ask for")
    return Bunch(
        name="gldv2",
        photos=[ranked[name] for name in names],
        queries=queries,
        relevance=relevance,
        at=100,
        protocol=f"mAP@100, {usage.lower()} queries",
        DESCR=f"gldv2: {len(names)} photos, {len(queries)} of {len(rows)} queries.",
    )


def _answers(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Names of the photos that answer each query."""
    found: dict[str, list[str]] = {}
    for row in rows:
        name, *positives = (check_name(i, row.place) for i in (row["id"], *row["images"].split()))
        if found.setdefault(name, positives) is not positives:
            raise PhotoError(f"{row.place}: {shown(name)} is asked for twice")
    return found


def _by_id(folder: Path) -> dict[str, str]:
    """Files by the ids of their photos, which are their names without the ending."""
    found: dict[str, str] = {}
    for path in image_paths(folder):
        first = found.setdefault(Path(path).stem, path)
        if first != path:
            raise PhotoError(f"{folder}: has two files of one photo, {first} and {path}; keep one")
    return found
