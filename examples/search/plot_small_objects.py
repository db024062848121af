"""
Small objects
=============

What fills a thirtieth of a photo is lost among all else in its descriptor. Two things help: compare
regions instead of their sum, and look closer.
"""

# %%
# Four objects in five made scenes each. We ask for a piece of the coffee cup.

import matplotlib.pyplot as plt
import numpy as np
from skimage import data
from sklearn.datasets import load_sample_images

from sklearn_cmac import ShippedWhitener, make_rmac_pipeline
from sklearn_cmac.datasets import make_object_scenes

samples = [data.coffee(), data.chelsea(), data.rocket(), data.astronaut()]
scenes = make_object_scenes(
    4,
    5,
    0,
    sources=[*load_sample_images().images, *samples],
    size=(480, 360),
    object_scale=(0.5, 0.8),
)
photos, right = scenes.photos, np.array(scenes.target) == "object-02"
asked = scenes.target.index("object-02")
query = photos[asked].as_query()
x0, y0, x1, y1 = query.box
print(f"The box takes {(x1 - x0) * (y1 - y0) / (480 * 360):.1%} of its photo.")

# %%
# Three rankings: by one descriptor of each photo, by all of its regions, and by regions of a finer
# grid on photos that are enlarged. Each reads more numbers than the one before. Of large
# collections regions are compared for the first candidates only, by
# :class:`~sklearn_cmac.search.RegionMatching`.

from sklearn_cmac.search import Retriever

plain = make_rmac_pipeline(whiten=ShippedWhitener())
closer = make_rmac_pipeline(
    features__max_size=640,
    features__enlarge=True,
    regions__n_levels=4,
    whiten=ShippedWhitener(),
)
by_descriptors = Retriever(plain).fit(photos[:1])
by_regions = Retriever(plain, first="regions").fit(photos[:1])
by_finer_regions = Retriever(closer, first="regions").fit(photos[:1])
described = by_regions.describe(photos)  # once for two rankings
rankings = {
    "descriptors": by_descriptors.rank([query], described, exclude=[asked])[0],
    "regions": by_regions.rank([query], described, exclude=[asked])[0],
    "finer, and closer": by_finer_regions.rank([query], photos, exclude=[asked])[0],
}
for name, ranking in rankings.items():
    print(f"{name}: the object is at ranks {1 + np.flatnonzero(right[ranking.order])}")

# %%
# Photos with the same background come first, until the object counts for enough.

from sklearn_cmac.datasets import Relevance
from sklearn_cmac.inspection import RankingDisplay

relevance = Relevance(positives=np.flatnonzero(right), junk=[])
figure, axes = plt.subplots(3, 1, figsize=(11, 6.3), layout="constrained")
for axis, (name, ranking) in zip(axes, rankings.items()):
    RankingDisplay.from_predictions(
        ranking.order, photos, relevance, query=query, n_results=6, ax=axis
    )
    axis.set_title(name, y=0.85)
plt.show()
