"""The default policy, which disrupts nothing: what is applied by a reload, what waits; and drift afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.engine import hosts
from tests.engine.private import PrivateEngine

pytestmark = pytest.mark.engine

CONFIG = "/etc/docker/daemon.json"
UNSAFE = ("--fix", "unsafe")


@dataclass
class Reloaded:
    """A host after an apply of what a reload can do, and what was seen and said on the way."""

    host: PrivateEngine
    plan: Any
    kept: bool
    failing: list[Any]


@pytest.fixture(scope="module")
def reloaded(shared_engines: Callable[..., PrivateEngine], tmp_path_factory: pytest.TempPathFactory) -> Reloaded:
    """The host, applied to with the default disruption."""
    host = shared_engines({"log-level": "info", "experimental": False, "no-new-privileges": True})
    host.load_image()
    for name in ("first", "second"):
        host.container(name, command=hosts.QUICK)
    path = tmp_path_factory.mktemp("reloaded") / "plan.json"
    host.remediator("plan", *UNSAFE, "-o", str(path), code=2)
    before = (hosts.lives(host), hosts.daemon_pid(host))
    plan = hosts.plan_of(host, *UNSAFE, code=2)
    host.remediator("apply", str(path), "--yes", code=2)
    return Reloaded(host, plan, (hosts.lives(host), hosts.daemon_pid(host)) == before, hosts.failing(host))


def test_reload_keeps_daemon_and_containers(reloaded: Reloaded) -> None:
    """live-restore is on, and daemon and containers are the processes that they were."""
    assert reloaded.kept is True
    assert reloaded.host.docker("info", "--format", "{{.LiveRestoreEnabled}}") == "true"


def test_what_needs_a_restart_is_held(reloaded: Reloaded) -> None:
    """icc is held with what it needs, and not in the file yet."""
    assert hosts.held_reasons(reloaded.plan)["docker-icc", CONFIG] == "needs --max-disruption restart"
    assert "icc" not in json.loads(reloaded.host.read(CONFIG))


def test_second_plan_is_empty(reloaded: Reloaded) -> None:
    """Nothing is left that the default disruption allows."""
    assert hosts.plan_of(reloaded.host, *UNSAFE, code=0)["changes"] == []


def test_reload_leaves_no_false_pending(reloaded: Reloaded) -> None:
    """The file is younger than the daemon, and yet its other keys are known to be in effect."""
    assert [one["control"] for one in reloaded.failing if one.get("pending")] == []


def test_drift_is_told_corrected_and_gone(reloaded: Reloaded) -> None:
    """A lifted limit, an edited key and a wider mode are told exactly, corrected within policy, and then gone."""
    host = reloaded.host
    host.remediator("drift", "--once", *UNSAFE, code=0)
    host.docker("update", "--pids-limit", "-1", "first")
    host.write(CONFIG, host.read(CONFIG).replace('"live-restore": true', '"live-restore": false'))
    host.path("/etc/audit/rules.d/50-docker.rules").chmod(0o640)  # as it is: no drift
    host.path("/etc/docker").chmod(0o777)
    told = hosts.document(host.remediator("drift", "--once", *UNSAFE, "--format", "json", code=2))
    assert [(one["resource"], one["path"], one.get("left"), one.get("now")) for one in told["drifted"]] == [
        ("first", "/HostConfig/PidsLimit", 128, 0),
        (CONFIG, "/live-restore", True, False),
    ]
    assert sorted((one["control"], one["resource"]) for one in told["fixable"]) == [
        ("container-pids", "first"),
        ("docker-live-restore", CONFIG),
        ("file-etc-docker-mode", "/etc/docker"),
    ]
    corrected = host.remediator("drift", "--once", *UNSAFE, "--mode", "correct", "--format", "json", code=2)
    receipt = hosts.document(corrected)["receipt"]
    assert (receipt["kind"], receipt["hosts"][0]["ok"]) == ("drift", True)
    assert hosts.pids_limit(host, "first") == 128
    assert hosts.file(host, "/etc/docker/daemon.json")[1] == 0o644
    quiet = hosts.document(host.remediator("drift", "--once", *UNSAFE, "--format", "json", code=0))
    assert (quiet["drifted"], quiet["fixable"]) == ([], [])


def test_drift_of_modes_that_a_run_set(reloaded: Reloaded) -> None:
    """A mode that the correction set is watched from then on."""
    reloaded.host.path("/etc/docker").chmod(0o775)
    told = hosts.document(reloaded.host.remediator("drift", "--once", "--format", "json", code=2))
    reloaded.host.path("/etc/docker").chmod(0o755)
    assert [(one["resource"], one["path"], one["left"], one["now"]) for one in told["drifted"]] == [
        ("/etc/docker", "/mode", "0755", "0775")
    ]


@pytest.fixture
def saved_plan(reloaded: Reloaded, tmp_path: Path) -> Path:
    """A plan with something to do on the file of options and on one container."""
    host = reloaded.host
    host.docker("rm", "--force", "second")
    host.container("second", command=hosts.QUICK)
    host.write("/etc/default/docker", host.read("/etc/default/docker"), 0o666)
    path = tmp_path / "plan.json"
    host.remediator("plan", "--fix", "unsafe", "--max-disruption", "restart", "-o", str(path), code=2)
    return path


def test_plan_is_stale_after_a_container_was_made_anew(reloaded: Reloaded, saved_plan: Path) -> None:
    """The plan's container is another one by now: refused, and nothing changed."""
    reloaded.host.docker("rm", "--force", "second")
    reloaded.host.container("second", command=hosts.QUICK)
    said = reloaded.host.remediator("apply", str(saved_plan), "--yes", code=1).stderr
    assert said == "remediator: the plan is stale: second has changed since it was made\n  plan again\n"
    assert hosts.pids_limit(reloaded.host, "second") is None


def test_plan_is_stale_after_the_file_was_edited(reloaded: Reloaded, saved_plan: Path) -> None:
    """daemon.json has other bytes by now, though the same meaning: refused."""
    reloaded.host.write(CONFIG, reloaded.host.read(CONFIG) + "\n")
    said = reloaded.host.remediator("apply", str(saved_plan), "--dry-run", code=1).stderr
    assert said == f"remediator: the plan is stale: {CONFIG} has changed since it was made\n  plan again\n"


def test_plan_of_another_host_is_refused(reloaded: Reloaded, saved_plan: Path) -> None:
    """A plan is bound to the machine it was made on."""
    own = reloaded.host.read("/etc/machine-id")
    reloaded.host.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
    said = reloaded.host.remediator("apply", str(saved_plan), "--yes", code=1).stderr
    reloaded.host.write("/etc/machine-id", own)
    assert said.startswith(f"remediator: the plan was made for {reloaded.host.name} ({own.strip()}), this is ")
