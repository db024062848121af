"""`cmac fit`: a system fitted on photos, and kept in a file."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import click

from sklearn_cmac.cli._options import (
    NEW_FILE,
    PATH,
    WITHOUT_LABELS,
    SystemOptions,
    say_how_it_runs,
    store_option,
    system_options,
)
from sklearn_cmac.cli._search import usable_photos
from sklearn_cmac.datasets import find_photos
from sklearn_cmac.fingerprints import fingerprint_photo
from sklearn_cmac.persistence import PipelineFileError, save_pipeline


@click.command("fit", short_help="Fit a system on photos, and keep it in a file.")
@click.argument("folders", type=PATH, nargs=-1, required=True, metavar="FOLDER...")
@click.option("--out", type=NEW_FILE, required=True, help="The file, NAME.safetensors.")
@click.option("--system", type=click.Choice(WITHOUT_LABELS), default="mixed")
@store_option
@system_options
def fit_command(
    folders: Sequence[Path], out: Path, system: str, store: Path | None, made: SystemOptions
) -> None:
    """Fit a system on the photos of each FOLDER, sub-folders included.

    Photos of other objects than are searched for are best. The file is for cmac search --pipeline,
    and holds no code.
    """
    photos = [photo for folder in folders for photo in find_photos(folder)]
    _check_writable(out)
    with tempfile.TemporaryDirectory() as scratch:
        pipeline = made.make(system, store or scratch)
        say_how_it_runs(pipeline)
        usable = usable_photos(pipeline[0].set_params(verbose=1), photos)
        pipeline[0].set_params(verbose=0)
        pipeline.fit(usable)
    contents = sorted(fingerprint_photo(photo) for photo in usable)
    provenance = {
        "system": system,
        "photos": len(usable),
        "photos that could not be used": len(photos) - len(usable),
        "sha256 of their sorted digests": hashlib.sha256("\n".join(contents).encode()).hexdigest(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    save_pipeline(pipeline, out, provenance)
    left_out = len(photos) - len(usable)
    click.echo(f"fitted on {len(usable)} photos, {left_out} could not be used: {out.resolve()}")


def _check_writable(out: Path) -> None:
    """An error now, and not when photos have been described, if the file cannot be written."""
    if out.suffix in (".joblib", ".pkl", ".skops"):
        raise PipelineFileError(f"{out}: is written as safetensors; let its name end so")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=out.parent):
        pass
