"""Engines by address: a folder, or a scheme that names who keeps the vectors."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from importlib import import_module
from typing import Any

from sklearn_cmac.collection._engine import Engine, Stamp

# Of each scheme, the module and the class in it, which is imported when it is asked for. One that
# is written elsewhere is registered here. A class is made of an address, a stamp or None, and
# the options of `open_store`.
STORES: dict[str, tuple[str, str]] = {
    "": ("sklearn_cmac.collection._flat", "FlatEngine"),
    "qdrant": ("sklearn_cmac.collection._qdrant_edge", "QdrantEdgeEngine"),
    "qdrant+http": ("sklearn_cmac.collection._qdrant", "QdrantEngine"),
    "qdrant+https": ("sklearn_cmac.collection._qdrant", "QdrantEngine"),
    "postgresql": ("sklearn_cmac.collection._pgvector", "PgVectorEngine"),
    "postgres": ("sklearn_cmac.collection._pgvector", "PgVectorEngine"),
}


def open_store(
    uri: str | os.PathLike[str],
    stamp: Stamp | None = None,
    *,
    read_only: bool = False,
    timeout: float = 5.0,
) -> Engine:
    """Open the engine at an address, or make it.

    Parameters
    ----------
    uri : str or path
        A folder, ``qdrant:FOLDER``, ``qdrant+http://HOST:PORT/NAME`` or
        ``postgresql://USER@HOST/DATABASE``.
    stamp : Stamp, optional
        What its vectors are of. Where nothing is kept yet, an engine of it is made; an engine of
        another is refused. Default: what is kept there is opened.
    read_only : bool, default=False
        Whether to refuse to write.
    timeout : float, default=5.0
        Seconds to wait for another who writes.

    Returns
    -------
    Engine

    Raises
    ------
    FileNotFoundError
        If nothing is kept there, and there is no `stamp`.
    ValueError
        If the scheme is not known, what is there is damaged, or bears another stamp; both are
        named.
    ImportError
        If the engine needs a package that is not installed.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sklearn_cmac.collection import Stamp, open_store
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = open_store(f"{folder}/vectors", Stamp("a pipeline", dimension=2))
    ...     store.upsert(["church"], np.array([[0.6, 0.8]]))
    ...     store.close()
    ...     again = open_store(f"{folder}/vectors")
    ...     "church" in again
    True
    """
    return find_store(uri)(uri, stamp, read_only=read_only, timeout=timeout)


def copy_vectors(source: Engine, target: Engine, batch_size: int = 1024) -> int:
    """Copy all ids with their vectors from one engine into another.

    Parameters
    ----------
    source, target : Engine
        Of one stamp.
    batch_size : int, default=1024

    Returns
    -------
    int
        How many there were.

    Raises
    ------
    ValueError
        If the target holds vectors of another stamp.
    """
    target.stamp.check(source.stamp, "the engine that is copied to")
    n = 0
    for ids, descriptors in source.scan(batch_size):
        regions = source.get_regions(ids) if source.stamp.regions else None
        target.upsert(ids, descriptors, regions)
        n += len(ids)
    return n


def is_address(text: str) -> bool:
    """Whether a text names an engine by its scheme."""
    return _scheme_of(text) != ""


def find_store(uri: str | os.PathLike[str]) -> Callable[..., Any]:
    """Who opens the engine at an address, as `open_store` does; nothing is opened yet."""
    scheme = _scheme_of(uri)
    if scheme not in STORES:
        known = ", ".join(f"{name}:" for name in STORES if name)
        raise ValueError(f"{uri}: the scheme {scheme!r} is none of {known} and a folder")
    if scheme == "qdrant" and os.fspath(uri).startswith("qdrant://"):
        raise ValueError(
            f"{uri}: qdrant: is a folder on this machine; a server is qdrant+http://HOST:PORT/NAME"
        )
    module, name = STORES[scheme]
    return getattr(import_module(module), name)


def seen_from(uri: str, folder: str | os.PathLike[str]) -> str:
    """The address with its folder, if it names one, relative to another folder."""
    return _with_folder(uri, lambda path: os.path.relpath(path, folder))


def seen_within(uri: str, folder: str | os.PathLike[str]) -> str:
    """The address whose folder was relative to another."""
    return _with_folder(uri, lambda path: os.path.normpath(os.path.join(folder, path)))


def _with_folder(uri: str, change: Callable[[str], str]) -> str:
    scheme = _scheme_of(uri)
    head, rest = (f"{scheme}:", uri[len(scheme) + 1 :]) if scheme else ("", uri)
    if rest.startswith("//"):  # a server
        return uri
    path, mark, options = rest.partition("?") if scheme else (rest, "", "")
    return f"{head}{change(path)}{mark}{options}"


def _scheme_of(uri: str | os.PathLike[str]) -> str:
    """The scheme of an address, "" of a folder; a drive's letter is no scheme."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", uri) if isinstance(uri, str) else None
    return found[1].lower() if found else ""
