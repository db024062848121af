"""Queries described once, and rankings by one pipeline, timed apart."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.utils import Bunch

from sklearn_cmac.collection import Collection
from sklearn_cmac.corridor import Corridor
from sklearn_cmac.datasets import Relevance
from sklearn_cmac.evaluation._guards import Asked
from sklearn_cmac.metrics import evaluate_rankings, expected_average_precision
from sklearn_cmac.metrics._average_precision import without
from sklearn_cmac.photos import Item, Query, as_photo
from sklearn_cmac.reranking import Chain, DescribedQuery, RankedList, RerankingStep
from sklearn_cmac.search import Retriever
from sklearn_cmac.search._retriever import in_order


def depth_of(benchmark: Bunch) -> int | None:
    """How many photos an evaluation ranks for each query; this is the one place that says so.

    All, since average precision counts each positive, wherever it comes; or, where it is that at
    rank k, so many that k are left without junk.
    """
    if benchmark.get("at") is None:
        return None
    each = [benchmark.relevance, *benchmark.get("subsets", {}).values()]
    junk = [len(r.junk) for relevance in each for r in relevance if r is not None]
    return benchmark.at + max(junk, default=0)


N_FIRST = 20  # photos of each ranking that are kept


def chance_of(benchmark: Bunch) -> list[float]:
    """For each query the average precision of rankings in random order."""
    exclude = benchmark.get("exclude") or [None] * len(benchmark.queries)
    expected = cache(expected_average_precision)  # many queries have as many positives
    chances = []
    for right, own in zip(benchmark.relevance, exclude):
        left_out = {*map(int, right.junk), *(() if own is None else (own,))}
        n_photos = len(benchmark.photos) - len(left_out)
        n_positives = len(set(map(int, right.positives)))
        chances.append(expected(n_photos, n_positives, benchmark.get("at")))
    return chances


def first_and_ranks(
    orders: Iterable[np.ndarray], relevance: Sequence[Relevance]
) -> tuple[list[list[int]], list[list[int | None]]]:
    """Of each ranking the first photos, and at which rank, from 1, each positive is.

    Junk is left out; positives that a ranking does not reach have no rank.
    """
    first, ranks = [], []
    for order, right in zip(orders, relevance):
        kept = without(order, right.junk)
        places = np.flatnonzero(np.isin(kept, list(right.positives)))
        found = dict(zip(kept[places].tolist(), (places + 1).tolist()))
        first.append(kept[:N_FIRST].tolist())
        ranks.append([found.get(int(photo)) for photo in right.positives])
    return first, ranks


def cropping(pipeline: Any, crop: str) -> Any:
    """The same fitted pipeline with another `query_crop`."""
    corridor = Corridor(pipeline)
    if not hasattr(corridor.extractor, "query_crop"):
        return pipeline
    return corridor.with_extractor(copy(corridor.extractor).set_params(query_crop=crop))


class Queries:
    """Queries described by one pipeline in one crop, each once.

    Of a photo that is ranked too, the record from which it is described is the query's as well:
    `witness` is told of it, and the network does not run on that photo again.

    Parameters
    ----------
    pipeline : fitted Pipeline
    queries : sequence of photos or queries
    asked : sequence of Asked
    needs : set of str
        What steps read of queries besides descriptors.
    """

    def __init__(
        self, pipeline: Any, queries: Sequence[Item], asked: Sequence[Asked], needs: set[str]
    ):
        self.retriever = Retriever(FrozenEstimator(pipeline)).fit([])
        self.extractor = Corridor(pipeline).extractor
        self.queries, self.needs = list(queries), needs
        self.described: dict[int, DescribedQuery] = {}
        self.of_content = defaultdict(list)
        for i, (query, look) in enumerate(zip(self.queries, asked)):
            if hasattr(self.extractor, "crop_record") and not self._cut(query):
                self.of_content[look.content].append(i)

    def _cut(self, query: Item) -> bool:
        """Whether the query is cut out of its photo, which has to be described anew then."""
        return isinstance(query, Query) and self.extractor.query_crop == "image"

    def witness(self, content: str, record: Any) -> None:
        """Take over the record of a photo that is asked with."""
        for i in self.of_content.get(content, ()):
            query = self.queries[i]
            records = [self.extractor.crop_record(record, as_photo(query))]
            (self.described[i],) = self.retriever.describe_records([query], records, self.needs)

    def all(self) -> list[DescribedQuery]:
        """All queries; those whose photo was not described on the way are now."""
        missing = [i for i in range(len(self.queries)) if i not in self.described]
        if missing:
            found = self.retriever.describe_queries([self.queries[i] for i in missing], self.needs)
            self.described.update(zip(missing, found))
        return [self.described[i] for i in range(len(self.queries))]


@dataclass(frozen=True)
class _Reached:
    """Rankings behind some steps, and the seconds that they took."""

    collection: Collection
    queries: list[DescribedQuery]
    rankings: list[RankedList]
    preparing: float
    ranking: float

    def behind(self, step: RerankingStep, pipeline: Any) -> _Reached:
        """Rankings behind one more step."""
        started = time.perf_counter()
        prepared = step.prepare(self.collection, pipeline)
        ready = time.perf_counter()
        rankings = step.rerank(self.queries, self.rankings, self.collection, prepared)
        return replace(
            self,
            rankings=rankings,
            preparing=self.preparing + ready - started,
            ranking=self.ranking + time.perf_counter() - ready,
        )


class Rankings:
    """Rankings by one pipeline; a chain that begins as another did goes on from there.

    Parameters
    ----------
    benchmark : Bunch
    collection : Collection
    queries : Queries
        Described by the pipeline that described the collection.
    chains : iterable of Chain
        All that will be asked for.
    """

    def __init__(
        self, benchmark: Bunch, collection: Collection, queries: Queries, chains: Iterable[Chain]
    ):
        self.collection, self.queries = collection, queries
        self.pipeline = queries.retriever.pipeline_
        self.relevance, self.at = benchmark.relevance, benchmark.get("at")
        self.subsets = benchmark.get("subsets", {})
        self.ks = benchmark.get("ks", (1, 5, 10))
        self.depth = depth_of(benchmark)
        self.exclude = benchmark.get("exclude") or [None] * len(benchmark.queries)
        self.passing = Counter(
            chain._replace(steps=chain.steps[:n]).key
            for chain in chains
            for n in range(len(chain.steps) + 1)
        )
        self.kept: dict[str, _Reached] = {}

    def measure(self, chain: Chain) -> dict[str, Any]:
        """Scores of the rankings behind a chain, and what they took."""
        reached = self._reach(chain)
        scores = evaluate_rankings(self._orders(reached), self.relevance, self.ks, self.at)
        first, ranks = first_and_ranks(self._orders(reached), self.relevance)
        return {
            "first": first,
            "ranks": ranks,
            "average_precision": scores.average_precision.tolist(),
            "mean_precision": {str(k): value for k, value in scores.mean_precision.items()},
            "mean_recall": {str(k): value for k, value in scores.mean_recall.items()},
            "subsets": {
                name: self._score_of_part(reached, relevance)
                for name, relevance in self.subsets.items()
            },
            "seconds_to_prepare": reached.preparing,
            "seconds_per_query": reached.ranking / len(reached.rankings),
        }

    def _orders(self, reached: _Reached) -> Iterator[np.ndarray]:
        """Positions of the photos ranked for each query."""
        for ranked, left_out in zip(reached.rankings, self.exclude):
            yield in_order(ranked, left_out, self.collection, self.depth).order

    def _score_of_part(
        self, reached: _Reached, relevance: Sequence[Relevance | None]
    ) -> float | None:
        """mAP over the queries that have positives in a part of the photos, if any has."""
        known = [right for right in relevance if right is not None]
        pairs = zip(self._orders(reached), relevance)
        orders = (order for order, right in pairs if right is not None)
        if not known:
            return None
        return evaluate_rankings(orders, known, at=self.at).mean_average_precision

    def _reach(self, chain: Chain) -> _Reached:
        key = chain.key
        if key in self.kept:
            return self.kept[key]
        if chain.steps:
            (*before, (_, last)) = chain.steps
            reached = self._reach(chain._replace(steps=before)).behind(last, self.pipeline)
        else:
            reached = self._first(chain)
        if self.passing[key] > 1:
            self.kept[key] = reached
        return reached

    def _first(self, chain: Chain) -> _Reached:
        """Rankings by descriptors alone."""
        pipeline = FrozenEstimator(self.pipeline)
        retriever = Retriever(pipeline, augmentation=chain.augmentation).fit([])
        described = [
            replace(query, exclude=self.collection.only_id(position))
            for query, position in zip(self.queries.all(), self.exclude)
        ]
        started = time.perf_counter()
        collection = retriever.prepare(self.collection).collection
        ready = time.perf_counter()
        rankings = retriever.first_rankings(described, collection, self.depth)
        return _Reached(
            collection, described, rankings, ready - started, time.perf_counter() - ready
        )
