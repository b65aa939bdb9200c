"""How the daemon takes up its new configuration, with the least disruption."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..collect.probe import SOCKET
from ..dockerd.options import RELOADABLE
from ..kinds import daemon as daemons
from ..model import Change, Disruption, Fact, FileEdit, HostState, Json
from ..patch import get, tokens
from . import candidate
from .model import Activation


def running(state: HostState) -> list[str]:
    """The containers that run now, in the order in which they were started."""
    facts = state.facts.get("container", {})
    return _in_order({name: fact for name, fact in facts.items() if fact.evidence.get("state", {}).get("Running")})


def _in_order(facts: Mapping[str, Fact]) -> list[str]:
    return sorted(facts, key=lambda name: (facts[name].evidence["state"]["StartedAt"], name))


def temporary(state: HostState) -> list[str]:
    """The running containers that the engine removes as soon as they stop."""
    facts = state.facts.get("container", {})
    some = {name: fact for name, fact in facts.items() if get(fact.document, "/HostConfig/AutoRemove") is True}
    return _in_order({name: fact for name, fact in some.items() if fact.evidence.get("state", {}).get("Running")})


def _task(state: HostState, name: str) -> bool:
    """Whether a container is a task of swarm, which starts it anew, here or on another node."""
    labels = state.facts["container"][name].evidence["state"].get("Labels", {})
    return any(one.startswith("com.docker.swarm.") for one in labels)


def docker(state: HostState) -> tuple[str, ...]:
    """The words that begin a docker command on this host: its socket may be another than the default one."""
    socket = next(iter(state.about["paths"].get("{socket}", [])), SOCKET)
    return ("docker",) if socket == SOCKET else ("docker", "-H", f"unix://{socket}")


def _units_changed(fact: Fact, files: Sequence[FileEdit]) -> bool:
    """Whether systemd has to read docker.service anew: a file of it is edited, or younger than the daemon.

    What was checked is what the files say, so that it has to be what is started.
    """
    known = fact.evidence["start"]
    edited = {one.path for one in files}
    started = fact.evidence.get("started", 0.0)
    return any(path in edited or known["files"].get(path, {}).get("changed", 0) > started for path in known["units"])


def _shown(fact: Fact, change: Change) -> dict[str, Any] | None:
    """What the engine shows of a change; one of a flag is not taken up by a reload."""
    found = daemons.shown(tokens(change.path)[0], change.after_value, fact.evidence["live"])
    return found and {**found, "reload": found["reload"] and not change.flag}


def decide(
    state: HostState, changes: Iterable[Change], defaults: Mapping[str, Json], files: Sequence[FileEdit] = ()
) -> Activation:
    """What the daemon's changes need: nothing without a daemon, a reload, or one restart for all.

    What is deferred needs nothing, and is not expected to be in effect. `defaults` are the engine's values of keys
    that are not set, by path; `files` what the plan edits.
    """
    all_changes = list(changes)
    changes = [one for one in all_changes if not one.deferred]
    later = {candidate.key(one): one for one in all_changes if one.deferred}
    daemon = next(iter(state.facts["daemon"].items()), None)
    if not all_changes or daemon is None or not daemon[1].evidence.get("running"):
        return Activation(config=daemon[0] if daemon else "")
    config, fact = daemon
    keys = {tokens(one.path)[0] for one in changes}
    restart = any(one.disruption >= Disruption.RESTART for one in changes)
    stale = fact.evidence.get("stale", False)
    known = fact.document.keys() if stale is True else set(stale or [])
    pending = sorted((known - keys) | later.keys())
    to_live_restore = not candidate.no_reload(state, all_changes) and any(
        one.path == "/live-restore" and one.after_value is True and not one.flag for one in changes
    )
    live_restore = fact.evidence["live"].get("live-restore") is True
    # the bridge gets its options only at a start at which no container runs: live-restore would keep them
    bridge = "icc" in keys
    alive, lost = running(state), set(temporary(state))
    shown = (_shown(fact, one) for one in changes)
    systemd = state.about.get("init") == "systemd"
    return Activation(
        action="restart" if restart else "reload" if changes else "none",
        config=config,
        reload_first=restart and to_live_restore and not bridge,
        awaited=any(one.activation for one in changes),
        stop=tuple(reversed(alive)) if restart and live_restore and bridge else (),
        start=tuple(one for one in alive if one not in lost and not _task(state, one)) if restart else (),
        started=fact.evidence.get("started", 0.0),
        pending=() if restart else tuple(pending),
        systemd=systemd,
        docker=docker(state),
        expect=tuple(one for one in shown if one is not None),
        defaults={
            candidate.key(one): defaults[one.path]
            for one in changes
            if not one.had_before and one.path in defaults and candidate.key(one) in RELOADABLE
        },
        sources=tuple(one.path for one in files if one.path in fact.evidence["start"]["files"]),
        manager=bool(state.about.get("manager")),
        temporary=tuple(sorted(lost)),
        reload_units=restart and systemd and _units_changed(fact, files),
        validate=candidate.validate(state, all_changes)[0],
        deferred=tuple(_shown(fact, one) or {"key": key} for key, one in later.items()),
    )
