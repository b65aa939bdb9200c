"""Apply: from the plan file alone, through ansible-runner, verified by a fresh collect."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import filelock
import msgspec

from .. import kinds
from ..baseline import Baseline
from ..collect import local
from ..errors import ApplyError, PlanRefusedError
from ..model import HostState, Model
from ..plan import playbook, saved
from ..plan.model import HostPlan, Plan
from ..plan.plan import preimage, seal
from ..runner import RunResult, run
from . import receipts, verify
from .receipts import HostReceipt, Receipt

Say = Callable[[str], None]


class Prediction(Model, frozen=True):
    """What a dry-run says that apply would do: the changed tasks and items, and diffs of files."""

    ok: bool
    changed: tuple[str, ...]
    diffs: tuple[dict[str, Any], ...] = ()
    errors: tuple[str, ...] = ()


def look(root: str = "/") -> HostState:
    """A fresh state of this host or of a file tree."""
    return kinds.state(local.collect(kinds.request(), root))


def check(plan: Plan, host: HostPlan, state: HostState, where: Path, now: datetime) -> None:
    """Raise PlanRefusedError for a plan that is expired, used, foreign or stale on this host."""
    saved.check_time(plan, now)
    if used := next((one for one in receipts.history(where) if one.plan == plan.digest), None):
        raise PlanRefusedError(f"the plan was applied already, by run {used.run}", "plan again")
    if (host.host.machine_id, host.host.root) != (state.host.machine_id, state.host.root) or (
        not host.host.machine_id and host.host.name != state.host.name
    ):
        raise PlanRefusedError(
            f"the plan was made for {host.host.name} ({host.host.machine_id or 'no machine-id'}), "
            f"this is {state.host.name} ({state.host.machine_id or 'no machine-id'})",
            "apply it there, or plan here",
        )
    for kind, resources in host.preimages.items():
        for resource, wanted in resources.items():
            fact = state.facts.get(kind, {}).get(resource)
            if fact is None or fact.unknown or preimage(fact) != wanted:
                raise PlanRefusedError(f"the plan is stale: {resource} has changed since it was made", "plan again")


def _told(result: RunResult) -> tuple[str, ...]:
    return tuple(
        f"{one.task.removesuffix(' (predicted)')}: {one.item}" if one.item else one.task for one in result.changed
    )


def _errors(result: RunResult) -> tuple[str, ...]:
    return tuple(f"{one.task}{f' ({one.item})' if one.item else ''}: {one.message.strip()}" for one in result.failures)


def _named(told: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(one.replace("Write the files into new directories: ", "Write the files: ") for one in told)


def dry_run(plan: Plan, on_task: Say | None = None) -> Prediction:
    """The same playbook with --check --diff: what apply would do, and nothing done."""
    host = plan.hosts[0]
    if not host.steps:
        return Prediction(True, ())
    result = run(partial(playbook.write_project, plan), check=True, on_task=on_task)
    diffs = tuple(diff for one in result.changed for diff in one.diff)
    return Prediction(result.ok, _named(_told(result)), diffs, _errors(result))


def lock(where: Path) -> filelock.BaseFileLock:
    """The lock that lets one run at a time change a host; the kernel frees it when its holder dies."""
    receipts._prepare(where)
    held = filelock.FileLock(where / "lock", mode=0o600)
    try:
        held.acquire(timeout=0)
    except filelock.Timeout as error:
        raise ApplyError("another run is changing this host", "wait for it to end") from error
    return held


def _moment(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def perform(
    plan: Plan,
    baseline: Baseline,
    where: Path,
    kind: str = "apply",
    on_task: Say | None = None,
    now: datetime | None = None,
) -> Receipt:
    """Run the playbook of a plan, look again, and keep a receipt.

    The receipt stands before the first change as well, so that a plan is used even if the run dies.
    """
    started = now or datetime.now(UTC)
    host = plan.hosts[0]
    run_id = f"{started.strftime('%Y%m%dT%H%M%SZ')}-{secrets.token_hex(4)}"
    receipt = Receipt(
        run=run_id,
        kind=kind,
        started_at=_moment(started),
        finished_at="",
        plan=plan.digest,
        baseline=baseline.name,
        hosts=(HostReceipt(host.host, ok=False, errors=("did not finish",)),),
        plans=plan.hosts,
    )
    receipts.write(where, receipt)
    result = run(partial(playbook.write_project, plan), check=False, on_task=on_task)
    state = look(host.host.root)
    fixed, pending, failed = verify.sort(host, state, baseline)
    errors = _errors(result)
    if not result.ok and not errors:
        errors = (f"ansible ended with {result.status} (rc {result.rc})",)
    documents = {
        name: {
            resource: state.facts[name][resource].document for resource in resources if resource in state.facts[name]
        }
        for name, resources in host.preimages.items()
    }
    outcome = HostReceipt(
        host.host,
        ok=result.ok and not failed,
        fixed=tuple(fixed),
        pending=tuple(pending),
        failed=tuple(failed),
        changed=_told(result),
        errors=errors,
        documents=documents,
        files=edited(host, state),
    )
    finished = msgspec.structs.replace(receipt, finished_at=_moment(datetime.now(UTC)), hosts=(outcome,))
    receipts.write(where, finished)
    return finished


def edited(host: HostPlan, state: HostState) -> dict[str, str]:
    """The SHA-256 that the files of a plan's edits have in a state."""
    known = {
        resource: str(fact.evidence.get("file", {}).get("sha256", ""))
        for kind in state.facts.values()
        for resource, fact in kind.items()
        if "file" in fact.evidence
    }
    return {one.path: known.get(one.path, "") for one in host.steps.files}


def apply(plan: Plan, baseline: Baseline, on_task: Say | None = None, kind: str = "apply") -> Receipt:
    """Apply a plan to this host or file tree.

    Raises PlanRefusedError for a plan that must not be applied, ApplyError where it cannot be.
    """
    host = plan.hosts[0]
    where = receipts.folder(host.host.root)
    if host.host.root == "/" and os.geteuid() != 0:
        raise ApplyError("changing this host needs root", "run it with sudo")
    held = lock(where)
    try:
        check(plan, host, look(host.host.root), where, datetime.now(UTC))
        return perform(plan, baseline, where, kind=kind, on_task=on_task)
    finally:
        held.release()


__all__ = ["Prediction", "apply", "check", "dry_run", "lock", "look", "perform", "seal"]
