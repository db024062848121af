"""A cache of fitted steps that knows photos by their content, where joblib knows their paths."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Sequence, Set
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import joblib
from sklearn.utils.validation import check_memory

from sklearn_cmac._plain_values import classes_of, from_plain, is_estimator, to_plain
from sklearn_cmac._sealed_files import PipelineFileError, read_sealed, write_sealed
from sklearn_cmac.fingerprints import INDIFFERENT, fingerprint, fingerprint_photo
from sklearn_cmac.photos import Photo, PhotoError, Query

# What a pipeline passes on to be printed; it holds the names of steps.
_MESSAGES = ("message", "message_clsname")

# Of the parameters of a step: a memory is no part of what it returns.
_LEFT_OUT = frozenset({"memory"})


class PhotoMemory:
    """The `memory` of a pipeline that begins with photos.

    `joblib.Memory` takes a path for what it names: photos, or weights, that were exchanged
    under their paths are answered with what was fitted before. Here both count by content.

    Parameters
    ----------
    memory : str or joblib.Memory
        Where to keep what fitted steps return: a folder, or joblib's. Files in a folder are plain
        numbers (`persistence`), and none can run code; what they cannot hold, such as a data
        frame, is computed each time, with a warning. What a `joblib.Memory` keeps is pickled:
        whoever can write there decides what runs where it is read.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn_cmac import L2Aggregator, RegionWhitener
    >>> from sklearn_cmac.memory import PhotoMemory
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pipeline = make_pipeline(RegionWhitener(), L2Aggregator(), memory=PhotoMemory(folder))
    ...     pipeline.fit_transform([[3.0, 4.0], [4.0, 3.0], [5.0, 0.0]]).shape
    (3, 2)
    """

    def __init__(self, memory: str | joblib.Memory):
        self.memory = memory

    def __repr__(self) -> str:
        return f"PhotoMemory({self.memory!r})"

    def cache(self, func: Callable[..., Any], ignore: Sequence[str] = ()) -> Callable[..., Any]:
        """A function that is computed once for each step and input.

        Parameters
        ----------
        func : callable
        ignore : sequence of str, default=()
            Names of arguments that results do not depend on.

        Returns
        -------
        callable
        """

        def cached(*args: Any, **kwargs: Any) -> Any:
            given = signature(func).bind(*args, **kwargs).arguments
            counting = {k: _known(v) for k, v in given.items() if k not in (*ignore, *_MESSAGES)}
            key, call = fingerprint(func, counting), partial(func, *args, **kwargs)
            if isinstance(self.memory, str):
                # Who asks has the classes of its steps already.
                steps = filter(is_estimator, given.values())
                trust = {each for step in steps for each in classes_of(step)}
                return _kept(Path(self.memory) / key[:2] / f"{key}.safetensors", call, trust)
            return check_memory(self.memory).cache(_remember, ignore=["call"])(key, call)

        return cached


def as_photo_memory(memory: Any) -> Any:
    """What a pipeline gets where its maker is given a path or a `joblib.Memory`."""
    return PhotoMemory(memory) if isinstance(memory, (str, joblib.Memory)) else memory


def _remember(key: str, call: Callable[[], Any]) -> Any:
    return call()


def _kept(file: Path, call: Callable[[], Any], trust: Set[type]) -> Any:
    """What is in the file, if it is whole; else what the call returns, which then is."""
    try:
        text, arrays = read_sealed(file)
        return from_plain(json.loads(text), arrays, trust, _LEFT_OUT)
    except (FileNotFoundError, PipelineFileError):
        found = call()
    try:
        tree, arrays = to_plain(found, "result", _LEFT_OUT)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_sealed(file, json.dumps(tree), arrays)
    except PipelineFileError as error:
        warnings.warn(f"what a step returns is computed each time, since {error}", stacklevel=3)
    return found


def _known(value: Any) -> Any:
    """What tells an argument from others: of photos their content, of steps what they compute."""
    if hasattr(value, "get_params"):
        # What is kept has these parameters too, and they are to be those that are asked for.
        kept = {k: v for k, v in value.get_params(deep=False).items() if k in INDIFFERENT}
        return value, {name: repr(setting) for name, setting in kept.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_content(item) for item in value]
    return value


def _content(item: Any) -> Any:
    if not isinstance(item, (str, os.PathLike, Photo, Query)):
        return item
    try:
        return fingerprint_photo(item, annotated=True)
    except PhotoError:  # which fitting will tell
        return item
