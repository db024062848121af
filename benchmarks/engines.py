"""Networks in each inference engine beside PyTorch: can it run them, as exactly, and how fast.

    python benchmarks/engines.py

Weights are random where none are installed. Of each network and engine: seconds of the conversion;
the largest difference of a map to that of PyTorch, as a share of the largest activation; processor
time of PyTorch over that of the engine, one thread each, taking turns, the least of some rounds; in
bfloat16 also the cosine of the two maps. An engine that cannot run a network says why.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from sklearn_cmac._markdown import as_table
from sklearn_cmac.networks import (
    Backbone,
    ConversionError,
    Runner,
    choose_arithmetic,
    get_backbone,
    installed_engines,
)

NETWORKS = (
    "efficientnet_lite0",
    "vgg16",
    "resnet101",
    "timm/resnet50",
    "timm/mobilenetv4_conv_small",
    "timm/tf_efficientnetv2_s",
    "timm/efficientnet_b0",
    "timm/regnety_008",
    "timm/convnext_tiny",
    "timm/convnext_tiny.dinov3_lvd1689m",
    "timm/swin_tiny_patch4_window7_224",
    "timm/vit_small_patch16_224",
    "timm/vit_small_patch14_reg4_dinov2.lvd142m",
    "timm/vit_small_patch16_dinov3.lvd1689m",
    "timm/vit_base_patch16_siglip_gap_256.v2_webli",
    "timm/vit_pe_spatial_small_patch16_512.fb",
)


def photo(network: Backbone, side: int) -> np.ndarray:
    """A smooth random picture of a size that the network takes."""
    height, width = (round(s / network.multiple) * network.multiple for s in (0.75 * side, side))
    coarse = np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image)[None]


def least_seconds(runs: dict[str, Runner], pixels: np.ndarray, rounds: int) -> dict[str, float]:
    """Processor seconds, runs taking turns."""
    found = dict.fromkeys(runs, np.inf)
    for _ in range(rounds):
        for name, run in runs.items():
            started = time.process_time()
            run(pixels)
            found[name] = min(found[name], time.process_time() - started)
    return found


def row_of(name: str, engines: list[str], side: int, rounds: int) -> list[str]:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    weights = "default" if name == "efficientnet_lite0" else None
    network = get_backbone(name, weights)
    pixels = photo(network, side)
    plain = network.runner()
    expected = plain(pixels)
    cells = [name, f"{1e3 * least_seconds({'': plain}, pixels, rounds)['']:.0f}"]
    for engine in engines:
        started = time.perf_counter()
        try:
            network.converted(engine)
        except ConversionError as error:
            cells.append(f"no: {str(error)[:80]}")
            continue
        seconds = time.perf_counter() - started
        run = network.runner(engine)
        difference = np.abs(run(pixels) - expected).max() / np.abs(expected).max()
        runs = {"torch": plain, engine: run}
        if choose_arithmetic("bfloat16", engine, network, "cpu") == "bfloat16":
            runs["short"] = network.runner(engine, "cpu", "bfloat16")
        found = least_seconds(runs, pixels, rounds)
        cells.append(f"{found['torch'] / found[engine]:.1f}x, {difference:.0e}, {seconds:.0f} s")
        if "short" in runs:
            one, other = (m.ravel().astype(float) for m in (expected, runs["short"](pixels)))
            cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
            cells[-1] += f"; bfloat16 {found['torch'] / found['short']:.1f}x, cosine {cosine:.4f}"
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--side", type=int, default=720)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    engines, rows = installed_engines(), []
    if not engines:
        print("not measured: needs openvino or onnxruntime")
        return
    for name in args.networks:
        # A process each: networks in all engines together take gigabytes.
        with tempfile.TemporaryDirectory() as cache, get_context("spawn").Pool(1) as process:
            os.environ["SKLEARN_CMAC_CACHE"] = str(Path(cache))
            rows.append(process.apply(row_of, (name, engines, args.side, args.rounds)))
        print(*rows[-1], sep=" | ", flush=True)
    print()
    print(as_table(["network", "PyTorch, ms", *engines], rows))


if __name__ == "__main__":
    main()
