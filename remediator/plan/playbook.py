"""Plan -> a directory that plain ansible-playbook runs. The one place that marks strings unsafe.

The playbook is static and comes with the program; what is done on a host is data in its host_vars, in
which every string is marked !unsafe: names and values of hosts are never templates.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from .. import guard
from ..errors import InputError
from ..guard import limits
from ..model import LiveUpdate, Model
from ..runner import packaged
from . import saved
from .model import HostPlan, Plan

STATE: Final = "/var/lib/remediator"  # on the managed host: backups, records, receipts
PLAYBOOK: Final = "playbook.yml"
ROLLBACK: Final = "rollback.yml"
GUARD: Final = "guard.py"
CONFIRM_WITHIN: Final = 300  # seconds until a host takes back by itself what nobody has confirmed
_PROOF: Final = 60  # seconds until everything has to work again
LOCAL: Final = "localhost"
# Ansible may find a python that is broken or too old for it: the one that runs it is neither
_LOCAL: Final = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}


class _Unsafe(str):
    """A string that Ansible must not take for a template.

    Only strings with a brace are marked: no other can be one, and ansible-core 2.19 reads a marked '' as
    null and a marked '0644' as a number.
    """


def _mark(value: Any) -> Any:
    if isinstance(value, str) and "{" in value:
        return _Unsafe(value)
    if isinstance(value, dict):
        return {key: _mark(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_mark(one) for one in value]
    return value


def unsafe_yaml(document: Any) -> str:
    """A document as YAML in which every string value that could be a template is marked !unsafe."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
            return True

    Dumper.add_representer(_Unsafe, lambda dumper, value: dumper.represent_scalar("!unsafe", str(value), style="'"))
    return str(yaml.dump(_mark(document), Dumper=Dumper, sort_keys=False, width=110))


def options(update: LiveUpdate) -> list[str]:
    """A live update as arguments of `docker update`, as the guard spells them on the way back."""
    return limits.options(update.values)


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).astimezone(UTC).timestamp()


class Run(Model, frozen=True):
    """What an apply adds to a plan: the run's id ("" lets the host choose one), and seconds to confirm within.

    `control` tells whose run it is: of the same one a host has one run at a time.
    """

    id: str = ""
    control: str = ""
    confirm_within: int = CONFIRM_WITHIN


def variables(
    plan: HostPlan, name: str, digest: str = "", run: Run | None = None, expires_at: str = ""
) -> dict[str, Any]:
    """What the playbook does on a host of that name, as its variable `remediator`; paths below the root.

    `digest` and `expires_at` are those of the whole plan.
    """
    run = run or Run()
    root = "" if plan.host.root == "/" else plan.host.root
    steps = plan.steps
    edits = []
    for index, one in enumerate(steps.files):
        edits.append(
            {
                "index": index,
                "path": root + one.path,
                "before": one.before,
                "after": one.after,
                "source": source(name, index, one.path),
                "mode": one.mode,
                "masked": one.masked,
                "content": base64.b64encode(one.content.encode()).decode(),
                "pieces": list(one.pieces),
                "inverse": list(one.inverse),
            }
        )
    full = {name: getattr(steps.activation, name) for name in steps.activation.__struct_fields__}
    activation = {**msgspec.to_builtins(full), "seen": _seconds(plan.collected_at)}
    return {
        "plan": digest,
        "machine": plan.host.machine_id,
        # an apply has looked at it by its own clock, and a run that has begun may be resumed later
        "expires": _seconds(expires_at) if expires_at and not run.id else 0,
        "run": run.id,
        "control": run.control,
        "limit": run.confirm_within,
        "proof": _PROOF,
        "root": root or "/",
        "state": root + STATE,
        "files": edits,
        "attributes": [
            {"path": root + one.path, "mode": one.mode, "owner": one.owner, "socket": one.socket}
            for one in steps.attributes
        ],
        "unchanged": {root + path: digest for path, digest in steps.unchanged.items()},
        "load_audit_rules": steps.load_audit_rules and not root,
        "updates": [
            {
                "label": " ".join(options(one)),
                "names": list(one.names),
                "values": one.values,
                "options": options(one),
            }
            for one in steps.updates
        ],
        "checks": [
            {
                "label": one.name,
                "words": list(one.words),
                "files": [root + path for path in one.files],
            }
            for one in (steps.checks if not root else ())
        ],
        "recreates": [
            {
                "label": f"{one.owner} {one.name}",
                "owner": one.owner,
                "containers": list(one.containers),
                "up": [list(words) for words in one.up],
                "undo": [list(words) for words in one.undo],
                "files": [root + path for path in one.files],
                "grace": one.grace,
            }
            for one in steps.recreates
        ],
        "activation": activation,
    }


def source(name: str, index: int, path: str) -> str:
    """The name in files/ of the new content of an edited file of a host."""
    return f"{name}/{index}-{Path(path).name}"


def _write(path: Path, text: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text.encode() if isinstance(text, str) else text)


def name_of(plan: Plan, host: HostPlan) -> str:
    """What ansible calls a host of a plan."""
    return host.host.name if plan.inventory else LOCAL


def write_project(plan: Plan, folder: Path, run: Run | None = None) -> None:
    """Write the playbook, the guard, variables and files into a directory, all for their owner alone.

    Hosts of an inventory keep their names there; this host or a file tree brings an inventory along.
    """
    _write(folder / PLAYBOOK, packaged(PLAYBOOK))
    _write(folder / GUARD, guard.source())
    for host in plan.hosts:
        name = name_of(plan, host)
        if "/" in name or name.startswith("."):
            raise InputError(f"host {name}: such a name cannot be that of a file in host_vars")
        text = "# What is done on this host. What looks like a template is marked !unsafe, and is none.\n"
        _write(
            folder / "host_vars" / f"{name}.yml",
            text + unsafe_yaml({"remediator": variables(host, name, plan.digest, run, plan.expires_at)}),
        )
        for index, one in enumerate(host.steps.files):
            if not one.masked:
                _write(folder / "files" / source(name, index, one.path), one.content)
    if not plan.inventory:
        _write_inventory(folder)


def _write_inventory(folder: Path) -> None:
    inventory = {"all": {"hosts": {LOCAL: dict(_LOCAL)}}}
    _write(folder / "inventory.json", json.dumps(inventory, indent=2) + "\n")


def write_rollback(runs: Mapping[str, str], root: str, local: bool, folder: Path) -> None:
    """Write the playbook that takes runs back: {name of host: id of run}, below a root directory."""
    _write(folder / ROLLBACK, packaged(ROLLBACK))
    for name, run in runs.items():
        document = {"remediator": {"state": ("" if root == "/" else root) + STATE, "run": run}}
        _write(folder / "host_vars" / f"{name}.yml", unsafe_yaml(document))
    if local:
        _write_inventory(folder)


def emit(plan: Plan, folder: Path) -> list[Path]:
    """Write plan.json, a patch per resource and the playbook into a new or empty directory.

    Returns the paths of the patches. Raises InputError where the directory is not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"--emit {folder}: is there already and not empty", "give a new directory, or remove it")
    _write(folder / "plan.json", saved.encode(plan))
    patches = []
    for host in plan.hosts:
        _propose(host, folder / "proposals" / (host.host.name if plan.inventory else ""))
        for kind, resources in host.patches.items():
            for number, (resource, operations) in enumerate(resources.items()):
                name = resource.strip("/").replace("/", "_") if kind != "container" else resource
                kept = "".join(one if one.isalnum() or one in "._-" else "_" for one in name)
                path = folder / "patches" / (host.host.name if plan.inventory else "") / f"{kind}-{number}-{kept}.json"
                _write(path, json.dumps(operations, indent=2, ensure_ascii=False) + "\n")
                patches.append(path)
    write_project(plan, folder)
    if sum(one.manager for one in plan.hosts) > 1:  # a swarm does without one of its managers at a time
        text = packaged(PLAYBOOK).decode()
        _write(folder / PLAYBOOK, text.replace("  gather_facts: false\n", "  gather_facts: false\n  serial: 1\n", 1))
    return patches


def _propose(host: HostPlan, folder: Path) -> None:
    """Write the proposals of a host's plan, one a container, for a person to read; they are not executable."""
    for number, (name, text) in enumerate(host.proposals.items()):
        kept = "".join(one if one.isascii() and (one.isalnum() or one in "._-") else "_" for one in name)
        path = folder / f"{kept if kept == name and not name.startswith('.') else f'{number}-{kept}'}.sh"
        _write(path, text)
