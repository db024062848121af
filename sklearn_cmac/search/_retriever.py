"""An estimator around a pipeline and what follows its first ranking."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import MetaEstimatorMixin, clone
from sklearn.utils.validation import check_is_fitted

from sklearn_cmac._named_steps import NamedSteps
from sklearn_cmac._photo_step import check_photos
from sklearn_cmac._scikit_learn import HasMethods, Interval, StrOptions, _fit_context
from sklearn_cmac.collection import Collection, Engine, describe_collection
from sklearn_cmac.collection._scores import row_blocks
from sklearn_cmac.corridor import Corridor
from sklearn_cmac.local import LearnedFeatureExtractor
from sklearn_cmac.photos import Item, name_of
from sklearn_cmac.reranking import (
    DatabaseAugmentation,
    DescribedQuery,
    RankedList,
    RerankingStep,
    SpatialVerification,
)
from sklearn_cmac.reranking._step import search_again, without_gaps

_SKIPPED = (None, "passthrough")


class Prepared(NamedTuple):
    """A collection, and what each step has worked out of it, in the order of the steps."""

    collection: Collection
    states: list[Any]


class Retriever(MetaEstimatorMixin, NamedSteps):
    """A pipeline, and what happens to its rankings.

    Photos are first ranked by the dot product of descriptors, or by their regions. The steps then
    work on these rankings, one after the other. Parameters of pipeline and steps have paths, so
    that a grid search reaches them, and `RetrievalScorer` scores the final rankings.

    Parameters
    ----------
    pipeline : Pipeline
        Photos in, one descriptor of unit length each out. A clone of it is fitted; one that is
        fitted already is given as ``sklearn.frozen.FrozenEstimator(pipeline)``.
    steps : sequence of (str, step)
        Names and steps, such as `QueryExpansion`, `RegionMatching` or `Localization`. A step
        that is None or "passthrough" is left out.
    augmentation : DatabaseAugmentation, optional
        What changes the descriptors of the photos before any is ranked.
    engine : str or callable, default="exact"
        Who keeps the photos' vectors and finds the nearest, as for `describe_collection`.
    batch_size : int, default=32
        Photos described at a time; this many activation maps are held in memory.
    verbose : bool or int, default=False
        Whether to show progress.
    first : {"descriptors", "regions"}, default="descriptors"
        What the first ranking compares. An object that is a small part of a photo may be lost in
        its one descriptor, and is not in its regions: "regions" is `RegionMatching` of all photos,
        whose region vectors are all read for each search.

    Attributes
    ----------
    pipeline_ : Pipeline
        The fitted clone.

    Examples
    --------
    >>> from sklearn_cmac import make_rmac_pipeline
    >>> from sklearn_cmac.datasets import make_object_scenes
    >>> from sklearn_cmac.search import RegionMatching, Retriever
    >>> scenes = make_object_scenes(n_objects=2, n_scenes=2, n_distractors=4, size=(320, 240))
    >>> pipeline = make_rmac_pipeline(whiten__shrinkage=1, whiten__n_components=32)
    >>> retriever = Retriever(pipeline, [("match", RegionMatching())]).fit(scenes.photos)
    >>> ranking = retriever.rank([scenes.photos[0].as_query()], scenes.photos)[0]
    >>> scenes.photos[ranking.order[0]].name
    'object-00-scene-0'
    >>> retriever.set_params(match__n_candidates=4)["match"]
    RegionMatching(n_candidates=4)
    """

    _parameter_constraints: dict = {
        "pipeline": [HasMethods(["fit", "transform"])],
        "steps": ["array-like"],
        "augmentation": [DatabaseAugmentation, None],
        "first": [StrOptions({"descriptors", "regions"})],
        "engine": [str, callable],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        pipeline: Any,
        steps: Sequence[tuple[str, Any]] = (),
        augmentation: DatabaseAugmentation | None = None,
        engine: str | Callable[..., Any] = "exact",
        batch_size: int = 32,
        verbose: bool | int = False,
        first: str = "descriptors",
    ):
        self.pipeline = pipeline
        self.steps = steps
        self.augmentation = augmentation
        self.engine = engine
        self.batch_size = batch_size
        self.verbose = verbose
        self.first = first

    def __getitem__(self, name: str) -> Any:
        """The step of this name."""
        return dict(self.steps)[name]

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Sequence[Item], y: Any = None) -> Retriever:
        """Fit the pipeline. The steps learn nothing.

        Parameters
        ----------
        X : sequence of photos
        y : sequence of labels, optional

        Returns
        -------
        self
        """
        self._validate_names([name for name, _ in self.steps])
        for name, step in self._active():
            if not isinstance(step, RerankingStep):
                raise TypeError(
                    f"step {name!r} is a {type(step).__name__}, which reranks nothing; steps are "
                    "RegionMatching, QueryExpansion and the like"
                )
            step._validate_params()
        self.pipeline_ = clone(self.pipeline).fit(list(X), y)
        return self

    def transform(self, X: Sequence[Item]) -> np.ndarray:
        """Descriptors of photos, by the pipeline alone.

        Parameters
        ----------
        X : sequence of photos

        Returns
        -------
        ndarray of shape (n_photos, D)
        """
        check_is_fitted(self)
        return self.pipeline_.transform(list(X))

    def describe(
        self, photos: Sequence[Item], folder: str | os.PathLike[str] | None = None
    ) -> Collection:
        """What rankings need to know of photos; describing them takes most of the time.

        Parameters
        ----------
        photos : sequence of photos
        folder : path, optional
            Where to keep it, so that a run that was stopped goes on, and memory does not grow
            with the photos.

        Returns
        -------
        Collection
            One that another retriever with the same fitted pipeline can use as well.
        """
        check_is_fitted(self)
        return describe_collection(
            self.pipeline_,
            photos,
            regions="regions" in self.needs,
            folder=folder,
            engine=self.engine,
            batch_size=self.batch_size,
            verbose=self.verbose,
        )

    def rank(
        self,
        queries: Sequence[Item],
        photos: Sequence[Item] | Collection,
        exclude: Sequence[int | None] | None = None,
        k: int | None = None,
    ) -> list[RankedList]:
        """Rank photos by each query.

        Parameters
        ----------
        queries : sequence of photos or queries
        photos : sequence of photos, or Collection
        exclude : sequence of int or None, optional
            For each query the position of a photo that must not be found, such as its own, if
            there is one.
        k : int, optional
            How many photos to find. Default: all that there are.

        Returns
        -------
        list of RankedList
            Their `order` has positions in `photos`.

        Raises
        ------
        PhotoError
            If photos or queries cannot be used; of a `Collection` those are left out.
        """
        return list(self.iter_rank(queries, photos, exclude, k))

    def iter_rank(
        self,
        queries: Sequence[Item],
        photos: Sequence[Item] | Collection,
        exclude: Sequence[int | None] | None = None,
        k: int | None = None,
        batch_size: int = 512,
    ) -> Iterator[RankedList]:
        """The same, with the rankings of `batch_size` queries in memory.

        Parameters
        ----------
        queries, photos, exclude, k
            As for `rank`.
        batch_size : int, default=512

        Yields
        ------
        RankedList
        """
        check_is_fitted(self)
        if not isinstance(photos, Collection):
            photos = self.describe(check_photos(photos, self))
            photos.raise_failures()
        queries = check_photos(queries, self)
        prepared = self.prepare(photos)
        exclude = [None] * len(queries) if exclude is None else list(exclude)
        for rows in row_blocks(len(queries), batch_size):
            described = self.describe_queries(queries[rows])
            yield from self.rank_prepared(described, prepared, exclude[rows], k)

    def prepare(self, collection: Collection) -> Prepared:
        """What augmentation and steps work out once for all queries.

        Parameters
        ----------
        collection : Collection

        Returns
        -------
        Prepared
        """
        if self.augmentation is not None:
            augmented = self.augmentation.augment(collection.engine, collection)
            collection = collection.with_engine(augmented)
        states = [step.prepare(collection, self.pipeline_) for _, step in self._active()]
        return Prepared(collection, states)

    def rank_prepared(
        self,
        queries: Sequence[DescribedQuery],
        prepared: Prepared,
        exclude: Sequence[int | None] | None = None,
        k: int | None = None,
    ) -> list[RankedList]:
        """Rank a prepared collection.

        Parameters
        ----------
        queries : sequence of DescribedQuery
        prepared : Prepared
        exclude, k
            As for `rank`.

        Returns
        -------
        list of RankedList
        """
        collection = prepared.collection
        exclude = [None] * len(queries) if exclude is None else exclude
        queries = [
            replace(query, exclude=collection.only_id(position))
            for query, position in zip(queries, exclude)
        ]
        rankings = self.first_rankings(queries, collection, k)
        for (_, step), state in zip(self._active(), prepared.states):
            rankings = step.rerank(queries, rankings, collection, state)
        return [in_order(*pair, collection, k) for pair in zip(rankings, exclude)]

    def describe_queries(
        self, queries: Sequence[Item], needs: set[str] | None = None
    ) -> list[DescribedQuery]:
        """What rankings need to know of queries.

        Parameters
        ----------
        queries : sequence of photos or queries
        needs : set of {"regions", "maps", "photos"}, optional
            What to keep besides descriptors. Default: what the steps read.

        Returns
        -------
        list of DescribedQuery
        """
        queries = list(queries)
        records = Corridor(self.pipeline_).records(queries) if self._looks_inside(needs) else None
        return self.describe_records(queries, records, needs)

    def describe_records(
        self, queries: Sequence[Item], records: Sequence[Any] | None, needs: set[str] | None = None
    ) -> list[DescribedQuery]:
        """The same of queries that the extractor has described already.

        Parameters
        ----------
        queries : sequence of photos or queries
        records : sequence of records, optional
            Those of the extractor, cropped to the queries' boxes. Default: it is asked.
        needs : set of str, optional
            As for `describe_queries`.

        Returns
        -------
        list of DescribedQuery
        """
        needs = self.needs if needs is None else needs
        corridor = Corridor(self.pipeline_)
        names = [name_of(query) for query in queries]
        if records is None:
            found = zip(names, corridor.descriptors(queries), queries)
            return [DescribedQuery(name, row, photo=query) for name, row, query in found]
        if not self._looks_inside(needs):
            found = zip(names, corridor.described(records), queries)
            return [DescribedQuery(name, row, photo=query) for name, row, query in found]
        vectors = corridor.vectors(records)
        maps = records if "maps" in needs else [None] * len(records)
        return [
            DescribedQuery(*parts)
            for parts in zip(names, corridor.summed(vectors), vectors, maps, queries)
        ]

    def first_rankings(
        self, queries: Sequence[DescribedQuery], collection: Collection, k: int | None = None
    ) -> list[RankedList]:
        """Rankings by descriptors alone, as deep as they are asked for and the steps need.

        Parameters
        ----------
        queries : sequence of DescribedQuery
        collection : Collection
        k : int, optional
            As for `rank`.

        Returns
        -------
        list of RankedList
        """
        depths = [k, *(step.depth for _, step in self._active())]
        everything = len(collection.engine)
        deepest = max(everything if depth is None else depth for depth in depths)
        if self.first == "regions":
            return _first_by_regions(collection.engine, queries, min(deepest, everything))
        descriptors = np.stack([query.descriptor for query in queries])
        return search_again(collection.engine, queries, descriptors, min(deepest, everything))

    def _active(self) -> list[tuple[str, RerankingStep]]:
        return [(name, step) for name, step in self.steps if step not in _SKIPPED]

    def _looks_inside(self, needs: set[str] | None) -> bool:
        return bool((self.needs if needs is None else needs) & {"regions", "maps"})

    @property
    def needs(self) -> set[str]:
        """What the steps read besides descriptors: "regions", "maps", "photos"."""
        own = {"regions"} if self.first == "regions" else set()
        return own.union(*(step.needs for _, step in self._active()))

    @property
    def verifier(self) -> SpatialVerification | None:
        """What compares local features, if a step does."""
        found = (each for each in self._parts() if isinstance(each, SpatialVerification))
        return next(found, None)

    @property
    def extractors(self) -> list[LearnedFeatureExtractor]:
        """What finds the local features that steps compare, as far as they can be kept."""
        return [each for each in self._parts() if isinstance(each, LearnedFeatureExtractor)]

    def _parts(self) -> Iterator[Any]:
        """The steps, and what they are made of, wholes before their parts."""
        for _, step in self._active():
            yield step
            parts = step.get_params()
            for path in sorted(parts, key=lambda path: path.count("__")):
                yield parts[path]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.no_validation = True
        return tags


def _first_by_regions(
    engine: Engine, queries: Sequence[DescribedQuery], k: int
) -> list[RankedList]:
    """The k photos whose regions answer those of each query best."""
    if not engine.stamp.regions:
        raise ValueError("a first ranking by regions needs the photos' region vectors")
    regions = [query.regions for query in queries if query.regions is not None]
    found = []
    for query, (ids, scores) in zip(queries, engine.match(regions, k + 1)):
        allowed = np.flatnonzero(ids != query.exclude)[:k]
        found.append(RankedList(ids[allowed], scores[allowed], query.descriptor))
    return found


def in_order(
    ranked: RankedList, left_out: int | None, collection: Collection, k: int | None
) -> RankedList:
    """The ranking with positions in the collection, without one that is left out."""
    order, which = collection.positions(ranked.ids, left_out)
    order, which = order[:k], which[:k]
    scores = without_gaps(ranked.scores)
    return replace(ranked, ids=ranked.ids[which], scores=scores[which], order=order)
