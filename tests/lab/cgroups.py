"""A control group per host, in every hierarchy the machine has: version 1, or version 2 alone."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.lab.errors import LabError

CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "name=systemd")
CPUSET = ("cpuset.cpus", "cpuset.mems")


@dataclass(frozen=True)
class Hierarchy:
    """A mounted cgroup hierarchy; `options` mount it again inside a host, empty for version 2."""

    mount: Path
    options: str

    @property
    def name(self) -> str:
        """The directory below /sys/fs/cgroup, as systemd expects it."""
        return self.mount.name


def hierarchies() -> list[Hierarchy]:
    """What hosts are put into; empty when systemd could not run in it."""
    found, unified = [], []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        head, _, tail = line.partition(" - ")
        mount, (kind, _, options) = Path(head.split()[4]), tail.split(" ", 2)
        if kind == "cgroup2":
            unified.append(Hierarchy(mount, ""))
        elif kind == "cgroup" and (own := [option for option in options.split(",") if option in CONTROLLERS]):
            named = own == ["name=systemd"]
            found.append(Hierarchy(mount, "none,name=systemd" if named else ",".join(own)))
    if found and not any("name=systemd" in each.options for each in found):
        return []
    # next to version 1 too: systemd mounts version 2 by itself, and must find a group of its own there
    return found + unified[:1]


def mounts() -> str:
    """The hierarchies as boot.sh is told of them: "name:options ...", or ":" for version 2."""
    return " ".join(f"{each.name}:{each.options}" for each in hierarchies() if each.options) or ":"


def create(lab: str, host: str) -> list[Path]:
    """Make the groups of a host; the directories that its first process is to enter."""
    entered = []
    for hierarchy in hierarchies():
        group = hierarchy.mount
        for level in (lab, host):
            parent, group = group, group / level
            group.mkdir(exist_ok=True)
            for limits in CPUSET:  # empty at first, and nothing can run in an empty one
                if hierarchy.options and (parent / limits).exists():
                    (group / limits).write_text((parent / limits).read_text())
            if not hierarchy.options and level == host:
                _delegate(parent)
        entered.append(group)
    if not entered:
        raise LabError("no usable cgroup hierarchy: the machine has version 1 without name=systemd")
    return entered


def _delegate(group: Path) -> None:
    """Hand a lab's version 2 controllers down to its hosts; one that refuses they do without.

    What the machine hands down to the lab is the machine's own affair, and stays as it is.
    """
    for controller in (group / "cgroup.controllers").read_text().split():
        try:
            (group / "cgroup.subtree_control").write_text(f"+{controller}")
        except OSError:
            continue


def step_aside(pid: int, lab: str, host: str) -> None:
    """Move the process that waits for a host out of its group: version 2 wants processes in leaves only."""
    for hierarchy in hierarchies():
        if not hierarchy.options:
            aside = hierarchy.mount / lab / f"{host}.waits"
            aside.mkdir(exist_ok=True)
            (aside / "cgroup.procs").write_text(str(pid))


def groups(lab: str) -> list[Path]:
    """The lab's own group in each hierarchy, where there is one."""
    return [group for each in hierarchies() if (group := each.mount / lab).is_dir()]


def pids(group: Path) -> set[int]:
    """The processes in a group and all groups below it."""
    found: set[int] = set()
    for directory in _tree(group):
        try:
            found.update(int(pid) for pid in (directory / "cgroup.procs").read_text().split())
        except OSError:  # gone meanwhile, or a version 2 group with threads only
            continue
    return found


def thaw(group: Path) -> None:
    """Let paused containers below a group go on: under version 1 no signal ends them before."""
    for directory in _tree(group):
        state = directory / "freezer.state"
        if state.exists() and state.read_text().strip() != "THAWED":
            state.write_text("THAWED")


def remove(group: Path, timeout: float = 10) -> None:
    """Remove a group and all below it, once its processes are gone."""
    deadline = time.monotonic() + timeout
    while group.is_dir():
        try:
            for directory in _tree(group):
                directory.rmdir()
        except FileNotFoundError:
            continue
        except OSError as error:  # the kernel still counts a process that has just ended
            if time.monotonic() > deadline:
                raise LabError(f"cannot remove {group}: {error}; in it: {sorted(pids(group))}") from error
            time.sleep(0.02)


def _tree(group: Path) -> Iterator[Path]:
    """The group and those below it, deepest first."""
    return (Path(directory) for directory, _, _ in os.walk(group, topdown=False))
