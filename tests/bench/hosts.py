"""The hosts that are measured on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.engine.private import PrivateEngine

CONFIG = '{\n  "log-level": "info",\n  "insecure-registries": ["registry.internal:5000"]\n}\n'
FILES = {"/etc/default/docker": "# nothing\n", "/etc/environment": "LANG=C\n"}
POLICY = ("--fix", "unsafe")

# ten changes of mode or owner, seven of the audit rules, two of daemon.json and one of /etc/environment
CONTROLS = (
    "file-docker-service-owner",
    "file-docker-service-mode",
    "file-docker-socket-unit-owner",
    "file-docker-socket-unit-mode",
    "file-etc-docker-owner",
    "file-etc-docker-mode",
    "file-daemon-config-owner",
    "file-daemon-config-mode",
    "file-default-docker-owner",
    "file-default-docker-mode",
    "audit-dockerd",
    "audit-data-root",
    "audit-etc-docker",
    "audit-docker-service",
    "audit-default-docker",
    "audit-daemon-config",
    "audit-runc",
    "docker-insecure-registries",
    "docker-live-restore",
    "env-content-trust",
    "container-memory",
    "container-cpu-shares",
    "container-pids",
)
BAD = {
    "/usr/lib/systemd/system/docker.service": 0o666,
    "/usr/lib/systemd/system/docker.socket": 0o666,
    "/etc/docker": 0o777,
    "/etc/docker/daemon.json": 0o666,
    "/etc/default/docker": 0o666,
}
# what containers have already, so that each kind needs another set of limits
LIMITS: tuple[tuple[str, ...], ...] = (
    (),
    ("--memory", "64m"),
    ("--pids-limit", "100"),
    ("--cpu-shares", "300"),
    ("--memory", "64m", "--pids-limit", "100"),
)


def containers(host: PrivateEngine, numbers: Iterable[int], limits: tuple[tuple[str, ...], ...] = ((),)) -> None:
    """Run containers that sleep; no network of their own, which is what starting one takes longest for."""
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(lambda one: host.container(f"c{one:03}", "--network", "none", *limits[one % len(limits)]), numbers)
        )


def make_bad(host: PrivateEngine) -> None:
    """Bring a host to where an apply has 20 changes to make, and 50 containers to update."""
    if identities := host.docker("ps", "--all", "--quiet").split():
        host.docker("rm", "--force", *identities)
    for path, text in {**FILES, "/etc/docker/daemon.json": CONFIG}.items():
        host.write(path, text)
    for path, mode in BAD.items():
        host.path(path).chmod(mode)
        os.chown(host.path(path), 1, 1)
    host.path("/etc/audit/rules.d/50-docker.rules").unlink(missing_ok=True)
    host.service("restart")
    containers(host, range(50), LIMITS)


def baseline(folder: Path) -> str:
    """The baseline of the measured controls; its path."""
    path = folder / "bench.json"
    path.write_text(json.dumps({"name": "bench", "include": CONTROLS}), encoding="utf-8")
    return str(path)


def check(path: Path) -> None:
    """Stop where a plan is not the one that is to be measured."""
    plan = json.loads(path.read_bytes())["hosts"][0]
    others = [one for one in plan["changes"] if one["kind"] != "container"]
    updates = plan["steps"]["updates"]
    found = (len(others), len(updates), sum(len(one["names"]) for one in updates))
    assert found == (20, 5, 50), f"changes, sets of limits, containers: {found}"
