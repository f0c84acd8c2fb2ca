"""Trains the networks of the comparison on Fashion-MNIST and writes them as ONNX.

    python networks.py DATA OUT [NAME...]

DATA holds the four IDX files (.gz), as from the authors of the data set.
"""

import gzip
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn


def images(data, split):
    """Pixels in [0,1] as [image][1][28][28]; `split` is train or t10k."""
    raw = gzip.decompress((Path(data) / f"{split}-images-idx3-ubyte.gz").read_bytes())
    return torch.from_numpy(np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 1, 28, 28).astype(np.float32) / 255)


def labels(data, split):
    raw = gzip.decompress((Path(data) / f"{split}-labels-idx1-ubyte.gz").read_bytes())
    return torch.from_numpy(np.frombuffer(raw, np.uint8, offset=8).astype(np.int64))


class Residual(nn.Module):
    """Two convolutions with batch normalisation, and a way past them."""

    def __init__(self, channels):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels),
        )

    def forward(self, x):
        return torch.relu(x + self.body(x))


def head(features, hidden, activation=nn.ReLU):
    return nn.Flatten(), nn.Linear(features, hidden), activation(), nn.Linear(hidden, 10)


def activated(activation):
    return nn.Sequential(conv(1, 8), activation(), conv(8, 8), activation(), *head(8 * 49, 32, activation))


def conv(inputs, outputs):
    return nn.Conv2d(inputs, outputs, 4, stride=2, padding=1)


NETWORKS = {
    "conv": lambda: nn.Sequential(conv(1, 16), nn.ReLU(), conv(16, 32), nn.ReLU(), *head(32 * 49, 100)),
    "residual": lambda: nn.Sequential(
        conv(1, 8), nn.BatchNorm2d(8), nn.ReLU(), conv(8, 16), nn.BatchNorm2d(16), nn.ReLU(), Residual(16), *head(16 * 49, 50),
    ),
    "average-pool": lambda: nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), conv(8, 16), nn.ReLU(), *head(16 * 49, 50),
    ),
    "max-pool": lambda: nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), conv(8, 16), nn.ReLU(), *head(16 * 49, 50),
    ),
    "mlp": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10),
    ),
    "leaky": lambda: activated(lambda: nn.LeakyReLU(0.1)),
    "sigmoid": lambda: activated(nn.Sigmoid),
    "tanh": lambda: activated(nn.Tanh),
}


def train(net, x, y):
    """One epoch of Adam."""
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for batch in torch.randperm(len(x)).split(128):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
        optimizer.step()


def main(data, out, *names):
    x, y = images(data, "train"), labels(data, "train")
    test_x, test_y = images(data, "t10k"), labels(data, "t10k")
    Path(out).mkdir(parents=True, exist_ok=True)
    for name in names or NETWORKS:
        torch.manual_seed(0)
        net = NETWORKS[name]()
        train(net, x, y)
        net.eval()
        with torch.no_grad():
            accuracy = (net(test_x).argmax(1) == test_y).float().mean().item()
        path = Path(out) / f"{name}.onnx"
        torch.onnx.export(
            net, test_x[:1], str(path), opset_version=17, dynamo=False,
            training=torch.onnx.TrainingMode.PRESERVE,  # keeps batch normalisation a node of its own
            input_names=["image"], output_names=["logits"], dynamic_axes={"image": {0: "n"}, "logits": {0: "n"}},
        )
        print(f"{path}: accuracy {accuracy:.3f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
