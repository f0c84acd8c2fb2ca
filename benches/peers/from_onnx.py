"""An ONNX file as a PyTorch module: the few operators of `networks.py` and of `deltamax train`."""

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn


def same_on_both_sides(pads):
    half = len(pads) // 2
    assert pads[:half] == pads[half:], f"padding {pads} is not symmetric"
    return tuple(pads[:half])


SIMPLE = {
    "Relu": lambda a: nn.ReLU(),
    "LeakyRelu": lambda a: nn.LeakyReLU(a.get("alpha", 0.01)),
    "Sigmoid": lambda a: nn.Sigmoid(),
    "Tanh": lambda a: nn.Tanh(),
}


def layer(node, attributes, constants):
    """The module of one node, or None for what is not a module (Add, Flatten, Reshape)."""
    a, c = attributes, constants
    if node.op_type == "Conv":
        assert set(a.get("dilations", [1])) == {1} and a.get("group", 1) == 1
        out, inputs, *kernel = c[0].shape
        m = nn.Conv2d(inputs, out, kernel, a.get("strides", 1), same_on_both_sides(a.get("pads", [0] * 4)), bias=len(c) > 1)
        m.weight.data = c[0]
    elif node.op_type == "Gemm":
        assert a.get("alpha", 1) == 1 and a.get("beta", 1) == 1 and not a.get("transA")
        weight = c[0] if a.get("transB") else c[0].T.contiguous()
        m = nn.Linear(weight.shape[1], weight.shape[0])
        m.weight.data = weight
    elif node.op_type == "BatchNormalization":
        m = nn.BatchNorm2d(len(c[0]), eps=a.get("epsilon", 1e-5))
        m.weight.data, m.running_mean, m.running_var = c[0], c[2], c[3]
    elif node.op_type in ("AveragePool", "MaxPool"):
        assert not a.get("ceil_mode") and not any(a.get("pads", []))
        kind = nn.AvgPool2d if node.op_type == "AveragePool" else nn.MaxPool2d
        return kind(tuple(a["kernel_shape"]), tuple(a["strides"]))
    elif node.op_type in SIMPLE:
        return SIMPLE[node.op_type](a)
    else:
        assert node.op_type in ("Add", "Flatten", "Reshape", "Identity"), f"operator {node.op_type}"
        return None
    if len(c) > 1:
        m.bias.data = c[1]
    return m


class FromOnnx(nn.Module):
    """Evaluates the nodes of the file in order."""

    def __init__(self, path):
        super().__init__()
        graph = onnx.load(path).graph
        known = {t.name: torch.from_numpy(np.array(numpy_helper.to_array(t))) for t in graph.initializer}
        self.layers = nn.ModuleDict()
        self.steps = []
        for node in graph.node:
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type == "Constant":
                known[node.output[0]] = torch.from_numpy(np.array(numpy_helper.to_array(attributes["value"])))
                continue
            if node.op_type == "Identity" and node.input[0] in known:
                known[node.output[0]] = known[node.input[0]]
                continue
            module = layer(node, attributes, [known[i] for i in node.input if i in known])
            key = str(len(self.steps))
            if module is not None:
                self.layers[key] = module
            self.steps.append((key, node.op_type, [i for i in node.input if i not in known], node.output[0]))
        self.input = next(i.name for i in graph.input if i.name not in known)
        self.output = graph.output[0].name
        self.eval()

    def forward(self, x):
        values = {self.input: x}
        for key, kind, inputs, output in self.steps:
            args = [values[i] for i in inputs]
            if key in self.layers:
                values[output] = self.layers[key](*args)
            elif kind == "Add":
                values[output] = args[0] + args[1]
            elif kind == "Identity":
                values[output] = args[0]
            else:
                values[output] = args[0].flatten(1)
        return values[self.output]
