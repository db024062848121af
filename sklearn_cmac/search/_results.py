"""What a search finds."""

from __future__ import annotations

import math
from base64 import b64encode
from io import BytesIO
from typing import Any, NamedTuple, SupportsIndex, overload

from PIL import Image

from sklearn_cmac._html import Html, as_html, html_table
from sklearn_cmac.photos import Box, Photo, PhotoError, read_source
from sklearn_cmac.pixels import decode
from sklearn_cmac.reranking import RegionMatch, SpatialMatch

_LIKELY = 0.5
_N_ROWS, _N_PICTURES, _SIDE = 100, 20, 128  # in notebooks, and pixels of pictures


class _Found(NamedTuple):
    name: str
    score: float


class SearchResult(_Found):
    """A photo of the collection, its score, and why it was found: a pair of name and score.

    Parameters
    ----------
    name : str
    score : float
        Without further steps, the dot product of descriptors, 1 for the query itself. Behind a
        verification, the probability of photos that are verified, and 0 or less of all others.
        Scores of a search never rise from one result to the next; of `search_with_marks`, they do
        where marks come before scores.
    path : str
        Where it is; "" if it is in no file.
    spatial : SpatialMatch, optional
        How its local features lie, if a step verifies them.
    regions : RegionMatch, optional
        Which of its regions answer those of the query, if a step compares them.
    query : int, default=0
        Which of several queries it was found by, from 0.

    Examples
    --------
    >>> from sklearn_cmac.search import SearchResult
    >>> result = SearchResult("a.jpg", 0.9)
    >>> name, score = result
    >>> name, score, result.box
    ('a.jpg', 0.9, None)
    """

    path: str
    spatial: SpatialMatch | None
    regions: RegionMatch | None
    query: int

    def __new__(
        cls,
        name: str,
        score: float,
        path: str = "",
        spatial: SpatialMatch | None = None,
        regions: RegionMatch | None = None,
        query: int = 0,
    ) -> SearchResult:
        result = super().__new__(cls, name, score)
        result.path, result.spatial, result.regions, result.query = path, spatial, regions, query
        return result

    def changed(self, **changes: Any) -> SearchResult:
        """The same photo with another score, or other reasons."""
        return SearchResult(**{**self._asdict(), **vars(self), **changes})

    @property
    def box(self) -> Box | None:
        """The box (x0, y0, x1, y1) around the object, if it more probably is there than not."""
        if self.spatial is None or self.spatial.probability < _LIKELY:
            return None
        return self.spatial.box

    @property
    def verified(self) -> bool | None:
        """Whether enough local features agree, if these were compared."""
        return None if self.spatial is None else self.spatial.verified

    @property
    def probability(self) -> float | None:
        """That the photo shows the object, by its local features, if these were compared."""
        return None if self.spatial is None else self.spatial.probability


class SearchResults(list[SearchResult]):
    """What a search found, best first: a list that notebooks show with pictures.

    Examples
    --------
    >>> from sklearn_cmac.search import SearchResult, SearchResults
    >>> results = SearchResults([SearchResult("a.jpg", 0.9)])
    >>> results[0].name, results == [SearchResult("a.jpg", 0.9)]
    ('a.jpg', True)
    """

    @overload
    def __getitem__(self, which: SupportsIndex) -> SearchResult: ...

    @overload
    def __getitem__(self, which: slice) -> SearchResults: ...

    def __getitem__(self, which: Any) -> Any:
        """A result, or some of them as such a list."""
        found = super().__getitem__(which)
        return SearchResults(found) if isinstance(which, slice) else found

    def _repr_html_(self) -> str:
        """In notebooks: a table of the first, with pictures of some."""
        rows = []
        for rank, result in enumerate(self[:_N_ROWS], 1):
            picture = _thumbnail(result) if rank <= _N_PICTURES else ""
            # Long names would push what stands behind them out of sight.
            name = Html(f'<span style="overflow-wrap:anywhere">{as_html(result.name)}</span>')
            score = "" if math.isnan(result.score) else f"{result.score:.3f}"
            sure = "" if result.probability is None else f"{result.probability:.2f}"
            rows.append([rank, picture, name, score, sure])
        header = ["rank", "photo", "name", "score", "probability of the same object"]
        shown = f"; the first {_N_ROWS}" if len(self) > _N_ROWS else ""
        return html_table(rows, header, title=f"{len(self)} photos, best first{shown}")


def _thumbnail(result: SearchResult) -> Html | str:
    """A small picture of a photo, if it is in a file that is still there."""
    if not result.path:
        return ""
    try:
        pixels, _ = decode(read_source(Photo(result.path)), result.name, max_size=_SIDE)
    except PhotoError:
        return "is not there any more, or damaged"
    content = BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", quality=80)
    uri = "data:image/jpeg;base64," + b64encode(content.getvalue()).decode()
    return Html(f'<img src="{uri}" alt="{as_html(result.name)}">')
