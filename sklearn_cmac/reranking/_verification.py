"""Photos compared by the places of their local features: spatial verification by RANSAC.

J. Philbin, O. Chum, M. Isard, J. Sivic, A. Zisserman, "Object retrieval with large vocabularies
and fast spatial matching", CVPR 2007, section 4.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Integral, Real
from typing import Any, NamedTuple

import joblib
import numpy as np

from sklearn_cmac._flow import in_order
from sklearn_cmac._progress import show_progress
from sklearn_cmac._scikit_learn import HasMethods, Interval, StrOptions
from sklearn_cmac.collection import Collection
from sklearn_cmac.local import (
    LocalFeatureExtractor,
    LocalFeatures,
    NearestMatcher,
    box_around,
    find_homography,
    outline_in,
)
from sklearn_cmac.photos import Box, Item, PhotoError, Query
from sklearn_cmac.reranking._step import (
    DescribedQuery,
    RankedList,
    RerankingStep,
    askers,
    look_again,
    tell_of,
)

_FEWEST = 3  # pairs of which anything is said
_AREA = 100  # by which factor a transform may enlarge or shrink areas


def find_transform(
    source: np.ndarray,
    target: np.ndarray,
    tolerance: float,
    transform: str = "affine",
    max_trials: int = 500,
    random_state: int | None = 0,
) -> tuple[np.ndarray | None, np.ndarray]:
    """The affine map of the plane with which most pairs of points agree, by RANSAC.

    Parameters
    ----------
    source, target : ndarray of shape (n, 2)
        Matching points (x, y).
    tolerance : float
        A pair agrees if the map takes its point of `source` nearer than this to that of `target`.
    transform : {"affine", "similarity"}, default="affine"
        A similarity turns, scales and moves.
    max_trials : int, default=500
        Maps that are tried, each given by 3 pairs (2 for a similarity). There are fewer trials
        if with 99% probability one of them had good pairs only.
    random_state : int or None, default=0
        Draws pairs.

    Returns
    -------
    matrix : ndarray of shape (2, 3), or None
        The map, fitted to all pairs that agree; None if there is none.
    inliers : ndarray of bool of shape (n,)
        Which pairs agree; none of fewer than 3.

    Notes
    -----
    Maps that mirror, and those that change areas by a factor above 100, are refused: chance
    agrees with these most.

    Raises
    ------
    ImportError
        If scikit-image is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac.search import find_transform
    >>> corners = np.array([[0.0, 0], [9, 0], [0, 9], [9, 9], [5, 5]])
    >>> moved = 2 * corners + (3, 4)
    >>> moved[4] = 0
    >>> matrix, inliers = find_transform(corners, moved, tolerance=1)
    >>> (matrix @ [1, 1, 1]).round(6)
    array([5., 6.])
    >>> inliers
    array([ True,  True,  True,  True, False])
    """
    try:
        from skimage.measure import ransac
        from skimage.transform import AffineTransform, SimilarityTransform
    except ImportError as error:
        raise ImportError("spatial verification needs: pip install sklearn-cmac[local]") from error
    model_class, n_pairs = (
        (AffineTransform, 3) if transform == "affine" else (SimilarityTransform, 2)
    )
    none = np.zeros(len(source), bool)
    if len(source) < _FEWEST:
        return None, none
    with warnings.catch_warnings():  # that no map was found is an answer
        warnings.simplefilter("ignore")
        model, inliers = ransac(
            (np.asarray(source, float), np.asarray(target, float)),
            model_class,
            min_samples=n_pairs,
            residual_threshold=tolerance,
            is_model_valid=_is_plausible,
            max_trials=max_trials,
            stop_probability=0.99,
            rng=random_state,
        )
    if not model or not _is_plausible(model):
        return None, none
    return model.params[:2], inliers


def _is_plausible(model: Any, *points: np.ndarray) -> bool:
    area = np.linalg.det(model.params[:2, :2])
    return bool(1 / _AREA < area < _AREA)


@dataclass(frozen=True, eq=False)
class SpatialMatch:
    """How the local features of a query lie in a photo.

    Parameters
    ----------
    n_inliers : int
        How many features agree with one map of the plane.
    matrix : ndarray of shape (3, 3), or None
        That map, from pixels of the query's photo to those of the photo, of points (x, y, 1).
    pairs : ndarray of shape (n_inliers, 2, 2)
        Where each of these features is: (x, y) in the query's photo, and in the photo.
    outline : ndarray of shape (k, 2)
        The polygon in the photo onto which the query's box falls, cut off at the photo's sides.
        None of it may be left.
    """

    n_inliers: int
    matrix: np.ndarray | None
    pairs: np.ndarray
    outline: np.ndarray

    @property
    def box(self) -> Box | None:
        """The upright box (x0, y0, x1, y1) around the outline, in pixels of the photo."""
        return box_around(self.outline)


class SpatialVerification(RerankingStep):
    """Sort the first photos by how many local features lie in them as they do in the query.

    Features of query and photo that match are compared with the one map of the plane that most
    of them agree with, and the photo's score is the number that do. It works behind any
    pipeline, since it looks at the photos again with an extractor of its own.

    Parameters
    ----------
    extractor : LocalFeatureExtractor or LearnedFeatureExtractor, optional
        Or another transformer from photos to `LocalFeatures`. Default:
        ``LocalFeatureExtractor()``. Finding a photo's features takes longer than comparing them,
        so with more than a few queries give it a `store`.
    n_candidates : int, default=100
        So many of the photos ranked first.
    ratio : float, default=0.8
        Without a matcher, features match that are each other's nearest. One of the query is left
        out if its nearest is not nearer than this share of the distance to the second nearest
        (Lowe 2004, section 7.1), unless it equals its nearest. 1 leaves none out for that.
    transform : {"affine", "similarity", "homography"}, optional
        What map of the plane. Default: "affine"; for features of a network "homography", which
        two views of a plane differ by, and of few features a similarity.
    tolerance : float, optional
        How far from where the map takes it a feature may lie, as a share of the photo's long
        side. Default: 0.01; for features of a network 0.006.
    min_inliers : int, optional
        Fewer features that agree count as none: some always do by chance. Photos with equally
        many, or none, keep their order. Default: 6; for features of a network 8.
    max_trials : int, default=500
        Of RANSAC, for each query and photo.
    random_state : int or None, default=0
        Draws the pairs that RANSAC tries, for each query and photo anew: what others are ranked
        changes no score.
    n_jobs : int, optional
        Photos verified at once, through joblib.
    verbose : bool or int, default=False
        Whether to show a progress bar.
    matcher : NearestMatcher or LightGlueMatcher, optional
        Or another object with such a `match`, which says which features match. Default: by
        their `ratio`, and those of a network by ``NearestMatcher()``.

    Notes
    -----
    It needs scikit-image for SIFT, ``pip install sklearn-cmac[local]``, and
    ``sklearn-cmac[verify]`` for features of networks and for homographies. A photo that has no
    features is never moved forward.

    References
    ----------
    J. Philbin, O. Chum, M. Isard, J. Sivic, A. Zisserman, "Object retrieval with large
    vocabularies and fast spatial matching", CVPR 2007. D. Lowe, "Distinctive Image Features from
    Scale-Invariant Keypoints", IJCV 2004, for the ratio.

    Examples
    --------
    >>> from sklearn_cmac import LocalFeatureExtractor
    >>> from sklearn_cmac.search import SpatialVerification
    >>> SpatialVerification(LocalFeatureExtractor(store="features/"), n_candidates=50).needs
    frozenset({'photos'})
    """

    needs = frozenset({"photos"})
    _parameter_constraints: dict = {
        "extractor": [HasMethods("transform"), None],
        "n_candidates": [Interval(Integral, 1, None, closed="left")],
        "ratio": [Interval(Real, 0, 1, closed="right")],
        "transform": [StrOptions({"affine", "similarity", "homography"}), None],
        "tolerance": [Interval(Real, 0, None, closed="neither"), None],
        "min_inliers": [Interval(Integral, 1, None, closed="left"), None],
        "max_trials": [Interval(Integral, 1, None, closed="left")],
        "random_state": [Interval(Integral, 0, None, closed="left"), None],
        "matcher": [HasMethods("match"), None],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        extractor: Any = None,
        n_candidates: int = 100,
        ratio: float = 0.8,
        transform: str | None = None,
        tolerance: float | None = None,
        min_inliers: int | None = None,
        max_trials: int = 500,
        random_state: int | None = 0,
        n_jobs: int | None = None,
        verbose: bool | int = False,
        matcher: Any = None,
    ):
        self.extractor = extractor
        self.n_candidates = n_candidates
        self.ratio = ratio
        self.transform = transform
        self.tolerance = tolerance
        self.min_inliers = min_inliers
        self.max_trials = max_trials
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.matcher = matcher

    def __setstate__(self, state: dict[str, Any]) -> None:
        # What was pickled before there was such a parameter.
        super().__setstate__({"matcher": None, **state})

    def compare(self, query: Item, photos: Sequence[Item | LocalFeatures]) -> list[SpatialMatch]:
        """How the features of a query lie in photos, such as those that a search found.

        Parameters
        ----------
        query : photo or Query
        photos : sequence of photos or LocalFeatures

        Returns
        -------
        list of SpatialMatch

        Raises
        ------
        PhotoError
            If a photo cannot be used.

        Examples
        --------
        >>> from sklearn_cmac.datasets import make_object_scenes
        >>> from sklearn_cmac.search import SpatialVerification
        >>> scenes = make_object_scenes(1, 2, 0, size=(320, 240)).photos
        >>> (match,) = SpatialVerification().compare(scenes[0].as_query(), scenes[1:])
        >>> match.n_inliers > 6, len(match.outline)
        (True, 4)
        """
        self._validate_params()
        extractor = self._extractor()
        (asked,) = extractor.transform([query])
        width, height = asked.photo_size
        box = query.box if isinstance(query, Query) else (0, 0, width, height)
        given = [photo for photo in photos if isinstance(photo, LocalFeatures)]
        described = given if len(given) == len(photos) else extractor.transform(photos)
        found = (self._match(features, [asked])[0] for features in described)
        return [
            SpatialMatch(
                len(pairs),
                matrix,
                pairs,
                np.empty((0, 2)) if matrix is None else outline_in(matrix, box, size),
            )
            for matrix, pairs, size in found
        ]

    def features_of(self, collection: Collection, id_: str) -> LocalFeatures:
        """Local features of a photo: those that are kept, or found in it now.

        Parameters
        ----------
        collection : Collection
        id_ : str

        Returns
        -------
        LocalFeatures

        Raises
        ------
        PhotoError
            If none are kept, and the photo is gone or damaged.
        """
        extractor = self._extractor()
        kept = collection.features(id_, extractor)
        return extractor.transform([collection.photo(id_)])[0] if kept is None else kept

    def _extractor(self) -> Any:
        return LocalFeatureExtractor() if self.extractor is None else self.extractor

    def rerank(
        self,
        queries: Sequence[DescribedQuery],
        rankings: Sequence[RankedList],
        collection: Collection,
        prepared: Any,
    ) -> list[RankedList]:
        """As for every step."""
        if not queries:
            return list(rankings)
        extractor = self._extractor()
        asked = extractor.transform([query.photo for query in queries])
        first = [ranked.ids[: self.n_candidates].tolist() for ranked in rankings]
        asking = askers(rankings, self.n_candidates)
        # Photo by photo: the features of each are found once for all queries.
        tasks = (
            joblib.delayed(
                look_again(collection, i, partial(self._verify, extractor, [asked[q] for q in qs]))
            )()
            for i, qs in asking.items()
        )
        found = in_order(tasks, self.n_jobs)
        scores: list[dict[str, float]] = [{} for _ in queries]
        bar = show_progress(found, len(asking), "verifying", self.verbose)
        for counts, (photo, qs) in zip(bar, asking.items()):
            if isinstance(counts, PhotoError):
                tell_of(counts)
                counts = [np.nan] * len(qs)
            for q, count in zip(qs, counts):
                scores[q][photo] = count
        found_again = [
            np.array([mine[photo] for photo in photos], np.float32)
            for mine, photos in zip(scores, first)
        ]
        return [
            ranked.resorted(counts, stay=np.isnan(counts))
            for ranked, counts in zip(rankings, found_again)
        ]

    def _verify(self, extractor: Any, queries: list[LocalFeatures], photo: Any) -> list[int]:
        """How many features of a photo agree with each query."""
        (features,) = extractor.transform([photo])
        least = self.min_inliers or _defaults_for(features).min_inliers
        counts = [len(pairs) for _, pairs, _ in self._match(features, queries)]
        return [count if count >= least else 0 for count in counts]

    def _match(
        self, photo: LocalFeatures, queries: list[LocalFeatures]
    ) -> list[tuple[np.ndarray | None, np.ndarray, tuple[int, int]]]:
        """For each query the map (3, 3), the places (n, 2, 2) that agree, and the photo's size."""
        found = []
        for query, pairs in zip(queries, self._pairs(photo, queries)):
            places = np.stack([query.positions[pairs[:, 0]], photo.positions[pairs[:, 1]]], axis=1)
            matrix, inliers = self._find_map(places, photo)
            found.append((matrix, places[inliers], photo.photo_size))
        return found

    def _pairs(self, photo: LocalFeatures, queries: list[LocalFeatures]) -> list[np.ndarray]:
        """Positions (k, 2) in each query and in the photo of features that match."""
        matcher = self.matcher
        if matcher is None and _is_learned(photo):
            matcher = NearestMatcher()
        if matcher is None:
            return [matching_pairs(q.descriptors, photo.descriptors, self.ratio) for q in queries]
        # Of one photo and many queries, as of one query and many photos.
        return [pairs[:, ::-1] for pairs in matcher.match(photo, queries)]

    def _find_map(
        self, places: np.ndarray, photo: LocalFeatures
    ) -> tuple[np.ndarray | None, np.ndarray]:
        defaults = _defaults_for(photo)
        transform = self.transform or defaults.transform
        tolerance = (self.tolerance or defaults.tolerance) * max(photo.photo_size)
        source, target = places[:, 0], places[:, 1]
        if transform == "homography":
            return find_homography(source, target, tolerance, self.max_trials, self.random_state)
        matrix, inliers = find_transform(
            source, target, tolerance, transform, self.max_trials, self.random_state
        )
        return None if matrix is None else np.vstack([matrix, [0, 0, 1]]), inliers


class _Defaults(NamedTuple):
    """What is used where a parameter is None."""

    transform: str
    tolerance: float
    min_inliers: int


def _defaults_for(features: LocalFeatures) -> _Defaults:
    if _is_learned(features):
        return _Defaults("homography", 0.006, 8)
    return _Defaults("affine", 0.01, 6)


def _is_learned(features: LocalFeatures) -> bool:
    return features.scores is not None


def matching_pairs(query: np.ndarray, photo: np.ndarray, ratio: float) -> np.ndarray:
    """Positions (k, 2) in `query` (n, d) and in `photo` (m, d) of descriptors that match."""
    if not len(query) or not len(photo):
        return np.empty((0, 2), int)
    try:
        from skimage.feature import match_descriptors
    except ImportError as error:
        raise ImportError("spatial verification needs: pip install sklearn-cmac[local]") from error
    return match_descriptors(query, photo, cross_check=True, max_ratio=ratio)
