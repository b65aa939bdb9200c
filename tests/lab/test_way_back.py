"""What a way back leaves alone, and what a run refuses, on a host that has changed in the meantime."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.lab import processes
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.program import cut_off, remediator

pytestmark = pytest.mark.lab

CONFIG: Final = "/etc/docker/daemon.json"
GUARD: Final = "/var/lib/remediator/guard"


class Server:
    """A server with two containers, and the program that changes it from afar."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.host: Host = lab.host("back", "28.5")
        self.host.wait_ready()
        self.inventory, self.folder = str(lab.inventory()), folder

    def fresh(self) -> None:
        """As every test begins: no configuration, no swarm, and two containers that nobody limits."""
        self.host.run(["rm", "-f", CONFIG])
        self.host.docker("swarm", "leave", "--force", check=False)
        for name in self.host.docker("ps", "--all", "--quiet").stdout.split():
            self.host.docker("rm", "--force", name)
        self.host.run(["systemctl", "reset-failed", "docker.service", "docker.socket"], check=False)
        self.host.restart_docker()
        for name in ("one", "two"):
            self.host.run_container(name)

    def run(self, *words: str, code: int) -> str:
        """Run the program; all that it said."""
        done = remediator(self.folder / "state", *words, folder=self.folder)
        assert done.returncode == code, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout + done.stderr

    def plan(self, *controls: str, disruption: str = "restart", more: tuple[str, ...] = (), code: int = 2) -> str:
        """Plan for some controls, with more options; all that it said."""
        (self.folder / "baseline.yaml").write_text(json.dumps({"name": "back", "include": list(controls)}))
        words = ("-i", self.inventory, "--baseline", "baseline.yaml", "--fix", "unsafe", "--max-disruption", disruption)
        return self.run("plan", *words, *more, "-o", "plan.json", code=code)

    def apply(self) -> str:
        """Apply the plan; the run's id."""
        self.run("apply", "plan.json", "--yes", code=2)
        return str(json.loads(self.run("history", "--format", "json", code=0))[-1]["run"])

    def cut_off(self, task: str, *words: str) -> None:
        """Apply the plan, and kill the control machine's processes once a task has begun."""
        cut_off(self.folder / "state", task, "apply", "plan.json", "--yes", *words, folder=self.folder)

    def daemon(self) -> str:
        """What tells the daemon that runs from others."""
        return self.host.run(["cat", "/run/docker.pid"]).stdout

    def running(self, name: str) -> bool:
        """Whether a container runs."""
        found: dict[str, Any] = self.host.inspect(name)
        return bool(found["State"]["Running"])


@pytest.fixture(scope="module")
def made(lab_machine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server, in a lab of its own."""
    with Lab.create() as lab:
        yield Server(lab, tmp_path_factory.mktemp("back"))


@pytest.fixture
def server(made: Server) -> Server:
    """The server as every test begins."""
    made.fresh()
    return made


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
    assert processes.until(lambda: '"activate", "state": "did"' in server.host.read(_journal(server)), 60)
    server.host.docker("kill", "two")
    told = server.run("apply", "plan.json", "--yes", "--resume", code=1)
    assert "container two ran before and is exited" in told
    assert not server.host.exists(CONFIG)
    assert server.running("two")


def _journal(server: Server) -> str:
    newest = server.host.run(["sh", "-c", f"ls -d {GUARD}/2*/ | tail -n 1"]).stdout.strip()
    return newest + "journal.jsonl"


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
        result = str(Path(_journal(server)).with_name("result.json"))
        assert processes.until(lambda: server.host.exists(result), 120)
        assert "cannot be restored" in server.host.read(result)
    finally:
        server.host.run(["umount", "/etc/docker"])
    assert processes.until(lambda: not server.host.exists(CONFIG), 90)
    assert processes.until(lambda: not json.loads(server.host.read(result))["errors"], 90)
    time.sleep(1)
    assert not server.host.exists(f"{GUARD}/current.json")
