"""mAP over the weight of places, the spatial term.

    python benchmarks/paper/sweep_places.py --data ../shared/data --store maps/ --out paper/

At 0 cells are compared by their activations alone, as the paper does; at 1 places have the variance
of the embedding. The paper's own formula may scale the weight otherwise.
Prints mAP in percent with 95% intervals over queries; `--plot FILE` draws it.
"""

from __future__ import annotations

from sweeps import run

if __name__ == "__main__":
    run(
        __doc__,
        "regions__spatial_weight",
        "weight of places",
        [0.0, 0.3, 1.0, 3.0],
        ["rmac", "paper", "cmac"],
    )
