"""What happens behind the first ranking: one step a file."""

from sklearn_cmac.reranking._augmentation import DatabaseAugmentation, augment_database
from sklearn_cmac.reranking._calibration import (
    CALIBRATIONS,
    MIN_INLIERS,
    fit_calibration,
    same_object_probability,
)
from sklearn_cmac.reranking._candidates import CandidateNeighbors, similarities_among
from sklearn_cmac.reranking._chain import Chain
from sklearn_cmac.reranking._diffusion import Diffusion
from sklearn_cmac.reranking._effort import (
    BEST,
    EFFORTS,
    FAST,
    USUAL,
    by_care,
    chain_of_effort,
    verifier_of,
)
from sklearn_cmac.reranking._embedding import embed_distances
from sklearn_cmac.reranking._expansion import QueryExpansion, expand_queries
from sklearn_cmac.reranking._late_interaction import RegionMatch, RegionMatching, match_regions
from sklearn_cmac.reranking._localization import Localization
from sklearn_cmac.reranking._named import EXPANSION, RERANKING, make_chain
from sklearn_cmac.reranking._reciprocal import ReciprocalNeighbors
from sklearn_cmac.reranking._step import DescribedQuery, RankedList, RerankingStep
from sklearn_cmac.reranking._verification import (
    SpatialMatch,
    SpatialVerification,
    find_transform,
)
from sklearn_cmac.reranking._verified_expansion import VerifiedExpansion

__all__ = [
    "BEST",
    "CALIBRATIONS",
    "EFFORTS",
    "EXPANSION",
    "FAST",
    "MIN_INLIERS",
    "RERANKING",
    "USUAL",
    "CandidateNeighbors",
    "Chain",
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
    "SpatialMatch",
    "SpatialVerification",
    "VerifiedExpansion",
    "augment_database",
    "by_care",
    "chain_of_effort",
    "embed_distances",
    "expand_queries",
    "find_transform",
    "fit_calibration",
    "make_chain",
    "match_regions",
    "same_object_probability",
    "similarities_among",
    "verifier_of",
]
