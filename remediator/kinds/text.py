"""Edits of text that keep everything else: of JSON by key, of lines by name."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from ..edited import EditedText
from ..errors import InputError
from ..expect import same
from ..model import ABSENT, Value
from ..patch import tokens

_SPACE: Final = re.compile(r"[ \t\r\n]*")
_SCALAR: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s,\]}]+')
_DEPTH: Final = 100  # containers inside one another; encoding/json stops at 10000

# --- JSON -------------------------------------------------------------------------------------------


def parse_json(text: str) -> Any:
    """The document that a daemon would read: strict JSON, a byte order mark allowed, empty is {}.

    Raises InputError that says what is wrong and where.
    """

    def refuse(word: str) -> Any:
        raise InputError(f"{word} is not JSON")

    plain = text.removeprefix("\ufeff")
    if not plain.strip():
        return {}
    try:
        document = json.loads(plain, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise InputError(f"not valid JSON: {error.msg} at line {error.lineno} column {error.colno}") from error
    except RecursionError as error:
        raise InputError("nested too deeply") from error
    except ValueError as error:
        raise InputError(f"not valid JSON: {error}") from error
    _value_end(plain, 0)  # refuses what is nested too deeply for everything that comes after
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InputError("not valid JSON: an escape stands for half a character") from error
    if not isinstance(document, dict):
        raise InputError(f"holds a {type(document).__name__}, not an object")
    return document


class _Member:
    def __init__(self, key: str, key_at: int, start: int, end: int) -> None:
        self.key, self.key_at, self.start, self.end = key, key_at, start, end


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _value_end(text: str, at: int) -> int:
    """The position after the value that starts at `at`."""
    depth = 0
    while True:
        at = _skip(text, at)
        if text[at] in "{[":
            depth += 1
            at += 1
            if depth > _DEPTH:
                raise InputError("nested too deeply")
        elif text[at] in "}]":
            depth -= 1
            at += 1
        elif text[at] in ",:":
            at += 1
            continue
        else:
            match = _SCALAR.match(text, at)
            assert match is not None
            at = match.end()
        if depth == 0:
            return at


def _members(text: str, at: int) -> tuple[list[_Member], int]:
    """The members of the object whose brace stands at `at`, and where its closing brace stands."""
    found = []
    at = _skip(text, at + 1)
    while text[at] != "}":
        match = _SCALAR.match(text, at)
        assert match is not None
        start = _skip(text, _skip(text, match.end()) + 1)
        end = _value_end(text, start)
        found.append(_Member(json.loads(match.group()), at, start, end))
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return found, at


def _indent(text: str, at: int) -> str | None:
    """The white space before a position when it is all that stands before it on its line."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line if "\n" in text[:at] and not line.strip() else None


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _dump(value: Value, indent: str | None, unit: str, newline: str) -> str:
    if indent is None or not isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    text = json.dumps(value, ensure_ascii=False, indent=unit or "  ")
    return text.replace("\n", newline + indent)


def edit_json(edited: EditedText, pointer: str, value: Value) -> None:
    """Set the value at a JSON Pointer in a text of JSON, or remove it; all else keeps its bytes.

    Missing parents are added. New members come last and take over the indentation of the others.
    """
    text = edited.text
    start = _skip(text, 1 if text.startswith("\ufeff") else 0)
    if start == len(text):
        edited.replace(start, start, "{}\n")
        text = edited.text
    keys = tokens(pointer)
    for index, key in enumerate(keys):
        members, closing = _members(text, start)
        named = [one for one in members if one.key == key]
        if not named:
            if value is not ABSENT:
                for outer in reversed(keys[index + 1 :]):
                    value = {outer: value}
                _insert(edited, members, start, closing, key, value)
            return
        if index == len(keys) - 1:
            if value is ABSENT:
                for one in reversed(named):
                    _remove(edited, members, one, start)
                    members = [other for other in members if other is not one]
            elif not same(json.loads(text[named[-1].start : named[-1].end]), value):
                last = named[-1]
                at = _indent(text, last.key_at)
                edited.replace(last.start, last.end, _dump(value, at, at or "", _newline(text)))
            return
        start = named[-1].start
        if text[start] != "{":
            if value is ABSENT:
                return
            edited.replace(start, named[-1].end, "{}")
            text = edited.text


def _insert(edited: EditedText, members: list[_Member], opening: int, closing: int, key: str, value: Value) -> None:
    text = edited.text
    name, end = json.dumps(key, ensure_ascii=False), _newline(text)
    if members:
        at = _indent(text, members[-1].key_at)
        new = f"{name}: {_dump(value, at, at or '', end)}"
        edited.replace(members[-1].end, members[-1].end, f",{end}{at}{new}" if at is not None else f", {new}")
        return
    line = text[text.rfind("\n", 0, opening) + 1 : opening]
    outer = line[: len(line) - len(line.lstrip())]
    inner = outer + "  "
    edited.replace(opening + 1, closing, f"{end}{inner}{name}: {_dump(value, inner, '  ', end)}{end}{outer}")


def _remove(edited: EditedText, members: list[_Member], member: _Member, opening: int) -> None:
    index = members.index(member)
    if index + 1 < len(members):
        edited.replace(member.key_at, members[index + 1].key_at, "")
    elif index:
        edited.replace(members[index - 1].end, member.end, "")
    else:
        edited.replace(opening + 1, _skip(edited.text, member.end), "")


# --- lines of NAME=value ----------------------------------------------------------------------------

_ASSIGNMENT: Final = r"^(?P<head>[ \t]*(?:export[ \t]+)?{name}=)(?P<value>\"[^\"\n]*\"|'[^'\n]*'|[^\s#;\n]*)"
_UNIT: Final = r"^(?P<head>[ \t]*Environment=(?:[^\n]*?\s)??[\"']?{name}=)(?P<value>[^\s\"'\n]*)"


def _find(text: str, name: str, unit: bool) -> list[re.Match[str]]:
    pattern = (_UNIT if unit else _ASSIGNMENT).format(name=re.escape(name))
    return list(re.finditer(pattern, text, re.MULTILINE))


def read_variable(text: str, name: str, unit: bool = False) -> Value:
    """The value that an environment file (or a unit's Environment= lines) gives a variable, or ABSENT."""
    found = _find(text, name, unit)
    return found[-1]["value"].strip("\"'") if found else ABSENT


def edit_variable(edited: EditedText, name: str, value: Value, unit: bool = False) -> None:
    """Set a variable in the text of an environment file, every time it is assigned there, or add a line.

    Removing takes whole lines. In a unit only assignments that are there are changed.
    """
    for match in reversed(_find(edited.text, name, unit)):
        if value is ABSENT:
            end = edited.text.find("\n", match.end())
            edited.replace(match.start(), len(edited.text) if end < 0 else end + 1, "")
        else:
            edited.replace(match.start("value"), match.end("value"), str(value))
    if value is not ABSENT and not unit and not _find(edited.text, name, unit):
        lead = "" if not edited.text or edited.text.endswith("\n") else "\n"
        edited.replace(len(edited.text), len(edited.text), f"{lead}{name}={value}\n")
