"""Reads a file that torch saved as plain data: nothing in it can run code.

Published checkpoints hold NumPy arrays, and fitted PCAs of scikit-learn, beside tensors, under
module names of many years. Here each of these names is a stand-in that only keeps data.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

_lock = threading.Lock()


class WeightsError(ValueError):
    """Weights that are missing, damaged, or made for another network."""


class _PlainDtype:
    """Stands for numpy.dtype: its letter code and byte order."""

    def __init__(self, code: object, *_: object):
        self.code, self.order = str(code), "="

    def __setstate__(self, state: Sequence[Any]) -> None:
        self.order = state[1]

    def numpy(self) -> np.dtype:
        dtype = np.dtype(self.code)
        if dtype.kind not in "biuf":
            raise ValueError(f"holds an array of {self.code!r}, which are no numbers")
        return np.dtype(self.order + dtype.str[1:]) if self.order in "<>" else dtype


class _PlainArray:
    """Stands for numpy.ndarray."""

    def __init__(self) -> None:
        self.values = np.empty(0)

    def __setstate__(self, state: Sequence[Any]) -> None:
        _, shape, dtype, by_column, content = state
        values = np.frombuffer(content, dtype.numpy())
        self.values = values.reshape(shape[::-1]).T if by_column else values.reshape(shape)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape


class _PlainEstimator:
    """Stands for a fitted estimator: its parameters and fitted arrays."""


def _reconstruct(kind: object, *_: object) -> _PlainArray:
    if not (isinstance(kind, type) and issubclass(kind, _PlainArray)):
        raise ValueError("holds something else where an array should be")
    return kind()


def _scalar(dtype: _PlainDtype, content: bytes) -> object:
    return np.frombuffer(content, dtype.numpy())[0].item()


def _named(stand_in: Callable[..., object], path: str) -> Callable[..., object]:
    """A copy of the stand-in that bears the name under which files ask for it."""
    module, _, name = path.rpartition(".")
    copy: Any
    if isinstance(stand_in, type):
        copy = type(name, (stand_in,), {})
    else:

        def copy(*args: object) -> object:
            return stand_in(*args)

    copy.__module__, copy.__qualname__, copy.__name__ = module, name, name
    return copy


_STAND_INS: list[Callable[..., object]] = [
    _named(_PlainDtype, "numpy.dtype"),
    _named(_PlainArray, "numpy.ndarray"),
    *(
        _named(stand_in, f"numpy.{core}.multiarray.{name}")
        for core in ("core", "_core")
        for name, stand_in in (("_reconstruct", _reconstruct), ("scalar", _scalar))
    ),
    _named(_PlainEstimator, "sklearn.decomposition.pca.PCA"),
    _named(_PlainEstimator, "sklearn.decomposition._pca.PCA"),
]


def read_plain_contents(file: str) -> object:
    """What `torch.save` or safetensors wrote to a file, as plain data.

    Parameters
    ----------
    file : str

    Returns
    -------
    object
        Usually a dict. Arrays that are no tensors, and fitted PCAs, are stand-ins: take them
        with `as_array`, and attributes with `vars`.

    Raises
    ------
    WeightsError
        If there is no such file, if it is damaged, or if it holds anything but data.
    """
    import torch

    if not os.path.isfile(file):
        raise WeightsError(f"there is no weights file {file!r}.")
    try:
        if file.endswith(".safetensors"):
            from safetensors.torch import load_file

            return load_file(file)
        with _allowed(_STAND_INS):
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise whatever the damage leads to
        raise WeightsError(
            f"{file}: is not a file of plain tensors as torch.save writes it ({_reason(error)})."
        ) from error


def _reason(error: Exception) -> str:
    asked = re.search(r"GLOBAL (\S+)", str(error))
    if asked:
        return f"it asks for {asked[1]}, which is no data"
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


@contextmanager
def _allowed(stand_ins: list[Callable[..., object]]) -> Iterator[None]:
    """Let torch read these names for a while; what the user allowed remains allowed."""
    from torch.serialization import add_safe_globals, clear_safe_globals, get_safe_globals

    with _lock:
        before = get_safe_globals()
        add_safe_globals([*stand_ins])
        try:
            yield
        finally:
            clear_safe_globals()
            add_safe_globals(before)


def as_array(value: object) -> np.ndarray:
    """A tensor, array, stand-in or list of numbers as an array.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    import torch

    if isinstance(value, _PlainArray):
        value = value.values
    elif isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"expected numbers, got {type(value).__name__}")
    return array
