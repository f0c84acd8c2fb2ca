"""Small networks and images, made here: no download, no torch."""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

SHAPE = (1, 8, 8)
CLASSES = 3


def network(shape=SHAPE, channels=4, hidden=12, classes=CLASSES, seed=1, last=None):
    """The bytes of a convolution and two dense layers with ReLU; `last` is the operator after them."""
    rng = np.random.default_rng(seed)
    c, h, w = shape
    flat = channels * ((h - 3) // 2 + 1) * ((w - 3) // 2 + 1)
    tensors = {
        "w1": rng.normal(size=(channels, c, 3, 3)) / 3,
        "b1": rng.normal(size=channels) / 10,
        "w2": rng.normal(size=(hidden, flat)) / np.sqrt(flat),
        "b2": rng.normal(size=hidden) / 10,
        "w3": rng.normal(size=(classes, hidden)) / np.sqrt(hidden),
        "b3": np.zeros(classes),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["a"], strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Flatten", ["b"], ["c"]),
        helper.make_node("Gemm", ["c", "w2", "b2"], ["d"], transB=1),
        helper.make_node("Relu", ["d"], ["e"]),
        helper.make_node("Gemm", ["e", "w3", "b3"], ["f" if last else "y"], transB=1),
    ]
    if last:
        nodes.append(helper.make_node(last, ["f"], ["y"]))
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", classes])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def pictures(count, shape=SHAPE, seed=2):
    return np.random.default_rng(seed).integers(0, 256, size=(count, *shape), dtype=np.uint8)


@pytest.fixture(scope="session")
def model():
    return network()


@pytest.fixture(scope="session")
def images():
    return pictures(6)


@pytest.fixture(scope="session")
def logits(model):
    """The network as another program evaluates it: images in [0,1] to logits."""
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(onnx.load_from_string(model))
    return lambda x: evaluator.run(None, {"x": np.asarray(x, dtype=np.float32)})[0]


@pytest.fixture(scope="session")
def binary():
    """The command line: the program named by DELTAMAX, or the one built beside the package."""
    name = "deltamax.exe" if sys.platform == "win32" else "deltamax"
    built = Path(__file__).parents[2] / "target" / "release" / name
    found = os.environ.get("DELTAMAX") or (str(built) if built.is_file() else shutil.which(name))
    if not found:
        pytest.skip("no deltamax program is built")
    return found
