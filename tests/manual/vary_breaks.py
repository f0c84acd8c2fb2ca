#!/usr/bin/env python3
"""Whether onnxruntime sees what `certify --vary` says of light and lens: the class kept at every proved end, lost at every
broken one.

    pip install onnxruntime numpy
    deltamax certify --model NET.onnx --data fashion-mnist --limit 200 --vary brightness,contrast,darken,defocus,motion-blur --out DIR
    tests/manual/vary_breaks.py NET.onnx fashion-mnist DIR

The second is a folder with `t10k-images-idx3-ubyte.gz`, or the folder of pictures that `file` in vary.csv is relative to. Images
are made here in f64 by the words of docs/light.md, and rounded to f32. A proved end where the class is lost is a fault, and exit
code 1; of several parameters every corner of what is proved is asked, the way to the broken end, and 20 points drawn on the
faces. A broken end where the class is kept has a lead within the roundings of f32: those that vary.csv says every f32 runtime
sees (`clear`) are faults too, the others are counted. Needs numpy, onnxruntime and Pillow.
"""

import argparse
import csv
import gzip
import itertools
import pathlib
import sys

import numpy
import onnxruntime
from PIL import Image


def images(folder):
    """How the pixels of a row's image are read, as [channels, height, width] in f64: those of f32."""
    idx = folder / "t10k-images-idx3-ubyte.gz"
    if idx.exists():
        data = gzip.decompress(idx.read_bytes())
        side = [int.from_bytes(data[k : k + 4], "big") for k in (8, 12)]
        bytes_of = numpy.frombuffer(data, numpy.uint8, offset=16).reshape(-1, 1, *side)
        read = lambda row: bytes_of[int(row["index"])]
    else:
        read = lambda row: numpy.asarray(Image.open(folder / row["file"]).convert("RGB")).transpose(2, 0, 1)
    return lambda row: (read(row).astype(numpy.float32) / numpy.float32(255)).astype(numpy.float64)


def blurred(x, offsets):
    rows, columns = (numpy.arange(n) for n in x.shape[1:])
    ends = len(rows) - 1, len(columns) - 1
    moved = [x[:, (rows + dy).clip(0, ends[0])][:, :, (columns + dx).clip(0, ends[1])] for dy, dx in offsets]
    return sum(moved) / len(offsets)


def directions(x, kind, way):
    """By how much every pixel changes with each parameter, before it is clipped."""
    sign = -1.0 if way in ("darker", "less") else 1.0
    if kind == "brightness":
        return [numpy.full_like(x, sign)]
    if kind == "contrast":
        return [sign * (x - 0.5)]
    if kind == "darken":
        return [sign * x]
    if kind == "white-balance":
        return [x * (numpy.arange(len(x)) == c)[:, None, None] for c in range(len(x))]
    reach = max((min(x.shape[1:]) if kind == "defocus" else x.shape[2]) / 14, 1)
    most = range(-int(reach), int(reach) + 1)
    if kind == "motion-blur":
        return [blurred(x, [(0, dx) for dx in most]) - x]
    assert kind == "defocus", kind
    return [blurred(x, [(dy, dx) for dy in most for dx in most if dy * dy + dx * dx <= reach * reach]) - x]


def ends(proved, at, rng):
    """Parameters of magnitude `proved`: the way to the broken end, and if there are several, corners and points of faces."""
    way = [proved * t / max(map(abs, at)) for t in at]
    if len(at) == 1:
        return [way]
    corners = [proved * numpy.array(signs) for signs in itertools.product((-1, 1), repeat=len(at))]
    drawn = rng.uniform(-proved, proved, (20, len(at)))
    drawn[numpy.arange(20), rng.integers(len(at), size=20)] = proved * rng.choice([-1, 1], 20)
    return [way, *corners, *drawn]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network")
    parser.add_argument("images", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    args = parser.parse_args()
    photo, rng = images(args.images), numpy.random.default_rng(0)
    session = onnxruntime.InferenceSession(args.network, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    rows = list(csv.DictReader(open(args.folder / "vary.csv")))

    def logits(x, along, parameters):
        image = (x + sum(t * d for t, d in zip(parameters, along))).clip(0, 1).astype(numpy.float32)
        return session.run(None, {name: image[None]})[0][0]

    asked = lost = kept = ties = broken = closed = clear = 0
    for row in rows:
        own, proved = int(row["predicted"]), float(row["proved"])
        x = photo(row)
        along = directions(x, row["kind"], row["direction"])
        at = [float(t) for t in row["at"].split()]
        for parameters in ends(proved, at or [1.0] * len(along), rng):
            asked += 1
            lost += int(logits(x, along, parameters).argmax() != own)
        if not at:
            continue
        broken += 1
        closed += proved >= 0.99 * float(row["broken"])
        clear += row["clear"] == "true"
        z = logits(x, along, at)
        if z.argmax() == own:
            kept += row["clear"] == "true"
            ties += row["clear"] != "true"
            rest = max(v for k, v in enumerate(z) if k != own)
            print(f"{row['index']} {row['kind']} {row['direction']}: kept at {at}, ahead by {z[own] - rest:.1e} of {abs(z).max():.1f}")
    print(f"{len(rows)} rows, {asked} images at proved ends, {lost} lost; {broken} broken ends, {closed} of them within 1 %, {clear} clear, {kept} of those kept, {ties} others kept")
    return lost + kept > 0


if __name__ == "__main__":
    sys.exit(main())
