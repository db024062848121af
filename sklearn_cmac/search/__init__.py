"""Rank a collection of photos by a query."""

from sklearn_cmac.collection import Collection, RegionTable, describe_collection
from sklearn_cmac.local import LightGlueMatcher, NearestMatcher
from sklearn_cmac.reranking import (
    CandidateNeighbors,
    Chain,
    DatabaseAugmentation,
    DescribedQuery,
    Diffusion,
    Localization,
    QueryExpansion,
    RankedList,
    ReciprocalNeighbors,
    RegionMatch,
    RegionMatching,
    RerankingStep,
    SpatialMatch,
    SpatialVerification,
    VerifiedExpansion,
    augment_database,
    chain_of_effort,
    embed_distances,
    expand_queries,
    find_transform,
    fit_calibration,
    match_regions,
    same_object_probability,
    similarities_among,
)
from sklearn_cmac.search._exchange import read_arrays, write_arrays
from sklearn_cmac.search._feedback import combine_rankings, move_query, search_with_marks
from sklearn_cmac.search._groups import Group, Link, find_groups, join_links
from sklearn_cmac.search._index import RetrievalIndex
from sklearn_cmac.search._report import IndexReport, UpdateReport
from sklearn_cmac.search._results import SearchResult, SearchResults
from sklearn_cmac.search._retriever import Retriever

__all__ = [
    "CandidateNeighbors",
    "Chain",
    "Collection",
    "DatabaseAugmentation",
    "DescribedQuery",
    "Diffusion",
    "Group",
    "IndexReport",
    "LightGlueMatcher",
    "Link",
    "Localization",
    "NearestMatcher",
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
    "SearchResults",
    "SpatialMatch",
    "SpatialVerification",
    "UpdateReport",
    "VerifiedExpansion",
    "augment_database",
    "chain_of_effort",
    "combine_rankings",
    "describe_collection",
    "embed_distances",
    "expand_queries",
    "find_groups",
    "find_transform",
    "fit_calibration",
    "join_links",
    "match_regions",
    "move_query",
    "read_arrays",
    "same_object_probability",
    "search_with_marks",
    "similarities_among",
    "write_arrays",
]
