"""`cmac index`: an index made of folders of photos, or made true to them again."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from sklearn_cmac.cli._options import (
    FILE,
    PATH,
    WITHOUT_LABELS,
    SystemOptions,
    json_option,
    pipeline_option,
    say_how_it_runs,
    system_options,
    trust_option,
)
from sklearn_cmac.cli._fit import fitted_system, read_pipeline
from sklearn_cmac.collection import CATALOGUE, workers
from sklearn_cmac.datasets import walk_photos
from sklearn_cmac.photos import PhotoError
from sklearn_cmac.reranking import make_chain
from sklearn_cmac.search import RetrievalIndex, Retriever, UpdateReport

# Options that say how a new index is made, and mean nothing for one that is there.
_OF_NEW = (
    "system", "file", "store", "backbone", "weights", "layer", "max_size", "scales", "shrinkage",
    "precision",
)  # fmt: skip


@click.command("index", short_help="Make an index of folders of photos, or update it.")
@click.argument("folders", type=PATH, nargs=-1, required=True, metavar="FOLDER...")
@click.option(
    "--index", "path", type=PATH, help="The index. Default: FOLDER.cmac beside the first folder."
)
@click.option(
    "--system", type=click.Choice(WITHOUT_LABELS), default="mixed", help="Of a new index."
)
@pipeline_option
@trust_option
@click.option(
    "--store",
    metavar="URI",
    help="Who keeps the vectors of a new index: qdrant:FOLDER, qdrant+http://HOST:PORT/NAME, "
    "postgresql://USER@HOST/DATABASE. Default: files in the index.",
)
@click.option("--again", is_flag=True, help="Try photos again that could not be used before.")
@click.option("--list-failed", is_flag=True, help="Print each photo that could not be used.")
@click.option(
    "--backend",
    type=click.Choice(["loky", "dask", "ray"]),
    help="Describe photos in processes, perhaps on other machines. Default: in threads.",
)
@click.option("--workers", "n_workers", type=click.IntRange(min=1), help="How many processes.")
@click.option(
    "--address", help="Of the scheduler of Dask or Ray. Default: workers on this machine."
)
@json_option
@system_options
@click.pass_context
def index_command(
    context: click.Context,
    folders: Sequence[Path],
    path: Path | None,
    system: str,
    file: Path | None,
    trust: Sequence[str],
    store: str | None,
    again: bool,
    list_failed: bool,
    backend: str | None,
    n_workers: int | None,
    address: str | None,
    as_json: bool,
    made: SystemOptions,
) -> None:
    """Make an index of the photos of each FOLDER, sub-folders included, or make it true again.

    The first time, all photos are described. Later, those that are new or changed are; moved and
    copied ones are known by their content, and removed ones are taken out. Stopped at any moment,
    it goes on where it was. Prints what was found.
    """
    walk_photos(folders)
    path = index_beside(folders[0]) if path is None else path
    if is_index(path):
        given = [
            name
            for name in _OF_NEW
            if context.get_parameter_source(name) == ParameterSource.COMMANDLINE
        ]
        if given:
            names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise click.UsageError(
                f"{path} is there already, and {names} say how a new index is made; give another "
                "--index, or delete it"
            )
        index = RetrievalIndex.open(path, trust=trust)
    else:
        pipeline = read_pipeline(file, trust) if file else None
        index = make_index(path, folders, system, made, pipeline, store)
    with index:
        report = update(index, folders, made.n_jobs, again, backend, n_workers, address)
        show(report, index, list_failed, as_json)


def is_index(path: Path) -> bool:
    """Whether a folder is an index rather than a folder of photos."""
    return (path / CATALOGUE).exists()


def index_beside(folder: Path) -> Path:
    """Where the index of a folder is, unless it is said."""
    whole = folder.resolve() if folder.name in ("", "..") else folder
    return whole.with_name(f"{whole.name}.cmac")


def make_index(
    path: Path,
    folders: Sequence[Path],
    system: str,
    made: SystemOptions,
    given: Pipeline | Retriever | None = None,
    store: str | None = None,
) -> RetrievalIndex:
    """An empty index, with a system fitted on the photos, or one that was fitted before."""
    photos, _ = walk_photos(folders)
    if not photos:
        raise PhotoError(f"{folders[0]}: has no image file, such as .jpg or .png")
    about: dict[str, Any] = {}
    if given is None:
        with tempfile.TemporaryDirectory() as scratch:
            given, about = fitted_system(made, system, photos, scratch)
    return RetrievalIndex.create(
        path, with_steps(given), regions=True, store=store, provenance=about
    )


def with_steps(
    given: Pipeline | Retriever, rerank: str | None = None, expand: str | None = None
) -> Retriever:
    """A fitted pipeline and what follows it: what it was tuned with, unless told otherwise."""
    if isinstance(given, Retriever) and rerank is None and expand is None:
        return given
    pipeline = given.pipeline_ if isinstance(given, Retriever) else given
    chain = make_chain(rerank or "matching", expand or "none", verbose=True)
    return Retriever(FrozenEstimator(pipeline), *chain).fit([])


def update(
    index: RetrievalIndex,
    folders: Sequence[Path],
    n_jobs: int | None = -1,
    again: bool = False,
    backend: str | None = None,
    n_workers: int | None = None,
    address: str | None = None,
) -> UpdateReport:
    """Make an index true to folders, with progress."""
    pipeline = index.pipeline.pipeline_
    pipeline[0].set_params(n_jobs=n_jobs)
    say_how_it_runs(pipeline)
    if backend is None:
        return index.update(folders, again=again, verbose=True)
    with workers(backend, n_workers, address):
        return index.update(folders, again=again, shards=True, verbose=True)


def show(report: UpdateReport, index: RetrievalIndex, list_failed: bool, as_json: bool) -> None:
    """Print what became of the photos."""
    if as_json:
        found = {**asdict(report), "photos": len(index), "index": str(index.path)}
        click.echo(json.dumps(found))
        return
    click.echo(f"{index.path}: {len(index)} photos; {report}")
    for _, reason in report.failed if list_failed else ():
        click.echo(f"  {reason}")
