"""The steps behind the first ranking by the names of the command line and the tables."""

from __future__ import annotations

from collections.abc import Callable

from sklearn_cmac.reranking._expansion import DatabaseAugmentation, QueryExpansion
from sklearn_cmac.reranking._graph import Diffusion, ReciprocalNeighbors
from sklearn_cmac.reranking._late_interaction import RegionMatching
from sklearn_cmac.reranking._localization import Localization
from sklearn_cmac.reranking._step import RerankingStep
from sklearn_cmac.reranking._verification import SpatialVerification

RERANKING: dict[str, Callable[[], RerankingStep | None]] = {
    "none": lambda: None,
    "localization": Localization,
    "matching": RegionMatching,
    "spatial": SpatialVerification,
    "reciprocal": ReciprocalNeighbors,
    "diffusion": Diffusion,
}
EXPANSION: dict[str, Callable[[], RerankingStep | None]] = {
    "none": lambda: None,
    "qe": QueryExpansion,
    "aqe": lambda: QueryExpansion(alpha=3.0),
    "dba": DatabaseAugmentation,
    "reciprocal": ReciprocalNeighbors,
    "diffusion": Diffusion,
}


def make_chain(
    rerank: str = "none", expand: str = "none", verbose: bool | int = False
) -> list[tuple[str, RerankingStep]]:
    """What follows the first ranking, by name.

    Parameters
    ----------
    rerank : str, default="none"
        A key of `RERANKING`.
    expand : str, default="none"
        A key of `EXPANSION`; it works on what reranking made.
    verbose : bool or int, default=False
        Whether steps that look at photos again show progress.

    Returns
    -------
    list of (str, RerankingStep)
        For a `Retriever`: "rerank", "expand", or both, or nothing.

    Examples
    --------
    >>> from sklearn_cmac.reranking import make_chain
    >>> make_chain("localization", "qe")
    [('rerank', Localization()), ('expand', QueryExpansion(n_neighbors=5))]
    """
    chain = [("rerank", RERANKING[rerank]()), ("expand", EXPANSION[expand]())]
    # R averages the 5 best windows with the query, as published.
    if rerank == "localization" and expand == "qe":
        chain[1] = ("expand", QueryExpansion(n_neighbors=5))
    present = [(name, step) for name, step in chain if step is not None]
    for _, step in present:
        if "verbose" in step.get_params():
            step.set_params(verbose=verbose)
    return present
