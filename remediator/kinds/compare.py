"""The generic diff: one control held against one fact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from ..baseline import Control, Parameters
from ..expect import NO_FIX, project, same
from ..model import ABSENT, Change, Disruption, Fact, Finding, Model, Outcome, Owner, Safety, Step, Value
from ..patch import get


class Scope(Model, frozen=True):
    """What judging may know besides the fact itself: the host's about, and the baseline's parameters."""

    about: dict[str, Any] = {}
    parameters: Parameters = Parameters()


def show(value: Value) -> str:
    """A value as a person reads it; sizes and texts are left as they are."""
    return "not set" if value is ABSENT else msgspec.json.encode(value).decode()


def finding(
    control: Control,
    resource: str,
    outcome: Outcome,
    reason: str = "",
    pending: bool = False,
    changes: tuple[Change, ...] = (),
    owner: Owner | None = None,
) -> Finding:
    return Finding(
        control.id, control.kind, resource, outcome, control.title, control.severity, reason, pending, changes, owner
    )


def change(
    control: Control,
    resource: str,
    path: str,
    before: Value,
    after: Value,
    *,
    safety: Safety | None = None,
    disruption: Disruption | None = None,
    activation: bool = False,
    flag: str = "",
    evidence: tuple[str, ...] = (),
    blocked: str = "",
) -> Change:
    """The change at one path; safety and disruption are the control's where none are given."""
    return Change(
        control.kind,
        resource,
        path,
        control.id,
        safety or control.safety,
        disruption or control.disruption,
        None if before is ABSENT else before,
        None if after is ABSENT else after,
        before is not ABSENT,
        after is not ABSENT,
        activation,
        flag,
        evidence,
        blocked,
    )


def unfixable(
    control: Control,
    resource: str,
    path: str,
    before: Value,
    *,
    disruption: Disruption | None = None,
    evidence: tuple[str, ...] = (),
) -> Change:
    """A change that only a person can make: no right value is known."""
    told = f"give {control.tailored} in the baseline's tailoring" if control.tailored else "a person has to decide"
    return change(
        control,
        resource,
        path,
        before,
        before,
        safety=Safety.MANUAL,
        disruption=disruption,
        evidence=evidence,
        blocked=f"manual: {told}",
    )


_PLAIN: Final = frozenset({str, int, bool, type(None), type(ABSENT)})  # others count by how they are spelled
_verdicts: dict[tuple[int, type, Any], tuple[Control, Value, Value, str]] = {}
_MOST_VERDICTS: Final = 4096


def verdict(control: Control, actual: Value) -> tuple[Value, Value, str]:
    """The effective and the desired value, and what is said of it; remembered, since values repeat."""
    kind = type(actual)
    key = (id(control), kind, actual if kind in _PLAIN else msgspec.json.encode(actual))
    known = _verdicts.get(key)
    if known is not None and known[0] is control:
        return known[1], known[2], known[3]
    assert control.expect is not None
    effective = control.default if actual is ABSENT and control.default is not msgspec.UNSET else actual
    desired = project(control.expect, effective)
    if desired is not NO_FIX and same(desired, effective):
        desired = effective
    told = f"is {show(effective)}"
    if len(_verdicts) >= _MOST_VERDICTS:
        _verdicts.clear()
    _verdicts[key] = (control, effective, desired, told)
    return effective, desired, told


def judge(control: Control, resource: str, fact: Fact, _scope: Scope) -> Finding:
    """The finding of a control on a fact: the value at its path (or the default) against its projection."""
    actual = get(fact.document, control.path)
    effective, desired, told = verdict(control, actual)
    if desired is effective:
        return finding(control, resource, Outcome.PASS, told)
    if desired is NO_FIX:
        changes: tuple[Change, ...] = (unfixable(control, resource, control.path, actual),)
    else:
        changes = (change(control, resource, control.path, actual, desired),)
    return finding(control, resource, Outcome.FAIL, told, changes=changes)


def nothing(_resource: str, _fact: Fact, _changes: Sequence[Change]) -> list[Step]:
    """The steps of a kind that is judged and never changed."""
    return []
