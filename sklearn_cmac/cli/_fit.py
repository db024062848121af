"""`cmac fit`: a system fitted on photos, and kept in a file."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from sklearn_cmac._printing import print_lines
from sklearn_cmac.cli._ending import Command, goes_on_with_store
from sklearn_cmac.cli._making import Maps, fit_system, look_through
from sklearn_cmac.cli._options import (
    NEW_FILE,
    PATH,
    WITHOUT_LABELS,
    SystemOptions,
    say_how_it_runs,
    store_option,
    system_options,
)
from sklearn_cmac.persistence import PipelineFileError, save_pipeline


@click.command(
    "fit",
    cls=Command,
    when_stopped=goes_on_with_store,
    short_help="Fit a system on photos, and keep it in a file.",
)
@click.argument("folders", type=PATH, nargs=-1, required=True, metavar="FOLDER...")
@click.option("--out", type=NEW_FILE, required=True, help="The file, NAME.safetensors.")
@click.option("--system", type=click.Choice(WITHOUT_LABELS), default="mixed")
@store_option
@system_options
def fit_command(
    folders: Sequence[Path], out: Path, system: str, store: Path | None, made: SystemOptions
) -> None:
    """Fit a system on the photos of each FOLDER, sub-folders included.

    Photos of other objects than are searched for are best. The file is for the --pipeline of other
    commands, and holds no code.
    """
    photos = look_through(folders).require(folders[0])
    _check_writable(out)
    with tempfile.TemporaryDirectory() as scratch:
        say_how_it_runs(made.make(system, None))
        pipeline, about = fit_system(made, system, photos, Maps(store or scratch, store is None))
    save_pipeline(pipeline, out, about)
    used, left_out = about["fitted on photos"], about["photos that could not be used"]
    print_lines(f"fitted on {used} photos, {left_out} could not be used: {out.resolve()}")


def _check_writable(out: Path) -> None:
    """An error now, and not when photos have been described, if the file cannot be written."""
    if out.suffix in (".joblib", ".pkl", ".skops"):
        raise PipelineFileError(f"{out}: is written as safetensors; let its name end so")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=out.parent):
        pass
