"""Rank a collection of photos by a query."""

from sklearn_cmac.search._collection import Collection, RegionTable, describe_collection
from sklearn_cmac.search._expansion import (
    DatabaseAugmentation,
    QueryExpansion,
    augment_database,
    expand_queries,
)
from sklearn_cmac.search._graph import Diffusion, ReciprocalNeighbors
from sklearn_cmac.search._index import IndexReport, RetrievalIndex, SearchResult
from sklearn_cmac.search._localization import Localization
from sklearn_cmac.search._matching import RegionMatch, RegionMatching, match_regions
from sklearn_cmac.search._ranking import DescribedQuery, RankedList, RerankingStep
from sklearn_cmac.search._retriever import Retriever
from sklearn_cmac.search._verification import (
    SpatialVerification,
    find_transform,
    match_features,
)

__all__ = [
    "Collection",
    "DatabaseAugmentation",
    "DescribedQuery",
    "Diffusion",
    "IndexReport",
    "Localization",
    "QueryExpansion",
    "RankedList",
    "ReciprocalNeighbors",
    "RegionMatch",
    "RegionMatching",
    "RegionTable",
    "RerankingStep",
    "RetrievalIndex",
    "Retriever",
    "SearchResult",
    "SpatialVerification",
    "augment_database",
    "describe_collection",
    "expand_queries",
    "find_transform",
    "match_features",
    "match_regions",
]
