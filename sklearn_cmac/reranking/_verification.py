"""Photos compared by the places of their local features: spatial verification by RANSAC.

J. Philbin, O. Chum, M. Isard, J. Sivic, A. Zisserman, "Object retrieval with large vocabularies
and fast spatial matching", CVPR 2007, section 4.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from numbers import Integral, Real
from typing import Any, NamedTuple, Protocol

import joblib
import numpy as np

from sklearn_cmac._flow import in_order
from sklearn_cmac._progress import show_progress
from sklearn_cmac._scikit_learn import HasMethods, Interval, StrOptions
from sklearn_cmac.collection import Collection
from sklearn_cmac.local import (
    LightGlueMatcher,
    LocalFeatureExtractor,
    LocalFeatures,
    NearestMatcher,
    box_around,
    find_homography,
    outline_in,
)
from sklearn_cmac.photos import Box, Item, PhotoError, Query
from sklearn_cmac.reranking._calibration import (
    MIN_INLIERS,
    Calibration,
    same_object_probability,
)
from sklearn_cmac.reranking._step import (
    DescribedQuery,
    RankedList,
    RerankingStep,
    askers,
    at_work,
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
    probability : float, default=0
        That the photo shows the same object, by `n_inliers`: `same_object_probability`.
    verified : bool, default=False
        Whether these are as many as a step asks for.
    """

    n_inliers: int
    matrix: np.ndarray | None
    pairs: np.ndarray
    outline: np.ndarray
    probability: float = 0.0
    verified: bool = False

    @property
    def box(self) -> Box | None:
        """The upright box (x0, y0, x1, y1) around the outline, in pixels of the photo."""
        return box_around(self.outline)


class _Found(NamedTuple):
    """How a query lies in a photo, before anybody asks for an outline."""

    matrix: np.ndarray | None
    pairs: np.ndarray
    query_size: tuple[int, int]
    photo_size: tuple[int, int]
    probability: float
    verified: bool

    @property
    def n_inliers(self) -> int:
        return len(self.pairs)

    def with_outline(self, query: Item | None) -> SpatialMatch:
        """None is a whole photo."""
        box = query.box if isinstance(query, Query) else (0, 0, *self.query_size)
        outline = np.empty((0, 2))
        if self.matrix is not None:
            outline = outline_in(self.matrix, box, self.photo_size)
        return SpatialMatch(
            self.n_inliers, self.matrix, self.pairs, outline, self.probability, self.verified
        )


# Of one query: what was found in each photo, or why it could not be looked at.
_Findings = dict[str, "_Found | PhotoError"]

# What an extractor finds in the queries of some positions.
_Ask = Callable[[Any, list[int]], "Sequence[LocalFeatures | PhotoError]"]


class SpatialVerification(RerankingStep):
    """Sort the first photos by how many local features lie in them as they do in the query.

    Features of query and photo that match are compared with the one map of the plane that most
    of them agree with. A photo in which enough do is verified, and scored by how probable it is
    that it shows the same object; all others keep their order behind these, with scores of 0 and
    less. It works behind any pipeline, since it looks at the photos with an extractor of its own,
    and at no photo whose features are kept.

    With `careful`, it is a quick look at all candidates, and what that leaves open is looked at
    again by slower means: only those few pairs cost more.

    Parameters
    ----------
    extractor : LocalFeatureExtractor or LearnedFeatureExtractor, optional
        Or another transformer from photos to `LocalFeatures`. Default:
        ``LocalFeatureExtractor()``. Finding a photo's features takes longer than comparing them,
        so with more than a few queries give it a `store`, or keep them in an index.
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
        With fewer features that agree a photo is not verified: some always do by chance. Default:
        6; for features of a network 8, and where LightGlue matches them 15 (XFeat) or 20 (ALIKED).
    max_trials : int, default=500
        Of RANSAC, for each query and photo.
    random_state : int or None, default=0
        Draws the pairs that RANSAC tries, for each query and photo anew: what others are ranked
        changes no score.
    n_jobs : int, optional
        Photos compared at once, each in one thread, through joblib. None is 1 unless a
        `joblib.parallel_config` says otherwise.
    verbose : bool or int, default=False
        Whether to show a progress bar.
    matcher : NearestMatcher or LightGlueMatcher, optional
        Or another object with such a `match`, which says which features match. Default: by
        their `ratio`, and those of a network by ``NearestMatcher()``.
    calibration : (float, float), optional
        The curve from inliers to probability, as `fit_calibration` returns it. Default: that of
        ``reranking.CALIBRATIONS`` for the features and their matcher.
    careful : SpatialVerification, optional
        With an extractor, a matcher and `min_inliers` of its own, looks again at candidates that
        this one leaves open, and its word counts. Its `n_candidates` are not used.
    n_careful : int, default=20
        At so many candidates of a query at most, those in which most features agree.
    sure : float, default=0.7
        From this probability on, a candidate is not looked at again: some that show the object
        would be lost. One in which no features agree is not either: that is hopeless.

    Notes
    -----
    It needs scikit-image for SIFT, ``pip install sklearn-cmac[local]``, and
    ``sklearn-cmac[verify]`` for features of networks and for homographies. A photo that has no
    features is never moved forward. One that cannot be looked at keeps its rank, and a warning
    names it.

    References
    ----------
    J. Philbin, O. Chum, M. Isard, J. Sivic, A. Zisserman, "Object retrieval with large
    vocabularies and fast spatial matching", CVPR 2007. D. Lowe, "Distinctive Image Features from
    Scale-Invariant Keypoints", IJCV 2004, for the ratio.

    Examples
    --------
    >>> from sklearn_cmac import LearnedFeatureExtractor, LocalFeatureExtractor
    >>> from sklearn_cmac.search import LightGlueMatcher, SpatialVerification
    >>> SpatialVerification(LocalFeatureExtractor(store="features/"), n_candidates=50).needs
    frozenset({'photos'})
    >>> careful = SpatialVerification(
    ...     LearnedFeatureExtractor("aliked-n16", store="features/"), matcher=LightGlueMatcher()
    ... )
    >>> quick = SpatialVerification(LearnedFeatureExtractor(store="features/"), careful=careful)
    >>> quick.set_params(careful__min_inliers=25).careful.min_inliers
    25
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
        "calibration": [tuple, list, None],
        "careful": [HasMethods("compare_in"), None],
        "n_careful": [Interval(Integral, 1, None, closed="left")],
        "sure": [Interval(Real, 0, 1, closed="both")],
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
        calibration: Calibration | None = None,
        careful: SpatialVerification | None = None,
        n_careful: int = 20,
        sure: float = 0.7,
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
        self.calibration = calibration
        self.careful = careful
        self.n_careful = n_careful
        self.sure = sure

    def __setstate__(self, state: dict[str, Any]) -> None:
        # What was pickled before there were such parameters.
        new = {"matcher": None, "calibration": None, "careful": None, "n_careful": 20, "sure": 0.7}
        super().__setstate__({**new, **state})

    def compare(self, query: Item, photos: Sequence[Item | LocalFeatures]) -> list[SpatialMatch]:
        """How the features of a query lie in photos, such as those that a search found.

        Parameters
        ----------
        query : photo or Query
        photos : sequence of photos or LocalFeatures
            Features are those of `extractor`; with these, there is no careful look.

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
        given = {str(i): photo for i, photo in enumerate(photos)}
        # Of features, it is not known what a careful extractor would find.
        only_features = any(isinstance(photo, LocalFeatures) for photo in photos)
        look = self._look_once if only_features else self._look
        (found,) = look(_asking([query]), [list(given)], _Given(given))
        matches = []
        for match in map(found.__getitem__, given):
            if isinstance(match, PhotoError):
                raise match
            matches.append(match.with_outline(query))
        return matches

    def compare_in(
        self, query: Item, ids: Sequence[str], collection: KeptPhotos
    ) -> list[SpatialMatch | None]:
        """The same for photos of a collection, which are opened only if no features are kept.

        Parameters
        ----------
        query : photo or Query
        ids : sequence of str
        collection : Collection
            Or another object with its methods `features` and `photo`.

        Returns
        -------
        list of SpatialMatch or None
            None of photos of which no features are kept, and which are gone or damaged.
        """
        self._validate_params()
        (found,) = self._look(_asking([query]), [list(ids)], collection)
        located = _located(found, query)
        return [located[id_] for id_ in ids]

    def compare_kept(
        self, id_: str, others: Sequence[str], collection: KeptPhotos
    ) -> list[SpatialMatch | None]:
        """The same of a photo of the collection as the query, whose features may be kept.

        Parameters
        ----------
        id_ : str
        others : sequence of str
        collection : Collection
            As for `compare_in`.

        Returns
        -------
        list of SpatialMatch or None
            None of pairs of which one cannot be looked at.
        """
        self._validate_params()
        (found,) = self._look(_asking_kept([id_], collection), [list(others)], collection)
        located = _located(found, None)
        return [located[other] for other in others]

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
        first = [ranked.ids[: self.n_candidates].tolist() for ranked in rankings]
        photos = [query.photo for query in queries]
        found = self._look(_asking(photos), first, collection)
        probabilities = _told(found, first, collection, "It keeps its rank.")
        return [
            replace(
                ranked.verified_first(mine), located={**ranked.located, **_located(each, photo)}
            )
            for ranked, mine, each, photo in zip(rankings, probabilities, found, photos)
        ]

    def probabilities(
        self,
        queries: Sequence[Item],
        candidates: Sequence[Sequence[str]],
        collection: KeptPhotos,
    ) -> list[np.ndarray]:
        """How probable it is that photos of a collection show the object of each query.

        Parameters
        ----------
        queries : sequence of photos or queries
        candidates : sequence of sequences of str
            For each query, ids of photos.
        collection : Collection

        Returns
        -------
        list of ndarray of shape (n_candidates_i,)
            0 of photos that are not verified, nan of those that could not be looked at.

        Raises
        ------
        PhotoError
            If a query cannot be used.
        """
        found = self._look(_asking(queries), candidates, collection)
        return _told(found, candidates, collection, "It keeps its rank.")

    def probabilities_among(
        self, ids: Sequence[str], others: Sequence[Sequence[str]], collection: KeptPhotos
    ) -> list[np.ndarray]:
        """The same of photos of a collection as queries, whose features may be kept.

        Parameters
        ----------
        ids : sequence of str
        others : sequence of sequences of str
            For each of them, the photos that it is compared with.
        collection : Collection

        Returns
        -------
        list of ndarray of shape (n_others_i,)
        """
        found = self._look(_asking_kept(ids, collection), others, collection)
        return _told(found, others, collection, "It is linked to none.")

    def _look(
        self,
        ask: _Ask,
        candidates: Sequence[Sequence[str]],
        collection: KeptPhotos,
    ) -> list[_Findings]:
        """What is found of each query in its candidates, in those left open by a careful look."""
        found = self._look_once(ask, candidates, collection)
        if self.careful is not None:
            left = [self._open(*each) for each in zip(found, candidates)]
            again = self.careful._look(ask, left, collection)
            for error in _errors(again):
                tell_of(error, collection, "What was found at first sight counts.")
            for mine, looked in zip(found, again):
                mine.update({k: v for k, v in looked.items() if not isinstance(v, PhotoError)})
        return found

    def _open(self, found: _Findings, candidates: Sequence[str]) -> list[str]:
        """Candidates that are neither surely the same nor hopeless, the likeliest."""
        looked = {id_: found[id_] for id_ in candidates}
        left = {
            id_: match.n_inliers
            for id_, match in looked.items()
            if isinstance(match, _Found) and match.n_inliers and match.probability < self.sure
        }
        return sorted(left, key=lambda id_: -left[id_])[: self.n_careful]

    def _look_once(
        self,
        ask: _Ask,
        candidates: Sequence[Sequence[str]],
        collection: KeptPhotos,
    ) -> list[_Findings]:
        found: list[_Findings] = [{} for _ in candidates]
        extractor = self._extractor()
        rows = [q for q, ids in enumerate(candidates) if len(ids)]
        asked: dict[int, LocalFeatures] = {}
        for q, features in zip(rows, ask(extractor, rows) if rows else ()):
            if isinstance(features, PhotoError):
                found[q] = dict.fromkeys(candidates[q], features)
            else:
                asked[q] = features
        asking = askers([ids if q in asked else () for q, ids in enumerate(candidates)])
        # Photo by photo: the features of each are found once for all queries.
        tasks = (
            joblib.delayed(
                at_work(
                    partial(self._verify, [asked[q] for q in qs]),
                    partial(features_of, collection, id_, extractor),
                )
            )()
            for id_, qs in asking.items()
        )
        results = in_order(tasks, self.n_jobs, prefer="threads")
        bar = show_progress(results, len(asking), "verifying", self.verbose)
        for matches, (id_, qs) in zip(bar, asking.items()):
            if isinstance(matches, PhotoError):
                matches = [matches] * len(qs)
            for q, match in zip(qs, matches):
                found[q][id_] = match
        return found

    def _extractor(self) -> Any:
        return LocalFeatureExtractor() if self.extractor is None else self.extractor

    def _verify(
        self, queries: list[LocalFeatures], find: Callable[[], LocalFeatures]
    ) -> list[_Found]:
        """How each query lies in a photo."""
        photo = find()
        way = self._way(photo)
        least = self.min_inliers or MIN_INLIERS[way]
        found = []
        for query, pairs in zip(queries, self._pairs(photo, queries)):
            places = np.stack([query.positions[pairs[:, 0]], photo.positions[pairs[:, 1]]], axis=1)
            matrix, inliers = self._find_map(places, photo)
            n = int(inliers.sum())
            probability = float(same_object_probability(n, self.calibration or way))
            sizes = query.photo_size, photo.photo_size
            found.append(_Found(matrix, places[inliers], *sizes, probability, n >= least))
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
        transform = self.transform or ("homography" if _is_learned(photo) else "affine")
        share = self.tolerance or (0.006 if _is_learned(photo) else 0.01)
        tolerance = share * max(photo.photo_size)
        source, target = places[:, 0], places[:, 1]
        if transform == "homography":
            return find_homography(source, target, tolerance, self.max_trials, self.random_state)
        matrix, inliers = find_transform(
            source, target, tolerance, transform, self.max_trials, self.random_state
        )
        return None if matrix is None else np.vstack([matrix, [0, 0, 1]]), inliers

    def _way(self, features: LocalFeatures) -> str:
        """How such features are matched, a key of `CALIBRATIONS`."""
        if not _is_learned(features):
            return "SIFT, ratio"
        by = "LightGlue" if isinstance(self.matcher, LightGlueMatcher) else "nearest"
        return f"{features.family}, {by}"


class KeptPhotos(Protocol):
    """What `SpatialVerification` asks of a collection."""

    def features(self, id_: str, extractor: Any) -> LocalFeatures | None:
        """Features that are kept of a photo as this extractor finds them."""

    def photo(self, id_: str) -> Item:
        """The photo, or a `PhotoError` if it is gone."""


class _Given(NamedTuple):
    """Photos that are in no collection, or features of them."""

    photos: dict[str, Any]

    def features(self, id_: str, extractor: Any) -> LocalFeatures | None:
        photo = self.photos[id_]
        return photo if isinstance(photo, LocalFeatures) else None

    def photo(self, id_: str) -> Item:
        return self.photos[id_]


def features_of(collection: KeptPhotos, id_: str, extractor: Any) -> Callable[[], LocalFeatures]:
    """What gives a photo's features: they are kept, or the extractor looks at it.

    Raises
    ------
    PhotoError
        If none are kept, and the photo is gone.
    """
    kept = collection.features(id_, extractor)
    if kept is not None:
        return lambda: kept
    photo = collection.photo(id_)
    return lambda: extractor.transform([photo])[0]


def _asking(queries: Sequence[Item]) -> _Ask:
    return lambda extractor, rows: extractor.transform([queries[row] for row in rows])


def _asking_kept(ids: Sequence[str], collection: KeptPhotos) -> _Ask:
    def ask(extractor: Any, rows: list[int]) -> list[LocalFeatures | PhotoError]:
        tasks = (
            at_work(_call, partial(features_of, collection, ids[row], extractor)) for row in rows
        )
        return [task() for task in tasks]

    return ask


def _located(found: _Findings, query: Item | None) -> dict[str, SpatialMatch | None]:
    """What was found in photos, with the object's outline; None of those that are gone."""
    return {
        id_: None if isinstance(match, PhotoError) else match.with_outline(query)
        for id_, match in found.items()
    }


def _call(find: Callable[[], LocalFeatures]) -> LocalFeatures:
    return find()


def _errors(found: list[_Findings]) -> list[PhotoError]:
    """Why photos could not be looked at, of each once."""
    every = (match for each in found for match in each.values())
    errors = {str(match): match for match in every if isinstance(match, PhotoError)}
    return list(errors.values())


def _told(
    found: list[_Findings],
    candidates: Sequence[Sequence[str]],
    collection: KeptPhotos,
    consequence: str,
) -> list[np.ndarray]:
    """Scores of candidates; photos that could not be looked at are told of."""
    for error in _errors(found):
        tell_of(error, collection, consequence)
    return [_scores(*each) for each in zip(found, candidates)]


def _scores(found: _Findings, ids: Sequence[str]) -> np.ndarray:
    """Of each photo the probability, 0 of those not verified, nan where nobody could look."""
    scores = np.zeros(len(ids))
    for i, match in enumerate(map(found.__getitem__, ids)):
        if isinstance(match, PhotoError):
            scores[i] = np.nan
        elif match.verified:
            scores[i] = match.probability
    return scores


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
