"""What became of a host, by what ansible and the guard say and by what a fresh look confirms."""

from __future__ import annotations

from typing import Any

import msgspec

from ..baseline import Baseline
from ..model import HostState
from ..plan.model import HostPlan
from ..runner import RunResult
from . import verify
from .receipts import HostReceipt

_TOLD = "Tell that the host is as it was"  # what plain ansible-playbook ends with
_EFFECT = "Make it take effect"  # its item says all that it does: too long for an error


def told(result: RunResult, host: str) -> tuple[str, ...]:
    """What was changed on a host, or would be: each task and item, and each step that takes effect."""
    found: list[str] = []
    for one in result.changed:
        if one.host == host:
            task = one.task.removesuffix(" (predicted)")
            found += [f"{task}: {item}" for item in one.item.split("; ")] if one.item else [task]
    return tuple(found)


def failures(result: RunResult, host: str) -> tuple[str, ...]:
    """What went wrong on a host."""
    return tuple(
        f"{one.task}{f' ({one.item})' if one.item and one.task != _EFFECT else ''}: {one.message.strip()}"
        for one in result.failures
        if one.host == host and one.task != _TOLD
    )


def guarded(result: RunResult, host: str) -> dict[str, Any]:
    """The last document that the guard of a host gave; {} where it gave none."""
    said = [one.data for one in result.results if one.host == host and isinstance(one.data, dict)]
    return {key: value for one in said for key, value in one.items()}


def outcome(host: HostPlan, name: str, result: RunResult, state: HostState | None, baseline: Baseline) -> HostReceipt:
    """What became of one host, as a fresh look says; without one nothing counts as fixed."""
    failed_tasks, said = failures(result, name), guarded(result, name)
    common: dict[str, Any] = {"changed": told(result, name), "run": str(said.get("run") or said.get("confirmed", ""))}
    if said.get("outcome") == "undone":
        common["undone"] = str(said["reason"])
        common["left"] = tuple(said.get("left", ()))
        failed_tasks += tuple(f"taking it back: {one}" for one in said.get("errors", ()))
    if state is None:
        return HostReceipt(host.host, ok=False, errors=(*failed_tasks, "no fresh look"), **common)
    fixed, pending, failed = verify.sort(host, state, baseline)
    if not result.ok and not failed_tasks and not any(one.failed for one in result.results):
        failed_tasks = (f"ansible ended with {result.status} (rc {result.rc})",)
    return HostReceipt(
        host.host,
        ok=not failed_tasks and not failed,
        fixed=tuple(fixed),
        pending=tuple(pending),
        failed=tuple(failed),
        errors=failed_tasks,
        documents=documents(host, state),
        **common,
    )


def taken_back(was: HostReceipt, result: RunResult, name: str) -> HostReceipt:
    """A host's receipt after it was taken back since the fresh look did not find what was planned."""
    said = guarded(result, name)
    failed = (*failures(result, name), *(f"taking it back: {one}" for one in said.get("errors", ())))
    reason = "; ".join(f"{one.resource}: {one.reason}" for one in was.failed)
    undone = f"not all was as planned: {reason}" if said.get("outcome") == "undone" else ""
    return msgspec.structs.replace(
        was, undone=undone, errors=(*was.errors, *failed), left=tuple(said.get("left", ())), fixed=(), documents={}
    )


def documents(host: HostPlan, state: HostState) -> dict[str, dict[str, Any]]:
    """The documents that a plan touches, as they are in a state, by kind and resource."""
    return {
        kind: {resource: state.facts[kind][resource].document for resource in some if resource in state.facts[kind]}
        for kind, some in host.preimages.items()
    }
