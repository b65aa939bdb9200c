"""The part of the probe that reads a container's cgroup: what it uses of memory, tasks and CPU.

Standard library only and Python 3.8, like the probe.
"""

from __future__ import annotations

import os
from typing import Any

_MOST_TASKS = 400  # processes looked at in one container


def text(path: str, limit: int = 65536) -> str:
    """A small file of the kernel's; "" where it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # much quicker than a file object, and there are many
    except OSError:
        return ""
    try:
        data = os.read(descriptor, limit)
        while len(data) < limit:
            more = os.read(descriptor, limit - len(data))
            if not more:
                break
            data += more
    except OSError:
        return ""
    finally:
        os.close(descriptor)
    return data.decode("utf-8", "replace")


def _number(path: str) -> int:
    word = text(path, 64).strip()
    return int(word) if word.isdigit() else 0


def _first(*paths: str) -> int:
    return next((number for number in map(_number, paths) if number), 0)


def fields(path: str) -> dict[str, int]:
    """A file of lines `name number`."""
    found = {}
    for line in text(path).splitlines():
        name, _, number = line.partition(" ")
        if number.strip().isdigit():
            found[name] = int(number)
    return found


def groups(pid: int) -> dict[str, str]:
    """The directories of a process's cgroups by controller; "" stands for version 2."""
    found = {}
    for line in text("/proc/%d/cgroup" % pid).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for name in controllers.split(","):
            found[name] = ("/sys/fs/cgroup/%s%s/" % (name, path)) if name else "/sys/fs/cgroup%s/" % path
    return found


def tasks(pid: int, where: dict[str, str]) -> list[int]:
    """The processes of a container, those of cgroups below its own among them; at least the first one."""
    for name in ("pids", "memory", "name=systemd", ""):
        if name not in where:
            continue
        found = []
        for folder, names, _ in os.walk(where[name]):
            found += [int(one) for one in text(folder + "/cgroup.procs").split() if one.isdigit() and one != "0"]
            if len(found) >= _MOST_TASKS:
                names[:] = []
        if pid in found:
            return [pid] + [one for one in found if one != pid][: _MOST_TASKS - 1]
    return [pid]


def measure(where: dict[str, str]) -> dict[str, Any]:
    """Memory in bytes (of it what is file cache), its peak and limit, OOM kills, tasks and their peak, CPU seconds."""
    v2 = where.get("", "/nowhere/")
    memory, pids = where.get("memory", v2), where.get("pids", v2)
    found: dict[str, Any] = {
        "memory": _first(memory + "memory.usage_in_bytes", v2 + "memory.current"),
        "memory_peak": _first(memory + "memory.max_usage_in_bytes", v2 + "memory.peak"),
        "memory_limit": _first(memory + "memory.limit_in_bytes", v2 + "memory.max"),
        "pids": _first(pids + "pids.current"),
    }
    stat = fields(memory + "memory.stat")
    if stat:
        kept = ("total_inactive_file", "total_active_file") if "total_rss" in stat else ("inactive_file", "active_file")
        found["memory_cache"] = sum(stat.get(key, 0) for key in kept)
    kills = {**fields(memory + "memory.oom_control"), **fields(memory + "memory.events")}
    found["oom_kills"] = kills.get("oom_kill", 0)
    peak = text(pids + "pids.peak", 64).strip()
    if peak.isdigit():  # Linux 6.1 and newer
        found["pids_peak"] = int(peak)
    accounted = _number(where.get("cpuacct", "/nowhere/") + "cpuacct.usage") / 1e9
    cpu = fields(where.get("cpu", v2) + "cpu.stat")
    found["cpu_seconds"] = round(accounted or cpu.get("usage_usec", 0) / 1e6, 1)
    found["cpu_throttled"] = cpu.get("nr_throttled", 0)
    return found
