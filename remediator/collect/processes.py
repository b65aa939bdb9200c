"""The part of the probe that looks at a container's processes from outside, by way of /proc.

Standard library only and Python 3.8, like the probe. Environments and command lines are not read.
"""

from __future__ import annotations

import os
import stat
from typing import Any

from .usage import text

_SIGTERM = 15
_MOST_FILES = 256  # open files looked at in one process
_MOST_TOLD = 20
_SPACES = ("mnt", "net", "pid", "user")
# what the engine gives every container, and what a terminal is
_PLAIN_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/console",
                  "/dev/ptmx", "/dev/pts/", "/dev/shm/", "/dev/mqueue/", "/dev/fd/")  # fmt: skip
_ENGINE_MOUNTS = ("/proc", "/sys", "/dev", "/etc/resolv.conf", "/etc/hostname", "/etc/hosts", "/run/secrets",
                  "/run/.containerenv")  # fmt: skip


def status(pid: int) -> dict[str, str]:
    """/proc/PID/status by field; {} where there is no such process."""
    lines = (one.partition(":") for one in text("/proc/%d/status" % pid).splitlines())
    return {name: value.strip() for name, _, value in lines}


def space(pid: int, kind: str) -> str:
    """What identifies a namespace of a process; "" where it is not to be seen."""
    try:
        return os.readlink("/proc/%d/ns/%s" % (pid, kind))
    except OSError:
        return ""


def _setuid(pid: int) -> bool:
    """Whether a process runs a setuid or setgid program; only the program's mode is looked at."""
    try:
        mode = os.stat("/proc/%d/exe" % pid).st_mode
    except OSError:
        return False
    return bool(mode & stat.S_ISUID) or mode & (stat.S_ISGID | stat.S_IXGRP) == stat.S_ISGID | stat.S_IXGRP


def _opened(pid: int) -> list[str]:
    found = []
    try:
        names = os.listdir("/proc/%d/fd" % pid)[:_MOST_FILES]
    except OSError:
        return []
    for name in ["fd/" + one for one in names] + ["cwd"]:
        try:
            found.append(os.readlink("/proc/%d/%s" % (pid, name)))
        except OSError:
            continue
    return found


def _scheduled(pid: int) -> bool:
    """Whether a process has a priority or policy that takes a capability: nice below 0, or real time."""
    words = text("/proc/%d/stat" % pid).rpartition(")")[2].split()
    return len(words) > 38 and (int(words[16]) < 0 or words[38] in ("1", "2", "6"))


def _kilobytes(value: str) -> int:
    word = value.split(" ")[0]
    return int(word) * 1024 if word.isdigit() else 0


class _Seen:
    """What the processes of one container are, put together one by one."""

    def __init__(self, first: int, own: set[int]) -> None:
        self._first, self._own = first, own
        self._spaces = {kind: space(first, kind) for kind in _SPACES}
        self._uids: dict[int, int] = {}
        self.sets: dict[str, set[str]] = {
            name: set()
            for name in ("setuid", "risen", "devices", "traced", "spaces", "host_files", "shared", "scheduled")
        }
        self.sockets: set[str] = set()
        self.first: dict[str, str] = {}
        self.capabilities = self.permitted = self.handles = 0
        self.peak = self.locked = 0

    def add(self, pid: int) -> None:
        seen = status(pid)
        if "Uid" not in seen:
            return
        if pid == self._first:
            self.first = seen
        name = seen.get("Name", "")
        real, effective = (int(one) for one in seen["Uid"].split()[:2])
        self._uids[pid] = effective
        parent = self._uids.get(int(seen.get("PPid", 0)))
        if real != effective or (_setuid(pid) and parent not in (None, effective)):
            self.sets["setuid"].add(name)
        if effective == 0 and parent not in (None, 0):
            self.sets["risen"].add(name)
        self.capabilities |= int(seen.get("CapEff", "0"), 16)
        self.permitted |= int(seen.get("CapPrm", "0"), 16)
        self.handles = max(self.handles, int(seen.get("FDSize", 0)))
        self.peak += max(_kilobytes(seen.get("VmHWM", "")) - _kilobytes(seen.get("RssFile", "")), 0)
        self.locked += _kilobytes(seen.get("VmLck", ""))
        if int(seen.get("TracerPid", 0)) in self._own:
            self.sets["traced"].add(name)
        if pid != self._first:
            apart = (kind for kind in _SPACES if space(pid, kind) not in ("", self._spaces[kind]))
            self.sets["spaces"].update(apart)
        if _scheduled(pid):
            self.sets["scheduled"].add(name)
        self._files(pid)

    def _files(self, pid: int) -> None:
        for target in _opened(pid):
            if target.startswith("/dev/shm/") or target.startswith("/dev/mqueue/"):
                self.sets["shared"].add(target)
            elif target.startswith("/dev/") and not target.startswith(_PLAIN_DEVICES):
                self.sets["devices"].add(target)
            elif target.startswith("socket:["):
                self.sockets.add(target[8:-1])
            elif target.startswith("/proc/"):
                number = target.split("/")[2]
                if number.isdigit() and int(number) not in self._own:
                    self.sets["host_files"].add("/proc/" + number)

    @property
    def uids(self) -> list[int]:
        return sorted(set(self._uids.values()))[:_MOST_TOLD]


def own_mounts(pid: int, given: list[str]) -> list[str]:
    """Where file systems are mounted in a container that the engine did not mount: made from inside."""
    found = []
    below = tuple(one.rstrip("/") + "/" for one in (*_ENGINE_MOUNTS, *given))
    for line in text("/proc/%d/mountinfo" % pid, 262144).splitlines():
        words = line.split(" ", 5)
        if len(words) > 4 and words[4] != "/" and not (words[4] + "/").startswith(below):
            found.append(words[4])
    return sorted(set(found))[:_MOST_TOLD]


def look(pid: int, pids: list[int], given: list[str]) -> dict[str, Any]:
    """What the processes of a container do with privileges, devices and namespaces, as it shows now.

    `given` are the paths at which the engine mounted something. Capabilities are masks in hexadecimal digits;
    own_users says that the first process is in another user namespace than the host's; sockets are inodes;
    memory_peak is the sum of the processes' peaks without files, in bytes; handles the most files that one of
    them had room for so far.
    """
    seen = _Seen(pid, set(pids))
    for one in pids:
        seen.add(one)
    first = seen.first
    bit = 1 << (_SIGTERM - 1)
    return {
        "count": len(pids),
        "uids": seen.uids,
        "capabilities": "%x" % seen.capabilities,
        "permitted": "%x" % seen.permitted,
        "bounding": first.get("CapBnd", "0").lstrip("0"),
        "no_new_privileges": first.get("NoNewPrivs") == "1",
        "own_users": space(pid, "user") not in ("", space(os.getpid(), "user")),
        "handles_sigterm": bool(int(first.get("SigCgt", "0"), 16) & bit),
        "handles": seen.handles,
        "sockets": seen.sockets,
        "memory_peak": seen.peak,
        "locked": seen.locked,
        "mounts": own_mounts(pid, given),
        **{name: sorted(some)[:_MOST_TOLD] for name, some in seen.sets.items()},
    }
