"""(state, baseline, policy) -> plan. Pure: the same inputs give the same bytes, time is passed in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from .. import __version__, impact
from ..audit import audit, judge, scope, tally
from ..baseline import Baseline
from ..errors import InputError
from ..kinds import KINDS
from ..kinds.compare import Scope
from ..model import (
    Attributes,
    Change,
    Fact,
    FileEdit,
    Finding,
    HostState,
    LiveUpdate,
    Outcome,
    Safety,
)
from ..patch import Operation, canonical, digest, made
from . import activation, conflicts, deferral, owners, proposals, services
from .model import Held, HostPlan, Plan, Policy, Steps, Texts

LIFETIME = timedelta(hours=24)
_MANUAL = Safety.MANUAL
_DISTURBS = "needs --max-disruption"
TIME = "%Y-%m-%dT%H:%M:%SZ"


def _hold(found: Finding, policy: Policy, state: HostState, told: tuple[str, ...]) -> str:
    """Why a finding's changes will not run under a policy; "" where they will.

    `told` is what raised their disruption here.
    """
    for one in found.changes:
        if one.activation and not one.flag and not state.about["live"]:
            return "a file tree: nothing runs here that could take it up"
        if one.blocked:
            return one.blocked
        if one.safety is _MANUAL:
            return "manual: a person has to decide"
    for one in found.changes:
        if one.safety.rank < policy.fix.rank:
            return f"needs --fix {one.safety.value}"
        if one.disruption.rank > policy.max_disruption.rank:
            return ": ".join((f"{_DISTURBS} {one.disruption.value}", *told))
    return "" if found.changes else "no fix is known"


def select(
    state: HostState, findings: Iterable[Finding], policy: Policy, around: Scope
) -> tuple[list[Finding], list[Held]]:
    """The failing findings that will be fixed or deferred, and those that are held with the reason."""
    chosen, held = [], []
    view, fail = impact.View(state, around), Outcome.FAIL  # members of enumerations take long to look up
    for failing in [one for one in findings if one.outcome is fail]:
        here = conflicts.adjusted(failing, state)
        found = impact.adjusted(here, view)
        reason = _hold(found, policy, state, here.changes[0].evidence if here.changes else ())
        later = deferral.deferred(here, policy.max_disruption, state) if reason and policy.defer else None
        if later is not None and not _hold(waiting := impact.adjusted(later, view), policy, state, ()):
            chosen.append(waiting)
            continue
        if reason.startswith(_DISTURBS):
            reason += deferral.other_way(here, policy.max_disruption, state, not policy.defer)
        if reason:
            held.append(Held(found, reason))
        else:
            chosen.append(found)
    kept, more = conflicts.resolve(chosen, state, around)
    return kept, held + more


def _composed(
    chosen: list[Finding], state: HostState, baseline: Baseline, around: Scope
) -> tuple[list[Finding], dict[str, dict[str, Any]], dict[tuple[str, str], list[Operation]]]:
    """The findings with changes that build on one another, the planned documents, and the patches that make them."""
    controls = {one.id: one for one in baseline.controls}
    documents: dict[str, dict[str, Any]] = {}
    patches: dict[tuple[str, str], list[Operation]] = {}
    touched: dict[tuple[str, str], set[str]] = {}
    result = []
    for found in chosen:
        first = found.changes[0]
        kind, resource = first.kind, first.resource
        fact = state.facts[kind][resource]
        document = documents.setdefault(kind, {}).setdefault(resource, fact.document)
        before = touched.setdefault((kind, resource), set())
        if not before.isdisjoint([one.path for one in found.changes]):
            again = judge(controls[found.control], resource, msgspec.structs.replace(fact, document=document), around)
            found = msgspec.structs.replace(found, changes=again.changes)
        before.update([one.path for one in found.changes])
        documents[kind][resource], operations = made(document, found.changes)
        patches.setdefault((kind, resource), []).extend(operations)
        result.append(found)
    return result, documents, patches


def _by_resource(changes: Iterable[Change]) -> dict[tuple[str, str], list[Change]]:
    grouped: dict[tuple[str, str], list[Change]] = {}
    for one in changes:
        grouped.setdefault((one.kind, one.resource), []).append(one)
    return grouped


def _render(
    state: HostState, changes: list[Change], baseline: Baseline
) -> tuple[Steps, list[tuple[str, str, str, str]], tuple[str, ...]]:
    """The steps of the changes, (kind, resource, control or "", reason) of those that cannot be rendered, and notes."""
    grouped = _by_resource(changes)
    files: list[FileEdit] = []
    attributes: list[Attributes] = []
    updates: dict[bytes, LiveUpdate] = {}
    failed: list[tuple[str, str, str, str]] = []
    edits: dict[tuple[str, str], list[str]] = {}
    for (kind, resource), some in grouped.items():
        fact: Fact = state.facts[kind][resource]
        try:
            rendered = KINDS[kind].render(resource, fact, some)
        except InputError as error:
            failed.append((kind, resource, "", str(error)))
            continue
        for step in rendered:
            match step:
                case FileEdit():
                    files.append(step)
                    edits.setdefault((kind, resource), []).append(step.path)
                case Attributes():
                    attributes.append(step)
                case LiveUpdate():
                    key = canonical(step.values)
                    known = updates.get(key)
                    updates[key] = LiveUpdate((*known.names, *step.names), step.values) if known else step
    failed += _twice(edits)
    load = any(kind == "audit_rule" for kind, _ in grouped)
    daemon = [one for (kind, _), some in grouped.items() if kind == "daemon" for one in some]
    defaults = {
        one.path: one.default for one in baseline.controls if one.kind == "daemon" and one.default is not msgspec.UNSET
    }
    act = activation.decide(state, daemon, defaults, files)
    routed = owners.route(state, changes)
    failed += [("container", *one) for one in routed.refused]
    edited = {one.path for one in files}
    unchanged = {path: sha for path, sha in read_by_daemon(state).items() if path not in edited} if daemon else {}
    steps = Steps(
        files=(*files, *routed.files),
        attributes=tuple(attributes),
        load_audit_rules=load,
        updates=tuple(updates.values()),
        activation=act,
        unchanged=unchanged,
        recreates=tuple(routed.recreates),
        checks=tuple(routed.checks),
    )
    return steps, failed, tuple(routed.notes)


def read_by_daemon(state: HostState) -> dict[str, str]:
    """The files that say how the daemon is started, and their SHA-256; of one that is not there it is ""."""
    found: dict[str, str] = {}
    for path, fact in state.facts["daemon"].items():
        file = fact.evidence["file"]
        if file["type"] in ("file", "absent"):
            found[path] = file.get("sha256", "")
        sources = fact.evidence["start"]["files"].items()
        found.update({one: source["sha256"] for one, source in sources if "sha256" in source})
    return found


def _twice(rendered: dict[tuple[str, str], list[str]]) -> list[tuple[str, str, str, str]]:
    """Those of other kinds that edit a file of the daemon's command line as well: one edit a file and plan."""
    taken = {path for (kind, _), paths in rendered.items() if kind == "daemon" for path in paths}
    return [
        (kind, resource, "", f"this plan edits flags in {path} already: plan again after it is applied")
        for (kind, resource), paths in rendered.items()
        for path in paths
        if kind != "daemon" and path in taken
    ]


def plan_host(state: HostState, baseline: Baseline, policy: Policy) -> HostPlan:
    """The plan of one host, from its state alone."""
    around = scope(state, baseline)
    findings = audit(state, baseline)
    chosen, held = select(state, findings, policy, around)
    chosen = services.level(chosen)
    while True:
        composed, documents, patches = _composed(chosen, state, baseline, around)
        changes = [one for found in composed for one in found.changes]
        steps, failed, told = _render(state, changes, baseline)
        if not failed:
            break
        reasons = {(kind, resource, control): reason for kind, resource, control, reason in failed}
        out = []
        for one in chosen:
            kind, resource = one.changes[0].kind, one.changes[0].resource
            if reason := reasons.get((kind, resource, "")) or reasons.get((kind, resource, one.control)):
                out.append(one)
                held.append(Held(one, reason))
        chosen = [one for one in chosen if one not in out]
    counts = tally(findings)
    counts.update(findings=len(findings), planned=len(composed), held=len(held))
    judged = (Outcome.PASS, Outcome.FAIL)
    return HostPlan(
        host=state.host,
        collected_at=state.collected_at,
        state=digest({k: {r: f.document for r, f in v.items()} for k, v in state.facts.items()}),
        preimages={k: {r: preimage(state.facts[k][r]) for r in some} for k, some in documents.items()},
        counts=counts,
        findings=tuple(msgspec.structs.replace(one, changes=(), title="") for one in composed),
        changes=tuple(changes),
        held=tuple(_slim(one) for one in held),
        others=tuple(
            msgspec.structs.replace(one, title="", reason="" if one.outcome is Outcome.MANUAL else one.reason)
            for one in findings
            if one.outcome not in judged
        ),
        patches={
            kind: found
            for kind, some in documents.items()
            if (found := {resource: patches[kind, resource] for resource in some if patches[kind, resource]})
        },
        steps=steps,
        notes=conflicts.notes(composed, state, steps.activation) + told,
        postimages={k: {r: digest(document) for r, document in some.items()} for k, some in documents.items()},
        manager=bool(state.about.get("manager")),
        proposals=proposals.make(state, held),
    )


def _slim(held: Held) -> Held:
    """A held finding without what the plan says once: its control's texts, and the reason."""
    changes = tuple([msgspec.structs.replace(one, blocked="") for one in held.finding.changes])
    return Held(msgspec.structs.replace(held.finding, title="", changes=changes), held.reason)


def preimage(fact: Fact) -> str:
    """The digest that binds a plan to what it was made for: the document, the file's own bytes, and those of the
    files that make the daemon's command line.
    """
    file, begun = fact.evidence.get("file", {}), fact.evidence.get("start", {})
    line = {path: one.get("sha256", "") for path, one in begun.get("files", {}).items()}
    return digest([fact.document, file.get("sha256", ""), file.get("type", ""), *([line] if line else [])])


def make(
    states: Iterable[HostState],
    baseline: Baseline,
    policy: Policy,
    now: datetime,
    lifetime: timedelta = LIFETIME,
    inventory: str = "",
    unreached: dict[str, str] | None = None,
) -> Plan:
    """One plan for hosts, made at a time and expiring after a lifetime, sealed with its digest."""
    moment = now.astimezone(UTC)
    unsealed = Plan(
        created_at=moment.strftime(TIME),
        expires_at=(moment + lifetime).strftime(TIME),
        baseline=baseline.name,
        baseline_digest=digest(baseline),
        policy=policy,
        hosts=tuple(plan_host(state, baseline, policy) for state in states),
        source=baseline.source,
        controls={one.id: Texts(one.title, one.why or one.rationale, one.manual) for one in baseline.controls},
        inventory=inventory,
        unreached=unreached or {},
        tool=__version__,
    )
    return seal(unsealed)


def seal(plan: Plan) -> Plan:
    """The plan with the digest of all its other contents."""
    bare = msgspec.structs.replace(plan, digest="", hosts=())
    hosts = [host_digest(msgspec.json.encode(host)) for host in plan.hosts]
    return msgspec.structs.replace(plan, digest=digest([bare, hosts]))


def host_digest(encoded: bytes) -> str:
    """The digest of one host's plan, taken of its JSON (fields in the order of their definition)."""
    return hashlib.sha256(encoded).hexdigest()
