"""A cache of fitted steps that knows photos by their content, where joblib knows their paths."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

import joblib
from sklearn.utils.validation import check_memory

from sklearn_cmac.fingerprints import INDIFFERENT, fingerprint, fingerprint_photo
from sklearn_cmac.photos import Photo, PhotoError, Query

# What a pipeline passes on to be printed; it holds the names of steps.
_MESSAGES = ("message", "message_clsname")


class PhotoMemory:
    """The `memory` of a pipeline that begins with photos.

    `joblib.Memory` takes a path for what it names: photos, or weights, that were exchanged
    under their paths are answered with what was fitted before. Here both count by content.

    Parameters
    ----------
    memory : str or joblib.Memory
        Where to keep what fitted steps return.

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
        remember = check_memory(self.memory).cache(_remember, ignore=["call"])

        def cached(*args: Any, **kwargs: Any) -> Any:
            given = signature(func).bind(*args, **kwargs).arguments
            counting = {k: _known(v) for k, v in given.items() if k not in (*ignore, *_MESSAGES)}
            return remember(fingerprint(func, counting), lambda: func(*args, **kwargs))

        return cached


def as_photo_memory(memory: Any) -> Any:
    """What a pipeline gets where its maker is given a path or a `joblib.Memory`."""
    return PhotoMemory(memory) if isinstance(memory, (str, joblib.Memory)) else memory


def _remember(key: str, call: Callable[[], Any]) -> Any:
    return call()


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
