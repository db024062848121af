"""Who may ask what: hosts, the token, requests from other pages, and the headers of each answer."""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import threading
import time
from collections.abc import Collection
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

Scope = Any
LOOPBACK = ("127.0.0.1", "localhost", "::1")

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'self'; "
    "script-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

_STRANGER = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>A token is needed</title></head>
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
        self.hosts = frozenset(host.lower() for host in hosts)
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

        refused = self._refusal(scope, Headers(scope=scope))
        await (refused or self.app)(scope, receive, send_safely)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        if _name_in(headers.get("host", "")) not in self.hosts:
            return _plain("this server is not called by that name; see --name", 421)
        if _is_from_elsewhere(scope["method"], headers):
            return _plain("this was asked by a page of another site", 403)
        if self.token is not None and not self._knows_token(headers):
            return self._welcome(scope)
        return None

    def _knows_token(self, headers: Headers) -> bool:
        assert self.token is not None
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            cookie = None
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        given = bearer if scheme.lower() == "bearer" else cookie.value if cookie else ""
        return same_secret(given, self.token)

    def _welcome(self, scope: Scope) -> Response:
        """The cookie, for who brings the token in the address; it then leaves the address."""
        assert self.token is not None
        asked = QueryParams(scope["query_string"])
        others = [(name, value) for name, value in asked.multi_items() if name != "token"]
        path = "/" + scope["path"].lstrip("/")  # two slashes would begin the name of a server
        place = f"{path}?{urlencode(others)}" if others else path
        if not same_secret(asked.get("token", ""), self.token):
            again = place.replace("&", "&amp;").replace('"', "%22").replace("<", "%3C")
            return HTMLResponse(_STRANGER.format(again=again), 401)
        response = RedirectResponse(place, 303)
        response.set_cookie(self.cookie, self.token, httponly=True, samesite="strict")
        return response


def same_secret(given: str, secret: str) -> bool:
    """Whether two texts are the same, in a time that does not tell how much of them is."""
    return secrets.compare_digest(given.encode(), secret.encode())


def _plain(reason: str, status: int) -> Response:
    return PlainTextResponse(f"{reason}\n", status)


def _name_in(host: str) -> str:
    """The name of a Host header, without its port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


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
    return origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower()


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
