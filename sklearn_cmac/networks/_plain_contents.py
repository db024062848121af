"""Reads a file that torch saved as plain data: nothing in it can run code.

Published checkpoints hold NumPy arrays, and fitted PCAs of scikit-learn, beside tensors, under
module names of many years. Here each of these names is a stand-in that only keeps data.
"""

from __future__ import annotations

import mmap
import os
import re
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from sklearn_cmac._files import check_regular, open_regular, reason_of
from sklearn_cmac.networks._nesting import check_nesting

_lock = threading.Lock()

_MOST_INFLATION = 10  # of an archive that was packed anew; torch does not compress
_LEGACY_PICKLES = 5  # before the numbers: two marks, the system, what is saved, names of storages


class WeightsError(ValueError):
    """Weights that are missing, damaged, or made for another network."""


class PlainDtype:
    """Stands for numpy.dtype: its letter code and byte order."""

    def __init__(self, code: object, *_: object):
        # Others may be so nested that to print them takes for ever.
        if type(code) is not str or not re.fullmatch(r"[<>=|]?([biuf]\d\d?|\?)", code):
            raise ValueError("holds an array of what are no numbers")
        self.code, self.order = code, "="

    def __setstate__(self, state: Sequence[Any]) -> None:
        self.order = state[1]

    def numpy(self) -> np.dtype:
        dtype = np.dtype(self.code)
        return np.dtype(self.order + dtype.str[1:]) if self.order in ("<", ">") else dtype


class PlainArray:
    """Stands for numpy.ndarray."""

    def __init__(self) -> None:
        self.values = np.empty(0)

    def __setstate__(self, state: Sequence[Any]) -> None:
        _, shape, dtype, by_column, content = state
        self.values = _numbers(content, dtype, shape, "F" if by_column else "C")

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape


def _numbers(content: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    """The numbers of an array; no more of them than its bytes hold."""
    if not isinstance(dtype, PlainDtype):
        raise ValueError("holds an array of what are no numbers")
    if type(content) is str:  # bytes, in pickles of Python 2
        content = content.encode("latin-1")
    values = np.frombuffer(content, dtype.numpy())
    return values.reshape(shape[::-1]).T if order == "F" else values.reshape(shape)


class _PlainEstimator:
    """Stands for a fitted estimator: its parameters and fitted arrays."""


def _reconstruct(kind: object, *_: object) -> PlainArray:
    if not (isinstance(kind, type) and issubclass(kind, PlainArray)):
        raise ValueError("holds something else where an array should be")
    return kind()


def _scalar(dtype: PlainDtype, content: bytes) -> object:
    return _numbers(content, dtype, (1,), "C").item()


def _frombuffer(content: bytes, dtype: PlainDtype, shape: Any, order: str) -> PlainArray:
    found = PlainArray()
    found.values = _numbers(content, dtype, shape, order)
    return found


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


# What stands for the names by which pickles ask for arrays and parts of them.
PLAIN_ARRAYS: dict[str, Callable[..., object]] = {
    "numpy.dtype": PlainDtype,
    "numpy.ndarray": PlainArray,
    **{
        f"numpy.{core}.{name}": stand_in
        for core in ("core", "_core")
        for name, stand_in in (
            ("multiarray._reconstruct", _reconstruct),
            ("multiarray.scalar", _scalar),
            ("numeric._frombuffer", _frombuffer),
        )
    },
}
_STAND_INS = [
    *(_named(stand_in, path) for path, stand_in in PLAIN_ARRAYS.items()),
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
        check_regular(file)
        if file.endswith(".safetensors"):
            from safetensors.torch import load_file

            return load_file(file)
        _check_before_loading(file)
        with _allowed(_STAND_INS), warnings.catch_warnings():
            # Of a pickle of a newer protocol than its own torch says that it may not know it all.
            warnings.filterwarnings("ignore", "Detected pickle protocol")
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise whatever the damage leads to
        raise WeightsError(
            f"{file}: is not a file of plain tensors as torch.save writes it ({_reason(error)})."
        ) from error


def _check_before_loading(file: str) -> None:
    """That a file inflates to no more than it may, and nests no deeper than an interpreter can."""
    import torch

    with open_regular(file) as opened:
        size = os.fstat(opened.fileno()).st_size
        is_zip = opened.read(4) == b"PK\3\4"
    if is_zip:
        with zipfile.ZipFile(file) as archive:
            inflated = sum(entry.file_size for entry in archive.infolist())
        if inflated > _MOST_INFLATION * size:
            raise ValueError(f"it inflates from {size:,} to {inflated:,} bytes")
        # As torch reads it, so that there are no two opinions on what the archive holds.
        check_nesting(torch._C.PyTorchFileReader(file).get_record("data.pkl"))
        return
    with (
        open_regular(file) as opened,
        mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as all_,
    ):
        for _ in range(_LEGACY_PICKLES):
            check_nesting(all_)


def _reason(error: Exception) -> str:
    asked = re.search(r"GLOBAL (\S+)", str(error))
    if asked:
        return f"it asks for {asked[1]}, which is no data"
    # Torch tells at length how to read such files all the same, which is no advice.
    refused = re.search(r"WeightsUnpickler error: (.*)", str(error))
    return refused[1] if refused else f"{type(error).__name__}: {reason_of(error)}"


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

    if isinstance(value, PlainArray):
        value = value.values
    elif isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    elif isinstance(value, (list, tuple)):
        value = [item if _is_number(item) else None for item in value]
    elif not (_is_number(value) or isinstance(value, np.ndarray)):
        raise ValueError(f"expected numbers, got {type(value).__name__}")
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"expected numbers, got {type(value).__name__}")
    return array


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.number))
