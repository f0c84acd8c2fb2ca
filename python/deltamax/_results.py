"""What the functions return: plain arrays with names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        raise ImportError("to_pandas() needs pandas; install it (pip install pandas)") from None
    return pandas


@dataclass(frozen=True, eq=False, repr=False)
class Certified:
    """A bracket [proved, attacked] for every image.

    Distances are in pixel units of [0,1]: 1/255 is one grey level. Arrays have the shape [n].
    """

    predicted: NDArray[np.int64]
    """The class that the network gives the image, over real numbers."""
    proved: NDArray[np.float64]
    """Every image whose pixels all lie within this distance (and in [0,1]) keeps the class: proved. 0 proves nothing."""
    attacked: NDArray[np.float64]
    """The smallest change found to change the class, beyond doubt; inf where none was found, nan without attack."""
    rival_proved: NDArray[np.int64]
    """The class that stops the proof."""
    rival_attacked: NDArray[np.int64]
    """The class that the attack reached; -1 for none."""
    method: list[str]
    """How each radius was proved, as in `delta_max.csv`: `crown`, or `crown+branch` where branch and bound widened it."""
    passes: NDArray[np.int64]
    """Evaluations of bounds, and domains, that each image took."""
    classes: list[str]
    """Names of the model's classes."""
    device: str
    """Where it was computed, in words."""
    notes: list[str]
    """What is to be known about the model, a line each."""
    label: NDArray[np.int64] | None = None
    """The labels, if they were given."""

    def __len__(self) -> int:
        return len(self.predicted)

    def __repr__(self) -> str:
        share = np.mean(self.proved > 0)
        text = f"proved > 0 for {100 * share:.2f} %, median {np.median(self.proved):.5f}"
        if self.label is not None:
            text = f"accuracy {100 * np.mean(self.label == self.predicted):.2f} %, {text}"
        return f"<deltamax.Certified: {len(self)} images, {text}>"

    def to_pandas(self) -> pandas.DataFrame:
        """One row per image, columns as in `delta_max.csv`. Needs pandas."""
        columns = {} if self.label is None else {"label": self.label}
        names = ("predicted", "proved", "attacked", "rival_proved", "rival_attacked", "method", "passes")
        columns.update((name, getattr(self, name)) for name in names)
        return _pandas().DataFrame(columns)


@dataclass(frozen=True, eq=False, repr=False)
class Attacked:
    """The nearest image of another class that was found for every image."""

    predicted: NDArray[np.int64]
    """[n]: the class of the image itself."""
    attacked: NDArray[np.float64]
    """[n]: its distance, the largest change of any pixel in units of [0,1]; inf where none was found."""
    rival_attacked: NDArray[np.int64]
    """[n]: its class; -1 where none was found."""
    images: NDArray[np.float32]
    """[n, c, h, w]: the images found, in [0,1]; nan where none was."""
    classes: list[str]
    device: str
    notes: list[str]

    def __len__(self) -> int:
        return len(self.predicted)

    def __repr__(self) -> str:
        found = np.isfinite(self.attacked)
        text = f"{found.sum()} broken"
        if found.any():
            text += f", median {np.median(self.attacked[found]):.5f}"
        return f"<deltamax.Attacked: {len(self)} images, {text}>"

    def to_pandas(self) -> pandas.DataFrame:
        """One row per image, without the images themselves. Needs pandas."""
        names = ("predicted", "attacked", "rival_attacked")
        return _pandas().DataFrame({name: getattr(self, name) for name in names})


@dataclass(frozen=True, eq=False, repr=False)
class Swept:
    """Accuracy under Gaussian noise, one entry per variance."""

    variance: NDArray[np.float64]
    """[v]: in squared pixel units of [0,1]."""
    draws: NDArray[np.int64]
    """[v]: draws of noise per image; 1 for the variance 0."""
    accuracy: NDArray[np.float64]
    """[v]: share of images given the class of their label, the mean over draws."""
    accuracy_low: NDArray[np.float64]
    """[v]: 5 % quantile over draws."""
    accuracy_high: NDArray[np.float64]
    """[v]: 95 % quantile over draws."""
    class_rates: NDArray[np.float64]
    """[v, classes]: the share by class of label; nan for a class without images."""
    confusion: NDArray[np.int64]
    """[v, label, predicted]: counts, summed over draws."""
    classes: list[str]
    device: str
    notes: list[str]

    def __len__(self) -> int:
        return len(self.variance)

    def __repr__(self) -> str:
        levels = ", ".join(f"{100 * a:.2f} % at {v:g}" for v, a in zip(self.variance, self.accuracy))
        return f"<deltamax.Swept: accuracy {levels}>"

    def to_pandas(self) -> pandas.DataFrame:
        """One row per variance. Needs pandas."""
        names = ("variance", "draws", "accuracy", "accuracy_low", "accuracy_high")
        return _pandas().DataFrame({name: getattr(self, name) for name in names})


@dataclass(frozen=True, eq=False, repr=False)
class Verified:
    """The answer to a VNN-LIB property."""

    result: str
    """`sat` (violated, as the counterexample shows), `unsat` (proved), `unknown` or `timeout`."""
    seconds: float
    counterexample: NDArray[np.float32] | None
    """With `sat`: the input, in the flat order of the network's; checked in exact arithmetic."""
    output: NDArray[np.float64] | None
    """With `sat`: the network's outputs there."""
    device: str
    notes: list[str]

    def __repr__(self) -> str:
        return f"<deltamax.Verified: {self.result} in {self.seconds:.2f} s>"


@dataclass(frozen=True, eq=False, repr=False)
class Explained:
    """Dominance, delta max and relevance of one image.

    Distances are by the norm asked for, pixels in [0,1]. Bounds are proved for every image within `delta` of this one.
    """

    predicted: int
    proved: float
    """The class is proved up to this distance."""
    attacked: float
    """The smallest change found to change the class; inf if none was found."""
    rival_proved: int
    rival_attacked: int
    """The class that the attack reached; -1 for none."""
    image: NDArray[np.float32]
    """[c, h, w]: as the network sees it."""
    broken: NDArray[np.float32] | None
    """[c, h, w]: the image that the attack found."""
    delta: float
    """Half-width of the box that the bounds below hold on."""
    dominant: bool
    """Whether the class is proved to win on the whole box."""
    logits: NDArray[np.float64]
    """[classes]: at the image itself."""
    logit_bounds: NDArray[np.float64]
    """[classes, 2]: lower and upper bound of each logit."""
    score_bounds: NDArray[np.float64]
    """[classes, 2]: of each softmax score."""
    margins: NDArray[np.float64]
    """[classes]: lower bound of logit[predicted] - logit[j]; inf for the class itself."""
    curve_delta: NDArray[np.float64]
    """[points]: growing half-widths."""
    curve_scores: NDArray[np.float64]
    """[points, classes, 2]: bounds of the softmax scores on each of them."""
    relevance: dict[str, NDArray[np.float32]]
    """[h, w] each, channels summed: `gradient`, `gradient_x_input`, `integrated_gradients`; positive speaks for the class.
    `certified`: 1 or -1 where that sign is proved within a quarter of `delta`, 0 where neither is."""
    classes: list[str]
    device: str
    notes: list[str]

    def __repr__(self) -> str:
        name = self.classes[self.predicted]
        return f"<deltamax.Explained: {name}, proved {self.proved:.5f}, attacked {self.attacked:.5f}>"


@dataclass(frozen=True)
class Audited:
    """What an audit found."""

    rows: int
    """Rows of the table."""
    zero: int
    """Rows that claim nothing: their radius is 0."""
    checked: int
    accepted: int
    unchecked: int
    """Rows that only a certificate could prove, and have none."""
    failures: list[tuple[int, float, str]] = field(default_factory=list)
    """Image, variance and reason of every row that is not proved."""


class AuditFailed(RuntimeError):
    """Some rows are not proved; do not rely on them. `report` holds what was found."""

    def __init__(self, problem: str, report: Audited) -> None:
        super().__init__(problem)
        self.report = report
