"""What sides timm's networks take, one or two of each family, and the maps that they return.

    python benchmarks/timm_networks.py

Seeded random weights, so nothing is downloaded; each network in a process of its own, one thread,
with a limit of time. "Any" sides are those of the photo; else the photo is rounded to multiples. A
network of one size is refused by `fit`, before there is a photo, and the error names networks to
take instead. Maps are rows x columns; seconds are processor time for both photos. Prints Markdown.
A network that fails in its own words is a row that says so, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
import warnings
from typing import Any

import numpy as np

from sklearn_cmac import ConvFeatureExtractor
from sklearn_cmac._markdown import as_table

NETWORKS = """
aimv2_large_patch14_224 bat_resnext26ts beit_base_patch16_224 botnet26t_256 caformer_s18
cait_xxs24_224 coat_lite_tiny coatnet_pico_rw_224 convit_tiny convmixer_1024_20_ks9_p14
convnext_tiny convnextv2_femto cpubone_nano crossvit_9_240 cs3darknet_s csatv2 cspnext_tiny
cspresnet50 davit_tiny deit3_small_patch16_224 densenetblur121d dla34 dpn68 edgenext_xx_small
efficientformer_l1 efficientformerv2_s0 efficientnet_b0 efficientnetv2_s efficientvim_m1
efficientvit_b0 efficientvit_m0 ese_vovnet19b_slim eva02_tiny_patch14_224 fasternet_t0 fastvit_s12
flexivit_small focalnet_tiny_lrf gcresnet50t gcvit_xxtiny gemma4_vit_167m_enc ghostnet_050
gmlp_ti16_224 halonet26t hardcorenas_a hgnetv2_b0 hiera_tiny_224 hrnet_w18_small iformer_s
inception_next_atto inception_resnet_v2 inception_v3 inception_v4 lambda_resnet26t lcnetv2_small
legacy_senet154 legacy_xception levit_128s lowformer_b0 mambaout_femto maxvit_tiny_tf_224
maxxvit_rmlp_nano_rw_256 mixer_s32_224 mobilenetv3_small_050 mobilenetv4_conv_small
mobilenetv4_hybrid_medium mobilenetv5_base mobileone_s0 mobilevit_xxs mobilevitv2_050 mvitv2_tiny
naflexvit_base_patch16_gap nasnetalarge nest_tiny nextvit_small nfnet_f0 pit_ti_224 pnasnet5large
poolformer_s12 pvt_v2_b0 qwen3_vit_88m_enc rdnet_tiny regnety_040_sgn repghostnet_050 repvgg_b0
repvit_m0_9 res2net50_26w_4s resmlp_12_224 resnest26d resnet18 resnetaa50 resnetv2_18 rexnet_100
sam2_hiera_tiny samvit_base_patch16_224 selecsls42 sequencer2d_s seresnet18 shvit_s1 skresnet18
starnet_s050 swiftformer_xs swin_tiny_patch4_window7_224 swinv2_cr_tiny_224 swinv2_tiny_window8_256
tiny_vit_5m_224 tnt_s_patch16_224 tresnet_m twins_svt_small vgg11 visformer_tiny vit_base_mci_224
vit_pe_core_tiny_patch16_384 vit_relpos_small_patch16_224 vit_small_patch14_reg4_dinov2
vit_small_patch16_dinov3 vit_small_r26_s32_224 vit_tiny_patch16_224 vitamin_small_224 volo_d1_224
wide_resnet50_2 xception41 xcit_nano_12_p8_224
"""
# Height and width of photos, of which the second is a multiple of nothing.
PHOTOS = ((160, 240), (333, 517))


def examine(name: str) -> dict[str, Any]:
    """What is found out of one network."""
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 255, (*shape, 3), np.uint8) for shape in PHOTOS]
    extractor = ConvFeatureExtractor(
        f"timm/{name}", None, max_size=None, engine="torch", device="cpu"
    )
    try:
        extractor.fit([])
    except ValueError as refusal:
        return {"refused": str(refusal)}
    network, started = extractor.network, time.process_time()
    maps = [record.activations.shape for record in extractor.transform(photos)]
    return {
        "sides": "any" if network.multiple == 1 else f"multiples of {network.multiple}",
        "depths": sorted({network.channels, *(depth for _, _, depth in maps)}),
        "stride": network.stride,
        "maps": [f"{rows}x{columns}" for rows, columns, _ in maps],
        "seconds": time.process_time() - started,
    }


def row(name: str, found: dict[str, Any]) -> list[str]:
    """A network's row of the table."""
    if "refused" in found:
        only = re.search(r"takes (\S+) pixels only.* are (.*)", found["refused"])
        assert only, found["refused"]
        return [name, f"{only[1]} only; instead: {only[2]}", "", "", ""]
    depths = " and ".join(map(str, found["depths"]))
    return [
        name,
        found["sides"],
        f"{depths}, {found['stride']}",
        ", ".join(found["maps"]),
        f"{found['seconds']:.1f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=NETWORKS.split(), metavar="NAME")
    parser.add_argument("--limit", type=float, default=120, help="seconds for one network")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        warnings.filterwarnings("ignore")
        print(json.dumps(examine(args.one)))
        return
    rows, failed = [], False
    for name in args.networks:
        command = [sys.executable, __file__, "--one", name]
        limited = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        try:
            run = subprocess.run(
                command, capture_output=True, text=True, env=limited, timeout=args.limit
            )
            reason = "" if not run.returncode else (run.stderr.splitlines() or ["killed"])[-1]
        except subprocess.TimeoutExpired:
            reason = f"not done in {args.limit:.0f} s"
        if reason:
            failed = True
            rows.append([name, f"fails: {reason[:200]}", "", "", ""])
        else:
            rows.append(row(name, json.loads(run.stdout.splitlines()[-1])))
        print(*rows[-1], file=sys.stderr, flush=True)
    shapes = ", ".join(f"{width}x{height}" for height, width in PHOTOS)
    print(as_table(["network", "sides", "D, stride", f"maps of {shapes}", "seconds"], rows))
    sys.exit(failed)


if __name__ == "__main__":
    main()
