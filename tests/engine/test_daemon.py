"""What the daemon takes up, how, and what it would not survive: on real engines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine import hosts
from tests.engine.private import PrivateEngine

pytestmark = pytest.mark.engine

ENGINES = Callable[..., PrivateEngine]
CONFIG = "/etc/docker/daemon.json"
RESTART = ("--fix", "unsafe", "--max-disruption", "restart")
RECREATE = ("--fix", "unsafe", "--max-disruption", "recreate")
# a baseline of the daemon's controls that can be fixed
DAEMON = ("docker-icc", "docker-log-level", "docker-live-restore", "docker-no-new-privileges", "docker-userland-proxy")
EVIL = "{{ lookup('pipe', 'touch /tmp/pwned') }}"


@pytest.fixture
def daemon_only(tmp_path: Path) -> tuple[str, str]:
    """The option for a baseline of some controls on the daemon."""
    path = tmp_path / "daemon.json"
    path.write_text(json.dumps({"name": "daemon", "include": list(DAEMON)}), encoding="utf-8")
    return ("--baseline", str(path))


def _apply(host: PrivateEngine, plan: Path, *options: str) -> None:
    host.remediator("plan", *options, "-o", str(plan), code=2)
    host.remediator("apply", str(plan), "--yes", code=2)


def test_live_restore_goes_first(engines: ENGINES, tmp_path: Path, daemon_only: tuple[str, str]) -> None:
    """Where the bridge stays as it is, live-restore is reloaded first, and all containers outlive the restart."""
    host = engines({"icc": False, "log-level": "debug"})
    host.load_image()
    host.docker("network", "create", "app")
    host.container("bridged", command=hosts.QUICK)
    host.container("networked", "--network", "app", command=hosts.QUICK)
    lives, daemon = hosts.lives(host), hosts.daemon_pid(host)
    _apply(host, tmp_path / "plan.json", *RESTART, *daemon_only)
    assert hosts.lives(host) == lives
    assert hosts.daemon_pid(host) != daemon
    assert hosts.plan_of(host, *RESTART, *daemon_only, code=0)["changes"] == []


def test_icc_under_live_restore(engines: ENGINES, tmp_path: Path, daemon_only: tuple[str, str]) -> None:
    """A restart that containers survive does not change the bridge: held, with their names, until they may stop.

    Nor is icc taken for fixed when someone has edited the file and restarted: the engine still does otherwise.
    """
    host = engines({"live-restore": True})
    host.load_image()
    for name in ("first", "second"):
        host.container(name, command=hosts.QUICK)
    held = hosts.plan_of(host, *RESTART, *daemon_only)
    reason = hosts.held_reasons(held)["docker-icc", CONFIG]
    assert reason.startswith("needs --max-disruption recreate: live-restore is on")
    assert ": first, second; or --defer, which writes it and leaves it pending until they next stop" in reason
    assert (CONFIG, "/icc") not in hosts.changes(held)

    host.write(CONFIG, json.dumps({"live-restore": True, "icc": False}))
    host.service("restart")
    assert host.pings("first", "second") is True
    found = {one["control"]: one for one in hosts.failing(host)}["docker-icc"]
    assert found["pending"] is True
    assert found["reason"].startswith("pending activation: is false in the configuration, while the engine does true")

    _apply(host, tmp_path / "plan.json", *RECREATE, *daemon_only)
    assert (hosts.running(host), host.pings("first", "second")) == (["first", "second"], False)
    assert hosts.plan_of(host, *RECREATE, *daemon_only, code=0)["changes"] == []
    assert "docker-icc" not in {one["control"] for one in hosts.failing(host)}


def test_temporary_containers_hold_restarts(engines: ENGINES, tmp_path: Path, daemon_only: tuple[str, str]) -> None:
    """A restart removes what runs with --rm, live-restore or not: held, with names, until recreate is allowed."""
    host = engines({"icc": False})
    host.load_image()
    host.container("plain", command=hosts.QUICK)
    host.container("temporary", "--rm", command=hosts.QUICK)
    plan = hosts.plan_of(host, *RESTART, *daemon_only, code=2)
    assert hosts.changes(plan) == [(CONFIG, "/live-restore")]
    lost = "a restart of the daemon removes these, which run with --rm: temporary"
    assert {
        control: reason
        for (control, _), reason in hosts.held_reasons(plan).items()
        if reason.startswith("needs --max-disruption")
    } == {
        "docker-no-new-privileges": f"needs --max-disruption recreate: {lost}",
        "docker-userland-proxy": f"needs --max-disruption recreate: {lost}",
    }
    plan = hosts.plan_of(host, *RECREATE, *daemon_only, code=2)
    assert plan["notes"] == ["removed by the restart, since they run with --rm: temporary"]
    _apply(host, tmp_path / "plan.json", *RECREATE, *daemon_only)
    assert hosts.running(host) == ["plain"]
    assert hosts.plan_of(host, *RECREATE, *daemon_only, code=0)["changes"] == []


@pytest.fixture(scope="module")
def flagged(
    shared_engines: ENGINES, tmp_path_factory: pytest.TempPathFactory
) -> tuple[PrivateEngine, dict[tuple[str, str], str], str]:
    """A host with flags of its own and hostile names, after an apply; why what was held, and its state before."""
    options = '# kept by hand\nDOCKER_OPTS="--icc=true --log-level debug"\n'
    config = f'{{"log-opts":  {{"tag":"{{{{.Name}}}}"}},\n"labels" : ["owner={EVIL}"], "max-concurrent-uploads": 2}}\n'
    host = shared_engines(config, files={"/etc/default/docker": options})
    host.load_image()
    label = f"com.docker.compose.project={EVIL}"
    host.container("evil", "--label", label, "-e", "TOKEN=5w0rdf15h", command=hosts.QUICK)
    state = host.remediator("collect", code=0).stdout
    folder = tmp_path_factory.mktemp("flagged")
    plan = hosts.plan_of(host, *RESTART, code=2)
    host.remediator("plan", *RESTART, "-o", str(folder / "plan.json"), code=2)
    host.remediator("apply", str(folder / "plan.json"), "--yes", code=2)
    assert (CONFIG, "/icc") in hosts.changes(plan)
    return host, hosts.held_reasons(plan), state


def test_flags_are_fixed_where_they_stand(
    flagged: tuple[PrivateEngine, dict[tuple[str, str], str], str],
) -> None:
    """A key that a flag sets is changed in the file of the init script, and not put into daemon.json as well."""
    host, held, _ = flagged
    assert {"docker-icc", "docker-log-level"} & {control for control, _ in held} == set()
    assert host.read("/etc/default/docker") == '# kept by hand\nDOCKER_OPTS="--icc=false --log-level info"\n'
    pid = host.read("/run/docker.pid").strip()
    assert "--icc=false" in host.run("cat", f"/proc/{pid}/cmdline").stdout.split("\0")
    config = json.loads(host.read(CONFIG))
    assert {"icc", "log-level"} & set(config) == set()
    assert config["no-new-privileges"] is True
    assert host.docker("info", "--format", "{{.LiveRestoreEnabled}}") == "true"


def test_templates_in_settings_stay_text(flagged: tuple[PrivateEngine, dict[tuple[str, str], str], str]) -> None:
    """What looks like a template is kept to the byte, and never run: neither in daemon.json nor in labels."""
    host, _, state = flagged
    text = host.read(CONFIG)
    assert text.startswith(
        f'{{"log-opts":  {{"tag":"{{{{.Name}}}}"}},\n"labels" : ["owner={EVIL}"], "max-concurrent-uploads": 2'
    )
    assert host.docker("info", "--format", '{{join .Labels ""}}') == f"owner={EVIL}"
    assert "touch /tmp/pwned" in state  # the label came as far as that
    assert not host.path("/tmp/pwned").exists()


def test_values_of_environment_variables_are_not_read(
    flagged: tuple[PrivateEngine, dict[tuple[str, str], str], str],
) -> None:
    """A container's environment is in no state."""
    assert "5w0rdf15h" not in flagged[2]
    assert "5w0rdf15h" in flagged[0].docker("inspect", "evil")


@pytest.mark.parametrize("again", ["resumed", "planned anew"])
def test_killed_run_is_finished(engines: ENGINES, tmp_path: Path, daemon_only: tuple[str, str], again: str) -> None:
    """Killed after daemon.json was written and before the restart: its plan goes on, another one takes it back."""
    host = engines({"log-level": "debug"})
    host.load_image()
    host.container("plain", command=hosts.QUICK)
    plan, daemon = tmp_path / "plan.json", hosts.daemon_pid(host)
    host.remediator("plan", *RESTART, *daemon_only, "-o", str(plan), code=2)
    before = host.read(CONFIG)
    argv = [sys.executable, "-m", "remediator", "apply", str(plan), "--yes"]
    enter = ["nsenter", "--target", str(host.pid), "--mount", "--net", "--pid", "--cgroup", "--uts"]
    own = {**os.environ, "TMPDIR": str(tmp_path)}  # what is killed leaves its files
    run = subprocess.Popen([*enter, *argv], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=own)
    deadline = time.monotonic() + 60
    while host.read(CONFIG) == before:
        assert run.poll() is None, "the run ended without a change"
        assert time.monotonic() < deadline, "the run does not get anywhere"
        time.sleep(0.005)
    _kill_tree(run.pid)
    run.wait(timeout=10)
    assert hosts.daemon_pid(host) == daemon

    pending = {one["control"]: one.get("pending", False) for one in hosts.failing(host)}
    assert {one: pending.get(one) for one in DAEMON} == dict.fromkeys(DAEMON, True)
    died = hosts.document(host.remediator("history", "--format", "json", code=0))
    assert [one["finished_at"] for one in died] == [""]
    if again == "resumed":
        host.remediator("apply", str(plan), "--resume", "--yes", code=2)
    else:
        other = tmp_path / "other.json"
        host.remediator("plan", *RESTART, *daemon_only, "-o", str(other), code=2)
        assert "a run that had died was taken back" in host.remediator("apply", str(other), "--yes", code=1).stdout
        assert (host.read(CONFIG), hosts.daemon_pid(host)) == (before, daemon)
        _apply(host, tmp_path / "third.json", *RESTART, *daemon_only)
    assert hosts.daemon_pid(host) != daemon
    assert hosts.running(host) == ["plain"]
    assert hosts.plan_of(host, *RESTART, *daemon_only, code=0)["changes"] == []


def _kill_tree(pid: int) -> None:
    """Kill a process and all below it, all at once: stopped first, so that none starts another."""
    found = [pid]
    for one in found:
        try:
            os.kill(one, signal.SIGSTOP)
            found += map(int, Path(f"/proc/{one}/task/{one}/children").read_text(encoding="ascii").split())
        except (ProcessLookupError, FileNotFoundError):
            continue
    for one in found:
        try:
            os.kill(one, signal.SIGKILL)
        except ProcessLookupError:
            continue
