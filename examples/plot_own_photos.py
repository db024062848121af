"""
Search your own photos
======================

Take a folder of photos, draw a box around an object, and all other photos of it come first. The
rest of this gallery makes that better, and shows why it works.
"""

# %%
# A folder as a camera leaves it: six subjects, each taken four times, from nearer or farther and in
# another light. You have such a folder, so skip this part.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image, ImageEnhance
from skimage import data
from sklearn.datasets import load_sample_images

palace, flower = load_sample_images().images
subjects = {
    "palace": palace,
    "flower": flower,
    "coffee": data.coffee(),
    "cat": data.chelsea(),
    "rocket": data.rocket(),
    "astronaut": data.astronaut(),
}
scratch = tempfile.TemporaryDirectory()
folder = Path(scratch.name) / "holiday"
folder.mkdir()
rng = np.random.default_rng(0)
for name, pixels in subjects.items():
    for number in range(4):
        whole = np.array(pixels.shape[1::-1])
        size = rng.uniform(0.55, 0.95) * whole
        corner = rng.uniform(0, whole - size)
        photo = Image.fromarray(pixels).crop((*corner, *(corner + size)))
        photo.thumbnail((480, 480))
        photo = ImageEnhance.Brightness(photo).enhance(rng.uniform(0.6, 1.4))
        photo.save(folder / f"{name}-{number}.jpg")

# %%
# Describe the photos once, in an index beside the folder. It stays there: ``RetrievalIndex.open``
# finds it tomorrow, and ``index.update`` then looks at new photos only. ``fit_to_search`` chooses
# the whitening that suits so few photos.

from sklearn_cmac import make_cmac_pipeline
from sklearn_cmac.datasets import find_photos
from sklearn_cmac.pipelines import fit_to_search
from sklearn_cmac.search import RetrievalIndex

pipeline = fit_to_search(make_cmac_pipeline("mixed"), find_photos(folder))
index = RetrievalIndex.create(folder.with_suffix(".cmac"), pipeline)
print(index.update(folder))

# %%
# Draw a box around the roof of the palace: left, top, right, bottom, in pixels. The photo that you
# ask with is in the folder too, and is left out here.

from sklearn_cmac import Query

query = Query(folder / "palace-0.jpg", box=(100, 40, 260, 140))
results = index.search(query, n_results=7)
results = [result for result in results if "palace-0" not in result.name]
for result in results:
    print(f"{result.score:.2f}  {Path(result.name).name}")

assert all("palace" in result.name for result in results[:3])

# %%
# The three other photos of the palace come first. Then there is a gap: what follows shows other
# things.

from sklearn_cmac.inspection import draw_box

figure = plt.figure(figsize=(9, 5), layout="constrained")
left, right = figure.subfigures(1, 2)
axes = [left.subplots(), *right.subplots(3, 2).flat]
axes[0].imshow(draw_box(query))
axes[0].set_title("where else is this?")
for axis, result in zip(axes[1:], results):
    axis.imshow(plt.imread(result.name))
    axis.set_title(f"{result.score:.2f}", color="green" if "palace" in result.name else "gray")
for axis in axes:
    axis.set_axis_off()
plt.show()

# sphinx_gallery_start_ignore
index.close()
scratch.cleanup()
# sphinx_gallery_end_ignore
