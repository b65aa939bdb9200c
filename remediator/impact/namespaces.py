"""The host's namespaces: what a container that shares them does with them, as far as it shows."""

from __future__ import annotations

from ..model import Change
from .verdict import Verdict, breaks, ruled_out, some, unknown
from .view import View


def pid(change: Change, view: View) -> Verdict:
    """Without the host's processes it sees its own alone."""
    own = view.containers[change.resource]
    files = own.processes.get("host_files", [])
    spaces = own.processes.get("spaces", [])
    shown = [f"it looks at processes of the host ({some(files)})"] if files else []
    shown += [f"its processes have entered namespaces of others ({some(spaces)})"] if spaces else []
    return breaks(*shown) if shown else unknown("whether it looks at the host's processes now and then")


def ipc(change: Change, view: View) -> Verdict:
    """Shared memory, semaphores and queues of the host are no longer its own."""
    own = view.containers[change.resource]
    if not own.processes or "sysv" not in view.surroundings:
        return unknown(f"{own.unseen}: what it shares is not known")
    shared = own.processes.get("shared", [])
    if shared:
        return breaks(f"it has {some(shared)} of the host open")
    objects, files = view.surroundings["sysv"], view.surroundings.get("shared_files", [])
    if not objects and not files:
        if view.watched(own):
            return ruled_out("the host has no shared memory, semaphore or queue that it could use")
        return unknown(f"the host has nothing to share yet, but it has run for {own.age:.0f} seconds only")
    return unknown(f"whether it uses what the host shares ({some(files or [str(one[0]) for one in objects])})")


def uts(change: Change, view: View) -> Verdict:
    """It gets a name of its own, but on the host's network, where the engine gives it the host's."""
    own = view.containers[change.resource]
    if own.host.get("NetworkMode") == "host":
        return ruled_out("on the host's network it keeps the host's name")
    return breaks("it goes by the host's name now, and would by its own identity in what it logs and reports")


def userns(_change: Change, view: View) -> Verdict:
    """Without userns-remap the setting does nothing."""
    if not view.live("userns-remap") and not view.daemon("userns-remap", ""):
        return ruled_out("userns-remap is off: the setting does nothing")
    return breaks("userns-remap is on: its volumes would belong to other users")
