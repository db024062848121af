"""Tables as HTML, for notebooks. Whatever is not HTML by its type is text, and escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from sklearn_cmac._printing import printable


class Html(str):
    """A text that is HTML already."""


def as_html(value: object) -> str:
    """A value as HTML: text in one line, escaped, unless it is `Html`."""
    return value if isinstance(value, Html) else escape(printable(value))


def html_table(
    rows: Iterable[Sequence[object]], header: Sequence[object] = (), title: str = ""
) -> str:
    """A table, with a title and column names if there are any.

    Examples
    --------
    >>> from sklearn_cmac._html import html_table
    >>> html_table([["<b>.jpg", 3]])
    '<table><tbody><tr><td>&lt;b&gt;.jpg</td><td>3</td></tr></tbody></table>'
    """
    caption = f"<caption>{as_html(title)}</caption>" if title else ""
    head = f"<thead>{_row('th', header)}</thead>" if header else ""
    body = "".join(_row("td", row) for row in rows)
    return f"<table>{caption}{head}<tbody>{body}</tbody></table>"


def _row(tag: str, cells: Sequence[object]) -> str:
    return f"<tr>{''.join(f'<{tag}>{as_html(cell)}</{tag}>' for cell in cells)}</tr>"
