"""The compiled half; use `deltamax`."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__version__: str

# Path or content; output, input range, mean, deviation.
_Model = tuple[bytes | str, str | None, list[float] | None, list[float], list[float]]

def certify(
    model: _Model,
    images: NDArray[np.float32] | NDArray[np.uint8],
    label: NDArray[np.int64] | None,
    method: str,
    branch: int,
    seconds: float | None,
    gap: float | None,
    depth: int | None,
    attack: bool,
    runtime: str,
    norm: str,
    device: str,
    tolerance: float | None,
    batch: int | None,
) -> dict[str, Any]: ...
def attack(
    model: _Model, images: NDArray[np.float32] | NDArray[np.uint8], rounds: int, steps: int, device: str
) -> dict[str, Any]: ...
def sweep(
    model: _Model,
    images: NDArray[np.float32] | NDArray[np.uint8],
    label: NDArray[np.int64],
    variance: list[float],
    draws: int,
    seed: int,
    device: str,
) -> dict[str, Any]: ...
def verify(
    model: _Model, text: str | None, path: str | None, timeout: float, method: str, seed: int, device: str
) -> dict[str, Any]: ...
def explain(
    model: _Model,
    image: NDArray[np.float32] | NDArray[np.uint8] | str,
    delta: float | None,
    method: str,
    device: str,
    norm: str,
) -> dict[str, Any]: ...
def audit(folder: str, model: str | None, data: str | None, sample: int | None, seed: int) -> dict[str, Any]: ...
