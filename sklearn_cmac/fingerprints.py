"""What a result depends on: content, parameters, fitted arrays, weights and code, as one hash.

Whatever is kept bears the fingerprint of what it was computed from, and is used for that only.
Names, paths and what `repr` prints are no part of it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import os
import pickle
import sys
from collections.abc import Mapping, Sequence, Set
from functools import partial
from numbers import Number
from operator import itemgetter
from typing import Any

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from sklearn_cmac.photos import Photo, PhotoSource, Query, as_photo, digest_source, read_source

# Versions of the arithmetic of this package: of what is computed from pixels, which takes most of
# the time, and of all that is computed from that. One is raised by whoever changes what a step
# computes: tests/test_fingerprints.py holds values of each step, and fails until it is.
NUMERICS = {"maps": 2, "vectors": 2}

# Parameters that decide how something is computed, not what.
INDIFFERENT = frozenset({"max_pixels", "memory", "n_jobs", "store", "verbose"})

# What scikit-learn notes on an estimator beside its fitted state.
_NOTES = frozenset({"_sklearn_output_config", "_metadata_request", "_callbacks"})


def fingerprint(*values: Any, numerics: Sequence[str] = tuple(NUMERICS)) -> str:
    """A hash of values, and of all that they consist of.

    Parameters
    ----------
    *values
        Numbers, texts, arrays (hashed whole), containers, dataclasses, functions, classes and
        estimators. Of an estimator, that is its class, its parameters and its fitted state; one
        with a method ``__fingerprint__`` says itself what it depends on. A path to a file stands
        for the file's content.
    numerics : sequence of str, default=("maps", "vectors")
        The parts of the arithmetic that the result depends on.

    Returns
    -------
    str
        64 hexadecimal digits, the same in each process and on each machine.

    Raises
    ------
    TypeError
        If a value can be told from others by nothing, or refers to itself.

    Examples
    --------
    >>> from sklearn_cmac import GridRegions
    >>> from sklearn_cmac.fingerprints import fingerprint
    >>> fingerprint(GridRegions(2)) == fingerprint(GridRegions(n_levels=2))
    True
    >>> fingerprint(GridRegions(2)) == fingerprint(GridRegions(3))
    False
    """
    try:
        return _hash_of(({part: NUMERICS[part] for part in numerics}, values)).hex()
    except RecursionError:
        raise TypeError("a result cannot depend on what refers to itself") from None


def fingerprint_photo(item: Photo | Query | PhotoSource, annotated: bool = False) -> str:
    """A hash of what a photo shows, or of what a query asks for.

    Parameters
    ----------
    item : Photo, Query, or anything that `Photo` takes
        A file is read.
    annotated : bool, default=False
        Whether a photo's name and box count too, for steps that read them (`BoxRegions`).

    Returns
    -------
    str
        64 hexadecimal digits: of a whole photo the SHA-256 of its content, so copies have one.

    Raises
    ------
    PhotoError
        If the photo cannot be read.
    """
    asked = as_photo(item)
    photo = asked.photo if isinstance(asked, Query) else asked
    content = digest_source(read_source(photo))
    box = asked.box if isinstance(asked, Query) else None
    return identify(content, photo, box, annotated)


def identify(content: str, photo: Photo, box: Any, annotated: bool) -> str:
    """The same, of a photo whose content has been hashed, and the box of a query."""
    if box is None and not annotated:
        return content
    return fingerprint(content, box, (photo.name, photo.box) if annotated else ())


def _hash_of(value: Any) -> bytes:
    digest = hashlib.sha256()
    _feed(digest, value)
    return digest.digest()


def _feed(digest: Any, value: Any) -> None:
    """Add a value. Each begins with its kind and length, so that no two are spelt alike."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, Number)):
        _add(digest, type(value).__name__, repr(value).encode())
    elif isinstance(value, str):
        _add(digest, "str", value.encode("utf-8", "surrogatepass"))
    elif isinstance(value, (bytes, bytearray)):
        _add(digest, "bytes", bytes(value))
    elif isinstance(value, np.dtype):
        _add(digest, "dtype", value.str.encode())
    elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
        _add(digest, f"array {value.dtype.str} {value.shape}", np.ascontiguousarray(value).data)
    elif isinstance(value, (list, tuple, np.ndarray)):
        _add(digest, "sequence", str(len(value)).encode())
        for item in value:
            _feed(digest, item)
    elif isinstance(value, (Mapping, Set)):
        pairs = value.items() if isinstance(value, Mapping) else ((item, None) for item in value)
        _add(digest, "mapping", str(len(value)).encode())
        for key, item in sorted(((_hash_of(key), item) for key, item in pairs), key=itemgetter(0)):
            _add(digest, "key", key)
            _feed(digest, item)
    else:
        _feed_object(digest, value)


def _feed_object(digest: Any, value: Any) -> None:
    if isinstance(value, type):
        _feed(digest, ("class", *_code_of(value)))
    elif hasattr(value, "__fingerprint__"):
        _feed(digest, (type(value), value.__fingerprint__()))
    elif isinstance(value, FrozenEstimator):
        _feed(digest, value.estimator)
    elif isinstance(value, Pipeline):
        _feed(digest, [step for _, step in value.steps if step not in (None, "passthrough")])
    elif hasattr(value, "get_params"):
        _feed(digest, (type(value), _state_of(value)))
    elif isinstance(value, np.random.RandomState):
        _feed(digest, ("RandomState", value.get_state()))
    elif isinstance(value, os.PathLike):
        _feed(digest, ("path", _content_of(value)))
    elif dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        _feed(digest, (type(value), {name: getattr(value, name) for name in names}))
    elif isinstance(value, partial):
        _feed(digest, ("partial", value.func, value.args, value.keywords))
    elif inspect.isroutine(value):
        _feed(digest, ("function", *_function_parts(value)))
    else:
        _feed(digest, (type(value), _pickled(value)))


def _add(digest: Any, kind: str, content: Any) -> None:
    digest.update(f"{kind}:{memoryview(content).nbytes}:".encode())
    digest.update(content)


def _state_of(estimator: Any) -> dict[str, Any]:
    """Parameters and fitted state of an estimator."""
    state = {**vars(estimator), **estimator.get_params(deep=False)}
    return {name: value for name, value in state.items() if name not in INDIFFERENT | _NOTES}


def _code_of(cls: type) -> tuple[Any, ...]:
    """What a class computes: here a number tells, elsewhere its package's version or its text."""
    name = f"{cls.__module__}.{cls.__qualname__}"
    package = cls.__module__.partition(".")[0]
    if package in (__package__, "builtins"):
        return (name,)
    version = getattr(sys.modules.get(package), "__version__", None)
    return (name, version or _text_of(cls))


def _text_of(item: Any) -> str | None:
    try:
        return inspect.getsource(item)
    except (OSError, TypeError):  # typed in by hand, or not Python
        return None


def _function_parts(function: Any) -> tuple[Any, ...]:
    code = getattr(function, "__code__", None)
    own = getattr(function, "__self__", None)
    own = None if inspect.ismodule(own) else own
    name = f"{function.__module__}.{function.__qualname__}"
    if code is None:
        return (name, own)
    closure = [cell.cell_contents for cell in function.__closure__ or ()]
    return (name, own, *_code_parts(code), function.__defaults__, function.__kwdefaults__, closure)


def _code_parts(code: Any) -> tuple[Any, ...]:
    constants = [_code_parts(c) if inspect.iscode(c) else c for c in code.co_consts]
    return (code.co_code, code.co_names, constants)


def _content_of(path: os.PathLike[str]) -> str:
    if not os.path.isfile(path):
        return os.fspath(path)
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def _pickled(value: Any) -> bytes:
    try:
        return pickle.dumps(value, protocol=5)
    except Exception as error:
        raise TypeError(
            f"a result that depends on {type(value).__module__}.{type(value).__qualname__} cannot "
            f"be kept, since it cannot be told from others ({error}); give it a method "
            "__fingerprint__ that returns what it computes from"
        ) from error
