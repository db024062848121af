"""Networks of today by timm: map sizes, agreement with timm, time and memory.

    python benchmarks/networks.py

Seeded random weights, so nothing is downloaded; one thread each, in a process of its own. Photos
of three shapes are described; "tokens" is how many of a transformer's are no patches (class and
register tokens). "Off by" is the largest difference between a map and timm's own
`forward_features` on the same input, of which prefix tokens are taken off, over the largest
activation. Seconds are processor time for one photo of the second shape, the least of three; memory
is the process's peak. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import warnings
from typing import Any

import numpy as np

from sklearn_cmac import ConvFeatureExtractor
from sklearn_cmac._markdown import as_table

NETWORKS = (
    "vit_small_patch14_reg4_dinov2.lvd142m",
    "vit_base_patch14_reg4_dinov2.lvd142m",
    "vit_small_patch16_dinov3.lvd1689m",
    "vit_base_patch16_dinov3.lvd1689m",
    "convnext_tiny.dinov3_lvd1689m",
    "convnext_base.dinov3_lvd1689m",
    "vit_base_patch16_siglip_256.v2_webli",
    "vit_base_patch16_siglip_gap_256.v2_webli",
    "vit_pe_core_tiny_patch16_384.fb",
    "vit_pe_core_base_patch16_224.fb",
    "vit_pe_spatial_tiny_patch16_512.fb",
    "vit_pe_spatial_base_patch16_512.fb",
    "naflexvit_base_patch16_siglip.v2_webli",
    "hiera_tiny_224.mae_in1k_ft_in1k",
    "convnextv2_tiny.fcmae_ft_in22k_in1k",
    "mobilenetv4_conv_medium.e500_r256_in1k",
)
# Width and height of photos, of which the first is a multiple of nothing.
PHOTOS = ((417, 301), (512, 384), (1024, 768))


def examine(name: str, largest: int) -> dict[str, Any]:
    """What is found out of one network."""
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 255, (h, w, 3), np.uint8) for w, h in PHOTOS if w <= largest]
    extractor = ConvFeatureExtractor(f"timm/{name}", None, max_size=None, device="cpu")
    records = extractor.fit_transform(photos)
    network = extractor.network
    seconds = []
    for _ in range(3):
        started = time.process_time()
        extractor.transform(photos[1:2])
        seconds.append(time.process_time() - started)
    inside = network.forward_on("cpu").network
    return {
        "layer": network.layer,
        "stride": network.stride,
        "channels": network.channels,
        "multiple": network.multiple,
        "tokens": getattr(inside, "num_prefix_tokens", ""),
        "maps": [record.shape for record in records],
        "off": max(difference(network, record, photo) for record, photo in zip(records, photos)),
        "seconds": min(seconds),
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "licence": network.licence,
    }


def difference(network: Any, record: Any, photo: np.ndarray) -> float:
    """The map's largest difference to timm's own, over the largest activation."""
    import torch
    from PIL import Image

    model = network.forward_on("cpu").network
    size = tuple(max(1, round(n / network.multiple)) * network.multiple for n in photo.shape[1::-1])
    image = Image.fromarray(photo)
    image = image if size == image.size else image.resize(size, Image.Resampling.BICUBIC)
    mean, std = (np.array(values, np.float32) for values in (network.mean, network.std))
    pixels = ((np.asarray(image, np.float32) / 255 - mean) / std).transpose(2, 0, 1)
    with torch.inference_mode():
        expected = model.forward_features(torch.from_numpy(np.array(pixels))[None])[0].numpy()
    if expected.ndim == 2:
        tokens = expected[getattr(model, "num_prefix_tokens", 0) :]
        expected = tokens.reshape(*record.shape, -1)
    else:
        expected = expected.transpose(1, 2, 0) if expected.shape[1:] == record.shape else expected
    found = np.asarray(record.activations)
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), metavar="NAME")
    parser.add_argument("--largest", type=int, default=1024, help="pixels of the largest photo")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        warnings.filterwarnings("ignore")
        print(json.dumps(examine(args.one, args.largest)))
        return
    rows = []
    for name in args.networks:
        command = [sys.executable, __file__, "--one", name, "--largest", str(args.largest)]
        limited = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        run = subprocess.run(command, capture_output=True, text=True, env=limited)
        if run.returncode:
            reason = run.stderr.strip().splitlines()[-1] if run.stderr.strip() else "killed"
            rows.append([name, reason[:100], *[""] * 8])
        else:
            found = json.loads(run.stdout.splitlines()[-1])
            maps = ", ".join("x".join(map(str, shape)) for shape in found["maps"])
            sides = f"{found['channels']}, {found['stride']}"
            off, seconds = f"{found['off']:.1e}", f"{found['seconds']:.2f}"
            rows.append(
                [name, found["layer"], sides, found["multiple"], found["tokens"], maps, off]
                + [seconds, found["megabytes"], found["licence"]]
            )
        print(*rows[-1], file=sys.stderr, flush=True)
    shapes = ", ".join(f"{w}x{h}" for w, h in PHOTOS)
    header = ["network", "layer", "D, stride", "sides", "tokens", f"maps of {shapes}", "off by"]
    print(as_table([*header, "seconds", "MB", "licence"], [list(map(str, row)) for row in rows]))


if __name__ == "__main__":
    main()
