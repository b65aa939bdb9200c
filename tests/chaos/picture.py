"""What a host is: all of /etc, what the engine does, the limits of its containers, and which of them run."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tests.lab.host import Host

LIMITS = ("Memory", "MemorySwap", "CpuShares", "PidsLimit", "RestartPolicy")
# What is not a setting: compiled by augenrules, which runs on the way there and back
IGNORED = ("/etc/audit/audit.rules", "/etc/audit/audit.rules.prev")

# Runs on the host, so that one call tells all of it
LOOK = r"""
import hashlib, json, os, socket, subprocess

def ask(path):  # the command would start all its plugins first
    with socket.socket(socket.AF_UNIX) as engine:
        engine.settimeout(60)
        engine.connect("/run/docker.sock")
        engine.sendall(b"GET %s HTTP/1.0\r\n\r\n" % path.encode())
        head, _, body = b"".join(iter(lambda: engine.recv(65536), b"")).partition(b"\r\n\r\n")
    return json.loads(body) if b" 200 " in head.splitlines()[0] else None

def systemd(*words):
    return subprocess.run(["systemctl", *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.decode()

etc = {}
for folder, folders, names in os.walk("/etc"):
    for name in [*names, *folders]:
        path = os.path.join(folder, name)
        info = os.lstat(path)
        what = os.readlink(path) if os.path.islink(path) else "directory"
        if os.path.isfile(path) and not os.path.islink(path):
            try:
                what = hashlib.sha256(open(path, "rb").read()).hexdigest()
            except OSError as error:
                what = str(error)
        etc[path] = "%o %d:%d %s" % (info.st_mode & 0o7777, info.st_uid, info.st_gid, what)
containers, info, bridge = [], {}, {}
try:
    info = ask("/info") or {}
    bridge = ask("/networks/bridge") or {}
    found = [ask("/containers/%s/json" % one["Id"]) for one in ask("/containers/json?all=1") or []]
    containers = [one for one in found if one]
except (OSError, ValueError, IndexError):
    pass  # it does not answer
home = "/var/lib/remediator/guard"
runs = {}
for run in sorted(os.listdir(home)) if os.path.isdir(home) else []:
    path = os.path.join(home, run, "journal.jsonl")
    if os.path.exists(path):
        runs[run] = open(path).read()
left = [path for path in (home + "/current.json", "/etc/systemd/system/remediator-guard-boot.service",
        "/run/systemd/system/docker.service.d/zzz-remediator-rescue.conf") if os.path.exists(path)]
for unit in ("remediator-guard.timer", "remediator-guard.service", "remediator-guard-boot.service"):
    if systemd("is-active", unit).strip() in ("active", "activating"):
        left.append(unit)
for process in os.listdir("/proc"):
    if process.isdigit() and int(process) != os.getpid():
        try:
            words = open("/proc/%s/cmdline" % process).read()
        except OSError:
            continue
        if "guard.py" in words:
            left.append("process " + words.replace("\0", " ")[:100])
print(json.dumps({"etc": etc, "info": info, "bridge": bridge, "containers": containers, "runs": runs, "left": left}))
"""


@dataclass(frozen=True)
class Picture:
    """A host at one moment; `left` is what the guard has not taken away, `runs` are its journals."""

    etc: dict[str, str]
    effect: dict[str, Any]
    limits: dict[str, dict[str, Any]]
    running: frozenset[str]
    restarting: frozenset[str]
    answers: bool
    left: tuple[str, ...]
    runs: dict[str, str] = field(compare=False)
    memory: int = 0


def take(host: Host) -> Picture:
    """Look at a host, through its namespaces and not over the network."""
    seen = json.loads(host.run(["python3", "-"], input=LOOK, timeout=240).stdout)
    info, bridge = seen["info"], seen["bridge"]
    effect = {key: info.get(key) for key in ("LiveRestoreEnabled", "SecurityOptions", "LoggingDriver", "DockerRootDir")}
    effect["icc"] = (bridge.get("Options") or {}).get("com.docker.network.bridge.enable_icc")
    named = {one["Name"].lstrip("/"): one for one in seen["containers"]}
    return Picture(
        etc={path: one for path, one in seen["etc"].items() if path not in IGNORED},
        effect=effect,
        limits={name: {key: one["HostConfig"].get(key) for key in LIMITS} for name, one in named.items()},
        running=frozenset(name for name, one in named.items() if one["State"]["Status"] == "running"),
        restarting=frozenset(name for name, one in named.items() if one["State"]["Status"] == "restarting"),
        answers=bool(info.get("ServerVersion")),
        left=tuple(seen["left"]),
        runs=seen["runs"],
        memory=int(info.get("MemTotal", 0)),
    )


def _limit(key: str, value: Any, memory: int) -> Any:
    """A limit as far as the engine tells it from none: it takes none away, but sets one that limits nothing."""
    nothing = {"Memory": memory // 2**20 * 2**20, "MemorySwap": 2 * (memory // 2**20 * 2**20), "CpuShares": 1024}
    return None if not value or value in (-1, nothing.get(key)) else value


def differences(one: Picture, other: Picture) -> list[str]:
    """In what two pictures differ: files, what is in effect, limits."""
    found = [
        f"{path}: {one.etc.get(path, 'absent')} -> {other.etc.get(path, 'absent')}"
        for path in sorted(one.etc.keys() | other.etc.keys())
        if one.etc.get(path) != other.etc.get(path)
    ]
    found += [
        f"{key}: {one.effect[key]} -> {other.effect[key]}" for key in one.effect if one.effect[key] != other.effect[key]
    ]
    for name in sorted(one.limits.keys() & other.limits.keys()):
        for key, value in one.limits[name].items():
            if _limit(key, value, one.memory) != _limit(key, other.limits[name][key], one.memory):
                found.append(f"{name} {key}: {value} -> {other.limits[name][key]}")
    return found
