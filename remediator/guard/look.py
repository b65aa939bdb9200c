"""What a host is against what a run is to do there."""

from __future__ import annotations

import os
from typing import Any

from .engine import PID_FILE, Engine, call
from .files import Document, attributes, join, read_bytes, sha256


def look_at_file(one: Document) -> Document:
    """One file to be edited as it is: state is before, after or other; mode, uid and gid it has or will have.

    What is `apart` cannot be predicted by others: its text stays here, or its directory is not there yet.
    """
    data = read_bytes(one["path"])
    digest, after = sha256(data), one["after"]
    if one["masked"] and data is not None:
        text = data.decode("utf-8")
        if digest == one["before"]:
            after = sha256(join(one["pieces"], text).encode())
        elif sha256(join(one["inverse"], text).encode()) == one["before"]:
            after = digest
    state = "before" if digest == one["before"] else "after" if digest == after else "other"
    now = attributes(one["path"]) if data is not None else None
    return {
        "index": one["index"],
        "path": one["path"],
        "state": state,
        "after": after,
        "mode": "%04o" % now["mode"] if now else one["mode"],
        "uid": now["uid"] if now else os.geteuid(),
        "gid": now["gid"] if now else os.getegid(),
        "source": one["source"],
        "apart": one["masked"] or not os.path.isdir(os.path.dirname(one["path"])),
    }


def differing(engine: Engine, updates: list[Document]) -> list[Document]:
    """The sets of limits that some of their containers do not have yet."""
    if not updates:
        return []
    found = engine.containers([name for one in updates for name in one["names"]])
    left = []
    for one in updates:
        names = [name for name in one["names"] if name in found and not has_values(found[name], one["values"])]
        if names:
            left.append(dict(one, names=names))
    return left


def has_values(container: Document, values: dict[str, Any]) -> bool:
    """Whether a container has these HostConfig values."""
    return all(container["HostConfig"].get(key) == value for key, value in values.items())


def rules_are_behind() -> bool:
    """Whether the audit rules were edited since they were compiled."""
    _, out, err = call(["augenrules", "--check"], 60)
    return "should be updated" in out + err


def must_activate(request: Document, files: list[Document]) -> bool:
    """Whether the daemon has to take up its configuration: it is edited now, or younger than what it has read."""
    activation = request["activation"]
    if activation["action"] == "none":
        return False
    watched = sorted({activation["config"], *activation["sources"]})
    if any(one["path"] in watched and one["state"] == "before" for one in files):
        return True
    changed = max(_written(path) for path in watched)
    started, reloaded = _written(PID_FILE), _written(os.path.join(request["state"], "activation.json"))
    since = started if activation["action"] == "restart" else max(started, reloaded)
    return changed > since or (activation["awaited"] and since <= activation["seen"])


def _written(path: str) -> float:
    """When a file was written, in seconds since the epoch; 0 for none."""
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def what_to_do(
    request: Document, files: list[Document], engine: Engine, recreates: list[Document], left: Document
) -> Document:
    """What a run would do besides writing files, as data and as sentences; `left` is what one did not finish."""
    rules = request["load_audit_rules"] and (
        left["rules"]
        or any(one["state"] == "before" and one["path"].startswith("/etc/audit/") for one in files)
        or rules_are_behind()
    )
    updates = differing(engine, request["updates"])
    activate = left["activate"] or must_activate(request, files)
    edited = [one["path"] for one in files if one["state"] == "before"]
    activation = request["activation"]
    deferred = activation["action"] == "none" and bool(activation["deferred"])
    deferred = deferred and (left["deferred"] or activation["config"] in edited)
    checks = left["checks"] or [one for one in request["checks"] if not set(edited).isdisjoint(one["files"])]
    known = [one["label"] for one in recreates]
    recreates = [*recreates, *(one for one in left["recreates"] if one["label"] not in known)]
    told = ["check the files of %s" % one["label"] for one in checks]
    told += ["load the audit rules"] if rules else []
    told += ["set %s of %s" % (one["label"], ", ".join(one["names"])) for one in updates]
    if activate and activation["action"] == "reload":
        told.append("reload the daemon")
    if activate and activation["action"] == "restart":
        told += ["reload the daemon"] if activation["reload_first"] else []
        told += ["stop " + ", ".join(activation["stop"])] if activation["stop"] else []
        told.append("restart the daemon")
        told += ["start " + ", ".join(activation["start"])] if activation["start"] else []
    if activation["deferred"] and (activate or deferred):
        keys = ", ".join(one["key"] for one in activation["deferred"])
        told.append("leave %s pending until the daemon is started later" % keys)
    told += ["create anew by %s: %s" % (one["label"], ", ".join(one["containers"])) for one in recreates]
    what = {"checks": checks, "rules": rules, "updates": updates, "activate": activate, "recreates": recreates}
    return dict(what, deferred=deferred, told=told)
