"""The classical line: descriptors of points of a photo, counted or summed by visual words."""

from sklearn_cmac.local._extraction import LocalFeatureExtractor
from sklearn_cmac.local._features import LocalFeatures
from sklearn_cmac.local._fisher import FisherVector
from sklearn_cmac.local._words import VLAD, BagOfWords, count_words, sum_residuals

__all__ = [
    "VLAD",
    "BagOfWords",
    "FisherVector",
    "LocalFeatureExtractor",
    "LocalFeatures",
    "count_words",
    "sum_residuals",
]
