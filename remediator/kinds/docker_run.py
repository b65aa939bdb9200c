"""The command line of `docker run`: its options, where they stand, and the edits that give them other values.

cli/command/container/opts.go has the options; an unknown one is refused, since what follows it cannot be told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..collect.containers import security_options
from ..errors import InputError
from ..model import Change

_SWITCHES: Final = frozenset(
    {
        "detach", "disable-content-trust", "init", "interactive", "no-healthcheck", "oom-kill-disable", "privileged",
        "publish-all", "quiet", "read-only", "rm", "sig-proxy", "tty", "use-api-socket",
    }
)  # fmt: skip
_VALUES: Final = frozenset(
    {
        "add-host", "annotation", "attach", "blkio-weight", "blkio-weight-device", "cap-add", "cap-drop",
        "cgroup-parent", "cgroupns", "cidfile", "cpu-period", "cpu-quota", "cpu-rt-period", "cpu-rt-runtime",
        "cpu-shares", "cpus", "cpuset-cpus", "cpuset-mems", "detach-keys", "device", "device-cgroup-rule",
        "device-read-bps", "device-read-iops", "device-write-bps", "device-write-iops", "dns", "dns-opt",
        "dns-option", "dns-search", "domainname", "entrypoint", "env", "env-file", "expose", "gpus", "group-add",
        "health-cmd", "health-interval", "health-retries", "health-start-interval", "health-start-period",
        "health-timeout", "hostname", "ip", "ip6", "ipc", "isolation", "kernel-memory", "label", "label-file",
        "link", "link-local-ip", "log-driver", "log-opt", "mac-address", "memory", "memory-reservation",
        "memory-swap", "memory-swappiness", "mount", "name", "net", "net-alias", "network", "network-alias",
        "oom-score-adj", "pid", "pids-limit", "platform", "publish", "pull", "restart", "runtime", "security-opt",
        "shm-size", "stop-signal", "stop-timeout", "storage-opt", "sysctl", "tmpfs", "ulimit", "user", "userns",
        "uts", "volume", "volume-driver", "volumes-from", "workdir",
    }
)  # fmt: skip
_SHORT: Final = {
    "a": "attach", "c": "cpu-shares", "d": "detach", "e": "env", "h": "hostname", "i": "interactive", "l": "label",
    "m": "memory", "P": "publish-all", "p": "publish", "q": "quiet", "t": "tty", "u": "user", "v": "volume",
    "w": "workdir",
}  # fmt: skip
_SAME: Final = {"net": "network", "dns-option": "dns-opt"}


@dataclass(frozen=True)
class Option:
    """One option, its value ("" for a switch that is on), and the words [first, last] that spell it.

    `alone` is false for short switches written together, of which none can be taken out.
    """

    name: str
    value: str
    first: int
    last: int
    alone: bool = True


@dataclass(frozen=True)
class Command:
    """The options of a command line, and which word is the image."""

    options: tuple[Option, ...]
    image: int

    def values(self, name: str) -> list[str]:
        """The values of an option, in their order."""
        return [one.value for one in self.options if one.name == name]


@dataclass(frozen=True)
class Edit:
    """New words in the place of the words [first, last]; with last < first they come before the word `first`."""

    first: int
    last: int
    words: tuple[str, ...] = ()


def parse(words: Sequence[str], start: int) -> Command:
    """The command whose options begin at the word `start`, right after `run` or `create`.

    Raises InputError for an option that is not known, and where there is no image.
    """
    options: list[Option] = []
    at = start
    while at < len(words) and words[at].startswith("-") and words[at] != "--":
        word, first = words[at], at
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            if name not in _SWITCHES and name not in _VALUES:
                raise InputError(f"--{name} is not known as an option of docker run")
            if name in _VALUES and not equals:
                at += 1
                value = _word(words, at, word)
            options.append(Option(_SAME.get(name, name), value, first, at))
        else:
            at = _short(words, at, options)
        at += 1
    if at < len(words) and words[at] == "--":
        at += 1
    _word(words, at, "docker run")
    return Command(tuple(options), at)


def _word(words: Sequence[str], at: int, before: str) -> str:
    if at >= len(words):
        raise InputError(f"nothing follows {before}")
    return words[at]


def _short(words: Sequence[str], at: int, options: list[Option]) -> int:
    """Read a word of short options, switches first; the last word that belongs to it."""
    word, first = words[at], at
    for index, letter in enumerate(word[1:], 1):
        name = _SHORT.get(letter)
        if name is None:
            raise InputError(f"-{letter} is not known as an option of docker run")
        if name in _SWITCHES:
            options.append(Option(name, "", first, first, alone=len(word) == 2))
            continue
        value = word[index + 1 :].removeprefix("=")
        if not value:
            at += 1
            value = _word(words, at, word)
        options.append(Option(name, value, first, at, alone=index == 1))
        break
    return at


# --- edits ------------------------------------------------------------------------------------------


def _taken(some: Sequence[Option]) -> list[Edit]:
    for one in some:
        if not one.alone:
            raise InputError(f"--{one.name} is written together with other options")
    return [Edit(one.first, one.last) for one in some]


def _named(command: Command, name: str) -> list[Option]:
    return [one for one in command.options if one.name == name]


def _set(command: Command, start: int, name: str, value: str) -> list[Edit]:
    """The edits that leave one option with this value, in its place where it is there once."""
    there = _named(command, name)
    if len(there) == 1 and there[0].alone:
        return [Edit(there[0].first, there[0].last, (f"--{name}={value}",))]
    return [*_taken(there), Edit(start, start - 1, (f"--{name}={value}",))]


def _list(command: Command, start: int, name: str, change: Change, spell: Callable[[str], str]) -> list[Edit]:
    """The edits that take values of a list option away and add others, behind those that are there."""
    there = _named(command, name)
    before, after = ({spell(one): one for one in some} for some in (change.before, change.after))
    gone = [one for one in there if spell(one.value) in before.keys() - after.keys()]
    at = there[-1].last + 1 if there else start
    new = tuple(f"--{name}={one}" for key, one in after.items() if key not in before)
    return [*_taken(gone), *([Edit(at, at - 1, new)] if new else [])]


def capability(name: str) -> str:
    """A capability as it is compared: NET_ADMIN for cap_net_admin."""
    return name.upper().removeprefix("CAP_")


def _security(value: str) -> str:
    return "".join(security_options([value]))


def _ports(command: Command, change: Change) -> list[Edit]:
    """The edits of --publish that lead from the ports before to those after; one for each changed port."""
    if len(change.before) != len(change.after) or any(
        old["ContainerPort"] != new["ContainerPort"] for old, new in zip(change.before, change.after, strict=False)
    ):
        raise InputError("other ports of the container would be published")
    edits = []
    for old, new in zip(change.before, change.after, strict=True):
        if old == new:
            continue
        host = "" if old["HostPort"] is None else str(old["HostPort"])
        target = old["ContainerPort"]
        spelled = {
            ":".join([*([ip] if ip else []), host, port])
            for ip in {old["HostIp"], f"[{old['HostIp']}]" if ":" in old["HostIp"] else old["HostIp"]}
            for port in {target, target.removesuffix("/tcp")}
        }
        there = [one for one in _named(command, "publish") if one.value in spelled]
        if len(there) != 1 or not there[0].alone:
            raise InputError(f"no --publish stands for {host}:{target} alone")
        ip = f"[{new['HostIp']}]" if ":" in new["HostIp"] else new["HostIp"]
        port = "" if new["HostPort"] is None else str(new["HostPort"])
        value = ":".join([*([ip] if ip else []), port, target.removesuffix("/tcp")])
        edits.append(Edit(there[0].first, there[0].last, (f"--publish={value}",)))
    return edits


def _mounts(command: Command, change: Change) -> list[Edit]:
    """The edits of --volume and --mount that give mounts another propagation."""
    edits = []
    for old, new in zip(change.before, change.after, strict=True):
        if old == new:
            continue
        if {**old, "Propagation": ""} != {**new, "Propagation": ""}:
            raise InputError("more of a mount than its propagation would change")
        was, to = old["Propagation"], new["Propagation"]
        for one in (*_named(command, "volume"), *_named(command, "mount")):
            words = one.value.split(":" if one.name == "volume" else ",")
            if old["Destination"] not in words[1:2] and not any(
                word.partition("=")[2] == old["Destination"] and word.startswith(("dst=", "destination=", "target="))
                for word in words
            ):
                continue
            parts = [",".join(to if o == was else o for o in word.split(",")) for word in words]
            if one.name == "mount":
                parts = [f"bind-propagation={to}" if word == f"bind-propagation={was}" else word for word in words]
            if parts == words or not one.alone:
                raise InputError(f"the propagation of {old['Destination']} does not stand in its --{one.name}")
            value = (":" if one.name == "volume" else ",").join(parts)
            edits.append(Edit(one.first, one.last, (f"--{one.name}={value}",)))
            break
        else:
            raise InputError(f"no --volume or --mount stands for {old['Destination']}")
    return edits


def _health(command: Command, start: int, test: Sequence[str]) -> list[Edit]:
    if len(test) != 2 or test[0] != "CMD-SHELL":
        raise InputError('docker run takes a health check as ["CMD-SHELL", command] alone')
    return [*_taken(_named(command, "no-healthcheck")), *_set(command, start, "health-cmd", test[1])]


def restart(policy: Mapping[str, Any]) -> str:
    """A restart policy as the command line spells it."""
    retries = f":{policy['MaximumRetryCount']}" if policy.get("MaximumRetryCount") else ""
    return f"{policy.get('Name') or 'no'}{retries}"


_PLAIN: Final[Mapping[str, str]] = {
    "/HostConfig/Memory": "memory",
    "/HostConfig/MemorySwap": "memory-swap",
    "/HostConfig/CpuShares": "cpu-shares",
    "/HostConfig/PidsLimit": "pids-limit",
    "/HostConfig/PidMode": "pid",
    "/HostConfig/IpcMode": "ipc",
    "/HostConfig/UTSMode": "uts",
    "/HostConfig/UsernsMode": "userns",
    "/HostConfig/CgroupParent": "cgroup-parent",
    "/HostConfig/NetworkMode": "network",
}
_SWITCH: Final = {"/HostConfig/Privileged": "privileged", "/HostConfig/ReadonlyRootfs": "read-only"}
_EMPTY: Final = {"/HostConfig/Devices": "device", "/HostConfig/Ulimits": "ulimit"}


def edits(command: Command, start: int, change: Change) -> list[Edit]:
    """The edits of a command line that make a change of a container's document.

    Raises InputError where there is no exact edit.
    """
    path, after = change.path, change.after
    if path in _PLAIN:
        if after == "":
            return _taken(_named(command, _PLAIN[path]))
        return _set(command, start, _PLAIN[path], str(after))
    if path in _SWITCH:
        taken = _taken(_named(command, _SWITCH[path]))
        return [*taken, Edit(start, start - 1, (f"--{_SWITCH[path]}",))] if after else taken
    if path in _EMPTY and after == []:
        return _taken(_named(command, _EMPTY[path]))
    if path in ("/HostConfig/CapAdd", "/HostConfig/CapDrop"):
        return _list(command, start, "cap-add" if path.endswith("Add") else "cap-drop", change, capability)
    match path:
        case "/HostConfig/RestartPolicy":
            return _set(command, start, "restart", restart(after))
        case "/HostConfig/SecurityOpt":
            return _list(command, start, "security-opt", change, _security)
        case "/HostConfig/Tmpfs":
            new = [f"{where}:{how}" if how else where for where, how in after.items() if where not in change.before]
            return [Edit(start, start - 1, tuple(f"--tmpfs={one}" for one in new))]
        case "/PublishedPorts":
            return _ports(command, change)
        case "/Mounts":
            return _mounts(command, change)
        case "/Config/Image":
            return [Edit(command.image, command.image, (str(after),))]
        case "/Config/Healthcheck":
            return _health(command, start, after)
        case _:
            raise InputError(f"docker run has no option for {path}")
