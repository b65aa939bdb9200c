"""Variables of compose files: ${NAME}, ${NAME:-default} and the rest, and the .env file they come from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ..errors import InputError

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LINE: Final = re.compile(r"\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)\s*[=:]\s?(?P<value>.*)")
_DEPTH: Final = 20
_ESCAPES: Final[Mapping[str, str]] = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$"}


@dataclass
class Used:
    """Which variables a text used, and which of those have no value."""

    names: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def interpolate(text: str, variables: Mapping[str, str], used: Used, depth: int = 0) -> str:
    """The text with its variables filled in; `used` learns their names. One without a value becomes "".

    Raises InputError for what compose refuses: a `$` that begins no variable, a brace without its end.
    """
    if "$" not in text:
        return text
    if depth > _DEPTH:
        raise InputError("variables inside one another too deeply")
    parts, at = [], 0
    while (dollar := text.find("$", at)) >= 0:
        parts.append(text[at:dollar])
        after = text[dollar + 1 : dollar + 2]
        if after == "$":
            parts.append("$")
            at = dollar + 2
        elif after == "{":
            end = _closing(text, dollar + 2)
            parts.append(_braced(text[dollar + 2 : end], variables, used, depth))
            at = end + 1
        elif name := _NAME.match(text, dollar + 1):
            parts.append(_value(name.group(), variables, used))
            at = name.end()
        else:
            raise InputError("a $ that begins no variable: write $$")
    return "".join([*parts, text[at:]])


def _closing(text: str, at: int) -> int:
    depth = 1
    while at < len(text):
        if text.startswith("${", at):
            depth += 1
        depth -= text[at] == "}"
        if not depth:
            return at
        at += 1
    raise InputError("a ${ without its }")


def _value(name: str, variables: Mapping[str, str], used: Used) -> str:
    used.names.append(name)
    if name not in variables:
        used.missing.append(name)
    return variables.get(name, "")


def _braced(inner: str, variables: Mapping[str, str], used: Used, depth: int) -> str:
    found = _NAME.match(inner)
    if not found:
        raise InputError("a ${ without a name")
    name, rest = found.group(), inner[found.end() :]
    if not rest:
        return _value(name, variables, used)
    colon = rest.startswith(":")
    sign, other = rest[colon : colon + 1], rest[colon + 1 :]
    there = bool(variables.get(name)) if colon else name in variables
    if sign not in ("-", "?", "+"):
        raise InputError(f"after ${{{name} stands neither }} nor -, ? or +")
    used.names.append(name)
    if sign == "+":
        return interpolate(other, variables, used, depth + 1) if there else ""
    if there:
        return variables[name]
    if sign == "-":
        return interpolate(other, variables, used, depth + 1)
    used.missing.append(name)
    return ""


def env_file(text: str, known: Mapping[str, str]) -> dict[str, str]:
    """The variables of a .env file; `known` ones may be used in it. Lines that are no assignment are left out.

    Values in single quotes are taken as they are; in double quotes escapes count, and variables as elsewhere.
    """
    found: dict[str, str] = {}
    lines = iter(text.removeprefix("\ufeff").splitlines())
    for line in lines:
        match = _LINE.fullmatch(line)
        if not match or line.lstrip().startswith("#"):
            continue
        value = match["value"].strip()
        quote = value[:1]
        if quote in ("'", '"'):
            while not re.search(r"(?<!\\)" + quote, value[1:]):
                following = next(lines, None)
                if following is None:
                    break
                value += "\n" + following
            value = re.split(r"(?<!\\)" + quote, value[1:])[0]
        else:
            value = re.sub(r"(?:^|\s+)#.*", "", value)
        if quote == '"':
            value = re.sub(r"\\(.)", lambda one: _ESCAPES.get(one[1], one[0]), value)
        if quote != "'":
            try:
                value = interpolate(value, {**found, **known}, Used())
            except InputError:
                continue
        found[match["name"]] = value
    return found
