"""A folder of photos, with labels and boxes if there are any."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

from sklearn.utils import Bunch

from sklearn_cmac.datasets._tables import Row, path_below, read_table
from sklearn_cmac.datasets._walk import find_photos
from sklearn_cmac.photos import Box, Photo, PhotoError, check_box
from sklearn_cmac.pixels import photo_size

_CORNERS = ("x0", "y0", "x1", "y1")


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
        A table with a header and columns `filename` (relative to `folder`) and `instance`. An
        empty instance is a distractor. If there are columns `width` and `height` as well, they
        must be those of the photos. Other columns are ignored. Default: each sub-folder is an
        instance, and photos right in `folder` or in a sub-folder whose name starts with an
        underscore are distractors.
    boxes : path, optional
        A table with columns `filename`, `x0`, `y0`, `x1` and `y1`, in pixels, and a row for
        each object that is asked for: a photo may have several.

    Returns
    -------
    Bunch
        With `photos` (list of `Photo`, in the order of the table, or sorted by name), `target`
        (list of str, one label per photo, "" for distractors), `boxes` (for each photo the list
        of its boxes, the first of which is the `box` of its `Photo`) and `DESCR`.

    Raises
    ------
    PhotoError
        If a table cannot be read, a photo of it is not in the folder, has a name that leads out
        of it, is of another size than the table says or has two labels, or a box is no box.

    Warns
    -----
    UserWarning
        If a photo is listed more than once with one label; it counts once.

    Notes
    -----
    Tables are text in UTF-8, or UTF-16 with a byte order mark, with commas, semicolons or tabs
    between cells. Names may have backslashes where the folder has sub-folders. Links in the
    folder may lead out of it, names in tables may not.

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
        rows = read_table(labels, ("filename", "instance"), optional=("width", "height"))
        paths = [path_below(folder, row["filename"], row.place) for row in rows]
        target = [row["instance"] for row in rows]
        missing = [row["filename"] for row, path in zip(rows, paths) if not path.is_file()]
        if missing:
            raise PhotoError(
                f"{len(missing)} of {len(paths)} photos of {labels} are not in {folder}; the first "
                f"is {missing[0]!r}"
            )
        _check_sizes(labels, rows, paths)
    listed = _each_once(labels or folder, paths, target)
    boxes_of = {} if boxes is None else _read_boxes(boxes, folder)
    unknown = boxes_of.keys() - listed.keys()
    if unknown:
        raise PhotoError(f"{boxes}: has a box for {min(unknown)}, which is not among the photos")
    photos, target, of_photo = [], [], []
    for real, (path, label) in listed.items():
        own = boxes_of.get(real, [])
        photos.append(Photo(path, box=own[0] if own else None))
        target.append(label)
        of_photo.append(own)
    return Bunch(
        photos=photos,
        target=target,
        boxes=of_photo,
        DESCR=f"{len(photos)} photos of {len(set(target) - {''})} instances in {folder}, "
        f"{target.count('')} of them distractors, {sum(map(len, of_photo))} boxes.",
    )


def _each_once(
    origin: str | os.PathLike[str], paths: Sequence[Path], target: Sequence[str]
) -> dict[str, tuple[Path, str]]:
    """Path and label of each file by its real path, in whatever spellings it is listed."""
    listed: dict[str, tuple[Path, str]] = {}
    again = []
    for path, label in zip(paths, target):
        first, known = listed.setdefault(os.path.realpath(path), (path, label))
        if known != label:
            raise PhotoError(
                f"{origin}: {first} has the labels {known!r} and {label!r}; a photo has one"
            )
        if first is not path:
            again.append(path)
    if again:
        warnings.warn(
            f"{origin}: {len(again)} photos are listed more than once, such as {again[0]}; each "
            "counts once",
            stacklevel=3,
        )
    return listed


def _check_sizes(table: str | os.PathLike[str], rows: Sequence[Row], paths: Sequence[Path]) -> None:
    """An error if photos are not as large as their rows say: then rows are of other photos."""
    wrong = []
    for row, path in zip(rows, paths):
        stated = row.get("width", ""), row.get("height", "")
        if all(stated):
            found = photo_size(path)
            if not _is_size(stated, found):
                wrong.append(
                    f"{row['filename']} has {found[0]}x{found[1]}, not {'x'.join(stated)[:40]}"
                )
    if wrong:
        raise PhotoError(
            f"{table}: {len(wrong)} of {len(rows)} photos are of another size than their row says; "
            f"{wrong[0]}. Are its columns shifted against each other, or are these resized copies?"
        )


def _is_size(stated: tuple[str, str], found: tuple[int, int]) -> bool:
    """Whether cells hold a photo's width and height; before it was turned upright will do."""
    try:
        return sorted(map(float, stated)) == sorted(found)
    except ValueError:
        return False


def _instance_of(parts: tuple[str, ...]) -> str:
    return "" if len(parts) == 1 or parts[0].startswith("_") else parts[0]


def _read_boxes(file: str | os.PathLike[str], folder: Path) -> dict[str, list[Box]]:
    """Boxes by the real path of their photo; one that is listed twice counts once."""
    found: dict[str, dict[Box, None]] = {}
    for row in read_table(file, ("filename", *_CORNERS)):
        name = row["filename"]
        path = os.path.realpath(path_below(folder, name, row.place))
        box = check_box([row[corner] for corner in _CORNERS], f"{row.place}, {name}")
        found.setdefault(path, {})[box] = None
    return {path: list(boxes) for path, boxes in found.items()}
