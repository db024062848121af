"""A text and arrays in one file, sealed: damage of any byte is an error that names the file.

The file is one of safetensors, so other programs can read its arrays. Its metadata holds the text,
and the SHA-256 of the whole file, taken with zeros in its own place.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save

from sklearn_cmac._files import open_regular
from sklearn_cmac.store import written_whole

_TEXT, _SEAL = "manifest", "sha256"
_BLANK = "0" * 64
_LONGEST = 100_000_000  # bytes of what precedes the arrays; safetensors reads no more


class PipelineFileError(ValueError):
    """A pipeline that no file can hold, or a file that holds no whole pipeline."""


def write_sealed(path: Path, text: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a file whole or not at all.

    Parameters
    ----------
    path : Path
    text : str
    arrays : mapping from str to ndarray
        Contiguous, of numbers that safetensors knows.

    Raises
    ------
    PipelineFileError
        If the text, and what there is to say of the arrays, are too long.
    OSError
        If it cannot be written; what was there before is then still there.
    """
    content = save(dict(arrays), metadata={_TEXT: text, _SEAL: _BLANK})
    length = int.from_bytes(content[:8], "little")
    if length > _LONGEST:
        raise PipelineFileError(
            f"{path}: would have {len(arrays)} arrays, which take {length} bytes to describe, and "
            f"a file has room for {_LONGEST}"
        )
    place = _place_of(content, _BLANK)
    seal = hashlib.sha256(content).hexdigest().encode()
    with written_whole(path, len(content)) as file:
        for piece in (content[:place], seal, memoryview(content)[place + len(seal) :]):
            file.write(piece)


def read_sealed(path: Path) -> tuple[str, dict[str, np.ndarray]]:
    """The text and the arrays of a file that is whole.

    Raises
    ------
    PipelineFileError
        If it is damaged, or another kind of file.
    OSError
        If it cannot be read.
    """
    text = read_sealed_text(path)
    try:
        return text, load_file(path)
    except Exception as error:  # sealed, and yet no file of safetensors: somebody made it so
        raise _is_none(path, f"{type(error).__name__}: {error}") from error


def read_sealed_text(path: Path) -> str:
    """The text alone; all of the file is checked nevertheless."""
    with open_regular(path) as file:
        length = file.read(8)
        size = int.from_bytes(length, "little")
        if len(length) < 8 or size > min(_LONGEST, os.fstat(file.fileno()).st_size):
            raise _is_none(path, "it ends too early")
        header = file.read(size)
        metadata = _metadata_of(header)
        text, seal = metadata.get(_TEXT), metadata.get(_SEAL)
        if not (isinstance(text, str) and isinstance(seal, str) and len(seal) == len(_BLANK)):
            raise _is_none(path, "it bears no checksum")
        place = _place_of(header, seal)
        blank = header[:place] + _BLANK.encode() + header[place + len(seal) :]
        digest = hashlib.sha256(length + blank)
        while block := file.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != seal:
        raise _is_none(path, "it does not fit its checksum")
    return text


def _metadata_of(header: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(header)["__metadata__"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return {}
    return found if isinstance(found, Mapping) else {}


def _place_of(content: bytes, seal: str) -> int:
    """Where the seal is. Quotes inside the text are escaped, so this is nowhere else."""
    key = f'"{_SEAL}":"'
    return content.find(f'{key}{seal}"'.encode("utf-8", "surrogatepass")) + len(key)


def _is_none(path: Path, reason: str) -> PipelineFileError:
    return PipelineFileError(
        f"{path}: is damaged, or no file that sklearn_cmac.persistence wrote ({reason})"
    )
