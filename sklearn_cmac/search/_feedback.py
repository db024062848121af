"""Several queries for one object, and what a person said of the results: Rocchio's feedback.

J. J. Rocchio, "Relevance feedback in information retrieval", in G. Salton (ed.), The SMART
Retrieval System: Experiments in Automatic Document Processing, Prentice-Hall 1971.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from secrets import token_hex
from typing import Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from sklearn_cmac.collection import Engine
from sklearn_cmac.collection._scores import joined_regions
from sklearn_cmac.fingerprints import fingerprint, fingerprint_photo
from sklearn_cmac.photos import Item, Photo, PhotoError, Query
from sklearn_cmac.reranking import DescribedQuery
from sklearn_cmac.search._index import RetrievalIndex
from sklearn_cmac.search._results import SearchResult

_T = TypeVar("_T")

_DEPTH = 1000  # photos that are sorted anew
_EXPLAINED = 50  # of these, photos in which the object is located
_SURE = 0.5  # probability from which on it is
_REMEMBERED = 50  # marks, and as many queries, of an index


class _Asked(NamedTuple):
    """A query, as it is described, and what was found in an index in one state."""

    described: DescribedQuery
    results: list[SearchResult]
    state: tuple[Any, ...] | None


class _Known(NamedTuple):
    """What is remembered of an index, so that a further mark costs no more than itself.

    The keys are what all of it follows from, pipeline and content; what was found also depends on
    the state of the index.
    """

    asked: dict[str, _Asked]
    marked: dict[str, DescribedQuery]


_KNOWN: WeakKeyDictionary[RetrievalIndex, _Known] = WeakKeyDictionary()


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
        As for `RetrievalIndex.search`; or if `gamma` is not below `alpha`.

    Notes
    -----
    Each query is moved by the marks, its descriptor as `move_query` does it and its regions by
    taking in those of what is marked, and searched with anew through all steps. A sum over regions
    is linear as a dot product is, so that holds for `RegionMatching` too. Of a photo that is right
    and was verified, the object's box is what counts, and else all of it. `combine_rankings` gives
    the orders scores.

    The last 50 queries and marks are remembered as long as the index object lives, so that a
    further mark costs no more than itself.

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
    if gamma >= alpha:
        raise ValueError(f"gamma is below alpha, or nothing is asked for; got {gamma} and {alpha}")
    right, wrong = list(right), list(wrong)
    marked = bool(right or wrong)
    if len(queries) == 1 and not marked:
        return index.search(queries[0], n_results, n_explained=n_results)
    depth = max(n_results, _DEPTH)
    n_explained = max(n_results, _EXPLAINED)
    asked = [_ask(index, query, depth, n_explained) for query in queries]
    rankings = [each.results for each in asked]
    descriptors = np.stack([each.described.descriptor for each in asked])
    if marked:
        located = {result.name: result for ranking in rankings for result in ranking}
        good = _look_at(index, [_object_in(located.get(name), name) for name in right])
        bad = _look_at(index, wrong)
        moved = [_moved(each.described, good, bad, alpha, beta, gamma) for each in asked]
        descriptors = np.stack([each.descriptor for each in moved])
        rankings = [
            index._searcher().search_moved(each.described, query, depth, n_explained)
            for each, query in zip(asked, moved)
        ]
    found: dict[str, SearchResult] = {}
    for which, ranking in enumerate(rankings):
        for result in ranking:
            # Of a photo that several queries find, what most was found out of.
            if result.name not in found or result.score > found[result.name].score:
                found[result.name] = result.changed(query=which)
    names = list(found)
    place = {name: i for i, name in enumerate(names)}
    orders = [np.array([place[result.name] for result in ranking]) for ranking in rankings]
    assert index.engine is not None  # since something was found
    photos = index.engine.get(index._catalogue.ids(names))
    scores = combine_rankings(orders, descriptors @ photos.T, combine)
    ahead = np.array([_tier(found[name], right, wrong) for name in names])
    best = np.lexsort((-scores, -ahead))[:n_results].tolist()
    return [found[names[i]].changed(score=float(scores[i])) for i in best]


def _moved(
    query: DescribedQuery,
    right: Sequence[DescribedQuery],
    wrong: Sequence[DescribedQuery],
    alpha: float,
    beta: float,
    gamma: float,
) -> DescribedQuery:
    """A query moved by marks, as a whole and in its regions."""
    good, bad = (
        np.array([each.descriptor for each in marks]).reshape(-1, len(query.descriptor))
        for marks in (right, wrong)
    )
    descriptor = move_query(query.descriptor, good, bad, alpha, beta, gamma)
    descriptor = descriptor / np.linalg.norm(descriptor)
    if query.regions is None:
        return replace(query, descriptor=descriptor)
    weighted = [(alpha, query.regions)]
    weighted += [(beta / len(right), each.regions) for each in right if each.regions is not None]
    weighted += [(-gamma / len(wrong), each.regions) for each in wrong if each.regions is not None]
    weights, parts = zip(*weighted)
    return replace(query, descriptor=descriptor, regions=joined_regions(parts, weights))


def _tier(result: SearchResult, right: Sequence[str], wrong: Sequence[str]) -> int:
    """What comes before what, whatever its score: a person knows better than features do."""
    if result.name in wrong:
        return -1
    return 2 if result.name in right else int(_is_sure(result))


def _is_sure(result: SearchResult) -> bool:
    """Whether the object is located."""
    spatial = result.spatial
    return spatial is not None and spatial.probability >= _SURE


def _object_in(result: SearchResult | None, name: str) -> Query | str:
    """The object in a photo, if it is located, or the name of the photo."""
    if result is None or not result.path or result.box is None or not _is_sure(result):
        return name
    return Query(Photo(result.path, name=name), result.box)


def _ask(index: RetrievalIndex, query: Item, depth: int, n_explained: int) -> _Asked:
    """A search, of which marks change nothing."""
    asked, state = _known_of(index).asked, None
    key = f"{_pipeline_of(index)} {fingerprint_photo(query, annotated=True)}"
    if index.engine is not None:
        # Who writes by this object gets another searcher, and by another object another version;
        # photos that turn out to be damaged are missing.
        version = index._catalogue.database.version()
        state = index._searcher(), version, len(index.engine), depth, n_explained
    if state is None or key not in asked or asked[key].state != state:
        results = index.search(query, depth, n_explained=n_explained)
        (described,) = index._retriever.describe_queries([query])
        asked[key] = _Asked(described, results, state)
    return _used(asked, [key])[0]


def _pipeline_of(index: RetrievalIndex) -> str:
    """What tells a pipeline and its steps from others."""
    try:
        return fingerprint(index.pipeline)
    except TypeError:  # nothing tells it from others, so nothing is found again
        return token_hex()


def _look_at(index: RetrievalIndex, marked: Sequence[Query | str]) -> list[DescribedQuery]:
    """Marked photos, described; only those are looked at that were not marked before."""
    try:
        return _described(index, marked)
    except PhotoError:  # a file is gone: then what the index keeps of all counts
        names = [each.name if isinstance(each, Query) else each for each in marked]
        return _described(index, names)


def _described(index: RetrievalIndex, marked: Sequence[Query | str]) -> list[DescribedQuery]:
    """Marked photos as queries are described: objects anew, of others what the index keeps."""
    known, described_by = _known_of(index).marked, _pipeline_of(index)
    engine = index.engine
    assert engine is not None
    needs = {"regions"} if engine.stamp.regions else set()
    keys = []
    for each in marked:
        if isinstance(each, Query):
            key = f"{described_by} {fingerprint_photo(each, annotated=True)}"
            if key not in known:
                (known[key],) = index._retriever.describe_queries([each], needs)
        else:
            key = f"{described_by} {index._catalogue.ids([each])[0]}"
            if key not in known:
                known[key] = _kept(index, engine, each)
        keys.append(key)
    return _used(known, keys)


def _known_of(index: RetrievalIndex) -> _Known:
    return _KNOWN.setdefault(index, _Known({}, {}))


def _used(known: dict[str, _T], keys: Sequence[str]) -> list[_T]:
    """What is known by some keys; what was not asked for the longest time is forgotten."""
    found = [known[key] for key in keys]
    known.update((key, known.pop(key)) for key in dict.fromkeys(keys))
    while len(known) > max(_REMEMBERED, len(keys)):
        del known[next(iter(known))]
    return found


def _kept(index: RetrievalIndex, engine: Engine, name: str) -> DescribedQuery:
    """What the index keeps of a photo."""
    ids = index._catalogue.ids([name])
    regions = engine.get_regions(ids)[0] if engine.stamp.regions else None
    if regions is not None and not len(regions.vectors):
        regions = None
    return DescribedQuery(name, engine.get(ids)[0], regions)
