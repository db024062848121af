"""What programs may ask, as OpenAPI 3.1 describes it."""

from __future__ import annotations

from typing import Any

from sklearn_cmac import __version__
from sklearn_cmac.serve._links import (
    COMBINATIONS,
    MOST_MARKS,
    MOST_PAGES,
    MOST_PARTS,
    MOST_RESULTS,
    ORDERS,
)

_KEY = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_NUMBER = "[0-9]{1,6}([.][0-9]+)?"
_PART = {"type": "string", "pattern": f"^[0-9a-f]{{64}}(@{_NUMBER}(,{_NUMBER}){{3}})?$"}
_MANY = {"type": "array", "items": _KEY, "maxItems": MOST_MARKS}
_FILE = {"type": "string", "format": "binary"}

# Address and method: what it is for, what the address takes, and what a form takes.
_ADDRESSES: dict[tuple[str, str], tuple[str, dict[str, Any], dict[str, Any]]] = {
    ("/", "get"): (
        "Photos of the index, by page",
        {
            "page": {"type": "integer", "minimum": 1, "maximum": MOST_PAGES},
            "name": {"type": "string"},
            "order": {"enum": list(ORDERS)},
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
        {"photos": {"type": "array", "items": _FILE, "minItems": 1}},
    ),
    ("/photos/{key}/add", "post"): ("Add a photo that was lent", {}, {}),
    ("/photos/{key}/remove", "post"): ("Take a photo out of the index", {}, {}),
}


_REFUSAL = {
    "description": "Why there is no answer",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {"title": {"type": "string"}, "reason": {"type": "string"}},
                "required": ["title", "reason"],
            }
        }
    },
}


def describe_api() -> dict[str, Any]:
    """The description, as a document of OpenAPI."""
    paths: dict[str, Any] = {}
    for (address, method), (summary, asked, sent) in _ADDRESSES.items():
        kinds = ("image/jpeg", "image/svg+xml") if ".jpg" in address else ("application/json",)
        operation: dict[str, Any] = {
            "summary": summary,
            "parameters": [
                {"name": name, "in": "query", "required": name == "q", "schema": schema}
                for name, schema in asked.items()
            ],
            "responses": {
                "200": {"description": summary, "content": {kind: {} for kind in kinds}},
                "default": _REFUSAL,
            },
        }
        if method == "post":
            # The field is in each answer as JSON.
            form = {
                "type": "object",
                "properties": {"form": {"type": "string"}, **sent},
                "required": ["form", *sent],
            }
            operation["requestBody"] = {
                "required": True,
                "content": {"multipart/form-data": {"schema": form}},
            }
        item = paths.setdefault(address, {})
        item[method] = operation
        if "{key}" in address:
            item["parameters"] = [{"name": "key", "in": "path", "required": True, "schema": _KEY}]
    about = {
        "title": "Photos of an index",
        "version": __version__,
        "description": "Answers are JSON where Accept is application/json, and pages otherwise.",
    }
    return {"openapi": "3.1.0", "info": about, "paths": paths}
