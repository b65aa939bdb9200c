"""icc=false and user-defined networks: who on docker0 talks to whom, as far as it shows."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from ..model import Change
from .verdict import Verdict, breaks, ruled_out, some, unknown
from .view import Container, View


class Flow(NamedTuple):
    """A client that talks to a port of a server."""

    client: str
    server: str
    protocol: str
    port: int

    def __str__(self) -> str:
        return f"{self.client} talks to {self.protocol} {self.port} of {self.server}"


def members(view: View) -> list[Container]:
    """The containers that run on docker0."""
    return [one for one in view.running if one.on_bridge]


@lru_cache(maxsize=1)
def flows(view: View) -> list[Flow]:
    """Connections between containers on docker0: those of now and of the last minute, and what is tracked."""
    names = {address: one.name for one in members(view) for address in one.addresses}
    found = set()
    for one in members(view):
        for protocol, here, port, there, other in one.network.get("peers", []):
            if here not in one.addresses or there not in names or names[there] == one.name:
                continue
            if (protocol, port) in one.listens:
                found.add(Flow(names[there], one.name, protocol, port))
            elif other:
                found.add(Flow(one.name, names[there], protocol, other))
    for protocol, source, target, port in view.surroundings.get("tracked", []):
        if source in names and target in names:
            found.add(Flow(names[source], names[target], protocol, port))
    return sorted(found)


def _linked(flow: Flow, view: View) -> bool:
    """Whether a link lets a flow through with icc=false: to ports that the server exposes."""
    server = view.containers[flow.server]
    return flow.server in view.containers[flow.client].links and (flow.protocol, flow.port) in server.exposed


@lru_cache(maxsize=1)
def contacts(view: View) -> list[tuple[str, str]]:
    """Pairs on docker0 that have exchanged packets since they were started: the kernel's neighbour tables."""
    names = {address: one.name for one in members(view) for address in one.addresses}
    found = set()
    for one in members(view):
        for address in one.network.get("neighbours", []):
            if names.get(address, one.name) != one.name:
                found.add(tuple(sorted((one.name, names[address]))))
    return sorted((first, second) for first, second in found)


def published(view: View) -> list[Flow]:
    """Connections of containers on docker0 to ports that others there have published on the host."""
    ports = {
        (binding["ContainerPort"].partition("/")[2], binding["HostPort"]): one.name
        for one in members(view)
        for binding in one.document.get("PublishedPorts", [])
    }
    host = set(view.surroundings.get("addresses", []))
    found = set()
    for one in members(view):
        for protocol, _, _, there, other in one.network.get("peers", []):
            if there in host and ports.get((protocol, other), one.name) != one.name:
                found.add(Flow(one.name, ports[protocol, other], protocol, other))
    return sorted(found)


def _met(first: str, second: str) -> str:
    return f"{first} and {second} have exchanged packets over docker0 since they were started"


def _forgetful(view: View) -> bool:
    """Whether the kernel may have forgotten neighbours: it does when it knows many."""
    kept = view.surroundings.get("neighbours_kept", 0)
    return bool(kept) and view.surroundings.get("neighbours", 0) >= kept


def icc(_change: Change, view: View) -> Verdict:
    """Containers on docker0 lose all paths to each other, but for links and the userland proxy."""
    here = members(view)
    resting = [one.name for one in view.containers.values() if one.on_bridge and not one.running]
    all_flows = flows(view)
    cut = [str(one) for one in all_flows if not _linked(one, view)]
    through = published(view)
    if view.daemon("userland-proxy", True) is False:
        cut += [f"{one.client} talks to {one.server} over its published port {one.port}" for one in through]
    known = {frozenset((one.client, one.server)) for one in all_flows}
    for first, second in contacts(view):
        pair = view.containers[first], view.containers[second]
        if frozenset((first, second)) not in known and not (second in pair[0].links or first in pair[1].links):
            cut.append(_met(first, second))
    told = [f"{one}, by a link, which stays" for one in all_flows if _linked(one, view)]
    told += [f"{one.client} reaches port {one.port} of {one.server} through the proxy, which stays" for one in through]
    if cut:
        return breaks(*cut, told=tuple(told))
    if len(here) + len(resting) < 2:
        return ruled_out(f"{'one container is' if here or resting else 'no containers are'} on docker0")
    unseen = [one.name for one in here if not one.talked]
    if unseen:
        return unknown(f"the connections of {some(unseen)} could not be looked at", told=tuple(told))
    listening = [one.name for one in here if one.listens]
    if resting:
        return unknown(f"what {some(resting)} reaches on docker0 when started; stopped now", told=tuple(told))
    if not listening:
        return ruled_out(f"none of the {len(here)} containers on docker0 listens on a port", told=tuple(told))
    if all(view.watched(one) for one in here) and not _forgetful(view):
        since = view.since(min(here, key=lambda one: one.age))
        links = " but by links" if all_flows else ""
        return ruled_out(f"no two containers on docker0 have exchanged a packet{links} {since}", told=tuple(told))
    return unknown(
        f"{some(listening)} can be reached by the others on docker0; none has done so yet, but they have "
        f"run for {min(one.age for one in here):.0f} seconds only",
        told=tuple(told),
    )


def default_bridge(change: Change, view: View) -> Verdict:
    """A container that leaves docker0 gets another address, and loses its neighbours and links there."""
    own = view.containers[change.resource]
    talks = [one for one in flows(view) if own.name in (one.client, one.server)]
    known = {frozenset((one.client, one.server)) for one in talks}
    met = [pair for pair in contacts(view) if own.name in pair and frozenset(pair) not in known]
    cut = [str(one) for one in talks] + [_met(*pair) for pair in met]
    cut += [f"its link to {one}" for one in own.links]
    cut += [f"the link that {one.name} has to it" for one in view.linked if own.name in one.links]
    cut += [f"a process of the host is connected to its {protocol} {port}" for protocol, port in _by_address(own, view)]
    if cut:
        return breaks(*dict.fromkeys(cut))
    host = view.surroundings.get("addresses", [])
    if any(
        there in host and (name, port) not in own.listens for name, _, port, there, _ in own.network.get("peers", [])
    ):
        return unknown("it connects to the host, which may know it by its address on docker0")
    if not view.watched(own) or _forgetful(view):
        return unknown(f"no contact with others on docker0 was seen, but it has run for {own.age:.0f} seconds only")
    return ruled_out(f"it has exchanged no packet with others on docker0 {view.since(own)}, and nobody links to it")


def _by_address(own: Container, view: View) -> list[tuple[str, int]]:
    """The unpublished ports of a container to which a process of the host is connected: by its address then."""
    if not own.listens:
        return []
    published = {one["ContainerPort"] for one in own.document.get("PublishedPorts", [])}
    host = view.surroundings.get("addresses", [])
    seen = {(name, other) for name, _, _, there, other in view.surroundings.get("peers", []) if there in own.addresses}
    seen |= {(name, port) for name, _, port, there, _ in own.network.get("peers", []) if there in host}
    return sorted((name, port) for name, port in seen & own.listens if f"{port}/{name}" not in published)


def userland_proxy(_change: Change, view: View) -> Verdict:
    """Published ports are reached by firewall rules alone: not over ::1, and not between containers without icc."""
    ports = {
        binding["HostPort"]: one.name for one in view.running for binding in one.document.get("PublishedPorts", [])
    }
    if not ports:
        return ruled_out("no running container has a published port")
    cut = [
        f"port {binding['HostPort']} of {one.name} is published on ::1"
        for one in view.running
        for binding in one.document.get("PublishedPorts", [])
        if binding["HostIp"] == "::1"
    ]
    for protocol, here, port, there, other in view.surroundings.get("peers", []):
        if there == "::1" and other in ports:
            cut.append(f"a process of the host talks to {protocol} {other} of {ports[other]} over ::1")
        elif here == "::1" and port in ports:
            cut.append(f"a process of the host talks to {protocol} {port} of {ports[port]} over ::1")
    if False in (view.daemon("icc", True), view.live("icc")):
        cut += [
            f"{one.client} talks to {one.server} over its published port, with icc=false" for one in published(view)
        ]
    if cut:
        return breaks(*dict.fromkeys(cut))
    names = some(sorted(set(ports.values())))
    return unknown(f"whether ports of {names} are reached over ::1, or from containers once icc is false")


def network(change: Change, view: View) -> Verdict:
    """What shares the host's network gets one of its own: its ports are no longer the host's."""
    own = view.containers[change.resource]
    if change.before != "host":
        return default_bridge(change, view)
    ports = sorted({f"{protocol} {port}" for protocol, _, port in own.network.get("listens", [])})
    talks = sorted({there for _, _, _, there, _ in own.network.get("peers", [])})
    cut = [f"it listens on the host's {some(ports)}"] if ports else []
    cut += [f"it is connected to the host itself at {some(talks)}"] if talks else []
    return breaks(*cut) if cut else unknown("what it does on the host's network without a port of its own")
