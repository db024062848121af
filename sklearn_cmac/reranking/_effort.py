"""What follows the first ranking of a search, by how long somebody may wait for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sklearn_cmac.reranking._candidates import CandidateNeighbors
from sklearn_cmac.reranking._chain import Chain
from sklearn_cmac.reranking._late_interaction import RegionMatching
from sklearn_cmac.reranking._step import RerankingStep
from sklearn_cmac.reranking._verification import SpatialVerification
from sklearn_cmac.reranking._verified_expansion import VerifiedExpansion

FAST, USUAL, BEST = EFFORTS = "fast", "usual", "best"

# Chosen by benchmarks/chains.py, on what is best or level on all its sets: docs/verification.md.
_ALPHA = 0.7  # of the walk among neighbours; longer ones lose objects that few photos show
_FEWEST = 100  # photos, of which it is taken
_SURE = 15  # features that agree, from which a photo shows the object with a probability of .9
_FEW, _MANY = 20, 50  # photos that are verified


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
        What finds the local features that are kept of photos. The first verifies; without one,
        nothing is verified.
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
    verifier = None
    if extractors:
        n_candidates = _MANY if effort == BEST else _FEW
        verifier = SpatialVerification(
            extractors[0], n_candidates, min_inliers=_SURE, verbose=verbose
        )
    if regions:
        steps.append(("match", RegionMatching()))
    if effort == BEST and verifier is not None:
        steps.append(("expand", VerifiedExpansion(verifier)))
    if effort != FAST and regions:
        steps.append(("neighbors", CandidateNeighbors(alpha=_ALPHA, min_photos=_FEWEST)))
    if effort == USUAL and verifier is not None:
        steps.append(("verify", verifier))
    return Chain(steps)
