"""The same figures as the command line, to the last digit, and its folders audited."""

import csv
import json
import subprocess

import numpy as np
import pytest

import deltamax
from conftest import network, pictures


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("command")
    (folder / "model.onnx").write_bytes(network())
    labels = np.arange(9) % 3
    np.savez(folder / "data.npz", x_test=pictures(9), y_test=labels)
    return folder


def run(binary, folder, *words):
    words = [*words, "--model", "model.onnx", "--data", "data.npz", "--device", "cpu", "--quiet"]
    done = subprocess.run([binary, *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("out", "words", "choices"),
    [
        ("plain", [], {}),
        ("branched", ["--branch", "100"], {"branch": 100}),
        ("bare", ["--method", "ibp", "--no-attack"], {"method": "ibp", "attack": False}),
        ("near", ["--branch", "100", "--gap", "0.2"], {"branch": 100, "gap": 0.2}),
        ("scaled", ["--mean", "0.4", "--std", "0.5"], {"mean": 0.4, "std": [0.5]}),
        ("wide", ["--input-range", "-1..1"], {"input_range": (-1, 1)}),
        ("lengths", ["--norm", "l2"], {"norm": "l2"}),
        ("f32", ["--runtime", "any-f32", "--tolerance", "0.01"], {"runtime": "any-f32", "tolerance": 0.01}),
    ],
)
def test_brackets(binary, folder, out, words, choices):
    run(binary, folder, "certify", "--out", out, *words)
    with open(folder / out / "delta_max.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    found = deltamax.certify(folder / "model.onnx", pictures(9), np.arange(9) % 3, device="cpu", **choices)
    assert [int(row["label"]) for row in rows] == found.label.tolist()
    assert [int(row["predicted"]) for row in rows] == found.predicted.tolist()
    assert [float(row["proved"]) for row in rows] == found.proved.tolist()
    assert [float(row["attacked"] or "nan") for row in rows] == pytest.approx(found.attacked.tolist(), rel=0, nan_ok=True)
    assert [int(row["rival_proved"]) for row in rows] == found.rival_proved.tolist()
    assert [int(row["rival_attacked"] or -1) for row in rows] == found.rival_attacked.tolist()
    assert [row["method"] for row in rows] == found.method
    assert [int(row["passes"]) for row in rows] == found.passes.tolist()


def test_a_sweep(binary, folder):
    run(binary, folder, "sweep", "--out", "swept", "--variance", "0,0.01", "--draws", "5", "--seed", "3")
    levels = json.loads((folder / "swept" / "sweep.json").read_text())
    found = deltamax.sweep(
        folder / "model.onnx", pictures(9), np.arange(9) % 3, variance=[0, 0.01], draws=5, seed=3, device="cpu"
    )
    assert [level["confusion"] for level in levels] == found.confusion.tolist()
    assert [level["accuracy"]["mean"] for level in levels] == found.accuracy.tolist()


def test_an_audit(binary, folder, monkeypatch):
    run(binary, folder, "certify", "--out", "proofs")
    # The manifest names model and data as they were given.
    monkeypatch.chdir(folder)
    found = deltamax.audit("proofs")
    assert (found.rows, found.accepted + found.zero, found.unchecked, found.failures) == (9, 9, 0, [])
    assert deltamax.audit(folder / "proofs", model="model.onnx", data="data.npz", sample=2, seed=1).checked == 2
    table = folder / "proofs" / "delta_max.csv"
    lines = table.read_text().splitlines()
    cells = lines[4].split(",")
    cells[5], cells[6] = "0.5", "inf"
    lines[4] = ",".join(cells)
    table.write_text("\n".join(lines) + "\n")
    with pytest.raises(deltamax.AuditFailed, match="1 of 9 checked rows are not proved") as caught:
        deltamax.audit("proofs")
    [(index, variance, reason)] = caught.value.report.failures
    assert (index, variance) == (3, 0) and "not proved" in reason
    table.unlink()
    with pytest.raises(FileNotFoundError):
        deltamax.audit("proofs")
