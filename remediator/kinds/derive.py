"""Values that are derived for each container: limits of its use, its image's digest, a network of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

from ..baseline import Control
from ..errors import InputError
from ..expect import NO_FIX, OPERATORS
from ..model import Fact, Value
from . import owner
from .compare import Scope

_MINIMUM: Final = 6 * 2**20  # bytes; moby: daemon/daemon_unix.go, linuxMinMemory


class UnderivableError(Exception):
    """A value cannot be derived on this host; the text says why."""


def _round_up(number: float, step: int) -> int:
    return math.ceil(number / step) * step


def _memory_limit(fact: Fact, scope: Scope) -> int:
    """Peak use in bytes times the headroom, rounded up; raises UnderivableError without a measured use."""
    want, used = scope.parameters.memory, fact.evidence["live"]
    peak = max(used.get("memory_peak", 0), used.get("memory", 0))
    if not peak:
        raise UnderivableError("no measured use to derive a limit from: the container does not run")
    return max(_round_up(peak * want.headroom, want.round_to), want.minimum, _MINIMUM)


def _pids_limit(fact: Fact, scope: Scope) -> int:
    """Tasks in use times the headroom, rounded up; raises UnderivableError without a measured use."""
    want, used = scope.parameters.pids, fact.evidence["live"].get("pids", 0)
    if not used:
        raise UnderivableError("no measured use to derive a limit from: the container does not run")
    return max(_round_up(used * want.headroom, want.round_to), want.minimum)


def _network(fact: Fact, _scope: Scope) -> str:
    """The network that compose makes for each project; others have none that could be told."""
    if owner.of(fact).kind != "compose":
        raise UnderivableError("no network is known for it: name one in the baseline's tailoring")
    return f"{fact.evidence['source']['project']}_default"


def _repository(image: str) -> str:
    """An image's name without tag and digest."""
    name = image.partition("@")[0]
    head, colon, tag = name.rpartition(":")
    return head if colon and "/" not in tag else name


def _pinned_image(fact: Fact, _scope: Scope) -> str:
    """The image by the digest that its registry knows it by."""
    image = fact.document["Config"]["Image"]
    wanted = _repository(image).removeprefix("docker.io/").removeprefix("library/")
    for one in fact.evidence.get("image", {}).get("digests", []):
        name, _, digest = one.partition("@")
        if name.removeprefix("docker.io/").removeprefix("library/") == wanted:
            return f"{image.partition('@')[0]}@{digest}"
    raise UnderivableError("its image has no digest from a registry: it was built here, or loaded")


_DERIVED: Final[Mapping[str, Callable[[Fact, Scope], Value]]] = {
    "memory_limit": _memory_limit,
    "pids_limit": _pids_limit,
    "cpu_shares": lambda _fact, scope: scope.parameters.cpu_shares,
    "network": _network,
    "pinned_image": _pinned_image,
}


def desired(control: Control, effective: Value, fact: Fact, scope: Scope) -> Value:
    """The desired value for one container, derived where an operator asks for it; see `expect.project`.

    Raises UnderivableError where none can be, and InputError for what nobody knows to derive.
    """
    value = effective
    for operator, argument in (control.expect or {}).items():
        value = OPERATORS[operator](argument, value)
        if value is NO_FIX:
            return NO_FIX
        if isinstance(argument, dict) and value is argument.get("to") and isinstance(value, dict) and "derive" in value:
            asked = value["derive"]
            if asked not in _DERIVED:
                known = ", ".join(sorted(_DERIVED))
                raise InputError(f"{control.id}: nothing is derived as '{asked}'", f"known: {known}")
            value = _DERIVED[asked](fact, scope)
    return value
