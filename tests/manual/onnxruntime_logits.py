"""Compares the logits of `deltamax predict` with those of onnxruntime on the same model and images.

    pip install onnxruntime numpy
    deltamax predict --model fm.onnx --data fashion-mnist --out scores.csv
    python tests/manual/onnxruntime_logits.py fm.onnx scores.csv fashion-mnist/t10k-images-idx3-ubyte.gz

Images are an IDX file, in the order of the table. Prints the largest difference, relative to the largest logit of the
image, and fails above 1e-5.
"""

import csv
import gzip
import sys

import numpy
import onnxruntime


def images(path):
    with gzip.open(path) if path.endswith(".gz") else open(path, "rb") as file:
        data = file.read()
    sizes = numpy.frombuffer(data, ">u4", count=data[3], offset=4)
    return numpy.frombuffer(data, numpy.uint8, offset=4 + 4 * data[3]).reshape(sizes)


def main(model, table, idx):
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    classes = list(rows[0])[4:]
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    pixels = images(idx)
    worst = 0.0
    for row in rows:
        x = pixels[int(row["index"])].astype(numpy.float32)[None, None] / numpy.float32(255)
        theirs = session.run(None, {name: x})[0].ravel()
        ours = numpy.array([float(row[c]) for c in classes])
        worst = max(worst, abs(ours - theirs).max() / abs(theirs).max())
    print(f"{len(rows)} images: largest relative difference {worst:.2e}")
    return 0 if worst <= 1e-5 else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
