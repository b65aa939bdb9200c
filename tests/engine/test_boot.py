"""The dead-man's switch of a host without systemd: its own process, and after a boot a real cron."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from remediator.guard import source
from remediator.plan import playbook, saved
from tests.engine import hosts
from tests.engine.private import PrivateEngine

pytestmark = pytest.mark.engine

CONFIG = "/etc/docker/daemon.json"
GUARD = "/var/lib/remediator/guard"
JOB = "/etc/cron.d/remediator-guard"
BEGIN = "import json, sys; given = json.load(sys.stdin); exec(compile(given['guard'], 'guard.py', 'exec'))"
# What of the machine's a cron of this host must not run
OWN_CRON = "mount -t tmpfs tmpfs /var/spool/cron; mkdir /var/spool/cron/crontabs; rm -f /etc/cron.d/*; : >/etc/crontab"


def guard(host: PrivateEngine, *words: str) -> str:
    """Call the guard on the host as a playbook does."""
    return host.run("/usr/bin/python3", f"{GUARD}/guard.py", *words).stdout


def begin(host: PrivateEngine, folder: Path, limit: int) -> str:
    """Plan a restart with another daemon.json, open its run and write the file as the playbook does; its name."""
    baseline = hosts.baseline(host, folder / "icc.json", ["docker-icc"])
    policy = ("--baseline", baseline, "--fix", "unsafe", "--max-disruption", "restart")
    host.remediator("plan", *policy, "-o", str(folder / "plan.json"), code=2)
    plan = saved.load(folder / "plan.json")
    request = playbook.variables(plan.hosts[0], "localhost", plan.digest, playbook.Run(confirm_within=limit))
    given = {"request": request, "check": False, "guard": source()}
    answer = json.loads(host.run("/usr/bin/python3", "-c", BEGIN, "begin", text_input=json.dumps(given)).stdout)
    [edit] = answer["files"]
    assert edit["path"] == CONFIG
    host.write(CONFIG, host.read(f"{GUARD}/{answer['run']}/new/{edit['index']}"))
    return str(answer["run"])


def ended(host: PrivateEngine, run: str) -> dict[str, Any]:
    """How a run was taken back by the host itself, once it was."""
    result, deadline = host.path(f"{GUARD}/{run}/result.json"), time.monotonic() + 150
    while not result.exists() or host.path(f"{GUARD}/current.json").exists() or host.path(JOB).exists():
        assert time.monotonic() < deadline, "nobody took it back"
        time.sleep(0.1)
    return dict(json.loads(result.read_text()))


def processes(host: PrivateEngine) -> str:
    """The command lines of the guard's processes on the host."""
    return host.run("pgrep", "-af", f"{GUARD}/guard.py", check=False).stdout


def test_a_process_of_its_own_takes_back_what_nobody_confirms(
    engines: Callable[..., PrivateEngine], tmp_path: Path
) -> None:
    """And ends, and leaves nothing for a boot to do."""
    host = engines({"icc": True})
    host.path("/etc/cron.d").mkdir(exist_ok=True)
    run = begin(host, tmp_path, limit=2)
    assert host.path(JOB).exists()
    done = ended(host, run)
    assert (done["reason"], done["errors"]) == ("it was not confirmed within 2 seconds", [])
    assert json.loads(host.read(CONFIG)) == {"icc": True}
    deadline = time.monotonic() + 10
    while processes(host):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_cron_takes_back_after_a_boot(engines: Callable[..., PrivateEngine], tmp_path: Path) -> None:
    """Also where it is up before the daemon is: that is then started once, and runs with what it had before."""
    if shutil.which("cron") is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("not installed: cron")
    host = engines({"icc": True})
    host.run("sh", "-ec", OWN_CRON)
    run = begin(host, tmp_path, limit=600)
    guard(host, "activate", run)
    assert hosts.file(host, JOB)[1:] == (0o644, 0, 0)
    bridge = ("network", "inspect", "bridge", "--format", '{{index .Options "com.docker.network.bridge.enable_icc"}}')
    assert host.docker(*bridge) == "false"
    # what a boot does: all processes are gone, and it has another id
    host.service("stop")
    host.run("pkill", "-KILL", "-f", f"{GUARD}/guard.py expire")
    known = json.loads(host.read(f"{GUARD}/current.json"))
    host.write(f"{GUARD}/current.json", json.dumps({**known, "boot": "another"}), 0o600)
    host.run("cron")
    deadline = time.monotonic() + 20
    while "guard.py boot" not in processes(host):
        assert time.monotonic() < deadline, "cron did not start the guard"
        time.sleep(0.1)
    time.sleep(1)
    host.service("start")
    done = ended(host, run)
    assert (done["reason"], done["errors"]) == ("the host was started anew before it was confirmed", [])
    assert json.loads(host.read(CONFIG)) == {"icc": True}
    assert host.docker(*bridge) == "true"
