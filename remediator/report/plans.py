"""Plans as text for people: of one host in full, of many as a summary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ..impact.verdict import BREAKS, UNKNOWN
from ..model import ABSENT, Change, Disruption, Finding, Outcome, Safety
from ..plan.model import Held, HostPlan, Plan, Texts
from .terminal import Writer, counted, owned, pointer, value

if TYPE_CHECKING:
    from ..plan.stream import Summary

_MOST_SENTENCES = 5  # of what a change does to many hosts


def _change(one: Change, out: Writer, seen: set[str]) -> None:
    before, after = value(one.before_value, one.path), value(one.after_value, one.path)
    told: tuple[tuple[str, str] | str, ...]
    if one.activation and not one.flag:
        sign, told = ("! ", "magenta"), ((after, "green"), " is configured, and taken up")
    elif one.after_value is ABSENT:
        sign, told = ("- ", "red"), ((before, "red"),)
    elif one.before_value is ABSENT:
        sign, told = ("+ ", "green"), ((after, "green"),)
    else:
        sign, told = ("~ ", "yellow"), ((before, "red"), " -> ", (after, "green"))
    note = f"   [{one.safety.value}, disruption {one.disruption.value}{', deferred' if one.deferred else ''}]"
    out.parts(
        "    ",
        sign,
        pointer(one.kind, one.path),
        ": ",
        *told,
        (note, "green" if one.safety is Safety.SAFE else "yellow"),
    )
    for evidence in one.evidence:
        if evidence not in seen:  # several changes of one resource may have the same
            out.line(f"        evidence: {evidence}", "dim")
        seen.add(evidence)


def _title(controls: Mapping[str, Texts], control: str) -> str:
    return f"{controls[control].title if control in controls else ''}  [{control}]"


def _because(controls: Mapping[str, Texts], control: str, reason: str) -> str:
    """Why something is held, with what a person needs to decide it."""
    texts = controls[control]
    if reason.startswith("manual"):
        return f"{reason}. {texts.manual}"
    return f"{reason}: {texts.why}" if reason.startswith("needs --fix") else reason


def _evidence(held: Iterable[Held], control: str, reason: str, out: Writer) -> None:
    """What was seen on this host of what a held change would do; the same of several resources once."""
    seen: dict[str, list[str]] = {}
    for one in held:
        if (one.finding.control, one.reason) != (control, reason):
            continue
        whose = f"{one.finding.resource}: " if one.finding.kind == "container" else ""
        for sentence in (line for change in one.finding.changes for line in change.evidence):
            if sentence not in reason:
                seen.setdefault(sentence, []).append(whose)
    for sentence, names in seen.items():
        whose = ", ".join(one.removesuffix(": ") for one in names if one)
        out.line(f"      evidence: {whose + ': ' if whose else ''}{sentence}", "dim")


def host_plan(plan: HostPlan, controls: Mapping[str, Texts], out: Writer) -> None:
    """The changes by resource, what is held and why, and the numbers that add up."""
    out.parts(
        ("Host ", "bold"),
        (plan.host.name, "bold"),
        f" at {plan.host.root}" if plan.host.root != "/" else "",
        (f", as collected {plan.collected_at}", "dim"),
    )
    out.line()
    explained: set[str] = set()
    owners = {one.resource: one.owner for one in plan.findings if one.kind == "container"}
    grouped: dict[tuple[str, str], list[Change]] = {}
    for change in plan.changes:
        grouped.setdefault((change.kind, change.resource), []).append(change)
    for (kind, resource), changes in grouped.items():
        owner = owners.get(resource) if kind == "container" else None
        told = f", created by {owner.kind} {owner.name} ({owner.where})" if owner and owner.name else ""
        out.parts(("  " + (f"container {resource}" if kind == "container" else resource), "bold"), (told, "dim"))
        told = ""
        seen: set[str] = set()
        for one in changes:
            if one.control != told:
                told = one.control
                out.line(f"      {_title(controls, told)}", "dim")
                if one.safety is not Safety.SAFE and told not in explained:
                    out.line(f"      {controls[told].why}", "dim")
                explained.add(told)
            _change(one, out, seen)
        out.line()
    if not plan.changes:
        out.line("  Nothing to change.")
        out.line()
    if plan.held:
        out.line("Held (not run):", "bold")
        reasons: dict[tuple[str, str], list[Finding]] = {}
        for held in plan.held:
            reasons.setdefault((held.finding.control, held.reason), []).append(held.finding)
        for (control, reason), some in reasons.items():
            out.parts(("  # ", "yellow"), _title(controls, control))
            out.line(f"      {owned(some)}")
            out.line(f"      {_because(controls, control, reason)}", "dim")
            _evidence(plan.held, control, reason, out)
        out.line()
    for outcome in (Outcome.WAIVED, Outcome.UNKNOWN, Outcome.MANUAL):
        found = [other for other in plan.others if other.outcome is outcome]
        if found:
            out.line(f"{outcome.value.capitalize()}:", "bold")
        for other in found:
            out.line(f"  {_title(controls, other.control)} {other.resource}")
            out.line(f"      {other.reason or controls[other.control].manual}", "dim")
        if found:
            out.line()
    for note in plan.notes:
        out.line(f"Note: {note}", "yellow")
    action = plan.steps.activation.action
    updates = sum(len(one.names) for one in plan.steps.updates)
    anew = sum(len(one.containers) for one in plan.steps.recreates)
    out.line(
        f"{counted(len(plan.steps.files), 'file')} edited, "
        f"modes or owners of {counted(len(plan.steps.attributes), 'file')} set, "
        f"{counted(updates, 'container')} updated live, "
        f"{counted(anew, 'container') + ' created anew, ' if anew else ''}"
        f"daemon: {'left alone' if action == 'none' else action}"
    )
    number = plan.counts
    rest = ", ".join(
        f"{number[one.value]} {one.value}" for one in Outcome if one is not Outcome.FAIL and number.get(one.value)
    )
    out.line(
        f"{number['findings']} findings: {number['planned']} planned, {number['held']} held"
        f"{', ' + rest if rest else ''}",
        "bold",
    )


def plan(document: Plan, out: Writer) -> None:
    """One host's plan in full; of many a table, and identical changes once with the hosts they concern."""
    if document.inventory:
        fleet_plan(document, out)
    else:
        host_plan(document.hosts[0], document.controls, out)
    if any(host.changes for host in document.hosts):
        out.line(f"Plan {document.digest}, valid until {document.expires_at}", "dim")


def _signature(one: Change) -> tuple[str, str, str, str, str]:
    name = f"container {one.resource}" if one.kind == "container" else one.resource
    before, after = value(one.before_value, one.path), value(one.after_value, one.path)
    return (
        name,
        pointer(one.kind, one.path),
        before,
        "taken up" if one.activation and not one.flag else after,
        one.control,
    )


class _Concerned:
    """Whom a line of a fleet's plan concerns: hosts, and by what it breaks or may break for whom."""

    def __init__(self) -> None:
        self.hosts: dict[str, None] = {}  # a set that keeps its order
        self.impact: dict[str, list[str]] = {}

    def add(self, host: str, changes: Iterable[Change], whose: str) -> None:
        """Add a host, and what changes do to `whose`: the host, or a container on it."""
        self.hosts[host] = None
        for sentence in dict.fromkeys(line for one in changes for line in one.evidence):
            if sentence.startswith((BREAKS, UNKNOWN)):
                self.impact.setdefault(sentence, []).append(whose)

    def tell_impact(self, out: Writer) -> None:
        """What breaks first, then what cannot be judged; a few sentences, since all of them are in the plan's file."""
        ordered = sorted(self.impact.items(), key=lambda one: not one[0].startswith(BREAKS))
        for sentence, names in ordered[:_MOST_SENTENCES]:
            out.line(f"      {_hosts(names, 0)}: {sentence}", "yellow" if sentence.startswith(BREAKS) else "dim")
        if len(ordered) > _MOST_SENTENCES:
            out.line(f"      and {len(ordered) - _MOST_SENTENCES} more, which the plan's file has", "dim")


def fleet_plan(document: Plan, out: Writer) -> None:
    """The plan of many hosts: what is changed where, what that breaks, what is held, and a table of disruption."""
    changes: dict[tuple[str, str, str, str, str], _Concerned] = {}
    held: dict[tuple[str, str], _Concerned] = {}
    for host in document.hosts:
        name = host.host.name
        for one in host.changes:
            changes.setdefault(_signature(one), _Concerned()).add(name, [one], name)
        for other in host.held:
            found = other.finding
            whose = f"{name} {found.resource}" if found.kind == "container" else name
            held.setdefault((found.control, other.reason), _Concerned()).add(name, found.changes, whose)
    for (resource, path, before, after, control), concerned in sorted(changes.items(), key=lambda one: one[0]):
        out.parts(
            ("  ~ ", "yellow"),
            (resource, "bold"),
            f" {path}: ",
            (before, "red"),
            " -> ",
            (after, "green"),
            (f"  [{control}]", "dim"),
        )
        out.line(f"      {_hosts(list(concerned.hosts), len(document.hosts))}", "dim")
        concerned.tell_impact(out)
    if held:
        out.line()
        out.line("Held (not run):", "bold")
    for (control, reason), concerned in sorted(held.items(), key=lambda one: one[0]):
        title = _title(document.controls, control)
        out.parts(("  # ", "yellow"), title, (f": {_hosts(sorted(concerned.hosts), len(document.hosts))}", "dim"))
        out.line(f"      {_because(document.controls, control, reason)}", "dim")
        concerned.tell_impact(out)
    for host in document.hosts:
        for note in host.notes:
            out.line(f"Note: {host.host.name}: {note}", "yellow")
    out.line()
    _disruptions(document, out)
    unreached(document.unreached, out)
    total = {key: sum(host.counts.get(key, 0) for host in document.hosts) for key in ("findings", "planned", "held")}
    many = f"{counted(len(document.hosts), 'host')}, {counted(total['findings'], 'finding')}"
    out.line(f"{many}: {total['planned']} planned, {total['held']} held", "bold")


def _disruptions(document: Plan, out: Writer) -> None:
    """The table of hosts by how many of their changes disturb them how much."""
    columns = [one.value for one in Disruption]
    width = max([len(host.host.name) for host in document.hosts] + [4])
    out.line(f"{'host':{width}}  {'  '.join(f'{one:>8}' for one in columns)}  {'held':>6}  daemon", "bold")
    for host in document.hosts:
        number = {one: sum(change.disruption == one for change in host.changes) for one in columns}
        action = host.steps.activation.action
        out.line(
            f"{host.host.name:{width}}  {'  '.join(f'{number[one]:>8}' for one in columns)}  {len(host.held):>6}  "
            f"{'left alone' if action == 'none' else action}"
        )


def fleet_summary(hosts: Iterable[Summary], out: Writer) -> int:
    """How many hosts have how many changes, by control; the number of all changes."""
    controls: dict[str, list[int]] = {}
    actions: dict[str, int] = {}
    counts: dict[str, int] = {}
    total = 0
    for host in hosts:
        total += 1
        actions[host.action] = actions.get(host.action, 0) + 1
        for key, number in host.counts.items():
            counts[key] = counts.get(key, 0) + number
        for control, number in host.controls.items():
            row = controls.setdefault(control, [0, 0])
            row[0], row[1] = row[0] + 1, row[1] + number
    width = max([len(one) for one in controls] + [7])
    out.line(f"{'control':{width}}  {'hosts':>8}  {'changes':>8}", "bold")
    for control, (some, number) in controls.items():
        out.line(f"{control:{width}}  {some:>8}  {number:>8}")
    for action, number in sorted(actions.items()):
        out.line(f"daemon {'left alone' if action == 'none' else action}: {number} hosts")
    planned, held = counts.get("planned", 0), counts.get("held", 0)
    many = f"{counted(total, 'host')}, {counted(counts.get('findings', 0), 'finding')}"
    out.line(f"{many}: {planned} planned, {held} held", "bold")
    return sum(number for _, number in controls.values())


def _hosts(names: list[str], total: int) -> str:
    if len(names) == total and total > 1:
        return f"all {total} hosts"
    return ", ".join(names) if len(names) <= 8 else f"{len(names)} hosts: {', '.join(names[:8])}, ..."


def unreached(hosts: dict[str, str], out: Writer) -> None:
    """The hosts that gave no state, and why."""
    for name, reason in hosts.items():
        out.parts((f"{name}: ", "bold"), (reason, "red"))
