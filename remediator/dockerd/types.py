"""The types of values in daemon.json, as Go's encoding/json reads them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

# docker/go-units: RAMInBytes
_SIZE: Final = re.compile(r"\d+(\.\d+)? ?([kmgtp]i?b?|b)?", re.IGNORECASE)


def size(text: str) -> int | None:
    """Bytes of a size as dockerd reads it ("10m", "1.5 GiB"); None for what is no size."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        return None
    digits = re.match(r"[\d.]+", text.strip())
    unit = (match[2] or "b")[0].lower()
    return int(float(digits.group() if digits else 0) * 1024 ** "bkmgtp".index(unit))


def is_ip(text: str) -> bool:
    """Whether a text is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def interface(text: str) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface | None:
    """An address with its network, or None."""
    try:
        return ipaddress.ip_interface(text) if "/" in text else None
    except ValueError:
        return None


def _strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) or one is None for one in value)


def _integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def _map(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(one, str) or one is None for one in value.values())


def lowered(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key.lower(): one for key, one in value.items()}  # encoding/json does not mind the case of a field


def _ulimits(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(one, dict)
        and all(_integer(lowered(one).get(name, 0)) for name in ("soft", "hard"))
        and isinstance(lowered(one).get("name", ""), str)
        for one in value.values()
    )


def _runtimes(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(one, dict)
        and isinstance(lowered(one).get("path", ""), str)
        and (lowered(one).get("runtimeargs") is None or _strings(lowered(one)["runtimeargs"]))
        for one in value.values()
    )


def _pools(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, dict) and isinstance(one.get("base", ""), str) and _integer(one.get("size", 0)) for one in value
    )


def _builder(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    gc = lowered(value).get("gc", {})
    if not isinstance(gc, dict):
        return False
    gc = lowered(gc)
    return isinstance(gc.get("enabled", False), bool) and isinstance(gc.get("defaultkeepstorage", ""), str)


TYPES: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "bool": (lambda one: isinstance(one, bool), "true or false"),
    "int": (_integer, "a whole number"),
    "string": (lambda one: isinstance(one, str), "a string"),
    "path": (lambda one: isinstance(one, str), "a string"),
    "cidr": (lambda one: isinstance(one, str), "a string"),
    "bytes": (lambda one: isinstance(one, str) and size(one) is not None, "a size in quotes, such as \"64M\""),
    "ip": (lambda one: isinstance(one, str) and (not one or is_ip(one)), "an IP address"),
    "list": (_strings, "a list of strings"),
    "ips": (lambda one: _strings(one) and all(word is None or is_ip(word) for word in one), "a list of IP addresses"),
    "map": (_map, "an object whose values are strings"),
    "maps": (lambda one: isinstance(one, dict) and all(map(_map, one.values())), "objects whose values are strings"),
    "ulimits": (_ulimits, "an object of {Name, Soft, Hard}, the limits whole numbers"),
    "runtimes": (_runtimes, "an object of {path, runtimeArgs}"),
    "pools": (_pools, "a list of {base, size}"),
    "features": (
        lambda one: isinstance(one, dict) and all(isinstance(flag, bool) for flag in one.values()),
        "an object whose values are true or false",
    ),
    "builder": (_builder, "an object of {gc: {enabled, defaultKeepStorage}}"),
    "proxies": (_map, "an object whose values are strings"),
}  # fmt: skip
