"""The way back: a run is taken back as far as nobody else has changed the same since."""

from __future__ import annotations

import json
import os
import shutil
import stat
import time
from typing import Any

from .engine import Engine, call, start
from .files import Document, GuardError, Report, attributes, put_file, read_bytes, same_attributes, sha256, write_file
from .proof import await_effect, prove
from .recreate import back
from .store import Run, Store
from .swarm import undrain
from .switch import disarm

# docker update's options by HostConfig key
OPTIONS = {
    "Memory": "--memory", "MemorySwap": "--memory-swap", "CpuShares": "--cpu-shares", "PidsLimit": "--pids-limit",
}  # fmt: skip


def undo(store: Store, run: Run, reason: str) -> Document:
    """Take a run back, as far as nobody else has changed the same since; may be repeated, and resumed.

    Files byte for byte with mode, owner and time; limits; audit rules; the daemon, by the way it was told of the
    change; containers that ran and do not. Then the same proof against the state before.
    """
    ended = run.result
    if ended is not None and ended["outcome"] == "undone":
        _close(store, run)
        return ended
    request, before = run.request, run.before
    begun = time.monotonic()
    run.note("undo", "will", reason=reason)
    told: Report = {"changed": [], "left": [], "errors": []}
    engine = Engine(request)
    confirmed = ended is not None
    answering = engine.info() is not None if before["engine"] else False
    if answering and _reloaded(run, engine, before):
        _explicit_defaults(run, request, engine, told)
    _undo_files(run, before, told)
    _undo_attributes(request, before, told)
    if run.has("rules"):
        call(["augenrules", "--load"], 60)
    if before["engine"]:
        _undo_daemon(run, request, engine, before, answering, told)
        if engine.info() is not None:
            undrain(run, engine)
            told["errors"] += back(run, request)
            _undo_limits(run, engine, before, told)
            gone = [name for name, one in before["containers"].items() if one["temporary"]]
            lasting = [one for one, was in before["containers"].items() if one not in gone and not was["task"]]
            told["errors"] += start(run, engine, lasting)
            there = engine.containers(gone) if gone and run.has("restart") else dict.fromkeys(gone)
            told["left"] += [
                "container %s: ran with --rm, the restart removed it" % one for one in gone if one not in there
            ]
            if not confirmed:
                expected = [] if told["left"] else before["live"] if run.has("restart") else []
                told["errors"] += prove(engine, request, before, expected, run.has("restart"))
        else:
            told["errors"].append("the daemon does not answer")
    took = round(time.monotonic() - begun, 2)
    run.note("undo", "did", seconds=took, **told)
    shutil.rmtree(run.file("new"), ignore_errors=True)
    ended = run.end("undone", reason=reason, seconds=took, **told)
    _close(store, run)
    return ended


def _close(store: Store, run: Run) -> None:
    known = store.current()
    if known is not None and known["run"] == run.name:
        disarm(store, run.request)


def _reloaded(run: Run, engine: Engine, before: Document) -> bool:
    """Whether the running daemon has taken up the run's configuration by a reload alone."""
    return run.has("reload") and engine.started() < before["at"]


def _explicit_defaults(run: Run, request: Document, engine: Engine, told: Report) -> None:
    """Make the daemon forget keys that were added: a reload keeps what is removed (moby: daemon/reload.go takes
    only keys that are set), so their defaults are written out, reloaded, and only then the old text restored."""
    defaults = request["activation"]["defaults"]
    config = request["activation"]["config"]
    entry = next((one for one in run.before["files"] if one["path"] == config), None)
    if not defaults or entry is None or sha256(read_bytes(config)) not in (entry["after"], entry["before"]):
        return
    index = run.before["files"].index(entry)
    old = (read_bytes(run.file("backup", str(index))) or b"").decode("utf-8").lstrip("\ufeff") if entry["there"] else ""
    document = json.loads(old) if old.strip() else {}
    document.update(defaults)
    mode = entry.get("mode", 0o600)
    write_file(config, json.dumps(document, indent=2).encode() + b"\n", mode)
    entry["between"] = sha256(read_bytes(config))
    try:
        engine.reload()
        await_effect(engine, [dict(one) for one in run.before["live"] if one["reload"]], "the reload back")
        told["changed"].append("reload the daemon")
    except GuardError as error:
        told["errors"].append(str(error))
    _restore(run, index, entry)


def _restore(run: Run, index: int, entry: Document) -> None:
    """Put one file back as it was: bytes, mode, owner, extended attributes and time."""
    path = entry["path"]
    if not entry["there"]:
        os.unlink(path)
        if entry["made"]:
            try:
                os.rmdir(entry["made"])
            except OSError:
                pass  # others use it by now
        return
    data = read_bytes(run.file("backup", str(index)))
    if data is None or sha256(data) != entry["before"]:
        raise GuardError(path + ": its backup is damaged")
    put_file(path, data, entry, entry["mtime"])


def _undo_files(run: Run, before: Document, told: Report) -> None:
    for index, entry in enumerate(before["files"]):
        path = entry["path"]
        try:
            now = sha256(read_bytes(path))
            if now == entry["before"]:
                continue
            if entry["after"] is not None and now != entry["after"]:
                told["left"].append(path + ": was changed by someone else after the run")
                continue
            _restore(run, index, entry)
            if entry["after"] is not None:
                told["changed"].append("restore " + path)
        except (OSError, GuardError) as error:
            told["errors"].append("%s: cannot be restored: %s" % (path, error))


def _undo_attributes(request: Document, before: Document, told: Report) -> None:
    edited = {one["path"] for one in before["files"]}
    for planned, was in zip(request["attributes"], before["attributes"]):
        path = was["path"]
        now = attributes(path)
        if "mode" not in was or now is None or (path in edited and any(path in one for one in told["left"])):
            continue
        same = (now["mode"], now["uid"], now["gid"]) == (was["mode"], was["uid"], was["gid"])
        if same:
            continue
        if not same_attributes(now, planned):
            told["left"].append(path + ": mode or owner was changed by someone else after the run")
            continue
        try:
            if stat.S_ISLNK(os.lstat(path).st_mode):
                raise GuardError("is a link by now")
            os.chown(path, was["uid"], was["gid"], follow_symlinks=False)
            os.chmod(path, was["mode"])
            told["changed"].append("restore mode and owner of " + path)
        except (OSError, GuardError) as error:
            told["errors"].append("%s: mode and owner cannot be restored: %s" % (path, error))


def _undo_daemon(run: Run, request: Document, engine: Engine, before: Document, answering: bool, told: Report) -> None:
    """Make the daemon run with what it ran with before, if it has taken up anything else, or does not run."""
    action = request["activation"]["action"]
    anew = engine.started() > before["at"] and action != "none"
    if answering and not anew:
        return
    if run.has("restart") or anew or not answering:
        units = request["activation"]["reload_units"]
        for attempt in (1, 2):
            run.note("restart back", "will")
            try:
                engine.restart(units)
                run.note("restart back", "did")
                told["changed"].append("restart the daemon")
                return
            except GuardError as error:
                if attempt == 2:
                    told["errors"].append(str(error))


def settable(key: str, value: Any, memory: int) -> Any:
    """A limit that `docker update` can set for one that it cannot: the engine takes none away."""
    if key == "Memory" and not value:
        return memory // 2**20 * 2**20
    if key == "MemorySwap" and not value:
        return 2 * (memory // 2**20 * 2**20)
    if key == "PidsLimit" and not value:
        return -1
    return 1024 if key == "CpuShares" and not value else value


def options(values: dict[str, Any]) -> list[str]:
    """HostConfig values as arguments of `docker update`."""
    found = []
    for key, value in values.items():
        if key == "RestartPolicy":
            retries = ":%d" % value["MaximumRetryCount"] if value["MaximumRetryCount"] else ""
            found.append("--restart=%s%s" % (value["Name"] or "no", retries))
        else:
            found.append("%s=%s" % (OPTIONS[key], value))
    return found


def _undo_limits(run: Run, engine: Engine, before: Document, told: Report) -> None:
    for one in run.request["updates"]:
        found = engine.containers(list(one["names"]))
        for name in one["names"]:
            was = {key: before["limits"].get(name, {}).get(key) for key in one["values"]}
            if name not in found:
                told["left"].append("container %s: is gone" % name)
                continue
            now = found[name]["HostConfig"]
            if all(now.get(key) == was[key] for key in was):
                continue
            wanted = {}
            for key, value in one["values"].items():
                if now.get(key) == value or key == "MemorySwap":
                    wanted[key] = settable(key, was[key], before["memory"])
                elif now.get(key) != was[key]:
                    told["left"].append("container %s: %s was changed by someone else after the run" % (name, key))
            if not wanted:
                continue
            code, _, error = engine.docker("update", *options(wanted), name)
            if code:
                told["errors"].append("docker update %s: %s" % (name, error))
            else:
                told["changed"].append("set %s of %s" % (" ".join(options(wanted)), name))


def expire(store: Store, name: str) -> None:
    """Wait until the run is closed or its time is over, and take it back then."""
    while True:
        known = store.current()
        if known is None or known["run"] != name:
            return
        left = known["deadline"] - time.time()
        if left <= 0:
            with store.locked(3600):
                known = store.current()
                if known is None or known["run"] != name:
                    return
                if known["deadline"] <= time.time():
                    run = store.run(name)
                    undo(store, run, "it was not confirmed within %d seconds" % run.request["limit"])
                    return
        time.sleep(max(0.05, min(left, 1.0)))
