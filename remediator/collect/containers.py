"""The part of the probe that reads an engine's documents: projected to what judging needs.

Standard library only and Python 3.8, like the probe.
"""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

from . import runs

_INFO = (
    "ServerVersion", "Driver", "LoggingDriver", "CgroupDriver", "CgroupVersion", "SecurityOptions",
    "LiveRestoreEnabled", "ExperimentalBuild", "Debug", "DockerRootDir", "MemTotal", "NCPU", "SwapLimit",
    "MemoryLimit", "PidsLimit", "CPUShares", "Images", "Containers", "ContainersRunning", "DefaultRuntime",
)  # fmt: skip
_HOST_CONFIG = (
    "Memory", "MemorySwap", "CpuShares", "PidsLimit", "RestartPolicy", "Privileged", "NetworkMode", "PidMode",
    "IpcMode", "UTSMode", "UsernsMode", "CgroupParent", "ReadonlyRootfs", "AutoRemove",
)  # fmt: skip
_HOST_LISTS = ("CapAdd", "CapDrop", "Devices", "Ulimits", "Links")
_LABELS = re.compile(r"com\.docker\.(compose|swarm|stack)\.|io\.kubernetes\.")


def project_info(info: dict[str, Any]) -> dict[str, Any]:
    """What judging needs of `docker info`."""
    kept = {key: info[key] for key in _INFO if key in info}
    registry = info.get("RegistryConfig") or {}
    kept["InsecureRegistries"] = sorted(registry.get("InsecureRegistryCIDRs") or []) + sorted(
        name for name, one in (registry.get("IndexConfigs") or {}).items() if not one.get("Secure", True)
    )
    swarm = info.get("Swarm") or {}
    kept["Swarm"] = {key: swarm.get(key) for key in ("LocalNodeState", "ControlAvailable", "Managers", "Nodes")}
    spec = (swarm.get("Cluster") or {}).get("Spec") or {}
    if spec:
        kept["Swarm"]["Cluster"] = {
            "Spec": {
                "EncryptionConfig": {
                    "AutoLockManagers": (spec.get("EncryptionConfig") or {}).get("AutoLockManagers", False)
                },
                "CAConfig": {"NodeCertExpiry": (spec.get("CAConfig") or {}).get("NodeCertExpiry")},
            }
        }
    return kept


def security_options(options: list[str]) -> list[str]:
    spelled = []
    for one in options:
        name, _, value = one.replace(":", "=", 1).partition("=")
        if name == "no-new-privileges":
            if value in ("", "true"):
                spelled.append(name)
        elif name == "seccomp" and value.lstrip().startswith("{"):
            spelled.append("seccomp=(profile)")
        else:
            spelled.append(name + "=" + value)
    return spelled


def _ports(bindings: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for port, hosts in sorted((bindings or {}).items()):
        for host in hosts or []:
            digits = host.get("HostPort") or ""
            number = int(digits) if digits.isdigit() and int(digits) else None  # none: the engine chooses
            found.append({"HostIp": host.get("HostIp", ""), "HostPort": number, "ContainerPort": port})
    return found


def project_container(inspect: dict[str, Any]) -> dict[str, Any]:
    """What judging needs of `docker inspect`: the run config as `document`, what it does now as `state`."""
    host, config, state = (
        inspect.get("HostConfig") or {},
        inspect.get("Config") or {},
        inspect.get("State") or {},
    )
    document: dict[str, Any] = {key: host.get(key) for key in _HOST_CONFIG}
    document.update({key: list(host.get(key) or []) for key in _HOST_LISTS})
    document["SecurityOpt"] = security_options(host.get("SecurityOpt") or [])
    document["Tmpfs"] = dict(host.get("Tmpfs") or {})
    health = config.get("Healthcheck") or {}
    return {
        "document": {
            "Id": inspect.get("Id", ""),
            "Name": str(inspect.get("Name", "")).lstrip("/"),
            "HostConfig": document,
            "Config": {
                "Image": config.get("Image", ""),
                "User": config.get("User", ""),
                "Healthcheck": runs.healthcheck(health.get("Test")),
            },
            "Mounts": sorted(
                (
                    {key: one.get(key, "") for key in ("Type", "Source", "Destination", "RW", "Propagation")}
                    for one in inspect.get("Mounts") or []
                ),
                key=lambda one: str(one["Destination"]),
            ),
            "PublishedPorts": _ports(host.get("PortBindings") or {}),
            "AppArmorProfile": inspect.get("AppArmorProfile", ""),
        },
        "state": {
            "Status": state.get("Status", ""),
            "Running": bool(state.get("Running")),
            "Pid": state.get("Pid", 0),
            "StartedAt": state.get("StartedAt", ""),
            "Health": (state.get("Health") or {}).get("Status", ""),
            "RestartCount": inspect.get("RestartCount", 0),
            "Networks": sorted(((inspect.get("NetworkSettings") or {}).get("Networks") or {}).keys()),
            "Labels": {k: v for k, v in sorted((config.get("Labels") or {}).items()) if _LABELS.match(k)},
        },
    }


def _number(path: str) -> int:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            word = file.read(64).strip()
    except OSError:
        return 0
    return int(word) if word.isdigit() else 0


def _cgroups(pid: int) -> dict[str, str]:
    found = {}
    try:
        with open("/proc/%d/cgroup" % pid, encoding="utf-8", errors="replace") as file:
            for line in file:
                _, controllers, path = line.rstrip("\n").split(":", 2)
                for name in controllers.split(","):
                    found[name] = path
    except (OSError, ValueError):
        pass
    return found


def _first(*paths: str) -> int:
    return next((number for number in map(_number, paths) if number), 0)


def live(pid: int) -> dict[str, Any]:
    """What a running container uses: memory and its peak in bytes, tasks, OOM kills, NoNewPrivs of pid 1."""
    groups = _cgroups(pid)
    v1 = {name: "/sys/fs/cgroup/%s%s/" % (name, groups[name]) for name in ("memory", "pids") if name in groups}
    v2 = "/sys/fs/cgroup" + groups.get("", "/nowhere") + "/"
    memory, pids = v1.get("memory", v2), v1.get("pids", v2)
    found: dict[str, Any] = {
        "memory": _first(memory + "memory.usage_in_bytes", v2 + "memory.current"),
        "memory_peak": _first(memory + "memory.max_usage_in_bytes", v2 + "memory.peak"),
        "memory_limit": _first(memory + "memory.limit_in_bytes", v2 + "memory.max"),
        "pids": _first(pids + "pids.current"),
    }
    try:
        with open("/proc/%d/status" % pid, encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("NoNewPrivs:"):
                    found["no_new_privileges"] = line.split()[1] == "1"
    except OSError:
        pass
    return found


def _service(service: dict[str, Any]) -> dict[str, Any]:
    """What judging needs of a swarm service: its name, and the restart policy that its tasks have."""
    spec = service.get("Spec") or {}
    policy = (spec.get("TaskTemplate") or {}).get("RestartPolicy") or {}
    return {
        "Name": spec.get("Name", ""),
        "Condition": policy.get("Condition", "any"),
        "MaxAttempts": policy.get("MaxAttempts", 0),
    }


def gather(
    info: dict[str, Any],
    bridge: dict[str, Any],
    inspects: list[dict[str, Any]],
    images: list[dict[str, Any]] = [],  # noqa: B006 - never changed
    services: list[dict[str, Any]] = [],  # noqa: B006
) -> dict[str, Any]:
    """An engine's documents as evidence.

    {info, bridge, services: {id: service}, containers: {name: {document, state, live, image, run}}}
    """
    containers = {}
    by_id = {one.get("Id", ""): one for one in images}
    for inspect in sorted(inspects, key=lambda one: str(one.get("Name", ""))):
        one = project_container(inspect)
        host = one["document"]["HostConfig"]
        if host["Privileged"] or "host" in (host["PidMode"], host["IpcMode"]):
            # moby: daemon/create.go, generateSecurityOpt: for these the engine adds it by itself
            host["SecurityOpt"] = [option for option in host["SecurityOpt"] if option != "label=disable"]
        image = by_id.get(inspect.get("Image", ""))
        if one["state"]["Running"] and one["state"]["Pid"]:
            one["live"] = live(one["state"]["Pid"])
        if image is not None:
            one["image"] = {"digests": sorted(image.get("RepoDigests") or [])}
            if not any(_LABELS.match(key) for key in one["state"]["Labels"]):
                one["run"] = runs.project_run(inspect, image)
        containers[one["document"]["Name"]] = one
    return {
        "services": {str(one.get("ID", "")): _service(one) for one in services},
        "info": project_info(info),
        "bridge": {"Options": bridge.get("Options") or {}, "Id": bridge.get("Id", "")},
        "containers": containers,
    }


class CliEngine:
    """The engine behind the docker command, for hosts that have nothing else."""

    def __init__(self, timeout: int = 10) -> None:
        self._timeout = timeout

    def _docker(self, *words: str) -> str:
        done = subprocess.run(  # noqa: UP022 - Python 3.8
            ["docker", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=self._timeout, check=False
        )
        if done.returncode:
            raise OSError(done.stderr.decode("utf-8", "replace").strip() or "docker ended with %d" % done.returncode)
        return done.stdout.decode("utf-8", "replace")

    def collect(self) -> dict[str, Any]:
        """The engine's documents, or {error: reason} where it gives none within the time limit."""
        try:
            info = json.loads(self._docker("info", "--format", "{{json .}}"))
            if info.get("ServerErrors"):
                raise OSError("; ".join(info["ServerErrors"]))
            bridges = self._docker("network", "ls", "--quiet", "--filter", "name=^bridge$").split()
            bridge = json.loads(self._docker("network", "inspect", *bridges))[0] if bridges else {}
            listed = self._docker("ps", "--all", "--quiet", "--no-trunc").split()
            documents = []
            for start in range(0, len(listed), 100):
                documents += self._inspect("container", listed[start : start + 100])
            images = self._inspect("image", sorted({str(one.get("Image", "")) for one in documents}))
            manages = (info.get("Swarm") or {}).get("ControlAvailable")
            listed = self._docker("service", "ls", "--quiet").split() if manages else []
            services = self._inspect("service", listed)
        except subprocess.TimeoutExpired:
            return {"error": "the engine did not answer in time"}
        except (OSError, ValueError, IndexError) as error:
            return {"error": reason(str(error))}
        return gather(info, bridge, documents, images, services)

    def _inspect(self, kind: str, identities: list[str]) -> list[dict[str, Any]]:
        if not identities:
            return []
        done = subprocess.run(  # one may be gone by now: the others are told all the same
            ["docker", "inspect", "--type", kind, *identities],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=self._timeout,
            check=False,
        )
        return list(json.loads(done.stdout.decode("utf-8", "replace") or "[]"))


def reason(text: str) -> str:
    """Why an engine cannot be asked, in one of a few sentences that are the same for SDK and command line."""
    lowered = text.lower()
    if "timed out" in lowered or "timeout" in lowered:
        return "the engine did not answer in time"
    if "permissionerror" in lowered or "permission denied" in lowered:
        return "no permission to speak to the engine's socket"
    if "'docker'" in lowered or '"docker"' in lowered:
        return "there is no docker command"
    absent = ("no such file", "filenotfound", "connection refused", "cannot connect", "connectionrefused")
    if any(one in lowered for one in absent):
        return "no engine answers at its socket"
    return "the engine cannot be asked: " + text
