"""What a host program relies on: its other threads go on, Ctrl-C works, nothing is printed, and types are as said."""

import ast
import inspect
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import deltamax
from conftest import network, pictures


def test_other_threads_go_on(model):
    ticks, done = [], threading.Event()

    def tick():
        while not done.wait(0.001):
            ticks.append(time.monotonic())

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        start = time.monotonic()
        deltamax.certify(model, pictures(200), device="cpu")
        end = time.monotonic()
    finally:
        done.set()
        thread.join()
    during = [start, *(t for t in ticks if start < t < end), end]
    # However busy the machine, nothing like the whole call passes between two ticks.
    assert len(during) > 5 and np.diff(during).max() < 0.5 * (end - start)


def test_calls_from_several_threads_agree(model, images):
    found = {}

    def certify(k):
        found[k] = deltamax.certify(model, images, device="cpu").proved.tolist()

    threads = [threading.Thread(target=certify, args=[k]) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1] == found[2] == deltamax.certify(model, images, device="cpu").proved.tolist()


LONG = """
import sys, time
import deltamax
from conftest import network, pictures

model = network((3, 32, 32), channels=16, hidden=100)
images = pictures(100_000, (3, 32, 32))
print("go", flush=True)
try:
    {call}
except KeyboardInterrupt:
    print("stopped", flush=True)
small = deltamax.certify(network(), pictures(3), device="cpu")
print(len(small), flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
@pytest.mark.parametrize(
    "call",
    [
        'deltamax.certify(model, images, device="cpu")',
        'deltamax.attack(model, images, device="cpu")',
        'deltamax.sweep(model, images, [0] * len(images), draws=1000, device="cpu")',
    ],
)
def test_ctrl_c_ends_the_call_and_not_the_program(call):
    process = subprocess.Popen(
        [sys.executable, "-c", LONG.format(call=call)],
        cwd=Path(__file__).parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "go\n"
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        start = time.monotonic()
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (out, err, process.returncode) == ("stopped\n3\n", "", 0)
    assert time.monotonic() - start < 45


def test_nothing_is_printed(model, images, capfd):
    deltamax.certify(model, images)
    deltamax.sweep(model, images, [0] * 6, device="cpu")
    deltamax.explain(model, images[0], device="cpu")
    assert capfd.readouterr() == ("", "")


def test_the_package_says_what_it_is():
    assert deltamax.__version__.count(".") == 2
    package = Path(deltamax.__file__).parent
    assert (package / "py.typed").exists() and (package / "_core.pyi").exists()
    for name in deltamax.__all__:
        assert getattr(deltamax, name) is not None
    for name in ("attack", "audit", "certify", "explain", "sweep", "verify"):
        assert "Args:" in getattr(deltamax, name).__doc__
    assert network()


def test_stubs_say_what_the_compiled_half_takes():
    core = deltamax._core
    stubs = ast.parse((Path(deltamax.__file__).parent / "_core.pyi").read_text(encoding="utf-8")).body
    said = {f.name: [a.arg for a in f.args.args] for f in stubs if isinstance(f, ast.FunctionDef)}
    there = {name: getattr(core, name) for name in dir(core) if callable(getattr(core, name))}
    assert said == {name: list(inspect.signature(f).parameters) for name, f in there.items()}
