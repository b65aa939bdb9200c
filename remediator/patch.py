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


@cache
def _parents(pointer: str) -> tuple[str, ...]:
    """The pointers to all that a pointer's value is in, outermost first, without the whole document."""
    keys = [f"/{escape(key)}" for key in tokens(pointer)]
    return tuple("".join(keys[:end]) for end in range(1, len(keys)))


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
        after = change.after_value
        parents = _parents(change.path)
        wrong = next((one for one in parents if not isinstance(get(current, one), dict)), None)
        before = get(current, change.path) if wrong is None else ABSENT
        if after is ABSENT:
            if before is ABSENT:
                continue
            result.append({"op": "test", "path": change.path, "value": before})
            result.append({"op": "remove", "path": change.path})
        elif before is ABSENT:
            for parent in parents[parents.index(wrong) :] if wrong is not None else []:
                there = get(current, parent) if parent == wrong else ABSENT
                if there is not ABSENT:
                    result.append({"op": "test", "path": parent, "value": there})
                result.append({"op": "add" if there is ABSENT else "replace", "path": parent, "value": {}})
            result.append({"op": "add", "path": change.path, "value": after})
        else:
            result.append({"op": "test", "path": change.path, "value": before})
            result.append({"op": "replace", "path": change.path, "value": after})
        current = put(current, change.path, after)
    return current, result


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
