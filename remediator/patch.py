"""Changes as RFC 6902 patches, JSON Pointers (RFC 6901), and canonical digests."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from typing import Any

import msgspec

from .errors import PlanRefusedError
from .expect import same
from .model import ABSENT, Change, Json, Value

Operation = dict[str, Any]


def escape(key: str) -> str:
    """A key as one token of a JSON Pointer."""
    return key.replace("~", "~0").replace("/", "~1")


@cache
def tokens(pointer: str) -> tuple[str, ...]:
    """The keys that a JSON Pointer names, outermost first; "" names the whole document."""
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])


def get(document: Json, pointer: str) -> Value:
    """The value at a pointer, or ABSENT."""
    value = document
    for token in tokens(pointer):
        if type(value) is dict:
            if token not in value:
                return ABSENT
            value = value[token]
        elif isinstance(value, list) and token.isascii() and token.isdigit() and int(token) < len(value):
            value = value[int(token)]
        else:
            return ABSENT
    return value


def put(document: Json, pointer: str, value: Value) -> Json:
    """A document with the value set at a pointer, or removed for ABSENT; it shares the rest with the old one.

    Parents that are missing, or are no objects, are made.
    """
    return _put(document, tokens(pointer), value)


def _put(document: Json, keys: tuple[str, ...], value: Value) -> Json:
    if not keys:
        return value
    result = dict(document) if isinstance(document, dict) else {}
    if len(keys) > 1:
        if value is ABSENT and not isinstance(result.get(keys[0]), dict):
            return result
        result[keys[0]] = _put(result.get(keys[0]), keys[1:], value)
    elif value is ABSENT:
        result.pop(keys[0], None)
    else:
        result[keys[0]] = value
    return result


def made(document: Json, changes: Iterable[Change]) -> tuple[Json, list[Operation]]:
    """The document with the changes made, and the RFC 6902 operations that make them.

    Each is guarded by a `test` of what it replaces: missing parents of an added key are added first, and parents
    that are no objects replaced. Changes that only await activation patch nothing.
    """
    result: list[Operation] = []
    current = document
    for change in changes:
        if change.activation:
            continue
        path, before, after = change.path, _member(current, change.path), change.after_value
        if before is ABSENT and after is ABSENT:
            continue
        if before is ABSENT:
            result += [*_with_parents(current, path), {"op": "add", "path": path, "value": after}]
        elif after is ABSENT:
            result += [{"op": "test", "path": path, "value": before}, {"op": "remove", "path": path}]
        else:
            result += [{"op": "test", "path": path, "value": before}, {"op": "replace", "path": path, "value": after}]
        current = put(current, path, after)
    return current, result


def _member(document: Json, pointer: str) -> Value:
    """The value at a pointer that goes through objects alone, or ABSENT."""
    value = document
    for token in tokens(pointer):
        if not isinstance(value, dict) or token not in value:
            return ABSENT
        value = value[token]
    return value


def _with_parents(document: Json, pointer: str) -> list[Operation]:
    """The operations that make the objects which a pointer's value will be in, where there are none."""
    keys = [f"/{escape(key)}" for key in tokens(pointer)]
    parents = ["".join(keys[:end]) for end in range(1, len(keys))]
    result: list[Operation] = []
    for parent in parents:
        there = ABSENT if result else get(document, parent)
        if isinstance(there, dict):
            continue
        if there is not ABSENT:
            result.append({"op": "test", "path": parent, "value": there})
        result.append({"op": "add" if there is ABSENT else "replace", "path": parent, "value": {}})
    return result


def apply(document: Json, patch: list[Operation]) -> Json:
    """The document with a patch applied; the document itself is left alone.

    Raises PlanRefusedError where the document is not the one that the patch was made for.
    """
    import jsonpatch
    import jsonpointer

    result = document
    try:
        for one in patch:
            if one["op"] == "test" and not same(get(result, one["path"]), one["value"]):  # jsonpatch: 1 == true
                raise jsonpatch.JsonPatchTestFailed(f"{one['path']} is another value")
            single: Any = [one]
            result = jsonpatch.JsonPatch(single).apply(result)
        return result
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException) as error:
        raise PlanRefusedError(
            f"the patch does not fit the document: {error}", "the document changed since; plan again"
        ) from error


def canonical(document: Json) -> bytes:
    """The one spelling of a JSON document that digests are taken of: sorted keys, no spaces, UTF-8."""
    return msgspec.json.encode(document, order="sorted")


def digest(document: Json) -> str:
    """The SHA-256 of a document's canonical spelling, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical(document)).hexdigest()
