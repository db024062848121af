"""
What whitening learns from
==========================

Whitening turns vectors so that what most photos share counts little, and what few have counts much.
It has to learn what is common from other photos than those that are searched, and from many.
"""

# %%
# Six pieces of each of four photos are to be told apart, and of three others to learn from. The
# network runs once for all.

import warnings

import matplotlib.pyplot as plt
import numpy as np
from skimage import data
from sklearn.datasets import load_sample_images
from sklearn.feature_extraction.image import extract_patches_2d

from sklearn_cmac import L2Aggregator, RegionWhitener, ShippedWhitener, make_rmac_pipeline

warnings.filterwarnings("ignore", "whitening .* dimensions")  # that photos are few is the point


def pieces_of(*photos):
    pieces = [
        extract_patches_2d(photo, (240, 240), max_patches=6, random_state=0) for photo in photos
    ]
    return list(np.concatenate(pieces))


palace, flower = load_sample_images().images
to_regions = make_rmac_pipeline()[:-2]
mine = to_regions.fit_transform(pieces_of(palace, flower, data.coffee(), data.chelsea()))
others = pieces_of(data.rocket(), data.astronaut(), data.hubble_deep_field())

# %%
# A whitening knows what it is from. The one that is installed serves collections that are too small
# to learn from.

whitenings = {
    "from these photos": RegionWhitener().fit(mine),
    "from other photos": RegionWhitener().fit(to_regions.transform(others)),
    "installed": ShippedWhitener(),
}
for name, whitening in whitenings.items():
    print(f"{name}: {whitening.provenance_['summary']}")

# %%
# Similarities of pieces of one photo, and of pieces of different ones. Without whitening, different
# photos have much in common. Whitened by their own vectors, of which there are fewer than
# dimensions, all of these are equally far from each other, and so are the photos: **what told them
# apart is whitened away**. Whitened by others, different photos have little in common, and pieces
# of one still have much.

rows, columns = np.triu_indices(24, 1)
one_photo = rows // 6 == columns // 6
bins = np.linspace(-0.2, 1, 41)
whitened = {name: whitening.transform(mine) for name, whitening in whitenings.items()}
figure, axes = plt.subplots(1, 4, figsize=(11, 2.8), sharey=True, layout="constrained")
for axis, (name, vectors) in zip(axes, {"no whitening": mine, **whitened}.items()):
    descriptors = L2Aggregator().fit_transform(vectors)
    similarities = (descriptors @ descriptors.T)[rows, columns]
    axis.hist(similarities[~one_photo], bins, density=True, alpha=0.7, label="different photos")
    axis.hist(similarities[one_photo], bins, density=True, alpha=0.7, label="one photo")
    axis.set(title=name, xlabel="similarity", yticks=[], ylim=(0, 14))
axes[0].legend(frameon=False)
plt.show()
