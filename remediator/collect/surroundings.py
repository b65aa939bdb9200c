"""The part of the probe that looks at the host around the containers: load, swap, who else uses what is theirs.

Standard library only and Python 3.8, like the probe.
"""

from __future__ import annotations

import os
import re
import time
from typing import Any

from . import sockets
from .usage import text

_LOG = re.compile(r"[0-9a-f]{64}-json\.log(\.\d+)?$")
_SECONDS = 0.3  # for looking at the open files of all processes


def log_readers(daemon_names: tuple[str, ...] = ("dockerd",)) -> list[str] | None:
    """The names of the processes that have a container's log file open, but for the engine; None: no time."""
    end = time.monotonic() + _SECONDS
    found = set()
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        if time.monotonic() > end:
            return None
        try:
            names = os.listdir("/proc/%s/fd" % entry)
        except OSError:
            continue
        for name in names[:1024]:
            try:
                target = os.readlink("/proc/%s/fd/%s" % (entry, name))
            except OSError:
                continue
            if _LOG.search(target):
                found.add(text("/proc/%s/comm" % entry, 64).strip())
    return sorted(found - set(daemon_names))


def _sysv() -> list[list[Any]]:
    """The System V objects of the host's own namespace, as [kind, processes that made or last used them]."""
    found: list[list[Any]] = []
    for kind in ("shm", "sem", "msg"):
        lines = text("/proc/sysvipc/" + kind, 262144).splitlines()
        names = lines[0].split() if lines else []
        columns = [at for at, name in enumerate(names) if name in ("cpid", "lpid", "lspid", "lrpid")]
        for line in lines[1:]:
            words = line.split()
            found.append([kind, sorted({int(words[at]) for at in columns if at < len(words)})])
    return found[:200]


def _files(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))[:50]
    except OSError:
        return []


def _swap() -> int:
    match = re.search(r"SwapTotal:\s+(\d+) kB", text("/proc/meminfo"))
    return int(match.group(1)) * 1024 if match else 0


def look(containers: list[str], open_sockets: list[tuple[Any, ...]]) -> dict[str, Any]:
    """The host's addresses, its connections to containers and over loopback, load of 15 minutes, swap in bytes.

    `containers` are the addresses of all of them, `open_sockets` the host's. `neighbours` is how many the kernel
    remembers, which it begins to forget from `neighbours_kept` on (Linux: net/core/neighbour.c,
    neigh_periodic_work).
    """
    addresses = sockets.host_addresses()
    _, flows = sockets.connections(open_sockets)
    near = set(addresses) | set(containers)
    load = text("/proc/loadavg").split()
    statistics = text("/proc/net/stat/arp_cache").splitlines()
    return {
        "addresses": addresses,
        "peers": [one for one in flows if one[3] in near],
        "tracked": sockets.tracked(containers),
        "neighbours": int(statistics[1].split()[0], 16) if len(statistics) > 1 else 0,
        "neighbours_kept": int(text("/proc/sys/net/ipv4/neigh/default/gc_thresh1").strip() or 0),
        "load": float(load[2]) if len(load) > 2 else 0.0,
        "swap": _swap(),
        "log_readers": log_readers(),
        "sysv": _sysv(),
        "shared_files": _files("/dev/shm") + _files("/dev/mqueue"),
    }
