"""What follows the first ranking of a search, by how long somebody may wait for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sklearn_cmac.local import LightGlueMatcher
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
# Features that agree, from which a photo shows the object with a probability of .9.
_SURE_BY_XFEAT, _SURE_BY_ALIKED = 15, 10
# Photos that are verified. Now and then many of XFeat's features agree by chance; the more photos
# are compared, the likelier one of these comes first. ALIKED's do so less often.
_FEW, _MANY = 20, 50
_OPEN = 20  # of these, photos that are looked at again in a round: 5 s of one processor core

_QUICK = "xfeat"  # the network whose features are found quickly

_Steps = list[tuple[str, RerankingStep]]


def by_care(extractors: Sequence[Any]) -> tuple[Any, Any]:
    """Of extractors, the one for a quick look and the one for a careful one.

    Parameters
    ----------
    extractors : sequence of LearnedFeatureExtractor
        One at least.

    Returns
    -------
    quick, careful : LearnedFeatureExtractor
        XFeat, whose features are found quickly, and ALIKED, whose features tell more. If there is
        one extractor, both are it.

    Examples
    --------
    >>> from sklearn_cmac import LearnedFeatureExtractor
    >>> from sklearn_cmac.reranking import by_care
    >>> aliked, xfeat = LearnedFeatureExtractor("aliked-n16"), LearnedFeatureExtractor()
    >>> [extractor.network for extractor in by_care([aliked, xfeat])]
    ['xfeat', 'aliked-n16']
    """
    by_speed = sorted(extractors, key=lambda extractor: extractor.network != _QUICK)
    return by_speed[0], by_speed[-1]


def verifier_of(
    extractors: Sequence[Any], careful: bool = False, **params: Any
) -> SpatialVerification:
    """Verification by the local features that are kept of photos.

    Parameters
    ----------
    extractors : sequence of LearnedFeatureExtractor
        One at least.
    careful : bool, default=False
        Whether to compare ALIKED's features, if these are kept, and to let LightGlue look again at
        what they leave open. XFeat's it tells apart no better than nearest neighbours do.
    **params
        Of `SpatialVerification`, such as `n_careful`.

    Returns
    -------
    SpatialVerification

    Examples
    --------
    >>> from sklearn_cmac import LearnedFeatureExtractor
    >>> from sklearn_cmac.search import verifier_of
    >>> kept = [LearnedFeatureExtractor(), LearnedFeatureExtractor("aliked-n16")]
    >>> verifier_of(kept, n_candidates=20).extractor.network
    'xfeat'
    >>> verifier_of(kept, careful=True).careful.matcher
    LightGlueMatcher()
    """
    quick, telling = by_care(extractors)
    if not careful or telling.network == _QUICK:
        return SpatialVerification(quick, **params)
    again = SpatialVerification(telling, matcher=LightGlueMatcher())
    return SpatialVerification(telling, careful=again, **params)


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
        What finds the local features that are kept of photos, see `verifier_of`; without one,
        nothing is verified. Only the best chain is careful.
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
    match: _Steps = [("match", RegionMatching())] if regions else []
    if effort == FAST:
        return Chain(match)
    walk = CandidateNeighbors(alpha=_ALPHA, min_photos=_FEWEST)
    if not extractors:
        return Chain([*match, ("neighbors", walk)] if regions else [])
    careful = effort == BEST
    verifier = verifier_of(extractors, careful, n_careful=_OPEN, verbose=verbose)
    if verifier.extractor.network == _QUICK:
        verifier.set_params(n_candidates=_FEW, min_inliers=_SURE_BY_XFEAT)
    else:
        n_candidates = _MANY if careful else _FEW
        verifier.set_params(n_candidates=n_candidates, min_inliers=_SURE_BY_ALIKED)
    # Of a query with the regions of many photos, matching is slow, so only the photos that the
    # walk sorts are matched again. Too few photos to walk among are sorted by that.
    again: _Steps = [("match", RegionMatching(walk.n_candidates)), ("neighbors", walk)]
    expand = VerifiedExpansion(verifier, 2 if careful else 1, again if regions else ())
    return Chain([*match, ("expand", expand)])
