"""
A photo classifier in six lines
===============================

A pipeline's descriptors are a table like any other, and what follows may be any estimator of
scikit-learn: here the nearest neighbour, which needs two examples of each class and no training.
"""

# %%
# Ten pieces of each of six photos. Two are the examples, and eight are to be named.

import matplotlib.pyplot as plt
import numpy as np
from skimage import data
from sklearn.datasets import load_sample_images
from sklearn.feature_extraction.image import extract_patches_2d

palace, flower = load_sample_images().images
subjects = {
    "palace": palace,
    "flower": flower,
    "coffee": data.coffee(),
    "cat": data.chelsea(),
    "rocket": data.rocket(),
    "astronaut": data.astronaut(),
}
photos, names = [], []
for name, pixels in subjects.items():
    photos += list(extract_patches_2d(pixels, (200, 240), max_patches=10, random_state=0))
    names += [name] * 10

# %%
# The six lines.

from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from sklearn_cmac import ShippedWhitener, make_rmac_pipeline

split = train_test_split(photos, names, train_size=12, stratify=names, random_state=0)
known, asked, known_names, right_names = split
describe = make_rmac_pipeline(whiten=ShippedWhitener())
classifier = make_pipeline(describe, KNeighborsClassifier(n_neighbors=1))
given_names = classifier.fit(known, known_names).predict(asked)
print(f"{np.mean(given_names == right_names):.0%} of {len(asked)} photos are named rightly")

# %%
# Some of the photos, and what they are called.

figure, axes = plt.subplots(3, 6, figsize=(10, 5), layout="constrained")
for axis, photo, given, right in zip(axes.flat, asked, given_names, right_names):
    axis.imshow(photo)
    axis.set_title(given, color="green" if given == right else "red")
    axis.set_axis_off()
plt.show()
