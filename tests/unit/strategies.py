"""What Hypothesis draws: JSON documents, and JSON text as people and programs write it."""

from __future__ import annotations

import json
from typing import Any, Final

from hypothesis import strategies as st

TRICKY_KEYS: Final = ("", "a", "b", "/", "~", "a/b", "~0", "~1", "m~n", "icc", "log-opts", "{{ x }}", "é", "0", "\t")

# text without lone surrogates, which no UTF-8 file can hold
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
keys = st.one_of(st.sampled_from(TRICKY_KEYS), texts)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(min_value=-(2**53), max_value=2**53),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    texts,
)
# scalars that Python takes for one another, so that they meet often
lookalikes: st.SearchStrategy[Any] = st.sampled_from([0, False, 0.0, 1, True, 1.0, "", "0", "1", None, [], {}])
documents = st.recursive(
    st.one_of(lookalikes, scalars),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=12,
)
objects = st.dictionaries(keys, documents, max_size=5)


@st.composite
def written(draw: st.DrawFn, document: Any) -> str:
    """A document as JSON text in one of the many ways in which it can be written."""
    indent = draw(st.sampled_from([None, 2, 4, "\t", 0]))
    separators = draw(st.sampled_from([None, (",", ":"), (" , ", " : ")])) if indent is None else None
    text = json.dumps(document, indent=indent, separators=separators, ensure_ascii=draw(st.booleans()))
    if draw(st.booleans()):
        text = text.replace("\n", "\r\n")
    head = draw(st.sampled_from(["", "\ufeff", "\n", "  "]))
    return head + text + draw(st.sampled_from(["", "\n", "\r\n", " \n\n"]))
