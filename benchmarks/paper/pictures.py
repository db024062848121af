"""What the figures share: photos to show, panels in a grid, and files as .png and .svg."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from sklearn.pipeline import Pipeline
from systems import (
    LARGE,
    Settings,
    Task,
    given_tasks,
    make_parser,
    make_system,
    read_settings,
    scene_tasks,
)

from sklearn_cmac import ActivationMap, Query
from sklearn_cmac.corridor import Corridor
from sklearn_cmac.inspection import draw_box, overlay_regions

SIDE = 320  # pixels of a picture's long side
# Ten clusters, no colours.
TEN = {"regions__n_clusters": 10, "regions__n_color_clusters": 0}
N_FIT = 60  # photos whose cells the components of a picture are fitted on


@dataclass
class Drawing:
    """A figure, what was measured in one sentence, and a table of its numbers if there are any."""

    figure: Figure
    measured: str
    table: str = ""

    def save(self, stem: Path) -> list[Path]:
        """Write the figure as .png and .svg."""
        stem.parent.mkdir(parents=True, exist_ok=True)
        files = [stem.with_name(f"{stem.name}{ending}") for ending in (".png", ".svg")]
        for file in files:
            self.figure.savefig(file, dpi=120)
        plt.close(self.figure)
        return files


Draw = Callable[[Mapping[str, Task], Settings, str], Drawing]


def shown(tasks: Mapping[str, Task], n: int) -> tuple[list[Query], list[Any]]:
    """Queries whose photos are shown, n in all and as many of each task, and photos to fit on."""
    share = -(-n // len(tasks))
    queries = [query for task in tasks.values() for query in spread(task.benchmark.queries, share)]
    return queries[:n], spread(next(iter(tasks.values())).fit_on or [], N_FIT)


def spread(items: Sequence[Any], n: int) -> list[Any]:
    """At most n of many, evenly spaced."""
    chosen = np.linspace(0, len(items) - 1, min(n, len(items))).round().astype(int)
    return [items[i] for i in chosen]


def whole(item: Any) -> Any:
    """The whole photo of a query; photos are themselves."""
    return item.photo if isinstance(item, Query) else item


def proposing(
    fit_on: Sequence[Any], settings: Settings, network: str, system: str = "paper", **params: Any
) -> Pipeline:
    """The fitted steps from photos to maps with regions, of a system that may be changed."""
    return Corridor(make_system(system, network, settings, **params)).proposing.fit(fit_on)


def records(items: Sequence[Any], steps: Pipeline) -> list[ActivationMap]:
    """Maps with regions of whole photos."""
    return steps.transform([whole(item) for item in items])


# -- Panels -----------------------------------------------------------------------------------


def photo_panel(item: Any) -> np.ndarray:
    """The photo, of shape (h, w, 3)."""
    return np.asarray(draw_box(whole(item), max_size=SIDE))


def clusters_panel(item: Any, record: ActivationMap, kind: int = 0) -> np.ndarray:
    """The photo with the clusters of one partition, of shape (h, w, 3)."""
    return np.asarray(overlay_regions(whole(item), record, kind, SIDE))


def norm_panel(record: ActivationMap) -> np.ndarray:
    """The l2 norm of each cell's activations, of shape (H, W)."""
    return np.linalg.norm(np.asarray(record.activations, np.float32), axis=2)


def sheet(rows: Sequence[Sequence[np.ndarray]], titles: Sequence[str] = ()) -> Figure:
    """Panels in rows: photos in colour, maps from dark to bright; titles of the columns."""
    n_columns = max(map(len, rows))
    size = 2 * n_columns, 1.7 * len(rows) + 0.3
    figure, axes = plt.subplots(
        len(rows), n_columns, figsize=size, squeeze=False, layout="constrained"
    )
    for ax in axes.flat:
        ax.axis("off")
    for line, panels in zip(axes, rows):
        for ax, panel in zip(line, panels):
            ax.imshow(panel, cmap="gray" if panel.ndim == 2 else None, interpolation="nearest")
    for ax, title in zip(axes[0], titles):
        ax.set_title(title, fontsize="small")
    return figure


def draw_curves(
    ax: Any, values: Sequence[float], heights: Mapping[str, Sequence[float]], x: str, y: str
) -> None:
    """Named curves over the same values."""
    for name, points in heights.items():
        ax.plot(values, points, marker="." if len(values) < 30 else "", label=name)
    ax.set(xlabel=x, ylabel=y)
    ax.legend(fontsize="small")
    ax.grid(alpha=0.3)


# -- Command lines ----------------------------------------------------------------------------


def photos_at_hand(args: Any) -> dict[str, Task]:
    """Benchmarks without distractors that there are photos for, or made scenes."""
    tasks = {name: task for name, task in given_tasks(args).items() if name not in LARGE}
    return tasks or scene_tasks()


def main(description: str, name: str, draw: Draw) -> None:
    """The command line of a figure: a file for each network, in the folder `--out`."""
    parser = make_parser(description, networks=("efficientnet_lite0",))
    args = parser.parse_args()
    settings, tasks = read_settings(args), photos_at_hand(args)
    for network in args.networks:
        if network not in settings.weights:
            print(f"{settings.label(network)}: needs --weights {network}=FILE")
            continue
        drawing = draw(tasks, settings, network)
        files = drawing.save((args.out or Path()) / f"{name}-{network}")
        written = " and ".join(map(str, files))
        print(f"{settings.label(network)}: {drawing.measured}\n\n{drawing.table}\n\n{written}\n")
