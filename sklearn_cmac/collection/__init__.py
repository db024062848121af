"""What is kept of photos that are ranked, and the engines that find the nearest among them."""

from sklearn_cmac.collection._catalogue import CatalogueEntry
from sklearn_cmac.collection._collection import Collection
from sklearn_cmac.collection._database import DamageError
from sklearn_cmac.collection._describe import (
    ENGINES,
    describe_collection,
    describe_into,
    find_engine,
)
from sklearn_cmac.collection._engine import Engine, InUseError, Stamp
from sklearn_cmac.collection._exact import ExactEngine
from sklearn_cmac.collection._flat import FlatEngine, is_kept
from sklearn_cmac.collection._match_nearest import match_nearest
from sklearn_cmac.collection._qdrant import QdrantEngine
from sklearn_cmac.collection._qdrant_edge import QdrantEdgeEngine
from sklearn_cmac.collection._regions import RegionTable
from sklearn_cmac.collection._shards import WorkerError
from sklearn_cmac.collection._stores import STORES, copy_vectors, find_store, open_store
from sklearn_cmac.collection._workers import workers

__all__ = [
    "ENGINES",
    "STORES",
    "CatalogueEntry",
    "Collection",
    "DamageError",
    "Engine",
    "ExactEngine",
    "FlatEngine",
    "InUseError",
    "QdrantEdgeEngine",
    "QdrantEngine",
    "RegionTable",
    "Stamp",
    "WorkerError",
    "copy_vectors",
    "describe_collection",
    "describe_into",
    "find_engine",
    "find_store",
    "is_kept",
    "match_nearest",
    "open_store",
    "workers",
]
