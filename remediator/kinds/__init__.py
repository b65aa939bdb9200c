"""The kinds of target: each is a module that makes sense of evidence and judges controls. All pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from ..baseline import Control, load_controls
from ..model import Change, Fact, Finding, HostId, HostState, Step
from . import audit_rule, container, daemon, engine, env, file, group, host, source
from .compare import Scope


class Kind(Protocol):
    """What a module of this package offers."""

    NEEDS: dict[str, Any]

    def facts(self, evidence: dict[str, Any], /) -> dict[str, Fact]:
        """Make sense of the evidence: this kind's facts by resource."""

    def judge(self, control: Control, resource: str, fact: Fact, scope: Scope, /) -> Finding:
        """Hold one control against one fact."""

    def render(self, resource: str, fact: Fact, changes: Sequence[Change], /) -> list[Step]:
        """The steps that make the changes of one resource."""


KINDS: Final[Mapping[str, Kind]] = {
    "daemon": daemon,
    "env": env,
    "file": file,
    "audit_rule": audit_rule,
    "container": container,
    "source": source,
    "engine": engine,
    "host": host,
    "group": group,
}


def request() -> dict[str, Any]:
    """What the probe must bring: the needs of all kinds, and the files that controls name."""
    read = [need for kind in KINDS.values() for need in kind.NEEDS["read"]]
    named = [one.resource for one in load_controls().values() if one.kind in ("file", "audit_rule") and one.resource]
    stat = {name: None for kind in KINDS.values() for name in kind.NEEDS["stat"]} | dict.fromkeys(named)
    return {"read": read, "stat": list(stat)}


def state(evidence: dict[str, Any], name: str = "") -> HostState:
    """Evidence made sense of: the facts of all kinds, and about the host what several of them need.

    `name` is the host's name in an inventory; without one it is its own host name.
    """
    about, found = evidence["about"], evidence["engine"]
    info = found.get("info", {})
    return HostState(
        host=HostId(name or about["hostname"], about["machine_id"], evidence["root"]),
        collected_at=evidence["collected_at"],
        facts={kind: module.facts(evidence) for kind, module in KINDS.items()},
        about={
            **{key: about[key] for key in ("os", "init", "commands", "cli") if key in about},
            "paths": evidence["paths"],
            "live": evidence["root"] == "/",
            "manager": bool(info.get("Swarm", {}).get("ControlAvailable")),
            "memory": about.get("memory") or info.get("MemTotal", 0),
            "swap_limit": info.get("SwapLimit", True),
            "engine": info.get("ServerVersion", ""),
            "engine_error": found.get("error", ""),
            "recorded": found.get("recorded", False),
            "driver": info.get("Driver", ""),
            "cgroup_driver": info.get("CgroupDriver", ""),
            "processors": info.get("NCPU", 0),
            "images": found.get("images", []),
            "surroundings": found.get("host", {}),
            "accounts": evidence.get("accounts", {}),
            "swarm": info.get("Swarm", {}).get("LocalNodeState", "inactive") not in ("inactive", "", None),
            "apparmor": "name=apparmor" in info.get("SecurityOptions", []),
            "selinux": "name=selinux" in info.get("SecurityOptions", []),
            "tcp": any("tcp://" in word for word in (evidence["daemon"] or {}).get("argv", [])),
        },
    )
