"""What steps on photos share: each photo is read, looked up, described, and cropped if it asks."""

from __future__ import annotations

import os
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from io import IOBase
from itertools import chain
from typing import Any, ClassVar

import joblib
import numpy as np
from joblib.parallel import get_active_backend
from sklearn.base import BaseEstimator

from sklearn_cmac._flow import Threads, in_order, is_worker
from sklearn_cmac._progress import show_progress
from sklearn_cmac._steps import RecordStep
from sklearn_cmac.fingerprints import fingerprint
from sklearn_cmac.photos import (
    Box,
    Item,
    Photo,
    PhotoError,
    Query,
    as_photo,
    errors_of,
    name_of,
    read_source,
)
from sklearn_cmac.pixels import Content
from sklearn_cmac.store import ArrayStore, NotWritableError, with_rest

Arrays = Mapping[str, np.ndarray]

# All that the arrays of one view of a photo depend on besides the photo.
Settings = tuple[Any, ...]


@dataclass(frozen=True)
class _Stopped:
    """An error that no photo is to blame for, on its way out of a worker."""

    error: Exception


class PhotoStep(RecordStep, BaseEstimator):
    """Describes photos one by one, from one view or several. Subclasses say how.

    A box of a `Query` is cut out of the photo before (``query_crop="image"``, crop I), or
    out of what the whole photo was described by (``"activations"``, crop X).
    """

    query_crop: str
    store: str | os.PathLike[str] | None
    n_jobs: int | None
    verbose: int

    _doing: ClassVar[str] = "describing photos"
    _prefer: ClassVar[str | None] = None

    @abstractmethod
    def _settings(self) -> list[Settings]:
        """Of each view of a photo, all that its arrays depend on besides the photo."""

    def _views_of(self, content: Content, cut: Box | None) -> Sequence[int]:
        """Which of the views there are of a photo, or of a box cut out of it."""
        return (0,)

    @abstractmethod
    def _compute(self, content: Content, cut: Box | None, view: int, *ready: Any) -> Arrays:
        """The named arrays that describe a photo, or a box cut out of it, in one view.

        `ready` is what a step worked out for several photos together, if it does.
        """

    @abstractmethod
    def _as_record(self, views: list[tuple[Arrays, str | None]]) -> Any:
        """The record of the arrays of all views, each with its file if it is in one."""

    def __fingerprint__(self) -> tuple[Any, ...]:
        return (*chain.from_iterable(self._settings()), self.query_crop)

    def transform(self, X: Sequence[Item]) -> list[Any]:
        """Describe photos.

        Parameters
        ----------
        X : sequence of photos
            Whatever `Photo` takes, `Photo` (the whole photo is described) or `Query` (its
            box is).

        Returns
        -------
        list of records
            In the order of `X`.

        Raises
        ------
        PhotoError
            After all photos have been tried, if some could not be used: its message names
            them, ``error.failures`` lists them, and ``error.maps`` has the records of the rest.
        """
        photos = check_photos(X, self)
        others = "are in the store" if self.store else "are in this error's `maps`"
        advice = f"Take them out and run again; the records of the others {others}."
        return records_or_error(self.iter_transform(photos), photos, advice)

    def iter_transform(self, X: Sequence[Item]) -> Iterator[Any]:
        """Describe photos one after the other, and go on after one that cannot be used.

        Parameters
        ----------
        X : sequence of photos

        Yields
        ------
        record or PhotoError
            In the order of `X`.
        """
        photos = check_photos(X, self)
        self._check_params()
        done = 0
        with show_progress(None, len(photos), self._doing, self.verbose) as bar:
            for record in self._records_of(photos, self._settings()):
                if isinstance(record, _Stopped):
                    raise with_rest(record.error, len(photos) - done)
                bar.update()
                done += 1
                yield record

    def _records_of(self, photos: list[Item], settings: list[Settings]) -> Iterator[Any]:
        """In order, of each photo its record, or the error that it or nobody is to blame for."""
        work = partial(self._describe_or_error, settings=settings)
        backend, _ = get_active_backend(prefer=self._prefer)
        if is_worker() or getattr(backend, "supports_sharedmem", False):
            with Threads(self.n_jobs) as threads:
                yield from threads.each(work, photos)
            return
        tasks = (joblib.delayed(work)(item) for item in photos)
        yield from in_order(tasks, self.n_jobs, self._prefer)

    def crop_record(self, record: Any, item: Photo | Query) -> Any:
        """What of a whole photo's record answers to an item of that photo.

        Parameters
        ----------
        record : record
            Of the whole photo.
        item : Photo or Query

        Returns
        -------
        record
            With the item's name. That of a query is cropped to its box (crop X).
        """
        photo, box = _parts(item)
        record = replace(record, name=photo.name, **self._annotation(photo))
        return record if box is None else record.crop(box)

    def _annotation(self, photo: Photo) -> dict[str, Any]:
        """What a record takes over from the photo besides its name."""
        return {}

    def _describe_or_error(self, item: Item, settings: list[Settings]) -> Any:
        return or_error(self._describe, item, settings)

    def _describe(self, item: Item, settings: list[Settings]) -> Any:
        known = as_photo(item)
        return self._record_of(known, *self._content_of(known), settings)

    def _record_of(
        self,
        item: Photo | Query,
        content: Content,
        cut: Box | None,
        settings: list[Settings],
        *ready: Any,
    ) -> Any:
        views = [
            self._kept(content, cut, view, settings[view], *ready)
            for view in self._views_of(content, cut)
        ]
        return self.crop_record(self._as_record(views), item if cut is None else _parts(item)[0])

    def _content_of(self, item: Photo | Query) -> tuple[Content, Box | None]:
        """What a photo consists of, and the box that is cut out of it before it is described."""
        photo, box = _parts(item)
        with errors_of(photo.name):
            content = Content(read_source(photo), photo.name)
        return content, box if self.query_crop == "image" else None

    def _kept(
        self, content: Content, cut: Box | None, view: int, settings: Settings, *ready: Any
    ) -> tuple[Arrays, str | None]:
        """The arrays of a view, and the file that they are in if there is a store."""
        if self.store is None:
            return self._compute(content, cut, view, *ready), None
        store, key = ArrayStore(self.store), self._key(content, cut, settings)
        compute = partial(self._compute, content, cut, view, *ready)
        try:
            arrays = store.get_or_compute(key, compute)
        except NotWritableError as error:
            _tell_once(f"{error}; what is not in it is computed, and not kept")
            return compute(), None
        return arrays, str(store.path(key).resolve())

    def _stored(self, content: Content, cut: Box | None, settings: Settings) -> Arrays | None:
        """The arrays of a view, if they are in the store."""
        if self.store is None:
            return None
        return ArrayStore(self.store).get(self._key(content, cut, settings))

    def _key(self, content: Content, cut: Box | None, settings: Settings) -> str:
        return fingerprint(content.digest, cut, settings, numerics=["maps"])


@cache
def _tell_once(warning: str) -> None:
    """Warn once in a process, where each photo would."""
    warnings.warn(warning, stacklevel=2)


def or_error(work: Callable[..., Any], *args: Any) -> Any:
    """What work returns, or the error that the photo or nobody is to blame for."""
    try:
        return work(*args)
    except PhotoError as error:
        return error
    except Exception as error:
        return _Stopped(error)


def _parts(item: Photo | Query) -> tuple[Photo, Box | None]:
    return (item.photo, item.box) if isinstance(item, Query) else (item, None)


def check_photos(X: Iterable[Item], step: Any) -> list[Item]:
    """The photos as a list, or an error unless `X` is a sequence of photos.

    Parameters
    ----------
    X : sequence or iterable of photos
        A list, tuple, array of objects, pandas Series or generator.
    step : estimator
        Named in the error.
    """
    name = type(step).__name__
    single = (str, bytes, bytearray, os.PathLike, Photo, Query, IOBase)
    if isinstance(X, single) or not (hasattr(X, "__len__") or isinstance(X, Iterable)):
        advice = "put a single photo into a list"
        if isinstance(X, (str, os.PathLike)) and os.path.isdir(X):
            advice = f"photos of a folder are find_photos({os.fspath(X)!r})"
        raise ValueError(f"{name} expects a sequence of photos, got {type(X).__name__}; {advice}")
    photos = list(X)
    if not photos:
        raise ValueError(f"{name} got 0 photos; at least 1 is required")
    return photos


def records_or_error(records: Iterable[Any], X: Sequence[Item], advice: str) -> list[Any]:
    """The records of all photos, or one error for all that cannot be used.

    Parameters
    ----------
    records : iterable of records and PhotoError
        One for each photo of `X`.
    X : sequence of photos
    advice : str
        The error's last line, where there are several photos.

    Returns
    -------
    list of records

    Raises
    ------
    PhotoError
        With `failures`, and with the records of the others as `maps`.
    """
    good, failures = [], []
    for i, record in enumerate(records):
        if isinstance(record, PhotoError):
            failures.append((i, name_of(X[i]), str(record)))
        else:
            good.append((i, record))
    if failures and len(X) == 1:
        raise PhotoError(failures[0][2], failures, good)
    if failures:
        reasons = [f"  photo {i}: {reason}" for i, _, reason in failures]
        head = f"{len(failures)} of {len(X)} photos cannot be used:"
        raise PhotoError("\n".join([head, *reasons, advice]), failures, good)
    return [record for _, record in good]
