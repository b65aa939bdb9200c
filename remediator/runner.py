"""Runs a playbook through ansible-runner. The only place that imports it.

Each run has a private directory of its own (0700, removed afterwards), since ansible-runner reads back
from it what an earlier run left, `--check` among it. The environment is an allow-list.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import tempfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from .errors import ApplyError
from .model import Model

_ENVIRONMENT: Final = ("HOME", "LANG", "LC_ALL", "PATH", "TERM", "TMPDIR", "USER", "SSH_AUTH_SOCK", "DOCKER_HOST")
SILENCE: Final = 3600  # seconds: an ansible that says nothing for so long waits for a worker of its own that died


class TaskResult(Model, frozen=True):
    """What one task did on one host, or one item of a task that loops; `data` is evidence that was collected, or what
    the guard says."""

    host: str
    task: str
    item: str
    changed: bool
    failed: bool = False
    message: str = ""
    unreachable: bool = False
    data: Any = None
    diff: tuple[dict[str, Any], ...] = ()


class RunResult(Model, frozen=True):
    """How a run ended: `ok` is a return code of 0 and no host failed or unreachable."""

    ok: bool
    rc: int | None
    status: str
    results: tuple[TaskResult, ...]

    @property
    def changed(self) -> tuple[TaskResult, ...]:
        return tuple(one for one in self.results if one.changed)

    @property
    def failures(self) -> tuple[TaskResult, ...]:
        return tuple(one for one in self.results if one.failed)


def packaged(name: str) -> bytes:
    """A file of the playbooks that come with the program, in an installed package or in a checkout."""
    folder = files(__package__) / "playbooks"
    return (folder if folder.is_dir() else files(__package__) / ".." / "playbooks").joinpath(name).read_bytes()


def _absolute(inventory: str) -> str:
    """An inventory's path, which ansible reads from another directory; a list of hosts stays as it is."""
    return inventory if "," in inventory else str(Path(inventory).absolute())


def _environment(given: dict[str, str]) -> dict[str, str]:
    kept = {key: value for key, value in given.items() if key in _ENVIRONMENT or key.startswith("ANSIBLE_")}
    kept["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)])
    kept["ANSIBLE_NOCOLOR"] = "1"
    kept["ANSIBLE_RETRY_FILES_ENABLED"] = "0"
    kept["ANSIBLE_NO_TARGET_SYSLOG"] = "1"  # which would have the texts of files in it
    kept.setdefault("ANSIBLE_PIPELINING", "1")
    # a host that is gone without a word is given up after two minutes, and not waited for until the connection is
    kept.setdefault("ANSIBLE_SSH_EXTRA_ARGS", "-o ServerAliveInterval=15 -o ServerAliveCountMax=8")
    if Path("ansible.cfg").is_file() and not Path.cwd().stat().st_mode & 0o002:  # as ansible itself has it
        kept.setdefault("ANSIBLE_CONFIG", str(Path("ansible.cfg").absolute()))
    return kept


def _result(event: dict[str, Any]) -> TaskResult | None:
    name, data = event.get("event", ""), event.get("event_data", {})
    kinds = {
        "runner_on_ok": False,
        "runner_item_on_ok": False,
        "runner_on_failed": True,
        "runner_item_on_failed": True,
        "runner_on_unreachable": True,
    }
    if name not in kinds:
        return None
    result = data.get("res") or {}
    if not name.startswith("runner_item") and "results" in result:
        return None  # the items were told one by one
    failed = kinds[name] and not data.get("ignore_errors")
    diff = result.get("diff") or ()
    return TaskResult(
        host=data.get("host", ""),
        task=data.get("task", ""),
        item=str(result.get("_ansible_item_label", "")),
        changed=bool(result.get("changed")) and not failed,
        failed=failed,
        message=_message(result) if failed else "",
        unreachable=name == "runner_on_unreachable",
        data=result.get("evidence") or _document(result.get("stdout")),
        diff=tuple(one for one in (diff if isinstance(diff, list) else [diff]) if one),
    )


def _document(text: Any) -> Any:
    """What a program of ours printed: one JSON object, or None."""
    try:
        found = json.loads(text) if isinstance(text, str) and text.startswith("{") else None
    except ValueError:
        return None
    return found


def _message(result: dict[str, Any]) -> str:
    told = [str(result.get(key, "")).strip() for key in ("msg", "module_stderr", "stderr")]
    return "; ".join(dict.fromkeys(one for one in told if one))


def run(
    write_project: Callable[[Path], None],
    check: bool,
    on_task: Callable[[str], None] | None = None,
    inventory: str = "",
    limit: str = "",
    playbook: str = "playbook.yml",
) -> RunResult:
    """Run a playbook of a project that `write_project` writes into a directory.

    With `check` as `--check --diff`. `inventory` is what ansible's -i takes, by default the project's own
    inventory.json; `limit` a host pattern. An ansible that is silent for SILENCE is ended; the status of the run is
    `timeout` then. Raises ApplyError where ansible cannot be started.
    """
    import ansible_runner

    results: list[TaskResult] = []

    def handle(event: dict[str, Any]) -> bool:
        if event.get("event") == "playbook_on_task_start" and on_task is not None:
            on_task(str(event.get("event_data", {}).get("task", "")))
        if (result := _result(event)) is not None:
            results.append(result)
        return False  # keep no copy of the event

    with tempfile.TemporaryDirectory(prefix="remediator-") as folder:
        project = Path(folder) / "project"
        project.mkdir(mode=0o700)
        write_project(project)
        words = ["-i", _absolute(inventory) if inventory else str(project / "inventory.json"), "--diff"]
        words += ["--check"] if check else []
        words += ["--limit", limit] if limit else []
        try:
            runner = ansible_runner.interface.init_runner(
                private_data_dir=folder,
                playbook=playbook,
                cmdline=shlex.join(words),
                quiet=True,
                settings={"idle_timeout": SILENCE},
                event_handler=handle,
            )
            kept = _environment(os.environ.copy())
            if not os.access(kept.get("HOME", Path("~").expanduser()), os.W_OK):
                kept["HOME"] = folder  # ansible wants to write to it, and service users often have none
            if not inventory:
                kept["ANSIBLE_REMOTE_TMP"] = str(Path(folder) / "tmp")
            for key in [one for one in runner.config.env if one in os.environ and one not in kept]:
                del runner.config.env[key]
            runner.config.env.pop("ANSIBLE_HOST_KEY_CHECKING", None)
            runner.config.env.update(kept)
            runner.run()
        except (ansible_runner.exceptions.AnsibleRunnerException, OSError) as error:
            raise ApplyError(
                f"ansible-runner cannot start: {error}", "is ansible-core installed beside this program?"
            ) from error
        said = "" if results else (runner.stdout.read() if runner.stdout else "")
        if not results and runner.rc != 0:
            raise ApplyError(f"ansible-playbook did not run (rc {runner.rc}, {runner.status}): {said.strip()[-2000:]}")
        ok = runner.rc == 0 and runner.status == "successful" and not any(one.failed for one in results)
        return RunResult(ok, runner.rc, str(runner.status), tuple(results))
