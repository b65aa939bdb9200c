"""What options do to one another and to the host: each rule names the keys that it is about.

From moby: daemon/daemon_unix.go (verifyDaemonSettings, initBridgeDriver), daemon/runtime_unix.go, daemon/graphdriver,
cmd/dockerd/daemon.go; each seen with an engine of the generations that it is said of.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from .values import Problem

if TYPE_CHECKING:
    from .check import Host

_STORAGE: Final[Mapping[str, int]] = {  # driver: the first generation without it
    "overlay2": 0, "fuse-overlayfs": 0, "btrfs": 0, "zfs": 0, "vfs": 0, "aufs": 24, "overlay": 24, "devicemapper": 25,
}  # fmt: skip
_SHIM: Final = re.compile(r"/.*|io\.containerd\..+\.v\d+(\..*)?")

Found = Iterator[tuple[tuple[str, ...], Problem]]


def problems(given: Mapping[str, Any], flags: Mapping[str, Any], generation: int, host: Host) -> Found:
    """What is wrong with values together; `given` are those that count, `flags` those keys of them that flags set."""
    yield from _network(given, generation, host)
    yield from _runtimes(given, generation, host)
    yield from _storage(given, generation, host)
    yield from _security(given, generation, host)
    yield from _tls(given, flags, host)
    yield from _places(given, generation, host)


def _network(given: Mapping[str, Any], generation: int, host: Host) -> Found:
    if given.get("icc") is False and given.get("iptables") is False:
        yield ("icc", "iptables"), Problem("start", "both are false, and icc=false is made of iptables")
    bridge = given.get("bridge", "")
    if bridge and given.get("bip"):
        yield ("bridge", "bip"), Problem("start", "either of them, not both")
    if bridge not in ("", "none", "docker0") and host.paths.get(f"/sys/class/net/{bridge}") == "absent":
        yield ("bridge",), Problem("start", f"there is no interface {bridge}", host=True)
    if given.get("ipv6") is True and not given.get("fixed-cidr-v6") and generation < 27:
        yield ("ipv6", "fixed-cidr-v6"), Problem("start", "ipv6 needs fixed-cidr-v6 with this engine")
    if given.get("ip6tables") is True and given.get("experimental") is not True and generation < 27:
        yield ("ip6tables", "experimental"), Problem("start", "ip6tables needs experimental with this engine")
    if given.get("live-restore") is True and host.swarm:
        yield ("live-restore",), Problem("start", "swarm mode is on, which does not go with live-restore", host=True)


def _runtimes(given: Mapping[str, Any], generation: int, host: Host) -> Found:
    runtimes = given.get("runtimes", {})
    if "runc" in runtimes:
        yield ("runtimes",), Problem("read", "the name runc is reserved")
    for name, one in runtimes.items():
        if not isinstance(one, dict) or generation < 24:
            continue
        if bool(one.get("path")) == bool(one.get("runtimeType")):
            yield ("runtimes",), Problem("start", f"{name} has to have a path or a runtimeType, and not both")
    default = given.get("default-runtime", "")
    if default and default != "runc" and default not in runtimes and not _SHIM.fullmatch(default):
        yield ("default-runtime", "runtimes"), Problem("read", f"there is no runtime {default}")
    chosen = runtimes.get(default)
    path = chosen.get("path", "") if isinstance(chosen, dict) else chosen
    if path and host.paths.get(path) == "absent":
        yield ("default-runtime", "runtimes"), Problem("run", f"the runtime {default} is not there: {path}")
    systemd = "native.cgroupdriver=systemd" in [one.replace(" ", "") for one in given.get("exec-opts", [])]
    chosen_driver = any("native.cgroupdriver" in one for one in given.get("exec-opts", []))
    if systemd or (host.cgroups == "systemd" and not chosen_driver):
        parent = given.get("cgroup-parent", "")
        if parent and (len(parent) <= 6 or not parent.endswith(".slice")):
            told = f"with the cgroup driver systemd it has to be a slice, such as docker.slice, not {parent}"
            yield ("cgroup-parent", "exec-opts"), Problem("start", told)


def _storage(given: Mapping[str, Any], generation: int, host: Host) -> Found:
    driver = given.get("storage-driver", "")
    snapshotter = given.get("features", {}).get("containerd-snapshotter") is True or generation >= 29
    if driver and driver != host.storage_driver and not snapshotter:
        until = _STORAGE.get(driver)
        if until is None:
            yield ("storage-driver",), Problem("start", f"there is no storage driver {driver}")
        elif until and generation >= until:
            yield ("storage-driver",), Problem("start", f"the storage driver {driver} left the engine in {until}")
    used = driver or host.storage_driver
    for one in given.get("storage-opts", []):
        name, equals, _ = one.partition("=")
        if not equals:
            yield ("storage-opts",), Problem("start", f"{one} is not of the form name=value")
        elif used and name.startswith("dm.") and used != "devicemapper":
            yield ("storage-opts", "storage-driver"), Problem("start", f"{name} is no option of {used}")
        elif used == "overlay2" and name not in _overlay2(generation):
            yield ("storage-opts", "storage-driver"), Problem("start", f"{name} is no option of overlay2")


def _overlay2(generation: int) -> tuple[str, ...]:
    return ("overlay2.size", "overlay2.override_kernel_check") if generation < 24 else ("overlay2.size",)


def _security(given: Mapping[str, Any], generation: int, host: Host) -> Found:
    remap = given.get("userns-remap", "")
    user = remap.partition(":")[0]
    if remap.count(":") > 1:
        yield ("userns-remap",), Problem("start", f"{remap} is neither a user nor user:group")
    elif remap and remap != "default" and (known := host.users.get(user)) is not None:
        if not known["known"]:
            yield ("userns-remap",), Problem("start", f"there is no user {user}", host=True)
        elif not known["ranges"]:
            yield ("userns-remap",), Problem("start", f"{user} has no range in /etc/subuid", host=True)
    profile = given.get("seccomp-profile", "")
    own = ("",) if generation < 23 else ("", "builtin", "unconfined")
    if profile not in own:
        there = host.paths.get(profile, "file") if profile.startswith("/") else "absent"
        if there != "file":
            told = "there is no such file" if there == "absent" else f"is a {there}"
            only = f"; this engine does not know the word {profile}" if not profile.startswith("/") else ""
            yield ("seccomp-profile",), Problem("start", f"{profile}: {told}{only}", host=True)


def _tls(given: Mapping[str, Any], flags: Mapping[str, Any], host: Host) -> Found:
    if not (given.get("tls") is True or "tlsverify" in given):
        return
    if given.get("tls") is False and given.get("tlsverify") is not True:
        return
    switch = "tlsverify" if "tlsverify" in given else "tls"
    for key in ("tlscert", "tlskey", *(["tlscacert"] if given.get("tlsverify") is True else [])):
        path = given.get(key, "")
        if not path and switch not in flags:  # a flag has defaults in the home of root
            yield (switch, key), Problem("start", f"{switch} needs {key}")
        elif path and host.paths.get(path) == "absent":
            yield (key, switch), Problem("start", f"{key}: there is no {path}", host=True)


def _places(given: Mapping[str, Any], generation: int, host: Host) -> Found:
    proxy = given.get("userland-proxy-path", "")
    if generation >= 26 and given.get("userland-proxy") is not False and host.paths.get(proxy) == "absent":
        yield ("userland-proxy-path", "userland-proxy"), Problem("read", f"there is no {proxy}", host=True)
    init = given.get("init-path", "")
    if given.get("init") is True and host.paths.get(init) == "absent":
        yield ("init-path", "init"), Problem("run", f"there is no {init}")
    for key in ("data-root", "exec-root"):
        if host.paths.get(given.get(key, "")) == "file":
            yield (key,), Problem("start", f"{given[key]} is a file, not a directory", host=True)
    group = given.get("group", "")
    if group and group != "docker" and host.groups.get(group) is False:
        yield ("group",), Problem("start", f"there is no group {group}", host=True)
