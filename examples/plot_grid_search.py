"""
Tuning the whole chain with a grid search
=========================================

The number of components and the scale of the cut are found by scikit-learn's own
``GridSearchCV``. The network runs once per photo.
"""

# %%
# Scenes of six objects, and one group per object, so that its photos stay in one fold.

import tempfile
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GridSearchCV, GroupKFold

from sklearn_cmac import RetrievalScorer, make_cmac_pipeline
from sklearn_cmac.datasets import make_object_scenes

warnings.filterwarnings("ignore", "whitening .* dimensions")  # a few photos are few

scenes = make_object_scenes(n_objects=8, n_scenes=4, n_distractors=0, size=(480, 360))
print(scenes.DESCR)

# %%
# Queries are the boxes, cropped in activation space.

components, scales = [2, 4, 8], [0.05, 0.1, 0.2]
with tempfile.TemporaryDirectory() as maps:
    search = GridSearchCV(
        make_cmac_pipeline(features__store=maps, whiten__shrinkage=1.0),
        {"pca__n_components": components, "regions__scale": scales},
        scoring=RetrievalScorer("boxed"),
        cv=GroupKFold(2),
    )
    search.fit(scenes.photos, scenes.target, groups=scenes.target)
print(search.best_params_)

# %%
# The score surface. These are scores of folds of sixteen photos: they compare parameters, and
# are no benchmark results.

surface = search.cv_results_["mean_test_score"].reshape(len(components), len(scales))
figure, axis = plt.subplots(figsize=(5, 3.6), layout="constrained")
axis.imshow(100 * surface, cmap="viridis")
axis.set_xticks(np.arange(len(scales)), scales)
axis.set_yticks(np.arange(len(components)), components)
axis.set(xlabel="regions__scale", ylabel="pca__n_components", title="mAP in %")
for (i, j), score in np.ndenumerate(surface):
    axis.text(j, i, f"{100 * score:.1f}", ha="center", va="center", color="white")
plt.show()
