"""Descriptors of points of a photo: SIFT, or of a network; counted or summed by visual words."""

from sklearn_cmac.local._compact import pack_descriptors, unpack_descriptors
from sklearn_cmac.local._extraction import LocalFeatureExtractor
from sklearn_cmac.local._features import LocalFeatures
from sklearn_cmac.local._fisher import FisherVector
from sklearn_cmac.local._geometry import (
    box_around,
    find_homography,
    find_similarity,
    outline_in,
)
from sklearn_cmac.local._learned import LearnedFeatureExtractor
from sklearn_cmac.local._matchers import NEAR_ENOUGH, LightGlueMatcher, NearestMatcher
from sklearn_cmac.local._matching import match_nearest
from sklearn_cmac.local._words import VLAD, BagOfWords, count_words, sum_residuals

__all__ = [
    "NEAR_ENOUGH",
    "VLAD",
    "BagOfWords",
    "FisherVector",
    "LearnedFeatureExtractor",
    "LightGlueMatcher",
    "LocalFeatureExtractor",
    "LocalFeatures",
    "NearestMatcher",
    "box_around",
    "count_words",
    "find_homography",
    "find_similarity",
    "match_nearest",
    "outline_in",
    "pack_descriptors",
    "sum_residuals",
    "unpack_descriptors",
]
