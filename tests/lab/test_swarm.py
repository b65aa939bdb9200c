"""A swarm of three managers: each is restarted while the others have a quorum, and its tasks move before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab import processes
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.program import remediator

pytestmark = pytest.mark.lab

POLICY = ("--fix", "unsafe", "--max-disruption", "restart")


class Swarm:
    """Three managers with a service of four tasks, and the program that changes them."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.hosts: list[Host] = lab.host_group([(f"manager{index}", "28.5") for index in range(3)])
        for host in self.hosts:
            host.load_image()
        first = self.hosts[0]
        first.docker("swarm", "init", "--advertise-addr", first.ip)
        token = first.docker("swarm", "join-token", "--quiet", "manager").stdout.strip()
        for host in self.hosts[1:]:
            host.docker("swarm", "join", "--token", token, "--advertise-addr", host.ip, f"{first.ip}:2377")
        first.docker("service", "create", "--detach=false", "--replicas", "4", "--name", "api", "busybox:local")
        self.inventory, self.folder = str(lab.inventory()), folder
        chosen = {"name": "swarm", "include": ["docker-no-new-privileges", "docker-live-restore"]}
        (folder / "swarm.yaml").write_text(json.dumps(chosen))

    def run(self, *words: str, code: int) -> str:
        """Run the program; its output."""
        done = remediator(self.folder / "state", *words, folder=self.folder)
        assert done.returncode == code, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout

    def plan(self, name: str, code: int = 2) -> list[Any]:
        """Save a plan; the plans of its hosts."""
        words = ("-i", self.inventory, "--baseline", "swarm.yaml", *POLICY)
        self.run("plan", *words, "-o", name, code=code)
        found: list[Any] = json.loads((self.folder / name).read_text())["hosts"]
        return found

    def steps(self, host: Host) -> list[str]:
        """The steps in the journal of the host's last run."""
        newest = host.run(["sh", "-c", "ls -d /var/lib/remediator/guard/2*/ | tail -n 1"]).stdout.strip()
        lines = host.read(newest + "journal.jsonl").splitlines()
        return [json.loads(line)["step"] for line in lines]

    def settled(self) -> bool:
        """Whether all managers are reachable and have tasks again."""
        lines = self.hosts[0].docker("node", "ls", "--format", "{{json .}}", check=False).stdout.splitlines()
        found = [json.loads(line) for line in lines]
        alike = [(one["Availability"], one["Status"], one["ManagerStatus"] != "Unreachable") for one in found]
        return alike == [("Active", "Ready", True)] * 3


@pytest.fixture(scope="module")
def swarm(lab_machine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swarm]:
    """The swarm, in a lab of its own."""
    with Lab.create() as lab:
        yield Swarm(lab, tmp_path_factory.mktemp("swarm"))


def test_managers_are_restarted_one_by_one_and_drained(swarm: Swarm) -> None:
    """Each is a wave of its own, moves its tasks away and takes tasks again; live-restore is never planned."""
    plans = swarm.plan("plan.json")
    assert {change["path"] for host in plans for change in host["changes"]} == {"/no-new-privileges"}
    daemons = [host.run(["cat", "/run/docker.pid"]).stdout for host in swarm.hosts]
    swarm.run("apply", "plan.json", "--yes", "--waves", "100%", code=2)
    assert processes.until(swarm.settled, 60)
    for host, daemon in zip(swarm.hosts, daemons, strict=True):
        assert host.run(["cat", "/run/docker.pid"]).stdout != daemon
        steps = swarm.steps(host)
        assert steps.index("drain") < steps.index("restart") < steps.index("active")
    replicas = ("service", "ls", "--format", "{{.Replicas}}")
    assert processes.until(lambda: swarm.hosts[0].docker(*replicas).stdout.strip() == "4/4", 60)

    run = json.loads(swarm.run("history", "--format", "json", code=0))[-1]["run"]
    swarm.run("rollback", run, code=2)
    assert processes.until(swarm.settled, 60)
    for host in swarm.hosts:
        assert not host.exists("/etc/docker/daemon.json")
        back = swarm.steps(host)[swarm.steps(host).index("undo") :]
        assert back.index("drain") < back.index("restart back") < back.index("active")


def test_a_manager_is_not_restarted_without_a_quorum(swarm: Swarm) -> None:
    """With one of three managers down no other one may go: refused before anything is changed."""
    assert processes.until(swarm.settled, 60)
    for host in swarm.hosts[:2]:
        host.run(["rm", "-f", "/etc/docker/daemon.json"])
    swarm.hosts[2].kill()

    def unreachable() -> bool:
        found = swarm.hosts[0].docker("node", "ls", "--format", "{{.ManagerStatus}}", check=False).stdout.split()
        return "Unreachable" in found

    assert processes.until(unreachable, 90)
    words = ("-i", swarm.inventory, "--limit", "manager0,manager1", "--baseline", "swarm.yaml", *POLICY)
    swarm.run("plan", *words, "-o", "second.json", code=2)
    daemon = swarm.hosts[0].run(["cat", "/run/docker.pid"]).stdout
    said = swarm.run("apply", "second.json", "--yes", code=1)
    assert "1 of 3 managers are reachable, and the swarm needs 2" in said
    assert swarm.hosts[0].run(["cat", "/run/docker.pid"]).stdout == daemon
    assert not swarm.hosts[0].exists("/etc/docker/daemon.json")
