"""Containers that their owner creates anew: one service at a time, with a watch over each."""

from __future__ import annotations

import time

from .engine import Engine, call
from .files import Document, GuardError
from .store import Run, Store

STEADY = 3.0  # seconds for which a container without a health check has to run on
CREATING = 600.0  # seconds that an owner may take
READING = 60.0  # seconds that it may take to read its files


def to_recreate(store: Store, request: Document, files: list[Document]) -> list[Document]:
    """The steps that are still to be done: those of edited files, and others that no run of this plan has done."""
    before = {one["path"] for one in files if one["state"] == "before"}
    done = any(run.request["plan"] == request["plan"] for run in store.confirmed())
    return [one for one in request["recreates"] if before.intersection(one["files"]) or not (one["files"] or done)]


def refusal(check: Document) -> str:
    """What an owner's own program says against its files; "" where it takes them."""
    code, _, told = call(check["words"], READING)
    return "%s: its files are refused: %s" % (check["label"], told or code) if code else ""


def recreate(run: Run, engine: Engine, one: Document) -> None:
    """Have an owner create its containers anew, and watch them; raises GuardError where they do not run steadily."""
    run.note("recreate", "will", label=one["label"])
    for words in one["up"]:
        code, _, told = call(words, CREATING)
        if code:
            raise GuardError("%s: %s: %s" % (one["label"], " ".join(words[:3]), told))
    if one["owner"] != "swarm" and one["grace"]:  # which watches its tasks itself, and names them anew
        watch(engine, one)
    run.note("recreate", "did", label=one["label"])


def watch(engine: Engine, one: Document) -> None:
    """Wait until the containers are healthy, or have run on for a while; raises GuardError where they are not."""
    deadline = time.monotonic() + one["grace"]
    since: float | None = None
    first: dict[str, str] = {}
    while True:
        found = engine.containers(list(one["containers"]))
        missing = [name for name in one["containers"] if name not in found]
        bad = ["%s is not there" % name for name in missing]
        waiting = False
        for name, container in found.items():
            state = container["State"]
            health = (state.get("Health") or {}).get("Status", "")
            if not state["Running"] or state.get("Restarting"):
                bad.append("%s is %s" % (name, state["Status"]))
            elif first.setdefault(name, state["StartedAt"]) != state["StartedAt"]:
                bad.append("%s keeps ending" % name)
                raise GuardError("%s: %s" % (one["label"], "; ".join(bad)))
            elif health == "unhealthy":
                bad.append("%s is unhealthy" % name)
            elif health == "starting":
                waiting = True
        if not bad and not waiting:
            since = since or time.monotonic()
            if time.monotonic() - since >= STEADY:
                return
        else:
            since = None
        if time.monotonic() > deadline:
            raise GuardError("%s: %s" % (one["label"], "; ".join(bad) or "is not healthy in time"))
        time.sleep(0.3)


def back(run: Run, request: Document) -> list[str]:
    """Have owners create anew, from the old definitions, what a run had them create; what failed comes back."""
    begun = [line["label"] for line in run.journal() if line["step"] == "recreate" and line["state"] == "will"]
    failed = []
    for one in request["recreates"]:
        if one["label"] not in begun:
            continue
        run.remember("recreate back", "will", label=one["label"])
        for words in one["undo"]:
            code, _, told = call(words, CREATING)
            if code:
                failed.append("%s: %s: %s" % (one["label"], " ".join(words[:3]), told))
    return failed
