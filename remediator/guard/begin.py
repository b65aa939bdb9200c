"""The beginning of a run: look, keep what will be replaced, arm the switch."""

from __future__ import annotations

import base64
import json
import os
import shutil
import time

from .allowed import as_foreseen, can_start, has_profile, must_be_here, must_be_new, try_out
from .engine import Engine
from .files import (
    Document,
    GuardError,
    attributes,
    copies,
    join,
    missing,
    read_bytes,
    read_json,
    same_attributes,
    sha256,
    sync,
    write_file,
)
from .look import look_at_file, what_to_do
from .proof import effects, portrait
from .recreate import refusal, to_recreate
from .store import Run, Store, seconds_left
from .switch import arm, extend, is_armed
from .undo import finish, undo

RESERVE = 65536  # bytes for the journal and the result of the way back


def begin(given: Document) -> Document:
    """Look whether the host is what the plan was made for and, unless in check mode, open the run.

    given: {request, check, guard: this file's own text}. Returns {run, files, told, needed, confirmed}: the last names
    the run itself where it was made and confirmed before, and nobody was there to hear of it.
    """
    request = given["request"]
    store = Store(os.path.join(request["state"], "guard"))
    if given["check"] or not store.current():
        seen, _ = _look(store, request)
        if given["check"] and seen["needed"]:
            must_be_new(store, request)
        if given["check"] or not seen["needed"]:
            return seen
    with store.locked():  # and look again: a guard that was at work may have changed what there is to see
        return _open(store, request, given["guard"])


def _look(store: Store, request: Document, resumed: Run | None = None) -> tuple[Document, Document]:
    must_be_here(request)
    files = [look_at_file(one) for one in request["files"]]
    for one in files:
        if one["state"] == "other":
            raise GuardError("%s: The file has changed since the plan was made. Plan again." % one["path"])
    for path, digest in request["unchanged"].items():
        if sha256(read_bytes(path)) != digest:
            raise GuardError("%s: The file has changed since the plan was made. Plan again." % path)
    recreates = to_recreate(store, request, files, resumed) if request["recreates"] else []
    todo = what_to_do(request, files, Engine(request), recreates, _left(resumed))
    bare = [one for one in request["attributes"] if not same_attributes(attributes(one["path"]), one)]
    needed = bool(todo["told"] or bare or any(one["state"] == "before" for one in files))
    ended = store.run(request["run"]).result if request["run"] else None
    confirmed = request["run"] if ended and ended["outcome"] == "confirmed" else ""
    return {"run": "", "files": files, "told": todo["told"], "needed": needed, "confirmed": confirmed}, todo


def _left(run: Run | None) -> Document:
    """What a run was to do and did not get to the end of: it does not show in the files any more."""
    todo = read_json(run.file("todo.json")) if run else None
    if run is None or todo is None:
        return {"checks": [], "rules": False, "activate": False, "deferred": False, "recreates": []}
    done = [line.get("label") for line in run.journal() if line["step"] == "recreate" and line["state"] == "did"]
    return {
        "checks": [] if run.did("check") else todo["checks"],
        "rules": todo["rules"] and not run.did("rules"),
        "activate": todo["activate"] and not run.did("activate"),
        "deferred": todo.get("deferred", False) and not run.did("defer"),
        "recreates": [one for one in todo["recreates"] if one["label"] not in done],
    }


def _open(store: Store, request: Document, own: str) -> Document:
    known = store.current()
    resumed = None
    if known is not None:
        run = store.run(known["run"])
        going = run.began and run.result is None and not known.get("undo")
        if going and known["plan"] == request["plan"]:
            resumed = run
        else:
            mine = request["control"] and request["control"] == known["control"]  # which runs one at a time: it died
            if going and seconds_left(known) and not mine:
                raise GuardError(
                    "run %s is changing this host, and is taken back in %d seconds unless it is confirmed; roll it "
                    "back, or resume it with its plan" % (known["run"], seconds_left(known))
                )
            finish(store, known, "it was not confirmed, and another run began")
    try:
        seen, todo = _look(store, request, resumed)
    except GuardError as error:
        if known is not None and not resumed:
            raise GuardError("a run that had died was taken back before: %s" % error) from error
        raise
    if resumed is None and not seen["needed"]:
        return seen
    must_be_new(store, request)
    engine = Engine(request)
    if todo["activate"]:
        can_start(engine, request["activation"])
    if todo["activate"] or todo["deferred"]:
        as_foreseen(engine, request["activation"])
    if resumed is None:  # what fails already says nothing of the edit
        todo["checks"] = [one for one in todo["checks"] if not refusal(one)]
    made = request["run"] or time.strftime("%Y%m%dT%H%M%SZ-", time.gmtime()) + request["plan"][:8]
    run = resumed or store.run(made)
    write_file(os.path.join(store.home, "guard.py"), own.encode(), 0o700)
    try:
        if resumed is None:
            _keep(run, request, seen, engine)
            store.prune()
        write_file(run.file("todo.json"), json.dumps(todo).encode())
        _stage(run, request)
        if todo["activate"] or todo["deferred"]:
            has_profile(run, request)
            if resumed is None:
                try_out(run, request)
        sync(run.path)
        if resumed is not None and is_armed(request["root"]):
            extend(store, request)  # and never without a switch in between
        else:
            arm(store, run, request)
    except (OSError, GuardError, ValueError) as error:
        reason = "%s: %s" % (error.filename, error.strerror) if isinstance(error, OSError) else str(error)
        if resumed is not None:
            undo(store, run, reason)
            raise GuardError("%s. The run was taken back." % reason.rstrip(".")) from error
        shutil.rmtree(run.path, ignore_errors=True)
        raise GuardError("Nothing was changed: " + reason) from error
    run.note("begin", "did" if resumed is None else "resumed")
    try:
        for one in seen["files"]:
            os.makedirs(os.path.dirname(one["path"]), 0o755, exist_ok=True)
    except OSError as error:
        undo(store, run, "%s: %s" % (error.filename, error.strerror))
        raise GuardError("%s: %s" % (error.filename, error.strerror)) from error
    return dict(seen, run=run.name, needed=True)


def _keep(run: Run, request: Document, seen: Document, engine: Engine) -> None:
    """Keep everything that the way back needs: bytes, modes, limits, and how the containers are."""
    if os.path.lexists(run.path):  # was taken back, or did not get to begin: begins anew
        if run.began:
            os.rename(run.path, "%s.%d" % (run.path, time.time_ns()))
        else:
            shutil.rmtree(run.path)
    os.makedirs(run.file("backup"), 0o700)
    os.chmod(run.path, 0o700)
    record = os.path.join(request["state"], "activation.json")
    files, made = [], []
    for index, one in enumerate([*seen["files"], {"path": record, "after": None}]):
        data = read_bytes(one["path"])
        if one.get("state") == "before" and sha256(data) != request["files"][one["index"]]["before"]:
            raise GuardError(one["path"] + ": The file has changed since the plan was made. Plan again.")
        entry = {"path": one["path"], "before": sha256(data), "after": one["after"], "there": data is not None}
        if data is not None:
            write_file(run.file("backup", str(index)), data)
            entry.update(attributes(one["path"]) or {})
        files.append(entry)
        made += missing(os.path.dirname(one["path"]))
    names = [name for one in request["updates"] for name in one["names"]]
    activation = request["activation"]
    involved = bool(names or request["recreates"] or activation["action"] != "none" or activation["deferred"])
    info = engine.wait(20) if involved else None
    if involved and info is None:
        raise GuardError("the daemon does not answer: " + (engine.docker("info")[2] or "not within 20 seconds"))
    found = engine.containers(names) if names else {}
    keys = ["Memory", "MemorySwap", "CpuShares", "PidsLimit", "RestartPolicy"]
    info = info or {}
    before = {
        "at": time.time(),
        "files": files,
        "copies": {folder: copies(folder) for folder in sorted({os.path.dirname(one["path"]) for one in files})},
        "made": sorted(set(made), key=len, reverse=True),
        "attributes": [dict(attributes(one["path"]) or {}, path=one["path"]) for one in request["attributes"]],
        "engine": involved,
        "started": engine.started(),
        "words": engine.words(),
        "memory": info.get("MemTotal", 0),
        "live_restore": info.get("LiveRestoreEnabled", False),
        "data_root": info.get("DockerRootDir", "/var/lib/docker"),
        "limits": {name: {key: one["HostConfig"].get(key) for key in keys} for name, one in found.items()},
        "containers": portrait(engine) if involved else {},
    }
    for name, some in (("live", activation["expect"]), ("deferred", activation["deferred"])):
        shown = [one for one in some if "from" in one]
        before[name] = [dict(one, value=now) for one, now in zip(shown, effects(engine, info, shown))]
    write_file(run.file("request.json"), json.dumps(request).encode())
    write_file(run.file("before.json"), json.dumps(before).encode())


def _stage(run: Run, request: Document) -> None:
    """Put the new texts beside the backups, from where they are copied into their places.

    And as much again as the old ones take, so that there is space for these whatever else fills the disk.
    """
    os.makedirs(run.file("new"), 0o700, exist_ok=True)
    size = sum(len(read_bytes(run.file("backup", one)) or b"") for one in os.listdir(run.file("backup")))
    write_file(run.file("new", "reserve"), b"\0" * (size + RESERVE))
    for index, one in enumerate(request["files"]):
        data = base64.b64decode(one["content"])
        if one["masked"]:
            old = read_bytes(one["path"]) or b""
            if sha256(old) != one["before"]:
                continue  # is there already
            data = join(one["pieces"], old.decode("utf-8")).encode()
        elif sha256(data) != one["after"]:
            raise GuardError(one["path"] + ": the new text is not the planned one")
        write_file(run.file("new", str(index)), data)
