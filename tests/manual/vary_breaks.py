#!/usr/bin/env python3
"""Whether onnxruntime sees what `certify --vary` says of light and lens: the class kept at every proved end, lost at every
broken one.

    pip install onnxruntime numpy
    deltamax certify --model NET.onnx --data fashion-mnist --limit 200 --vary brightness,contrast,darken,defocus,motion-blur --out DIR
    tests/manual/vary_breaks.py NET.onnx fashion-mnist/t10k-images-idx3-ubyte.gz DIR

The images are IDX, of one channel. They are made here in f64 by the words of docs/noise.md, and rounded to f32. A proved end
where the class is lost is a fault, and exit code 1. A broken end where it is kept has a lead within the roundings of f32:
those that vary.csv says every f32 runtime sees (`clear`) are faults too, the others are counted.
"""

import argparse
import csv
import gzip
import pathlib
import sys

import numpy
import onnxruntime


def blurred(x, offsets):
    rows, columns = (numpy.arange(n) for n in x.shape)
    moved = [x[numpy.ix_((rows + dy).clip(0, len(rows) - 1), (columns + dx).clip(0, len(columns) - 1))] for dy, dx in offsets]
    return sum(moved) / len(offsets)


def direction(x, kind, way):
    """By how much every pixel changes with the parameter, before it is clipped."""
    sign = -1.0 if way in ("darker", "less") else 1.0
    if kind == "brightness":
        return numpy.full_like(x, sign)
    if kind == "contrast":
        return sign * (x - 0.5)
    if kind == "darken":
        return sign * x
    reach = max((min(x.shape) if kind == "defocus" else x.shape[1]) / 14, 1)
    most = range(-int(reach), int(reach) + 1)
    if kind == "motion-blur":
        return blurred(x, [(0, dx) for dx in most]) - x
    assert kind == "defocus", kind
    return blurred(x, [(dy, dx) for dy in most for dx in most if dy * dy + dx * dx <= reach * reach]) - x


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network")
    parser.add_argument("images", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    args = parser.parse_args()
    data = gzip.decompress(args.images.read_bytes())
    side = [int.from_bytes(data[k : k + 4], "big") for k in (8, 12)]
    photos = numpy.frombuffer(data, numpy.uint8, offset=16).reshape(-1, *side).astype(numpy.float32) / numpy.float32(255)
    photos = photos.astype(numpy.float64)
    session = onnxruntime.InferenceSession(args.network, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    rows = list(csv.DictReader(open(args.folder / "vary.csv")))

    def logits(row, parameter):
        x = photos[int(row["index"])]
        image = (x + parameter * direction(x, row["kind"], row["direction"])).clip(0, 1).astype(numpy.float32)
        return session.run(None, {name: image[None, None]})[0][0]

    lost = kept = ties = broken = closed = clear = 0
    for row in rows:
        own, proved, at = int(row["predicted"]), float(row["proved"]), float(row["broken"])
        lost += int(logits(row, proved).argmax() != own)
        if at == float("inf"):
            continue
        broken += 1
        closed += proved >= 0.99 * at
        clear += row.get("clear") == "true"
        z = logits(row, at)
        if z.argmax() == own:
            kept += row.get("clear") == "true"
            ties += row.get("clear") != "true"
            rest = max(v for k, v in enumerate(z) if k != own)
            print(f"{row['index']} {row['kind']} {row['direction']}: kept at {at}, ahead by {z[own] - rest:.1e} of {abs(z).max():.1f}")
    print(f"{len(rows)} proved ends, {lost} lost; {broken} broken ends, {closed} of them within 1 %, {clear} clear, {kept} of those kept, {ties} others kept")
    return lost + kept > 0


if __name__ == "__main__":
    sys.exit(main())
