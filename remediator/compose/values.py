"""How compose writes single values, both ways: sizes, booleans, ports, volumes, devices, restart policies."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Any, Final

from ..errors import InputError

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgtp]?)i?b?", re.IGNORECASE)
_POWERS: Final[Mapping[str, int]] = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_TRUE: Final = frozenset({"1", "t", "true", "y", "yes", "on"})
_FALSE: Final = frozenset({"0", "f", "false", "n", "no", "off"})
PROPAGATIONS: Final = frozenset({"shared", "rshared", "slave", "rslave", "private", "rprivate"})


def boolean(value: Any) -> bool:
    """A boolean, also written as text. Raises InputError for another value."""
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise InputError(f"'{value}' is no boolean")


def integer(value: Any) -> int:
    """A whole number, also written as text. Raises InputError for another value."""
    try:
        return int(str(value), 0) if not isinstance(value, bool) else int("")
    except ValueError as error:
        raise InputError(f"'{value}' is no whole number") from error


def size(value: Any) -> int:
    """Bytes of a number or of text such as 512m or 1gb (powers of 1024). Raises InputError for others."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = str(value).strip()
    found = _SIZE.fullmatch(text)
    if text == "-1":
        return -1
    if not found:
        raise InputError(f"'{value}' is no size")
    return int(float(found[1]) * 1024 ** _POWERS[found[2].lower()])


def write_size(number: int) -> str | int:
    """Bytes as compose notation in the largest unit that loses nothing."""
    for unit in ("g", "m", "k"):
        factor = 1024 ** _POWERS[unit]
        if number > 0 and number % factor == 0:
            return f"{number // factor}{unit}"
    return number


def restart(value: Any) -> dict[str, Any]:
    """The engine's document of a `restart` value such as on-failure:5."""
    if value is False:
        value = "no"  # as old YAML reads it
    name, _, tries = str(value).partition(":")
    return {"Name": _condition(name), "MaximumRetryCount": integer(tries) if tries else 0}


def deploy_restart(value: Mapping[str, Any]) -> dict[str, Any]:
    """The engine's document of a `deploy.restart_policy` mapping."""
    tries = value.get("max_attempts")
    return {
        "Name": _condition(str(value.get("condition") or "")),
        "MaximumRetryCount": 0 if tries is None else integer(tries),
    }


def _condition(name: str) -> str:
    """docker/compose: pkg/compose/create.go maps the words of deploy to those of the engine."""
    return {"": "no", "none": "no", "any": "always"}.get(name, name)


def _range(text: str) -> list[int]:
    first, _, last = text.partition("-")
    start = integer(first)
    end = integer(last) if last else start
    if not 0 <= start <= end <= 65535:
        raise InputError(f"'{text}' is no port")
    return list(range(start, end + 1))


def _bindings(address: str, published: str, target: str, protocol: str) -> list[dict[str, Any]]:
    inside = _range(target)
    outside: list[int | None] = list(_range(published)) if published else [None] * len(inside)
    if len(outside) != len(inside):
        if len(inside) > 1:
            raise InputError(f"the ranges {published} and {target} differ in length")
        outside = [None]  # the engine chooses one of them
    return [
        {"HostIp": address, "HostPort": host or None, "ContainerPort": f"{port}/{protocol}"}
        for host, port in zip(outside, inside, strict=True)
    ]


def port(value: Any) -> list[dict[str, Any]]:
    """The published ports of one item of `ports`, in short or long form. Raises InputError for others."""
    if isinstance(value, dict):
        return _bindings(
            str(value.get("host_ip") or ""),
            str(value.get("published") or ""),
            str(value.get("target", "")),
            str(value.get("protocol") or "tcp"),
        )
    address, published, target, protocol = split_port(str(value))
    return _bindings(address.strip("[]"), published, target, protocol or "tcp")


def split_port(text: str) -> tuple[str, str, str, str]:
    """Address (brackets kept), host port, container port and protocol of a short form."""
    body, _, protocol = text.partition("/")
    rest, _, target = body.rpartition(":")
    address, _, published = rest.rpartition(":")
    return address, published, target, protocol


def write_port(address: str, published: str, target: str, protocol: str) -> str:
    """The short form of a published port."""
    shown = f"[{address}]" if ":" in address and not address.startswith("[") else address
    head = f"{shown}:{published}:" if shown else f"{published}:" if published else ""
    return f"{head}{target}" + (f"/{protocol}" if protocol else "")


def split_volume(text: str) -> tuple[str, str, list[str]]:
    """Source ("" for an anonymous volume), target and options of a short form."""
    parts = text.split(":")
    if len(parts) == 1:
        return "", parts[0], []
    return parts[0], parts[1], [one for one in ":".join(parts[2:]).split(",") if one]


def mount(value: Any, directory: str, home: str, project: str) -> dict[str, Any]:
    """The mount that one item of `volumes` makes, as the engine tells it.

    Relative sources start at `directory`, ~ is `home`; a named volume bears the name of the project before its own.
    """
    if isinstance(value, dict):
        kind, source, target = (str(value.get(key) or "") for key in ("type", "source", "target"))
        bind = value.get("bind")
        propagation = str(bind.get("propagation") or "") if isinstance(bind, dict) else ""
        writable = not boolean(value.get("read_only") or False)
        kind = kind or ("bind" if source[:1] in tuple("/.~") and source else "volume")
    else:
        source, target, options = split_volume(str(value))
        kind = "bind" if source[:1] in tuple("/.~") and source else "volume"
        propagation = next((one for one in options if one in PROPAGATIONS), "")
        writable = "ro" not in options
    if not target.startswith("/"):
        raise InputError(f"'{value}' mounts to no absolute path")
    if kind == "bind":
        source = re.sub(r"^~(?=/|$)", lambda _: home or "~", source)
        source = source if source.startswith("~") else posixpath.normpath(posixpath.join(directory, source))
        source = re.sub(r"^/{2,}", "/", source)
        propagation = propagation or "rprivate"
    elif source and kind == "volume":
        source = f"{project}_{source}"
    return {
        "Type": kind,
        "Source": source,
        "Destination": posixpath.normpath(target),
        "RW": writable,
        "Propagation": propagation,
    }


def device(value: Any) -> dict[str, Any]:
    """The device that one item of `devices` gives, as the engine tells it."""
    if isinstance(value, dict):
        source = str(value.get("source") or "")
        target, rights = str(value.get("target") or ""), str(value.get("permissions") or "")
    else:
        source, target, rights = (*str(value).split(":"), "", "")[:3]
        if target and set(target) <= set("rwm"):
            target, rights = "", target
    return {"PathOnHost": source, "PathInContainer": target or source, "CgroupPermissions": rights or "rwm"}


def ulimit(name: str, value: Any) -> dict[str, Any]:
    """The ulimit that one entry of `ulimits` sets, as the engine tells it."""
    if isinstance(value, dict):
        soft, hard = integer(value.get("soft", value.get("hard"))), integer(value.get("hard", value.get("soft")))
    else:
        soft = hard = integer(value)
    return {"Name": name, "Soft": soft, "Hard": hard}


def capability(name: Any) -> str:
    """A capability's name without the CAP_ that some write before it."""
    return str(name).upper().removeprefix("CAP_")


def tmpfs(value: Any) -> tuple[str, str]:
    """Path and options of one item of `tmpfs`."""
    path, _, options = str(value).partition(":")
    return path, options
