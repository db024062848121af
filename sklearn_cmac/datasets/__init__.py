"""Collections of photos to search, tune and measure on."""

from sklearn_cmac.datasets._benchmarks import (
    LOADERS,
    Relevance,
    load_oxford5k,
    load_paris6k,
    load_roxford5k,
    load_rparis6k,
)
from sklearn_cmac.datasets._folder import find_photos, load_photo_folder
from sklearn_cmac.datasets._queries import add_distractors, as_benchmark
from sklearn_cmac.datasets._scenes import make_object_scenes

__all__ = [
    "LOADERS",
    "Relevance",
    "add_distractors",
    "as_benchmark",
    "find_photos",
    "load_oxford5k",
    "load_paris6k",
    "load_photo_folder",
    "load_roxford5k",
    "load_rparis6k",
    "make_object_scenes",
]
