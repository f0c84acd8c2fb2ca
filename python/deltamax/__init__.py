"""How much noise can an image classifier take: measured, attacked and proved.

Models are ONNX files (paths, or their content as bytes). Images are arrays [n, c, h, w] of float32 in [0,1] or of uint8,
which are divided by 255; any strides. Distances are in pixel units of [0,1]: 1/255 is one grey level.

Every function computes with the interpreter's lock released and ends soon after Ctrl-C. Wrong arguments are ValueError or
TypeError, files that cannot be read OSError, faults of a device RuntimeError; the message is one line.
"""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any, Literal, Sequence, Union

# As in the program: Mesa's layer for choosing devices looks for a display server whenever adapters are listed, and complains
# on standard error where there is none. It stays where it is asked for.
if "MESA_VK_DEVICE_SELECT" not in os.environ:
    os.environ.setdefault("NODEVICE_SELECT", "1")

from . import _arrays, _core
from ._core import __version__
from ._results import Attacked, Audited, AuditFailed, Certified, Explained, Swept, Verified

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    Numbers = Union[float, Sequence[float]]
    Path = Union[str, "os.PathLike[str]"]
    Model = Union[Path, bytes, bytearray, memoryview]
    Method = Literal["ibp", "crown-ibp", "crown", "alpha"]
    Runtime = Literal["exact", "any-f32"]
    Norm = Literal["linf", "l2"]

__all__ = [
    "AuditFailed",
    "Attacked",
    "Audited",
    "Certified",
    "Explained",
    "Swept",
    "Verified",
    "__version__",
    "attack",
    "audit",
    "certify",
    "explain",
    "sweep",
    "verify",
]


def certify(
    model: Model,
    images: ArrayLike,
    labels: ArrayLike | None = None,
    method: Method = "crown",
    branch: int = 0,
    attack: bool = True,
    runtime: Runtime = "exact",
    device: str = "auto",
    tolerance: float | None = None,
    batch: int | None = None,
    *,
    seconds: float | None = None,
    gap: float | None = None,
    depth: int | None = None,
    norm: Norm = "linf",
    output: str | None = None,
    input_range: tuple[float, float] | None = None,
    mean: Numbers | None = None,
    std: Numbers | None = None,
) -> Certified:
    """A bracket [proved, attacked] for every image, as `deltamax certify` makes it.

    Args:
        model: path of an ONNX file, or its bytes.
        images: [n, c, h, w], float32 in [0,1] or uint8.
        labels: [n], whole numbers; only to be kept beside the result. The predicted class is what is proved.
        method: how bounds are computed, cheapest first: "ibp", "crown-ibp", "crown", "alpha".
        branch: close brackets further, by up to so many domains per image; needs "crown" or "alpha".
        seconds: close brackets further, for up to so long per image, search included; what it finds depends on the clock.
            Neurons of a deep network are then bounded through as many layers as that leaves time for.
        gap: stop closing a bracket whose ends are within this share of each other, one in a hundred unless given.
        depth: bound neurons through the nearest so many nonlinear layers only, which is cheaper in deep networks.
        attack: whether to look for the upper end of the bracket.
        runtime: "exact" for the network over real numbers; "any-f32" for radii that also hold for every runtime that
            computes in f32 with sums in any order.
        device: "auto" (a real GPU, else the CPU), "gpu", "cpu", or an index of `deltamax devices`.
        tolerance: stop when the radius is within this share of what the bounds can prove.
        batch: images whose bounds are computed at once.
        norm: what radii are measured by: "linf", the largest change of any pixel; "l2", the Euclidean length of all changes.
        output: the output with the scores of the classes, where the network has several.
        input_range: what the network's pixels are for black and white, before `mean` and `std`; (0, 1), or what its first
            layers say. Images and radii stay in [0,1].
        mean: taken off before the network, one number or one per channel.
        std: divided by before the network, one number or one per channel.

    Radii hold for the image as given and for the true u8/255 behind it, which is no float32: 2^-24 is taken off.
    """
    kept = None if labels is None else _arrays.labels(labels)
    fields = _core.certify(
        _arrays.model(model, output, input_range, mean, std),
        _arrays.images(images),
        kept,
        method,
        _arrays.whole(branch, "branch"),
        None if seconds is None else float(seconds),
        None if gap is None else float(gap),
        None if depth is None else _arrays.whole(depth, "depth"),
        bool(attack),
        runtime,
        norm,
        str(device),
        tolerance,
        None if batch is None else _arrays.whole(batch, "batch"),
    )
    _warn(fields)
    return Certified(**fields, label=kept)


def attack(
    model: Model,
    images: ArrayLike,
    rounds: int = 10,
    steps: int = 12,
    device: str = "auto",
    *,
    output: str | None = None,
    input_range: tuple[float, float] | None = None,
    mean: Numbers | None = None,
    std: Numbers | None = None,
) -> Attacked:
    """The nearest image of another class that projected gradients find, for every image.

    A hit counts only if exact bounds on the rounding leave no doubt about its class; distances are those that `certify`
    calls attacked (without `branch`).

    Args:
        model: path of an ONNX file, or its bytes.
        images: [n, c, h, w], float32 in [0,1] or uint8.
        rounds: radii tried per image.
        steps: gradient steps per radius.
        device, output, input_range, mean, std: as for `certify`.
    """
    fields = _core.attack(
        _arrays.model(model, output, input_range, mean, std),
        _arrays.images(images),
        _arrays.whole(rounds, "rounds"),
        _arrays.whole(steps, "steps"),
        str(device),
    )
    _warn(fields)
    return Attacked(**fields)


def sweep(
    model: Model,
    images: ArrayLike,
    labels: ArrayLike,
    variance: Sequence[float] = (0.0, 0.001, 0.005, 0.025),
    draws: int = 3,
    seed: int = 0,
    device: str = "auto",
    *,
    output: str | None = None,
    input_range: tuple[float, float] | None = None,
    mean: Numbers | None = None,
    std: Numbers | None = None,
) -> Swept:
    """Accuracy and confusion under Gaussian noise, clipped to [0,1], as `deltamax sweep` measures it.

    Args:
        model: path of an ONNX file, or its bytes.
        images: [n, c, h, w], float32 in [0,1] or uint8.
        labels: [n], whole numbers: the true class of each image.
        variance: variances of the noise, in squared pixel units of [0,1].
        draws: independent draws per image and variance.
        seed: of the noise; the same on every device.
        device, output, input_range, mean, std: as for `certify`.
    """
    fields = _core.sweep(
        _arrays.model(model, output, input_range, mean, std),
        _arrays.images(images),
        _arrays.labels(labels),
        [float(v) for v in variance],
        _arrays.whole(draws, "draws"),
        _arrays.whole(seed, "seed"),
        str(device),
    )
    _warn(fields)
    return Swept(**fields)


def verify(
    model: Model,
    property: Path,
    timeout: float = 300.0,
    method: Method = "crown",
    seed: int = 0,
    device: str = "auto",
) -> Verified:
    """Decides a VNN-LIB property of a network, as `deltamax verify` does.

    Args:
        model: path of an ONNX file, or its bytes.
        property: path of a `.vnnlib` file (gzip is accepted), or the text of one: a string that begins with a parenthesis
            or a comment (`;`).
        timeout: seconds before giving up.
        method: the costliest bounds to try.
        seed: of the attacks.
        device: as for `certify`.
    """
    text = property if isinstance(property, str) and property.lstrip().startswith(("(", ";")) else None
    fields = _core.verify(
        _arrays.model(model),
        text,
        _arrays.path(property, "property") if text is None else None,
        float(timeout),
        method,
        _arrays.whole(seed, "seed"),
        str(device),
    )
    _warn(fields)
    return Verified(**fields)


def explain(
    model: Model,
    image: ArrayLike | Path,
    delta: float | None = None,
    method: Method = "crown",
    device: str = "auto",
    norm: Norm = "linf",
    *,
    output: str | None = None,
    input_range: tuple[float, float] | None = None,
    mean: Numbers | None = None,
    std: Numbers | None = None,
) -> Explained:
    """What one decision rests on and how far it holds, as `deltamax explain` computes it.

    Args:
        model: path of an ONNX file, or its bytes.
        image: [c, h, w], float32 in [0,1] or uint8; or the path of a JPEG or PNG, which is brought to the model's size.
        delta: radius of the noise that bounds are computed on, pixels in [0,1]; by default 1/255, of norm "l2" the length of
            that on every pixel.
        method: how bounds are computed.
        device, norm, output, input_range, mean, std: as for `certify`.
    """
    if isinstance(image, (str, os.PathLike)):
        subject: Any = _arrays.path(image, "image")
    else:
        subject = _arrays.images(image, "image", dimensions=3)[None]
    radius = None if delta is None else float(delta)
    fields = _core.explain(_arrays.model(model, output, input_range, mean, std), subject, radius, method, str(device), norm)
    _warn(fields)
    return Explained(**fields)


def audit(
    folder: Path,
    model: Path | None = None,
    data: Path | None = None,
    sample: int | None = None,
    seed: int = 0,
) -> Audited:
    """Proves the radii of a folder written by `deltamax certify` or `merge` again, by separate code on the CPU.

    Args:
        folder: where `delta_max.csv` and `manifest.json` are.
        model: the ONNX file, if it is no longer where the manifest says.
        data: the images, if they are no longer where the manifest says.
        sample: how many rows to check; None for all.
        seed: of the sample.

    Raises:
        AuditFailed: if a row is not proved; its `report` says which.
    """
    fields = _core.audit(
        _arrays.path(folder, "folder"),
        None if model is None else _arrays.path(model, "model"),
        None if data is None else _arrays.path(data, "data"),
        None if sample is None else _arrays.whole(sample, "sample"),
        _arrays.whole(seed, "seed"),
    )
    problem = fields.pop("problem")
    report = Audited(**fields)
    if problem is not None:
        raise AuditFailed(problem, report)
    return report


def _warn(fields: dict[str, Any]) -> None:
    """Says what the user of a model should know about it, as the command line does on standard error."""
    for note in fields["notes"]:
        warnings.warn(note, stacklevel=3)
