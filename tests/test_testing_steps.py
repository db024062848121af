"""The checks that outsiders run on steps of their own, on all steps of ours."""

import inspect

import pytest

from sklearn_cmac import reranking
from sklearn_cmac.reranking import (
    QueryExpansion,
    RerankingStep,
    SpatialVerification,
    VerifiedExpansion,
)
from sklearn_cmac.testing import check_reranking_step

pytestmark = pytest.mark.filterwarnings("ignore:whitening")

EXPORTED = [getattr(reranking, name) for name in reranking.__all__]
STEPS = [c for c in EXPORTED if inspect.isclass(c) and issubclass(c, RerankingStep)]
VERIFYING = (SpatialVerification, VerifiedExpansion)


@pytest.mark.parametrize(
    "step",
    [c for c in STEPS if c not in (RerankingStep, *VERIFYING)],
    ids=lambda step: step.__name__,
)
def test_every_step_passes_the_checks(step):
    """But those that verify, which look at pixels: made photos are maps."""
    check_reranking_step(step())


class Forgetful(QueryExpansion):
    def rerank(self, queries, rankings, collection, prepared):
        return [ranked.first(len(ranked) - 1) for ranked in rankings]


class Careless(QueryExpansion):
    _parameter_constraints = {"n_neighbors": "no_validation", "alpha": "no_validation"}


@pytest.mark.parametrize(
    ("step", "claim"),
    [(Forgetful, "finds each once"), (Careless, "is refused before anything")],
)
def test_a_step_that_does_not_keep_to_them_is_caught(step, claim):
    with pytest.raises(AssertionError, match=claim):
        check_reranking_step(step())
