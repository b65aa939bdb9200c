"""Rollback: the inverse of a run, made by the same playbook from the backups it left."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from ..audit import scope
from ..baseline import Baseline
from ..errors import ApplyError, InputError
from ..expect import same
from ..model import Attributes, Change, FileEdit, HostState, LiveUpdate
from ..patch import digest, get
from ..plan import activation
from ..plan.model import Activation, HostPlan, Plan, Steps
from ..plan.plan import preimage, seal
from . import apply, receipts
from .receipts import HostReceipt, Receipt


def _inverse(change: Change) -> Change:
    return msgspec.structs.replace(
        change,
        before=change.after,
        after=change.before,
        had_before=change.has_after,
        has_after=change.had_before,
    )


def _files(done: HostPlan, receipt: HostReceipt, state: HostState) -> tuple[list[FileEdit], list[str]]:
    steps, left = [], []
    now = apply.edited(done, state)
    for one in done.steps.files:
        current = now.get(one.path, "")
        if current == one.before:
            continue
        if current != receipt.files.get(one.path):
            left.append(f"{one.path}: was changed by someone else after the run")
            continue
        steps.append(
            FileEdit(one.path, before=current, after=one.before, remove=not one.before, restore=bool(one.before))
        )
    return steps, left


def _attributes(done: HostPlan, state: HostState) -> tuple[list[Attributes], list[str]]:
    found: dict[str, dict[str, Any]] = {}
    left = []
    for one in done.changes:
        if one.kind != "file":
            continue
        fact = state.facts["file"].get(one.resource)
        if fact is None or not same(get(fact.document, one.path), one.after):
            left.append(f"{one.resource}: {one.path.strip('/')} was changed by someone else after the run")
            continue
        found.setdefault(one.resource, {})[one.path.lstrip("/")] = one.before
    sockets = {one.path: one.socket for one in done.steps.attributes}
    return [Attributes(path, **values, socket=sockets.get(path, False)) for path, values in found.items()], left


def _unlimited(key: str, value: Any, memory: int) -> Any:
    """A value that `docker update` can set for one that it cannot: the engine takes no limit away."""
    if key == "Memory" and not value:
        return memory // 2**20 * 2**20
    if key == "MemorySwap" and not value:
        return 2 * (memory // 2**20 * 2**20)
    if key == "PidsLimit" and not value:
        return -1
    return 1024 if key == "CpuShares" and not value else value


def _updates(done: HostPlan, state: HostState) -> tuple[list[LiveUpdate], list[str]]:
    values: dict[str, dict[str, Any]] = {}
    left = []
    for one in done.changes:
        if one.kind != "container":
            continue
        fact = state.facts["container"].get(one.resource)
        if fact is None:
            left.append(f"container {one.resource}: is gone")
            continue
        key = one.path.rpartition("/")[2]
        if key != "MemorySwap" and not same(get(fact.document, one.path), one.after):
            left.append(f"container {one.resource}: {key} was changed by someone else after the run")
            continue
        values.setdefault(one.resource, {})[key] = _unlimited(key, one.before, state.about.get("memory", 0))
    grouped: dict[str, LiveUpdate] = {}
    for name, some in values.items():
        known = grouped.get(digest(some))
        grouped[digest(some)] = LiveUpdate((*known.names, name) if known else (name,), some)
    return list(grouped.values()), left


def inverse(receipt: Receipt, state: HostState, baseline: Baseline, now: datetime) -> tuple[Plan, list[str]]:
    """The plan that undoes a run on the host as it is, and what it leaves alone with the reason."""
    done, was = receipt.plans[0], receipt.hosts[0]
    files, left = _files(done, was, state)
    attributes, more = _attributes(done, state)
    updates, others = _updates(done, state)
    edited = {one.path for one in files}
    daemon = [_inverse(one) for one in done.changes if one.kind == "daemon" and one.resource in edited]
    act = activation.decide(state, daemon, scope(state, baseline)) if daemon else Activation()
    rules = any(path.startswith("/etc/audit/") for path in edited)
    host = msgspec.structs.replace(
        done,
        collected_at=state.collected_at,
        preimages={},
        counts={},
        findings=(),
        changes=tuple(_inverse(one) for one in done.changes if not one.activation),
        held=(),
        others=(),
        patches={},
        steps=Steps(tuple(files), tuple(attributes), rules, tuple(updates), act),
        notes=(),
    )
    moment = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    plan = Plan(moment, moment, receipt.baseline, "", apply_policy(receipt), (host,))
    return seal(plan), left + more + others


def apply_policy(receipt: Receipt) -> Any:
    """A rollback may disrupt as much as what it undoes."""
    from ..plan.model import Policy

    return Policy(
        max_disruption=max((one.disruption for one in receipt.plans[0].changes), default=Policy().max_disruption)
    )


def rollback(run: str, baseline: Baseline, root: str = "/", on_task: Callable[[str], None] | None = None) -> Receipt:
    """Undo a run on this host or file tree, and keep a receipt of it.

    Raises InputError where the run is not known or was undone already. What someone else changed since is
    left alone and said.
    """
    where = receipts.folder(root)
    if root == "/" and os.geteuid() != 0:
        raise ApplyError("changing this host needs root", "run it with sudo")
    held = apply.lock(where)
    try:
        receipt = receipts.find(where, run)
        if by := next((one for one in receipts.history(where) if one.undoes == receipt.run), None):
            raise InputError(f"run {receipt.run} was rolled back already, by run {by.run}")
        now = datetime.now(UTC)
        plan, left = inverse(receipt, apply.look(root), baseline, now)
        made = apply.perform(plan, baseline, where, kind="rollback", on_task=on_task, now=now)
        state = apply.look(root)
        missed = [
            f"{resource}: is not as it was before the run"
            for kind, resources in receipt.plans[0].preimages.items()
            for resource, wanted in resources.items()
            if kind != "container"
            and (fact := state.facts.get(kind, {}).get(resource)) is not None
            and preimage(fact) != wanted
            and not any(resource in one for one in left)
        ]
        outcome = msgspec.structs.replace(
            made.hosts[0],
            left=tuple(left),
            errors=made.hosts[0].errors + tuple(missed),
            ok=made.hosts[0].ok and not missed,
        )
        final = msgspec.structs.replace(made, hosts=(outcome,), undoes=receipt.run)
        receipts.write(where, final)
        return final
    finally:
        held.release()
