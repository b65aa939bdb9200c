"""Rollback: the hosts' guards take a run back, and a fresh look says how far."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from ..errors import InputError
from ..model import HostState
from ..plan.model import HostPlan
from ..plan.plan import preimage
from ..plan.playbook import LOCAL
from ..runner import RunResult
from . import apply, receipts, waves
from .outcome import documents, failures, guarded
from .reach import Here, Inventory, Reach
from .receipts import HostReceipt, Receipt


def _missed(done: HostPlan, left: tuple[str, ...], state: HostState) -> list[str]:
    """What is not as it was before the run, though nobody else changed it."""
    missed = []
    for kind, resources in done.preimages.items():
        for resource, wanted in resources.items():
            fact = state.facts.get(kind, {}).get(resource)
            if kind == "container" or any(resource in one for one in left):
                continue
            if fact is None or preimage(fact) != wanted:
                missed.append(f"{resource}: is not as it was before the run")
    return missed


def _outcome(done: HostPlan, name: str, result: RunResult, state: HostState | None) -> HostReceipt:
    said = guarded(result, name)
    left = tuple(str(one) for one in said.get("left", ()))
    changed = tuple(str(one) for one in said.get("changed", ()))
    if state is None:
        return HostReceipt(done.host, ok=False, changed=changed, errors=("no fresh look",), left=left)
    errors = [str(one) for one in said.get("errors", ())] if said else list(failures(result, name))
    missed = _missed(done, left, state)
    if not said and not missed:  # nothing was begun there, or it is as it was
        errors = []
    return HostReceipt(
        done.host,
        ok=not errors and not missed,
        changed=changed,
        errors=(*errors, *missed),
        left=left,
        documents=documents(done, state),
    )


def rollback(run: str, root: str = "/", inventory: str = "", on_task: Callable[[str], None] | None = None) -> Receipt:
    """Undo a run on its hosts, and keep a receipt of it.

    Raises InputError where the run is not known or was undone already. What someone else changed since is
    left alone and said. One that did not succeed may be repeated.
    """
    where = receipts.folder(root)
    held = apply.lock(where)
    try:
        receipt = receipts.find(where, run)
        undone = [one for one in receipts.history(where) if one.undoes == receipt.run and one.ok]
        if undone:
            raise InputError(f"run {receipt.run} was rolled back already, by run {undone[-1].run}")
        if receipt.kind == "rollback":
            raise InputError(f"run {receipt.run} is a rollback itself", "plan again")
        named = inventory or receipt.inventory
        return _undo(receipt, Inventory(named) if named else Here(root), where, on_task)
    finally:
        held.release()


def _undo(receipt: Receipt, reach: Reach, where: Path, on_task: Callable[[str], None] | None) -> Receipt:
    names = {one.host.name if receipt.inventory else LOCAL: one for one in receipt.plans}
    was = dict(zip(names, receipt.hosts, strict=True))
    touched = [
        name
        for name in names
        if (was[name].run or not receipt.finished_at or not was[name].ok) and not was[name].undone
    ]
    begun = Receipt(
        run=apply.new_run(datetime.now(UTC)),
        kind="rollback",
        started_at=apply.moment(datetime.now(UTC)),
        finished_at="",
        plan="",
        baseline=receipt.baseline,
        hosts=tuple(HostReceipt(names[name].host, ok=False, errors=("not done",)) for name in touched),
        plans=(),
        undoes=receipt.run,
        inventory=receipt.inventory,
    )
    receipts.write(where, begun)
    states, unreached = reach.look(touched) if touched else ({}, {})
    outcomes = {name: HostReceipt(names[name].host, ok=False, errors=(reason,)) for name, reason in unreached.items()}
    for wave in waves.one_manager(list(states), names) if states else ():
        result = reach.undo({name: was[name].run or receipt.run for name in wave}, on_task)
        fresh, _ = reach.look(wave)
        outcomes.update({name: _outcome(names[name], name, result, fresh.get(name)) for name in wave})
    hosts = tuple(outcomes[name] for name in touched if name in outcomes)
    done = msgspec.structs.replace(begun, hosts=hosts, finished_at=apply.moment(datetime.now(UTC)))
    receipts.write(where, done)
    return done
