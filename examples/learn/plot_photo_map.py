"""
A map of your photos
====================

Descriptors of photos that show one thing are near each other. In two dimensions they are a map, and
a clusterer sorts the photos into piles without being told what they show, or how many piles there
are.
"""

# %%
# Five pieces of each of seven photos.

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from PIL import Image
from skimage import data
from sklearn.datasets import load_sample_images
from sklearn.feature_extraction.image import extract_patches_2d

sources = [
    *load_sample_images().images,
    data.coffee(),
    data.chelsea(),
    data.rocket(),
    data.astronaut(),
    data.hubble_deep_field(),
]
photos = [
    piece
    for source in sources
    for piece in extract_patches_2d(source, (240, 240), max_patches=5, random_state=2)
]

# %%
# The 512 numbers of each descriptor become two, and photos that are dense become a pile.

from sklearn.cluster import HDBSCAN
from sklearn.manifold import TSNE

from sklearn_cmac import ShippedWhitener, make_rmac_pipeline

descriptors = make_rmac_pipeline(whiten=ShippedWhitener()).fit_transform(photos)
piles = HDBSCAN(min_cluster_size=4, copy=True).fit_predict(descriptors)
places = TSNE(perplexity=12, metric="cosine", init="random", random_state=0).fit_transform(
    descriptors
)
print(f"{len(photos)} photos: {piles.max() + 1} piles, and {sum(piles < 0)} photos in none")

# %%
# Frames of one colour are a pile, and a grey one is in none.

axis = plt.figure(figsize=(9, 7)).add_axes((0.05, 0.05, 0.9, 0.9))
axis.scatter(*places.T, alpha=0)
for photo, place, pile in zip(photos, places, piles):
    thumbnail = OffsetImage(np.asarray(Image.fromarray(photo).resize((56, 56))))
    color = "gray" if pile < 0 else f"C{pile}"
    frame = {"edgecolor": color, "linewidth": 4, "boxstyle": "square,pad=0"}
    axis.add_artist(AnnotationBbox(thumbnail, place, bboxprops=frame))
axis.set_axis_off()
plt.show()
