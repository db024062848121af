"""Object retrieval with regions that are clusters of CNN activations.

Give it photos, point at an object, get every other photo of that object, ranked. Names are
in the order in which data flow: photos, activation maps, regions, vectors, descriptors.
"""

from sklearn_cmac.aggregation import L2Aggregator
from sklearn_cmac.extraction import ConvFeatureExtractor
from sklearn_cmac.fully_connected import FullyConnected
from sklearn_cmac.local import (
    VLAD,
    BagOfWords,
    FisherVector,
    LearnedFeatureExtractor,
    LocalFeatureExtractor,
    LocalFeatures,
)
from sklearn_cmac.maps import ActivationMap, Regions, RegionVectors
from sklearn_cmac.metrics import RetrievalScorer
from sklearn_cmac.photos import Photo, PhotoError, Query
from sklearn_cmac.pipelines import (
    make_bow_pipeline,
    make_cmac_pipeline,
    make_crow_pipeline,
    make_dir_pipeline,
    make_fisher_pipeline,
    make_gem_pipeline,
    make_mac_pipeline,
    make_neural_codes_pipeline,
    make_rmac_pipeline,
    make_siamac_pipeline,
    make_spoc_pipeline,
    make_vlad_pipeline,
)
from sklearn_cmac.pooling import ClusterMaxPooler, CroWPooler, GeMPooler, SPoCPooler
from sklearn_cmac.projection import ActivationPCA
from sklearn_cmac.regions import (
    BoxRegions,
    ClustererRegions,
    GridRegions,
    NCutClusterer,
    RegionUnion,
    SharedRegions,
    TreeRegions,
    WholeRegion,
)
from sklearn_cmac.shipped_whitening import ShippedWhitener
from sklearn_cmac.whitening import RegionWhitener

__version__ = "0.1.0"

__all__ = [
    "VLAD",
    "ActivationMap",
    "ActivationPCA",
    "BagOfWords",
    "BoxRegions",
    "ClusterMaxPooler",
    "ClustererRegions",
    "ConvFeatureExtractor",
    "CroWPooler",
    "FisherVector",
    "FullyConnected",
    "GeMPooler",
    "GridRegions",
    "L2Aggregator",
    "LearnedFeatureExtractor",
    "LocalFeatureExtractor",
    "LocalFeatures",
    "NCutClusterer",
    "Photo",
    "PhotoError",
    "Query",
    "RegionUnion",
    "RegionVectors",
    "RegionWhitener",
    "Regions",
    "RetrievalScorer",
    "SPoCPooler",
    "SharedRegions",
    "ShippedWhitener",
    "TreeRegions",
    "WholeRegion",
    "make_bow_pipeline",
    "make_cmac_pipeline",
    "make_crow_pipeline",
    "make_dir_pipeline",
    "make_fisher_pipeline",
    "make_gem_pipeline",
    "make_mac_pipeline",
    "make_neural_codes_pipeline",
    "make_rmac_pipeline",
    "make_siamac_pipeline",
    "make_spoc_pipeline",
    "make_vlad_pipeline",
]
