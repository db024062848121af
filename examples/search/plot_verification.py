"""
Where is it? Verified and outlined
==================================

A score says that two photos look alike. Local features prove it: points of the one lie in the other
as one map of the plane puts them. The map also says where the object is, and how it is turned.
"""

# %%
# Two objects in four made scenes each: larger and smaller, turned, and in another light.

import matplotlib.pyplot as plt
from matplotlib.patches import ConnectionPatch, Polygon
from skimage import data
from sklearn.datasets import load_sample_images

from sklearn_cmac.datasets import make_object_scenes

samples = [data.coffee(), data.chelsea(), data.rocket(), data.astronaut()]
sources = [*load_sample_images().images, *samples]
scenes = make_object_scenes(2, 4, 0, sources=sources, object_scale=(0.8, 1.4)).photos

# %%
# The features are XFeat's (``pip install sklearn-cmac[verify]``). The outline is what the map makes
# of the query's box. The last photo of each row shows another object.

from sklearn_cmac import LearnedFeatureExtractor
from sklearn_cmac.inspection import draw_box
from sklearn_cmac.search import SpatialVerification

verification = SpatialVerification(LearnedFeatureExtractor())
rows = [(scenes[0], [*scenes[1:4], scenes[4]]), (scenes[4], [*scenes[5:8], scenes[0]])]
figure, axes = plt.subplots(2, 5, figsize=(11, 3.8), layout="constrained")
for row, (asked, others) in zip(axes, rows):
    row[0].imshow(draw_box(asked.as_query()))
    row[0].set_title("query")
    matches = verification.compare(asked.as_query(), others)
    for axis, photo, match in zip(row[1:], others, matches):
        axis.imshow(photo.source)
        axis.set_title(f"{match.n_inliers} points")
        axis.add_patch(Polygon(match.outline, fill=False, edgecolor="lime", linewidth=2))
for axis in axes.flat:
    axis.set_axis_off()

# %%
# The points of one pair.

asked, photo = scenes[0], scenes[2]
(match,) = verification.compare(asked.as_query(), [photo])
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
left.imshow(asked.source)
right.imshow(photo.source)
right.add_patch(Polygon(match.outline, fill=False, edgecolor="lime", linewidth=2))
for here, there in match.pairs:
    ends = {"axesA": left, "axesB": right}
    figure.add_artist(ConnectionPatch(here, there, "data", **ends, color="lime", alpha=0.4))
for axis in (left, right):
    axis.set_axis_off()
plt.show()

# sphinx_gallery_thumbnail_number = 2
