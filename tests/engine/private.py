"""A private Docker host on this machine: its own namespaces, control groups, /etc, socket and data root.

The machine's files show through overlays, so the tests' own Python and this project run inside as they
are; whatever is written goes to a directory that is removed. The init script of Debian's docker.io starts
and stops the daemon. The machine's own Docker is not touched.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.lab import cgroups, machine

IMAGE = "busybox:local"
PREFIX = "remediator-engine-"
_TOOLS = ("dockerd", "docker", "unshare", "nsenter", "setpriv", "busybox", "iptables", "service", "pkill")


def unavailable_reason() -> str:
    """Why no private engine can run here; "" where it can."""
    if os.geteuid() != 0:
        return "not root: an engine of one's own needs namespaces, mounts and control groups"
    if missing := [name for name in _TOOLS if shutil.which(name) is None]:
        return f"not installed: {', '.join(missing)}"
    if not Path("/etc/init.d/docker").exists():
        return "no init script for docker: not Debian's docker.io"
    if not cgroups.hierarchies():
        return "no usable control groups"
    return ""


def sweep() -> None:
    """Remove what hosts left whose maker was killed: its processes ended with it, groups and files did not."""
    groups = [one for group in cgroups.groups(PREFIX + "hosts") for one in group.iterdir() if one.is_dir()]
    for left in [*groups, *Path(tempfile.gettempdir()).glob(PREFIX + "*")]:
        maker = left.name.removeprefix(PREFIX).partition("-")[0]
        if not maker.isdigit() or Path(f"/proc/{maker}").exists():
            continue
        if left in groups:
            _remove_group(left)
        else:
            shutil.rmtree(left, ignore_errors=True)


def _remove_group(group: Path) -> None:
    deadline = time.monotonic() + 10
    while alive := cgroups.pids(group):
        for pid in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    cgroups.remove(group)
    parent = group.parent
    if parent.name == PREFIX + "hosts" and not any(one.is_dir() for one in parent.iterdir()):
        with contextlib.suppress(OSError):  # another has just made a host in it
            parent.rmdir()


class PrivateEngine:
    """One private host with a running dockerd; use as a context manager."""

    def __init__(self, daemon: dict[str, Any] | str | None = None, files: dict[str, str] | None = None) -> None:
        sweep()
        self.name = f"{PREFIX}{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.directory = Path(tempfile.mkdtemp(prefix=self.name + "-"))
        self._groups = cgroups.create(PREFIX + "hosts", self.name)
        config = daemon if isinstance(daemon, str) else json.dumps(daemon or {}, indent=2) + "\n"
        self._files = {"/etc/docker/daemon.json": config, **(files or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self.pid = 0

    def __enter__(self) -> PrivateEngine:
        try:
            self._boot()
            self.service("start")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        for group in self._groups:
            _remove_group(group)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _boot(self) -> None:
        script = Path(__file__).with_name("boot.sh")
        wrapper = self.directory / "upper/usr/local/sbin/runc"
        if not machine.may_raise_limits():
            wrapper.parent.mkdir(parents=True)
            shutil.copy(Path(machine.__file__).with_name("runc_wrapper.py"), wrapper)
            wrapper.chmod(0o755)
        environment = {
            **os.environ,
            "ENGINE_DIR": str(self.directory),
            "ENGINE_CGROUPS": cgroups.mounts(),
            "ENGINE_NAME": self.name,
        }
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", str(script), "enter", *map(str, self._groups)],
            env=environment,
            stdin=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 30
        while True:
            children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
            self.pid = int((children.read_text().split() or ["0"])[0])
            if self.pid and Path(f"/proc/{self.pid}/root/run/ready").exists():
                break
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the private host did not come up")
            time.sleep(0.02)
        for path, text in self._files.items():
            self.write(path, text)

    # --- running things on it -----------------------------------------------------------------------

    def run(
        self,
        *argv: str,
        check: bool = True,
        text_input: str | None = None,
        timeout: float = 300,
        env: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the host in the test's environment; its directory is the root."""
        enter = ["nsenter", "--target", str(self.pid), "--mount", "--net", "--pid", "--cgroup", "--uts"]
        environment = {**os.environ, **(env or {})}
        environment.pop("DOCKER_HOST", None)
        environment["PATH"] = "/usr/local/sbin:" + environment.get("PATH", "")
        done = subprocess.run(
            [*enter, *argv],
            capture_output=True,
            text=True,
            input=text_input,
            timeout=timeout,
            env=environment,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(
                f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
            )
        return done

    def remediator(self, *arguments: str, code: int | None = None, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run this program on the host; with `code` the exit code must be that."""
        done = self.run(sys.executable, "-m", "remediator", *arguments, check=False, **more)
        if code is not None and done.returncode != code:
            raise AssertionError(
                f"remediator {' '.join(arguments)}: {done.returncode}, not {code}\n"
                f"{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
            )
        return done

    def docker(self, *arguments: str, check: bool = True) -> str:
        """Run docker on the host; its output."""
        return self.run("docker", *arguments, check=check).stdout.strip()

    def service(self, action: str) -> None:
        """Start, stop or restart dockerd by its init script, and wait until it answers."""
        self.run("service", "docker", action)
        if action == "stop":
            return
        deadline = time.monotonic() + 40
        while self.run("docker", "info", "--format", "x", check=False).returncode:
            if time.monotonic() > deadline:
                raise AssertionError(f"dockerd does not answer: {self.read('/var/log/docker.log')[-3000:]}")
            time.sleep(0.1)

    # --- files and containers -----------------------------------------------------------------------

    def path(self, path: str) -> Path:
        """A path of the host, as the machine sees it."""
        return Path(f"/proc/{self.pid}/root{path}")

    def read(self, path: str) -> str:
        return self.path(path).read_text(encoding="utf-8", errors="surrogateescape")

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        target = self.path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8", errors="surrogateescape")
        target.chmod(mode)

    def load_image(self) -> None:
        """Import an image of busybox."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            tar.add(str(shutil.which("busybox")), "bin/busybox")
            for name in ("sh", "sleep", "ping", "nc", "httpd", "cat", "dd", "true"):
                link = tarfile.TarInfo(f"bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
        archive = self.directory / "image.tar"
        archive.write_bytes(buffer.getvalue())
        self.docker("import", "-c", 'CMD ["/bin/sleep","100000"]', str(archive), IMAGE)

    def container(self, name: str, *options: str, command: Sequence[str] = ()) -> str:
        """Run a container in the background; its id."""
        return self.docker("run", "-d", "--name", name, *options, IMAGE, *command)

    def inspect(self, name: str) -> dict[str, Any]:
        return dict(json.loads(self.docker("inspect", name))[0])

    def pings(self, source: str, target: str) -> bool:
        """Whether one container can ping another by its address."""
        address = self.inspect(target)["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
        return self.run("docker", "exec", source, "ping", "-c", "1", "-W", "1", address, check=False).returncode == 0
