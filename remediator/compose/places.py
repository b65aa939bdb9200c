"""Where a change of a service goes: attempts to set, drop or shorten a key, the likeliest first.

An attempt gives replacements by file, or raises UneditableError with the reason. Whether it does what is
wanted, and nothing else, is for `patching` to prove.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from . import edit, nodes
from .edit import Replacement, UneditableError, Verbatim
from .hits import Hit, Item, Keys, hits
from .nodes import Entry, Node
from .project import Layer, Project, Service, within
from .reader import Reader

Edits = list[tuple[str, Replacement]]
Attempt = Callable[[], Edits]

_TEMPLATE: Final = re.compile(r".*\.(?:j2|jinja2?|tmpl|tpl|erb|gotmpl|in)")
_MADE: Final = re.compile(r"#.*(?:ansible managed|do not edit|do not modify|generated (?:by|from))", re.IGNORECASE)
_VARIABLE: Final = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)|([A-Za-z_][A-Za-z0-9_]*))")


def together(*some: Sequence[Attempt]) -> list[Attempt]:
    """Attempts that each make one attempt of every kind: all first ones, then all second ones."""

    def both(index: int) -> Attempt:
        return lambda: [one for attempts in some for one in attempts[min(index, len(attempts) - 1)]()]

    return [both(index) for index in range(max(map(len, some)))]


@dataclass(frozen=True)
class Places:
    """The places of one service of a project."""

    project: Project
    service: Service

    @property
    def reader(self) -> Reader:
        return Reader(self.project, self.service)

    def has(self, keys: Keys) -> bool:
        """Whether any layer sets a key."""
        return bool(hits(self.service, keys))

    def put(self, keys: Keys, value: Any) -> list[Attempt]:
        """Set a key: where it is set, else in the service itself."""
        found = hits(self.service, keys)
        if not found:
            layer = next((one for one in self.service.layers if not one.extended), None)
            return [lambda: self._own(layer, keys, value)]
        hit = found[-1]
        place: Attempt = lambda: self._in_place(hit, value)  # noqa: E731
        own: Attempt = lambda: self._own(self._above(hit.layer), keys, value)  # noqa: E731
        if hit.layer.extended:  # others may extend it, too
            return [own, place]
        return [place, own] if any(one.merged or one.value.kind == "alias" for one in hit.chain) else [place]

    def drop(self, keys: Keys, neutral: Any) -> list[Attempt]:
        """Take a key away wherever it is set, or else give it a value that stands for nothing."""
        found = hits(self.service, keys)
        if not found:
            raise UneditableError("is not set in these files")
        hit = found[-1]
        gone: Attempt = lambda: [one for each in found for one in self._dropped(each)]  # noqa: E731
        if neutral is None:
            return [gone]
        place: Attempt = lambda: self._in_place(hit, neutral)  # noqa: E731
        own: Attempt = lambda: self._own(self._above(hit.layer), keys, neutral)  # noqa: E731
        return [own, gone] if hit.layer.extended else [gone, place, own]

    def set_item(self, item: Item, value: Any) -> list[Attempt]:
        """Put another value in the place of one item of a list."""
        return [lambda: self._edits(item.hit.layer, edit.set_value, item.node, value)]

    def set_in_item(self, item: Item, path: Keys, value: Any) -> list[Attempt]:
        """Set a key of an item that is a mapping."""

        def attempt() -> Edits:
            mapping, rest = _descend(item.node, path)
            layer = item.hit.layer
            if pair := nodes.own_pair(mapping, rest[0]):
                if _variables(pair[1]):
                    raise UneditableError(_comes_from(layer, pair[1]))
                return self._edits(layer, edit.set_value, pair[1], value)
            return self._edits(layer, edit.add_key, mapping, rest[0], _nested(rest[1:], value), *self._style(layer))

        return [attempt]

    def shorten(self, keys: Keys, removed: Sequence[Item], kept: Sequence[Item], added: Sequence[Any]) -> list[Attempt]:
        """Take items out of a list and add others, where they stand; else in a list of the service's own."""
        found = hits(self.service, keys)
        if not found:
            return self.put(keys, list(added))
        attempts: list[Attempt] = [lambda: self._shortened(found, removed, kept, added)]
        values = [Verbatim(one.node.real.value) for one in kept if one.node.real.kind == "scalar"]
        foreign = any(one.merged or one.value.kind == "alias" for one in found[0].chain)
        if len(found) == 1 and foreign and not found[0].layer.extended and len(values) == len(kept):
            attempts.append(lambda: self._own(found[0].layer, keys, [*values, *added]))
        return attempts

    def _shortened(
        self, found: list[Hit], removed: Sequence[Item], kept: Sequence[Item], added: Sequence[Any]
    ) -> Edits:
        made: Edits = []
        target = found[-1]
        for hit in found:
            sequence = hit.entry.value.real
            gone = [one.node for one in removed if one.hit is hit or one.hit.entry.value.real is sequence]
            stays = [one for one in kept if one.hit.entry.value.real is sequence]
            new = list(added) if hit is target else []
            if sequence.kind == "scalar":
                values = [] if gone else [Verbatim(sequence.value)]
                made += self._in_place(hit, [*values, *new]) if values + new else self._without(hit)
                continue
            if gone and not stays:
                made += self._replaced(hit, gone, new)
                continue
            if new and not sequence.items:
                made += self._in_place(hit, new)
                continue
            if gone:
                made += self._edits(hit.layer, edit.remove_items, sequence, gone)
            for value in new:
                made += self._edits(hit.layer, edit.add_item, sequence, value)
        return made

    def _replaced(self, hit: Hit, gone: list[Node], new: list[Any]) -> Edits:
        """All items of a list taken out, and others in their place."""
        if not new:
            try:
                return self._without(hit)
            except UneditableError:
                return self._in_place(hit, [])
        sequence = hit.entry.value.real
        made: Edits = []
        for node, value in zip(gone, new, strict=False):
            made += self._edits(hit.layer, edit.set_value, node, value)
        if gone[len(new) :]:
            made += self._edits(hit.layer, edit.remove_items, sequence, gone[len(new) :])
        for value in new[len(gone) :]:
            made += self._edits(hit.layer, edit.add_item, sequence, value)
        return made

    def _above(self, layer: Layer) -> Layer | None:
        """The service's own layer in which a value wins over one of the given layer."""
        at = self.service.layers.index(layer)
        return next((one for one in self.service.layers[at:] if not one.extended), None)

    def _in_place(self, hit: Hit, value: Any) -> Edits:
        node = hit.entry.value
        if _variables(node):
            raise UneditableError(_comes_from(hit.layer, node))
        return self._edits(hit.layer, edit.set_value, node, value)

    def _dropped(self, hit: Hit) -> Edits:
        """The key removed, unless a variable decides on it."""
        node = hit.entry.value
        if node.real.kind == "scalar" and _variables(node):
            raise UneditableError(_comes_from(hit.layer, node))
        return self._without(hit)

    def _without(self, hit: Hit) -> Edits:
        """The key removed; where it is alone, the key that holds it."""
        chain = list(hit.chain)
        while True:
            outer = chain[-2].value if len(chain) > 1 else hit.layer.node
            mapping = _holder(outer, chain[-1])
            if len(mapping.pairs) > 1 or len(chain) == 1:
                return self._edits(hit.layer, edit.remove_key, mapping, chain[-1].key.real.value)
            chain.pop()

    def _own(self, layer: Layer | None, keys: Keys, value: Any) -> Edits:
        if layer is None:
            raise UneditableError("has no place of its own in these files")
        if layer.node.kind == "alias":
            raise UneditableError(f"{layer.file.path}:{layer.line}: the whole service is an alias of another part")
        mapping, rest = _descend(layer.node, keys)
        if (pair := nodes.own_pair(mapping, rest[0])) and (nodes.is_null(pair[1]) or len(rest) == 1):
            if _variables(pair[1]):
                raise UneditableError(_comes_from(layer, pair[1]))
            return self._edits(layer, edit.set_value, pair[1], _nested(rest[1:], value))
        return self._edits(layer, edit.add_key, mapping, rest[0], _nested(rest[1:], value), *self._style(layer))

    def _edits(self, layer: Layer, function: Callable[..., list[Replacement]], *given: Any) -> Edits:
        path = layer.file.path
        text = self.project.texts[path]
        if path not in self.project.config_files and not within(self.project.directory, path):
            raise UneditableError(f"{path}: lies outside of the project, and other projects may use it")
        if _TEMPLATE.fullmatch(path):
            raise UneditableError(f"{path}: is a template: change what it is made into, or the template by hand")
        for number, line in enumerate(text.splitlines()[:5], 1):
            if _MADE.match(line.removeprefix("\ufeff").strip()):
                raise UneditableError(f"{path}:{number}: says that a program writes it: change what it is made of")
        try:
            return [(path, one) for one in function(text, *given)]
        except UneditableError as error:
            at = next((one.line for one in given if isinstance(one, Node)), layer.line)
            raise UneditableError(f"{path}:{at}: {error}") from error

    def _style(self, layer: Layer) -> tuple[str, str]:
        """A file's step of indentation, and that of dashes against the key they belong to."""
        services = nodes.own_pair(layer.file.root, "services")
        unit = "  "
        if services and services[1].pairs and not services[1].flow:
            unit = " " * max(services[1].pairs[0][0].column, 1)
        for one in [layer.node, *(pair[1] for pair in (services[1].pairs if services else []))]:
            for key, value in one.pairs:
                if value.kind == "seq" and not value.flow and value.items and value.column >= key.column:
                    return unit, " " * (value.column - key.column)
        return unit, unit


def _descend(mapping: Node, keys: Keys) -> tuple[Node, Keys]:
    """The innermost mapping of its own on the way that keys name, and the keys that are left."""
    while len(keys) > 1:
        pair = nodes.own_pair(mapping, keys[0])
        if not pair or pair[1].kind != "map" or not (pair[1].pairs or pair[1].flow):
            break
        mapping, keys = pair[1], keys[1:]
    return mapping, keys


def _nested(keys: Keys, value: Any) -> Any:
    for key in reversed(keys):
        value = {key: value}
    return value


def _holder(mapping: Node, entry: Entry) -> Node:
    """The mapping in which a key itself stands: the one given, or one that it merges."""
    real = mapping.real
    if any(key is entry.key for key, _ in real.pairs):
        return real
    for key, value in real.pairs:
        if nodes.is_merge(key):
            for one in value.real.items if value.real.kind == "seq" else [value]:
                if nodes.entries(one).get(entry.key.real.value, entry).key is entry.key:
                    return _holder(one, entry)
    raise UneditableError("is set in a place that cannot be told")


def _variables(node: Node) -> list[str]:
    """The variables that a value is made of, with $$ left out."""
    texts = [one.value.replace("$$", "") for one in nodes.strings(node)]
    return [first or second for text in texts for first, second in _VARIABLE.findall(text)]


def _comes_from(layer: Layer, node: Node) -> str:
    name = _variables(node)[0]
    return f"{layer.file.path}:{node.line}: the value comes from ${{{name}}}: change it where that is set, such as .env"
