"""How a command ends: done, refused, stopped or broken, each with one line and a status."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

import click

from sklearn_cmac._printing import print_lines, printable
from sklearn_cmac.collection import WorkerError

REFUSED = 2
BROKEN = 70  # EX_SOFTWARE
CLOSED = 128 + 13  # as of SIGPIPE

GOES_ON = "the same command goes on where it was"
UNCHANGED = "nothing was changed"

# What is told of a command that was stopped, by its parameters.
WhenStopped = Callable[[dict[str, Any]], str]

_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


class Stopped(Exception):
    """A command that was stopped, and what has become of what it did.

    Parameters
    ----------
    what : str
    at_once : bool, default=False
        Whether threads are at work that cannot be stopped, and are not to be waited for.
    """

    def __init__(self, what: str, at_once: bool = False):
        super().__init__(what)
        self.at_once = at_once


class Closed(Exception):
    """Whoever reads what is printed has gone, as `head` has."""


class Command(click.Command):
    """A command that knows what to say when it is stopped.

    Parameters
    ----------
    when_stopped : callable
        Given the command's parameters, what has become of what it did.
    at_once : bool, default=False
        As for `Stopped`.
    """

    def __init__(self, *args: Any, when_stopped: WhenStopped, at_once: bool = False, **named: Any):
        super().__init__(*args, **named)
        self.when_stopped, self.at_once = when_stopped, at_once
        self.params.append(debug_option())

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise Closed from error  # click would end the process itself
        except BaseException as error:
            # Libraries may answer a signal in their midst with an error of their own.
            if isinstance(error, KeyboardInterrupt) or _asked:
                raise Stopped(self.when_stopped(ctx.params), self.at_once) from error
            raise


def goes_on_with_store(given: dict[str, Any]) -> str:
    """Of a command that keeps nothing but activation maps."""
    if given["store"] is None:
        return "nothing is kept; with --store, the same command would go on where it was"
    return f"maps of photos are in {given['store']}, so the same command goes on where it was"


def debug_option() -> click.Option:
    """The flag; `main` looks for it itself, since errors come before it is parsed, too."""
    return click.Option(
        ["--debug"], is_flag=True, expose_value=False, help="Show where in the code an error is."
    )


# -- signals ----------------------------------------------------------------------------------

_asked: list[int] = []  # signals that came while a command ran


@contextmanager
def stopped_by_signals(for_good: bool) -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP raise `KeyboardInterrupt`, of which nothing else is printed.

    Parameters
    ----------
    for_good : bool
        Whether the process ends after this: a signal then ends it at once.
    """
    _asked.clear()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # What is ignored from the start, as with nohup, stays so.
    heard = [s for s in _SIGNALS if signal.getsignal(s) not in (signal.SIG_IGN, None)]
    before = {s: signal.signal(s, _stop) for s in heard}
    hooks = sys.unraisablehook, threading.excepthook

    def unraisable(error: Any) -> None:
        if not _asked:
            hooks[0](error)
        elif issubclass(error.exc_type, KeyboardInterrupt):
            # It came where nothing can be raised, as while an object is forgotten: once more, when
            # that is over.
            again = signal.Signals(_asked.pop())
            threading.Timer(0.05, _thread.interrupt_main, [again]).start()

    def in_thread(error: Any) -> None:
        if not _asked:
            hooks[1](error)

    sys.unraisablehook, threading.excepthook = unraisable, in_thread
    try:
        yield
    finally:
        for s, handler in before.items():
            signal.signal(s, signal.SIG_DFL if for_good else handler)
        if not for_good:
            sys.unraisablehook, threading.excepthook = hooks


def _stop(number: int, frame: FrameType | None) -> None:
    _asked.append(number)
    raise KeyboardInterrupt


# -- what is told -----------------------------------------------------------------------------


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Warnings in one line, without the code that gives them."""
    before = warnings.formatwarning

    def plain(message: Warning | str, *_: Any, **__: Any) -> str:
        return "" if _asked else f"warning: {printable(_one_line(str(message)), sys.stderr)}\n"

    warnings.formatwarning = plain
    try:
        yield
    finally:
        warnings.formatwarning = before


def status_of(error: BaseException, debug: bool) -> int:
    """Say in one line why a command ended, and with which status it does.

    Parameters
    ----------
    error : BaseException
    debug : bool
        Whether to show where it is from, first.
    """
    if isinstance(error, Closed):
        with suppress(OSError):  # what is still to be printed goes nowhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return CLOSED
    if isinstance(error, (Stopped, KeyboardInterrupt, click.Abort)):
        what = str(error) if isinstance(error, Stopped) else "nothing was done"
        # On a terminal, the bar that was shown has not ended its line.
        _say(f"stopped; {what}", new_line=True)
        return 128 + (_asked[0] if _asked else signal.SIGINT)
    if debug and not isinstance(error, click.ClickException):
        traceback.print_exception(error)
    if isinstance(error, click.UsageError):
        asked = error.ctx.command_path if error.ctx else "cmac"
        _say(f"{error.format_message()} (see {asked} --help)")
        return REFUSED
    if isinstance(error, click.ClickException):
        _say(error.format_message())
        return REFUSED
    if _is_of_memory(error):
        _say(
            f"memory ran out ({_one_line(str(error)) or type(error).__name__}); fewer --n-jobs or "
            "a smaller --max-size need less"
        )
        return BROKEN
    if isinstance(error, OSError):
        _say(_sentence(error))
        return REFUSED
    if isinstance(error, (ValueError, ImportError, WorkerError)) and str(error):
        _say(str(error))
        return REFUSED
    what = ": ".join(filter(None, [type(error).__name__, _one_line(str(error))[:300]]))
    where = "" if debug else "; with --debug it shows where"
    _say(f"this is an error of cmac itself ({what}){where}. Please report it")
    return BROKEN


def end_at_once(status: int) -> NoReturn:
    """End the process. At its usual end it waits for all threads, or they break off noisily."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, or none
            stream.flush()
    os._exit(status)


def _is_of_memory(error: BaseException) -> bool:
    """Whether memory did not suffice; torch says so in the words of each device."""
    text = str(error).lower()
    of_torch = isinstance(error, RuntimeError) and ("out of memory" in text or "alloc" in text)
    return isinstance(error, MemoryError) or of_torch


def _sentence(error: OSError) -> str:
    """An error of the system, with its file first."""
    if error.strerror is None:
        return str(error) or type(error).__name__
    if error.filename is None:
        try:
            os.getcwd()
        except FileNotFoundError:
            return "the folder that this runs in is gone; go to another, and name files in full"
        return error.strerror
    return f"{os.fsdecode(error.filename)}: {error.strerror}"


def _say(message: str, new_line: bool = False) -> None:
    with suppress(OSError):  # nobody may be there to read it
        if new_line and sys.stderr is not None and sys.stderr.isatty():
            click.echo(err=True)
        print_lines(f"cmac: {_one_line(message)}", err=True)


def _one_line(text: str) -> str:
    return " ".join(part.strip() for part in text.splitlines())
