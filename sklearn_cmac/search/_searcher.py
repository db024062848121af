"""Who ranks the photos of an index, and says what of them answers a query."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from sklearn_cmac.collection import Collection
from sklearn_cmac.collection._catalogue import DESCRIBED
from sklearn_cmac.collection._selection import Selection
from sklearn_cmac.photos import Item
from sklearn_cmac.reranking import (
    DescribedQuery,
    RegionMatch,
    SpatialMatch,
    SpatialVerification,
    match_regions,
)
from sklearn_cmac.search._folder import damage_named
from sklearn_cmac.search._indexed import IndexedPhotos
from sklearn_cmac.search._results import SearchResult
from sklearn_cmac.search._retriever import Prepared, Retriever
from sklearn_cmac.search._update import key_of, prefix_of


class Searcher:
    """Ranks photos by a pipeline and its steps.

    Parameters
    ----------
    retriever : fitted Retriever
    photos : IndexedPhotos
    path : Path or None
        The index, to be named where it is damaged.
    """

    def __init__(self, retriever: Retriever, photos: IndexedPhotos, path: Path | None):
        self.retriever, self.photos, self.path = retriever, photos, path
        self._prepared: Prepared | None = None
        self._n_prepared = 0

    def search(
        self,
        query: Item,
        n_results: int,
        below: str | os.PathLike[str] | None = None,
        n_explained: int = 100,
    ) -> list[SearchResult]:
        """As of the index."""
        (described,) = self.retriever.describe_queries([query])
        if below is None:
            found = self._search_all(described, n_results)
        else:
            found = self._search_below(described, n_results, below)
        return self._explained(described, found, n_explained)

    def search_moved(
        self, query: DescribedQuery, moved: DescribedQuery, n_results: int, n_explained: int
    ) -> list[SearchResult]:
        """What is found by a query that was moved, explained by the query as it was."""
        return self._explained(query, self._search_all(moved, n_results), n_explained)

    def region_matches(
        self, query: DescribedQuery, names: Sequence[str]
    ) -> list[RegionMatch | None]:
        """Which regions of photos answer those of a query; None where none are kept."""
        assert query.regions is not None
        if not self.photos.engine.stamp.regions:
            return [None] * len(names)
        with damage_named(self.path):
            found = self.photos.engine.get_regions(self.photos.catalogue.ids(names))
        mine = (found[i] for i in range(len(names)))
        return [match_regions(query.regions, each) if len(each.vectors) else None for each in mine]

    def spatial_matches(
        self, query: Item, names: Sequence[str], verifier: SpatialVerification
    ) -> list[SpatialMatch | None]:
        """How local features of a query lie in photos."""
        return verifier.compare_in(query, self.photos.catalogue.ids(names), self.photos)

    def _search_all(self, query: DescribedQuery, n_results: int) -> list[SearchResult]:
        engine, k = self.photos.engine, n_results
        while True:
            n = len(engine)
            if self._prepared is None or self._n_prepared != n:
                self._prepared = self.retriever.prepare(cast(Collection, self.photos))
                self._n_prepared = n
            results = self._ranked(query, self._prepared, k)
            if len(engine) < n:
                continue  # photos turned out to be damaged, and count as absent from now on
            if len(results) >= n_results or k >= n:
                return results[:n_results]
            k *= 4  # what a run that was killed described and did not name has no rank

    def _search_below(
        self, query: DescribedQuery, n_results: int, folder: str | os.PathLike[str]
    ) -> list[SearchResult]:
        catalogue, engine, inside = self.photos.catalogue, self.photos.engine, prefix_of(folder)
        own = [e for e in catalogue.entries(DESCRIBED) if key_of(e.path).startswith(inside)]
        names = {entry.name for entry in own}
        ids = [entry.id for entry in own if entry.id in engine]
        if not ids:
            raise ValueError(f"{folder}: the index holds no photos below it")
        some = self.photos.with_engine(Selection(engine, ids))
        prepared = self.retriever.prepare(cast(Collection, some))
        # A photo's copies elsewhere stand beside it.
        found = self._ranked(query, prepared, catalogue.count(DESCRIBED))
        return [result for result in found if result.name in names][:n_results]

    def _ranked(self, query: DescribedQuery, prepared: Prepared, k: int) -> list[SearchResult]:
        (ranked,) = self.retriever.rank_prepared([query], prepared, k=k)
        entries = map(self.photos.catalogue.numbered, ranked.order.tolist())
        return [
            SearchResult(entry.name, score, entry.path, ranked.located.get(entry.id))
            for entry, score in zip(entries, ranked.scores.tolist())
            if entry is not None
        ]

    def _explained(
        self, query: DescribedQuery, results: list[SearchResult], n: int
    ) -> list[SearchResult]:
        """Results, the first n with what of them answers the query."""
        names = [result.name for result in results[:n]]
        regions: list[RegionMatch | None] = [None] * len(names)
        if query.regions is not None:
            regions = self.region_matches(query, names)
        spatial = {result.name: result.spatial for result in results[:n]}
        if self.retriever.verifier is not None:
            # What the steps have compared with the query is not compared again.
            left = [name for name, match in spatial.items() if match is None]
            found = self.spatial_matches(query.photo, left, self.retriever.verifier)
            spatial.update(zip(left, found))
        first = [
            result.changed(spatial=spatial[result.name], regions=among)
            for result, among in zip(results, regions)
        ]
        return first + [result.changed(spatial=None) for result in results[n:]]
