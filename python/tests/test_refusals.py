"""What is refused: with the exception that fits, and one line."""

import numpy as np
import pytest

import deltamax
from conftest import network


def refused(kind, hint, call, *args, **kwargs):
    with pytest.raises(kind) as caught:
        call(*args, **kwargs)
    line = str(caught.value)
    assert type(caught.value) is kind and hint in line, line
    # Flags are called by the names of the arguments, but where a command has to be run again.
    assert line and "\n" not in line and ("--" not in line or "certify again" in line)


def test_images(model, images):
    def certify(images, **choices):
        return lambda: deltamax.certify(model, images, device="cpu", **choices)

    floats = images.astype(np.float32) / 255
    refused(ValueError, "1x8x7 but the model takes 1x8x8", certify(images[..., :7]))
    refused(ValueError, "[6, 8, 8]; it is to be [n, c, h, w]", certify(images[:, 0]))
    refused(ValueError, "no pixels", certify(images[:0]))
    refused(TypeError, "float64; give float32", certify(floats.astype(np.float64)))
    refused(TypeError, "int64; give float32", certify(images.astype(np.int64)))
    refused(TypeError, "give float32", certify("images.npy"))
    for value, said in ((np.nan, "NaN"), (1.001, "1.001"), (-1e-6, "-0.000001"), (np.inf, "inf")):
        broken = floats.copy()
        broken[2, 0, 3, 4] = value
        refused(ValueError, f"images[2, 0, 3, 4] is {said}", certify(broken))
    refused(ValueError, "255", certify(images.astype(np.float32)))
    refused(ValueError, "[1, 1, 8, 8]; it is to be [c, h, w]", deltamax.explain, model, images[:1])
    refused(FileNotFoundError, "no.png", deltamax.explain, model, "no.png")


def test_labels(model, images):
    def certify(labels):
        return lambda: deltamax.certify(model, images, labels, device="cpu")

    refused(ValueError, "2 labels for 6 images", certify([0, 1]))
    refused(ValueError, "labels[1] is 3; the model's classes are 0 to 2", certify([0, 3, 0, 0, 0, 0]))
    refused(ValueError, "labels[0] is -1", certify([-1, 0, 0, 0, 0, 0]))
    refused(ValueError, "it is to be [n]", certify(np.zeros((6, 3), int)))
    refused(TypeError, "whole numbers", certify(np.zeros(6)))


def test_models(images, tmp_path):
    def certify(model):
        return lambda: deltamax.certify(model, images, device="cpu")

    refused(FileNotFoundError, "no.onnx: opening failed", certify(tmp_path / "no.onnx"))
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"\x08no model")
    refused(ValueError, "broken.onnx: not an ONNX model", certify(path))
    refused(ValueError, "model: not an ONNX model", certify(b"\x08no model"))
    refused(ValueError, "the file is empty", certify(b""))
    refused(TypeError, "model is a path or the bytes of an ONNX file, not int", certify(7))
    refused(ValueError, "Softplus", certify(network(last="Softplus")))
    refused(IsADirectoryError, "name a file", certify(tmp_path))


def test_choices(model, images):
    def certify(**choices):
        return lambda: deltamax.certify(model, images, **{"device": "cpu", **choices})

    refused(ValueError, "method is 'best'; it is one of ibp, crown-ibp, crown, alpha", certify(method="best"))
    refused(ValueError, "runtime is 'f16'; it is one of exact, any-f32", certify(runtime="f16"))
    refused(ValueError, "norm is 'l1'; it is one of linf, l2", certify(norm="l1"))
    refused(ValueError, "device is 'tpu': expected auto, gpu, cpu or", certify(device="tpu"))
    refused(ValueError, "tolerance lies between 0 and 1", certify(tolerance=2.0))
    refused(ValueError, "batch is at least 1", certify(batch=0))
    refused(ValueError, "start from bounds by crown; give method crown or alpha", certify(method="ibp", branch=9))
    refused(ValueError, "gap says when to stop closing brackets; give branch or seconds too", certify(gap=0.1))
    refused(ValueError, "gap is above 0", certify(branch=9, gap=0.0))
    refused(ValueError, "seconds is above 0", certify(seconds=0))
    refused(ValueError, "branch is -1", certify(branch=-1))
    refused(TypeError, "branch is a whole number, not float", certify(branch=1.5))
    labels = [0] * 6
    refused(ValueError, "variance takes numbers from 0 to 1", deltamax.sweep, model, images, labels, variance=[2])
    refused(ValueError, "one value twice", deltamax.sweep, model, images, labels, variance=[0.1, 0.1])
    refused(ValueError, "draws", deltamax.sweep, model, images, labels, draws=0)
    refused(ValueError, "rounds", deltamax.attack, model, images, rounds=0)
    refused(ValueError, "delta", deltamax.explain, model, images[0], delta=0)
    refused(RuntimeError, "device", certify(device="99"))


def test_readings(model, images):
    def certify(**choices):
        return lambda: deltamax.certify(model, images, device="cpu", **choices)

    refused(ValueError, "model: mean has 3 numbers for 1 channels", certify(mean=[0.1, 0.2, 0.3]))
    refused(ValueError, "input_range goes upward, std is above 0", certify(std=0))
    refused(ValueError, "input_range goes upward", certify(input_range=(1, 0)))
    refused(ValueError, "input_range goes upward", certify(mean=np.nan))
    refused(ValueError, "input_range has 3 numbers", certify(input_range=(0, 1, 2)))
    refused(TypeError, "mean is a number or one per channel, not str", certify(mean="grey"))
    refused(ValueError, "std has the shape [1, 1]", certify(std=[[1]]))
    refused(TypeError, "output is the name of one, not int", certify(output=1))
    refused(ValueError, "scores", certify(output="scores"))


def test_properties(model, tmp_path):
    def verify(property, model=model, **choices):
        return lambda: deltamax.verify(model, property, device="cpu", **choices)

    refused(FileNotFoundError, "no.vnnlib", verify(tmp_path / "no.vnnlib"))
    refused(ValueError, "property: ", verify("(nonsense"))
    small = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (<= X_0 1))(assert (>= X_0 0))(assert (<= Y_0 0))"
    refused(ValueError, "the property has 1 input and 1 output, the network 64 and 3", verify(small))
    refused(ValueError, "timeout", verify(small, timeout=0))
    refused(TypeError, "property is a path, not int", verify(3))
    refused(ValueError, "manifest.json", deltamax.audit, tmp_path)
    refused(ValueError, "sample is 0", deltamax.audit, tmp_path, sample=0)
