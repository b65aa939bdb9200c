"""A YAML text as nodes that know where they stand, so that it can be edited in place.

Built of libyaml's events: compose's own parser (go-yaml) is a translation of libyaml, so what is read
here is what compose reads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ..errors import InputError

MOST_CHARACTERS: Final = 2**21  # of one file
_MOST_NODES: Final = 100_000  # aliases counted as often as they are used
_DEPTH: Final = 60
_MASK: Final = re.compile(r"\*{2,}")  # a masked secret is no alias
_STANDARD: Final = "tag:yaml.org,2002:"
_INTEGER: Final = re.compile(r"[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|[1-9][0-9_]*|0)")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)")
_WORDS: Final[Mapping[str, Any]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass(slots=True, eq=False)
class Node:
    """A scalar, mapping, sequence or alias; `text[start:end]` is what stands for it, an anchor included.

    `line` counts from 1. A block collection's `end` is where its last entry ends. `items` are a sequence's
    nodes, `pairs` a mapping's keys and values, `target` is what an alias stands for; scalars
    inside [] or {} are `flow`, too.
    """

    kind: str
    start: int
    end: int
    line: int
    column: int
    value: str = ""
    style: str = ""  # of a scalar: "", ', ", | or >
    flow: bool = False
    tag: str = ""
    anchor: str = ""
    items: list[Node] = field(default_factory=list)
    pairs: list[tuple[Node, Node]] = field(default_factory=list)
    target: Node | None = None
    size: int = 1

    @property
    def real(self) -> Node:
        """The node itself, or what the alias stands for."""
        return self.target or self


@dataclass(frozen=True, slots=True)
class Entry:
    """A key of a mapping with its value; `merged` where it came in by `<<`."""

    key: Node
    value: Node
    merged: bool = False


def parse(text: str, path: str) -> Node | None:
    """The root node of a text with one YAML document, or None where there is none.

    Raises InputError with file and line for what is no YAML, and for YAML that is not read here: several
    documents, keys given twice, tags, keys that are no scalars, aliases that hold themselves.
    """
    import yaml

    if len(text) > MOST_CHARACTERS:
        raise InputError(f"{path}: larger than {MOST_CHARACTERS // 2**20} MiB")
    shift = 1 if text.startswith("\ufeff") else 0
    plain = _MASK.sub(lambda found: "x" * len(found.group()), text[shift:])
    try:
        return _Builder(path, shift).build(yaml.parse(plain, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark else path
        hint = "this looks like a template: check what is made of it" if re.search(r"\{[{%]", text) else ""
        raise InputError(f"{where}: not valid YAML: {error.problem or error.context}", hint) from error
    except (yaml.YAMLError, UnicodeEncodeError, RecursionError) as error:
        reason = getattr(error, "reason", "") or type(error).__name__
        raise InputError(f"{path}: not valid YAML: {reason}") from error


class _Builder:
    """Makes nodes of events; its stack is a list, so depth costs nothing."""

    def __init__(self, path: str, shift: int) -> None:
        self._path, self._shift = path, shift
        self._open: list[Node] = []
        self._keys: list[Node | None] = []  # of each open mapping: the key that waits for its value
        self._anchors: dict[str, Node] = {}
        self._root: Node | None = None
        self._count = 0

    def _refuse(self, line: int, what: str, hint: str = "") -> InputError:
        return InputError(f"{self._path}:{line}: {what}", hint)

    def build(self, events: Any) -> Node | None:
        documents = 0
        for event in events:
            name = type(event).__name__
            line = event.start_mark.line + 1
            if name == "DocumentStartEvent":
                documents += 1
                if documents > 1:
                    raise self._refuse(line, "a second document", "put each into a file of its own")
            elif name in ("ScalarEvent", "AliasEvent", "MappingStartEvent", "SequenceStartEvent"):
                self._add(event, name, line)
            elif name in ("MappingEndEvent", "SequenceEndEvent"):
                self._close(event)
        return self._root

    def _add(self, event: Any, name: str, line: int) -> None:
        mark = event.start_mark
        self._count += 1
        if self._count > _MOST_NODES:
            raise self._refuse(line, f"more than {_MOST_NODES} values")
        kind = {"ScalarEvent": "scalar", "AliasEvent": "alias", "MappingStartEvent": "map"}.get(name, "seq")
        node = Node(kind, mark.index + self._shift, event.end_mark.index + self._shift, line, mark.column)
        if kind == "alias":
            node.target = self._anchors.get(event.anchor)
            if node.target is None:
                raise self._refuse(line, f"there is no anchor '{event.anchor}' before this alias")
            if node.target in self._open:
                raise self._refuse(line, f"the anchor '{event.anchor}' would hold itself")
            node.size = node.target.size
        else:
            self._tag(node, event)
            node.anchor = event.anchor or ""
            if node.anchor:
                self._anchors[node.anchor] = node
        if kind == "scalar":
            style = event.style or ""
            node.value, node.style = event.value, "" if style == "?" else style
            node.flow = any(one.flow for one in self._open)
        self._place(node)
        if kind in ("map", "seq"):
            node.flow = bool(event.flow_style)
            self._open.append(node)
            self._keys.append(None)
            if len(self._open) > _DEPTH:
                raise self._refuse(line, f"more than {_DEPTH} collections inside one another")

    def _tag(self, node: Node, event: Any) -> None:
        implicit = event.implicit
        if event.tag is None or (implicit is True and not event.tag) or event.tag == "!":
            node.tag = "str" if event.tag == "!" else ""
            return
        known = event.tag.removeprefix(_STANDARD)
        if known not in ("str", "int", "bool", "float", "null", "map", "seq"):
            shown = event.tag if event.tag.startswith("!") else f"!!{known}"
            raise self._refuse(node.line, f"the tag {shown} is not known here")
        node.tag = known

    def _place(self, node: Node) -> None:
        if not self._open:
            self._root = node
            return
        parent = self._open[-1]
        if parent.kind == "seq":
            parent.items.append(node)
            return
        key = self._keys[-1]
        if key is None:
            if node.real.kind != "scalar":
                raise self._refuse(node.line, "a key that is no plain text")
            self._keys[-1] = node
            return
        parent.pairs.append((key, node))
        self._keys[-1] = None

    def _close(self, event: Any) -> None:
        node = self._open.pop()
        self._keys.pop()
        children = [one for pair in node.pairs for one in pair] + node.items
        node.size = 1 + sum(one.size for one in children)
        if node.size > _MOST_NODES:
            raise self._refuse(node.line, f"aliases make this more than {_MOST_NODES} values")
        if node.flow:
            node.end = event.end_mark.index + self._shift
        elif children:
            node.end = children[-1].end
        seen: dict[str, int] = {}
        for key, value in node.pairs:
            name = key.real.value
            if name in seen:
                raise self._refuse(key.line, f"the key '{name}' is given twice, first in line {seen[name]}")
            seen[name] = key.line
            if is_merge(key):
                self._check_merge(value)

    def _check_merge(self, value: Node) -> None:
        real = value.real
        if not all(one.real.kind == "map" for one in (real.items if real.kind == "seq" else [real])):
            raise self._refuse(value.line, "what is merged with << is no mapping")


def is_merge(key: Node) -> bool:
    """Whether a key is the merge key `<<`."""
    return key.value == "<<" and not key.style and key.kind == "scalar"


def entries(mapping: Node) -> dict[str, Entry]:
    """The keys of a mapping, those that it merges included; its own win, then what is merged first."""
    found: dict[str, Entry] = {}
    merged: list[Node] = []
    for key, value in mapping.real.pairs:
        if is_merge(key):
            merged += value.real.items if value.real.kind == "seq" else [value]
        else:
            found[key.real.value] = Entry(key, value)
    for one in merged:
        for name, entry in entries(one).items():
            found.setdefault(name, Entry(entry.key, entry.value, merged=True))
    return found


def own_pair(mapping: Node, name: str) -> tuple[Node, Node] | None:
    """The key and value that a mapping itself has under a name."""
    return next((pair for pair in mapping.pairs if pair[0].real.value == name and not is_merge(pair[0])), None)


def scalar(text: str) -> Any:
    """The value that a plain scalar has, by the rules of go-yaml: YAML 1.2, and octal numbers with a 0."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        digits = text.replace("_", "")
        bare = digits.lstrip("+-")
        try:
            number = int(bare, 8) if re.fullmatch(r"0[0-7]+", bare) else int(bare, 0)
        except ValueError:
            return text
        return -number if digits.startswith("-") else number
    return float(text) if _FLOAT.fullmatch(text) else text


def plain(node: Node) -> Any:
    """A node as plain data: aliases and merges resolved, variables left as they are written."""
    node = node.real
    if node.kind == "map":
        return {name: plain(entry.value) for name, entry in entries(node).items()}
    if node.kind == "seq":
        return [plain(one) for one in node.items]
    return node.value if node.style or node.tag == "str" else scalar(node.value)


def is_null(node: Node) -> bool:
    """Whether a node is null, also by being left out."""
    return node.real.kind == "scalar" and plain(node) is None


def strings(node: Node) -> Sequence[Node]:
    """All scalars in a node."""
    real = node.real
    if real.kind == "scalar":
        return [real]
    children = real.items or [entry.value for entry in entries(real).values()]
    return [one for child in children for one in strings(child)]
