"""Settings that are written now and take effect when the daemon is next started: pending until then, never fixed."""

from __future__ import annotations

import json
from typing import Final

import pytest

from tests.lab import processes
from tests.lab.server import CONFIG, GUARD, Server

pytestmark = pytest.mark.lab

RECORD: Final = "/var/lib/remediator/activation.json"
DEFER: Final = ("--defer",)


def _configure(server: Server, text: str) -> None:
    """Give the daemon a configuration, and have both containers run with it."""
    server.host.write(CONFIG, text)
    server.host.restart_docker()
    server.host.docker("start", "one", "two")


def _audit(server: Server, code: int) -> str:
    return server.run("audit", "-i", server.inventory, "--baseline", "baseline.yaml", "--all", code=code)


def test_icc_waits_until_its_containers_stop(server: Server) -> None:
    """Under live-restore no restart takes it up while they run: it is written, interrupts nothing, and is said so."""
    before = '{"live-restore": true}\n'
    _configure(server, before)
    told = server.plan("docker-icc", code=0)
    assert "needs --max-disruption recreate: live-restore is on: takes effect only after these are stopped" in told
    assert "one, two; or --defer, which writes it and leaves it pending until they next stop" in told

    note = "icc: written, and NOT in effect until these next stop and the daemon is started: one, two"
    assert note in server.plan("docker-icc", more=DEFER)
    assert "leave icc pending" in server.run("apply", "plan.json", "--dry-run", code=2)
    assert server.host.read(CONFIG) == before

    was = server.daemon(), server.host.container_pid("one"), server.host.container_pid("two")
    told = server.run("apply", "plan.json", "--yes", code=2)
    run = server.last()
    assert "0 fixed, 1 pending activation, 0 not fixed" in told
    assert was == (server.daemon(), server.host.container_pid("one"), server.host.container_pid("two"))
    assert json.loads(server.host.read(CONFIG))["icc"] is False
    assert server.icc() == "true"
    assert "pending activation" in _audit(server, 2)

    assert "already written, and pending until these next stop" in server.plan("docker-icc", more=DEFER, code=0)
    words = ("-i", server.inventory, "--baseline", "baseline.yaml", "--mode", "correct", "--fix", "unsafe", "--defer")
    assert "No drift" in server.run("drift", "--once", *words, code=0)

    server.host.restart_docker()  # containers run on, and with them the bridge
    assert server.icc() == "true"
    assert "pending activation" in _audit(server, 2)
    server.host.docker("stop", "one", "two")
    server.host.restart_docker()
    assert server.icc() == "false"
    assert "pending activation" not in _audit(server, 0)

    daemon = server.daemon()
    told = server.run("rollback", run, code=2)
    assert "icc: the daemon was started since the run, and does as the run had it until it is next started" in told
    assert (server.host.read(CONFIG), server.daemon()) == (before, daemon)


def test_only_what_was_deferred_is_pending(server: Server) -> None:
    """Of a key that the engine does not show the record tells; a later plan may put it into effect."""
    before = '{"log-level": "info"}\n'
    _configure(server, before)
    server.plan("docker-userland-proxy", "docker-log-level", disruption="none", more=DEFER)
    daemon = server.daemon()
    assert "0 fixed, 1 pending activation, 0 not fixed" in server.run("apply", "plan.json", "--yes", code=2)
    deferred = server.last()
    assert json.loads(server.host.read(RECORD))["pending"] == ["userland-proxy"]
    told = _audit(server, 2)
    assert told.count("pending activation") == 1
    written = server.host.read(CONFIG), server.host.read(RECORD)

    server.plan("docker-userland-proxy", "docker-live-restore", disruption="reload", more=DEFER)
    assert "1 fixed, 0 pending activation, 0 not fixed" in server.run("apply", "plan.json", "--yes", code=2)
    assert json.loads(server.host.read(RECORD))["pending"] == ["userland-proxy"]
    assert "pending activation" in _audit(server, 2)
    server.run("rollback", server.last(), code=2)
    assert (server.host.read(CONFIG), server.host.read(RECORD)) == written

    server.run("rollback", deferred, code=2)
    assert server.host.read(CONFIG) == before
    assert not server.host.exists(RECORD)
    assert server.daemon() == daemon


def test_a_restart_for_others_expects_nothing_of_what_waits(server: Server) -> None:
    """icc stays pending beside a setting that is taken up; with leave for more, it is taken up as well."""
    _configure(server, '{"live-restore": true}\n')
    pid = server.host.container_pid("one")
    server.plan("docker-icc", "docker-no-new-privileges", more=DEFER)
    assert "1 fixed, 1 pending activation, 0 not fixed" in server.run("apply", "plan.json", "--yes", code=2)
    assert (server.host.container_pid("one"), server.icc()) == (pid, "true")
    server.plan("docker-icc", "docker-no-new-privileges", disruption="recreate", more=DEFER)
    assert "1 fixed, 0 pending activation, 0 not fixed" in server.run("apply", "plan.json", "--yes", code=2)
    assert server.icc() == "false"
    assert server.running("one")


def test_a_boot_in_the_middle_takes_all_of_it_back(server: Server) -> None:
    """It takes up what was to wait, and nobody has confirmed that: the daemon is started once more, by the old file."""
    before = '{"live-restore": true}\n'
    _configure(server, before)
    server.host.docker("update", "--restart", "always", "one")
    server.plan("docker-icc", "docker-no-new-privileges", disruption="reload", more=DEFER)
    server.cut_off("Prove that what worked")
    assert processes.until(lambda: '"defer", "state": "did"' in server.host.read(server.journal()), 60)
    server.host.kill()
    server.host.start()
    server.host.wait_ready(180)
    assert processes.until(lambda: not server.host.exists(f"{GUARD}/current.json"), 180)
    assert server.host.read(CONFIG) == before
    assert server.icc() == "true"
    assert "no-new-privileges" not in server.host.docker("info", "--format", "{{.SecurityOptions}}").stdout
    assert processes.until(lambda: server.running("one"), 60)
