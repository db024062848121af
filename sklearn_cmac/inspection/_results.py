"""What a search found, as one HTML file: photos, what on them made their score, and where likeness
ends."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sklearn_cmac.inspection._captions import (
    address_of,
    count_outlying,
    distinguishing_paths,
    file_of,
    of_one_kind,
    say_match,
    say_score,
)
from sklearn_cmac.inspection._numbering import Answer, Pair, number_answers, regions_asked
from sklearn_cmac.inspection._outlines import Outline, box_outline
from sklearn_cmac.inspection._overlay import open_photo
from sklearn_cmac.inspection._page import Figure, write_template
from sklearn_cmac.photos import Item, Photo, PhotoError, Query, as_photo, check_box_inside
from sklearn_cmac.search import RetrievalIndex, SearchResult

_SIDE = 560  # pixels of a picture's long side
_N_LARGE, _SMALL = 60, 280  # pictures of that size, and pixels of those behind them


@dataclass
class FoundPhoto(Figure):
    """A photo that was found, on its page."""

    rank: int = 0
    score: str = ""
    meaning: str = ""
    verified: bool = False
    pairs: Sequence[Pair] = ()
    asked: Sequence[Outline] = ()  # the query's regions that it answers
    matrix: np.ndarray | None = None  # from pixels of the query's picture to those of this one

    @property
    def comparable(self) -> bool:
        """Whether there is more to see beside the query."""
        return self.image is not None and (bool(self.pairs) or self.matrix is not None)

    @property
    def css_matrix(self) -> str:
        """The map as CSS transforms with it."""
        assert self.matrix is not None
        (a, b, c), (d, e, f), (g, h, i) = self.matrix.tolist()
        columns = (a, d, 0, g), (b, e, 0, h), (0, 0, 1, 0), (c, f, 0, i)
        return f"matrix3d({', '.join(f'{v:.9g}' for column in columns for v in column)})"


def write_results(
    path: str | os.PathLike[str],
    index: RetrievalIndex,
    query: Item,
    results: Sequence[SearchResult],
    *,
    likeness: Sequence[SearchResult] | None = None,
    photos: Mapping[str, Item] | None = None,
    title: str = "",
    about: Sequence[str] = (),
) -> None:
    """Write a page of what a search found: one file that needs nothing beside it.

    The query stands apart. On each photo the regions are outlined that answer the query's best,
    with the numbers and colours that these have there, and the object, where its local features
    were verified; then the query can be laid over it. A line says where likeness ends
    (`count_outlying`).

    Parameters
    ----------
    path : path
    index : RetrievalIndex
        That was searched.
    query : Query, Photo, or anything that `Photo` takes
    results : list of SearchResult
    likeness : list of SearchResult, optional
        What tells where likeness ends: more photos than are shown, best first, by scores that can
        be compared, as of a search that verifies nothing. Default: the results, by their regions
        if these were compared.
    photos : mapping from str to photo, optional
        By name, those that are in no file.
    title : str
        Default: "Photos like", and the query's name.
    about : sequence of str
        Lines below it.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn_cmac import make_rmac_pipeline
    >>> from sklearn_cmac.datasets import make_object_scenes
    >>> from sklearn_cmac.inspection import write_results
    >>> from sklearn_cmac.search import RetrievalIndex
    >>> scenes = make_object_scenes(n_objects=2, n_scenes=2, size=(320, 240)).photos[:4]
    >>> index = RetrievalIndex(make_rmac_pipeline(whiten__shrinkage=1).fit(scenes))
    >>> report = index.add(scenes)
    >>> found = index.search(scenes[0], 2)
    >>> by_name = {photo.name: photo for photo in scenes}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_results(f"{folder}/page.html", index, scenes[0], found, photos=by_name)
    ...     Path(f"{folder}/page.html").read_text().count("<img")
    3
    """
    asked, whole, found = describe_results(index, query, results, photos or {})
    similar, others, why = _told_apart(found, results, likeness or _by_regions(results))
    kinds = {outline.kind for each in found for outline in each.outlines}
    write_template(
        path,
        "results.html.j2",
        title=title or f"Photos like {asked.caption}",
        heading=f"{len(found)} photos, best first",
        about=about,
        query=asked,
        whole=whole,
        similar=similar,
        others=others,
        why=why,
        kinds=kinds,
    )


def describe_results(
    index: RetrievalIndex,
    query: Item,
    results: Sequence[SearchResult],
    photos: Mapping[str, Item],
) -> tuple[Figure, Figure | None, list[FoundPhoto]]:
    """The query and the photos that were found, with what is outlined on them.

    Parameters
    ----------
    index, query, results, photos
        As for `write_results`.

    Returns
    -------
    Figure, Figure or None, list of FoundPhoto
        What was asked for; the photo around it, if that was a part; and what was found.
    """
    query = as_photo(query)
    files = [(file_of(query), query.name), *((result.path, result.name) for result in results)]
    paths = [os.path.abspath(file) if file else name for file, name in files]
    caption, *captions = distinguishing_paths(paths)
    asked, whole = _asked_photo(query, caption)
    found = [
        _found_photo(rank, result, caption, photos.get(result.name, result.path), asked)
        for rank, (result, caption) in enumerate(zip(results, captions), 1)
    ]
    asked.outlines = _number_regions(index, query, results, found)
    return asked, whole, found


def _asked_photo(query: Photo | Query, caption: str) -> tuple[Figure, Figure | None]:
    """What a query asks for, and the photo around it if that is a part of it."""
    image, size = open_photo(query, _SIDE)
    whole = Figure(image, caption, size=size, address=address_of(file_of(query)))
    whole.alt = f"The query, {caption}"
    if not isinstance(query, Query):
        return whole, None
    window = check_box_inside(query.box, size, query.name)
    whole.outlines = [box_outline(window)]
    # A small part is cut out of a larger picture.
    side = max(window[2] - window[0], window[3] - window[1])
    larger, _ = open_photo(query, min(max(size), round(_SIDE * max(size) / side)))
    x0, y0, x1, y1 = (round(v * larger.width / size[0]) for v in window)
    part = larger.crop((x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)))
    return replace(whole, image=part, window=window, outlines=(), alt="What was asked for"), whole


def _found_photo(
    rank: int, result: SearchResult, caption: str, photo: Item, asked: Figure
) -> FoundPhoto:
    """A photo with its object outlined, if its local features were verified."""
    image, size = _look_at(photo, _SIDE if rank <= _N_LARGE else _SMALL)
    score = say_score(result.score, result.verified is not None)
    found = FoundPhoto(image, caption, size=size, address=address_of(result.path))
    found.rank, found.score, found.meaning = rank, score, "similar as a whole"
    if result.regions is not None:
        found.meaning = "similar by its regions"
    located = result.spatial
    if located is not None and located.n_inliers:
        found.meaning = say_match(located.n_inliers, located.probability)
        found.verified = located.probability >= 0.5
        if found.verified and len(located.outline):
            found.outlines = [Outline([located.outline], kind="object")]
        if found.verified and located.matrix is not None and image is not None:
            found.matrix = _between_pictures(located.matrix, asked, found)
    if found.address and found.address == asked.address:
        found.meaning = "the query's own photo"
    found.alt = f"Result {rank}, {caption}: {found.meaning}"
    return found


def _between_pictures(matrix: np.ndarray, asked: Figure, found: Figure) -> np.ndarray:
    """A map (3, 3) between pixels of photos as one between those of their pictures."""
    scaled = np.linalg.inv(_to_photo(found)) @ matrix @ _to_photo(asked)
    assert asked.image is not None
    middle = scaled @ [asked.image.width / 2, asked.image.height / 2, 1]
    # Browsers draw what lies before the eye, where the last coordinate is positive.
    return scaled / ((np.sign(middle[2]) or 1) * np.abs(scaled).max())


def _to_photo(figure: Figure) -> np.ndarray:
    """The map (3, 3) from pixels of a picture to those of the photo that it is, or is a part of."""
    assert figure.image is not None
    assert figure.size is not None
    x0, y0, x1, y1 = figure.window or (0, 0, *figure.size)
    across, down = (x1 - x0) / figure.image.width, (y1 - y0) / figure.image.height
    return np.array([[across, 0, x0], [0, down, y0], [0, 0, 1]])


def _number_regions(
    index: RetrievalIndex,
    query: Item,
    results: Sequence[SearchResult],
    found: Sequence[FoundPhoto],
) -> list[Outline]:
    """Number the regions of the query that count for most, and outline those that answer them."""
    answering = [
        (each, Answer(result.regions, kept, each.size))
        for each, result in zip(found, results)
        if result.regions is not None and each.size and (kept := index.regions(result.name))
    ]
    if not answering:
        return []
    answers = [answer for _, answer in answering]
    on_query, on_photos = number_answers(regions_asked(index.pipeline, query), answers)
    for (each, _), (outlines, pairs) in zip(answering, on_photos):
        each.outlines = [*outlines, *each.outlines]
        each.asked = [on_query[pair.number - 1] for pair in pairs]
        each.pairs = pairs
    return on_query


def _by_regions(results: Sequence[SearchResult]) -> Sequence[SearchResult]:
    """Results in the order of how alike their regions are, if these were compared."""
    alike = [r.changed(score=r.regions.score) for r in results if r.regions is not None]
    return sorted(alike, key=lambda result: -result.score) or results


def _told_apart(
    found: Sequence[FoundPhoto],
    results: Sequence[SearchResult],
    likeness: Sequence[SearchResult],
) -> tuple[Sequence[FoundPhoto], Sequence[FoundPhoto], str]:
    """The photos that are like the query, the others, and what tells them apart."""
    scores = of_one_kind([result.score for result in likeness])
    n_outlying = count_outlying(scores)
    if n_outlying is None:
        return found, [], ""
    outlying = {result.name for result in likeness[:n_outlying]}
    like = [each.verified or r.name in outlying for each, r in zip(found, results)]
    similar = [each for each, is_like in zip(found, like) if is_like]
    others = [each for each, is_like in zip(found, like) if not is_like]
    rule = (
        f"score more than 3.5 robust standard deviations above the median of {len(scores)} photos, "
        "by Iglewicz and Hoaglin's rule for outliers, or by their points probably show the object."
    )
    if not others:
        return similar, [], f"Likeness may go on behind these: all photos that are shown {rule}"
    if not similar:
        return [], others, f"No photo stands out from the others: none {rule}"
    return similar, others, f"Likeness ends here: above this line are photos that {rule}"


def _look_at(photo: Item, side: int) -> tuple[Any, tuple[int, int] | None]:
    """A photo's picture and its size; none of what is gone or damaged."""
    try:
        return open_photo(photo, side)
    except PhotoError:
        return None, None
