"""Reads the settings of a service in the shape of `docker inspect`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from ..errors import InputError
from . import nodes, values
from .hits import KEYS, Hit, Item, Keys, hits
from .nodes import Entry, Node
from .project import Layer, Project, Service
from .variables import Used, interpolate

_SOCKET: Final = "/var/run/docker.sock"


class Reader:
    """Reads the settings of one service; `unknown` learns the pointers of those that a file cannot tell."""

    def __init__(self, project: Project, service: Service) -> None:
        self.project, self.service = project, service
        self.unknown: dict[str, str] = {}

    def fill(self, layer: Layer, node: Node) -> Any:
        """A node as plain data with variables filled in. Raises InputError for one that is not set."""
        real = node.real
        if real.kind == "map":
            return {name: self.fill(layer, one.value) for name, one in nodes.entries(real).items()}
        if real.kind == "seq":
            return [self.fill(layer, one) for one in real.items]
        if "$" not in real.value:
            return nodes.plain(real)
        used = Used()
        filled = interpolate(real.value, layer.file.variables, used)
        if used.missing:
            raise InputError(f"depends on the variable {used.missing[0]}, which is not set")
        return filled

    def _guarded(self, pointer: str, layer: Layer, node: Node, read: Callable[[Any], Any], default: Any) -> Any:
        try:
            return read(self.fill(layer, node))
        except (InputError, TypeError, AttributeError, ValueError) as error:
            told = str(error) if isinstance(error, InputError) else "is not of the form that compose knows"
            self.unknown.setdefault(pointer, f"{layer.file.path}:{node.line}: {told}")
            return default

    def one(self, pointer: str, keys: Keys, read: Callable[[Any], Any], default: Any) -> Any:
        """The value that the strongest layer gives a key."""
        found = hits(self.service, keys)
        if not found:
            return default
        return self._guarded(pointer, found[-1].layer, found[-1].entry.value, read, default)

    def first(self, pointer: str, read: Callable[[Any], Any], default: Any) -> Any:
        """The value of the first of a pointer's keys that is set."""
        for keys in KEYS[pointer]:
            if hits(self.service, keys):
                return self.one(pointer, keys, read, default)
        return default

    def mapping(self, pointer: str, keys: Keys) -> dict[str, tuple[Hit, Entry]]:
        """The entries of a mapping over all layers, each as the strongest one has it."""
        found = {}
        for hit in hits(self.service, keys):
            if hit.entry.value.real.kind != "map":
                self.unknown.setdefault(pointer, f"{hit.layer.file.path}:{hit.line}: is no mapping")
                continue
            found.update({name: (hit, entry) for name, entry in nodes.entries(hit.entry.value).items()})
        return found

    def items(self, pointer: str) -> list[Item]:
        """The items of a list over all layers, in the order in which compose adds them up."""
        found = []
        for hit in hits(self.service, KEYS[pointer][0]):
            real = hit.entry.value.real
            single = pointer == "/HostConfig/Tmpfs" and real.kind == "scalar"
            if real.kind != "seq" and not single:
                self.unknown.setdefault(pointer, f"{hit.layer.file.path}:{hit.line}: is no list")
                continue
            for node in [real] if single else real.items:
                read = self._read_item(pointer, hit.layer)
                found.append(Item(hit, node, tuple(self._guarded(pointer, hit.layer, node, read, []))))
        return found

    def _read_item(self, pointer: str, layer: Layer) -> Callable[[Any], list[Any]]:
        directory, home = layer.file.directory, layer.file.variables.get("HOME", "")
        readers: Mapping[str, Callable[[Any], list[Any]]] = {
            "/PublishedPorts": values.port,
            "/Mounts": lambda one: [values.mount(one, directory, home, self.project.name)],
            "/HostConfig/Devices": lambda one: [values.device(one)],
            "/HostConfig/Tmpfs": lambda one: [values.tmpfs(one)],
        }
        return readers.get(pointer, lambda one: [str(one)])

    def documents(self, pointer: str) -> list[Any]:
        """What the engine would tell of all items of a list."""
        return [one for item in self.items(pointer) for one in item.documents]

    def restart(self) -> dict[str, Any]:
        """docker/compose: pkg/compose/create.go, getRestartPolicy: that of deploy wins."""
        pointer = "/HostConfig/RestartPolicy"
        given = self.mapping(pointer, ("deploy", "restart_policy"))
        if given:
            read = {
                name: self._guarded(pointer, hit.layer, entry.value, lambda one: one, None)
                for name, (hit, entry) in given.items()
            }
            try:
                return values.deploy_restart(read)
            except InputError as error:
                self.unknown.setdefault(pointer, str(error))
        default = {"Name": "no", "MaximumRetryCount": 0}
        return dict(self.one(pointer, ("restart",), values.restart, default))

    def network_mode(self) -> str:
        """The mode, or the network that the container joins first; without any the project's own."""
        pointer = "/HostConfig/NetworkMode"
        mode = self.one(pointer, ("network_mode",), str, "")
        if mode:
            return str(mode)
        named = []
        for hit in hits(self.service, ("networks",)):
            given = self._guarded(pointer, hit.layer, hit.entry.value, lambda one: one, None)
            named += [str(one) for one in given] if isinstance(given, list | dict) else []
        return f"{self.project.name}_{sorted(named)[0] if named else 'default'}"

    def healthcheck(self) -> list[str]:
        """The test of the health check, [] for none."""
        pointer = "/Config/Healthcheck"
        if self.one(pointer, ("healthcheck", "disable"), values.boolean, False):
            return []
        test = self.one(pointer, ("healthcheck", "test"), lambda one: one, None)
        if test is None:
            self.unknown.setdefault(pointer, "the image may bring a health check, and the file sets none")
            return []
        return [str(one) for one in test] if isinstance(test, list) else ["CMD-SHELL", str(test)]

    def mounts(self) -> list[dict[str, Any]]:
        """The mounts, of two with the same target the last."""
        found = {one["Destination"]: one for one in self.documents("/Mounts")}
        if self.one("/Mounts", ("use_api_socket",), values.boolean, False):
            found.setdefault(_SOCKET, values.mount(f"{_SOCKET}:{_SOCKET}", "/", "", ""))
        if taken := hits(self.service, ("volumes_from",)):
            self.unknown.setdefault("/Mounts", f"{taken[-1].layer.file.path}:{taken[-1].line}: takes other volumes too")
        return list(found.values())

    def inspect(self) -> dict[str, Any]:
        """The service in the shape of `docker inspect`."""
        host: dict[str, Any] = {
            "Memory": self.first("/HostConfig/Memory", values.size, 0),
            "MemorySwap": self.first("/HostConfig/MemorySwap", values.size, 0),
            "CpuShares": self.first("/HostConfig/CpuShares", values.integer, 0),
            "PidsLimit": self.first("/HostConfig/PidsLimit", values.integer, None),
            "RestartPolicy": self.restart(),
            "Privileged": self.first("/HostConfig/Privileged", values.boolean, False),
            "NetworkMode": self.network_mode(),
            "ReadonlyRootfs": self.first("/HostConfig/ReadonlyRootfs", values.boolean, False),
            "AutoRemove": False,
            "CapAdd": [values.capability(one) for one in self.documents("/HostConfig/CapAdd")],
            "CapDrop": [values.capability(one) for one in self.documents("/HostConfig/CapDrop")],
            "Devices": self.documents("/HostConfig/Devices"),
            "SecurityOpt": self.documents("/HostConfig/SecurityOpt"),
            "Ulimits": self._ulimits(),
            "PortBindings": self._port_bindings(),
        }
        for name in ("PidMode", "IpcMode", "UTSMode", "UsernsMode", "CgroupParent"):
            host[name] = self.first(f"/HostConfig/{name}", str, "")
        host["IpcMode"] = host["IpcMode"] or "private"
        image = self.first("/Config/Image", str, "")
        if not image:
            self.unknown.setdefault("/Config/Image", "the image is built, and has no name of its own")
        user = self.first("/Config/User", str, "")
        if not user:
            self.unknown.setdefault("/Config/User", "the image may name a user, and the file names none")
        return {
            "Name": self.service.name,
            "HostConfig": host,
            "Config": {
                "Image": image,
                "User": user,
                "Healthcheck": {"Test": self.healthcheck()},
            },
            "Mounts": self.mounts(),
        }

    def _ulimits(self) -> list[dict[str, Any]]:
        pointer = "/HostConfig/Ulimits"
        found = []
        for name, (hit, entry) in sorted(self.mapping(pointer, ("ulimits",)).items()):
            found.append(self._guarded(pointer, hit.layer, entry.value, partial(values.ulimit, name), {}))
        return found

    def _port_bindings(self) -> dict[str, list[dict[str, str]]]:
        found: dict[str, list[dict[str, str]]] = {}
        for one in self.documents("/PublishedPorts"):
            number = str(one["HostPort"] or "")
            found.setdefault(one["ContainerPort"], []).append({"HostIp": one["HostIp"], "HostPort": number})
        return found
