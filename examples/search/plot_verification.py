"""
Where is it? Verified and outlined
==================================

A score says that two photos look alike. Local features prove it: points of the one lie in the other
as one map of the plane puts them. The map also says where the object is, and how it is turned.
"""

# %%
# Two objects in four made scenes each: larger and smaller, turned, and in another light.

import matplotlib.pyplot as plt
from matplotlib.patches import Polygon
from skimage import data
from sklearn.datasets import load_sample_images

from sklearn_cmac.datasets import make_object_scenes

samples = [data.coffee(), data.chelsea(), data.rocket(), data.astronaut()]
sources = [*load_sample_images().images, *samples]
scenes = make_object_scenes(2, 4, 0, sources=sources, object_scale=(0.8, 1.4)).photos
photos = {photo.name: photo for photo in scenes}

# %%
# Photos are ranked by their descriptors, and the first of them are sorted by how many points agree.
# The features are XFeat's (``pip install sklearn-cmac[verify]``), and the index keeps them, so that
# no photo is looked at again.

from sklearn_cmac import LearnedFeatureExtractor, ShippedWhitener, make_rmac_pipeline
from sklearn_cmac.search import RetrievalIndex, Retriever, SpatialVerification

verify = SpatialVerification(LearnedFeatureExtractor(), n_candidates=20)
retriever = Retriever(make_rmac_pipeline(whiten=ShippedWhitener()), [("verify", verify)])
index = RetrievalIndex(retriever.fit(scenes[:1]))
print(index.add(scenes))

# %%
# Each result says how its points lie, and the outline is what the map makes of the query's box. The
# third photo of the first row was made for the other object, and is right all the same: behind it
# is the palace that the query is a piece of.

from sklearn_cmac.inspection import draw_box

queries = [scenes[0].as_query(), scenes[4].as_query()]
answers = [index.search(query, n_results=5)[1:] for query in queries]
figure, axes = plt.subplots(2, 5, figsize=(11, 3.8), layout="constrained")
for row, query, results in zip(axes, queries, answers):
    row[0].imshow(draw_box(query))
    row[0].set_title("query")
    for axis, result in zip(row[1:], results):
        axis.imshow(photos[result.name].source)
        axis.set_title(f"{result.spatial.n_inliers} points")
        outline = Polygon(result.spatial.outline, fill=False, edgecolor="lime", linewidth=2)
        axis.add_patch(outline)
for axis in axes.flat:
    axis.set_axis_off()

# %%
# The points of the first query and its first result.

from sklearn_cmac.inspection import MatchDisplay

best = answers[0][0]
MatchDisplay.from_predictions(best.spatial, queries[0], photos[best.name])
plt.show()

# sphinx_gallery_thumbnail_number = 2
