"""The corpus: cases of compose projects in cases/*.yaml, each with the changes that are wanted and what they make.

A case is a mapping of
- name, files: {path: text}, and with `crlf` or `bom` how the texts are written out;
- config: the files that override one another (default: the first), directory: the project's;
- variables: the environment's;
- patch: {service: {pointer: value}}, the document's wanted values;
- lines: the lines that may change, as a diff without context, each file under its name;
- data: {file: {dotted path: value}}, what a reader sees change; "(gone)" for a key that is no longer there;
- refused: {service: {pointer: part of the reason}}.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any, Final

import yaml
from ruamel.yaml import YAML

from remediator import compose
from remediator.compose.project import Project
from remediator.model import Change, Disruption, Safety
from remediator.patch import get

FOLDER: Final = Path(__file__).parent / "cases"
GONE: Final = "(gone)"


@dataclass(frozen=True)
class Case:
    """One project, the changes wanted of it, and what they make."""

    name: str
    files: dict[str, str]
    patch: dict[str, dict[str, Any]]
    config: list[str] = field(default_factory=list)
    directory: str = "."
    variables: dict[str, str] = field(default_factory=dict)
    lines: str = ""
    data: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: dict[str, dict[str, str]] = field(default_factory=dict)
    crlf: bool = False
    bom: bool = False

    @property
    def texts(self) -> dict[str, str]:
        """The files as they are written out."""
        found = {}
        for path, text in self.files.items():
            text = text.replace("\n", "\r\n") if self.crlf else text
            found[path] = "\ufeff" + text if self.bom else text
        return found

    def project(self) -> Project:
        """The project as it is read."""
        return compose.load(self.texts, self.config or [next(iter(self.files))], self.directory, self.variables)


@cache
def cases() -> tuple[Case, ...]:
    """All cases, by file and in their order there."""
    found = []
    for path in sorted(FOLDER.glob("*.yaml")):
        found += [Case(**one) for one in yaml.safe_load(path.read_text(encoding="utf-8"))]
    return tuple(found)


def change(pointer: str, before: Any, after: Any) -> Change:
    """A change of a container, as a control would ask for it."""
    return Change("container", "x", pointer, "a-control", Safety.UNSAFE, Disruption.RECREATE, before, after)


def changes(project: Project, service: str, wanted: dict[str, Any]) -> list[Change]:
    """The changes that lead from a service as it is to wanted values."""
    document, _ = compose.document(project, service)
    return [change(pointer, get(document, pointer), value) for pointer, value in wanted.items()]


def patched(case: Case) -> tuple[Project, dict[str, dict[str, str]]]:
    """The project with all wanted changes, and the reasons of those that were refused."""
    project = case.project()
    refused: dict[str, dict[str, str]] = {}
    for service, wanted in case.patch.items():
        made = compose.patch(project, service, changes(project, service, wanted))
        for path, edited in made.texts.items():
            assert edited.text == made.project.texts[path]
        refused.setdefault(service, {}).update({one.path: reason for one, reason in made.refused})
        project = made.project
    return project, {service: reasons for service, reasons in refused.items() if reasons}


def changed_lines(before: dict[str, str], after: dict[str, str]) -> str:
    """The lines that differ, taken ones with - and new ones with +, each file under its name; ends of line count."""
    told = []
    for path, text in before.items():
        old, new = ([one + "\n" for one in each.split("\n")] for each in (text, after[path]))
        lines = [one for one in difflib.unified_diff(old, new, n=0, lineterm="") if one[:2] not in ("@@",)][2:]
        told += [path, *(one.rstrip("\n").replace("\r", "\\r") for one in lines)] if lines else []
    return "\n".join(told) + "\n" if told else ""


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value


def loaded(text: str) -> Any:
    """A text as another reader than the program's own loads it: ruamel.yaml, YAML 1.2, merges resolved."""
    return _plain(YAML(typ="safe", pure=True).load(StringIO(text.removeprefix("\ufeff"))))


def differences(before: Any, after: Any, path: str = "") -> dict[str, Any]:
    """The values of which two documents differ, by dotted path; a list is one value."""
    if isinstance(before, dict) and isinstance(after, dict):
        found: dict[str, Any] = {}
        for key in [*before, *(one for one in after if one not in before)]:
            inner = f"{path}.{key}" if path else key
            if key not in after:
                found[inner] = GONE
            elif key not in before:
                found[inner] = after[key]
            else:
                found.update(differences(before[key], after[key], inner))
        return found
    return {} if before == after and type(before) is type(after) else {path: after}
