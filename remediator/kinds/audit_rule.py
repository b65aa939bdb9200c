"""Audit watches on the files of Docker, in the rules that auditd loads at boot.

All watches are one resource, the file of rules that this program writes, so that they are one change of
one file. A rule in any other file of /etc/audit/rules.d counts as well.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Any, Final

from ..baseline import Control
from ..edited import EditedText, file_edit
from ..expect import project, same
from ..model import ABSENT, Change, Disruption, Fact, Finding, Outcome, Step
from ..patch import escape, get, tokens
from .compare import Scope, change, finding, show

RULES: Final = "/etc/audit/rules.d/50-docker.rules"
COMPILED: Final = "/etc/audit/audit.rules"
NEEDS: dict[str, Any] = {
    "read": [{"path": "/etc/audit/rules.d/*.rules"}, {"path": RULES}, {"path": COMPILED}],
    "stat": ["/etc/audit/rules.d"],
}
_ALL: Final = "rwxa"
HEADER: Final = (
    "# Watches on the files of Docker, kept by remediator.\n"
    "# Go on with the rules that follow when a socket's directory is not there yet, as at boot.\n"
    "-c\n"
)


def watches(rules: str) -> dict[str, str]:
    """The watched paths of a file of rules with their permissions, from -w and -F path=/dir= rules."""
    found: dict[str, str] = {}
    for line in rules.splitlines():
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            continue
        path, permissions, never = "", _ALL, False
        for word, following in zip(words, [*words[1:], ""], strict=False):
            if word == "-w":
                path = following
            elif word == "-p":
                permissions = following
            elif word in ("-a", "-A"):
                never = "never" in following.split(",")
            elif word == "-F":
                name, _, value = following.partition("=")
                path = value if name in ("path", "dir") else path
                permissions = value if name == "perm" else permissions
        if path and not never:
            known = found.get(path.rstrip("/") or "/", "")
            found[path.rstrip("/") or "/"] = "".join(one for one in _ALL if one in known or one in permissions)
    return found


def rule(path: str, permissions: str) -> str:
    """One watch as a line of a file of rules; raises nothing: a path with white space gets no line."""
    return f"-w {path} -p {permissions} -k docker\n"


def facts(evidence: dict[str, Any]) -> dict[str, Fact]:
    """{watches: {path: permissions}} over all files of rules, and what is compiled for loading."""
    files = evidence["files"]
    sources = {
        path: one for path, one in files.items() if path.startswith("/etc/audit/rules.d/") and path.endswith(".rules")
    }
    merged: dict[str, str] = {}
    for one in sources.values():
        for path, permissions in watches(one.get("text", "")).items():
            merged[path] = "".join(p for p in _ALL if p in permissions or p in merged.get(path, ""))
    own, compiled = files.get(RULES, {"type": "absent"}), files.get(COMPILED, {"type": "absent"})
    around = {
        "file": {
            key: own[key] for key in ("type", "mode", "owner", "text", "sha256", "masked", "target") if key in own
        },
        "directory": files.get("/etc/audit/rules.d", {}).get("type", "absent"),
        "compiled": watches(compiled.get("text", "")),
        "immutable": any("-e 2" in one.get("text", "") for one in sources.values()),
        "present": sorted(
            {path for some in evidence["paths"].values() for path in some}
            | {p for p, f in files.items() if f["type"] != "absent"}
        ),
    }
    reasons = [f"{path}: {one['error']}" for path, one in {**sources, COMPILED: compiled}.items() if "error" in one]
    if own["type"] not in ("file", "absent"):
        reasons.append(f"{RULES}: is a {own['type']}, not a file")
    return {RULES: Fact({"watches": merged}, around, "; ".join(reasons))}


def judge(control: Control, resource: str, fact: Fact, scope: Scope) -> Finding:
    """A watch counts when the rules have it and augenrules has compiled it into audit.rules."""
    assert control.expect is not None
    paths = scope.about["paths"].get(control.resource, []) if control.resource.startswith("{") else [control.resource]
    watched = next((path for path in paths if path in fact.evidence["present"]), "")
    if not watched:
        return finding(control, paths[0] if paths else control.resource, Outcome.NOT_APPLICABLE, "not on this host")
    if " " in watched or not watched.isprintable():  # other white space is not printable
        return finding(control, watched, Outcome.UNKNOWN, "a path with white space cannot be written as a watch")
    pointer = f"/watches/{escape(watched)}"
    actual = get(fact.document, pointer)
    desired = project(control.expect, actual)
    blocked = ""
    if fact.evidence["directory"] != "directory":
        blocked = "auditd is not installed here: there is no /etc/audit/rules.d"
    elif "augenrules" not in scope.about["commands"] and scope.about["live"]:
        blocked = "auditd is not installed here: there is no augenrules"
    if not same(desired, actual):
        made = change(control, resource, pointer, actual, desired, blocked=blocked)
        reason = "is not watched" if actual is ABSENT else f"is watched for {show(actual)} only"
        return finding(control, resource, Outcome.FAIL, f"{watched} {reason}", changes=(made,))
    compiled = fact.evidence["compiled"].get(watched, "")
    if not set(str(desired)) <= set(compiled):
        awaited = change(control, resource, pointer, actual, actual, activation=True, disruption=Disruption.NONE)
        reason = f"pending activation: {watched} is watched by the rules, which are not compiled yet"
        return finding(control, resource, Outcome.FAIL, reason, pending=True, changes=(awaited,))
    return finding(control, resource, Outcome.PASS, f"{watched} is watched for {show(actual)}")


def render(resource: str, fact: Fact, changes: Sequence[Change]) -> list[Step]:
    """One edit of the program's own file of rules: a line added or changed for each watch."""
    file = fact.evidence["file"]
    edited = EditedText(file.get("text", ""))
    if not edited.text:
        edited.replace(0, 0, HEADER)
    for one in changes:
        if one.activation:
            continue
        path = tokens(one.path)[1]
        line = rule(path, str(one.after))
        found = re.search(rf"^[ \t]*-w {re.escape(path)} ", edited.text, re.MULTILINE)
        if found is not None:
            end = edited.text.find("\n", found.start())
            edited.replace(found.start(), len(edited.text) if end < 0 else end + 1, line)
        else:
            lead = "" if edited.text.endswith("\n") else "\n"
            edited.replace(len(edited.text), len(edited.text), lead + line)
    if all(one.activation for one in changes):
        return []
    edit = file_edit(resource, file, edited, mode="0640")
    return [edit] if edit else []
