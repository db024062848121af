"""What visitors send: forms and files, in memory, within limits."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from anyio import fail_after
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from sklearn_cmac.formats import readable_endings
from sklearn_cmac.photos import digest_source
from sklearn_cmac.store import written_whole

MOST_BYTES = 48 << 20  # of a photo
MOST_TOGETHER = 192 << 20
MOST_FILES = 200
_MOST_OF_FORM = 64 << 10
_PATIENCE = 30  # seconds without a byte
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


class Room:
    """Memory for what is being sent, for all who send together: nobody waits for who is slow.

    Parameters
    ----------
    most : int
        Bytes.
    """

    def __init__(self, most: int = 2 * MOST_TOGETHER):
        self.left = most

    @contextmanager
    def taking(self) -> Iterator[Callable[[int], None]]:
        """A function that takes so many bytes more; in the end all are given back.

        It raises `HTTPException` where they are not left.
        """
        taken = 0

        def take(n_bytes: int) -> None:
            nonlocal taken
            if n_bytes > self.left:
                raise HTTPException(503, "others send much just now; send it again in a minute")
            self.left -= n_bytes
            taken += n_bytes

        try:
            yield take
        finally:
            self.left += taken


async def read_form(
    request: Request, take: Callable[[int], None]
) -> tuple[dict[str, str], list[Upload]]:
    """The fields and the files of a form.

    Parameters
    ----------
    request : starlette.requests.Request
    take : callable
        Of a `Room`, for the bytes that come.

    Raises
    ------
    HTTPException
        If it is no form, too large or too slow, or ends too early.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == "multipart/form-data":
            stream = _limited(request, MOST_TOGETHER, take)
            form = await _InMemory(
                request.headers, stream, max_files=MOST_FILES, max_fields=50
            ).parse()
        elif kind == "application/x-www-form-urlencoded":
            stream = _limited(request, _MOST_OF_FORM, take)
            form = await FormParser(request.headers, stream).parse()
        else:
            raise HTTPException(415, "a form is expected, as a browser or curl -F sends it")
    except MultiPartException as error:
        raise HTTPException(400, f"the form cannot be read: {error.message}") from error
    except ClientDisconnect:
        raise HTTPException(400, "the form ends too early") from None
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


async def _limited(
    request: Request, most: int, take: Callable[[int], None]
) -> AsyncGenerator[bytes, None]:
    """The body, until it is longer than it may be, or nothing more comes."""
    stream, left = request.stream(), most
    while True:
        try:
            with fail_after(_PATIENCE):
                chunk = await anext(stream, None)
        except TimeoutError:
            raise HTTPException(408, f"nothing has come for {_PATIENCE} seconds") from None
        if chunk is None:
            return
        left -= len(chunk)
        if left < 0:
            raise HTTPException(413, f"at most {_in_words(most)} can be sent at once")
        take(len(chunk))
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


def is_upload(path: Path) -> bool:
    """Whether a file is named as `place_of` names those that are sent."""
    return re.search("-[0-9a-f]{12}$", path.stem) is not None


def keep(folder: Path, upload: Upload) -> Path:
    """Write a photo to a folder, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = place_of(folder, upload)
    if not path.exists():
        with written_whole(path, len(upload.content)) as file:
            file.write(upload.content)
    return path
