"""Reads pickles of containers, texts, numbers and plain arrays. Nothing of them is run.

A pickle is a program for a machine with a stack. The one here knows how to build data and nothing
else: there is no import and no call in it, it asks for no more memory than the file has bytes, and
it ends when it has done so many steps.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sklearn_cmac._files import read_whole
from sklearn_cmac.networks._plain_contents import PLAIN_ARRAYS, PlainArray, PlainDtype

_LARGEST = 32_000_000  # bytes; the published ones have 280,000
_MOST_STEPS = 500_000  # the published ones take 39,000


def read_plain_pickle(file: Path) -> Any:
    """What a pickle holds.

    Parameters
    ----------
    file : Path

    Returns
    -------
    object
        Lists, tuples, dicts with texts as keys, texts, bytes, numbers, None and `PlainArray`.
        Parts may be shared, be nested to any depth and hold themselves: nobody may compare,
        print or follow them before their types are known.

    Raises
    ------
    ValueError
        If it is damaged, too large, or holds anything else.
    OSError
        If it cannot be read.
    """
    machine = _Machine()
    steps = enumerate(pickletools.genops(read_whole(file, _LARGEST)))
    for n, (step, argument, _) in steps:
        if n > _MOST_STEPS:
            raise ValueError(f"it has more than {_MOST_STEPS} steps")
        machine.do(step.name, argument)
    if len(machine.stack) != 1:
        raise ValueError(f"it leaves {len(machine.stack)} values, not one")
    return machine.stack[0]


class _Machine:
    """A stack, the places in it where containers begin, and what is remembered by number."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def do(self, step: str, argument: Any) -> None:
        """One step, by the name that `pickletools` gives it."""
        stack = self.stack
        match step:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(step == "NEWTRUE")
            case _ if step in _ARGUMENTS:
                stack.append(argument)
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "MARK":
                self.marks.append(len(stack))
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_TUPLE":
                stack.append(())
            case "LIST":
                stack.append(self._marked())
            case "TUPLE":
                stack.append(tuple(self._marked()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(self._taken(int(step[-1]))))
            case "DICT":
                items = self._marked()
                stack.append({})
                self._set(items)
            case "APPEND":
                self._extend(self._taken(1))
            case "APPENDS":
                self._extend(self._marked())
            case "SETITEM":
                self._set(self._taken(2))
            case "SETITEMS":
                self._set(self._marked())
            case "GLOBAL":
                stack.append(_named(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                stack.append(_named(*self._taken(2)))
            case "REDUCE":
                make, arguments = self._taken(2)
                if not callable(make) or type(arguments) is not tuple:
                    raise ValueError("it calls what makes no data")
                stack.append(make(*arguments))
            case "BUILD":
                (state,) = self._taken(1)
                if not isinstance(stack[-1], (PlainArray, PlainDtype)):
                    raise ValueError("it fills what is no array")
                stack[-1].__setstate__(state)
            case _:
                raise ValueError(f"it has a step {step}, which makes no data")

    def _taken(self, n: int) -> list[Any]:
        """The last n items, off the stack."""
        if n > len(self.stack):
            raise ValueError("it takes what is not there")
        start = len(self.stack) - n
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def _marked(self) -> list[Any]:
        """The items behind the last mark."""
        return self._taken(len(self.stack) - self.marks.pop())

    def _extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise ValueError("it appends to what is no list")
        self.stack[-1].extend(items)

    def _set(self, items: list[Any]) -> None:
        # Texts alone are keys: to look up a tuple is to walk through all that it holds.
        if type(self.stack[-1]) is not dict or not all(type(key) is str for key in items[::2]):
            raise ValueError("it has a dict whose keys are no texts")
        self.stack[-1].update(zip(items[::2], items[1::2]))


def _named(module: Any, name: Any) -> Callable[..., object]:
    """What stands for what a pickle asks for; these are the only callables that there are."""
    if type(module) is not str or type(name) is not str:
        raise ValueError("it asks for what has no name")
    path = f"{module}.{name}"
    if path not in _STAND_INS:
        said = path if path.isprintable() else repr(path)
        raise ValueError(f"it asks for {said[:80]}, which is no data")
    return _STAND_INS[path]


def _encoded(text: Any, encoding: Any) -> bytes:
    """Bytes, as pickles of the old protocols have them."""
    if type(text) is not str or encoding != "latin1":
        raise ValueError("it encodes what is no text")
    return text.encode("latin-1")


_STAND_INS: dict[str, Callable[..., object]] = {**PLAIN_ARRAYS, "_codecs.encode": _encoded}
_ARGUMENTS = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE",
    "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
