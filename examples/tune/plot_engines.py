"""
One network, several engines
============================

PyTorch, OpenVINO and ONNX Runtime run the same network. Who runs it changes the time that it takes,
and the last digits of its numbers.
"""

# %%
# All that are installed. ``engine="auto"``, the default, takes the first of OpenVINO, ONNX Runtime
# and PyTorch that is.

import time

import matplotlib.pyplot as plt
import numpy as np
from skimage import data
from sklearn.datasets import load_sample_images

from sklearn_cmac import ConvFeatureExtractor
from sklearn_cmac.networks import installed_engines

photos = [*load_sample_images().images, data.coffee(), data.astronaut()]
milliseconds, activations = {}, {}
for engine in ["torch", *installed_engines()]:
    extractor = ConvFeatureExtractor(engine=engine).fit(photos)
    extractor.transform(photos[:1])  # waits for the network to be loaded
    start = time.process_time()
    maps = extractor.transform(photos)
    milliseconds[engine] = 1000 * (time.process_time() - start) / len(photos)
    activations[engine] = np.concatenate([record.activations.ravel() for record in maps])

# %%
# Differences are a few millionths of the largest activation.

reference = activations["torch"]
for engine, numbers in activations.items():
    difference = np.abs(numbers - reference).max() / reference.max()
    print(f"{engine}: differs from torch by {difference:.0e} at most")

# %%
# Processor time on the machine that built this page, and activations of one engine over those of
# another.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
colors = [f"C{k}" for k in range(len(activations))]
left.barh(list(milliseconds), list(milliseconds.values()), color=colors)
left.set(xlabel="milliseconds a photo, of one core")
left.invert_yaxis()
some = slice(None, None, len(reference) // 5000)
for color, size, (engine, numbers) in list(zip(colors, [0, 9, 4], activations.items()))[1:]:
    right.plot(reference[some], numbers[some], ".", color=color, markersize=size, label=engine)
right.set(xlabel="activations in torch", ylabel="activations elsewhere")
right.legend(frameon=False)
plt.show()
