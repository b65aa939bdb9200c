"""What a way back leaves alone, and what a run refuses, on a host that has changed in the meantime."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.lab import processes
from tests.lab.server import CONFIG, GUARD, Server

pytestmark = pytest.mark.lab


def test_what_was_stopped_since_stays_stopped(server: Server) -> None:
    """A rollback of a confirmed run starts what it stops itself, and not what somebody has stopped since."""
    server.plan("docker-no-new-privileges")
    run = server.apply()
    server.host.docker("stop", "two")
    server.run("rollback", run, code=2)
    assert not server.host.exists(CONFIG)
    assert (server.running("one"), server.running("two")) == (True, False)


def test_a_resumed_run_is_proven_as_well(server: Server) -> None:
    """What broke while nobody looked is found by the run that goes on, and everything is taken back."""
    server.plan("docker-no-new-privileges")
    server.cut_off("Prove that what worked")
    assert processes.until(lambda: '"activate", "state": "did"' in server.host.read(server.journal()), 60)
    server.host.docker("kill", "two")
    told = server.run("apply", "plan.json", "--yes", "--resume", code=1)
    assert "container two ran before and is exited" in told
    assert not server.host.exists(CONFIG)
    assert server.running("two")


def test_what_runs_with_rm_since_the_plan_is_not_lost(server: Server) -> None:
    """The engine removes it where it stops: the run is refused before anything is changed."""
    server.plan("docker-no-new-privileges")
    server.host.run_container("job", "--rm")
    assert "which run with --rm since the plan was made: job" in server.run("apply", "plan.json", "--yes", code=1)
    assert server.running("job")
    assert not server.host.exists(CONFIG)


def test_a_swarm_since_the_plan_gets_no_live_restore(server: Server) -> None:
    """With both no daemon starts any more, though a reload takes it."""
    server.plan("docker-live-restore")
    server.host.docker("swarm", "init", "--advertise-addr", "127.0.0.1")
    assert "node of a swarm by now" in server.run("apply", "plan.json", "--yes", code=1)
    assert not server.host.exists(CONFIG)


def test_what_a_reload_did_a_reload_takes_back(server: Server) -> None:
    """Also where the daemon was started since, for other reasons: it is not started once more."""
    server.plan("docker-live-restore", disruption="reload")
    run = server.apply()
    server.host.restart_docker()
    daemon = server.daemon()
    server.run("rollback", run, code=2)
    assert server.daemon() == daemon
    assert server.host.docker("info", "--format", "{{.LiveRestoreEnabled}}").stdout.strip() == "false"
    assert not server.host.exists(CONFIG)


def test_what_somebody_else_wrote_is_not_put_into_effect(server: Server) -> None:
    """Their file is left and named, and no daemon is restarted for it."""
    server.plan("docker-no-new-privileges")
    run = server.apply()
    theirs = '{"no-new-privileges": true, "debug": true}\n'
    server.host.write(CONFIG, theirs)
    daemon = server.daemon()
    assert f"{CONFIG}: was changed by someone else after the run" in server.run("rollback", run, code=2)
    assert server.host.read(CONFIG) == theirs
    assert server.daemon() == daemon


def test_a_host_goes_on_trying_to_go_back(server: Server) -> None:
    """The time to confirm is over while /etc/docker cannot be written to; later on it can."""
    server.plan("docker-no-new-privileges")
    server.cut_off("Make it take effect", "--confirm-within", "20")
    assert server.host.exists(CONFIG)
    server.host.run(["mount", "--bind", "/etc/docker", "/etc/docker"])
    server.host.run(["mount", "-o", "remount,bind,ro", "/etc/docker"])
    try:
        result = str(Path(server.journal()).with_name("result.json"))
        assert processes.until(lambda: server.host.exists(result), 120)
        assert "cannot be restored" in server.host.read(result)
    finally:
        server.host.run(["umount", "/etc/docker"])
    assert processes.until(lambda: not server.host.exists(CONFIG), 90)
    assert processes.until(lambda: not json.loads(server.host.read(result))["errors"], 90)
    time.sleep(1)
    assert not server.host.exists(f"{GUARD}/current.json")
