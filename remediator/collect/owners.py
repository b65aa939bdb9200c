"""The part of the probe that looks for who creates containers: compose projects and systemd units.

Standard library only and Python 3.8, like the probe. A label is a claim of whoever ran the container, or built
its image: what it names is read only where it looks like a compose file.
"""

from __future__ import annotations

import os
import re
from typing import Any

from . import masks, probe
from .probe import Tree

DROP_IN = "50-remediator.conf"
_MOST_FILES = 50  # of one project, with what its files include and extend
_MOST_UNITS = 500
_COMPOSE = "com.docker.compose."
_PLUGIN_DIRS = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
    "/root/.docker/cli-plugins",
)
_IS_COMPOSE = re.compile(r"""^["']?(?:services|include)["']?\s*:""", re.MULTILINE)
_FILE = r"""["']?([^\s"'#{}\[\],:$]+\.ya?ml)["']?"""
_REFERENCE = re.compile(
    r"""^\s*(?:-\s+)?(?:["']?(?:file|path|include|extends)["']?\s*:\s*)?%s\s*(?:#.*)?$""" % _FILE, re.MULTILINE
)
_INLINE = re.compile(r"""["']?(?:include|extends|file|path)["']?\s*:\s*([\[{]?[^\n]*)""")
_VARIABLE = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=", re.MULTILINE)
_EXEC = re.compile(r"\s*Exec\w+\s*=")
_RUNS = re.compile(r"\b(?:run|create)\b")


def _path_error(path: str) -> str:
    """Why a path that a label claims is not looked at; "" where it is."""
    if not path.startswith("/") or not path.isprintable() or ".." in path.split("/"):
        return "is not a plain absolute path"
    return "" if path.endswith((".yml", ".yaml")) else "is not named as a compose file is"


def claim(labels: dict[str, str]) -> dict[str, Any] | None:
    """What the labels of a container claim of its compose project, or None where they claim nothing.

    {project, service, directory, files, environment: [paths], error: why it cannot be followed}
    """
    project, service = labels.get(_COMPOSE + "project", ""), labels.get(_COMPOSE + "service", "")
    if not project or not service:
        return None
    directory = labels.get(_COMPOSE + "project.working_dir", "")
    listed = [one for one in labels.get(_COMPOSE + "project.config_files", "").split(",") if one]
    files = [one if one.startswith("/") or not directory else os.path.join(directory, one) for one in listed]
    environment = [one for one in labels.get(_COMPOSE + "project.environment_file", "").split(",") if one]
    found: dict[str, Any] = {
        "project": project,
        "service": service,
        "directory": directory,
        "files": files,
        "environment": environment,
        "error": "",
    }
    if not files:
        found["error"] = "its labels name no compose file"
    elif len(files) > _MOST_FILES:
        found["error"] = "its labels name %d compose files" % len(files)
    elif not directory.startswith("/") or not directory.isprintable() or ".." in directory.split("/"):
        found["error"] = "its labels name no plain working directory"
    for path in files:
        if not found["error"] and _path_error(path):
            found["error"] = "%s, which its labels name, %s" % (path, _path_error(path))
    return found


def _mask(text: str, character: str) -> str:
    return probe.mask(text, None, character)


def _unit_masked(text: str) -> str:
    return masks.mask_unit(text, _mask)


def _compose_file(tree: Tree, path: str) -> dict[str, Any]:
    """One compose file, its text only where it is one."""
    try:
        real = tree.resolve(path)
    except OSError:
        real = path
    if not real.endswith((".yml", ".yaml")):
        return {"type": "unknown", "error": "a link to what is not named as a compose file is"}
    refused = []

    def masked(text: str) -> str:
        if not _IS_COMPOSE.search(text.lstrip("\ufeff")):
            refused.append("defines no services")
            return ""
        return masks.mask_compose(text, _mask)

    found = dict(probe.read_file(tree, path, text=True, masker=masked))
    if refused:
        found.pop("text", None)
        found.pop("masked", None)
        found["error"] = refused[0]
    return found


def _references(text: str) -> list[str]:
    named = [match.group(1) for match in _REFERENCE.finditer(text)]
    for match in _INLINE.finditer(text):
        named += re.findall(_FILE, match.group(1))
    return named


def _follow(tree: Tree, files: dict[str, Any], paths: list[str]) -> None:
    """Read compose files and what they include and extend into `files`."""
    waiting, seen = list(paths), 0
    while waiting and seen < _MOST_FILES:
        path = os.path.normpath(waiting.pop(0))
        seen += 1
        if path not in files:
            files[path] = _compose_file(tree, path)
        for name in _references(str(files[path].get("text", ""))):
            other = os.path.normpath(os.path.join(os.path.dirname(path), name))
            if other not in files and not _path_error(other):
                waiting.append(other)


def _names(tree: Tree, path: str) -> list[str] | None:
    """The names of the variables that an environment file sets; None where it cannot be read."""
    if not path.startswith("/") or not path.isprintable() or ".." in path.split("/"):
        return None
    names: list[str] = []

    def only_names(text: str) -> str:
        names.extend(_VARIABLE.findall(text))
        return ""

    found = probe.read_file(tree, path, text=True, masker=only_names)
    return None if found["type"] == "absent" or "sha256" not in found else list(dict.fromkeys(names))


def _compose(tree: Tree, engine: dict[str, Any], files: dict[str, Any]) -> dict[str, Any]:
    claims: dict[str, Any] = {}
    for name, one in engine.get("containers", {}).items():
        found = claim(one["state"]["Labels"])
        if found is None:
            continue
        if not found["error"]:
            _follow(tree, files, found["files"])
            paths = found["environment"] or [found["directory"] + "/.env"]
            found["variables"] = {path: names for path in paths for names in [_names(tree, path)] if names is not None}
        claims[name] = found
    return claims


def _processes(tree: Tree, unit: str) -> bool | None:
    """Whether a unit has processes now; None where that cannot be seen."""
    if tree.root != "/":
        return None
    template, _, _ = unit.partition("@")
    slices = ["system.slice/" + unit]
    if "@" in unit:
        slices.append("system.slice/system-%s.slice/%s" % (template.replace("-", "\\x2d"), unit))
    for base in ("/sys/fs/cgroup/", "/sys/fs/cgroup/systemd/", "/sys/fs/cgroup/unified/"):
        for one in slices:
            try:
                with open(base + one + "/cgroup.procs", encoding="ascii") as file:
                    return bool(file.read(1))
            except OSError:
                continue
    return False


def _instances(tree: Tree, template: str) -> list[str]:
    """The instances of a template unit that have a cgroup now."""
    if tree.root != "/":
        return []
    name = template.partition("@")[0]
    found: list[str] = []
    for base in ("/sys/fs/cgroup/", "/sys/fs/cgroup/systemd/", "/sys/fs/cgroup/unified/"):
        folder = base + "system.slice/system-%s.slice" % name.replace("-", "\\x2d")
        try:
            found += [one for one in os.listdir(folder) if one.startswith(name + "@") and one.endswith(".service")]
        except OSError:
            continue
    return sorted(set(found))


def _mentions(tree: Tree, path: str) -> bool:
    """Whether a unit or drop-in may run containers."""
    text = probe.read_text(tree, path, 256 * 1024).replace("\\\n", " ")
    return any(_EXEC.match(one) and "docker" in one and _RUNS.search(one) for one in text.split("\n"))


def _units(tree: Tree, files: dict[str, Any]) -> dict[str, Any]:
    """The units that run containers: {name: {paths, active}}; their texts go into `files`."""
    names: dict[str, None] = {}
    for folder in probe.UNIT_DIRS:
        for path in tree.glob(folder + "/*.service"):
            if os.path.basename(os.path.dirname(path)) and _mentions(tree, path):
                names[os.path.basename(path)] = None
        for path in tree.glob(folder + "/*.service.d/*.conf"):
            if _mentions(tree, path):
                names[os.path.basename(os.path.dirname(path))[: -len(".d")]] = None
    found: dict[str, Any] = {}
    for name in sorted(names)[:_MOST_UNITS]:
        for unit in _instances(tree, name) if name.endswith("@.service") else [name]:
            paths = [one for one in [probe.unit_file(tree, name)] if one]
            dropped = {os.path.basename(one): one for one in probe.drop_ins(tree, name)}
            if unit != name:
                dropped.update({os.path.basename(one): one for one in probe.drop_ins(tree, unit)})
            paths += [dropped[key] for key in sorted(dropped)]
            own = "/etc/systemd/system/%s.d/%s" % (unit, DROP_IN)
            for path in paths + [own]:
                if path not in files:
                    files[path] = probe.read_file(tree, path, text=True, masker=_unit_masked)
            found[unit] = {"paths": paths, "drop_in": own, "active": _processes(tree, unit)}
    return found


def gather(request: dict[str, Any], engine: dict[str, Any]) -> dict[str, Any]:
    """Who may have created the containers of an engine, as evidence; the request names the root.

    {compose: {container: claim}, units: {unit: {paths, drop_in, active}}, files: {path: file}, command: the
    words that run compose here}
    """
    tree = Tree(request.get("root", "/"))
    files: dict[str, Any] = {}
    compose = _compose(tree, engine, files)
    command: list[str] = []
    if any(tree.exists(folder + "/docker-compose") for folder in _PLUGIN_DIRS):
        command = ["docker", "compose"]
    elif any(tree.exists(folder + "/docker-compose") for folder in probe.BIN_DIRS):
        command = ["docker-compose"]
    return {"compose": compose, "units": _units(tree, files), "files": files, "command": command}
