"""Local features in few bytes: positions in 16 bits, descriptors in 16, 8 or 1 a number."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sklearn_cmac.local._features import at_unit_length

FORMATS = ("float16", "int8", "binary")

_STEPS = 65535


def pack_positions(positions: np.ndarray, photo_size: tuple[int, int]) -> np.ndarray:
    """Positions (n, 2) inside a photo as shares of its sides, in 16 bits."""
    shares = np.clip(positions / np.array(photo_size, float), 0, 1)
    return np.rint(shares * _STEPS).astype(np.uint16)


def unpack_positions(packed: np.ndarray, photo_size: tuple[int, int]) -> np.ndarray:
    """Positions (n, 2) in pixels, as float32."""
    return (packed * (np.array(photo_size, float) / _STEPS)).astype(np.float32)


def pack_descriptors(descriptors: np.ndarray, form: str) -> np.ndarray:
    """Descriptors of unit length in fewer bits.

    Parameters
    ----------
    descriptors : ndarray of shape (n, d)
    form : {"float16", "int8", "binary"}
        "int8" has 127 steps from 0 to the largest number of each descriptor; "binary" has signs.

    Returns
    -------
    ndarray of float16 or int8 of shape (n, d), or of uint8 of shape (n, ceil(d / 8))

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cmac.local import pack_descriptors, unpack_descriptors
    >>> packed = pack_descriptors(np.array([[0.6, -0.8]]), "int8")
    >>> packed
    array([[  95, -127]], dtype=int8)
    >>> unpack_descriptors(packed, 2).round(3)
    array([[ 0.599, -0.801]], dtype=float32)
    """
    if form == "float16":
        return descriptors.astype(np.float16)
    if form == "binary":
        return np.packbits(descriptors > 0, axis=1)
    largest = np.abs(descriptors).max(axis=1, keepdims=True, initial=1e-12)
    return np.rint(descriptors * (127 / largest)).astype(np.int8)


def unpack_descriptors(packed: np.ndarray, n_dimensions: int) -> np.ndarray:
    """Descriptors (n, d) of float32 and of unit length, of what `pack_descriptors` packed."""
    if packed.dtype == np.uint8:
        signs = np.unpackbits(packed, axis=1, count=n_dimensions)
        return (signs * np.float32(2) - 1) / np.float32(np.sqrt(n_dimensions))
    return at_unit_length(packed.astype(np.float32))


def to_bytes(arrays: Mapping[str, np.ndarray], form: str) -> bytes:
    """What is packed of a photo's features, one after the other behind their number."""
    n = len(arrays["scores"])
    head = np.array([n, *arrays["photo_size"]], "<u4")
    parts = (head, *(arrays[name].astype(dtype) for name, dtype, _ in _parts(form, 0)))
    return b"".join(part.tobytes() for part in parts)


def from_bytes(content: bytes, form: str, n_dimensions: int) -> dict[str, np.ndarray]:
    """The arrays of `to_bytes`, or a `ValueError` if these are none."""
    n, *photo_size = np.frombuffer(content, "<u4", 3).tolist()
    arrays, start = {"photo_size": np.array(photo_size, np.int64)}, 12
    for name, dtype, width in _parts(form, n_dimensions):
        values = np.frombuffer(content, dtype, n * width, start)
        arrays[name] = values if width == 1 else values.reshape(n, width)
        start += values.nbytes
    if start != len(content) or min(photo_size) < 1:
        raise ValueError(f"{len(content)} bytes are not {n} local features of {form}")
    return arrays


def _parts(form: str, n_dimensions: int) -> tuple[tuple[str, str, int], ...]:
    """Name, number format and numbers a feature of each array."""
    dtype = {"float16": "<f2", "int8": "i1", "binary": "u1"}[form]
    width = -(-n_dimensions // 8) if form == "binary" else n_dimensions
    return ("positions", "<u2", 2), ("descriptors", dtype, width), ("scores", "<f2", 1)
