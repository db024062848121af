"""Reads cells, structs, texts and numbers of a MATLAB file, in pieces of no more than its size.

The reader of SciPy believes what a file says of itself, and ends the process where cells are nested
in cells deeply enough; ground truth needs little of the format, which is here.

The format: MathWorks, "MAT-File Format", "Level 5 MAT-File Format".
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sklearn_cmac._files import read_whole

_LARGEST = 64_000_000  # bytes, as they are and without compression; that of INSTRE has 3,000,000
_DEEPEST = 5
_HEADER = 128
_ORDERS = {b"IM": "<", b"MI": ">"}
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _CHAR, _NUMBERS = 1, 2, 4, range(6, 16)
_DTYPES = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
    16: "u1", 17: "u2", 18: "u4",
}  # fmt: skip
_ENCODINGS = {1: "utf-8", 2: "utf-16-le", 4: "utf-32-le"}  # by the bytes of a unit


def read_matlab(file: Path) -> dict[str, Any]:
    """Variables by name: str, list of a cell's values, list of dict of a struct, or flat ndarray.

    Parameters
    ----------
    file : Path
        Of version 5 to 7, which MATLAB writes unless it is asked for 7.3.

    Raises
    ------
    ValueError
        If it is damaged, too large, or holds something else.
    OSError
        If it cannot be read.
    """
    content = memoryview(read_whole(file, _LARGEST))
    order = _ORDERS.get(bytes(content[_HEADER - 2 : _HEADER]))
    if order is None:
        raise ValueError("it is no MATLAB file of version 5 to 7")
    found, room = {}, _LARGEST
    for kind, payload in _elements(content[_HEADER:], order):
        if kind == _COMPRESSED:
            # One byte more than there is room for tells what goes on from what has ended.
            whole = zlib.decompressobj().decompress(payload, room + 1)
            room -= len(whole)
            if room < 0:
                raise ValueError(f"it has more than {_LARGEST} bytes when it is decompressed")
            kind, payload = next(_elements(memoryview(whole), order), (0, payload))
        if kind == _MATRIX:
            name, value = _variable(payload, order, _DEEPEST)
            found[name] = value
    return found


def _elements(content: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Kind and payload of the elements that follow each other."""
    place = 0
    while place + 8 <= len(content):
        kind, size = np.frombuffer(content[place : place + 8], f"{order}u4").tolist()
        place += 8
        if kind >> 16:  # four bytes at most stand where their size would be
            kind, size, place = kind & 0xFFFF, kind >> 16, place - 4
            end = place + 4
        elif kind == _COMPRESSED:
            end = place + size
        else:
            end = place + size + -size % 8
        if size > min(end, len(content)) - place:
            raise ValueError("it is cut off")
        yield kind, content[place : place + size]
        place = end


def _variable(payload: memoryview, order: str, deepest: int) -> tuple[str, Any]:
    """Name and value of an array."""
    if not len(payload):
        return "", np.empty(0)
    if not deepest:
        raise ValueError(f"its cells are nested more than {_DEEPEST} deep")
    parts = _elements(payload, order)
    flags, _, name = _numbers(parts, order), _numbers(parts, order), _numbers(parts, order)
    return name.tobytes().decode("ascii"), _value(int(flags[0]) & 0xFF, parts, order, deepest - 1)


def _value(form: int, parts: Iterator[tuple[int, memoryview]], order: str, deepest: int) -> Any:
    if form == _CELL:
        return [_variable(payload, order, deepest)[1] for _, payload in parts]
    if form == _STRUCT:
        length, text = int(_numbers(parts, order)[0]), _numbers(parts, order).tobytes()
        starts = range(0, len(text), max(length, 1))
        names = [text[i : i + length].split(b"\0")[0].decode("ascii") for i in starts]
        values = [_variable(payload, order, deepest)[1] for _, payload in parts]
        step = max(len(names), 1)
        return [dict(zip(names, values[i : i + step])) for i in range(0, len(values), step)]
    if form != _CHAR and form not in _NUMBERS:
        raise ValueError(f"it holds an array of class {form}, which is no data")
    numbers = _numbers(parts, order)
    if form in _NUMBERS:
        return numbers
    units = numbers.astype(numbers.dtype.newbyteorder("<")).tobytes()
    return units.decode(_ENCODINGS[numbers.itemsize])


def _numbers(parts: Iterator[tuple[int, memoryview]], order: str) -> np.ndarray:
    """The next element, which holds numbers."""
    kind, payload = next(parts, (0, memoryview(b"")))
    if kind not in _DTYPES:
        raise ValueError(f"it has an element of kind {kind} where numbers should be")
    return np.frombuffer(payload, order + _DTYPES[kind])
