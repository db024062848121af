"""Shards of photos through the same work, by processes or machines that may die."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import joblib

from sklearn_cmac._flow import in_order
from sklearn_cmac._threads import one_thread
from sklearn_cmac.fingerprints import NUMERICS
from sklearn_cmac.photos import Item, name_of

Result = TypeVar("Result")


class WorkerError(RuntimeError):
    """Workers that die, or cannot be reached."""


@dataclass(frozen=True)
class _Stopped:
    """An error of the work itself, on its way out of a worker: to try again would not help."""

    error: Exception


def each_shard(
    work: Callable[[Sequence[Item]], Result], shards: Sequence[Sequence[Item]]
) -> Iterator[Result]:
    """What `work` returns of each shard, in order, done by joblib's active backend.

    A worker does all of a shard in one thread. If one dies, what came back before counts, and the
    rest is sent out again, as long as something comes back in between.

    Parameters
    ----------
    work : callable
        It is pickled, with each shard.
    shards : sequence of sequences of photos

    Yields
    ------
    what `work` returns

    Raises
    ------
    WorkerError
        If workers died twice with no shard in between, or cannot be reached.
    Exception
        Whatever `work` raises.
    """
    for outcome in _outcomes(work, shards):
        if isinstance(outcome, _Stopped):
            raise outcome.error
        yield outcome


def _outcomes(
    work: Callable[[Sequence[Item]], Result], shards: Sequence[Sequence[Item]]
) -> Iterator[Result | _Stopped]:
    done, tried = 0, -1  # how many came back, and how many had when a worker died last
    while done < len(shards):
        tasks = (joblib.delayed(_attempt)(work, NUMERICS, shard) for shard in shards[done:])
        try:
            for outcome in in_order(tasks):
                done += 1
                yield outcome
        except Exception as error:  # not of the work: it is the backend's way of saying so
            if done == tried:
                raise WorkerError(
                    f"workers failed twice at the photos from {name_of(shards[done][0])} on "
                    f"({type(error).__name__}: {error}); what came before is kept. Run again to "
                    "go on, and if it happens again, with smaller shards or without these photos."
                ) from error
            tried = done


def _attempt(
    work: Callable[[Sequence[Item]], Result], numerics: dict[str, int], shard: Sequence[Item]
) -> Result | _Stopped:
    """What a worker does with a shard."""
    try:
        if numerics != NUMERICS:
            raise ValueError(
                f"sklearn_cmac on {platform.node()} computes by {NUMERICS}, and here by "
                f"{numerics}; install the same version on all machines"
            )
        with one_thread(), joblib.parallel_config(backend="sequential"):
            return work(shard)
    except Exception as error:
        return _Stopped(error)
