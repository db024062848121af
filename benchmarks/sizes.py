"""mAP over the size at which the network sees photos, and over its stride.

    python benchmarks/sizes.py --data ../shared/data --plot sizes.png

All photos are brought to each size, smaller ones enlarged, so that the size says how large an
object is to the network. "stride 32" is EfficientNet-Lite0 to its head. "stride 16" is the same
filters at twice as many places along each side: the last step of two pixels is taken as one, and
the filters behind it are spread by two, so that nothing but the grid is finer. Each of two sets is
tested with whitening (shrinkage 1) fitted on the other, at the size itself: `landmarks` whole (L)
and its boxed queries (L-X), the queries of Paris6k (P-X) and the revisited ones (R-X), crop X.
Prints mAP in percent, of one descriptor and of region matching, and for clusters the difference
to squares at the same size and stride with its 95% interval over queries.

With weights of the paper's network this settles what the paper's photos and network do:

    python benchmarks/sizes.py --data DATA --backbone vgg16 --weights vgg16.pth --strides 16
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from regions import tasks
from sklearn.pipeline import Pipeline

from sklearn_cmac._markdown import as_table
from sklearn_cmac.evaluation import evaluate
from sklearn_cmac.metrics import bootstrap_interval
from sklearn_cmac.networks import Backbone, get_backbone, register_network
from sklearn_cmac.pipelines import SYSTEMS
from sklearn_cmac.reranking import make_chain

COLUMNS = ("L", "L-X", "P-X", "R-X")
STEPS = {"one descriptor": make_chain(), "region matching": make_chain("matching")}
SQUARES, *CLUSTERS = COMPARED = ("rmac", "paper", "cmac")
LITE0, FINER = "efficientnet_lite0", "efficientnet_lite0-stride16"

# Average precisions of the queries, by steps and column.
Scores = dict[tuple[str, str], np.ndarray]


def finer_lite0(name: str, weights: str | None, layer: str) -> Backbone:
    """EfficientNet-Lite0 to its head, with the stride of its last stages taken back."""
    plain = get_backbone(LITE0, weights, layer)

    def build() -> torch.nn.Module:
        network = plain.build()
        blocks = [block for stage in network.blocks[5:] for block in stage]
        blocks[0].conv_dw.stride = (1, 1)
        for block in blocks[1:]:
            conv = block.conv_dw
            conv.dilation = (2, 2)
            conv.padding = tuple(side - 1 for side in conv.kernel_size)
        return network

    return replace(plain, name=name, stride=16, build=build)


def make_system(name: str, backbone: str, size: int, args: argparse.Namespace) -> Pipeline:
    """A system that sees all photos at one size."""
    return SYSTEMS[name].make(
        features__backbone=backbone,
        features__weights=args.weights,
        features__max_size=size,
        features__scales=(1.0,),
        features__enlarge=True,
        features__store=args.store,
        whiten__shrinkage=1.0,
        **SYSTEMS[name].of_network(args.backbone),
    )


def measure(pipeline: Pipeline, work: Sequence[tuple], out: Path | None) -> Scores:
    """Average precisions by (steps, column), crop X."""
    scores = {}
    for column, (benchmark, fit_on, _) in zip(COLUMNS, work):
        for row in evaluate(benchmark, {"": pipeline}, fit_on, steps=STEPS, folder=out).rows:
            scores[row.steps, column] = np.array(row.average_precision)
    return scores


def table(found: Mapping[tuple[int, int, str], Scores], steps: str) -> str:
    """mAP by stride, size and system; of clusters also what they are ahead of squares."""
    rows = []
    for (stride, size, name), scores in found.items():
        squares = found[stride, size, SQUARES]
        cells = []
        for column in COLUMNS:
            values, base = scores[steps, column], squares[steps, column]
            cells.append(f"{100 * values.mean():.1f}")
            if name != SQUARES:
                low, high = bootstrap_interval(values, base)
                ahead = 100 * (values - base).mean()
                cells[-1] += f" ({ahead:+.1f}: {100 * low:+.1f} to {100 * high:+.1f})"
        rows.append([str(stride), str(size), SYSTEMS[name].label, *cells])
    return as_table(["stride", "size", steps, *COLUMNS], rows)


def draw(found: Mapping[tuple[int, int, str], Scores], file: Path) -> None:
    """A panel for each steps and column: mAP over size, a line for each system and stride."""
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(
        len(STEPS), len(COLUMNS), figsize=(13, 6.5), sharex=True, sharey="col", layout="constrained"
    )
    colors = dict(zip(COMPARED, ("tab:gray", "tab:orange", "tab:blue")))
    for axes_row, steps in zip(panels, STEPS):
        for axes, column in zip(axes_row, COLUMNS):
            for stride, name in dict.fromkeys((stride, name) for stride, _, name in found):
                points = [
                    (size, 100 * scores[steps, column].mean())
                    for (s, size, n), scores in found.items()
                    if (s, n) == (stride, name)
                ]
                axes.plot(
                    *zip(*points),
                    marker="o",
                    linestyle="-" if stride == 32 else "--",
                    color=colors[name],
                    label=f"{SYSTEMS[name].label}, stride {stride}",
                )
            axes.set(title=f"{column}, {steps}", xscale="log")
            sizes = sorted({size for _, size, _ in found})
            axes.set_xticks(sizes, [str(size) for size in sizes], minor=False)
            axes.minorticks_off()
            axes.grid(alpha=0.3)
    for axes in panels[-1]:
        axes.set_xlabel("pixels of the long side")
    for axes in panels[:, 0]:
        axes.set_ylabel("mAP in %")
    panels[0, 0].legend(fontsize=8)
    figure.savefig(file, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data")
    parser.add_argument("--store", default=".cache/maps", help="where activation maps are kept")
    parser.add_argument("--out", type=Path, help="keeps what is done, so a stopped run goes on")
    parser.add_argument("--backbone", default=LITE0)
    parser.add_argument("--weights", default="default")
    parser.add_argument("--sizes", nargs="+", type=int, default=[256, 384, 512, 724, 1024, 1280])
    parser.add_argument("--strides", nargs="+", type=int, default=[32, 16])
    parser.add_argument("--finest", type=int, default=724, help="largest size at a finer stride")
    parser.add_argument("--plot", type=Path, help="a picture of the curves; needs matplotlib")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", "whitening .* dimensions")
    warnings.filterwarnings("ignore", ".*Scores of a part are no benchmark results")
    register_network(FINER, finer_lite0)
    work = tasks(args.data)
    found: dict[tuple[int, int, str], Scores] = {}
    for stride in args.strides:
        finer = args.backbone == LITE0 and stride == 16
        for size in args.sizes:
            if finer and size > args.finest:
                continue
            for name in COMPARED:
                pipeline = make_system(name, FINER if finer else args.backbone, size, args)
                scores = found[stride, size, name] = measure(pipeline, work, args.out)
                cells = [f"{100 * scores[key].mean():.1f}" for key in scores]
                print(stride, size, name, *cells, file=sys.stderr, flush=True)
    for steps in STEPS:
        print(table(found, steps), end="\n\n")
    if args.plot is not None:
        draw(found, args.plot)


if __name__ == "__main__":
    main()
