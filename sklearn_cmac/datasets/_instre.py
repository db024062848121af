"""INSTRE: 250 objects in 27,293 photos, with the queries that A. Iscen et al. chose.

S. Wang, S. Jiang, "INSTRE: A New Benchmark for Instance-Level Object Retrieval and Recognition",
TOMM 2015; A. Iscen et al., "Efficient Diffusion on Region Manifolds", CVPR 2017.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from sklearn_cmac.datasets._benchmarks import Relevance, restricted
from sklearn_cmac.datasets._matlab import read_matlab
from sklearn_cmac.datasets._tables import check_name, shown
from sklearn_cmac.photos import Photo, PhotoError, Query, check_box


def load_instre(
    photos_dir: str | os.PathLike[str],
    annotations: str | os.PathLike[str] | None = None,
    missing: str = "error",
) -> Bunch:
    """INSTRE: 27,293 photos, 1,250 boxed queries that are not among them.

    Parameters
    ----------
    photos_dir : path
        The folders ``INSTRE-S1``, ``INSTRE-S2`` and ``INSTRE-M``.
    annotations : path, optional
        ``gnd_instre.mat``, or the folder that it is in. Default: `photos_dir`. Its positions are
        counted from 1, and its boxes are x0, y0, x1, y1.
    missing : {"error", "restrict"}, default="error"
        As for `load_oxford5k`.

    Returns
    -------
    Bunch
        As for `load_oxford5k`.

    Raises
    ------
    PhotoError
        If photos or annotations are missing, or the file is damaged.

    Examples
    --------
    >>> from sklearn_cmac.datasets import load_instre
    >>> instre = load_instre("instre/")  # doctest: +SKIP
    >>> len(instre.photos), len(instre.queries)  # doctest: +SKIP
    (27293, 1250)
    """
    root = Path(photos_dir)
    file = root if annotations is None else Path(annotations)
    file = file / "gnd_instre.mat" if file.is_dir() else file
    names, asked, entries = _read(file)
    kept = restricted("instre", [*names, *asked], lambda name: (root / name).is_file(), missing)
    ranked = [name for name in names if name in kept]
    index = {name: i for i, name in enumerate(ranked)}
    queries, relevance = [], []
    for name, (positives, box) in zip(asked, entries):
        found = np.array(sorted({index[names[i]] for i in positives if names[i] in index}), int)
        if name in kept and len(found):
            queries.append(Query(Photo(root / name, name=name), check_box(box, f"{file}, {name}")))
            relevance.append(Relevance(found, np.empty(0, int)))
    if not queries:
        raise PhotoError(f"{root}: has no query of instre with a positive, so nothing to ask for")
    return Bunch(
        name="instre",
        photos=[Photo(root / name, name=name) for name in ranked],
        queries=queries,
        relevance=relevance,
        protocol="Iscen et al.",
        DESCR=f"instre: {len(ranked)} photos, {len(queries)} of {len(asked)} queries.",
    )


def _read(file: Path) -> tuple[list[str], list[str], list[tuple[list[int], Any]]]:
    """Names of photos and of queries; of each query its positives and box."""
    if not file.is_file():
        raise PhotoError(f"{file}: is missing; it is the ground truth of Iscen et al. for INSTRE")
    try:
        content = read_matlab(file)
        names, asked = ([_name(name, file) for name in content[k]] for k in ("imlist", "qimlist"))
        entries = []
        for entry in content["gnd"]:
            positives, box, *_ = entry.values()
            entries.append(([_position(i) for i in positives.tolist()], box.tolist()))
    except PhotoError:
        raise
    except Exception as error:  # a damaged file raises whatever the damage leads to
        raise PhotoError(
            f"{file}: is no ground truth with imlist, qimlist and gnd "
            f"({type(error).__name__}: {error})"
        ) from error
    wrong = [i for positives, _ in entries for i in positives if not 0 <= i < len(names)]
    if wrong or len(entries) != len(asked):
        raise PhotoError(
            f"{file}: has {len(entries)} entries for {len(asked)} queries, and {len(wrong)} "
            f"positions outside of its {len(names)} photos"
        )
    twice = [name for name, n in Counter(names).items() if n > 1]
    if twice:
        raise PhotoError(f"{file}: imlist has {shown(twice[0])} more than once")
    return names, asked, entries


def _name(name: Any, file: Path) -> str:
    if not isinstance(name, str):
        raise ValueError(f"{shown(name)} stands where a name should")
    return check_name(name, str(file))


def _position(number: float) -> int:
    """A position in imlist, which the file counts from 1."""
    if number != int(number):
        raise ValueError(f"{number} is no position")
    return int(number) - 1
