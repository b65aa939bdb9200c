"""The daemon's command line: which keys its flags set, and where a flag is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

# dockerd's flags whose daemon.json key has another name (moby: cmd/dockerd/config.go, config_unix.go)
_LISTS: Final[Mapping[str, str]] = {
    "add-runtime": "runtimes",
    "allow-nondistributable-artifacts": "allow-nondistributable-artifacts",
    "authorization-plugin": "authorization-plugins",
    "default-address-pool": "default-address-pools",
    "dns": "dns",
    "dns-opt": "dns-opts",
    "dns-search": "dns-search",
    "exec-opt": "exec-opts",
    "host": "hosts",
    "insecure-registry": "insecure-registries",
    "label": "labels",
    "node-generic-resource": "node-generic-resources",
    "registry-mirror": "registry-mirrors",
    "storage-opt": "storage-opts",
}
_MAPS: Final[Mapping[str, str]] = {"log-opt": "log-opts", "default-ulimit": "default-ulimits"}
_BOOLEANS: Final = frozenset(
    {
        "debug", "experimental", "icc", "init", "ip-forward", "ip-masq", "ip6tables", "iptables", "ipv6",
        "live-restore", "no-new-privileges", "raw-logs", "rootless", "selinux-enabled", "tls", "tlsverify",
        "userland-proxy",
    }
)  # fmt: skip
_SHORT: Final = {
    "-H": "host", "-D": "debug", "-l": "log-level", "-b": "bridge", "-G": "group", "-p": "pidfile",
    "-s": "storage-driver",
}  # fmt: skip
# the keys of daemon.json that an engine from 20.10 to 28.5 takes, by its own answer, and those of 29
KEYS: Final = frozenset(
    {
        "add-runtime", "allow-direct-routing", "allow-nondistributable-artifacts", "api-cors-header",
        "authorization-plugin", "authorization-plugins", "bip", "bip6", "bridge", "bridge-accept-fwmark", "builder",
        "cdi-spec-dir", "cdi-spec-dirs", "cgroup-parent", "cluster-advertise", "cluster-store", "cluster-store-opts",
        "config-file", "containerd", "containerd-namespace", "containerd-plugins-namespace", "cpu-rt-period",
        "cpu-rt-runtime", "cri-containerd", "data-root", "debug", "default-address-pool", "default-address-pools",
        "default-cgroupns-mode", "default-gateway", "default-gateway-v6", "default-ipc-mode", "default-network-opt",
        "default-network-opts", "default-runtime", "default-shm-size", "default-ulimit", "default-ulimits",
        "deprecated-key-path", "dns", "dns-opt", "dns-opts", "dns-search", "exec-opt", "exec-opts", "exec-root",
        "experimental", "feature", "features", "firewall-backend", "fixed-cidr", "fixed-cidr-v6", "graph", "group",
        "help", "host", "host-gateway-ip", "host-gateway-ips", "hosts", "http-proxy", "https-proxy", "icc", "init",
        "init-path", "insecure-registries", "insecure-registry", "ip", "ip-forward", "ip-forward-no-drop", "ip-masq",
        "ip6tables", "iptables", "ipv6", "label", "labels", "live-restore", "log-driver", "log-format", "log-level",
        "log-opt", "log-opts", "max-concurrent-downloads", "max-concurrent-uploads", "max-download-attempts",
        "metrics-addr", "min-api-version", "mtu", "network-control-plane-mtu", "network-diagnostic-port",
        "no-new-privileges", "no-proxy", "node-generic-resource", "node-generic-resources", "nri-opts",
        "oom-score-adjust", "pidfile", "proxies", "raw-logs", "registry-mirror", "registry-mirrors", "rootless",
        "runtimes", "seccomp-profile", "selinux-enabled", "shutdown-timeout", "storage-driver", "storage-opt",
        "storage-opts", "swarm-default-advertise-addr", "tls", "tlscacert", "tlscert", "tlskey", "tlsverify",
        "userland-proxy", "userland-proxy-path", "userns-remap", "validate", "version",
    }
)  # fmt: skip
_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})


def parse(argv: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The keys that a command line sets: {key: {value, flag}}, lists and maps gathered."""
    found: dict[str, dict[str, Any]] = {}
    words = list(argv)
    index = 0
    while index < len(words):
        word = words[index]
        index += 1
        name, equals, value = word.removeprefix("--").partition("=")
        if word in _SHORT:
            name, equals = _SHORT[word], ""
        elif not word.startswith("--"):
            continue
        if name in _BOOLEANS:
            _add(found, name, f"--{name}", not equals or value in _TRUE)
            continue
        if not equals:
            if index >= len(words):
                break
            value = words[index]
            index += 1
        _add(found, name, f"--{name}", value)
    return found


def _add(found: dict[str, dict[str, Any]], name: str, flag: str, value: Any) -> None:
    if name in _LISTS:
        found.setdefault(_LISTS[name], {"flag": flag, "value": []})["value"].append(value)
    elif name in _MAPS:
        key, _, text = str(value).partition("=")
        found.setdefault(_MAPS[name], {"flag": flag, "value": {}})["value"][key] = text
    else:
        found[name] = {"flag": flag, "value": value}


def locate(flag: str, texts: Mapping[str, str]) -> str:
    """Where a flag is written, as "file:line": the last of the files that has it outside a comment."""
    short = next((one for one, name in _SHORT.items() if f"--{name}" == flag), "")
    where = ""
    for path, text in texts.items():
        for number, line in enumerate(text.splitlines(), 1):
            words = line.replace('"', " ").replace("'", " ").split()
            if line.lstrip().startswith(("#", ";")):
                continue
            if any(word in (flag, short) or word.startswith(flag + "=") or word.endswith("=" + flag) for word in words):
                where = f"{path}:{number}"
    return where
