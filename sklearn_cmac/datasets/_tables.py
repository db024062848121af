"""Tables and lists that users wrote: which delimiter, which encoding, which row is wrong.

Whoever reads delimited text does it here. Such files come from strangers as photos do: they are
read as they are meant, or refused in one line that names file and row.
"""

from __future__ import annotations

import csv
import io
import ntpath
import os
import posixpath
import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_BE, BOM_UTF32_LE
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

from sklearn_cmac._files import read_whole
from sklearn_cmac.photos import PhotoError

_LARGEST = 200_000_000  # bytes of a file; a table of a million photos has 60,000,000
_LONGEST = 1_000_000  # characters of a row
# What a file begins with that says how it is encoded. That of UTF-32 begins as that of UTF-16.
_MARKS = {
    BOM_UTF8: "utf-8-sig",
    BOM_UTF32_LE: "utf-32",
    BOM_UTF32_BE: "utf-32",
    BOM_UTF16_LE: "utf-16",
    BOM_UTF16_BE: "utf-16",
}


class Line(NamedTuple):
    """Cells of a row, and where it is, for messages."""

    place: str
    cells: list[str]


class Row(dict[str, str]):
    """Cells of a row by their columns.

    Parameters
    ----------
    place : str
        File and line, for messages.
    cells : mapping from str to str
    """

    def __init__(self, place: str, cells: dict[str, str]):
        super().__init__(cells)
        self.place = place


def read_text(file: str | os.PathLike[str]) -> str:
    """The text of a file in UTF-8, or as its byte order mark says; else a `PhotoError`."""
    try:
        content = read_whole(file, _LARGEST)
    except OSError as error:
        raise PhotoError(f"{file}: cannot be read ({error.strerror})") from error
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        said = "UTF-8" if encoding.startswith("utf-8") else f"{encoding.upper()}, as it says"
        raise PhotoError(
            f"{file}: is not {said} (byte {error.start} is 0x{content[error.start]:02x}); save it "
            "as UTF-8"
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise PhotoError(f"{file}: line {line} has a zero byte, which is no text; save it as UTF-8")
    return text


def read_lines(file: str | os.PathLike[str], delimiter: str | None = None) -> Iterator[Line]:
    """Rows of a text file without a header, cells stripped. Blank rows are skipped.

    Parameters
    ----------
    file : path
    delimiter : str, optional
        What is between cells. Default: blanks.
    """
    return _lines_of(read_text(file), file, delimiter)


def _lines_of(text: str, file: str | os.PathLike[str], delimiter: str | None) -> Iterator[Line]:
    if delimiter is None:
        lines = enumerate(text.splitlines(), 1)
        rows: Iterator[tuple[int, list[str]]] = ((number, line.split()) for number, line in lines)
    else:
        rows = split_rows(io.StringIO(text, newline=""), file, delimiter, skip_blanks=True)
    for number, row in rows:
        cells = [cell.strip() for cell in row]
        if any(cells):
            yield Line(f"{file}, line {number}", cells)


def split_rows(
    text: TextIO, file: str | os.PathLike[str], delimiter: str = ",", skip_blanks: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """Rows of CSV text as they are, and the number of the line in which each begins.

    Parameters
    ----------
    text : file
        Whose line ends are left as they are.
    file : path
        For messages.
    delimiter : str, default=","
    skip_blanks : bool, default=False
        Whether blanks behind a delimiter are no part of a cell, or of what its quotes are for.

    Raises
    ------
    PhotoError
        If a row cannot be read, or is of more than a million characters.
    """
    lines = _Lines(text)
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=skip_blanks, strict=True)
    while True:
        first, lines.left = reader.line_num + 1, _LONGEST
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise PhotoError(f"{file}: line {first} is no row of a table ({error})") from error
        yield first, row


class _Lines:
    """Lines of a text for a reader of rows, which may have no more than so many characters."""

    def __init__(self, text: TextIO):
        self.text, self.left = text, _LONGEST

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self.text.readline(self.left + 1)
        if not line:
            raise StopIteration
        self.left -= len(line)
        if self.left < 0:
            raise csv.Error(f"it has more than {_LONGEST} characters; is a quote left open?")
        return line


def read_table(
    file: str | os.PathLike[str], columns: Sequence[str], optional: Sequence[str] = ()
) -> list[Row]:
    """Rows of a CSV file with a header; cells are stripped, and "" where a row is short.

    Cells end at commas, semicolons or tabs, whichever the header has most of. Blank rows are
    skipped.

    Parameters
    ----------
    file : path
    columns : sequence of str
        Those that have to be there.
    optional : sequence of str, default=()
        Those that may be. Others are ignored.

    Returns
    -------
    list of Row

    Raises
    ------
    PhotoError
        If it cannot be read, lacks a column or has it twice, or a row has too many cells.
    """
    text = read_text(file)
    unquoted = re.sub(r'"[^"]*"', "", text[:_LONGEST]).lstrip()
    header = re.split(r"[\r\n]", unquoted, maxsplit=1)[0]
    delimiter = max(",;\t", key=header.count)
    lines = _lines_of(text, file, delimiter)
    names = next(lines, Line("", [])).cells
    there = f"its columns are {[name[:40] for name in names[:20]] + ['…'] * (len(names) > 20)}"
    lacking = [column for column in columns if column not in names]
    if lacking:
        raise PhotoError(f"{file}: lacks the columns {lacking}; {there}")
    wanted = {name: names.index(name) for name in (*columns, *optional) if name in names}
    twice = [name for name in wanted if names.count(name) > 1]
    if twice:
        raise PhotoError(f"{file}: has the column {twice[0]!r} twice; {there}")
    rows = []
    for place, cells in lines:
        if any(cells[len(names) :]):
            raise PhotoError(
                f"{place} has {len(cells)} cells, and the header {len(names)}; put names that hold "
                f"a {delimiter!r} into quotes"
            )
        found = {name: cells[i] if i < len(cells) else "" for name, i in wanted.items()}
        rows.append(Row(place, found))
    return rows


def check_name(name: str, place: str) -> str:
    """A photo's name in a file from somebody else, if it leads nowhere but below a folder.

    Parameters
    ----------
    name : str
    place : str
        The file, and where in it, for the message.

    Returns
    -------
    str
        With "/" between folders, and without "..".

    Raises
    ------
    PhotoError
        If it is empty, absolute on any system, or leads out of the folder.
    """
    plain = posixpath.normpath(name.replace("\\", "/"))
    absolute = ntpath.splitdrive(name)[0] or plain.startswith("/")
    if not name or "\0" in name or absolute or plain.split("/")[0] == "..":
        raise PhotoError(
            f"{place}: {shown(name)} is no photo of the folder; names are relative to it, and stay "
            "below it"
        )
    return plain


def shown(value: object) -> str:
    """What a file holds, for a message: short, whatever it is."""
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else f"{value[:60]}…")
    if isinstance(value, (bool, float)) or value is None:
        return repr(value)
    if isinstance(value, int) and abs(value) < 10**15:
        return repr(value)
    return f"a {type(value).__name__}"


def path_below(folder: Path, name: str, place: str) -> Path:
    """The file in a folder that a table names, which may have been written on Windows.

    Parameters
    ----------
    folder : Path
    name, place
        As for `check_name`. On systems whose names may have backslashes, they are taken as such
        where there is such a file.
    """
    plain = check_name(name, place)
    path = folder / os.path.normpath(name)
    return path if path.is_file() else folder / plain
