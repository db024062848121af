"""What is kept of photos that are ranked, and the engines that find the nearest among them."""

from sklearn_cmac.collection._catalogue import CatalogueEntry
from sklearn_cmac.collection._collection import Collection
from sklearn_cmac.collection._describe import ENGINES, describe_collection
from sklearn_cmac.collection._engine import Engine, Stamp
from sklearn_cmac.collection._exact import ExactEngine
from sklearn_cmac.collection._regions import RegionTable

__all__ = [
    "ENGINES",
    "CatalogueEntry",
    "Collection",
    "Engine",
    "ExactEngine",
    "RegionTable",
    "Stamp",
    "describe_collection",
]
