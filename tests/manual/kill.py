#!/usr/bin/env python3
"""Kills runs without a word (kill -9) at random points and checks what they leave.

    cargo build --release
    python3 tests/manual/kill.py --points 50

certify (with --resume and --certificates), verify --batch, study and merge, each killed at so many points. No finished row
may be lost or stand twice, and nothing half may be taken for whole: a run that goes on ends with the rows of an undisturbed
one, a study is the old one or the new one, a merge is whole or as if it had not been. Needs Python 3 and nothing else.
"""

import argparse
import csv
import hashlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BUILD = ".deltamax-build"


class World:
    """A folder with shoes and models, and the binary run from it."""

    def __init__(self, binary, root, points, seed):
        self.binary, self.root, self.points = binary, root, points
        self.random, self.spans = random.Random(seed), {}

    def command(self, line):
        return [str(self.binary), *line.split()]

    def run(self, line, code=0):
        """Runs to the end; standard output and standard error."""
        done = subprocess.run(self.command(line), cwd=self.root, capture_output=True, text=True)
        check(done.returncode == code, f"{line}: exit code {done.returncode}\n{done.stderr}")
        return done.stdout + done.stderr

    def timed(self, line):
        start = time.monotonic()
        self.run(line)
        return time.monotonic() - start

    def start(self, line):
        null = subprocess.DEVNULL
        return subprocess.Popen(self.command(line), cwd=self.root, stdout=null, stderr=null)

    def kill(self, line, longest, seen=None):
        """Starts, waits for a random time, or until the path `seen` is there, and kills. Whether that came in time."""
        child = self.start(line)
        # Machines are not always equally fast: the span of the kills follows what came too late.
        span = self.spans.setdefault(line, longest)
        end = time.monotonic() + (10 * longest if seen else self.random.uniform(0, span))
        while time.monotonic() < end and child.poll() is None and not (seen and seen.exists()):
            time.sleep(0.0005)
        in_time = child.poll() is None
        if not seen:
            self.spans[line] *= 1.02 if in_time else 0.85
        child.kill()
        child.wait()
        return in_time


def check(truth, what):
    if not truth:
        sys.exit(f"FAILED: {what}")


def whole_rows(path):
    """Rows that end with a line break, without the header."""
    text = path.read_bytes() if path.exists() else b""
    return text[: text.rfind(b"\n") + 1].decode().splitlines()[1:]


def unfinished(folder):
    return [p for p in folder.rglob(".deltamax-*")]


def go_on(world, line, longest, kills):
    """Continues a run and kills it, or lets it end once there were enough kills; says how often it was killed."""
    if kills < world.points:
        return world.kill(line, longest)
    world.run(line)
    return 0


def kept_rows(command, table, before, key):
    """The rows of a table, which begin with those from before; none stands twice."""
    rows = whole_rows(table)
    check(rows[: len(before)] == before, f"{command}: finished rows were lost")
    check(len({key(row) for row in rows}) == len(rows), f"{command}: a row stands twice")
    return rows


def certify(world):
    line = "certify --model model.onnx --data shoes --method crown --variance 0,0.001,0.002 --limit 20 --batch 4 \
--certificates all --device cpu --quiet --out"
    longest = world.timed(f"{line} truth")
    cells = lambda row: next(csv.reader([row]))
    key = lambda row: (cells(row)[0], cells(row)[4])
    truth = {key(row): cells(row) for row in whole_rows(world.root / "truth/delta_max.csv")}
    out, kills, finished = world.root / "proofs", 0, 0
    table, before = out / "delta_max.csv", []
    while kills < world.points or before:
        kills += go_on(world, f"{line} proofs --resume", longest, kills)
        rows = kept_rows("certify", table, before, key)
        for row in rows:
            name = f"{cells(row)[0]}_{cells(row)[4]}.json"
            check(float(cells(row)[5]) == 0 or json.loads((out / "certificates" / name).read_text()), name)
        before = rows
        if len(rows) < len(truth):
            if (out / "manifest.json").exists() and rows:
                check("--resume" in world.run("audit proofs", code=1), "certify: half a run was audited")
            continue
        world.run(f"{line} proofs --resume")
        check({key(row) for row in rows} == set(truth), "certify: other rows than those of an undisturbed run")
        for row in rows:
            mine, theirs = cells(row), truth[key(row)]
            # The search starts elsewhere after a stop, so radii agree as closely as it looks.
            check(mine[:5] == theirs[:5] and mine[6] == theirs[6], f"certify: {mine} and {theirs}")
            check(abs(float(mine[5]) - float(theirs[5])) <= 1e-3 * float(theirs[5]), f"certify: {mine} and {theirs}")
        check(not unfinished(out), f"certify: {unfinished(out)}")
        world.run("audit proofs --sample 10")
        shutil.rmtree(out)
        before, finished = [], finished + 1
    return f"{kills} kills over {finished} runs of {len(truth)} rows in {longest:.1f} s each"


def properties(world):
    """A list of instances over three networks: boxes around grey, and a score that is or is not passed there."""
    values = 16 * 16 * 3
    declared = "".join(f"(declare-const X_{i} Real)\n" for i in range(values))
    declared += "".join(f"(declare-const Y_{i} Real)\n" for i in range(4))
    names = []
    for k in range(12):
        half, bound = 0.002 * (k % 6 + 1), [1e6, -1e6, 0.5][k % 3]
        box = "".join(f"(assert (<= X_{i} {0.5 + half}))\n(assert (>= X_{i} {0.5 - half}))\n" for i in range(values))
        (world.root / f"p{k}.vnnlib").write_text(declared + box + f"(assert (>= Y_{k % 4} {bound}))\n")
        names += [f"net{n}.onnx,p{k}.vnnlib,600\n" for n in range(3)]
    for n in range(3):
        world.run(f"train --data shoes --epochs 1 --channels 4,8 --hidden 32 --device cpu --seed {n} --quiet --out net{n}.onnx")
    (world.root / "instances.csv").write_text("".join(names))


def verify(world):
    properties(world)
    line = "verify --batch instances.csv --device cpu --quiet --witnesses points --out"
    longest = world.timed(f"{line} truth.csv")
    answer = lambda row: tuple(next(csv.reader([row]))[:3])
    truth = {answer(row) for row in whole_rows(world.root / "truth.csv")}
    out, kills, finished, before = world.root / "answers.csv", 0, 0, []
    while kills < world.points or before:
        kills += go_on(world, f"{line} answers.csv --resume", longest, kills)
        rows = kept_rows("verify", out, before, lambda row: answer(row)[:2])
        for point in (world.root / "points").glob("*.counterexample"):
            check(point.read_text().startswith("sat\n") and point.read_text().endswith(")\n"), f"verify: {point}")
        before = rows
        if len(rows) == len(truth):
            check({answer(row) for row in rows} == truth, "verify: other answers than those of an undisturbed run")
            out.unlink()
            before, finished = [], finished + 1
    return f"{kills} kills over {finished} runs of {len(truth)} answers in {longest:.1f} s each"


def content(folder):
    """Hash by name of all that is not being built."""
    files = [p for p in folder.rglob("*") if p.is_file() and BUILD not in p.parts]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def study(world):
    line = "study --quick --count 120 --size 16 --epochs 1 --limit 3 --noisy 1 --method ibp --variance 0,0.005 \
--device cpu --quiet --out"
    models = lambda folder: {n: h for n, h in content(folder).items() if n.endswith(".onnx")}
    names, longest, seed = {}, 0, 0
    for s in range(2):
        longest = world.timed(f"{line} truth{s} --seed {s}")
        names[s] = (models(world.root / f"truth{s}"), sorted(content(world.root / f"truth{s}")))
    world.run(f"{line} s --seed 0")
    (world.root / "s/notes.txt").write_text("keep")
    kills, swapped = 0, 0
    while kills < world.points:
        before = content(world.root / "s")
        # Every fourth one just when the new files are put in place.
        seen = world.root / "s" / BUILD / "order.json" if kills % 4 == 3 else None
        kills += world.kill(f"{line} s --seed {1 - seed}", longest, seen)
        after = content(world.root / "s")
        if after != before or (world.root / "s" / BUILD / "order.json").exists():
            # The new study, perhaps not all in place yet: what comes next sees to that.
            world.run("report s --quiet")
            after, seed, swapped = content(world.root / "s"), 1 - seed, swapped + 1
        expected = sorted([*names[seed][1], "notes.txt"])
        check(sorted(after) == expected, f"study: {set(after) ^ set(expected)}")
        check(models(world.root / "s") == names[seed][0], "study: models of two studies")
        world.run("report s --quiet")
        check(content(world.root / "s") == after, "study: not whole")
        check(not unfinished(world.root / "s"), "study: something is left")
    return f"{kills} kills of runs of {longest:.1f} s, {swapped} after the new study was whole"


def merge(world):
    line = "certify --model model.onnx --data shoes --method crown-ibp --limit 20 --certificates all --device cpu --quiet"
    for i in range(2):
        world.run(f"{line} --shard {i}/2 --out part{i}")
    longest = world.timed("merge part0 part1 --out truth-merge")
    truth, out, kills, absent = content(world.root / "truth-merge"), world.root / "whole", 0, 0
    while kills < world.points:
        seen = [None, out / BUILD / "files/delta_max.csv", out / BUILD / "order.json"][kills % 3]
        kills += world.kill("merge part0 part1 --out whole", longest, seen)
        if (out / BUILD / "order.json").exists():
            # All of it was there, but not in place yet: what comes next sees to that.
            check("exists already" in world.run("merge part0 part1 --out whole", code=1), "merge: a second one")
        elif not (out / "delta_max.csv").exists():
            absent += 1
            world.run("merge part0 part1 --out whole")
        check(content(out) == truth and "20 of 20 rows" in world.run("audit whole"), "merge: not whole")
        shutil.rmtree(out)
    return f"{kills} kills of runs of {longest:.2f} s, {absent} before it was whole"


def main():
    here = Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=50, help="kills of each command")
    parser.add_argument("--binary", type=Path, default=here / "target/release/deltamax")
    parser.add_argument("--only", choices=["certify", "verify", "study", "merge"], action="append")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        world = World(args.binary.resolve(), Path(root), args.points, args.seed)
        world.run("shoes --count 120 --size 16 --quiet --out shoes")
        world.run("train --data shoes --epochs 1 --channels 4,8 --hidden 32 --device cpu --quiet --out model.onnx")
        for job in [certify, verify, study, merge]:
            if not args.only or job.__name__ in args.only:
                print(f"{job.__name__}: {job(world)}", flush=True)


main()
