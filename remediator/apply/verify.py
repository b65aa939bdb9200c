"""Believe the host, not the exit code: what a fresh look says of the findings that a plan was to fix."""

from __future__ import annotations

import msgspec

from ..audit import audit
from ..baseline import Baseline
from ..dockerd.options import RELOADABLE
from ..expect import same
from ..model import Finding, HostState, Outcome
from ..patch import get, tokens
from ..plan.model import HostPlan


def sort(plan: HostPlan, state: HostState, baseline: Baseline) -> tuple[list[Finding], list[Finding], list[Finding]]:
    """The plan's findings as they are now: (fixed, pending activation, not fixed).

    One is fixed when it passes and every value that the plan set is there.
    """
    now = {(one.control, one.resource): one for one in audit(state, baseline)}
    fixed: list[Finding] = []
    pending: list[Finding] = []
    failed: list[Finding] = []
    for planned in plan.findings:
        found = now.get((planned.control, planned.resource), planned)
        if planned.owner is not None and planned.owner.kind == "swarm":  # its tasks have other names by now
            tasks = [
                one
                for one in now.values()
                if (one.control, one.owner) == (planned.control, planned.owner)
                and one.outcome is not Outcome.NOT_APPLICABLE
            ]
            (fixed if tasks and all(one.outcome is Outcome.PASS for one in tasks) else failed).append(found)
        elif found.pending and _was_taken_up(plan, planned):
            reason = f"not in effect: {found.reason.removeprefix('pending activation: ')}"
            failed.append(msgspec.structs.replace(found, reason=reason, pending=False))
        elif found.pending:
            pending.append(found)
        elif found.outcome is Outcome.PASS and _as_planned(plan, planned, state):
            fixed.append(found)
        else:
            failed.append(found)
    return fixed, pending, failed


def _was_taken_up(plan: HostPlan, planned: Finding) -> bool:
    """Whether the plan had the daemon take up what a finding is about: by the restart, or by a reload that suffices."""
    action = plan.steps.activation.action
    mine = [one for one in plan.changes if (one.control, one.kind) == (planned.control, "daemon")]
    if not mine or any(one.deferred for one in mine):
        return False
    if action != "reload":
        return action == "restart"
    return all(not one.flag and tokens(one.path)[0] in RELOADABLE for one in mine)


def _as_planned(plan: HostPlan, planned: Finding, state: HostState) -> bool:
    last = {(one.kind, one.resource, one.path): one for one in plan.changes}  # of those that build on one another
    for change in plan.changes:
        if change.control != planned.control or change.activation or change.path == "/HostConfig/MemorySwap":
            continue
        facts = state.facts.get(change.kind, {})
        if change.resource not in facts:
            return False
        mine = change.resource == planned.resource or change.kind != "container"
        wanted = last[change.kind, change.resource, change.path].after_value
        if mine and not same(get(facts[change.resource].document, change.path), wanted):
            return False
    return True
