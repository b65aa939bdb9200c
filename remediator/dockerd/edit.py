"""A flag's new value, written where the flag stands; everything else in its file keeps its bytes.

The value is changed in place, since that is where the next reader of the file looks; a flag goes away only where
being there at all is what is wrong, or where the value that is wanted is that of no flag.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from ..errors import InputError
from ..expect import same
from ..model import ABSENT, Value
from . import flags, start
from .flags import Occurrence
from .start import MASK, Start, Word

_SAFE: Final = re.compile(r"[A-Za-z0-9@+=:,./_\[\]-]*")
_BLANK: Final = " \t"
_CONTINUED: Final = re.compile(r"[ \t]*\\\r?\n")
_BEFORE: Final = re.compile(r"(?:[ \t]|\\\r?\n)*\Z")


class Splice(NamedTuple):
    """New text for text[start:end] of a file."""

    path: str
    start: int
    end: int
    new: str


def next_splice(begin: Start, texts: Mapping[str, str], key: str, value: Value) -> Splice | None:
    """The next thing to write so that the flags of a key give it a value (ABSENT: that none does); None once they do.

    Raises InputError where a flag is written in a way that is not edited.
    """
    words, line = start.line(begin)
    mine = [one for one in line.occurrences if one.option.key == key]
    if value is ABSENT or value in ("", [], {}):
        return _removed(words, mine[-1], texts) if mine else None
    if not mine:
        raise InputError(f"no flag of the next start sets {key}")
    if isinstance(value, list | dict):
        return _gathered(words, mine, value, texts)
    if same(flags.values(mine)[key]["value"], value):
        return None
    return _replaced(words, mine[-1], _spelled(value), texts)  # of a flag given twice the last one counts


def _spelled(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if not _SAFE.fullmatch(text):
        raise InputError(f"the value {text!r} would need quoting there: write it by hand")
    return text


def _check(word: Word, texts: Mapping[str, str], alone: bool = True) -> None:
    if not alone or not word.plain or MASK in texts[word.path][word.first : word.last]:
        raise InputError(f"{start.where(word, texts)}: {word.text} is written in a way that is not edited")


def _replaced(words: Sequence[Word], one: Occurrence, value: str, texts: Mapping[str, str]) -> Splice:
    word = words[one.word + one.words - 1]
    _check(word, texts, one.alone or one.words == 2)
    if one.words == 2:
        return Splice(word.path, word.start, word.end, value)
    head = word.text.partition("=")[0] + "=" if word.text.startswith("--") else f"{one.name}="
    return Splice(word.path, word.start, word.end, head + value)


def _removed(words: Sequence[Word], one: Occurrence, texts: Mapping[str, str]) -> Splice:
    first, last = words[one.word], words[one.word + one.words - 1]
    _check(first, texts, one.alone)
    _check(last, texts)
    if first.path != last.path or first.first > last.first:
        raise InputError(f"{start.where(first, texts)}: {first.text} and its value are in two places")
    return Splice(first.path, *_cut(texts[first.path], first.first, last.last), "")


def _cut(text: str, begin: int, end: int) -> tuple[int, int]:
    """What goes with a word so that no blank line, dangling backslash or double space is left."""
    at = text.rfind("\n", 0, begin) + 1
    alone = not text[at:begin].strip()
    continued = _CONTINUED.match(text, end)
    if alone and continued:
        return at, continued.end()
    newline = text.find("\n", end)
    rest = text[end : newline if newline >= 0 else len(text)]
    if not rest.strip() and (before := _BEFORE.search(text, 0, begin)):
        return before.start(), end
    lead = len(text[:begin]) - len(text[:begin].rstrip(_BLANK))
    if lead:
        return begin - lead, end
    return begin, end + len(rest) - len(rest.lstrip(_BLANK))


def _entries(value: Value) -> list[str]:
    """A list's or map's entries as each flag would spell them."""
    if isinstance(value, dict):
        return [
            f"{key}={one['Soft']}:{one['Hard']}" if isinstance(one, dict) else f"{key}={one}"
            for key, one in value.items()
        ]
    return [str(one) for one in value]


def _gathered(words: Sequence[Word], mine: list[Occurrence], value: Value, texts: Mapping[str, str]) -> Splice | None:
    wanted = [_spelled(one) for one in _entries(value)]
    new = [one for one in wanted if one not in [other.value for other in mine]]
    gone = [one for one in mine if one.value not in wanted]
    if gone:
        return _replaced(words, gone[-1], new[0], texts) if new else _removed(words, gone[-1], texts)
    if not new:
        return None
    last = words[mine[-1].word + mine[-1].words - 1]
    _check(last, texts)
    return Splice(last.path, last.last, last.last, f" {mine[-1].name}={new[0]}")
