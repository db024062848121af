"""The named systems, each a pipeline of the same steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from sklearn.pipeline import Pipeline

from sklearn_cmac.aggregation import L2Aggregator
from sklearn_cmac.extraction import ConvFeatureExtractor
from sklearn_cmac.local import VLAD, BagOfWords, FisherVector, LocalFeatureExtractor
from sklearn_cmac.memory import as_photo_memory
from sklearn_cmac.networks import get_backbone
from sklearn_cmac.photos import Item
from sklearn_cmac.pooling import ClusterMaxPooler, CroWPooler, GeMPooler, SPoCPooler
from sklearn_cmac.projection import ActivationPCA
from sklearn_cmac.regions import (
    GridRegions,
    NCutClusterer,
    RegionUnion,
    WholeRegion,
)
from sklearn_cmac.shipped_whitening import SHIPPED, ShippedWhitener
from sklearn_cmac.whitening import RegionWhitener

# Fewer photos are whitened as other photos were, more by themselves, with so much shrinkage at
# least: docs/measurements.md has what serves 20, 50, 200 and 500.
OWN_WHITENING_FROM = 100
OWN_SHRINKAGE = 10.0


class Tokens(NamedTuple):
    """A transformer of today as presets use it.

    Parameters
    ----------
    backbone : str
        As timm calls it, with the tag of its published weights.
    max_size : int
        Pixels of the long side to start from: about as many patches as it was trained on.
    """

    backbone: str
    max_size: int


TRANSFORMERS = {
    "dinov2": Tokens("timm/vit_base_patch14_reg4_dinov2.lvd142m", 518),
    "dinov3": Tokens("timm/vit_base_patch16_dinov3.lvd1689m", 768),
    "siglip2": Tokens("timm/vit_base_patch16_siglip_gap_512.v2_webli", 512),
    "pe": Tokens("timm/vit_pe_spatial_base_patch16_512.fb", 512),
}


def make_cmac_pipeline(
    preset: str = "default",
    *,
    weights: Any = "default",
    memory: Any = None,
    verbose: bool = False,
    **params: Any,
) -> Pipeline:
    """Regions that are clusters of activations: the paper's method, and what became of it.

    Parameters
    ----------
    preset : {"default", "paper", "mixed", "dinov2", "dinov3", "siglip2", "pe"}, default="default"
        "paper" has the paper's settings. "default" has those that retrieve best: photos are
        described at 724 and at 512 pixels, cells are compared in 16 whitened components and by
        their places, clusters are widened, pooled by their generalized mean and weighted by how
        central they are, and whitening is damped. "mixed" takes R-MAC's squares and these clusters
        together; it is the best of the three, and has the most vectors a photo. Each setting's
        part is measured in the documentation.
        The others are "mixed" on the patch tokens of a transformer of that name
        (`pipelines.TRANSFORMERS`), whose values may be negative, so that regions are summed.
    weights : "default", None, path or str, default="default"
        As for `ConvFeatureExtractor`. Of transformers, "default" is downloaded by timm.
    memory : str or joblib.Memory, optional
        Caches what fitted steps return, as in `sklearn.pipeline.Pipeline`; photos count by their
        content (`memory.PhotoMemory`).
    verbose : bool, default=False
        Whether fitting prints the time of each step.
    **params
        Parameters of the steps by their path, such as ``pca__n_components=7`` or
        ``features__store="maps/"``, or whole steps, such as ``regions=GridRegions()``.

    Returns
    -------
    sklearn.pipeline.Pipeline
        With the steps `features`, `pca`, `regions`, `pool`, `whiten` and `aggregate`.

    Raises
    ------
    ValueError
        If there is no such preset.

    Examples
    --------
    >>> from sklearn_cmac import make_cmac_pipeline
    >>> pipeline = make_cmac_pipeline(pca__n_components=8, regions__n_clusters=(5, 10, 20))
    >>> list(pipeline.named_steps)
    ['features', 'pca', 'regions', 'pool', 'whiten', 'aggregate']
    >>> make_cmac_pipeline(preset="paper")["pca"].n_components
    4
    >>> make_cmac_pipeline("dinov3", weights="dinov3.safetensors")["features"].backbone
    'timm/vit_base_patch16_dinov3.lvd1689m'
    """
    if weights != "default":
        params = {"features__weights": weights, **params}
    if preset == "paper":
        return _make(memory, verbose, params, pca=ActivationPCA(), regions=NCutClusterer())
    regions: Any = NCutClusterer(spatial_weight=0.6, grow=0.15)
    pool: Any = GeMPooler(region_weight="center")
    if preset == "mixed" or preset in TRANSFORMERS:
        regions = RegionUnion([("squares", GridRegions()), ("clusters", regions)])
    elif preset != "default":
        known = ["default", "paper", "mixed", *TRANSFORMERS]
        raise ValueError(f"preset is one of {known}, got {preset!r}")
    features = ConvFeatureExtractor(max_size=724, scales=(1.0, 2**-0.5))
    if preset in TRANSFORMERS:
        features = ConvFeatureExtractor(**TRANSFORMERS[preset]._asdict())
        pool = SPoCPooler(center_prior=False, region_weight="center")
    return _make(
        memory,
        verbose,
        params,
        features=features,
        pca=ActivationPCA(n_components=16, weighting="whiten"),
        regions=regions,
        pool=pool,
        whiten=RegionWhitener(shrinkage=1.0),
    )


def make_rmac_pipeline(*, memory: Any = None, verbose: bool = False, **params: Any) -> Pipeline:
    """Regions that are squares of a grid: R-MAC (Tolias, Sicre, Jégou, ICLR 2016).

    Parameters
    ----------
    memory, verbose, **params
        As for `make_cmac_pipeline`.

    Returns
    -------
    sklearn.pipeline.Pipeline
        With the steps `features`, `regions`, `pool`, `whiten` and `aggregate`.

    Examples
    --------
    >>> from sklearn_cmac import make_rmac_pipeline
    >>> make_rmac_pipeline(regions__n_levels=4)["regions"]
    GridRegions(n_levels=4)
    """
    return _make(memory, verbose, params, regions=GridRegions())


def make_mac_pipeline(*, memory: Any = None, verbose: bool = False, **params: Any) -> Pipeline:
    """One region, the whole map: MAC.

    Parameters
    ----------
    memory, verbose, **params
        As for `make_cmac_pipeline`.

    Returns
    -------
    sklearn.pipeline.Pipeline
        With the steps `features`, `regions`, `pool`, `whiten` and `aggregate`.

    Examples
    --------
    >>> from sklearn_cmac import make_mac_pipeline
    >>> make_mac_pipeline(whiten__n_components=256)["whiten"].n_components
    256
    """
    return _make(memory, verbose, params)


def make_siamac_pipeline(*, memory: Any = None, verbose: bool = False, **params: Any) -> Pipeline:
    """MAC with learned whitening: siaMAC (Radenović, Tolias, Chum, ECCV 2016), bar its network.

    It is fitted with a label for each photo, or with ``whiten__pairs``. The network that the
    authors fine-tuned comes with `checkpoints.pipeline_from_checkpoint`.

    Parameters
    ----------
    memory, verbose, **params
        As for `make_cmac_pipeline`.

    Returns
    -------
    sklearn.pipeline.Pipeline
        With the steps `features`, `regions`, `pool`, `whiten` and `aggregate`.

    Examples
    --------
    >>> from sklearn_cmac import make_siamac_pipeline
    >>> make_siamac_pipeline()["whiten"]
    RegionWhitener(method='learned')
    """
    return _make(memory, verbose, params, whiten=RegionWhitener(method="learned"))


def make_spoc_pipeline(*, memory: Any = None, verbose: bool = False, **params: Any) -> Pipeline:
    """The whole map summed about its centre: SPoC (Babenko, Lempitsky, ICCV 2015).

    Parameters
    ----------
    memory, verbose, **params
        As for `make_cmac_pipeline`.

    Returns
    -------
    sklearn.pipeline.Pipeline
        With the steps `features`, `regions`, `pool`, `whiten` and `aggregate`.

    Examples
    --------
    >>> from sklearn_cmac import make_spoc_pipeline
    >>> make_spoc_pipeline(pool__center_prior=False)["pool"]
    SPoCPooler(center_prior=False)
    """
    return _make(memory, verbose, params, pool=SPoCPooler())


def make_crow_pipeline(*, memory: Any = None, verbose: bool = False, **params: Any) -> Pipeline:
    """Strong cells and rare channels: CroW (Kalantidis, Mellina, Osindero, ECCVW 2016).

    Parameters
    ----------
    memory, verbose, **params
        As for `make_cmac_pipeline`.

    Returns
    -------
    sklearn.pipeline.Pipeline
        With the steps `features`, `regions`, `pool`, `whiten` and `aggregate`.

    Examples
    --------
    >>> from sklearn_cmac import make_crow_pipeline
    >>> make_crow_pipeline()["pool"]
    CroWPooler()
    """
    return _make(memory, verbose, params, pool=CroWPooler())


def make_gem_pipeline(*, memory: Any = None, verbose: bool = False, **params: Any) -> Pipeline:
    """The generalized mean of the whole map: GeM (Radenović, Tolias, Chum, TPAMI 2019).

    Parameters
    ----------
    memory, verbose, **params
        As for `make_cmac_pipeline`.

    Returns
    -------
    sklearn.pipeline.Pipeline
        With the steps `features`, `regions`, `pool`, `whiten` and `aggregate`.

    Examples
    --------
    >>> from sklearn_cmac import make_gem_pipeline
    >>> make_gem_pipeline(pool__p=4.0)["pool"]
    GeMPooler(p=4.0)
    """
    return _make(memory, verbose, params, pool=GeMPooler())


def make_dir_pipeline(
    *, layer: Any = None, memory: Any = None, verbose: bool = False, **params: Any
) -> Pipeline:
    """ResNet101, a grid of two levels, and a layer or PCA after pooling: DIR (Gordo et al.).

    DIR trained the network and the layer for retrieval. With ImageNet's weights and without a
    layer this is the system from which that training starts. For proposals in place of the grid,
    set ``regions=BoxRegions(...)``.

    Parameters
    ----------
    layer : FullyConnected, optional
        What DIR calls shift and FC: of a shift s and a layer of W and b, it is
        ``FullyConnected(W, W @ s + b)``. Default: PCA whitening.
    memory, verbose, **params
        As for `make_cmac_pipeline`; ``features__weights`` is the network's file.

    Returns
    -------
    sklearn.pipeline.Pipeline
        With the steps `features`, `regions`, `pool`, `whiten` or `project`, and `aggregate`.

    References
    ----------
    A. Gordo, J. Almazán, J. Revaud, D. Larlus, "End-to-end learning of deep visual
    representations for image retrieval", IJCV 2017.

    Examples
    --------
    >>> from sklearn_cmac import make_dir_pipeline
    >>> make_dir_pipeline()["regions"]
    GridRegions(n_levels=2, stride=32)
    """
    steps: dict[str, Any] = {
        "features": ConvFeatureExtractor("resnet101", max_size=800),
        "regions": GridRegions(n_levels=2, stride=32),
    }
    if layer is not None:
        steps.update(whiten=None, project=layer)
    return _make(memory, verbose, params, **steps)


def make_neural_codes_pipeline(
    *, memory: Any = None, verbose: bool = False, **params: Any
) -> Pipeline:
    """VGG16's first fully connected layer: neural codes (Babenko et al., ECCV 2014).

    The publication squeezes each photo to the square that the layer was trained on. Here the
    photo keeps its shape, the layer slides over it, and the maximum is taken; on a square photo
    with ``features__max_size=224`` both are the same.

    Parameters
    ----------
    memory, verbose, **params
        As for `make_cmac_pipeline`.

    Returns
    -------
    sklearn.pipeline.Pipeline
        With the steps `features`, `regions`, `pool`, `whiten` and `aggregate`.

    Examples
    --------
    >>> from sklearn_cmac import make_neural_codes_pipeline
    >>> make_neural_codes_pipeline()["features"].layer
    'fc6'
    """
    features = ConvFeatureExtractor("vgg16", layer="fc6", max_size=512, enlarge=True)
    return _make(memory, verbose, params, features=features)


def make_bow_pipeline(*, memory: Any = None, verbose: bool = False, **params: Any) -> Pipeline:
    """Counts of visual words: bags of words (Sivic, Zisserman, ICCV 2003).

    Parameters
    ----------
    memory, verbose, **params
        As for `make_cmac_pipeline`.

    Returns
    -------
    sklearn.pipeline.Pipeline
        With the steps `features` and `encode`. `search.SpatialVerification` is the system's
        other half.

    Examples
    --------
    >>> from sklearn_cmac import make_bow_pipeline
    >>> make_bow_pipeline(encode__n_words=5000)["encode"]
    BagOfWords(n_words=5000)
    """
    return _make_local(memory, verbose, params, BagOfWords())


def make_vlad_pipeline(*, memory: Any = None, verbose: bool = False, **params: Any) -> Pipeline:
    """Residuals of local features to visual words: VLAD (Jégou et al., PAMI 2012).

    Parameters
    ----------
    memory, verbose, **params
        As for `make_cmac_pipeline`.

    Returns
    -------
    sklearn.pipeline.Pipeline
        With the steps `features` and `encode`.

    Examples
    --------
    >>> from sklearn_cmac import make_vlad_pipeline
    >>> make_vlad_pipeline(encode__intra_normalize=True)["encode"]
    VLAD(intra_normalize=True)
    """
    return _make_local(memory, verbose, params, VLAD())


def make_fisher_pipeline(*, memory: Any = None, verbose: bool = False, **params: Any) -> Pipeline:
    """Gradients of a mixture of Gaussians: Fisher vectors (Perronnin et al., ECCV 2010).

    Parameters
    ----------
    memory, verbose, **params
        As for `make_cmac_pipeline`.

    Returns
    -------
    sklearn.pipeline.Pipeline
        With the steps `features` and `encode`.

    Examples
    --------
    >>> from sklearn_cmac import make_fisher_pipeline
    >>> make_fisher_pipeline(features__max_size=512)["features"]
    LocalFeatureExtractor(max_size=512)
    """
    return _make_local(memory, verbose, params, FisherVector())


def fit_to_search(pipeline: Pipeline, photos: Sequence[Item]) -> Pipeline:
    """Fit a pipeline on the photos that it is to search, with the whitening that serves so many.

    Fewer than `OWN_WHITENING_FROM` photos are whitened as the photos of the installed whitening
    were, and others by their own, with a shrinkage of `OWN_SHRINKAGE` at least: what few objects
    differ in is much of their variance, which full whitening takes away. A network for which no
    whitening is installed, or one learned from labels, is fitted as it is. To measure retrieval,
    use `fit`, on other photos.

    Parameters
    ----------
    pipeline : Pipeline
        Its step `whiten` may be exchanged, or its shrinkage raised.
    photos : sequence of photos

    Returns
    -------
    Pipeline
        The same, fitted; ``pipeline["whiten"].provenance_["summary"]`` says which it took.

    Examples
    --------
    >>> from sklearn_cmac import make_rmac_pipeline
    >>> from sklearn_cmac.datasets import make_object_scenes
    >>> from sklearn_cmac.pipelines import fit_to_search
    >>> photos = make_object_scenes(2, 2, 0, size=(128, 96)).photos
    >>> fit_to_search(make_rmac_pipeline(), photos)["whiten"]
    ShippedWhitener()
    """
    photos = list(photos)
    if _takes_shipped_whitening(pipeline):
        if len(photos) < OWN_WHITENING_FROM:
            pipeline.set_params(whiten=ShippedWhitener(pipeline[0].network.name))
        else:
            shrinkage = max(pipeline["whiten"].shrinkage, OWN_SHRINKAGE)
            pipeline.set_params(whiten__shrinkage=shrinkage)
    return pipeline.fit(photos)


def _takes_shipped_whitening(pipeline: Pipeline) -> bool:
    """Whether the pipeline whitens, without labels, what a network with such a file describes."""
    features, whitener = pipeline[0], pipeline.named_steps.get("whiten")
    if not isinstance(features, ConvFeatureExtractor) or not isinstance(whitener, RegionWhitener):
        return False
    network = features.network
    return (
        whitener.method == "pca"
        and network.name in SHIPPED
        and ShippedWhitener(network.name).fits(network)
    )


def _make_local(memory: Any, verbose: bool, params: dict[str, Any], encode: Any) -> Pipeline:
    steps = [("features", LocalFeatureExtractor()), ("encode", encode)]
    return Pipeline(steps, memory=as_photo_memory(memory), verbose=verbose).set_params(**params)


def _make(memory: Any, verbose: bool, params: dict[str, Any], **steps: Any) -> Pipeline:
    """MAC, but for the steps that a system has otherwise; None leaves one out."""
    mac = {
        "features": ConvFeatureExtractor(),
        "pca": None,
        "regions": WholeRegion(),
        "pool": ClusterMaxPooler(),
        "project": None,
        "whiten": RegionWhitener(),
        "aggregate": L2Aggregator(),
    }
    present = [(name, step) for name, step in {**mac, **steps}.items() if step is not None]
    pipeline = Pipeline(present, memory=as_photo_memory(memory), verbose=verbose)
    pipeline.set_params(**params)
    whitener = pipeline.named_steps.get("whiten")
    if isinstance(whitener, ShippedWhitener):
        whitener.check_network(pipeline["features"].network)
    return pipeline


class System(NamedTuple):
    """A named system.

    Parameters
    ----------
    label : str
        What tables call it.
    make : callable
        One of the functions above, perhaps with a preset.
    of_network : callable, optional
        Parameters, by their paths, that it takes from a network, whose name is given.
    learned : bool, default=False
        Whether it is fitted with a label for each photo, "" where there is none.
    only : str, optional
        The one network that it is of, or "sift". Default: any network.

    Examples
    --------
    >>> from sklearn_cmac.pipelines import SYSTEMS
    >>> paper = SYSTEMS["paper"]
    >>> paper.label, paper.of_network("resnet101")
    ('clusters, paper', {'pca__n_components': 7})
    >>> pipeline = paper.make(whiten__shrinkage=1.0)
    """

    label: str
    make: Callable[..., Pipeline]
    of_network: Callable[[str], dict[str, Any]] = lambda backbone: {}
    learned: bool = False
    only: str | None = None


def _stride_of(backbone: str) -> dict[str, Any]:
    return {"regions__stride": get_backbone(backbone, None).stride}


def _components_of(backbone: str) -> dict[str, Any]:
    """The paper's C."""
    return {"pca__n_components": 7 if backbone == "resnet101" else 4}


SYSTEMS = {
    "mac": System("MAC", make_mac_pipeline),
    "rmac": System("R-MAC", make_rmac_pipeline),
    "spoc": System("SPoC", make_spoc_pipeline),
    "crow": System("CroW", make_crow_pipeline),
    "gem": System("GeM", make_gem_pipeline),
    "siamac": System("siaMAC", partial(make_siamac_pipeline, whiten__distractor=""), learned=True),
    "dir": System("DIR-grid", make_dir_pipeline, _stride_of),
    "neural-codes": System("neural codes", make_neural_codes_pipeline, only="vgg16"),
    "paper": System("clusters, paper", partial(make_cmac_pipeline, "paper"), _components_of),
    "cmac": System("clusters, default", make_cmac_pipeline),
    "mixed": System("squares and clusters", partial(make_cmac_pipeline, "mixed")),
    "bow": System("BoW", make_bow_pipeline, only="sift"),
    "vlad": System("VLAD", make_vlad_pipeline, only="sift"),
    "fisher": System("Fisher vector", make_fisher_pipeline, only="sift"),
}
