"""All systems beside networks that were trained for retrieval, with distractors.

    python benchmarks/paper/fine_tuned.py --oxford oxbuild_images/ --paris paris/ \\
        --distractors oxc1_100k/ \\
        --checkpoint "GeM, fine-tuned, VGG16=retrievalSfM120k-vgg16-gem.pth"

Columns are Oxford5k, Oxford105k, Paris6k and Paris106k, published beside measured, then the photos
under `--data`. Rows of fine-tuned networks need the files that their authors published
(`--checkpoint ROW=FILE`); the others are those of `all_systems.py` on the paper's networks.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

from published import UNKNOWN, published, sources
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
    measure,
    measure_system,
    published_tasks,
    read_settings,
    systems_on,
)

from sklearn_cmac._markdown import as_table
from sklearn_cmac.checkpoints import pipeline_from_checkpoint
from sklearn_cmac.evaluation import Row
from sklearn_cmac.pipelines import SYSTEMS

Measured = Mapping[tuple[str, str], Row]  # by crop and steps

# Systems of trained networks, and the network that each was published with.
FINE_TUNED = [
    ("siaMAC, fine-tuned", "VGG16"),
    ("GeM, fine-tuned", "VGG16"),
    ("GeM, fine-tuned", "ResNet101"),
    ("DIR, fine-tuned", "ResNet101"),
    ("DIR with MAC, fine-tuned", "ResNet101"),
    ("DIR with GeM, fine-tuned", "ResNet101"),
    ("AP-GeM, fine-tuned", "ResNet101"),
]


def table(
    tasks: Mapping[str, Task | None],
    settings: Settings,
    networks: Sequence[str],
    systems: Sequence[str],
    steps: Sequence[str],
    crop: str,
    checkpoints: Mapping[str, str],
    compare: Sequence[str] = (),
) -> str:
    """Rows of system, network and steps; a column for each task, some with one of published
    numbers before it. `checkpoints` has files by "system, network"."""
    header = ["system", "network", "steps"]
    for task in tasks:
        header += [f"{task}, published"] * (task in compare) + [f"{task} {crop}"]
    used = set[str]()

    def lines(
        name: str, label: str, shown: Sequence[str], measured: Mapping[str, Measured]
    ) -> list[list[str]]:
        found = []
        for step in steps:
            row = [*shown, step]
            for task in tasks:
                if task in compare:
                    stated = published(name, label, step, crop, task, used)
                    if stated == UNKNOWN:
                        stated = published(name, label, step, "", task, used)
                    row.append(stated)
                row.append(cell(measured[task].get((crop, step))))
            found.append(row)
        return found

    rows = []
    for network in networks:
        for name in systems_on(network, systems):
            measured = {
                task: measure_system(name, network, tasks[task], settings, (crop,), steps)
                for task in tasks
            }
            shown = SYSTEMS[name].label, settings.label(network)
            rows += lines(name, NETWORKS[network].label, shown, measured)
    for name, label in FINE_TUNED:
        file = checkpoints.get(f"{name}, {label}")
        measured = {
            task: _of_checkpoint(file, tasks[task], settings, crop, steps) for task in tasks
        }
        rows += lines(name, label, (name, label), measured)
    text = as_table(header, rows)
    return f"{text}\n\n{sources(used)}" if used else text


def _of_checkpoint(
    file: str | None, task: Task | None, settings: Settings, crop: str, steps: Sequence[str]
) -> Measured:
    if file is None or task is None:
        return {}
    print(f"{file}, {task.name}", file=sys.stderr, flush=True)
    pipeline = pipeline_from_checkpoint(
        file, features__max_size=settings.max_size, features__store=settings.store
    )
    already_fitted = replace(task, fit_on=None)
    return measure(pipeline, already_fitted, settings, (crop,), steps)


def main() -> None:
    parser = make_parser(__doc__, networks=("vgg16", "resnet101"))
    parser.add_argument("--systems", nargs="+", choices=OF_NETWORKS, default=OF_NETWORKS)
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=["plain", "R + QE"])
    parser.add_argument("--crop", choices=CROPS, default="X")
    parser.add_argument("--checkpoint", nargs="+", default=[], metavar="ROW=FILE")
    args = parser.parse_args()
    settings = read_settings(args)
    checkpoints = dict(entry.rsplit("=", 1) for entry in args.checkpoint)
    known = {f"{name}, {label}" for name, label in FINE_TUNED}
    if set(checkpoints) - known:
        raise SystemExit(f"--checkpoint: rows are {', '.join(sorted(known))}")
    official = published_tasks(args)
    tasks = {**official, **local_tasks(args.data)}
    print(
        table(
            tasks, settings, args.networks, args.systems, args.steps, args.crop, checkpoints,
            compare=tuple(official),
        )
    )  # fmt: skip
    print(f"\nWhere it says {MISSING}, photos or weights were not given.")


if __name__ == "__main__":
    main()
