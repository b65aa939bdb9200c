"""The part of the probe that reads an engine's documents: projected to what judging needs.

Standard library only and Python 3.8, like the probe.
"""

from __future__ import annotations

import os
import re
from typing import Any

from . import layers, processes, runs, sockets, surroundings, usage

_MANY = 50  # containers that another process is worth its start for
_WALKING = 2.0  # seconds for the layers of all containers, and what is looked at beside them
_TALKING = 1.5  # seconds for the connections of all containers
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
    if "Plugins" in info:
        kept["AuthorizationPlugins"] = sorted((info["Plugins"] or {}).get("Authorization") or [])
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
    networks = (inspect.get("NetworkSettings") or {}).get("Networks") or {}
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
            "Networks": sorted(networks),
            "Addresses": {name: _address(one) for name, one in sorted(networks.items()) if one and _address(one)},
            "ExposedPorts": sorted(config.get("ExposedPorts") or {}),
            "Tmpfs": sorted(host.get("Tmpfs") or {}),
            "StopTimeout": config.get("StopTimeout"),
            "StopSignal": config.get("StopSignal") or "SIGTERM",
            "Labels": {k: v for k, v in sorted((config.get("Labels") or {}).items()) if _LABELS.match(k)},
        },
    }


def _address(network: dict[str, Any]) -> list[str]:
    return [one for one in (network.get("IPAddress"), network.get("GlobalIPv6Address")) if one]


def _given(one: dict[str, Any]) -> list[str]:
    """The paths in a container at which the engine mounts something."""
    return [str(mount["Destination"]) for mount in one["document"]["Mounts"]] + list(one["state"]["Tmpfs"])


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
    tags: list[str] | None = None,
    recorded: bool = False,
) -> dict[str, Any]:
    """An engine's documents as evidence.

    {info, bridge, images: [tag], host, services: {id: service}, containers: {name: {document, state, live, image,
    run}}}. `images` are documents of those in use, `tags` the names of all. Unless they are recorded, what runs is
    looked at as well, from outside.
    """
    containers: dict[str, Any] = {}
    addresses: list[str] = []
    by_id = {one.get("Id", ""): one for one in images}
    for inspect in sorted(inspects, key=lambda one: str(one.get("Name", ""))):
        one = project_container(inspect)
        host = one["document"]["HostConfig"]
        if host["Privileged"] or "host" in (host["PidMode"], host["IpcMode"]):
            # moby: daemon/create.go, generateSecurityOpt: for these the engine adds it by itself
            host["SecurityOpt"] = [option for option in host["SecurityOpt"] if option != "label=disable"]
        image = by_id.get(inspect.get("Image", ""))
        if image is not None:
            one["image"] = {"digests": sorted(image.get("RepoDigests") or [])}
            if not any(_LABELS.match(key) for key in one["state"]["Labels"]):
                one["run"] = runs.project_run(inspect, image)
        containers[one["document"]["Name"]] = one
        addresses += [address for some in one["state"]["Addresses"].values() for address in some]
        one["graph"] = inspect.get("GraphDriver") or {}
        one["home"] = str((inspect.get("Config") or {}).get("WorkingDir") or "")
    found: dict[str, Any] = {
        "services": {str(one.get("ID", "")): _service(one) for one in services},
        "info": project_info(info),
        "bridge": {"Options": bridge.get("Options") or {}, "Id": bridge.get("Id", "")},
        "containers": containers,
    }
    if tags is not None:
        found["images"] = tags
    if not recorded:
        listening = sockets.of_host()
        found["host"] = surroundings.look(addresses, listening)
        running = [one for one in containers.values() if one["state"]["Running"] and one["state"]["Pid"]]
        near = [*addresses, *found["host"]["addresses"]]
        inodes = _look(running, near)
        _talk(running, inodes, listening, near)
    for one in containers.values():
        del one["graph"], one["home"]
    return found


def _look(running: list[dict[str, Any]], near: list[str]) -> dict[int, set[str]]:
    """What running containers use and do goes into `live`; the inodes of their sockets by pid.

    Where they are many, each processor looks at a part of them.
    """
    parts = min(os.cpu_count() or 1, len(running) // _MANY or 1)
    shares = [(running[start::parts], near) for start in range(parts)]
    if parts > 1:
        import multiprocessing  # takes longer than to look at a few

        with multiprocessing.get_context("fork").Pool(parts) as pool:
            seen = pool.map(_look_at, shares)
    else:
        seen = [_look_at(one) for one in shares]
    inodes = {}
    for (some, _), looks in zip(shares, seen):
        for one, (one["live"], own) in zip(some, looks):
            inodes[one["state"]["Pid"]] = own
    return inodes


def _look_at(share: tuple[list[dict[str, Any]], list[str]]) -> list[tuple[dict[str, Any], set[str]]]:
    walk = layers.Layers(_WALKING)
    found = []
    for one in share[0]:
        pid, given, mode = one["state"]["Pid"], _given(one), one["document"]["HostConfig"]["NetworkMode"]
        where = usage.groups(pid)
        seen = processes.look(pid, usage.tasks(pid, where), given)
        inodes: set[str] = seen.pop("sockets")
        live = {
            **usage.measure(where),
            "no_new_privileges": seen.pop("no_new_privileges"),
            "processes": seen,
            **walk.look(one["graph"], pid, given, one["home"]),
        }
        if mode != "host":
            live["network"] = sockets.look(pid, share[1])
        found.append((live, inodes))
    return found


def _talk(
    running: list[dict[str, Any]], inodes: dict[int, set[str]], host: list[tuple[Any, ...]], near: list[str]
) -> None:
    """The connections of containers on the host's network and on docker0, which are what changes would cut.

    Each look at TCP takes the kernel milliseconds, so that those who have neighbours among the containers come
    first, and there is a time for all of them.
    """
    waiting = []
    for one in running:
        pid, net = one["state"]["Pid"], one["live"].setdefault("network", {})
        if one["document"]["HostConfig"]["NetworkMode"] == "host":
            net.update(sockets.talk_on_host(host, inodes[pid], near))
        elif "bridge" in one["state"]["Networks"]:
            waiting.append((not net["neighbours"], pid, net))
    deadline = layers.Deadline(_TALKING)
    for _, pid, net in sorted(waiting, key=lambda each: each[:2]):
        if deadline.over:
            return
        net.update(sockets.talk(pid, near))
