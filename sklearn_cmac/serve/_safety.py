"""Who may ask what: hosts, the token, requests from other pages, and the headers of each answer."""

from __future__ import annotations

import hashlib
import html
import ipaddress
import re
import secrets
import threading
import time
from asyncio import CancelledError
from collections.abc import Collection
from typing import Any
from urllib.parse import quote, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)

from sklearn_cmac.serve._links import wants_json

Scope = Any
LOOPBACK = ("127.0.0.1", "localhost", "::1")

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\s:/?#@\\\[\]]+)(:[0-9]{1,5})?")

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'self'; "
    "script-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

_STRANGER = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>A token is needed</title></head>
<body><h1>A token is needed</h1>
<p>Who has it may look. Open the address that <code>cmac serve</code> printed.</p>
<p>If you have done so in this browser before, <a href="{again}">go on</a>.</p></body></html>"""


def is_loopback(host: str) -> bool:
    """Whether a server that is bound to this address hears this machine alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def with_headers(response: Response) -> Response:
    """A response with the headers that each must have."""
    for name, value in HEADERS.items():
        response.headers[name] = value
    return response


class Guard:
    """Refuses what no page of this server asks, before anything else sees it.

    Parameters
    ----------
    app : ASGI application
    hosts : collection of str
        Names by which the server may be called. A page whose own name was made to lead here (DNS
        rebinding) calls it by another.
    token : str, optional
        What a visitor must know. Default: nothing.
    """

    def __init__(self, app: Any, hosts: Collection[str], token: str | None = None):
        self.app, self.token = app, token
        self.hosts = frozenset(_plain_address(host.lower()) for host in hosts)
        # Servers on two ports of a machine share cookies.
        self.cookie = f"cmac-{hashlib.sha256((token or '').encode()).hexdigest()[:8]}"

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_safely(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                for name, value in HEADERS.items():
                    headers[name] = value
                message["headers"] = headers.raw
            await send(message)

        request = Request(scope)
        try:
            await (self._refusal(request) or self.app)(scope, receive, send_safely)
        except CancelledError:  # the server ends, and what takes long is given up
            await _refuse(request, 503, "the server was ended")(scope, receive, send_safely)

    def _refusal(self, request: Request) -> Response | None:
        if not self._is_called(request):
            return _refuse(request, 421, "this server is not called by that name; see --name")
        if _is_from_elsewhere(request.method, request.headers):
            return _refuse(request, 403, "this was asked by a page of another site")
        if self.token is not None and not self._knows_token(request):
            return self._welcome(request)
        return None

    def _is_called(self, request: Request) -> bool:
        """Whether a request has a name of this server, or the address that it came to.

        No page is at an address but those of its server.
        """
        called = _name_in(request.headers.get("host", ""))
        came_to, _ = request.scope.get("server") or ("", None)
        return called in self.hosts or (_is_address(called) and called == _plain_address(came_to))

    def _knows_token(self, request: Request) -> bool:
        assert self.token is not None
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        cookie = request.cookies.get(self.cookie, "")
        return same_secret(bearer if scheme.lower() == "bearer" else cookie, self.token)

    def _welcome(self, request: Request) -> Response:
        """The cookie, for who brings the token in the address; it then leaves the address."""
        assert self.token is not None
        asked = request.query_params
        others = [(name, value) for name, value in asked.multi_items() if name != "token"]
        # Two slashes would begin the name of a server, and so would what browsers read as a slash.
        path = "/" + quote(request.scope["path"].lstrip("/"))
        place = f"{path}?{urlencode(others)}" if others else path
        if same_secret(asked.get("token", ""), self.token):
            response: Response = RedirectResponse(place, 303)
            response.set_cookie(self.cookie, self.token, httponly=True, samesite="strict")
        elif wants_json(request):
            response = _refuse(request, 401, "a token is needed, as Authorization: Bearer TOKEN")
        else:
            response = HTMLResponse(_STRANGER.format(again=html.escape(place)), 401)
        return response


def same_secret(given: str, secret: str) -> bool:
    """Whether two texts are the same, in a time that does not tell how much of them is."""
    return secrets.compare_digest(given.encode(), secret.encode())


def _refuse(request: Request, status: int, reason: str) -> Response:
    """Why, and nothing else: who is refused here is told nothing of the pages."""
    if wants_json(request):
        title = "This is not allowed" if status < 500 else "This is over"
        return JSONResponse({"title": title, "reason": reason}, status)
    return PlainTextResponse(f"{reason}\n", status)


def _name_in(host: str) -> str:
    """The name of a Host header, without its port; "" of what is none."""
    found = _HOST.fullmatch(host.lower())
    return _plain_address(found[1].strip("[]")) if found else ""


def _plain_address(name: str) -> str:
    """An address as browsers write it, and any other name as it is."""
    if not _is_address(name):
        return name
    address = ipaddress.ip_address(name)
    # One socket hears both kinds, and calls those of the old kind by the new one.
    return str(getattr(address, "ipv4_mapped", None) or address)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_from_elsewhere(method: str, headers: Headers) -> bool:
    """Whether another site asks: to change something at all, or to embed what is here.

    A link from elsewhere may be followed. Programs send none of these headers.
    """
    site = headers.get("sec-fetch-site")
    if method in ("GET", "HEAD"):
        inside = site in (None, "none", "same-origin")
        return not inside and headers.get("sec-fetch-mode") != "navigate"
    if site is not None:
        # What a browser says of itself; as the origin of a form it says "null", since pages here
        # ask it to tell nobody where it has been.
        return site != "same-origin"
    origin = headers.get("origin")
    return origin is not None and origin.lower().partition("://")[2] != headers["host"].lower()


class Rate:
    """So many in so many seconds, and no more.

    Parameters
    ----------
    most : int
    seconds : float

    Examples
    --------
    >>> from sklearn_cmac.serve._safety import Rate
    >>> rate = Rate(2, seconds=60)
    >>> rate.take(1), rate.take(1), rate.take(1)
    (True, True, False)
    """

    def __init__(self, most: int, seconds: float):
        self.most, self.seconds = most, seconds
        self._left, self._seen = float(most), time.monotonic()
        self._lock = threading.Lock()

    def take(self, n: int) -> bool:
        """Whether there may be n more now; they then count."""
        with self._lock:
            now = time.monotonic()
            gained = (now - self._seen) * self.most / self.seconds
            self._left, self._seen = min(self.most, self._left + gained), now
            if n > self._left:
                return False
            self._left -= n
            return True
