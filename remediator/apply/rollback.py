"""Rollback: the inverse of a run, made by the same playbook from the backups it left."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from ..baseline import Baseline
from ..edited import EditedText, file_edit
from ..errors import InputError
from ..expect import same
from ..kinds import text
from ..model import Attributes, Change, FileEdit, HostState, LiveUpdate
from ..patch import digest, get
from ..plan import activation
from ..plan.model import Activation, HostPlan, Plan, Policy, Steps
from ..plan.plan import preimage, seal
from ..plan.playbook import LOCAL
from . import apply, receipts
from .apply import Rollout
from .reach import Here, Inventory, Reach
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
        if current not in (receipt.files.get(one.path), one.after):
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


def inverse(done: HostPlan, was: HostReceipt, state: HostState) -> tuple[HostPlan, list[str]]:
    """The plan that undoes a run on one host as it is, and what it leaves alone with the reason."""
    files, left = _files(done, was, state)
    attributes, more = _attributes(done, state)
    updates, others = _updates(done, state)
    edited = {one.path for one in files}
    daemon = [_inverse(one) for one in done.changes if one.kind == "daemon" and one.resource in edited]
    act = activation.decide(state, daemon) if daemon else Activation()
    if act.action == "restart":
        others += [f"container {one}: ran with --rm, the restart removed it" for one in activation.temporary(state)]
    rules = any(path.startswith("/etc/audit/") for path in edited)
    host = msgspec.structs.replace(
        done,
        collected_at=state.collected_at,
        preimages={
            kind: {name: preimage(facts[name]) for name in resources if name in facts}
            for kind, resources in done.preimages.items()
            if (facts := state.facts.get(kind, {}))
        },
        postimages={},
        counts={},
        findings=(),
        changes=tuple(_inverse(one) for one in done.changes if not one.activation),
        held=(),
        others=(),
        patches={},
        steps=Steps(tuple(files), tuple(attributes), rules, tuple(updates), act),
        notes=(),
    )
    return host, [*left, *more, *others]


def _explicit(undo: HostPlan, state: HostState, baseline: Baseline) -> HostPlan | None:
    """The plan of a step before the rollback: the engine's defaults written out for keys that a reload drops.

    A key that is removed and reloaded stays in effect (moby: daemon/reload.go takes only keys that are
    set), so it is set to its default and reloaded first. None where the rollback needs no such step.
    """
    defaults = {one.path: one.default for one in baseline.controls if one.kind == "daemon"}
    dropped = [one for one in undo.changes if one.kind == "daemon" and not one.has_after and one.path in defaults]
    if undo.steps.activation.action != "reload" or not dropped:
        return None
    resource = dropped[0].resource
    file = state.facts["daemon"][resource].evidence["file"]
    edited = EditedText(file.get("text", ""))
    for one in dropped:
        text.edit_json(edited, one.path, defaults[one.path])
    edit = file_edit(resource, file, edited)
    steps = Steps(files=(edit,) if edit else (), activation=undo.steps.activation)
    return msgspec.structs.replace(undo, steps=steps)


def _rebased(undo: HostPlan, state: HostState) -> HostPlan:
    """The plan of a rollback with its edits guarded by the files as they are now."""
    now = apply.edited(undo, state)
    files = tuple(msgspec.structs.replace(one, before=now[one.path]) for one in undo.steps.files)
    preimages = {
        kind: {name: preimage(state.facts[kind][name]) for name in resources if name in state.facts[kind]}
        for kind, resources in undo.preimages.items()
    }
    return msgspec.structs.replace(undo, steps=msgspec.structs.replace(undo.steps, files=files), preimages=preimages)


def _missed(done: HostPlan, left: list[str], state: HostState | None) -> list[str]:
    """What is not as it was before the run, though nobody else changed it."""
    missed = []
    for kind, resources in done.preimages.items() if state else ():
        for resource, wanted in resources.items():
            fact = state.facts.get(kind, {}).get(resource) if state else None
            if kind == "container" or any(resource in one for one in left):
                continue
            if fact is None or preimage(fact) != wanted:
                missed.append(f"{resource}: is not as it was before the run")
    return missed


def _reach(receipt: Receipt, root: str, inventory: str) -> Reach:
    if receipt.inventory or inventory:
        return Inventory(inventory or receipt.inventory)
    return Here(root)


def rollback(
    run: str, baseline: Baseline, root: str = "/", inventory: str = "", on_task: Callable[[str], None] | None = None
) -> Receipt:
    """Undo a run on its hosts, and keep a receipt of it.

    Raises InputError where the run is not known or was undone already. What someone else changed since is
    left alone and said.
    """
    where = receipts.folder(root)
    held = apply.lock(where)
    try:
        receipt = receipts.find(where, run)
        if by := next((one for one in receipts.history(where) if one.undoes == receipt.run), None):
            raise InputError(f"run {receipt.run} was rolled back already, by run {by.run}")
        reach = _reach(receipt, root, inventory)
        return _undo(receipt, baseline, reach, where, on_task)
    finally:
        held.release()


def _name(host: HostPlan, receipt: Receipt) -> str:
    return host.host.name if receipt.inventory else LOCAL


def _plan(receipt: Receipt, made: list[HostPlan], unreached: dict[str, str]) -> Plan:
    """A plan that may disrupt as much as what it undoes."""
    now = apply.moment(datetime.now(UTC))
    disruption = max((one.disruption for host in made for one in host.changes), default=Policy().max_disruption)
    policy = Policy(max_disruption=disruption)
    plan = Plan(now, now, receipt.baseline, "", policy, tuple(made), inventory=receipt.inventory, unreached=unreached)
    return seal(plan)


def _undo(
    receipt: Receipt, baseline: Baseline, reach: Reach, where: Path, on_task: Callable[[str], None] | None
) -> Receipt:
    names = {_name(one, receipt): one for one in receipt.plans}
    was = dict(zip(names, receipt.hosts, strict=True))
    touched = [name for name in names if was[name].changed or was[name].documents or not receipt.finished_at]
    states, unreached = reach.look(touched)
    made: list[HostPlan] = []
    left: dict[str, list[str]] = {}
    for name, state in states.items():
        host, left[name] = inverse(names[name], was[name], state)
        made.append(host)
    steps = (_explicit(host, states[_name(host, receipt)], baseline) for host in made)
    if first := [one for one in steps if one is not None]:
        reach.run(_plan(receipt, first, {}), [one.host.name for one in first], check=False, on_task=on_task)
        again, _ = reach.look([_name(one, receipt) for one in first])
        made = [_rebased(one, again.get(_name(one, receipt), states[_name(one, receipt)])) for one in made]
    plan = _plan(receipt, made, unreached)
    done = apply.perform(
        plan, baseline, reach, where, "rollback", Rollout("100%", len(made)), on_task, undoes=receipt.run
    )
    fresh, _ = reach.look(states)
    outcomes = []
    for host, one in zip(done.plans, done.hosts, strict=True):
        name = _name(host, receipt)
        missed = _missed(names[name], left[name], fresh.get(name))
        told = {"left": tuple(left[name]), "errors": one.errors + tuple(missed), "ok": one.ok and not missed}
        outcomes.append(msgspec.structs.replace(one, **told))
    outcomes += [
        HostReceipt(names[name].host, ok=False, errors=(reason,)) for name, reason in unreached.items() if name in names
    ]
    plans = (*done.plans, *(names[name] for name in unreached if name in names))
    final = msgspec.structs.replace(done, hosts=tuple(outcomes), plans=plans)
    receipts.write(where, final)
    return final
