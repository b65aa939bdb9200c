"""(state, baseline) -> findings: every control on every resource that it concerns, each with an outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

import msgspec

from .baseline import Baseline, Control
from .kinds import KINDS
from .kinds.compare import Scope, finding
from .kinds.daemon import configured
from .model import Fact, Finding, HostState, Outcome


def _major(about: Mapping[str, Any]) -> int | None:
    head = str(about.get("engine", "")).split(".")[0]
    return int(head) if head.isdigit() else None


def _engine_before(about: Mapping[str, Any], wanted: Any) -> tuple[bool | None, str]:
    major = _major(about)
    return (None if major is None else major < wanted), f"only engines before {wanted}"


def _engine_from(about: Mapping[str, Any], wanted: Any) -> tuple[bool | None, str]:
    major = _major(about)
    return (None if major is None else major >= wanted), f"only engines from {wanted} on"


def _flag(name: str, text: str) -> Callable[[Mapping[str, Any], Any], tuple[bool | None, str]]:
    def test(about: Mapping[str, Any], wanted: Any) -> tuple[bool | None, str]:
        known = None if about.get("engine_error") and name != "tcp" else bool(about.get(name)) is wanted
        return known, f"only where the host {'has' if wanted else 'does not have'} {text}"

    return test


CONDITIONS: Final[Mapping[str, Callable[[Mapping[str, Any], Any], tuple[bool | None, str]]]] = {
    "engine_before": _engine_before,
    "engine_from": _engine_from,
    "swarm": _flag("swarm", "swarm mode on"),
    "apparmor": _flag("apparmor", "AppArmor"),
    "selinux": _flag("selinux", "SELinux"),
    "tcp": _flag("tcp", "the daemon listening on TCP"),
    "storage_driver": lambda about, wanted: (
        (about["driver"] == wanted if about.get("driver") else None),
        f"only with the storage driver {wanted}",
    ),
}


def _resources(control: Control, state: HostState) -> list[str]:
    facts = state.facts.get(control.kind, {})
    if control.kind == "file":
        named = control.resource
        return (
            [path for path in state.about["paths"].get(named, []) if path in facts]
            if named.startswith("{")
            else [one for one in (named,) if one in facts]
        )
    return list(facts)


def scope(state: HostState, baseline: Baseline) -> Scope:
    """What judging may know of this host and this baseline besides single facts."""
    return Scope({**state.about, "tcp": _tcp(state)}, baseline.parameters)


def _tcp(state: HostState) -> bool:
    for fact in state.facts.get("daemon", {}).values():
        hosts = configured(fact, "hosts", [])
        if isinstance(hosts, list) and any(str(one).startswith("tcp://") for one in hosts):
            return True
    return False


def judge(control: Control, resource: str, fact: Fact, around: Scope) -> Finding:
    """One control on one fact, with what is unknown said as unknown."""
    if fact.unknown:
        return finding(control, resource, Outcome.UNKNOWN, fact.unknown)
    return KINDS[control.kind].judge(control, resource, fact, around)


def _control(control: Control, state: HostState, around: Scope) -> list[Finding]:
    for name, wanted in control.when.items():
        applies, text = CONDITIONS[name](around.about, wanted)
        if applies is None:
            return [
                finding(
                    control,
                    control.resource or "*",
                    Outcome.UNKNOWN,
                    f"{text}: {around.about.get('engine_error') or 'the engine is not known'}",
                )
            ]
        if not applies:
            return [finding(control, control.resource or "*", Outcome.NOT_APPLICABLE, text)]
    if control.expect is None:
        resource = control.resource or "host"
        return [finding(control, resource, Outcome.MANUAL, control.manual)]
    resources = _resources(control, state)
    if not resources:
        absent = {"container": "no containers", "group": "there is no group docker"}.get(
            control.kind, "not on this host"
        )
        return [finding(control, control.resource or "*", Outcome.NOT_APPLICABLE, absent)]
    facts = state.facts[control.kind]
    known = KINDS[control.kind].judge
    return [
        finding(control, one, Outcome.UNKNOWN, fact.unknown) if fact.unknown else known(control, one, fact, around)
        for one, fact in ((one, facts[one]) for one in resources)
    ]


def _waived(found: Finding, baseline: Baseline, today: str) -> Finding:
    if found.outcome is not Outcome.FAIL:
        return found
    for waiver in baseline.waivers:
        if waiver.control == found.control and fnmatchcase(found.resource, waiver.resource) and today <= waiver.expires:
            reason = f"{found.reason}; accepted by {waiver.approver} until {waiver.expires}: {waiver.reason}"
            return msgspec.structs.replace(found, outcome=Outcome.WAIVED, reason=reason, changes=())
    return found


def audit(state: HostState, baseline: Baseline, today: str | None = None) -> list[Finding]:
    """The findings of a baseline on a host, in the baseline's order, then by resource.

    `today` (YYYY-MM-DD) decides whether waivers have expired; by default the day of collecting.
    """
    around = scope(state, baseline)
    day = today or state.collected_at[:10]
    findings = [found for control in baseline.controls for found in _control(control, state, around)]
    return [_waived(found, baseline, day) for found in findings] if baseline.waivers else findings


def tally(findings: list[Finding]) -> dict[str, int]:
    """How many findings have each outcome; the numbers add up to all findings."""
    outcomes = [one.outcome for one in findings]
    return {outcome.value: outcomes.count(outcome) for outcome in Outcome}
