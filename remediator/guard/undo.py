"""The way back: a run is taken back as far as nobody else has changed the same since."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from typing import Any, Callable  # noqa: UP035 - Python 3.8

from .back import RESCUED, reload_back, stays, taken_up, undo_daemon
from .engine import Engine, call, pause, start
from .files import Document, GuardError, Report, read_json, write_file
from .keep import keep_alive
from .limits import undo_limits
from .proof import SILENT, portrait, prove
from .recreate import back
from .restore import undo_attributes, undo_files
from .store import Run, Store, seconds_left
from .swarm import no_quorum, undrain
from .switch import arm, disarm

PAUSES = (10.0, 30.0, 60.0, 120.0)  # seconds before what nobody else takes back is tried again


def undo(store: Store, run: Run, reason: str) -> Document:
    """Take a run back, as far as nobody else has changed the same since; may be repeated, and resumed.

    Files byte for byte with mode, owner and time; limits; audit rules; the daemon, by the way it was told of the
    change; containers that ran and do not. Then the same proof against the state before. What fails is told, and
    the rest done all the same. A run that was taken back is looked at again: somebody may not have known.
    """
    ended, known = run.result, store.current()
    if known is not None and known["run"] != run.name:
        raise GuardError("run %s is open on this host; roll it back first" % known["run"])
    request, before = run.request, run.before if ended is None else _as_it_is(run, ended)
    told: Report = {"changed": [], "left": [], "errors": []}
    again = ended is not None and ended["outcome"] == "undone"
    if again:
        if not store.is_last(run):
            _close(store, run)
            return ended
        kept = keep_alive(run, request, before) if before["engine"] else None
        undo_files(run, before, told, kept)
        undo_attributes(request, before, told)
        if kept is None and not (told["changed"] or told["errors"] or ended["errors"]):
            _close(store, run)
            return ended
    begun = time.monotonic()
    _go_on_alone(store, run, request, reason)
    run.remember("undo", "will", reason=reason)
    shutil.rmtree(run.file("new"), ignore_errors=True)  # there may be no space left for what is to be written
    _take_back(run, request, before, told)
    took = round(time.monotonic() - begun, 2)
    run.remember("undo", "did", seconds=took, **told)
    ended = run.end("undone", reason=ended["reason"] if again else reason, seconds=took, **told)
    _close(store, run)
    return ended


def _go_on_alone(store: Store, run: Run, request: Document, reason: str) -> None:
    """See to it that the host goes on taking the run back by itself, should this process end before."""
    known = store.current()
    try:
        if known is None:
            arm(store, run, request, reason)
        else:
            store.open(dict(known, undo=reason))
    except (OSError, GuardError):
        pass  # such as on a full disk: it is taken back all the same


def _as_it_is(run: Run, ended: Document) -> Document:
    """The state before, with the containers as they are before a confirmed run is taken back.

    Weeks may lie between: what was stopped or removed since is not brought back, and what is new is kept alive. Raises
    GuardError where the daemon is a manager of a swarm that cannot do without it.
    """
    before, activation = run.before, run.request["activation"]
    if not before["engine"]:
        return before
    alive = read_json(run.file("alive.json"))
    if not run.has("undo") and ended["outcome"] == "confirmed":
        engine = Engine(run.request)
        if activation["manager"] and activation["action"] == "restart" and (reason := no_quorum(engine)):
            raise GuardError(reason)
        try:
            alive = portrait(engine)
            write_file(run.file("alive.json"), json.dumps(alive).encode())
        except (OSError, GuardError):
            pass  # the daemon is gone: what ran before is all that is known
    return before if alive is None else dict(before, containers=alive)


def _take_back(run: Run, request: Document, before: Document, told: Report) -> None:
    engine = Engine(request)
    alive = bool(before["engine"])

    def part(what: str, do: Callable[[], Any]) -> Any:
        try:
            return do()
        except (GuardError, OSError, ValueError) as error:
            told["errors"].append("%s: %s" % (what, error) if what else str(error))
            return None

    reloaded, stuck = alive and taken_up(run, engine, before), ""
    if reloaded:
        try:
            reload_back(run, request, engine, told)
        except (GuardError, OSError, ValueError) as error:
            stuck = "the reload back: %s" % error
    kept = keep_alive(run, request, before) if alive else None
    undo_files(run, before, told, kept)
    undo_attributes(request, before, told)
    if run.has("rules"):
        call(["augenrules", "--load"], 60)
    if not alive:
        return
    anew = part("the daemon", lambda: undo_daemon(run, request, engine, before, told, stuck, kept))
    engine.settle(10)
    if engine.wait(30) is None:
        told["errors"].append(SILENT)
        return
    part("the swarm", lambda: undrain(run, engine))
    part("recreate", lambda: back(run, request, engine, told))
    part("limits", lambda: undo_limits(run, engine, before, told))
    gone = [name for name, one in before["containers"].items() if one["temporary"]]
    lasting = [one for one, was in before["containers"].items() if one not in gone and not was["task"]]
    stopped = [name for line in run.journal() if line["step"] == "stop back" for name in line.get("names", [])]
    lasting += [one for one in dict.fromkeys(stopped) if one not in before["containers"]]
    told["errors"] += part("containers", lambda: start(run, engine, lasting)) or []
    if anew:
        told["errors"] += part("containers", lambda: pause(run, engine, before["containers"])) or []
    there = part("containers", lambda: engine.containers(gone)) if gone else {}
    told["left"] += ["container %s: ran with --rm, and ended" % one for one in gone if one not in (there or {})]
    if not any(RESCUED in one for one in told["errors"]):
        expected = [] if told["left"] else [one for one in before["live"] if anew or (reloaded and one["reload"])]
        told["errors"] += prove(engine, request, before, expected, bool(anew))
        told["left"] += part("", lambda: stays(run, engine, before, told, bool(anew))) or []


def _close(store: Store, run: Run) -> None:
    known = store.current()
    if known is not None and known["run"] == run.name:
        disarm(store, run.request["root"])


def finish(store: Store, known: Document, reason: str) -> None:
    """Bring a run that nobody works on any more to its end: one that ended is closed, any other is taken back."""
    run = store.run(known["run"])
    ended = (run.result is not None and not known.get("undo")) or not run.began
    if ended:
        disarm(store, known["root"])
    else:
        undo(store, run, known.get("undo") or reason)


def _insist(store: Store, known: Document) -> None:
    """Try again what could not be taken back, unless somebody has begun another run: nobody may be there to do it."""
    run = store.run(known["run"])
    for seconds in PAUSES:
        ended = run.result or {}
        if ended.get("outcome") != "undone" or not ended["errors"]:
            return
        print("not taken back yet: " + "; ".join(ended["errors"]), file=sys.stderr)
        time.sleep(seconds)
        with store.locked(3600):
            if store.current() is not None or not store.is_last(run):
                return
            store.open(dict(known, undo=ended["reason"]))
            undo(store, run, ended["reason"])


def expire(store: Store, name: str) -> None:
    """Wait until the run is closed or its time is over, and take it back then."""
    while True:
        known = store.current()
        if known is None or known["run"] != name or not seconds_left(known):
            with store.locked(3600):
                known = store.current()
                if known is None:
                    disarm(store, _root(store))  # a guard was killed before it had opened it, or after it had closed it
                    return
                if known["run"] != name:
                    return
                if not seconds_left(known):
                    limit = store.run(name).request["limit"] if store.run(name).began else 0
                    finish(store, known, "it was not confirmed within %d seconds" % limit)
                    break
        else:
            time.sleep(max(0.05, min(seconds_left(known), 1.0)))
    _insist(store, known)


def boot(store: Store) -> None:
    """Take back what was not confirmed before this boot."""
    with store.locked(3600):
        known = store.current()
        if known is None:
            disarm(store, _root(store))
            return
        run = store.run(known["run"])
        if run.began:
            engine = Engine(run.request)
            engine.settle(60)
            if run.before["engine"] and not engine.systemd:
                engine.wait(60)  # cron may be up before it, and nobody tells whether its start is under way
        finish(store, known, "the host was started anew before it was confirmed")
    _insist(store, known)


def _root(store: Store) -> str:
    """The root directory of the host that a store belongs to."""
    return "/" if os.path.dirname(store.home) == "/var/lib/remediator" else os.path.dirname(store.home)
