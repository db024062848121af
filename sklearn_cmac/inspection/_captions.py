"""What is said of photos that were found: where they are, and what their score means."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import ArrayLike

from sklearn_cmac.photos import Photo, Query

_OUTLYING = 3.5  # robust standard deviations above the median
_FEWEST = 8  # scores of which a spread is told


def distinguishing_paths(paths: Sequence[str]) -> list[str]:
    """Of each path the end that no other path shares.

    Parameters
    ----------
    paths : sequence of str
        Equal ones are one.

    Returns
    -------
    list of str
        The file's name; where another path has it too, with as many folders before it as tell
        them apart.

    Examples
    --------
    >>> from sklearn_cmac.inspection._captions import distinguishing_paths
    >>> distinguishing_paths(["/a/x/1.jpg", "/a/y/1.jpg", "/a/y/2.jpg"])
    ['x/1.jpg', 'y/1.jpg', '2.jpg']
    """
    parts = {path: PurePath(path).parts or (path,) for path in paths}
    endings = Counter(whole[-n:] for whole in parts.values() for n in range(1, len(whole) + 1))
    return [_shortest(parts[path], endings) for path in paths]


def _shortest(parts: tuple[str, ...], endings: Counter[tuple[str, ...]]) -> str:
    n = next((n for n in range(1, len(parts)) if endings[parts[-n:]] == 1), len(parts))
    return os.path.join(*parts[-n:])


def file_of(photo: Photo | Query) -> str:
    """The path of a photo, or "" if it is in no file."""
    source = photo.photo.source if isinstance(photo, Query) else photo.source
    return os.fspath(source) if isinstance(source, (str, os.PathLike)) else ""


def address_of(path: str) -> str:
    """The ``file:`` address of a path, or "" of none.

    Examples
    --------
    >>> from sklearn_cmac.inspection._captions import address_of
    >>> address_of("/photos/50% <b>#1?.jpg")
    'file:///photos/50%25%20%3Cb%3E%231%3F.jpg'
    """
    return Path(os.path.abspath(path)).as_uri() if path else ""


def of_one_kind(scores: ArrayLike) -> np.ndarray:
    """Scores of a ranking up to the first that is no number, or higher than the one before it.

    Examples
    --------
    >>> from sklearn_cmac.inspection._captions import of_one_kind
    >>> of_one_kind([0.9, 0.4, 0.7, 0.6])
    array([0.9, 0.4])
    """
    found = np.asarray(scores, float)
    ends = np.flatnonzero(np.isnan(found) | (np.diff(found, prepend=np.inf) > 0))
    return found[: ends[0]] if len(ends) else found


def count_outlying(scores: ArrayLike) -> int | None:
    """How many of the first photos of a ranking stand out of the others by their score.

    Parameters
    ----------
    scores : array-like of shape (n,)
        Of all photos, or the first few hundred, best first. What follows the first score that is
        not a number, or higher than the one before it, is of another kind and does not count. The
        result is the same if one number is added to all.

    Returns
    -------
    int or None
        Those that score more than 3.5 robust standard deviations above the median, which is where
        photos that show something else are; 1.4826 times the median absolute deviation is one.
        None if there are fewer than 8 scores.

    References
    ----------
    B. Iglewicz, D. Hoaglin, "How to Detect and Handle Outliers", ASQC Quality Press 1993, for the
    rule and its 3.5.

    Examples
    --------
    >>> from sklearn_cmac.inspection import count_outlying
    >>> count_outlying([0.9, 0.8, 0.2, 0.19, 0.18, 0.17, 0.16, 0.15, 0.14])
    2
    """
    found = of_one_kind(scores)
    if len(found) < _FEWEST:
        return None
    middle = np.median(found)
    spread = 1.4826 * np.median(np.abs(found - middle))
    return int((found > middle + _OUTLYING * spread).sum())


def say_score(score: float, compared: bool) -> str:
    """A score in figures, or in a word where figures say nothing.

    Parameters
    ----------
    score : float
    compared : bool
        Whether photos of this ranking were verified.

    Returns
    -------
    str
        "alike" of a photo behind those that are verified, whose score of 0 or less only keeps the
        order; "" if there is none.

    Examples
    --------
    >>> from sklearn_cmac.inspection._captions import say_score
    >>> say_score(0.97, True), say_score(-0.03, True), say_score(-0.03, False)
    ('0.970', 'alike', '-0.030')
    """
    if math.isnan(score):
        return ""
    return "alike" if compared and score <= 0 else f"{score:.3f}"


def say_points(n_inliers: int) -> str:
    """How many local features agree."""
    return "1 point agrees" if n_inliers == 1 else f"{n_inliers} points agree"


def say_match(n_inliers: int, probability: float) -> str:
    """What local features that agree say."""
    chance = "" if probability >= 0.5 else ", as some do by chance"
    shown = "above .99" if probability >= 0.995 else f"{probability:.2f}".lstrip("0")
    return f"{say_points(n_inliers)}{chance}: the same object with probability {shown}"
