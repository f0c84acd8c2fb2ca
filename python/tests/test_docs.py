"""docs/python.md: its blocks run from top to bottom, those marked `torch` and `cli` aside."""

import re
from pathlib import Path

import numpy as np

from conftest import network, pictures

PAGE = Path(__file__).parents[2] / "docs" / "python.md"


def test_the_blocks_run(tmp_path, monkeypatch):
    (tmp_path / "model.onnx").write_bytes(network())
    np.save(tmp_path / "images.npy", pictures(12))
    np.save(tmp_path / "labels.npy", np.arange(12) % 3)
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"^```python( \w+)?\n(.*?)^```$", text, re.M | re.S)
    assert [mark for mark, _ in blocks if mark] == [" torch", " cli"]
    names = {}
    for mark, block in blocks:
        line = text[: text.index(block)].count("\n")
        # Errors name the line of the page.
        code = compile("\n" * line + block, str(PAGE), "exec")
        if not mark:
            exec(code, names)
    assert names["answer"].result in ("sat", "unsat") and len(names["found"]) == 12
