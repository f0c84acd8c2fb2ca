"""Runs the table of kernels in a browser's WebGPU, whose compiler of shaders is not ours (Chromium: Tint), and has the
tests judge what it read back.

    apt-get install chromium
    python tests/manual/webgpu.py [FOLDER] [FLAGS OF CHROMIUM]

Needs only Python and cargo. Inputs and outputs stay in FOLDER (default: target/webgpu). The browser's software adapter
(SwiftShader) is used, so that the result does not hang on the machine. CHROMIUM names another browser of its kind.
Prints one line per kernel and fails if one fails.
"""

import functools
import http.server
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = pathlib.Path(__file__).with_suffix(".html")
MINUTES = 30
FLAGS = """--headless=new --no-sandbox --enable-unsafe-webgpu --use-webgpu-adapter=swiftshader --no-first-run
    --disable-background-networking --disable-component-update --disable-sync""".split()


class Handler(http.server.SimpleHTTPRequestHandler):
    """Gives the page and the table, takes files back."""

    def do_GET(self):
        if self.path != "/":
            return super().do_GET()
        page = PAGE.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def do_POST(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        name = pathlib.PurePosixPath(self.path).name
        pathlib.Path(self.directory, name).write_bytes(content)
        self.send_response(204)
        self.end_headers()
        if name == "end":
            self.server.ended.set()

    def log_message(self, *_):
        pass


def kernels(variable, folder, *arguments):
    command = ["cargo", "test", "--release", "--test", "kernels", "--", *arguments]
    return subprocess.run(command, cwd=ROOT, env=os.environ | {variable: str(folder)}).returncode


def browse(folder, flags):
    """Opens the page and waits until it has said what it ran on."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    server.ended = threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    browser = os.environ.get("CHROMIUM", "chromium")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, open(folder / "browser.log", "w") as log:
        url = f"http://127.0.0.1:{server.server_port}/"
        command = [browser, *FLAGS, f"--user-data-dir={profile}", *flags, url]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 60 * MINUTES
            while not server.ended.wait(1):
                if process.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"the browser gave no results within {MINUTES} minutes, or ended early; see {log.name}")
        finally:
            process.terminate()
            process.wait()
            server.shutdown()
    end = json.loads((folder / "end").read_text())
    if "fault" in end:
        sys.exit(f"the page failed: {end['fault']}")
    version = subprocess.run([browser, "--version"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return end | {"browser": version.stdout.strip()}


def main(folder=ROOT / "target/webgpu", *flags):
    folder = pathlib.Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for old in [*folder.glob("*.out"), *folder.glob("*.fault"), *folder.glob("end")]:
        old.unlink()
    if kernels("DELTAMAX_EXPORT", folder):
        return 1
    end = browse(folder, flags)
    failed = kernels("DELTAMAX_IMPORT", folder, "browser::")
    for message in end["told"]:
        print(message)
    print(f"{end['cases']} cases of {end['kernels']} kernels on {end['adapter']} in {end['browser']}")
    return failed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
