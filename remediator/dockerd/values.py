"""Whether one value is one that dockerd takes: of the right type, and with a right content."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple

from . import flags
from .options import Option
from .types import TYPES, interface, lowered

Level = Literal["read", "start", "run"]  # refused by a reload too; when it starts; or starts, and no container does

_DOMAIN: Final = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.?|\.")
_HOST: Final = re.compile(r"(unix|tcp|fd|npipe)://.*")
_ULIMITS: Final = frozenset(
    {"as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
     "rttime", "sigpending", "stack"}
)  # fmt: skip
_INDEX: Final = re.compile(r"[^-].*(?<!-)")


class Problem(NamedTuple):
    """What is wrong with a value, and at which level dockerd says so; `host`: with what is on the host just now."""

    level: Level
    text: str
    host: bool = False


def _each(values: list[Any], good: Callable[[str], bool]) -> str:
    return next((str(one) for one in values if isinstance(one, str) and not good(one)), "")


def _labels(value: Any, _: int) -> Problem | None:
    if wrong := _each(value, lambda one: "=" in one):
        return Problem("read", f"{wrong} is not of the form name=value")
    known: dict[str, str] = {}
    for one in value:
        name, _equals, text = one.partition("=")
        if known.setdefault(name, text) != text:
            return Problem("read", f"has two values for {name}")
    return None


def _mirrors(value: Any, generation: int) -> Problem | None:
    level: Level = "read" if generation >= 28 else "start"
    for one in value:
        if not re.match(r"https?://[^/]", one):
            return Problem(level, f"{one} is not an address that begins with https:// or http://")
        if "?" in one or "#" in one or (generation < 23 and re.match(r"https?://[^/]+/.", one)):
            return Problem(level, f"{one} has more than host and port")
    return None


def _registries(value: Any, _: int) -> Problem | None:
    for one in value:
        port = one.rpartition(":")[2] if one.count(":") == 1 else ""
        if not _INDEX.fullmatch(one) or (port.isdigit() and int(port) > 65535):
            return Problem("start", f"{one} is no name of a registry")
    return None


def _exec_opts(value: Any, generation: int) -> Problem | None:
    for one in value:
        name, equals, text = (word.strip() for word in one.partition("="))
        if generation >= 28 and (not equals or name.lower() != "native.cgroupdriver"):
            return Problem("read", f"{one}: the one option is native.cgroupdriver=cgroupfs or =systemd")
        if name.lower() == "native.cgroupdriver" and equals and text not in ("cgroupfs", "systemd", ""):
            return Problem("start", f"{text} is no cgroup driver; there are cgroupfs and systemd")
    return None


def _default_ulimits(value: Any, _: int) -> Problem | None:
    for key, one in value.items():
        limit = lowered(one)
        name, soft, hard = limit.get("name", ""), limit.get("soft", 0), limit.get("hard", 0)
        if name not in _ULIMITS:
            return Problem("run", f"{key}: Name is {name or 'missing'}, which is no limit")
        if hard != -1 and (soft > hard or soft == -1):
            return Problem("run", f"{key}: Soft {soft} is more than Hard {hard}")
    return None


def _default_pools(value: Any, generation: int) -> Problem | None:
    for one in value:
        base, length = interface(str(one.get("base", ""))), one.get("size", 0)
        if base is None:
            return Problem("read" if generation >= 28 else "start", f"{one.get('base')} is no network with its length")
        if not base.network.prefixlen <= length <= base.max_prefixlen or length == 0:
            return Problem("start", f"size {length} does not fit {one['base']}")
    return None


def _address(value: Any, _: int) -> Problem | None:
    found = interface(value) if value else None
    if value and found is None:
        return Problem("start", f"{value} is not an address with the length of its network")
    if found is not None and found.ip == found.network.network_address and found.network.prefixlen < 31:
        return Problem("start", f"{value} is a network, not an address in it")
    return None


def _network(value: Any, _: int) -> Problem | None:
    bad = value and interface(value) is None
    return Problem("start", f"{value} is no network with its length") if bad else None


def _network6(value: Any, generation: int) -> Problem | None:
    found = _network(value, generation)
    return found._replace(level="read") if found and generation >= 26 else found


def _at_least(level: Level, least: int = 0) -> Callable[[Any, int], Problem | None]:
    return lambda value, _: Problem(level, f"{value} is less than {least}") if value < least else None


def _all_of(good: Callable[[str], bool], told: str) -> Callable[[Any, int], Problem | None]:
    def check(value: Any, _: int) -> Problem | None:
        wrong = _each(value, good)
        return Problem("read", f"{wrong} {told}") if wrong else None

    return check


def _metrics(value: Any, _: int) -> Problem | None:
    bad = value and not re.fullmatch(r"(tcp://)?[^/]*:\d+", value)
    return Problem("start", f"{value} is not of the form address:port") if bad else None


def _listen(value: Any, generation: int) -> Problem | None:
    wrong = _each(value, lambda one: "://" not in one or bool(_HOST.fullmatch(one)))
    return Problem("read" if generation >= 26 else "start", f"{wrong} is no place to listen at") if wrong else None


_CHECKS: Final[Mapping[str, Callable[[Any, int], Problem | None]]] = {
    "labels": _labels,
    "registry-mirrors": _mirrors,
    "insecure-registries": _registries,
    "exec-opts": _exec_opts,
    "default-ulimits": _default_ulimits,
    "default-address-pools": _default_pools,
    "bip": _address,
    "bip6": _address,
    "fixed-cidr": _network,
    "fixed-cidr-v6": _network6,
    "mtu": lambda value, generation: _at_least("read" if generation >= 26 else "start")(value, generation),
    "max-concurrent-downloads": _at_least("read"),
    "max-concurrent-uploads": _at_least("read"),
    "max-download-attempts": lambda value, gen: _at_least("read", 1 if gen < 23 else 0)(value, gen),
    "network-diagnostic-port": lambda value, gen: (
        Problem("read", f"{value} is no port") if gen >= 28 and not 0 <= value <= 65535 else None
    ),
    "dns-search": _all_of(lambda one: bool(_DOMAIN.fullmatch(one)), "is no domain"),
    "node-generic-resources": _all_of(lambda one: "=" in one, "is not of the form name=value"),
    "api-cors-header": lambda value, gen: (
        Problem("read", "was removed from the engine: it has to be empty") if gen >= 28 and value else None
    ),
    "metrics-addr": _metrics,
    "hosts": _listen,
}  # fmt: skip


def problem(option: Option, value: Any, generation: int) -> Problem | None:
    """What is wrong with a key's value in daemon.json; null is what dockerd passes over."""
    if value is None or option.kind == "none":
        return None
    right, wanted = TYPES[option.kind]
    if not right(value):
        return Problem("read", f"has to be {wanted}")
    if option.allowed and (value.lower() if option.key == "log-level" else value) not in option.allowed:
        return Problem("read", f"{value} is none of {', '.join(one for one in option.allowed if one)}")
    check = _CHECKS.get(option.key)
    return check(value, generation) if check else None


def _whole(text: str) -> int | None:
    try:
        return int(text, 0)
    except ValueError:
        return None


def flag_problem(option: Option, value: str | None, generation: int) -> Problem | None:
    """What is wrong with the value of one flag."""
    text = value or ""
    if option.kind == "bool":
        bad = value is not None and text not in flags.TRUE | flags.FALSE
        return Problem("start", f"{text} is neither true nor false") if bad else None
    if option.kind == "int" and _whole(text) is None:
        return Problem("start", f"{text or 'nothing'} is no whole number")
    if option.kind == "ulimits":
        good = re.fullmatch(r"(\w+)=-?\d+(:-?\d+)?", text)
        return (
            None if good and good[1] in _ULIMITS else Problem("start", f"{text} is no limit, such as nofile=1024:2048")
        )
    read: Any = _whole(text) if option.kind == "int" else text
    if option.kind in ("list", "ips"):
        read = [text]
    elif option.kind not in ("int", "string", "path", "bytes", "ip", "cidr"):
        return None
    found = problem(option, read, generation)
    return found._replace(level="start") if found and found.level == "read" else found
