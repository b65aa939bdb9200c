"""The beginning of a run: look, keep what will be replaced, arm the switch."""

from __future__ import annotations

import base64
import json
import os
import time

from .engine import Engine, call
from .files import Document, GuardError, attributes, join, read_bytes, same_attributes, sha256, write_file
from .look import look_at_file, what_to_do
from .proof import point, portrait
from .recreate import to_recreate
from .store import Run, Store
from .swarm import no_quorum
from .switch import arm
from .undo import undo


def begin(given: Document) -> Document:
    """Look whether the host is what the plan was made for and, unless in check mode, open the run.

    given: {request, check, guard: this file's own text}. Returns {run, files, told, needed}.
    """
    request = given["request"]
    store = Store(os.path.join(request["state"], "guard"))
    looked = _look(store, request)
    if given["check"] or not (looked[0]["needed"] or store.current()):
        return looked[0]
    with store.locked():
        return _open(store, request, given["guard"], looked)


def _look(store: Store, request: Document) -> tuple[Document, Document]:
    files = [look_at_file(one) for one in request["files"]]
    for one in files:
        if one["state"] == "other":
            raise GuardError("%s: The file has changed since the plan was made. Plan again." % one["path"])
    for path, digest in request["unchanged"].items():
        if sha256(read_bytes(path)) != digest:
            raise GuardError("%s: The file has changed since the plan was made. Plan again." % path)
    recreates = to_recreate(store, request, files) if request["recreates"] else []
    todo = what_to_do(request, files, Engine(request), recreates)
    bare = [one for one in request["attributes"] if not same_attributes(attributes(one["path"]), one)]
    needed = bool(todo["told"] or bare or any(one["state"] == "before" for one in files))
    return {"run": "", "files": files, "told": todo["told"], "needed": needed}, todo


def _open(store: Store, request: Document, own: str, looked: tuple[Document, Document]) -> Document:
    seen, todo = looked
    known = store.current()
    if known is not None and store.run(known["run"]).result is not None:
        known = None  # it ended, and died before it could say so
    if known is not None and known["plan"] != request["plan"]:
        mine = request["control"] and request["control"] == known["control"]  # which runs one at a time: it died
        if known["deadline"] > time.time() and not mine:
            raise GuardError(
                "run %s is changing this host, and is taken back in %d seconds unless it is confirmed; roll it back, "
                "or resume it with its plan" % (known["run"], known["deadline"] - time.time())
            )
        undo(store, store.run(known["run"]), "it was not confirmed, and another run began")
        known = None
        try:
            seen, todo = _look(store, request)
        except GuardError as error:
            raise GuardError("a run that had died was taken back before: %s" % error) from error
    if known is None and not seen["needed"]:
        return seen
    engine = Engine(request)
    if todo["activate"] and engine.masked():
        raise GuardError("docker.service is masked: the daemon could not be started again")
    activation = request["activation"]
    goes_down = todo["activate"] and activation["manager"] and activation["action"] == "restart"
    if goes_down and (reason := no_quorum(engine)):
        raise GuardError(reason)
    write_file(os.path.join(store.home, "guard.py"), own.encode(), 0o700)
    run = store.run(
        known["run"]
        if known
        else request["run"] or time.strftime("%Y%m%dT%H%M%SZ-", time.gmtime()) + request["plan"][:8]
    )
    if known is None:
        if run.result is not None or os.path.exists(run.file("before.json")):  # taken back before: begins anew
            os.rename(run.path, "%s.%d" % (run.path, time.time()))
        _keep(run, request, seen, engine)
        store.prune()
    write_file(run.file("todo.json"), json.dumps(todo).encode())
    _stage(run, request)
    if todo["activate"] and known is None:
        _try(run, request)
    arm(store, run, request)
    run.note("begin", "did" if known is None else "resumed")
    for one in seen["files"]:
        os.makedirs(os.path.dirname(one["path"]), 0o755, exist_ok=True)
    return dict(seen, run=run.name, needed=True)


def _keep(run: Run, request: Document, seen: Document, engine: Engine) -> None:
    """Keep everything that the way back needs: bytes, modes, limits, and how the containers are."""
    os.makedirs(run.file("backup"), 0o700)
    os.chmod(run.path, 0o700)
    record = os.path.join(request["state"], "activation.json")
    files = []
    for index, one in enumerate([*seen["files"], {"path": record, "after": None}]):
        data = read_bytes(one["path"])
        entry = {"path": one["path"], "before": sha256(data), "after": one["after"], "there": data is not None}
        if data is not None:
            write_file(run.file("backup", str(index)), data)
            entry.update(attributes(one["path"]) or {})
        entry["made"] = "" if os.path.isdir(os.path.dirname(one["path"])) else os.path.dirname(one["path"])
        files.append(entry)
    names = [name for one in request["updates"] for name in one["names"]]
    involved = bool(names or request["recreates"] or request["activation"]["action"] != "none")
    info = engine.info() if involved else None
    found = engine.containers(names) if info and names else {}
    keys = ["Memory", "MemorySwap", "CpuShares", "PidsLimit", "RestartPolicy"]
    before = {
        "at": time.time(),
        "files": files,
        "attributes": [dict(attributes(one["path"]) or {}, path=one["path"]) for one in request["attributes"]],
        "engine": info is not None,
        "memory": (info or {}).get("MemTotal", 0),
        "limits": {name: {key: one["HostConfig"].get(key) for key in keys} for name, one in found.items()},
        "containers": portrait(engine) if info else {},
    }
    documents = {"info": info or {}, "bridge": engine.bridge() if info else {}}
    before["live"] = [
        dict(one, value=point(documents[one["from"]], one["pointer"])) for one in request["activation"]["expect"]
    ]
    write_file(run.file("request.json"), json.dumps(request).encode())
    write_file(run.file("before.json"), json.dumps(before).encode())


def _stage(run: Run, request: Document) -> None:
    """Put the new texts beside the backups, from where they are copied into their places."""
    os.makedirs(run.file("new"), 0o700, exist_ok=True)
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


def _try(run: Run, request: Document) -> None:
    """Have the engine's own program look at the configuration to come, where it can; raises GuardError where it
    refuses it."""
    words = list(request["activation"]["validate"])
    if not words:
        return
    config = request["activation"]["config"]
    edited = [one["index"] for one in request["files"] if one["path"] == config]
    code, out, err = call([*words[:-1], run.file("new", str(edited[0])) if edited else config], 30)
    if code:
        raise GuardError("the engine refuses the configuration, and nothing was changed: " + (err or out))
