"""The operators: idempotent projections that look at types as well as values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from remediator.baseline import load_controls
from remediator.errors import InputError
from remediator.expect import NO_FIX, OPERATORS, check, project, same
from remediator.model import ABSENT
from tests.unit.strategies import documents, lookalikes, texts

values = st.one_of(st.just(ABSENT), documents)
lists = st.lists(st.one_of(lookalikes, texts), max_size=4)
modes = st.from_regex(r"0?[0-7]{3,4}", fullmatch=True)
policies = st.fixed_dictionaries(
    {"Name": st.sampled_from(["", "no", "always", "unless-stopped", "on-failure"]), "MaximumRetryCount": lookalikes}
)
ARGUMENTS: Final[Mapping[str, st.SearchStrategy[Any]]] = {
    "eq": documents,
    "lte": st.one_of(st.integers(), st.floats(allow_nan=False)),
    "has": lists,
    "lacks": lists,
    "lacks_prefix": st.lists(texts, max_size=3),
    "only": lists,
    "mode": modes,
    "absent": st.just(True),
    "set_if": st.builds(lambda unset, to: {"unset": unset, "to": to}, lists, documents),
    "items_set_if": st.dictionaries(
        texts, st.builds(lambda unset, to: {"unset": unset, "to": to}, lists, documents), max_size=3
    ),
    "none_of": lists,
    "lacks_any": lists,
    "lacks_item": st.dictionaries(texts, st.one_of(lists, st.builds(lambda n: {"lt": n}, st.integers())), max_size=3),
    "empty": st.just(True),
    "not_empty": st.just(True),
    "matches": st.sampled_from([".*", "a+", "[0-9]+", "(?!root).+"]),
    "enabled": st.sampled_from(["1", "true", "yes"]),
    "watch": st.sampled_from(["wa", "rwxa", "x", "wxa"]),
    "restart_policy": st.builds(lambda n: {"max_retries": n}, st.integers(min_value=1, max_value=9)),
}


def refused(expect: dict[str, Any]) -> bool:
    """Whether an expect mapping is refused as written wrongly."""
    try:
        check(expect, "here")
    except InputError:
        return True
    return False


def near(argument: Any) -> st.SearchStrategy[Any]:
    """Values that an operator with this argument has an opinion on, besides any other."""
    inner = argument.get("unset", list(argument.values())) if isinstance(argument, dict) else argument
    listed = inner if isinstance(inner, list) and inner else [argument]
    return st.one_of(
        values,
        modes,
        policies,
        lists,
        st.sampled_from(listed),
        st.lists(st.sampled_from(listed), max_size=4),
        st.lists(st.dictionaries(texts, st.one_of(lookalikes, st.integers()), max_size=3), max_size=3),
    )


def test_every_operator_is_drawn() -> None:
    """A new operator without arguments to draw here fails this test."""
    assert OPERATORS.keys() == ARGUMENTS.keys()


@pytest.mark.parametrize("name", sorted(OPERATORS))
@given(data=st.data())
def test_a_projection_of_a_projection_is_the_same(name: str, data: st.DataObject) -> None:
    """What an operator makes of a value, it leaves alone, types included."""
    argument = data.draw(ARGUMENTS[name].filter(lambda one: not refused({name: one})))
    once = project({name: argument}, data.draw(near(argument)))
    if once is not NO_FIX:
        assert same(once, project({name: argument}, once))


@given(
    data=st.data(),
    order=st.lists(st.sampled_from(["has", "lacks", "only", "lacks_prefix"]), unique=True),
)
def test_compositions_of_operators_are_idempotent(data: st.DataObject, order: list[str]) -> None:
    """Operators on lists that do not contradict one another stay idempotent one after the other."""
    expect = {name: data.draw(ARGUMENTS[name]) for name in order}
    if "has" in expect:  # what one wants and another forbids never settles
        expect["has"] = project({name: expect[name] for name in order if name != "has"}, expect["has"])
    once = project(expect, data.draw(near(next(iter(expect.values()), None))))
    if once is not NO_FIX:
        assert same(once, project(expect, once))


def bundled() -> list[dict[str, Any]]:
    """The different expect mappings of the bundled controls."""
    found: list[dict[str, Any]] = []
    for control in load_controls().values():
        if control.expect is not None and control.expect not in found:
            found.append(control.expect)
    return found


@settings(max_examples=10)
@given(data=st.data())
def test_bundled_controls_are_idempotent(data: st.DataObject) -> None:
    """What a bundled control calls right for any value, it calls right again."""
    for expect in bundled():
        once = project(expect, data.draw(near(next(iter(expect.values())))))
        if once is not NO_FIX:
            assert same(once, project(expect, once))


@given(value=documents)
def test_a_value_is_the_same_as_itself(value: Any) -> None:
    """Every document is the same as itself and differs from one that wraps it."""
    assert same(value, value)
    assert not same([value], value)


@given(mask=modes, mode=modes)
@example(mask="0644", mode="0600")
def test_a_stricter_mode_is_left_alone(mask: str, mode: str) -> None:
    """A mode never gains a bit, and one within the mask keeps its spelling."""
    made = project({"mode": mask}, mode)
    assert int(made, 8) & ~int(mode, 8) == 0
    assert int(made, 8) & ~int(mask, 8) == 0
    if int(mode, 8) & ~int(mask, 8) == 0:
        assert mode == made


@pytest.mark.parametrize(
    ("left", "right"),
    [(0, False), (1, True), (1, 1.0), (0, 0.0), ("1", 1), ([0], [False]), ({"a": 1}, {"a": True}), (None, False)],
)
def test_lookalikes_are_told_apart(left: Any, right: Any) -> None:
    """Values that Python calls equal but JSON does not are never the same."""
    assert not same(left, right)
    assert not same(right, left)
    assert same(left, left)


@pytest.mark.parametrize(
    ("expect", "actual", "expected"),
    [
        ({"eq": False}, 0, False),
        ({"eq": True}, 1, True),
        ({"eq": 1}, 1.0, 1),
        ({"lte": 5}, 7, 5),
        ({"lte": 5}, 3, 3),
        ({"lte": 5}, True, 5),
        ({"lte": 5}, ABSENT, 5),
        ({"has": ["a", "b"]}, ["b", "c"], ["b", "c", "a"]),
        ({"has": ["a", "a"]}, [], ["a"]),
        ({"has": [1]}, [True], [True, 1]),
        ({"has": ["a"]}, "a", ["a"]),
        ({"lacks": [0]}, [False, 0], [False]),
        ({"lacks": ["a"]}, ABSENT, ABSENT),
        ({"lacks_prefix": ["dm."]}, ["dm.x=1", "overlay2.size=1"], ["overlay2.size=1"]),
        ({"only": ["a"]}, ["b", "a"], ["a"]),
        ({"mode": "0644"}, "0666", "0644"),
        ({"mode": "0644"}, "0600", "0600"),
        ({"mode": "0644"}, "600", "600"),
        ({"mode": "0755"}, "4755", "0755"),
        ({"mode": "0644"}, 644, NO_FIX),
        ({"absent": True}, 1, ABSENT),
        ({"set_if": {"unset": [0], "to": 7}}, 0, 7),
        ({"set_if": {"unset": [0], "to": 7}}, False, False),
        ({"set_if": {"unset": [], "to": 7}}, ABSENT, 7),
        ({"none_of": ["host"]}, "host", NO_FIX),
        ({"none_of": ["host"]}, ABSENT, NO_FIX),
        ({"none_of": ["host"]}, "none", "none"),
        ({"lacks_any": ["x"]}, ["x"], NO_FIX),
        ({"lacks_item": {"HostPort": {"lt": 1024}}}, [{"HostPort": 80}], NO_FIX),
        ({"lacks_item": {"HostPort": {"lt": 1024}}}, [{"HostPort": None}], [{"HostPort": None}]),
        ({"empty": True}, [1], NO_FIX),
        ({"empty": True}, [], []),
        ({"not_empty": True}, "", NO_FIX),
        ({"matches": "a+"}, "aab", NO_FIX),
        ({"matches": {"pattern": "a+", "to": "aa"}}, "aab", "aa"),
        ({"matches": {"pattern": "a+", "to": "aa"}}, "aaa", "aaa"),
        (
            {"items_set_if": {"A": {"unset": [1], "to": 2}}},
            [{"A": 1, "B": 1}, {"A": 3}, 1],
            [{"A": 2, "B": 1}, {"A": 3}, 1],
        ),
        ({"items_set_if": {"A": {"unset": [1], "to": 2}}}, [{"B": 1}], [{"B": 1}]),
        ({"enabled": "1"}, "false", "1"),
        ({"enabled": "1"}, "no", "no"),
        ({"enabled": "1"}, ABSENT, "1"),
        ({"watch": "wa"}, "rx", "rwxa"),
        ({"restart_policy": {"max_retries": 5}}, {"Name": "on-failure", "MaximumRetryCount": 0}, None),
        ({"restart_policy": {"max_retries": 5}}, {"Name": "no", "MaximumRetryCount": 0}, {}),
    ],
)
def test_values_are_projected(expect: dict[str, Any], actual: Any, expected: Any) -> None:
    """Each operator makes of a value what its description says."""
    if "restart_policy" in expect:
        expected = actual if expected == {} else {"Name": "on-failure", "MaximumRetryCount": 5}
    made = project(expect, actual)
    assert expected is made if expected in (NO_FIX, ABSENT) else same(expected, made)


def test_operators_apply_in_their_order() -> None:
    """Each operator sees what the one before it made, and one without a fix ends it."""
    assert project({"has": ["a", "b"], "lacks": ["a"]}, []) == ["b"]
    assert project({"lacks": ["a"], "has": ["b", "a"]}, ["a"]) == ["b", "a"]
    assert NO_FIX is project({"not_empty": True, "eq": 1}, "")


@pytest.mark.parametrize(
    "expect",
    [
        {"equals": 1},
        {"lte": "5"},
        {"lte": True},
        {"lte": float("nan")},
        {"has": "a"},
        {"lacks": None},
        {"lacks_prefix": [1]},
        {"only": {}},
        {"mode": 644},
        {"mode": "0999"},
        {"absent": False},
        {"set_if": {"unset": [0]}},
        {"set_if": {"unset": [0], "to": 0}},
        {"set_if": {"unset": 5, "to": 1}},
        {"set_if": {"unset": "abc", "to": "a"}},
        {"none_of": "host"},
        {"lacks_any": 1},
        {"lacks_item": []},
        {"lacks_item": {"HostPort": {"gt": 1}}},
        {"lacks_item": {"HostPort": {"lt": "1"}}},
        {"empty": 1},
        {"not_empty": "yes"},
        {"matches": 5},
        {"matches": "("},
        {"matches": {"pattern": "a+", "to": "b"}},
        {"items_set_if": {"A": {"unset": [1], "to": 1}}},
        {"items_set_if": []},
        {"enabled": "0"},
        {"enabled": True},
        {"watch": ""},
        {"watch": "z"},
        {"restart_policy": {}},
        {"restart_policy": {"max_retries": 0}},
        {"restart_policy": {"max_retries": True}},
    ],
)
def test_arguments_of_another_shape_are_refused(expect: dict[str, Any]) -> None:
    """An operator that nobody knows, or an argument that it cannot take, is refused with the place named."""
    with pytest.raises(InputError, match=r"^here: "):
        check(expect, "here")


def test_bundled_arguments_are_accepted() -> None:
    """What is refused is not what the bundled controls say."""
    assert [expect for expect in bundled() if refused(expect)] == []
