"""What the proof of a run sees on real engines, and does for containers that are paused."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from remediator.guard.engine import Engine
from remediator.guard.proof import not_in_effect
from remediator.kinds import daemon
from tests.lab import processes
from tests.lab.fixtures import MakeHost
from tests.lab.host import Host
from tests.lab.server import CONFIG, Server

pytestmark = pytest.mark.lab

REGISTRIES: Final = ["http://Old.example:5000", "10.1.2.3/8", "127.0.0.0/8"]


def test_a_container_that_the_engine_started_again_fails_the_run(server: Server) -> None:
    """It looks fine by the time of the look; what somebody restarted is no failure."""
    server.host.run_container("again", "--restart", "always")
    server.plan("docker-live-restore", disruption="reload")
    server.cut_off("Prove that what worked")
    assert processes.until(lambda: '"activate", "state": "did"' in server.host.read(server.journal()), 60)
    server.host.docker("restart", "two")
    server.host.run(["kill", "-9", str(server.host.container_pid("again"))])
    assert processes.until(lambda: server.host.inspect("again")["RestartCount"] == 1, 30)
    assert processes.until(lambda: server.running("again"), 30)
    told = server.run("apply", "plan.json", "--yes", "--resume", code=1)
    assert "container again was started again once by the engine since" in told
    assert "container two" not in told
    assert not server.host.exists(CONFIG)


def test_a_container_that_its_policy_keeps_alive_has_not_ended_by_itself(server: Server) -> None:
    """Without live-restore a daemon that dies has the next one stop what it finds, which may end with 0."""
    serve = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.2; done")
    server.host.run_container("kept", "--restart", "unless-stopped", command=serve)
    server.plan("docker-no-new-privileges")
    server.cut_off("Prove that what worked")
    assert processes.until(lambda: '"activate", "state": "did"' in server.host.read(server.journal()), 60)
    server.host.docker("stop", "kept")
    state: Any = server.host.inspect("kept")["State"]
    assert state["ExitCode"] == 0
    told = server.run("apply", "plan.json", "--yes", "--resume", code=1)
    assert "container kept ran before and is exited" in told
    assert server.running("kept")
    assert not server.host.exists(CONFIG)


def test_what_was_paused_is_paused_again(server: Server) -> None:
    """A plain restart ends it, and so does the way back; what was not paused runs."""
    server.host.run_container("always", "--restart", "always")
    server.host.docker("pause", "two", "always")
    server.plan("docker-no-new-privileges")
    run = server.apply()
    assert [_status(server.host, name) for name in ("one", "two", "always")] == ["running", "paused", "paused"]
    server.run("rollback", run, code=2)
    assert [_status(server.host, name) for name in ("one", "two", "always")] == ["running", "paused", "paused"]
    assert not server.host.exists(CONFIG)


def _status(host: Host, name: str) -> str:
    found: Any = host.inspect(name)["State"]
    return str(found["Status"])


class _Shown(Engine):
    """What the guard would hear of a host's engine, as it is now."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def info(self, timeout: float = 10.0) -> Any:  # noqa: ARG002 - as the guard calls it
        return json.loads(self._host.docker("info", "--format", "{{json .}}").stdout)


@pytest.mark.parametrize("generation", ["20.10", "26.1", "28.5"])
def test_engines_show_what_is_expected_of_them(lab_host: MakeHost, generation: str) -> None:
    """What a plan expects of settings is what engines of each generation show, and not what they showed before."""
    host = lab_host(generation)
    profile = "/etc/docker/profile.json"
    host.write(profile, '{"defaultAction": "SCMP_ACT_ALLOW"}')
    settings = {"no-new-privileges": True, "insecure-registries": REGISTRIES, "seccomp-profile": profile}
    live = {key: 0 for key in daemon._LIVE if key != "no-new-privileges" or generation != "20.10"}
    expected = [one for key, value in settings.items() if (one := daemon.shown(key, value, live)) is not None]
    assert len(expected) == len(settings) - (generation == "20.10")
    off = {"no-new-privileges": False, "insecure-registries": [], "seccomp-profile": ""}
    before = [one for key, value in off.items() if (one := daemon.shown(key, value, live)) is not None]

    engine = _Shown(host)
    assert (len(not_in_effect(engine, before)), len(not_in_effect(engine, expected))) == (0, len(expected))
    host.write("/etc/docker/daemon.json", json.dumps(settings))
    host.restart_docker()
    assert not_in_effect(engine, expected) == []
    assert len(not_in_effect(engine, before)) == len(before) - 1  # no profile of one's own is the unconfined one
