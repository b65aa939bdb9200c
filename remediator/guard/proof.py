"""What worked before, and whether it still does."""

from __future__ import annotations

import calendar
import json
import socket
import time
from typing import Any

from .engine import Engine
from .files import Document, GuardError

SILENT = "the daemon does not answer"
LATELY = 600.0  # seconds: what was started anew by the engine since is not steady
LOOKS = 3  # a second apart, after a restart: what was started may end only then
LOOPBACK = ("127.0.0.0/8", "::1/128")  # registries there are insecure to every engine; not all of them say so


def endpoints(container: Document) -> list[list[Any]]:
    """The published TCP ports of a container as [address, port]; the one of IPv6 only where there is no other."""
    found: dict[int, list[str]] = {}
    for port, bindings in ((container.get("NetworkSettings") or {}).get("Ports") or {}).items():
        for one in bindings or [] if port.endswith("/tcp") else []:
            address = one.get("HostIp") or "0.0.0.0"  # noqa: S104 - what the engine says, not what is bound here
            everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
            found.setdefault(int(one["HostPort"]), []).append(everywhere.get(address, address))
    return [
        [address, port]
        for port, some in found.items()
        for address in ([one for one in dict.fromkeys(some) if one != "::1"] or ["::1"])
    ]


def answers(address: str, port: int) -> bool:
    """Whether something takes connections there, and does not end them at once.

    The engine's proxy takes them for every published port, and ends them where nobody listens in the container.
    """
    try:
        with socket.create_connection((address, port), timeout=1) as connection:
            connection.settimeout(0.3)
            try:
                return bool(connection.recv(1))
            except socket.timeout:  # noqa: UP041 - Python 3.8
                return True
    except OSError:
        return False


def _steady(one: Document) -> bool:
    """Whether a container runs on, and is not one that the engine has to start again and again."""
    state = one["State"]
    started = calendar.timegm(time.strptime(state["StartedAt"][:19], "%Y-%m-%dT%H:%M:%S"))
    return not state.get("Restarting") and not (one.get("RestartCount") and time.time() - started < LATELY)


def first_answer(container: Document) -> float:
    """How long the health check of a container may take to tell for the first time, in seconds; 0 without one.

    The first one begins an interval after the start; moby's defaults are 30 seconds for that and for the answer.
    """
    check = container["Config"].get("Healthcheck") or {}
    if not check.get("Test") or check["Test"] == ["NONE"]:
        return 0.0
    times = (check.get("StartPeriod") or 0, check.get("Interval") or 30e9, check.get("Timeout") or 30e9)
    return sum(float(one) for one in times) / 1e9


def is_temporary(container: Document) -> bool:
    """Whether the engine removes a container as soon as it ends (--rm)."""
    return bool(container["HostConfig"].get("AutoRemove"))


def is_task(container: Document) -> bool:
    """Whether a container is a task of a swarm, which runs it here or elsewhere."""
    return "com.docker.swarm.task.id" in (container["Config"].get("Labels") or {})


def portrait(engine: Engine) -> Document:
    """The running containers by name, in the order of their starts, and which published ports answer.

    One that is paused tells nothing of its health, and its ports take connections by the kernel alone.
    """
    running = engine.containers()
    ordered = sorted(running.items(), key=lambda one: (one[1]["State"]["StartedAt"], one[0]))
    containers = {}
    for name, one in ordered:
        state = one["State"]
        paused = bool(state.get("Paused"))
        containers[name] = {
            "id": one["Id"],
            "pid": state["Pid"],
            "started": state["StartedAt"],
            "restarts": one.get("RestartCount", 0),
            "steady": _steady(one),
            "paused": paused,
            "health": "" if paused else (state.get("Health") or {}).get("Status", ""),
            "first_answer": first_answer(one),
            "temporary": is_temporary(one),
            "task": is_task(one),
            "networks": sorted((one.get("NetworkSettings") or {}).get("Networks") or {}),
            "ports": [] if paused else [pair for pair in endpoints(one) if answers(pair[0], pair[1])],
        }
    return containers


def point(document: Document, pointer: str) -> Any:
    """The value at a JSON Pointer, or None."""
    for key in pointer.split("/")[1:]:
        key = key.replace("~1", "/").replace("~0", "~")
        if not isinstance(document, dict) or key not in document:
            return None
        document = document[key]
    return document


def _insecure(info: Document) -> list[str]:
    """The registries that the engine uses without checking them, of which it tells in two places."""
    known = info.get("RegistryConfig") or {}
    names = [name for name, one in (known.get("IndexConfigs") or {}).items() if not one.get("Secure", True)]
    return sorted(set(known.get("InsecureRegistryCIDRs") or []).difference(LOOPBACK)) + sorted(names)


def effects(engine: Engine, info: Document, wanted: list[Document]) -> list[Any]:
    """What the engine shows of settings: the value at each one's pointer, or whether the list there `holds` a word."""
    documents = {"info": dict(info, InsecureRegistries=_insecure(info)), "bridge": {}}
    if any(one["from"] == "bridge" for one in wanted):
        documents["bridge"] = engine.bridge()
    found = [point(documents[one["from"]], one["pointer"]) for one in wanted]
    return [one["holds"] in (seen or []) if one.get("holds") else seen for one, seen in zip(wanted, found)]


def not_in_effect(engine: Engine, expected: list[Document]) -> list[str]:
    """Which settings the engine does not do as expected: those of `effects`, each with its key and value."""
    info = engine.info()
    if info is None:
        return [SILENT]
    told = []
    for one, seen in zip(expected, effects(engine, info, expected)):
        if seen != one["value"]:
            what = "%s: %s" % (one["key"], one["holds"]) if one.get("holds") else one["key"]
            told.append("%s: the engine does %s, not %s" % (what, json.dumps(seen), json.dumps(one["value"])))
    return told


def anew(request: Document) -> dict[str, bool]:
    """The containers that their owners create anew, and whether they get other names by it."""
    return {name: one["owner"] == "swarm" for one in request["recreates"] for name in one["containers"]}


def _started_again(name: str, was: int, now: int) -> list[str]:
    """That the engine had to start a container again; it counts anew where somebody restarts one."""
    times = now - was if now >= was else now
    often = "once" if times == 1 else "%d times" % times
    return ["container %s was started again %s by the engine since" % (name, often)] if times else []


def problems(
    engine: Engine, request: Document, before: Document, expected: list[Document], restarted: bool, kept: bool
) -> tuple[list[str], Document]:
    """What is not as it was before, or not in effect as expected; and by what a later look tells a container's restart.

    `kept`: nothing was stopped, so that the engine still counts the starts that it counted before.
    """
    made = anew(request)
    found = not_in_effect(engine, expected)
    starts: Document = {}
    if SILENT in found:
        return found, starts
    wanted = [name if name in made else one["id"] for name, one in before["containers"].items()]
    try:
        now = engine.containers(wanted)
    except GuardError as error:
        return [*found, str(error)], starts
    by_id = {one["Id"]: one for one in now.values()}
    for name, was in before["containers"].items():
        one = now.get(name) if name in made else by_id.get(was["id"])
        if was["temporary"] or was["task"] or made.get(name):
            continue
        if one is None:
            found.append("container %s is gone" % name)
            continue
        if not was["steady"]:
            continue  # it ends again and again, and did before
        state = one["State"]
        if not state["Running"]:
            again = state["StartedAt"] != was["started"]
            ended = not state["ExitCode"] and not state.get("OOMKilled") and (again or not restarted)
            policy = (one["HostConfig"].get("RestartPolicy") or {}).get("Name")
            if restarted and policy in ("always", "unless-stopped"):  # a daemon that died has the next one stop it
                ended = False
            if not ended:  # not by itself
                found.append("container %s ran before and is %s" % (name, state["Status"]))
            continue
        if state.get("Restarting"):
            found.append("container %s keeps restarting" % name)
        if was.get("paused") and state["StartedAt"] != was["started"] and not state.get("Paused"):
            found.append("container %s was paused and runs" % name)
        starts[name] = [state["Pid"], state["StartedAt"], one.get("RestartCount", 0)]
        if kept and name not in made:
            found += _started_again(name, was["restarts"], one.get("RestartCount", 0))
        health = (state.get("Health") or {}).get("Status", "")
        if was["health"] == "healthy" and health != "healthy":
            found.append("container %s was healthy and is %s" % (name, health))
        if name in made:
            continue  # its networks and ports may be what is changed
        found += [
            "%s:%d, published by container %s, no longer answers" % (pair[0], pair[1], name)
            for pair in was["ports"]
            if not answers(pair[0], pair[1])
        ]
        if lost := set(was["networks"]) - set((one.get("NetworkSettings") or {}).get("Networks") or {}):
            found.append("container %s is no longer on %s" % (name, ", ".join(sorted(lost))))
    return found, starts


def prove(
    engine: Engine,
    request: Document,
    before: Document,
    expected: list[Document],
    restarted: bool,
    kept: bool = False,
) -> list[str]:
    """Wait until all is as it was and in effect as expected, after a restart at some looks a second apart.

    Between these no container may be started again: a restart of the daemon resets the engine's own count. Returns
    what is not so when the time is over; for `kept` see `problems`.
    """
    healthy = [one.get("first_answer", 0.0) for one in before["containers"].values() if one["health"] == "healthy"]
    patience = max([float(request["proof"]), *(one + 5 for one in healthy if restarted)])
    deadline = time.monotonic() + min(patience, LATELY)
    calm = 0
    last: Document = {}
    while True:
        found, starts = problems(engine, request, before, expected, restarted, kept)
        again = [name for name, one in starts.items() if last.get(name, one) != one]
        found += ["container %s does not run on: it was started again meanwhile" % name for name in again]
        calm, last = 0 if found else calm + 1, starts
        if calm >= (LOOKS if restarted else 1):
            return []
        if time.monotonic() > deadline:
            return found
        time.sleep(1.0 if calm else 0.3)


def await_effect(engine: Engine, expected: list[Document], after: str) -> None:
    """Wait until settings are in effect; raises GuardError where they are not within ten seconds."""
    deadline = time.monotonic() + 10
    while found := not_in_effect(engine, expected) if expected else []:
        if time.monotonic() > deadline:
            raise GuardError("after %s: %s" % (after, "; ".join(found)))
        time.sleep(0.2)
