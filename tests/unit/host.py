"""Hosts for tests: file trees on disk, recorded engine documents, and evidence without any disk."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from remediator import kinds
from remediator.baseline import Baseline, BaselineFile, build, load_controls
from remediator.collect import containers, local
from remediator.edited import join
from remediator.model import FileEdit, HostState

CONFIG: Final = "/etc/docker/daemon.json"
ENVIRONMENT: Final = "/etc/environment"
RULES: Final = "/etc/audit/rules.d/50-docker.rules"
UNIT: Final = "/usr/lib/systemd/system/docker.service"
MACHINE_ID: Final = "0123456789abcdef0123456789abcdef"
NOW: Final = "2026-11-23T12:00:00Z"
GIB: Final = 2**30
MIB: Final = 2**20


def baseline(*include: str, **more: Any) -> Baseline:
    """A baseline of bundled controls, with parameters, tailoring and waivers as a file would give them."""
    import msgspec

    source = msgspec.convert({"name": "test", "include": list(include), **more}, BaselineFile)
    return build(source, load_controls())


# --- evidence ---------------------------------------------------------------------------------------


def file(content: str | None = None, **more: Any) -> dict[str, Any]:
    """What the probe says of a file that has been there for long."""
    found: dict[str, Any] = {"type": "file", "mode": "0644", "owner": "root:root", "changed": 1000.0}
    if content is not None:
        found.update(text=content, sha256=hashlib.sha256(content.encode()).hexdigest(), size=len(content))
    return {**found, **more}


def inspect(name: str, host: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A container as `docker inspect` gives it; keywords change Config, State and networks."""
    labels, networks = more.get("labels", {}), more.get("networks", ["app"])
    return {
        "Id": hashlib.sha256(name.encode()).hexdigest(),
        "Name": f"/{name}",
        "HostConfig": {
            "Memory": 0,
            "MemorySwap": 0,
            "CpuShares": 0,
            "PidsLimit": None,
            "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
            "NetworkMode": networks[0] if networks else "none",
            **(host or {}),
        },
        "Config": {"Image": "app:1", "User": "1000", "Labels": labels, "Env": ["PASSWORD=hunter2"]},
        "State": {"Running": more.get("running", True), "Pid": 0, "StartedAt": more.get("started", NOW)},
        "NetworkSettings": {"Networks": {one: {} for one in networks}},
    }


def engine(
    *inspects: dict[str, Any],
    info: Mapping[str, Any] | None = None,
    icc: str | None = None,
    live: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """An engine's documents as the probe projects them."""
    full = {"ServerVersion": "28.5.2", "Driver": "overlay2", "LoggingDriver": "json-file", "MemTotal": 16 * GIB}
    bridge = {} if icc is None else {"Options": {"com.docker.network.bridge.enable_icc": icc}}
    found = containers.gather({**full, **(info or {})}, bridge, list(inspects), recorded=True)
    for name, used in (live or {}).items():
        found["containers"][name]["live"] = dict(used)
    return found


def evidence(
    config: str | None = None,
    *,
    files: Mapping[str, Mapping[str, Any]] | None = None,
    daemon: Mapping[str, Any] | None = None,
    found: Mapping[str, Any] | None = None,
    root: str = "/tree",
    about: Mapping[str, Any] | None = None,
    paths: Mapping[str, list[str]] | None = None,
) -> dict[str, Any]:
    """What the probe would bring of a host: daemon.json, other files, a daemon that runs, an engine."""
    all_files: dict[str, Any] = {CONFIG: {"type": "absent"} if config is None else file(config)}
    all_files.update({path: dict(one) for path, one in (files or {}).items()})
    all_files.setdefault(ENVIRONMENT, {"type": "absent"})
    all_files.setdefault(RULES, {"type": "absent"})
    all_files.setdefault("/etc/audit/rules.d", {"type": "directory", "mode": "0750", "owner": "root:root"})
    tokens = {
        "{daemon:config-file}": [CONFIG],
        "{daemon:data-root}": ["/var/lib/docker"],
        "{unit:docker.service}": [UNIT],
        "{socket}": ["/run/docker.sock"],
    }
    return {
        "collected_at": NOW,
        "root": root,
        "about": {
            "hostname": "web1",
            "machine_id": MACHINE_ID,
            "commands": ["augenrules", "docker", "dockerd"],
            "init": "systemd",
            **(about or {}),
        },
        "paths": {**tokens, **(paths or {})},
        "units": {"docker.service": [one for one in (UNIT,) if one in all_files], "docker.socket": []},
        "daemon": None if daemon is None else {"pid": 1, "argv": ["dockerd"], "started": 2000.0, **daemon},
        "files": all_files,
        "data_root_mount": True,
        "docker_group": [],
        "engine": {"error": "a file tree without recorded engine data"} if found is None else dict(found),
    }


def applied(given: Mapping[str, Any], edits: Iterable[FileEdit]) -> dict[str, Any]:
    """The evidence as it would be after the edits of files."""
    files = dict(given["files"])
    for edit in edits:
        was = files.get(edit.path, {})
        new = join(list(edit.pieces), str(was.get("text", ""))) if edit.masked else edit.content
        files[edit.path] = file(new)
    return {**given, "files": files}


def state(*args: Any, **more: Any) -> HostState:
    """The state that kinds make of such evidence."""
    return kinds.state(evidence(*args, **more))


# --- file trees -------------------------------------------------------------------------------------


class Tree:
    """The file tree of a host on disk, its root directory and the recorded engine documents beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "root"
        for name in ("etc/docker", "etc/audit/rules.d", "etc/default", "usr/bin", "var/lib/docker"):
            (self.root / name).mkdir(parents=True)
        self.write("/etc/hostname", "web1\n")
        self.write("/etc/machine-id", MACHINE_ID + "\n")
        self.write(UNIT, "[Service]\nExecStart=/usr/bin/dockerd -H fd://\n")

    def path(self, path: str) -> Path:
        """Where a path of the host stands on this machine."""
        return self.root / path.lstrip("/")

    def write(self, path: str, content: str | bytes, mode: int = 0o644) -> Path:
        """Write a file of the host."""
        here = self.path(path)
        here.parent.mkdir(parents=True, exist_ok=True)
        here.write_bytes(content.encode() if isinstance(content, str) else content)
        here.chmod(mode)
        return here

    def read(self, path: str) -> str:
        """The text of a file of the host, with its ends of lines as they are."""
        return self.path(path).read_bytes().decode()

    def record(self, *inspects: dict[str, Any], info: Mapping[str, Any] | None = None) -> None:
        """Record an engine beside the tree."""
        document = {
            "info": {"ServerVersion": "28.5.2", "MemTotal": 16 * GIB, **(info or {})},
            "bridge": {},
            "inspect": list(inspects),
        }
        (self.folder / "engine.json").write_text(json.dumps(document), encoding="utf-8")

    def evidence(self) -> dict[str, Any]:
        """What the probe brings of the tree."""
        return local.collect(kinds.request(), str(self.root))

    def state(self) -> HostState:
        """The tree's state."""
        return kinds.state(self.evidence())

    def snapshot(self) -> dict[str, tuple[int, int, str]]:
        """Mode, time of change and content of everything in the tree."""
        found = {}
        for folder, names, files in os.walk(self.root):
            for name in [*names, *files]:
                path = Path(folder) / name
                info = path.lstat()
                content = ""
                if path.is_symlink():
                    content = str(path.readlink())
                elif path.is_file() and info.st_size < MIB:
                    content = hashlib.sha256(path.read_bytes()).hexdigest()
                found[str(path)] = (info.st_mode, info.st_mtime_ns, content)
        return found


def program(*arguments: str | Path, given: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """The program as a user starts it, without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "remediator", *map(str, arguments)],
        input=given,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, **environment},
    )
