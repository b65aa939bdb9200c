"""A swarm manager that is to be restarted: only with a quorum of the others, and with its tasks moved away before."""

from __future__ import annotations

import json
import time

from .engine import Engine
from .files import Document
from .store import Run

MOVING = 120.0  # seconds that tasks may take to move to other nodes


def nodes(engine: Engine) -> list[Document]:
    """The nodes of the swarm: {ID, Self, Availability, Status, ManagerStatus: "" for a worker}."""
    code, out, _ = engine.docker("node", "ls", "--format", "{{json .}}")
    return [json.loads(line) for line in out.splitlines()] if code == 0 else []


def no_quorum(engine: Engine) -> str:
    """Why this manager must not go down now; "" where the others go on without it, or where it is the only one.

    The managers of a swarm decide by the majority of all of them, reachable or not.
    """
    managers = [one for one in nodes(engine) if one["ManagerStatus"]]
    others = [one for one in managers if not one["Self"] and one["ManagerStatus"] in ("Leader", "Reachable")]
    needed = len(managers) // 2 + 1
    if len(managers) < 2 or len(others) >= needed:
        return ""
    told = "while this manager restarts, %d of %d managers are reachable, and the swarm needs %d"
    return told % (len(others), len(managers), needed)


def drain(run: Run, engine: Engine) -> None:
    """Have other nodes take over the tasks of this one, where there are such nodes."""
    found = nodes(engine)
    own = next((one for one in found if one["Self"]), None)
    free = [one for one in found if not one["Self"] and (one["Availability"], one["Status"]) == ("Active", "Ready")]
    if own is None or own["Availability"] != "Active" or not free:
        return
    run.note("drain", "will")
    engine.docker("node", "update", "--availability", "drain", own["ID"])
    deadline = time.monotonic() + MOVING
    asked = ("node", "ps", own["ID"], "--filter", "desired-state=running", "--quiet")
    while engine.docker(*asked)[1] and time.monotonic() < deadline:
        time.sleep(0.5)
    run.note("drain", "did")


def undrain(run: Run, engine: Engine) -> None:
    """Let this node have tasks again, where the run took it that."""
    if run.has("drain"):
        own = next((one for one in nodes(engine) if one["Self"]), None)
        if own is not None and own["Availability"] == "Drain":
            engine.docker("node", "update", "--availability", "active", own["ID"])
            run.note("active", "did")
