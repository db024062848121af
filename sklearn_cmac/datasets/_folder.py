"""A folder of photos, with labels and boxes if there are any."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sklearn.utils import Bunch

from sklearn_cmac.photos import Photo, PhotoError
from sklearn_cmac.pixels import photo_size

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".jp2"}


def find_photos(folder: str | os.PathLike[str]) -> list[Path]:
    """The image files in a folder and its sub-folders, by their ending, sorted.

    Parameters
    ----------
    folder : path

    Returns
    -------
    list of Path

    Raises
    ------
    PhotoError
        If there is no such folder, or no image file in it.
    """
    return [Path(path) for path in image_paths(folder)]


def image_paths(folder: str | os.PathLike[str]) -> list[str]:
    """The same as strings, which for a million files take a tenth of the memory."""
    if not os.path.isdir(folder):
        raise PhotoError(f"{folder}: is not a folder")
    paths = [
        os.path.join(parent, file)
        for parent, _, files in os.walk(folder)
        for file in files
        if os.path.splitext(file)[1].lower() in _SUFFIXES and not file.startswith(".")
    ]
    if not paths:
        raise PhotoError(f"{folder}: has no image file ({', '.join(sorted(_SUFFIXES))})")
    return sorted(paths, key=lambda path: path.split(os.sep))


def load_photo_folder(
    folder: str | os.PathLike[str],
    labels: str | os.PathLike[str] | None = None,
    boxes: str | os.PathLike[str] | None = None,
) -> Bunch:
    """Photos of a folder, labelled by a table or by the sub-folder that they are in.

    Parameters
    ----------
    folder : path
        Searched with its sub-folders.
    labels : path, optional
        A CSV file with a header and columns `filename` (relative to `folder`) and
        `instance`. An empty instance is a distractor. If there are columns `width` and
        `height` as well, they must be those of the photos. Other columns are ignored. Default:
        each sub-folder is an instance, and photos right in `folder` or in a sub-folder whose
        name starts with an underscore are distractors.
    boxes : path, optional
        A CSV file with columns `filename`, `x0`, `y0`, `x1` and `y1`, in pixels.

    Returns
    -------
    Bunch
        With `photos` (list of `Photo`, in the order of the table, or sorted by name), `target`
        (list of str, one label per photo, "" for distractors) and `DESCR`.

    Raises
    ------
    PhotoError
        If a photo of a table is not in the folder, is of another size than the table says, or a
        box is no box.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from sklearn_cmac.datasets import load_photo_folder
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     (Path(folder) / "tower").mkdir()
    ...     Image.new("RGB", (64, 48)).save(Path(folder) / "tower" / "front.jpg")
    ...     load_photo_folder(folder).target
    ['tower']
    """
    folder = Path(folder)
    if labels is None:
        paths = find_photos(folder)
        target = [_instance_of(path.relative_to(folder).parts) for path in paths]
    else:
        rows = list(_read_table(labels, ("filename", "instance")))
        paths = [folder / row["filename"] for row in rows]
        target = [row["instance"] for row in rows]
        missing = [path for path in paths if not path.is_file()]
        if missing:
            raise PhotoError(
                f"{len(missing)} of {len(paths)} photos of {labels} are not in {folder}; the first "
                f"is {missing[0].relative_to(folder)}"
            )
        _check_sizes(labels, rows, paths)
    box_of = {} if boxes is None else _read_boxes(boxes, folder)
    unknown = set(box_of) - set(paths)
    if unknown:
        raise PhotoError(f"{boxes}: has a box for {min(unknown)}, which is not among the photos")
    return Bunch(
        photos=[Photo(path, box=box_of.get(path)) for path in paths],
        target=target,
        DESCR=f"{len(paths)} photos of {len(set(target) - {''})} instances in {folder}, "
        f"{target.count('')} of them distractors, {len(box_of)} with a box.",
    )


def _check_sizes(
    table: str | os.PathLike[str], rows: list[dict[str, str]], paths: list[Path]
) -> None:
    """An error if photos are not as large as their rows say: then rows are of other photos."""
    if not rows or not {"width", "height"} <= set(rows[0]):
        return
    wrong = []
    for row, path in zip(rows, paths):
        found, stated = photo_size(path), (row["width"], row["height"])
        if stated not in ((str(found[0]), str(found[1])), (str(found[1]), str(found[0]))):
            wrong.append(f"{row['filename']} has {found[0]}x{found[1]}, not {'x'.join(stated)}")
    if wrong:
        raise PhotoError(
            f"{table}: {len(wrong)} of {len(rows)} photos are of another size than their row says; "
            f"{wrong[0]}. Are its columns shifted against each other, or are these resized copies?"
        )


def _instance_of(parts: tuple[str, ...]) -> str:
    return "" if len(parts) == 1 or parts[0].startswith("_") else parts[0]


def _read_boxes(file: str | os.PathLike[str], folder: Path) -> dict[Path, Any]:
    corners = ("x0", "y0", "x1", "y1")
    rows = _read_table(file, ("filename", *corners))
    return {folder / row["filename"]: tuple(row[corner] for corner in corners) for row in rows}


def _read_table(file: str | os.PathLike[str], columns: tuple[str, ...]) -> Iterator[dict[str, str]]:
    with open(file, newline="", encoding="utf-8-sig") as table:
        reader = csv.DictReader(table)
        lacking = set(columns) - set(reader.fieldnames or ())
        if lacking:
            raise PhotoError(f"{file}: lacks the columns {sorted(lacking)} of {list(columns)}")
        yield from reader
