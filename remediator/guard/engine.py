"""The engine of this host behind its command line, and the service that runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time

from .files import Document, GuardError
from .store import Run

PID_FILE = "/run/docker.pid"


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


class Engine:
    """The engine of this host, behind its command line, and the service that runs it."""

    def __init__(self, request: Document) -> None:
        activation = request["activation"]
        self._docker = list(activation["docker"])
        self.systemd = bool(activation["systemd"])
        self.patience = min(120.0, float(request["limit"]))  # seconds for a start

    def docker(self, *words: str, timeout: float = 60.0) -> tuple[int, str, str]:
        """Run the docker command."""
        return call([*self._docker, *words], timeout)

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
        """The documents of containers by name: of all that run, or of the named ones that are there."""
        if identities is None:
            _, out, _ = self.docker("ps", "--quiet", "--no-trunc")
            identities = out.split()
        if not identities:
            return {}
        _, out, _ = self.docker("inspect", "--type", "container", *identities)
        return {one["Name"].lstrip("/"): one for one in json.loads(out or "[]")}

    def started(self) -> float:
        """When the daemon that runs was started, in seconds since the epoch; 0 without one."""
        try:
            return os.stat(PID_FILE).st_mtime
        except OSError:
            return 0.0

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
        try:
            with open(PID_FILE, encoding="ascii") as file:
                pid = int(file.read())
            with open("/proc/%d/comm" % pid, encoding="utf-8") as file:
                name = file.read().strip()
        except (OSError, ValueError) as error:
            raise GuardError("there is no running daemon to reload") from error
        if name != "dockerd":
            raise GuardError("%s names a process that is no dockerd" % PID_FILE)
        os.kill(pid, signal.SIGHUP)

    def _systemctl(self, *words: str, timeout: float = 60.0) -> tuple[int, str, str]:
        return call(["systemctl", *words], timeout)

    def masked(self) -> bool:
        """Whether systemd would refuse to start the daemon."""
        return self.systemd and self._systemctl("show", "--property=LoadState", "docker.service")[1].endswith("masked")

    def restart(self, units: bool = False) -> None:
        """Restart the daemon and wait until it answers; raises GuardError where it does not.

        Counters of starts are reset before: systemd counts those that succeeded as well.
        """
        if self.systemd:
            if units:
                self._systemctl("daemon-reload")
            self._systemctl("reset-failed", "docker.service", "docker.socket")
            state = self._systemctl("show", "--property=ActiveState", "docker.service")[1]
            if state.endswith(("=activating", "=deactivating")):  # it hangs, and would until it is ended
                self._systemctl("kill", "--signal=KILL", "docker.service")
            code, _, told = self._systemctl("restart", "docker.service", timeout=self.patience)
        else:
            code, _, told = call(["service", "docker", "restart"], self.patience)
        if code:
            raise GuardError("the daemon did not start: " + (self._why() or told))
        if self.wait(self.patience) is None:
            raise GuardError("the daemon started and does not answer" + self._why())

    def _why(self) -> str:
        if not self.systemd:
            return ""
        words = ["journalctl", "--unit=docker.service", "--output=cat", "--lines=30", "--no-pager"]
        lines = [one for one in call(words, 10)[1].splitlines() if "failed" in one or "unable" in one or "err" in one]
        own = [one for one in lines if not one.startswith(("docker.service", "Failed to start docker"))]
        return (own or lines or [""])[-1][-500:]


def start(run: Run, engine: Engine, names: list[str]) -> list[str]:
    """Start those containers that do not run, in their order; what could not be started comes back."""
    running = engine.containers(list(names)) if names else {}
    idle = [one for one in names if one in running and not running[one]["State"]["Running"]]
    failed = []
    for name in idle:
        run.note("start", "will", names=[name])
        code, _, told = engine.docker("start", name)
        if code:
            failed.append("container %s cannot be started: %s" % (name, told))
    return failed
