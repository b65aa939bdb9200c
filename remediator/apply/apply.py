"""Apply: from the plan file alone, through ansible-runner, in waves, verified by a fresh collect."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import filelock
import msgspec

from ..baseline import Baseline
from ..errors import ApplyError, PlanRefusedError
from ..model import HostState, Model
from ..patch import digest
from ..plan import playbook, saved
from ..plan.model import HostPlan, Plan
from ..plan.plan import preimage, read_by_daemon
from ..plan.playbook import name_of
from . import receipts, waves
from .outcome import failures, outcome, taken_back, told
from .reach import Reach, Say
from .receipts import HostReceipt, Receipt


class Prediction(Model, frozen=True):
    """What a dry-run says that apply would do: the changed tasks and items, and diffs of files."""

    ok: bool
    changed: tuple[str, ...]
    diffs: tuple[dict[str, Any], ...] = ()
    errors: tuple[str, ...] = ()


class Rollout(Model, frozen=True):
    """How many hosts at a time, and how many may fail before no further wave is begun.

    `confirm_within`: seconds until a host takes back by itself what could not be confirmed. With `resume` only
    a run that began and did not finish is taken up.
    """

    waves: str = waves.DEFAULT
    max_failures: int = 0
    confirm_within: int = playbook.CONFIRM_WITHIN
    resume: bool = False


class Begun(Model, frozen=True):
    """A run under way: its plan and baseline, what the hosts are told of it, and whether it began before."""

    plan: Plan
    baseline: Baseline
    run: playbook.Run
    before: bool


def _foreign(host: HostPlan, state: HostState) -> str:
    if (host.host.machine_id, host.host.root) == (state.host.machine_id, state.host.root) and (
        host.host.machine_id or host.host.name == state.host.name
    ):
        return ""
    return (
        f"the plan was made for {host.host.name} ({host.host.machine_id or 'no machine-id'}), "
        f"this is {state.host.name} ({state.host.machine_id or 'no machine-id'})"
    )


def _stale(host: HostPlan, state: HostState, half_done: bool) -> str:
    """Which resource is not what the plan was made for; half-way, what it leads to counts as well."""
    anew = {name for one in host.steps.recreates for name in one.containers} if half_done else set()
    for kind, resources in host.preimages.items():
        for resource, wanted in resources.items():
            if kind == "container" and resource in anew:
                continue
            fact = state.facts.get(kind, {}).get(resource)
            if fact is not None and not fact.unknown:
                if preimage(fact) == wanted:
                    continue
                if half_done and digest(fact.document) == host.postimages.get(kind, {}).get(resource):
                    continue
            changed = ", ".join(_changed(host, state)) if kind == "daemon" else ""
            told = f"the plan is stale: {changed or resource} has changed since it was made"
            return f"{told}: {fact.unknown}" if fact is not None and fact.unknown else told
    return ""


def _changed(host: HostPlan, state: HostState) -> list[str]:
    """The files that say how the daemon is started, of those that are not as the plan saw them."""
    now = read_by_daemon(state)
    edited = {one.path: one.before for one in host.steps.files}
    known = {**host.steps.unchanged, **{path: digest for path, digest in edited.items() if path in now}}
    return sorted(path for path in known.keys() | now.keys() if known.get(path, "") != now.get(path, ""))


def check(host: HostPlan, state: HostState, half_done: bool = False) -> None:
    """Raise PlanRefusedError for a plan that is foreign or stale on this host."""
    if reason := _foreign(host, state):
        raise PlanRefusedError(reason, "apply it there, or plan here")
    if reason := _stale(host, state, half_done):
        raise PlanRefusedError(reason, "plan again")


def unfinished(plan: Plan, where: Path) -> Receipt | None:
    """The run that began this plan and did not finish it; raises PlanRefusedError for a used plan."""
    kept = receipts.history(where)
    begun = [one for one in kept if one.plan == plan.digest]
    if not begun:
        return None
    if any(one.undoes == begun[-1].run for one in kept):
        raise PlanRefusedError(f"the plan was applied already, by run {begun[-1].run}, and taken back", "plan again")
    if plan.inventory and not begun[-1].ok:
        return begun[-1]
    if not begun[-1].finished_at:
        return begun[-1]
    raise PlanRefusedError(f"the plan was applied already, by run {begun[-1].run}", "plan again")


def _headed(diff: dict[str, Any], item: str) -> dict[str, Any]:
    """A file's diff named by the file itself, not by the new text's place in a run's private directory."""
    return {**diff, "before_header": item, "after_header": item} if item and "after_header" in diff else diff


def dry_run(plan: Plan, reach: Reach, where: Path, on_task: Say | None = None) -> Prediction:
    """The same playbook with --check --diff: what apply would do, and nothing done.

    Raises PlanRefusedError where apply would refuse the plan.
    """
    saved.check_time(plan, datetime.now(UTC))
    half_done = unfinished(plan, where) is not None
    hosts = {name_of(plan, one): one for one in plan.hosts if one.steps}
    if not hosts:
        return Prediction(True, ())
    states, failed = reach.look(hosts)
    errors = [f"{name}: {reason}" for name, reason in failed.items()]
    for name, state in states.items():
        if name in hosts:
            check(hosts[name], state, half_done)
    part = msgspec.structs.replace(plan, hosts=tuple(hosts[name] for name in hosts if name in states))
    result = reach.run(partial(playbook.write_project, part), states, check=True, on_task=on_task)
    changed: list[str] = []
    for name in states:
        prefix = f"{name}: " if plan.inventory else ""
        changed += [prefix + one for one in told(result, name)]
        errors += [prefix + one for one in failures(result, name)]
    diffs = tuple(_headed(diff, one.item) for one in result.changed for diff in one.diff)
    return Prediction(result.ok and not errors, tuple(changed), diffs, tuple(errors))


def lock(where: Path) -> filelock.BaseFileLock:
    """The lock that lets one run at a time change a host; the kernel frees it when its holder dies."""
    receipts.prepare(where)
    held = filelock.FileLock(where / "lock", mode=0o600)
    try:
        held.acquire(timeout=0)
    except filelock.Timeout as error:
        raise ApplyError("another run is changing this host", "wait for it to end") from error
    return held


def moment(now: datetime) -> str:
    """A time as documents spell it."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def new_run(now: datetime) -> str:
    """An id for a run that begins now."""
    return f"{now.strftime('%Y%m%dT%H%M%SZ')}-{secrets.token_hex(4)}"


def _begin(plan: Plan, baseline: Baseline, kind: str, now: datetime) -> Receipt:
    return Receipt(
        run=new_run(now),
        kind=kind,
        started_at=moment(now),
        finished_at="",
        plan=plan.digest,
        baseline=baseline.name,
        hosts=tuple(HostReceipt(one.host, ok=False, errors=("not done",)) for one in plan.hosts if one.steps),
        plans=tuple(one for one in plan.hosts if one.steps),
        inventory=plan.inventory,
    )


def _wave(begun: Begun, names: Iterable[str], reach: Reach, on_task: Say | None) -> dict[str, HostReceipt]:
    """Apply to the hosts of one wave; those that refuse the plan or cannot be reached are told, not changed.

    A host on which a fresh look does not find what the plan was to fix is taken back.
    """
    plan = begun.plan
    hosts = {name_of(plan, one): one for one in plan.hosts}
    done: dict[str, HostReceipt] = {}
    states, unreached = reach.look(names)
    for name in names:
        if name not in states:
            done[name] = HostReceipt(hosts[name].host, ok=False, errors=(unreached.get(name, "gave no state"),))
            continue
        try:
            check(hosts[name], states[name], begun.before)
        except PlanRefusedError as error:
            if not plan.inventory:
                raise
            done[name] = HostReceipt(hosts[name].host, ok=False, errors=(str(error),))
    ready = [name for name in names if name not in done]
    if not ready:
        return done
    part = msgspec.structs.replace(plan, hosts=tuple(hosts[name] for name in ready))
    result = reach.run(partial(playbook.write_project, part, run=begun.run), ready, check=False, on_task=on_task)
    fresh, _ = reach.look(ready)
    for name in ready:
        done[name] = outcome(hosts[name], name, result, fresh.get(name), begun.baseline)
    missed = {name: done[name].run for name in ready if done[name].failed and done[name].run and not done[name].undone}
    if missed:
        undone = reach.undo(missed, on_task)
        done.update({name: taken_back(done[name], undone, name) for name in missed})
    return done


def _put(receipt: Receipt, plan: Plan, done: dict[str, HostReceipt]) -> Receipt:
    names = [name_of(plan, one) for one in receipt.plans]
    hosts = tuple(done.get(name, old) for name, old in zip(names, receipt.hosts, strict=True))
    return msgspec.structs.replace(receipt, hosts=hosts)


def perform(
    plan: Plan,
    baseline: Baseline,
    reach: Reach,
    where: Path,
    kind: str = "apply",
    rollout: Rollout | None = None,
    on_task: Say | None = None,
    signed_by: str = "",
) -> Receipt:
    """Run the playbook of a plan wave by wave, look again after each, and keep a receipt.

    The receipt stands before the first change as well, so that a plan is used even if the run dies. A run
    that died, or stopped at a wave that failed, is taken up where it ended.
    """
    rollout = rollout or Rollout()
    before = unfinished(plan, where)
    if rollout.resume and before is None:
        raise PlanRefusedError("there is no run of this plan to resume", "apply it without --resume")
    receipt = before or _begin(plan, baseline, kind, datetime.now(UTC))
    receipt = msgspec.structs.replace(receipt, signed_by=signed_by or receipt.signed_by)
    receipts.write(where, receipt)
    own = playbook.Run(receipt.run, receipts.control(where), rollout.confirm_within)
    begun = Begun(plan, baseline, own, before is not None)
    left = [one for one, was in zip(receipt.plans, receipt.hosts, strict=True) if not was.ok]
    failed = 0
    for number, wave in enumerate(waves.split([_renamed(plan, one) for one in left], rollout.waves), 1):
        if failed > rollout.max_failures:
            break
        if on_task is not None and plan.inventory:
            on_task(f"wave {number}: {', '.join(wave)}")
        done = _wave(begun, wave, reach, on_task)
        failed += sum(not one.ok for one in done.values())
        receipt = _put(receipt, plan, done)
        receipts.write(where, receipt)
    receipt = msgspec.structs.replace(receipt, finished_at=moment(datetime.now(UTC)))
    receipts.write(where, receipt)
    return receipt


def _renamed(plan: Plan, host: HostPlan) -> HostPlan:
    return msgspec.structs.replace(host, host=msgspec.structs.replace(host.host, name=name_of(plan, host)))


def apply(
    plan: Plan,
    baseline: Baseline,
    reach: Reach,
    on_task: Say | None = None,
    kind: str = "apply",
    rollout: Rollout | None = None,
    signed_by: str = "",
) -> Receipt:
    """Apply a plan to its hosts; who signed it is kept in the receipt.

    Raises PlanRefusedError for a plan that must not be applied, ApplyError where it cannot be.
    """
    where = receipts.folder(reach.root)
    held = lock(where)
    try:
        saved.check_time(plan, datetime.now(UTC))
        return perform(plan, baseline, reach, where, kind, rollout, on_task, signed_by=signed_by)
    finally:
        held.release()
