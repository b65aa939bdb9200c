"""The engine of this host behind its command line, and the service that runs it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
import time

from .files import Document, GuardError
from .store import Run

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
