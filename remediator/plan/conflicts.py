"""What changes do to one another and to this host, seen before they are made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from ..kinds.compare import Scope
from ..model import Change, Disruption, Finding, HostState
from ..patch import get
from . import activation, candidate, deferral
from .activation import running
from .candidate import key as _key
from .model import Activation, Held

_MEMORY = "/HostConfig/Memory"


def adjusted(found: Finding, state: HostState) -> Finding:
    """The finding with what this host makes of its changes' disruption.

    A daemon that starts under live-restore while any container runs leaves the bridge as it is (moby:
    daemon/daemon_unix.go, initNetworkController; 26 and 28 log "there are running containers, updated
    network configuration will not take affect"; seen with containers on docker0, on another network, on the
    host's and on none). So with live-restore on, icc needs them stopped and started around the restart.
    What runs with --rm a restart removes for good, also under live-restore (seen with 20.10).
    """
    if found.kind != "daemon":
        return found
    fact = candidate.daemon(state)[1]
    if told := candidate.no_reload(state, found.changes):
        again = (
            msgspec.structs.replace(one, disruption=Disruption.RESTART, evidence=(*one.evidence, told))
            if one.disruption is Disruption.RELOAD
            else one
            for one in found.changes
        )
        found = msgspec.structs.replace(found, changes=tuple(again))
    restarts = any(_key(one) and one.disruption is Disruption.RESTART for one in found.changes)
    if restarts and (temporary := activation.temporary(state)):
        lost = f"a restart of the daemon removes these, which run with --rm: {', '.join(temporary)}"
        again = (
            msgspec.structs.replace(one, disruption=Disruption.RECREATE, evidence=(*one.evidence, lost))
            for one in found.changes
        )
        found = msgspec.structs.replace(found, changes=tuple(again))
    if not any(_key(one) == "icc" for one in found.changes):
        return found
    alive = running(state)
    if not alive or fact.evidence["live"].get("live-restore") is not True:
        return found
    told = f"live-restore is on: takes effect only after these are stopped and started: {', '.join(alive)}"
    changes = tuple(
        msgspec.structs.replace(one, disruption=Disruption.RECREATE, evidence=(*one.evidence, told))
        for one in found.changes
    )
    return msgspec.structs.replace(found, changes=changes)


def resolve(chosen: list[Finding], state: HostState, around: Scope) -> tuple[list[Finding], list[Held]]:
    """The findings whose changes go together, and those that are held since they would not."""
    held: list[Held] = []
    kept = list(chosen)

    def hold(match: str, reason: str) -> None:
        for found in [one for one in kept if one.control == match]:
            kept.remove(found)
            held.append(Held(found, reason))

    for refused in candidate.hold(kept, state):
        kept.remove(refused.finding)
        held.append(refused)
    for found, reason in deferral.refused(kept, state):
        kept.remove(found)
        held.append(Held(found, reason))
    kept = deferral.together(kept, state)
    limits = [one for found in kept for one in found.changes if one.path == _MEMORY]
    if limits and (reason := _too_much_memory(limits, state, around)):
        hold(limits[0].control, reason)
    if "docker" not in state.about.get("commands", []):
        running = candidate.daemon(state)[1].evidence.get("running")
        for one in _controls(kept, "container", *(["daemon"] if running else [])):
            hold(one, "there is no docker command on this host to make it take effect with")
    if state.about.get("recorded"):
        for one in _controls(kept, "container"):
            hold(one, "recorded engine data: there is no running container to update")
    return kept, held


def _controls(chosen: Iterable[Finding], *kinds: str) -> list[str]:
    """The controls of findings of some kinds, each once."""
    return list(dict.fromkeys(found.control for found in chosen if found.kind in kinds))


def _too_much_memory(limits: Iterable[Change], state: HostState, around: Scope) -> str:
    """Why the memory limits, with those that containers have already, are too much for the host."""
    memory = state.about.get("memory", 0)
    total = {name: get(fact.document, _MEMORY) or 0 for name, fact in state.facts["container"].items()}
    total.update({one.resource: one.after for one in limits})
    allowed = int(memory * around.parameters.memory.host_share)
    if not memory or sum(total.values()) <= allowed:
        return ""
    return (
        f"the limits of all containers would be {sum(total.values()) // 2**20} MiB, and the baseline allows "
        f"{allowed // 2**20} MiB of the host's {memory // 2**20} MiB (parameters: memory: host_share)"
    )


def notes(chosen: Sequence[Finding], state: HostState, planned: Activation) -> tuple[str, ...]:
    """What a reader of the plan should know besides the single changes."""
    changes = [one for found in chosen for one in found.changes]
    told = candidate.notes(state, changes)
    told += deferral.notes(changes)
    if (planned.action == "restart" or planned.deferred) and (untried := candidate.validate(state, changes)[1]):
        told.append(untried)
    if planned.stop:
        told.append(f"stopped and started around the restart, so that icc takes effect: {', '.join(planned.stop)}")
    if planned.action == "restart" and (temporary := activation.temporary(state)):
        told.append(f"removed by the restart, since they run with --rm: {', '.join(temporary)}")
    live = candidate.daemon(state)[1].evidence["live"].get("live-restore") is True
    if planned.action == "restart" and not (live or planned.reload_first) and planned.start:
        told.append(f"the restart stops all containers, which are then started again: {', '.join(planned.start)}")
    limits = [one for found in chosen for one in found.changes if one.path == _MEMORY]
    if limits and state.about.get("memory"):
        total, memory = sum(one.after for one in limits), state.about["memory"]
        told.append(
            f"memory limits of {len(limits)} containers: {total // 2**20} MiB of the host's {memory // 2**20} MiB"
        )
    return tuple(told)
