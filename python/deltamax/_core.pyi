"""The compiled half; use `deltamax`."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__version__: str

def certify(
    model: bytes | str,
    images: NDArray[np.float32] | NDArray[np.uint8],
    label: NDArray[np.int64] | None,
    method: str,
    branch: int,
    attack: bool,
    runtime: str,
    device: str,
    tolerance: float | None,
    batch: int | None,
) -> dict[str, Any]: ...
def attack(
    model: bytes | str, images: NDArray[np.float32] | NDArray[np.uint8], rounds: int, steps: int, device: str
) -> dict[str, Any]: ...
def sweep(
    model: bytes | str,
    images: NDArray[np.float32] | NDArray[np.uint8],
    label: NDArray[np.int64],
    variance: list[float],
    draws: int,
    seed: int,
    device: str,
) -> dict[str, Any]: ...
def verify(
    model: bytes | str, text: str | None, path: str | None, timeout: float, method: str, seed: int, device: str
) -> dict[str, Any]: ...
def explain(
    model: bytes | str,
    image: NDArray[np.float32] | NDArray[np.uint8] | str,
    delta: float,
    method: str,
    device: str,
) -> dict[str, Any]: ...
def audit(folder: str, model: str | None, data: str | None, sample: int | None, seed: int) -> dict[str, Any]: ...
