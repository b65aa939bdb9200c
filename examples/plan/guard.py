"""The guard: runs on the host that is changed, keeps a journal of the change, proves it, and takes it back.

A change of a host is a run. `begin` looks whether the host is what the plan was made for, keeps what will be
replaced and how the containers are, arms the dead-man's switch, and opens the run; files are then written by
others, and `activate` makes the engine take them up. `confirm` proves that everything that worked still does, and
closes the run; whatever fails, and a run that nobody confirms in time or over a boot, is taken back by `undo`.
What is done is written to the journal before (will) and after (did), so that any of them can go on from any point.

It travels as one file and runs with the host's own python: standard library only, Python 3.8, in modules that
are put together here. Names are therefore unique over all of them.
"""

from __future__ import annotations

"""Files as the guard reads and writes them: whole or not at all, no link followed."""


import base64
import errno
import grp
import hashlib
import json
import os
import pwd
import re
import stat
import tempfile
from typing import Any

Document = Any
Report = Any  # {"changed": [...], "left": [...], "errors": [...]}
TEMPORARY = ".guard-"  # how the names of files begin that are being written
COPY = re.compile(r"tmp[a-z0-9_]{8}")  # ansible names its copies so


class GuardError(Exception):
    """What went wrong, for the person who reads it."""


def sync(path: str) -> None:
    """See to it that a file or directory is on disk, so that it is still there after the power was cut."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return  # there is none by now
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # a file system that cannot
    finally:
        os.close(descriptor)


def write_file(path: str, data: bytes, mode: int = 0o600) -> None:
    """Write a file of the guard's own, whole or not at all, and on disk when this returns."""
    put_file(path, data, {"mode": mode, "uid": os.geteuid(), "gid": os.getegid()})


def put_file(path: str, data: bytes, like: dict[str, Any], mtime: int | None = None) -> None:
    """Put a file of the host in its place, whole or not at all, with mode, owner and extended attributes `like`.

    mtime: nanoseconds since the epoch; without it the time is now.
    """
    descriptor, name = tempfile.mkstemp(dir=os.path.dirname(path), prefix=TEMPORARY)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if (like["uid"], like["gid"]) != (os.geteuid(), os.getegid()):
                os.fchown(descriptor, like["uid"], like["gid"])
            os.fchmod(descriptor, like["mode"])
            for key, value in like.get("xattrs", {}).items():
                try:
                    os.setxattr(descriptor, key, base64.b64decode(value))
                except OSError:
                    continue  # such as a label that the file system itself gives
            if mtime is not None:
                os.utime(descriptor, ns=(mtime, mtime))
            os.fsync(descriptor)
        os.rename(name, path)
        sync(os.path.dirname(path))
    except BaseException as error:
        if os.path.lexists(name):
            os.unlink(name)
        if isinstance(error, OSError):
            error.filename = path  # a write tells none
        raise


def copies(directory: str) -> list[str]:
    """The names of files that may be copies under way: ansible's copy calls them so, and leaves them when it fails."""
    try:
        with os.scandir(directory) as found:
            return sorted(one.name for one in found if COPY.fullmatch(one.name) and one.is_file(follow_symlinks=False))
    except OSError:
        return []


def sweep(directory: str, known: list[str]) -> None:
    """Remove what was not written to its end by a guard that was killed, or by a copy; only for who holds the lock.

    `known` are copies of others: that were there before or, where the run has ended, all.
    """
    try:
        left = [name for name in os.listdir(directory) if name.startswith(TEMPORARY)]
        for name in [*left, *(one for one in copies(directory) if one not in known)]:
            os.unlink(os.path.join(directory, name))
    except OSError:
        pass  # nothing is harmed by it


def missing(directory: str) -> list[str]:
    """The directories that would have to be made for one to be there."""
    found = []
    while not os.path.isdir(directory):
        found.append(directory)
        directory = os.path.dirname(directory)
    return found


def read_json(path: str) -> Document:
    """The document in a file; None where there is none that can be read."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def read_bytes(path: str) -> bytes | None:
    """The bytes of a regular file, None where there is none; raises GuardError for anything else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = "is a link" if error.errno == errno.ELOOP else (error.strerror or str(error)).lower()
        raise GuardError(path + ": " + reason) from error
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise GuardError(path + ": is no file")
        return file.read()


def sha256(data: bytes | None) -> str:
    """The SHA-256 of bytes; "" for none."""
    return "" if data is None else hashlib.sha256(data).hexdigest()


def join(pieces: list[Any], text: str) -> str:
    """The text that pieces make: strings, and [start, end] slices of another text."""
    return "".join(one if isinstance(one, str) else text[one[0] : one[1]] for one in pieces)


def attributes(path: str) -> dict[str, Any] | None:
    """Mode, owner, time and extended attributes of what stands at a path; None where nothing does."""
    try:
        info = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    found: dict[str, Any] = {
        "mode": stat.S_IMODE(info.st_mode),
        "uid": info.st_uid,
        "gid": info.st_gid,
        "mtime": info.st_mtime_ns,
        "xattrs": {},
    }
    try:
        for name in os.listxattr(path, follow_symlinks=False):
            value = os.getxattr(path, name, follow_symlinks=False)
            found["xattrs"][name] = base64.b64encode(value).decode("ascii")
    except OSError:
        pass  # a file system without them
    return found


def owner_ids(owner: str) -> tuple[int, int]:
    """The numbers of "user:group"; -1 for one that is not given or not known."""
    user, _, group = owner.partition(":")
    try:
        uid = int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid if user else -1
        gid = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid if group else -1
    except KeyError:
        return -1, -1
    return uid, gid


def same_attributes(now: dict[str, Any] | None, wanted: dict[str, Any]) -> bool:
    """Whether mode and owner are the wanted ones; {mode: octal digits or "", owner: "user:group" or ""}."""
    if now is None:
        return True
    uid, gid = owner_ids(wanted["owner"])
    mode = int(wanted["mode"], 8) if wanted["mode"] else now["mode"]
    return (mode, uid if uid >= 0 else now["uid"], gid if gid >= 0 else now["gid"]) == (
        now["mode"],
        now["uid"],
        now["gid"],
    )


"""The guard's own directory: the lock, the open run, and a directory a run with backups and journal."""


import fcntl
import json
import os
import shutil
import stat
import time
from contextlib import contextmanager
from typing import Any, Iterator  # noqa: UP035 - Python 3.8


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


"""The engine of this host behind its command line, and the service that runs it."""


import json
import os
import re
import signal
import subprocess
import tempfile
import time


PID_FILE = "/run/docker.pid"


class HangsError(GuardError):
    """A daemon that neither starts nor ends."""


def call(argv: list[str], timeout: float) -> tuple[int, str, str]:
    """Run a program: its return code, output and errors; 124 where it took longer than `timeout` seconds.

    Output goes to files: a daemon that it starts would keep a pipe open.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, timeout=timeout, check=False)
            code = done.returncode
        except subprocess.TimeoutExpired:
            code = 124
        except OSError as error:
            return 127, "", "%s: %s" % (argv[0], (error.strerror or str(error)).lower())
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace").strip())
    if code == 124 and not texts[1]:
        texts[1] = "%s did not end within %d seconds" % (" ".join(argv[:3]), timeout)
    return code, texts[0], texts[1]


def unit_word(word: str) -> str:
    """A word of a command line as a unit has it: quoted, with no variable or specifier of systemd's in it."""
    for one, other in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$"), ("\n", "\\n")):
        word = word.replace(one, other)
    return '"%s"' % word


class Engine:
    """The engine of this host, behind its command line, and the service that runs it."""

    def __init__(self, request: Document) -> None:
        activation = request["activation"]
        self._docker = list(activation["docker"])
        self.systemd = bool(activation["systemd"])
        self.patience = min(120.0, max(60.0, float(request["limit"])))  # seconds for a stop and a start

    def docker(self, *words: str, timeout: float = 60.0) -> tuple[int, str, str]:
        """Run the docker command."""
        return call([*self._docker, *words], timeout)

    def stop(self, names: list[str]) -> str:
        """Stop containers, all at the same time; what the engine says against it, where any of them still runs."""
        if not names:
            return ""
        patience = max(60.0 + 15 * len(names), self._longest_stop() + 30)
        code, _, told = self.docker("stop", *names, timeout=patience)
        if code and any(one["State"]["Running"] for one in self.containers(names).values()):
            return "docker stop: " + told
        return ""

    def _longest_stop(self) -> float:
        """How long the containers that run may take to end, in seconds, as they were told when they were made."""
        if self.info() is None:
            return 0.0  # and is not asked again, which takes its time where the daemon hangs
        try:
            return max([float(one["Config"].get("StopTimeout") or 10) for one in self.containers().values()], default=0)
        except GuardError:
            return 0.0

    def info(self, timeout: float = 10.0) -> Document:
        """The engine's document about itself; None where it does not answer."""
        code, out, _ = self.docker("info", "--format", "{{json .}}", timeout=timeout)
        try:
            found = json.loads(out) if code == 0 else None
        except ValueError:
            return None
        return None if not found or found.get("ServerErrors") else found

    def bridge(self) -> Document:
        """The document of the default bridge; {} without one."""
        code, out, _ = self.docker("network", "inspect", "bridge")
        return json.loads(out)[0] if code == 0 else {}

    def containers(self, identities: list[str] | None = None) -> dict[str, Document]:
        """The documents of containers by name: of all that run, or of the named ones that are there.

        Raises GuardError where the engine does not say: none is not the same as not known.
        """
        if identities is None:
            code, out, told = self.docker("ps", "--quiet", "--no-trunc")
            if code:
                raise GuardError("docker ps: " + told)
            identities = out.split()
        if not identities:
            return {}
        code, out, told = self.docker("inspect", "--type", "container", *identities)
        if code and not all("no such" in line.lower() for line in told.splitlines() or [""]):
            raise GuardError("docker inspect: " + told)
        try:
            return {one["Name"].lstrip("/"): one for one in json.loads(out or "[]")}
        except ValueError as error:
            raise GuardError("docker inspect: gave no document") from error

    def process(self) -> int:
        """The process of the daemon; 0 without one."""
        try:
            with open(PID_FILE, encoding="ascii") as file:
                pid = int(file.read())
            with open("/proc/%d/comm" % pid, encoding="utf-8") as file:
                return pid if file.read().strip() == "dockerd" else 0
        except (OSError, ValueError):
            return 0

    def words(self) -> list[str]:
        """The command line of the daemon that runs; none without one."""
        try:
            with open("/proc/%d/cmdline" % (self.process() or -1), encoding="utf-8") as file:
                return file.read().rstrip("\0").split("\0")
        except (OSError, ValueError):
            return []

    def started(self) -> int:
        """What tells the daemon that runs from others, whatever the clock says: its PID file's time; 0 without one."""
        try:
            return os.stat(PID_FILE).st_mtime_ns if self.process() else 0
        except OSError:
            return 0

    def wait(self, patience: float) -> Document:
        """Wait until the engine answers; None where it does not within the time."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            found = self.info(timeout=min(10.0, patience))
            if found is not None:
                return found
            time.sleep(0.2)
        return None

    def reload(self) -> None:
        """Make the daemon read its configuration again (SIGHUP)."""
        pid = self.process()
        if not pid:
            raise GuardError("there is no running daemon to reload")
        try:
            os.kill(pid, signal.SIGHUP)
        except ProcessLookupError as error:
            raise GuardError("the daemon ended before it could be reloaded") from error

    def _systemctl(self, *words: str, timeout: float = 60.0) -> tuple[int, str, str]:
        return call(["systemctl", *words], timeout)

    def reread(self) -> None:
        """Make systemd read its units anew."""
        self._systemctl("daemon-reload")

    def property(self, name: str, unit: str = "docker.service") -> str:
        """What systemd says of a unit."""
        return self._systemctl("show", "--property=" + name, unit)[1].partition("=")[2]

    def masked(self) -> list[str]:
        """The units for which systemd would refuse to start the daemon."""
        if not self.systemd:
            return []
        needed = [one for name in ("Requires", "BindsTo") for one in self.property(name).split()]
        return [one for one in ["docker.service", *needed] if self.property("LoadState", one) == "masked"]

    def settle(self, patience: float) -> None:
        """Wait until a start that is under way has ended, well or not; only so long."""
        deadline = time.monotonic() + patience
        while self.systemd and time.monotonic() < deadline:
            if self.property("ActiveState") not in ("activating", "deactivating", "reloading"):
                return
            time.sleep(0.3)

    def restart(self, units: bool = False) -> None:
        """Restart the daemon and wait until it answers; raises GuardError where it does not.

        Counters of starts are reset before: systemd counts those that succeeded as well.
        """
        patience = max(self.patience, self._longest_stop() + 30)
        if self.systemd:
            if units:
                self.reread()
            if self.property("ActiveState") in ("activating", "deactivating"):  # it hangs, and would until it is ended
                self._systemctl("kill", "--signal=KILL", "docker.service")
            self._systemctl("reset-failed", "docker.service", "docker.socket")
            code, _, told = self._systemctl("restart", "docker.service", timeout=patience)
        else:
            code, _, told = call(["service", "docker", "restart"], patience)
        if code == 124:
            raise HangsError("the daemon did not start within %d seconds" % patience)
        if code:
            raise GuardError("the daemon did not start: " + (self._why() or told))
        if self.wait(self.patience) is None:
            raise GuardError("the daemon started and does not answer: " + self._why())

    def _why(self) -> str:
        if not self.systemd:
            return ""
        words = ["journalctl", "--unit=docker.service", "--output=cat", "--lines=30", "--no-pager"]
        lines = [one for one in call(words, 10)[1].splitlines() if not re.search("level=(debug|info|warning)", one)]
        told = [one for one in lines if re.search("failed|unable|error|fatal", one.lower())]
        own = [one for one in told if not one.startswith(("docker.service", "Failed to start docker"))]
        ended = [one for one in lines if "exited, code=" in one]  # of a check before the start, or without a word
        return (own or ended or [""])[-1][-500:]


def start(run: Run, engine: Engine, names: list[str]) -> list[str]:
    """Start those containers that do not run, in their order; what could not be started comes back."""
    running = engine.containers(list(names)) if names else {}
    idle = [one for one in names if one in running and not running[one]["State"]["Running"]]
    failed = []
    for name in idle:
        run.remember("start", "will", names=[name])
        code, _, told = engine.docker("start", name)
        if code and "already exists" in told:
            _forget_task(running[name]["Id"])
            code, _, told = engine.docker("start", name)
        if code:
            failed.append("container %s cannot be started: %s" % (name, told))
    return failed


def pause(run: Run, engine: Engine, containers: Document) -> list[str]:
    """Pause again those of a portrait that were paused and have been started since; what could not be comes back.

    A plain restart of the daemon lets them go on and end, and whoever starts them does not pause them.
    """
    names = [name for name, one in containers.items() if one.get("paused")]
    failed = []
    for name, one in (engine.containers(names) if names else {}).items():
        state, was = one["State"], containers[name]
        anew = one["Id"] == was["id"] and state["StartedAt"] != was["started"]
        if anew and state["Running"] and not state.get("Paused"):
            run.remember("pause", "will", names=[name])
            code, _, told = engine.docker("pause", name)
            failed += ["container %s cannot be paused: %s" % (name, told)] if code else []
    return failed


def _forget_task(identity: str) -> None:
    """Remove what containerd still holds of a container that the engine knows to have ended.

    A daemon that was ended before its containers were leaves it, and then refuses to start the container.
    """
    for address in ("/run/containerd/containerd.sock", "/run/docker/containerd/containerd.sock"):
        if os.path.exists(address):
            call(["ctr", "--address", address, "--namespace", "moby", "tasks", "delete", "--force", identity], 30)


"""What a host is against what a run is to do there."""


import os
from typing import Any



def look_at_file(one: Document) -> Document:
    """One file to be edited as it is: state is before, after or other; mode, uid and gid it has or will have.

    What is `apart` cannot be predicted by others: its text stays here, or its directory is not there yet.
    """
    data = read_bytes(one["path"])
    digest, after = sha256(data), one["after"]
    if one["masked"] and data is not None:
        text = data.decode("utf-8")
        if digest == one["before"]:
            after = sha256(join(one["pieces"], text).encode())
        elif sha256(join(one["inverse"], text).encode()) == one["before"]:
            after = digest
    state = "before" if digest == one["before"] else "after" if digest == after else "other"
    now = attributes(one["path"]) if data is not None else None
    return {
        "index": one["index"],
        "path": one["path"],
        "state": state,
        "after": after,
        "mode": "%04o" % now["mode"] if now else one["mode"],
        "uid": now["uid"] if now else os.geteuid(),
        "gid": now["gid"] if now else os.getegid(),
        "source": one["source"],
        "apart": one["masked"] or not os.path.isdir(os.path.dirname(one["path"])),
    }


def differing(engine: Engine, updates: list[Document]) -> list[Document]:
    """The sets of limits that some of their containers do not have yet."""
    if not updates:
        return []
    found = engine.containers([name for one in updates for name in one["names"]])
    left = []
    for one in updates:
        names = [name for name in one["names"] if name in found and not has_values(found[name], one["values"])]
        if names:
            left.append(dict(one, names=names))
    return left


def has_values(container: Document, values: dict[str, Any]) -> bool:
    """Whether a container has these HostConfig values."""
    return all(container["HostConfig"].get(key) == value for key, value in values.items())


def rules_are_behind() -> bool:
    """Whether the audit rules were edited since they were compiled."""
    _, out, err = call(["augenrules", "--check"], 60)
    return "should be updated" in out + err


def must_activate(request: Document, files: list[Document]) -> bool:
    """Whether the daemon has to take up its configuration: it is edited now, or younger than what it has read."""
    activation = request["activation"]
    if activation["action"] == "none":
        return False
    watched = sorted({activation["config"], *activation["sources"]})
    if any(one["path"] in watched and one["state"] == "before" for one in files):
        return True
    changed = max(_written(path) for path in watched)
    started, reloaded = _written(PID_FILE), _written(os.path.join(request["state"], "activation.json"))
    since = started if activation["action"] == "restart" else max(started, reloaded)
    return changed > since or (activation["awaited"] and since <= activation["seen"])


def _written(path: str) -> float:
    """When a file was written, in seconds since the epoch; 0 for none."""
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def what_to_do(
    request: Document, files: list[Document], engine: Engine, recreates: list[Document], left: Document
) -> Document:
    """What a run would do besides writing files, as data and as sentences; `left` is what one did not finish."""
    rules = request["load_audit_rules"] and (
        left["rules"]
        or any(one["state"] == "before" and one["path"].startswith("/etc/audit/") for one in files)
        or rules_are_behind()
    )
    updates = differing(engine, request["updates"])
    activate = left["activate"] or must_activate(request, files)
    edited = [one["path"] for one in files if one["state"] == "before"]
    activation = request["activation"]
    deferred = activation["action"] == "none" and bool(activation["deferred"])
    deferred = deferred and (left["deferred"] or activation["config"] in edited)
    checks = left["checks"] or [one for one in request["checks"] if not set(edited).isdisjoint(one["files"])]
    known = [one["label"] for one in recreates]
    recreates = [*recreates, *(one for one in left["recreates"] if one["label"] not in known)]
    told = ["check the files of %s" % one["label"] for one in checks]
    told += ["load the audit rules"] if rules else []
    told += ["set %s of %s" % (one["label"], ", ".join(one["names"])) for one in updates]
    if activate and activation["action"] == "reload":
        told.append("reload the daemon")
    if activate and activation["action"] == "restart":
        told += ["reload the daemon"] if activation["reload_first"] else []
        told += ["stop " + ", ".join(activation["stop"])] if activation["stop"] else []
        told.append("restart the daemon")
        told += ["start " + ", ".join(activation["start"])] if activation["start"] else []
    if activation["deferred"] and (activate or deferred):
        keys = ", ".join(one["key"] for one in activation["deferred"])
        told.append("leave %s pending until the daemon is started later" % keys)
    told += ["create anew by %s: %s" % (one["label"], ", ".join(one["containers"])) for one in recreates]
    what = {"checks": checks, "rules": rules, "updates": updates, "activate": activate, "recreates": recreates}
    return dict(what, deferred=deferred, told=told)


"""What worked before, and whether it still does."""


import calendar
import json
import socket
import time
from typing import Any


SILENT = "the daemon does not answer"
LATELY = 600.0  # seconds: what was started anew by the engine since is not steady
LOOKS = 3  # a second apart, after a restart: what was started may end only then
LOOPBACK = ("127.0.0.0/8", "::1/128")  # registries there are insecure to every engine; not all of them say so


def endpoints(container: Document) -> list[list[Any]]:
    """The published TCP ports of a container as [address, port]; the one of IPv6 only where there is no other."""
    found: dict[int, list[str]] = {}
    for port, bindings in ((container.get("NetworkSettings") or {}).get("Ports") or {}).items():
        for one in bindings or [] if port.endswith("/tcp") else []:
            address = one.get("HostIp") or "0.0.0.0"  # noqa: S104 - what the engine says, not what is bound here
            everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
            found.setdefault(int(one["HostPort"]), []).append(everywhere.get(address, address))
    return [
        [address, port]
        for port, some in found.items()
        for address in ([one for one in dict.fromkeys(some) if one != "::1"] or ["::1"])
    ]


def answers(address: str, port: int) -> bool:
    """Whether something takes connections there, and does not end them at once.

    The engine's proxy takes them for every published port, and ends them where nobody listens in the container.
    """
    try:
        with socket.create_connection((address, port), timeout=1) as connection:
            connection.settimeout(0.3)
            try:
                return bool(connection.recv(1))
            except socket.timeout:  # noqa: UP041 - Python 3.8
                return True
    except OSError:
        return False


def _steady(one: Document) -> bool:
    """Whether a container runs on, and is not one that the engine has to start again and again."""
    state = one["State"]
    started = calendar.timegm(time.strptime(state["StartedAt"][:19], "%Y-%m-%dT%H:%M:%S"))
    return not state.get("Restarting") and not (one.get("RestartCount") and time.time() - started < LATELY)


def first_answer(container: Document) -> float:
    """How long the health check of a container may take to tell for the first time, in seconds; 0 without one.

    The first one begins an interval after the start; moby's defaults are 30 seconds for that and for the answer.
    """
    check = container["Config"].get("Healthcheck") or {}
    if not check.get("Test") or check["Test"] == ["NONE"]:
        return 0.0
    times = (check.get("StartPeriod") or 0, check.get("Interval") or 30e9, check.get("Timeout") or 30e9)
    return sum(float(one) for one in times) / 1e9


def is_temporary(container: Document) -> bool:
    """Whether the engine removes a container as soon as it ends (--rm)."""
    return bool(container["HostConfig"].get("AutoRemove"))


def is_task(container: Document) -> bool:
    """Whether a container is a task of a swarm, which runs it here or elsewhere."""
    return "com.docker.swarm.task.id" in (container["Config"].get("Labels") or {})


def portrait(engine: Engine) -> Document:
    """The running containers by name, in the order of their starts, and which published ports answer.

    One that is paused tells nothing of its health, and its ports take connections by the kernel alone.
    """
    running = engine.containers()
    ordered = sorted(running.items(), key=lambda one: (one[1]["State"]["StartedAt"], one[0]))
    containers = {}
    for name, one in ordered:
        state = one["State"]
        paused = bool(state.get("Paused"))
        containers[name] = {
            "id": one["Id"],
            "pid": state["Pid"],
            "started": state["StartedAt"],
            "restarts": one.get("RestartCount", 0),
            "steady": _steady(one),
            "paused": paused,
            "health": "" if paused else (state.get("Health") or {}).get("Status", ""),
            "first_answer": first_answer(one),
            "temporary": is_temporary(one),
            "task": is_task(one),
            "networks": sorted((one.get("NetworkSettings") or {}).get("Networks") or {}),
            "ports": [] if paused else [pair for pair in endpoints(one) if answers(pair[0], pair[1])],
        }
    return containers


def point(document: Document, pointer: str) -> Any:
    """The value at a JSON Pointer, or None."""
    for key in pointer.split("/")[1:]:
        key = key.replace("~1", "/").replace("~0", "~")
        if not isinstance(document, dict) or key not in document:
            return None
        document = document[key]
    return document


def _insecure(info: Document) -> list[str]:
    """The registries that the engine uses without checking them, of which it tells in two places."""
    known = info.get("RegistryConfig") or {}
    names = [name for name, one in (known.get("IndexConfigs") or {}).items() if not one.get("Secure", True)]
    return sorted(set(known.get("InsecureRegistryCIDRs") or []).difference(LOOPBACK)) + sorted(names)


def effects(engine: Engine, info: Document, wanted: list[Document]) -> list[Any]:
    """What the engine shows of settings: the value at each one's pointer, or whether the list there `holds` a word."""
    documents = {"info": dict(info, InsecureRegistries=_insecure(info)), "bridge": {}}
    if any(one["from"] == "bridge" for one in wanted):
        documents["bridge"] = engine.bridge()
    found = [point(documents[one["from"]], one["pointer"]) for one in wanted]
    return [one["holds"] in (seen or []) if one.get("holds") else seen for one, seen in zip(wanted, found)]


def not_in_effect(engine: Engine, expected: list[Document]) -> list[str]:
    """Which settings the engine does not do as expected: those of `effects`, each with its key and value."""
    info = engine.info()
    if info is None:
        return [SILENT]
    told = []
    for one, seen in zip(expected, effects(engine, info, expected)):
        if seen != one["value"]:
            what = "%s: %s" % (one["key"], one["holds"]) if one.get("holds") else one["key"]
            told.append("%s: the engine does %s, not %s" % (what, json.dumps(seen), json.dumps(one["value"])))
    return told


def anew(request: Document) -> dict[str, bool]:
    """The containers that their owners create anew, and whether they get other names by it."""
    return {name: one["owner"] == "swarm" for one in request["recreates"] for name in one["containers"]}


def _started_again(name: str, was: int, now: int) -> list[str]:
    """That the engine had to start a container again; it counts anew where somebody restarts one."""
    times = now - was if now >= was else now
    often = "once" if times == 1 else "%d times" % times
    return ["container %s was started again %s by the engine since" % (name, often)] if times else []


def problems(
    engine: Engine, request: Document, before: Document, expected: list[Document], restarted: bool, kept: bool
) -> tuple[list[str], Document]:
    """What is not as it was before, or not in effect as expected; and by what a later look tells a container's restart.

    `kept`: nothing was stopped, so that the engine still counts the starts that it counted before.
    """
    made = anew(request)
    found = not_in_effect(engine, expected)
    starts: Document = {}
    if SILENT in found:
        return found, starts
    wanted = [name if name in made else one["id"] for name, one in before["containers"].items()]
    try:
        now = engine.containers(wanted)
    except GuardError as error:
        return [*found, str(error)], starts
    by_id = {one["Id"]: one for one in now.values()}
    for name, was in before["containers"].items():
        one = now.get(name) if name in made else by_id.get(was["id"])
        if was["temporary"] or was["task"] or made.get(name):
            continue
        if one is None:
            found.append("container %s is gone" % name)
            continue
        if not was["steady"]:
            continue  # it ends again and again, and did before
        state = one["State"]
        if not state["Running"]:
            again = state["StartedAt"] != was["started"]
            ended = not state["ExitCode"] and not state.get("OOMKilled") and (again or not restarted)
            policy = (one["HostConfig"].get("RestartPolicy") or {}).get("Name")
            if restarted and policy in ("always", "unless-stopped"):  # a daemon that died has the next one stop it
                ended = False
            if not ended:  # not by itself
                found.append("container %s ran before and is %s" % (name, state["Status"]))
            continue
        if state.get("Restarting"):
            found.append("container %s keeps restarting" % name)
        if was.get("paused") and state["StartedAt"] != was["started"] and not state.get("Paused"):
            found.append("container %s was paused and runs" % name)
        starts[name] = [state["Pid"], state["StartedAt"], one.get("RestartCount", 0)]
        if kept and name not in made:
            found += _started_again(name, was["restarts"], one.get("RestartCount", 0))
        health = (state.get("Health") or {}).get("Status", "")
        if was["health"] == "healthy" and health != "healthy":
            found.append("container %s was healthy and is %s" % (name, health))
        if name in made:
            continue  # its networks and ports may be what is changed
        found += [
            "%s:%d, published by container %s, no longer answers" % (pair[0], pair[1], name)
            for pair in was["ports"]
            if not answers(pair[0], pair[1])
        ]
        if lost := set(was["networks"]) - set((one.get("NetworkSettings") or {}).get("Networks") or {}):
            found.append("container %s is no longer on %s" % (name, ", ".join(sorted(lost))))
    return found, starts


def prove(
    engine: Engine,
    request: Document,
    before: Document,
    expected: list[Document],
    restarted: bool,
    kept: bool = False,
) -> list[str]:
    """Wait until all is as it was and in effect as expected, after a restart at some looks a second apart.

    Between these no container may be started again: a restart of the daemon resets the engine's own count. Returns
    what is not so when the time is over; for `kept` see `problems`.
    """
    healthy = [one.get("first_answer", 0.0) for one in before["containers"].values() if one["health"] == "healthy"]
    patience = max([float(request["proof"]), *(one + 5 for one in healthy if restarted)])
    deadline = time.monotonic() + min(patience, LATELY)
    calm = 0
    last: Document = {}
    while True:
        found, starts = problems(engine, request, before, expected, restarted, kept)
        again = [name for name, one in starts.items() if last.get(name, one) != one]
        found += ["container %s does not run on: it was started again meanwhile" % name for name in again]
        calm, last = 0 if found else calm + 1, starts
        if calm >= (LOOKS if restarted else 1):
            return []
        if time.monotonic() > deadline:
            return found
        time.sleep(1.0 if calm else 0.3)


def await_effect(engine: Engine, expected: list[Document], after: str) -> None:
    """Wait until settings are in effect; raises GuardError where they are not within ten seconds."""
    deadline = time.monotonic() + 10
    while found := not_in_effect(engine, expected) if expected else []:
        if time.monotonic() > deadline:
            raise GuardError("after %s: %s" % (after, "; ".join(found)))
        time.sleep(0.2)


"""The dead-man's switch: the host takes a run back by itself unless somebody confirms it in time."""


import os
import shlex
import subprocess
import sys


UNITS = "/etc/systemd/system"
BOOT_UNIT = "remediator-guard-boot.service"
CRON_FILE = "/etc/cron.d/remediator-guard"  # without a dot, or Debian's cron does not read it
LOCAL_FILE = "/etc/local.d/remediator-guard.start"
SBIN = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # cron's own path is without sbin
SWITCH = "remediator-guard"  # the name of the transient timer and of what it starts
AGAIN = ["--property=Restart=on-failure", "--property=RestartSec=5"]  # a guard that is killed goes on


def on_systemd(root: str) -> bool:
    """Whether this host is run by systemd; a file tree is not."""
    return root == "/" and os.path.isdir("/run/systemd/system")


def arm(store: Store, run: Run, request: Document, reason: str = "") -> None:
    """See to it that the run is taken back unless it is confirmed in time, also after a boot.

    A transient timer of systemd, and a unit for the next boot; where there is no systemd a detached process, and
    files for cron and OpenRC. With a reason the run is being taken back, which then is to go on by itself. The run is
    open only once all of it stands; raises GuardError where it cannot stand.
    """
    try:
        _arm(store, run, request, reason)
    except (OSError, GuardError) as error:
        disarm(store, request["root"])
        raise GuardError("the dead-man's switch cannot be armed: %s" % error) from error


def _arm(store: Store, run: Run, request: Document, reason: str) -> None:
    words = [os.path.realpath(sys.executable), os.path.join(store.home, "guard.py")]  # of no environment that may go
    if on_systemd(request["root"]):
        _boot_unit(words)
        # one that waits in the loop of `expire` is of an older arming: who holds the lock is here
        call(["systemctl", "stop", SWITCH + ".timer", SWITCH + ".service"], 30)
        call(["systemctl", "reset-failed", SWITCH + ".service", SWITCH + ".timer"], 30)
        given = ["--unit=" + SWITCH, "--on-active=%d" % max(1, request["limit"]), "--timer-property=AccuracySec=100ms"]
        code, _, told = call(["systemd-run", *given, *AGAIN, *words, "expire", run.name], 30)
        if code:
            raise GuardError(told)
    elif request["root"] == "/" and not _boot_files(words):
        run.remember("arm", "did", left="a boot ends the switch: there is neither /etc/cron.d nor /etc/local.d")
    known = {"run": run.name, "plan": request["plan"], "control": request["control"], "root": request["root"]}
    store.open(dict(known, deadline=uptime() + request["limit"], boot=boot_id(), undo=reason))
    if request["root"] == "/" and not on_systemd("/"):
        subprocess.Popen(
            [*words, "expire", run.name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )


def _boot_unit(words: list[str]) -> None:
    # not after docker.service, which might hang at its start: the guard itself waits for it, and not for ever
    unit = (
        "[Unit]\nDescription=Take back a change of Docker that was not confirmed before the boot\n"
        "[Service]\nExecStart=%s boot\nRestart=on-failure\nRestartSec=5\n" % " ".join(unit_word(one) for one in words)
    )
    wants = os.path.join(UNITS, "multi-user.target.wants")
    os.makedirs(wants, 0o755, exist_ok=True)
    write_file(os.path.join(UNITS, BOOT_UNIT), unit.encode(), 0o644)
    link = os.path.join(wants, BOOT_UNIT)
    if not os.path.islink(link):
        os.symlink(os.path.join(UNITS, BOOT_UNIT), link)
        sync(wants)


def _boot_files(words: list[str]) -> bool:
    """Have cron and OpenRC start the guard at the next boot; whether this host has a directory of any of them.

    Both where there are both: /etc/cron.d is there without a cron as well, and who comes second finds nothing to do.
    """
    command = " ".join(shlex.quote(one) for one in [*words, "boot"])
    job = "SHELL=/bin/sh\nPATH=%s\n@reboot root %s\n" % (SBIN, command.replace("%", "\\%"))  # % is cron's end of a line
    script = "#!/bin/sh\nPATH=%s %s </dev/null >/dev/null 2>&1 &\n" % (SBIN, command)  # the boot does not wait for it
    found = False
    for path, text, mode in ((CRON_FILE, job, 0o644), (LOCAL_FILE, script, 0o755)):
        if os.path.isdir(os.path.dirname(path)):
            write_file(path, text.encode(), mode)
            found = True
    return found


def is_armed(root: str) -> bool:
    """Whether the timer waits, or what it has started does: it goes by the deadline of the open run."""
    units = [SWITCH + ".timer", SWITCH + ".service"] if on_systemd(root) else []
    return any(call(["systemctl", "is-active", "--quiet", one], 30)[0] == 0 for one in units)


def extend(store: Store, request: Document) -> None:
    """Count the time to confirm from now on."""
    known = store.current()
    if known is not None:
        store.open(dict(known, deadline=uptime() + request["limit"], boot=boot_id()))


def disarm(store: Store, root: str) -> None:
    """Nothing is to be taken back any more."""
    store.close()
    if root != "/":
        return
    link = os.path.join(UNITS, "multi-user.target.wants", BOOT_UNIT)
    for path in (link, os.path.join(UNITS, BOOT_UNIT), CRON_FILE, LOCAL_FILE):
        try:
            os.unlink(path)
        except OSError:
            pass  # not there, or not to be removed: it finds nothing to do
    if on_systemd(root):
        call(["systemctl", "stop", SWITCH + ".timer"], 30)


"""Containers that their owner creates anew: one service at a time, with a watch over each."""


import json
import time


STEADY = 3.0  # seconds for which a container without a health check has to run on
CREATING = 600.0  # seconds that an owner may take
READING = 60.0  # seconds that it may take to read its files


def to_recreate(store: Store, request: Document, files: list[Document], resumed: Run | None) -> list[Document]:
    """The steps that are still to be done: those of edited files, and others that no run of this plan has done."""
    journal = resumed.journal() if resumed is not None else []
    past = [one["label"] for one in journal if (one["step"], one["state"]) == ("recreate", "did")]
    before = {one["path"] for one in files if one["state"] == "before"}
    done = any(run.request["plan"] == request["plan"] for run in store.confirmed())
    return [
        one
        for one in request["recreates"]
        if before.intersection(one["files"]) or not (one["files"] or done or one["label"] in past)
    ]


def refusal(check: Document) -> str:
    """What an owner's own program says against its files; "" where it takes them."""
    code, _, told = call(check["words"], READING)
    return "%s: its files are refused: %s" % (check["label"], told or code) if code else ""


def recreate(run: Run, engine: Engine, one: Document) -> None:
    """Have an owner create its containers anew, and watch them; raises GuardError where they do not run steadily."""
    run.note("recreate", "will", label=one["label"], spec=_specs(engine, one)[0])
    for words in one["up"]:
        code, _, told = call(words, CREATING)
        if code:
            raise GuardError("%s: %s: %s" % (one["label"], " ".join(words[:3]), told))
    if one["owner"] != "swarm" and one["grace"]:  # which watches its tasks itself, and names them anew
        watch(engine, one)
    run.note("recreate", "did", label=one["label"])


def _specs(engine: Engine, one: Document) -> tuple[str, str]:
    """What tells the specification of a swarm's service from others, and that of its previous one; "" for none."""
    if one["owner"] != "swarm":
        return "", ""
    code, out, told = engine.docker("service", "inspect", "--format", "{{json .}}", one["up"][0][-1])
    if code:
        raise GuardError("%s: %s" % (one["label"], told))
    service = json.loads(out)
    texts = [json.dumps(service.get(key), sort_keys=True).encode() for key in ("Spec", "PreviousSpec")]
    return sha256(texts[0]), sha256(texts[1])


def watch(engine: Engine, one: Document) -> None:
    """Wait until the containers are healthy, or have run on for a while; raises GuardError where they are not."""
    begun = time.monotonic()
    since: float | None = None
    first: dict[str, str] = {}
    while True:
        found = engine.containers(list(one["containers"]))
        missing = [name for name in one["containers"] if name not in found]
        bad = ["%s is not there" % name for name in missing]
        waiting = False
        for name, container in found.items():
            state = container["State"]
            health = (state.get("Health") or {}).get("Status", "")
            if not state["Running"] or state.get("Restarting"):
                bad.append("%s is %s" % (name, state["Status"]))
            elif first.setdefault(name, state["StartedAt"]) != state["StartedAt"]:
                bad.append("%s keeps ending" % name)
                raise GuardError("%s: %s" % (one["label"], "; ".join(bad)))
            elif health == "unhealthy":
                bad.append("%s is unhealthy" % name)
            elif health == "starting":
                waiting = True
        if not bad and not waiting:
            since = since or time.monotonic()
            if time.monotonic() - since >= STEADY:
                return
        else:
            since = None
        slow = max([first_answer(container) + STEADY for container in found.values()], default=0.0)
        if time.monotonic() > begun + (one["grace"] if bad else max(one["grace"], slow)):
            raise GuardError("%s: %s" % (one["label"], "; ".join(bad) or "is not healthy in time"))
        time.sleep(0.3)


def back(run: Run, request: Document, engine: Engine, told: Report) -> None:
    """Have owners create anew, from the old definitions, what a run had them create.

    Not from definitions that are somebody else's by now. A service of a swarm goes back to its previous specification,
    which has to be the one of before the run: it is done once, and not where the run had not got to change it.
    """
    begun = {
        line["label"]: line.get("spec", "")
        for line in reversed(run.journal())
        if line["step"] == "recreate" and line["state"] == "will"
    }
    for one in request["recreates"]:
        if one["label"] not in begun:
            continue
        if any(line.startswith(path + ": ") for line in told["left"] for path in one["files"]):
            told["left"].append("%s: is as it was made last: its files were changed by someone else" % one["label"])
            continue
        if one["owner"] == "swarm":
            now, previous = _specs(engine, one)
            if now == begun[one["label"]]:
                continue
            if previous != begun[one["label"]]:
                told["left"].append("%s: was changed by someone else after the run" % one["label"])
                continue
        run.remember("recreate back", "will", label=one["label"])
        for words in one["undo"]:
            code, _, error = call(words, CREATING)
            if code:
                told["errors"].append("%s: %s: %s" % (one["label"], " ".join(words[:3]), error))


"""A swarm manager that is to be restarted: only with a quorum of the others, and with its tasks moved away before."""


import json
import time


MOVING = 120.0  # seconds that tasks may take to move to other nodes
SEEING = 30.0  # seconds until managers see each other
REJOINING = 60.0  # seconds that a manager may take to find the others after its start


def nodes(engine: Engine) -> list[Document]:
    """The nodes of the swarm: {ID, Self, Availability, Status, ManagerStatus: "" for a worker}.

    Raises GuardError where the swarm does not say, as one without a leader.
    """
    code, out, told = engine.docker("node", "ls", "--format", "{{json .}}")
    if code:
        raise GuardError("the swarm does not tell of its nodes: " + told)
    return [json.loads(line) for line in out.splitlines()]


def no_quorum(engine: Engine) -> str:
    """Why this manager must not go down now; "" where the others go on without it, or where it is the only one.

    One that was restarted just before is waited for: the others do not see at once that it is back.
    """
    deadline = time.monotonic() + SEEING
    while (reason := _lacking(engine)) and time.monotonic() < deadline:
        time.sleep(1.0)
    return reason


def _lacking(engine: Engine) -> str:
    """What is lacking to a majority without this manager: of all managers, reachable or not."""
    try:
        managers = [one for one in nodes(engine) if one["ManagerStatus"]]
    except GuardError as error:
        return str(error)
    others = [one for one in managers if not one["Self"] and one["ManagerStatus"] in ("Leader", "Reachable")]
    needed = len(managers) // 2 + 1
    if len(managers) < 2 or len(others) >= needed:
        return ""
    told = "while this manager restarts, %d of %d managers are reachable, and the swarm needs %d"
    return told % (len(others), len(managers), needed)


def unforeseen(activation: Document, info: Document) -> str:
    """What a swarm makes of the daemon's change that the plan could not know of; "" for nothing."""
    swarm = info.get("Swarm") or {}
    written = [*activation["expect"], *activation["deferred"]]
    if any(one["key"] == "live-restore" and one.get("value") is True for one in written) and swarm.get(
        "LocalNodeState"
    ) not in (None, "", "inactive"):
        return "the host is a node of a swarm by now, with which live-restore does not go"
    if activation["action"] == "restart" and swarm.get("ControlAvailable") and not activation["manager"]:
        return "the host is a manager of a swarm by now"
    spec = (swarm.get("Cluster") or {}).get("Spec") or {}
    if activation["action"] == "restart" and (spec.get("EncryptionConfig") or {}).get("AutoLockManagers"):
        return "the swarm is locked after a restart of this manager until somebody unlocks it (autolock)"
    return ""


def drain(run: Run, engine: Engine) -> None:
    """Have other nodes take over the tasks of this one, where there are such nodes.

    Raises GuardError where the swarm refuses it, or could not do without this manager by now.
    """
    found = nodes(engine)
    own = next((one for one in found if one["Self"]), None)
    free = [one for one in found if not one["Self"] and (one["Availability"], one["Status"]) == ("Active", "Ready")]
    if own is not None and own["Availability"] == "Active" and free:
        run.note("drain", "will")
        code, _, told = engine.docker("node", "update", "--availability", "drain", own["ID"])
        if code:
            raise GuardError("this node cannot be drained: " + told)
        deadline = time.monotonic() + MOVING
        asked = ("node", "ps", own["ID"], "--filter", "desired-state=running", "--quiet")
        while engine.docker(*asked)[:2] != (0, "") and time.monotonic() < deadline:
            time.sleep(0.5)
        run.note("drain", "did")
    if reason := no_quorum(engine):
        raise GuardError(reason)


def undrain(run: Run, engine: Engine) -> None:
    """Let this node have tasks again, where the run took it that, once the managers have found each other again.

    Raises GuardError where that does not come about.
    """
    journal = [(one["step"], one["state"]) for one in run.journal()]
    if journal.count(("drain", "will")) <= journal.count(("active", "did")):
        return
    deadline = time.monotonic() + REJOINING
    while True:
        try:
            own = next((one for one in nodes(engine) if one["Self"]), None)
            if own is None:
                raise GuardError("the swarm does not know this node")
            if own["Availability"] == "Drain":
                code, _, told = engine.docker("node", "update", "--availability", "active", own["ID"])
                if code:
                    raise GuardError(told)
            run.remember("active", "did")
            return
        except GuardError as error:
            if time.monotonic() > deadline:
                raise GuardError("this node still takes no tasks (drain): %s" % error) from error
        time.sleep(1.0)


"""The last resort: the daemon is started as the one that ran before was, whatever its files say by now.

Files that somebody else changed since that daemon was started are part of what is restored, and may let no daemon
start. They are restored all the same; the daemon then runs by a drop-in that is gone with the next boot.
"""


import json
import os
from typing import Any


RESCUE_UNIT = "/run/systemd/system/docker.service.d/zzz-remediator-rescue.conf"
RESCUE_CONFIG = "/run/remediator-rescue.json"
# What the daemon has to have to find its images, containers and networks
STRUCTURE = (
    "data-root", "exec-root", "userns-remap", "storage-driver", "storage-opts", "exec-opts", "cgroup-parent",
    "bridge", "bip", "default-address-pools", "ipv6", "fixed-cidr", "fixed-cidr-v6", "containerd", "runtimes",
    "default-runtime",
)  # fmt: skip


def in_rescue() -> bool:
    """Whether the daemon runs by the last resort of an earlier run."""
    return os.path.exists(RESCUE_UNIT)


def rescue(engine: Engine, before: Document, config: str, alive: bool) -> str:
    """Start the daemon as it ran before; says how, for the person who has to put its files right.

    What is `alive` is not to be killed by the start, which is one with live-restore then; a reload switches that off.
    Raises GuardError where it does not start so either, or where this host has no systemd.
    """
    if not (engine.systemd and before["words"]):
        raise GuardError("how it ran before is not known")
    words = _without_config(before["words"])
    live = {} if flagged(words, "live-restore") else {"live-restore": before["live_restore"] or alive}
    root = {} if flagged(words, "data-root") or "-g" in words else {"data-root": before["data_root"]}
    try:
        with open(config, encoding="utf-8-sig") as file:
            old = json.load(file)
    except (OSError, ValueError):
        old = {}
    kept = {key: old[key] for key in STRUCTURE if isinstance(old, dict) and key in old and not flagged(words, key)}
    if "userns-remap" in kept:
        root = {}  # the engine tells it with what the remapping adds
    error = ""
    for document in ({**root, **kept, **live}, {**root, **live}):
        write_file(RESCUE_CONFIG, json.dumps(document).encode())
        os.makedirs(os.path.dirname(RESCUE_UNIT), 0o755, exist_ok=True)
        write_file(RESCUE_UNIT, _unit([*words, "--config-file=" + RESCUE_CONFIG]).encode(), 0o644)
        try:
            engine.restart(units=True)
        except GuardError as failed:
            error = str(failed)
            continue
        if live and live["live-restore"] != before["live_restore"]:
            write_file(RESCUE_CONFIG, json.dumps(dict(document, **{"live-restore": False})).encode())
            engine.reload()
        return "the daemon runs as before by %s, until the next boot" % RESCUE_UNIT
    os.unlink(RESCUE_UNIT)
    os.unlink(RESCUE_CONFIG)
    engine.reread()
    raise GuardError(error)


def _unit(words: list[str]) -> str:
    """A drop-in by which systemd starts just this."""
    quoted = " ".join(unit_word(one) for one in words)
    lines = ["[Service]", "ExecCondition=", "ExecStartPre=", "ExecStartPost=", "ExecStart=", "ExecStart=" + quoted]
    return "\n".join([*lines, "EnvironmentFile=", "Type=notify", ""])


def flagged(words: list[str], key: str) -> bool:
    """Whether a flag of a command line gives a key of daemon.json; some flags have the singular for a list."""
    names = ["--" + key, "--" + key.rstrip("s")]
    return any(word in names or word.startswith(tuple(name + "=" for name in names)) for word in words[1:])


def _without_config(words: list[str]) -> list[Any]:
    """A command line without the name of a configuration file."""
    found, skip = [], False
    for word in words:
        if not skip and word != "--config-file" and not word.startswith("--config-file="):
            found.append(word)
        skip = word == "--config-file"
    return found


"""The limits of running containers, on the way back."""


from typing import Any


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


"""Files on the way back: put back as they were, but for those that somebody else has changed since."""


import json
import os
import stat


GIVEN = "mode and owner of %s: were changed by someone else after the run"


def config_of(run: Run, request: Document) -> int | None:
    """Which of the edited files is the daemon's configuration."""
    config = request["activation"]["config"]
    return next((index for index, one in enumerate(run.before["files"]) if one["path"] == config), None)


def put_with(run: Run, index: int, more: Document) -> None:
    """Put the daemon's old configuration in its place with keys that are not to stay in it."""
    entry = run.before["files"][index]
    old = (read_bytes(run.file("backup", str(index))) or b"").decode("utf-8") if entry["there"] else ""
    document = json.loads(old.lstrip("\ufeff")) if old.strip() else {}
    document.update(more)
    between = json.dumps(document, indent=2).encode() + b"\n"
    run.remember("defaults", "will", sha256=sha256(between))
    like = entry if entry["there"] else {"mode": 0o600, "uid": os.geteuid(), "gid": os.getegid()}
    put_file(entry["path"], between, like)


def ours(run: Run, entry: Document) -> bool:
    """Whether a file is as it was before the run, or as this run wrote it.

    Also if what was being written when the power was cut came out empty.
    """
    now = sha256(read_bytes(entry["path"]))
    if entry["after"] is None or now in (entry["before"], entry["after"]):
        return True
    if now == sha256(b"") and run.result is None:
        return True
    return now in [line.get("sha256") for line in run.journal() if line["step"] == "defaults"]


def _given_since(run: Run, entry: Document) -> Document:
    """The mode and owner that somebody else gave an edited file since the run ended; {} where they are of before, or
    the run's."""
    now = attributes(entry["path"])
    planned = [one for one in run.request["attributes"] if one["path"] == entry["path"]]
    if run.result is None or now is None or any(same_attributes(now, one) for one in planned):
        return {}
    given = {key: now[key] for key in ("mode", "uid", "gid")}
    return {} if all(entry[key] == value for key, value in given.items()) else given


def put_back(run: Run, index: int, entry: Document) -> None:
    """Put one file back as it was: bytes, mode, owner, extended attributes and time."""
    path = entry["path"]
    if not entry["there"]:
        try:
            os.unlink(path)
        except FileNotFoundError:
            return
        sync(os.path.dirname(path))
        return
    data = read_bytes(run.file("backup", str(index)))
    if data is None or sha256(data) != entry["before"]:
        raise GuardError("its backup is damaged")
    put_file(path, data, entry, entry["mtime"])


def undo_file(run: Run, index: int, told: Report) -> None:
    """Put one edited file back as it was, unless somebody else has changed it since."""
    entry = run.before["files"][index]
    path = entry["path"]
    try:
        if sha256(read_bytes(path)) == entry["before"]:
            return
        if not ours(run, entry):
            told["left"].append(path + ": was changed by someone else after the run")
            return
        given = _given_since(run, entry) if entry["there"] else {}
        put_back(run, index, dict(entry, **given))
        if given:
            told["left"].append(GIVEN % path)
        if entry["after"] is not None:
            told["changed"].append("restore " + path)
    except (OSError, GuardError) as error:
        told["errors"].append("%s: cannot be restored: %s" % (path, error))


def undo_files(run: Run, before: Document, told: Report, but: int | None = None) -> None:
    """Put edited files back as they were, but for one that is to go back later."""
    for index, entry in enumerate(before["files"]):
        if index != but:
            undo_file(run, index, told)
        folder = os.path.dirname(entry["path"])
        sweep(folder, before["copies"].get(folder, []) if run.result is None else copies(folder))
    undo_directories(before)


def undo_directories(before: Document) -> None:
    """Remove the directories that the run made, as far as they are empty."""
    for path in before["made"]:  # the deepest first
        try:
            os.rmdir(path)
        except OSError:
            pass  # others use it by now


def undo_attributes(request: Document, before: Document, told: Report) -> None:
    """Give paths the modes and owners that they had, but for those that somebody else has changed since."""
    edited = {one["path"] for one in before["files"]}
    for planned, was in zip(request["attributes"], before["attributes"]):
        path = was["path"]
        now = attributes(path)
        if "mode" not in was or now is None or (path in edited and any(path in one for one in told["left"])):
            continue
        if (now["mode"], now["uid"], now["gid"]) == (was["mode"], was["uid"], was["gid"]):
            continue
        if not same_attributes(now, planned):
            told["left"].append(GIVEN % path)
            continue
        try:
            if stat.S_ISLNK(os.lstat(path).st_mode):
                raise GuardError("is a link by now")
            os.chown(path, was["uid"], was["gid"], follow_symlinks=False)
            os.chmod(path, was["mode"])
            told["changed"].append("restore mode and owner of " + path)
        except (OSError, GuardError) as error:
            told["errors"].append("%s: mode and owner cannot be restored: %s" % (path, error))


"""Containers that live-restore keeps alive over the restart of the way back to a daemon without it.

A daemon that is started without live-restore kills at its start what runs, and may then lose track of it (seen with
28.5: started and killed over and over). So it is started once more with live-restore, which a reload then switches off.
"""



LIVE_RESTORE = {"key": "live-restore", "from": "info", "pointer": "/LiveRestoreEnabled", "value": False}


def keep_alive(run: Run, request: Document, before: Document) -> int | None:
    """Which file is the daemon's configuration, now as before but with live-restore: before any other goes back.

    At no time is there one without it, since the daemon may be started by others. None where that cannot be: the run
    did not come to a restart under live-restore, only the bridge's start without containers gives back what it was,
    or the file is not ours to write, or is back already.
    """
    expected = {one["key"]: one["value"] for one in request["activation"]["expect"]}
    index = config_of(run, request)
    if index is None or expected.get("live-restore") is not True or "icc" in expected or not run.has("restart"):
        return None
    entry = run.before["files"][index]
    try:
        known = sha256(read_bytes(entry["path"]))
        if before["live_restore"] or flagged(before["words"], "live-restore") or known == entry["before"]:
            return None
        if not ours(run, entry):
            return None
        put_with(run, index, {"live-restore": True})
    except (OSError, GuardError, ValueError):
        return None
    return index


def let_go(run: Run, engine: Engine, index: int, told: Report) -> bool:
    """Switch live-restore off by a reload, which stops nothing, and put the old configuration in its place.

    Returns whether the daemon has taken it up.
    """
    worked = True
    if ours(run, run.before["files"][index]):
        try:
            put_with(run, index, {"live-restore": False})
            engine.reload()
            await_effect(engine, [LIVE_RESTORE], "the reload back")
        except (OSError, GuardError):
            worked = False
    undo_file(run, index, told)
    undo_directories(run.before)
    return worked


"""The daemon on the way back."""



RESCUED = "the daemon does not start with the files of before"


def taken_up(run: Run, engine: Engine, before: Document) -> bool:
    """Whether the daemon has taken up the run's configuration by a reload, and goes back by one.

    It is the one of before, or was started since for other reasons while the run itself needed no more than a reload.
    """
    if not run.has("reload") or run.has("restart"):
        return False
    return bool(engine.started() == before["started"] or run.request["activation"]["action"] == "reload")


def reload_back(run: Run, request: Document, engine: Engine, told: Report) -> None:
    """Make the daemon take up by a reload what it did before.

    A reload keeps what is removed from the file (moby: daemon/reload.go takes only keys that are set), so defaults
    of keys that were added are written out, reloaded, and only then the old text restored.
    """
    index, defaults = config_of(run, request), request["activation"]["defaults"]
    if index is None:
        return
    if not ours(run, run.before["files"][index]):
        return  # undo_files says so
    if defaults:
        put_with(run, index, defaults)
    else:
        put_back(run, index, run.before["files"][index])
    engine.reload()
    await_effect(engine, [one for one in run.before["live"] if one["reload"]], "the reload back")
    told["changed"].append("reload the daemon")


def _make_way(run: Run, engine: Engine, before: Document, activation: Document, info: Document) -> None:
    """Stop what a daemon under live-restore would leave running for one that cannot do with it.

    One without live-restore kills at its start what runs, and the bridge takes no other options while anything runs.
    What runs is written down in any case: what a restart stops is started again by `undo`.
    """
    if info is None:
        return
    names = list(engine.containers())
    run.remember("stop back", "will", names=names)
    icc = any(one["key"] == "icc" for one in activation["expect"])
    icc = icc or (_took_deferred(run, engine, before) and "icc" in [one["key"] for one in before["deferred"]])
    if info.get("LiveRestoreEnabled") and (icc or not before["live_restore"]):
        engine.stop(names)
    run.remember("stop back", "did")


def _left_alone(request: Document, before: Document, told: Report) -> bool:
    """Whether all that the daemon reads was changed by someone else since: a restart would only take that up."""
    activation = request["activation"]
    watched = [activation["config"], *activation["sources"]]
    edited = [one["path"] for one in before["files"] if one["after"] is not None and one["path"] in watched]
    return bool(edited) and all(any(one.startswith(path + ": ") for one in told["left"]) for path in edited)


def _took_deferred(run: Run, engine: Engine, before: Document) -> bool:
    """Whether a start in the middle of a run, as by a boot, has taken up what the run was to leave pending.

    Of a run that was confirmed it stays so, see `stays`.
    """
    deferred = run.request["activation"].get("deferred", [])  # older runs have none
    if not deferred or run.has("confirm") or engine.started() == before["started"]:
        return False
    return any("from" not in one for one in deferred) or bool(not_in_effect(engine, before["deferred"]))


def stays(run: Run, engine: Engine, before: Document, told: Report, anew: bool) -> list[str]:
    """What the run had left pending and a start since has put into effect: it stays so until the next start.

    Nobody agreed to a restart for it. `anew` says that the way back has started the daemon.
    """
    activation = run.request["activation"]
    left = any(one.startswith(activation["config"] + ": ") for one in told["left"])
    deferred = activation.get("deferred", [])  # older runs have none
    if not deferred or left or engine.started() == before["started"]:
        return []
    keys = [one["key"] for one in before["deferred"] if not_in_effect(engine, [one])]
    keys += [one["key"] for one in deferred if "from" not in one and not anew]
    taken = "%s: the daemon was started since the run, and does as the run had it until it is next started"
    told_of_bridge = ", for icc with no container running" if "icc" in keys else ""
    return [taken % ", ".join(keys) + told_of_bridge] if keys else []


def _went_back(run: Run, engine: Engine) -> bool:
    """Whether the daemon that runs was started by an earlier way back."""
    done = [one for one in run.journal() if one["step"] == "restart back" and one["state"] == "did"]
    return bool(done) and done[-1]["started"] == engine.started()


def undo_daemon(
    run: Run, request: Document, engine: Engine, before: Document, told: Report, stuck: str, kept: int | None
) -> bool:
    """Make the daemon run with what it ran with before, if it has taken up anything else, or does not run.

    `stuck` says why it did not go back by a reload, where it did not; `kept` is what `keep_alive` gave. Returns whether
    it was started anew.
    """
    activation = request["activation"]
    begun = run.has("restart") and not run.did("restart")  # our own start failed, or hangs, or is still to come
    info = engine.info()
    if not begun and info is not None and _left_alone(request, before, told):
        return False
    took = info is not None and _took_deferred(run, engine, before)
    same = engine.started() == before["started"] or taken_up(run, engine, before)
    if not begun and info is not None and same and not took:
        if not stuck:
            return False
        if activation["action"] != "restart" and not info.get("LiveRestoreEnabled"):
            told["errors"].append(stuck)  # nobody agreed to containers being stopped
            return False
    elif not begun:
        if info is None:
            engine.settle(10)  # killed, and being started again by systemd
            info = engine.info()
            took = info is not None and _took_deferred(run, engine, before)
        if activation["action"] == "none" and info is not None and not took:
            return False
    if info is not None and in_rescue():
        told["errors"].append("%s: it runs by %s" % (RESCUED, RESCUE_UNIT))
        return True
    if info is not None and _went_back(run, engine) and not told["changed"]:
        if kept is None and not not_in_effect(engine, before["live"]):
            return True
        if kept is not None and let_go(run, engine, kept, told):
            return True
        kept = None
    if activation["manager"] and info is not None:
        try:
            drain(run, engine)
        except GuardError as refused:
            told["left"].append("the tasks of this node: %s" % refused)
    return _start_back(run, engine, before, activation, told, kept, info)


def _start_back(
    run: Run,
    engine: Engine,
    before: Document,
    activation: Document,
    told: Report,
    kept: int | None,
    info: Document,
) -> bool:
    error, alive = "", kept is not None
    if kept is None:
        _make_way(run, engine, before, activation, info)
    for _ in (1, 2, 3):
        run.remember("restart back", "will")
        try:
            engine.restart(activation["reload_units"])
        except GuardError as failed:
            error = str(failed)
            if kept is not None:
                undo_file(run, kept, told)
                undo_directories(run.before)
                kept = None
            if isinstance(failed, HangsError):
                break
            continue
        if kept is not None and not let_go(run, engine, kept, told):
            kept, alive = None, False
            _make_way(run, engine, before, activation, engine.info())
            continue
        run.remember("restart back", "did", started=engine.started())
        told["changed"].append("restart the daemon")
        return True
    run.remember("rescue", "will")
    try:
        how = rescue(engine, before, activation["config"], alive)
        told["errors"].append("%s: %s; %s" % (RESCUED, error, how))
        run.remember("rescue", "did")
    except (GuardError, OSError) as failed:
        told["errors"].append("%s: %s; %s" % (RESCUED, error, failed))
    return True


"""The way back: a run is taken back as far as nobody else has changed the same since."""


import json
import os
import shutil
import sys
import time
from typing import Any, Callable  # noqa: UP035 - Python 3.8


PAUSES = (10.0, 30.0, 60.0, 120.0)  # seconds before what nobody else takes back is tried again


def undo(store: Store, run: Run, reason: str) -> Document:
    """Take a run back, as far as nobody else has changed the same since; may be repeated, and resumed.

    Files byte for byte with mode, owner and time; limits; audit rules; the daemon, by the way it was told of the
    change; containers that ran and do not. Then the same proof against the state before. What fails is told, and
    the rest done all the same. A run that was taken back is looked at again: somebody may not have known.
    """
    ended, known = run.result, store.current()
    if known is not None and known["run"] != run.name:
        raise GuardError("run %s is open on this host; roll it back first" % known["run"])
    request, before = run.request, run.before if ended is None else _as_it_is(run, ended)
    told: Report = {"changed": [], "left": [], "errors": []}
    again = ended is not None and ended["outcome"] == "undone"
    if again:
        if not store.is_last(run):
            _close(store, run)
            return ended
        kept = keep_alive(run, request, before) if before["engine"] else None
        undo_files(run, before, told, kept)
        undo_attributes(request, before, told)
        if kept is None and not (told["changed"] or told["errors"] or ended["errors"]):
            _close(store, run)
            return ended
    begun = time.monotonic()
    _go_on_alone(store, run, request, reason)
    run.remember("undo", "will", reason=reason)
    shutil.rmtree(run.file("new"), ignore_errors=True)  # there may be no space left for what is to be written
    _take_back(run, request, before, told)
    took = round(time.monotonic() - begun, 2)
    run.remember("undo", "did", seconds=took, **told)
    ended = run.end("undone", reason=ended["reason"] if again else reason, seconds=took, **told)
    _close(store, run)
    return ended


def _go_on_alone(store: Store, run: Run, request: Document, reason: str) -> None:
    """See to it that the host goes on taking the run back by itself, should this process end before."""
    known = store.current()
    try:
        if known is None:
            arm(store, run, request, reason)
        else:
            store.open(dict(known, undo=reason))
    except (OSError, GuardError):
        pass  # such as on a full disk: it is taken back all the same


def _as_it_is(run: Run, ended: Document) -> Document:
    """The state before, with the containers as they are before a confirmed run is taken back.

    Weeks may lie between: what was stopped or removed since is not brought back, and what is new is kept alive. Raises
    GuardError where the daemon is a manager of a swarm that cannot do without it.
    """
    before, activation = run.before, run.request["activation"]
    if not before["engine"]:
        return before
    alive = read_json(run.file("alive.json"))
    if not run.has("undo") and ended["outcome"] == "confirmed":
        engine = Engine(run.request)
        if activation["manager"] and activation["action"] == "restart" and (reason := no_quorum(engine)):
            raise GuardError(reason)
        try:
            alive = portrait(engine)
            write_file(run.file("alive.json"), json.dumps(alive).encode())
        except (OSError, GuardError):
            pass  # the daemon is gone: what ran before is all that is known
    return before if alive is None else dict(before, containers=alive)


def _take_back(run: Run, request: Document, before: Document, told: Report) -> None:
    engine = Engine(request)
    alive = bool(before["engine"])

    def part(what: str, do: Callable[[], Any]) -> Any:
        try:
            return do()
        except (GuardError, OSError, ValueError) as error:
            told["errors"].append("%s: %s" % (what, error) if what else str(error))
            return None

    reloaded, stuck = alive and taken_up(run, engine, before), ""
    if reloaded:
        try:
            reload_back(run, request, engine, told)
        except (GuardError, OSError, ValueError) as error:
            stuck = "the reload back: %s" % error
    kept = keep_alive(run, request, before) if alive else None
    undo_files(run, before, told, kept)
    undo_attributes(request, before, told)
    if run.has("rules"):
        call(["augenrules", "--load"], 60)
    if not alive:
        return
    anew = part("the daemon", lambda: undo_daemon(run, request, engine, before, told, stuck, kept))
    engine.settle(10)
    if engine.wait(30) is None:
        told["errors"].append(SILENT)
        return
    part("the swarm", lambda: undrain(run, engine))
    part("recreate", lambda: back(run, request, engine, told))
    part("limits", lambda: undo_limits(run, engine, before, told))
    gone = [name for name, one in before["containers"].items() if one["temporary"]]
    lasting = [one for one, was in before["containers"].items() if one not in gone and not was["task"]]
    stopped = [name for line in run.journal() if line["step"] == "stop back" for name in line.get("names", [])]
    lasting += [one for one in dict.fromkeys(stopped) if one not in before["containers"]]
    told["errors"] += part("containers", lambda: start(run, engine, lasting)) or []
    if anew:
        told["errors"] += part("containers", lambda: pause(run, engine, before["containers"])) or []
    there = part("containers", lambda: engine.containers(gone)) if gone else {}
    told["left"] += ["container %s: ran with --rm, and ended" % one for one in gone if one not in (there or {})]
    if not any(RESCUED in one for one in told["errors"]):
        expected = [] if told["left"] else [one for one in before["live"] if anew or (reloaded and one["reload"])]
        told["errors"] += prove(engine, request, before, expected, bool(anew))
        told["left"] += part("", lambda: stays(run, engine, before, told, bool(anew))) or []


def _close(store: Store, run: Run) -> None:
    known = store.current()
    if known is not None and known["run"] == run.name:
        disarm(store, run.request["root"])


def finish(store: Store, known: Document, reason: str) -> None:
    """Bring a run that nobody works on any more to its end: one that ended is closed, any other is taken back."""
    run = store.run(known["run"])
    ended = (run.result is not None and not known.get("undo")) or not run.began
    if ended:
        disarm(store, known["root"])
    else:
        undo(store, run, known.get("undo") or reason)


def _insist(store: Store, known: Document) -> None:
    """Try again what could not be taken back, unless somebody has begun another run: nobody may be there to do it."""
    run = store.run(known["run"])
    for seconds in PAUSES:
        ended = run.result or {}
        if ended.get("outcome") != "undone" or not ended["errors"]:
            return
        print("not taken back yet: " + "; ".join(ended["errors"]), file=sys.stderr)
        time.sleep(seconds)
        with store.locked(3600):
            if store.current() is not None or not store.is_last(run):
                return
            store.open(dict(known, undo=ended["reason"]))
            undo(store, run, ended["reason"])


def expire(store: Store, name: str) -> None:
    """Wait until the run is closed or its time is over, and take it back then."""
    while True:
        known = store.current()
        if known is None or known["run"] != name or not seconds_left(known):
            with store.locked(3600):
                known = store.current()
                if known is None:
                    disarm(store, _root(store))  # a guard was killed before it had opened it, or after it had closed it
                    return
                if known["run"] != name:
                    return
                if not seconds_left(known):
                    limit = store.run(name).request["limit"] if store.run(name).began else 0
                    finish(store, known, "it was not confirmed within %d seconds" % limit)
                    break
        else:
            time.sleep(max(0.05, min(seconds_left(known), 1.0)))
    _insist(store, known)


def boot(store: Store) -> None:
    """Take back what was not confirmed before this boot."""
    with store.locked(3600):
        known = store.current()
        if known is None:
            disarm(store, _root(store))
            return
        run = store.run(known["run"])
        if run.began:
            engine = Engine(run.request)
            engine.settle(60)
            if run.before["engine"] and not engine.systemd:
                engine.wait(60)  # cron may be up before it, and nobody tells whether its start is under way
        finish(store, known, "the host was started anew before it was confirmed")
    _insist(store, known)


def _root(store: Store) -> str:
    """The root directory of the host that a store belongs to."""
    return "/" if os.path.dirname(store.home) == "/var/lib/remediator" else os.path.dirname(store.home)


"""What a run is refused for before anything is changed: its plan, the daemon, and the configuration to come."""


import json
import os
import time



def must_be_here(request: Document) -> None:
    """Raise GuardError for a plan that was made for another host."""
    try:
        with open(os.path.join(request["root"], "etc/machine-id"), encoding="ascii", errors="replace") as file:
            here = file.read().strip()
    except OSError:
        here = ""
    if request["machine"] != here:
        told = "the plan was made for the host with machine-id %s, and this one has %s"
        raise GuardError(told % (request["machine"] or "(none)", here or "(none)"))


def must_be_new(store: Store, request: Document) -> None:
    """Raise GuardError for a plan that has expired, or that was applied here before; a run of it may be open."""
    if (store.current() or {}).get("plan") == request["plan"]:
        return
    if request["expires"] and time.time() > request["expires"]:
        raise GuardError("the plan has expired, by the clock of this host. Plan again.")
    if used := store.used(request["plan"], request["run"]):
        raise GuardError("the plan was applied already, by run %s. Plan again." % used)


def can_start(engine: Engine, activation: Document) -> None:
    """Raise GuardError where the daemon must not be stopped, or would not be started again whatever its configuration
    says."""
    if activation["manager"] and activation["action"] == "restart" and (reason := no_quorum(engine)):
        raise GuardError(reason)
    if masked := engine.masked():
        raise GuardError("%s is masked: the daemon could not be started again" % " and ".join(masked))
    if in_rescue():
        raise GuardError(
            "the daemon runs by %s, since its own files let none start: put them right, remove that file, and restart "
            "it (systemctl daemon-reload, systemctl restart docker)" % RESCUE_UNIT
        )


def as_foreseen(engine: Engine, activation: Document) -> None:
    """Raise GuardError where a restart or live-restore would do what the plan could not know of."""
    info = engine.info() or {}
    if told := unforeseen(activation, info):
        raise GuardError(told)
    if activation["action"] != "restart":
        return
    lost = [name for name, one in engine.containers().items() if is_temporary(one)]
    if new := [name for name in lost if name not in activation["temporary"]]:
        told = (
            "the restart of the daemon would remove these, which run with --rm since the plan was made: %s. Plan again."
        )
        raise GuardError(told % ", ".join(new))


def _to_come(run: Run, request: Document) -> str:
    """Where the text stands that is to be the daemon's configuration: in the run, unless it is in its place already."""
    config = request["activation"]["config"]
    staged = [run.file("new", str(one["index"])) for one in request["files"] if one["path"] == config]
    return staged[0] if staged and os.path.exists(staged[0]) else config


def _no_profile(config: str) -> str:
    """Why no container would start after a restart, for a seccomp profile that the daemon looks into only then."""
    try:
        path = (json.loads((read_bytes(config) or b"{}").decode("utf-8-sig")) or {}).get("seccomp-profile")
    except (ValueError, AttributeError):
        return ""  # others say so
    if not isinstance(path, str) or not path.startswith("/"):
        return ""  # none, or one that is built in
    try:
        json.loads((read_bytes(path) or b"").decode())
    except (OSError, ValueError) as error:
        return "%s: is no seccomp profile, and no container would start after a restart: %s" % (path, error)
    return ""


def has_profile(run: Run, request: Document) -> None:
    """Raise GuardError where no container would start after the restart, or after the next start."""
    activation = request["activation"]
    starts = activation["action"] == "restart" or activation["deferred"]
    if starts and (told := _no_profile(_to_come(run, request))):
        raise GuardError(told)


def try_out(run: Run, request: Document) -> None:
    """Have the engine's own program look at the configuration to come, where it can; raises GuardError where it
    refuses it."""
    words = list(request["activation"]["validate"])
    if not words:
        return
    config = _to_come(run, request)
    if not os.path.exists(config):  # that a start does without, and a trial does not
        config = run.file("new", "none.json")
        write_file(config, b"{}\n")
    code, out, err = call([*words[:-1], config], 30)
    if code:
        raise GuardError("the engine refuses the configuration: " + (err or out))


"""The beginning of a run: look, keep what will be replaced, arm the switch."""


import base64
import json
import os
import shutil
import time


RESERVE = 65536  # bytes for the journal and the result of the way back


def begin(given: Document) -> Document:
    """Look whether the host is what the plan was made for and, unless in check mode, open the run.

    given: {request, check, guard: this file's own text}. Returns {run, files, told, needed, confirmed}: the last names
    the run itself where it was made and confirmed before, and nobody was there to hear of it.
    """
    request = given["request"]
    store = Store(os.path.join(request["state"], "guard"))
    if given["check"] or not store.current():
        seen, _ = _look(store, request)
        if given["check"] and seen["needed"]:
            must_be_new(store, request)
        if given["check"] or not seen["needed"]:
            return seen
    with store.locked():  # and look again: a guard that was at work may have changed what there is to see
        return _open(store, request, given["guard"])


def _look(store: Store, request: Document, resumed: Run | None = None) -> tuple[Document, Document]:
    must_be_here(request)
    files = [look_at_file(one) for one in request["files"]]
    for one in files:
        if one["state"] == "other":
            raise GuardError("%s: The file has changed since the plan was made. Plan again." % one["path"])
    for path, digest in request["unchanged"].items():
        if sha256(read_bytes(path)) != digest:
            raise GuardError("%s: The file has changed since the plan was made. Plan again." % path)
    recreates = to_recreate(store, request, files, resumed) if request["recreates"] else []
    todo = what_to_do(request, files, Engine(request), recreates, _left(resumed))
    bare = [one for one in request["attributes"] if not same_attributes(attributes(one["path"]), one)]
    needed = bool(todo["told"] or bare or any(one["state"] == "before" for one in files))
    ended = store.run(request["run"]).result if request["run"] else None
    confirmed = request["run"] if ended and ended["outcome"] == "confirmed" else ""
    return {"run": "", "files": files, "told": todo["told"], "needed": needed, "confirmed": confirmed}, todo


def _left(run: Run | None) -> Document:
    """What a run was to do and did not get to the end of: it does not show in the files any more."""
    todo = read_json(run.file("todo.json")) if run else None
    if run is None or todo is None:
        return {"checks": [], "rules": False, "activate": False, "deferred": False, "recreates": []}
    done = [line.get("label") for line in run.journal() if line["step"] == "recreate" and line["state"] == "did"]
    return {
        "checks": [] if run.did("check") else todo["checks"],
        "rules": todo["rules"] and not run.did("rules"),
        "activate": todo["activate"] and not run.did("activate"),
        "deferred": todo.get("deferred", False) and not run.did("defer"),
        "recreates": [one for one in todo["recreates"] if one["label"] not in done],
    }


def _open(store: Store, request: Document, own: str) -> Document:
    known = store.current()
    resumed = None
    if known is not None:
        run = store.run(known["run"])
        going = run.began and run.result is None and not known.get("undo")
        if going and known["plan"] == request["plan"]:
            resumed = run
        else:
            mine = request["control"] and request["control"] == known["control"]  # which runs one at a time: it died
            if going and seconds_left(known) and not mine:
                raise GuardError(
                    "run %s is changing this host, and is taken back in %d seconds unless it is confirmed; roll it "
                    "back, or resume it with its plan" % (known["run"], seconds_left(known))
                )
            finish(store, known, "it was not confirmed, and another run began")
    try:
        seen, todo = _look(store, request, resumed)
    except GuardError as error:
        if known is not None and not resumed:
            raise GuardError("a run that had died was taken back before: %s" % error) from error
        raise
    if resumed is None and not seen["needed"]:
        return seen
    must_be_new(store, request)
    engine = Engine(request)
    if todo["activate"]:
        can_start(engine, request["activation"])
    if todo["activate"] or todo["deferred"]:
        as_foreseen(engine, request["activation"])
    if resumed is None:  # what fails already says nothing of the edit
        todo["checks"] = [one for one in todo["checks"] if not refusal(one)]
    made = request["run"] or time.strftime("%Y%m%dT%H%M%SZ-", time.gmtime()) + request["plan"][:8]
    run = resumed or store.run(made)
    write_file(os.path.join(store.home, "guard.py"), own.encode(), 0o700)
    try:
        if resumed is None:
            _keep(run, request, seen, engine)
            store.prune()
        write_file(run.file("todo.json"), json.dumps(todo).encode())
        _stage(run, request)
        if todo["activate"] or todo["deferred"]:
            has_profile(run, request)
            if resumed is None:
                try_out(run, request)
        sync(run.path)
        if resumed is not None and is_armed(request["root"]):
            extend(store, request)  # and never without a switch in between
        else:
            arm(store, run, request)
    except (OSError, GuardError, ValueError) as error:
        reason = "%s: %s" % (error.filename, error.strerror) if isinstance(error, OSError) else str(error)
        if resumed is not None:
            undo(store, run, reason)
            raise GuardError("%s. The run was taken back." % reason.rstrip(".")) from error
        shutil.rmtree(run.path, ignore_errors=True)
        raise GuardError("Nothing was changed: " + reason) from error
    run.note("begin", "did" if resumed is None else "resumed")
    try:
        for one in seen["files"]:
            os.makedirs(os.path.dirname(one["path"]), 0o755, exist_ok=True)
    except OSError as error:
        undo(store, run, "%s: %s" % (error.filename, error.strerror))
        raise GuardError("%s: %s" % (error.filename, error.strerror)) from error
    return dict(seen, run=run.name, needed=True)


def _keep(run: Run, request: Document, seen: Document, engine: Engine) -> None:
    """Keep everything that the way back needs: bytes, modes, limits, and how the containers are."""
    if os.path.lexists(run.path):  # was taken back, or did not get to begin: begins anew
        if run.began:
            os.rename(run.path, "%s.%d" % (run.path, time.time_ns()))
        else:
            shutil.rmtree(run.path)
    os.makedirs(run.file("backup"), 0o700)
    os.chmod(run.path, 0o700)
    record = os.path.join(request["state"], "activation.json")
    files, made = [], []
    for index, one in enumerate([*seen["files"], {"path": record, "after": None}]):
        data = read_bytes(one["path"])
        if one.get("state") == "before" and sha256(data) != request["files"][one["index"]]["before"]:
            raise GuardError(one["path"] + ": The file has changed since the plan was made. Plan again.")
        entry = {"path": one["path"], "before": sha256(data), "after": one["after"], "there": data is not None}
        if data is not None:
            write_file(run.file("backup", str(index)), data)
            entry.update(attributes(one["path"]) or {})
        files.append(entry)
        made += missing(os.path.dirname(one["path"]))
    names = [name for one in request["updates"] for name in one["names"]]
    activation = request["activation"]
    involved = bool(names or request["recreates"] or activation["action"] != "none" or activation["deferred"])
    info = engine.wait(20) if involved else None
    if involved and info is None:
        raise GuardError("the daemon does not answer: " + (engine.docker("info")[2] or "not within 20 seconds"))
    found = engine.containers(names) if names else {}
    keys = ["Memory", "MemorySwap", "CpuShares", "PidsLimit", "RestartPolicy"]
    info = info or {}
    before = {
        "at": time.time(),
        "files": files,
        "copies": {folder: copies(folder) for folder in sorted({os.path.dirname(one["path"]) for one in files})},
        "made": sorted(set(made), key=len, reverse=True),
        "attributes": [dict(attributes(one["path"]) or {}, path=one["path"]) for one in request["attributes"]],
        "engine": involved,
        "started": engine.started(),
        "words": engine.words(),
        "memory": info.get("MemTotal", 0),
        "live_restore": info.get("LiveRestoreEnabled", False),
        "data_root": info.get("DockerRootDir", "/var/lib/docker"),
        "limits": {name: {key: one["HostConfig"].get(key) for key in keys} for name, one in found.items()},
        "containers": portrait(engine) if involved else {},
    }
    for name, some in (("live", activation["expect"]), ("deferred", activation["deferred"])):
        shown = [one for one in some if "from" in one]
        before[name] = [dict(one, value=now) for one, now in zip(shown, effects(engine, info, shown))]
    write_file(run.file("request.json"), json.dumps(request).encode())
    write_file(run.file("before.json"), json.dumps(before).encode())


def _stage(run: Run, request: Document) -> None:
    """Put the new texts beside the backups, from where they are copied into their places.

    And as much again as the old ones take, so that there is space for these whatever else fills the disk.
    """
    os.makedirs(run.file("new"), 0o700, exist_ok=True)
    size = sum(len(read_bytes(run.file("backup", one)) or b"") for one in os.listdir(run.file("backup")))
    write_file(run.file("new", "reserve"), b"\0" * (size + RESERVE))
    for index, one in enumerate(request["files"]):
        data = base64.b64decode(one["content"])
        if one["masked"]:
            old = read_bytes(one["path"]) or b""
            if sha256(old) != one["before"]:
                continue  # is there already
            data = join(one["pieces"], old.decode("utf-8")).encode()
        elif sha256(data) != one["after"]:
            raise GuardError(one["path"] + ": the new text is not the planned one")
        write_file(run.file("new", str(index)), data)


"""The steps that the engine takes up, and the confirmation."""


import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor


AT_ONCE = 4  # updates of containers


def open_run(store: Store, name: str) -> Run:
    """The run of that name, which has to be open; raises GuardError that says how it ended."""
    run = store.run(name)
    known = store.current()
    ended = run.result or {}
    if known is None or known["run"] != name or known.get("undo") or ended:
        if ended.get("outcome") == "undone":
            raise GuardError("run %s was taken back: %s" % (name, ended["reason"]))
        if known is not None and known.get("undo"):
            raise GuardError("run %s is being taken back: %s" % (name, known["undo"]))
        raise GuardError("run %s is not open" % name)
    return run


def place(store: Store, name: str, index: str) -> Document:
    """Put one new text in its place: one that holds secrets, or stands in a new directory."""
    with store.locked():
        run = open_run(store, name)
        one = run.request["files"][int(index)]
        now = look_at_file(one)
        if now["state"] == "after":
            return {"run": name}
        data = read_bytes(run.file("new", index))
        if now["state"] != "before" or data is None:
            raise GuardError(one["path"] + ": has changed since the run began")
        like = attributes(one["path"]) or {"mode": int(now["mode"], 8), "uid": now["uid"], "gid": now["gid"]}
        put_file(one["path"], data, like)
        return {"run": name}


def activate(store: Store, name: str) -> Document:
    """Make the engine take up what was written: rules, limits, and the daemon's configuration.

    Whatever fails is taken back at once, and raises GuardError.
    """
    with store.locked():
        run = open_run(store, name)
        request, todo = run.request, read_json(run.file("todo.json"))
        extend(store, request)
        engine = Engine(request)
        try:
            _sync(run)
            _check(run, todo["checks"])
            if todo["rules"]:
                run.note("rules", "will")
                call(["augenrules", "--load"], 60)  # where the kernel refuses them, they count at the next boot
                run.note("rules", "did")
            _limit(run, engine, todo["updates"])
            if todo["activate"]:
                run.note("activate", "will")
                _take_up(run, request, engine)
                run.note("activate", "did")
            if todo["deferred"]:
                run.note("defer", "will")
                _write_down(request)
                run.note("defer", "did")
            for one in todo["recreates"]:
                extend(store, request)
                recreate(run, engine, one)
        except Exception as error:  # whatever it is
            reason = str(error) if isinstance(error, GuardError) else "%s: %s" % (type(error).__name__, error)
            undo(store, run, reason)
            raise GuardError("%s. The run was taken back." % reason.rstrip(".")) from error
        extend(store, request)
        return {"run": name, "changed": todo["told"]}


def _sync(run: Run) -> None:
    """See to it that the edited files outlast a cut of the power: it was not the guard that wrote them."""
    for one in run.before["files"]:
        sync(one["path"])
        sync(os.path.dirname(one["path"]))


def _check(run: Run, checks: list[Document]) -> None:
    """Have owners' programs read their edited files before anything takes effect."""
    if checks:
        run.note("check", "will", labels=[one["label"] for one in checks])
        for one in checks:
            if told := refusal(one):
                raise GuardError(told)
        run.note("check", "did")


def _limit(run: Run, engine: Engine, updates: list[Document]) -> None:
    """Give containers their limits, some sets at a time: the engine takes its time for each container."""
    for one in updates:
        run.note("limits", "will", names=one["names"], values=one["values"])
    with ThreadPoolExecutor(AT_ONCE) as pool:
        done = pool.map(lambda one: engine.docker("update", *one["options"], *one["names"], timeout=300), updates)
        failed = [told for code, _, told in done if code]
    if failed:
        raise GuardError("docker update: " + "; ".join(failed))
    for one in updates:
        run.note("limits", "did", names=one["names"])


def _take_up(run: Run, request: Document, engine: Engine) -> None:
    activation = request["activation"]
    if activation["action"] == "reload" or activation["reload_first"]:
        run.note("reload", "will")
        engine.reload()
        first = [one for one in activation["expect"] if one["reload"]]
        await_effect(engine, first, "the reload")
        run.note("reload", "did")
    if activation["action"] == "restart":
        alive, known = engine.containers(), run.before["containers"]
        lasting = [name for name, one in alive.items() if not (is_temporary(one) or is_task(one))]
        new = [name for name in lasting if name not in known]
        if names := [one for one in activation["stop"] if one in alive]:
            run.note("stop", "will", names=names)
            if told := engine.stop(names):
                raise GuardError(told)
            run.note("stop", "did")
        if activation["manager"]:
            drain(run, engine)
        run.note("restart", "will")
        engine.restart(activation["reload_units"])
        run.note("restart", "did")
        undrain(run, engine)
        failed = start(run, engine, [*(one for one in activation["start"] if one in known), *new])
        failed += pause(run, engine, known)
        if failed:  # the proof does not tell all of them: one that was stopped and ended with 0 looks done
            raise GuardError("; ".join(failed))
        return
    _write_down(request)


def _write_down(request: Document) -> None:
    """Keep what the running daemon has not taken up of its configuration: nothing else shows it."""
    activation = request["activation"]
    config = read_bytes(activation["config"])
    record = {"sha256": sha256(config), "started": activation["started"], "pending": activation["pending"]}
    write_file(os.path.join(request["state"], "activation.json"), json.dumps(record).encode())


def confirm(store: Store, name: str) -> Document:
    """Prove that all is as planned and as it was, and close the run; else take it back and raise GuardError."""
    with store.locked():
        run = open_run(store, name)
        request, todo = run.request, read_json(run.file("todo.json"))
        found = [
            "%s: is not what was planned" % one["path"]
            for one in run.before["files"]
            if one["after"] is not None and sha256(read_bytes(one["path"])) != one["after"]
        ]
        activated = todo["activate"] or run.has("activate")  # which was done by then where the run was resumed
        if not found and (activated or any(run.has(one) for one in ("limits", "recreate"))):
            restarted = activated and request["activation"]["action"] == "restart"
            expected = request["activation"]["expect"] if activated else []
            expected = expected if restarted else [one for one in expected if one["reload"]]
            kept = not (activated and _stops(run, request["activation"]))
            found = prove(Engine(request), request, run.before, expected, bool(restarted), kept)
        if found:
            reason = "; ".join(found)
            undo(store, run, reason)
            raise GuardError(reason + ". The run was taken back.")
        survived = _survivors(Engine(request), run.before) if activated else []
        _sync(run)
        run.note("confirm", "will")
        ended = run.end("confirmed", changed=todo["told"])
        disarm(store, request["root"])
        shutil.rmtree(run.file("new"), ignore_errors=True)
        run.remember("confirm", "did")
        return dict(ended, survived=survived)


def _stops(run: Run, activation: Document) -> bool:
    """Whether the daemon takes up its configuration by a restart that stops what runs."""
    if activation["action"] != "restart":
        return False
    live = run.before["live_restore"] or activation["reload_first"]
    off = any(one["key"] == "live-restore" and one["value"] is False for one in activation["expect"])
    return bool(activation["stop"]) or off or not live


def _survivors(engine: Engine, before: Document) -> list[str]:
    try:
        now = {one["Id"]: one["State"]["Pid"] for one in engine.containers().values()}
    except GuardError:
        return []
    return [name for name, one in before["containers"].items() if now.get(one["id"]) == one["pid"]]


"""The guard's command line, as playbooks, timers and the next boot call it."""


import json
import os
import signal
import sys



def main(words: list[str], given: Document = None, home: str = "") -> int:
    """`begin` with its document on standard input, or `activate|confirm|expire|status RUN`, `place RUN INDEX`,
    `undo RUN [REASON]`, or `boot`.

    `home` is the guard's directory, by default that in which it stands. Prints one JSON document; 1 and a sentence
    on standard error where something failed.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a connection that is cut does not stop it half-way
    command, names = words[0], words[1:]
    try:
        if command == "begin":
            print(json.dumps(begin(given if given is not None else json.load(sys.stdin))))
            return 0
        store = Store(home or os.path.dirname(os.path.abspath(__file__)))
        if command == "boot":
            boot(store)
            return 0
        if command == "expire":
            expire(store, names[0])
            return 0
        if command == "undo":
            with store.locked(600):
                done = undo(store, store.run(names[0]), " ".join(names[1:]) or "it was asked for")
        elif command == "place":
            done = place(store, names[0], names[1])
        elif command == "status":
            done = dict(store.run(names[0]).result or {"outcome": "open"}, current=store.current())
        else:
            done = {"activate": activate, "confirm": confirm}[command](store, names[0])
        print(json.dumps(done))
        return 1 if done.get("errors") else 0
    except (GuardError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], globals().get("given")))
