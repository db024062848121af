"""Names from outside in text for people: one line stays one line, and no terminal is steered.

A file may be called anything: with line breaks, with sequences that a terminal obeys, with bytes
that no encoding explains. What programs read keeps names as they are.
"""

from __future__ import annotations

import json
import re
import sys
from typing import TextIO

# Control characters, line and paragraph separators, marks that turn the order of what follows,
# and the surrogates that stand for undecodable bytes.
_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: object, stream: TextIO | None = None) -> str:
    r"""Text in one line, with what cannot be shown written as escapes.

    Parameters
    ----------
    text : object
    stream : text file, optional
        Where it is printed: what its encoding lacks is escaped, too. Default: nothing is lacking.

    Returns
    -------
    str

    Examples
    --------
    >>> from sklearn_cmac._printing import printable
    >>> print(printable("two\nlines, \x1b[31mred, caf\udce9"))
    two\nlines, \x1b[31mred, caf\udce9
    """
    line = _UNPRINTABLE.sub(_escape, str(text))
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return line.encode(encoding, "backslashreplace").decode(encoding)


def print_lines(*lines: object, err: bool = False) -> None:
    """Print each of them as one line, to standard output or error, whatever its encoding."""
    stream = sys.stderr if err else sys.stdout
    for line in lines:
        print(printable(line, stream), file=stream, flush=True)


def print_json(value: object) -> None:
    """Print a value as one line of JSON, from which names come back as they are."""
    # ASCII but for the one control character that JSON does not escape.
    print(json.dumps(value).replace("\x7f", "\\u007f"), flush=True)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
