"""How the daemon takes up its new configuration, with the least disruption."""

from __future__ import annotations

from collections.abc import Iterable

from ..model import Change, Disruption, HostState
from ..patch import get, tokens
from .model import Activation


def running(state: HostState) -> list[str]:
    """The containers that run now, in the order in which they were started."""
    facts = state.facts.get("container", {})
    alive = [name for name, fact in facts.items() if fact.evidence.get("state", {}).get("Running")]
    return sorted(alive, key=lambda name: (facts[name].evidence["state"]["StartedAt"], name))


def temporary(state: HostState) -> list[str]:
    """The running containers that the engine removes as soon as they stop."""
    facts = state.facts.get("container", {})
    return [one for one in running(state) if get(facts[one].document, "/HostConfig/AutoRemove") is True]


def docker(state: HostState) -> tuple[str, ...]:
    """The words that begin a docker command on this host: its socket may be another than the default one."""
    sockets = state.about["paths"].get("{socket}", [])
    return ("docker",) if not sockets or "/run/docker.sock" in sockets else ("docker", "-H", f"unix://{sockets[0]}")


def decide(state: HostState, changes: Iterable[Change]) -> Activation:
    """What the daemon's changes need: nothing without a daemon, a reload, or one restart for all."""
    changes = list(changes)
    daemon = next(iter(state.facts["daemon"].items()), None)
    if not changes or daemon is None or not daemon[1].evidence.get("running"):
        return Activation(config=daemon[0] if daemon else "")
    config, fact = daemon
    keys = {tokens(one.path)[0] for one in changes}
    restart = any(one.disruption >= Disruption.RESTART for one in changes)
    stale = fact.evidence.get("stale", False)
    pending = sorted(fact.document.keys() - keys) if stale is True else stale or []
    to_live_restore = any(one.path == "/live-restore" and one.after_value is True for one in changes)
    live_restore = fact.evidence["live"].get("live-restore") is True
    # the bridge gets its options only at a start at which no container runs: live-restore would keep them
    bridge = "icc" in keys
    alive, lost = running(state), set(temporary(state))
    return Activation(
        action="restart" if restart else "reload",
        config=config,
        reload_first=restart and to_live_restore and not bridge,
        confirm_live_restore=to_live_restore and not (restart and bridge),
        awaited=any(one.activation for one in changes),
        stop=tuple(reversed(alive)) if restart and live_restore and bridge else (),
        start=tuple(one for one in alive if one not in lost) if restart else (),
        started=fact.evidence.get("started", 0.0),
        pending=() if restart else tuple(pending),
        systemd=state.about.get("init") == "systemd",
        docker=docker(state),
    )
