"""The one table of dockerd's options: keys of daemon.json, their types, flags, generations, and what a reload applies.

From moby: cmd/dockerd/config.go and config_unix.go (from 29: daemon/command/), daemon/config/*.go, daemon/reload.go;
what 20.10, 26.1 and 28.5 take was asked of them, key by key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

GENERATIONS: Final = (20, 23, 24, 25, 26, 27, 28, 29)
Kind = Literal[
    "bool", "int", "string", "path", "bytes", "ip", "cidr", "list", "ips", "map", "maps", "ulimits", "runtimes",
    "pools", "features", "builder", "proxies", "none",
]  # fmt: skip


class Option(NamedTuple):
    """One option: `key` in daemon.json ("" for a flag alone), `flag` without its dashes, `short` with one.

    `since` is the first generation that takes it, `until` the first that no longer does (0: all do). Of a list or a
    map each flag gives one entry. `reload`: SIGHUP applies it. `allowed` are the values of a string.
    """

    key: str
    kind: Kind
    flag: str
    short: str = ""
    since: int = 20
    until: int = 0
    reload: bool = False
    allowed: tuple[str, ...] = ()

    def taken(self, generation: int) -> bool:
        """Whether engines of a generation take it."""
        return self.since <= generation and not (self.until and generation >= self.until)


def _option(key: str, kind: Kind, flag: str | None = None, **more: Any) -> Option:
    return Option(key, kind, key if flag is None else flag, **more)


_LEVELS: Final = ("panic", "fatal", "error", "warn", "info", "debug", "trace", "")

OPTIONS: Final = (
    _option("allow-direct-routing", "bool", since=28),
    _option("allow-nondistributable-artifacts", "list", reload=True),
    _option("api-cors-header", "string", until=29),
    _option("authorization-plugins", "list", "authorization-plugin"),
    _option("bip", "cidr"),
    _option("bip6", "cidr", since=28),
    _option("bridge", "string", short="-b"),
    _option("bridge-accept-fwmark", "string", since=29),
    _option("builder", "builder", ""),
    _option("cdi-spec-dirs", "list", "cdi-spec-dir", since=25),
    _option("cgroup-parent", "string"),
    _option("cluster-advertise", "string", until=23),
    _option("cluster-store", "string", until=23),
    _option("cluster-store-opts", "map", "cluster-store-opt", until=23),
    _option("containerd", "path"),
    _option("containerd-namespace", "string"),
    _option("containerd-plugins-namespace", "none"),  # the struct's field has another name: never read from the file
    _option("cpu-rt-period", "int"),
    _option("cpu-rt-runtime", "int"),
    _option("cri-containerd", "bool"),
    _option("data-root", "path"),
    _option("debug", "bool", short="-D", reload=True),
    _option("default-address-pools", "pools", "default-address-pool"),
    _option("default-cgroupns-mode", "string", reload=True, allowed=("host", "private", "")),
    _option("default-gateway", "ip"),
    _option("default-gateway-v6", "ip"),
    _option("default-ipc-mode", "string", reload=True, allowed=("private", "shareable", "")),
    _option("default-network-opts", "maps", "default-network-opt", since=24),
    _option("default-runtime", "string", reload=True),
    _option("default-shm-size", "bytes", reload=True),
    _option("default-ulimits", "ulimits", "default-ulimit"),
    _option("deprecated-key-path", "none", ""),
    _option("dns", "ips"),
    _option("dns-opts", "list", "dns-opt"),
    _option("dns-search", "list"),
    _option("exec-opts", "list", "exec-opt"),
    _option("exec-root", "path"),
    _option("experimental", "bool"),
    _option("features", "features", "", reload=True, until=28),
    _option("features", "features", "feature", reload=True, since=28),
    _option("firewall-backend", "string", since=29, allowed=("iptables", "nftables", "")),
    _option("fixed-cidr", "cidr"),
    _option("fixed-cidr-v6", "cidr"),
    _option("graph", "path", until=23, short="-g"),
    _option("group", "string", short="-G"),
    _option("host-gateway-ip", "ip", until=28),
    _option("host-gateway-ip", "ip", "", since=28),
    _option("host-gateway-ips", "ips", "host-gateway-ip", since=28),
    _option("hosts", "list", "host", short="-H"),
    _option("http-proxy", "none", since=23),  # as keys they count inside "proxies" alone
    _option("https-proxy", "none", since=23),
    _option("icc", "bool"),
    _option("init", "bool"),
    _option("init-path", "path"),
    _option("insecure-registries", "list", "insecure-registry", reload=True),
    _option("ip", "ip"),
    _option("ip-forward", "bool"),
    _option("ip-forward-no-drop", "bool", since=28),
    _option("ip-masq", "bool"),
    _option("ip6tables", "bool"),
    _option("iptables", "bool"),
    _option("ipv6", "bool"),
    _option("labels", "list", "label", reload=True),
    _option("live-restore", "bool", reload=True),
    _option("log-driver", "string"),
    _option("log-format", "string", since=24, allowed=("text", "json", "")),
    _option("log-level", "string", short="-l", until=25, allowed=(*_LEVELS, "warning")),
    _option("log-level", "string", short="-l", since=25, allowed=_LEVELS),
    _option("log-opts", "map", "log-opt"),
    _option("max-concurrent-downloads", "int", reload=True),
    _option("max-concurrent-uploads", "int", reload=True),
    _option("max-download-attempts", "int", reload=True),
    _option("metrics-addr", "string"),
    _option("min-api-version", "string", "", since=29),
    _option("mtu", "int"),
    _option("network-control-plane-mtu", "int"),
    _option("network-diagnostic-port", "int", reload=True),
    _option("no-new-privileges", "bool"),
    _option("no-proxy", "none", since=23),
    _option("node-generic-resources", "list", "node-generic-resource"),
    _option("nri-opts", "none", since=29),
    _option("oom-score-adjust", "int", until=26),
    _option("pidfile", "path", short="-p"),
    _option("proxies", "proxies", "", since=23),
    _option("raw-logs", "bool"),
    _option("registry-mirrors", "list", "registry-mirror", reload=True),
    _option("rootless", "bool"),
    _option("runtimes", "runtimes", "add-runtime", reload=True),
    _option("seccomp-profile", "path"),
    _option("selinux-enabled", "bool"),
    _option("shutdown-timeout", "int", reload=True),
    _option("storage-driver", "string", short="-s"),
    _option("storage-opts", "list", "storage-opt"),
    _option("swarm-default-advertise-addr", "string"),
    _option("tls", "bool"),
    _option("tlscacert", "path"),
    _option("tlscert", "path"),
    _option("tlskey", "path"),
    _option("tlsverify", "bool"),
    _option("userland-proxy", "bool"),
    _option("userland-proxy-path", "path"),
    _option("userns-remap", "string"),
    # flags that are no settings; dockerd takes them as keys as well, and does nothing with them
    _option("", "path", "config-file"),
    _option("", "bool", "help", short="-h"),
    _option("", "bool", "restart", short="-r"),
    _option("", "bool", "validate", since=23),
    _option("", "bool", "version", short="-v"),
)
# a key whose object is not taken apart (moby: daemon/config/config.go, flatOptions); of any other object dockerd takes
# the members for keys
FLAT: Final = frozenset({"cluster-store-opts", "log-opts", "runtimes", "default-ulimits", "features", "builder"})
GATHERED: Final = frozenset({"list", "ips", "map", "maps", "ulimits", "runtimes", "pools", "features"})
RELOADABLE: Final = frozenset(one.key for one in OPTIONS if one.reload)


class Engine(NamedTuple):
    """Which generation of the table an engine is held against; `note` where it is not its own.

    `newer`: newer than all of them, so that it may take keys that are not in the table.
    """

    generation: int
    note: str = ""
    newer: bool = False


def engine(version: str) -> Engine:
    """The generation of an engine's version, or the nearest that is known; the newest for none at all."""
    head = version.split(".")[0]
    if not head.isdigit():
        return Engine(GENERATIONS[-1], f"the engine's version is not known: checked as for {GENERATIONS[-1]}", True)
    major = int(head)
    nearest = min(GENERATIONS, key=lambda one: (abs(one - major), -one))
    told = "" if nearest == major else f"engine {version} is not known: checked as for {nearest}"
    return Engine(nearest, told, major > GENERATIONS[-1])


def _table(name: Literal["key", "flag"]) -> dict[int, dict[str, Option]]:
    return {
        generation: {getattr(one, name): one for one in OPTIONS if one.taken(generation) and getattr(one, name)}
        for generation in GENERATIONS
    }


KEYS: Final[Mapping[int, Mapping[str, Option]]] = _table("key")
FLAGS: Final[Mapping[int, Mapping[str, Option]]] = _table("flag")
ANY_FLAG: Final[Mapping[str, Option]] = {one.flag: one for one in OPTIONS if one.flag}
SHORT: Final[Mapping[str, Option]] = {one.short: one for one in OPTIONS if one.short}
