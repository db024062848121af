"""Labelled photos as a benchmark, and distractors added to one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from sklearn_cmac.datasets._benchmarks import Relevance
from sklearn_cmac.datasets._folder import image_paths
from sklearn_cmac.photos import PhotoError, name_of


def as_benchmark(folder: Bunch, queries: str = "boxed", distractor: Any = "") -> Bunch:
    """Labelled photos as a benchmark whose queries are some of them.

    A query's own photo is no answer to it: it is in `exclude`, and in the query's junk.

    Parameters
    ----------
    folder : Bunch
        With `photos` and `target`, as `load_photo_folder` returns it.
    queries : {"boxed", "all"}, default="boxed"
        "boxed": each labelled photo with a box, cropped to it. "all": each labelled photo,
        whole.
    distractor : object, default=""
        The label of photos that show none of the objects.

    Returns
    -------
    Bunch
        As the loaders of benchmarks return it, with `exclude` (the position of each query's own
        photo), `groups` (each query's label) and `labels` (each photo's).

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
    labels = np.asarray(folder.target)
    asking = [
        i
        for i, photo in enumerate(folder.photos)
        if labels[i] != distractor
        and np.sum(labels == labels[i]) > 1
        and (queries == "all" or photo.box is not None)
    ]
    if not asking:
        what = "has a box and " if queries == "boxed" else ""
        raise PhotoError(
            f"none of {len(labels)} photos {what}has a label that another one shares, so there is "
            "nothing to ask for"
        )
    relevance = []
    for i in asking:
        same = np.flatnonzero(labels == labels[i])
        relevance.append(Relevance(same[same != i], np.array([i])))
    photos = [folder.photos[i] for i in asking]
    return Bunch(
        name="labelled photos",
        photos=folder.photos,
        queries=[photo.as_query() for photo in photos] if queries == "boxed" else photos,
        relevance=relevance,
        exclude=asking,
        groups=labels[asking].tolist(),
        labels=labels.tolist(),
        protocol=f"{queries} queries",
        DESCR=f"{folder.DESCR} {len(asking)} queries ({queries}).",
    )


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
        The same queries, with `n_distractors`.

    Raises
    ------
    PhotoError
        If a distractor has the name of one of the benchmark's photos.

    Examples
    --------
    >>> from sklearn_cmac.datasets import add_distractors, load_oxford5k
    >>> oxford = load_oxford5k("oxbuild_images", "gt_files")  # doctest: +SKIP
    >>> len(add_distractors(oxford, "oxc1_100k").photos)  # doctest: +SKIP
    105134
    """
    distractors = image_paths(folder)
    own = {Path(name_of(photo)).stem for photo in [*benchmark.photos, *benchmark.queries]}
    twice = [path for path in distractors if Path(path).stem in own]
    if twice:
        raise PhotoError(
            f"{folder}: {len(twice)} of {len(distractors)} distractors have the name of a photo of "
            f"the benchmark, such as {twice[0]}; take them out, or they count as wrong answers"
        )
    labels = benchmark.get("labels")
    return Bunch(
        **{
            **benchmark,
            "photos": [*benchmark.photos, *distractors],
            "labels": labels and [*labels, *[""] * len(distractors)],
            "n_distractors": len(distractors),
            "DESCR": f"{benchmark.DESCR} With {len(distractors)} distractors of {folder}.",
        }
    )
