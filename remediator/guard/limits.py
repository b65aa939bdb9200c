"""The limits of running containers, on the way back."""

from __future__ import annotations

from typing import Any

from .engine import Engine
from .files import Document, Report
from .store import Run

# docker update's options by HostConfig key
OPTIONS = {
    "Memory": "--memory", "MemorySwap": "--memory-swap", "CpuShares": "--cpu-shares", "PidsLimit": "--pids-limit",
}  # fmt: skip


def settable(key: str, value: Any, memory: int) -> Any:
    """A limit that `docker update` can set for one that it cannot: the engine takes none away."""
    if key == "Memory" and not value:
        return memory // 2**20 * 2**20
    if key == "MemorySwap" and not value:
        return 2 * (memory // 2**20 * 2**20)
    if key == "PidsLimit" and not value:
        return -1
    return 1024 if key == "CpuShares" and not value else value


def options(values: dict[str, Any]) -> list[str]:
    """HostConfig values as arguments of `docker update`."""
    found = []
    for key, value in values.items():
        if key == "RestartPolicy":
            retries = ":%d" % value["MaximumRetryCount"] if value["MaximumRetryCount"] else ""
            found.append("--restart=%s%s" % (value["Name"] or "no", retries))
        else:
            found.append("%s=%s" % (OPTIONS[key], value))
    return found


def _is_back(key: str, now: Any, was: Any, memory: int) -> bool:
    """Whether a limit is what it was, or as near to it as the engine can be told."""
    return now in (was, settable(key, was, memory)) or (key == "PidsLimit" and not was and now in (None, 0, -1))


def undo_limits(run: Run, engine: Engine, before: Document, told: Report) -> None:
    """Set the limits that containers had, as far as they still are the ones that the run set."""
    for one in run.request["updates"]:
        found = engine.containers(list(one["names"]))
        for name in one["names"]:
            if name not in before["limits"]:
                continue
            if name not in found:
                told["left"].append("container %s: is gone" % name)
                continue
            was = {key: before["limits"][name].get(key) for key in one["values"]}
            now = found[name]["HostConfig"]
            off = [key for key in was if not _is_back(key, now.get(key), was[key], before["memory"])]
            # which the engine sets as well where only the memory is given
            swap = now.get("Memory") in (
                one["values"].get("Memory"),
                settable("Memory", was.get("Memory"), before["memory"]),
            )
            wanted = {}
            for key, value in one["values"].items():
                if key not in off:
                    continue
                if now.get(key) == value or (key == "MemorySwap" and swap):
                    wanted[key] = settable(key, was[key], before["memory"])
                else:
                    told["left"].append("container %s: %s was changed by someone else after the run" % (name, key))
            if not wanted:
                continue
            code, _, error = engine.docker("update", *options(wanted), name)
            if code:
                told["errors"].append("docker update %s: %s" % (name, error))
            else:
                told["changed"].append("set %s of %s" % (" ".join(options(wanted)), name))
