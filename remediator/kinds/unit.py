"""systemd units that call `docker run`: their command lines, and the drop-in that gives one other options."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from ..edited import EditedText, file_edit
from ..errors import InputError
from ..model import Change, FileEdit
from . import docker_run
from .docker_run import Command, Edit

_SAFE: Final = re.compile(r"[A-Za-z0-9_./:=,@+\[\]-]+")
_SETTING: Final = re.compile(r"[ \t]*(Exec\w+)[ \t]*=")
_HEAD: Final = (
    "# Written by remediator: the command line of {where}, hardened. Taking this file away takes that back.\n"
)


@dataclass(frozen=True)
class Line:
    """One assignment of a unit that is in effect; its value stands at text[start:end] of the file `path`."""

    key: str
    value: str
    path: str
    line: int
    start: int
    end: int


@dataclass(frozen=True)
class Word:
    """One word of a command line: its text without quotes, and where it stands in the value."""

    text: str
    start: int
    end: int
    quoted: bool


@dataclass(frozen=True)
class Run:
    """A command line of a unit that runs a container; `start` is its first word after `run` or `create`."""

    name: str
    image: str
    path: str
    line: int
    at: int
    words: tuple[Word, ...]
    start: int
    command: Command


def _assignments(path: str, content: str) -> Iterator[Line]:
    """The Exec assignments of a file's [Service] sections, continued lines put together."""
    section, at, number = "", 0, 0
    lines = re.findall(r"[^\n]*\n|[^\n]+$", content)
    index = 0
    while index < len(lines):
        start, first = at, number + 1
        whole = lines[index]
        bare = whole.strip()
        if bare.startswith("[") and bare.endswith("]"):
            section = bare[1:-1]
        comment = not bare or bare[0] in "#;"
        while not comment and whole.rstrip("\r\n").endswith("\\") and index + 1 < len(lines):
            index += 1
            whole += lines[index]
        index += 1
        at += len(whole)
        number += whole.count("\n")
        match = _SETTING.match(whole)
        if match and section == "Service" and not comment:
            value = whole[match.end() :].rstrip("\r\n")
            begin = start + match.end()
            yield Line(match.group(1), value, path, first, begin, begin + len(value))


def effective(paths: Iterable[str], files: Mapping[str, str]) -> dict[str, list[Line]]:
    """The Exec assignments in effect by key, in their order: an empty one resets those before it."""
    found: dict[str, list[Line]] = {}
    for path in paths:
        for one in _assignments(path, files.get(path, "")):
            if not one.value.strip():
                found[one.key] = []
            else:
                found.setdefault(one.key, []).append(one)
    return found


def words(value: str) -> list[Word]:
    """The words of a command line, as systemd takes it apart.

    Raises InputError for a quote without its end.
    """
    found: list[Word] = []
    at = 0
    while at < len(value):
        if value[at].isspace() or value.startswith(("\\\n", "\\\r\n"), at):
            at += 1 if value[at].isspace() else 2
            continue
        begin, spelled, quoted = at, "", False
        while at < len(value) and not value[at].isspace() and not value.startswith(("\\\n", "\\\r\n"), at):
            if value[at] in "\"'":
                quoted = True
                end = at + 1
                while end < len(value) and value[end] != value[at]:
                    end += 2 if value[end] == "\\" else 1
                if end >= len(value):
                    raise InputError("a quote has no end")
                spelled += value[at + 1 : end]
                at = end + 1
            else:
                size = 2 if value[at] == "\\" else 1
                spelled += value[at : at + size]
                at += size
        found.append(Word(spelled, begin, at, quoted))
    return found


def _named(name: str, unit: str) -> str:
    """A container's name with the unit's specifiers filled in; "" where it holds others, or variables."""
    bare = unit.removesuffix(".service")
    prefix, _, instance = bare.partition("@")
    known = {"n": unit, "N": bare, "p": prefix, "i": instance, "%": "%"}
    filled = re.sub(r"%(.)", lambda one: known.get(one[1], one[0]), name)
    return "" if "$" in filled or re.search(r"%", filled.replace("%%", "")) else filled


def _run(unit: str, line: Line, at: int) -> Run | None:
    """The container that a command line runs, or None; raises InputError for one that cannot be read exactly."""
    some = words(line.value)
    spelled = [one.text for one in some]
    if not spelled or re.sub(r"^[-@:+!|]*", "", spelled[0]).rpartition("/")[2] != "docker":
        return None
    start = 3 if spelled[1:2] == ["container"] else 2
    if spelled[start - 1 : start] not in (["run"], ["create"]):
        return None
    if spelled[0].lstrip("-:+!|").startswith("@") or ";" in spelled:
        raise InputError("is more than one plain command line")
    command = docker_run.parse(spelled, start)
    for one in some[start : command.image + 1]:
        last = one is some[-1]
        split = bool(re.fullmatch(r"\$\w+", one.text)) and not one.quoted
        if split or (one is some[command.image] and "$" in one.text and not last):
            raise InputError(f"{one.text} may stand for any options")
    name = (command.values("name") or [""])[-1]
    return Run(_named(name, unit), spelled[command.image], line.path, line.line, at, tuple(some), start, command)


def runs(unit: str, paths: Sequence[str], files: Mapping[str, str]) -> list[Run]:
    """The containers that a unit runs; command lines that cannot be read exactly are left out."""
    found = []
    for some in effective(paths, files).values():
        for at, line in enumerate(some):
            try:
                run = _run(unit, line, at)
            except InputError:
                continue
            if run:
                found.append(run)
    return found


def _quoted(word: str) -> str:
    """A word as a unit spells it, so that nothing in it is a specifier, a variable or a quote."""
    if not word.isprintable():
        raise InputError("a value holds characters that a unit cannot")
    plain = word.replace("%", "%%").replace("$", "$$")
    if _SAFE.fullmatch(word):
        return plain
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _edited(run: Run, value: str, changes: Iterable[Change]) -> tuple[str, list[tuple[int, int, str]]]:
    """A command line with the changes made, and the single replacements in it, the last one first."""
    replaced: dict[tuple[int, int], Edit] = {}
    added: dict[int, list[str]] = {}
    for change in changes:
        for edit in docker_run.edits(run.command, run.start, change):
            if edit.last < edit.first:
                some = added.setdefault(edit.first, [])
                some += [one for one in edit.words if one not in some]
            else:
                replaced[edit.first, edit.last] = edit
    spots = []
    for (first, last), edit in replaced.items():
        begin = run.words[first].start if edit.words else run.words[first - 1].end
        spots.append((begin, run.words[last].end, " ".join(map(_quoted, edit.words))))
    for first, some in added.items():
        at = run.words[first - 1].end
        spots.append((at, at, "".join(f" {_quoted(one)}" for one in some)))
    spots.sort(reverse=True)
    for begin, end, new in spots:
        value = value[:begin] + new + value[end:]
    return value, spots


def _removes(lines: Mapping[str, Sequence[Line]], run: Run) -> bool:
    """Whether the unit takes the old container away before it runs it anew."""
    if "rm" in [one.name for one in run.command.options] or not run.name:
        return True
    told = [[one.text for one in words(line.value)] for some in lines.values() for line in some]
    return any("docker" in some[0] and "rm" in some for some in told if some)


def edit(
    unit: Mapping[str, Any],
    files: Mapping[str, Mapping[str, Any]],
    container: str,
    where: str,
    changes: Sequence[Change],
) -> FileEdit:
    """The edit that makes changes in the command line of a unit that runs a container.

    It is a drop-in that repeats the command line with other options. Where that holds values which do not
    leave the host, it is the line itself that is edited. Raises InputError where neither can be done exactly.
    """
    texts = {path: str(file.get("text", "")) for path, file in files.items()}
    lines = effective(unit["paths"], texts)
    for key, some in lines.items():
        for at, line in enumerate(some):
            if f"{line.path}:{line.line}" == where and (run := _run(unit["unit"], line, at)):
                if not _removes(lines, run):
                    raise InputError(f"{where}: the unit does not take the old container {container} away")
                value, spots = _edited(run, line.value, changes)
                if any(files[one.path].get("masked") and "*" in one.value for one in some):
                    return _in_place(line, files[line.path], spots)
                return _drop_in(unit, files, key, some, at, value)
    raise InputError(f"{where}: the command line of {container} is not there")


def _in_place(line: Line, file: Mapping[str, Any], spots: Iterable[tuple[int, int, str]]) -> FileEdit:
    if not line.path.startswith("/etc/systemd/system/") or file["type"] != "file":
        raise InputError(f"{line.path}:{line.line}: holds values that do not leave the host, and is not yours to edit")
    edited = EditedText(str(file["text"]))
    for begin, end, new in spots:
        edited.replace(line.start + begin, line.start + end, new)
    found = file_edit(line.path, file, edited)
    if found is None:
        raise InputError(f"{line.path}:{line.line}: nothing in it would change")
    return found


def _drop_in(
    unit: Mapping[str, Any], files: Mapping[str, Mapping[str, Any]], key: str, some: Sequence[Line], at: int, value: str
) -> FileEdit:
    path = unit["drop_in"]
    name = path.rpartition("/")[2]
    for one in some:
        if one.path.endswith(".conf") and one.path.rpartition("/")[2] > name:
            raise InputError(f"{one.path}:{one.line}: is read after {name}, and would win")
    file = files.get(path, {"type": "absent"})
    if "error" in file or file["type"] not in ("absent", "file"):
        raise InputError(f"{path}: {file.get('error', 'is no plain file')}")
    content = str(file.get("text", ""))
    own = next(iter(_assignments(path, content)), None)
    edited = EditedText(content)
    if some[at].path == path:
        edited.replace(some[at].start, some[at].end, value)
    elif own is not None:
        raise InputError(f"{path}: is there already, and sets another command line")
    else:
        values = [value if index == at else one.value for index, one in enumerate(some)]
        head = _HEAD.format(where=f"{some[at].path}:{some[at].line}")
        edited.replace(0, len(content), f"{head}[Service]\n{key}=\n" + "".join(f"{key}={one}\n" for one in values))
    found = file_edit(path, file, edited)
    if found is None:
        raise InputError(f"{path}: nothing in it would change")
    return msgspec.structs.replace(found, mode="0644")
