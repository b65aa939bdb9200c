"""Changes as RFC 6902 patches, JSON Pointers (RFC 6901), and canonical digests."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable
from typing import Any

from .errors import PlanRefusedError
from .model import ABSENT, Change, Json, Value

Operation = dict[str, Any]


def escape(key: str) -> str:
    """A key as one token of a JSON Pointer."""
    return key.replace("~", "~0").replace("/", "~1")


def tokens(pointer: str) -> list[str]:
    """The keys that a JSON Pointer names, outermost first; "" names the whole document."""
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def get(document: Json, pointer: str) -> Value:
    """The value at a pointer, or ABSENT."""
    value = document
    for token in tokens(pointer):
        if isinstance(value, dict) and token in value:
            value = value[token]
        elif isinstance(value, list) and token.isdigit() and int(token) < len(value):
            value = value[int(token)]
        else:
            return ABSENT
    return value


def put(document: Json, pointer: str, value: Value) -> Json:
    """A copy of the document with the value set at a pointer (parents are made), or removed for ABSENT."""
    keys = tokens(pointer)
    if not keys:
        return copy.deepcopy(value)
    result = copy.deepcopy(document) if isinstance(document, dict) else {}
    target = result
    for key in keys[:-1]:
        if not isinstance(target.get(key), dict):
            target[key] = {}
        target = target[key]
    if value is ABSENT:
        target.pop(keys[-1], None)
    else:
        target[keys[-1]] = copy.deepcopy(value)
    return result


def operations(document: Json, changes: Iterable[Change]) -> list[Operation]:
    """The RFC 6902 operations that make the changes, each guarded by a `test` of what it replaces.

    `document` is the collected document: missing parents of an added key are added first. Changes that
    only await activation patch nothing.
    """
    result: list[Operation] = []
    current = document
    for change in changes:
        if change.activation:
            continue
        before, after = get(current, change.path), change.after_value
        if after is ABSENT:
            if before is ABSENT:
                continue
            result.append({"op": "test", "path": change.path, "value": before})
            result.append({"op": "remove", "path": change.path})
        elif before is ABSENT:
            parents = tokens(change.path)[:-1]
            for depth in range(1, len(parents) + 1):
                parent = "".join(f"/{escape(key)}" for key in parents[:depth])
                if get(current, parent) is ABSENT:
                    result.append({"op": "add", "path": parent, "value": {}})
            result.append({"op": "add", "path": change.path, "value": after})
        else:
            result.append({"op": "test", "path": change.path, "value": before})
            result.append({"op": "replace", "path": change.path, "value": after})
        current = put(current, change.path, after)
    return result


def apply(document: Json, patch: list[Operation]) -> Json:
    """The document with a patch applied; the document itself is left alone.

    Raises PlanRefusedError where the document is not the one that the patch was made for.
    """
    import jsonpatch
    import jsonpointer

    try:
        return jsonpatch.JsonPatch(patch).apply(document)  # type: ignore[arg-type]
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException) as error:
        raise PlanRefusedError(
            f"the patch does not fit the document: {error}", "the document changed since; plan again"
        ) from error


def canonical(document: Json) -> bytes:
    """The one spelling of a JSON document that digests are taken of: sorted keys, no spaces, UTF-8."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")


def digest(document: Json) -> str:
    """The SHA-256 of a document's canonical spelling, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical(document)).hexdigest()
