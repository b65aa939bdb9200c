"""Believe the host, not the exit code: what a fresh look says of the findings that a plan was to fix."""

from __future__ import annotations

from ..audit import audit
from ..baseline import Baseline
from ..expect import same
from ..model import Finding, HostState, Outcome
from ..patch import get
from ..plan.model import HostPlan


def sort(plan: HostPlan, state: HostState, baseline: Baseline) -> tuple[list[Finding], list[Finding], list[Finding]]:
    """The plan's findings as they are now: (fixed, pending activation, not fixed).

    One is fixed when it passes and every value that the plan set is there.
    """
    now = {(one.control, one.resource): one for one in audit(state, baseline)}
    fixed, pending, failed = [], [], []
    for planned in plan.findings:
        found = now.get((planned.control, planned.resource), planned)
        if found.pending:
            pending.append(found)
        elif found.outcome is Outcome.PASS and _as_planned(plan, planned, state):
            fixed.append(found)
        else:
            failed.append(found)
    return fixed, pending, failed


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
