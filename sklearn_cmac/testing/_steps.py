"""What every step behind the first ranking must do."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import numpy as np
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from sklearn_cmac.aggregation import L2Aggregator
from sklearn_cmac.maps import ActivationMap
from sklearn_cmac.pooling import ClusterMaxPooler
from sklearn_cmac.regions import GridRegions
from sklearn_cmac.reranking import RankedList, RerankingStep
from sklearn_cmac.search import Retriever
from sklearn_cmac.testing._photos import Photographs, made_photos
from sklearn_cmac.whitening import RegionWhitener


def check_reranking_step(step: RerankingStep) -> None:
    """Hold a step behind the first ranking against what `Retriever` relies on.

    Parameters
    ----------
    step : RerankingStep
        One that needs no more than activation maps; those that look at photos again are
        checked with photos of one's own.

    Raises
    ------
    AssertionError
        That says what a step must do and this one does not.

    Examples
    --------
    >>> from sklearn_cmac.search import QueryExpansion
    >>> from sklearn_cmac.testing import check_reranking_step
    >>> check_reranking_step(QueryExpansion(n_neighbors=2))
    """
    photos = made_photos()
    pipeline = _pipeline().fit(photos)
    _check_parameters(step, pipeline)
    queries = [photos[0], photos[3]]
    plain = _rank([], pipeline, queries, photos)
    ranked = _rank([("step", step)], pipeline, queries, photos)
    for before, after in zip(plain, ranked):
        assert sorted(after.order) == sorted(before.order), "of all photos, a step finds each once"
        assert len(after.scores) == len(after.order), "each photo has a score"
        assert not (np.diff(after.scores) > 0).any(), "scores never rise"
    again = _rank([("step", clone(step))], pipeline, queries, photos)
    _same(ranked, again, "a clone gives the same ranking")
    backwards = _rank([("step", step)], pipeline, queries[::-1], photos)[::-1]
    _same(ranked, backwards, "a ranking does not depend on what else is asked")
    pickled = pickle.loads(pickle.dumps(step))
    _same(ranked, _rank([("step", pickled)], pipeline, queries, photos), "a step can be pickled")
    own = _rank([("step", step)], pipeline, queries, photos, exclude=[0, 3])
    for left_out, after in zip((0, 3), own):
        assert left_out not in after.order, "a photo that must not be found is not"
        assert len(after.order) == len(photos) - 1, "all others are found"
    few = _rank([("step", step)], pipeline, queries, photos, k=2)
    assert all(len(after.order) == 2 for after in few), "of k photos, a step finds k"
    both = _rank([("one", step), ("other", clone(step))], pipeline, queries, photos)
    assert all(len(after.order) == len(photos) for after in both), (
        "a step can follow one of its kind"
    )


def _pipeline() -> Pipeline:
    return Pipeline(
        [
            ("features", Photographs()),
            ("regions", GridRegions()),
            ("pool", ClusterMaxPooler()),
            ("whiten", RegionWhitener(shrinkage=1.0)),
            ("aggregate", L2Aggregator()),
        ]
    )


def _rank(
    steps: Sequence[tuple[str, RerankingStep]],
    pipeline: Pipeline,
    queries: Sequence[ActivationMap],
    photos: Sequence[ActivationMap],
    **options: object,
) -> list[RankedList]:
    retriever = Retriever(FrozenEstimator(pipeline), steps).fit(list(photos))
    return retriever.rank(queries, photos, **options)  # type: ignore[arg-type]


def _same(one: Sequence[RankedList], other: Sequence[RankedList], claim: str) -> None:
    for a, b in zip(one, other):
        np.testing.assert_array_equal(a.order, b.order, err_msg=claim)
        np.testing.assert_allclose(a.scores, b.scores, rtol=1e-5, err_msg=claim)


def _check_parameters(step: RerankingStep, pipeline: Pipeline) -> None:
    params = step.get_params(deep=False)
    assert set(step._parameter_constraints) == set(params), (
        "_parameter_constraints has an entry for each parameter"
    )
    assert set(step.needs) <= {"regions", "maps", "photos"}, (
        "needs says what is read: regions, maps, photos"
    )
    for name in params:
        wrong = clone(step).set_params(**{name: object()})
        try:
            Retriever(FrozenEstimator(pipeline), [("step", wrong)]).fit([])
        except ValueError as error:
            assert name in str(error), "an error names the parameter"
        else:
            raise AssertionError(f"a wrong {name} is refused before anything is described")
