"""The files of an index in a folder: what describes its photos, and how a folder is filled."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted

from sklearn_cmac._files import reason_of
from sklearn_cmac.collection._database import DamageError
from sklearn_cmac.corridor import Corridor
from sklearn_cmac.fingerprints import fingerprint
from sklearn_cmac.persistence import (
    PipelineFileError,
    differences,
    load_pipeline,
    manifest_of,
    read_manifest,
)
from sklearn_cmac.search._retriever import Retriever

PIPELINE = "pipeline.safetensors"


def pipeline_in(file: Path, trust: Sequence[str]) -> Any:
    """The fitted pipeline, or Retriever, that a file holds."""
    found = load_pipeline(file, trust)
    try:
        check_is_fitted(found)
        Corridor(retrieving(found).pipeline_)
    except Exception as error:  # what was made by hand may be anything
        raise PipelineFileError(f"{file}: holds no fitted pipeline ({reason_of(error)})") from error
    return found


def described_by(folder: Path) -> dict[str, Any]:
    """The pipeline of an index, as its file says, which is not loaded for that."""
    manifest = read_manifest(folder / PIPELINE)
    return {
        "pipeline": manifest["fingerprint"][:16],
        **manifest.get("provenance", {}),
        "versions": manifest["versions"],
    }


def bytes_in(folder: Path) -> int:
    """What the files of an index take. Those of whoever writes to it come and go meanwhile."""
    size = 0
    for file in folder.iterdir():
        with suppress(FileNotFoundError):
            found = file.stat()
            size += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return size


def check_pipeline(folder: Path, pipeline: Any, kept: str) -> None:
    """That a pipeline is the one of a fingerprint, or say what differs from that in a folder."""
    whole = pipeline.pipeline_ if isinstance(pipeline, Retriever) else pipeline
    if fingerprint(Corridor(whole).pipeline) == kept:
        return
    before, given = read_manifest(folder / PIPELINE), manifest_of(retrieving(pipeline))
    # What follows the first ranking describes no photo.
    lines = [line for line in differences(before, given) if not line.startswith("steps")]
    what = "; ".join(lines) or "what it computes has changed"
    raise ValueError(
        f"{folder}: its photos were described by another pipeline ({what}); use that one, "
        "or make the index again"
    )


def retrieving(pipeline: Any) -> Retriever:
    """The pipeline with what follows the first ranking, if only nothing."""
    if isinstance(pipeline, Retriever):
        return pipeline
    return Retriever(FrozenEstimator(pipeline)).fit([])


def damaged_files(folder: Path, kinds: Sequence[str]) -> list[str]:
    """A sentence for each file that is damaged of those that say what was computed."""
    wrong = []
    for file in (folder / PIPELINE, *(folder / f"{kind}.safetensors" for kind in kinds)):
        try:
            read_manifest(file)
        except (OSError, ValueError) as error:
            wrong.append(str(error))
    return wrong


@contextmanager
def damage_named(path: Path | None) -> Iterator[None]:
    """An engine lacks what the catalogue of an index has only where that is damaged."""
    try:
        yield
    except KeyError as error:
        raise DamageError(
            f"{path or 'the index'}: is damaged ({error.args[0]}); check with repair takes such "
            "photos out, and an update describes them again"
        ) from error


@contextmanager
def or_removed(
    folder: str | os.PathLike[str], close: Callable[[], object] = lambda: None
) -> Iterator[None]:
    """A folder that is filled inside is there as a whole, or not at all."""
    try:
        yield
    except BaseException:
        close()
        shutil.rmtree(folder, ignore_errors=True)
        raise
