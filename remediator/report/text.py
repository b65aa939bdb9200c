"""Findings, plans, predictions, receipts and drift as text for people; colour only on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import IO, TYPE_CHECKING, Any

from ..model import ABSENT, Change, Disruption, Finding, Outcome, Safety, Severity, Value

if TYPE_CHECKING:
    from ..apply.apply import Prediction
    from ..apply.receipts import Receipt
    from ..drift.drift import Drifted
    from ..plan.model import HostPlan, Plan
    from ..plan.stream import Summary

_COLOURS = {
    "red": "31", "green": "32", "yellow": "33", "blue": "34", "magenta": "35", "cyan": "36", "bold": "1", "dim": "2",
}  # fmt: skip
_OUTCOMES = {
    Outcome.PASS: "green",
    Outcome.FAIL: "red",
    Outcome.WAIVED: "cyan",
    Outcome.UNKNOWN: "magenta",
    Outcome.MANUAL: "yellow",
    Outcome.NOT_APPLICABLE: "dim",
}
_SIZES = {"Memory", "MemorySwap"}


def clean(text: str) -> str:
    """Text of a host with what a terminal would obey made visible."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


class Writer:
    """Lines to a stream, with colour where it is a terminal."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stdout
        self._colour = self._stream.isatty()

    def paint(self, text: str, *styles: str) -> str:
        if not self._colour or not styles:
            return text
        return f"\x1b[{';'.join(_COLOURS[one] for one in styles)}m{text}\x1b[0m"

    def line(self, text: str = "", *styles: str) -> None:
        self._stream.write(self.paint(clean(text), *styles) + "\n")

    def parts(self, *parts: tuple[str, str] | str) -> None:
        """One line of parts, each a text or (text, style)."""
        painted = [clean(one) if isinstance(one, str) else self.paint(clean(one[0]), one[1]) for one in parts]
        self._stream.write("".join(painted) + "\n")


def size(number: int) -> str:
    """Bytes as a person reads them: exact multiples of MiB or GiB, else bytes."""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB")):
        if number and number % unit == 0:
            return f"{number // unit} {name}"
    return f"{number} bytes"


def value(one: Value, path: str = "") -> str:
    """A value on one line."""
    import json

    if one is ABSENT:
        return "(not set)"
    if path.rpartition("/")[2] in _SIZES and isinstance(one, int):
        return "unlimited" if one <= 0 else size(one)
    if path.endswith("/PidsLimit") and one in (None, 0, -1):
        return "unlimited"
    if path.endswith("/RestartPolicy") and isinstance(one, dict):
        retries = f":{one['MaximumRetryCount']}" if one.get("MaximumRetryCount") else ""
        return f"{one.get('Name') or 'no'}{retries}"
    return json.dumps(one, ensure_ascii=False)


def _number(many: int, noun: str) -> str:
    return f"{many} {noun}{'' if many == 1 else 's'}"


def pointer(kind: str, path: str) -> str:
    """A path inside a resource as a person reads it: the watched file itself where the resource is audit rules."""
    return path.removeprefix("/watches/").replace("~1", "/").replace("~0", "~") if kind == "audit_rule" else path


def _ordered(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda one: (-one.severity.rank, one.control, one.resource))


def counts(number: dict[str, int]) -> str:
    """The tally of outcomes as one sentence that adds up."""
    outcomes = [f"{number[one.value]} {one.value}" for one in Outcome if number.get(one.value)]
    return f"{sum(number.get(one.value, 0) for one in Outcome)} findings: {', '.join(outcomes)}"


def audit(findings: list[Finding], tally: dict[str, int], out: Writer, show_all: bool = False) -> None:
    """What fails or is unknown, the worst first; with `show_all` everything."""
    shown = (Outcome.FAIL, Outcome.UNKNOWN) if not show_all else tuple(Outcome)
    for outcome in shown:
        group: dict[str, list[Finding]] = {}
        for one in _ordered(one for one in findings if one.outcome is outcome):
            group.setdefault(one.control, []).append(one)
        for control, some in group.items():
            first = some[0]
            colour = "red" if first.severity >= Severity.HIGH and outcome is Outcome.FAIL else _OUTCOMES[outcome]
            out.parts(
                (f"{outcome.value.upper():8}", colour),
                f" {first.severity.value:8} ",
                (first.title, "bold"),
                (f"  [{control}]", "dim"),
            )
            if len({one.reason for one in some}) == 1 and len(some) > 1:
                out.line(f"         {', '.join(one.resource for one in some)}: {first.reason}")
                continue
            for one in some:
                out.line(f"         {one.resource}: {one.reason}")
    out.line()
    out.line(counts(tally), "bold")
    if not show_all:
        out.line("--all shows every finding, `remediator plan` what would be changed.", "dim")


def _change(one: Change, out: Writer) -> None:
    note = f"{one.safety.value}, disruption {one.disruption.value}"
    safety = "green" if one.safety is Safety.SAFE else "yellow"
    if one.activation:
        out.parts(
            "    ",
            ("! ", "magenta"),
            pointer(one.kind, one.path),
            ": ",
            (value(one.after_value, one.path), "green"),
            " is configured, and taken up",
            (f"   [{note}]", safety),
        )
    elif one.after_value is ABSENT:
        out.parts(
            "    ",
            ("- ", "red"),
            pointer(one.kind, one.path),
            ": ",
            (value(one.before_value, one.path), "red"),
            (f"   [{note}]", safety),
        )
    elif one.before_value is ABSENT:
        out.parts(
            "    ",
            ("+ ", "green"),
            pointer(one.kind, one.path),
            ": ",
            (value(one.after_value, one.path), "green"),
            (f"   [{note}]", safety),
        )
    else:
        out.parts(
            "    ",
            ("~ ", "yellow"),
            pointer(one.kind, one.path),
            ": ",
            (value(one.before_value, one.path), "red"),
            " -> ",
            (value(one.after_value, one.path), "green"),
            (f"   [{note}]", safety),
        )
    for told in one.evidence:
        out.line(f"        evidence: {told}", "dim")


def host_plan(plan: HostPlan, out: Writer) -> None:
    """The changes by resource, what is held and why, and the numbers that add up."""
    out.parts(
        ("Host ", "bold"),
        (plan.host.name, "bold"),
        f" at {plan.host.root}" if plan.host.root != "/" else "",
        (f", as collected {plan.collected_at}", "dim"),
    )
    out.line()
    titles = {one.control: one.title for one in plan.findings}
    grouped: dict[tuple[str, str], list[Change]] = {}
    for change in plan.changes:
        grouped.setdefault((change.kind, change.resource), []).append(change)
    for (kind, resource), changes in grouped.items():
        out.parts(("  " + (f"container {resource}" if kind == "container" else resource), "bold"))
        told = ""
        for one in changes:
            if one.control != told:
                told = one.control
                out.line(f"      {titles.get(told, '')}  [{told}]", "dim")
                if one.safety is not Safety.SAFE and kind != "container":
                    out.line(f"      {one.why}", "dim")
            _change(one, out)
        out.line()
    if not plan.changes:
        out.line("  Nothing to change.")
        out.line()
    if plan.held:
        out.line("Held (not run):", "bold")
        reasons: dict[tuple[str, str], list[str]] = {}
        for held in plan.held:
            reasons.setdefault((f"{held.finding.title}  [{held.finding.control}]", held.reason), []).append(
                held.finding.resource
            )
        for (title, reason), resources in reasons.items():
            out.parts(("  # ", "yellow"), title)
            out.line(f"      {', '.join(resources)}")
            out.line(f"      {reason}", "dim")
        out.line()
    for outcome in (Outcome.WAIVED, Outcome.UNKNOWN, Outcome.MANUAL):
        found = [other for other in plan.others if other.outcome is outcome]
        if found:
            out.line(f"{outcome.value.capitalize()}:", "bold")
        for other in found:
            out.line(f"  {other.title}  [{other.control}] {other.resource}")
            out.line(f"      {other.reason}", "dim")
        if found:
            out.line()
    for note in plan.notes:
        out.line(f"Note: {note}", "yellow")
    action = plan.steps.activation.action
    updates = sum(len(one.names) for one in plan.steps.updates)
    out.line(
        f"{_number(len(plan.steps.files), 'file')} edited, "
        f"modes or owners of {_number(len(plan.steps.attributes), 'file')} set, "
        f"{_number(updates, 'container')} updated live, "
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
        host_plan(document.hosts[0], out)
    if any(host.changes for host in document.hosts):
        out.line(f"Plan {document.digest}, valid until {document.expires_at}", "dim")


def _signature(one: Change) -> tuple[str, str, str, str, str]:
    name = f"container {one.resource}" if one.kind == "container" else one.resource
    before, after = value(one.before_value, one.path), value(one.after_value, one.path)
    return name, pointer(one.kind, one.path), before, "taken up" if one.activation else after, one.control


def fleet_plan(document: Plan, out: Writer) -> None:
    """The plan of many hosts: what is changed where, what is held, and a table of hosts and disruption."""
    changes: dict[tuple[str, str, str, str, str], list[str]] = {}
    held: dict[tuple[str, str], set[str]] = {}
    for host in document.hosts:
        for one in host.changes:
            changes.setdefault(_signature(one), []).append(host.host.name)
        for other in host.held:
            held.setdefault((f"{other.finding.title}  [{other.finding.control}]", other.reason), set()).add(
                host.host.name
            )
    for (name, path, before, after, control), hosts in sorted(changes.items()):
        out.parts(
            ("  ~ ", "yellow"),
            (name, "bold"),
            f" {path}: ",
            (before, "red"),
            " -> ",
            (after, "green"),
            (f"  [{control}]", "dim"),
        )
        out.line(f"      {_hosts(hosts, len(document.hosts))}", "dim")
    if held:
        out.line()
        out.line("Held (not run):", "bold")
    for (title, reason), names in sorted(held.items()):
        out.parts(("  # ", "yellow"), title, (f": {_hosts(sorted(names), len(document.hosts))}", "dim"))
        out.line(f"      {reason}", "dim")
    for host in document.hosts:
        for note in host.notes:
            out.line(f"Note: {host.host.name}: {note}", "yellow")
    out.line()
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
    unreached(document.unreached, out)
    total = {key: sum(host.counts.get(key, 0) for host in document.hosts) for key in ("findings", "planned", "held")}
    out.line(
        f"{len(document.hosts)} hosts, {total['findings']} findings: {total['planned']} planned, {total['held']} held",
        "bold",
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
    out.line(f"{total} hosts, {counts.get('findings', 0)} findings: {planned} planned, {held} held", "bold")
    return sum(number for _, number in controls.values())


def _hosts(names: list[str], total: int) -> str:
    if len(names) == total and total > 1:
        return f"all {total} hosts"
    return ", ".join(names) if len(names) <= 8 else f"{len(names)} hosts: {', '.join(names[:8])}, ..."


def unreached(hosts: dict[str, str], out: Writer) -> None:
    """The hosts that gave no state, and why."""
    for name, reason in hosts.items():
        out.parts((f"{name}: ", "bold"), (reason, "red"))


def _diff(diff: dict[str, Any], out: Writer) -> None:
    import difflib

    if "prepared" in diff:
        out.line(str(diff["prepared"]))
        return
    before, after = diff.get("before", ""), diff.get("after", "")
    if isinstance(before, dict) and isinstance(after, dict):
        path = after.get("path", before.get("path", ""))
        for key in after:
            if key != "path" and before.get(key) != after[key]:
                out.parts(
                    "  ",
                    str(path),
                    f": {key} ",
                    (str(before.get(key)), "red"),
                    " -> ",
                    (str(after[key]), "green"),
                )
        return
    old, new = str(diff.get("before_header", "before")), str(diff.get("after_header", "after"))
    lines = difflib.unified_diff(str(before).splitlines(), str(after).splitlines(), old, new, lineterm="")
    for line in lines:
        colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "dim")
        out.line("  " + line, colour)


def prediction(one: Prediction, out: Writer) -> None:
    """What a dry-run predicts, with diffs."""
    for diff in one.diffs:
        _diff(diff, out)
    out.line()
    for told in one.changed:
        out.line(f"  would change: {told}")
    for error in one.errors:
        out.line(f"  error: {error}", "red")
    out.line(f"Dry-run: {len(one.changed)} tasks would change something; nothing was changed.", "bold")


def receipt(one: Receipt, out: Writer) -> None:
    """What a run did, as the fresh look afterwards says."""
    many = len(one.hosts) > 1 or bool(one.inventory)
    for host in one.hosts:
        if many:
            out.parts((f"Host {host.host.name}: ", "bold"), ("ok", "green") if host.ok else ("failed", "red"))
        for title, some, colour in (
            ("fixed", host.fixed, "green"),
            ("pending activation", host.pending, "magenta"),
            ("not fixed", host.failed, "red"),
        ):
            for found in some:
                out.parts(
                    (f"{title:18}", colour),
                    f" {found.title}  [{found.control}] {found.resource}",
                    "" if colour == "green" else f": {found.reason.removeprefix('pending activation: ')}",
                )
        for told in host.left:
            out.parts(("left alone        ", "yellow"), f" {told}")
        for error in host.errors:
            out.parts(("error             ", "red"), f" {error}")
        out.line()
        if one.kind == "rollback":
            out.line(
                f"Run {one.run}: {'undid' if host.ok else 'could not wholly undo'} {one.undoes}: "
                f"{len(host.changed)} tasks changed something.",
                "bold",
            )
        else:
            out.line(
                f"Run {one.run}: {len(host.fixed)} fixed, {len(host.pending)} pending activation, "
                f"{len(host.failed)} not fixed.",
                "bold",
            )
            tree = f" --root {host.host.root}" if host.host.root != "/" else ""
            out.line(f"`remediator rollback{tree} {one.run}` takes it back.", "dim")


def history(receipts: list[Receipt], out: Writer) -> None:
    """One line a run."""
    for one in receipts:
        host = one.hosts[0]
        ended = "ok" if one.ok else "failed" if one.finished_at else "died"
        out.parts(
            one.run,
            f"  {one.kind:8} ",
            (f"{ended:6}", "green" if one.ok else "red"),
            f" {len(host.fixed)} fixed, {len(host.pending)} pending, {len(host.failed)} not fixed",
            f", undoes {one.undoes}" if one.undoes else "",
        )
    if not receipts:
        out.line("No runs yet.")


def drift(drifted: list[Drifted], failing: list[Finding], out: Writer) -> None:
    """What is no longer as runs left it, and what the baseline says of the host now."""
    for one in drifted:
        name = f"container {one.resource}" if one.kind == "container" else one.resource
        if one.gone:
            out.parts(("drifted ", "red"), f"{name}: is gone (run {one.run})")
            continue
        left, now = one.left if one.had else ABSENT, one.now if one.has else ABSENT
        out.parts(
            ("drifted ", "red"),
            f"{name} {pointer(one.kind, one.path)}: ",
            (value(left, one.path), "green"),
            " -> ",
            (value(now, one.path), "red"),
            (f"  (run {one.run})", "dim"),
        )
    for found in failing:
        out.parts(("fails   ", "yellow"), f"{found.title}  [{found.control}] {found.resource}: {found.reason}")
    if not drifted and not failing:
        out.line("No drift, and nothing fails that could be fixed.")


def highest(changes: Iterable[Change]) -> Disruption:
    """The greatest disruption of some changes."""
    return max((one.disruption for one in changes), default=Disruption.NONE, key=lambda one: one.rank)
