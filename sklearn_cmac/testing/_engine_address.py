"""Rules of engines that have an address: stamps, other processes, kills, pickles."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from sklearn_cmac.collection import Engine, Stamp, open_store
from sklearn_cmac.testing._another_process import AnotherProcess, batch_of, batches_of
from sklearn_cmac.testing._engine_case import Case, refusal

_KILLS = 5
N_PROCESSES = _KILLS + 2  # that all rules together need
_WRITE = 0.05  # seconds that a write may take; later, those that it took
_SETTLED = 0.4  # seconds in which a server goes on with what a killed process had asked for


class StoreCase(Case):
    """An engine with an address.

    Parameters
    ----------
    new_uri : callable
        Gives an address where nothing is kept yet.
    stamp : Stamp
    tolerance : float
    single_writer : bool
        Whether a second writer is refused.
    readers : bool
        Whether others can read while one writes.
    others : list of AnotherProcess, optional
        That are taken from it when they are needed; if there are none left, one is started.
    """

    def __init__(
        self,
        new_uri: Callable[[], str],
        stamp: Stamp,
        tolerance: float,
        single_writer: bool,
        readers: bool,
        others: list[AnotherProcess] | None = None,
    ):
        self.new_uri, self.uri = new_uri, new_uri()
        self.single_writer, self.readers = single_writer, readers
        self._others = [] if others is None else others
        super().__init__(open_store(self.uri, stamp), tolerance)

    def reopen(self) -> None:
        """Close the engine, and open what is kept at its address."""
        self.engine.close()
        self.engine = open_store(self.uri)

    def another_process(self) -> AnotherProcess:
        """One that nothing was asked yet."""
        return self._others.pop() if self._others else AnotherProcess()


def rule_opened_again(case: StoreCase) -> None:
    """What was closed is there when it is opened again, with its stamp or without."""
    stamp = case.engine.stamp
    case.add(*(f"photo {i}" for i in range(9)))
    case.delete("photo 3")
    for _ in range(2):
        case.reopen()
        assert case.engine.stamp == stamp, "what is opened without a stamp bears the one it has"
        case.check("what was closed is there when it is opened again")
        case.engine.close()
        case.engine = open_store(case.uri, stamp)
        case.check("what was closed is there when it is opened again with its stamp")
        case.add("photo 3", "photo 12")
    case.engine.close()
    case.engine.close()
    case.reopen()


def rule_other_stamps(case: StoreCase) -> None:
    """Vectors of another stamp are refused."""
    case.add("photo 0", "photo 1")
    stamp = case.engine.stamp
    case.engine.close()
    others: tuple[tuple[str, Any], ...] = (
        ("pipeline", "pipeline B"),
        ("dimension", stamp.dimension + 1),
        ("regions", not stamp.regions),
    )
    for field, other in others:
        refusal(
            partial(open_store, case.uri, replace(stamp, **{field: other})),
            ValueError,
            f"vectors of another {field} are refused: a ValueError names both",
            [field, getattr(stamp, field), other],
        )
    case.engine = open_store(case.uri, stamp)
    case.check("a refused stamp changes nothing")


def rule_nothing_there(case: StoreCase) -> None:
    """What is not there is not opened without a stamp."""
    uri = case.new_uri()
    for _ in range(2):
        claim = "without a stamp, where nothing is kept, opening is a FileNotFoundError"
        refusal(partial(open_store, uri), FileNotFoundError, f"{claim}, and makes nothing")


def rule_two_writers(case: StoreCase) -> None:
    """A second writer is refused, or writes."""
    case.put(batch_of(0))
    with case.another_process() as other:
        error = other.ask("open", case.uri, {"timeout": 0}) or other.ask("write", 1)
        if case.single_writer:
            kind, text = error or ("no error", "")
            assert (kind, str(os.getpid()) in text) == ("InUseError", True), (
                "a second writer is refused: an InUseError names the process of the first, "
                f"{os.getpid()}; it got {kind}: {text}"
            )
            case.check("a writer that is refused changes nothing")
            case.engine.close()
            error = other.ask("open", case.uri, {"timeout": 0}) or other.ask("write", 1)
        assert error is None, f"when the first writer is done, another writes; it got {error}"
        case.kept.update(batch_of(1))
        other.ask("close")
    case.reopen()
    case.check("what two processes wrote is there")


def rule_reader(case: StoreCase) -> None:
    """A reader in another process sees what is acknowledged, or is refused."""
    claim = "a reader in another process sees what is acknowledged"
    case.put(batch_of(0))
    deleted: list[str] = []
    with case.another_process() as other:
        error = other.ask("open", case.uri, {"read_only": True, "timeout": 0})
        if not case.readers:
            kind, _ = error or ("no error", "")
            assert kind == "InUseError", f"a reader is refused: an InUseError; it got {error}"
            return
        assert error is None, f"{claim}; it got {error}"
        for number in range(4):
            if number:
                case.put(batch_of(number))
                deleted.append(f"photo {number} of {number}")
                case.delete(deleted[-1])
            error = other.ask("check", list(range(number + 1)), deleted, claim)
            assert error is None, f"{claim}; it got {error}"


def rule_killed_writer(case: StoreCase) -> None:
    """What was acknowledged is there after a kill, and of what was not all or nothing."""
    rng, written = np.random.default_rng(0), 0
    seconds = _WRITE
    for _ in range(_KILLS):
        case.engine.close()
        with case.another_process() as other:
            error = other.ask("open", case.uri, {})
            assert error is None, f"after a kill, what is kept can be opened; it got {error}"
            other.tell("write on", written)
            for _ in range(rng.integers(0, 4)):
                written = _number(other.hear()) + 1
            time.sleep(2 * seconds * rng.random())  # within this write or the next
            for answer in other.kill():
                written = _number(answer) + 1
        case.engine = _settled(case.uri)
        case.kept = batches_of(range(written))
        lost = [id_ for id_ in case.kept if id_ not in case.engine]
        assert not lost, f"what was acknowledged is there after a kill; these are not: {lost}"
        # The write that was not acknowledged is there, if its first photo is.
        written += f"photo 0 of {written}" in case.engine
        case.kept = batches_of(range(written))
        case.check("of a write that was killed, all is there or nothing, and what was before")
        started = time.perf_counter()
        case.put(batch_of(written))
        seconds = time.perf_counter() - started
        case.check("after a kill, writing goes on")
        written += 1


def _settled(uri: str) -> Engine:
    """The store, once nothing is added to it any more."""
    engine, before = open_store(uri), -1
    while len(engine) != before:
        before = len(engine)
        time.sleep(_SETTLED)
    return engine


def _number(answer: int | list[str]) -> int:
    assert isinstance(answer, int), f"writing goes on after a kill; it got {answer}"
    return answer


def rule_pickle(case: StoreCase) -> None:
    """An engine with an address pickles as the address."""
    for number in range(30):
        case.put(batch_of(number))
    content = pickle.dumps(case.engine)
    assert len(content) < 2000, (
        f"an engine with an address pickles as the address, not as what is kept: {len(content)} "
        "bytes are more than 2000"
    )
    writer = case.engine
    case.engine = pickle.loads(content)
    assert case.engine.stamp == writer.stamp, "a pickled engine bears the stamp that it had"
    case.check("an engine that was pickled answers as before")
    case.engine.close()
    case.engine = writer


RULES = (
    rule_opened_again,
    rule_other_stamps,
    rule_nothing_there,
    rule_two_writers,
    rule_reader,
    rule_killed_writer,
    rule_pickle,
)
