"""Rank a collection of photos by a query."""

from sklearn_cmac.search._index import IndexReport, RetrievalIndex, SearchResult

__all__ = ["IndexReport", "RetrievalIndex", "SearchResult"]
