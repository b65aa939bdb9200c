"""What a lab has made, on disk before it is made, so that it can be taken away after any crash."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.lab import cgroups, processes
from tests.lab.errors import LabError
from tests.lab.processes import Process

PREFIX = "rlab-"


def labs() -> Path:
    """Where labs live: on disk, since container layers do not fit in memory. REMEDIATOR_LAB_DIR overrides."""
    return Path(os.environ.get("REMEDIATOR_LAB_DIR") or "/var/lib/remediator-lab")


@dataclass
class HostState:
    """What is on record of one host."""

    name: str
    generation: str
    ip: str
    tree: str
    process: Process | None = None  # the one that waits for the host's PID 1


@dataclass
class LabState:
    """What is on record of one lab. `keep` means that it outlives the process that made it."""

    name: str
    owner: Process
    keep: bool = False
    made: int = 0  # hosts ever made: addresses are not used twice
    hosts: dict[str, HostState] = field(default_factory=dict)
    cgroups: list[str] = field(default_factory=list)

    @property
    def directory(self) -> Path:
        """Everything of the lab that is a file."""
        return labs() / self.name

    @property
    def netns(self) -> Path:
        """The file that holds the lab's network namespace: the one mount outside the hosts."""
        return self.directory / "netns"

    def host_directory(self, host: str) -> Path:
        """Everything of a host that is a file."""
        return self.directory / "hosts" / host

    def save(self) -> None:
        """Write the record, whole or not at all."""
        fresh = self.directory / "state.json.new"
        fresh.write_text(json.dumps(asdict(self), indent=2))
        fresh.rename(self.directory / "state.json")

    @classmethod
    def load(cls, name: str) -> LabState:
        """Read the record of a lab; one without a readable record gets an empty one of the same name."""
        if not name.startswith(PREFIX) or "/" in name:
            raise LabError(f"{name} is not the name of a lab: those begin with {PREFIX}")
        try:
            raw = json.loads((labs() / name / "state.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return cls(name, Process(0, 0))
        raw["owner"] = Process(**raw["owner"])
        for key, host in raw["hosts"].items():
            process = host.pop("process")
            raw["hosts"][key] = HostState(**host, process=Process(**process) if process else None)
        return cls(**raw)


def names() -> list[str]:
    """All labs of this machine: those with a directory, and those of which only cgroups are left."""
    found = {path.name for path in labs().glob(f"{PREFIX}*")}
    for hierarchy in cgroups.hierarchies():
        found |= {path.name for path in hierarchy.mount.glob(f"{PREFIX}*")}
    return sorted(found)


def orphans() -> list[str]:
    """Labs whose maker is gone, and that were not meant to stay."""
    states = [LabState.load(name) for name in names()]
    return [state.name for state in states if state.owner.pid and not state.keep and not state.owner.alive()]


def trees_in_use() -> set[Path]:
    """The root trees under the hosts of all labs."""
    return {Path(host.tree) for name in names() for host in LabState.load(name).hosts.values()}


def end_host(state: LabState, host: str) -> None:
    """End every process of a host: its PID 1, with which the kernel ends all others, then what is left."""
    waits = state.hosts[host].process if host in state.hosts else None
    groups = [group for lab in cgroups.groups(state.name) for group in (lab / host, lab / f"{host}.waits")]

    def left() -> list[Process]:
        pids = set().union(*(cgroups.pids(group) for group in groups)) if groups else set()
        found = [process for pid in pids if (process := Process.of(pid))]
        return [process for process in [*found, *([waits] if waits else [])] if process.alive()]

    for group in groups:
        cgroups.thaw(group)
    first = [process for process in left() if processes.is_first(process.pid)]
    for process in first:
        process.end()
    # the one that waits for it ends by itself, and does not leave it to somebody else to reap
    processes.until(lambda: not first or not left(), timeout=5)
    if not processes.until(lambda: processes.end_all(left()), timeout=20):
        raise LabError(f"processes of {host} do not end: {left()}")
    for group in groups:
        cgroups.remove(group)


def down(state: LabState) -> None:
    """Take a lab away: processes, cgroups, the namespace with bridge and cables, files. May be repeated."""
    with _alone(state.directory):
        _take_away(state)
    with suppress(OSError):  # other labs, or never made
        labs().rmdir()


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Let only one process take a lab away at a time."""
    try:
        lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:  # only cgroups are left
        yield
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _take_away(state: LabState) -> None:
    hosts = set(state.hosts) | {path.name for path in (state.directory / "hosts").glob("*")}
    for group in cgroups.groups(state.name):
        hosts |= {path.name.removesuffix(".waits") for path in group.iterdir() if path.is_dir()}
    for host in sorted(hosts):
        end_host(state, host)
    for group in cgroups.groups(state.name):
        cgroups.remove(group)
    _end_namespace(state.netns)
    # a worker of an ansible that was killed waits for it forever
    inventory = str(state.directory / "inventory")
    processes.until(lambda: processes.end_all(processes.that_were_given(inventory)), timeout=10)
    if state.directory.is_dir():
        shutil.rmtree(state.directory)


def _end_namespace(netns: Path) -> None:
    """Unmount the lab's network namespace, after ending what still runs in it (connections of ssh)."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    if not any(line.split()[4] == str(netns) for line in mounts):
        return
    identity = processes.namespace(netns)
    if identity and identity != processes.namespace("/proc/self/ns/net"):
        processes.until(lambda: processes.end_all(processes.in_namespace("net", identity)), timeout=10)
    subprocess.run(["umount", netns], check=True)
