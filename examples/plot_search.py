"""
Search by pointing at an object
===============================

A query is a photo and a box. The box is cropped in activation space: the photo is described
whole, and the cells inside the box are kept.
"""

# %%
import warnings

import matplotlib.pyplot as plt

from sklearn_cmac import make_cmac_pipeline
from sklearn_cmac.datasets import make_object_scenes
from sklearn_cmac.inspection import draw_box
from sklearn_cmac.search import RetrievalIndex

warnings.filterwarnings("ignore", "whitening .* dimensions")

scenes = make_object_scenes(n_objects=6, n_scenes=4, n_distractors=6, size=(480, 360))
others = make_object_scenes(
    n_objects=6, n_scenes=4, n_distractors=6, size=(480, 360), random_state=1
)

# %%
# Components and whitening are fitted on scenes of other objects than those searched for.

pipeline = make_cmac_pipeline(whiten__shrinkage=1.0).fit(others.photos)
index = RetrievalIndex(pipeline)
print(index.add(scenes.photos))

# %%
# The first picture is the query, the others are the ranking.

query = scenes.photos[0].as_query()
by_name = {photo.name: photo for photo in scenes.photos}
figure, axes = plt.subplots(2, 3, figsize=(9, 5), layout="constrained")
axes.flat[0].imshow(draw_box(query))
axes.flat[0].set_title("query")
for axis, result in zip(axes.flat[1:], index.search(query, n_results=6)[1:]):
    axis.imshow(by_name[result.name].source)
    axis.set_title(f"{result.name}\n{result.score:.2f}", fontsize=9)
for axis in axes.flat:
    axis.set_axis_off()
plt.show()
