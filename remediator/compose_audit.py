"""Compose files held against a baseline: the controls of containers, per service, with file and line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from . import audit, compose
from .baseline import Baseline, Control
from .compose.hits import ADDING
from .compose.project import Project
from .expect import project as projected
from .expect import same
from .model import Change, Disruption, Fact, Finding, HostId, HostState, Outcome, Safety

_OF_THE_HOST: Final = frozenset({"apparmor", "selinux"})  # a file goes to hosts with and without


def _controls(baseline: Baseline) -> tuple[Control, ...]:
    """The controls that a file can be held against, whatever host it goes to."""
    found = []
    for one in baseline.controls:
        if one.kind == "container":
            when = {name: value for name, value in one.when.items() if name not in _OF_THE_HOST}
            found.append(msgspec.structs.replace(one, when=when))
    return tuple(found)


def findings(project: Project, baseline: Baseline, today: str) -> list[Finding]:
    """The findings of a baseline's controls of containers on a project, a resource being FILE#SERVICE.

    FILE is the first of the project's files. `today` (YYYY-MM-DD) decides whether waivers have expired.
    """
    file = project.config_files[0]
    services = {f"{file}#{name}": name for name in project.services}
    read = {resource: compose.document(project, name) for resource, name in services.items()}
    state = HostState(
        host=HostId(file),
        collected_at=f"{today}T00:00:00Z",
        facts={"container": {resource: _fact(project, services[resource], one) for resource, (one, _) in read.items()}},
        about={"engine_error": "a compose file does not tell", "paths": {}, "live": False},
    )
    only = msgspec.structs.replace(baseline, controls=_controls(baseline))
    controls = {one.id: one for one in only.controls}
    found = []
    for one in audit.audit(state, only, today):
        if one.resource not in services:
            reason = "no services" if one.outcome is Outcome.NOT_APPLICABLE else one.reason
            found.append(msgspec.structs.replace(one, resource=file, reason=reason))
            continue
        unknown = read[one.resource][1]
        found.append(_told(project, services[one.resource], one, controls[one.control], unknown))
    return found


def _fact(project: Project, service: str, document: Any) -> Fact:
    file, line = compose.located(project, service, "")
    around = {
        "state": {"Labels": {}},
        "live": {},
        "owner": {"kind": "compose", "name": f"{project.name}/{service}", "where": f"{file}:{line}"},
        "source": {"project": project.name, "command": ["docker", "compose"]},
    }
    return Fact(document, around, project.services[service].unknown)


def _told(project: Project, service: str, found: Finding, control: Control, unknown: Mapping[str, str]) -> Finding:
    """A finding with file and line, unknown where the value is, and its changes as the file's."""
    outcome, reason = found.outcome, found.reason
    certain = outcome in (Outcome.FAIL, Outcome.WAIVED) and control.path in ADDING
    if control.path in unknown and not certain:
        outcome, reason = Outcome.UNKNOWN, unknown[control.path]
    file, line = _place(project, service, control)
    where = f"{file}:{line}: "
    return msgspec.structs.replace(
        found,
        outcome=outcome,
        reason=reason if reason.startswith(f"{file}:") else where + reason,
        changes=tuple(map(_change, found.changes)) if outcome is Outcome.FAIL else (),
    )


def _place(project: Project, service: str, control: Control) -> tuple[str, int]:
    """Where the value stands; of a list with wrong items, the first of them."""
    if control.path in ADDING and control.path != "/HostConfig/Ulimits" and control.expect:
        for documents, file, line in compose.lines(project, service, control.path):
            if not same(projected(control.expect, list(documents)), list(documents)):
                return file, line
    return compose.located(project, service, control.path)


def _change(change: Change) -> Change:
    """A change of the file: what would have to be recreated elsewhere is made here."""
    if same(change.before, change.after) or change.safety is Safety.MANUAL:
        return change
    return msgspec.structs.replace(change, blocked="", disruption=Disruption.RECREATE)


def fix(project: Project, found: list[Finding], safety: Safety) -> tuple[Project, list[tuple[str, Change, str]]]:
    """The project with the changes of findings made that are at least as safe as asked for.

    Those that are not made come with their resource and the reason.
    """
    held: list[tuple[str, Change, str]] = []
    for name in project.services:
        resource = f"{project.config_files[0]}#{name}"
        chosen = []
        for one in (change for each in found if each.resource == resource for change in each.changes):
            if one.blocked or one.safety < safety:
                held.append((resource, one, one.blocked or f"is {one.safety}, and --fix {safety} was asked for"))
            else:
                chosen.append(one)
        patched = compose.patch(project, name, chosen)
        held += [(resource, change, reason) for change, reason in patched.refused]
        project = patched.project
    return project, held
