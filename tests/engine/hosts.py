"""Hosts as tests want them, and what they look like: files, containers, control groups, the daemon."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.engine.private import PrivateEngine

# The first process of a container that ends as soon as it is asked to.
QUICK = ("sh", "-c", 'trap "exit 0" TERM; while :; do sleep 0.2; done')
# The same, after it has used 200 MB once.
DATABASE = ("sh", "-c", f"dd if=/dev/zero of=/dev/null bs=200M count=1; : >/ready; {QUICK[2]}")

# max-concurrent-downloads is no control's business; the white space is nobody's taste.
BAD_CONFIG = """\
{ "icc" : true,
    "log-level":"debug" ,
  "insecure-registries": [ "registry.internal:5000" ,"10.0.0.0/8"],

\t"max-concurrent-downloads":7, "log-opts": {"max-size": "10m", "tag": "{{.Name}}"},
  "experimental" :true,
  "userland-proxy"   : true
}"""

BAD_FILES = {
    "/etc/environment": "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nDOCKER_CONTENT_TRUST=0\n",
    "/etc/profile.d/docker.sh": "# for the builds\nexport DOCKER_CONTENT_TRUST=0\n",
    "/etc/default/docker": "# options of the daemon\nDOCKER_OPTS=\n",
}

BAD_MODES = {"/etc/docker": 0o777, "/etc/docker/daemon.json": 0o666, "/etc/default/docker": 0o666}

# name: (options of docker run, command)
WORKLOADS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "plain": ((), QUICK),
    "privileged": (("--privileged",), QUICK),
    "hostnet": (("--network", "host"), QUICK),
    "socket": (("-v", "/run/docker.sock:/var/run/docker.sock"), QUICK),
    "always": (("--restart", "always"), QUICK),
    "unless": (("--restart", "unless-stopped", "--network", "app"), QUICK),
    "retrying": (("--restart", "on-failure:3"), QUICK),
    "limited": (("--memory", "64m", "--memory-swap", "96m", "--cpu-shares", "256", "--pids-limit", "77"), QUICK),
    "published": (("-p", "8080:80"), QUICK),
    "networked": (("--network", "app"), QUICK),
    "database": (("--network", "app"), DATABASE),
}


def bad_host(host: PrivateEngine) -> None:
    """Make a started host bad: modes of files, and containers of many kinds, one of them stopped."""
    for path, mode in BAD_MODES.items():
        host.path(path).chmod(mode)
    os.chown(host.path("/etc/profile.d/docker.sh"), 1, 1)
    host.load_image()
    host.docker("network", "create", "app")
    for name, (options, command) in WORKLOADS.items():
        host.container(name, *options, command=command)
    host.docker("create", "--name", "stopped", "busybox:local")
    deadline = time.monotonic() + 20
    while host.run("docker", "exec", "database", "cat", "/ready", check=False).returncode:
        assert time.monotonic() < deadline, "the database did not come up"
        time.sleep(0.1)


def inspects(host: PrivateEngine) -> dict[str, dict[str, Any]]:
    """The inspect documents of all containers by name."""
    identities = host.docker("ps", "--all", "--quiet", "--no-trunc").split()
    found = json.loads(host.docker("inspect", *identities)) if identities else []
    return {str(one["Name"]).lstrip("/"): one for one in found}


def running(host: PrivateEngine) -> list[str]:
    """The names of the running containers, sorted."""
    return sorted(host.docker("ps", "--format", "{{.Names}}").split())


def lives(host: PrivateEngine) -> dict[str, tuple[int, str]]:
    """Pid and start time of the running containers by name."""
    return {
        name: (one["State"]["Pid"], one["State"]["StartedAt"])
        for name, one in inspects(host).items()
        if one["State"]["Running"]
    }


def daemon_pid(host: PrivateEngine) -> int:
    """The process id of dockerd."""
    return int(host.read("/run/docker.pid"))


def file(host: PrivateEngine, path: str) -> tuple[bytes, int, int, int]:
    """Bytes, mode, user and group of a file of the host."""
    where = host.path(path)
    info = where.stat()
    return where.read_bytes(), info.st_mode & 0o7777, info.st_uid, info.st_gid


def written(host: PrivateEngine) -> dict[str, str]:
    """Everything that was ever written below /etc, /usr and /var/lib: a line about each file by its path."""
    found = {}
    for top in ("etc", "usr", "var/lib"):
        for folder, names, files in os.walk(host.directory / "upper" / top):
            for name in [*names, *files]:
                path = Path(folder) / name
                info = path.lstat()
                text = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
                line = f"{info.st_mode:o} {info.st_uid}:{info.st_gid} {text}"
                found[str(path.relative_to(host.directory / "upper"))] = line
    return found


def group_value(host: PrivateEngine, name: str, *files: str) -> str:
    """The first of some files of a running container's control groups (their names differ by version)."""
    identity = host.inspect(name)["Id"]
    for one in files:
        for parent in (f"/sys/fs/cgroup/{one.partition('.')[0]}/docker", "/sys/fs/cgroup/docker"):
            path = host.path(f"{parent}/{identity}/{one}")
            if path.exists():
                return path.read_text(encoding="ascii").strip()
    raise AssertionError(f"{name} has none of {files}")


def memory_limit(host: PrivateEngine, name: str) -> int | None:
    """The memory limit of a running container in bytes as the kernel has it; None where there is none."""
    text = group_value(host, name, "memory.limit_in_bytes", "memory.max")
    return None if text == "max" or int(text) > 2**60 else int(text)


def pids_limit(host: PrivateEngine, name: str) -> int | None:
    """How many tasks a running container may have as the kernel has it; None where there is no limit."""
    text = group_value(host, name, "pids.max")
    return None if text == "max" else int(text)


def document(done: Any) -> Any:
    """The JSON document that a command printed."""
    return json.loads(done.stdout)


def plan_of(host: PrivateEngine, *arguments: str, code: int | None = None) -> Any:
    """The plan of a host for some arguments, as a document."""
    return document(host.remediator("plan", *arguments, "--format", "json", code=code))["hosts"][0]


def held_reasons(plan: Any) -> dict[tuple[str, str], str]:
    """Why findings are held, by control and resource."""
    return {(one["finding"]["control"], one["finding"]["resource"]): one["reason"] for one in plan.get("held", [])}


def changes(plan: Any) -> list[tuple[str, str]]:
    """Resource and path of each change of a plan."""
    return [(one["resource"], one["path"]) for one in plan.get("changes", [])]


def failing(host: PrivateEngine) -> list[Any]:
    """The findings that fail."""
    found = document(host.remediator("audit", "--format", "json"))["findings"]
    return [one for one in found if one["outcome"] == "fail"]


def baseline(host: PrivateEngine, path: Path, controls: Iterable[str]) -> str:
    """A baseline of some controls alone, as a file; its path."""
    path.write_text(json.dumps({"name": path.stem, "include": list(controls)}), encoding="utf-8")
    return str(path)
