"""
Tune the whole chain
====================

From photos to descriptors is one pipeline of scikit-learn, so ``GridSearchCV`` reaches every step
of it, and mean average precision is the score. The network runs once per photo, whatever is tuned
behind it.
"""

# %%
# Scenes of six objects. All photos of an object are in one fold, else its queries would find
# nothing.

import tempfile

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GridSearchCV, GroupKFold

from sklearn_cmac import NCutClusterer, RetrievalScorer, ShippedWhitener, make_cmac_pipeline
from sklearn_cmac.datasets import make_object_scenes

scenes = make_object_scenes(6, 3, 0, size=(320, 240), object_scale=(1.0, 1.5))
print(scenes.DESCR)

# %%
# The components in which cells are compared, and the scale of the cut, over a store of activation
# maps. Queries are the boxes.

components, scales = [2, 4, 8], [0.05, 0.1, 0.2]
with tempfile.TemporaryDirectory() as maps:
    search = GridSearchCV(
        make_cmac_pipeline(
            features__store=maps,
            regions=NCutClusterer(8, n_color_clusters=0),
            whiten=ShippedWhitener(),
        ),
        {"pca__n_components": components, "regions__scale": scales},
        scoring=RetrievalScorer("boxed"),
        cv=GroupKFold(2),
    )
    search.fit(scenes.photos, scenes.target, groups=scenes.target)
print(search.best_params_)

# %%
# The score surface. These are scores of folds of nine photos: they compare parameters, and are no
# benchmark results.

surface = 100 * search.cv_results_["mean_test_score"].reshape(len(components), len(scales))
figure, axis = plt.subplots(figsize=(5, 3.6), layout="constrained")
axis.imshow(surface, "YlGn", alpha=0.7)
axis.set_xticks(range(len(scales)), scales)
axis.set_yticks(range(len(components)), components)
axis.set(xlabel="regions__scale", ylabel="pca__n_components", title="mAP in %")
for (row, column), score in np.ndenumerate(surface):
    axis.text(column, row, f"{score:.1f}", ha="center", va="center")
plt.show()
