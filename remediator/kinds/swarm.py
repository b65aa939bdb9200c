"""Swarm services: which changes of a task's container `docker service update` makes, and its options for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ..errors import InputError
from ..model import Change
from .docker_run import capability

# the names that a service's restart conditions have as policies of containers
_POLICIES: Final = {"any": "always", "on-failure": "on-failure", "none": "no"}


def policy(service: Mapping[str, Any]) -> dict[str, Any]:
    """The restart policy of a service, spelled as that of a container."""
    name = _POLICIES.get(service["Condition"], service["Condition"])
    return {"Name": name, "MaximumRetryCount": service["MaxAttempts"] if name == "on-failure" else 0}


def _restart(change: Change) -> list[str]:
    attempts = change.after["MaximumRetryCount"]
    return ["--restart-condition=on-failure", f"--restart-max-attempts={attempts}"]


def _capabilities(change: Change) -> list[str]:
    kept = [capability(one) for one in change.after]
    return [f"--cap-drop={one}" for one in change.before if capability(one) not in kept]


def _health(change: Change) -> list[str]:
    if len(change.after) != 2 or change.after[0] != "CMD-SHELL":
        raise InputError('a service takes a health check as ["CMD-SHELL", command] alone')
    return [f"--health-cmd={change.after[1]}"]


_OPTIONS: Final[Mapping[str, Callable[[Change], list[str]]]] = {
    "/HostConfig/Memory": lambda change: [f"--limit-memory={change.after}"],
    "/HostConfig/PidsLimit": lambda change: [f"--limit-pids={change.after}"],
    "/HostConfig/ReadonlyRootfs": lambda change: [f"--read-only={str(change.after).lower()}"],
    "/HostConfig/RestartPolicy": _restart,
    "/HostConfig/CapAdd": _capabilities,
    "/HostConfig/Tmpfs": lambda change: [
        f"--mount-add=type=tmpfs,destination={one}" for one in change.after if one not in change.before
    ],
    "/Config/Healthcheck": _health,
    "/Config/Image": lambda change: [f"--image={change.after}"],
}
PATHS: Final = frozenset(_OPTIONS)


def options(changes: Sequence[Change]) -> list[str]:
    """The options of `docker service update` that make the changes; raises InputError where there are none."""
    found: list[str] = []
    for one in changes:
        if one.path not in _OPTIONS:
            raise InputError(f"`docker service update` has no option for {one.path}")
        found += [word for word in _OPTIONS[one.path](one) if word not in found]
    return found
