"""Settings of the daemon that are written now, disturb nothing, and take effect when it is next started.

They are for what needs more disruption than is allowed. Until then they are pending activation, and no one's work:
no plan reloads or restarts the daemon for them that may not do so, and nothing says that they are in effect.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from ..model import Change, Disruption, Finding, HostState
from . import candidate
from .activation import running

# any reload takes these up some time after it, and without the plugin the daemon refuses every request
_NOT_LATER: Final = ("authorization-plugins",)


def _live_restore(state: HostState, changes: Iterable[Change] = ()) -> bool:
    """Whether containers will outlive the daemon that runs: by what is on now, or what changes switch on at once."""
    for one in changes:
        if candidate.key(one) == "live-restore" and not one.deferred:
            return one.after_value is True
    return candidate.daemon(state)[1].evidence["live"].get("live-restore") is True


def _bridge_waits(key: str, state: HostState, changes: Iterable[Change] = ()) -> bool:
    """Whether a key takes effect at no start as long as any container runs, which it does over the start."""
    return key == "icc" and _live_restore(state, changes)


def until(key: str, state: HostState, changes: Iterable[Change] = ()) -> str:
    """When a key that is written takes effect, beside what changes do at once: "until ...".

    A daemon that starts while any container runs leaves the bridge as it is (see conflicts.adjusted).
    """
    if not _bridge_waits(key, state, changes):
        return "the daemon is next started"
    alive = running(state)
    if not alive:
        return "the daemon is next started while no container runs"
    return f"these next stop and the daemon is started: {', '.join(alive)}"


def deferred(found: Finding, most: Disruption, state: HostState) -> Finding | None:
    """The finding with what disturbs more than allowed written and left pending; None where that cannot be."""
    if found.kind != "daemon" or not candidate.daemon(state)[1].evidence.get("running"):
        return None
    for one in found.changes:
        if one.activation or one.blocked or one.disruption >= Disruption.MIGRATE or candidate.key(one) in _NOT_LATER:
            return None
    if not any(one.disruption > most for one in found.changes):
        return None
    changes = tuple(
        msgspec.structs.replace(one, disruption=Disruption.NONE, deferred=until(candidate.key(one), state))
        for one in found.changes
    )
    return msgspec.structs.replace(found, changes=changes)


def other_way(found: Finding, most: Disruption, state: HostState, offered: bool) -> str:
    """What to add to the reason why a finding needs more disruption: the way without it, or that it was gone already.

    `offered` says that the policy has not chosen the former, which is told where no restart that is allowed helps.
    """
    key = candidate.key(found.changes[0])
    if found.pending and key:
        return f"; already written, and pending until {until(key, state)}"
    helps = offered and _bridge_waits(key, state) and running(state)
    if not helps or deferred(found, most, state) is None:
        return ""
    return "; or --defer, which writes it and leaves it pending until they next stop and the daemon is started"


def together(chosen: Sequence[Finding], state: HostState) -> list[Finding]:
    """The findings, of which those that are deferred say when they take effect beside the others."""
    changes = [one for found in chosen for one in found.changes if found.kind == "daemon"]

    def told(one: Change) -> Change:
        if not one.deferred:
            return one
        return msgspec.structs.replace(one, deferred=until(candidate.key(one), state, changes))

    return [
        msgspec.structs.replace(found, changes=tuple(map(told, found.changes))) if found.kind == "daemon" else found
        for found in chosen
    ]


def refused(chosen: Sequence[Finding], state: HostState) -> list[tuple[Finding, str]]:
    """The deferred findings with which the daemon would not take up what the others reload, and why."""
    daemon = [found for found in chosen if found.kind == "daemon"]
    later = [found for found in daemon if any(one.deferred for one in found.changes)]
    now = [one for found in daemon if found not in later for one in found.changes]
    if not now or any(one.disruption >= Disruption.RESTART for one in now):
        return []
    told = [(found, candidate.no_reload(state, [*now, *found.changes])) for found in later]
    return [(found, reason) for found, reason in told if reason]


def notes(changes: Iterable[Change]) -> list[str]:
    """What a reader should know of the deferred changes, in one sentence for all with the same end."""
    found: dict[str, list[str]] = {}
    for one in changes:
        if one.deferred:
            found.setdefault(one.deferred, []).append(candidate.key(one))
    return [
        f"{', '.join(dict.fromkeys(keys))}: written, and NOT in effect until {when}" for when, keys in found.items()
    ]
