"""Collections of photos to search, tune and measure on."""

from collections.abc import Callable

from sklearn.utils import Bunch

from sklearn_cmac.datasets._benchmarks import (
    Relevance,
    load_oxford5k,
    load_paris6k,
    load_roxford5k,
    load_rparis6k,
)
from sklearn_cmac.datasets._folder import load_photo_folder
from sklearn_cmac.datasets._ilias import load_ilias
from sklearn_cmac.datasets._instre import load_instre
from sklearn_cmac.datasets._landmarks import load_gldv2
from sklearn_cmac.datasets._products import load_products
from sklearn_cmac.datasets._queries import add_distractors, as_benchmark
from sklearn_cmac.datasets._scenes import make_object_scenes
from sklearn_cmac.datasets._walk import FoundPhotos, find_photos, left_out, walk_photos

LOADERS: dict[str, Callable[..., Bunch]] = {
    "oxford5k": load_oxford5k,
    "paris6k": load_paris6k,
    "roxford5k": load_roxford5k,
    "rparis6k": load_rparis6k,
    "ilias": load_ilias,
    "instre": load_instre,
    "gldv2": load_gldv2,
    "products": load_products,
}

__all__ = [
    "LOADERS",
    "FoundPhotos",
    "Relevance",
    "add_distractors",
    "as_benchmark",
    "find_photos",
    "left_out",
    "load_gldv2",
    "load_ilias",
    "load_instre",
    "load_oxford5k",
    "load_paris6k",
    "load_photo_folder",
    "load_products",
    "load_roxford5k",
    "load_rparis6k",
    "make_object_scenes",
    "walk_photos",
]
