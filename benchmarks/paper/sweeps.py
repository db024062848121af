"""Curves of mAP as one parameter of a system changes."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from systems import (
    CROPS,
    MISSING,
    OF_NETWORKS,
    Settings,
    Task,
    cell,
    given_tasks,
    make_parser,
    make_system,
    measure,
    named_for,
    read_settings,
)

from sklearn_cmac._markdown import as_table
from sklearn_cmac.evaluation import Row
from sklearn_cmac.pipelines import SYSTEMS


def sweep(
    systems: Iterable[str],
    path: str,
    values: Sequence[Any],
    tasks: Mapping[str, Task],
    settings: Settings,
    network: str,
    crops: Sequence[str],
    **fixed: Any,
) -> dict[str, dict[Any, dict[str, Row]]]:
    """Rows of systems as one parameter changes: label of the system, value, "task crop".

    `fixed` are parameters that all have.

    A system without the parameter is measured once, and is the same at each value.
    """
    found: dict[str, dict[Any, dict[str, Row]]] = {}
    for name in systems:
        label, learned = SYSTEMS[name].label, SYSTEMS[name].learned
        without = path not in make_system(name, network, settings).get_params()
        found[label] = {}
        for value in values[:1] if without else values:
            print(f"{label}, {path}={value}", file=sys.stderr, flush=True)
            params = fixed if without else {**fixed, path: value}
            pipeline = make_system(name, network, settings, **params)
            rows = {}
            for task in tasks.values():
                measured = measure(pipeline, task, settings, crops, learned=learned)
                for crop in crops:
                    rows[f"{task.name} {crop}"] = measured[crop, "plain"]
            found[label]["any" if without else value] = rows
    return found


def sweep_table(found: Mapping[str, Mapping[Any, Mapping[str, Row]]], label: str) -> str:
    """The sweep in Markdown."""
    columns = list(next(iter(next(iter(found.values())).values())))
    rows = [
        [name, str(value), *(cell(measured[column]) for column in columns)]
        for name, points in found.items()
        for value, measured in points.items()
    ]
    return as_table(["system", label, *columns], rows)


def sweep_curves(
    found: Mapping[str, Mapping[Any, Mapping[str, Row]]], values: Sequence[Any]
) -> Any:
    """The sweep as curves of mAP in percent, each with its name, for `plot_curves`."""
    curves = {}
    for name, points in found.items():
        for column in next(iter(points.values())):
            heights = [points.get(v, points.get("any"))[column] for v in values]
            curves[f"{name}, {column}"] = [100 * row.mean_average_precision for row in heights]
    return curves


def plot_curves(
    file: Path, values: Sequence[Any], curves: Mapping[str, Sequence[float]], x: str, y: str
) -> None:
    """Curves in one picture; needs matplotlib."""
    from pictures import draw_curves, plt

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    draw_curves(axes, values, curves, x, y)
    figure.savefig(file, dpi=120)


def run(
    description: str, path: str, label: str, values: Sequence[Any], systems: Sequence[str]
) -> None:
    """The command line of a sweep: a table for each network, and a picture if asked for."""
    parser = make_parser(description, networks=("efficientnet_lite0",))
    parser.add_argument("--values", nargs="+", type=type(values[0]), default=list(values))
    parser.add_argument("--systems", nargs="+", choices=OF_NETWORKS, default=list(systems))
    parser.add_argument("--crops", nargs="+", choices=CROPS, default=["X"])
    parser.add_argument("--plot", type=Path, help="a picture of the curves; needs matplotlib")
    args = parser.parse_args()
    settings, tasks = read_settings(args), given_tasks(args)
    for network in args.networks:
        if network not in settings.weights or not tasks:
            print(f"{settings.label(network)}: {MISSING} without weights and photos")
            continue
        found = sweep(args.systems, path, args.values, tasks, settings, network, args.crops)
        print(f"{settings.label(network)}\n\n{sweep_table(found, label)}\n", flush=True)
        if args.plot is not None:
            curves = sweep_curves(found, args.values)
            plot_curves(named_for(args.plot, network), args.values, curves, label, "mAP in %")
