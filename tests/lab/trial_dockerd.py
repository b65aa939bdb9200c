"""Starts a second dockerd with each of some configurations, on the host on which it runs; says what became of it.

Reads [{name, config, flags, run, image}] on standard input and writes {name: {started, ran, told}}. Each daemon has a
network namespace, roots, socket and containerd namespaces of its own, so that several start side by side and the
host's own daemon is not touched. Standard library only.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

WORK = "/run/trial"
TIME = 60  # seconds for a start


def answers(path: str) -> bool:
    """Whether an engine answers at a socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2)
        try:
            connection.connect(path)
            connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            return b" 200 " in connection.recv(64)
        except OSError:
            return False


def run(path: str, image: str) -> str:
    """What goes wrong when a container is run; "" where nothing does."""
    docker = ["docker", "-H", "unix://" + path]
    subprocess.run([*docker, "import", image, "trial"], capture_output=True, check=True, timeout=60)
    argv = [*docker, "run", "--rm", "--network", "none", "trial", "/bin/true"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    return done.stderr.strip() if done.returncode else ""


def trial(case: dict[str, Any]) -> dict[str, Any]:
    """Start dockerd with one configuration, and end it."""
    number = case["number"]
    home = f"{WORK}/{number}"
    shutil.rmtree(home, ignore_errors=True)
    os.makedirs(home)
    text = case["config"]
    if text is not None:
        with open(home + "/daemon.json", "w", encoding="utf-8", newline="") as file:
            file.write(text if isinstance(text, str) else json.dumps(text))
    own = {
        "pidfile": home + "/pid",
        "data-root": home + "/data",
        "exec-root": home + "/exec",
        "containerd": "/run/containerd/containerd.sock",
        "containerd-namespace": f"trial{number}",
        "containerd-plugins-namespace": f"trial{number}.plugins",
        "storage-driver": "vfs",
    }
    given = [word.partition("=")[0] for word in case["flags"]]
    keys = text if isinstance(text, dict) else {}
    mine = [f"--{name}={value}" for name, value in own.items() if "--" + name not in given and name not in keys]
    path = home + "/sock"
    words = [*mine, *([] if "hosts" in keys else ["-H", "unix://" + path]), *case["flags"]]
    if text is not None:
        words += ["--config-file", home + "/daemon.json"]
    inner = ["ip", "link", "set", "lo", "up"]
    program = f"import os,subprocess,sys; subprocess.call({inner!r}); os.execvp('dockerd', ['dockerd', *sys.argv[1:]])"
    with open(home + "/log", "wb") as log:
        process = subprocess.Popen(
            ["unshare", "--net", "--mount", "--propagation", "private", sys.executable, "-c", program, *words],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    deadline = time.monotonic() + TIME
    started = False
    while process.poll() is None and time.monotonic() < deadline:
        if answers(path):
            started = True
            break
        time.sleep(0.05)
    wrong = ""
    try:
        if started and case["run"]:
            wrong = run(path, case["image"])
    except (OSError, subprocess.SubprocessError) as error:
        wrong = str(error)
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    with open(home + "/log", encoding="utf-8", errors="replace") as file:
        lines = [one for one in file.read().splitlines() if one.strip() and "level=" not in one]
    shutil.rmtree(home, ignore_errors=True)
    return {"started": started, "ran": wrong, "told": "\n".join(lines[-3:])}


def main() -> None:
    """Try all configurations that are given, some at a time."""
    cases = json.load(sys.stdin)
    for number, case in enumerate(cases):
        case["number"] = number
    with ThreadPoolExecutor(4) as pool:
        json.dump({case["name"]: told for case, told in zip(cases, pool.map(trial, cases))}, sys.stdout)  # noqa: B905


if __name__ == "__main__":
    main()
