"""A swarm manager that is to be restarted: only with a quorum of the others, and with its tasks moved away before."""

from __future__ import annotations

import json
import time

from .engine import Engine
from .files import Document, GuardError
from .store import Run

MOVING = 120.0  # seconds that tasks may take to move to other nodes
SEEING = 30.0  # seconds until managers see each other
REJOINING = 60.0  # seconds that a manager may take to find the others after its start


def nodes(engine: Engine) -> list[Document]:
    """The nodes of the swarm: {ID, Self, Availability, Status, ManagerStatus: "" for a worker}.

    Raises GuardError where the swarm does not say, as one without a leader.
    """
    code, out, told = engine.docker("node", "ls", "--format", "{{json .}}")
    if code:
        raise GuardError("the swarm does not tell of its nodes: " + told)
    return [json.loads(line) for line in out.splitlines()]


def no_quorum(engine: Engine) -> str:
    """Why this manager must not go down now; "" where the others go on without it, or where it is the only one.

    One that was restarted just before is waited for: the others do not see at once that it is back.
    """
    deadline = time.monotonic() + SEEING
    while (reason := _lacking(engine)) and time.monotonic() < deadline:
        time.sleep(1.0)
    return reason


def _lacking(engine: Engine) -> str:
    """What is lacking to a majority without this manager: of all managers, reachable or not."""
    try:
        managers = [one for one in nodes(engine) if one["ManagerStatus"]]
    except GuardError as error:
        return str(error)
    others = [one for one in managers if not one["Self"] and one["ManagerStatus"] in ("Leader", "Reachable")]
    needed = len(managers) // 2 + 1
    if len(managers) < 2 or len(others) >= needed:
        return ""
    told = "while this manager restarts, %d of %d managers are reachable, and the swarm needs %d"
    return told % (len(others), len(managers), needed)


def unforeseen(activation: Document, info: Document) -> str:
    """What a swarm makes of the daemon's change that the plan could not know of; "" for nothing."""
    swarm = info.get("Swarm") or {}
    written = [*activation["expect"], *activation["deferred"]]
    if any(one["key"] == "live-restore" and one.get("value") is True for one in written) and swarm.get(
        "LocalNodeState"
    ) not in (None, "", "inactive"):
        return "the host is a node of a swarm by now, with which live-restore does not go"
    if activation["action"] == "restart" and swarm.get("ControlAvailable") and not activation["manager"]:
        return "the host is a manager of a swarm by now"
    spec = (swarm.get("Cluster") or {}).get("Spec") or {}
    if activation["action"] == "restart" and (spec.get("EncryptionConfig") or {}).get("AutoLockManagers"):
        return "the swarm is locked after a restart of this manager until somebody unlocks it (autolock)"
    return ""


def drain(run: Run, engine: Engine) -> None:
    """Have other nodes take over the tasks of this one, where there are such nodes.

    Raises GuardError where the swarm refuses it, or could not do without this manager by now.
    """
    found = nodes(engine)
    own = next((one for one in found if one["Self"]), None)
    free = [one for one in found if not one["Self"] and (one["Availability"], one["Status"]) == ("Active", "Ready")]
    if own is not None and own["Availability"] == "Active" and free:
        run.note("drain", "will")
        code, _, told = engine.docker("node", "update", "--availability", "drain", own["ID"])
        if code:
            raise GuardError("this node cannot be drained: " + told)
        deadline = time.monotonic() + MOVING
        asked = ("node", "ps", own["ID"], "--filter", "desired-state=running", "--quiet")
        while engine.docker(*asked)[:2] != (0, "") and time.monotonic() < deadline:
            time.sleep(0.5)
        run.note("drain", "did")
    if reason := no_quorum(engine):
        raise GuardError(reason)


def undrain(run: Run, engine: Engine) -> None:
    """Let this node have tasks again, where the run took it that, once the managers have found each other again.

    Raises GuardError where that does not come about.
    """
    journal = [(one["step"], one["state"]) for one in run.journal()]
    if journal.count(("drain", "will")) <= journal.count(("active", "did")):
        return
    deadline = time.monotonic() + REJOINING
    while True:
        try:
            own = next((one for one in nodes(engine) if one["Self"]), None)
            if own is None:
                raise GuardError("the swarm does not know this node")
            if own["Availability"] == "Drain":
                code, _, told = engine.docker("node", "update", "--availability", "active", own["ID"])
                if code:
                    raise GuardError(told)
            run.remember("active", "did")
            return
        except GuardError as error:
            if time.monotonic() > deadline:
                raise GuardError("this node still takes no tasks (drain): %s" % error) from error
        time.sleep(1.0)
