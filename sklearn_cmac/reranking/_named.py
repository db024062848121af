"""What may follow the first ranking, by the names of the command line and the tables.

A step that is to have a name is registered here.
"""

from __future__ import annotations

from collections.abc import Callable

from sklearn_cmac.reranking._augmentation import DatabaseAugmentation
from sklearn_cmac.reranking._candidates import CandidateNeighbors
from sklearn_cmac.reranking._chain import Chain
from sklearn_cmac.reranking._diffusion import Diffusion
from sklearn_cmac.reranking._expansion import QueryExpansion
from sklearn_cmac.reranking._late_interaction import RegionMatching
from sklearn_cmac.reranking._localization import Localization
from sklearn_cmac.reranking._reciprocal import ReciprocalNeighbors
from sklearn_cmac.reranking._step import RerankingStep
from sklearn_cmac.reranking._verification import SpatialVerification
from sklearn_cmac.reranking._verified_expansion import VerifiedExpansion

RERANKING: dict[str, Callable[[], RerankingStep | None]] = {
    "none": lambda: None,
    "localization": Localization,
    "matching": RegionMatching,
    "spatial": SpatialVerification,
    "reciprocal": ReciprocalNeighbors,
    "diffusion": Diffusion,
    "neighbors": CandidateNeighbors,
}
EXPANSION: dict[str, Callable[[], RerankingStep | DatabaseAugmentation | None]] = {
    "none": lambda: None,
    "qe": QueryExpansion,
    "aqe": lambda: QueryExpansion(alpha=3.0),
    "dba": DatabaseAugmentation,
    "verified": lambda: VerifiedExpansion(SpatialVerification()),
    "reciprocal": ReciprocalNeighbors,
    "diffusion": Diffusion,
    "neighbors": CandidateNeighbors,
}


def make_chain(rerank: str = "none", expand: str = "none", verbose: bool | int = False) -> Chain:
    """What follows the first ranking, by name.

    Parameters
    ----------
    rerank : str, default="none"
        A key of `RERANKING`.
    expand : str, default="none"
        A key of `EXPANSION`; it works on what reranking made, but for "dba", which comes before
        all ranking.
    verbose : bool or int, default=False
        Whether steps that look at photos again show progress.

    Returns
    -------
    Chain
        With steps "rerank", "expand", both, or none.

    Examples
    --------
    >>> from sklearn_cmac.reranking import make_chain
    >>> make_chain("localization", "qe").steps
    [('rerank', Localization()), ('expand', QueryExpansion(n_neighbors=5))]
    """
    reranking, expansion, augmentation = RERANKING[rerank](), EXPANSION[expand](), None
    if isinstance(expansion, DatabaseAugmentation):
        expansion, augmentation = None, expansion
    # R averages the 5 best windows with the query, as published.
    if rerank == "localization" and expand == "qe":
        expansion = QueryExpansion(n_neighbors=5)
    named = (("rerank", reranking), ("expand", expansion))
    steps = [(name, step) for name, step in named if step is not None]
    for _, step in steps:
        paths = [path for path in step.get_params() if path.split("__")[-1] == "verbose"]
        step.set_params(**dict.fromkeys(paths, verbose))
    return Chain(steps, augmentation)
