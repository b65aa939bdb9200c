"""Mode and owner of the files that Docker's safety rests on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ..baseline import Control
from ..model import Attributes, Change, Fact, Finding, Outcome, Step
from . import compare
from .compare import Scope, finding

NEEDS: dict[str, Any] = {"read": [], "stat": []}  # which files is said by the controls


def facts(evidence: dict[str, Any]) -> dict[str, Fact]:
    """Every file that was looked at: {mode: octal digits, owner: "user:group"}."""
    found = {}
    for path, file in evidence["files"].items():
        if file["type"] == "absent":
            continue
        known = "mode" in file and "error" not in file
        document = {"mode": file["mode"], "owner": file["owner"]} if "mode" in file else {}
        around = {key: file[key] for key in ("type", "target", "real") if key in file}
        reason = "" if known or "mode" in file else f"{path}: {file.get('error', 'cannot be looked at')}"
        found[path] = Fact(document, around, reason)
    return found


def judge(control: Control, resource: str, fact: Fact, scope: Scope) -> Finding:
    """Mode and owner as they are; a link is judged by what it leads to, and never followed to change it."""
    if fact.evidence.get("target") == "/dev/null":
        return finding(control, resource, Outcome.NOT_APPLICABLE, "a masked unit")
    found = compare.judge(control, resource, fact, scope)
    if found.outcome is Outcome.FAIL and fact.evidence.get("type") == "link":
        blocked = f"a link to {fact.evidence['target']}: change it there"
        changes = tuple(msgspec.structs.replace(one, blocked=blocked) for one in found.changes)
        return msgspec.structs.replace(found, changes=changes)
    return found


def render(resource: str, fact: Fact, changes: Sequence[Change]) -> list[Step]:
    """Mode and owner in one step; those of sockets come last, since a restart makes sockets anew."""
    new = {one.path.lstrip("/"): one.after for one in changes}
    return [Attributes(resource, **new, socket=fact.evidence.get("type") == "socket")]
