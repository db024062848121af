"""What a page says, as HTML for people and as JSON for programs: the same facts."""

from __future__ import annotations

import json
import math
import secrets
import warnings
from dataclasses import asdict, is_dataclass
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, pass_context
from jinja2.runtime import Context
from markupsafe import Markup
from starlette.datastructures import URL
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from sklearn_cmac._printing import printable
from sklearn_cmac.collection import DamageError, InUseError
from sklearn_cmac.serve._links import Part, wants_json
from sklearn_cmac.serve._safety import same_secret
from sklearn_cmac.store import FullDiskError

_TITLES = {
    400: "This cannot be asked",
    403: "This is not allowed",
    404: "This is not here",
    405: "This cannot be asked",
    408: "This took too long",
    413: "This is too large",
    415: "This cannot be asked",
    429: "This is too fast",
    503: "This is busy",
    507: "The disk is full",
}


class Answers:
    """Responses of all pages.

    Parameters
    ----------
    common : dict
        What every page can say.
    """

    def __init__(self, common: dict[str, Any]):
        # Forms bring it back, which pages of other sites cannot know.
        self.secret = secrets.token_urlsafe(16)
        self._templates = Environment(
            loader=PackageLoader("sklearn_cmac.serve"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=_in_one_line,
        )
        self._templates.filters.update(address=_within, in_view=_in_view)
        self._templates.globals.update(common, secret=self.secret, query=query)

    def page(
        self, request: Request, name: str, found: dict[str, Any], status: int = 200
    ) -> Response:
        """What was found, in the form that is asked for."""
        if wants_json(request):
            return _Json({**found, "form": self.secret}, status)
        template = self._templates.get_template(f"{name}.html.j2")
        # A page may change by the next time that it is asked for.
        headers = {"Cache-Control": "no-store"}
        table = request.query_params.get("view") == "table"
        text = template.render(**found, url=request.url, method=request.method, table=table)
        return HTMLResponse(text, status, headers)

    def moved(self, request: Request, place: str) -> Response:
        """Where to look, once something has been changed."""
        if wants_json(request):
            return _Json({"see": place})
        return RedirectResponse(place, 303)

    def refusal(self, request: Request, error: Exception) -> Response:
        """Why there is no answer: in a sentence, but for errors of the program itself."""
        status, reason = _reason(error)
        title = _TITLES.get(status, "This went wrong")
        told = {"title": title, "reason": reason, "status": status}
        return self.page(request, "refusal", told, status)

    def check_form(self, fields: dict[str, str]) -> None:
        """That a form is of a page of this server.

        Raises
        ------
        HTTPException
        """
        if not same_secret(fields.get("form", ""), self.secret):
            raise HTTPException(
                403,
                "the form is not of a page of this server, or of before it was started; "
                "open the page again",
            )


class _Json(Response):
    media_type = "application/json"

    def __init__(self, content: Any, status: int = 200):
        text = json.dumps(_plain(content), ensure_ascii=True, allow_nan=False)
        super().__init__(text, status, {"Cache-Control": "no-store"})


def _plain(value: Any) -> Any:
    """What JSON can say: numbers that are none are null, and what is drawn only is left out."""
    if isinstance(value, dict):
        return {name: _plain(v) for name, v in value.items() if not isinstance(v, Markup)}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, Part):
        return {"photo": value.photo, "box": _plain(value.box)}
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _reason(error: Exception) -> tuple[int, str]:
    if isinstance(error, HTTPException):
        return error.status_code, error.detail
    if isinstance(error, InUseError):
        return 503, str(error)
    if isinstance(error, DamageError):
        return 500, str(error)
    if isinstance(error, ValueError):  # PhotoError too
        return 400, str(error)
    warnings.warn(f"{type(error).__name__}: {error}", stacklevel=2)
    if isinstance(error, FullDiskError):
        return 507, "the disk of this server has no room for it"
    if isinstance(error, OSError):
        return 500, f"a file of this server cannot be read or written ({error.strerror})"
    return 500, f"an error of the server itself ({type(error).__name__})"


def query(**asked: Any) -> str:
    """The end of an address; what is empty or None is left out."""
    pairs = [
        (name, str(v))
        for name, value in asked.items()
        for v in (value if isinstance(value, (list, tuple)) else [value])
        if v not in (None, "", False)
    ]
    return f"?{urlencode(pairs, safe='@,')}" if pairs else ""


def _within(url: URL) -> str:
    """An address of this server, without its name."""
    return f"{url.path}?{url.query}" if url.query else url.path


@pass_context
def _in_view(context: Context, address: str) -> str:
    """An address that is shown as the page with the link is."""
    if not context["table"]:
        return address
    return f"{address}{'&' if '?' in address else '?'}view=table"


def _in_one_line(value: Any) -> Any:
    return value if isinstance(value, Markup) else printable(value)
