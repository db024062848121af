"""Rank a collection of photos by a query."""

from sklearn_cmac.search._expansion import augment_database, expand_queries
from sklearn_cmac.search._index import IndexReport, RetrievalIndex, SearchResult

__all__ = ["IndexReport", "RetrievalIndex", "SearchResult", "augment_database", "expand_queries"]
