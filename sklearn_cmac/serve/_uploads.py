"""What visitors send: forms and files, in memory, within limits."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser
from starlette.requests import Request

from sklearn_cmac.formats import readable_endings
from sklearn_cmac.photos import digest_source
from sklearn_cmac.store import written_whole

MOST_BYTES = 48 << 20  # of a photo
MOST_TOGETHER = 192 << 20
MOST_FILES = 200
_MOST_OF_FORM = 64 << 10
_LONGEST_NAME = 80


@dataclass(frozen=True)
class Upload:
    """A file that was sent.

    Parameters
    ----------
    content : bytes
    name : str
        As its owner calls it, without folders.
    """

    content: bytes
    name: str


class _InMemory(MultiPartParser):
    """Nothing that is sent is laid down on the disk."""

    spool_max_size = max_file_size = MOST_TOGETHER + 1  # by its present and its former name


async def read_form(request: Request) -> tuple[dict[str, str], list[Upload]]:
    """The fields and the files of a form.

    Raises
    ------
    HTTPException
        If it is no form, or too large.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == "multipart/form-data":
            stream = _limited(request, MOST_TOGETHER)
            form = await _InMemory(
                request.headers, stream, max_files=MOST_FILES, max_fields=50
            ).parse()
        elif kind == "application/x-www-form-urlencoded":
            form = await FormParser(request.headers, _limited(request, _MOST_OF_FORM)).parse()
        else:
            raise HTTPException(415, "a form is expected, as a browser or curl -F sends it")
    except MultiPartException as error:
        raise HTTPException(400, f"the form cannot be read: {error.message}") from error
    fields: dict[str, str] = {}
    files: list[Upload] = []
    for name, value in form.multi_items():
        if not isinstance(value, UploadFile):
            fields[name] = value
        elif value.size:  # else no file was chosen
            file_name = _base_name(value.filename or "")
            if value.size > MOST_BYTES:
                raise HTTPException(
                    413, f"{file_name}: a photo may have {_in_words(MOST_BYTES)} at most"
                )
            files.append(Upload(await value.read(), file_name))
    await form.close()
    return fields, files


async def _limited(request: Request, most: int) -> AsyncGenerator[bytes, None]:
    """The body, until it is longer than it may be."""
    left = most
    async for chunk in request.stream():
        left -= len(chunk)
        if left < 0:
            raise HTTPException(413, f"at most {_in_words(most)} can be sent at once")
        yield chunk


def _in_words(n_bytes: int) -> str:
    return f"{n_bytes >> 20} MB" if n_bytes >> 20 else f"{n_bytes >> 10} kB"


def _base_name(name: str) -> str:
    return re.split(r"[/\\]", name)[-1][:200] or "photo"


def place_of(folder: Path, upload: Upload) -> Path:
    """Where a photo that is added is kept: its own name, as far as it is harmless, and its content.

    Two photos of one name are kept beside each other, and one that is added twice, once.
    """
    stem, ending = os.path.splitext(upload.name)
    ending = ending.lower() if ending.lower() in readable_endings() else ".jpg"
    stem = re.sub(r"[^\w-]+", "-", stem).strip("-")[:_LONGEST_NAME]
    return folder / f"{stem or 'photo'}-{digest_source(upload.content)[:12]}{ending}"


def keep(folder: Path, upload: Upload) -> Path:
    """Write a photo to a folder, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = place_of(folder, upload)
    if not path.exists():
        with written_whole(path, len(upload.content)) as file:
            file.write(upload.content)
    return path
