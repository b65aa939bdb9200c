"""The operators: each is an idempotent projection from the actual value to the desired one.

A value complies exactly when its projection is the same value, and the projection is the fix. An
operator that can tell wrong from right but has no natural fix answers NO_FIX, which makes the change
a person's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from .errors import InputError
from .model import ABSENT, Value


class NoFix:
    """The value of a projection that knows no right value; there is one instance, NO_FIX."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "NO_FIX"


NO_FIX: Final = NoFix()

Operator = Callable[[Any, Value], Value]

# strconv.ParseBool's false values (cli/command/cli.go: anything else that is not empty enables it)
_FALSE: Final = frozenset({"", "0", "f", "F", "FALSE", "false", "False"})
_OCTAL: Final = re.compile(r"0?[0-7]{3,4}")
_WATCH_ORDER: Final = "rwxa"


_PLAIN: Final = frozenset({str, bool, int, float, type(None)})


def same(left: Value, right: Value) -> bool:
    """Whether two values are the same JSON, types included (False is not 0, 1 is not 1.0)."""
    if type(left) in _PLAIN:
        return type(left) is type(right) and bool(left == right)
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    return type(left) is type(right) and bool(left == right)


def _within(value: Value, values: list[Any]) -> bool:
    return value in values and any(same(value, one) for one in values)


def _list(value: Value) -> list[Any]:
    return list(value) if isinstance(value, list) else []


def _eq(wanted: Any, _actual: Value) -> Value:
    return wanted


def _lte(limit: Any, actual: Value) -> Value:
    if isinstance(actual, int | float) and not isinstance(actual, bool):
        return min(actual, limit)
    return limit


def _has(wanted: Any, actual: Value) -> Value:
    items = _list(actual)
    missing = [item for index, item in enumerate(wanted) if not _within(item, items + wanted[:index])]
    return actual if isinstance(actual, list) and not missing else items + missing


def _lacks(unwanted: Any, actual: Value) -> Value:
    if not isinstance(actual, list):
        return actual
    return [item for item in actual if not _within(item, unwanted)]


def _lacks_prefix(prefixes: Any, actual: Value) -> Value:
    if not isinstance(actual, list):
        return actual
    return [item for item in actual if not str(item).startswith(tuple(prefixes))]


def _only(allowed: Any, actual: Value) -> Value:
    if not isinstance(actual, list):
        return actual
    return [item for item in actual if _within(item, allowed)]


def _mode(mask: Any, actual: Value) -> Value:
    if not isinstance(actual, str) or not _OCTAL.fullmatch(actual):
        return NO_FIX
    kept = int(actual, 8) & int(mask, 8)
    return actual if kept == int(actual, 8) else f"{kept:04o}"


def _absent(_: Any, _actual: Value) -> Value:
    return ABSENT


def _set_if(spec: Any, actual: Value) -> Value:
    unset = actual is ABSENT or _within(actual, spec["unset"])
    return spec["to"] if unset else actual


def _none_of(bad: Any, actual: Value) -> Value:
    return NO_FIX if actual is ABSENT or _within(actual, bad) else actual


def _lacks_any(bad: Any, actual: Value) -> Value:
    return NO_FIX if any(_within(item, bad) for item in _list(actual)) else actual


def _lacks_item(bad: Any, actual: Value) -> Value:
    def hit(item: Any) -> bool:
        for field, values in bad.items():
            value = item.get(field) if isinstance(item, dict) else None
            if isinstance(values, dict):
                if isinstance(value, int) and value < values["lt"]:
                    return True
            elif _within(value, values):
                return True
        return False

    return NO_FIX if any(hit(item) for item in _list(actual)) else actual


def _empty(_: Any, actual: Value) -> Value:
    return NO_FIX if actual else actual


def _not_empty(_: Any, actual: Value) -> Value:
    return actual if actual else NO_FIX


def _items_set_if(spec: Any, actual: Value) -> Value:
    if not isinstance(actual, list):
        return actual
    wanted = [
        {**item, **{key: one["to"] for key, one in spec.items() if key in item and _within(item[key], one["unset"])}}
        if isinstance(item, dict)
        else item
        for item in actual
    ]
    return actual if same(wanted, actual) else wanted


def _matches(spec: Any, actual: Value) -> Value:
    pattern, to = (spec, NO_FIX) if isinstance(spec, str) else (spec["pattern"], spec["to"])
    return actual if isinstance(actual, str) and re.fullmatch(pattern, actual) else to


def _enabled(wanted: Any, actual: Value) -> Value:
    return wanted if not isinstance(actual, str) or actual in _FALSE else actual


def _watch(wanted: Any, actual: Value) -> Value:
    held = actual if isinstance(actual, str) else ""
    return "".join(letter for letter in _WATCH_ORDER if letter in held or letter in wanted)


def _restart_policy(spec: Any, actual: Value) -> Value:
    policy = actual if isinstance(actual, dict) else {}
    name, retries = policy.get("Name", ""), policy.get("MaximumRetryCount", 0)
    limit = spec["max_retries"]
    if name in ("", "no"):
        return actual
    if name == "on-failure" and isinstance(retries, int) and 0 < retries <= limit:
        return actual
    return {"Name": "on-failure", "MaximumRetryCount": limit}


OPERATORS: Final[Mapping[str, Operator]] = {
    "eq": _eq,
    "lte": _lte,
    "has": _has,
    "lacks": _lacks,
    "lacks_prefix": _lacks_prefix,
    "only": _only,
    "mode": _mode,
    "absent": _absent,
    "set_if": _set_if,
    "items_set_if": _items_set_if,
    "none_of": _none_of,
    "lacks_any": _lacks_any,
    "lacks_item": _lacks_item,
    "empty": _empty,
    "not_empty": _not_empty,
    "matches": _matches,
    "enabled": _enabled,
    "watch": _watch,
    "restart_policy": _restart_policy,
}


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _replaces(arg: Any) -> bool:
    return (
        isinstance(arg, dict)
        and arg.keys() == {"unset", "to"}
        and isinstance(arg["unset"], list)
        and not _within(arg["to"], arg["unset"])
    )


def _pattern(value: str) -> bool:
    try:
        re.compile(value)
    except re.error:
        return False
    return True


_SHAPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "lte": lambda arg: _number(arg) and arg == arg,  # not NaN
    "has": lambda arg: isinstance(arg, list),
    "lacks": lambda arg: isinstance(arg, list),
    "lacks_prefix": lambda arg: isinstance(arg, list) and all(isinstance(one, str) for one in arg),
    "only": lambda arg: isinstance(arg, list),
    "mode": lambda arg: isinstance(arg, str) and bool(_OCTAL.fullmatch(arg)),
    "absent": lambda arg: arg is True,
    "set_if": lambda arg: _replaces(arg),
    "items_set_if": lambda arg: isinstance(arg, dict) and all(map(_replaces, arg.values())),
    "none_of": lambda arg: isinstance(arg, list),
    "lacks_any": lambda arg: isinstance(arg, list),
    "lacks_item": lambda arg: (
        isinstance(arg, dict)
        and all(
            isinstance(one, list) or (isinstance(one, dict) and one.keys() == {"lt"} and _number(one["lt"]))
            for one in arg.values()
        )
    ),
    "empty": lambda arg: arg is True,
    "not_empty": lambda arg: arg is True,
    "matches": lambda arg: (
        (isinstance(arg, str) and _pattern(arg))
        or (
            isinstance(arg, dict)
            and arg.keys() == {"pattern", "to"}
            and isinstance(arg["pattern"], str)
            and _pattern(arg["pattern"])
            and (isinstance(arg["to"], dict) or _matches(arg["pattern"], arg["to"]) is not NO_FIX)
        )
    ),
    "enabled": lambda arg: isinstance(arg, str) and arg not in _FALSE,
    "watch": lambda arg: isinstance(arg, str) and bool(arg) and set(arg) <= set(_WATCH_ORDER),
    "restart_policy": lambda arg: (
        isinstance(arg, dict)
        and arg.keys() == {"max_retries"}
        and type(arg["max_retries"]) is int
        and arg["max_retries"] > 0
    ),
}


def check(expect: Mapping[str, Any], where: str) -> None:
    """Say what is wrong with an `expect` mapping: an unknown operator or an argument of another shape.

    Raises InputError that names `where`.
    """
    for name, argument in expect.items():
        if name not in OPERATORS:
            raise InputError(f"{where}: unknown operator '{name}'", f"known operators: {', '.join(sorted(OPERATORS))}")
        if name in _SHAPES and not _SHAPES[name](argument):
            raise InputError(f"{where}: operator '{name}' cannot take {argument!r}")


def project(expect: Mapping[str, Any], actual: Value) -> Value:
    """The desired value for an actual one: the operators of `expect` applied in their order.

    Returns ABSENT where the key should not be set, and NO_FIX where the value is wrong and only a
    person can tell the right one.
    """
    value = actual
    for name, argument in expect.items():
        value = OPERATORS[name](argument, value)
        if value is NO_FIX:
            return NO_FIX
    return value
