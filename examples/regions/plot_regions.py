"""
Squares, clusters, boxes: choosing regions
==========================================

A descriptor is the sum of a photo's regions, so what a region is decides what can be found. R-MAC's
squares are the same in every photo. Clusters of activations and of colours follow what it shows.
Boxes are yours.
"""

# %%
# Activations of a cup of coffee, in components that are fitted on a handful of sample photos.

import matplotlib.pyplot as plt
from skimage import data
from sklearn.cluster import KMeans

from sklearn_cmac import Photo, make_cmac_pipeline

coffee = Photo(data.coffee(), name="coffee")
pipeline = make_cmac_pipeline("paper", features__max_size=640, features__enlarge=True)
to_components = pipeline[:2].fit([coffee, data.astronaut(), data.chelsea(), data.rocket()])
embedded = to_components.transform([coffee])

# %%
# Each of these may be the step ``regions`` of a pipeline, and :class:`~sklearn_cmac.RegionUnion`
# takes several at once. Any clusterer of scikit-learn can take the place of the Normalized Cut. The
# number is that of the partition: the grid's level, or which number of clusters.

from sklearn_cmac import BoxRegions, ClustererRegions, GridRegions, NCutClusterer

cup, spoon = (130, 40, 480, 350), (330, 220, 430, 330)
k_means = ClustererRegions(KMeans(8, random_state=0), spatial_weight=0.6)
steps = {
    "R-MAC's squares": (GridRegions(), 1),
    "5 clusters": (NCutClusterer(), 0),
    "20 clusters": (NCutClusterer(), 1),
    "5 clusters of colours": (NCutClusterer(), 2),
    "k-means, with places": (k_means, 0),
    "two boxes": (BoxRegions({"coffee": [cup, spoon]}), 0),
}

# %%
# Squares and boxes overlap: those that are painted later hide the others.

from sklearn_cmac.inspection import overlay_regions

figure, axes = plt.subplots(2, 3, figsize=(10, 5), layout="constrained")
for axis, (title, (step, kind)) in zip(axes.flat, steps.items()):
    (record,) = step.fit_transform(embedded)
    axis.imshow(overlay_regions(coffee, record, kind))
    axis.set_title(title)
    axis.set_axis_off()
plt.show()
