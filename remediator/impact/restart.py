"""Restarts: of the daemon, which stops containers without live-restore, and the policy that brings them back."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from ..model import Change
from .verdict import Verdict, breaks, ruled_out, some, unknown
from .view import Container, View

_STOP: Final = 10  # seconds that the engine waits before it kills; moby: container/container.go, defaultStopTimeout


def _ignores(one: Container) -> bool:
    """Whether a stop has to wait for the kill: the first process has no handler, and defaults do not hold for it."""
    if one.state.get("StopSignal", "SIGTERM") not in ("SIGTERM", "15", "TERM"):
        return False
    return one.processes.get("handles_sigterm") is False


@lru_cache(maxsize=1)
def stops(view: View) -> tuple[str, ...]:
    """What a restart of the daemon does to the containers: which stop, for how long, which stay down."""
    if view.live("live-restore") is True or not view.running:
        return ()
    slow = {one.name: one.state.get("StopTimeout") or _STOP for one in view.running if _ignores(one)}
    told = [f"a restart of the daemon stops {some([one.name for one in view.running])}"]
    if slow:
        longest = max(slow, key=lambda name: slow[name])
        told.append(f"the slowest is {longest}, which does not listen to SIGTERM: {slow[longest]} seconds")
    if down := [one.name for one in view.running if not _returns(one)]:
        told.append(f"these do not come back by themselves, and are started again: {some(down)}")
    return tuple(told)


def lost(view: View) -> Verdict:
    """What a restart of the daemon takes away for good: what runs with --rm, as soon as it stops."""
    names = [one.name for one in view.running if one.host.get("AutoRemove") is True]
    if not names:
        return Verdict()
    if view.live("live-restore") is True:
        return unknown(f"whether the restart removes {some(names)}, which run with --rm: some engines do")
    return breaks(f"the restart removes {some(names)} for good, since they run with --rm")


def _returns(one: Container) -> bool:
    policy = (one.host.get("RestartPolicy") or {}).get("Name", "")
    return policy in ("always", "unless-stopped") or (policy == "on-failure" and _ignores(one))


def policy(change: Change, view: View) -> Verdict:
    """on-failure brings nothing back that ends well, also when a restart of daemon or host asks it to."""
    own = view.containers[change.resource]
    count = own.state.get("RestartCount", 0)
    after = change.after if isinstance(change.after, dict) else {}
    before = change.before if isinstance(change.before, dict) else {}
    if after.get("Name") != "on-failure":
        return unknown("what another policy does here")
    cut = []
    if count and (before.get("Name") != "on-failure" or count >= after.get("MaximumRetryCount", 0)):
        cut.append(f"it has ended and been started again {count} times since it was created")
    if not cut and not own.processes:
        return unknown(f"{own.unseen}: how it ends is not known")
    if before.get("Name") in ("always", "unless-stopped") and not _ignores(own):
        cut.append("its first process ends by itself when asked to: it may stay down after a restart of daemon or host")
    if cut:
        return breaks(*cut)
    if not view.watched(own):
        return unknown(f"it has not ended yet, but has run for {own.age:.0f} seconds only")
    return ruled_out(f"it has not ended {view.since(own)}, and is killed, which counts as a failure, when stopped")
