"""Who matches local features: parameters only, what is done are functions of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval

from sklearn_cmac.local._features import LocalFeatures
from sklearn_cmac.local._matching import match_nearest


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
    >>> from sklearn_cmac.local import NearestMatcher
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
