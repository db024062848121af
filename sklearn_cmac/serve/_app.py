"""The pages of an index, as a Starlette application."""

from __future__ import annotations

import math
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

try:
    from anyio import CapacityLimiter, to_thread
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.responses import JSONResponse, RedirectResponse, Response
    from starlette.routing import BaseRoute, Mount, Route
    from starlette.staticfiles import StaticFiles
except ImportError as error:
    raise ImportError("pages of an index need: pip install sklearn-cmac[serve]") from error

from sklearn_cmac._threads import one_thread
from sklearn_cmac.collection import InUseError
from sklearn_cmac.collection._catalogue import CatalogueEntry
from sklearn_cmac.inspection import Outline, box_outline
from sklearn_cmac.inspection._numbering import Asked, regions_asked
from sklearn_cmac.photos import Box, Photo, PhotoError, Query, digest_source
from sklearn_cmac.search import SearchResult, search_with_marks
from sklearn_cmac.serve._answers import Answers, query
from sklearn_cmac.serve._api import describe_api
from sklearn_cmac.serve._drawings import draw, number_regions, polygons_of, size_of
from sklearn_cmac.serve._lent import LentPhotos
from sklearn_cmac.serve._library import Background, Library
from sklearn_cmac.serve._links import (
    MOST_PAGES,
    MOST_RESULTS,
    ORDERS,
    Ask,
    Part,
    read_ask,
    read_box,
    read_choice,
    read_count,
    read_key,
    read_parts,
)
from sklearn_cmac.serve._pictures import PLACEHOLDER, SIZES, Pictures
from sklearn_cmac.serve._safety import LOOPBACK, Guard, Rate, with_headers
from sklearn_cmac.serve._uploads import Room, Upload, keep, read_form

_PER_PAGE = 60
_FAILURES = 500
_ON_CARD = 4
_A_MINUTE = 300  # photos that may be sent
# What is told of the index, of what it says of itself.
_TOLD = ("photos", "failed", "bytes", "dimensions", "made", "system", "pipeline")
_VERIFIED = 0.5  # probability from which on a photo is said to show the object
_KEPT = {"Cache-Control": "private, max-age=86400"}


def make_app(
    index_path: str | os.PathLike[str],
    *,
    token: str | None = None,
    hosts: Sequence[str] = LOOPBACK,
    read_only: bool = False,
    uploads: str | os.PathLike[str] | None = None,
    trust: Sequence[str] = (),
) -> Starlette:
    """The pages of an index.

    Parameters
    ----------
    index_path : path
        An index in a folder.
    token : str, optional
        What visitors must know: they bring it once as ``?token=``, or as ``Authorization: Bearer``.
        Give one wherever others than the user of this machine can reach the server.
    hosts : sequence of str
        Names and addresses by which the server may be called, without ports. Default: those by
        which a machine calls itself.
    read_only : bool, default=False
        Whether nobody may add or remove photos.
    uploads : path, optional
        The folder of photos that visitors add. Default: NAME.uploads beside an index NAME.cmac.
    trust : sequence of str, default=()
        As for `RetrievalIndex.open`.

    Returns
    -------
    starlette.applications.Starlette
        To be run by an ASGI server in one process.

    Raises
    ------
    FileNotFoundError
        If there is no index.
    ValueError
        If the index is damaged, or of another version.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn_cmac import make_rmac_pipeline
    >>> from sklearn_cmac.datasets import make_object_scenes
    >>> from sklearn_cmac.search import RetrievalIndex
    >>> from sklearn_cmac.serve import make_app
    >>> photos = make_object_scenes(1, 2, 0, size=(160, 120)).photos
    >>> pipeline = make_rmac_pipeline(whiten__shrinkage=1, features__layer="blocks.4").fit(photos)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     RetrievalIndex.create(f"{folder}/scenes.cmac", pipeline).close()
    ...     app = make_app(f"{folder}/scenes.cmac", read_only=True)

    It is run by ``uvicorn.run(app)``.
    """
    path = Path(index_path)
    library = Library(
        path,
        read_only,
        None if uploads is None else Path(uploads),
        min(4, os.cpu_count() or 1),
        trust,
    )
    pages = Pages(library)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        # Limits on threads that begin and end in different threads would undo each other, so one
        # holds for all of the time.
        with one_thread():
            library.start()
            yield
            await to_thread.run_sync(library.close)

    app = Starlette(
        routes=pages.routes(),
        middleware=[Middleware(Guard, hosts=hosts, token=token)],
        exception_handlers={
            HTTPException: pages.tell,
            ValueError: pages.tell,
            InUseError: pages.tell,
            OSError: pages.tell,
            Exception: pages.tell,
        },
        lifespan=lifespan,
    )
    app.state.library = library
    return app


class Pages:
    """What each address answers.

    Parameters
    ----------
    library : Library
    """

    def __init__(self, library: Library):
        self.library = library
        self.lent = LentPhotos()
        self.pictures = Pictures()
        self.groups: Background[list[list[str]]] = Background(library.find_groups)
        self.answers = Answers({"library": library})
        self.rate = Rate(_A_MINUTE, seconds=60)
        # A search is asked for again, with marks or more results.
        self._asked = lru_cache(maxsize=64)(self._describe)
        # Photos are looked at while others search, and neither waits for who sends slowly.
        self._looking = CapacityLimiter(4)
        self._searching = CapacityLimiter(library.n_readers)
        self._changing_at_once = CapacityLimiter(2)
        self._room = Room()

    def routes(self) -> list[BaseRoute]:
        """All addresses."""
        return [
            Route("/", self._page("photos", self._photos)),
            Route("/search", self._page("results", self._search, self._searching)),
            Route("/groups", self._page("groups", self._groups)),
            Route("/groups", self._changing(self._start_groups), methods=["POST"]),
            Route("/groups/{key}", self._page("group", self._group)),
            Route("/index", self._page("index", self._index)),
            Route("/photos/{key}", self._page("photo", self._photo)),
            Route("/photos/{key}/{size}.jpg", self._page("", self._picture)),
            Route("/photos", self._changing(self._lend), methods=["POST"]),
            Route("/index/photos", self._changing(self._add), methods=["POST"]),
            Route("/photos/{key}/add", self._changing(self._add_lent), methods=["POST"]),
            Route("/photos/{key}/remove", self._changing(self._remove), methods=["POST"]),
            Route("/api", self._api),
            Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
        ]

    # -- how all are answered -----------------------------------------------------------------

    def _page(
        self,
        name: str,
        read: Callable[[Request], dict[str, Any] | Response],
        limiter: CapacityLimiter | None = None,
    ) -> Callable[[Request], Awaitable[Response]]:
        """An address that is read, in a thread."""

        def find(request: Request) -> dict[str, Any] | Response:
            self.library.check_same()
            return read(request)

        async def endpoint(request: Request) -> Response:
            async with limiter or self._looking:
                if await request.is_disconnected():  # who has gone meanwhile keeps nobody waiting
                    return Response(status_code=400)
                found = await to_thread.run_sync(find, request)
            if isinstance(found, Response):
                return found
            return self.answers.page(request, name, found)

        return endpoint

    def _changing(
        self, change: Callable[[dict[str, str], list[Upload], str], str]
    ) -> Callable[[Request], Awaitable[Response]]:
        """An address that a form is sent to; what it changes says where to look next."""

        def changed(fields: dict[str, str], files: list[Upload], key: str) -> str:
            self.library.check_same()
            return change(fields, files, key)

        async def endpoint(request: Request) -> Response:
            with self._room.taking() as take:
                fields, files = await read_form(request, take)
                self.answers.check_form(fields)
                if not self.rate.take(len(files)):
                    raise HTTPException(429, f"more than {_A_MINUTE} photos in a minute")
                key = request.path_params.get("key", "")
                place = await to_thread.run_sync(
                    changed, fields, files, key, limiter=self._changing_at_once
                )
            return self.answers.moved(request, place)

        return endpoint

    async def _api(self, request: Request) -> Response:
        return JSONResponse(describe_api())

    async def tell(self, request: Request, error: Exception) -> Response:
        """Why a request has no answer."""
        response = self.answers.refusal(request, error)
        if isinstance(error, HTTPException):
            response.headers.update(error.headers or {})  # such as which methods there are
        return with_headers(response)

    # -- photos -------------------------------------------------------------------------------

    def _photos(self, request: Request) -> dict[str, Any]:
        asked = request.query_params
        number = read_count(asked, "page", 1, MOST_PAGES)
        name, order = asked.get("name", "")[:200], read_choice(asked, "order", ORDERS)
        start = (number - 1) * _PER_PAGE
        entries, total = self.library.page(start, _PER_PAGE, name, order == "newest")
        return {
            "photos": [self._on_wall(entry) for entry in entries],
            "total": total,
            "page": number,
            "pages": max(1, -(-total // _PER_PAGE)),
            "name": name,
            "order": order,
            "parts": read_parts(asked),
        }

    def _photo(self, request: Request) -> dict[str, Any]:
        key = read_key(request.path_params["key"])
        asked = request.query_params
        entries = self.library.entries_of(key)
        name = self.library.name_of(entries[0]) if entries else self._photo_of(key).name
        return {
            **self._shown_as(key, name),
            "group": next(
                (f"/groups/{key}" for keys in self.groups.found or () if key in keys), None
            ),
            "copies": [self.library.name_of(entry) for entry in entries[1:]],
            "in_index": bool(entries),
            "box": read_box(asked["box"]) if "box" in asked else None,
            "parts": read_parts(asked),
        }

    def _picture(self, request: Request) -> Response:
        key, size = read_key(request.path_params["key"]), request.path_params["size"]
        if size not in SIZES:
            raise HTTPException(404, f"pictures are {' or '.join(SIZES)}, not {size[:40]}")
        try:
            photo = self._photo_of(key)
            jpeg = self.pictures.of(key, photo, size).jpeg
        except PhotoError:  # its file is gone
            return Response(PLACEHOLDER, 200, {"Cache-Control": "no-store"}, "image/svg+xml")
        return Response(jpeg, 200, _KEPT, "image/jpeg")

    def _photo_of(self, key: str) -> Photo:
        """A photo that was lent, or is in the index.

        Raises
        ------
        HTTPException
            If there is none of this key.
        PhotoError
            If its file is gone.
        """
        lent = self.lent.get(key)
        photo = Photo(lent.content, name=lent.name) if lent else self.library.photo(key)
        if photo is None:
            raise _not_here(key)
        return photo

    def _on_wall(self, entry: CatalogueEntry) -> dict[str, Any]:
        """What is said of one photo among many: their files are not read."""
        width, height = self.pictures.known_size(entry.id) or (None, None)
        return {
            "photo": entry.id,
            "name": self.library.name_of(entry),
            "there": self.library.is_there(entry),
            "width": width,
            "height": height,
        }

    def _shown(self, entry: CatalogueEntry) -> dict[str, Any]:
        return self._shown_as(entry.id, self.library.name_of(entry))

    def _shown_as(self, key: str, name: str) -> dict[str, Any]:
        """What pages say of any photo. Of one whose file is gone, no size is known."""
        size: tuple[int, int] | tuple[None, None]
        try:
            size = self.pictures.photo_size(key, self._photo_of(key))
        except PhotoError:
            size = None, None
        width, height = size
        return {
            "photo": key,
            "name": name,
            "there": width is not None,
            "width": width,
            "height": height,
        }

    def _lend(self, fields: dict[str, str], files: list[Upload], _: str) -> str:
        if len(files) != 1:
            raise HTTPException(400, f"one photo is searched with at a time, got {len(files)}")
        (upload,) = files
        self._look_at(upload)
        key = self.lent.put(upload.content, upload.name)
        return f"/photos/{key}{query(q=fields.get('parts', '').split())}"

    def _look_at(self, upload: Upload) -> None:
        """Make the picture of an uploaded photo, and find out thereby whether it can be used.

        Raises
        ------
        PhotoError
        """
        photo = Photo(upload.content, name=upload.name)
        self.pictures.of(digest_source(upload.content), photo, "view")

    # -- searching ----------------------------------------------------------------------------

    def _search(self, request: Request) -> dict[str, Any] | Response:
        ask = read_ask(request.query_params)
        others = {"format", "view"} & set(request.query_params)
        asked = [(name, request.query_params[name]) for name in sorted(others)]
        link = ask.link + "".join(f"&{name}={quote(value)}" for name, value in asked)
        if f"{request.url.path}?{request.url.query}" != link:
            return RedirectResponse(link, 303)
        started = time.perf_counter()
        queries = [self._query_of(part) for part in ask.parts]
        names = {key: self._name_in_index(key) for key in (*ask.right, *ask.wrong)}
        with self.library.reading() as index:
            found = search_with_marks(
                index,
                queries,
                ask.n,
                right=[names[key] for key in ask.right],
                wrong=[names[key] for key in ask.wrong],
                combine=ask.combine,
            )
            entries = self.library.catalogue.find([result.name for result in found])
            entry_of = {entry.name: entry for entry in entries}
            shown = [
                (result, self._row(rank, result, entry_of[result.name], ask))
                for rank, result in enumerate(found, 1)
                if result.name in entry_of  # else it was removed meanwhile
            ]
            parts = [self._asked_for(part, ask) for part in ask.parts]
            number_regions(index, shown, list(zip(ask.parts, parts)), self._asked)
        rows = [row for _, row in shown]
        for each in (*parts, *rows):
            each["drawing"] = draw(each.pop("outlines"), size_of(each))
        again = "max" if ask.combine == "mean" else "mean"
        wider = replace(ask, n=min(2 * ask.n, MOST_RESULTS))
        return {
            "parts": parts,
            "right": list(ask.right),
            "wrong": list(ask.wrong),
            "combine": ask.combine,
            "n": ask.n,
            "results": rows,
            "n_verified": sum(row["verified"] for row in rows),
            "verifies": any(row["probability"] is not None for row in rows),
            "seconds": round(time.perf_counter() - started, 3),
            "link": ask.link,
            "more": wider.link if len(rows) == ask.n < wider.n else None,
            "unmarked": replace(ask, right=(), wrong=()).link,
            "other_combination": replace(ask, combine=again).link,
        }

    def _asked_for(self, part: Part, ask: Ask) -> dict[str, Any]:
        """A part of a search, and where it can be changed."""
        left = ask.without(part)
        others = [str(other) for other in ask.parts if other != part]
        box = str(part).partition("@")[2]
        return {
            **self._shown_as(part.photo, self._photo_of(part.photo).name),
            "box": part.box,
            "regions": [],
            "outlines": [] if part.box is None else [box_outline(part.box)],
            "link": str(part),
            "change": f"/photos/{part.photo}{query(box=box, q=others)}",
            "without": None if left is None else left.link,
        }

    def _row(
        self, rank: int, result: SearchResult, entry: CatalogueEntry, ask: Ask
    ) -> dict[str, Any]:
        """A photo that was found, where the object is in it, and what its score means."""
        shown, spatial = self._shown(entry), result.spatial
        verified = spatial is not None and spatial.probability >= _VERIFIED
        located = []
        if spatial is not None and verified and len(spatial.outline):
            located = [Outline([spatial.outline], kind="object")]
        box = result.box if located else None
        own = entry.id in {part.photo for part in ask.parts}
        return {
            "rank": rank,
            **shown,
            "link": f"/photos/{entry.id}{query(box=_corners(box))}",
            "score": result.score,
            "own": own,
            "meaning": "the query’s own photo" if own else _meaning(result),
            "probability": None if spatial is None else spatial.probability,
            "verified": verified,
            "n_inliers": None if spatial is None else spatial.n_inliers,
            "box": box,
            "outline": [polygon for each in located for polygon in polygons_of(each)],
            "regions": [],
            "outlines": located,
            "mark": "right" if entry.id in ask.right else "wrong" if entry.id in ask.wrong else "",
        }

    def _describe(self, part: Part) -> Asked:
        return regions_asked(self.library.pipeline, self._query_of(part))

    def _query_of(self, part: Part) -> Photo | Query:
        photo = self._photo_of(part.photo)
        return photo if part.box is None else Query(photo, part.box)

    def _name_in_index(self, key: str) -> str:
        entries = self.library.entries_of(key)
        if not entries:
            raise _not_here(key)
        return entries[0].name

    # -- groups -------------------------------------------------------------------------------

    def _groups(self, request: Request) -> dict[str, Any]:
        groups = []
        for keys in self.groups.found or ():
            shown = self._shown_photos(keys, _ON_CARD)
            if shown:
                link = f"/groups/{keys[0]}"
                groups.append({"size": len(keys), "link": link, "photos": shown})
        return {
            "state": self.groups.state,
            "doing": self.groups.doing,
            "n": self.groups.n,
            "of": self.groups.of,
            "why": self.groups.why,
            "groups": groups,
        }

    def _group(self, request: Request) -> dict[str, Any]:
        key = read_key(request.path_params["key"])
        for keys in self.groups.found or ():
            if key in keys:
                return {"photos": self._shown_photos(keys)}
        raise HTTPException(404, "this photo is in no group, or they have to be found again")

    def _shown_photos(self, keys: Sequence[str], most: int | None = None) -> list[dict[str, Any]]:
        """Those of the photos that are in the index still."""
        entries = self.library.catalogue.of_ids(keys[:most])
        return [self._on_wall(entries[key][0]) for key in keys[:most] if key in entries]

    def _start_groups(self, fields: dict[str, str], files: list[Upload], _: str) -> str:
        self.groups.start()
        return "/groups"

    # -- the index ----------------------------------------------------------------------------

    def _index(self, request: Request) -> dict[str, Any]:
        entries, n_failed = self.library.failures(_FAILURES)
        info = self.library.info()
        return {
            "info": {name: info[name] for name in _TOLD if info.get(name) is not None},
            "adding": self.library.adding,
            "failed": [
                {
                    "name": self.library.name_of(entry),
                    "reason": entry.reason.removeprefix(f"{entry.name}: "),
                }
                for entry in entries
            ],
            "n_failed": n_failed,
            "read_only": self.library.read_only,
        }

    def _add(self, fields: dict[str, str], files: list[Upload], _: str) -> str:
        self._check_writable()
        if not files:
            raise HTTPException(400, "no photo was chosen")
        kept, refused = [], []
        for upload in files:
            try:
                self._look_at(upload)
                kept.append(keep(self.library.uploads, upload))
            except (PhotoError, OSError) as error:  # no photo, or no room for it
                refused.append((upload.name, str(error)))
        self.library.add(kept, refused)
        return "/index"

    def _add_lent(self, fields: dict[str, str], files: list[Upload], key: str) -> str:
        self._check_writable()
        lent = self.lent.get(read_key(key))
        if lent is None:
            raise _not_here(key)
        self.library.add([keep(self.library.uploads, Upload(lent.content, lent.name))])
        return "/index"

    def _remove(self, fields: dict[str, str], files: list[Upload], key: str) -> str:
        self._check_writable()
        if not self.library.entries_of(read_key(key)):
            raise _not_here(key)
        self.library.remove(key)
        return "/"

    def _check_writable(self) -> None:
        if self.library.read_only:
            raise HTTPException(403, "this index is served read only")


def _corners(box: Box | None) -> str:
    """A box as addresses say it, if there is something in it."""
    if box is None or min(box[2] - box[0], box[3] - box[1]) < 2:
        return ""
    return ",".join(f"{v:.0f}" for v in box)


def _meaning(result: SearchResult) -> str:
    """What a photo was found by, in a few words."""
    spatial, regions = result.spatial, result.regions
    alike = "similar as a whole"
    if regions is not None:
        alike = f"similarity {regions.score:.2f}"
    elif spatial is None:  # behind verified photos, scores only keep the order
        alike = f"similarity {result.score:.2f}"
    if spatial is not None and spatial.n_inliers:
        points = f"{spatial.n_inliers} point{'s' if spatial.n_inliers > 1 else ''}"
        if spatial.probability >= _VERIFIED:
            sure = "above 99%" if spatial.probability > 0.99 else f"{spatial.probability:.0%}"
            return f"{sure} sure: {points} agree"
        return f"{alike}, {points} agree"
    return "" if math.isnan(result.score) else alike


def _not_here(key: str) -> HTTPException:
    return HTTPException(
        404,
        f"there is no photo {key[:12]}…: it is in the index no more, or was sent to be searched "
        "with and is forgotten by now; then send it again",
    )
