"""How deep a pickle nests what it makes, and whether it asks for room, found without making it.

To look up a tuple in a dict is to follow all that it holds, and an interpreter that follows deeply
enough ends without an error.
"""

from __future__ import annotations

import pickletools
from typing import Any, Protocol

_DEEPEST = 100  # weights with the state of their training have ten
_MOST_STEPS = 500_000  # weights of a thousand tensors have 50,000
# Steps that fill what is there, and leave it as deep as it was if what they put in is not deeper.
_FILLING = {"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"}


class _Readable(Protocol):
    def read(self, n: int, /) -> bytes: ...
    def readline(self) -> bytes: ...


def check_nesting(content: bytes | _Readable) -> None:
    """A `ValueError` if a pickle is too long or deep, damaged, or asks for room by its length.

    Parameters
    ----------
    content : bytes, or something to read them from
        That asks for no memory for what is not there, as a file would. It is read to the end of
        the first pickle.
    """
    stack: list[int] = []
    marks: list[int] = []
    memo: dict[Any, int] = {}
    source: Any = content
    for n, (step, argument, _) in enumerate(pickletools.genops(source)):
        if n > _MOST_STEPS:
            raise ValueError(f"it has more than {_MOST_STEPS} steps")
        if step.name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif step.name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif step.name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif step.name == "GLOBAL" and str(argument).endswith(" bytearray"):
            raise ValueError("it asks for a bytearray, which may be of any length")
        elif step.name == "MARK":
            marks.append(len(stack))
        else:
            _follow(step, stack, marks)
    if stack:
        raise ValueError("it leaves more than one value")


def _follow(step: pickletools.OpcodeInfo, stack: list[int], marks: list[int]) -> None:
    """Take from the stack what a step takes, and put back how deep what it leaves is."""
    before = step.stack_before
    if pickletools.markobject in before:
        start = marks.pop() - before.index(pickletools.markobject)
    else:
        start = len(stack) - len(before)
    if start < 0:
        raise ValueError("it takes what is not there")
    taken = stack[start:]
    del stack[start:]
    if step.name in _FILLING:
        depth = max(taken[0], 1 + max(taken[1:], default=0))
    else:
        depth = 1 + max(taken, default=0)
    if depth > _DEEPEST:
        raise ValueError(f"it nests more than {_DEEPEST} deep")
    stack.extend([depth] * len(step.stack_after))
