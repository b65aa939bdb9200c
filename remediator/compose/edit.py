"""Edits of YAML text by position: a key or an item set, added or taken away, and all else left as it is.

Each function gives replacements (start, end, new text) for a text and the nodes that `nodes.parse` made of it.
They are as small as they can be and no proof: who uses them reads the new text and compares.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from . import nodes
from .nodes import Node

Replacement = tuple[int, int, str]

_PLAIN: Final = re.compile(r"[A-Za-z0-9/._][A-Za-z0-9/._+=@-]*(?::[A-Za-z0-9/._+=@-]+)*")


_BLOCK: Final = re.compile(r"[A-Za-z0-9/.$_~][A-Za-z0-9/._+=@$~{},-]*(?::[A-Za-z0-9/._+=@$~{},-]+)*")
_SEXAGESIMAL: Final = re.compile(r"[0-9]+(?::[0-9]+)+")  # a number to older readers
_AMBIGUOUS: Final = frozenset({"y", "n", "yes", "no", "on", "off"})  # booleans to older readers


class Verbatim(str):
    """A text as a file has it, whose variables stay variables."""

    __slots__ = ()


class UneditableError(Exception):
    """A place that cannot be edited without touching more; the text says why."""


def apply(text: str, replacements: Sequence[Replacement]) -> str:
    """The text with replacements made."""
    for start, end, new in backwards(replacements):
        text = text[:start] + new + text[end:]
    return text


def backwards(replacements: Sequence[Replacement]) -> list[Replacement]:
    """Replacements from the last to the first, so that none moves another; two at one place keep their order."""
    return sorted(replacements, key=lambda one: one[:2])[::-1]


def newline(text: str) -> str:
    """The end of line that a text uses."""
    return "\r\n" if "\r\n" in text else "\n"


def written(value: Any, quote: str = "", block: bool = False) -> str:
    """A value in flow style; text bare where that is safe and no quotes are asked for, with $ doubled for compose.

    With `block` the value stands outside of [] and {}, where more is safe.
    """
    if isinstance(value, bool):
        return _quoted(str(value).lower(), quote) if quote else str(value).lower()
    if value is None or isinstance(value, int | float):
        return _quoted(json.dumps(value), quote) if quote else json.dumps(value)
    if isinstance(value, str):
        text = str(value) if isinstance(value, Verbatim) else value.replace("$", "$$")
        bare = not quote and (_BLOCK if block else _PLAIN).fullmatch(text) and isinstance(nodes.scalar(text), str)
        return (
            text
            if bare and text.lower() not in _AMBIGUOUS and not _SEXAGESIMAL.fullmatch(text)
            else _quoted(text, quote or '"')
        )
    if isinstance(value, dict):
        return "{" + ", ".join(f"{written(key)}: {written(one)}" for key, one in value.items()) + "}"
    return "[" + ", ".join(written(one, quote) for one in value) + "]"


def _quoted(text: str, quote: str) -> str:
    if quote == "'" and text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in quoted)


def _line_start(text: str, at: int) -> int:
    return text.rfind("\n", 0, at) + 1


def _line_end(text: str, at: int) -> int:
    """The position after the end of line that follows a position, or the text's length."""
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def _content_end(text: str, node: Node) -> int:
    """Where a node's last line of content ends, for a block scalar before the blank lines after it."""
    last = node
    while last.kind in ("map", "seq") and not last.flow and (last.pairs or last.items):
        last = last.pairs[-1][1] if last.pairs else last.items[-1]
    if last.style not in ("|", ">"):
        return last.end
    return last.start + len(text[last.start : last.end].rstrip())


def _added(text: str, at: int, line: str) -> Replacement:
    """A new line after the line that a position stands in."""
    end = _line_end(text, at)
    if end == len(text) and not text.endswith("\n"):
        return end, end, newline(text) + line
    return end, end, line + newline(text)


def _column(text: str, node: Node) -> str:
    """The white space that puts another line at a node's column."""
    before = text[_line_start(text, node.start) : node.start].removeprefix("\ufeff")
    return "".join(one if one in " \t" else " " for one in before)


def set_value(text: str, value_node: Node, value: Any) -> list[Replacement]:
    """Put a value in the place of another; a scalar keeps its kind of quotes."""
    if value_node.kind == "scalar" and value_node.style in ("|", ">"):
        raise UneditableError("is a block of text")
    if value_node.start == value_node.end:  # nothing after its colon
        return [(value_node.start, value_node.end, f" {written(value)}")]
    old = text[value_node.start : value_node.end]
    quote = value_node.style if value_node.kind == "scalar" and not isinstance(value, list | dict) else ""
    head = re.match(r"(?:&\S+\s+)?", old)
    kept = head.group() if head and value_node.anchor and value_node.kind == "scalar" else ""
    block = value_node.kind == "scalar" and not value_node.flow
    return [(value_node.start, value_node.end, kept + written(value, quote, block))]


def add_key(text: str, mapping: Node, key: str, value: Any, unit: str, dash: str) -> list[Replacement]:
    """Add a key to a mapping, after those that are there.

    `unit` is the text's step of indentation, `dash` that of a list's dashes against the key they belong to.
    """
    if mapping.kind != "map" or not (mapping.pairs or mapping.flow):
        raise UneditableError("is no mapping of its own")
    if mapping.flow:
        quote = mapping.pairs[-1][0].style if mapping.pairs else ""
        bare = isinstance(value, bool | int)
        new = f"{written(key, quote)}: {written(value, '' if bare else quote)}"
        return [_flow_added(text, mapping, [pair[1] for pair in mapping.pairs], [p[0] for p in mapping.pairs], new)]
    indent = _column(text, mapping.pairs[0][0])
    last_key, last = mapping.pairs[-1]
    block = _block(key, value, indent, unit, dash, newline(text))
    return [_added(text, max(_content_end(text, last), last_key.end), block)]


def _block(key: str, value: Any, indent: str, unit: str, dash: str, end: str) -> str:
    if isinstance(value, dict) and value:
        inner = [_block(name, one, indent + unit, unit, dash, end) for name, one in value.items()]
        return end.join([f"{indent}{written(key)}:", *inner])
    if isinstance(value, list) and value and all(not isinstance(one, list | dict) for one in value):
        return end.join([f"{indent}{written(key)}:", *(f"{indent}{dash}- {written(one)}" for one in value)])
    return f"{indent}{written(key)}: {written(value)}"


def _flow_added(text: str, collection: Node, values: list[Node], keys: list[Node], new: str) -> Replacement:
    if not values:
        inside = collection.start + text[collection.start : collection.end].index(
            "{" if collection.kind == "map" else "["
        )
        return inside + 1, collection.end - 1, new
    at = max(values[-1].end, keys[-1].end if keys else 0)
    if keys and values[-1].start == values[-1].end:
        raise UneditableError("ends with a key without a value")
    return at, at, f", {new}"


def remove_key(text: str, mapping: Node, key: str) -> list[Replacement]:
    """Take a key and its value out of a mapping."""
    index = next(at for at, pair in enumerate(mapping.pairs) if pair[0].real.value == key)
    starts = [pair[0].start for pair in mapping.pairs]
    ends = [max(_content_end(text, pair[1]), pair[0].end) for pair in mapping.pairs]
    if len(starts) == 1 and not mapping.flow:
        raise UneditableError("is the only key there")
    return [_removed(text, mapping, starts, ends, index)]


def _removed(text: str, collection: Node, starts: list[int], ends: list[int], index: int) -> Replacement:
    start, end = starts[index], ends[index]
    if collection.flow:
        if index + 1 < len(starts):
            return start, starts[index + 1], ""
        return (ends[index - 1], end, "") if index else (start, end, "")
    line = _line_start(text, start)
    if text[line:start].removeprefix("\ufeff").strip():  # a dash stands before it
        if index + 1 == len(starts):
            raise UneditableError("shares its line with a dash")
        return start, starts[index + 1], ""
    after = _line_end(text, end)
    if after == len(text) and not text.endswith("\n") and line:
        line -= 2 if text[line - 2 : line] == "\r\n" else 1
    return (line + 1 if text.startswith("\ufeff") and not line else line), after, ""


def add_item(text: str, sequence: Node, value: Any) -> list[Replacement]:
    """Add an item to a list, after those that are there and quoted like the last of them."""
    last = sequence.items[-1] if sequence.items else None
    quote = last.style if last is not None and last.kind == "scalar" and last.style in ("'", '"') else ""
    new = written(value, quote, block=not sequence.flow)
    if sequence.flow:
        return [_flow_added(text, sequence, sequence.items, [], new)]
    if last is None:
        raise UneditableError("stands empty")
    dash = _dash(text, last)
    between = text[dash + 1 : last.start]
    lead = "".join(one if one in " \t" else " " for one in text[_line_start(text, dash) : dash])
    return [_added(text, _content_end(text, last), f"{lead}-{between if not between.strip(' ') else ' '}{new}")]


def _dash(text: str, item: Node) -> int:
    dash = text.rfind("-", 0, item.start)
    if dash < 0 or text[dash + 1 : item.start].strip():
        raise UneditableError("does not stand right behind its dash")
    return dash


def remove_items(text: str, sequence: Node, items: Sequence[Node]) -> list[Replacement]:
    """Take items out of a list that keeps others."""
    if sequence.flow:
        kept = [one for one in sequence.items if one not in items]
        found: list[Replacement] = []
        for index, one in enumerate(sequence.items):
            if one not in items:
                continue
            if one.start < kept[-1].start:
                found.append((one.start, sequence.items[index + 1].start, ""))
            else:
                found.append((sequence.items[index - 1].end, one.end, ""))
        return found
    starts = [_dash(text, one) for one in sequence.items]
    ends = [_content_end(text, one) for one in sequence.items]
    return [_removed(text, sequence, starts, ends, sequence.items.index(one)) for one in items]
