"""Hosts under one plan, and the program as a user on the control machine runs it, to be killed in the middle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.chaos import picture
from tests.chaos.picture import Picture
from tests.lab.errors import LabError
from tests.lab.host import Host
from tests.lab.lab import Lab

T = TypeVar("T")
SHORTEST, LONGEST = 20, 300  # seconds to confirm within
SERVE = "echo hello >/index.html; exec httpd -f -p 8080 -h /"
LIMITED = ("--memory", "256m", "--memory-swap", "512m", "--pids-limit", "64", "--cpu-shares", "512")


@dataclass(frozen=True)
class Scenario:
    """What hosts are before, and the plan that is made for them."""

    name: str
    daemon: str  # the text of daemon.json
    controls: tuple[str, ...]
    disruption: str

    def lost_unguarded(self, kind: str, confirmed: bool) -> frozenset[str]:
        """What a fault takes away while no guard is there to bring it back: before a run has begun, or once confirmed.

        A reboot ends all, and nobody starts what has no restart policy. Where dockerd dies without live-restore, the
        next one stops what it finds alive and takes that for a stop by hand (all three generations), so that what runs
        `unless-stopped` is lost as well; under live-restore it finds all of them running. No container hangs on
        whatever else is hit.
        """
        live_restore = json.loads(self.daemon).get("live-restore") is True
        if confirmed and "docker-live-restore" in self.controls:
            live_restore = True
        if kind == "dockerd" and not live_restore:
            return frozenset({"once", "picky"})
        return frozenset({"once"} if kind == "reboot" else ())


# everything that a plan can have: edits, one of them of a file whose secret stays there, modes, rules, limits,
# a reload that switches live-restore on, and a restart
CONTROLS = [
    "docker-live-restore", "docker-no-new-privileges", "docker-userland-proxy", "env-content-trust",
    "file-daemon-config-mode", "file-etc-docker-mode", "audit-etc-docker", "audit-daemon-config", "container-memory",
    "container-pids", "container-cpu-shares",
]  # fmt: skip
RELOAD_FIRST = Scenario(
    "reload-first", '{\n  "log-opts": {"max-size": "10m"}\n}\n', tuple(CONTROLS), disruption="restart"
)
# the bridge takes its option only while nothing runs: containers are stopped, the daemon restarted, all started again
STOP_FIRST = Scenario(
    "stop-first",
    '{\n  "live-restore": true,\n  "log-opts": {"max-size": "10m"}\n}\n',
    ("docker-icc", "docker-no-new-privileges", "container-memory"),
    disruption="recreate",
)
# the restart itself ends the containers, and what has no restart policy is started again
PLAIN_RESTART = Scenario(
    "plain-restart",
    RELOAD_FIRST.daemon,
    ("docker-no-new-privileges", "docker-userland-proxy", "container-memory"),
    disruption="restart",
)
SCENARIOS = {one.name: one for one in (RELOAD_FIRST, STOP_FIRST, PLAIN_RESTART)}


def once(host: Host) -> None:
    """A container without any limit, which nobody starts again: what a way back cannot fully give back is new again."""
    host.docker("rm", "--force", "once", check=False)
    host.run_container("once")


def populate(host: Host, scenario: Scenario = RELOAD_FIRST) -> None:
    """Containers that are to outlast everything, and files to edit; each of another mode than planned."""
    host.write("/etc/docker/daemon.json", scenario.daemon, 0o666)
    host.run(["chmod", "0775", "/etc/docker"])
    host.write("/etc/environment", "SHOP_TOKEN=only-for-the-lab\n", 0o664)
    host.restart_docker()
    host.run_container("web", "--restart", "always", "--publish", "8080:8080", *LIMITED, command=("sh", "-c", SERVE))
    health = ("--health-cmd", "true", "--health-interval", "2s")
    host.run_container("picky", "--restart", "unless-stopped", *health, *LIMITED)
    once(host)


def boot(lab: Lab, generations: Iterable[str]) -> list[Host]:
    """New hosts; one that does not come up is thrown away for another, since others use the machine as well."""

    def one(generation: str) -> Host:
        for attempt in range(4):
            host = lab.host("", generation, start=False)
            try:
                host.start()
                host.wait_ready(180)
            except LabError:
                lab.remove(host)
                if attempt == 3:
                    raise
                time.sleep(10)
                continue
            return host
        raise AssertionError

    return [one(generation) for generation in generations]


class Fleet:
    """Some hosts of a lab under one plan, with one directory for the control machine's receipts a round."""

    def __init__(self, lab: Lab, hosts: list[Host], work: Path, scenario: Scenario = RELOAD_FIRST) -> None:
        self.lab, self.hosts, self.work, self.scenario = lab, {one.name: one for one in hosts}, work, scenario
        self.inventory = lab.inventory()
        self.round = 0
        self.limit = LONGEST
        self.began = time.monotonic()
        self.timers: list[threading.Timer] = []
        self.broken: list[str] = []
        work.mkdir(parents=True, exist_ok=True)

    def say(self, text: str) -> None:
        """Tell how it goes."""
        print(f"{time.monotonic() - self.began:6.0f} s {self.work.name} round {self.round}: {text}", flush=True)

    def said(self) -> str:
        """The last words of the round's apply."""
        return (self.work / f"apply{self.round}.out").read_text(errors="replace")[-2000:]

    def run_id(self) -> str:
        """The id of the round's run, which is what guards call it; "" before it has one."""
        return next((path.stem for path in sorted((self.state / "runs").glob("*.json"))), "")

    def each(self, do: Callable[[Host], T]) -> dict[str, T]:
        """Do the same on all hosts, some at a time."""
        with ThreadPoolExecutor(3) as pool:
            return dict(zip(self.hosts, pool.map(do, self.hosts.values()), strict=True))

    def pictures(self) -> dict[str, Picture]:
        """How the hosts are."""
        return self.each(picture.take)

    @property
    def state(self) -> Path:
        return self.work / f"state{self.round}"

    @property
    def log(self) -> Path:
        """What ansible says, as it says it."""
        return self.work / f"ansible{self.round}.log"

    def environment(self) -> dict[str, str]:
        temporary = self.work / "tmp"  # what is killed leaves its files
        temporary.mkdir(exist_ok=True)
        own = {"TMPDIR": str(temporary), "REMEDIATOR_STATE": str(self.state)}
        own |= {"ANSIBLE_LOG_PATH": str(self.log), "ANSIBLE_FORKS": "12"}
        own["ANSIBLE_SHOW_PER_HOST_START"] = "true"  # moments are a host's own
        # a host that is hit does not hold the others up; and one that is gone is not waited for so long
        return {**os.environ, **own, "ANSIBLE_STRATEGY": "free", "ANSIBLE_TIMEOUT": "30"}

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "remediator", *words]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the program to its end."""
        return subprocess.run(
            self.command(*words), capture_output=True, text=True, env=self.environment(), cwd=self.work, check=False,
            timeout=900,
        )  # fmt: skip

    def plan(self, controls: list[str] | None = None) -> dict[str, Any]:
        """Make the fleet's plan, of all that the baseline asks for."""
        included = controls or list(self.scenario.controls)
        (self.work / "baseline.yaml").write_text(json.dumps({"name": "chaos", "include": included}))
        done = self.run(
            "plan", "-i", str(self.inventory), "--limit", ",".join(self.hosts), "--baseline", "baseline.yaml",
            "--fix", "unsafe", "--max-disruption", self.scenario.disruption, "-o", "plan.json", "--format", "json",
        )  # fmt: skip
        if not done.stdout.startswith("{"):
            raise RuntimeError(f"no plan: {done.stdout}{done.stderr}")
        made: dict[str, Any] = json.loads(done.stdout)
        return made

    def apply(self, *more: str) -> list[str]:
        """The command that applies the plan."""
        limits = ("--waves", "100%", "--max-failures", "99", "--confirm-within", str(self.limit))
        return self.command("apply", "plan.json", "--yes", *limits, *more)

    def start(self) -> subprocess.Popen[bytes]:
        """Begin a new round's apply, in a process group of its own."""
        self.round += 1
        out = (self.work / f"apply{self.round}.out").open("wb")
        with out:
            return subprocess.Popen(
                self.apply(), env=self.environment(), cwd=self.work, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True,
            )  # fmt: skip

    def receipt(self) -> dict[str, Any]:
        """The round's first receipt, that of its apply; {} before there is one."""
        kept = sorted((self.state / "runs").glob("*.json"))
        found: dict[str, Any] = json.loads(kept[0].read_text()) if kept else {}
        return found

    def journals(self, name: str) -> Path:
        """Where the journals of a host's guard are, as this machine sees them."""
        return self.lab.directory / "hosts" / name / "upper/var/lib/remediator/guard"

    def is_open(self, name: str) -> bool:
        """Whether a run is open on a host, or is being taken back."""
        return (self.journals(name) / "current.json").exists()
