"""Fitted pipelines in files that hold no code, and what tells two of them apart.

A file is one of safetensors: the fitted arrays as tensors, and in the metadata a manifest, which is
JSON, and a checksum. The manifest names classes, and has their parameters, their fitted state, and
the versions of the packages that computed it. A class counts only if it is on the list of those
that files may name, or if the reader is told to trust it. Nothing in a file is run.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Collection, Iterator, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sklearn_cmac._plain_values import (
    estimator_classes,
    from_plain,
    is_estimator,
    join,
    name_of_class,
    to_plain,
)
from sklearn_cmac._sealed_files import (
    PipelineFileError,
    read_sealed,
    read_sealed_text,
    write_sealed,
)
from sklearn_cmac.fingerprints import INDIFFERENT, NUMERICS, fingerprint

__all__ = [
    "PipelineFileError",
    "differences",
    "load_pipeline",
    "manifest_of",
    "read_manifest",
    "save_pipeline",
    "versions",
]

_FORMAT = 1
_FROZEN = "sklearn.frozen.FrozenEstimator"
_PACKAGES = ("sklearn-cmac", "numpy", "scipy", "scikit-learn", "torch", "torchvision", "timm")


def save_pipeline(
    estimator: Any,
    path: str | os.PathLike[str],
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write a fitted pipeline to a file, whole or not at all.

    Parameters
    ----------
    estimator : Pipeline, Retriever or another estimator
        Made of this package's steps, of scikit-learn's pipelines, clusterers and PCA, or of
        others whose parameters and fitted state are numbers, texts, arrays, containers, and
        estimators of these.
    path : path
        By custom, it ends in ``.safetensors``.
    provenance : dict, optional
        What JSON can hold on where the pipeline comes from, such as on which photos it was fitted.

    Raises
    ------
    PipelineFileError
        If a part is a function or another object that files cannot hold; the message says which.
    OSError
        If the file cannot be written; what was there before is then still there.

    Notes
    -----
    `store` and `memory` hold for one machine and are left out. So is what was set for fitting
    alone: metadata requests, and callbacks. A network is no part of the file: its name is, and
    the hash of its weights. Weights of a file of their own are found by its path; where it is
    missing, or is another file, describing photos ends with an error that says so.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn_cmac import RegionWhitener
    >>> from sklearn_cmac.persistence import load_pipeline, save_pipeline
    >>> whitener = RegionWhitener().fit([[3.0, 4.0], [4.0, 3.0], [5.0, 0.0]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "whitener.safetensors"
    ...     save_pipeline(whitener, file)
    ...     load_pipeline(file).n_components_
    2
    """
    path = Path(path)
    if path.suffix == ".skops":
        raise PipelineFileError(f"{path}: skops writes these; let the name end in .safetensors")
    manifest, arrays = _manifest_and_arrays(estimator, provenance)
    write_sealed(path, json.dumps(manifest), arrays)


def load_pipeline(path: str | os.PathLike[str], trust: Collection[str | type] = ()) -> Any:
    """Read what `save_pipeline` wrote. No code of the file is run, for it holds none.

    Parameters
    ----------
    path : path
        One that ends in ``.skops`` is read by skops (``pip install sklearn-cmac[skops]``), with
        this package's list of types and not the file's.
    trust : collection of str or class, default=()
        Estimators of other packages that the file may name, as "module.Class" or as classes.
        Only where the file names one of these is its module imported.

    Returns
    -------
    estimator
        With no `store` and no `memory`.

    Raises
    ------
    PipelineFileError
        If a byte of the file is damaged, if it was written by a later version or by something
        else, or names a class that is not trusted. The message names the file.
    OSError
        If it cannot be read.

    Notes
    -----
    The checksum tells damage. It does not tell who wrote the file.

    Examples
    --------
    >>> from sklearn_cmac.persistence import load_pipeline
    >>> load_pipeline("best.safetensors").transform(["photo.jpg"]).shape  # doctest: +SKIP
    (1, 1280)
    """
    path = Path(path)
    if path.suffix == ".skops":
        return _load_skops(path, trust)
    text, arrays = read_sealed(path)
    manifest = _checked(text, path)
    try:
        return from_plain(manifest.get("content"), arrays, trust)
    except PipelineFileError as error:
        raise PipelineFileError(f"{path}: {error}") from error


def read_manifest(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a file says about its pipeline. The whole file is checked, and nothing is made of it.

    Parameters
    ----------
    path : path

    Returns
    -------
    dict
        "format"; "fingerprint" of the pipeline; "versions" of what computed it; "provenance"; and
        "content", a tree of classes, parameters and fitted state, in which an array is its type,
        shape and SHA-256.

    Raises
    ------
    PipelineFileError, OSError
        As `load_pipeline` does.

    Examples
    --------
    >>> from sklearn_cmac.persistence import read_manifest
    >>> read_manifest("best.safetensors")["provenance"]["photos"]  # doctest: +SKIP
    279
    """
    path = Path(path)
    return _checked(read_sealed_text(path), path)


def manifest_of(estimator: Any, provenance: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The manifest that a file of this estimator would have, to be compared with others.

    Parameters
    ----------
    estimator, provenance
        As for `save_pipeline`.

    Returns
    -------
    dict
        As of `read_manifest`.

    Raises
    ------
    PipelineFileError
        If no file can hold the estimator.

    Examples
    --------
    >>> from sklearn_cmac import GridRegions
    >>> from sklearn_cmac.persistence import manifest_of
    >>> manifest_of(GridRegions())["content"]["class"]
    'sklearn_cmac.GridRegions'
    """
    return _manifest_and_arrays(estimator, provenance)[0]


def versions() -> dict[str, str]:
    """Versions of all that numbers come from: packages, Python, and this package's arithmetic.

    Returns
    -------
    dict from str to str
    """
    found = {
        "python": platform.python_version(),
        **{f"numerics of {part}": str(n) for part, n in NUMERICS.items()},
    }
    for package in _PACKAGES:
        found[package] = version(package)
    # Those that find local features, where they are installed.
    for module, package in (("skimage", "scikit-image"), ("kornia", "kornia")):
        if find_spec(module):
            found[package] = version(package)
    return found


def _manifest_and_arrays(
    estimator: Any, provenance: Mapping[str, Any] | None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    if not is_estimator(estimator):
        raise PipelineFileError(
            f"a file holds an estimator, such as a pipeline; got a {type(estimator).__name__}"
        )
    try:
        given = json.loads(json.dumps(dict(provenance or {}), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise PipelineFileError(f"provenance is what JSON can hold ({error})") from error
    content, arrays = to_plain(estimator)
    manifest = {
        "format": _FORMAT,
        "fingerprint": fingerprint(estimator),
        "versions": versions(),
        "provenance": given,
        "content": content,
    }
    return manifest, arrays


def _checked(text: str, path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(text)
        number = manifest["format"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise PipelineFileError(f"{path}: holds no pipeline") from error
    if number != _FORMAT:
        raise PipelineFileError(
            f"{path}: is of format {number}, and this version reads {_FORMAT}; update sklearn_cmac"
        )
    return manifest


def _load_skops(path: Path, trust: Collection[str | type]) -> Any:
    try:
        from skops import io
        from skops.io.exceptions import UntrustedTypesFoundException
    except ImportError as error:
        raise ImportError(f"{path}: skops reads it: pip install sklearn-cmac[skops]") from error
    known = (*estimator_classes().values(), type(path))  # skops asks for each by its module
    own = {f"{each.__module__}.{each.__qualname__}" for each in known}
    trusted = own.union(each if isinstance(each, str) else name_of_class(each) for each in trust)
    try:
        found = io.load(path, trusted=sorted(trusted))
        # Skops knows more kinds of values, and sets folders that hold for one machine.
        return from_plain(*to_plain(found), trust)
    except OSError:
        raise
    except UntrustedTypesFoundException as error:
        names = sorted(set(io.get_untrusted_types(file=path)) - trusted)
        raise PipelineFileError(
            f"{path}: asks for {', '.join(names)}; if you trust these and who wrote the file, pass "
            f"trust={tuple(names)!r}, or --trust for each"
        ) from error
    except PipelineFileError as error:
        raise PipelineFileError(f"{path}: {error}") from error
    except Exception as error:  # a damaged file raises whatever the damage leads to
        raise PipelineFileError(
            f"{path}: is damaged, or not written by skops ({type(error).__name__}: {error})"
        ) from error


# -- what tells two apart ---------------------------------------------------------------------


class _Leaf(NamedTuple):
    """A part of a pipeline: what it is told from others by, and how people are told of it."""

    key: str
    shown: str
    otherwise: str = "other values"


def differences(manifest_a: Mapping[str, Any], manifest_b: Mapping[str, Any]) -> list[str]:
    """Where two pipelines differ, a line for each place.

    Parameters
    ----------
    manifest_a, manifest_b : dict
        Of "here" and "there", by `read_manifest` or `manifest_of`.

    Returns
    -------
    list of str
        First what the pipelines consist of, if their fingerprints differ; steps are matched by
        name. How they are run, and where weights lie, is no difference. Then versions: other ones
        may compute other numbers, and need not.

    Examples
    --------
    >>> from sklearn_cmac import GridRegions
    >>> from sklearn_cmac.persistence import differences, manifest_of
    >>> differences(manifest_of(GridRegions(2)), manifest_of(GridRegions(3)))
    ['n_levels: 2 here, 3 there']
    """
    lines = []
    if manifest_a["fingerprint"] != manifest_b["fingerprint"]:
        parts = (dict(_leaves(each["content"], "")) for each in (manifest_a, manifest_b))
        lines = _lines(*parts) or ["other code, or other content of files that parameters name"]
    here, there = manifest_a["versions"], manifest_b["versions"]
    return lines + [
        f"{name}: {here.get(name, 'none')} / {there.get(name, 'none')}"
        for name in {**here, **there}
        if here.get(name) != there.get(name)
    ]


_ABSENT = _Leaf("", "nothing")


def _lines(here: Mapping[str, _Leaf], there: Mapping[str, _Leaf]) -> list[str]:
    lines: dict[str, str] = {}
    for path in {**here, **there}:
        a, b = here.get(path, _ABSENT), there.get(path, _ABSENT)
        # Of another class, or of what is not there, no parts are told.
        above = any(path.startswith(f"{told}." if told else "") for told in lines)
        if a.key != b.key and not above:
            same = a.shown == b.shown
            what = a.otherwise if same else f"{a.shown} here, {b.shown} there"
            lines[path] = f"{path}: {what}" if path else what
    return list(lines.values())


def _leaves(tree: Any, path: str) -> Iterator[tuple[str, _Leaf]]:
    """What a tree consists of, by paths, but for what results do not depend on."""
    kind = tree["is"] if isinstance(tree, dict) else "plain"
    of: Any = tree.get("of") if isinstance(tree, dict) else tree
    if kind == "estimator" and tree["class"] == _FROZEN:
        yield from _leaves(tree["params"]["estimator"], path)
    elif kind == "estimator":
        yield path, _Leaf(tree["class"], tree["class"].rpartition(".")[2])
        parts = {**tree["params"], **tree["state"]}
        digest = parts.pop("weights_sha256_", None)
        for name, part in parts.items():
            if name == "weights" and digest is not None:
                yield join(path, name), _Leaf(digest, name, "other content")
            elif name not in INDIFFERENT:
                at_once = isinstance(part, dict) and part["is"] == "steps"
                yield from _leaves(part, path if at_once else join(path, name))
    elif kind == "steps":
        for name, step in of:
            if step not in (None, "passthrough"):
                yield from _leaves(step, join(path, name))
    elif kind == "array":
        shown = f"{np.dtype(tree['dtype'])} array of shape {tuple(tree['shape'])}"
        yield path, _Leaf(shown + tree["sha256"], shown, "other numbers")
    elif isinstance(of, list) and any(isinstance(item, (dict, list)) for item in of):
        for i, item in enumerate(of):
            yield from _leaves(item, f"{path}[{i}]")
    else:
        known = kind in ("plain", "tuple", "float", "scalar", "slice", "range", "path", "dtype")
        shown = repr(from_plain(tree, {})) if known else f"a {kind}"
        key = json.dumps(of if kind == "tuple" else tree)
        yield path, _Leaf(key, shown if len(shown) < 60 else f"{shown[:60]}…")
