"""What happens behind the first ranking: one step a file."""

from sklearn_cmac.reranking._expansion import (
    DatabaseAugmentation,
    QueryExpansion,
    augment_database,
    expand_queries,
)
from sklearn_cmac.reranking._graph import Diffusion, ReciprocalNeighbors
from sklearn_cmac.reranking._late_interaction import RegionMatch, RegionMatching, match_regions
from sklearn_cmac.reranking._localization import Localization
from sklearn_cmac.reranking._named import EXPANSION, RERANKING, make_chain
from sklearn_cmac.reranking._step import DescribedQuery, RankedList, RerankingStep
from sklearn_cmac.reranking._verification import (
    SpatialVerification,
    find_transform,
    match_features,
)

__all__ = [
    "EXPANSION",
    "RERANKING",
    "DatabaseAugmentation",
    "DescribedQuery",
    "Diffusion",
    "Localization",
    "QueryExpansion",
    "RankedList",
    "ReciprocalNeighbors",
    "RegionMatch",
    "RegionMatching",
    "RerankingStep",
    "SpatialVerification",
    "augment_database",
    "expand_queries",
    "find_transform",
    "make_chain",
    "match_features",
    "match_regions",
]
