"""mAP over the dimensions that PCA whitening keeps.

    python benchmarks/paper/sweep_dimensions.py --data ../shared/data --store maps/ --out paper/

Fewer dimensions make shorter descriptors. Values above what the photos to fit on
allow are cut to it.
Prints mAP in percent with 95% intervals over queries; `--plot FILE` draws it.
"""

from __future__ import annotations

from sweeps import run

if __name__ == "__main__":
    run(
        __doc__,
        "whiten__n_components",
        "dimensions",
        [64, 128, 256, 512, 1280],
        ["mac", "rmac", "paper", "cmac"],
    )
