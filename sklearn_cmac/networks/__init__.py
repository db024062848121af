"""Networks by name: how each is built, fed and cut at a layer, and whose weights it has.

A network is built when its first photo arrives, once for all estimators of a process, and is part
of no pickle. Nothing here knows about the extractor, records or pipelines.
"""

from sklearn_cmac.networks._converted import cache_folder
from sklearn_cmac.networks._detectors import (
    ALIKED_CHANNELS,
    ALIKED_LEVELS,
    DETECTORS,
    XFEAT_CHANNELS,
    AlikedHead,
    aliked_head,
    get_detector,
)
from sklearn_cmac.networks._engines import (
    ENGINES,
    TORCH,
    ConversionError,
    InferenceEngine,
    Runner,
    best_device,
    choose_arithmetic,
    choose_engine,
    installed_engines,
    speed_advice,
)
from sklearn_cmac.networks._lightglue import LIGHTGLUE_DIMENSIONS, match_by_lightglue
from sklearn_cmac.networks._matching_layers import Points
from sklearn_cmac.networks._plain_contents import WeightsError, as_array, read_plain_contents
from sklearn_cmac.networks._record import Backbone, Layer, pick_layer
from sklearn_cmac.networks._registry import get_backbone, register_network
from sklearn_cmac.networks._weights import WeightsFile

__all__ = [
    "ALIKED_CHANNELS",
    "ALIKED_LEVELS",
    "DETECTORS",
    "ENGINES",
    "LIGHTGLUE_DIMENSIONS",
    "TORCH",
    "XFEAT_CHANNELS",
    "AlikedHead",
    "Backbone",
    "ConversionError",
    "InferenceEngine",
    "Layer",
    "Points",
    "Runner",
    "WeightsError",
    "WeightsFile",
    "aliked_head",
    "as_array",
    "best_device",
    "cache_folder",
    "choose_arithmetic",
    "choose_engine",
    "get_backbone",
    "get_detector",
    "installed_engines",
    "match_by_lightglue",
    "pick_layer",
    "read_plain_contents",
    "register_network",
    "speed_advice",
]
