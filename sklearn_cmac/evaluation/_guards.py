"""What is refused, or warned of, before numbers are believed."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.utils import Bunch

from sklearn_cmac.collection import Collection
from sklearn_cmac.collection._scores import row_blocks
from sklearn_cmac.photos import (
    Item,
    Photo,
    PhotoError,
    Query,
    as_photo,
    check_box_inside,
    digest_source,
    name_of,
    read_source,
)
from sklearn_cmac.pixels import size_of

_FEWEST_COMPARED, _MOST_COMPARED = 20, 2000  # photos whose descriptors are


class Asked(NamedTuple):
    """A query's photo: the hash of its content, and its size, read in one go."""

    content: str
    size: tuple[int, int]


def look_at(query: Item) -> Asked:
    """What there is to know of a query before it is described."""
    photo = photo_of(query)
    source = read_source(photo)
    return Asked(digest_source(source), size_of(source, photo.name))


def photo_of(item: Item) -> Photo:
    """The photo that is meant."""
    found = as_photo(item)
    return found.photo if isinstance(found, Query) else found


def check_benchmark(benchmark: Bunch) -> dict[str, int]:
    """What of a benchmark matched, before anything is described.

    Parameters
    ----------
    benchmark : Bunch

    Returns
    -------
    dict from str to int

    Raises
    ------
    PhotoError
        If the box of a query does not lie in its photo.
    ValueError
        As `check_relevance` does.
    """
    check_relevance(benchmark)
    return matched(benchmark, [look_at(query) for query in benchmark.queries])


def check_relevance(benchmark: Bunch) -> None:
    """Refuse ground truth by which no ranking can be scored.

    Parameters
    ----------
    benchmark : Bunch

    Raises
    ------
    ValueError
        If there are no queries, or not as many sets of relevant photos; if a query has no
        positives, or one that is junk, excluded, or the position of no photo.
    """
    n, n_photos = len(benchmark.queries), len(benchmark.photos)
    if not n or n != len(benchmark.relevance):
        raise ValueError(f"{n} queries have {len(benchmark.relevance)} sets of relevant photos")
    exclude = benchmark.get("exclude") or [None] * n
    for i, (query, right, own) in enumerate(zip(benchmark.queries, benchmark.relevance, exclude)):
        positives, junk = set(map(int, right.positives)), set(map(int, right.junk))
        who = f"query {i}, {name_of(query)}"
        if not positives:
            raise ValueError(f"{who}: has no positives; leave the query out")
        if both := positives & (junk | {own}):
            raise ValueError(f"{who}: photo {min(both)} is a positive, and junk or excluded")
        if strange := {p for p in positives | junk if not 0 <= p < n_photos}:
            raise ValueError(f"{who}: photo {min(strange)} is none of {n_photos}")


def matched(benchmark: Bunch, asked: Sequence[Asked]) -> dict[str, int]:
    """The same, of queries that were looked at."""
    boxed = [(q, look) for q, look in zip(benchmark.queries, asked) if isinstance(q, Query)]
    wrong = []
    for query, look in boxed:
        try:
            check_box_inside(query.box, look.size, query.name)
        except PhotoError as error:
            wrong.append(str(error))
    if wrong:
        raise PhotoError(f"{len(wrong)} of {len(boxed)} boxes do not fit their photo. {wrong[0]}")
    labels = list(benchmark.get("labels") or [])
    return {
        "photos": len(benchmark.photos),
        "queries": len(benchmark.queries),
        "boxes that lie in their photo": len(boxed),
        "positives": sum(len(r.positives) for r in benchmark.relevance),
        "junk": sum(len(r.junk) for r in benchmark.relevance),
        "distractors": labels.count("") if labels else benchmark.get("n_distractors", 0),
    }


def check_crops(extractor: Any, queries: Sequence[Item], asked: Sequence[Asked]) -> None:
    """An error that names the queries whose box leaves too little for the network."""
    wrong = []
    for query, look in zip(queries, asked):
        if isinstance(query, Query) and hasattr(extractor, "check_query"):
            try:
                extractor.check_query(query.box, look.size, query.name)
            except PhotoError as error:
                wrong.append(str(error))
    if wrong:
        raise PhotoError(f"{len(wrong)} of {len(queries)} queries cannot be described. {wrong[0]}")


def warn_of_overlap(fit_on: Sequence[str], fit_photos: Sequence[Item], benchmark: Bunch) -> int:
    """How many photos to fit on are ranked or asked with; only files as large are compared.

    Parameters
    ----------
    fit_on : sequence of str
        Hashes of their content.
    fit_photos : sequence of photos
    benchmark : Bunch
    """
    tested = [*benchmark.photos, *benchmark.queries]
    sizes = {_bytes_of(photo) for photo in fit_photos}
    contents = {_content(photo) for photo in tested if _bytes_of(photo) in sizes}
    n = sum(content in contents for content in fit_on)
    if n:
        warnings.warn(
            f"{n} of the {len(fit_on)} photos that systems are fitted on are in the benchmark: "
            "scores come out too high. Fit on other photos, as published results are.",
            stacklevel=3,
        )
    return n


def _bytes_of(item: Item) -> int:
    source = photo_of(item).source
    if isinstance(source, (str, os.PathLike)):
        return os.stat(source).st_size if os.path.isfile(source) else -1
    return len(source) if isinstance(source, bytes) else 0


def _content(item: Item) -> str:
    try:
        return digest_source(read_source(photo_of(item)))
    except PhotoError:  # which is reported when the photo is described
        return ""


def check_failures(collection: Collection, benchmark: Bunch) -> None:
    """Photos of the benchmark itself must all be usable; of distractors some need not."""
    n_own = len(collection) - benchmark.get("n_distractors", 0)
    own = {i: reason for i, reason in collection.failed.items() if i < n_own}
    if own:
        replace(collection, failed=own).raise_failures()
    if collection.failed:
        first = next(iter(collection.failed.values()))
        warnings.warn(
            f"{len(collection.failed)} of {len(collection) - n_own} distractors cannot be used "
            f"and are left out; the first: {first}",
            stacklevel=3,
        )


def check_labels(descriptors: np.ndarray, labels: Sequence[Any], distractor: Any = "") -> None:
    """An error if labels fit photos better when they are shifted along them.

    Parameters
    ----------
    descriptors : ndarray of shape (n, D)
    labels : sequence of n labels
    distractor : object, default=""

    Raises
    ------
    PhotoError
        If significantly more photos share their label with their nearest neighbour when all
        labels are moved by up to three photos (p < 0.0001, paired).
    """
    nearest = _nearest_others(descriptors)

    def agrees(shift: int) -> np.ndarray:
        moved = np.roll(np.asarray(labels), shift)
        return (moved == moved[nearest]) & (moved != distractor)

    now = agrees(0)
    for shift in (-1, 1, -2, 2, -3, 3):
        then = agrees(shift)
        better, worse = int((then & ~now).sum()), int((now & ~then).sum())
        if better > worse and binomtest(better, better + worse).pvalue < 1e-4:
            raise PhotoError(
                f"labels seem to be shifted by {-shift} against the photos: {now.sum()} of "
                f"{len(now)} photos have their nearest neighbour's label, and {then.sum()} would "
                "if that were undone. Check the table of labels."
            )


def _nearest_others(descriptors: np.ndarray) -> np.ndarray:
    nearest = np.empty(len(descriptors), int)
    for rows in row_blocks(len(descriptors), 1024):
        found = descriptors[rows] @ descriptors.T
        found[np.arange(len(found)), np.arange(len(descriptors))[rows]] = -np.inf
        nearest[rows] = found.argmax(axis=1)
    return nearest


def check_labels_of(collection: Collection, benchmark: Bunch) -> None:
    """The same of a benchmark's own photos, if it says their labels; of 5,000 at most."""
    labels = benchmark.get("labels")
    if labels:
        n = min(len(collection) - benchmark.get("n_distractors", 0), 5000)
        descriptors = collection.engine.get([id_ for id_ in collection.ids[:n] if id_])
        check_labels(descriptors, [labels[i] for i in range(n) if collection.ids[i]])


def warn_of_chance(
    system: str, scores: Sequence[float], chance: Sequence[float], collection: Collection
) -> None:
    """A warning if rankings are no better than chance, though photos resemble each other.

    Labels that are rolled along their photos, or belong to others, look like that.

    Parameters
    ----------
    system : str
        Its name.
    scores : sequence of float
        Average precision of each query.
    chance : sequence of float
        The same of rankings in random order.
    collection : Collection
        What was ranked.
    """
    # Of what there is to gain: where nearly all photos are positives, all rankings score alike.
    found, by_chance = np.asarray(scores, float), np.asarray(chance, float)
    possible = by_chance < 1
    if not possible.any():
        return
    gain = (found - by_chance)[possible] / (1 - by_chance[possible])
    # Queries for one object are no independent observations, so 2 errors would be too few.
    if gain.mean() > min(0.1, 3 * gain.std() / np.sqrt(len(gain))):
        return
    ids = [id_ for id_ in collection.ids if id_][:_MOST_COMPARED]
    if has_clusters(collection.engine.get(ids)):
        warnings.warn(
            f"{system}: mAP is {100 * np.mean(scores):.1f}, and that of rankings in random order "
            f"{100 * np.mean(chance):.1f}, though photos have others that they clearly resemble. "
            "Do labels, boxes and relevant photos belong to these photos?",
            stacklevel=3,
        )


def has_clusters(descriptors: np.ndarray) -> bool:
    """Whether most photos have a neighbour nearer than chance brings.

    Parameters
    ----------
    descriptors : ndarray of shape (n, D)

    Returns
    -------
    bool
        If the similarity to the nearest is, in the median, two standard deviations of similarities
        higher than among descriptors whose columns are shuffled, each by itself: these have the
        same numbers, and no photo in common. Similarities are cosines around the mean.
    """
    if len(descriptors) < _FEWEST_COMPARED:
        return False
    centred = descriptors - descriptors.mean(axis=0)
    nearest, _ = _similarities(centred)
    by_chance, spread = _similarities(np.random.default_rng(0).permuted(centred, axis=0))
    return bool(np.median(nearest) > np.median(by_chance) + 2 * spread)


def _similarities(vectors: np.ndarray) -> tuple[np.ndarray, float]:
    """The cosine (n,) of each with the nearest other, and the spread of all."""
    found = cosine_similarity(vectors)
    others = found[~np.eye(len(found), dtype=bool)].reshape(len(found), -1)
    return others.max(axis=1), float(others.std())
