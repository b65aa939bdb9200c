"""A host's containers as the subjects of impact look at them."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from typing import Any, Final

from ..kinds.compare import Scope
from ..kinds.daemon import configured
from ..model import ABSENT, Fact, HostState, Value

_LOOPBACK: Final = ("127.", "::1")
_BRIDGE: Final = ("default", "bridge")


def _moment(text: str) -> datetime | None:
    """The time that a text says, to the second; None where it says none."""
    try:
        return datetime.fromisoformat(text[:19])
    except ValueError:
        return None


def _seconds(start: datetime | None, end: datetime | None) -> float:
    return max((end - start).total_seconds(), 0.0) if start and end else 0.0


class Container:
    """One container: its document, and what was seen of it while it ran."""

    def __init__(self, name: str, fact: Fact, collected: datetime | None) -> None:
        self.name, self.host = name, fact.document.get("HostConfig", {})
        self.document: dict[str, Any] = fact.document
        self.state: dict[str, Any] = fact.evidence.get("state", {})
        self.live: dict[str, Any] = fact.evidence.get("live", {})
        self.running = bool(self.state.get("Running"))
        # what its processes are, and what it does on its network; {} where that was not looked at
        self.processes: dict[str, Any] = self.live.get("processes", {})
        self.network: dict[str, Any] = self.live.get("network") or {}
        # whether it is on docker0, or will be when it is started, and its addresses there
        self.on_bridge = "bridge" in self.state.get("Networks", []) or self.host.get("NetworkMode") in _BRIDGE
        self.addresses: list[str] = self.state.get("Addresses", {}).get("bridge", [])
        # for how many seconds it has run; 0 where it does not, or it is not known
        self.age = _seconds(_moment(self.state.get("StartedAt", "")), collected)
        # the containers that it has a legacy link to
        self.links = [one.partition(":")[0].lstrip("/") for one in self.host.get("Links") or []]

    @property
    def unseen(self) -> str:
        """Why something of it is not known."""
        return "it was not looked at" if self.running else "it does not run"

    @property
    def talked(self) -> bool:
        """Whether its listeners and connections were looked at."""
        return "listens" in self.network

    @cached_property
    def listens(self) -> set[tuple[str, int]]:
        """(protocol, port) of what others can reach: not what listens on loopback alone."""
        rows = [*self.network.get("listens", []), *self.network.get("datagrams", [])]
        return {(name, port) for name, address, port in rows if not address.startswith(_LOOPBACK)}

    @property
    def exposed(self) -> set[tuple[str, int]]:
        """(protocol, port) of what its image or its run config exposes."""
        parts = (one.partition("/") for one in self.state.get("ExposedPorts", []))
        return {(name or "tcp", int(port)) for port, _, name in parts if port.isdigit()}


class View:
    """A host's containers, its daemon and what surrounds them.

    `seen` says that the host was looked at as it ran, `answered` that its engine answered.
    """

    def __init__(self, state: HostState, scope: Scope) -> None:
        self.state, self.scope = state, scope
        self.seen = bool(state.about.get("live")) and not state.about.get("recorded")
        self.answered = not state.about.get("engine_error")
        facts = state.facts.get("container", {})
        collected = _moment(state.collected_at)
        self.containers = {name: Container(name, fact, collected) for name, fact in facts.items() if not fact.unknown}
        self.linked = [one for one in self.containers.values() if one.links]
        self.running = [one for one in self.containers.values() if one.running]
        self.surroundings: dict[str, Any] = state.about.get("surroundings", {})

    def daemon(self, key: str, default: Value = ABSENT) -> Value:
        """What the daemon is configured to do."""
        fact = next(iter(self.state.facts["daemon"].values()), None)
        return default if fact is None or fact.unknown else configured(fact, key, default)

    def live(self, key: str) -> Value:
        """What the daemon does, as the engine says; ABSENT where it does not say."""
        fact = next(iter(self.state.facts["daemon"].values()), None)
        return ABSENT if fact is None else fact.evidence.get("live", {}).get(key, ABSENT)

    def watched(self, one: Container) -> bool:
        """Whether a container has run for long enough that what was not seen is not done."""
        return one.age >= self.scope.parameters.impact.observed

    def since(self, one: Container) -> str:
        """For how long a container was watched, as a phrase."""
        return f"in the {duration(one.age)} that it has run"


def duration(seconds: float) -> str:
    """A time as a person says it."""
    for size, name in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size:
            number = int(seconds // size)
            return f"{number} {name}{'' if number == 1 else 's'}"
    return "moment"
