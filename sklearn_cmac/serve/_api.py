"""What programs may ask, as OpenAPI 3.1 describes it."""

from __future__ import annotations

from typing import Any

from sklearn_cmac import __version__
from sklearn_cmac.serve._links import COMBINATIONS, MOST_PARTS, MOST_RESULTS

_KEY = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_PART = {"type": "string", "pattern": "^[0-9a-f]{64}(@[0-9.]+,[0-9.]+,[0-9.]+,[0-9.]+)?$"}
_MANY = {"type": "array", "items": _KEY}
_FILE = {"type": "string", "format": "binary"}

# Address and method: what it is for, what the address takes, and what a form takes.
_ADDRESSES: dict[tuple[str, str], tuple[str, dict[str, Any], dict[str, Any]]] = {
    ("/", "get"): (
        "Photos of the index, by page",
        {
            "page": {"type": "integer", "minimum": 1},
            "name": {"type": "string"},
            "order": {"enum": ["first", "newest"]},
        },
        {},
    ),
    ("/photos/{key}", "get"): ("A photo", {}, {}),
    ("/photos/{key}/thumbnail.jpg", "get"): ("A small picture of it", {}, {}),
    ("/photos/{key}/view.jpg", "get"): ("A large picture of it", {}, {}),
    ("/search", "get"): (
        "Photos that show the same object",
        {
            "q": {"type": "array", "items": _PART, "minItems": 1, "maxItems": MOST_PARTS},
            "right": _MANY,
            "wrong": _MANY,
            "combine": {"enum": list(COMBINATIONS)},
            "n": {"type": "integer", "minimum": 1, "maximum": MOST_RESULTS},
        },
        {},
    ),
    ("/groups", "get"): ("Groups of photos of one object, as far as they were found", {}, {}),
    ("/groups", "post"): ("Find them", {}, {}),
    ("/groups/{key}", "get"): ("The group that a photo is in", {}, {}),
    ("/index", "get"): ("What the index holds, and how far adding is", {}, {}),
    ("/photos", "post"): ("Lend a photo, to search with it", {}, {"photo": _FILE}),
    ("/index/photos", "post"): (
        "Add photos",
        {},
        {"photos": {"type": "array", "items": _FILE}},
    ),
    ("/photos/{key}/add", "post"): ("Add a photo that was lent", {}, {}),
    ("/photos/{key}/remove", "post"): ("Take a photo out of the index", {}, {}),
}


def describe_api() -> dict[str, Any]:
    """The description, as a document of OpenAPI."""
    paths: dict[str, Any] = {}
    for (address, method), (summary, asked, sent) in _ADDRESSES.items():
        operation: dict[str, Any] = {
            "summary": summary,
            "parameters": [
                {"name": name, "in": "query", "schema": schema} for name, schema in asked.items()
            ],
            "responses": {"200": {"description": summary}},
        }
        if method == "post":
            # The field is in each answer as JSON.
            form = {"type": "object", "properties": {"form": {"type": "string"}, **sent}}
            operation["requestBody"] = {"content": {"multipart/form-data": {"schema": form}}}
        item = paths.setdefault(address, {})
        item[method] = operation
        if "{key}" in address:
            item["parameters"] = [{"name": "key", "in": "path", "required": True, "schema": _KEY}]
    about = {"title": "Photos of an index", "version": __version__}
    return {"openapi": "3.1.0", "info": about, "paths": paths}
