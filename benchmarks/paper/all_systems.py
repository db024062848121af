"""All systems on all networks, nothing behind the first ranking.

    python benchmarks/paper/all_systems.py --data ../shared/data --store maps/ --out paper/
    python benchmarks/paper/all_systems.py \\
        --oxford oxbuild_images/ --oxford-annotations gt_files/ --paris paris/ \\
        --paris-annotations paris_gt/ --weights vgg16=vgg16_features.pth

Queries are cropped in activations (X) and in the photo (I). The first
table is of the published benchmarks, published numbers beside measured ones; the second of the
photos under `--data`, each set fitted on the other. Numbers are mAP in percent with a 95%
interval over queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from published import published, sources
from systems import (
    CROPS,
    MISSING,
    NETWORKS,
    OF_NETWORKS,
    STEPS,
    Settings,
    Task,
    cell,
    local_tasks,
    make_parser,
    measure_system,
    published_tasks,
    read_settings,
    systems_on,
)

from sklearn_cmac._markdown import as_table
from sklearn_cmac.pipelines import SYSTEMS


def table(
    tasks: Mapping[str, Task | None],
    settings: Settings,
    networks: Sequence[str],
    systems: Sequence[str] = tuple(OF_NETWORKS),
    steps: Sequence[str] = ("plain",),
    crops: Sequence[str] = tuple(CROPS),
    compare: bool = False,
) -> str:
    """Rows of network, system and steps; a column for each task and crop, and seconds per photo.

    With `compare`, each column has one of published numbers before it. The seconds are those
    behind stored activation maps or, without a store, with the network's, on the first task.
    """
    columns = [(task, crop) for task in tasks for crop in crops]
    header = ["network", "system"] + ["steps"] * (len(steps) > 1)
    for task, crop in columns:
        header += [f"{task} {crop}, published"] * compare + [f"{task} {crop}"]
    header.append("s/photo")
    rows, used = [], set[str]()
    for network in networks:
        label = NETWORKS[network].label
        for name in systems_on(network, systems):
            measured = {
                task: measure_system(name, network, tasks[task], settings, crops, steps)
                for task in tasks
            }
            for step in steps:
                row = [settings.label(network), SYSTEMS[name].label]
                row += [step] * (len(steps) > 1)
                for task, crop in columns:
                    if compare:
                        row.append(published(name, label, step, crop, task, used))
                    row.append(cell(measured[task].get((crop, step))))
                times = [r.seconds_per_photo for found in measured.values() for r in found.values()]
                rows.append([*row, f"{times[0]:.3f}" if times else MISSING])
    text = as_table(header, rows)
    return f"{text}\n\n{sources(used)}" if used else text


def main(steps: Sequence[str] = ("plain",)) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--systems", nargs="+", choices=OF_NETWORKS, default=OF_NETWORKS)
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(steps))
    args = parser.parse_args()
    settings = read_settings(args)
    official = {name: published_tasks(args)[name] for name in ("Oxford5k", "Paris6k")}
    chosen = settings, args.networks, args.systems, args.steps
    print(table(official, *chosen, compare=True), flush=True)
    local = local_tasks(args.data)
    if local:
        print(f"\n{table(local, *chosen)}")


if __name__ == "__main__":
    main()
