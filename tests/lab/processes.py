"""Finding and ending processes: only by what they belong to, never by a name."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """One process; its start time tells it from a later one with the same pid."""

    pid: int
    start: int

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The process that has this pid now."""
        fields = _stat(pid)
        return cls(pid, int(fields[19])) if fields else None

    def alive(self) -> bool:
        """Whether this very process still runs; one that only waits to be reaped does not."""
        fields = _stat(self.pid)
        return bool(fields) and int(fields[19]) == self.start and fields[0] not in "ZX"

    def end(self) -> None:
        """Kill it, if it is still the same."""
        if self.alive():
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third (state) on; none when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def everyone() -> Iterator[int]:
    """All pids of the machine."""
    return (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())


def in_namespace(kind: str, identity: tuple[int, int]) -> list[Process]:
    """The processes inside a namespace (`net`, `pid`, ...), given as device and inode."""
    inside = (pid for pid in everyone() if namespace(f"/proc/{pid}/ns/{kind}") == identity)
    return [process for pid in inside if (process := Process.of(pid))]


def that_were_given(path: str) -> list[Process]:
    """The processes with a word in their command line that begins like this path."""
    found = []
    for pid in everyone():
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if any(word.startswith(path.encode()) for word in words) and (process := Process.of(pid)):
                found.append(process)
    return found


def end_all(found: list[Process]) -> bool:
    """Kill these; True when none of them lived any more."""
    living = [process for process in found if process.alive()]
    for process in living:
        process.end()
    return not living


def namespace(path: Path | str) -> tuple[int, int] | None:
    """What identifies the namespace behind a file."""
    try:
        seen = Path(path).stat()
    except OSError:
        return None
    return seen.st_dev, seen.st_ino


def is_first(pid: int) -> bool:
    """Whether it is PID 1 of a pid namespace directly below ours."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    line = next((line for line in status.splitlines() if line.startswith("NSpid:")), "")
    return line.split()[2:] == ["1"]


def until(condition: Callable[[], bool], timeout: float, pause: float = 0.02) -> bool:
    """Wait for a condition; False when the time was too short."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True


def descendants(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for one in found:
        try:
            for task in Path(f"/proc/{one}/task").glob("*/children"):
                found += [int(child) for child in task.read_text().split()]
        except OSError:
            continue  # ended by now
    return found


def kill(pids: Iterable[int]) -> None:
    """kill -9, of those that are still there."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
