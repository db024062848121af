"""Descriptors of points of a photo: SIFT, or of a network; counted or summed by visual words."""

from sklearn_cmac.local._compact import pack_descriptors, unpack_descriptors
from sklearn_cmac.local._extraction import LocalFeatureExtractor
from sklearn_cmac.local._features import LocalFeatures
from sklearn_cmac.local._fisher import FisherVector
from sklearn_cmac.local._learned import LearnedFeatureExtractor
from sklearn_cmac.local._words import VLAD, BagOfWords, count_words, sum_residuals

__all__ = [
    "VLAD",
    "BagOfWords",
    "FisherVector",
    "LearnedFeatureExtractor",
    "LocalFeatureExtractor",
    "LocalFeatures",
    "count_words",
    "pack_descriptors",
    "sum_residuals",
    "unpack_descriptors",
]
