"""Changes of containers go to who creates them: edits of their files, and the steps that create them anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..edited import EditedText, Piece, file_edit
from ..errors import InputError
from ..kinds import owner, swarm, unit
from ..kinds.container import LIVE_PATHS
from ..model import Change, Check, Fact, FileEdit, HostState, Recreate
from .activation import docker

if TYPE_CHECKING:
    from ..compose.project import Project

_MASKED: Final = "\u2022"  # what a variable of which only the name is known is filled in with
_NETWORK: Final = "/HostConfig/NetworkMode"

_GRACE: Final = 30  # seconds in which a new container must not end

Groups = dict[Any, dict[str, list[Change]]]  # changes by container, by what creates them together


@dataclass
class Routed:
    """The steps of owners; `refused` are (container, control, reason) of changes that cannot be made.

    `notes` tell of live changes that their definition does not get.
    """

    files: list[FileEdit] = field(default_factory=list)
    recreates: list[Recreate] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    refused: list[tuple[str, str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def refuse(self, changes: Iterable[Change], reason: str, live: bool) -> None:
        """Hold changes that need their owner; those that `docker update` makes go on, and are told to be lost."""
        lasting = []
        for one in changes:
            if live and one.path in LIVE_PATHS:
                lasting.append(one)
            else:
                self.refused.append((one.resource, one.control, reason))
        for name in dict.fromkeys(one.resource for one in lasting):
            self.notes.append(f"{name}: its live limits are lost when it is created anew: {reason}")


def merged(changes: Iterable[Change]) -> list[Change]:
    """Changes of one container with those at the same path put together: the first before, the last after."""
    found: dict[str, Change] = {}
    for one in changes:
        first = found.get(one.path)
        found[one.path] = msgspec.structs.replace(first, after=one.after, has_after=one.has_after) if first else one
    return list(found.values())


def _anew(changes: Iterable[Change]) -> bool:
    return any(one.path not in LIVE_PATHS for one in changes)


def route(state: HostState, changes: Iterable[Change]) -> Routed:
    """The steps that make changes of containers last, by owner; those of unknown ones have none."""
    routed = Routed()
    facts = state.facts.get("container", {})
    groups: dict[str, Groups] = {"compose": {}, "systemd": {}, "swarm": {}}
    for one in changes:
        if one.kind != "container" or (kind := owner.of(facts[one.resource]).kind) not in groups:
            continue
        source = facts[one.resource].evidence.get("source", {})
        key: Any = {
            "compose": (source.get("directory"), *source.get("files", ())),
            "systemd": source.get("unit"),
            "swarm": source.get("service"),
        }.get(kind)
        if key is not None:
            groups[kind].setdefault(key, {}).setdefault(one.resource, []).append(one)
    for some in groups["compose"].values():
        _compose(state, facts, some, routed)
    for some in groups["systemd"].values():
        _unit(state, facts, some, routed)
    for service, some in groups["swarm"].items():
        _swarm(state, facts, service, some, routed)
    return routed


# --- compose ----------------------------------------------------------------------------------------


def _project(state: HostState, source: Mapping[str, Any]) -> Project:
    """The project that a container's labels claim; raises InputError where its files cannot be read."""
    sources = state.facts.get("source", {})
    if source["error"]:
        raise InputError(source["error"])
    for path in source["files"]:
        file = sources[path].evidence["file"] if path in sources else {"type": "absent"}
        if "text" not in file:
            raise InputError(f"{path}: {file.get('error', 'is ' + str(file['type']))}")
        if file["type"] == "link":
            raise InputError(f"{path}: a link to {file['target']}: change it there")
    from .. import compose  # most hosts have no project

    texts = {path: fact.evidence["file"]["text"] for path, fact in sources.items() if "text" in fact.evidence["file"]}
    names = {name: _MASKED for some in source.get("variables", {}).values() for name in some}
    return compose.load(texts, source["files"], source["directory"], names)


def _compose(state: HostState, facts: Mapping[str, Fact], some: dict[str, list[Change]], routed: Routed) -> None:
    """One edit for each file of a project, and one recreate for each service that needs it."""
    from .. import compose

    everything = [one for changes in some.values() for one in changes]
    source = facts[next(iter(some))].evidence["source"]
    try:
        project = _project(state, source)
    except InputError as error:
        routed.refuse(everything, str(error), live=True)
        return
    texts: dict[str, EditedText] = {}
    anew: set[str] = set()
    for name, changes in some.items():
        service = facts[name].evidence["source"]["service"]
        if service not in project.services:
            routed.refuse(changes, f"{source['files'][-1]}: defines no service {service}", live=True)
            continue
        wanted = [_spelled(one, source, project) for one in merged(changes)]
        patched = compose.patch(project, service, wanted)
        for path, edited in patched.texts.items():
            _put(texts.setdefault(path, EditedText(project.texts[path])), edited.pieces())
        project = patched.project
        reasons = {change.path: reason for change, reason in patched.refused}
        for one in changes:
            if one.path in reasons:
                routed.refuse([one], _told(reasons[one.path]), live=True)
        kept = [one for one in wanted if one.path not in reasons]
        if _anew(kept):
            anew.add(service)
    try:
        edits = [file_edit(path, state.facts["source"][path].evidence["file"], text) for path, text in texts.items()]
    except InputError as error:
        routed.refuse(everything, str(error), live=True)
        return
    changed = [one for one in edits if one is not None]
    routed.files += changed
    paths = tuple(one.path for one in changed)
    if paths and source["command"]:
        routed.checks.append(Check(f"compose {source['project']}", (*_words(state, source), "config", "-q"), paths))
    for service in sorted(anew):
        routed.recreates.append(_up(state, facts, source, service, paths))


def _told(reason: str) -> str:
    """A reason in which no mask stands for a value that only the host knows."""
    where, masked, _ = reason.partition(f": '{_MASKED}")
    return f"{where}: comes from a variable, and its value does not leave the host" if masked else reason


def _spelled(change: Change, source: Mapping[str, Any], project: Project) -> Change:
    """The change as the files spell it: they may give the project another name than its containers have."""
    if change.path == _NETWORK and change.after == f"{source['project']}_default":
        return msgspec.structs.replace(change, after=f"{project.name}_default")
    return change


def _put(edited: EditedText, pieces: Sequence[Piece]) -> None:
    """Make an edit of a text that has been edited before: pieces speak of what it is now."""
    spots: list[tuple[int, int, str]] = []
    at, new = 0, ""
    for one in [*pieces, [len(edited.text), len(edited.text)]]:
        if isinstance(one, str):
            new += one
            continue
        if new or one[0] > at:
            spots.append((at, one[0], new))
        at, new = one[1], ""
    for spot in reversed(spots):
        edited.replace(*spot)


def _words(state: HostState, source: Mapping[str, Any]) -> list[str]:
    """The words with which a command of compose is about a project as its labels claim it."""
    command = (*docker(state), *source["command"][1:]) if source["command"][0] == "docker" else source["command"]
    words = [*command, "-p", source["project"], "--project-directory", source["directory"]]
    words += [word for path in source["environment"] for word in ("--env-file", path)]
    return words + [word for path in source["files"] for word in ("-f", path)]


def _up(
    state: HostState, facts: Mapping[str, Fact], source: Mapping[str, Any], service: str, files: Sequence[str]
) -> Recreate:
    """The step that has compose create a service's containers anew, as many as there are."""
    names = [
        name
        for name, fact in facts.items()
        if owner.of(fact).kind == "compose"
        and not fact.evidence["source"]["oneoff"]
        and (fact.evidence["source"]["project"], fact.evidence["source"]["service"]) == (source["project"], service)
    ]
    scale = ["--scale", f"{service}={len(names)}"] if len(names) > 1 else []
    running = any(facts[name].evidence["state"]["Running"] for name in names)
    # what has ended, as jobs do, is created anew and not started
    up = (*_words(state, source), "up", "-d" if running else "--no-start", "--no-deps", *scale, service)
    return Recreate(
        owner="compose",
        name=f"{source['project']}/{service}",
        containers=tuple(names),
        up=(up,),
        undo=(up,),
        files=tuple(files),
        grace=_GRACE if running else 0,
    )


# --- units and services -----------------------------------------------------------------------------


def _unit(state: HostState, facts: Mapping[str, Fact], some: dict[str, list[Change]], routed: Routed) -> None:
    """A drop-in with another command line, and a restart of the unit where a container has to be created anew."""
    (name, changes), *rest = some.items()
    for _, more in rest:
        routed.refuse(more, f"its unit runs {name} as well: plan again after that one", live=True)
    source = facts[name].evidence["source"]
    files = {path: fact.evidence["file"] for path, fact in state.facts.get("source", {}).items()}
    where = owner.of(facts[name]).where
    kept: list[Change] = []
    for one in merged(changes):
        try:
            unit.edit(source, files, name, where, [one])
            kept.append(one)
        except InputError as error:
            routed.refuse([change for change in changes if change.path == one.path], str(error), live=True)
    if not kept:
        return
    try:
        edit = unit.edit(source, files, name, where, kept)
    except InputError as error:
        routed.refuse([one for one in changes if one.path in {other.path for other in kept}], str(error), live=True)
        return
    routed.files.append(edit)
    if _anew(kept):
        # what does not run is not started
        words = (("systemctl", "daemon-reload"), ("systemctl", "try-restart", source["unit"]))
        grace = _GRACE if facts[name].evidence["state"]["Running"] else 0
        routed.recreates.append(
            Recreate("systemd", source["unit"], (name,), up=words, undo=words, files=(edit.path,), grace=grace)
        )


def _swarm(
    state: HostState, facts: Mapping[str, Fact], service: str, some: dict[str, list[Change]], routed: Routed
) -> None:
    """One `docker service update` for all tasks of a service; its own rollback takes it back."""
    options: list[str] = []
    for changes in some.values():
        for one in merged(changes):
            try:
                new = swarm.options([one])
            except InputError as error:
                routed.refuse([change for change in changes if change.path == one.path], str(error), live=False)
                continue
            options += [word for word in new if word not in options]
    if options:
        name = owner.of(facts[next(iter(some))]).name
        routed.recreates.append(
            Recreate(
                owner="swarm",
                name=name,
                containers=tuple(sorted(some)),
                up=((*docker(state), "service", "update", "--detach=false", *options, service),),
                undo=((*docker(state), "service", "rollback", "--detach=false", service),),
                grace=_GRACE,
            )
        )
