"""Photo after photo through the same work: several at once, in order, and few in memory."""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from itertools import islice
from multiprocessing import resource_tracker
from typing import Any, TypeVar

import joblib
from joblib.parallel import get_active_backend

Item = TypeVar("Item")
Result = TypeVar("Result")

# A call as `joblib.delayed` notes it: function, arguments and named arguments.
Task = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]

_inside = threading.local()


class Threads:
    """Threads that take photos one by one. What a worker starts in turn stays in its thread.

    Parameters
    ----------
    n_jobs : int or None
        As joblib reads it. With one, all work is done in the thread that asks for results.

    Examples
    --------
    >>> from sklearn_cmac._flow import Threads
    >>> with Threads(2) as threads:
    ...     list(threads.each(str.upper, ["a", "b", "c"]))
    ['A', 'B', 'C']
    """

    def __init__(self, n_jobs: int | None):
        self.n = 1 if is_worker() else joblib.effective_n_jobs(n_jobs)
        self._pool = ThreadPoolExecutor(self.n, initializer=_enter) if self.n > 1 else None

    def __enter__(self) -> Threads:
        return self

    def __exit__(self, *error: Any) -> None:
        # A process must not end while its threads are in a network, so they are waited for; what
        # has not begun does nothing.
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def each(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Results in the order of the items.

        Items are taken as they are needed: three for each thread are under way at most, so
        memory does not grow with their number, and one that takes long holds up few.

        Parameters
        ----------
        work : callable
        items : iterable

        Yields
        ------
        what `work` returns
        """
        if self._pool is None:
            yield from map(work, items)
            return
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(self._pool.submit(work, item))
            if len(waiting) >= 3 * self.n:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def is_worker() -> bool:
    """Whether this thread works for others, so that it starts none of its own."""
    return getattr(_inside, "worker", False)


def _enter() -> None:
    _inside.worker = True


def in_order(
    tasks: Iterable[Task], n_jobs: int | None = None, prefer: str | None = None
) -> Iterator[Any]:
    """Results of tasks in their order, by joblib's active backend, and few in memory.

    Parameters
    ----------
    tasks : iterable of ``joblib.delayed(function)(...)``
    n_jobs, prefer
        As `joblib.Parallel` takes them. Within a worker, all tasks run in its thread.

    Yields
    ------
    what the functions return

    Examples
    --------
    >>> import joblib
    >>> from sklearn_cmac._flow import in_order
    >>> list(in_order(joblib.delayed(pow)(i, 2) for i in range(4)))
    [0, 1, 4, 9]
    """
    if is_worker():
        yield from (function(*args, **named) for function, args, named in tasks)
        return
    backend, _ = get_active_backend(prefer=prefer)
    # That of one thread yields as it goes, though it does not say so.
    threads = getattr(backend, "supports_sharedmem", False)
    if backend.supports_return_generator or threads:
        with nullcontext() if threads else _deaf_children():
            found = joblib.Parallel(n_jobs=n_jobs, prefer=prefer, return_as="generator")(tasks)
        yield from found
        return
    # Others return lists, Ray's among them: of a few tasks at a time, from the same processes.
    remaining = iter(tasks)
    few = 4 * joblib.effective_n_jobs(n_jobs)
    with joblib.Parallel(n_jobs=n_jobs, prefer=prefer) as jobs:
        while some := list(islice(remaining, few)):
            yield from jobs(some)


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Processes that begin in here do not hear of Ctrl-C, and this one does so afterwards.

    A terminal tells all of them, and each would print a traceback; this one ends them.
    """
    if not hasattr(signal, "pthread_sigmask"):  # on Windows
        yield
        return
    resource_tracker.ensure_running()  # or it would be started below, and let Ctrl-C in
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
