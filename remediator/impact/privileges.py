"""Capabilities, privileged, no-new-privileges, seccomp: which of them a container uses, as far as it shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from ..model import Change
from .verdict import Verdict, breaks, ruled_out, some, unknown
from .view import Container, View

# Linux: include/uapi/linux/capability.h, in the order of their numbers
NAMES: Final = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip
# moby: oci/caps/defaults.go
DEFAULT: Final = frozenset(
    {"CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP",
     "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE"}
)  # fmt: skip
_NTP: Final = 123


def _mask(digits: str) -> set[str]:
    number = int(digits or "0", 16)
    return {name for at, name in enumerate(NAMES) if number >> at & 1}


def _plain(names: list[str] | None) -> set[str]:
    found = {one.upper().removeprefix("CAP_") for one in names or []}
    return set(NAMES) if "ALL" in found else found


def _network_made(own: Container) -> list[str]:
    net = own.network
    found = [f"it made the network interface {one}" for one in net.get("interfaces", [])]
    found += ["it set routes of its own"] if net.get("routes") else []
    return found + ([f"it has firewall rules of its own ({some(net['tables'])})"] if net.get("tables") else [])


def _listens(own: Container, low: int, high: int) -> list[str]:
    rows = [*own.network.get("listens", []), *own.network.get("datagrams", [])]
    return sorted({f"it listens on {name} {port}" for name, _, port in rows if low <= port <= high})


def _listed(name: str, sentence: str) -> Callable[[Container], list[str]]:
    return lambda own: [sentence.format(some(own.processes[name]))] if own.processes.get(name) else []


def _user(own: Container) -> str:
    """The user that a container is run as; "" for root."""
    user = str(own.document.get("Config", {}).get("User", "")).partition(":")[0]
    return "" if user in ("0", "root") else user


def _other_users(own: Container) -> list[str]:
    others = [str(one) for one in own.processes.get("uids", []) if one]
    return [f"it is run as root, and has processes of user {some(others)}"] if others and not _user(own) else []


# The marks that the use of a capability leaves while it is in use.
_SIGNS: Final[Mapping[str, Callable[[Container], list[str]]]] = {
    "NET_ADMIN": _network_made,
    "NET_RAW": lambda own: ["it has a raw socket open"] if own.network.get("raw") else [],
    "NET_BIND_SERVICE": lambda own: _listens(own, 1, 1023) if own.host.get("NetworkMode") == "host" else [],
    "SYS_TIME": lambda own: _listens(own, _NTP, _NTP),
    "SYS_ADMIN": lambda own: (
        _listed("mounts", "it mounted {}")(own) + _listed("spaces", "processes in namespaces of their own: {}")(own)
    ),
    "SYS_PTRACE": _listed("traced", "it traces {}"),
    "SYS_NICE": _listed("scheduled", "{} runs with raised priority"),
    "IPC_LOCK": lambda own: ["it has locked memory"] if own.processes.get("locked") else [],
    "SETUID": _other_users,
    "SETGID": _other_users,
}


def _gains(own: Container) -> list[str] | None:
    """The setuid programs and those with file capabilities in its image; None where that is not known."""
    found: list[str] | None = own.live.get("setuid")
    return found


def capabilities(change: Change, view: View) -> Verdict:
    """Without what was added, the default set is left, less what is dropped."""
    own = view.containers[change.resource]
    lost = _plain(own.host.get("CapAdd")) - (DEFAULT - _plain(own.host.get("CapDrop"))) - _plain(change.after)
    if not lost:
        return ruled_out("what it adds is in the default set, and stays")
    return _without(own, lost, view)


def _without(own: Container, lost: set[str], view: View) -> Verdict:
    """What a container would miss of capabilities."""
    if not own.processes:
        return unknown(f"{own.unseen}: what it uses is not known")
    shown = [
        f"{sign}, which takes {name}" for name in NAMES if name in lost and name in _SIGNS for sign in _SIGNS[name](own)
    ]
    if shown:
        return breaks(*dict.fromkeys(shown))
    held = lost & (_mask(own.processes.get("capabilities", "")) | _mask(own.processes.get("permitted", "")))
    if held:
        names = some(sorted(held))
        return unknown(f"its processes have {names}, and no use of it shows, which a short use would not")
    if _gains(own) == [] and view.watched(own):
        return ruled_out("none of its processes has what is taken away, and it has no setuid program to get it")
    return unknown("none of its processes has what is taken away now; one started later may")


def privileged(change: Change, view: View) -> Verdict:
    """All capabilities but the default ones, all devices but a few, and what the filters forbid go."""
    own = view.containers[change.resource]
    given = _plain(own.host.get("CapAdd")) | (DEFAULT - _plain(own.host.get("CapDrop")))
    shown = _listed("devices", "it has {} open")(own)
    verdict = _without(own, set(NAMES) - given, view)
    return breaks(*shown, *verdict.breaks) if shown else verdict


def security_options(change: Change, view: View) -> Verdict:
    """no-new-privileges, or the end of seccomp=unconfined and its like."""
    before, after = set(change.before or []), set(change.after or [])
    if "no-new-privileges" in after - before:
        return no_new_privileges(view.containers[change.resource], view)
    own = view.containers[change.resource]
    if any(one.startswith("seccomp=") for one in before - after):
        spaces = list(own.processes.get("spaces", []))
        if own.processes.get("own_users") and not view.live("userns-remap"):
            spaces.append("user")
        capable = "SYS_ADMIN" in _plain(own.host.get("CapAdd"))
        if own.host.get("Privileged"):
            return ruled_out("a privileged container has no filter anyway")
        if spaces and not capable:
            return breaks(f"it has processes in namespaces of their own ({some(spaces)}), which the filter forbids")
    return unknown("which system calls it needs does not show from outside")


def no_new_privileges(own: Container, _view: View) -> Verdict:
    """Setuid programs, and those with file capabilities, no longer gain what they are for."""
    names = sorted({*own.processes.get("setuid", []), *own.processes.get("risen", [])})
    if names:
        return breaks(f"{some(names)} in {own.name} runs with rights gained by a setuid program")
    if _user(own) and 0 in own.processes.get("uids", []):
        return breaks(f"{own.name} is run as user {_user(own)}, and has processes that have become root")
    programs = _gains(own)
    if programs is None:
        return unknown(f"setuid programs of {own.name}: {own.live.get('unseen_setuid', own.unseen)}")
    if not programs:
        return ruled_out(f"{own.name} has no setuid program, and none with file capabilities")
    return unknown(f"{own.name} has {some(programs, 3)}, and whether they are used does not show")


def default_no_new_privileges(_change: Change, view: View) -> Verdict:
    """The same for every container that is made anew and does not say otherwise."""
    if not view.containers:
        return ruled_out("there are no containers")
    found = {name: no_new_privileges(one, view) for name, one in view.containers.items()}
    cut = tuple(line for one in found.values() for line in one.breaks)
    unsure = [name for name, one in found.items() if one.unknown]
    if cut:
        return breaks(*cut)
    if unsure:
        return unknown(f"whether setuid programs of {some(unsure)} are used")
    return ruled_out(f"no setuid program, and none with file capabilities, is in any of {len(found)} containers")
