"""Values as plain data: a tree that JSON can hold, and arrays beside it. Reading runs no code.

A tree holds None, booleans, whole numbers, texts, finite floats and lists as themselves; all else
is a mapping whose entry "is" says what. Classes are looked up by name in a list of those that
files may name; one that is not there is refused, and nothing of it is imported.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import math
import pkgutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from sklearn_cmac._sealed_files import PipelineFileError

# Parameters that hold for one machine: a file neither keeps nor sets them.
LOCAL = frozenset({"memory", "store"})

# What scikit-learn notes on an estimator for fitting alone.
_NOTES = frozenset({"_metadata_request", "_skl_callbacks"})

_PUBLIC = ("sklearn_cmac", "sklearn_cmac.search")
_RECORDS = {
    "sklearn_cmac": (
        "ActivationMap", "LocalFeatures", "Photo", "Query", "RegionVectors", "Regions",
    ),
    "sklearn_cmac.maps": ("MapArrays",),
    "sklearn_cmac.store": ("StoredMap",),
}  # fmt: skip
# Those whose parameters and fitted state are plain values.
_SCIKIT_LEARN = {
    "sklearn.cluster": (
        "AffinityPropagation", "AgglomerativeClustering", "DBSCAN", "HDBSCAN", "KMeans",
        "MeanShift", "MiniBatchKMeans", "OPTICS", "SpectralClustering",
    ),
    "sklearn.decomposition": ("PCA", "IncrementalPCA", "TruncatedSVD"),
    "sklearn.frozen": ("FrozenEstimator",),
    "sklearn.mixture": ("BayesianGaussianMixture", "GaussianMixture"),
    "sklearn.pipeline": ("Pipeline",),
    "sklearn.preprocessing": ("Normalizer", "StandardScaler"),
}  # fmt: skip

_KINDS = "biufcSU"  # of numbers and texts, as NumPy calls them
_STORED_AS_THEY_ARE = frozenset(np.dtype(code) for code in "?bBhHiIlLqQefd")


@cache
def record_classes() -> dict[str, type]:
    """The records of this package, by name."""
    return _named(_RECORDS)


@cache
def estimator_classes() -> dict[str, type]:
    """The estimators that files may name unasked, by name: this package's, and plain ones."""
    public = {module: importlib.import_module(module).__all__ for module in _PUBLIC}
    found = {name: each for name, each in _named(public).items() if _is_estimator_class(each)}
    return {**found, **_named(_SCIKIT_LEARN)}


def _named(modules: Mapping[str, Sequence[str]]) -> dict[str, type]:
    return {
        f"{module}.{name}": getattr(importlib.import_module(module), name)
        for module, names in modules.items()
        for name in names
    }


def _is_estimator_class(item: object) -> bool:
    return isinstance(item, type) and hasattr(item, "get_params")


def is_estimator(value: object) -> bool:
    """Whether it is an estimator, and not the class of one."""
    return hasattr(value, "get_params") and not isinstance(value, type)


@cache
def _public_names() -> dict[type, str]:
    known = {**estimator_classes(), **record_classes()}
    return {each: name for name, each in known.items()}


def name_of_class(item: type) -> str:
    """The name by which files call a class."""
    return _public_names().get(item) or f"{item.__module__}.{item.__qualname__}"


def classes_of(value: Any) -> Iterator[type]:
    """The classes of an estimator and of those among its parameters, for who trusts them."""
    if is_estimator(value):
        yield type(value)
        value = list(value.get_params(deep=False).values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from classes_of(item)


def to_plain(
    value: Any, path: str = "", without: Collection[str] = LOCAL
) -> tuple[Any, dict[str, np.ndarray]]:
    """A value as a tree, and its arrays by the names that the tree gives them.

    Parameters
    ----------
    value : object
    path : str, default=""
        What errors, and names of arrays, begin with.
    without : collection of str, default=("memory", "store")
        Parameters of estimators that are left out.

    Returns
    -------
    tree : object
        For JSON.
    arrays : dict from str to ndarray
        Each of its numbers once.

    Raises
    ------
    PipelineFileError
        If a part is no plain value; the message says where it is.
    """
    writer = _Writer(without)
    try:
        return writer.tree(value, path), writer.arrays
    except RecursionError:
        raise PipelineFileError("what refers to itself cannot be kept in a file") from None


class _Writer:
    def __init__(self, without: Collection[str]):
        self.without = without
        self.arrays: dict[str, np.ndarray] = {}
        self._known: dict[tuple[Any, ...], str] = {}  # arrays by what they hold

    def tree(self, value: Any, path: str) -> Any:
        kind = type(value)
        if value is None or kind in (bool, int, str):
            return value
        if kind is float:
            return value if math.isfinite(value) else {"is": "float", "of": repr(value)}
        if kind is list:
            return self._each(value, path)
        if kind in (tuple, set, frozenset):
            items = self._each(value, path)
            # Sets have no order, and a file of one has.
            return {"is": kind.__name__, "of": items if kind is tuple else sorted(items, key=_text)}
        if kind is dict:
            pairs = value.items()
            of = [[self.tree(k, path), self.tree(v, f"{path}[{k!r}]")] for k, v in pairs]
            return {"is": "dict", "of": of}
        if kind in (slice, range):
            parts = [value.start, value.stop, value.step]
            return {"is": kind.__name__, "of": self._each(parts, path)}
        if kind is bytes:
            return {"is": "bytes", "of": value.hex()}
        if isinstance(value, Path):
            return {"is": "path", "of": str(value)}
        if isinstance(value, (np.generic, np.dtype)):
            return _tree_of_scalar(value, path)
        if kind in (np.ndarray, np.memmap):
            return self._array(value, path)
        if kind is np.random.RandomState:
            return self._random_state(value, path)
        if kind in record_classes().values():
            fields = {name: getattr(value, name) for name in _fields_of(kind)}
            return {"is": "record", "class": name_of_class(kind), "of": self._at(fields, path)}
        if is_estimator(value):
            return self._estimator(value, path)
        raise _refused(value, path)

    def _each(self, items: Any, path: str) -> list[Any]:
        return [self.tree(item, f"{path}[{i}]") for i, item in enumerate(items)]

    def _at(self, values: Mapping[str, Any], path: str) -> dict[str, Any]:
        return {name: self.tree(value, join(path, name)) for name, value in values.items()}

    def _estimator(self, value: Any, path: str) -> dict[str, Any]:
        given = value.get_params(deep=False)
        state = {k: v for k, v in vars(value).items() if k not in given and k not in _NOTES}
        params = {
            name: self._steps(each, path) if _are_steps(each) else self.tree(each, join(path, name))
            for name, each in given.items()
            if name not in self.without
        }
        name = name_of_class(type(value))
        return {"is": "estimator", "class": name, "params": params, "state": self._at(state, path)}

    def _steps(self, steps: Sequence[tuple[str, Any]], path: str) -> dict[str, Any]:
        """Named steps, whose paths are those of scikit-learn: without the word steps."""
        of = [[name, self.tree(step, join(path, name))] for name, step in steps]
        return {"is": "steps", "tuple": isinstance(steps, tuple), "of": of}

    def _random_state(self, value: np.random.RandomState, path: str) -> dict[str, Any]:
        state = value.get_state(legacy=False)
        if state["bit_generator"] != "MT19937":
            raise _refused(value, path)
        return {"is": "RandomState", "of": self.tree(state, path)}

    def _array(self, value: np.ndarray, path: str) -> dict[str, Any]:
        value = np.asarray(value)
        shape = list(value.shape)
        if value.dtype == object:
            items = value.ravel().tolist()
            if not all(type(item) is str for item in items):
                raise PipelineFileError(
                    f"{path}: an array of Python objects cannot be kept, but for one of texts"
                )
            return {"is": "texts", "shape": shape, "of": items}
        if value.dtype.kind not in _KINDS:
            raise PipelineFileError(f"{path}: an array of {value.dtype} cannot be kept")
        # Products of matrices round by the order of their numbers in memory, so it is kept.
        by_column = value.flags.fnc
        value = np.require(value, requirements="C")
        digest = hashlib.sha256(value.data).hexdigest()
        tree = {"is": "array", "dtype": value.dtype.str, "shape": shape, "sha256": digest}
        known = tuple(map(str, tree.values()))
        if known not in self._known:
            self._known[known] = self._add(value, path)
        return {**tree, "of": self._known[known], "by column": by_column}

    def _add(self, value: np.ndarray, path: str) -> str:
        name = path = path.encode("ascii", "backslashreplace").decode()
        while name in self.arrays:
            name = f"{path} {len(self.arrays)}"
        if value.dtype not in _STORED_AS_THEY_ARE:
            value = np.frombuffer(value.tobytes(), np.uint8)
        self.arrays[name] = value
        return name


def _tree_of_scalar(value: np.generic | np.dtype, path: str) -> dict[str, Any]:
    dtype = value if isinstance(value, np.dtype) else value.dtype
    if dtype.kind not in _KINDS:
        raise _refused(value, path)
    if isinstance(value, np.dtype):
        return {"is": "dtype", "of": dtype.str}
    return {"is": "scalar", "dtype": dtype.str, "of": value.tobytes().hex()}


def _are_steps(value: Any) -> bool:
    """Whether it is what scikit-learn calls steps: names with estimators."""
    return (
        type(value) in (list, tuple)
        and all(type(entry) is tuple and len(entry) == 2 for entry in value)
        and all(type(name) is str and _is_step(step) for name, step in value)
        and any(is_estimator(step) for _, step in value)
    )


def _is_step(value: Any) -> bool:
    return value is None or is_estimator(value) or (type(value) is str and value == "passthrough")


def _fields_of(record: type) -> list[str]:
    if dataclasses.is_dataclass(record):
        return [field.name for field in dataclasses.fields(record) if field.init]
    return list(getattr(record, "_fields", ("indices", "indptr", "shape", "kinds")))  # Regions


def join(path: str, name: str) -> str:
    """The path of a part."""
    return f"{path}.{name}" if path else name


def _text(tree: Any) -> str:
    return json.dumps(tree, sort_keys=True)


def _refused(value: Any, path: str) -> PipelineFileError:
    if callable(value):
        what = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', value)}"
        return PipelineFileError(
            f"{path}: {what} cannot be kept, since files hold no code; give values in its place, "
            "or an estimator that computes them"
        )
    kind = type(value)
    return PipelineFileError(
        f"{path}: a {kind.__module__}.{kind.__qualname__} cannot be kept; files hold numbers, "
        "texts, arrays, containers and estimators of these"
    )


def from_plain(
    tree: Any,
    arrays: Mapping[str, np.ndarray],
    trust: Collection[str | type] = (),
    without: Collection[str] = LOCAL,
) -> Any:
    """The value of a tree and its arrays.

    Parameters
    ----------
    tree, arrays
        As `to_plain` returns them. Arrays become part of the value.
    trust : collection of str or class, default=()
        Estimators that may be named besides this package's: "module.Class", or classes.
    without : collection of str, default=("memory", "store")
        Parameters that are not set, whatever the tree says.

    Returns
    -------
    object

    Raises
    ------
    PipelineFileError
        If it names a class that is not trusted, or is not as `to_plain` makes it.
    """
    try:
        return _Reader(arrays, trust, without).value(tree)
    except PipelineFileError:
        raise
    except Exception as error:  # what was made by hand may be anything
        raise PipelineFileError(
            f"holds something that cannot be read ({type(error).__name__}: {error}); was it "
            "written by another version?"
        ) from error


class _Reader:
    def __init__(
        self,
        arrays: Mapping[str, np.ndarray],
        trust: Collection[str | type],
        without: Collection[str],
    ):
        self.arrays, self.without = arrays, without
        self.trusted = {e if isinstance(e, str) else name_of_class(e): e for e in trust}

    def value(self, tree: Any) -> Any:
        if isinstance(tree, list):
            return [self.value(item) for item in tree]
        if not isinstance(tree, dict):
            return tree
        kind = tree["is"]
        of: Any = tree.get("of")
        if kind in _OF_ITEMS:
            # What is no list here may be a range, which is longer than any file.
            if kind in ("tuple", "set", "frozenset") and not isinstance(of, list):
                raise PipelineFileError(f"holds a {kind} of what is no list")
            return _OF_ITEMS[kind](self.value(of))
        if kind in _OF_PARTS:
            return _OF_PARTS[kind](*self.value(of))
        if kind == "dict":
            return {self.value(key): self.value(each) for key, each in of}
        if kind == "steps":
            steps = [(name, self.value(step)) for name, step in of]
            return tuple(steps) if tree["tuple"] else steps
        if kind == "scalar":
            return np.frombuffer(bytes.fromhex(of), _plain_dtype(tree["dtype"]))[0]
        if kind == "texts":
            return np.array(of, dtype=object).reshape(tree["shape"])
        if kind == "array":
            return self._array(tree)
        if kind == "RandomState":
            generator = np.random.RandomState()
            generator.set_state(self.value(of))
            return generator
        if kind == "record":
            return self._record(tree["class"], of)
        if kind == "estimator":
            return self._estimator(tree["class"], tree["params"], tree["state"])
        raise PipelineFileError(f"holds a {kind!r}, which is unknown here; update sklearn_cmac")

    def _array(self, tree: Mapping[str, Any]) -> np.ndarray:
        stored, dtype = self.arrays[tree["of"]], _plain_dtype(tree["dtype"])
        values = stored if stored.dtype == dtype else stored.view(dtype)
        values = values.reshape(tree["shape"])
        return np.asfortranarray(values) if tree["by column"] else values

    def _record(self, name: str, fields: Mapping[str, Any]) -> Any:
        if name not in record_classes():
            raise PipelineFileError(f"names {name} as a record, which is none of this package's")
        return record_classes()[name](**{k: self.value(each) for k, each in fields.items()})

    def _estimator(self, name: str, params: Mapping[str, Any], state: Mapping[str, Any]) -> Any:
        given = {k: self.value(v) for k, v in params.items() if k not in self.without}
        found = self._class(name)(**given)
        own = {*found.get_params(deep=False), *self.without}
        if not own.isdisjoint(state):
            raise PipelineFileError(f"sets parameters of {name} as if it had been fitted to them")
        vars(found).update({k: self.value(each) for k, each in state.items()})
        return found

    def _class(self, name: str) -> type:
        if name in estimator_classes():
            return estimator_classes()[name]
        if name not in self.trusted:
            raise PipelineFileError(
                f"asks for {name}, which is no estimator of this package; if you trust that class "
                f"and who wrote the file, pass trust=({name!r},), or --trust {name}"
            )
        trusted = self.trusted[name]
        found = pkgutil.resolve_name(trusted) if isinstance(trusted, str) else trusted
        if not _is_estimator_class(found):
            raise PipelineFileError(f"asks for {name}, which is no class of an estimator")
        return found


# Those made of one sequence, and those made of parts.
_OF_ITEMS: dict[str, Callable[[Any], Any]] = {
    "float": float, "tuple": tuple, "set": set, "frozenset": frozenset,
    "bytes": bytes.fromhex, "path": Path, "dtype": lambda text: _plain_dtype(text),
}  # fmt: skip
_OF_PARTS: dict[str, Callable[..., Any]] = {"slice": slice, "range": range}


def _plain_dtype(text: str) -> np.dtype:
    dtype = np.dtype(text)
    if dtype.kind not in _KINDS:
        raise PipelineFileError(f"holds an array of {dtype}, which are neither numbers nor texts")
    return dtype
