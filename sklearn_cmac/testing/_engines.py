"""What every engine must do."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from sklearn_cmac.collection import Engine, Stamp
from sklearn_cmac.testing import _engine_address, _engine_finding, _engine_keeping
from sklearn_cmac.testing._another_process import AnotherProcess
from sklearn_cmac.testing._engine_address import N_PROCESSES, StoreCase
from sklearn_cmac.testing._engine_case import DIMENSION, Case

# Scores first: all other rules read them.
_RULES = (_engine_finding.rule_scores, *_engine_keeping.RULES, *_engine_finding.RULES)
_STAMPS = [Stamp("pipeline A", DIMENSION, regions) for regions in (False, True)]


def check_engine(make: Callable[..., Engine], tolerance: float = 1e-5) -> None:
    """Hold an engine against plain arithmetic, as `check_estimator` does estimators.

    Parameters
    ----------
    make : callable
        Makes an empty engine of a `Stamp`: ``make(stamp, None)``, as those in
        `sklearn_cmac.collection.ENGINES` do. It is called for each rule.
    tolerance : float, default=1e-5
        How far scores may be from the exact ones.

    Raises
    ------
    AssertionError
        That says what an engine must do and this one does not.

    See Also
    --------
    check_store : For engines that have an address.

    Notes
    -----
    What is asked of an engine:

    - Ids are any texts, all different, and come back as they were given.
    - An upsert replaces descriptor and regions. One with an id twice, of another dimension, or
      without the regions that are kept, is a `ValueError` and changes nothing.
    - What was deleted is found by no method, and can be added again.
    - The first search after each write knows of it.
    - Scores are dot products, of vectors of any length; equal ones come in the order of ids as
      texts, at the k-th place too.
    - k and the queries may be any number, none too.
    - Among given ids only those are found, and unknown ones are passed over.
    - Regions of a query count by their share of its weights, those of photos alike. Candidates keep
      their order where scores are equal, and photos without regions are left out.

    Examples
    --------
    >>> from sklearn_cmac.collection import ExactEngine
    >>> from sklearn_cmac.testing import check_engine
    >>> check_engine(lambda stamp, folder: ExactEngine(stamp))
    """
    for stamp in _STAMPS:
        for rule in _RULES:
            engine = make(stamp, None)
            assert engine.stamp == stamp, "an engine bears the stamp that it was made with"
            _try(rule, Case(engine, tolerance))


def check_store(
    new_uri: Callable[[], str],
    *,
    single_writer: bool = True,
    readers: bool = True,
    tolerance: float = 1e-5,
) -> None:
    """Hold an engine that has an address against plain arithmetic, other processes and kills.

    Parameters
    ----------
    new_uri : callable
        Gives an address, as `open_store` takes it, where nothing is kept yet. It is called for
        each rule, without arguments.
    single_writer : bool, default=True
        Whether a second writer is refused. Otherwise both must write.
    readers : bool, default=True
        Whether other processes can read while one writes. Otherwise they must be refused.
    tolerance : float, default=1e-5
        How far scores may be from the exact ones.

    Raises
    ------
    AssertionError
        That says what an engine must do and this one does not.

    See Also
    --------
    check_engine : Its rules are checked too.

    Notes
    -----
    What is asked of an engine with an address, besides:

    - What was closed is there when it is opened again, with its stamp or without one. Another
      stamp is a `ValueError` that names both; nothing there, a `FileNotFoundError`.
    - A second writer gets an `InUseError` that names the first one's process, or writes.
    - A reader in another process sees what is acknowledged, or gets an `InUseError`.
    - Whenever a writer is killed, what was acknowledged is there, of what was not all or nothing,
      and writing goes on.
    - It pickles as the address.

    Other processes are made for it, and know what `STORES` has. They import the engine's module
    by its name.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn_cmac.testing import check_store
    >>> check_store(tempfile.mkdtemp)  # doctest: +SKIP
    """
    rules: list[tuple[Callable[[Any], None], Stamp]] = [
        *((rule, stamp) for stamp in _STAMPS for rule in _RULES),
        *((rule, _STAMPS[-1]) for rule in _engine_address.RULES),
    ]
    with ExitStack() as stack:
        # They import what they need while rules are tried that do not need them.
        others = [stack.enter_context(AnotherProcess()) for _ in range(N_PROCESSES)]
        for rule, stamp in rules:
            _try(rule, StoreCase(new_uri, stamp, tolerance, single_writer, readers, others))


def _try(rule: Callable[[Any], None], case: Case) -> None:
    try:
        rule(case)
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(f"{rule.__doc__} This one raised {error!r}") from error
    finally:
        case.engine.close()
