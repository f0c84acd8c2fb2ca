#!/usr/bin/env python3
"""Compares networks as deltamax reads them with onnxruntime: all outputs, at random inputs.

    pip install onnxruntime onnx numpy
    tests/manual/onnxruntime_networks.py NET.onnx... [--points 100]

Every point becomes a property that holds there and nowhere else, so that `deltamax verify --batch` answers `sat` with the
network's outputs. Prints the largest difference per network, relative to the largest output at the point. Where it is above
1e-5, onnxruntime runs again with the same weights in f64, which tells its own rounding from ours; above 1e-5 there too is a
failure. Random inputs are uniform in [0,1], rounded to f32.
"""

import argparse
import csv
import decimal
import pathlib
import subprocess
import sys
import tempfile

import numpy
import onnx
import onnxruntime


def property_at(x, outputs):
    lines = [f"(declare-const X_{i} Real)" for i in range(len(x))]
    lines += [f"(declare-const Y_{k} Real)" for k in range(outputs)]
    for i, value in enumerate(x):
        exact = format(decimal.Decimal(float(value)), "f")
        lines.append(f"(assert (<= X_{i} {exact}))\n(assert (>= X_{i} {exact}))")
    # Comparisons only, so that networks with a softmax at the end can be asked too.
    any_order = "(or (<= Y_0 Y_1) (>= Y_0 Y_1))" if outputs > 1 else "(>= Y_0 -1e9)"
    return "\n".join(lines) + f"\n(assert {any_order})\n"


def outputs_of(path, outputs):
    words = path.read_text().replace("(", " ").replace(")", " ").split()[1:]
    values = dict(zip(words[::2], words[1::2]))
    return numpy.array([float(values[f"Y_{k}"]) for k in range(outputs)])


def widened(net):
    """The network with its weights in f64."""
    model = onnx.load(net)
    double = lambda t: t.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(t).astype(float), t.name))
    attributes = [a.t for n in model.graph.node for a in n.attribute if a.HasField("t")]
    for tensor in [*model.graph.initializer, *attributes]:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            double(tensor)
    for value in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            value.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    return model.SerializeToString()


def evaluate(network, points, kind):
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    name, shape = session.get_inputs()[0].name, shape_of(session)
    return [session.run(None, {name: x.reshape(shape).astype(kind)})[0].reshape(-1).astype(float) for x in points]


def shape_of(session):
    return [d if isinstance(d, int) and d > 0 else 1 for d in session.get_inputs()[0].shape]


def compare(net, args, folder):
    shape = shape_of(onnxruntime.InferenceSession(str(net), providers=["CPUExecutionProvider"]))
    rng = numpy.random.default_rng(0)
    points = [rng.random(int(numpy.prod(shape)), dtype=numpy.float32) for _ in range(args.points)]
    theirs = evaluate(str(net), points, numpy.float32)
    with open(folder / "instances.csv", "w", newline="") as file:
        for i, x in enumerate(points):
            (folder / f"{i}.vnnlib").write_text(property_at(x, len(theirs[i])))
            csv.writer(file).writerow([net.resolve(), f"{i}.vnnlib", 60])
    command = [args.deltamax, "verify", "--batch", folder / "instances.csv", "--witnesses", folder, "--device", "cpu", "-q"]
    subprocess.run([str(c) for c in command], check=True)
    ours = [outputs_of(folder / f"{net.stem}__{i}.counterexample", len(y)) for i, y in enumerate(theirs)]
    if onnx.load(net).graph.node[-1].op_type == "Softmax":
        # Networks are read without it.
        ours = [numpy.exp(y - y.max()) / numpy.exp(y - y.max()).sum() for y in ours]
    largest = lambda theirs: max(abs(a - b).max() / abs(b).max() for a, b in zip(ours, theirs))
    single = largest(theirs)
    return single, largest(evaluate(widened(net), points, float)) if single > 1e-5 else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+", type=pathlib.Path)
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--deltamax", default="target/release/deltamax")
    args = parser.parse_args()
    worst = 0.0
    for net in args.networks:
        with tempfile.TemporaryDirectory() as folder:
            single, double = compare(net, args, pathlib.Path(folder))
        print(f"{net.name}: {single:.2e}" + (f", against f64 {double:.2e}" if double is not None else ""), flush=True)
        worst = max(worst, single if double is None else double)
    print(f"{len(args.networks)} networks, {args.points} inputs each: largest relative difference {worst:.2e}")
    sys.exit(0 if worst <= 1e-5 else 1)


if __name__ == "__main__":
    main()
