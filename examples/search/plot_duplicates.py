"""
Find near duplicates
====================

The same photo: saved again, cut, mirrored, without its colours, written on. Byte by byte these
files have little in common, and their descriptors are nearly the same.
"""

# %%
# Five photos, and what happens to photos on their way.

from io import BytesIO

import matplotlib.pyplot as plt
from PIL import Image, ImageDraw, ImageOps
from skimage import data
from sklearn.datasets import load_sample_images


def saved_again(image):
    file = BytesIO()
    image.save(file, "JPEG", quality=8)
    return Image.open(file)


def written_on(image):
    image = image.copy()
    ImageDraw.Draw(image).text((20, 20), "so true!!", "white", font_size=90)
    return image


edits = {
    "original": lambda image: image,
    "saved again": saved_again,
    "cut": lambda image: ImageOps.crop(image, min(image.size) // 8),
    "mirrored": ImageOps.mirror,
    "grey": ImageOps.grayscale,
    "written on": written_on,
}
sources = [*load_sample_images().images, data.coffee(), data.chelsea(), data.astronaut()]
photos = [edit(Image.fromarray(source)) for source in sources for edit in edits.values()]

# %%
# Descriptors have unit length, so the similarities of all pairs are one product. Photos that are
# joined by similarities above 0.6 are a group.

from scipy.sparse.csgraph import connected_components

from sklearn_cmac import ShippedWhitener, make_rmac_pipeline

pipeline = make_rmac_pipeline(features__max_size=320, whiten=ShippedWhitener())
descriptors = pipeline.fit_transform(photos)
similarities = descriptors @ descriptors.T
n_groups, groups = connected_components(similarities > 0.6)
print(f"{len(photos)} files, {n_groups} photos")

# %%
# Each bright block is one photo six times. The numbers are similarities to the original.

figure = plt.figure(figsize=(10, 5.4), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=[2, 3])
axis = left.subplots()
axis.imshow(similarities, "magma", vmin=0, vmax=1)
axis.set_title("similarity of each two files")
axis.set_axis_off()
axes = right.subplots(5, 6)
for k, axis in enumerate(axes.flat):
    axis.imshow(photos[k], "gray")
    axis.set_title(f"{similarities[k, k - k % 6]:.2f}", fontsize=8)
    axis.set_axis_off()
for axis, edit in zip(axes[0], edits):
    axis.set_title(edit, fontsize=8)
plt.show()
