"""The Docker daemon's configuration: daemon.json, judged on what is in effect, patched where it is owned."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from ..baseline import Control
from ..dockerd.options import RELOADABLE
from ..edited import EditedText, file_edit
from ..errors import InputError
from ..expect import NO_FIX, project, same
from ..model import ABSENT, Change, Disruption, Fact, Finding, Outcome, Step, Value
from ..patch import get, tokens
from . import command, text
from .compare import Scope, change, finding, show, unfixable

RECORD: Final = "/var/lib/remediator/activation.json"
NEEDS: dict[str, Any] = {
    "read": [{"path": "{daemon:config-file}"}, {"path": RECORD}],
    "stat": ["/etc/docker"],
}


def _security_option(info: dict[str, Any], name: str) -> bool:
    return any(one.split(",")[0] == f"name={name}" for one in info.get("SecurityOptions") or [])


def _major(info: Mapping[str, Any]) -> int:
    head = str(info.get("ServerVersion", "")).split(".")[0]
    return int(head) if head.isdigit() else 0


def _icc(engine: dict[str, Any]) -> Value:
    option = engine["bridge"]["Options"].get("com.docker.network.bridge.enable_icc")
    return ABSENT if option is None else option == "true"


# What the engine itself says is in effect, by key: from `info` and the bridge network's options.
_LIVE: Final[Mapping[str, Callable[[dict[str, Any]], Value]]] = {
    "icc": _icc,
    "live-restore": lambda engine: engine["info"].get("LiveRestoreEnabled", ABSENT),
    "experimental": lambda engine: engine["info"].get("ExperimentalBuild", ABSENT),
    "debug": lambda engine: engine["info"].get("Debug", ABSENT),
    "log-driver": lambda engine: engine["info"].get("LoggingDriver") or ABSENT,
    "storage-driver": lambda engine: engine["info"].get("Driver") or ABSENT,
    "insecure-registries": lambda engine: engine["info"].get("InsecureRegistries", ABSENT),
    "userns-remap": lambda engine: ABSENT if not _security_option(engine["info"], "userns") else "default",
    # moby: daemon/info.go lists it from 23.0 on
    "no-new-privileges": lambda engine: (
        _security_option(engine["info"], "no-new-privileges") if _major(engine["info"]) >= 23 else ABSENT
    ),
}


def _info(pointer: str, value: Any, **holds: str) -> dict[str, Any]:
    return {"from": "info", "pointer": pointer, "value": value, **holds}


def _shown_icc(value: Any) -> dict[str, Any]:
    pointer = "/Options/com.docker.network.bridge.enable_icc"
    return {"from": "bridge", "pointer": pointer, "value": "true" if value else "false"}


def _shown_profile(value: Any) -> dict[str, Any]:
    """The built-in profile is called differently by generations, so that it is told by what it is not."""
    if value in ("", "builtin", "default"):
        return _info("/SecurityOptions", False, holds="name=seccomp,profile=unconfined")
    return _info("/SecurityOptions", True, holds=f"name=seccomp,profile={value}")


def _shown_registries(value: Any) -> dict[str, Any]:
    """Networks first, as the engine spells them, without the loopback ones that it always has; then names."""
    networks, names = set(), set()
    for one in value:
        try:
            networks.add(str(ipaddress.ip_network(one if "/" in one else "", strict=False)))
        except ValueError:
            names.add(re.sub("^https?://", "", one, flags=re.IGNORECASE))
    return _info("/InsecureRegistries", sorted(networks - {"127.0.0.0/8", "::1/128"}) + sorted(names))


# What the engine itself shows once a key has a value, in `docker info` or of the default bridge: a value at a pointer,
# or whether the list there holds a word. `InsecureRegistries` is what the guard gathers (see guard.proof.effects).
_SHOWN: Final[Mapping[str, Callable[[Any], dict[str, Any]]]] = {
    "icc": _shown_icc,
    "live-restore": lambda value: _info("/LiveRestoreEnabled", bool(value)),
    "experimental": lambda value: _info("/ExperimentalBuild", bool(value)),
    "debug": lambda value: _info("/Debug", bool(value)),
    "log-driver": lambda value: _info("/LoggingDriver", str(value)),
    "no-new-privileges": lambda value: _info("/SecurityOptions", bool(value), holds="name=no-new-privileges"),
    "seccomp-profile": _shown_profile,
    "insecure-registries": _shown_registries,
    "authorization-plugins": lambda value: _info("/Plugins/Authorization", list(value) or None),
}


def shown(key: str, value: Value, live: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the engine shows once a key has a value: {key, from: info or bridge, pointer, holds?, value, reload}.

    `reload` says that a reload is enough for it. None for a key of which the engine shows nothing: `live` are those
    of which it shows something now.
    """
    if key not in _SHOWN or value is ABSENT or value is None or (key in _LIVE and key not in live):
        return None
    return {"key": key, **_SHOWN[key](value), "reload": key in RELOADABLE}


def facts(evidence: dict[str, Any]) -> dict[str, Fact]:
    """The one daemon of a host: daemon.json as document; flags, live values and layout around it."""
    files, daemon, engine = evidence["files"], evidence["daemon"], evidence["engine"]
    path = evidence["paths"]["{daemon:config-file}"][0]
    file = files.get(path, {"type": "absent"})
    around: dict[str, Any] = {
        **command.evidence(evidence),
        "file": {
            key: file[key] for key in ("type", "mode", "owner", "text", "sha256", "masked", "target") if key in file
        },
        "live": {},
        "running": bool(daemon),
        "named": evidence.get("named", {}),
    }
    if daemon:
        around.update(pid=daemon["pid"], started=round(daemon["started"], 2))
        around["stale"] = _stale(file, daemon, files.get(RECORD, {}))
    if "error" not in engine:
        values = {key: read(engine) for key, read in _LIVE.items()}
        around["live"] = {key: value for key, value in values.items() if value is not ABSENT}
        if "AuthorizationPlugins" in engine["info"]:
            around["authorization"] = engine["info"]["AuthorizationPlugins"]
    if "error" in engine and evidence["root"] == "/":
        return {path: Fact({}, around, engine["error"])}
    if file.get("target_type", "file") != "file":
        return {path: Fact({}, around, f"{path}: is a link to a {file['target_type']}, not to a file")}
    if "error" in file or file["type"] not in ("file", "absent", "link"):
        reason = file.get("error") or f"is a {file['type']}, not a file"
        return {path: Fact({}, around, f"{path}: {reason}")}
    try:
        return {path: Fact(text.parse_json(file.get("text", "")), around)}
    except InputError as error:
        return {path: Fact({}, around, f"{path}: {error}")}


def _stale(file: dict[str, Any], daemon: dict[str, Any], record: dict[str, Any]) -> list[str] | bool:
    """Which keys the daemon may not have taken up: True for all, where the file is younger than its start.

    After a reload the record of the last apply says which keys the running daemon still has to take up.
    """
    if file.get("changed", 0) <= daemon["started"] + 1:
        return False
    try:
        known = msgspec.json.decode(record.get("text") or "{}")
        if known.get("sha256") == file.get("sha256") and abs(known["started"] - daemon["started"]) < 2:
            return list(known.get("pending", []))
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        pass
    return True


def configured(fact: Fact, key: str, default: Value = ABSENT) -> Value:
    """The value that the daemon would start with: of its flag, else of the file, else the default."""
    if key in fact.evidence["flags"]:
        return fact.evidence["flags"][key]["value"]
    value = get(fact.document, f"/{key}")
    return default if value is ABSENT else value


def _blocked(fact: Fact) -> str:
    if fact.evidence["file"]["type"] == "link":
        return f"daemon.json is a link to {fact.evidence['file'].get('target')}: change it there"
    return ""


def _change(control: Control, resource: str, fact: Fact, desired: Value) -> Change:
    """The change of daemon.json, or of the flag that owns the key, where that stands; a flag needs a restart."""
    key = tokens(control.path)[0]
    flag = fact.evidence["flags"].get(key)
    restart = max(control.disruption, Disruption.RESTART, key=lambda one: one.rank)
    if flag is None:
        before = get(fact.document, control.path)
        disruption = restart if key in fact.evidence["awaits"] else control.disruption
        return change(control, resource, control.path, before, desired, blocked=_blocked(fact), disruption=disruption)
    told, blocked = f"{flag['flag']} in {flag['where']}", flag["held"]
    if not blocked:
        try:
            command.edited_texts(fact.evidence["start"], {key: desired})
        except InputError as error:
            blocked = str(error)
    return change(
        control,
        resource,
        control.path,
        flag["value"],
        desired,
        activation=True,
        flag=told,
        evidence=(f"the key is set by {told}, and changed there",),
        blocked=blocked,
        disruption=restart,
    )


def judge(control: Control, resource: str, fact: Fact, _scope: Scope) -> Finding:
    """Both what is configured and, where the engine shows it, what is in effect must comply."""
    assert control.expect is not None
    key = tokens(control.path)[0]
    default = ABSENT if control.default is msgspec.UNSET else control.default
    wanted = configured(fact, key, default)
    live = fact.evidence["live"].get(key, ABSENT)
    desired = project(control.expect, wanted)
    settled = desired is not NO_FIX and same(desired, wanted)
    in_effect = live is ABSENT or same(project(control.expect, live), live)
    if settled and in_effect:
        if live is not ABSENT or not (told := _unseen(fact, key)):
            return finding(control, resource, Outcome.PASS, _told(fact, key, wanted, live))
        return _pending(control, resource, wanted, f"is {show(wanted)} {told}")
    if settled and project(control.expect, live) is not NO_FIX:
        return _pending(
            control,
            resource,
            wanted,
            f"is {show(wanted)} in the configuration, while the engine does {show(live)}",
        )
    reason = _told(fact, key, wanted, live)
    if settled or desired is NO_FIX:
        blocked = unfixable(control, resource, control.path, get(fact.document, control.path))
        return finding(control, resource, Outcome.FAIL, reason, changes=(blocked,))
    return finding(control, resource, Outcome.FAIL, reason, changes=(_change(control, resource, fact, desired),))


def _unseen(fact: Fact, key: str) -> str:
    """Why the running daemon may do otherwise than is configured, where the engine does not show it."""
    if key in fact.evidence["awaits"]:
        return "for the next start, and the running daemon was started with another command line"
    stale = fact.evidence.get("stale", False)
    recorded = isinstance(stale, list) and key in stale  # also a key that was removed
    if recorded or (stale is True and key in fact.document):
        return "in the file, which is younger than the running daemon"
    return ""


def _told(fact: Fact, key: str, wanted: Value, live: Value) -> str:
    if key in fact.evidence["flags"]:
        source = f"by {fact.evidence['flags'][key]['flag']}"
    elif key in fact.document:
        source = "in the file"
    else:
        source = "by default"
    seen = "" if live is ABSENT or same(live, wanted) else f", in effect {show(live)}"
    return f"is {show(wanted)} {source}{seen}"


def _pending(control: Control, resource: str, value: Value, reason: str) -> Finding:
    disruption = max(control.disruption, Disruption.RELOAD, key=lambda one: one.rank)
    awaited = change(control, resource, control.path, value, value, activation=True, disruption=disruption)
    return finding(control, resource, Outcome.FAIL, f"pending activation: {reason}", pending=True, changes=(awaited,))


def render(resource: str, fact: Fact, changes: Sequence[Change]) -> list[Step]:
    """One edit of each file for all its changes: of daemon.json, and of those whose flags own a key.

    What has to be activated is the plan's business. Raises InputError where a flag cannot be written anew.
    """
    edited = EditedText(fact.evidence["file"].get("text", ""))
    for one in changes:
        if not one.activation:
            text.edit_json(edited, one.path, one.after_value)
    first = file_edit(resource, fact.evidence["file"], edited)
    wanted = {tokens(one.path)[0]: one.after_value for one in changes if one.flag}
    return [*([first] if first and edited.text else []), *command.edits(fact.evidence["start"], wanted)]
