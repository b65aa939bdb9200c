"""Memory, tasks and CPU: what a container uses and has used, against the limit it would get."""

from __future__ import annotations

from typing import Final

from ..model import Change
from .verdict import Verdict, breaks, ruled_out, unknown
from .view import View

_ROOM: Final = 1.25  # a limit has room where it is this many times the peak
_MIB: Final = 2**20


def _mib(number: float) -> str:
    return f"{number / _MIB:.0f} MiB"


def memory(change: Change, view: View) -> Verdict:
    """A container that needs more than its limit is killed; what is file cache the kernel takes back instead."""
    own, limit = view.containers[change.resource], change.after
    live, cache = own.live, own.live.get("memory_cache", 0)
    if not own.running or not live.get("memory") or not isinstance(limit, int):
        return unknown("it does not run: its use is not known")
    kills = live.get("oom_kills", 0)
    told = (f"the kernel has killed {kills} of its processes for want of memory",) if kills else ()
    swap = view.surroundings.get("swap", 0) if view.state.about.get("swap_limit", True) else 0
    allowed = limit + min(limit, swap)
    needed = live["memory"] - cache
    peak = live.get("memory_peak", 0)
    processes = own.processes.get("memory_peak", 0)
    if needed > allowed:
        return breaks(f"it uses {_mib(needed)} that cannot be given back, and may have {_mib(allowed)}", told=told)
    if processes > allowed:
        return breaks(f"its processes have needed {_mib(processes)}, and may have {_mib(allowed)}", told=told)
    if peak - cache > allowed:
        return breaks(f"it has used {_mib(peak)} at its peak, and may have {_mib(allowed)}", told=told)
    if peak > limit:
        return unknown(f"its peak of {_mib(peak)} is above the limit, and may have been file cache", told=told)
    if peak * _ROOM > limit:
        return unknown(f"its peak of {_mib(peak)} is {100 * peak // limit} % of the limit: little room", told=told)
    if not view.watched(own):
        return unknown(f"it has run for {own.age:.0f} seconds only: its peak may be still to come", told=told)
    return ruled_out(f"it has used {_mib(peak)} at most {view.since(own)}, of {_mib(limit)}", told=told)


def pids(change: Change, view: View) -> Verdict:
    """A container at its limit can start no process and no thread."""
    own, limit = view.containers[change.resource], change.after
    now, peak = own.live.get("pids", 0), own.live.get("pids_peak", 0)
    if not own.running or not now or not isinstance(limit, int):
        return unknown("it does not run: its use is not known")
    if max(now, peak) > limit:
        return breaks(f"it has run {max(now, peak)} tasks at once, and may have {limit}")
    if not peak:
        return unknown(f"it runs {now} tasks; this kernel keeps no peak")
    if peak * _ROOM > limit:
        return unknown(f"its peak of {peak} tasks is {100 * peak // limit} % of the limit: little room")
    if not view.watched(own):
        return unknown(f"it has run for {own.age:.0f} seconds only: its peak may be still to come")
    return ruled_out(f"it has run {peak} tasks at most {view.since(own)}, of {limit}")


def cpu(change: Change, view: View) -> Verdict:
    """A lower weight counts only while the CPUs are busy."""
    own = view.containers[change.resource]
    processors, load = view.state.about.get("processors", 0), view.surroundings.get("load")
    if not own.running or not processors or load is None:
        return unknown("how busy the host is, or the container, is not known")
    used = own.live.get("cpu_seconds", 0) / own.age if own.age else 0.0
    told = (f"it has used {100 * used:.0f} % of one CPU so far, of {processors}",)
    if load > processors / 2:
        return unknown(f"the load of the host is {load:g} on {processors} CPUs: it may get less", told=told)
    if not view.watched(own):
        return unknown(f"it has run for {own.age:.0f} seconds only", told=told)
    return ruled_out(f"the load of the host is {load:g} on {processors} CPUs", told=told)
