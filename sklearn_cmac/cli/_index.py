"""`cmac index`: an index made of folders of photos, or made true to them again."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from sklearn.pipeline import Pipeline

from sklearn_cmac._printing import print_json, print_lines
from sklearn_cmac.cli._ending import GOES_ON, Command
from sklearn_cmac.cli._making import (
    Maps,
    fit_system,
    look_through,
    pipeline_of,
    pipeline_option,
    read_pipeline,
    some_of,
    trust_option,
    usual_extractors,
    with_steps,
)
from sklearn_cmac.cli._options import (
    MOST_WORKERS,
    PATH,
    TEXT,
    WITHOUT_LABELS,
    Count,
    SystemOptions,
    json_option,
    say_how_it_runs,
    store_option,
    system_options,
)
from sklearn_cmac.collection import is_kept, open_store, workers
from sklearn_cmac.corridor import Corridor
from sklearn_cmac.local import LearnedFeatureExtractor
from sklearn_cmac.pipelines import fit_to_search
from sklearn_cmac.reranking import USUAL
from sklearn_cmac.search import RetrievalIndex, Retriever, UpdateReport
from sklearn_cmac.store import nearest_place

OF_A_FILE = "of a file"  # the system of an index whose pipeline was fitted before
_SHARD = 32  # photos that a worker describes at a time

# Options that say how a new index is made, and mean nothing for one that is there.
_OF_NEW = (
    "system", "file", "vectors", "backbone", "weights", "layer", "max_size", "scales",
    "shrinkage", "precision",
)  # fmt: skip


@click.command(
    "index",
    cls=Command,
    when_stopped=lambda _: GOES_ON,
    short_help="Make an index of folders of photos, or update it.",
)
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
    "--vectors",
    type=TEXT,
    metavar="URI",
    help="Who keeps the vectors of a new index: qdrant:FOLDER, qdrant+http://HOST:PORT/NAME, "
    "postgresql://USER@HOST/DATABASE. Default: files in the index.",
)
@click.option(
    "--features",
    "networks",
    type=click.Choice(["xfeat", "aliked-n16", "none"]),
    multiple=True,
    default=["xfeat"],
    help="Local features that are kept; may be given twice. Searches verify by XFeat's, the best "
    "ones by ALIKED's, which take longer to find. Given for an index that is there, those of its "
    "photos are found.",
)
@click.option("--again", is_flag=True, help="Try photos again that could not be used before.")
@click.option("--list-failed", is_flag=True, help="Print each photo that could not be used.")
@click.option(
    "--backend",
    type=click.Choice(["loky", "dask", "ray"]),
    help="Describe photos in processes, perhaps on other machines. Default: in threads.",
)
@click.option("--workers", "n_workers", type=Count(max=MOST_WORKERS), help="How many processes.")
@click.option(
    "--address",
    type=TEXT,
    help="Of the scheduler of Dask or Ray. Default: workers on this machine.",
)
@json_option
@store_option
@system_options
@click.pass_context
def index_command(
    context: click.Context,
    folders: Sequence[Path],
    path: Path | None,
    system: str,
    file: Path | None,
    trust: Sequence[str],
    vectors: str | None,
    networks: Sequence[str],
    again: bool,
    list_failed: bool,
    backend: str | None,
    n_workers: int | None,
    address: str | None,
    as_json: bool,
    store: Path | None,
    made: SystemOptions,
) -> None:
    """Make an index of the photos of each FOLDER, sub-folders included, or make it true again.

    The first time, all photos are described. Later, those that are new or changed are; moved and
    copied ones are known by their content, and removed ones are taken out. Stopped at any moment,
    it goes on where it was. Prints what was found.
    """
    if backend is None and (n_workers or address):
        raise click.UsageError("--workers and --address are of a --backend; choose one")
    if vectors is not None:
        with suppress(FileNotFoundError):  # nothing is kept there yet, but it can be reached
            open_store(vectors, read_only=True).close()
    path = index_beside(folders[0]) if path is None else path
    with maps_beside(path) as scratch:
        maps = Maps(store or scratch, store is None)
        anew = not is_kept(path)
        if anew:
            given = read_pipeline(file, trust) if file else None
            photos = look_through(folders).require(folders[0])
            options = _options_of_new(context)
            kept = _extractors(networks)
            index = make_index(path, photos, system, made, maps, given, kept, vectors, options)
        else:
            index = RetrievalIndex.open(path, trust=trust)
        with index:
            if not anew:
                _refuse_options_of_new(context, index)
                if _is_typed(context, "networks"):
                    _keep_features(index, _extractors(networks))
            features = pipeline_of(index.pipeline)[0]
            features.set_params(store=store or features.store, **made.how())
            say_how_it_runs(pipeline_of(index.pipeline))
            if backend is None:
                report = index.update(folders, again=again, verbose=True)
            else:
                with workers(backend, n_workers, address):
                    report = index.update(folders, again=again, shard_size=_SHARD, verbose=True)
            if not anew:  # else that was told before
                print_lines(*report.left_out(), err=True)
            show(report, index, list_failed, as_json)


def _keep_features(index: RetrievalIndex, extractors: Sequence[LearnedFeatureExtractor]) -> None:
    """Find local features of all photos, and verify by them from now on."""
    if not extractors:
        return
    for extractor in extractors:
        failed = index.keep_features(extractor, verbose=True)
        print_lines(*(reason for _, reason in failed), err=True)
    if index.info().get("system") != OF_A_FILE:  # else its steps are somebody's choice
        index.pipeline = with_steps(index.pipeline, effort=USUAL, extractors=index.extractors)
        index.keep_steps()


def _options_of_new(context: click.Context) -> dict[str, str]:
    """Those that were typed."""
    return {name: str(context.params[name]) for name in _OF_NEW if _is_typed(context, name)}


def _is_typed(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) == ParameterSource.COMMANDLINE


def _extractors(networks: Sequence[str]) -> list[LearnedFeatureExtractor]:
    """What finds local features to be kept; where nothing is typed, what is installed."""
    if networks == ("xfeat",) and not _is_typed(click.get_current_context(), "networks"):
        return usual_extractors()
    return [LearnedFeatureExtractor(name).fit([]) for name in networks if name != "none"]


def _refuse_options_of_new(context: click.Context, index: RetrievalIndex) -> None:
    """Refuse options that differ from those that the index was made with."""
    path, kept = index.path, index.info().get("options", {})
    given = [name for name, value in _options_of_new(context).items() if kept.get(name) != value]
    if given:
        names = (
            ", ".join(f"--{name}" for name in given).replace("_", "-").replace("file", "pipeline")
        )
        raise click.UsageError(
            f"{path} is there already, and {names} would make it anew; name another with --index, "
            "or delete it"
        )


@contextmanager
def maps_beside(path: Path) -> Iterator[str | Path]:
    """A folder for the activation maps of photos that are fitted on and then described.

    That of an index in the making stays when a run is stopped, so that the next need not begin
    anew.
    """
    folder = path.with_name(f"{path.name}.maps")
    if is_kept(path) and not folder.exists():
        with tempfile.TemporaryDirectory() as scratch:
            yield scratch
        return
    try:
        yield folder
    except Exception:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def can_be_made(path: Path) -> bool:
    """Whether a folder may be written where it is, or would be."""
    return os.access(nearest_place(path), os.W_OK)


def index_beside(folder: Path) -> Path:
    """Where the index of a folder is, unless it is said."""
    whole = folder.resolve() if folder.name in ("", "..") else folder
    return whole.with_name(f"{whole.name}.cmac")


def make_index(
    path: Path,
    photos: Sequence[str],
    system: str,
    made: SystemOptions,
    maps: Maps,
    given: Pipeline | Retriever | None = None,
    extractors: Sequence[LearnedFeatureExtractor] = (),
    vectors: str | None = None,
    options: dict[str, str] | None = None,
) -> RetrievalIndex:
    """An empty index, with a system that was fitted before, or is on its photos.

    Parameters
    ----------
    path : path
    photos : sequence of str
        What it is for; some of them are fitted on.
    system, made
        What is fitted.
    maps : Maps
        Where activation maps are.
    given : fitted Pipeline or Retriever, optional
    extractors : sequence of LearnedFeatureExtractor
        What finds local features that are kept.
    vectors : str, optional
        Address of the engine that keeps the vectors.
    options : dict from str to str, optional
        Those that were typed, to be kept.
    """
    if not can_be_made(path):
        raise PermissionError(f"{path}: cannot be written; name another place with --index")
    about: dict[str, Any] = {"system": OF_A_FILE}
    if given is None:
        given, about = fit_system(made, system, some_of(photos), maps, fit_to_search, len(photos))
        about["whitening"] = given["whiten"].provenance_["summary"]
    retriever = with_steps(given, extractors=extractors)
    return RetrievalIndex.create(
        path,
        retriever,
        regions=Corridor(pipeline_of(given)).sums,
        features=[*extractors, *retriever.extractors],
        store=vectors,
        provenance={**about, "options": options} if options else about,
    )


def show(report: UpdateReport, index: RetrievalIndex, list_failed: bool, as_json: bool) -> None:
    """Print what became of the photos."""
    if as_json:
        found = {"index": str(index.path), "photos": len(index), **vars(report)}
        print_json(found)
        return
    first, *others = report.lines()
    print_lines(f"{index.path}: {len(index)} photos; {first}", *others)
    if list_failed:
        print_lines(*(f"  {reason}" for _, reason in report.failed))
