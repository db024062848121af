"""
Clusters of activations follow the photo
========================================

The regions of one photo: R-MAC's squares do not look at it, the clusters of its activations
and of its colours do.
"""

# %%
# The components that the clusters are cut in are fitted on a handful of sample photos.

import matplotlib.pyplot as plt
from skimage import data

from sklearn_cmac import GridRegions, make_cmac_pipeline
from sklearn_cmac.inspection import overlay_regions

photos = [data.coffee(), data.astronaut(), data.chelsea(), data.rocket()]
pipeline = make_cmac_pipeline("paper", features__max_size=640, features__enlarge=True)
to_regions = pipeline[:3].fit(photos)

# %%
# Five clusters, twenty clusters, and five clusters of colours, then the squares of the grid's
# second level.

coffee = photos[0]
(clusters,) = to_regions.transform([coffee])
(squares,) = GridRegions().transform([clusters])

shown = {
    "5 clusters": overlay_regions(coffee, clusters, kind=0),
    "20 clusters": overlay_regions(coffee, clusters, kind=1),
    "5 clusters of colours": overlay_regions(coffee, clusters, kind=2),
    "6 of R-MAC's squares": overlay_regions(coffee, squares, kind=1),
}
figure, axes = plt.subplots(2, 2, figsize=(9, 6.4), layout="constrained")
for axis, (title, picture) in zip(axes.flat, shown.items()):
    axis.imshow(picture)
    axis.set_title(title)
    axis.set_axis_off()
plt.show()
