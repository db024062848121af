"""Scenes to try retrieval on without a download: objects pasted on other backgrounds."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance
from sklearn.utils import Bunch, check_random_state

from sklearn_cmac.photos import Box, Photo, PhotoError, PhotoSource, read_source
from sklearn_cmac.pixels import decode

# Photos that scikit-learn and scikit-image install; drawings and pages of text are left out.
_SAMPLES = {
    "sklearn": ("datasets/images", ["china.jpg", "flower.jpg"]),
    "skimage": (
        "data",
        [
            "astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png",
            "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png", "moon.png",
            "motorcycle_left.png", "retina.jpg", "rocket.jpg",
        ],
    ),
}  # fmt: skip


def make_object_scenes(
    n_objects: int = 12,
    n_scenes: int = 6,
    n_distractors: int = 24,
    *,
    size: tuple[int, int] = (640, 480),
    object_scale: tuple[float, float] = (0.6, 1.2),
    sources: Sequence[Photo | PhotoSource] | None = None,
    random_state: int | np.random.RandomState | None = 0,
) -> Bunch:
    """Make photos of objects of irregular shape, each seen in several scenes.

    An object is a piece of a source photo with a wavy outline. A scene is a piece of another
    one, with the object pasted into it smaller or larger, turned, and in another light.

    Parameters
    ----------
    n_objects, n_scenes : int
        Objects, and scenes of each.
    n_distractors : int
        Scenes without an object.
    size : (width, height)
        Pixels of a scene.
    object_scale : (float, float), default=(0.6, 1.2)
        The least and the largest scale at which an object is pasted. At 1, its box takes about 9%
        of a scene of 640 x 480 pixels, at 0.5 a quarter of that.
    sources : sequence of photos, optional
        Two at least. Default: the sample photos of scikit-learn, and those of scikit-image
        if it is installed. Objects are cut from the first, one after the other.
    random_state : int, RandomState instance or None, default=0
        Draws objects, scenes and lights.

    Returns
    -------
    Bunch
        With `photos` (list of `Photo`, those with an object having its bounding box as `box`),
        `target` (list of str, "" for distractors) and `DESCR`.

    Examples
    --------
    >>> from sklearn_cmac.datasets import make_object_scenes
    >>> scenes = make_object_scenes(n_objects=2, n_scenes=3, n_distractors=1)
    >>> scenes.photos[0].name, scenes.target[0], len(scenes.photos)
    ('object-00-scene-0', 'object-00', 7)
    """
    rng = check_random_state(random_state)
    images = _sample_photos() if sources is None else [_read(source) for source in sources]
    if len(images) < 2:
        raise PhotoError(f"object scenes need at least 2 source photos, got {len(images)}")
    photos, target = [], []
    for k in range(n_objects):
        origin = k % len(images)
        cutout = _cut_object(images[origin], 0.45 * min(size), rng)
        elsewhere = [image for i, image in enumerate(images) if i != origin]
        for j in range(n_scenes):
            scene = _background(elsewhere, size, rng)
            box = _paste(scene, cutout, object_scale, rng)
            photos.append(Photo(np.asarray(scene), box, f"object-{k:02}-scene-{j}"))
            target.append(f"object-{k:02}")
    for j in range(n_distractors):
        photos.append(Photo(np.asarray(_background(images, size, rng)), None, f"distractor-{j:02}"))
        target.append("")
    return Bunch(
        photos=photos,
        target=target,
        DESCR=f"{n_objects} objects in {n_scenes} scenes each and {n_distractors} scenes without, "
        f"made from {len(images)} photos.",
    )


def _sample_photos() -> list[Image.Image]:
    images = []
    for package, (folder, files) in _SAMPLES.items():
        spec = find_spec(package)
        if spec is not None and spec.origin is not None:
            paths = [Path(spec.origin).parent / folder / file for file in files]
            images += [_read(path) for path in paths if path.is_file()]
    return images


def _read(source: Photo | PhotoSource) -> Image.Image:
    photo = source if isinstance(source, Photo) else Photo(source)
    return Image.fromarray(decode(read_source(photo), photo.name, max_size=1024)[0])


def _cut_object(image: Image.Image, side: float, rng: np.random.RandomState) -> Image.Image:
    """A piece of about `side` pixels with a wavy outline; of a few, the one with most detail."""
    side = int(min(side, 0.8 * min(image.size)))
    pieces = [_random_piece(image, side, side, rng) for _ in range(8)]
    piece = max(pieces, key=lambda p: np.asarray(p.convert("L"), np.float32).std())
    y, x = (np.indices((side, side)) + 0.5) / side * 2 - 1
    angle, radius = np.arctan2(y, x), np.hypot(x, y)
    outline = np.full_like(angle, 0.72)
    for wave in range(2, 6):
        outline += rng.uniform(0, 0.22 / wave) * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
    # Four pixels from solid to clear, so that the outline leaves no hard edge.
    alpha = np.clip((outline - radius) * side / 8 + 0.5, 0, 1)
    piece.putalpha(Image.fromarray((255 * alpha).astype(np.uint8)))
    return piece


def _random_piece(
    image: Image.Image, width: int, height: int, rng: np.random.RandomState
) -> Image.Image:
    left = rng.randint(image.width - width + 1)
    top = rng.randint(image.height - height + 1)
    return image.crop((left, top, left + width, top + height))


def _background(
    images: list[Image.Image], size: tuple[int, int], rng: np.random.RandomState
) -> Image.Image:
    image = images[rng.randint(len(images))]
    # The largest piece of the scene's proportions, times a random share of it.
    largest = min(image.width / size[0], image.height / size[1])
    share = largest * rng.uniform(0.5, 1)
    piece = _random_piece(image, int(size[0] * share), int(size[1] * share), rng)
    if rng.randint(2):
        piece = piece.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return _relight(piece.resize(size, Image.Resampling.BICUBIC), rng)


def _paste(
    scene: Image.Image,
    cutout: Image.Image,
    scale: tuple[float, float],
    rng: np.random.RandomState,
) -> Box:
    """Paste the object somewhere into the scene, and say where it is."""
    side = max(8, round(cutout.width * rng.uniform(*scale)))
    turned = cutout.resize((side, side), Image.Resampling.BICUBIC).rotate(
        rng.uniform(-25, 25), Image.Resampling.BICUBIC, expand=True
    )
    turned = turned.crop(turned.getchannel("A").getbbox())
    alpha = turned.getchannel("A")
    left = rng.randint(max(1, scene.width - turned.width + 1))
    top = rng.randint(max(1, scene.height - turned.height + 1))
    scene.paste(_relight(turned.convert("RGB"), rng), (left, top), alpha)
    right, bottom = min(left + turned.width, scene.width), min(top + turned.height, scene.height)
    return float(left), float(top), float(right), float(bottom)


def _relight(image: Image.Image, rng: np.random.RandomState) -> Image.Image:
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(rng.uniform(0.75, 1.25))
    return image
