"""The part of the probe that notes how a container was run, so that its command line can be written down again.

Standard library only and Python 3.8, like the probe. Of variables and labels there are names alone; words of
command lines that may hold secrets are masked.
"""

from __future__ import annotations

import re
from typing import Any

from . import probe

_OPTION = re.compile(r"^(-{1,2}[\w.-]*(?:pass|secret|token|cred|key|auth)[\w.-]*)(=?)(.*)$", re.IGNORECASE | re.DOTALL)
_CONFIG = ("Cmd", "Entrypoint", "User", "WorkingDir", "StopSignal")
_TEXTS = ("Hostname", "Domainname", "StopTimeout", "Tty", "OpenStdin")
_HOST = (
    "VolumesFrom", "Tmpfs", "ExtraHosts", "Dns", "DnsOptions", "DnsSearch", "GroupAdd", "Sysctls", "ShmSize", "Init",
    "Runtime", "OomScoreAdj", "NanoCpus", "CpuQuota", "CpuPeriod", "CpusetCpus", "CpusetMems", "MemoryReservation",
    "PublishAllPorts", "CapDrop", "Binds",
)  # fmt: skip
# what the engine fills in by itself, or what is judged and so stands in the container's document already
_KNOWN = frozenset(
    {
        "LogConfig", "PortBindings", "Mounts", "ContainerIDFile", "ConsoleSize", "Cgroup", "CgroupnsMode",
        "MaskedPaths", "ReadonlyPaths", "Isolation", "VolumeDriver", "MemorySwappiness", "OomKillDisable",
        "Memory", "MemorySwap", "CpuShares", "PidsLimit", "RestartPolicy", "Privileged", "NetworkMode", "PidMode",
        "IpcMode", "UTSMode", "UsernsMode", "CgroupParent", "ReadonlyRootfs", "AutoRemove", "CapAdd", "Devices",
        "Ulimits", "Links", "SecurityOpt", "Annotations",
    }
)  # fmt: skip


def masked_words(words: list[str]) -> list[str]:
    """The words of a command line, with those masked that may hold secrets."""
    found = []
    secret = False
    for word in words:
        option = _OPTION.match(word)
        if secret and not word.startswith("-"):
            found.append(probe.MASK * len(word))
        elif option and option.group(2):
            found.append(option.group(1) + "=" + probe.MASK * len(option.group(3)))
        else:
            found.append(probe.mask(word))
        secret = bool(option and not option.group(2))
    return found


def healthcheck(test: list[str] | None) -> list[str]:
    """A health check's command, masked; [] where there is none, or NONE."""
    words = list(test or ["NONE"])
    if words[:1] == ["NONE"]:
        return []
    if words[:1] == ["CMD-SHELL"]:
        return words[:1] + [" ".join(masked_words(one.split(" "))) for one in words[1:]]
    return words[:1] + masked_words(words[1:])


def _words(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])


def project_run(inspect: dict[str, Any], image: dict[str, Any]) -> dict[str, Any]:
    """How a container was run, as far as it differs from what its image says.

    {Image, digests: of the image, by registry, and the keys of Config and HostConfig that are set; Env and
    Labels: names alone; Networks: {name: aliases}; other: keys of HostConfig that are set and not brought}
    """
    config, host = inspect.get("Config") or {}, inspect.get("HostConfig") or {}
    own = image.get("Config") or {}
    found: dict[str, Any] = {}
    for key in _CONFIG:
        if config.get(key) and config.get(key) != own.get(key):
            value = config[key]
            found[key] = masked_words(_words(value)) if key in ("Cmd", "Entrypoint") else value
    if found.get("Entrypoint") and config.get("Cmd"):  # another entrypoint takes the image's command away
        found["Cmd"] = masked_words(_words(config["Cmd"]))
    if (config.get("Healthcheck") or {}) != (own.get("Healthcheck") or {}):
        found["Healthcheck"] = healthcheck((config.get("Healthcheck") or {}).get("Test"))
    for key in _TEXTS:
        if config.get(key):
            found[key] = config[key]
    if str(inspect.get("Id", "")).startswith(str(config.get("Hostname") or "-")) or host.get("NetworkMode") == "host":
        found.pop("Hostname", None)
    from_image = set(own.get("Env") or [])
    found["Env"] = [one.partition("=")[0] for one in config.get("Env") or [] if one not in from_image]
    labels = own.get("Labels") or {}
    found["Labels"] = sorted(key for key, value in (config.get("Labels") or {}).items() if labels.get(key) != value)
    for key in _HOST:
        if host.get(key):
            found[key] = host[key]
    if found.get("ShmSize") == 64 * 2**20:
        del found["ShmSize"]
    if found.get("Runtime") == "runc":
        del found["Runtime"]
    found["Mounts"] = [
        {key: one.get(key, "") for key in ("Type", "Source", "Target", "ReadOnly")} for one in host.get("Mounts") or []
    ]
    log = host.get("LogConfig") or {}
    found["Log"] = [log.get("Type", ""), sorted(log.get("Config") or {})]
    networks = (inspect.get("NetworkSettings") or {}).get("Networks") or {}
    identity = str(inspect.get("Id", ""))[:12]
    found["Networks"] = {
        name: [one for one in (some or {}).get("Aliases") or [] if one != identity]
        for name, some in sorted(networks.items())
    }
    found["other"] = sorted(key for key, value in host.items() if value and key not in _KNOWN and key not in _HOST)
    return found
