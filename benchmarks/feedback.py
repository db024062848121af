"""What a round of marks is worth: results that a person says are right or wrong.

    python benchmarks/feedback.py --data ../shared/data

Boxed queries of `landmarks` (L-X), and of `paris279` those of Paris6k (P-X) and of the revisited
one, of which only the hard photos count (R-H), crop X; R-MAC, with components and whitening fitted
on the other set. Of the first `--marked` results of a query all are marked right or wrong, as the
ground truth has it, and searched for again by `search_with_marks`. The query's own photo is not
ranked, and junk is not marked.

Marked photos are known, and must not count as found. Two ways to see to that: "placed" ranks them
as marks do before and after, what is right first and what is wrong last; "unseen" takes them out of
both, and leaves out queries for which nothing is left to be found. So "after" against "before" is
what marks tell of photos that nobody has looked at. Prints mAP in percent and the paired difference
with its 95% interval over queries, of which those of one landmark are drawn together; and processor
seconds of a search, of one with all marks but one, and of one with that one more.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from chains import fitted, load
from scales import make_system
from sklearn.frozen import FrozenEstimator
from threadpoolctl import threadpool_limits

from sklearn_cmac import LearnedFeatureExtractor
from sklearn_cmac._markdown import as_table
from sklearn_cmac.datasets import Relevance
from sklearn_cmac.fingerprints import fingerprint
from sklearn_cmac.metrics import bootstrap_interval, evaluate_rankings
from sklearn_cmac.photos import name_of
from sklearn_cmac.search import (
    RegionMatching,
    RetrievalIndex,
    Retriever,
    chain_of_effort,
    search_with_marks,
)

COLUMNS = ("L-X", "R-H", "P-X")


def chains() -> dict[str, list[tuple[str, Any]]]:
    """Steps behind the first ranking, by name."""
    usual = chain_of_effort(extractors=[LearnedFeatureExtractor()])
    return {
        "one descriptor": [],
        "matching": [("match", RegionMatching())],
        "as cmac serve": list(usual.steps),
    }


class Asked(NamedTuple):
    """Rankings of all photos for a query before and after marks, as positions, and the marks."""

    before: list[int]
    after: list[int]
    right: list[int]
    wrong: list[int]


def index_of(system: Any, photos: Sequence[Any], folder: Path) -> Path:
    """An index of the photos, with their regions and local features; it is kept."""
    path = folder / f"{fingerprint([name_of(photo) for photo in photos])[:16]}.cmac"
    if not path.exists():
        made = path.with_suffix(".new")
        features = [LearnedFeatureExtractor()]
        with RetrievalIndex.create(made, system, regions=True, features=features) as index:
            index.add(photos)
        made.rename(path)
    return path


def ask(
    index: RetrievalIndex, query: Any, place: dict[str, int], right: Relevance, n: int
) -> Asked:
    """Search, mark the first n results, and search again."""
    names = {i: name for name, i in place.items()}
    unmarked = {place.get(query.name), *right.junk.tolist()}
    before = [place[result.name] for result in index.search(query, len(index), n_explained=n)]
    marked = [i for i in before if i not in unmarked][:n]
    good = [i for i in marked if i in right.positives]
    bad = [i for i in marked if i not in good]
    given = {"right": [names[i] for i in good], "wrong": [names[i] for i in bad]}
    found = search_with_marks(index, [query], len(index), **given)
    return Asked(before, [place[result.name] for result in found], good, bad)


def seconds(index: RetrievalIndex, query: Any, names: Sequence[str]) -> list[float]:
    """Processor seconds of a search, of one with marks, and of one with a further mark."""
    index.search(query)  # what is read once, is read now
    spent = []
    for marks in ([], names[:-1], names):
        started = time.process_time()
        search_with_marks(index, [query], right=marks)
        spent.append(time.process_time() - started)
    return spent


def placed(order: Sequence[int], asked: Asked) -> list[int]:
    """An order in which what was marked right comes first, and what was marked wrong last."""
    ahead, behind = ([i for i in order if i in marked] for marked in (asked.right, asked.wrong))
    return [*ahead, *unseen(order, asked), *behind]


def unseen(order: Sequence[int], asked: Asked) -> list[int]:
    """An order without what was marked."""
    return [i for i in order if i not in asked.right and i not in asked.wrong]


def precisions(orders: Sequence[Sequence[int]], relevance: Sequence[Any]) -> np.ndarray:
    """Average precision of each ranking."""
    found = evaluate_rankings([np.array(order) for order in orders], relevance)
    return np.array(found.average_precision)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data")
    parser.add_argument("--store", default=".cache/maps", help="where maps are kept")
    parser.add_argument("--out", type=Path, default=Path(".cache/chains"))
    parser.add_argument("--columns", nargs="+", choices=COLUMNS, default=list(COLUMNS[:2]))
    parser.add_argument("--sizes", default="724+512", metavar="SIZE+SIZE", help="of photos")
    parser.add_argument("--marked", type=int, default=10, help="results that are marked")
    parser.add_argument("--timed", type=int, default=3, help="queries of which seconds are taken")
    parser.add_argument("--only", nargs="+", help="chains of these names only")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", "whitening .* dimensions")
    warnings.filterwarnings("ignore", ".*Scores of a part are no benchmark results")
    benchmarks, rows, times = load(args.data), [], []
    for column in args.columns:
        benchmark, photos = benchmarks[column]
        pipeline, folder = fitted(make_system("rmac", args.sizes, args.store), photos, args.out)
        path = index_of(pipeline, benchmark.photos, folder)
        place = {name_of(photo): i for i, photo in enumerate(benchmark.photos)}
        names = list(place)
        relevance = [
            without(right, {place.get(query.name)})
            for query, right in zip(benchmark.queries, benchmark.relevance)
        ]
        for name, steps in chains().items():
            if args.only and name not in args.only:
                continue
            chain = Retriever(FrozenEstimator(pipeline), steps).fit([])
            with threadpool_limits(1), RetrievalIndex.open(path, chain) as index:
                asked = [
                    ask(index, query, place, right, args.marked)
                    for query, right in zip(benchmark.queries, relevance)
                ]
            spent = []
            for query, each in list(zip(benchmark.queries, asked))[: args.timed]:
                marked = [names[i] for i in each.right + each.wrong]
                # An index that is opened anew knows no mark.
                with threadpool_limits(1), RetrievalIndex.open(path, chain) as index:
                    spent.append(seconds(index, query, marked))
            rows.append([name, column, *cells(asked, relevance, np.array(benchmark.groups))])
            times.append([name, column, *(f"{each:.2f}" for each in np.median(spent, axis=0))])
            print(*rows[-1], *times[-1][2:], sep=" | ", file=sys.stderr, flush=True)
    head = ["steps", "queries", "before", "placed before", "after", "unseen: n", "before", "after"]
    print(as_table(head, rows), end="\n\n")
    columns = ["search", f"{args.marked - 1} marks", "one more"]
    print(as_table(["seconds", "queries", *columns], times))


def cells(asked: Sequence[Asked], relevance: Sequence[Relevance], groups: np.ndarray) -> list[str]:
    """mAP before and after, of all photos and of those that nobody has looked at."""
    plain = precisions([each.before for each in asked], relevance)
    before = precisions([placed(each.before, each) for each in asked], relevance)
    after = precisions([placed(each.after, each) for each in asked], relevance)
    told = [f"{100 * plain.mean():.1f}", f"{100 * before.mean():.1f}", ahead(after, before, groups)]
    left = [without(right, {*each.right}) for each, right in zip(asked, relevance)]
    some = [i for i, right in enumerate(left) if len(right.positives)]
    if not some:
        return [*told, "0", "", ""]
    asked, left = [asked[i] for i in some], [left[i] for i in some]
    before = precisions([unseen(each.before, each) for each in asked], left)
    after = precisions([unseen(each.after, each) for each in asked], left)
    return [*told, str(len(some)), f"{100 * before.mean():.1f}", ahead(after, before, groups[some])]


def without(right: Relevance, photos: set[Any]) -> Relevance:
    """The same without some photos that were right, which count no more."""
    known = np.isin(right.positives, [i for i in photos if i is not None])
    return Relevance(right.positives[~known], np.union1d(right.junk, right.positives[known]))


def ahead(after: np.ndarray, before: np.ndarray, groups: np.ndarray) -> str:
    """mAP, and how far it is ahead."""
    low, high = bootstrap_interval(after, before, groups=groups)
    gained = 100 * (after - before).mean()
    return f"{100 * after.mean():.1f} ({gained:+.1f}: {100 * low:+.1f} to {100 * high:+.1f})"


if __name__ == "__main__":
    main()
