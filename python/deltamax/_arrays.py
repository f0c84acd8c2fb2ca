"""What users pass, brought into the few forms that the compiled half takes."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray


def model(source: Any, output: Any = None, input_range: Any = None, mean: Any = None, std: Any = None) -> tuple[Any, ...]:
    """The path of an ONNX file, or its content, and what the network takes and gives where its file leaves that open."""
    content = bytes(source) if isinstance(source, (bytes, bytearray, memoryview)) else path(source, "model")
    if output is not None and not isinstance(output, str):
        raise TypeError(f"output is the name of one, not {_kind(output)}")
    ends = None if input_range is None else _numbers(input_range, "input_range")
    if ends is not None and len(ends) != 2:
        raise ValueError(f"input_range has {len(ends)} numbers; it is what black and white are, such as (0, 255)")
    return content, output, ends, _numbers(mean, "mean"), _numbers(std, "std")


def path(source: Any, argument: str) -> str:
    """A path as text."""
    try:
        return os.fsdecode(os.fspath(source))
    except TypeError:
        expected = "a path or the bytes of an ONNX file" if argument == "model" else "a path"
        raise TypeError(f"{argument} is {expected}, not {_kind(source)}") from None


def images(source: Any, argument: str = "images", dimensions: int = 4) -> NDArray[Any]:
    """An array in the order of memory, of float32 or uint8."""
    array = np.asarray(source)
    if array.dtype.kind != "u" or array.dtype.itemsize != 1:
        if array.dtype.kind != "f" or array.dtype.itemsize != 4:
            raise TypeError(
                f"{argument} are {array.dtype}; give float32 in [0,1] (for example by .astype('float32')) or uint8"
            )
        array = array.astype(np.float32, copy=False)  # The bytes of each number in this machine's order.
    if array.ndim != dimensions:
        wanted = "[n, c, h, w]" if dimensions == 4 else "[c, h, w]"
        raise ValueError(f"{argument} have the shape {list(array.shape)}; it is to be {wanted}")
    if array.dtype == np.uint8 and array.size and array.max() <= 1:
        warnings.warn(
            f"{argument} of uint8 up to 1 are taken as bytes of 0 to 255, nearly black; give float32 where 1 is white",
            stacklevel=3,
        )
    return np.require(array, requirements=["C_CONTIGUOUS", "ALIGNED"])


def labels(source: Any) -> NDArray[np.int64]:
    """One class number per image."""
    array = np.asarray(source)
    if array.ndim != 1:
        raise ValueError(f"labels have the shape {list(array.shape)}; it is to be [n]")
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"labels are {array.dtype}; they are whole numbers, the positions of classes")
    # A number too large for the type wraps round to one below zero, which is refused too.
    return np.require(array.astype(np.int64), requirements=["C_CONTIGUOUS", "ALIGNED"])


def whole(value: Any, argument: str) -> int:
    """A whole number, not below zero."""
    try:
        number = int(value.__index__())
    except AttributeError:
        raise TypeError(f"{argument} is a whole number, not {_kind(value)}") from None
    if number < 0 or number >= 1 << 63:
        raise ValueError(f"{argument} is {number}; it is a whole number from 0 on")
    return number


def _numbers(value: Any, argument: str) -> list[float]:
    """One number, or several; none for None."""
    try:
        array = np.atleast_1d(np.asarray([] if value is None else value, dtype=np.float64))
    except (TypeError, ValueError):
        raise TypeError(f"{argument} is a number or one per channel, not {_kind(value)}") from None
    if array.ndim != 1:
        raise ValueError(f"{argument} has the shape {list(array.shape)}; it is a number, or one per channel")
    return [float(number) for number in array]


def _kind(value: Any) -> str:
    return type(value).__name__
