"""`cmac groups`: the photos of each object, found over a whole index."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from sklearn_cmac._printing import print_json, print_lines
from sklearn_cmac.cli._ending import GOES_ON, UNCHANGED, Command
from sklearn_cmac.cli._options import INDEX, NEW_FILE, NEW_FOLDER, Count, json_option, parse_n_jobs
from sklearn_cmac.cli._pages import make_way_for
from sklearn_cmac.inspection import Figure, Ranking, draw_box, write_page
from sklearn_cmac.local import LearnedFeatureExtractor
from sklearn_cmac.reranking import verifier_of
from sklearn_cmac.search import Group, RetrievalIndex, find_groups

_ON_PAGE = 200  # groups with pictures, which the page holds in itself
_IN_ROW = 12


def _when_stopped(given: dict[str, Any]) -> str:
    if given["store"] is None:
        return f"{UNCHANGED}; with --store, the same command would go on where it was"
    return f"what was compared is in {given['store']}, so {GOES_ON}"


def _parse_probability(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number <= 1:
        raise click.BadParameter(f"a number above 0 and at most 1 is needed, got {text!r}")
    return number


@click.command(
    "groups",
    cls=Command,
    when_stopped=_when_stopped,
    short_help="Find the photos that show one object, group by group.",
)
@click.argument("index", type=INDEX)
@click.option("--min-size", type=Count(), default=2, help="Photos of a group, at least.")
@click.option(
    "-n",
    "--n-neighbors",
    type=Count(),
    default=10,
    help="So many photos nearest to each are compared with it.",
)
@click.option(
    "--min-probability",
    type=_parse_probability,
    default=0.75,
    metavar="NUMBER",
    help="That two photos show one object, for them to be linked. Raise it where groups mix.",
)
@click.option(
    "--careful",
    is_flag=True,
    help="Let LightGlue look again at pairs that a quick look leaves open: a quarter of a second "
    "each. Needs features of ALIKED in the index.",
)
@json_option
@click.option("--html", type=NEW_FILE, help="Write a page with pictures of the groups.")
@click.option(
    "--store",
    type=NEW_FOLDER,
    help="Keep local features and what was compared here, so that a run that was stopped goes on.",
)
@click.option(
    "--n-jobs", type=parse_n_jobs, default=-1, metavar="N", help="Photos compared at once."
)
def groups_command(
    index: Path,
    min_size: int,
    n_neighbors: int,
    min_probability: float,
    careful: bool,
    as_json: bool,
    html: Path | None,
    store: Path | None,
    n_jobs: int,
) -> None:
    """Find the photos of INDEX that show one object, by their local features, group by group.

    Prints each group, the largest first: how many photos it has, and their names, the one with
    most links first. Nothing of the index is changed.
    """
    if html:
        make_way_for(html)
    with RetrievalIndex.open(index, read_only=True) as opened:
        verifier = None
        if careful:
            verifier = verifier_of(opened.extractors or [LearnedFeatureExtractor()], careful=True)
            if verifier.careful is None:
                raise click.UsageError(
                    f"{index} keeps no features of ALIKED for a careful look; let cmac index "
                    "--features aliked-n16 find them"
                )
        groups = find_groups(
            opened,
            verifier=verifier,
            n_neighbors=n_neighbors,
            min_probability=min_probability,
            min_size=min_size,
            store=store,
            n_jobs=n_jobs,
            verbose=True,
        )
        n_photos = len(opened)
    n_in_groups = sum(group.size for group in groups)
    told = f"{index}: {n_in_groups} of {n_photos} photos are in {len(groups)} groups"
    print_lines(told, err=True)
    if as_json:
        print_json([_as_row(group) for group in groups])
    else:
        for group in groups:
            print_lines(f"{group.size} photos", *(f"  {name}" for name in group.names))
    if html:
        _write(html, index, groups)


def _as_row(group: Group) -> dict[str, Any]:
    links = [
        {"photos": link.names, "inliers": link.n_inliers, "probability": link.probability}
        for link in group.links
    ]
    return {"size": group.size, "photos": group.names, "links": links}


def _write(html: Path, index: Path, groups: Sequence[Group]) -> None:
    sections = [
        (f"{group.size} photos", [Ranking("Most links first", list(_figures(group)))])
        for group in groups[:_ON_PAGE]
    ]
    write_page(html, f"{len(groups)} groups in {index}", sections)
    print_lines(f"page: {html.resolve()}", err=True)


def _figures(group: Group) -> Iterator[Figure]:
    for path in group.paths[:_IN_ROW]:
        if os.path.isfile(path):
            yield Figure(draw_box(path, max_size=256), Path(path).name)
