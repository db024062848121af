"""An estimator around a pipeline and the steps behind the first ranking."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from sklearn.base import MetaEstimatorMixin, clone
from sklearn.utils.validation import check_is_fitted

from sklearn_cmac._named_steps import NamedSteps
from sklearn_cmac.collection._collection import Collection, check_kind, describe_collection
from sklearn_cmac.collection._neighbors import row_blocks, similarities
from sklearn_cmac.maps import ActivationMap
from sklearn_cmac.photos import name_of
from sklearn_cmac.reranking._step import DescribedQuery, RankedList, RerankingStep

_SKIPPED = (None, "passthrough")


class Retriever(MetaEstimatorMixin, NamedSteps):
    """A pipeline, and what happens to its rankings.

    Photos are first ranked by the dot product of descriptors. The steps then work on these
    rankings, one after the other. Parameters of pipeline and steps have paths, so that a grid
    search reaches them, and `RetrievalScorer` scores the final rankings.

    Parameters
    ----------
    pipeline : Pipeline
        Photos in, one descriptor of unit length each out. A clone of it is fitted; one that is
        fitted already is given as ``sklearn.frozen.FrozenEstimator(pipeline)``.
    steps : sequence of (str, step)
        Names and steps, such as `QueryExpansion`, `RegionMatching` or `Localization`. A step
        that is None or "passthrough" is left out.
    batch_size : int, default=32
        Photos described at a time; this many activation maps are held in memory.
    verbose : bool or int, default=False
        Whether to show progress.

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

    def __init__(
        self,
        pipeline: Any,
        steps: Sequence[tuple[str, Any]] = (),
        batch_size: int = 32,
        verbose: bool | int = False,
    ):
        self.pipeline = pipeline
        self.steps = steps
        self.batch_size = batch_size
        self.verbose = verbose

    def __getitem__(self, name: str) -> Any:
        """The step of this name."""
        return dict(self.steps)[name]

    def fit(self, X: Any, y: Any = None) -> Retriever:
        """Fit the pipeline. The steps learn nothing.

        Parameters
        ----------
        X : sequence of photos
        y : sequence of labels, optional

        Returns
        -------
        self
        """
        names = [name for name, _ in self.steps]
        self._validate_names(names)
        for name, step in self._active():
            if not isinstance(step, RerankingStep):
                raise TypeError(
                    f"step {name!r} is a {type(step).__name__}, which reranks nothing; steps are "
                    "RegionMatching, QueryExpansion and the like"
                )
            step._validate_params()
        self.pipeline_ = clone(self.pipeline).fit(X, y)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Descriptors of photos, by the pipeline alone.

        Parameters
        ----------
        X : sequence of photos

        Returns
        -------
        ndarray of shape (n_photos, D)
        """
        check_is_fitted(self)
        return self.pipeline_.transform(X)

    def describe(
        self, photos: Sequence[Any], folder: str | os.PathLike[str] | None = None
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
            batch_size=self.batch_size,
            verbose=self.verbose,
        )

    def rank(
        self, queries: Sequence[Any], photos: Any, exclude: Sequence[int | None] | None = None
    ) -> list[RankedList]:
        """Rank photos by each query.

        Parameters
        ----------
        queries : sequence of photos or queries
        photos : sequence of photos, or Collection
        exclude : sequence of int or None, optional
            For each query the position of a photo that must not be found, such as its own, if
            there is one.

        Returns
        -------
        list of RankedList
            With positions in `photos`.

        Raises
        ------
        PhotoError
            If photos or queries cannot be used; of a `Collection` those are left out.
        """
        return list(self.iter_rank(queries, photos, exclude))

    def iter_rank(
        self,
        queries: Sequence[Any],
        photos: Any,
        exclude: Sequence[int | None] | None = None,
        batch_size: int = 512,
    ) -> Iterator[RankedList]:
        """The same, with the rankings of `batch_size` queries in memory.

        Parameters
        ----------
        queries, photos, exclude
            As for `rank`.
        batch_size : int, default=512

        Yields
        ------
        RankedList
        """
        check_is_fitted(self)
        if not isinstance(photos, Collection):
            photos = self.describe(photos)
            photos.raise_failures()
        collection = self.prepare(photos)
        exclude = [None] * len(queries) if exclude is None else list(exclude)
        for rows in row_blocks(len(queries), batch_size):
            yield from self.rank_prepared(queries[rows], collection, exclude[rows])

    def prepare(self, collection: Collection) -> Collection:
        """The collection with what the steps work out once for all queries.

        Parameters
        ----------
        collection : Collection

        Returns
        -------
        Collection
        """
        for _, step in self._active():
            collection = step.prepare(collection)
        return collection

    def rank_prepared(
        self,
        queries: Sequence[Any],
        collection: Collection,
        exclude: Sequence[int | None] | None = None,
    ) -> list[RankedList]:
        """Rank a prepared collection.

        Parameters
        ----------
        queries : sequence of photos or queries
        collection : Collection
            As `prepare` returned it.
        exclude : sequence of int or None, optional
            As for `rank`.

        Returns
        -------
        list of RankedList
        """
        described = self.describe_queries(queries)
        rankings = self.first_rankings(described, collection, exclude)
        for _, step in self._active():
            rankings = step.rerank(described, rankings, collection, self.pipeline_)
        return rankings

    def describe_queries(
        self, queries: Sequence[Any], needs: set[str] | None = None
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
        names, needs = [name_of(query) for query in queries], self.needs if needs is None else needs
        queries = list(queries)
        n = len(queries)
        if not needs & {"regions", "maps"}:
            descriptors = np.asarray(self.pipeline_.transform(queries))
            return [DescribedQuery(names[i], descriptors[i], photo=queries[i]) for i in range(n)]
        maps = self.pipeline_[:1].transform(queries)
        check_kind(maps, ActivationMap, self.pipeline_)
        vectors = self.pipeline_[1:-1].transform(maps)
        descriptors = np.asarray(self.pipeline_[-1].transform(vectors))
        described = zip(names, descriptors, vectors, maps, queries)
        return [DescribedQuery(*parts) for parts in described]

    def first_rankings(
        self,
        queries: Sequence[DescribedQuery],
        collection: Collection,
        exclude: Sequence[int | None] | None = None,
    ) -> list[RankedList]:
        """Rankings by descriptors alone.

        Parameters
        ----------
        queries : sequence of DescribedQuery
        collection : Collection
        exclude : sequence of int or None, optional
            As for `rank`.

        Returns
        -------
        list of RankedList
        """
        exclude = [None] * len(queries) if exclude is None else exclude
        descriptors = np.stack([query.descriptor for query in queries])
        found = similarities(descriptors, collection.descriptors)
        usable = collection.usable
        rankings = []
        for scores, query, left_out in zip(found, queries, exclude):
            allowed = usable if left_out is None else usable[usable != left_out]
            # A stable sort: equal similarities keep the order of the photos, whoever asks.
            order = allowed[np.argsort(-scores[allowed], kind="stable")]
            rankings.append(RankedList(order, scores[order], query.descriptor))
        return rankings

    def _active(self) -> list[tuple[str, RerankingStep]]:
        return [(name, step) for name, step in self.steps if step not in _SKIPPED]

    @property
    def needs(self) -> set[str]:
        """What the steps read besides descriptors: "regions", "maps", "photos"."""
        return set().union(*(step.needs for _, step in self._active()))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.no_validation = True
        return tags
