"""
Compare systems
===============

MAC has one region, R-MAC has squares, CMAC has clusters, and any of them may be ranked region by
region. Here they are on one set of photos, as a benchmark compares them: precision over recall, and
mean average precision.
"""

# %%
# Five objects in four made scenes each. Every box asks for the other scenes of its object, and its
# own is left out.

import tempfile

import matplotlib.pyplot as plt
from skimage import data
from sklearn.datasets import load_sample_images

from sklearn_cmac.datasets import as_benchmark, make_object_scenes

samples = [data.coffee(), data.chelsea(), data.rocket(), data.astronaut()]
sources = [*load_sample_images().images, *samples]
scenes = make_object_scenes(5, 4, 0, sources=sources, size=(320, 240), object_scale=(0.9, 1.4))
benchmark = as_benchmark(scenes)

# %%
# The systems share a store, so the network looks at each photo once. Only clusters have something
# to learn, the components in which cells are compared. They learn it from the sample photos.

from sklearn_cmac import (
    ShippedWhitener,
    make_cmac_pipeline,
    make_mac_pipeline,
    make_rmac_pipeline,
)
from sklearn_cmac.search import Retriever

maps = tempfile.TemporaryDirectory()
shared = {"features__store": maps.name, "whiten": ShippedWhitener()}
systems = {
    "MAC": make_mac_pipeline(**shared),
    "R-MAC": make_rmac_pipeline(**shared),
    "clusters": make_cmac_pipeline(**shared),
    "R-MAC, by region": Retriever(make_rmac_pipeline(**shared), first="regions"),
}

# %%
# Twenty queries on made scenes are few, so differences of a few points mean nothing here. What the
# systems are worth on photos of buildings is measured in the guide.

from sklearn_cmac.inspection import PrecisionRecallDisplay

figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
for name, system in systems.items():
    PrecisionRecallDisplay.from_estimator(
        system.fit(sources),
        benchmark.queries,
        benchmark.photos,
        benchmark.relevance,
        exclude=benchmark.exclude,
        name=name,
        ax=axis,
    )
plt.show()

# sphinx_gallery_start_ignore
maps.cleanup()
# sphinx_gallery_end_ignore
