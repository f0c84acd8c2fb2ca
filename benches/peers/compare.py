"""Proved radii of `deltamax certify` beside those of auto_LiRPA, on the same ONNX files and images.

    python compare.py --deltamax PATH --data DATA [--method crown] [--norm 2 [--mid-grey]] [--limit 50] [--device gpu] MODEL.onnx...

auto_LiRPA bounds a given ball, so its radius is found by bisection to the same tolerance. Ratios are ours over theirs. Its
Euclidean balls are not clipped to [0,1], as ours are, and have one radius a call, so it gets one image at a time there.
`--mid-grey` takes images between 0.38 and 0.62 (pixel p as 96 + p/4 of 255), where small balls need no clipping and both
bound the same sets.
"""

import argparse
import csv
import gzip
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from auto_LiRPA import BoundedModule, BoundedTensor, PerturbationLpNorm

from from_onnx import FromOnnx
from networks import images

TOLERANCE = 1e-3
PEER_METHOD = {"ibp": "IBP", "crown-ibp": "CROWN-IBP", "crown": "CROWN", "alpha": "CROWN-Optimized"}


def ours(args, model, limit):
    """Rows of `delta_max.csv` and the seconds of the whole process."""
    with tempfile.TemporaryDirectory() as out:
        command = [args.deltamax, "certify", "--device", args.device, "--quiet", "--no-attack", "--model", model]
        command += ["--data", args.data, "--method", args.method, "--limit", str(limit), "--out", out]
        command += ["--norm", "l2"] if args.norm == "2" else []
        environment = os.environ | {"RAYON_NUM_THREADS": str(args.threads)}
        start = time.perf_counter()
        subprocess.run(command + ["--tolerance", str(TOLERANCE)], check=True, env=environment, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
        with open(Path(out) / "delta_max.csv", newline="") as f:
            rows = sorted(csv.DictReader(f), key=lambda row: int(row["index"]))
    return rows, seconds


class Peer:
    """Margins of the predicted class by auto_LiRPA."""

    def __init__(self, net, x, args):
        self.net, self.method, self.balls = net, PEER_METHOD[args.method], 0
        self.euclidean = args.norm == "2"
        # No two images are farther apart.
        self.most = x[0].numel() ** 0.5 if self.euclidean else 1.0
        self.inner_fixed = args.method == "alpha" and args.inner == "fixed"
        options = {"optimize_bound_args": {"iteration": args.iterations}}
        self.bounded = BoundedModule(net, torch.zeros_like(x[:1]), bound_opts=options, device=x.device)

    def dominates(self, x, predicted, delta):
        """Whether each image's class is proved on its ball, clipped to [0,1]."""
        self.balls += len(x)
        if self.euclidean:
            ball = PerturbationLpNorm(norm=2, eps=delta.item())
        else:
            d = delta.float().to(x.device).view(-1, 1, 1, 1)
            ball = PerturbationLpNorm(norm=np.inf, x_L=(x - d).clamp(0, 1), x_U=(x + d).clamp(0, 1))
        one = torch.eye(10, device=x.device)
        rivals = torch.tensor([[j for j in range(10) if j != c] for c in predicted.tolist()], device=x.device)
        margins = one[predicted].unsqueeze(1) - one[rivals]
        question = {"x": (BoundedTensor(x, ball),), "C": margins, "bound_upper": False}
        inner = self.inner(question) if self.inner_fixed else None
        bound = self.bounded.compute_bounds(**question, method=self.method, interm_bounds=inner)
        return (bound[0] > 0).all(1).cpu()

    def inner(self, question):
        """Bounds of inner neurons by CROWN, for alpha-CROWN to leave as they are."""
        with torch.no_grad():
            self.bounded.compute_bounds(**question, method="CROWN")
        read = [a.inputs[0] for a in self.bounded.get_enabled_opt_act()]
        return {v.name: [v.lower.detach().clone(), v.upper.detach().clone()] for v in read}

    def radii(self, x, guess):
        """Largest proved radius per image by doubling or halving from `guess`, then bisection."""
        with torch.no_grad():
            predicted = self.net(x).argmax(1)
        low, high = torch.zeros(len(x)).double(), torch.full((len(x),), torch.inf).double()
        while True:
            wide = high.isinf() & (low < self.most) | (high - low > TOLERANCE * high) & (high > 1e-7)
            open_ = wide.nonzero().flatten()
            if len(open_) == 0:
                return predicted, low
            lo, hi = low[open_], high[open_]
            middle = torch.where(hi.isinf(), (2 * lo).clamp(min=guess), torch.where(lo == 0, hi / 2, (lo + hi) / 2))
            proved = self.dominates(x[open_], predicted[open_], middle)
            low[open_], high[open_] = torch.where(proved, middle, lo), torch.where(proved, hi, middle)


def theirs(args, model, x):
    """Predicted classes, radii, seconds, and balls bounded."""
    x = x.to("cuda" if args.device == "gpu" else "cpu")
    torch.backends.cudnn.allow_tf32 = False
    net = FromOnnx(model).to(x.device)
    peer = Peer(net, x, args)
    if args.device == "gpu":
        # The first call loads what CUDA needs, and is not counted.
        peer.radii(x[:2], args.guess)
        peer.balls = 0
    classes, radii = [], []
    start = time.perf_counter()
    for batch in x.split(1 if args.norm == "2" else args.batch):
        c, r = peer.radii(batch, args.guess)
        classes.append(c)
        radii.append(r)
    return torch.cat(classes).tolist(), torch.cat(radii).numpy(), time.perf_counter() - start, peer.balls


def mid_grey(data, out):
    """Test images of `data` with a quarter of their contrast, as a folder of IDX files in `out`."""
    pixels = "t10k-images-idx3-ubyte.gz"
    raw = gzip.decompress((Path(data) / pixels).read_bytes())
    grey = 96 + np.frombuffer(raw, np.uint8, offset=16) // 4
    (Path(out) / pixels).write_bytes(gzip.compress(raw[:16] + grey.tobytes()))
    shutil.copy(Path(data) / "t10k-labels-idx1-ubyte.gz", out)
    return out


def compare(args, model):
    x = images(args.data, "t10k")[: args.limit]
    classes, peer, peer_seconds, balls = theirs(args, model, x)
    rows, seconds = ours(args, model, args.limit)
    _, start_up = ours(args, model, 1)
    predicted = [int(row["predicted"]) for row in rows]
    assert predicted == classes, "the two do not agree on the classes"
    proved = np.array([float(row["proved"]) for row in rows])
    both = peer > 0
    ratio = proved[both] / peer[both]
    print(
        f"{Path(model).stem} {args.method}{' l2' * (args.norm == '2')}: median {np.median(proved):.5f} against {np.median(peer):.5f}, "
        f"of medians {np.median(proved) / np.median(peer):.4f}, per image: median {np.median(ratio):.4f} "
        f"min {ratio.min():.4f} max {ratio.max():.4f}",
        flush=True,
    )
    passes = sum(int(row["passes"]) for row in rows)
    own = seconds - start_up
    speed = f"{peer_seconds / own:.1f}" if own > start_up else "too short to tell, raise --limit"
    print(
        f"  time per image, theirs over ours: {speed}; bounds per image, theirs over ours: {balls / passes:.1f}; "
        f"theirs {peer_seconds:.2f} s, ours {seconds:.2f} s of which {start_up:.2f} s for a single image",
        flush=True,
    )
    if args.csv:
        with open(args.csv, "a", newline="") as f:
            table = csv.writer(f)
            for row, theirs_, ours_ in zip(rows, peer, proved):
                table.writerow([Path(model).stem, args.method, row["index"], ours_, theirs_])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--deltamax", default="target/release/deltamax")
    parser.add_argument("--data", required=True, help="folder with the IDX files of Fashion-MNIST")
    parser.add_argument("--method", default="crown", choices=PEER_METHOD)
    parser.add_argument("--norm", default="inf", choices=["inf", "2"], help="of the balls")
    parser.add_argument("--mid-grey", action="store_true", help="images that no small ball leaves [0,1] from")
    parser.add_argument("--limit", type=int, default=50, help="the first N test images")
    parser.add_argument("--batch", type=int, default=10, help="images per call of auto_LiRPA")
    parser.add_argument("--guess", type=float, default=0.01, help="first radius auto_LiRPA is asked for")
    parser.add_argument("--iterations", type=int, default=20, help="of alpha-CROWN")
    parser.add_argument(
        "--inner", default="moved", choices=["fixed", "moved"],
        help="whether alpha-CROWN moves slopes behind the bounds of inner neurons too, as deltamax does",
    )
    parser.add_argument("--device", default="cpu", choices=["cpu", "gpu"], help="of both; gpu: Vulkan or Metal here, CUDA there")
    parser.add_argument("--threads", type=int, default=2, help="of each")
    parser.add_argument("--csv", help="append model, method, index, our radius, their radius")
    parser.add_argument("models", nargs="+")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as grey:
        args.data = mid_grey(args.data, grey) if args.mid_grey else args.data
        for model in args.models:
            compare(args, model)


if __name__ == "__main__":
    main()
