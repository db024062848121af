"""What a search finds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sklearn_cmac.photos import Box
from sklearn_cmac.reranking import RegionMatch, SpatialMatch

_LIKELY = 0.5


@dataclass(frozen=True)
class SearchResult:
    """A photo of the collection, its score, and why it was found.

    Parameters
    ----------
    name : str
    score : float
        Without further steps, the dot product of descriptors, 1 for the query itself.
    path : str
        Where it is; "" if it is in no file.
    spatial : SpatialMatch, optional
        How its local features lie, if a step verifies them.
    regions : RegionMatch, optional
        Which of its regions answer those of the query, if a step compares them.

    Examples
    --------
    >>> from sklearn_cmac.search import SearchResult
    >>> result = SearchResult("a.jpg", 0.9)
    >>> name, score = result
    >>> name, score, result.box
    ('a.jpg', 0.9, None)
    """

    name: str
    score: float
    path: str = field(default="", compare=False)
    spatial: SpatialMatch | None = field(default=None, compare=False, repr=False)
    regions: RegionMatch | None = field(default=None, compare=False, repr=False)

    def __iter__(self) -> Iterator[str | float]:
        """Name and score."""
        return iter((self.name, self.score))

    @property
    def box(self) -> Box | None:
        """The box (x0, y0, x1, y1) around the object, if it more probably is there than not."""
        if self.spatial is None or self.spatial.probability < _LIKELY:
            return None
        return self.spatial.box

    @property
    def probability(self) -> float | None:
        """That the photo shows the object, by its local features, if these were compared."""
        return None if self.spatial is None else self.spatial.probability
