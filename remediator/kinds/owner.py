"""Who creates a container, as its evidence says: labels are claims, and count where the name bears them out."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from ..model import Fact, Owner
from . import unit

_SWARM: Final = "com.docker.swarm."
_POD: Final = "io.kubernetes.pod."
_COMPOSE: Final = "com.docker.compose."
_UNKNOWN: Final = Owner()


def of(fact: Fact) -> Owner:
    """The owner of a container."""
    given = fact.evidence.get("owner")
    return _owner(given.get("kind", "unknown"), given.get("name", ""), given.get("where", "")) if given else _UNKNOWN


@lru_cache(4096)
def _owner(kind: str, name: str, where: str) -> Owner:
    return Owner(kind, name, where)


def find(evidence: dict[str, Any]) -> dict[str, tuple[Owner, dict[str, Any]]]:
    """The owner of each container, and the evidence around it that changing its definition needs."""
    around = evidence.get("owners", {})
    claims, units = around.get("compose", {}), around.get("units", {})
    files = {path: str(file.get("text", "")) for path, file in around.get("files", {}).items()}
    containers = evidence["engine"].get("containers", {})
    services = evidence["engine"].get("services", {})
    found: dict[str, tuple[Owner, dict[str, Any]]] = {}
    for name, one in containers.items():
        labels = one["state"]["Labels"]
        if any(key.startswith(_SWARM) for key in labels):
            found[name] = _swarm(name, labels, services)
        elif any(key.startswith(_POD) for key in labels):
            found[name] = _kubernetes(name, labels)
        elif name in claims:
            found[name] = _compose(name, labels, claims[name], files, around.get("command", []))
    rest = {name: one for name, one in containers.items() if name not in found}
    return {**found, **_units(rest, units, files)}


def _swarm(name: str, labels: Mapping[str, str], services: Mapping[str, Any]) -> tuple[Owner, dict[str, Any]]:
    service, identity = labels.get(_SWARM + "service.name", ""), labels.get(_SWARM + "service.id", "")
    if not service or labels.get(_SWARM + "task.name") != name:
        return Owner(where="its labels are those of a swarm task, and its name is not"), {}
    return Owner("swarm", service, identity), {"service": identity, **services.get(identity, {})}


def _kubernetes(name: str, labels: Mapping[str, str]) -> tuple[Owner, dict[str, Any]]:
    if not name.startswith("k8s_"):
        return Owner(where="its labels are those of a pod, and its name is not"), {}
    pod, space = labels.get(_POD + "name", ""), labels.get(_POD + "namespace", "")
    return Owner("kubernetes", f"{space}/{pod}", labels.get(_POD + "uid", "")), {}


def _named_by_compose(name: str, claim: Mapping[str, Any], labels: Mapping[str, str], text: str) -> bool:
    """Whether compose would have given a container this name: a claim of its image alone does not make it so."""
    number = labels.get(_COMPOSE + "container-number", "1")
    parts = (claim["project"], claim["service"])
    if name in {sep.join([*parts, number]) for sep in "-_"}:
        return True
    if labels.get(_COMPOSE + "oneoff", "").lower() == "true":
        return name.startswith(tuple(sep.join([*parts, "run"]) for sep in "-_"))
    given = re.findall(r"""container_name["']?\s*:\s*["']?([^\s"',}#]+)""", text)
    return name in given or any("$" in one for one in given)


def _compose(
    name: str, labels: Mapping[str, str], claim: Mapping[str, Any], files: Mapping[str, str], command: list[str]
) -> tuple[Owner, dict[str, Any]]:
    service = str(claim["service"])
    paths = [posixpath.normpath(path) for path in claim["files"]]
    texts = "\n".join(files.get(path, "") for path in paths)
    if not _named_by_compose(name, claim, labels, texts):
        told = f"its labels claim the compose project {claim['project']}, and its name is none that compose gives"
        return Owner(where=told), {}
    where = paths[-1] if paths else claim["error"]
    for path in reversed(paths):
        if line := _service_line(files.get(path, ""), service):
            where = f"{path}:{line}"
            break
    oneoff = labels.get(_COMPOSE + "oneoff", "").lower() == "true"
    return Owner("compose", f"{claim['project']}/{service}", where), {
        **claim,
        "files": paths,
        "oneoff": oneoff,
        "command": command,
    }


def _service_line(text: str, service: str) -> int:
    """The line on which a compose file begins a service (from 1), 0 where it does not."""
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        if line[:1] not in (" ", "\t", "#", "", "-"):
            inside = bool(re.match(r"""["']?services["']?\s*:""", line))
        elif inside and re.match(rf"""\s+["']?{re.escape(service)}["']?\s*:(?:\s|$)""", line):
            return number
    return 0


def _units(
    containers: Mapping[str, Any], units: Mapping[str, Any], files: Mapping[str, str]
) -> dict[str, tuple[Owner, dict[str, Any]]]:
    """The containers that units run: by name, or where a unit gives none as the only one of its image."""
    found: dict[str, tuple[Owner, dict[str, Any]]] = {}
    unnamed: dict[str, list[tuple[str, unit.Run]]] = {}
    for unit_name, one in units.items():
        for run in unit.runs(unit_name, one["paths"], files):
            if run.name in containers:
                found.setdefault(run.name, _unit(unit_name, one, run))
            elif not run.name and one.get("active"):
                unnamed.setdefault(run.image, []).append((unit_name, run))
    for image, runs in unnamed.items():
        using = [
            name
            for name, one in containers.items()
            if name not in found and one["state"]["Running"] and one["document"]["Config"]["Image"] == image
        ]
        if len(using) == len(runs) == 1:
            found[using[0]] = _unit(runs[0][0], units[runs[0][0]], runs[0][1])
    return found | {name: (Owner(), {}) for name in containers if name not in found}


def _unit(name: str, one: Mapping[str, Any], run: unit.Run) -> tuple[Owner, dict[str, Any]]:
    return Owner("systemd", name, f"{run.path}:{run.line}"), {"unit": name, **one}
