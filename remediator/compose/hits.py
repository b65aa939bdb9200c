"""Which keys of compose stand for which part of a container's document, and where files set them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from . import nodes
from .nodes import Entry, Node
from .project import Layer, Service

Keys = tuple[str, ...]

# The keys of compose that set what stands at a pointer of the document; the first that is set counts.
KEYS: Final[Mapping[str, tuple[Keys, ...]]] = {
    "/HostConfig/Privileged": (("privileged",),),
    "/HostConfig/CapAdd": (("cap_add",),),
    "/HostConfig/CapDrop": (("cap_drop",),),
    "/HostConfig/NetworkMode": (("network_mode",), ("networks",)),
    "/HostConfig/PidMode": (("pid",),),
    "/HostConfig/IpcMode": (("ipc",),),
    "/HostConfig/UTSMode": (("uts",),),
    "/HostConfig/UsernsMode": (("userns_mode",),),
    "/HostConfig/ReadonlyRootfs": (("read_only",),),
    "/HostConfig/Tmpfs": (("tmpfs",),),
    "/HostConfig/SecurityOpt": (("security_opt",),),
    "/HostConfig/CgroupParent": (("cgroup_parent",),),
    "/HostConfig/Ulimits": (("ulimits",),),
    "/HostConfig/Devices": (("devices",),),
    "/HostConfig/Memory": (("deploy", "resources", "limits", "memory"), ("mem_limit",)),
    "/HostConfig/MemorySwap": (("memswap_limit",),),
    "/HostConfig/CpuShares": (("cpu_shares",),),
    "/HostConfig/PidsLimit": (("deploy", "resources", "limits", "pids"), ("pids_limit",)),
    "/HostConfig/RestartPolicy": (("deploy", "restart_policy"), ("restart",)),
    "/Config/Image": (("image",),),
    "/Config/User": (("user",),),
    "/Config/Healthcheck": (("healthcheck", "test"), ("healthcheck", "disable")),
    "/Mounts": (("volumes",), ("use_api_socket",)),
    "/PublishedPorts": (("ports",),),
}
# Lists of which a known item stays wrong, whatever another item turns out to be.
ADDING: Final = frozenset(
    {"/Mounts", "/PublishedPorts", "/HostConfig/CapAdd", "/HostConfig/Devices", "/HostConfig/Ulimits"}
)


@dataclass(frozen=True)
class Hit:
    """A place that sets a key: the entries that lead to it in one layer, outermost first."""

    layer: Layer
    chain: tuple[Entry, ...]

    @property
    def entry(self) -> Entry:
        return self.chain[-1]

    @property
    def line(self) -> int:
        return self.entry.key.line


@dataclass(frozen=True)
class Item:
    """One item of a list setting, and what the engine would tell of it (a range of ports is several)."""

    hit: Hit
    node: Node
    documents: tuple[Any, ...]


def hits(service: Service, keys: Keys) -> list[Hit]:
    """The places that set a key, the weakest first; a null sets nothing."""
    found = []
    for layer in service.layers:
        chain: list[Entry] = []
        node = layer.node
        for key in keys:
            entry = nodes.entries(node).get(key) if node.real.kind == "map" else None
            if entry is None or nodes.is_null(entry.value):
                break
            chain.append(entry)
            node = entry.value
        else:
            found.append(Hit(layer, tuple(chain)))
    return found
