"""Edits of text keep everything else: JSON by key, lines by name, with and without masks."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediator.edited import EditedText, file_edit, invert, join
from remediator.errors import InputError
from remediator.expect import same
from remediator.kinds.text import (
    edit_json,
    edit_variable,
    parse_json,
    read_variable,
)
from remediator.model import ABSENT
from remediator.patch import escape, put
from tests.unit.strategies import documents, keys, objects, texts, written


def paths(document: Any, prefix: str = "") -> list[str]:
    """The pointers of all members of a document's objects."""
    found = []
    for key, value in document.items() if isinstance(document, dict) else ():
        found += [f"{prefix}/{escape(key)}", *paths(value, f"{prefix}/{escape(key)}")]
    return found


@st.composite
def edits(draw: st.DrawFn) -> tuple[dict[str, Any], str, list[tuple[str, Any]]]:
    """A document, its text, and edits of members that are there and of others."""
    document = draw(objects)
    other = st.lists(keys, min_size=1, max_size=3).map(lambda some: "".join(f"/{escape(one)}" for one in some))
    where = st.one_of(other, st.sampled_from(paths(document) or ["/icc"]))
    some = draw(st.lists(st.tuples(where, st.one_of(st.just(ABSENT), documents)), min_size=1, max_size=3))
    return document, draw(written(document)), some


def edited(text: str, *some: tuple[str, Any]) -> EditedText:
    """A text of JSON after some edits."""
    under_edit = EditedText(text)
    for pointer, value in some:
        edit_json(under_edit, pointer, value)
    return under_edit


@given(edits())
def test_an_edited_text_says_what_the_edited_document_says(given_: tuple[Any, str, list[tuple[str, Any]]]) -> None:
    """Text and document agree after the same edits, and the order of all other keys is kept."""
    document, text, some = given_
    for pointer, value in some:
        document = put(document, pointer, value)
    read = parse_json(edited(text, *some).text)
    assert same(document, read)
    assert json.dumps(document) == json.dumps(read)


@given(edits())
def test_edits_are_idempotent(given_: tuple[Any, str, list[tuple[str, Any]]]) -> None:
    """The last edit made once more changes no byte."""
    _, text, some = given_
    once = edited(text, *some)
    before = once.text
    edit_json(once, *some[-1])
    assert before == once.text


@given(edits())
def test_pieces_lead_there_and_back(given_: tuple[Any, str, list[tuple[str, Any]]]) -> None:
    """Slices of the original make the edited text, and slices of that the original."""
    _, text, some = given_
    made = edited(text, *some)
    pieces = made.pieces()
    assert made.text == join(pieces, text)
    assert text == join(invert(pieces, text), made.text)


@given(edits())
def test_pieces_do_not_depend_on_masked_text(given_: tuple[Any, str, list[tuple[str, Any]]]) -> None:
    """Only new text is spelled out in pieces: a slice is never copied from the text that was read."""
    _, text, some = given_
    written_ = "".join(one for one in edited(text, *some).pieces() if isinstance(one, str))
    fresh = "".join(json.dumps(value, ensure_ascii=False) for _, value in some if value is not ABSENT)
    names = "".join(pointer for pointer, _ in some).replace("~1", "/").replace("~0", "~")
    allowed = set(fresh + json.dumps(names + fresh, ensure_ascii=False) + names) | set('{}":, \t\r\n')
    assert set(written_) <= allowed


@given(document=objects.filter(bool), indent=st.sampled_from([2, 4, "\t"]), value=documents, data=st.data())
def test_other_lines_are_kept_as_they_are(document: Any, indent: Any, value: Any, data: st.DataObject) -> None:
    """In an indented text, lines that belong to other members keep every byte, and new ones their style."""
    key = data.draw(st.sampled_from(sorted(document)))
    text = json.dumps(document, indent=indent, ensure_ascii=False) + "\n"
    made = edited(text, (f"/{escape(key)}", value)).text
    assert json.dumps({**document, key: value}, indent=indent, ensure_ascii=False) + "\n" == made
    removed = edited(text, (f"/{escape(key)}", ABSENT)).text
    rest = {name: one for name, one in document.items() if name != key}
    lines = (json.dumps(rest, indent=indent, ensure_ascii=False) + "\n").splitlines()
    assert [one.rstrip(",") for one in lines] == [one.rstrip(",") for one in removed.splitlines()] or not rest


@pytest.mark.parametrize(
    ("text", "pointer", "value", "expected"),
    [
        ('{"a": 1}', "/a", 2, '{"a": 2}'),
        ('{"a": 1}\n', "/b", False, '{"a": 1, "b": false}\n'),
        ('{\n  "a": 1\n}\n', "/b", False, '{\n  "a": 1,\n  "b": false\n}\n'),
        ('{\n\t"a": 1\n}', "/b", [1], '{\n\t"a": 1,\n\t"b": [\n\t\t1\n\t]\n}'),
        ('{\r\n  "a": 1\r\n}\r\n', "/b", [1], '{\r\n  "a": 1,\r\n  "b": [\r\n    1\r\n  ]\r\n}\r\n'),
        ("", "/icc", False, '{\n  "icc": false\n}\n'),
        ("\n", "/icc", False, '\n{\n  "icc": false\n}\n'),
        ("{}", "/icc", False, '{\n  "icc": false\n}'),
        ("\ufeff{}", "/icc", False, '\ufeff{\n  "icc": false\n}'),
        ('{"a": {"b": 1, "c": 2}}', "/a/b", ABSENT, '{"a": {"c": 2}}'),
        ('{"a": {"b": 1, "c": 2}}', "/a/c", ABSENT, '{"a": {"b": 1}}'),
        ('{"a": 1}', "/a", ABSENT, "{}"),
        ('{\n  "a": 1,\n  "b": 2\n}\n', "/a", ABSENT, '{\n  "b": 2\n}\n'),
        ('{\n  "a": 1,\n  "b": 2\n}\n', "/b", ABSENT, '{\n  "a": 1\n}\n'),
        ('{"a": 5}', "/a/b", 1, '{"a": {\n  "b": 1\n}}'),
        ('{"a": 5}', "/a/b", ABSENT, '{"a": 5}'),
        ('{"a": 5}', "/x/y", ABSENT, '{"a": 5}'),
        ('{"a":"}{][,:"}', "/a", "\\", '{"a":"\\\\"}'),
        ('{"\\u0061": 1}', "/a", 2, '{"\\u0061": 2}'),
        ('{"a": "é😀"}', "/b", "ü", '{"a": "é😀", "b": "ü"}'),
    ],
)
def test_edits_look_as_a_person_would_make_them(text: str, pointer: str, value: Any, expected: str) -> None:
    """New members follow the others in indentation, place and ends of lines."""
    assert expected == edited(text, (pointer, value)).text


def test_of_a_key_that_is_there_twice_the_last_one_counts() -> None:
    """The value that a reader takes is changed, and all of them are removed."""
    text = '{"icc": true, "b": 1, "icc": true}'
    assert edited(text, ("/icc", False)).text == '{"icc": true, "b": 1, "icc": false}'
    assert edited(text, ("/icc", ABSENT)).text == '{"b": 1}'
    assert parse_json('{"icc": true, "b": 1, "icc": 3}') == {"icc": 3, "b": 1}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[1]", "holds a list, not an object"),
        ("5", "holds a int, not an object"),
        ('"x"', "holds a str, not an object"),
        ("null", "not an object"),
        ("{", "not valid JSON: "),
        ("{'a': 1}", "line 1 column 2"),
        ('{"a": 1,}', "not valid JSON: "),
        ('{"a": 1} x', "Extra data"),
        ("// c\n{}", "not valid JSON: "),
        ('{"a": NaN}', "NaN is not JSON"),
        ('{"a": -Infinity}', "-Infinity is not JSON"),
        ('{"a": ' + "[" * 100_000, "nested too deeply"),
        ('{"a": ' + "[" * 500 + "]" * 500 + "}", "nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "not valid JSON"),
        ('{"a": "\\ud800"}', "half a character"),
        ('{"\\udfff": 1}', "half a character"),
        ('{"a": "\x01"}', "control character"),
    ],
)
def test_what_is_no_configuration_is_refused_with_the_reason(text: str, reason: str) -> None:
    """A text that the daemon would not read is never taken for an empty or another one."""
    with pytest.raises(InputError) as caught:
        parse_json(text)
    assert reason.lower() in str(caught.value).lower()


@pytest.mark.parametrize(("text", "document"), [("", {}), (" \r\n", {}), ("\ufeff", {}), ('\ufeff{"a": 1}', {"a": 1})])
def test_empty_texts_and_byte_order_marks_are_read(text: str, document: Any) -> None:
    """What the daemon reads as no settings is an empty document."""
    assert document == parse_json(text)


def test_a_text_nested_too_deeply_is_refused_and_not_followed() -> None:
    """An edit beside a value of many brackets ends with a reason, not with the interpreter's limit."""
    deep = '{"a": ' + "[" * 500 + "]" * 500 + ', "icc": true}'
    with pytest.raises(InputError, match="nested too deeply"):
        edited(deep, ("/icc", False))
    shallow = '{"a": ' + "[" * 50 + "]" * 50 + ', "icc": true}'
    assert shallow.replace("true", "false") == edited(shallow, ("/icc", False)).text


def evidence(text: str, **more: Any) -> dict[str, Any]:
    """What the probe says of a file with a text."""
    return {"type": "file", "text": text, "sha256": hashlib.sha256(text.encode()).hexdigest(), **more}


def test_an_edit_holds_the_new_text_and_both_digests() -> None:
    """Where nothing is masked the whole new text is in the edit, and nothing is where nothing changes."""
    made = edited('{"icc": true}', ("/icc", False))
    edit = file_edit("/etc/docker/daemon.json", evidence('{"icc": true}'), made)
    assert edit is not None
    assert edit.content == '{"icc": false}'
    assert evidence(edit.content)["sha256"] == edit.after
    assert None is file_edit("/x", evidence('{"icc": true}'), edited('{"icc": true}', ("/icc", True)))
    assert getattr(file_edit("/x", {"type": "absent"}, edited("", ("/icc", True))), "before", None) == ""


def test_a_masked_text_is_edited_by_pieces() -> None:
    """The edit of a text with secrets names positions only, and makes the new text of the real one."""
    real = '{"log-opts": {"splunk-token": "s3cret"}, "icc": true}'
    seen = real.replace("s3cret", "******")
    edit = file_edit("/x", evidence(seen, masked=True), edited(seen, ("/icc", False)))
    assert edit is not None
    assert edit.content == ""
    assert real.replace("true", "false") == join(list(edit.pieces), real)
    assert real == join(list(edit.inverse), real.replace("true", "false"))


@pytest.mark.parametrize("secret", ["s3cret", "x"])
def test_a_mask_is_never_written_as_a_value(secret: str) -> None:
    """A new value that holds a mask, be it of one character, is refused."""
    seen = '{"dns": ["a", "token=' + "*" * len(secret) + '"]}'
    made = edited(seen, ("/dns", ["token=" + "*" * len(secret)]))
    with pytest.raises(InputError, match="does not leave the host"):
        file_edit("/x", evidence(seen, masked=True), made)


# --- lines of NAME=value ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "unit", "before", "after"),
    [
        ("", False, ABSENT, "V=1\n"),
        ("A=1\n", False, ABSENT, "A=1\nV=1\n"),
        ("A=1", False, ABSENT, "A=1\nV=1\n"),
        ("V=0\n", False, "0", "V=1\n"),
        ("V=0", False, "0", "V=1"),
        ("V=\n", False, "", "V=1\n"),
        ("export V=0\n", False, "0", "export V=1\n"),
        ("  export  V=0 # why\n", False, "0", "  export  V=1 # why\n"),
        ('V="0"\n', False, "0", "V=1\n"),
        ("V='a b'\nB=2\n", False, "a b", "V=1\nB=2\n"),
        ("V=0; export V\n", False, "0", "V=1; export V\n"),
        ("V=0\r\nB=2\r\n", False, "0", "V=1\r\nB=2\r\n"),
        ("# V=0\n", False, ABSENT, "# V=0\nV=1\n"),
        ("XV=0\nV_X=0\n", False, ABSENT, "XV=0\nV_X=0\nV=1\n"),
        ("V=0\nV=no\n", False, "no", "V=1\nV=1\n"),
        ("[Service]\nEnvironment=V=0\n", True, "0", "[Service]\nEnvironment=V=1\n"),
        ('Environment="A=x y" "V=0" B=2\n', True, "0", 'Environment="A=x y" "V=1" B=2\n'),
        ("Environment=A=1 V=0\n", True, "0", "Environment=A=1 V=1\n"),
        ("#Environment=V=0\n", True, ABSENT, "#Environment=V=0\n"),
        ("[Service]\nExecStart=/bin/x V=0\n", True, ABSENT, "[Service]\nExecStart=/bin/x V=0\n"),
    ],
)
def test_a_variable_is_read_and_set_where_it_stands(text: str, unit: bool, before: Any, after: str) -> None:
    """Reading gives what the file says, and setting changes that value alone."""
    assert same(before, read_variable(text, "V", unit))
    under_edit = EditedText(text)
    edit_variable(under_edit, "V", "1", unit)
    assert after == under_edit.text
    edit_variable(under_edit, "V", "1", unit)
    assert after == under_edit.text
    assert text == join(invert(under_edit.pieces(), text), after)


def test_removing_a_variable_takes_its_lines() -> None:
    """All assignments go, and all other lines stay."""
    under_edit = EditedText("A=1\nV=0\n# V=2\nexport V=3\nB=2")
    edit_variable(under_edit, "V", ABSENT)
    assert under_edit.text == "A=1\n# V=2\nB=2"


@given(lines=st.lists(texts.map(lambda one: one.replace("V", "").replace("\n", "")), max_size=5), end=st.booleans())
def test_other_lines_of_an_environment_file_are_kept(lines: list[str], end: bool) -> None:
    """Whatever else a file holds, setting a variable adds one line or nothing."""
    text = "\n".join(lines) + ("\n" if end else "")
    under_edit = EditedText(text)
    edit_variable(under_edit, "V", "1")
    assert under_edit.text.startswith(text)
    assert read_variable(under_edit.text, "V") == "1"
