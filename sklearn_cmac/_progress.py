"""How long work shows how far it is: a bar on a terminal, a line a minute in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from tqdm.auto import tqdm

_EVERY = 60  # seconds between lines

# Is told what is done, how much of it, and of how much.
Listener = Callable[[str, int, int], None]
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def progress_told_to(listener: Listener) -> Iterator[None]:
    """In here, and in this thread, long work tells somebody how far it is instead of showing it."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def show_progress(
    photos: Iterable[Any] | None,
    total: int,
    doing: str,
    verbose: bool | int,
    done: int = 0,
    unit: str = "photo",
) -> Any:
    """A bar if `verbose`, unless it is over within a second.

    The bar is for people: on a terminal or in a notebook. Elsewhere, standard error gets a line
    each minute.

    Parameters
    ----------
    photos : iterable, optional
        What is iterated over. Without it, the bar is moved by its `update`.
    total : int
    doing : str
        What happens to the photos.
    verbose : bool or int
    done : int, default=0
        How many a run before this one has done.
    unit : str, default="photo"
        What is counted.

    Returns
    -------
    object
        To be iterated over, or moved by `update`, inside a ``with`` statement.
    """
    if (listener := _listener.get()) is not None:
        return _Told(photos, doing, total, done, listener)
    seen = "ipykernel" in sys.modules or (sys.stderr is not None and sys.stderr.isatty())
    if seen or not verbose:
        hidden = not verbose
        return tqdm(photos, doing, total, unit=unit, delay=1, disable=hidden, initial=done)
    return _Lines(photos, doing, total, done)


class _Lines:
    """The same for a log: ``describing photos: 1200 of 5000, 3.2 a second, 20 min left``."""

    def __init__(self, photos: Iterable[Any] | None, doing: str, total: int, done: int):
        self.photos, self.doing, self.total, self.done = photos, doing, total, done
        self._told = time.monotonic(), done

    def __iter__(self) -> Iterator[Any]:
        for photo in self.photos or ():
            yield photo
            self.update()

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def update(self, n: int = 1) -> None:
        """So many more are done."""
        self.done += n
        now, (then, before) = time.monotonic(), self._told
        if now - then < _EVERY or not before < self.done < self.total or sys.stderr is None:
            return
        a_second = (self.done - before) / (now - then)
        left = _duration((self.total - self.done) / a_second)
        speed = f"{a_second:.1f} a second" if a_second >= 1 else f"{60 * a_second:.1f} a minute"
        line = f"{self.doing}: {self.done} of {self.total}, {speed}, {left} left"
        print(line, file=sys.stderr, flush=True)
        self._told = now, self.done


class _Told(_Lines):
    """The same for a listener, at each step."""

    def __init__(
        self, photos: Iterable[Any] | None, doing: str, total: int, done: int, listener: Listener
    ):
        super().__init__(photos, doing, total, done)
        self.listener = listener
        listener(doing, done, total)

    def update(self, n: int = 1) -> None:
        """So many more are done."""
        self.done += n
        self.listener(self.doing, self.done, self.total)


def _duration(seconds: float) -> str:
    for unit, length in (("s", 1), ("min", 60)):
        if seconds < 100 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 3600:.1f} h"
