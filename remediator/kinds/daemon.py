"""The Docker daemon's configuration: daemon.json, judged on what is in effect, patched where it is owned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from ..baseline import Control
from ..edited import EditedText, file_edit
from ..errors import InputError
from ..expect import NO_FIX, project, same
from ..model import ABSENT, Change, Disruption, Fact, Finding, Outcome, Step, Value
from ..patch import get, tokens
from . import flags, text
from .compare import Scope, change, finding, show, unfixable

RECORD: Final = "/var/lib/remediator/activation.json"
NEEDS: dict[str, Any] = {
    "read": [{"path": "{daemon:config-file}"}, {"path": RECORD}],
    "stat": ["/etc/docker"],
}

# moby: daemon/reload.go; of the keys that controls use
RELOADABLE: Final = frozenset({"debug", "live-restore", "insecure-registries", "registry-mirrors", "labels"})


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


def _start_words(units: list[str], files: Mapping[str, Any]) -> list[str]:
    """The command line that the unit would start: the last ExecStart, with the words of the option files."""
    line = ""
    for path in units:
        joined = str(files.get(path, {}).get("text", "")).replace("\\\n", " ")
        for one in joined.splitlines():
            if one.strip().startswith("ExecStart=") and one.partition("=")[2].strip():
                line = one.partition("=")[2].strip()
    options = {}
    for path in ("/etc/default/docker", "/etc/sysconfig/docker"):
        for one in str(files.get(path, {}).get("text", "")).splitlines():
            name, equals, value = one.strip().partition("=")
            if equals and not name.startswith("#"):
                options[name.removeprefix("export ").strip()] = value.strip().strip("\"'")
    words = []
    for word in line.split():
        words += options.get(word[1:].strip("{}"), "").split() if word.startswith("$") else [word]
    return words


def facts(evidence: dict[str, Any]) -> dict[str, Fact]:
    """The one daemon of a host: daemon.json as document; flags, live values and layout around it."""
    files, daemon, engine = evidence["files"], evidence["daemon"], evidence["engine"]
    path = evidence["paths"]["{daemon:config-file}"][0]
    file = files.get(path, {"type": "absent"})
    units = evidence["units"]["docker.service"]
    texts = {
        one: str(files.get(one, {}).get("text", "")) for one in [*units, "/etc/default/docker", "/etc/sysconfig/docker"]
    }
    given = flags.parse(daemon["argv"] if daemon else _start_words(units, files))
    if daemon and evidence["about"].get("init") == "systemd":  # a unit may have got flags since the start
        given = {**flags.parse(_start_words(units, files)), **given}
    around: dict[str, Any] = {
        "flags": {
            key: {**one, "where": flags.locate(one["flag"], texts) or "the daemon's command line"}
            for key, one in given.items()
        },
        "file": {
            key: file[key] for key in ("type", "mode", "owner", "text", "sha256", "masked", "target") if key in file
        },
        "live": {},
        "running": bool(daemon),
    }
    if daemon:
        around.update(pid=daemon["pid"], started=round(daemon["started"], 2))
        around["stale"] = _stale(file, daemon, files.get(RECORD, {}))
    if "error" not in engine:
        values = {key: read(engine) for key, read in _LIVE.items()}
        around["live"] = {key: value for key, value in values.items() if value is not ABSENT}
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


def _blocked(fact: Fact, key: str) -> str:
    flag = fact.evidence["flags"].get(key)
    if flag is not None:
        return f"{flag['flag']} in {flag['where']} sets this key: the daemon does not start with both"
    if fact.evidence["file"]["type"] == "link":
        return f"daemon.json is a link to {fact.evidence['file'].get('target')}: change it there"
    return ""


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
        stale = fact.evidence.get("stale", False)
        unseen = live is ABSENT and key in fact.document and (stale is True or (stale and key in stale))
        if not unseen:
            return finding(control, resource, Outcome.PASS, _told(fact, key, wanted, live))
        return _pending(
            control,
            resource,
            wanted,
            f"is {show(wanted)} in the file, which is younger than the running daemon",
        )
    if settled and project(control.expect, live) is not NO_FIX:
        return _pending(
            control,
            resource,
            wanted,
            f"is {show(wanted)} in the configuration, while the engine does {show(live)}",
        )
    before = get(fact.document, control.path)
    reason = _told(fact, key, wanted, live)
    if settled or desired is NO_FIX:
        blocked = unfixable(control, resource, control.path, before)
        return finding(control, resource, Outcome.FAIL, reason, changes=(blocked,))
    made = change(control, resource, control.path, before, desired, blocked=_blocked(fact, key))
    return finding(control, resource, Outcome.FAIL, reason, changes=(made,))


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
    """One edit of the file for all its changes; what has to be activated is the plan's business."""
    edited = EditedText(fact.evidence["file"].get("text", ""))
    for one in changes:
        if not one.activation:
            text.edit_json(edited, one.path, one.after_value)
    edit = file_edit(resource, fact.evidence["file"], edited)
    return [edit] if edit and edited.text else []
