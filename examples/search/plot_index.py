"""
An index that follows its folder
================================

Photos come and go. ``index.update`` describes what is new, forgets what is gone, and knows photos
by their content, so that a renamed one is not described again.
"""

# %%
# A folder with three photos of each of four subjects.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
from skimage import data
from sklearn.datasets import load_sample_images
from sklearn.feature_extraction.image import extract_patches_2d

palace, flower = load_sample_images().images
subjects = {"coffee": data.coffee(), "cat": data.chelsea(), "palace": palace, "flower": flower}
scratch = tempfile.TemporaryDirectory()
folder = Path(scratch.name) / "photos"
folder.mkdir()
for name, pixels in subjects.items():
    pieces = extract_patches_2d(pixels, (240, 320), max_patches=3, random_state=1)
    for number, piece in enumerate(pieces):
        plt.imsave(folder / f"{name}-{number}.jpg", piece)

# %%
# ``update`` says what it found. R-MAC with the whitening that is installed has nothing to learn
# from photos, so it is fitted on one.

from sklearn_cmac import ShippedWhitener, make_rmac_pipeline
from sklearn_cmac.search import RetrievalIndex

pipeline = make_rmac_pipeline(whiten=ShippedWhitener()).fit([palace])
index = RetrievalIndex.create(folder.with_suffix(".cmac"), pipeline)
print(index.update(folder))

# %%
# On Monday we ask for the palace. Pictures are read now, while they are there.

asked = palace[100:340, 40:360]


def ask():
    return [
        (plt.imread(result.name), f"{Path(result.name).stem}  {result.score:.2f}")
        for result in index.search(asked, n_results=4)
    ]


answers = {"Monday": ask()}

# %%
# On Tuesday a photo is new, and another has a better name. One is described, the other was known.

plt.imsave(folder / "palace-new.jpg", palace[60:400, 20:460])
(folder / "palace-0.jpg").rename(folder / "summer.jpg")
print(index.update(folder))
answers["Tuesday"] = ask()

# %%
# On Wednesday the new photo is deleted. Another one is taken out of the index, and its file stays,
# until the next ``update`` finds it again.

(folder / "palace-new.jpg").unlink()
print(index.update(folder))
index.remove([str(folder / "palace-1.jpg")])
answers["Wednesday"] = ask()

# %%
# One question on three days.

figure, axes = plt.subplots(3, 5, figsize=(10, 5.4), layout="constrained")
for row, (day, found) in zip(axes, answers.items()):
    for axis, (picture, title) in zip(row, [(asked, f"{day}:"), *found]):
        axis.imshow(picture)
        axis.set_title(title, fontsize=10)
        axis.set_axis_off()
plt.show()

# sphinx_gallery_start_ignore
index.close()
scratch.cleanup()
# sphinx_gallery_end_ignore
