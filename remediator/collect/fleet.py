"""Other hosts: runs the probe as an Ansible module, one round trip a host, in parallel with Ansible's forks."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from .. import runner
from ..errors import InputError
from ..runner import packaged
from .local import TIMEOUT

# what runs on the host: a package of its own there, standard library only
PROBE: Final = (
    "__init__", "probe", "api", "containers", "runs", "masks", "owners", "usage", "processes", "sockets", "layers",
    "surroundings",
)  # fmt: skip


def _write_project(request: dict[str, Any], timeout: int, folder: Path) -> None:
    for name in ("collect.yml", "library/remediator_collect.py"):
        target = folder / name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(packaged(name))
    utilities = folder / "module_utils" / "remediator"
    utilities.mkdir(parents=True)
    for name in PROBE:
        (utilities / f"{name}.py").write_bytes((files(__package__) / f"{name}.py").read_bytes())
    variables = folder / "group_vars"
    variables.mkdir()
    document = {"remediator_request": request, "remediator_timeout": timeout}
    (variables / "all.json").write_text(json.dumps(document))


def collect(
    request: dict[str, Any],
    inventory: str,
    limit: str = "",
    timeout: int = TIMEOUT,
    on_task: Callable[[str], None] | None = None,
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """The evidence of the hosts of an inventory by their names there, and why some gave none.

    Raises InputError where the inventory cannot be read or the pattern names no host.
    """
    if "," not in inventory and not Path(inventory).exists():
        raise InputError(f"-i {inventory}: there is no such file or directory", "an inventory as ansible takes it")
    result = runner.run(
        lambda folder: _write_project(request, timeout, folder),
        check=False,
        on_task=on_task,
        inventory=inventory,
        limit=limit,
        playbook="collect.yml",
    )
    found = {one.host: one.data for one in result.results if one.data is not None}
    failed = {one.host: _reason(one) for one in result.results if one.failed and one.host not in found}
    if not found and not failed:
        raise InputError(f"-i {inventory}: no hosts matched{f' {limit}' if limit else ''}")
    return found, failed


def _reason(result: runner.TaskResult) -> str:
    text = " ".join(result.message.split())
    lowered = text.lower()
    if result.unreachable:
        return f"cannot be reached: {text}"
    if "password" in lowered and ("sudo" in lowered or "become" in lowered or "privilege" in lowered):
        return f"sudo is refused: {text}"
    if "python" in lowered and ("not found" in lowered or "no such file" in lowered):
        return f"has no python3: {text}"
    return text
