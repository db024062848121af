"""Whether photos of one landmark are found as one group, over two whole indexes.

    python benchmarks/groups.py --data ../shared/data

Of `landmarks` the labels are those of its table, and its distractors show other things. Of
`paris279` a photo shows the landmark of which the official annotations call it good or ok, junk
is left out, and all others show other things. Precision is the share of pairs within the groups
that show one landmark, of pairs of which one photo at least shows a landmark; recall the share of
pairs of one landmark that are within a group. Indexes are made as `cmac index` makes them. Seconds
are of the processor, with local features that were found before; a row takes over the pairs that
one of the same neighbours above it compared.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sklearn_cmac import LearnedFeatureExtractor
from sklearn_cmac._markdown import as_table
from sklearn_cmac.cli._options import SystemOptions
from sklearn_cmac.datasets import find_photos, load_photo_folder
from sklearn_cmac.pipelines import SYSTEMS, fit_to_search
from sklearn_cmac.search import Group, RetrievalIndex, SpatialVerification, find_groups

JUNK = "junk"
_HEAD = [
    "photos", "links", "groups", "of a landmark", "precision", "recall", "mix landmarks",
    "mix in others", "in one group", "s",
]  # fmt: skip


def load_landmarks(data: Path) -> dict[str, str]:
    """What each photo shows, by path; "" if it is none of the landmarks."""
    folder = data / "landmarks"
    found = load_photo_folder(folder / "images", labels=folder / "labels.csv")
    return {str(photo.source): label for photo, label in zip(found.photos, found.target)}


def load_paris(data: Path) -> dict[str, str]:
    """The same."""
    shown: dict[str, str] = {}
    for kind in ("good", "ok", "junk"):  # a photo may be junk of one query and answer another
        for file in sorted((data / "paris_gt").glob(f"*_{kind}.txt")):
            landmark = JUNK if kind == JUNK else file.name.rsplit("_", 2)[0]
            for name in file.read_text().split():
                shown.setdefault(name, landmark)
    return {str(path): shown.get(path.stem, "") for path in find_photos(data / "paris279/jpg")}


SETS = {"landmarks": load_landmarks, "paris279": load_paris}


def pairs_of(labels: Sequence[str]) -> Iterator[bool]:
    """Whether each pair shows one landmark, of those of which one photo at least shows any."""
    for a, b in combinations(labels, 2):
        if a or b:
            yield a == b


def row(groups: Sequence[Group], shown: dict[str, str]) -> list[str]:
    """What the groups are worth, as cells of the table."""
    found = [[shown[name] for name in group.names if shown[name] != JUNK] for group in groups]
    within = [same for labels in found for same in pairs_of(labels)]
    sizes = Counter(label for label in shown.values() if label not in ("", JUNK))
    n_pairs = sum(n * (n - 1) // 2 for n in sizes.values())
    landmarks = [set(labels) - {""} for labels in found]
    places = Counter(landmark for some in landmarks for landmark in some)
    return [
        str(len(shown)),
        str(sum(len(group.links) for group in groups)),
        str(len(groups)),
        str(sum(map(bool, landmarks))),
        f"{100 * sum(within) / max(len(within), 1):.1f}",
        f"{100 * sum(within) / n_pairs:.1f}",
        str(sum(len(some) > 1 for some in landmarks)),
        str(sum(bool(some) and "" in labels for some, labels in zip(landmarks, found))),
        f"{sum(n == 1 for n in places.values())} of {len(sizes)}",
    ]


def open_index(path: Path, shown: Sequence[str], args: argparse.Namespace) -> RetrievalIndex:
    """The index of photos, made if it is not there."""
    if not path.exists():
        pipeline = SystemOptions(max_size=args.max_size).make(args.system, args.store)
        with RetrievalIndex.create(path, fit_to_search(pipeline, shown)) as index:
            index.add(shown, verbose=True)
    return RetrievalIndex.open(path, read_only=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data")
    parser.add_argument("--store", default=".cache/maps", help="of activation maps and features")
    parser.add_argument("--indexes", type=Path, default=Path(".cache/groups"))
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--system", choices=SYSTEMS, default="mixed", help="of a new index")
    parser.add_argument("--max-size", type=int, help="the same")
    parser.add_argument("--n-neighbors", nargs="+", type=int, default=[5, 10, 20])
    parser.add_argument("--min-probability", nargs="+", type=float, default=[0.5, 0.65, 0.85])
    parser.add_argument("--strong-probability", nargs="+", type=float, default=[0.95, 0.99])
    args = parser.parse_args()
    extractor = LearnedFeatureExtractor(store=args.store)
    for name in args.sets:
        shown = SETS[name](args.data.resolve())
        extractor.fit_transform(list(shown))
        rows = []
        verifier = SpatialVerification(extractor)
        with (
            open_index(args.indexes.resolve() / f"{name}.cmac", list(shown), args) as index,
            TemporaryDirectory() as compared,
        ):
            for settings in settings_of(args):
                started = time.process_time()
                found = find_groups(index, verifier=verifier, store=compared, **settings)
                seconds = f"{time.process_time() - started:.1f}"
                rows.append([*map(str, settings.values()), *row(found, shown), seconds])
                print(name, *rows[-1], sep=" | ", file=sys.stderr, flush=True)
        print(as_table([name, "min_probability", "strong_probability", *_HEAD], rows), end="\n\n")


def settings_of(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The defaults, and others that differ in one of the parameters."""
    default = {"n_neighbors": 10, "min_probability": 0.75, "strong_probability": 0.98}
    found = [default]
    for parameter in default:
        found += [{**default, parameter: value} for value in getattr(args, parameter)]
    return [settings for i, settings in enumerate(found) if settings not in found[:i]]


if __name__ == "__main__":
    main()
