"""Tables and lists that users wrote: which delimiter, which encoding, which row is wrong."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

from sklearn_cmac.photos import PhotoError


def read_text(file: str | os.PathLike[str]) -> str:
    """The text of a UTF-8 file, or a `PhotoError` that names it."""
    try:
        return Path(file).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise PhotoError(f"{file}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        wrong = error.object[error.start]
        raise PhotoError(
            f"{file}: is not UTF-8 (byte {error.start} is 0x{wrong:02x}); save it as UTF-8"
        ) from error


def read_table(file: str | os.PathLike[str], columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Rows of a CSV file with a header; cells are stripped, and "" where a row is short.

    Cells end at commas, semicolons or tabs, whichever the header has most of. Blank rows are
    skipped.
    """
    text = read_text(file)
    header = text.lstrip().partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    try:
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise PhotoError(
            f"{file}: line {reader.line_num} is no row of a table ({error})"
        ) from error
    rows = [(line, row) for line, row in rows if any(row)]
    names = rows[0][1] if rows else []
    lacking = [column for column in columns if column not in names]
    if lacking:
        raise PhotoError(f"{file}: lacks the columns {lacking}; its columns are {names}")
    for line, row in rows:
        if any(row[len(names) :]):
            raise PhotoError(
                f"{file}: line {line} has {len(row)} cells, and the header {len(names)}; put "
                f"names that hold a {delimiter!r} into quotes"
            )
    blank = [""] * len(names)
    return [dict(zip(names, [*row, *blank])) for _, row in rows[1:]]
