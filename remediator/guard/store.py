"""The guard's own directory: the lock, the open run, and a directory a run with backups and journal."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
import time
from contextlib import contextmanager
from typing import Any, Iterator  # noqa: UP035 - Python 3.8

from .files import Document, GuardError, read_bytes, read_json, sync, write_file

KEEP_RUNS = 20  # closed runs whose backups are kept ...
KEEP_DAYS = 90  # ... and for how long
BUSY = 120.0  # seconds to wait for another guard on this host


def boot_id() -> str:
    """What tells this boot of the host from others."""
    return (read_bytes("/proc/sys/kernel/random/boot_id") or b"").decode("ascii").strip()


def uptime() -> float:
    """Seconds since the boot, also those in which the host slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def seconds_left(known: Document) -> float:
    """How long an open run still has to be confirmed; none where it is being taken back, or over a boot."""
    return 0.0 if known.get("undo") or known["boot"] != boot_id() else max(0.0, known["deadline"] - uptime())


class Store:
    """The guard's directory: the lock, the open run, and a directory a run with backups and journal."""

    def __init__(self, home: str) -> None:
        self.home = home

    def prepare(self) -> None:
        """Make the directory (0700); raises GuardError where others could write to it."""
        for path in (os.path.dirname(self.home), self.home):
            try:
                if not os.path.lexists(path):
                    os.makedirs(path, 0o700, exist_ok=True)
                info = os.lstat(path)
            except OSError as error:
                raise GuardError("%s: %s" % (path, (error.strerror or str(error)).lower())) from error
            if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o022:
                raise GuardError(path + ": is not a directory that its owner alone can write to")
            if stat.S_IMODE(info.st_mode) & 0o077:
                os.chmod(path, 0o700)

    @contextmanager
    def locked(self, wait: float = BUSY) -> Iterator[None]:
        """Let one guard at a time work on this host; the kernel frees the lock when its holder dies."""
        self.prepare()
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(os.path.join(self.home, "lock"), flags, 0o600)
        deadline = time.monotonic() + wait
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        raise GuardError("another run is changing this host; wait for it to end") from None
                    time.sleep(0.1)
            yield
        finally:
            os.close(descriptor)

    def current(self) -> Document:
        """The open run, or None: {run, plan, control, root, deadline, boot, undo}.

        The deadline is in seconds since the boot of that id, which no change of the clock moves; `undo` says why
        the run is being taken back.
        """
        return read_json(os.path.join(self.home, "current.json"))

    def open(self, document: Document) -> None:
        """Say which run is open, and until when."""
        write_file(os.path.join(self.home, "current.json"), json.dumps(document).encode())

    def close(self) -> None:
        """No run is open any more."""
        try:
            os.unlink(os.path.join(self.home, "current.json"))
        except FileNotFoundError:
            return
        sync(self.home)

    def run(self, name: str) -> Run:
        """A run of this host; raises GuardError for a name that could be a path."""
        if not name or "/" in name or name.startswith("."):
            raise GuardError("%r is not the name of a run" % name)
        return Run(os.path.join(self.home, name), name)

    def _names(self) -> list[str]:
        names = os.listdir(self.home) if os.path.isdir(self.home) else []
        return [one for one in names if os.path.isdir(os.path.join(self.home, one))]

    def _runs(self) -> list[Run]:
        return [Run(os.path.join(self.home, name), name) for name in sorted(self._names())]

    def is_last(self, run: Run) -> bool:
        """Whether no run was begun after this one ended."""
        ended = (run.result or {}).get("at", 0.0)
        others = [one for one in self._runs() if one.name != run.name]
        return not any((read_json(one.file("before.json")) or {"at": 0.0})["at"] > ended for one in others)

    def used(self, plan: str, name: str) -> str:
        """The name of another run than that of a name that applied a plan to its end; "" for none."""
        for run in self._runs():
            same = (read_json(run.file("request.json")) or {}).get("plan") == plan
            if same and run.name != name and run.has("confirm"):
                return run.name
        return ""

    def confirmed(self) -> list[Run]:
        """The runs that were confirmed, of those that are kept."""
        return [run for run in self._runs() if (run.result or {}).get("outcome") == "confirmed"]

    def prune(self) -> None:
        """Remove the backups of old runs, by number and by age."""
        known = self.current() or {}
        old = time.time() - KEEP_DAYS * 86400
        for index, name in enumerate(sorted(self._names(), reverse=True)):
            path = os.path.join(self.home, name)
            if name != known.get("run") and (index >= KEEP_RUNS or os.lstat(path).st_mtime < old):
                shutil.rmtree(path, ignore_errors=True)


class Run:
    """One run: what was asked for, how the host was, the journal, and how it ended."""

    def __init__(self, path: str, name: str) -> None:
        self.path, self.name = path, name

    def file(self, *names: str) -> str:
        return os.path.join(self.path, *names)

    @property
    def request(self) -> Document:
        """What the run is to do."""
        found = read_json(self.file("request.json"))
        if found is None:
            raise GuardError("run %s: this host has no backups of it" % self.name)
        return found

    @property
    def before(self) -> Document:
        """How the host was when the run began."""
        found = read_json(self.file("before.json"))
        if found is None:
            raise GuardError("run %s: it did not get to begin" % self.name)
        return found

    @property
    def result(self) -> Document:
        """How the run ended: {outcome: confirmed or undone, reason, changed, left, errors}; None while it is open."""
        return read_json(self.file("result.json"))

    def end(self, outcome: str, **more: Any) -> Document:
        """Say how the run ended."""
        document = dict({"outcome": outcome, "run": self.name, "at": time.time()}, **more)
        write_file(self.file("result.json"), json.dumps(document).encode())
        return document

    def note(self, step: str, state: str, **more: Any) -> None:
        """A line of the journal: what will be done (will), or was done (did); on disk when this returns."""
        line = json.dumps(dict({"at": round(time.time(), 3), "step": step, "state": state}, **more)) + "\n"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        path = self.file("journal.jsonl")
        descriptor = os.open(path, flags, 0o600)
        size = os.fstat(descriptor).st_size
        try:
            left = line.encode()
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        except OSError as error:
            os.ftruncate(descriptor, size)  # of a full disk: half a line would spoil the next one
            error.filename = path  # a write tells none
            raise
        finally:
            os.close(descriptor)

    def remember(self, step: str, state: str, **more: Any) -> None:
        """A line of the journal on the way back, which a full disk does not stop."""
        try:
            self.note(step, state, **more)
        except OSError:
            pass

    def journal(self) -> list[Document]:
        """The lines of the journal; one that was cut short by a crash is left out."""
        lines = (read_bytes(self.file("journal.jsonl")) or b"").decode("utf-8", "replace").splitlines()
        found = []
        for line in lines:
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def has(self, step: str) -> bool:
        """Whether a step was at least about to be done."""
        return any(one["step"] == step for one in self.journal())

    def did(self, step: str) -> bool:
        """Whether a step was done to its end."""
        return any(one["step"] == step and one["state"] == "did" for one in self.journal())

    @property
    def began(self) -> bool:
        """Whether it got so far that anything can have been changed."""
        return read_json(self.file("request.json")) is not None and read_json(self.file("before.json")) is not None
