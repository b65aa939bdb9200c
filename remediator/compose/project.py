"""A compose project: its services as layers, from what is extended and included up to the last override."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ..errors import InputError
from . import nodes
from .nodes import Node
from .variables import Used, env_file, interpolate

_MOST_FILES: Final = 100
_MOST_LAYERS: Final = 50
_REMOTE: Final = re.compile(r"[a-z][a-z0-9+.-]*://|git@|oci:|github\.com/|.*\.git(?:#|$)")


@dataclass(frozen=True)
class File:
    """A file of a project; relative paths in it start at `directory`."""

    path: str
    root: Node
    directory: str
    variables: Mapping[str, str]


@dataclass(frozen=True)
class Layer:
    """What one file says of one service; `extended` where it speaks of a service that ours extends."""

    file: File
    name: str
    node: Node
    line: int
    extended: bool = False


@dataclass(frozen=True)
class Service:
    """A service with its layers, the weakest first; `unknown` says why it is not wholly known."""

    name: str
    layers: tuple[Layer, ...]
    unknown: str = ""


@dataclass(frozen=True)
class Project:
    """A project as `load` read it; `texts` are those that it was given.

    `missing` are files that it refers to and that were not given, `notes` say what could not be read
    for that or another reason.
    """

    texts: Mapping[str, str]
    config_files: tuple[str, ...]
    directory: str
    variables: Mapping[str, str]
    name: str
    files: Mapping[str, File]
    services: Mapping[str, Service]
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def load(
    texts: Mapping[str, str], config_files: Sequence[str], directory: str, variables: Mapping[str, str]
) -> Project:
    """Read a project from the texts of its files by path, in the order in which they override one another.

    `directory` is the project directory; `variables` are those of the environment, and win over those of
    the file .env there. A file that a service extends or the project includes, and .env, are taken from
    `texts` too: those that are not there are told as `missing`, so that a caller can read them and load
    anew. Raises InputError with file and line for what compose would refuse, and for what is not read here.
    """
    loading = _Loading(texts)
    services, first = loading.read(tuple(config_files), directory, variables, ())
    named = first and nodes.own_pair(first.root, "name")
    name = loading.text(first, named[1]) if first and named else ""
    return Project(
        texts=dict(texts),
        config_files=tuple(config_files),
        directory=directory,
        variables=dict(variables),
        name=name or re.sub(r"[^a-z0-9_-]", "", posixpath.basename(directory.rstrip("/")).lower()) or "project",
        files=loading.files,
        services=services,
        missing=tuple(dict.fromkeys(loading.missing)),
        notes=tuple(loading.notes),
    )


def reload(project: Project, texts: Mapping[str, str]) -> Project:
    """The same project with other texts of some of its files."""
    return load({**project.texts, **texts}, project.config_files, project.directory, project.variables)


@dataclass
class _Loading:
    texts: Mapping[str, str]
    files: dict[str, File] = field(default_factory=dict)
    roots: dict[str, Node | None] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def text(self, file: File, node: Node) -> str:
        """A scalar as text with its variables filled in."""
        if node.real.kind != "scalar":
            raise InputError(f"{file.path}:{node.line}: a text was expected here")
        try:
            return interpolate(node.real.value, file.variables, Used())
        except InputError as error:
            raise InputError(f"{file.path}:{node.line}: {error}") from error

    def open(self, path: str, directory: str, variables: Mapping[str, str]) -> File | None:
        """A file among the texts, or None, and then it is told as missing."""
        if path not in self.texts:
            self.missing.append(path)
            return None
        if path not in self.roots:
            if len(self.roots) >= _MOST_FILES:
                raise InputError(f"{path}: the project has more than {_MOST_FILES} files")
            self.roots[path] = nodes.parse(self.texts[path], path)
        root = self.roots[path]
        if root is None or root.kind != "map":
            raise InputError(f"{path}:{root.line if root else 1}: no mapping, so no compose file")
        file = File(path, root, directory, variables)
        self.files.setdefault(path, file)
        return file

    def with_env(self, paths: Sequence[str], variables: Mapping[str, str]) -> Mapping[str, str]:
        found: dict[str, str] = {}
        for path in paths:
            if path in self.texts:
                found.update(env_file(self.texts[path], {**found, **variables}))
            else:
                self.missing.append(path)
        return {**found, **variables}

    def read(
        self, paths: Sequence[str], directory: str, variables: Mapping[str, str], inside: tuple[str, ...],
        env_files: Sequence[str] = (),
    ) -> tuple[dict[str, Service], File | None]:  # fmt: skip
        """The services of files that override one another, and the first of the files."""
        known = self.with_env(env_files or [join(directory, ".env")], variables)
        services: dict[str, Service] = {}
        first: File | None = None
        for path in paths:
            if path in inside:
                raise InputError(f"{path}: includes itself by way of {', '.join(inside)}")
            file = self.open(path, directory, known)
            if file is None:
                if not inside:
                    raise InputError(f"{path}: is not at hand")
                raise _MissingError(path)
            first = first or file
            found = self._services(file)
            for name, one in self._included(file, (*inside, *paths)).items():
                if name in found:
                    raise InputError(f"{path}:{found[name].layers[-1].line}: the service {name} is included as well")
                found[name] = one
            for name, one in found.items():
                below = services.get(name, Service(name, ()))
                services[name] = Service(name, below.layers + one.layers, below.unknown or one.unknown)
        return services, first

    def _services(self, file: File) -> dict[str, Service]:
        raw = self._raw(file)
        return {name: self._chain(file, name, raw, ()) for name in raw}

    def _raw(self, file: File) -> dict[str, nodes.Entry]:
        entry = nodes.entries(file.root).get("services")
        if entry is None or nodes.is_null(entry.value):
            return {}
        if entry.value.real.kind != "map":
            raise InputError(f"{file.path}:{entry.key.line}: 'services' is no mapping")
        found = nodes.entries(entry.value)
        for name, one in found.items():
            if one.value.real.kind != "map" and not nodes.is_null(one.value):
                raise InputError(f"{file.path}:{one.key.line}: the service {name} is no mapping")
        return found

    def _chain(
        self, file: File, name: str, raw: Mapping[str, nodes.Entry], inside: tuple[tuple[str, str], ...]
    ) -> Service:
        entry = raw[name]
        own = Layer(file, name, entry.value, entry.key.line, extended=bool(inside))
        if (file.path, name) in inside:
            raise InputError(f"{file.path}:{own.line}: the service {name} extends itself")
        if len(inside) > _MOST_LAYERS:
            raise InputError(f"{file.path}:{own.line}: more than {_MOST_LAYERS} services extend one another")
        extends = nodes.entries(entry.value).get("extends") if entry.value.real.kind == "map" else None
        if extends is None or nodes.is_null(extends.value):
            return Service(name, (own,))
        where = f"{file.path}:{extends.key.line}"
        base, path = name, ""
        if extends.value.real.kind == "scalar":
            base = self.text(file, extends.value)
        else:
            given = nodes.entries(extends.value) if extends.value.real.kind == "map" else {}
            if "service" not in given:
                raise InputError(f"{where}: 'extends' names no service")
            base = self.text(file, given["service"].value)
            path = self.text(file, given["file"].value) if "file" in given else ""
        other, below = file, raw
        if path:
            if _REMOTE.match(path):
                return self._unknown(name, own, f"{where}: extends a service of {path}, which is elsewhere")
            target = join(file.directory, path)
            opened = self.open(target, posixpath.dirname(target), file.variables)
            if opened is None:
                return self._unknown(name, own, f"{where}: extends a service of {target}, which is not at hand")
            other, below = opened, self._raw(opened)
        if base not in below:
            raise InputError(f"{where}: extends {base}, and there is no such service in {other.path}")
        chain = self._chain(other, base, below, (*inside, (file.path, name)))
        return Service(name, (*chain.layers, own), chain.unknown)

    def _unknown(self, name: str, own: Layer, reason: str) -> Service:
        self.notes.append(reason)
        return Service(name, (own,), reason)

    def _included(self, file: File, inside: tuple[str, ...]) -> dict[str, Service]:
        entry = nodes.entries(file.root).get("include")
        found: dict[str, Service] = {}
        if entry is None or nodes.is_null(entry.value):
            return found
        real = entry.value.real
        for item in real.items if real.kind == "seq" else [real]:
            where = f"{file.path}:{item.line}"
            given = nodes.entries(item) if item.real.kind == "map" else {}
            paths = self._texts(file, given["path"].value if "path" in given else item, where)
            if remote := next((one for one in paths if _REMOTE.match(one)), ""):
                self.notes.append(f"{where}: includes {remote}, which is elsewhere: its services are not known")
                continue
            paths = [join(file.directory, one) for one in paths]
            own = self.text(file, given["project_directory"].value) if "project_directory" in given else ""
            directory = join(file.directory, own) if own else posixpath.dirname(paths[0])
            env = self._texts(file, given["env_file"].value, where) if "env_file" in given else []
            try:
                some, _ = self.read(
                    paths, directory, file.variables, inside, [join(file.directory, one) for one in env]
                )
            except _MissingError as error:
                self.notes.append(f"{where}: includes {error.path}, which is not at hand: its services are not known")
                continue
            if twice := found.keys() & some.keys():
                raise InputError(f"{where}: the service {min(twice)} is included twice")
            found.update(some)
        return found

    def _texts(self, file: File, node: Node, where: str) -> list[str]:
        real = node.real
        some = [self.text(file, one) for one in (real.items if real.kind == "seq" else [real])]
        if not some or not all(some):
            raise InputError(f"{where}: names no file")
        return some


class _MissingError(Exception):
    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


def join(directory: str, path: str) -> str:
    """A path that starts at a directory, without . and .. in it."""
    return posixpath.normpath(posixpath.join(directory, path))


def within(directory: str, path: str) -> bool:
    """Whether a path lies in a directory; both are absolute, or both start at the same place."""
    directory, path = (posixpath.normpath(one) for one in (directory or ".", path))
    if directory == ".":
        return not path.startswith(("/", "../"))
    return path.startswith(directory.rstrip("/") + "/")
