"""Networks that others fine-tuned for retrieval, read from the files that they published.

Two layouts are known: that of cnnimageretrieval-pytorch (siaMAC's authors; MAC, SPoC and GeM with
learned whitening) and that of deep-image-retrieval (DIR's authors). Nothing of a file is run.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils import Bunch

from sklearn_cmac.aggregation import L2Aggregator
from sklearn_cmac.extraction import ConvFeatureExtractor
from sklearn_cmac.fully_connected import FullyConnected
from sklearn_cmac.memory import as_photo_memory
from sklearn_cmac.networks import WeightsError, as_array, read_plain_contents
from sklearn_cmac.pooling import ClusterMaxPooler, GeMPooler, SPoCPooler
from sklearn_cmac.regions import WholeRegion
from sklearn_cmac.whitening import RegionWhitener

_BACKBONES = ("vgg16", "resnet101")


def load_checkpoint(path: str | os.PathLike[str]) -> Bunch:
    """What a published checkpoint holds.

    Parameters
    ----------
    path : path
        A file of cnnimageretrieval-pytorch or of deep-image-retrieval, for VGG16 or ResNet101.

    Returns
    -------
    sklearn.utils.Bunch
        `layout` ("cnnimageretrieval" or "dir"), `backbone` and `weights` (parameters of
        `ConvFeatureExtractor`), `pool` (a pooler), `fc` (a `FullyConnected` or None),
        `whitenings` (dict from name to fitted `RegionWhitener`), `default_whitening` (the name
        that the published program would take, or None) and `meta` (the file's description of the
        network).

    Raises
    ------
    WeightsError
        If the file is missing, damaged, holds anything but data, is of another layout, or
        describes a network that is not known here.

    Examples
    --------
    >>> from sklearn_cmac.checkpoints import load_checkpoint
    >>> load_checkpoint("retrievalSfM120k-vgg16-gem.pth").pool  # doctest: +SKIP
    GeMPooler(p=2.92)
    """
    file = os.fspath(path)
    contents = read_plain_contents(file)
    try:
        return _interpret(contents, file)
    except WeightsError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise WeightsError(
            f"{file}: a part of this checkpoint is missing or is not as published "
            f"({type(error).__name__}: {error})."
        ) from error


def pipeline_from_checkpoint(
    path: str | os.PathLike[str],
    whitening: str | None = "default",
    *,
    memory: Any = None,
    verbose: bool = False,
    **params: Any,
) -> Pipeline:
    """The published system, ready to describe photos: nothing has to be fitted.

    It describes each photo at one scale; the publications also report several.

    Parameters
    ----------
    path : path
        As for `load_checkpoint`.
    whitening : str or None, default="default"
        Which of the file's whitenings: its name, such as "retrieval-SfM-120k", or the one that
        the published program would take, or none.
    memory, verbose, **params
        As for `make_cmac_pipeline`.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Fitted, with the steps `features`, `regions`, `pool`, `project` if the network has a
        fully connected layer, `whiten` and `aggregate`. A clone of it is not fitted, and would
        learn its own whitening.

    Raises
    ------
    WeightsError
        If `load_checkpoint` refuses the file, or it has no such whitening.

    Examples
    --------
    >>> from sklearn_cmac.checkpoints import pipeline_from_checkpoint
    >>> pipeline = pipeline_from_checkpoint("Resnet-101-AP-GeM.pt")  # doctest: +SKIP
    >>> pipeline.transform(["photo.jpg"]).shape  # doctest: +SKIP
    (1, 2048)
    """
    checkpoint = load_checkpoint(path)
    name = checkpoint.default_whitening if whitening == "default" else whitening
    if name is not None and name not in checkpoint.whitenings:
        raise WeightsError(
            f"{checkpoint.weights}: has no whitening {name!r}; it has "
            f"{', '.join(map(repr, checkpoint.whitenings)) or 'none'}."
        )
    extractor = ConvFeatureExtractor(checkpoint.backbone, checkpoint.weights)
    steps = [("features", extractor), ("regions", WholeRegion()), ("pool", checkpoint.pool)]
    if checkpoint.fc is not None:
        steps.append(("project", checkpoint.fc))
    steps.append(("whiten", "passthrough" if name is None else checkpoint.whitenings[name]))
    steps.append(("aggregate", L2Aggregator()))
    pipeline = Pipeline(steps, memory=as_photo_memory(memory), verbose=verbose).set_params(**params)
    return _note_lengths(pipeline)


def _note_lengths(pipeline: Pipeline) -> Pipeline:
    """Fit what only has to know how long vectors are, on a vector of that length."""
    pipeline["features"].fit([])
    vectors = [np.ones((1, pipeline["features"].n_features_out_), np.float32)]
    for name in ("project", "whiten", "aggregate"):
        step = pipeline.named_steps.get(name, "passthrough")
        if step == "passthrough":
            continue
        if name != "whiten":
            step.fit(vectors)
        vectors = step.transform(vectors)
    return pipeline


# -- The two layouts --------------------------------------------------------------------------


def _interpret(contents: Any, file: str) -> Bunch:
    if isinstance(contents, Mapping) and isinstance(contents.get("state_dict"), Mapping):
        state = {str(k).removeprefix("module."): v for k, v in contents["state_dict"].items()}
        if isinstance(contents.get("meta"), Mapping) and "architecture" in contents["meta"]:
            return _cnnimageretrieval(contents["meta"], state, file)
        if isinstance(contents.get("model_options"), Mapping):
            return _dir(contents, state, file)
    raise WeightsError(
        f"{file}: is no checkpoint of cnnimageretrieval-pytorch ('meta' and 'state_dict') or of "
        "deep-image-retrieval ('model_options' and 'state_dict'). A file of weights alone is "
        "passed as ConvFeatureExtractor(weights=...)."
    )


def _cnnimageretrieval(meta: Mapping[str, Any], state: Mapping[str, Any], file: str) -> Bunch:
    for option in ("local_whitening", "regional"):
        if meta.get(option):
            raise WeightsError(f"{file}: was trained with {option}, which is not known here.")
    poolers = {
        "mac": lambda: ClusterMaxPooler(),
        "spoc": lambda: SPoCPooler(center_prior=False),
        "gem": lambda: GeMPooler(p=float(as_array(state["pool.p"]).item())),
    }
    whitenings = {
        str(name): RegionWhitener.from_arrays(as_array(w["m"]).ravel(), as_array(w["P"]))
        for name, scales in meta.get("Lw", {}).items()
        for scale, w in scales.items()
        if scale == "ss"  # a single scale; "ms" is for sums over several
    }
    has_fc = bool(meta.get("whitening"))
    return Bunch(
        layout="cnnimageretrieval",
        backbone=_pick(meta["architecture"], _BACKBONES, "network", file),
        weights=file,
        pool=poolers[_pick(meta["pooling"], poolers, "pooling", file)](),
        fc=_layer(state, "whiten") if has_fc else None,
        whitenings=whitenings,
        default_whitening=None if has_fc else next(iter(whitenings), None),
        meta=dict(meta),
    )


def _dir(contents: Mapping[str, Any], state: Mapping[str, Any], file: str) -> Bunch:
    options = contents["model_options"]
    if options.get("center_bias"):
        raise WeightsError(f"{file}: was trained with center_bias, which is not known here.")

    def gem() -> GeMPooler:
        p = state["adpool.p"] if "adpool.p" in state else options.get("gemp", 3)
        return GeMPooler(p=float(as_array(p).item()))

    poolers = {"max": lambda: ClusterMaxPooler(), "avg": lambda: GeMPooler(p=1.0), "gem": gem}
    fc = None if options.get("without_fc") else _layer(state, "fc")
    if fc is not None:
        fc.normalize_input = bool(options.get("norm_features", False))
    return Bunch(
        layout="dir",
        backbone=_pick(str(options["arch"]).removesuffix("_rmac"), _BACKBONES, "network", file),
        weights=file,
        pool=poolers[_pick(options.get("pooling", "gem"), poolers, "pooling", file)](),
        fc=fc,
        whitenings={str(name): _pca(pca) for name, pca in contents.get("pca", {}).items()},
        # The program whitens only if it is told with which.
        default_whitening=None,
        meta=dict(options),
    )


def _pick(name: Any, known: Any, what: str, file: str) -> str:
    if name not in known:
        raise WeightsError(
            f"{file}: its {what} is {name!r}; known here are {', '.join(map(repr, known))}."
        )
    return name


def _layer(state: Mapping[str, Any], name: str) -> FullyConnected:
    return FullyConnected(as_array(state[f"{name}.weight"]), as_array(state[f"{name}.bias"]))


def _pca(pca: Any) -> RegionWhitener:
    """Principal axes of a fitted PCA, each divided by its standard deviation."""
    fitted = vars(pca)
    deviation = np.sqrt(as_array(fitted["explained_variance_"]))
    axes = as_array(fitted["components_"]) / deviation[:, None]
    return RegionWhitener.from_arrays(as_array(fitted["mean_"]), axes)
