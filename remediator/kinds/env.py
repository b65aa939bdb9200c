"""Environment variables that the Docker client obeys, in the files that set them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ..baseline import Control
from ..edited import EditedText, file_edit
from ..expect import project, same
from ..model import ABSENT, Change, Fact, Finding, Outcome, Step
from ..patch import get, tokens
from . import text
from .compare import Scope, change, finding, show

VARIABLES: Final = ("DOCKER_CONTENT_TRUST", "DOCKER_CONTENT_TRUST_SERVER")
HOME: Final = "/etc/environment"  # where a variable is set that is set nowhere
_KEEP: Final = r"^[^#]*\bDOCKER_CONTENT_TRUST"
NEEDS: dict[str, Any] = {
    "read": [
        {"path": HOME, "keep": _KEEP},
        *(
            {"path": path, "keep": _KEEP, "having": VARIABLES[0]}
            for path in (
                "/etc/profile.d/*.sh",
                "/etc/default/docker",
                "/etc/systemd/system/*.service",
                "/etc/systemd/system/*.service.d/*.conf",
            )
        ),
    ],
    "stat": [],
}


def is_unit(path: str) -> bool:
    """Whether a file spells variables as systemd units do."""
    return path.endswith((".service", ".conf"))


def _mentions(path: str, file: dict[str, Any]) -> bool:
    spelled = path.startswith(("/etc/profile.d/", "/etc/default/", "/etc/systemd/system/"))
    return path == HOME or (spelled and VARIABLES[0] in file.get("text", ""))


def facts(evidence: dict[str, Any]) -> dict[str, Fact]:
    """The files that set the variables, each with those as document; /etc/environment is always one."""
    found = {}
    info = evidence["engine"].get("info", {})
    around = {"cli": evidence["about"].get("cli", ""), "engine": info.get("ServerVersion", "")}
    for path, file in evidence["files"].items():
        if not _mentions(path, file):
            continue
        content = file.get("text", "")
        values = {name: text.read_variable(content, name, is_unit(path)) for name in VARIABLES}
        document = {name: value for name, value in values.items() if value is not ABSENT}
        kept = {
            key: file[key] for key in ("type", "mode", "owner", "text", "sha256", "masked", "target") if key in file
        }
        reason = file.get("error") or ("" if file["type"] in ("file", "absent") else f"is a {file['type']}, not a file")
        found[path] = Fact(document, {**around, "file": kept}, f"{path}: {reason}" if reason else "")
    return found


def _verdict(fact: Fact) -> str:
    """What the variable does on this host, which is another matter than whether it is set."""
    version = fact.evidence.get("cli", "")
    major = version.split(".")[0]
    if major.isdigit() and int(major) >= 29:
        return f"the client {version} no longer verifies anything: setting it protects nothing here"
    if fact.document.get(VARIABLES[1]):
        return f"verified by {fact.document[VARIABLES[1]]}"
    return "pulls fail where the registry has no trust data; the public notary closes on 2026-12-08"


def judge(control: Control, resource: str, fact: Fact, _scope: Scope) -> Finding:
    """The literal verdict (is it set?) decides; the effective one (does it verify?) stands in the reason."""
    assert control.expect is not None
    actual = get(fact.document, control.path)
    if actual is ABSENT and resource != HOME:
        return finding(control, resource, Outcome.NOT_APPLICABLE, "does not set the variable")
    desired = project(control.expect, actual)
    reason = f"is {show(actual)}; {_verdict(fact)}"
    if same(desired, actual):
        return finding(control, resource, Outcome.PASS, reason)
    made = change(control, resource, control.path, actual, desired, evidence=(_verdict(fact),))
    return finding(control, resource, Outcome.FAIL, reason, changes=(made,))


def render(resource: str, fact: Fact, changes: Sequence[Change]) -> list[Step]:
    """One edit of the file: the variables set where they stand, or on a new line."""
    edited = EditedText(fact.evidence["file"].get("text", ""))
    for one in changes:
        text.edit_variable(edited, tokens(one.path)[0], one.after_value, is_unit(resource))
    edit = file_edit(resource, fact.evidence["file"], edited)
    return [edit] if edit else []
