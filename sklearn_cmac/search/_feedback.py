"""Several queries for one object, and what a person said of the results: Rocchio's feedback.

J. J. Rocchio, "Relevance feedback in information retrieval", in G. Salton (ed.), The SMART
Retrieval System: Experiments in Automatic Document Processing, Prentice-Hall 1971.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from sklearn_cmac.collection import Engine
from sklearn_cmac.photos import Item, Photo, PhotoError, Query
from sklearn_cmac.reranking import DescribedQuery
from sklearn_cmac.search._index import RetrievalIndex
from sklearn_cmac.search._results import SearchResult

_DEPTH = 1000  # photos that are sorted anew
_EXPLAINED = 50  # of these, photos in which the object is located
_SURE = 0.5  # probability from which on it is


def move_query(
    query: np.ndarray,
    right: np.ndarray,
    wrong: np.ndarray,
    alpha: float = 1.0,
    beta: float = 0.75,
    gamma: float = 0.15,
) -> np.ndarray:
    """A query moved towards results that are right, and away from those that are wrong.

    Parameters
    ----------
    query : ndarray of shape (D,)
        Its descriptor; or the scores that it gave to D photos, since the sum is linear.
    right, wrong : ndarray of shape (n, D)
        Descriptors of results, or their scores for the same photos; there may be none.
    alpha, beta, gamma : float
        How much the query, the mean of what is right, and that of what is wrong count. The usual
        values trust what is right more, since there are many ways to be wrong.

    Returns
    -------
    ndarray of shape (D,)
        ``alpha * query + beta * mean(right) - gamma * mean(wrong)``; its length changes no ranking.

    References
    ----------
    Rocchio 1971. The values: C. D. Manning, P. Raghavan, H. Schütze, "Introduction to Information
    Retrieval", Cambridge University Press 2008, section 9.1.1.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac.search import move_query
    >>> move_query(np.array([1.0, 0]), np.array([[0, 1.0], [0, 0.6]]), np.array([[0.0, 1.0]]))
    array([1.  , 0.45])
    """
    moved = alpha * query
    if len(right):
        moved = moved + beta * right.mean(axis=0)
    if len(wrong):
        moved = moved - gamma * wrong.mean(axis=0)
    return moved


def combine_rankings(
    orders: Sequence[np.ndarray], likeness: np.ndarray, combine: str = "mean"
) -> np.ndarray:
    """One score of each photo for the rankings of several queries.

    Scores of different steps, such as similarities and numbers of features, cannot be added. So
    the photo at rank i of a query counts as alike to it as the i-th of all photos is by
    descriptors: the order is the ranking's, and the scores are dot products.

    Parameters
    ----------
    orders : sequence of ndarray of int
        For each query the positions of photos, best first. Those that a ranking lacks come behind
        it, in the order of their likeness.
    likeness : ndarray of shape (n_queries, n_photos)
        Dot products of descriptors.
    combine : {"mean", "max"}
        The mean asks for what all queries show, such as an object from all its sides: of rankings
        by descriptors it is the dot product with the mean descriptor. The greatest asks for what
        any shows.

    Returns
    -------
    ndarray of shape (n_photos,)

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac.search import combine_rankings
    >>> likeness = np.array([[0.75, 0.25, 0.5], [0.25, 0.75, 0.5]])
    >>> combine_rankings([np.array([2, 0, 1]), np.array([1, 2, 0])], likeness).tolist()
    [0.375, 0.5, 0.625]
    """
    scores = np.empty_like(likeness)
    for row, order, alike in zip(scores, orders, likeness):
        by_likeness = np.argsort(-alike, kind="stable")
        behind = by_likeness[~np.isin(by_likeness, order)]
        row[np.concatenate([order, behind])] = alike[by_likeness]
    return scores.mean(axis=0) if combine == "mean" else scores.max(axis=0)


def search_with_marks(
    index: RetrievalIndex,
    queries: Sequence[Item],
    n_results: int = 10,
    *,
    right: Iterable[str] = (),
    wrong: Iterable[str] = (),
    combine: str = "mean",
    alpha: float = 1.0,
    beta: float = 0.75,
    gamma: float = 0.15,
) -> list[SearchResult]:
    """Search for one object by several queries, and by what was right among the results before.

    Parameters
    ----------
    index : RetrievalIndex
    queries : sequence of Query, Photo, or anything that `Photo` takes
        One at least.
    n_results : int, default=10
    right, wrong : iterable of str
        Names of photos of the index that show the object, and that do not.
    combine : {"mean", "max"}
        How the scores of several queries become one, see `combine_rankings`.
    alpha, beta, gamma : float
        How much queries and marks count, see `move_query`.

    Returns
    -------
    list of SearchResult
        Best first. With several queries or marks, the 1000 photos that each query ranks first are
        sorted anew: those that are right, those that some query verified, the others, and those
        that are wrong.

    Raises
    ------
    KeyError
        If a marked photo is not in the index.
    ValueError
        As for `RetrievalIndex.search`.

    Notes
    -----
    Rocchio's sum is linear: the dot product of a photo with the moved query is its score by the
    query, and what the marks add to it. In this form it holds behind any steps. These see the
    queries, `combine_rankings` gives their order scores, and `move_query` adds how alike a photo
    is to those that are marked: by their regions where these are kept, as `RegionMatching`
    compares them, and else by descriptors. Of a photo that is right and was verified, the object's
    box is what counts, and else all of it.

    Examples
    --------
    >>> from sklearn_cmac import make_rmac_pipeline
    >>> from sklearn_cmac.datasets import make_object_scenes
    >>> from sklearn_cmac.search import RetrievalIndex, search_with_marks
    >>> photos = make_object_scenes(2, 3, 0, size=(160, 120)).photos
    >>> pipeline = make_rmac_pipeline(whiten__shrinkage=1, features__layer="blocks.4").fit(photos)
    >>> index = RetrievalIndex(pipeline)
    >>> _ = index.add(photos)
    >>> asked = photos[0].as_query()
    >>> wrong = index.search(asked, 2)[1].name
    >>> search_with_marks(index, [asked], 6, wrong=[wrong])[-1].name == wrong
    True
    """
    right, wrong = list(right), list(wrong)
    marked = bool(right or wrong)
    if len(queries) == 1 and not marked:
        return index.search(queries[0], n_results, n_explained=n_results)
    depth = max(n_results, _DEPTH)
    n_explained = max(n_results, _EXPLAINED)
    rankings = [index.search(query, depth, n_explained=n_explained) for query in queries]
    found: dict[str, SearchResult] = {}
    for asked, ranking in enumerate(rankings):
        for result in ranking:
            # Of a photo that several queries find, what most was found out of.
            if result.name not in found or result.score > found[result.name].score:
                found[result.name] = result.changed(query=asked)
    names = list(found)
    place = {name: i for i, name in enumerate(names)}
    orders = [np.array([place[result.name] for result in ranking]) for ranking in rankings]
    photos = _descriptors(index, names)
    scores = combine_rankings(orders, index._retriever.transform(queries) @ photos.T, combine)
    if marked:
        good = [_object_in(found.get(name), name) for name in right]
        scores = move_query(
            scores,
            _likeness(index, good, photos, names),
            _likeness(index, wrong, photos, names),
            alpha,
            beta,
            gamma,
        )
    ahead = np.array([_tier(found[name], right, wrong) for name in names])
    best = np.lexsort((-scores, -ahead))[:n_results].tolist()
    return [found[names[i]].changed(score=float(scores[i])) for i in best]


def _tier(result: SearchResult, right: Sequence[str], wrong: Sequence[str]) -> int:
    """What comes before what, whatever its score: a person knows better than features do."""
    if result.name in wrong:
        return -1
    return 2 if result.name in right else int(_is_sure(result))


def _is_sure(result: SearchResult) -> bool:
    """Whether the object is located."""
    spatial = result.spatial
    return spatial is not None and spatial.probability >= _SURE


def _descriptors(index: RetrievalIndex, names: Sequence[str]) -> np.ndarray:
    assert index.engine is not None  # since something was found
    return index.engine.get(index._catalogue.ids(names))


def _object_in(result: SearchResult | None, name: str) -> Query | str:
    """The object in a photo, if it is located, or the name of the photo."""
    if result is None or not result.path or result.box is None or not _is_sure(result):
        return name
    return Query(Photo(result.path, name=name), result.box)


def _likeness(
    index: RetrievalIndex, marked: Sequence[Query | str], photos: np.ndarray, names: Sequence[str]
) -> np.ndarray:
    """How alike each photo (n, D) is to marked ones (m): by regions where they are kept, (m, n)."""
    engine = index.engine
    assert engine is not None
    if not marked:
        return np.empty((0, len(names)))
    described = _described(index, engine, marked)
    regions = [each.regions for each in described if each.regions is not None]
    if len(regions) < len(described):
        return np.stack([each.descriptor for each in described]) @ photos.T
    ids = index._catalogue.ids(names)
    kept = list(dict.fromkeys(ids))
    scores = [dict(zip(*hits)) for hits in engine.match(regions, len(kept), [kept] * len(regions))]
    return np.array([[row.get(id_, 0.0) for id_ in ids] for row in scores])


def _described(
    index: RetrievalIndex, engine: Engine, marked: Sequence[Query | str]
) -> list[DescribedQuery]:
    """Marked photos as queries are described: objects anew, of others what the index keeps."""
    keeps = engine.stamp.regions
    queries = [each for each in marked if isinstance(each, Query)]
    try:
        needs = {"regions"} if keeps else set()
        objects = index._retriever.describe_queries(queries, needs) if queries else []
    except PhotoError:  # a file is gone
        objects = []
        marked = [each.name if isinstance(each, Query) else each for each in marked]
    of_object = {each.name: each for each in objects}
    return [
        of_object[each.name] if isinstance(each, Query) else _kept(index, engine, each)
        for each in marked
    ]


def _kept(index: RetrievalIndex, engine: Engine, name: str) -> DescribedQuery:
    """What the index keeps of a photo."""
    ids = index._catalogue.ids([name])
    regions = engine.get_regions(ids)[0] if engine.stamp.regions else None
    if regions is not None and not len(regions.vectors):
        regions = None
    return DescribedQuery(name, engine.get(ids)[0], regions)
