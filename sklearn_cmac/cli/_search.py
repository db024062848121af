"""`cmac search`: photos ranked by an object in one."""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from sklearn.pipeline import Pipeline

from sklearn_cmac._printing import print_json, print_lines
from sklearn_cmac.cli._ending import GOES_ON, UNCHANGED, Command
from sklearn_cmac.cli._index import can_be_made, index_beside, make_index, maps_beside
from sklearn_cmac.cli._making import (
    Maps,
    look_through,
    pipeline_of,
    pipeline_option,
    read_pipeline,
    trust_option,
    usual_extractors,
    with_steps,
)
from sklearn_cmac.cli._options import (
    NEW_FILE,
    PATH,
    WITHOUT_LABELS,
    Count,
    SystemOptions,
    json_option,
    max_pixels_option,
    parse_box,
    say_how_it_runs,
    store_option,
)
from sklearn_cmac.cli._pages import make_way_for, write_result_page
from sklearn_cmac.collection import InUseError, is_kept
from sklearn_cmac.inspection._captions import say_score
from sklearn_cmac.networks import cache_folder
from sklearn_cmac.photos import Box, Photo, Query
from sklearn_cmac.reranking import BEST, EXPANSION, FAST, RERANKING
from sklearn_cmac.search import RetrievalIndex, Retriever, SearchResult


def _when_stopped(given: dict[str, Any]) -> str:
    return UNCHANGED if is_kept(given["where"]) else GOES_ON


@click.command(
    "search",
    cls=Command,
    when_stopped=_when_stopped,
    short_help="Rank photos by an object in one.",
)
@click.argument("where", type=PATH, metavar="INDEX|FOLDER")
@click.argument("query", type=PATH, metavar="PHOTO")
@click.option(
    "--box", type=parse_box, metavar="X0,Y0,X1,Y1", help="Where the object is, in pixels."
)
@click.option("-n", "--n-results", type=Count(), default=10, help="Photos to show.")
@click.option("--below", type=PATH, help="Find photos in this folder and its sub-folders only.")
@click.option("--html", type=NEW_FILE, help="Write a page with the ranked pictures.")
@json_option
@click.option(
    "--index", "path", type=PATH, help="Of a folder: its index. Default: FOLDER.cmac beside it."
)
@click.option(
    "--system", type=click.Choice(WITHOUT_LABELS), default="mixed", help="Of a new index."
)
@pipeline_option
@trust_option
@click.option("--fast", "effort", flag_value=FAST, help="Compare descriptors and regions only.")
@click.option(
    "--best", "effort", flag_value=BEST, help="Look at more photos, and longer, for seconds."
)
@click.option(
    "--rerank", type=click.Choice(list(RERANKING)), help="Name the steps instead; this is one."
)
@click.option("--expand", type=click.Choice(list(EXPANSION)), help="And this is one behind it.")
@store_option
@max_pixels_option
def search_command(
    where: Path,
    query: Path,
    box: Box | None,
    n_results: int,
    below: Path | None,
    html: Path | None,
    as_json: bool,
    path: Path | None,
    system: str,
    file: Path | None,
    trust: Sequence[str],
    effort: str | None,
    rerank: str | None,
    expand: str | None,
    store: Path | None,
    max_pixels: int | None,
) -> None:
    """Rank the photos of an INDEX, or of a FOLDER, by an object in PHOTO.

    A folder gets an index beside it the first time, and is looked through for changes each time.
    Prints rank, score and name of each photo, best first; "alike" instead of a score where local
    features were compared and do not show the object.
    """
    if effort and (rerank or expand):
        raise click.UsageError(f"--{effort} names the steps, and so do --rerank and --expand")
    asked = Photo(query) if box is None else Query(Photo(query), box)
    folder = None if is_kept(where) else where
    made = SystemOptions(max_pixels=max_pixels)
    if html:
        make_way_for(html)
    with ExitStack() as opened:
        if folder is None:
            path = where
        else:
            found = look_through([folder])
            if below is not None and not below.is_dir():
                raise click.UsageError(f"--below {below} is not a folder")
            if path is None:
                folder, path = opened.enter_context(_index_of(folder))
        scratch = opened.enter_context(maps_beside(path))
        given = read_pipeline(file, trust) if file else None
        anew = not is_kept(path)
        if anew:
            assert folder is not None
            _check_query(asked, made.make(system, None) if given is None else given)
            maps = Maps(store or scratch, store is None)
            kept = usual_extractors()
            index = make_index(path, found.require(folder), system, made, maps, given, kept)
            print_lines(f"{path}: is made; the next search is quick", err=True)
        else:
            read_only = folder is None or not os.access(path, os.W_OK)
            index = RetrievalIndex.open(path, trust=trust, read_only=read_only)
        with index:
            if not anew:
                _check_system(index, system)
                if given is not None:
                    index.pipeline = with_steps(given, extractors=index.extractors)
            pipeline = pipeline_of(index.pipeline)
            features = pipeline[0].set_params(store=store or scratch, **made.how())
            say_how_it_runs(pipeline)
            _check_query(asked, pipeline)
            if folder is not None:
                # Only maps that were fitted on are looked at again.
                features.set_params(store=store or (scratch if anew else None))
                _look_through(index, folder)
                features.set_params(store=store or scratch)
            if rerank or expand or effort:
                kept = index.extractors if effort == BEST else []  # else nothing is verified
                index.pipeline = with_steps(index.pipeline, rerank, expand, effort, kept)
            results = index.search(asked, n_results, below=below)
            _print(results, as_json)
            if html:
                write_result_page(html, index, where, asked, results, below)


@contextmanager
def _index_of(folder: Path) -> Iterator[tuple[Path, Path]]:
    """A folder and its index: beside it, or where that can be written."""
    path = index_beside(folder)
    if is_kept(path) or can_be_made(path):
        yield folder, path
        return
    whole = folder.resolve()  # since names are kept as they are
    name = f"{whole.name}-{hashlib.sha256(os.fsencode(whole)).hexdigest()[:12]}.cmac"
    told = f"{path.absolute().parent}: cannot be written, so the index is"
    cache = cache_folder() / "indexes"
    if can_be_made(cache / name):
        print_lines(f"{told} {cache / name}", err=True)
        yield whole, cache / name
        return
    with tempfile.TemporaryDirectory() as scratch:
        print_lines(f"{told} made each time; name a place for it with --index", err=True)
        yield whole, Path(scratch) / name


def _check_system(index: RetrievalIndex, system: str) -> None:
    """Refuse to answer with another system than is asked for."""
    if click.get_current_context().get_parameter_source("system") != ParameterSource.COMMANDLINE:
        return
    kept = index.info().get("system")
    if system != kept:
        raise click.UsageError(
            f"{index.path} was made with system {kept}, not {system}; name another with --index"
        )


def _check_query(asked: Photo | Query, given: Pipeline | Retriever) -> None:
    """Describe the query first: if it cannot be used, no folder is described in vain."""
    pipeline_of(given)[0].transform([asked])


def _look_through(index: RetrievalIndex, folder: Path) -> None:
    """Make the index true to its folder; what is there is searched if that cannot be done now."""
    assert index.path is not None
    try:
        report = index.update(folder, verbose=True)
    except InUseError as error:
        reason = str(error) if can_be_made(index.path) else f"{index.path}: cannot be written"
        print_lines(f"{reason}; searched is what is there", err=True)
        return
    if report.n_described or report.removed:
        reasons = (f"  {reason}" for _, reason in report.failed)
        print_lines(*report.lines(), *reasons, err=True)


def _print(results: Sequence[SearchResult], as_json: bool) -> None:
    if as_json:
        rows = [
            {
                "rank": rank,
                "score": None if math.isnan(r.score) else r.score,
                "verified": r.verified,
                "name": r.name,
            }
            for rank, r in enumerate(results, 1)
        ]
        print_json(rows)
        return
    compared = any(result.verified is not None for result in results)
    for rank, result in enumerate(results, 1):
        score = say_score(result.score, compared)
        print_lines(f"{rank:3}  {score:>6}  {result.name}")
