"""How containers are run: the inspect document, judged on what is in effect, changed by who creates it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from ..baseline import Control
from ..expect import NO_FIX, same
from ..model import Change, Disruption, Fact, Finding, LiveUpdate, Outcome, Owner, Step, Value
from ..patch import get, put, tokens
from . import compare, daemon, derive, owner, swarm
from .compare import Scope, change, finding, unfixable

NEEDS: dict[str, Any] = {"read": [], "stat": []}  # the engine's documents come always

# a member of an enumeration takes long to look up, and there are many containers
_PASS: Final = Outcome.PASS
_FAIL: Final = Outcome.FAIL
_RECREATE: Final = Disruption.RECREATE
_MEMORY: Final = "/HostConfig/Memory"
_SWAP: Final = "/HostConfig/MemorySwap"
_TMPFS: Final = "/HostConfig/Tmpfs"
_SECURITY: Final = "/HostConfig/SecurityOpt"
_RESTART: Final = "/HostConfig/RestartPolicy"
_ROOT: Final = "/HostConfig/ReadonlyRootfs"

# The paths that `docker update` changes in a running container.
LIVE_PATHS: Final = frozenset({_MEMORY, _SWAP, "/HostConfig/CpuShares", "/HostConfig/PidsLimit", _RESTART})
# Where programs put what need not outlast them: with a read-only root these become tmpfs when they are written to.
_SCRATCH: Final = ("/tmp", "/var/tmp", "/run", "/var/run", "/var/lock")  # noqa: S108 - in containers
UNOWNED: Final = "nobody is known who creates this container"
LOST: Final = f"lost when the container is created anew: {UNOWNED}"


def facts(evidence: dict[str, Any]) -> dict[str, Fact]:
    """Each container by name; "*" stands for all of them where the engine gave no answer."""
    engine = evidence["engine"]
    if "error" in engine:
        return {"*": Fact({}, {}, engine["error"])}
    defaults = _default_ulimits(evidence)
    owners = owner.find(evidence)
    found = {}
    for name, one in engine["containers"].items():
        who, source = owners[name]
        document = _own(one["document"], defaults)
        if "Condition" in source:
            document = put(document, _RESTART, swarm.policy(source))
        around = {"state": one["state"], "live": one.get("live", {}), "owner": msgspec.to_builtins(who)}
        around.update({key: one[key] for key in ("image", "run") if key in one})
        found[name] = Fact(document, {**around, "source": source} if source else around)
    return found


def _default_ulimits(evidence: dict[str, Any]) -> list[Any]:
    """The daemon's default ulimits, which the engine writes into a container's own at its start."""
    documents = (fact.document.get("default-ulimits") for fact in daemon.facts(evidence).values())
    return [one for some in documents if isinstance(some, dict) for one in some.values()]


def _own(document: Any, defaults: list[Any]) -> Any:
    """A container's document without ulimits that are the daemon's."""
    ulimits = document["HostConfig"]["Ulimits"]
    own = [one for one in ulimits if one not in defaults]
    return document if len(own) == len(ulimits) else put(document, "/HostConfig/Ulimits", own)


def _evidence(fact: Fact, control: Control) -> tuple[str, ...]:
    used = fact.evidence["live"]
    if control.path == _MEMORY and used:
        now, peak = [math.ceil(used.get(key, 0) / 2**20) for key in ("memory", "memory_peak")]
        return (f"uses {now} MiB, at its peak {peak} MiB",)
    if control.path == "/HostConfig/PidsLimit" and used:
        return (f"runs {used.get('pids', 0)} tasks",)
    if control.path == _ROOT:
        return (_told_of_writes(fact),)
    return ()


def _settled(control: Control, fact: Fact, who: Owner) -> tuple[Outcome, str] | None:
    """Outcome and reason of a control that need not look at the document, or None."""
    if who.kind == "swarm":
        if not fact.evidence["state"].get("Running"):
            return Outcome.NOT_APPLICABLE, "a task of a swarm service that has ended"
        if control.path == _RESTART and "Condition" not in fact.evidence["source"]:
            return Outcome.NOT_APPLICABLE, "a task of a swarm service: its service decides"
    if control.path != _SECURITY or fact.evidence["live"].get("no_new_privileges") is not True:
        return None
    wanted = (control.expect or {}).get("has", [])
    return (Outcome.PASS, "its first process cannot gain privileges") if "no-new-privileges" in wanted else None


def judge(control: Control, resource: str, fact: Fact, scope: Scope) -> Finding:
    """The generic diff with derived values, what goes with them, and the daemon's defaults seen live."""
    who = owner.of(fact)
    if (who.kind == "swarm" or control.path == _SECURITY) and (settled := _settled(control, fact, who)):
        return finding(control, resource, *settled, owner=who)
    actual = get(fact.document, control.path)
    effective, desired, told = compare.verdict(control, actual)
    if desired is effective:
        return finding(control, resource, _PASS, told, owner=who)
    if control.derives:
        try:
            desired = derive.desired(control, effective, fact, scope)
        except derive.UnderivableError as error:
            held = change(control, resource, control.path, actual, actual, blocked=str(error))
            return finding(control, resource, Outcome.FAIL, f"is {compare.show(actual)}", changes=(held,), owner=who)
        if desired is not NO_FIX and same(desired, effective):
            return finding(control, resource, Outcome.PASS, told, owner=who)
    first = _change(control, resource, control.path, actual, desired, fact, scope, who)
    more = _companions(control, resource, first, fact, scope, who)
    return finding(control, resource, _FAIL, told, changes=(first, *more), owner=who)


def _companions(
    control: Control, resource: str, first: Change, fact: Fact, scope: Scope, who: Owner
) -> tuple[Change, ...]:
    """The changes that go with the one that a control asks for."""
    if control.path == _MEMORY and scope.about.get("swap_limit", True) and who.kind != "swarm":
        swap = get(fact.document, _SWAP)
        return (_change(control, resource, _SWAP, swap, 2 * first.after, fact, scope, who),)
    if control.path == _ROOT and (scratch := _scratch(fact)):
        mounted = fact.document["HostConfig"].get("Tmpfs") or {}
        with_scratch = {**mounted, **dict.fromkeys(scratch, "")}
        return (_change(control, resource, _TMPFS, mounted, with_scratch, fact, scope, who),)
    return ()


def _scratch(fact: Fact) -> list[str]:
    """The directories for scratch files that a container has written to, and that no mount or tmpfs covers."""
    written = fact.evidence["live"].get("written")
    if not written:
        return []
    covered = [one["Destination"] for one in fact.document["Mounts"]] + list(fact.document["HostConfig"]["Tmpfs"] or {})
    return [one for one in _SCRATCH if one not in covered and any(_below(path, one) for path in written)]


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")


def _told_of_writes(fact: Fact) -> str:
    written = fact.evidence["live"].get("written")
    if written is None:
        return "what it writes outside of its volumes is not known"
    if not written:
        return "writes nothing outside of its volumes"
    rest = [one for one in written if not any(_below(one, scratch) for scratch in _SCRATCH)]
    if not rest:
        return f"writes to {', '.join(_scratch(fact))} only"
    return f"writes to {', '.join(rest[:5])}{' and more' if len(rest) > 5 else ''}: needs a volume or tmpfs there"


def _change(
    control: Control, resource: str, path: str, before: Value, after: Value, fact: Fact, scope: Scope, who: Owner
) -> Change:
    """A change with what stands in its way, and how much it disturbs: `docker update` makes it, or the owner."""
    live = path in LIVE_PATHS and who.kind != "swarm"
    disruption = control.disruption
    if not live and disruption.rank < _RECREATE.rank:
        disruption = _RECREATE
    evidence = _evidence(fact, control) if path == control.path else ()
    if after is NO_FIX:
        return unfixable(control, resource, path, before, disruption=disruption, evidence=evidence)
    blocked = _blocked(path, fact, scope, who)
    if not blocked and live and who.kind == "unknown" and path == control.path:
        evidence = (*evidence, LOST)
    return change(control, resource, path, before, after, disruption=disruption, blocked=blocked, evidence=evidence)


def _blocked(path: str, fact: Fact, scope: Scope, who: Owner) -> str:
    """Why the one who creates a container cannot be made to create it otherwise; "" where that can be tried."""
    source = fact.evidence.get("source", {})
    if fact.document["HostConfig"].get("AutoRemove") and path == _RESTART:
        return "runs with --rm, which excludes a restart policy"
    match who.kind:
        case "kubernetes":
            return f"Kubernetes made it: change the pod {who.name} where it is defined"
        case "swarm":
            if not scope.about.get("manager"):
                return f"a task of the swarm service {who.name}: plan on a manager"
            return "" if path in swarm.PATHS else f"`docker service update` has no option for {path}"
    if path in LIVE_PATHS:
        return ""
    match who.kind:
        case "compose":
            if source.get("error"):
                return f"compose project {source['project']}: {source['error']}"
            if source.get("oneoff"):
                return "a one-off container of `docker compose run`: its next one gets what the service has"
            return "" if source.get("command") else "there is no docker compose on this host to create it anew with"
        case "systemd":
            return ""
        case _:
            told = f" ({who.where})" if who.where else ""
            return f"{UNOWNED}{told}: `remediator plan --emit DIR` writes proposals/, how to run it hardened"


def render(resource: str, fact: Fact, changes: Sequence[Change]) -> list[Step]:
    """The live update of one container; the plan puts those with the same values together, and asks owners."""
    live = {tokens(one.path)[1]: one.after for one in changes if one.path in LIVE_PATHS}
    return [LiveUpdate((resource,), live)] if live and owner.of(fact).kind != "swarm" else []
