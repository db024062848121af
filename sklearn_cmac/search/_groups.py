"""Groups of photos that show one object, found over a whole index.

Photos near each other are verified by their local features, and the links that hold are joined
with care, since one false link is enough to join two objects.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Any, cast

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.base import clone

from sklearn_cmac._flow import Threads
from sklearn_cmac._progress import show_progress
from sklearn_cmac.collection import Collection, Engine
from sklearn_cmac.collection._catalogue import DESCRIBED, CatalogueEntry
from sklearn_cmac.fingerprints import fingerprint
from sklearn_cmac.local import NEAR_ENOUGH, LearnedFeatureExtractor, LocalFeatures
from sklearn_cmac.photos import Item, PhotoError
from sklearn_cmac.reranking import CALIBRATIONS, SpatialVerification, by_care
from sklearn_cmac.reranking._verification import features_of
from sklearn_cmac.search._index import RetrievalIndex
from sklearn_cmac.store import ArrayStore

_IN_MEMORY = 1000  # photos whose features are; of XFeat they take 0.3 MB each


def join_links(
    links: np.ndarray,
    weights: np.ndarray,
    n_photos: int,
    strong: float = 0.98,
    share: float = 0.3,
) -> np.ndarray:
    """Groups of photos that hang together by links, of which a false one shall join no two.

    Groups grow from the strongest links to the weakest. Two become one where the links between
    them have ends in a share of the smaller one's photos, and one of three holds: a link is
    strong; two links agree, at different photos of each group that has several; or both groups
    are linked to a third.

    Parameters
    ----------
    links : ndarray of int of shape (n, 2)
        Positions of linked photos, each pair once.
    weights : ndarray of shape (n,)
        How sure each of them is, such as its probability.
    n_photos : int
    strong : float, default=0.98
        From here on, a link needs no other that agrees with it.
    share : float, default=0.3
        Of the photos of the smaller of two groups, on both sides.

    Returns
    -------
    ndarray of int of shape (n_photos,)
        The group of each photo, numbered in the order of their first photos.

    Examples
    --------
    Two triangles, and one link between them:

    >>> import numpy as np
    >>> from sklearn_cmac.search import join_links
    >>> links = np.array([[0, 1], [1, 2], [0, 2], [3, 4], [4, 5], [3, 5], [2, 3]])
    >>> join_links(links, np.full(7, 0.8), 6).tolist()
    [0, 0, 0, 1, 1, 1]
    """
    links, weights = np.asarray(links, int).reshape(-1, 2), np.asarray(weights)
    labels = np.arange(n_photos)
    for least in np.unique(weights)[::-1]:
        while True:
            between = labels[links[:, 0]] != labels[links[:, 1]]
            links, weights = links[between], weights[between]
            so_far = weights >= least
            joined = _agreeing(links[so_far], weights[so_far] >= strong, labels, share)
            if not len(joined):
                break
            n_groups = labels.max() + 1
            graph = coo_array((np.ones(len(joined)), tuple(joined.T)), (n_groups, n_groups))
            labels = connected_components(graph, directed=False)[1][labels]
    return labels


def _agreeing(
    links: np.ndarray, strong: np.ndarray, labels: np.ndarray, share: float
) -> np.ndarray:
    """Pairs (m, 2) of groups that links between groups join."""
    if not len(links):
        return links
    ends = labels[links]
    turned = ends.argsort(axis=1)
    ends, photos = (np.take_along_axis(each, turned, axis=1) for each in (ends, links))
    pairs, pair_of = np.unique(ends, axis=0, return_inverse=True)
    pair_of = pair_of.reshape(-1)
    linked = np.array([_n_different(pair_of, photos[:, side]) for side in (0, 1)])
    sizes = np.bincount(labels)[pairs].T
    several = (np.bincount(pair_of) > 1) & (linked >= np.minimum(sizes, 2)).all(axis=0)
    enough = (linked >= share * sizes.min(axis=0)).all(axis=0)
    is_strong = np.bincount(pair_of, strong) > 0
    return pairs[enough & (is_strong | several | _in_triangles(pairs))]


def _n_different(groups: np.ndarray, values: np.ndarray) -> np.ndarray:
    """How many different values each group (n,) has."""
    return np.bincount(np.unique(np.stack([groups, values], axis=1), axis=0)[:, 0])


def _in_triangles(pairs: np.ndarray) -> np.ndarray:
    """Whether some third is linked to both of a pair (n, 2)."""
    linked: dict[int, set[int]] = defaultdict(set)
    for a, b in pairs.tolist():
        linked[a].add(b)
        linked[b].add(a)
    return np.array([not linked[a].isdisjoint(linked[b]) for a, b in pairs.tolist()], bool)


def width_of(positions: np.ndarray, photo_size: tuple[int, int]) -> float:
    """How far points spread across the direction in which they spread most.

    Parameters
    ----------
    positions : ndarray of shape (n, 2)
        (x, y) in pixels of a photo.
    photo_size : (width, height)

    Returns
    -------
    float
        Their standard deviation, as a share of the photo's long side; 0 of fewer than 3.
    """
    if len(positions) < 3:
        return 0.0
    variance = np.linalg.eigvalsh(np.cov(positions.T, bias=True))[0]
    return float(np.sqrt(max(variance, 0))) / max(photo_size)


@dataclass(frozen=True)
class Link:
    """Two photos that were verified to show one object.

    Parameters
    ----------
    names : (str, str)
    n_inliers : int
        Features that agree with one map of the plane.
    probability : float
        That they do show one object, by the number of these.
    """

    names: tuple[str, str]
    n_inliers: int
    probability: float


@dataclass(frozen=True)
class Group:
    """Photos of one object.

    Parameters
    ----------
    names : tuple of str
        In the index. The photo with most links first, copies one after the other.
    paths : tuple of str
        Where these are; "" of one that is in no file.
    links : tuple of Link
        The pairs that were verified, of copies by the first name.
    """

    names: tuple[str, ...]
    paths: tuple[str, ...]
    links: tuple[Link, ...]

    @property
    def size(self) -> int:
        return len(self.names)


def find_groups(
    index: RetrievalIndex,
    *,
    n_neighbors: int = 10,
    verifier: SpatialVerification | None = None,
    min_probability: float = 0.75,
    strong_probability: float = 0.98,
    min_width: float = 0.015,
    min_size: int = 2,
    store: str | os.PathLike[str] | None = None,
    n_jobs: int | None = None,
    verbose: bool = False,
) -> list[Group]:
    """The photos of an index that show one object, group by group.

    Each photo is verified against those nearest to it, each pair once. The links that hold are
    joined as `join_links` does. Copies of one content belong together.

    Parameters
    ----------
    index : RetrievalIndex
    n_neighbors : int, default=10
        So many photos nearest to each are verified. More find more links, false ones too.
    verifier : SpatialVerification, optional
        If it has no extractor, as by default, it compares the local features that the index
        keeps, ALIKED's before XFeat's, or else those of ``LearnedFeatureExtractor()``, which looks
        at the photos. So does its careful look, if that has no extractor either.
    min_probability : float, default=0.75
        Of a link: that its photos show one object, by how many features agree. Of XFeat, by
        `NearestMatcher`, 12 do, of ALIKED 7.
    strong_probability : float, default=0.98
        From here on, a link needs no other that agrees with it. Of XFeat, 22 features agree, of
        ALIKED 18.
    min_width : float, default=0.015
        A link whose features lie in a strip or corner of a photo is none: across the direction in
        which they spread most, their standard deviation is at least this share of the photo's
        long side.
    min_size : int, default=2
        Smaller groups are left out.
    store : path, optional
        A folder that keeps features and what was compared, so that a run that was stopped goes
        on, and the next compares only what is new.
    n_jobs : int, optional
        Photos verified at once, in threads.
    verbose : bool, default=False
        Whether to show a progress bar.

    Returns
    -------
    list of Group
        The largest first. It does not depend on the order in which photos were added.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Warns
    -----
    UserWarning
        If photos are not there any more and their features are not kept: they are in no group
        but with their copies.

    Examples
    --------
    >>> from sklearn_cmac import LocalFeatureExtractor, make_mac_pipeline
    >>> from sklearn_cmac.datasets import make_object_scenes
    >>> from sklearn_cmac.search import RetrievalIndex, SpatialVerification, find_groups
    >>> photos = make_object_scenes(1, 2, 1, size=(320, 240), object_scale=(1, 1.2)).photos
    >>> pipeline = make_mac_pipeline(features__max_size=320, whiten__shrinkage=1)
    >>> index = RetrievalIndex(pipeline.fit(photos))
    >>> _ = index.add(photos)
    >>> (group,) = find_groups(index, verifier=SpatialVerification(LocalFeatureExtractor()))
    >>> sorted(group.names)
    ['object-00-scene-0', 'object-00-scene-1']
    """
    for name, value in (("n_neighbors", n_neighbors), ("min_size", min_size)):
        if value < 1:
            raise ValueError(f"{name} is at least 1, got {value}")
    for name, probability in (
        ("min_probability", min_probability),
        ("strong_probability", strong_probability),
    ):
        if not 0 < probability <= 1:
            raise ValueError(f"{name} is above 0 and at most 1, got {probability}")
    if not min_width >= 0:
        raise ValueError(f"min_width is at least 0, got {min_width}")
    entries: dict[str, list[CatalogueEntry]] = defaultdict(list)
    for entry in sorted(index.entries(DESCRIBED), key=attrgetter("id", "name")):
        entries[entry.id].append(entry)
    if index.engine is None or not entries:
        return []
    ids = list(entries)
    pairs = near_pairs(index.engine, ids, n_neighbors)
    verifier = clone(verifier or SpatialVerification())
    _, extractor = by_care(index.extractors or [LearnedFeatureExtractor()])
    for look in (verifier, verifier.careful):
        if look is not None and look.extractor is None:
            look.set_params(extractor=clone(extractor))
    with _folder(store) as folder:
        comparison = _Comparison(index, ids, verifier, folder)
        compared = comparison.of_pairs(pairs, n_jobs, verbose)
    _tell_of([error for _, error in sorted(comparison.photos.gone.items())])
    held = (compared[:, 1] >= min_probability) & (compared[:, 2] >= min_width)
    links, n_inliers, probabilities = pairs[held], compared[held, 0], compared[held, 1]
    labels = join_links(links, probabilities, len(ids), strong_probability)
    groups = _as_groups(labels, links, n_inliers, probabilities, list(entries.values()))
    return [group for group in groups if group.size >= min_size]


def near_pairs(engine: Engine, ids: Sequence[str], k: int) -> np.ndarray:
    """Each photo with the k that are nearest to it.

    Parameters
    ----------
    engine : Engine
    ids : sequence of n str
        Those of the engine that count.
    k : int

    Returns
    -------
    ndarray of int of shape (m, 2)
        Positions in `ids`, each pair once, in their order.
    """
    row_of = {id_: row for row, id_ in enumerate(ids)}
    found = [np.empty(0, int)]
    for owners, descriptors in engine.scan():
        hits = engine.kneighbors(descriptors, k + 1)[0]
        own = np.array([row_of.get(id_, -1) for id_ in owners], int)[:, None]
        near = np.array([row_of.get(id_, -1) for id_ in hits.ravel()], int).reshape(hits.shape)
        other = near != own
        other &= other.cumsum(axis=1) <= k
        other &= (near >= 0) & (own >= 0)
        # A pair as one number.
        codes = np.minimum(near, own) * len(ids) + np.maximum(near, own)
        found.append(np.unique(codes[other]))
    return np.stack(np.divmod(np.unique(np.concatenate(found)), len(ids)), axis=1)


class _Comparison:
    """Photos of an index compared by their local features, which are found as they are needed.

    Parameters
    ----------
    index : RetrievalIndex
    ids : sequence of str
    verifier : SpatialVerification
        Its extractors may be changed.
    store : path
        Keeps features that the index does not, and what was compared.
    """

    def __init__(
        self, index: RetrievalIndex, ids: Sequence[str], verifier: SpatialVerification, store: str
    ):
        for path, part in verifier.get_params().items():
            if path.endswith("store") and part is None:
                verifier.set_params(**{path: store})
        self.ids, self.store, self.verifier = ids, ArrayStore(store), verifier
        self.depends_on = fingerprint(verifier, CALIBRATIONS, NEAR_ENOUGH)
        self.photos = _Remembered(cast(Collection, index._photos))

    def of_pairs(self, pairs: np.ndarray, n_jobs: int | None, verbose: bool) -> np.ndarray:
        """Inliers, probability, and width on the narrower side of each pair (n, 2), as (n, 3)."""
        firsts, starts = np.unique(pairs[:, 0], return_index=True)
        tasks = zip(firsts.tolist(), np.split(pairs[:, 1], starts[1:]))
        with Threads(n_jobs) as threads:
            found = threads.each(self._with_others, tasks)
            with show_progress(found, len(firsts), "comparing photos", verbose) as bar:
                return np.concatenate([np.empty((0, 3)), *bar])

    def _with_others(self, task: tuple[int, np.ndarray]) -> np.ndarray:
        first, others = task
        ids = [self.ids[row] for row in (first, *others)]
        key = fingerprint(self.depends_on, ids)
        kept = self.store.get(key)
        if kept is None:
            compared = self._compare(*ids)
            if np.isnan(compared).any():  # perhaps it is there the next time
                return compared
            kept = self.store.get_or_compute(key, lambda: {"compared": compared})
        return np.array(kept["compared"])

    def _compare(self, first: str, *others: str) -> np.ndarray:
        found = np.full((len(others), 3), np.nan)
        matches = self.verifier.compare_kept(first, others, self.photos)
        for row, id_, match in zip(found, others, matches):
            if match is not None:
                widths = [
                    width_of(match.pairs[:, side], self._size(photo))
                    for side, photo in enumerate((first, id_))
                ]
                row[:] = match.n_inliers, match.probability, min(widths)
        return found

    def _size(self, id_: str) -> tuple[int, int]:
        """Of a photo that was compared."""
        features = self.photos.features(id_, self.verifier.extractor)
        assert features is not None
        return features.photo_size


class _Remembered:
    """Photos of a collection, of which features that were found last are in memory.

    Attributes
    ----------
    gone : dict from str to PhotoError
        By id, photos that cannot be looked at.
    """

    def __init__(self, photos: Collection):
        self.photos = photos
        self.gone: dict[str, PhotoError] = {}
        self.features = lru_cache(_IN_MEMORY)(self._features)

    def _features(self, id_: str, extractor: Any) -> LocalFeatures | None:
        try:
            return features_of(self.photos, id_, extractor)()
        except PhotoError as error:
            self.gone[id_] = error
            return None

    def photo(self, id_: str) -> Item:
        """A photo of which no features can be found."""
        raise self.gone[id_]


@contextmanager
def _folder(store: str | os.PathLike[str] | None) -> Iterator[str]:
    """A folder that is there for as long as it is needed."""
    if store is not None:
        yield os.fspath(store)
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield scratch


def _tell_of(gone: Sequence[PhotoError]) -> None:
    if gone:
        told = f"{len(gone)} photos could not be looked at, so they were compared with none"
        warnings.warn(f"{told}, such as {gone[0]}", stacklevel=3)


def _as_groups(
    labels: np.ndarray,
    links: np.ndarray,
    n_inliers: np.ndarray,
    probabilities: np.ndarray,
    entries: Sequence[Sequence[CatalogueEntry]],
) -> list[Group]:
    """All groups, of one photo too, the largest first."""
    inside = labels[links[:, 0]] == labels[links[:, 1]]
    links = links[inside]
    linked: dict[int, list[Link]] = defaultdict(list)
    for (a, b), n, p in zip(
        links.tolist(), n_inliers[inside].astype(int).tolist(), probabilities[inside].tolist()
    ):
        linked[labels[a]].append(Link((entries[a][0].name, entries[b][0].name), n, p))
    members: dict[int, list[CatalogueEntry]] = defaultdict(list)
    n_links = np.bincount(links.ravel(), minlength=len(labels))
    for row in np.argsort(-n_links, kind="stable").tolist():
        members[labels[row]] += entries[row]
    groups = [
        Group(tuple(e.name for e in own), tuple(e.path for e in own), tuple(linked[label]))
        for label, own in members.items()
    ]
    return sorted(groups, key=lambda group: (-group.size, group.names[0]))
