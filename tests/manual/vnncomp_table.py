#!/usr/bin/env python3
"""Runs `deltamax verify --batch` over folders of the verification competition and compares with what is known.

Every folder holds instances.csv and expected.csv (columns onnx, vnnlib, expected: sat, unsat or unknown).

    tests/manual/vnncomp_table.py FOLDER... --out RESULTS [--timeout 30] [--check]

Prints a markdown table; exits 1 if any answer contradicts what is known. --check also evaluates every counterexample in
onnxruntime and in the property (pip install onnxruntime numpy). Runs that were stopped continue.
"""

import argparse
import csv
import pathlib
import subprocess
import sys


def answers(path):
    with open(path, newline="") as file:
        return {(r["onnx"], r["vnnlib"]): r for r in csv.DictReader(file)}


def stem(name):
    name = pathlib.Path(name).name
    name = name[:-3] if name.endswith(".gz") else name
    return name.rsplit(".", 1)[0]


def run(folder, args):
    out = args.out / f"{folder.name}.csv"
    command = [args.deltamax, "verify", "--batch", folder / "instances.csv", "--out", out, "--resume"]
    command += ["--witnesses", args.out / folder.name, "--timeout", str(args.timeout), "--device", args.device]
    subprocess.run([str(c) for c in command], check=False)
    return answers(out)


def check(folder, row, out):
    """A counterexample: exactly inside the box as written, and in f32 arithmetic the output condition holds with zero tolerance."""
    import fractions

    import numpy
    import onnxruntime

    text = (out / folder.name / f"{stem(row['onnx'])}__{stem(row['vnnlib'])}.counterexample").read_text()
    words = text.replace("(", " ").replace(")", " ").split()[1:]
    values = dict(zip(words[::2], words[1::2]))
    exact = [fractions.Fraction(values[f"X_{i}"]) for i in range(sum(k[0] == "X" for k in values))]
    x = numpy.array([float(v) for v in exact], dtype=numpy.float32)
    session = onnxruntime.InferenceSession(str(folder / row["onnx"]), providers=["CPUExecutionProvider"])
    node = session.get_inputs()[0]
    shape = [d if isinstance(d, int) and d > 0 else 1 for d in node.shape]
    y = session.run(None, {node.name: x.reshape(shape)})[0].reshape(-1)
    return holds(folder / row["vnnlib"], exact, [fractions.Fraction(float(v)) for v in y])


def holds(path, x, y):
    import fractions
    import gzip
    import re

    opened = gzip.open(path, "rt") if path.suffix == ".gz" else open(path)
    with opened as file:
        text = re.sub(r";.*", "", file.read())
    tokens = iter(re.findall(r"[()]|[^\s()]+", text))

    def parse():
        items = []
        for token in tokens:
            if token == ")":
                return items
            items.append(parse() if token == "(" else token)
        return items

    def value(e):
        if isinstance(e, str):
            if e[:2] in ("X_", "Y_"):
                return (x if e[0] == "X" else y)[int(e[2:])]
            return fractions.Fraction(e)
        parts = [value(p) for p in e[1:]]
        if e[0] == "+":
            return sum(parts)
        if e[0] == "-":
            return -parts[0] if len(parts) == 1 else parts[0] - sum(parts[1:])
        product = fractions.Fraction(1)
        for part in parts:
            product *= part
        return product

    def true(e):
        if e[0] in ("and", "or"):
            return (all if e[0] == "and" else any)(true(p) for p in e[1:])
        a, b = value(e[1]), value(e[2])
        return {"<=": a <= b, ">=": a >= b, "<": a < b, ">": a > b, "=": a == b, "==": a == b}[e[0]]

    return all(true(s[1]) for s in parse() if s[0] == "assert")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for results and counterexamples")
    parser.add_argument("--timeout", type=float, default=30, help="seconds, or the instance's own if that is less")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--deltamax", default="target/release/deltamax")
    parser.add_argument("--check", action="store_true", help="evaluate counterexamples in onnxruntime")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    print("| benchmark | instances | sat found / known | unsat proved / known | not known, answered | open | wrong | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    total = [0] * 9
    wrong, upset = [], []
    for folder in args.folders:
        found = run(folder, args)
        expected = answers(folder / "expected.csv")
        row = [len(expected)] + [0] * 8
        for key, known in expected.items():
            mine, truth = found.get(key, {}).get("result", "missing"), known["expected"]
            row[8] += float(found.get(key, {}).get("seconds", 0))
            row[2] += truth == "sat"
            row[4] += truth == "unsat"
            decided = mine in ("sat", "unsat")
            row[1] += mine == truth == "sat"
            row[3] += mine == truth == "unsat"
            row[5] += decided and truth == "unknown"
            row[6] += not decided
            if decided and truth != "unknown" and mine != truth:
                row[7] += 1
                wrong.append((folder.name, key, mine, truth))
            if mine == "sat" and args.check and not check(folder, known, args.out):
                upset.append((folder.name, key))
        show(folder.name, row)
        total = [a + b for a, b in zip(total, row)]
    show("all", total)
    for line in wrong:
        print("WRONG", *line, file=sys.stderr)
    for line in upset:
        print("counterexample does not hold in onnxruntime:", *line, file=sys.stderr)
    sys.exit(1 if wrong or upset else 0)


def show(name, r):
    print(f"| {name} | {r[0]} | {r[1]} / {r[2]} | {r[3]} / {r[4]} | {r[5]} | {r[6]} | {r[7]} | {r[8]:.0f} |", flush=True)


if __name__ == "__main__":
    main()
