"""mAP over C, the components in which activations are compared.

    python benchmarks/paper/sweep_components.py --data ../shared/data --store maps/ --out paper/

Each system weighs its components as it does; `figure3.py` leaves them unweighted, as the paper's
figure does. The paper takes C = 4 for VGG16 and 7 for ResNet101. Squares do not depend
on C and are one line.
Prints mAP in percent with 95% intervals over queries; `--plot FILE` draws it.
"""

from __future__ import annotations

from sweeps import run

if __name__ == "__main__":
    run(
        __doc__,
        "pca__n_components",
        "C",
        [2, 4, 7, 16],
        ["rmac", "paper", "cmac"],
    )
