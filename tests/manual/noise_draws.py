#!/usr/bin/env python3
"""Whether noise drawn by NumPy and run in onnxruntime contradicts what `certify --noise gaussian` proved.

    tests/manual/noise_draws.py MODEL.onnx IMAGES NOISE_CSV [--draws 100000]

IMAGES is a folder with `t10k-images-idx3-ubyte.gz`, or the folder of pictures that `file` in NOISE_CSV is relative to; pixels
go to the network as they are, divided by 255. Every row of which something was proved (`risk_proved` below 1) gets its
draws; the lower end of the 99.9 % interval (Clopper and Pearson) of how often the class changes must not lie above what was
proved. Exits 1 if one does. Needs numpy, scipy, onnxruntime and Pillow.
"""

import argparse
import csv
import gzip
import pathlib
import sys

import numpy
import onnxruntime
from PIL import Image
from scipy.stats import beta

BATCH = 2000


def images(folder):
    """How the pixels of a row's image are read, as [channels, height, width]."""
    idx = folder / "t10k-images-idx3-ubyte.gz"
    if idx.exists():
        data = gzip.decompress(idx.read_bytes())
        height, width = (int.from_bytes(data[at : at + 4], "big") for at in (8, 12))
        all_ = numpy.frombuffer(data, numpy.uint8, offset=16).reshape(-1, 1, height, width)
        return lambda row: all_[int(row["index"])]
    return lambda row: numpy.asarray(Image.open(folder / row["file"]).convert("RGB")).transpose(2, 0, 1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("images", type=pathlib.Path)
    parser.add_argument("noise_csv")
    parser.add_argument("--draws", type=int, default=100_000)
    args = parser.parse_args()
    session = onnxruntime.InferenceSession(args.model, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    read = images(args.images)
    rng = numpy.random.Generator(numpy.random.SFC64(7))
    with open(args.noise_csv, newline="") as file:
        rows = [row for row in csv.DictReader(file) if float(row["risk_proved"]) < 1]
    against, most = 0, 0.0
    for at, row in enumerate(rows):
        image = read(row).astype(numpy.float32) / numpy.float32(255)
        deviation = numpy.float32(float(row["variance"]) ** 0.5)
        predicted = int(row["predicted"])
        changed = 0
        for first in range(0, args.draws, BATCH):
            noisy = rng.standard_normal((min(BATCH, args.draws - first), *image.shape), dtype=numpy.float32)
            noisy *= deviation
            noisy += image
            numpy.clip(noisy, 0, 1, out=noisy)
            changed += int((session.run(None, {name: noisy})[0].argmax(1) != predicted).sum())
        low = beta.ppf(0.0005, changed, args.draws - changed + 1) if changed else 0.0
        proved = float(row["risk_proved"])
        most = max(most, low / proved if proved > 0 else float(low > 0))
        if low > proved:
            against += 1
            print(f"image {row['index']} at variance {row['variance']}: at least {low} drawn, at most {proved} proved")
        print(f"{at + 1}/{len(rows)}", end="\r", file=sys.stderr)
    print(f"{len(rows)} rows of {args.draws} draws, {against} against; drawn over proved at most {most:.3g}")
    return 1 if against else 0


if __name__ == "__main__":
    sys.exit(main())
