"""Words of a command line -> the keys that its flags set. As pflag reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from .options import ANY_FLAG, GATHERED, SHORT, Option

TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


class Occurrence(NamedTuple):
    """A flag where it stands: the option, its value as written (None: a switch alone), and the words it takes.

    `alone`: no other flag is written in the same word, as in -Dv.
    """

    option: Option
    value: str | None
    word: int
    words: int
    alone: bool = True

    @property
    def name(self) -> str:
        return f"--{self.option.flag}"


class Line(NamedTuple):
    """A command line taken apart; `strange` are words that dockerd refuses: unknown flags, words without a flag."""

    occurrences: tuple[Occurrence, ...]
    strange: tuple[int, ...] = ()


def read(words: Sequence[str]) -> Line:
    """Take apart the words after the program's name."""
    found: list[Occurrence] = []
    strange: list[int] = []
    index = 0
    while index < len(words):
        word, at = words[index], index
        index += 1
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            option = ANY_FLAG.get(name)
        else:
            option = SHORT.get(word[:2])
            while option is not None and option.kind == "bool" and word[2:3] not in ("", "="):
                found.append(Occurrence(option, None, at, 1, alone=False))
                word = "-" + word[2:]
                option = SHORT.get(word[:2])
            equals, value = ("=", word[2:].removeprefix("=")) if len(word) > 2 else ("", "")
        alone = word == words[at]
        if option is None:
            strange.append(at)
        elif equals:
            found.append(Occurrence(option, value, at, 1, alone))
        elif option.kind == "bool":
            found.append(Occurrence(option, None, at, 1, alone))
        elif index < len(words):
            found.append(Occurrence(option, words[index], at, 2, alone))
            index += 1
        else:
            strange.append(at)
    return Line(tuple(found), tuple(strange))


def values(occurrences: Sequence[Occurrence]) -> dict[str, dict[str, Any]]:
    """The keys that flags set: {key: {value, flag}}, lists and maps gathered, else the last one counts."""
    found: dict[str, dict[str, Any]] = {}
    for one in occurrences:
        key, kind = one.option.key, one.option.kind
        if not key:
            continue
        flag = one.name
        if kind in ("map", "ulimits", "runtimes", "features"):
            name, _, value = str(one.value).partition("=")
            found.setdefault(key, {"flag": flag, "value": {}})["value"][name] = value
        elif kind in GATHERED:
            found.setdefault(key, {"flag": flag, "value": []})["value"].append(one.value)
        elif kind == "bool":
            found[key] = {"flag": flag, "value": one.value is None or one.value in TRUE}
        else:
            found[key] = {"flag": flag, "value": one.value}
    return found


def parse(argv: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The keys that a command line sets: {key: {value, flag}}; its first word is the program."""
    return values(read(argv[1:]).occurrences)
