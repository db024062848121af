"""
When everything looks the same
==============================

A descriptor knows the night sky, and does not know which part of it. Where one photo looks like the
next, ask local features: the same galaxies in the same places are in one photo only.
"""

# %%
# A piece of the Hubble Deep Field; a brighter one that overlaps it by two fifths; three from
# elsewhere in the sky; and a cup of coffee.

import matplotlib.pyplot as plt
import numpy as np
from skimage import data

sky = data.hubble_deep_field()
asked = sky[100:400, 100:500]
photos = {
    "the same galaxies": np.clip(1.3 * sky[200:500, 250:650], 0, 255).astype(np.uint8),
    "others": sky[520:820, 20:420],
    "others again": sky[520:820, 480:880],
    "still others": sky[:300, 550:950],
    "no galaxies": data.coffee()[:300, :400],
}

# %%
# Similarities of descriptors, and points that lie in both photos as one map of the plane puts them
# (``pip install sklearn-cmac[verify]``).

from sklearn_cmac import LearnedFeatureExtractor, ShippedWhitener, make_rmac_pipeline
from sklearn_cmac.search import SpatialVerification

pipeline = make_rmac_pipeline(whiten=ShippedWhitener())
descriptors = pipeline.fit_transform([asked, *photos.values()])
similarities = descriptors[1:] @ descriptors[0]
verification = SpatialVerification(LearnedFeatureExtractor())
matches = verification.compare(asked, list(photos.values()))

# %%
# By descriptors all of the sky is alike, and the wrong part comes first. By points there is no
# doubt.

figure, axes = plt.subplots(2, 3, figsize=(9.5, 5), layout="constrained")
query_axis, *photo_axes = axes.flat
query_axis.imshow(asked)
query_axis.set_title("which part of the sky?")
answers = zip(photo_axes, photos.items(), similarities, matches)
for axis, (name, photo), similarity, match in answers:
    axis.imshow(photo)
    axis.set_title(f"{name}: {similarity:.2f}, {match.n_inliers} points")
for axis, points in zip(axes.flat, np.moveaxis(matches[0].pairs, 1, 0)):
    axis.plot(*points.T, "o", color="lime", markersize=3)
for axis in axes.flat:
    axis.set_axis_off()
plt.show()
