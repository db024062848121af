"""
Say what is right and what is wrong
===================================

A first ranking is a proposal. Mark what is right in it and what is wrong, and search again: the
query moves towards the one and away from the other (J. J. Rocchio, 1971).
"""

# %%
# Five objects in five made scenes each. We ask for a piece of the cat, in front of the palace.

import matplotlib.pyplot as plt
import numpy as np
from skimage import data
from sklearn.datasets import load_sample_images

from sklearn_cmac import ShippedWhitener, make_rmac_pipeline
from sklearn_cmac.datasets import make_object_scenes

samples = [data.coffee(), data.chelsea(), data.rocket(), data.astronaut()]
scenes = make_object_scenes(
    5,
    5,
    0,
    sources=[*load_sample_images().images, *samples],
    size=(320, 240),
    object_scale=(1.0, 1.5),
)
photos, right = scenes.photos, np.array(scenes.target) == "object-03"
asked = scenes.target.index("object-03")

# %%
# Descriptors have unit length, so a score is a dot product. The photo that we ask with is left out.

pipeline = make_rmac_pipeline(whiten=ShippedWhitener()).fit(photos[:1])
descriptors = pipeline.transform(photos)
(query,) = pipeline.transform([photos[asked].as_query()])


def ranked(query):
    order = np.argsort(-descriptors @ query)
    return order[order != asked]


first = ranked(query)

# %%
# We look at five photos and mark each. What is right counts more than what is wrong, since there
# are many ways to be wrong.

seen = first[:5]
liked, disliked = descriptors[seen[right[seen]]], descriptors[seen[~right[seen]]]
moved = query + 0.75 * liked.mean(axis=0) - 0.15 * disliked.mean(axis=0)
second = ranked(moved)

# %%
# Before and after. The fourth right photo had no mark, and has come up with the others.

from sklearn_cmac.datasets import Relevance
from sklearn_cmac.inspection import RankingDisplay

relevance = Relevance(positives=np.flatnonzero(right), junk=[])
figure, axes = plt.subplots(2, 1, figsize=(11, 4.2), layout="constrained")
for axis, order, title in zip(axes, [first, second], ["before", "after"]):
    RankingDisplay.from_predictions(
        order, photos, relevance, query=photos[asked].as_query(), n_results=6, ax=axis
    )
    axis.set_title(title, y=0.85)
plt.show()
