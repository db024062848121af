"""Tables for terminals and documents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tabulate import tabulate


def as_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, cells as they are given."""
    return tabulate(rows, header, tablefmt="github", disable_numparse=True)
