"""Time and memory of `deltamax certify` as the number of images, the width, the depth and the resolution of a network grow.

    python benches/scale.py --out FOLDER [--deltamax PATH] [--device cpu] [--seconds 60]

Networks have random weights (He et al. 2015, one seed) and images random pixels, both made here: nothing is read. Every point is one run of
the program; --seconds is the longest that one may take, and a line ends before it would take longer. Writes scale.csv and scale.svg.
Needs Linux, numpy and onnx.
"""

import argparse
import csv
import math
import pathlib
import subprocess
import sys
import time

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

METHODS = ["ibp", "crown-ibp", "crown"]
# Images of the runs that do not ask about their number.
IMAGES = {"ibp": 400, "crown-ibp": 100, "crown": 20}


def network(path, side, channels, depth, hidden, classes=10):
    """Convolutions of stride 2 (4x4) down to `side / 4`, further ones of stride 1 (3x3) up to `depth`, a dense layer, logits."""
    rng = numpy.random.default_rng(0)
    nodes, weights, value, width = [], [], "x", 1

    def layer(op, shape, **attributes):
        nonlocal value
        n = len(nodes)
        fan_in = math.prod(shape[1:])
        w = rng.normal(0, math.sqrt(2 / fan_in), shape).astype(numpy.float32)
        b = numpy.zeros(shape[0], numpy.float32)
        weights.extend([numpy_helper.from_array(w, f"w{n}"), numpy_helper.from_array(b, f"b{n}")])
        nodes.append(helper.make_node(op, [value, f"w{n}", f"b{n}"], [f"v{n}"], **attributes))
        value = f"v{n}"

    def plain(op, **attributes):
        nonlocal value
        nodes.append(helper.make_node(op, [value], [f"v{len(nodes)}"], **attributes))
        value = f"v{len(nodes) - 1}"

    for i in range(depth):
        out = channels if i == 0 else 2 * channels
        kernel, stride = (4, 2) if i < 2 else (3, 1)
        layer("Conv", (out, width, kernel, kernel), kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[1] * 4)
        plain("Relu")
        width = out
    side_last = side // 2 ** min(depth, 2)
    plain("Flatten")
    layer("Gemm", (hidden, width * side_last**2), transB=1)
    plain("Relu")
    layer("Gemm", (classes, hidden), transB=1)
    nodes[-1].output[0] = "logits"
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1, side, side])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [None, classes])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def images(path, count, side):
    rng = numpy.random.default_rng(1)
    x = rng.integers(0, 256, (count, 1, side, side), dtype=numpy.uint8)
    numpy.savez(path, images=x, labels=(numpy.arange(count) % 10).astype(numpy.int64))


def measure(args, model, data, method, limit):
    """Seconds and peak MiB of one run."""
    out = args.out / "run"
    command = [args.deltamax, "certify", "--model", model, "--data", data, "--method", method, "--limit", limit]
    command += ["--no-attack", "--device", args.device, "--quiet", "--out", out]
    subprocess.run(["rm", "-rf", str(out)], check=True)
    start = time.monotonic()
    process = subprocess.Popen([str(c) for c in command])
    # What the kernel says at the end would count the memory of this script, too.
    status, peak = pathlib.Path(f"/proc/{process.pid}/status"), 0
    while process.poll() is None:
        peak = max([peak] + [int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")])
        time.sleep(0.002)
    seconds = time.monotonic() - start
    if process.returncode != 0:
        sys.exit(f"this ended with an error: {' '.join(map(str, command))}")
    return seconds, peak / 1024


def points(args):
    """Every axis with its places: (axis, place, method, images, seconds, MiB)."""
    usual = dict(side=28, channels=16, depth=2, hidden=100)
    axes = {
        "images": [100, 1000, 10000, 60000],
        "channels": [8, 16, 32, 64],
        "depth": [2, 4, 8, 16],
        "side": [28, 56, 112, 224],
    }
    for axis, places in axes.items():
        ended = set()
        for place in places:
            shape = usual if axis == "images" else {**usual, axis: place}
            model, data = args.out / f"{axis}{place}.onnx", args.out / f"{axis}{place}.npz"
            network(model, **shape)
            images(data, place if axis == "images" else max(IMAGES.values()), shape["side"])
            for method in METHODS:
                if method in ended:
                    continue
                limit = place if axis == "images" else IMAGES[method]
                alone, _ = measure(args, model, data, method, 1)
                seconds, memory = measure(args, model, data, method, limit)
                yield axis, place, method, limit, seconds, alone, memory
                # The next place is twice to ten times as large, and nothing grows faster than by its cube.
                step = next((b / a for a, b in zip(places, places[1:]) if a == place), 1)
                if seconds * (step if axis == "images" else step**2) > args.seconds:
                    ended.add(method)
            model.unlink()
            data.unlink()


COLOURS = {"ibp": "#0072b2", "crown-ibp": "#d55e00", "crown": "#117733"}
NAMES = {"images": "images", "channels": "channels of the first layer", "depth": "convolutions", "side": "pixels along a side"}


def panel(rows, axis, column, title, left, top, width=300, height=210):
    """One log-log chart as SVG."""
    own = [r for r in rows if r["axis"] == axis]
    xs, ys = [r["place"] for r in own], [column(r) for r in own]
    low, high = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys) * 1.0001))
    first, last = math.log(min(xs)), math.log(max(xs))
    at_x = lambda x: left + 45 + (math.log(x) - first) / (last - first) * (width - 65)
    at_y = lambda y: top + height - 40 - (math.log10(y) - low) / max(high - low, 1) * (height - 70)
    out = [f'<text x="{left + 45}" y="{top + 18}" font-weight="bold">{title}</text>']
    for power in range(low, high + 1):
        y = at_y(10.0**power)
        out.append(f'<line x1="{left + 45}" x2="{left + width - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{left + 40}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g}</text>')
    for x in sorted(set(xs)):
        out.append(f'<text x="{at_x(x):.1f}" y="{top + height - 22}" text-anchor="middle">{x}</text>')
    out.append(f'<text x="{left + width / 2 + 12}" y="{top + height - 6}" text-anchor="middle">{NAMES[axis]}</text>')
    for method in METHODS:
        line = [(at_x(r["place"]), at_y(column(r))) for r in own if r["method"] == method]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in line)
        out.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[method]}" stroke-width="2"/>')
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{COLOURS[method]}"/>' for x, y in line]
    return out


def chart(rows, path):
    per_image = lambda r: max(r["seconds"] - r["alone"], 1e-6) / (r["images"] - 1)
    whole = lambda r: r["seconds"]
    memory = lambda r: r["mib"]
    out = [
        f'<text x="{960 + 80 * k}" y="12" fill="{COLOURS[m]}" font-weight="bold">{m}</text>' for k, m in enumerate(METHODS)
    ]
    for k, axis in enumerate(NAMES):
        time_of, what = (whole, "seconds") if axis == "images" else (per_image, "seconds per image")
        out += panel(rows, axis, time_of, what, 300 * k, 10)
        out += panel(rows, axis, memory, "peak memory, MiB", 300 * k, 230)
    body = "\n".join(out)
    path.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1200 440" font-family="sans-serif" font-size="11">\n'
        f'<rect width="1200" height="440" fill="#fff"/>\n{body}\n</svg>\n'
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--deltamax", default="target/release/deltamax")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=float, default=60)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    names = ["axis", "place", "method", "images", "seconds", "alone", "mib"]
    rows = []
    with open(args.out / "scale.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(names)
        for point in points(args):
            rows.append(dict(zip(names, point)))
            table.writerow([f"{v:.4g}" if isinstance(v, float) else v for v in point])
            file.flush()
            print("{:9} {:6} {:10} {:6} images {:8.2f} s ({:.2f} s for one) {:7.0f} MiB".format(*point))
    chart(rows, args.out / "scale.svg")


if __name__ == "__main__":
    main()
