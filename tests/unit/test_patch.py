"""Changes as guarded RFC 6902 patches: the planned document, and nothing else."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediator.errors import PlanRefusedError
from remediator.expect import same
from remediator.model import ABSENT, Change, Disruption, Safety
from remediator.patch import Operation, apply, canonical, digest, escape, get, made, put, tokens
from tests.unit.strategies import documents, keys, objects

pointers = st.lists(keys, min_size=1, max_size=3).map(lambda some: "".join(f"/{escape(one)}" for one in some))


def change(path: str, after: Any, activation: bool = False) -> Change:
    """A change as a kind makes it; what stood there before is found in the document."""
    return Change(
        kind="daemon",
        resource="/etc/docker/daemon.json",
        path=path,
        control="test",
        safety=Safety.SAFE,
        disruption=Disruption.NONE,
        after=None if after is ABSENT else after,
        has_after=after is not ABSENT,
        activation=activation,
    )


def operations(document: Any, changes: list[Change]) -> list[Operation]:
    """The operations alone that make changes of a document."""
    return made(document, changes)[1]


def paths(document: Any, prefix: str = "") -> list[str]:
    """The pointers of all members of a document's objects."""
    found = []
    for key, value in document.items() if isinstance(document, dict) else ():
        found += [f"{prefix}/{escape(key)}", *paths(value, f"{prefix}/{escape(key)}")]
    return found


@st.composite
def edits(draw: st.DrawFn) -> tuple[dict[str, Any], list[Change]]:
    """A document and changes of it, of members that are there and of others."""
    document = draw(objects)
    where = st.one_of(pointers, st.sampled_from(paths(document) or ["/a"]))
    after = st.one_of(st.just(ABSENT), documents)
    return document, draw(st.lists(st.builds(change, where, after), max_size=4))


@given(edits())
def test_a_patch_leads_to_the_planned_document(given_: tuple[dict[str, Any], list[Change]]) -> None:
    """Applying the operations gives what the changes make of the document, and leaves that alone."""
    before, changes = given_
    kept = copy.deepcopy(before)
    planned: Any = before
    for one in changes:
        planned = put(planned, one.path, one.after_value)
    document, patch = made(before, changes)
    assert same(planned, document)
    assert same(planned, apply(before, patch))
    assert same(kept, before)


@given(edits())
def test_operations_are_json_with_guards(given_: tuple[dict[str, Any], list[Change]]) -> None:
    """Operations survive being written down, and each replace and remove follows a test of the same path."""
    before, changes = given_
    patch = operations(before, changes)
    assert same(patch, json.loads(json.dumps(patch)))
    for previous, one in zip([{"op": "none"}, *patch], patch, strict=False):
        if one["op"] in ("replace", "remove"):
            assert ("test", one["path"]) == (previous["op"], previous["path"])


@given(document=objects, pointer=pointers, value=st.one_of(st.just(ABSENT), documents))
def test_what_is_put_is_there_and_other_members_are_kept(document: Any, pointer: str, value: Any) -> None:
    """A value that is put can be got, and no other member of the document is touched."""
    new = put(document, pointer, value)
    assert get(new, pointer) is ABSENT if value is ABSENT else same(value, get(new, pointer))
    first = tokens(pointer)[0]
    assert [key for key in document if key != first] == [key for key in new if key != first]
    assert all(same(document[key], new[key]) for key in document if key != first)


@given(document=objects, pointer=pointers)
def test_removing_what_is_not_there_changes_nothing(document: Any, pointer: str) -> None:
    """Removing a missing member makes no parents and no operations."""
    missing = put(document, pointer, ABSENT)
    assert same(missing, put(missing, pointer, ABSENT))
    assert operations(missing, [change(pointer, ABSENT)]) == []


@given(st.lists(keys, max_size=4))
def test_pointers_name_any_key(some: list[str]) -> None:
    """Keys with slashes, tildes or nothing in them survive as tokens of a pointer."""
    assert some == list(tokens("".join(f"/{escape(one)}" for one in some)))


@pytest.mark.parametrize(
    ("before", "changes", "expected"),
    [
        ({"icc": True}, [change("/icc", False)], [("test", True), ("replace", False)]),
        ({}, [change("/icc", False)], [("add", False)]),
        ({}, [change("/a/b/c", 1)], [("add", {}), ("add", {}), ("add", 1)]),
        ({"a": 5}, [change("/a/b", 1)], [("test", 5), ("replace", {}), ("add", 1)]),
        ({"a": [1]}, [change("/a/0", 2)], [("test", [1]), ("replace", {}), ("add", 2)]),
        ({"a": 5}, [change("/a/b", ABSENT)], []),
        ({"a": None}, [change("/a", ABSENT)], [("test", None), ("remove", "-")]),
        ({"icc": False}, [change("/icc", False, activation=True)], []),
        ({"a/b": {"~": 1}}, [change("/a~1b/~0", 2)], [("test", 1), ("replace", 2)]),
    ],
)
def test_operations_are_what_a_reader_expects(
    before: Any, changes: list[Change], expected: list[tuple[str, Any]]
) -> None:
    """Parents are made first, replaced values are tested first, and activation patches nothing."""
    assert expected == [(one["op"], one.get("value", "-")) for one in operations(before, changes)]


@pytest.mark.parametrize("changed", [{"icc": None, "b": 1}, {"b": 1}, {"icc": "true"}, {}, [], 5])
def test_a_changed_document_is_refused(changed: Any) -> None:
    """A patch does not fit a document whose value is another, or gone, and nothing of it is applied."""
    patch = operations({"icc": True, "b": 1}, [change("/b", 2), change("/icc", False)])
    kept = copy.deepcopy(changed)
    with pytest.raises(PlanRefusedError):
        apply(changed, patch)
    assert same(kept, changed)


def test_a_value_of_another_type_is_refused() -> None:
    """1 is not true: the guard looks at types."""
    with pytest.raises(PlanRefusedError):
        apply({"icc": 1}, operations({"icc": True}, [change("/icc", False)]))


@given(objects)
def test_digests_do_not_depend_on_the_order_of_keys(document: dict[str, Any]) -> None:
    """The same members in another order have the same digest, and a copy through JSON too."""
    turned = dict(reversed(document.items()))
    assert digest(document) == digest(turned)
    assert digest(document) == digest(json.loads(json.dumps(turned)))
    assert same(document, json.loads(canonical(document)))


@given(objects, objects)
def test_different_documents_have_different_digests(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Digests agree exactly where documents are the same, types included."""
    assert same(one, other) == (digest(one) == digest(other))


@pytest.mark.parametrize(("one", "other"), [(0, False), (1, 1.0), ("1", 1), (None, "null"), ([], {})])
def test_digests_tell_lookalikes_apart(one: Any, other: Any) -> None:
    """A digest changes with the type of a value."""
    assert digest({"a": one}) != digest({"a": other})


@pytest.mark.parametrize("pointer", ["/a/2", "/a/-1", "/a/²", "/a/x", "/b", "/a/0/c", "/a/\u0660"])
def test_pointers_that_lead_nowhere_give_nothing(pointer: str) -> None:
    """What is no index of a list and no key of an object is not set."""
    assert ABSENT is get({"a": [1, 2]}, pointer)
