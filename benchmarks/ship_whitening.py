"""The whitening that is installed for EfficientNet-Lite0, made from photos.

    python benchmarks/ship_whitening.py --data ../shared/data --to sklearn_cmac/whitenings

Fitted on the region vectors that the system "mixed" pools from all photos of `landmarks` and of
`paris279`. Prints what the file says of itself, and its SHA-256, which belongs in
`sklearn_cmac.shipped_whitening.SHIPPED`. On another processor the last digits, and with them the
digest, may be others.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from landmarks import load

import sklearn_cmac
from sklearn_cmac import make_cmac_pipeline
from sklearn_cmac.fingerprints import NUMERICS, fingerprint_photo
from sklearn_cmac.shipped_whitening import write_whitening


def sources(data: Path) -> str:
    """Where the photos come from, and how many from each."""
    with open(data / "landmarks/labels.csv", newline="") as table:
        counts = Counter(row.get("source") or "landmarks" for row in csv.DictReader(table))
    counts["Paris6k (J. Philbin et al., CVPR 2008)"] = len([*(data / "paris279/jpg").iterdir()])
    return "; ".join(f"{n} of {source}" for source, n in counts.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data")
    parser.add_argument("--store", default=".cache/maps", help="where activation maps are kept")
    parser.add_argument("--to", type=Path, default=Path("."), help="folder of the file")
    parser.add_argument("--max-size", type=int, default=724)
    parser.add_argument("--components", type=int, default=512)
    parser.add_argument("--shrinkage", type=float, default=1.0)
    args = parser.parse_args()
    warnings.filterwarnings("ignore", "whitening .* dimensions")
    paris, landmarks = load(args.data)
    photos = [*(photo.source for photo in landmarks.photos), *paris]
    pipeline = make_cmac_pipeline(
        "mixed",
        features__store=args.store,
        features__max_size=args.max_size,
        whiten__n_components=args.components,
        whiten__shrinkage=args.shrinkage,
    )[:-1].fit(photos)
    features, whitener = pipeline["features"], pipeline["whiten"]
    network = features.network
    contents = sorted(map(fingerprint_photo, photos))
    provenance = {
        "summary": f"shipped with {network.name} (fitted on {len(photos)} photos of French "
        f"landmarks and of Paris, {whitener.n_components_} components)",
        "network": network.name,
        "layer": network.layer,
        "weights_sha256": network.weights_sha256,
        "max_size": features.max_size,
        "scales": ", ".join(f"{scale:.4f}" for scale in features.scales),
        "regions": "squares and clusters, pooled as by make_cmac_pipeline('mixed')",
        "shrinkage": f"{args.shrinkage:g}",
        "n_components": whitener.n_components_,
        "n_regions": whitener.n_regions_,
        "n_photos": len(photos),
        "photos": sources(args.data),
        "photos_sha256": hashlib.sha256("".join(contents).encode()).hexdigest(),
        "sklearn_cmac": sklearn_cmac.__version__,
        "numerics": ", ".join(f"{part} {version}" for part, version in NUMERICS.items()),
        "numpy": np.__version__,
    }
    args.to.mkdir(parents=True, exist_ok=True)
    file = args.to / f"{network.name}.npz"
    digest = write_whitening(file, whitener.mean_, whitener.components_, provenance)
    for key, value in provenance.items():
        print(f"{key}: {value}")
    print(f"{file}: {file.stat().st_size / 1e6:.2f} MB, SHA-256 {digest}")


if __name__ == "__main__":
    main()
