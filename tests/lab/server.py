"""One real server with two containers, and the program that changes it from afar."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.program import cut_off, remediator

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
        return self.last()

    def last(self) -> str:
        """The id of the last run."""
        return str(json.loads(self.run("history", "--format", "json", code=0))[-1]["run"])

    def cut_off(self, task: str, *words: str) -> None:
        """Apply the plan, and kill the control machine's processes once a task has begun."""
        cut_off(self.folder / "state", task, "apply", "plan.json", "--yes", *words, folder=self.folder)

    def daemon(self) -> str:
        """What tells the daemon that runs from others."""
        return self.host.run(["cat", "/run/docker.pid"]).stdout

    def icc(self) -> str:
        """What the bridge does: "true" or "false"."""
        option = '{{index .Options "com.docker.network.bridge.enable_icc"}}'
        return self.host.docker("network", "inspect", "bridge", "--format", option).stdout.strip()

    def running(self, name: str) -> bool:
        """Whether a container runs."""
        found: dict[str, Any] = self.host.inspect(name)
        return bool(found["State"]["Running"])

    def journal(self) -> str:
        """The path of the newest run's journal, on the host."""
        newest = self.host.run(["sh", "-c", f"ls -d {GUARD}/2*/ | tail -n 1"]).stdout.strip()
        return newest + "journal.jsonl"


@pytest.fixture(scope="module")
def made(lab_machine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server, in a lab of its own."""
    with Lab.create() as lab:
        yield Server(lab, tmp_path_factory.mktemp("server"))


@pytest.fixture
def server(made: Server) -> Server:
    """The server as every test begins."""
    made.fresh()
    return made
