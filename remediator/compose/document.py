"""A service as the engine would tell of its container, and where in the files each setting stands."""

from __future__ import annotations

from typing import Any

from ..collect.containers import project_container
from .hits import KEYS, hits
from .project import Project
from .reader import Reader


def read(project: Project, service: str) -> tuple[dict[str, Any], dict[str, str]]:
    """A service's document, as `collect` makes it of a container that compose would create, and what in it is unknown.

    The document has HostConfig.Tmpfs besides ({path: options}); the unknown are reasons by pointer.
    """
    found = project.services[service]
    reader = Reader(project, found)
    document = project_container(reader.inspect())["document"]
    document["HostConfig"]["Tmpfs"] = dict(reader.documents("/HostConfig/Tmpfs"))
    if found.unknown:
        reader.unknown.update(dict.fromkeys(KEYS, found.unknown))
    return document, reader.unknown


def lines(project: Project, service: str, pointer: str) -> list[tuple[tuple[Any, ...], str, int]]:
    """The items of the list at a pointer, as the document has them, each with file and line."""
    reader = Reader(project, project.services[service])
    return [(one.documents, one.hit.layer.file.path, one.node.line) for one in reader.items(pointer)]


def located(project: Project, service: str, pointer: str) -> tuple[str, int]:
    """File and line that set what stands at a pointer of the document, or where the service is defined."""
    one = project.services[service]
    for keys in KEYS.get(pointer, ()):
        if found := hits(one, keys):
            return found[-1].layer.file.path, found[-1].line
    own = next((layer for layer in one.layers if not layer.extended), one.layers[-1])
    return own.file.path, own.line
