"""One server of a lab: boot it, run commands on it, end it."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.lab import cgroups, processes, recipe, state
from tests.lab.errors import LabError
from tests.lab.processes import Process
from tests.lab.recipe import GENERATIONS, Generation
from tests.lab.state import HostState, LabState

BRIDGE = "rlab0"
PREFIX_LENGTH = 16
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
}
SSH_PORT = 22


class Host:
    """A server with systemd as PID 1, its own dockerd and sshd. Made by `Lab.host()`."""

    def __init__(self, lab: LabState, record: HostState) -> None:
        self._lab = lab
        self._record = record
        self._waits: subprocess.Popen[bytes] | None = None
        self._first: Process | None = None
        self._has_image = False

    def __repr__(self) -> str:
        return f"Host({self.name!r}, {self.generation!r}, {self.ip!r})"

    @property
    def name(self) -> str:
        """The host's name, in the inventory and on the host itself."""
        return self._record.name

    @property
    def generation(self) -> str:
        """The engine generation: a key of GENERATIONS."""
        return self._record.generation

    @property
    def recipe(self) -> Generation:
        """The recipe of the generation."""
        return GENERATIONS[self.generation]

    @property
    def ip(self) -> str:
        """The address on the lab's bridge; reached from inside the lab's network namespace only."""
        return self._record.ip

    @property
    def ssh_port(self) -> int:
        """Where sshd listens."""
        return SSH_PORT

    @property
    def ssh_identity(self) -> Path:
        """The private key that root and admin let in."""
        return self._lab.directory / "id_ed25519"

    @property
    def pid(self) -> int:
        """The pid of the host's systemd, as the machine sees it."""
        if self._first and self._first.alive():
            return self._first.pid
        for group in cgroups.groups(self._lab.name)[:1]:
            for pid in cgroups.pids(group / self.name):
                if processes.is_first(pid):
                    self._first = Process.of(pid)
                    return pid
        raise LabError(f"{self.name} is not running{self._boot_log()}")

    @property
    def running(self) -> bool:
        """Whether the host has a PID 1."""
        try:
            return bool(self.pid)
        except LabError:
            return False

    @property
    def root(self) -> Path:
        """The host's root directory, seen from the machine, while it runs. Absolute links lead out of it."""
        return Path(f"/proc/{self.pid}/root")

    def start(self) -> None:
        """Boot the host, and return as soon as systemd is there; `wait_ready()` waits for the rest."""
        if self.running:
            return
        state.end_host(self._lab, self.name)  # what an ended boot may have left
        directory = self._lab.host_directory(self.name)
        groups = cgroups.create(self._lab.name, self.name)
        last = self.ip.split(".")
        environment = {
            **ENVIRONMENT,
            "LAB_TREE": self._record.tree,
            "LAB_HOST_DIR": str(directory),
            "LAB_HOST": self.name,
            "LAB_CGROUPS": cgroups.mounts(),
            "LAB_NETNS": str(self._lab.netns),
            "LAB_BRIDGE": BRIDGE,
            "LAB_LINK": f"rlab-{last[2]}.{last[3]}",
            # the same over reboots, else neighbours ask for the old one for seconds
            "LAB_MAC": f"02:72:6c:00:{int(last[2]):02x}:{int(last[3]):02x}",
            "LAB_ADDRESS": f"{self.ip}/{PREFIX_LENGTH}",
        }
        boot = Path(__file__).with_name("boot.sh")
        with (directory / "boot.log").open("wb") as log:
            self._waits = subprocess.Popen(
                [boot, "enter", *groups],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is for the lab, which then ends its hosts
            )
        self._record.process = Process.of(self._waits.pid)
        self._lab.save()

        def booted() -> bool:
            if self._waits and self._waits.poll() is not None:
                raise LabError(f"{self.name} did not boot{self._boot_log()}")
            return self.running and self._command() == "systemd"

        if not processes.until(booted, timeout=20):
            raise LabError(f"{self.name} did not boot in time{self._boot_log()}")
        cgroups.step_aside(self._waits.pid, self._lab.name, self.name)

    def wait_ready(self, timeout: float = 60, *, docker: bool = True) -> None:
        """Wait until Docker's API answers, sshd listens and systemd has come up with no failed unit."""
        waits = {"sshd listens": self._ssh_listens, "systemd is up": self._is_up}
        if docker:
            waits["the Docker API answers"] = self._docker_answers
        for what, answers in waits.items():
            if not processes.until(answers, timeout):
                status = self.run(["systemctl", "status", "--no-pager", "docker", "ssh"], check=False).stdout
                raise LabError(f"{self.name}: waited {timeout:g} s, but not so: {what}\n{status}")
        failed = self.run(["systemctl", "--failed", "--plain", "--no-legend"]).stdout.strip()
        if docker and failed:
            raise LabError(f"{self.name} has failed units:\n{failed}")

    def stop(self, timeout: float = 30) -> None:
        """Shut the host down in good order; its files stay."""
        if self.running:
            self.run(["systemctl", "poweroff"], check=False)
            processes.until(lambda: not self.running, timeout)
        self.kill()

    def reboot(self, timeout: float = 30) -> None:
        """Shut down in good order and boot again from the same files; returns when ready."""
        self.run(["systemctl", "reboot"], check=False)
        if not processes.until(lambda: not self.running, timeout):
            raise LabError(f"{self.name} does not go down for a reboot")
        self.start()
        self.wait_ready()

    def kill(self) -> None:
        """Pull the plug: end every process of the host; its files stay."""
        state.end_host(self._lab, self.name)
        if self._waits:
            self._waits.wait()
        self._record.process = self._waits = None
        self._lab.save()

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        check: bool = True,
        input: str | None = None,  # noqa: A002 - as in subprocess.run
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the host as root, without ssh; a failure raises LabError with what it printed."""
        flags = ["--mount", "--net", "--uts", "--ipc", "--pid", "--cgroup"]
        words = [str(word) for word in argv]
        done = subprocess.run(
            ["nsenter", "--target", str(self.pid), *flags, "--", *words],
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=ENVIRONMENT,
            check=False,
        )
        if check and done.returncode:
            printed = f"{done.stdout}{done.stderr}"
            raise LabError(f"{self.name}: {' '.join(words)}: exit {done.returncode}\n{printed}")
        return done

    def read(self, path: str) -> str:
        """A file of the host, followed through links as the host would."""
        return self.run(["cat", "--", path]).stdout

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file of the host, making its directory where missing."""
        self.run(["mkdir", "-p", "--", Path(path).parent])
        self.run(["dd", "status=none", f"of={path}"], input=text)
        self.run(["chmod", f"{mode:o}", "--", path])

    def exists(self, path: str) -> bool:
        """Whether the host has this file or directory."""
        return self.run(["test", "-e", path], check=False).returncode == 0

    def docker(self, *args: str, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run the docker command line on the host."""
        return self.run(["docker", *args], check=check, timeout=timeout)

    def inspect(self, container: str) -> dict[str, object]:
        """The engine's document about a container."""
        printed = self.docker("inspect", "--type", "container", container).stdout
        document: dict[str, object] = json.loads(printed)[0]
        return document

    def configure_docker(self, config: dict[str, object]) -> None:
        """Write /etc/docker/daemon.json and restart the engine with it."""
        self.write("/etc/docker/daemon.json", json.dumps(config, indent=2) + "\n")
        self.restart_docker()

    def restart_docker(self) -> None:
        """Restart the engine; systemd's limit on restarts does not count for the lab."""
        self.run(["systemctl", "reset-failed", "docker.service", "docker.socket"], check=False)
        self.run(["systemctl", "restart", "docker.service"])

    def load_image(self) -> str:
        """Give the engine the image `busybox:local`, where it has none; the name of the image."""
        if not self._has_image and self.docker("image", "inspect", recipe.IMAGE, check=False).returncode:
            command = f'CMD ["{recipe.IMAGE_COMMAND}"]'
            self.docker("import", "--change", command, f"/{recipe.IMAGE_TAR}", recipe.IMAGE)
        self._has_image = True
        return recipe.IMAGE

    def run_container(self, name: str, *options: str, command: Sequence[str] = (), image: str = "") -> str:
        """Start a detached container with options of `docker run`; its id.

        Without a command it idles and ends at once on SIGTERM; `command=("sleep", "3600")` ignores SIGTERM.
        """
        image = image or self.load_image()
        return self.docker("run", "--detach", "--name", name, *options, image, *command).stdout.strip()

    def container_pid(self, container: str) -> int:
        """The pid of a container's first process, as the host sees it."""
        return int(self.docker("inspect", "--format", "{{.State.Pid}}", container).stdout)

    def _docker_answers(self) -> bool:
        """Ask the engine directly: no client has to be started, and a socket unit does not fool us."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(2)
            try:
                connection.connect(f"{self.root}/run/docker.sock")
                connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
                answer = http.client.HTTPResponse(connection)
                answer.begin()
            except (OSError, http.client.HTTPException):
                return False
            return answer.status == http.client.OK

    def _ssh_listens(self) -> bool:
        listening = f":{SSH_PORT:04X} 00000000:0000 0A"
        return listening in Path(f"/proc/{self.pid}/net/tcp").read_text()

    def _is_up(self) -> bool:
        done = self.run(["systemctl", "is-system-running"], check=False)
        return done.stdout.strip() in {"running", "degraded"}

    def _command(self) -> str:
        return Path(f"/proc/{self.pid}/comm").read_text().strip()

    def _boot_log(self) -> str:
        log = self._lab.host_directory(self.name) / "boot.log"
        text = log.read_text().strip() if log.exists() else ""
        return f": {text}" if text else ""
