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
from pictures import clusters_panel, norm_panel, photo_panel, proposing, records, sheet
from systems import MISSING, OF_NETWORKS, make_parser, named_for, read_settings

from sklearn_cmac.datasets import find_photos, make_object_scenes
from sklearn_cmac.pipelines import SYSTEMS


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
        maps = records(photos, proposing(fit_on, settings, network, args.system))
        kinds = np.unique(maps[0].regions.kinds).tolist()
        rows = [
            [photo_panel(item), norm_panel(one), *(clusters_panel(item, one, k) for k in kinds)]
            for item, one in zip(photos, maps)
        ]
        titles = ["photo", "norm", *(f"partition {kind + 1}" for kind in kinds)]
        file = named_for(args.plot, network)
        sheet(rows, titles).savefig(file, dpi=120)
        print(f"{settings.label(network)}, {SYSTEMS[args.system].label}: {file}")


if __name__ == "__main__":
    main()
