"""
Which parts of two photos answer each other
===========================================

A score says how much two photos have in common, and their regions say what: for each region of the
query there is one in the other photo that is most like it.
"""

# %%
# A palace and an astronaut, and a closer and darker look at each.

import matplotlib.pyplot as plt
import numpy as np
from skimage import data
from sklearn.datasets import load_sample_images

palace, astronaut = load_sample_images().images[0], data.astronaut()
closer_palace = (0.7 * palace[40:360, 120:560]).astype(np.uint8)
closer_astronaut = (0.7 * astronaut[:400, 60:460]).astype(np.uint8)

# %%
# Eight clusters of each photo's activations: few enough to tell their colours apart. Components are
# fitted on these and two other photos, and the whitening is the one that is installed.

from sklearn_cmac import NCutClusterer, ShippedWhitener, make_cmac_pipeline

pipeline = make_cmac_pipeline(
    features__scales=(1.0,),
    regions=NCutClusterer(n_clusters=8, n_color_clusters=0, spatial_weight=0.6),
    whiten=ShippedWhitener(),
)
pipeline.fit([palace, astronaut, data.rocket(), data.coffee()])

# %%
# Regions of one colour are a pair.

from sklearn_cmac.inspection import overlay_matches

figure, axes = plt.subplots(2, 2, figsize=(8, 6.4), layout="constrained")
for row, pair in zip(axes, [(palace, closer_palace), (astronaut, closer_astronaut)]):
    for axis, picture in zip(row, overlay_matches(*pair, pipeline, n_matches=5)):
        axis.imshow(picture)
        axis.set_axis_off()

# %%
# How alike the pairs are. Regions of the palace find their like in the other photo of it, and
# nothing like them in the astronaut. :class:`~sklearn_cmac.search.RegionMatching` ranks photos by
# the mean of these.

from sklearn_cmac.search import match_regions

asked, *others = pipeline[:-1].transform([palace, closer_palace, astronaut])
figure, axis = plt.subplots(figsize=(7, 3), layout="constrained")
for k, (name, other) in enumerate(zip(["the palace, closer", "the astronaut"], others)):
    similarities = match_regions(asked, other).similarities
    axis.bar(np.arange(8) + 0.4 * k, similarities, width=0.4, align="edge", label=name)
axis.set(xlabel="region of the palace", ylabel="similarity of its match", xticks=[])
axis.legend(frameon=False)
plt.show()
