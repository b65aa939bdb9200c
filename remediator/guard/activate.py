"""The steps that the engine takes up, and the confirmation."""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

from .engine import Engine, call, pause, start
from .files import Document, GuardError, attributes, put_file, read_bytes, read_json, sha256, sync, write_file
from .look import look_at_file
from .proof import await_effect, is_task, is_temporary, prove
from .recreate import recreate, refusal
from .store import Run, Store
from .swarm import drain, undrain
from .switch import disarm, extend
from .undo import undo

AT_ONCE = 4  # updates of containers


def open_run(store: Store, name: str) -> Run:
    """The run of that name, which has to be open; raises GuardError that says how it ended."""
    run = store.run(name)
    known = store.current()
    ended = run.result or {}
    if known is None or known["run"] != name or known.get("undo") or ended:
        if ended.get("outcome") == "undone":
            raise GuardError("run %s was taken back: %s" % (name, ended["reason"]))
        if known is not None and known.get("undo"):
            raise GuardError("run %s is being taken back: %s" % (name, known["undo"]))
        raise GuardError("run %s is not open" % name)
    return run


def place(store: Store, name: str, index: str) -> Document:
    """Put one new text in its place: one that holds secrets, or stands in a new directory."""
    with store.locked():
        run = open_run(store, name)
        one = run.request["files"][int(index)]
        now = look_at_file(one)
        if now["state"] == "after":
            return {"run": name}
        data = read_bytes(run.file("new", index))
        if now["state"] != "before" or data is None:
            raise GuardError(one["path"] + ": has changed since the run began")
        like = attributes(one["path"]) or {"mode": int(now["mode"], 8), "uid": now["uid"], "gid": now["gid"]}
        put_file(one["path"], data, like)
        return {"run": name}


def activate(store: Store, name: str) -> Document:
    """Make the engine take up what was written: rules, limits, and the daemon's configuration.

    Whatever fails is taken back at once, and raises GuardError.
    """
    with store.locked():
        run = open_run(store, name)
        request, todo = run.request, read_json(run.file("todo.json"))
        extend(store, request)
        engine = Engine(request)
        try:
            _sync(run)
            _check(run, todo["checks"])
            if todo["rules"]:
                run.note("rules", "will")
                call(["augenrules", "--load"], 60)  # where the kernel refuses them, they count at the next boot
                run.note("rules", "did")
            _limit(run, engine, todo["updates"])
            if todo["activate"]:
                run.note("activate", "will")
                _take_up(run, request, engine)
                run.note("activate", "did")
            if todo["deferred"]:
                run.note("defer", "will")
                _write_down(request)
                run.note("defer", "did")
            for one in todo["recreates"]:
                extend(store, request)
                recreate(run, engine, one)
        except Exception as error:  # whatever it is
            reason = str(error) if isinstance(error, GuardError) else "%s: %s" % (type(error).__name__, error)
            undo(store, run, reason)
            raise GuardError("%s. The run was taken back." % reason.rstrip(".")) from error
        extend(store, request)
        return {"run": name, "changed": todo["told"]}


def _sync(run: Run) -> None:
    """See to it that the edited files outlast a cut of the power: it was not the guard that wrote them."""
    for one in run.before["files"]:
        sync(one["path"])
        sync(os.path.dirname(one["path"]))


def _check(run: Run, checks: list[Document]) -> None:
    """Have owners' programs read their edited files before anything takes effect."""
    if checks:
        run.note("check", "will", labels=[one["label"] for one in checks])
        for one in checks:
            if told := refusal(one):
                raise GuardError(told)
        run.note("check", "did")


def _limit(run: Run, engine: Engine, updates: list[Document]) -> None:
    """Give containers their limits, some sets at a time: the engine takes its time for each container."""
    for one in updates:
        run.note("limits", "will", names=one["names"], values=one["values"])
    with ThreadPoolExecutor(AT_ONCE) as pool:
        done = pool.map(lambda one: engine.docker("update", *one["options"], *one["names"], timeout=300), updates)
        failed = [told for code, _, told in done if code]
    if failed:
        raise GuardError("docker update: " + "; ".join(failed))
    for one in updates:
        run.note("limits", "did", names=one["names"])


def _take_up(run: Run, request: Document, engine: Engine) -> None:
    activation = request["activation"]
    if activation["action"] == "reload" or activation["reload_first"]:
        run.note("reload", "will")
        engine.reload()
        first = [one for one in activation["expect"] if one["reload"]]
        await_effect(engine, first, "the reload")
        run.note("reload", "did")
    if activation["action"] == "restart":
        alive, known = engine.containers(), run.before["containers"]
        lasting = [name for name, one in alive.items() if not (is_temporary(one) or is_task(one))]
        new = [name for name in lasting if name not in known]
        if names := [one for one in activation["stop"] if one in alive]:
            run.note("stop", "will", names=names)
            if told := engine.stop(names):
                raise GuardError(told)
            run.note("stop", "did")
        if activation["manager"]:
            drain(run, engine)
        run.note("restart", "will")
        engine.restart(activation["reload_units"])
        run.note("restart", "did")
        undrain(run, engine)
        failed = start(run, engine, [*(one for one in activation["start"] if one in known), *new])
        failed += pause(run, engine, known)
        if failed:  # the proof does not tell all of them: one that was stopped and ended with 0 looks done
            raise GuardError("; ".join(failed))
        return
    _write_down(request)


def _write_down(request: Document) -> None:
    """Keep what the running daemon has not taken up of its configuration: nothing else shows it."""
    activation = request["activation"]
    config = read_bytes(activation["config"])
    record = {"sha256": sha256(config), "started": activation["started"], "pending": activation["pending"]}
    write_file(os.path.join(request["state"], "activation.json"), json.dumps(record).encode())


def confirm(store: Store, name: str) -> Document:
    """Prove that all is as planned and as it was, and close the run; else take it back and raise GuardError."""
    with store.locked():
        run = open_run(store, name)
        request, todo = run.request, read_json(run.file("todo.json"))
        found = [
            "%s: is not what was planned" % one["path"]
            for one in run.before["files"]
            if one["after"] is not None and sha256(read_bytes(one["path"])) != one["after"]
        ]
        activated = todo["activate"] or run.has("activate")  # which was done by then where the run was resumed
        if not found and (activated or any(run.has(one) for one in ("limits", "recreate"))):
            restarted = activated and request["activation"]["action"] == "restart"
            expected = request["activation"]["expect"] if activated else []
            expected = expected if restarted else [one for one in expected if one["reload"]]
            kept = not (activated and _stops(run, request["activation"]))
            found = prove(Engine(request), request, run.before, expected, bool(restarted), kept)
        if found:
            reason = "; ".join(found)
            undo(store, run, reason)
            raise GuardError(reason + ". The run was taken back.")
        survived = _survivors(Engine(request), run.before) if activated else []
        _sync(run)
        run.note("confirm", "will")
        ended = run.end("confirmed", changed=todo["told"])
        disarm(store, request["root"])
        shutil.rmtree(run.file("new"), ignore_errors=True)
        run.remember("confirm", "did")
        return dict(ended, survived=survived)


def _stops(run: Run, activation: Document) -> bool:
    """Whether the daemon takes up its configuration by a restart that stops what runs."""
    if activation["action"] != "restart":
        return False
    live = run.before["live_restore"] or activation["reload_first"]
    off = any(one["key"] == "live-restore" and one["value"] is False for one in activation["expect"])
    return bool(activation["stop"]) or off or not live


def _survivors(engine: Engine, before: Document) -> list[str]:
    try:
        now = {one["Id"]: one["State"]["Pid"] for one in engine.containers().values()}
    except GuardError:
        return []
    return [name for name, one in before["containers"].items() if now.get(one["id"]) == one["pid"]]
