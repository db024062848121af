"""
The cut, step by step
=====================

From one photo to its clusters, in the order of the paper: activations, their principal components,
eigenvectors of the Normalized Cut, and the clusters that these are rounded to.
"""

# %%
# A palace, in components that are fitted on other photos too.

import matplotlib.pyplot as plt
import numpy as np
from skimage import data
from sklearn.datasets import load_sample_images

from sklearn_cmac import ActivationPCA, ConvFeatureExtractor

palace = load_sample_images().images[0]
photos = [palace, data.coffee(), data.astronaut(), data.rocket()]
maps = ConvFeatureExtractor(max_size=800, enlarge=True).fit_transform(photos)
palace_map = ActivationPCA(n_components=4).fit_transform(maps)[0]


def show(pictures, titles, cmap=None):
    _, axes = plt.subplots(1, len(pictures), figsize=(10, 1.9), layout="constrained")
    for axis, picture, title in zip(axes, pictures, titles):
        axis.imshow(picture, cmap)
        axis.set_title(title)
        axis.set_axis_off()


# %%
# Each cell of the map has 1280 activations. Their length says where there is something to see, and
# single channels fire at parts of it.

lengths = np.linalg.norm(palace_map.activations, axis=-1)
strongest = np.argsort(-palace_map.activations.max(axis=(0, 1)))[:3]
channels = [palace_map.activations[..., channel] for channel in strongest]
titles = ["photo", "length", *(f"channel {channel}" for channel in strongest)]
show([palace, lengths, *channels], titles, "magma")

# %%
# Four components keep what tells cells apart best. The first is close to the length.

components = np.moveaxis(palace_map.embedding, -1, 0)
show(components, [f"component {k}" for k in range(1, 5)], "coolwarm")

# %%
# Cells are joined the more strongly the nearer they are in these components. Leading eigenvectors
# of the graph are nearly constant on what is to be one cluster. Scikit-learn finds them too, but
# for the regularisation, without which some of them are about single cells.

from scipy.spatial.distance import pdist
from sklearn.manifold import SpectralEmbedding

height, width = palace_map.shape
cells = palace_map.embedding.reshape(height * width, -1)
scale = 0.05 * pdist(cells).max()
spectral = SpectralEmbedding(5, affinity="rbf", gamma=scale**-2, random_state=0)
eigenvectors = spectral.fit_transform(cells).T.reshape(-1, height, width)
show(eigenvectors, [f"eigenvector {k}" for k in range(2, 7)], "coolwarm")

# %%
# Rounded to 2, 5, 10 and 20 clusters, all of one eigenproblem.

from sklearn_cmac import NCutClusterer
from sklearn_cmac.inspection import overlay_regions

counts = (2, 5, 10, 20)
(clustered,) = NCutClusterer(counts, n_color_clusters=0).fit_transform([palace_map])
pictures = [overlay_regions(palace, clustered, kind) for kind in range(len(counts))]
show(pictures, [f"{count} clusters" for count in counts])
plt.show()

# sphinx_gallery_thumbnail_number = 4
