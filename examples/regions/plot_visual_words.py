"""
Visual words: systems before networks
=====================================

Before networks, photos were described by words: SIFT finds points, clusters of their descriptors
are a vocabulary, and a photo is how often it says each word.
"""

# %%
# A palace, a closer and darker look at it, and a rocket; and the points that SIFT finds in them
# (``pip install sklearn-cmac[local]``).

import matplotlib.pyplot as plt
import numpy as np
from skimage import data
from sklearn.datasets import load_sample_images

from sklearn_cmac import LocalFeatureExtractor

palace = load_sample_images().images[0]
closer = (0.8 * palace[40:360, 120:560]).astype(np.uint8)
photos = {"palace": palace, "closer": closer, "rocket": data.rocket()}
features = LocalFeatureExtractor(max_size=500).fit_transform(list(photos.values()))
print({name: len(found.descriptors) for name, found in zip(photos, features)})

# %%
# A vocabulary of sixty words. Descriptors have unit length, so similarities are dot products.
# ``VLAD`` and ``FisherVector`` say more of each word than how often it occurs.

from sklearn_cmac import BagOfWords

bag = BagOfWords(n_words=60).fit(features)
descriptors = bag.transform(features)
print(f"palace and closer: {descriptors[0] @ descriptors[1]:.2f}")
print(f"palace and rocket: {descriptors[0] @ descriptors[2]:.2f}")

# %%
# The six words that the two photos of the palace have most in common, and where each is said.

from sklearn.metrics import pairwise_distances_argmin

shared = np.argsort(-descriptors[0] * descriptors[1])[:6]
figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
for axis, photo, found in zip(axes, photos.values(), features):
    axis.imshow(photo)
    words = pairwise_distances_argmin(found.descriptors, bag.words_)
    for k, word in enumerate(shared):
        axis.plot(*found.positions[words == word].T, "o", color=f"C{k}", markeredgecolor="white")
    axis.set_axis_off()
plt.show()
