"""One host of each engine generation, and the product run on all of them at once: a plugin for test_generations_*.

    pytest_plugins = ["tests.lab.test_generations_fleet"]

A test module tells its stories in module fixtures: each brings the hosts into a state, runs the product once for
all three, and notes what is to be seen. The tests, one a generation, then only look at the notes.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from remediator.apply.receipts import HostReceipt, Receipt
from remediator.audit import audit
from remediator.baseline import load_baseline
from remediator.model import Disruption, Finding, HostState, Safety
from remediator.plan.model import HostPlan, Plan, Policy
from remediator.plan.plan import plan_host
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.program import remediator
from tests.lab.recipe import GENERATIONS

pytestmark = pytest.mark.lab

T = TypeVar("T")

CONFIG = "/etc/docker/daemon.json"
DROP_IN = "/etc/systemd/system/docker.service.d/10-test.conf"
SOCKET_DROP_IN = "/etc/systemd/system/docker.socket.d/10-test.conf"
OPTIONS = "/etc/default/docker"
STATE = "/var/lib/remediator"
CLEAN = f"""
systemctl reset-failed docker docker.socket
docker info >/dev/null 2>&1 || {{ rm -f {CONFIG}; systemctl restart docker; }}
docker swarm leave --force >/dev/null 2>&1
docker ps -aq | xargs -r docker rm --force >/dev/null
docker network prune --force >/dev/null
rm -rf {CONFIG} {Path(DROP_IN).parent} {Path(SOCKET_DROP_IN).parent} {OPTIONS} {STATE}
systemctl daemon-reload
"""


class Product:
    """What one run of the program said: its exit code and its two outputs."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr


class Fleet:
    """The hosts by generation, and the product as it reaches them: by their inventory."""

    def __init__(self, lab: Lab, hosts: list[Host], work: Path) -> None:
        self._lab, self._work = lab, work
        self.hosts = {one.generation: one for one in hosts}
        self._names = {one.name: one.generation for one in hosts}
        self._made = 0

    def each(self, do: Callable[[Host], T]) -> dict[str, T]:
        """Do the same on all hosts at the same time; what it gave, by generation."""
        with ThreadPoolExecutor(len(self.hosts)) as pool:
            return dict(zip(self.hosts, pool.map(do, self.hosts.values()), strict=True))

    def reset(self, config: dict[str, object] | str | None = None, files: Mapping[str, str] | None = None) -> None:
        """Bring all hosts back to what a fresh one is, with these files, and restart the engine."""
        written = dict(files or {})
        if config is not None:
            written[CONFIG] = config if isinstance(config, str) else json.dumps(config, indent=2) + "\n"

        def bring(host: Host) -> None:
            host.run(["sh", "-c", CLEAN])
            for path, text in written.items():
                host.write(path, text)
            if files:
                host.run(["systemctl", "daemon-reload"])
            host.restart_docker()
            host.load_image()

        self.each(bring)

    def baseline(self, *controls: str) -> Path:
        """The file of a baseline of these controls alone."""
        path = self._path("baseline", ".yaml")
        path.write_text(f"name: test\ninclude: [{', '.join(controls)}]\n")
        return path

    def remediator(self, *words: str | Path) -> Product:
        """Run the program in a process of its own."""
        return Product(remediator(self._work / "state", *words))

    def look(self) -> dict[str, HostState]:
        """The hosts as `remediator collect` sees them."""
        done = self.remediator("collect", *self._selection())
        assert done.code == 0, done.err
        found = [msgspec.json.decode(line, type=HostState) for line in done.out.splitlines()]
        return self._by_generation({one.host.name: one for one in found})

    def plan(self, baseline: Path, disruption: str = "reload") -> tuple[Path, dict[str, HostPlan]]:
        """A plan that `remediator plan --fix unsafe` saved, and what it says of each host."""
        path = self._path("plan", ".json")
        policy = ("--fix", "unsafe", "--max-disruption", disruption)
        done = self.remediator("plan", *self._selection(), "--baseline", baseline, *policy, "-o", path)
        assert done.code in (0, 2), done.err
        plan = msgspec.json.decode(path.read_bytes(), type=Plan)
        return path, self._by_generation({one.host.name: one for one in plan.hosts})

    def apply(self, plan: Path) -> dict[str, HostReceipt]:
        """Apply a plan to all hosts at once; what its receipt says of each."""
        words = ("--yes", "--waves", "100%", "--max-failures", "9", "--format", "json")
        done = self.remediator("apply", plan, *words)
        assert done.out.startswith("{"), done.err
        receipt = msgspec.json.decode(done.out, type=Receipt)
        assert done.code == (2 if receipt.ok else 1)
        return self._by_generation({one.host.name: one for one in receipt.hosts})

    def _selection(self) -> tuple[str, ...]:
        return ("-i", str(self._lab.inventory()), "--limit", ",".join(self._names))

    def _by_generation(self, found: dict[str, T]) -> dict[str, T]:
        return {generation: found[name] for name, generation in self._names.items() if name in found}

    def _path(self, name: str, suffix: str) -> Path:
        self._made += 1
        return self._work / f"{name}-{self._made}{suffix}"


@pytest.fixture(scope="session")
def fleet(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A host of each generation, for all tests of the generations; every story resets them."""
    hosts = lab.host_group([("", generation) for generation in GENERATIONS])
    try:
        yield Fleet(lab, hosts, tmp_path_factory.mktemp("generations"))
    finally:
        for host in hosts:
            lab.remove(host)


@pytest.fixture(params=GENERATIONS)
def generation(request: pytest.FixtureRequest) -> str:
    """Each engine generation."""
    return str(request.param)


# --- what states and plans say, asked without reaching the hosts again ------------------------------


def outcome(state: HostState, control: str, resource: str = "") -> Finding:
    """The finding of one control, on one resource where there are several."""
    findings = [one for one in audit(state, load_baseline()) if one.control == control]
    (found,) = [one for one in findings if not resource or one.resource == resource]
    return found


def host_plan(state: HostState, disruption: str = "recreate") -> HostPlan:
    """The plan of one host under --fix unsafe, from its collected state."""
    return plan_host(state, load_baseline(), Policy(Safety.UNSAFE, Disruption(disruption)))


def planned(plan: HostPlan, kind: str = "daemon") -> list[str]:
    """The paths that a plan changes, of one kind."""
    return [one.path for one in plan.changes if one.kind == kind]


def reason(plan: HostPlan, control: str) -> str:
    """Why the finding of a control is held."""
    (held,) = [one for one in plan.held if one.finding.control == control]
    return held.reason


def controls(findings: tuple[Finding, ...]) -> list[str]:
    """The controls of findings, sorted."""
    return sorted(one.control for one in findings)


# --- what is to be seen on a host -------------------------------------------------------------------


def dockerd(host: Host) -> int:
    """The pid of the running daemon."""
    return int(host.read("/run/docker.pid"))


def info(host: Host) -> dict[str, Any]:
    """What the engine says of itself."""
    found: dict[str, Any] = json.loads(host.docker("info", "--format", "{{json .}}").stdout)
    return found


def icc_in_effect(host: Host) -> bool:
    """Whether the default bridge lets containers talk to each other, as the engine has it."""
    option = '{{index .Options "com.docker.network.bridge.enable_icc"}}'
    return host.docker("network", "inspect", "--format", option, "bridge").stdout.strip() == "true"


def running(host: Host) -> list[str]:
    """The names of the running containers, sorted."""
    return sorted(host.docker("ps", "--format", "{{.Names}}").stdout.split())


def no_new_privs(host: Host, container: str) -> bool:
    """Whether the first process of a container cannot gain privileges."""
    status = host.read(f"/proc/{host.container_pid(container)}/status")
    return "NoNewPrivs:\t1" in status
