"""What follows the first ranking of a search, by how long somebody may wait for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sklearn_cmac.reranking._candidates import CandidateNeighbors
from sklearn_cmac.reranking._chain import Chain
from sklearn_cmac.reranking._late_interaction import RegionMatching
from sklearn_cmac.reranking._step import RerankingStep
from sklearn_cmac.reranking._verification import SpatialVerification

FAST, USUAL, BEST = EFFORTS = "fast", "usual", "best"


def chain_of_effort(
    effort: str = USUAL,
    regions: bool = True,
    extractors: Sequence[Any] = (),
    verbose: bool | int = False,
) -> Chain:
    """The chain of a search that is quick, usual, or as good as may be.

    Parameters
    ----------
    effort : {"fast", "usual", "best"}, default="usual"
    regions : bool, default=True
        Whether region vectors are kept.
    extractors : sequence of LearnedFeatureExtractor
        What finds the local features that are kept of photos; without, nothing is verified.
    verbose : bool or int, default=False
        Whether verification shows progress.

    Returns
    -------
    Chain

    Examples
    --------
    >>> from sklearn_cmac.search import chain_of_effort
    >>> [name for name, _ in chain_of_effort("usual").steps]
    ['match', 'neighbors']
    """
    steps: list[tuple[str, RerankingStep]] = []
    if regions:
        steps.append(("match", RegionMatching()))
    if effort != FAST:
        steps.append(("neighbors", CandidateNeighbors()))
        if extractors:
            steps.append(("verify", SpatialVerification(extractors[0], verbose=verbose)))
    return Chain(steps)
