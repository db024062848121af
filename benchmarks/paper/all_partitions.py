"""Norms of activations and all partitions of a few photos.

    python benchmarks/paper/all_partitions.py --plot partitions.png
    python benchmarks/paper/all_partitions.py --photos church.jpg tower.jpg \\
        --fit-on holiday/ --plot partitions.png

A row for each photo: the photo, the norm of each cell's activations (bright is strong: "the norm
carries objectness"), and the clusters of each partition, each in its colour. Without `--photos` the
photos are made of sample pictures that scikit-learn and scikit-image install, and may be shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from systems import MISSING, OF_NETWORKS, make_parser, make_system, named_for, read_settings

from sklearn_cmac import ActivationMap
from sklearn_cmac.corridor import Corridor
from sklearn_cmac.datasets import find_photos, make_object_scenes
from sklearn_cmac.inspection import draw_box, overlay_regions
from sklearn_cmac.pipelines import SYSTEMS

SIDE = 200


def norm_picture(record: ActivationMap, size: tuple[int, int]) -> Image.Image:
    """Norms of activations from black to white, as large as the photo's picture."""
    norms = np.linalg.norm(np.asarray(record.activations, np.float32), axis=2)
    low, high = float(norms.min()), float(norms.max())
    shade = np.uint8(255 * (norms - low) / max(high - low, 1e-12))
    return Image.fromarray(shade).resize(size, Image.Resampling.NEAREST).convert("RGB")


def pictures(photo: Any, record: ActivationMap) -> dict[str, Image.Image]:
    """The pictures of a row, by what they show."""
    plain = draw_box(photo, max_size=SIDE)
    found = {"photo": plain, "norms": norm_picture(record, plain.size)}
    for kind in np.unique(record.regions.kinds).tolist():
        n = int((record.regions.kinds == kind).sum())
        found[f"partition {kind + 1} ({n})"] = overlay_regions(photo, record, kind, SIDE)
    return found


def sheet(rows: Sequence[dict[str, Image.Image]]) -> Image.Image:
    """All rows in one picture, each picture with its title above."""
    width, heights = SIDE + 8, [row["photo"].height + 24 for row in rows]
    canvas = Image.new("RGB", (width * max(map(len, rows)), sum(heights)), "white")
    draw = ImageDraw.Draw(canvas)
    for top, row in zip(np.cumsum([0, *heights]).tolist(), rows):
        for j, (title, image) in enumerate(row.items()):
            draw.text((j * width + 4, top + 2), title, fill="black")
            canvas.paste(image, (j * width + 4, top + 16))
    return canvas


def main() -> None:
    parser = make_parser(__doc__, networks=("efficientnet_lite0",))
    parser.add_argument("--system", choices=OF_NETWORKS, default="paper")
    parser.add_argument("--photos", nargs="+", help="default: made scenes")
    parser.add_argument("--fit-on", type=Path, help="other photos; default: made scenes")
    parser.add_argument("--plot", type=Path, required=True, help="where the picture goes")
    args = parser.parse_args()
    settings = read_settings(args)
    photos: Sequence[Any] = args.photos or make_object_scenes(4, 1, 0, random_state=0).photos
    fit_on: Sequence[Any] = make_object_scenes(8, 3, 8, random_state=1).photos
    if args.fit_on is not None:
        fit_on = find_photos(args.fit_on)
    for network in args.networks:
        if network not in settings.weights:
            print(f"{settings.label(network)}: {MISSING} without weights")
            continue
        pipeline = make_system(args.system, network, settings)
        proposing = Corridor(pipeline).proposing.fit(fit_on)
        records = proposing.transform(photos)
        file = named_for(args.plot, network)
        sheet([pictures(*pair) for pair in zip(photos, records)]).save(file)
        print(f"{settings.label(network)}, {SYSTEMS[args.system].label}: {file}")


if __name__ == "__main__":
    main()
