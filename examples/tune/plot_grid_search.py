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
from sklearn.model_selection import GridSearchCV, GroupKFold

from sklearn_cmac import NCutClusterer, RetrievalScorer, ShippedWhitener, make_cmac_pipeline
from sklearn_cmac.datasets import make_object_scenes

scenes = make_object_scenes(6, 3, 0, size=(320, 240), object_scale=(1.0, 1.5))
print(scenes.DESCR)

# %%
# The components in which cells are compared, and the scale of the cut, over a store of activation
# maps. Queries are the boxes.

with tempfile.TemporaryDirectory() as maps:
    search = GridSearchCV(
        make_cmac_pipeline(
            features__store=maps,
            regions=NCutClusterer(8, n_color_clusters=0),
            whiten=ShippedWhitener(),
        ),
        {"pca__n_components": [2, 4, 8], "regions__scale": [0.05, 0.1, 0.2]},
        scoring=RetrievalScorer("boxed"),
        cv=GroupKFold(2),
    )
    search.fit(scenes.photos, scenes.target, groups=scenes.target)
print(search.best_params_)

# %%
# The score surface. These are scores of folds of nine photos: they compare parameters, and are no
# benchmark results.

from sklearn_cmac.inspection import ScoreSurfaceDisplay

ScoreSurfaceDisplay.from_estimator(search)
plt.show()
