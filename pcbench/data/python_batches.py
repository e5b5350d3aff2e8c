"""CIFAR-10's batches for Python, as torchvision leaves them: pickles, and pickles are programs.

They are read by an unpickler that can make nothing but lists, dicts, numbers, text, bytes and what
NumPy wrote of an array, of which the bytes alone are used: nothing that is read is executed.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
from jaxtyping import UInt8

from pcbench.data.base import DatasetCorruptError


class _Array:
    """What a pickle says of an array."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _DType(_Array):
    """What a pickle says of a dtype."""

    def __init__(self, *arguments: Any) -> None:
        self.name = arguments[0] if arguments else None


def _begin_array(*_: Any) -> _Array:
    return _Array()


def _whole_array(raw: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    array = _Array()
    array.state = (1, shape, dtype, order == "F", raw)
    return array


def _encode(text: Any, encoding: Any = "latin-1") -> bytes:
    """Make bytes of text: what Python 3 writes for bytes in the pickles that Python 2 reads."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError("it encodes what is no text of bytes")
    return text.encode("latin-1")


_KNOWN = {
    ("numpy.core.multiarray", "_reconstruct"): _begin_array,
    ("numpy._core.multiarray", "_reconstruct"): _begin_array,
    ("numpy.core.numeric", "_frombuffer"): _whole_array,
    ("numpy._core.numeric", "_frombuffer"): _whole_array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _encode,
}


class _PlainUnpickler(pickle.Unpickler):
    """Finds none but the names that arrays are made of."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no array")
        return _KNOWN[module, name]


def records_of(content: bytes, source: str, pixels: int) -> UInt8[np.ndarray, "N record"]:
    """Return the records of a batch, a byte of label and then the pixels.

    Raises
    ------
    DatasetCorruptError
        If it is no such pickle, asks for anything but arrays, or its arrays do not fit together.
    """
    try:
        batch = _PlainUnpickler(io.BytesIO(content), encoding="bytes").load()
        data, labels = (batch[key] if key in batch else batch[key.decode()] for key in _KEYS)
        _, shape, dtype, by_columns, raw = data.state
        images = np.frombuffer(raw, np.uint8).reshape(shape, order="F" if by_columns else "C")
        classes = np.array(labels, dtype=np.int64)
        sound = dtype.name in ("u1", b"u1") and images.shape == (len(classes), pixels)
        if not (sound and ((classes >= 0) & (classes < 256)).all()):
            raise ValueError("its data are no bytes of that many images, or its labels do not fit")
    except Exception as error:  # hostile pickles draw many kinds out of it
        reason = f"{type(error).__name__}: {error}"
        raise DatasetCorruptError(f"{source} is not a sound batch of CIFAR-10: {reason}") from error
    return np.column_stack([classes.astype(np.uint8), images])


_KEYS = (b"data", b"labels")
