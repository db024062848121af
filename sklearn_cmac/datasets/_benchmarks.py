"""Oxford5k and Paris6k, with the official and with the revisited ground truth, as users have them.

- Official: J. Philbin et al., CVPR 2007 and 2008; text files, four for each of 55 queries.
- Revisited: F. Radenović et al., "Revisiting Oxford and Paris: Large-Scale Image Retrieval
  Benchmarking", CVPR 2018; one pickle of plain containers, 70 queries, three protocols.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.utils import Bunch

from sklearn_cmac.datasets._ground_truth import (
    PROTOCOLS,
    GroundTruth,
    Request,
    read_official,
    read_revisited,
)
from sklearn_cmac.datasets._walk import find_photos
from sklearn_cmac.photos import Photo, PhotoError, Query

# Files of Paris6k that are damaged as published, and that its authors leave out.
_PARIS_CORRUPT = frozenset(
    f"paris_{name}"
    for name in (
        "louvre_000136", "louvre_000146", "moulinrouge_000422", "museedorsay_001059",
        "notredame_000188", "pantheon_000284", "pantheon_000960", "pantheon_000974",
        "pompidou_000195", "pompidou_000196", "pompidou_000201", "pompidou_000467",
        "pompidou_000640", "sacrecoeur_000299", "sacrecoeur_000330", "sacrecoeur_000353",
        "triomphe_000662", "triomphe_000833", "triomphe_000863", "triomphe_000867",
    )
)  # fmt: skip


class Relevance(NamedTuple):
    """Which photos answer a query, and which do not count, as indices into the photos."""

    positives: np.ndarray
    junk: np.ndarray


def load_oxford5k(
    photos_dir: str | os.PathLike[str],
    annotations_dir: str | os.PathLike[str] | None = None,
    missing: str = "error",
    photo_scale: float | Mapping[str, float] = 1.0,
) -> Bunch:
    """Oxford5k: 5,063 photos, 55 queries of 11 landmarks.

    Positives are the photos annotated good or ok. A query's own photo is among the photos that
    are ranked, and counts as a positive.

    Parameters
    ----------
    photos_dir : path
        The photos, flat or in sub-folders.
    annotations_dir : path, optional
        The folder of the ``*_query.txt``, ``*_good.txt``, ``*_ok.txt`` and ``*_junk.txt`` files,
        or ``gnd_oxford5k.pkl``, which has the same for cirtorch and the programs that grew from
        it. Default: the folder of the photos.
    missing : {"error", "restrict"}, default="error"
        What to do if annotated photos are not there. "restrict" keeps to those that are:
        absent names are dropped, queries whose photo is absent are left out, and a warning
        says how many. Scores of a part are no benchmark results.
    photo_scale : float or mapping from name to float, default=1
        Size of the photos against the published ones, for resized copies: boxes are
        multiplied by it.

    Returns
    -------
    Bunch
        With `name`, `photos` (list of `Photo`), `queries` (list of `Query`), `relevance` (a list
        with the `positives` and `junk` of each query, as indices into `photos`), `protocol`
        (str) and `DESCR`.

    Raises
    ------
    PhotoError
        If photos or annotations are missing, an annotation is damaged, says two things of a
        photo or names what cannot be a photo of the folder, or a box is no box.

    Notes
    -----
    Text files rank all photos that are there, a pickle those of its ``imlist``. As cirtorch's
    evaluation does, a pickle's ``ok`` are taken as positives and its ``junk`` is taken out;
    nothing else is, so a query's own photo, which these files have under ``ok``, is ranked and
    counts as it does with the text files.

    Nothing of a pickle is run: it is read by a reader of plain containers, numbers and arrays.

    Examples
    --------
    >>> from sklearn_cmac.datasets import load_oxford5k
    >>> oxford = load_oxford5k("oxbuild_images", "gt_files")  # doctest: +SKIP
    >>> len(oxford.photos), len(oxford.queries)  # doctest: +SKIP
    (5063, 55)
    """
    return _load_official("Oxford5k", photos_dir, annotations_dir, missing, photo_scale)


def load_paris6k(
    photos_dir: str | os.PathLike[str],
    annotations_dir: str | os.PathLike[str] | None = None,
    missing: str = "error",
    photo_scale: float | Mapping[str, float] = 1.0,
) -> Bunch:
    """Paris6k: 6,392 photos, 55 queries of 11 landmarks.

    The 20 files that are damaged as published are left out of the 6,412.

    Parameters
    ----------
    photos_dir, annotations_dir, missing, photo_scale
        As for `load_oxford5k`.

    Returns
    -------
    Bunch
        As for `load_oxford5k`.

    Examples
    --------
    >>> from sklearn_cmac.datasets import load_paris6k
    >>> paris = load_paris6k("paris/", "paris_gt/")  # doctest: +SKIP
    >>> len(paris.photos), len(paris.queries)  # doctest: +SKIP
    (6392, 55)
    """
    return _load_official("Paris6k", photos_dir, annotations_dir, missing, photo_scale)


def load_roxford5k(
    photos_dir: str | os.PathLike[str],
    annotations: str | os.PathLike[str] | None = None,
    missing: str = "error",
    photo_scale: float | Mapping[str, float] = 1.0,
    protocol: str = "medium",
) -> Bunch:
    """Revisited Oxford: 70 queries, 4,993 photos without those of the queries.

    Parameters
    ----------
    photos_dir : path
        The photos, flat or in sub-folders.
    annotations : path, optional
        ``gnd_roxford5k.pkl``, or the folder that it is in. Default: the folder of the photos.
    missing, photo_scale
        As for `load_oxford5k`.
    protocol : {"easy", "medium", "hard"}, default="medium"
        Which photos are positives: those that are easy to recognise, all, or the hard ones. The
        others count as junk. Queries without a positive are left out.

    Returns
    -------
    Bunch
        As for `load_oxford5k`.

    Examples
    --------
    >>> from sklearn_cmac.datasets import load_roxford5k
    >>> oxford = load_roxford5k("oxbuild_images", "gnd_roxford5k.pkl")  # doctest: +SKIP
    >>> len(oxford.photos), len(oxford.queries)  # doctest: +SKIP
    (4993, 70)
    """
    return _load_revisited("roxford5k", photos_dir, annotations, missing, photo_scale, protocol)


def load_rparis6k(
    photos_dir: str | os.PathLike[str],
    annotations: str | os.PathLike[str] | None = None,
    missing: str = "error",
    photo_scale: float | Mapping[str, float] = 1.0,
    protocol: str = "medium",
) -> Bunch:
    """Revisited Paris: 70 queries, 6,322 photos without those of the queries.

    Parameters
    ----------
    photos_dir, annotations, missing, photo_scale, protocol
        As for `load_roxford5k`.

    Returns
    -------
    Bunch
        As for `load_oxford5k`.

    Examples
    --------
    >>> from sklearn_cmac.datasets import load_rparis6k
    >>> paris = load_rparis6k("paris/", "gnd_rparis6k.pkl", protocol="hard")  # doctest: +SKIP
    """
    return _load_revisited("rparis6k", photos_dir, annotations, missing, photo_scale, protocol)


def _load_official(
    name: str,
    photos_dir: str | os.PathLike[str],
    annotations_dir: str | os.PathLike[str] | None,
    missing: str,
    photo_scale: float | Mapping[str, float],
) -> Bunch:
    place = Path(photos_dir if annotations_dir is None else annotations_dir)
    truth = read_official(place, name)
    return _assemble(name, "official", truth, photos_dir, missing, photo_scale)


def _load_revisited(
    name: str,
    photos_dir: str | os.PathLike[str],
    annotations: str | os.PathLike[str] | None,
    missing: str,
    photo_scale: float | Mapping[str, float],
    protocol: str,
) -> Bunch:
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol is one of {list(PROTOCOLS)}, got {protocol!r}")
    file = Path(photos_dir if annotations is None else annotations)
    truth = read_revisited(file / f"gnd_{name}.pkl" if file.is_dir() else file, protocol)
    return _assemble(name, protocol, truth, photos_dir, missing, photo_scale)


def _assemble(
    name: str,
    protocol: str,
    truth: GroundTruth,
    photos_dir: str | os.PathLike[str],
    missing: str,
    photo_scale: float | Mapping[str, float],
) -> Bunch:
    """Match the annotation with the photos that are there, and say what did not match."""
    _check_missing(missing)
    found = _by_name(photos_dir)
    annotated = set(truth.ranked or ()).union(
        *((r.photo, *r.positives, *r.junk) for r in truth.requests)
    )
    annotated -= _PARIS_CORRUPT
    absent = annotated - set(found)
    if len(absent) == len(annotated):
        raise PhotoError(
            f"{name}: none of the {len(annotated)} annotated photos is there; the folder has "
            f"names such as {min(found)!r}, the annotation {min(annotated)!r}. Is it the folder "
            "of another benchmark?"
        )
    if absent and missing == "error":
        raise PhotoError(
            f"{name}: {len(absent)} of {len(annotated)} annotated photos are missing, such as "
            f"{min(absent)!r}. Complete the folder, or pass missing='restrict' to use the rest."
        )
    ranked = sorted(found) if truth.ranked is None else truth.ranked
    names = [photo for photo in ranked if photo in found]
    _check_once(found, annotated.union(names), name, photos_dir)
    paths = {photo: files[0] for photo, files in found.items()}
    queries, relevance = _ask(truth.requests, paths, names, photo_scale)
    if not queries:
        raise PhotoError(
            f"{name}: of each of {len(truth.requests)} queries the photo or all positives are "
            "missing, so there is nothing to ask for"
        )
    description = (
        f"{name}, {protocol} protocol: {len(names)} photos, {len(queries)} of "
        f"{len(truth.requests)} queries, {sum(len(r.positives) for r in relevance)} positives"
    )
    if absent:
        description += f"; {len(absent)} of {len(annotated)} annotated photos are missing"
        warnings.warn(f"{description}. Scores of a part are no benchmark results.", stacklevel=4)
    return Bunch(
        name=name,
        photos=[Photo(paths[photo], name=photo) for photo in names],
        queries=queries,
        relevance=relevance,
        protocol=protocol,
        DESCR=description + ".",
    )


def _check_missing(missing: str) -> None:
    if missing not in ("error", "restrict"):
        raise ValueError(f"missing is 'error' or 'restrict', got {missing!r}")


def restricted(
    benchmark: str, annotated: Sequence[str], is_there: Callable[[str], bool], missing: str
) -> set[str]:
    """The annotated photos that are there.

    Parameters
    ----------
    benchmark : str
        Its name, for messages.
    annotated : sequence of str
        Names of photos.
    is_there : callable
        Of a name, whether there is such a photo.
    missing : {"error", "restrict"}
        Whether it is an error if some are not, or a warning.
    """
    _check_missing(missing)
    names = set(annotated)
    found = {name for name in names if is_there(name)}
    absent = names - found
    if absent:
        what = f"{benchmark}: {len(absent)} of {len(names)} annotated photos are missing, such as "
        what += repr(min(absent))
        if missing == "error" or not found:
            raise PhotoError(
                f"{what}. Complete the folder, or pass missing='restrict' to use the rest."
            )
        warnings.warn(f"{what}. Scores of a part are no benchmark results.", stacklevel=3)
    return found


def _by_name(photos_dir: str | os.PathLike[str]) -> dict[str, list[Path]]:
    """Files by their names without the ending, by which annotations know photos."""
    found: dict[str, list[Path]] = {}
    for path in find_photos(photos_dir):
        if path.stem not in _PARIS_CORRUPT:
            found.setdefault(path.stem, []).append(path)
    return found


def _check_once(
    found: Mapping[str, Sequence[Path]],
    used: Iterable[str],
    benchmark: str,
    photos_dir: str | os.PathLike[str],
) -> None:
    """An error if several files have the name of one photo: which is the photo, nobody knows."""
    twice = sorted(name for name in used if len(found.get(name, ())) > 1)
    if twice:
        first, second = found[twice[0]][:2]
        raise PhotoError(
            f"{benchmark}: {len(twice)} photos are there more than once, such as {twice[0]!r}: "
            f"{first} and {second}. Move thumbnails, backups and edited copies out of "
            f"{photos_dir}, or pass the folder that holds the originals alone."
        )


def _ask(
    requests: Sequence[Request],
    paths: Mapping[str, Path],
    names: Sequence[str],
    photo_scale: float | Mapping[str, float],
) -> tuple[list[Query], list[Relevance]]:
    """The queries whose photo is there and whose positives are ranked, and what answers them."""
    index = {photo: i for i, photo in enumerate(names)}
    queries, relevance = [], []
    for request in requests:
        positives = _indices(request.positives, index)
        if request.photo in paths and len(positives):
            photo = Photo(paths[request.photo], name=request.photo)
            x0, y0, x1, y1 = np.multiply(request.box, _scale_of(request.photo, photo_scale))
            queries.append(Query(photo, (x0, y0, x1, y1)))
            relevance.append(Relevance(positives, _indices(request.junk, index)))
    return queries, relevance


def _scale_of(photo: str, photo_scale: float | Mapping[str, float]) -> float:
    if not isinstance(photo_scale, Mapping):
        return photo_scale
    if photo not in photo_scale:
        raise PhotoError(f"{photo}: its query needs a scale, and photo_scale has none for it")
    return photo_scale[photo]


def _indices(names: Sequence[str], index: Mapping[str, int]) -> np.ndarray:
    return np.array(sorted({index[name] for name in names if name in index}), dtype=int)
