"""The private hosts of these tests leave the machine as it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.engine import private
from tests.engine.private import PrivateEngine
from tests.lab import cgroups
from tests.lab.state import labs

pytestmark = pytest.mark.engine


def _output(*argv: str) -> list[str]:
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return [one for one in done.stdout.splitlines() if not one.startswith("#")]  # iptables-save tells the time


def _machine() -> dict[str, Any]:
    """What a private host could leave on the machine, but for those that others run at the same time."""
    own = Path("/proc/self/ns/mnt").readlink()
    daemons = []
    for entry in Path("/proc").iterdir():
        try:
            comm = (entry / "comm").read_text(encoding="utf-8").strip() if entry.name.isdigit() else ""
            if comm in ("dockerd", "containerd") and (entry / "ns/mnt").readlink() == own:
                daemons.append(entry.name)
        except OSError:
            continue
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()]
    return {
        "mounts": [one for one in mounts if not one.startswith(str(labs()))],
        "links": sorted(one.name for one in Path("/sys/class/net").iterdir()),
        "rules": _output("iptables-save"),
        "forwarding": Path("/proc/sys/net/ipv4/ip_forward").read_text(encoding="ascii"),
        "audit": _output("auditctl", "-l"),
        "daemons": sorted(daemons),
        "docker": [str(one) for one in (Path("/run/docker.pid"), Path("/run/docker.sock")) if one.exists()],
    }


def _left(name: str) -> dict[str, list[str]]:
    """What there still is of a private host by its name: groups, files, processes (but not dead ones)."""
    here = [str(group / name) for group in cgroups.groups(private.PREFIX + "hosts") if (group / name).exists()]
    processes = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and name in (entry / "cgroup").read_text(encoding="utf-8"):
                dead = (entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
                processes += [] if dead else [entry.name]
        except OSError:
            continue
    files = [str(one) for one in Path(tempfile.gettempdir()).glob(name + "*")]
    return {"groups": here, "files": files, "processes": processes}


NOTHING: dict[str, list[str]] = {"groups": [], "files": [], "processes": []}


def test_private_host_leaves_nothing(engines: Callable[..., PrivateEngine]) -> None:
    """Mounts, links, firewall and audit rules, processes and groups are the machine's own, during and after."""
    before = _machine()
    with PrivateEngine({"icc": False}) as host:
        host.load_image()
        host.container("plain", "-p", "8080:80")
        name = host.name
        assert _left(name)["processes"] != []
        assert _machine() == before
    assert (_machine(), _left(name)) == (before, NOTHING)


def test_killed_private_host_leaves_nothing(engines: Callable[..., PrivateEngine]) -> None:
    """The same where its first process was killed."""
    before = _machine()
    with PrivateEngine() as host:
        host.load_image()
        host.container("plain")
        name = host.name
        os.kill(host.pid, signal.SIGKILL)
    assert (_machine(), _left(name)) == (before, NOTHING)


def test_private_host_ends_with_its_maker(engines: Callable[..., PrivateEngine]) -> None:
    """Where the tests themselves are killed nothing goes on running, and the next host clears up the rest."""
    before = _machine()
    program = (
        "import sys, time\nfrom tests.engine.private import PrivateEngine\n"
        "with PrivateEngine() as host:\n    print(host.name, flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as maker:
        assert maker.stdout is not None
        name = maker.stdout.readline().strip()
        maker.kill()
    deadline = time.monotonic() + 10
    while _left(name)["processes"] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _left(name)["processes"] == []
    private.sweep()
    assert (_machine(), _left(name)) == (before, NOTHING)
