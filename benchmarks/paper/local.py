"""The systems before networks: bags of visual words, VLAD and Fisher vectors over SIFT.

    python benchmarks/paper/local.py --data ../shared/data --max-size 640 --store .cache/sift

Same photos, queries and layout as `all_systems.py`. Bags of words are also verified: the first
photos are sorted by how many of their features a transformation of the query's explains (RANSAC).
Prints mAP in percent with a 95% interval over queries, and seconds per photo.
"""

from __future__ import annotations

from importlib.util import find_spec

from systems import CROPS, STEPS, cell, given_tasks, make_parser, measure, read_settings

from sklearn_cmac._markdown import as_table
from sklearn_cmac.pipelines import SYSTEMS
from sklearn_cmac.search import SpatialVerification

LOCAL = [name for name, system in SYSTEMS.items() if system.only == "sift"]
# What follows the first ranking, where it is not only "plain".
FOLLOWED = {"bow": ("plain", "spatial")}
CHAINS = {**STEPS, "spatial": [("rerank", SpatialVerification(n_candidates=50))]}


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--systems", nargs="+", choices=LOCAL, default=LOCAL)
    args = parser.parse_args()
    if find_spec("skimage") is None:
        print("not measured: needs scikit-image")
        return
    settings = read_settings(args)
    tasks = given_tasks(args)
    header = [
        "features",
        "system",
        "steps",
        *(f"{task} {crop}" for task in tasks for crop in CROPS),
    ]
    rows = []
    for name in args.systems:
        system, steps = SYSTEMS[name], FOLLOWED.get(name, ("plain",))
        pipeline = system.make(features__max_size=args.max_size, features__store=args.store)
        found = [
            measure(pipeline, task, settings, CROPS, steps, chains=CHAINS)
            for task in tasks.values()
        ]
        for step in steps:
            cells = [cell(rows_of[crop, step]) for rows_of in found for crop in CROPS]
            seconds = found[0]["X", step].seconds_per_photo
            rows.append(["SIFT", system.label, step, *cells, f"{seconds:.3f}"])
    print(as_table([*header, "s/photo"], rows))


if __name__ == "__main__":
    main()
