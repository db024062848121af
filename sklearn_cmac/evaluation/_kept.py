"""Where parts of an evaluation are kept, each under the fingerprint of all that it depends on."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sklearn.base import clone

from sklearn_cmac._files import read_whole
from sklearn_cmac._plain_values import classes_of
from sklearn_cmac.corridor import Corridor
from sklearn_cmac.fingerprints import INDIFFERENT, fingerprint
from sklearn_cmac.persistence import PipelineFileError, load_pipeline, save_pipeline
from sklearn_cmac.photos import Item
from sklearn_cmac.store import written_whole

_LARGEST = 200_000_000  # bytes of scores; those of 60,000 queries have 10,000,000


class Kept:
    """What is kept of one system: how it was fitted, its photos, its scores.

    Parameters
    ----------
    folder : Path, optional
        Of the whole evaluation. Without one, nothing is kept.
    system : Pipeline
        Fitted or not.
    fit_on : sequence of str, optional
        Content of the photos that it is to be fitted on.
    """

    def __init__(self, folder: Path | None, system: Any, fit_on: Sequence[str] | None):
        self.folder = None
        if folder is not None:
            self.folder = folder / fingerprint(system, fit_on)[:32]
            self.folder.mkdir(parents=True, exist_ok=True)

    def fitted(
        self, system: Any, photos: Sequence[Item] | None, verbose: bool | int = False
    ) -> Any:
        """The system, fitted on photos; without photos it has to be fitted already."""
        if photos is None:
            return system
        file = self.folder and self.folder / "pipeline.safetensors"
        found = _load(file, system) if file else None
        if found is None:
            found = clone(system)
            extractor = Corridor(found).extractor
            if verbose and hasattr(extractor, "verbose"):
                extractor.set_params(verbose=1)
            found.fit(list(photos))
            if file:
                _save(found, file)
        return found.set_params(**_indifferent(system))

    def collection(self, regions: bool) -> Path | None:
        """Where descriptions of photos are kept."""
        return self.folder and self.folder / ("regions" if regions else "descriptors")

    def scores(self, key: str) -> dict[str, Any] | None:
        """Scores that were kept, if they are whole."""
        if self.folder is None:
            return None
        try:
            content = read_whole(self.folder / f"{key}.json", _LARGEST)
            text, seal = content.removesuffix(b"\n").rsplit(b"\n", 1)
            return json.loads(text) if seal == _seal(text) else None
        except (OSError, ValueError):
            return None

    def keep_scores(self, key: str, scores: dict[str, Any]) -> None:
        """Keep scores for the next time."""
        if self.folder:
            text = json.dumps(scores).encode()
            with written_whole(self.folder / f"{key}.json") as file:
                file.write(text + b"\n" + _seal(text) + b"\n")


def _seal(text: bytes) -> bytes:
    """A second line of JSON, which tells damage of the first."""
    return json.dumps(hashlib.sha256(text).hexdigest()).encode()


def _load(file: Path, system: Any) -> Any:
    """What was kept, or None if it is not there whole: it is then made again."""
    try:
        # The caller has the classes of its system already.
        return load_pipeline(file, trust=set(classes_of(system)))
    except (FileNotFoundError, PipelineFileError):
        return None


def _save(pipeline: Any, file: Path) -> None:
    try:
        save_pipeline(pipeline, file)
    except PipelineFileError as error:
        warnings.warn(
            f"a fitted system is not kept, and will be fitted anew each time: {error}", stacklevel=4
        )


def _indifferent(system: Any) -> dict[str, Any]:
    """Parameters that a kept pipeline takes over from the one asked for."""
    return {
        path: value
        for path, value in system.get_params().items()
        if path.split("__")[-1] in INDIFFERENT
    }
