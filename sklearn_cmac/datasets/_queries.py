"""Labelled photos as a benchmark, and distractors added to one."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from sklearn_cmac.datasets._benchmarks import Relevance
from sklearn_cmac.datasets._walk import image_paths
from sklearn_cmac.photos import Photo, PhotoError, Query, name_of


def as_benchmark(folder: Bunch, queries: str = "boxed", distractor: object = "") -> Bunch:
    """Labelled photos as a benchmark whose queries are some of them.

    A query's own photo is no answer to it: it is in `exclude`, and in the query's junk.

    Parameters
    ----------
    folder : Bunch
        With `photos` and `target`, as `load_photo_folder` returns it. Without `boxes`, the
        photos' own are taken.
    queries : {"boxed", "all"}, default="boxed"
        "boxed": each box of each labelled photo, cropped to it. "all": each labelled photo,
        whole.
    distractor : object, default=""
        The label of photos that show none of the objects; None is one of them too.

    Returns
    -------
    Bunch
        As the loaders of benchmarks return it, with `exclude` (the position of each query's own
        photo), `groups` (each query's label) and `labels` (each photo's, "" for distractors).

    Raises
    ------
    PhotoError
        If no photo can be a query.

    Examples
    --------
    >>> from sklearn_cmac.datasets import as_benchmark, make_object_scenes
    >>> scenes = make_object_scenes(n_objects=2, n_scenes=3, n_distractors=1)
    >>> benchmark = as_benchmark(scenes)
    >>> len(benchmark.queries), benchmark.relevance[0].positives.tolist()
    (6, [1, 2])
    """
    if queries not in ("boxed", "all"):
        raise ValueError(f"queries is 'boxed' or 'all', got {queries!r}")
    labels = np.asarray([distractor if label is None else label for label in folder.target])
    asking = [
        (i, query)
        for i, of_photo in enumerate(_queries_of(folder, queries))
        if labels[i] != distractor and np.sum(labels == labels[i]) > 1
        for query in of_photo
    ]
    if not asking:
        what = "has a box and " if queries == "boxed" else ""
        raise PhotoError(
            f"none of {len(labels)} photos {what}has a label that another one shares, so there is "
            "nothing to ask for"
        )
    own = [i for i, _ in asking]
    relevance = []
    for i in own:
        same = np.flatnonzero(labels == labels[i])
        relevance.append(Relevance(same[same != i], np.array([i])))
    return Bunch(
        name="labelled photos",
        photos=folder.photos,
        queries=[query for _, query in asking],
        relevance=relevance,
        exclude=own,
        groups=labels[own].tolist(),
        labels=["" if label == distractor else label for label in labels.tolist()],
        protocol=f"{queries} queries",
        DESCR=f"{folder.DESCR} {len(asking)} queries ({queries}).",
    )


def _queries_of(folder: Bunch, queries: str) -> list[list[Photo | Query]]:
    """What is asked with each photo."""
    if queries == "all":
        return [[photo] for photo in folder.photos]
    boxes = folder.get("boxes") or [[p.box] if p.box else [] for p in folder.photos]
    return [[Query(photo, box) for box in own] for photo, own in zip(folder.photos, boxes)]


def add_distractors(benchmark: Bunch, folder: str | os.PathLike[str]) -> Bunch:
    """A benchmark with more photos to rank, none of which shows any of its objects.

    Oxford105k is Oxford5k with the 100,071 photos of Flickr that its authors published, and the
    revisited benchmarks have a million. Photos stay files until they are described.

    Parameters
    ----------
    benchmark : Bunch
    folder : path
        Searched with its sub-folders.

    Returns
    -------
    Bunch
        The same queries, with `n_distractors`: how many of the last photos are distractors that
        were added, by this and earlier calls.

    Raises
    ------
    PhotoError
        If a distractor has the name of one of the benchmark's own photos, or is among its
        distractors already. Distractors of two folders may share names.

    Examples
    --------
    >>> from sklearn_cmac.datasets import add_distractors, load_oxford5k
    >>> oxford = load_oxford5k("oxbuild_images", "gt_files")  # doctest: +SKIP
    >>> len(add_distractors(oxford, "oxc1_100k").photos)  # doctest: +SKIP
    105134
    """
    distractors = image_paths(folder)
    n_before = benchmark.get("n_distractors", 0)
    n_own = len(benchmark.photos) - n_before
    # The name of a photo of Oxford has no ending, and may have a dot of its own.
    names = [Path(name_of(p)) for p in [*benchmark.photos[:n_own], *benchmark.queries]]
    own = {known for name in names for known in (name.name, name.stem)}
    twice = [path for path in distractors if Path(path).stem in own]
    if twice:
        raise PhotoError(
            f"{folder}: {len(twice)} of {len(distractors)} distractors have the name of a photo of "
            f"the benchmark, such as {twice[0]}; take them out, or they count as wrong answers"
        )
    before = {os.path.abspath(name_of(photo)) for photo in benchmark.photos[n_own:]}
    again = [path for path in distractors if os.path.abspath(path) in before]
    if again:
        raise PhotoError(
            f"{folder}: {len(again)} of {len(distractors)} distractors were added before, such as "
            f"{again[0]}; add each folder once"
        )
    labels = benchmark.get("labels")
    return Bunch(
        **{
            **benchmark,
            "photos": [*benchmark.photos, *distractors],
            "labels": labels and [*labels, *[""] * len(distractors)],
            "n_distractors": n_before + len(distractors),
            "DESCR": f"{benchmark.DESCR} With {len(distractors)} distractors of {folder}.",
        }
    )
