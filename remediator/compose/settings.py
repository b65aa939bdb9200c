"""From a value in the container's document to attempts that write it into the compose files, by pointer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ..collect.containers import project_container
from ..expect import same
from . import values
from .edit import UneditableError, Verbatim
from .hits import KEYS, Item
from .places import Attempt, Places, together

_LIMITS: Final = ("deploy", "resources", "limits")
_RESTART: Final = ("deploy", "restart_policy")


def canonical(pointer: str, value: Any) -> Any:
    """A value of the document in the one spelling that is compared; lists are sorted."""
    value = spelled(pointer, value)
    if not isinstance(value, list) or pointer == "/Config/Healthcheck":
        return value
    unique = {repr(sorted(one.items()) if isinstance(one, dict) else one): one for one in value}
    return [unique[key] for key in sorted(unique)]


def spelled(pointer: str, value: Any) -> Any:
    """A value of the document in one spelling."""
    if not isinstance(value, list):
        return value
    if pointer in ("/HostConfig/CapAdd", "/HostConfig/CapDrop"):
        return [values.capability(one) for one in value]
    if pointer == "/Mounts":  # where an engine keeps a named volume is not the file's to say
        return [{**one, "Source": "", "Propagation": ""} if one.get("Type") == "volume" else one for one in value]
    if pointer == "/HostConfig/SecurityOpt":
        return project_container({"HostConfig": {"SecurityOpt": value}})["document"]["HostConfig"]["SecurityOpt"]
    return value


def wanted(pointer: str, current: Any, before: Any, after: Any) -> Any:
    """What the document should say: `after`, or for lists what is there now with the same items taken and added."""
    if pointer == "/HostConfig/Tmpfs" and isinstance(after, dict):
        gone = before.keys() - after.keys() if isinstance(before, dict) else set()
        return {**{path: one for path, one in current.items() if path not in gone}, **after}
    if pointer == "/Config/Healthcheck" or not all(isinstance(one, list) for one in (current, before, after)):
        return after
    current, before, after = (spelled(pointer, one) for one in (current, before, after))

    def within(one: Any, some: list[Any]) -> bool:
        return any(same(one, other) for other in some)

    kept = [one for one in current if within(one, after) or not within(one, before)]
    return kept + [one for one in after if not within(one, before) and not within(one, kept)]


def attempts(places: Places, pointer: str, value: Any) -> list[Attempt]:
    """Ways to make the document say a value at a pointer, the likeliest first. Raises UneditableError for none."""
    if pointer not in _WRITERS:
        raise UneditableError(f"{pointer} has no place in a compose file")
    return _WRITERS[pointer](places, value)


Writer = Callable[[Places, Any], list[Attempt]]


def _word(*keys: str) -> Writer:
    """A text that is set, or the key dropped for ""."""

    def write(places: Places, value: Any) -> list[Attempt]:
        return places.put(keys, value) if value else places.drop(keys, "")

    return write


def _flag(key: str) -> Writer:
    return lambda places, value: places.put((key,), bool(value))


def _limit(key: str, inside: str, write: Callable[[Any], Any]) -> Writer:
    """A limit that stands in the short form, under deploy.resources.limits, or (and then the same) in both.

    Where there are limits under deploy, compose refuses a short form without its like there.
    """

    def attempt(places: Places, value: Any) -> list[Attempt]:
        forms = ((*_LIMITS, inside), (key,))
        there = [one for one in forms if places.has(one)]
        if value in (0, None):
            return together(*(places.drop(one, None) for one in there))
        if forms[0] not in there and places.has(_LIMITS):
            there.append(forms[0])
        return together(*(places.put(one, write(value)) for one in there or [forms[1]]))

    return attempt


def _memory_swap(places: Places, value: Any) -> list[Attempt]:
    keys = ("memswap_limit",)
    if not value:
        return places.drop(keys, None)
    if not places.reader.first("/HostConfig/Memory", values.size, 0):
        raise UneditableError("the engine takes a limit of memory and swap only beside one of memory")
    return places.put(keys, values.write_size(value))


def _restart(places: Places, value: Any) -> list[Attempt]:
    name, tries = value.get("Name") or "no", value.get("MaximumRetryCount") or 0
    if not places.has(_RESTART):
        return places.put(("restart",), f"{name}:{tries}" if tries else name)
    word = {"no": "none", "always": "any", "unless-stopped": "any"}.get(name, name)
    parts = [places.put((*_RESTART, "condition"), word)]
    if tries:
        parts.append(places.put((*_RESTART, "max_attempts"), tries))
    return together(*parts)


def _list(pointer: str, write: Callable[[Any], Any] = lambda one: one) -> Writer:
    """A list of which items are taken and added."""
    (keys, *_) = KEYS[pointer]

    def attempt(places: Places, value: Any) -> list[Attempt]:
        items = places.reader.items(pointer)
        said = [(one, spelled(pointer, list(one.documents))) for one in items]  # no-new-privileges:false says nothing
        kept = [one for one, some in said if some and all(_in(each, value) for each in some)]
        there = [each for _, some in said for each in some]
        added = [write(one) for one in value if not _in(one, there)]
        return places.shorten(keys, [one for one in items if one not in kept], kept, added)

    return attempt


def _in(one: Any, some: Sequence[Any]) -> bool:
    return any(same(one, other) for other in some)


def _security(option: str) -> str:
    return "no-new-privileges:true" if option == "no-new-privileges" else option.replace("=", ":", 1)


def _device(one: Mapping[str, Any]) -> str:
    return ":".join(str(one[key]) for key in ("PathOnHost", "PathInContainer", "CgroupPermissions"))


def _tmpfs(places: Places, value: Any) -> list[Attempt]:
    pointer = "/HostConfig/Tmpfs"
    items = places.reader.items(pointer)
    kept = [one for one in items if one.documents and value.get(one.documents[0][0]) == one.documents[0][1]]
    there = {one.documents[0][0] for one in kept}
    added = [f"{path}:{options}" if options else path for path, options in value.items() if path not in there]
    return places.shorten(("tmpfs",), [one for one in items if one not in kept], kept, added)


def _ulimits(places: Places, value: Any) -> list[Attempt]:
    now = {one["Name"]: one for one in places.reader.inspect()["HostConfig"]["Ulimits"] if one}
    new = {one["Name"]: one for one in value}
    if not new:
        return places.drop(("ulimits",), None)
    parts = [places.drop(("ulimits", name), None) for name in now if name not in new]
    for name, one in new.items():
        if not same(now.get(name), one):
            soft, hard = one["Soft"], one["Hard"]
            parts.append(places.put(("ulimits", name), soft if soft == hard else {"soft": soft, "hard": hard}))
    return together(*parts)


def _mounts(places: Places, value: Any) -> list[Attempt]:
    new = {one["Destination"]: one for one in value}
    items = places.reader.items("/Mounts")
    by_target = {one["Destination"]: item for item in items for one in item.documents}
    now = {one["Destination"]: one for item in items for one in spelled("/Mounts", list(item.documents))}
    if new.keys() - by_target.keys():
        raise UneditableError("a mount that is not in the file would have to be added by hand")
    gone = [item for item in items if any(one["Destination"] not in new for one in item.documents)]
    parts = []
    if gone:
        parts.append(places.shorten(("volumes",), gone, [one for one in items if one not in gone], []))
    for target, item in by_target.items():
        if target in new and not same(now[target], new[target]):
            parts.append(_mount(places, item, now[target], new[target]))
    return together(*parts)


def _mount(places: Places, item: Item, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Attempt]:
    if any(old[key] != new.get(key) for key in ("Type", "Source")):
        raise UneditableError(f"what is mounted to {old['Destination']} has to be decided by hand")
    writable, propagation = bool(new["RW"]), str(new["Propagation"])
    if item.node.real.kind == "map":
        parts = []
        if writable != old["RW"]:
            parts.append(places.set_in_item(item, ("read_only",), not writable))
        if propagation != old["Propagation"]:
            parts.append(places.set_in_item(item, ("bind", "propagation"), propagation or "rprivate"))
        return together(*parts)
    text = item.node.real.value
    source, target, options = values.split_volume(text)
    options = [one for one in options if one not in values.PROPAGATIONS and one not in ("ro", "rw")]
    options = [*([] if writable else ["ro"]), *options]
    if propagation not in ("", "rprivate"):
        options.append(propagation)
    return places.set_item(item, Verbatim(":".join([source, target, *([",".join(options)] if options else [])])))


def _ports(places: Places, value: Any) -> list[Attempt]:
    items = places.reader.items("/PublishedPorts")
    left = list(value)
    parts, gone, kept = [], [], []
    for item in items:
        if all(_in(one, left) for one in item.documents):
            left = [one for one in left if not _in(one, item.documents)]
            kept.append(item)
    for item in items:
        if item in kept:
            continue
        new = [one for one in left if one["ContainerPort"] in {old["ContainerPort"] for old in item.documents}]
        left = [one for one in left if one not in new]
        if new:
            kept.append(item)
            parts.append(_port(places, item, new))
        else:
            gone.append(item)
    if left:
        raise UneditableError("a port that is not in the file would have to be added by hand")
    if gone:
        parts.append(places.shorten(("ports",), gone, kept, []))
    return together(*parts)


def _port(places: Places, item: Item, new: list[Any]) -> list[Attempt]:
    addresses = {one["HostIp"] for one in new}
    if len(new) != len(item.documents) or len(addresses) > 1:
        raise UneditableError("a part of a range of ports would have to be changed by hand")
    numbers = [one["HostPort"] for one in new]
    moved = numbers != [one["HostPort"] for one in item.documents]
    published = "" if numbers[0] is None else f"{numbers[0]}-{numbers[-1]}" if len(numbers) > 1 else f"{numbers[0]}"
    address = addresses.pop()
    if item.node.real.kind == "map":
        parts = []
        if address != item.documents[0]["HostIp"]:
            parts.append(places.set_in_item(item, ("host_ip",), address or "0.0.0.0"))  # noqa: S104
        if moved:
            parts.append(places.set_in_item(item, ("published",), published))
        return together(*parts)
    _, was, target, protocol = values.split_port(item.node.real.value)
    text = values.write_port(address, published if moved else was, target, protocol)
    if address and not (published if moved else was):
        text = values.write_port(address, "", "", "") + f":{target}" + (f"/{protocol}" if protocol else "")
    return places.set_item(item, Verbatim(text))


def _healthcheck(places: Places, value: Any) -> list[Attempt]:
    parts = [places.put(("healthcheck", "test"), list(value))]
    if places.has(("healthcheck", "disable")):
        parts.append(places.drop(("healthcheck", "disable"), False))
    return together(*parts)


def _network_mode(places: Places, value: Any) -> list[Attempt]:
    keys = ("network_mode",)
    if not value:
        return places.drop(keys, None)
    if value in ("none", "bridge", "host") or str(value).startswith(("service:", "container:")):
        return places.put(keys, value)
    raise UneditableError("which networks it joins has to be decided by hand")


_WRITERS: Final[Mapping[str, Writer]] = {
    "/HostConfig/Privileged": _flag("privileged"),
    "/HostConfig/CapAdd": _list("/HostConfig/CapAdd"),
    "/HostConfig/CapDrop": _list("/HostConfig/CapDrop"),
    "/HostConfig/NetworkMode": _network_mode,
    "/HostConfig/PidMode": _word("pid"),
    "/HostConfig/IpcMode": _word("ipc"),
    "/HostConfig/UTSMode": _word("uts"),
    "/HostConfig/UsernsMode": _word("userns_mode"),
    "/HostConfig/ReadonlyRootfs": _flag("read_only"),
    "/HostConfig/Tmpfs": _tmpfs,
    "/HostConfig/SecurityOpt": _list("/HostConfig/SecurityOpt", _security),
    "/HostConfig/CgroupParent": _word("cgroup_parent"),
    "/HostConfig/Ulimits": _ulimits,
    "/HostConfig/Devices": _list("/HostConfig/Devices", _device),
    "/HostConfig/Memory": _limit("mem_limit", "memory", values.write_size),
    "/HostConfig/MemorySwap": _memory_swap,
    "/HostConfig/CpuShares": lambda places, value: places.put(("cpu_shares",), value),
    "/HostConfig/PidsLimit": _limit("pids_limit", "pids", lambda one: one),
    "/HostConfig/RestartPolicy": _restart,
    "/Config/Image": _word("image"),
    "/Config/User": _word("user"),
    "/Config/Healthcheck": _healthcheck,
    "/Mounts": _mounts,
    "/PublishedPorts": _ports,
}
