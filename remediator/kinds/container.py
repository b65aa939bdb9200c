"""How containers are run: the inspect document, judged on what is in effect, limits derived from use."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from ..baseline import Control
from ..errors import InputError
from ..expect import same
from ..model import ABSENT, Change, Disruption, Fact, Finding, LiveUpdate, Outcome, Step
from ..patch import get, put, tokens
from . import compare, daemon
from .compare import Scope, change, finding

NEEDS: dict[str, Any] = {"read": [], "stat": []}  # the engine's documents come always

_MEMORY: Final = "/HostConfig/Memory"
_SWAP: Final = "/HostConfig/MemorySwap"
_MINIMUM: Final = 6 * 2**20  # bytes; moby: daemon/daemon_unix.go, linuxMinMemory

_SERVICE: Final = "com.docker.swarm.service.id"

# The paths that `docker update` changes in a running container.
LIVE_PATHS: Final = frozenset(
    {_MEMORY, _SWAP, "/HostConfig/CpuShares", "/HostConfig/PidsLimit", "/HostConfig/RestartPolicy"}
)


class UnderivableError(Exception):
    """A value cannot be derived on this host; the text says why."""


def facts(evidence: dict[str, Any]) -> dict[str, Fact]:
    """Each container by name; "*" stands for all of them where the engine gave no answer."""
    engine = evidence["engine"]
    if "error" in engine:
        return {"*": Fact({}, {}, engine["error"])}
    defaults = _default_ulimits(evidence)
    return {
        name: Fact(_own(one["document"], defaults), {"state": one["state"], "live": one.get("live", {})})
        for name, one in engine["containers"].items()
    }


def _default_ulimits(evidence: dict[str, Any]) -> list[Any]:
    """The daemon's default ulimits, which the engine writes into a container's own at its start."""
    documents = (fact.document.get("default-ulimits") for fact in daemon.facts(evidence).values())
    return [one for some in documents if isinstance(some, dict) for one in some.values()]


def _own(document: Any, defaults: list[Any]) -> Any:
    """A container's document without ulimits that are the daemon's."""
    ulimits = document["HostConfig"]["Ulimits"]
    own = [one for one in ulimits if one not in defaults]
    return document if len(own) == len(ulimits) else put(document, "/HostConfig/Ulimits", own)


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


_DERIVED: Final[Mapping[str, Callable[[Fact, Scope], int]]] = {
    "memory_limit": _memory_limit,
    "pids_limit": _pids_limit,
    "cpu_shares": lambda _fact, scope: scope.parameters.cpu_shares,
}


def _to_derive(control: Control) -> str:
    """The name of the value that a control has derived for each container, or ""."""
    if control.expect is None or "set_if" not in control.expect:
        return ""
    to = control.expect["set_if"]["to"]
    return str(to["derive"]) if isinstance(to, dict) and to.keys() == {"derive"} else ""


def _evidence(fact: Fact, control: Control) -> tuple[str, ...]:
    used = fact.evidence["live"]
    if control.path == _MEMORY and used:
        now, peak = (math.ceil(used.get(key, 0) / 2**20) for key in ("memory", "memory_peak"))
        return (f"uses {now} MiB, at its peak {peak} MiB",)
    if control.path == "/HostConfig/PidsLimit" and used:
        return (f"runs {used.get('pids', 0)} tasks",)
    return ()


def _settled(control: Control, resource: str, fact: Fact) -> Finding | None:
    """The finding of a control that need not look at the document, or None."""
    if control.path == "/HostConfig/RestartPolicy" and _SERVICE in fact.evidence["state"]["Labels"]:
        return finding(control, resource, Outcome.NOT_APPLICABLE, "a task of a swarm service: its service decides")
    wanted = (control.expect or {}).get("has", []) if control.path == "/HostConfig/SecurityOpt" else []
    if "no-new-privileges" in wanted and fact.evidence["live"].get("no_new_privileges") is True:
        return finding(control, resource, Outcome.PASS, "its first process cannot gain privileges")
    return None


def judge(control: Control, resource: str, fact: Fact, scope: Scope) -> Finding:
    """The generic diff with derived limits, MemorySwap beside Memory, and the daemon's defaults seen live."""
    if settled := _settled(control, resource, fact):
        return settled
    if name := _to_derive(control):
        if name not in _DERIVED:
            raise InputError(f"{control.id}: nothing is derived as '{name}'", f"known: {', '.join(sorted(_DERIVED))}")
        assert control.expect is not None
        unset = control.expect["set_if"]["unset"]
        actual = get(fact.document, control.path)
        if actual is not ABSENT and not any(same(actual, one) for one in unset):
            return finding(control, resource, Outcome.PASS, f"is {compare.show(actual)}")
        try:
            value = _DERIVED[name](fact, scope)
        except UnderivableError as error:
            held = change(control, resource, control.path, actual, actual, blocked=str(error))
            return finding(control, resource, Outcome.FAIL, f"is {compare.show(actual)}", changes=(held,))
        control = msgspec.structs.replace(control, expect={"set_if": {"unset": unset, "to": value}})
    found = compare.judge(control, resource, fact, scope)
    if found.outcome is not Outcome.FAIL:
        return found
    changes = [_completed(one, fact, control) for one in found.changes]
    if control.path == _MEMORY and scope.about.get("swap_limit", True):
        swap = change(control, resource, _SWAP, get(fact.document, _SWAP), 2 * found.changes[0].after)
        changes.append(_completed(swap, fact, control))
    return msgspec.structs.replace(found, changes=tuple(changes))


def _completed(one: Change, fact: Fact, control: Control) -> Change:
    blocked = one.blocked
    if not blocked and one.path not in LIVE_PATHS:
        blocked = "the container has to be created anew: change it where it is defined"
        return msgspec.structs.replace(one, blocked=blocked, disruption=Disruption.RECREATE)
    if not blocked and fact.document["HostConfig"].get("AutoRemove") and one.path == "/HostConfig/RestartPolicy":
        blocked = "runs with --rm, which excludes a restart policy"
    evidence = _evidence(fact, control) if one.path == control.path else ()
    return msgspec.structs.replace(one, blocked=blocked, evidence=evidence)


def render(resource: str, _fact: Fact, changes: Sequence[Change]) -> list[Step]:
    """The live update of one container; the plan puts containers with the same values together."""
    return [LiveUpdate((resource,), {tokens(one.path)[1]: one.after for one in changes})]
