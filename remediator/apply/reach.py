"""How hosts are reached: this host or a file tree in-process, others by way of an inventory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Protocol

from .. import kinds
from ..collect import fleet, local
from ..errors import ApplyError
from ..model import HostState
from ..plan import playbook
from ..plan.model import Plan
from ..runner import RunResult, run

Say = Callable[[str], None]
Project = Callable[[Path], None]


class Reach(Protocol):
    """What apply needs of hosts."""

    root: str

    def look(self, names: Iterable[str]) -> tuple[dict[str, HostState], dict[str, str]]:
        """Fresh states of hosts by name, and why some gave none."""

    def run(self, project: Project, names: Iterable[str], /, check: bool, on_task: Say | None = None) -> RunResult:
        """Run the playbook of a project on some hosts."""

    def undo(self, runs: Mapping[str, str], /, on_task: Say | None = None) -> RunResult:
        """Have hosts take runs back: {name of host: id of run}."""


class Here:
    """This host, or the file tree at `root`."""

    def __init__(self, root: str = "/") -> None:
        self.root = root

    def look(self, names: Iterable[str]) -> tuple[dict[str, HostState], dict[str, str]]:
        state = kinds.state(local.collect(kinds.request(), self.root))
        return dict.fromkeys(names, state), {}

    def _allowed(self) -> None:
        if self.root == "/" and os.geteuid() != 0:
            raise ApplyError("changing this host needs root", "run it with sudo")

    def run(self, project: Project, _names: Iterable[str], /, check: bool, on_task: Say | None = None) -> RunResult:
        self._allowed()
        return run(project, check=check, on_task=on_task)

    def undo(self, runs: Mapping[str, str], /, on_task: Say | None = None) -> RunResult:
        self._allowed()
        project = partial(playbook.write_rollback, runs, self.root, True)
        return run(project, check=False, on_task=on_task, playbook=playbook.ROLLBACK)


class Inventory:
    """Hosts of an Ansible inventory."""

    root = "/"

    def __init__(self, inventory: str) -> None:
        self._inventory = inventory

    def look(self, names: Iterable[str]) -> tuple[dict[str, HostState], dict[str, str]]:
        found, failed = fleet.collect(kinds.request(), self._inventory, pattern(names))
        return {name: kinds.state(evidence, name) for name, evidence in found.items()}, failed

    def run(self, project: Project, names: Iterable[str], /, check: bool, on_task: Say | None = None) -> RunResult:
        return run(project, check=check, on_task=on_task, inventory=self._inventory, limit=pattern(names))

    def undo(self, runs: Mapping[str, str], /, on_task: Say | None = None) -> RunResult:
        project = partial(playbook.write_rollback, runs, self.root, False)
        return run(
            project,
            check=False,
            on_task=on_task,
            inventory=self._inventory,
            limit=pattern(runs),
            playbook=playbook.ROLLBACK,
        )


def pattern(names: Iterable[str]) -> str:
    """A host pattern that means just these hosts."""
    return ",".join(sorted(names))


def of(plan: Plan, inventory: str = "") -> Reach:
    """How the hosts of a plan are reached; another inventory may be given than the one it was made with."""
    if plan.inventory or inventory:
        return Inventory(inventory or plan.inventory)
    return Here(plan.hosts[0].host.root)
