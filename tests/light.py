"""A pipeline that describes photos in a millisecond, without a network: for what surrounds it."""

import io
import os

import numpy as np
from PIL import Image
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline

from sklearn_cmac import (
    ActivationMap,
    ClusterMaxPooler,
    GridRegions,
    L2Aggregator,
    LocalFeatures,
    RegionWhitener,
)
from sklearn_cmac.photos import PhotoError, as_photo
from sklearn_cmac.search import RegionMatching, Retriever

TRUST = ["light.Tiles"]


class Tiles(TransformerMixin, BaseEstimator):
    """Maps of 6x8 cells: the colours of 4x4 pixels each."""

    def __init__(self, negative=False):
        self.negative = negative

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        return [self._record(as_photo(item)) for item in X]

    def _record(self, item):
        photo = getattr(item, "photo", item)
        try:
            picture = photo.source
            if isinstance(picture, (bytes, str)) or hasattr(picture, "__fspath__"):
                picture = Image.open(io.BytesIO(picture) if isinstance(picture, bytes) else picture)
            elif isinstance(picture, np.ndarray):
                picture = Image.fromarray(picture)
            small = picture.convert("RGB").resize((32, 24), Image.Resampling.BILINEAR)
        except Exception as error:
            raise PhotoError(f"{photo.name}: is no picture ({error}).") from error
        cells = np.asarray(small, np.float32).reshape(6, 4, 8, 4, 3).transpose(0, 2, 1, 3, 4)
        cells = cells.reshape(6, 8, 48)
        colors = cells.reshape(6, 8, 16, 3).mean(2).astype(np.uint8)
        activations = 255 - cells if self.negative else cells
        return ActivationMap.from_arrays(activations, colors, name=photo.name)


PLACES = np.random.default_rng(0).uniform(0, 100, (40, 2))


class Points(BaseEstimator):
    """Takes the place of an extractor: finds as many features that agree as a photo's name says.

    That is a word of it, such as the last; of "… gone" it finds that it is not there any more.
    """

    def __init__(self, word=-1):
        self.word = word

    def transform(self, X):
        return [self._features(as_photo(item).name) for item in X]

    def _features(self, name):
        if name.endswith("gone"):
            raise PhotoError(f"{name}: is not there any more.")
        n = int(name.split()[self.word])
        return LocalFeatures(PLACES[:n], np.eye(40)[:n], name, (100, 100))


def make_light(regions=True, **params):
    """A fitted pipeline; with region matching behind it, unless told otherwise."""
    whiten = RegionWhitener.from_arrays(np.full(48, 0.1), np.eye(48))
    steps = Tiles(**params), GridRegions(2), ClusterMaxPooler(), whiten, L2Aggregator()
    pipeline = make_pipeline(*steps)
    for step in (steps[0], steps[-1]):
        step.fit([np.ones((1, 48), np.float32)])
    if not regions:
        return pipeline
    return Retriever(FrozenEstimator(pipeline), [("match", RegionMatching())]).fit([])


def write_photos(folder, numbers, seed=0):
    """Pictures that differ, by their numbers; old enough that their times tell.

    Each is there as a whole or not at all, also where the process is killed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in numbers:
        pixels = np.random.default_rng([seed, number]).integers(0, 255, (24, 32, 3), np.uint8)
        path, part = folder / f"{number:04}.png", folder / f"{number:04}.part"
        Image.fromarray(pixels).save(part, "PNG")
        os.utime(part, (1e9 + number, 1e9 + seed))
        part.replace(path)
        paths.append(path)
    return paths
