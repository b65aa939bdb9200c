"""Findings, predictions, receipts and drift as text for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..model import ABSENT, Finding, HostId, Outcome, Severity
from .terminal import Writer, clean, owned, pointer, value

if TYPE_CHECKING:
    from ..apply.apply import Prediction
    from ..apply.receipts import Receipt
    from ..drift.drift import Drifted
    from ..plan.model import Texts

__all__ = ["Writer", "audit", "clean", "drift", "history", "prediction", "receipt", "value"]

_OUTCOMES = {
    Outcome.PASS: "green",
    Outcome.FAIL: "red",
    Outcome.WAIVED: "cyan",
    Outcome.UNKNOWN: "magenta",
    Outcome.MANUAL: "yellow",
    Outcome.NOT_APPLICABLE: "dim",
}


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
                out.line(f"         {owned(some)}: {first.reason}")
                continue
            for one in some:
                out.line(f"         {owned([one])}: {one.reason}")
    out.line()
    out.line(counts(tally), "bold")
    if not show_all:
        out.line("--all shows every finding, `remediator plan` what would be changed.", "dim")


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
    if one.signed_by:
        out.line(f"The plan was signed by {one.signed_by}.")
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
        if host.undone:
            out.parts(("taken back        ", "yellow"), f" the host is as it was: {host.undone}")
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
            if host.undone:
                continue
            tree = f" --root {host.host.root}" if host.host.root != "/" else ""
            out.line(f"`remediator rollback{tree} {one.run}` takes it back.", "dim")


def history(receipts: list[Receipt], out: Writer) -> None:
    """One line a run."""
    from ..apply.receipts import HostReceipt

    for one in receipts:
        host = one.hosts[0] if one.hosts else HostReceipt(HostId(""), ok=True)
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


def drift(drifted: list[Drifted], failing: list[Finding], controls: Mapping[str, Texts], out: Writer) -> None:
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
        out.parts(
            ("fails   ", "yellow"),
            f"{controls[found.control].title}  [{found.control}] {found.resource}: {found.reason}",
        )
    if not drifted and not failing:
        out.line("No drift, and nothing fails that could be fixed.")
