"""A training step of `deltamax train` beside one of PyTorch: the same layers, batches and threads, by turns.

    python training.py --deltamax PATH --data DATA [--arch cnn5] [--batch 64] [--threads 2] [--turns 5] [--images 2048]

DATA holds the IDX files of Fashion-MNIST, of which the first `--images` are learned from. A step is forward, backward and Adam. The time of
deltamax is that of three epochs less that of one, so that start and reading are left out, and with it that of the test images; PyTorch's
is measured over as many steps after one epoch to warm up.
"""

import argparse
import gzip
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

FILTERS = {
    "plain": [(16, 4, 2), (32, 4, 2)],
    "cnn3": [(16, 4, 2), (32, 4, 2)],
    "cnn5": [(32, 3, 1), (32, 4, 2), (64, 4, 2)],
    "cnn7": [(64, 3, 1), (64, 3, 1), (128, 3, 2), (128, 3, 1), (128, 3, 1)],
}
HIDDEN = {"plain": 100, "cnn3": None, "cnn5": 256, "cnn7": 512}


def network(arch):
    layers, channels, side = [], 1, 28
    for width, kernel, stride in FILTERS[arch]:
        layers.append(nn.Conv2d(channels, width, kernel, stride, padding=1))
        layers += [nn.BatchNorm2d(width)] if arch != "plain" else []
        layers.append(nn.ReLU())
        channels, side = width, (side + 2 - kernel) // stride + 1
    values = channels * side * side
    layers.append(nn.Flatten())
    if HIDDEN[arch]:
        layers.append(nn.Linear(values, HIDDEN[arch]))
        layers += [nn.BatchNorm1d(HIDDEN[arch])] if arch != "plain" else []
        layers.append(nn.ReLU())
        values = HIDDEN[arch]
    return nn.Sequential(*layers, nn.Linear(values, 10))


def subset(data, count, out):
    """The first images of each part, as IDX files in a folder of their own."""
    parts = {}
    for part, most in (("train", count), ("t10k", 16)):
        for kind, head in (("images-idx3", 16), ("labels-idx1", 8)):
            name = f"{part}-{kind}-ubyte"
            raw = gzip.open(Path(data) / f"{name}.gz").read()
            each = 784 if head == 16 else 1
            cut = raw[head : head + most * each]
            Path(out, name).write_bytes(raw[:4] + most.to_bytes(4, "big") + raw[8:head] + cut)
            parts[part, kind] = np.frombuffer(cut, np.uint8)
    x = torch.tensor(parts["train", "images-idx3"].reshape(-1, 1, 28, 28) / np.float32(255))
    return x, torch.tensor(parts["train", "labels-idx1"].astype(np.int64))


def ours(args, folder, epochs):
    command = [args.deltamax, "train", "--data", folder, "--device", "cpu", "--batch", str(args.batch), "--quiet"]
    command += ["--epochs", str(epochs), "--out", str(Path(folder) / "model.onnx")]
    command += ["--arch", args.arch] if args.arch != "plain" else []
    start = time.perf_counter()
    subprocess.run(command, check=True, env=os.environ | {"RAYON_NUM_THREADS": str(args.threads)})
    return time.perf_counter() - start


def epoch(net, optimizer, x, y, batch):
    start = time.perf_counter()
    for at in torch.randperm(len(x)).split(batch):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x[at]), y[at]).backward()
        optimizer.step()
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--deltamax", default="target/release/deltamax")
    parser.add_argument("--data", required=True)
    parser.add_argument("--arch", choices=list(FILTERS), default="cnn5")
    for name, usual in (("batch", 64), ("threads", 2), ("turns", 5), ("images", 2048)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    net = network(args.arch)
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=1e-4)
    steps = -(-args.images // args.batch)
    each = []
    with tempfile.TemporaryDirectory() as folder:
        x, y = subset(args.data, args.images, folder)
        epoch(net, optimizer, x, y, args.batch)
        for _ in range(args.turns):
            own = (ours(args, folder, 3) - ours(args, folder, 1)) / 2
            each.append((own / steps, epoch(net, optimizer, x, y, args.batch) / steps))
    own, peer = (1e3 * statistics.median(turn[k] for turn in each) for k in (0, 1))
    ratio = statistics.median(a / b for a, b in each)
    print(f"{args.arch}: {own:.2f} ms a step, PyTorch {peer:.2f} ms; ratio of a turn, median {ratio:.2f}")


if __name__ == "__main__":
    main()
