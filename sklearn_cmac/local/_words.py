"""Photos by visual words: how often each occurs, or how its features differ from it."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.metrics import pairwise_distances_argmin
from sklearn.preprocessing import normalize

from sklearn_cmac._scikit_learn import Interval
from sklearn_cmac.local._encoder import POWER, Encoder, signed_power


def count_words(descriptors: np.ndarray, words: np.ndarray) -> np.ndarray:
    """How many descriptors are nearest to each word.

    Parameters
    ----------
    descriptors : ndarray of shape (n, d)
    words : ndarray of shape (K, d)

    Returns
    -------
    ndarray of int of shape (K,)

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac.local import count_words
    >>> count_words(np.array([[0.1], [0.2], [0.9]]), np.array([[0.0], [1.0], [9.0]]))
    array([2, 1, 0])
    """
    return np.bincount(pairwise_distances_argmin(descriptors, words), minlength=len(words))


def sum_residuals(descriptors: np.ndarray, words: np.ndarray) -> np.ndarray:
    """For each word, the sum of the differences between it and the descriptors nearest to it.

    Parameters
    ----------
    descriptors : ndarray of shape (n, d)
    words : ndarray of shape (K, d)

    Returns
    -------
    ndarray of shape (K, d)

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac.local import sum_residuals
    >>> sum_residuals(np.array([[0.25], [0.5], [7.0]]), np.array([[0.0], [8.0]]))
    array([[ 0.75],
           [-1.  ]])
    """
    nearest = pairwise_distances_argmin(descriptors, words)
    sums = np.zeros(words.shape)
    np.add.at(sums, nearest, descriptors - words[nearest])
    return sums


class BagOfWords(Encoder):
    """How often each visual word occurs in a photo; rare words count for more.

    Words are the centres of k-means. A photo's counts are weighted by tf-idf as scikit-learn
    has it, ``ln((1 + n) / (1 + n_w)) + 1`` for a word that occurs in n_w of the n photos that
    have features.

    Parameters
    ----------
    n_words : int, default=1000
        Size of the vocabulary. Fewer are learned, with a warning, where there are fewer
        features.
    max_samples : int, default=100000
        At most so many features, drawn from all photos, are clustered.
    random_state : int, RandomState instance or None, default=0
        Draws that sample, and the first centres.

    Attributes
    ----------
    words_ : ndarray of shape (K, d)
    idf_ : ndarray of shape (K,)
        What an occurrence of each word counts for.
    n_features_in_ : int
        d, the length of local descriptors.

    Notes
    -----
    A photo without features has a descriptor of zeros, which is like no photo.

    References
    ----------
    J. Sivic, A. Zisserman, "Video Google: A Text Retrieval Approach to Object Matching in
    Videos", ICCV 2003.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac import BagOfWords
    >>> photos = [np.array([[0.0], [0.1], [9.0]]), np.array([[0.0], [0.2]])]
    >>> BagOfWords(n_words=2, random_state=0).fit_transform(photos).shape
    (2, 2)
    """

    _parameter_constraints: dict = {
        "n_words": [Interval(Integral, 1, None, closed="left")],
        **Encoder._parameter_constraints,
    }

    def __init__(self, n_words: int = 1000, max_samples: int = 100_000, random_state: Any = 0):
        self.n_words = n_words
        self.max_samples = max_samples
        self.random_state = random_state

    def _learn(
        self, rows: np.ndarray, photos: list[np.ndarray], rng: np.random.RandomState
    ) -> None:
        n_words = self._at_most("n_words", len(rows), rows)
        means = MiniBatchKMeans(n_words, random_state=rng, n_init="auto")
        self.words_ = means.fit(rows).cluster_centers_
        counts = [
            count_words(descriptors, self.words_) for descriptors in photos if len(descriptors)
        ]
        self.idf_ = TfidfTransformer().fit(np.stack(counts)).idf_

    def _encode(self, descriptors: np.ndarray) -> np.ndarray:
        return count_words(descriptors, self.words_) * self.idf_


class VLAD(Encoder):
    """How the features of a photo differ from the visual words that they are nearest to.

    Parameters
    ----------
    n_words : int, default=64
        K, size of the vocabulary. Fewer are learned, with a warning, where there are fewer
        features. A photo's descriptor has K * d numbers.
    power : float, default=0.5
        Each sum of residuals is raised to this power under its sign, so that repeated
        structures count for less. 1 leaves them.
    intra_normalize : bool, default=False
        Whether the residuals of each word are then scaled to unit length, so that all words
        that occur count the same.
    max_samples : int, default=100000
        At most so many features, drawn from all photos, are clustered.
    random_state : int, RandomState instance or None, default=0
        Draws that sample, and the first centres.

    Attributes
    ----------
    words_ : ndarray of shape (K, d)
    n_features_in_ : int
        d, the length of local descriptors.

    Notes
    -----
    A photo without features has a descriptor of zeros, which is like no photo.

    References
    ----------
    H. Jégou, F. Perronnin, M. Douze, J. Sánchez, P. Pérez, C. Schmid, "Aggregating Local Image
    Descriptors into Compact Codes", PAMI 2012. R. Arandjelović, A. Zisserman, "All about VLAD",
    CVPR 2013, for normalising each word.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac import VLAD
    >>> photos = [np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([[6.0, 8.0]])]
    >>> VLAD(n_words=1, power=1, random_state=0).fit_transform(photos).round(2)
    array([[-0.6, -0.8],
           [ 0.6,  0.8]], dtype=float32)
    """

    _parameter_constraints: dict = {
        "n_words": [Interval(Integral, 1, None, closed="left")],
        "power": [POWER],
        "intra_normalize": ["boolean"],
        **Encoder._parameter_constraints,
    }

    def __init__(
        self,
        n_words: int = 64,
        power: float = 0.5,
        intra_normalize: bool = False,
        max_samples: int = 100_000,
        random_state: Any = 0,
    ):
        self.n_words = n_words
        self.power = power
        self.intra_normalize = intra_normalize
        self.max_samples = max_samples
        self.random_state = random_state

    def _learn(
        self, rows: np.ndarray, photos: list[np.ndarray], rng: np.random.RandomState
    ) -> None:
        # Few words: the exact algorithm is affordable, and each word is the mean of its features.
        n_words = self._at_most("n_words", len(rows), rows)
        means = KMeans(n_words, random_state=rng, n_init="auto")
        self.words_ = means.fit(rows).cluster_centers_

    def _encode(self, descriptors: np.ndarray) -> np.ndarray:
        sums = signed_power(sum_residuals(descriptors, self.words_), self.power)
        return normalize(sums) if self.intra_normalize else sums
