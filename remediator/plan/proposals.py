"""How containers that nobody is known to create could be run hardened: a script for a person, never run from here."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ..expect import same
from ..kinds import owner
from ..kinds.container import LIVE_PATHS, UNOWNED
from ..kinds.docker_run import restart
from ..model import Fact, HostState
from ..patch import put
from .model import Held

_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LIMITS: Final[Mapping[str, str]] = {
    "Memory": "memory", "MemorySwap": "memory-swap", "CpuShares": "cpu-shares", "PidsLimit": "pids-limit",
}  # fmt: skip
_NAMESPACES: Final[Mapping[str, str]] = {
    "PidMode": "pid", "IpcMode": "ipc", "UTSMode": "uts", "UsernsMode": "userns", "CgroupParent": "cgroup-parent",
}  # fmt: skip
_LISTS: Final[Mapping[str, str]] = {
    "VolumesFrom": "volumes-from", "ExtraHosts": "add-host", "Dns": "dns", "DnsOptions": "dns-opt",
    "DnsSearch": "dns-search", "GroupAdd": "group-add", "CapDrop": "cap-drop",
}  # fmt: skip
_TEXTS: Final[Mapping[str, str]] = {
    "User": "user", "WorkingDir": "workdir", "Hostname": "hostname", "Domainname": "domainname",
    "StopSignal": "stop-signal", "StopTimeout": "stop-timeout", "ShmSize": "shm-size", "Runtime": "runtime",
    "OomScoreAdj": "oom-score-adj", "CpuQuota": "cpu-quota", "CpuPeriod": "cpu-period",
    "CpusetCpus": "cpuset-cpus", "CpusetMems": "cpuset-mems", "MemoryReservation": "memory-reservation",
}  # fmt: skip
_SWITCHES: Final[Mapping[str, str]] = {
    "Tty": "tty", "OpenStdin": "interactive", "Init": "init", "PublishAllPorts": "publish-all",
}  # fmt: skip
_DEFAULT_NETWORKS: Final = ("", "default", "bridge")


def make(state: HostState, held: Iterable[Held]) -> dict[str, str]:
    """A script for each container of an unknown owner that has held changes, by the container's name."""
    changes: dict[str, list[Held]] = {}
    for one in held:
        found = one.finding
        if found.kind == "container" and UNOWNED in one.reason:
            changes.setdefault(found.resource, []).append(one)
    facts = state.facts.get("container", {})
    return {
        name: _script(name, facts[name], some)
        for name, some in changes.items()
        if facts[name].evidence.get("run") and owner.of(facts[name]).kind == "unknown"
    }


def _script(name: str, fact: Fact, held: list[Held]) -> str:
    document = fact.document
    for one in held:
        for change in one.finding.changes:
            if change.path not in LIVE_PATHS and not same(change.before_value, change.after_value):
                document = put(document, change.path, change.after_value)
    run = fact.evidence["run"]
    told = _comments(document, run)
    if document["Config"]["Healthcheck"] != fact.document["Config"]["Healthcheck"]:
        run = {**run, "Healthcheck": document["Config"]["Healthcheck"]}
    words = [*_options(name, document, run), *_texts(run), *_storage(document, run)]
    words += [f"--env={one}" for one in run["Env"]]
    image, command = document["Config"]["Image"], [*run.get("Entrypoint", [])[1:], *run.get("Cmd", [])]
    masked = "*" in "".join([*words, *command])
    lines = [
        "#!/bin/sh",
        f"# How the container {_plain(name)} could be run hardened: a proposal, written down from what the engine says",
        "# of it. Read it, put right what it cannot know, and write it where this container is created.",
        f"# Hardened for: {', '.join(_plain(one.finding.control) for one in held)}",
        *(f"# {one}" for one in told),
        "set -eu",
    ]
    if masked:
        lines.append("echo 'fill in what is masked by asterisks first' >&2; exit 1")
    lines += [f': "${{{one}?export it with the value that it has to have}}"' for one in run["Env"] if _name(one)]
    old = shlex.quote(f"{name}-old")
    lines += [f"docker stop {shlex.quote(name)}", f"docker rename {shlex.quote(name)} {old}"]
    quoted = [shlex.quote(one) for one in [*words, image, *command]]
    lines.append("docker run \\\n  " + " \\\n  ".join(quoted))
    first = _network(document)
    for network, aliases in run["Networks"].items():
        if network not in (first, *_DEFAULT_NETWORKS, "host", "none"):
            more = [f"--alias={one}" for one in aliases]
            lines.append(shlex.join(["docker", "network", "connect", *more, network, name]))
    return "\n".join([*lines, f"# when it works: docker rm {old}", ""])


def _name(variable: str) -> bool:
    return bool(_IDENTIFIER.fullmatch(variable))


def _plain(text: str) -> str:
    """Text of a host that stays on the line of its comment."""
    return text if text.isprintable() else "".join(one if one.isprintable() else "?" for one in text)


def _network(document: Any) -> str:
    return str(document["HostConfig"]["NetworkMode"])


def _comments(document: Any, run: Mapping[str, Any]) -> list[str]:
    told = []
    if run["Env"]:
        told.append("Values of variables are not known here: --env=NAME takes them from where this is run.")
    if run["Labels"]:
        told.append(f"Labels without their values, to be added: {', '.join(map(_plain, run['Labels']))}")
    mounted = {_target(one) for one in run.get("Binds", [])} | {one["Target"] for one in run["Mounts"]}
    anonymous = [one["Destination"] for one in document["Mounts"] if one["Type"] == "volume"]
    if left := [_plain(one) for one in anonymous if one not in mounted]:
        told.append(f"Volumes without a name, whose data stays with the old container: {', '.join(left)}")
    if "seccomp=(profile)" in document["HostConfig"]["SecurityOpt"]:
        told.append("It has a seccomp profile of its own: add --security-opt=seccomp=FILE")
    kind, options = run["Log"]
    if options:
        told.append(f"Its log driver {_plain(kind)} has options, to be added: {', '.join(map(_plain, options))}")
    if run["other"]:
        told.append(f"Also set, and not written down here: {', '.join(map(_plain, run['other']))}")
    if _network(document) in _DEFAULT_NETWORKS:
        told.append("It is on the default bridge: `docker network create NET` and --network=NET keep it apart.")
    return told


def _options(name: str, document: Any, run: Mapping[str, Any]) -> list[str]:
    """The options of what is judged, as the document has it."""
    host = document["HostConfig"]
    words = ["--detach", f"--name={name}"]
    words += ["--rm"] if host["AutoRemove"] else []
    words += [f"--{option}={host[key]}" for key, option in _LIMITS.items() if host[key]]
    if host["RestartPolicy"] and host["RestartPolicy"]["Name"] not in ("", "no"):
        words.append(f"--restart={restart(host['RestartPolicy'])}")
    words += ["--privileged"] if host["Privileged"] else []
    words += ["--read-only"] if host["ReadonlyRootfs"] else []
    words += [f"--cap-add={one}" for one in host["CapAdd"]]
    words += [
        f"--security-opt={one}" for one in host["SecurityOpt"] if one not in ("seccomp=(profile)", "label=disable")
    ]
    words += [
        f"--{option}={host[key]}"
        for key, option in _NAMESPACES.items()
        if host[key] not in (None, "", "private", "shareable")
    ]
    if _network(document) not in _DEFAULT_NETWORKS:
        words.append(f"--network={_network(document)}")
        words += [f"--network-alias={one}" for one in run["Networks"].get(_network(document), [])]
    for one in document["PublishedPorts"]:
        ip = f"[{one['HostIp']}]" if ":" in one["HostIp"] else one["HostIp"]
        port = "" if one["HostPort"] is None else one["HostPort"]
        words.append("--publish=" + ":".join([*([ip] if ip else []), str(port), one["ContainerPort"]]))
    for one in host["Devices"]:
        words.append(f"--device={one['PathOnHost']}:{one['PathInContainer']}:{one['CgroupPermissions']}")
    words += [f"--ulimit={one['Name']}={one['Soft']}:{one['Hard']}" for one in host["Ulimits"]]
    for link in host["Links"]:
        source, _, alias = link.partition(":")
        words.append(f"--link={source.lstrip('/')}:{alias.rpartition('/')[2]}")
    health = document["Config"]["Healthcheck"]
    if health[:1] == ["CMD-SHELL"] and len(health) == 2 and "Healthcheck" in run:
        words.append(f"--health-cmd={health[1]}")
    return words


def _texts(run: Mapping[str, Any]) -> list[str]:
    words = [f"--{option}={run[key]}" for key, option in _TEXTS.items() if key in run]
    words += [f"--{option}" for key, option in _SWITCHES.items() if run.get(key)]
    words += [f"--{option}={one}" for key, option in _LISTS.items() for one in run.get(key, [])]
    words += [f"--sysctl={key}={value}" for key, value in run.get("Sysctls", {}).items()]
    if "NanoCpus" in run:
        words.append(f"--cpus={run['NanoCpus'] / 1e9:g}")
    if run["Log"][0] not in ("", "json-file"):
        words.append(f"--log-driver={run['Log'][0]}")
    if run.get("Entrypoint"):
        words.append(f"--entrypoint={run['Entrypoint'][0]}")
    return words


def _target(bind: str) -> str:
    return (bind.split(":") + [""])[1]


def _storage(document: Any, run: Mapping[str, Any]) -> list[str]:
    """Volumes, mounts and tmpfs; propagation as the document has it."""
    propagation = {one["Destination"]: one["Propagation"] for one in document["Mounts"]}
    words = []
    for bind in run.get("Binds", []):
        source, target, *options = [*bind.split(":"), ""][:3]
        some = [one for one in ",".join(options).split(",") if one]
        some = [propagation.get(target, one) if one in ("shared", "rshared") else one for one in some]
        words.append("--volume=" + ":".join([source, target, *([",".join(some)] if some else [])]))
    for one in run["Mounts"]:
        fields = [f"type={one['Type']}", *([f"source={one['Source']}"] if one["Source"] else [])]
        fields += [f"target={one['Target']}", *(["readonly"] if one["ReadOnly"] else [])]
        words.append("--mount=" + ",".join(fields))
    tmpfs = document["HostConfig"]["Tmpfs"] or {}
    return words + [f"--tmpfs={path}:{how}" if how else f"--tmpfs={path}" for path, how in tmpfs.items()]
