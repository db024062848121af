"""Photos that tests share."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from sklearn_cmac import ActivationMap

settings.register_profile("untimed", deadline=None)  # timing decides no test
settings.load_profile("untimed")

SHARED = Path(os.environ.get("CMAC_SHARED", Path(__file__).parents[2] / "shared"))


def shared_folder(name: str) -> Path:
    """A folder of reference data, or a skip that says what is missing."""
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"reference data not found at {folder} (set CMAC_SHARED)")
    return folder


@pytest.fixture
def landmarks() -> Path:
    return shared_folder("data/landmarks")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def pixels(rng) -> np.ndarray:
    """A smooth random picture of 96x128 pixels: unlike noise, it survives JPEG and scaling."""
    coarse = Image.fromarray(rng.integers(0, 255, (6, 8, 3), np.uint8))
    return np.asarray(coarse.resize((128, 96), Image.Resampling.BICUBIC))


@pytest.fixture
def jpeg(pixels, tmp_path) -> Path:
    path = tmp_path / "photo.jpg"
    Image.fromarray(pixels).save(path, quality=95)
    return path


@pytest.fixture
def records(rng) -> list[ActivationMap]:
    """Six maps of different shapes with 16 sparse channels."""
    shapes = [(6, 8), (8, 6), (7, 7), (5, 9), (6, 8), (4, 10)]
    maps = [np.maximum(rng.standard_normal((*shape, 16)), 0).astype("f4") for shape in shapes]
    colors = [rng.integers(0, 255, (*shape, 3), np.uint8) for shape in shapes]
    return [
        ActivationMap.from_arrays(a, c, name=f"photo-{i}")
        for i, (a, c) in enumerate(zip(maps, colors))
    ]
